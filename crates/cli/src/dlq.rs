//! `hookline dlq`: dead letters, and what is done about them.

mod discard;
mod letter;
mod plan;
mod redrive;
mod show;

use anyhow::{bail, ensure};
use clap::Subcommand;
use serde_json::json;
use warehouse::{DeadLetterFilter, DeadLetterGroup, DeadLetterState, Warehouse};

use crate::exit::{Outcome, Verdict};
use crate::reach::{self, Reach};
use crate::spans;
use crate::when;

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
    Show(show::Args),
    /// Append dead letters to raw again, to be adapted as of today; each event counts once
    Redrive(redrive::Args),
    /// Decide that dead letters will not be counted
    Discard(discard::Args),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    which: Which,
    /// Only those: open, redriven or discarded
    #[arg(long, value_parser = state)]
    state: Option<DeadLetterState>,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Which {
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
    #[arg(long, value_name = "TIME", value_parser = when::time, allow_hyphen_values = false)]
    since: Option<i64>,
    /// Received before
    #[arg(long, value_name = "TIME", value_parser = when::time)]
    until: Option<i64>,
    /// Of this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<u16>,
    /// This one: LANE:OFFSET
    #[arg(long, value_name = "LANE:OFFSET", value_parser = spans::lane_and_offset, conflicts_with = "lane")]
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

    /// Refuses to change everything there is because nothing was said.
    fn is_said(&self, all: bool) -> anyhow::Result<()> {
        let said = self.filter(None) != DeadLetterFilter::default();
        ensure!(!(all && said), "--all and a filter contradict each other: leave one of them out");
        ensure!(
            all || said,
            "say which dead letters: --source, --stage, --reason, --since, --until, --lane, --offset, --receipt, or --all"
        );
        Ok(())
    }
}

fn state(name: &str) -> Result<DeadLetterState, String> {
    DeadLetterState::parse(name).ok_or_else(|| format!("{name:?} is no state: write open, redriven or discarded"))
}

pub(crate) fn run(args: &Args) -> Outcome {
    reach::block_on(async {
        match &args.command {
            Command::List(args) => list(args).await,
            Command::Show(args) => show::run(args).await,
            Command::Redrive(args) => redrive::run(args).await,
            Command::Discard(args) => discard::run(args).await,
        }
    })
}

async fn list(args: &ListArgs) -> Outcome {
    let warehouse = args.reach.platform()?.connect().await?;
    let groups = warehouse.dead_letter_groups(&args.which.filter(args.state)).await?;
    let open: u64 = groups.iter().map(|group| group.open).sum();
    if args.reach.json {
        print_json(&groups, open)
    } else {
        print(&args.reach, &groups, open)
    }
    Ok(if open == 0 { Verdict::Fine } else { Verdict::NeedsAttention })
}

fn print_json(groups: &[DeadLetterGroup], open: u64) {
    println!("{}", json!({ "ok": open == 0, "open": open, "groups": groups }));
}

fn print(reach: &Reach, groups: &[DeadLetterGroup], open: u64) {
    if groups.is_empty() {
        println!("There are no dead letters.");
        return;
    }
    println!(
        "{:<20} {:<8} {:<24} {:>8} {:>8} {:>9} {:>10}  {:<21} {:<21}",
        "source", "stage", "reason", "all", "open", "redriven", "discarded", "first seen", "last seen"
    );
    for DeadLetterGroup { source, stage, reason, number, open, redriven, discarded, first_seen, last_seen } in groups {
        let source = if source.is_empty() { "?" } else { source };
        println!(
            "{source:<20} {stage:<8} {reason:<24} {number:>8} {open:>8} {redriven:>9} {discarded:>10}  {:<21} {:<21}",
            when::shown(*first_seen),
            when::shown(*last_seen)
        );
    }
    match groups.iter().find(|group| group.open > 0) {
        Some(group) => {
            let flag = reach.flag();
            let source = if group.source.is_empty() { String::new() } else { format!(" --source {}", group.source) };
            let which = format!("{source} --stage {} --reason {}", group.stage, group.reason);
            println!("{open} are open.");
            println!("Next: hookline dlq show {flag}{which}              what they are (personal data may be in them)");
            println!("      hookline dlq redrive {flag}{which} --dry-run what would become of them today");
            println!("      hookline dlq discard {flag}{which} --why WHY if they are nobody's");
        }
        None => println!("None is open."),
    }
}

/// The next dead letters of a filter, in steps that fit into memory.
struct Pages {
    filter: DeadLetterFilter,
    /// How many are taken at once.
    page: u64,
    /// How many were taken, and how many may be.
    taken: u64,
    limit: u64,
}

impl Pages {
    fn new(filter: DeadLetterFilter, page: u64, limit: u64) -> Self {
        Self { filter, page, taken: 0, limit }
    }

    /// The next ones; `skip` of those that match now were looked at before and still match.
    async fn next(&mut self, warehouse: &Warehouse, skip: u64) -> anyhow::Result<Vec<warehouse::DeadLetterRow>> {
        let page = self.page.min(self.limit - self.taken);
        if page == 0 {
            return Ok(Vec::new());
        }
        let rows = warehouse.dead_letters(&self.filter, skip, page).await?;
        self.taken += rows.len() as u64;
        Ok(rows)
    }
}

/// The filter for the life of the topics that Kafka holds now: older dead letters have no bytes.
async fn current(
    platform: &crate::platform::Platform,
    filter: DeadLetterFilter,
) -> anyhow::Result<(DeadLetterFilter, kafka::control::Control)> {
    let control = reach::identity(platform).await?;
    if control.lanes == 0 {
        bail!("the identity on the topic control names no lane");
    }
    Ok((DeadLetterFilter { incarnation: Some(control.incarnation.clone()), ..filter }, control))
}
