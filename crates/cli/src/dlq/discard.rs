//! `hookline dlq discard`: dead letters that will not be counted, said by somebody.

use std::collections::BTreeMap;

use event::Millis;
use serde_json::json;
use warehouse::{DeadLetterState, Decision};

use super::{Pages, Which};
use crate::exit::{Outcome, Verdict};
use crate::pause::{who, words};
use crate::reach::Reach;
use crate::when::now_ms;

/// Decisions that are written at once.
const PAGE: u64 = 5_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    which: Which,
    /// All that are open
    #[arg(long)]
    all: bool,
    /// Why; it stays beside each of them
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
    /// So many at most, the oldest first
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Only say how many would be discarded
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args) -> Outcome {
    args.which.is_said(args.all)?;
    let who = if args.dry_run { String::new() } else { who(args.who.as_ref())? };
    let warehouse = args.reach.platform()?.connect().await?;
    let mut pages = Pages::new(args.which.filter(Some(DeadLetterState::Open)), PAGE, args.limit);
    let (mut discarded, now) = (0, Millis(now_ms()));
    loop {
        // What was discarded no longer matches, so the next ones stand first.
        let rows = pages.next(&warehouse, if args.dry_run { discarded } else { 0 }).await?;
        if rows.is_empty() {
            break;
        }
        discarded += rows.len() as u64;
        if args.dry_run {
            continue;
        }
        let mut by_incarnation = BTreeMap::<&str, Vec<Decision>>::new();
        for row in &rows {
            by_incarnation.entry(row.incarnation.as_str()).or_default().push(Decision {
                lane: row.lane,
                raw_offset: row.raw_offset,
                state: DeadLetterState::Discarded,
                at: now,
                who: who.clone(),
                why: args.why.clone(),
            });
        }
        for (incarnation, decisions) in by_incarnation {
            warehouse.decide(incarnation, &decisions).await?;
        }
    }
    say(args, &who, discarded);
    Ok(Verdict::Fine)
}

fn say(args: &Args, who: &str, discarded: u64) {
    if args.reach.json {
        println!("{}", json!({ "ok": true, "dry_run": args.dry_run, "discarded": discarded }));
        return;
    }
    let verb = if args.dry_run { "would be" } else { "are" };
    println!("{discarded} dead letters {verb} discarded, by {who}: {}", args.why);
    println!("Next: hookline dlq list {}", args.reach.flag());
}
