//! `hookline dlq`: dead letters, and what is done about them.

use clap::Subcommand;
use operate::dead_letters::discard::{Discard, discard};
use operate::dead_letters::redrive::{Redrive, redrive};
use operate::dead_letters::{is_said, list, show};
use warehouse::{DeadLetterFilter, DeadLetterState};

use super::arguments::{ToolArgs, WhoArgs, lane_and_offset, time, words};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How many there are, by source, stage and reason, and how many are still open
    List(ListArgs),
    /// The bytes of dead letters as they came, with what is known about them. They may hold personal data
    Show(ShowArgs),
    /// Append dead letters to raw again, to be adapted as of today; each event counts once
    Redrive(RedriveArgs),
    /// Decide that dead letters will not be counted
    Discard(DiscardArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    tool: ToolArgs,
    #[command(flatten)]
    which: Which,
    /// Only those: open, redriven or discarded
    #[arg(long, value_parser = state)]
    state: Option<DeadLetterState>,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, clap::Args)]
struct Which {
    /// Of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Refused by this stage: ingest or adapt
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Refused for this reason
    #[arg(long, value_name = "LABEL")]
    reason: Option<String>,
    /// Received at or after: 2h (ago), 2026-11-25, 2026-11-25T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = false)]
    since: Option<i64>,
    /// Received before
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// Of this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<u16>,
    /// This one: LANE:OFFSET
    #[arg(long, value_name = "LANE:OFFSET", value_parser = lane_and_offset, conflicts_with = "lane")]
    offset: Option<(u16, u64)>,
    /// Of the request that was given this receipt
    #[arg(long, value_name = "ID")]
    receipt: Option<String>,
}

impl Which {
    fn filter(&self, state: Option<DeadLetterState>) -> DeadLetterFilter {
        DeadLetterFilter {
            incarnation: None,
            source: self.source.clone(),
            stage: self.stage.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            lane: self.lane.or(self.offset.map(|(lane, _)| lane)),
            offset: self.offset.map(|(_, offset)| offset),
            receipt: self.receipt.clone(),
            state,
        }
    }
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    tool: ToolArgs,
    #[command(flatten)]
    which: Which,
    /// Only those: open, redriven or discarded
    #[arg(long, value_parser = state)]
    state: Option<DeadLetterState>,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=200))]
    limit: u64,
}

#[derive(Debug, clap::Args)]
struct RedriveArgs {
    #[command(flatten)]
    tool: ToolArgs,
    #[command(flatten)]
    which: Which,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// Also those that were redriven or discarded before, that cannot be read today, or that count already
    #[arg(long)]
    force: bool,
    /// Why; it stays beside each of them
    #[arg(long, value_name = "TEXT", default_value = "redriven", value_parser = words)]
    why: String,
    #[command(flatten)]
    who: WhoArgs,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only say what would become of them
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct DiscardArgs {
    #[command(flatten)]
    tool: ToolArgs,
    #[command(flatten)]
    which: Which,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// Why; it stays beside each of them
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
    #[command(flatten)]
    who: WhoArgs,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only say how many would be discarded
    #[arg(long)]
    dry_run: bool,
}

fn state(name: &str) -> Result<DeadLetterState, String> {
    DeadLetterState::parse(name).ok_or_else(|| format!("{name:?} is no state: write open, redriven or discarded"))
}

pub(crate) fn run(args: &Args) -> Outcome {
    block_on(async {
        match &args.command {
            Command::List(ListArgs { tool, which, state }) => {
                answer(&list(&tool.installation()?, &which.filter(*state)).await?, tool.json, &tool.flag())
            }
            Command::Show(ShowArgs { tool, which, state, limit }) => {
                answer(&show(&tool.installation()?, which.filter(*state), *limit).await?, tool.json, &tool.flag())
            }
            Command::Redrive(RedriveArgs { tool, which, all, force, why, who, limit, dry_run }) => {
                let filter = which.filter(None);
                is_said(&filter, *all)?;
                let request = Redrive {
                    filter,
                    all: *all,
                    force: *force,
                    who: decider(who, *dry_run)?,
                    why: why.clone(),
                    limit: *limit,
                    dry_run: *dry_run,
                };
                answer(&redrive(&tool.installation()?, &request).await?, tool.json, &tool.flag())
            }
            Command::Discard(DiscardArgs { tool, which, all, why, who, limit, dry_run }) => {
                let filter = which.filter(None);
                is_said(&filter, *all)?;
                let request = Discard {
                    filter,
                    all: *all,
                    who: decider(who, *dry_run)?,
                    why: why.clone(),
                    limit: *limit,
                    dry_run: *dry_run,
                };
                answer(&discard(&tool.installation()?, &request).await?, tool.json, &tool.flag())
            }
        }
    })
}

/// Who decides; a dry run decides nothing.
fn decider(who: &WhoArgs, dry_run: bool) -> anyhow::Result<String> {
    if dry_run { Ok(String::new()) } else { who.name() }
}
