//! `hookline ledger accept-loss`: what is gone for good, said by somebody.

use std::ops::Range;

use anyhow::{bail, ensure};
use event::Millis;
use serde_json::json;

use super::raw;
use crate::exit::{Outcome, Verdict};
use crate::pause::{who, words};
use crate::reach::{self, Reach};
use crate::spans;
use crate::when::now_ms;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lane
    #[arg(long)]
    lane: u16,
    /// The first offset of raw that is lost
    #[arg(long, value_name = "OFFSET")]
    from: u64,
    /// The last one
    #[arg(long, value_name = "OFFSET")]
    to: u64,
    /// How it came about; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: String,
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
    /// Only say what would be written down
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(reach: &Reach, args: &Args) -> Outcome {
    let who = who(args.who.as_ref())?;
    let asked = spans::given(args.from, args.to)?;
    let platform = reach.platform()?;
    let warehouse = platform.connect().await?;
    let control = reach::identity(&platform).await?;
    let lane = args.lane;
    ensure!(lane < control.lanes, "there is no lane {lane}: the lanes are 0 to {}", control.lanes - 1);
    let kept = raw::kept(&platform.cluster, control.lanes).await?;
    let low = kept.get(&lane).map_or(0, |kept| kept.offsets.start);
    if asked.end > low {
        bail!(
            "raw still holds records of lane {lane} from {low} on, so they are not lost: bring them in with `hookline replay {} \
             --lane {lane} --from {} --to {} --apply`",
            reach.flag(),
            asked.start.max(low),
            args.to
        );
    }
    let known = warehouse.losses(&control.incarnation).await?;
    let known: Vec<Range<u64>> = known
        .into_iter()
        .filter(|loss| loss.lane == lane)
        .map(|loss| loss.first_offset..loss.last_offset + 1)
        .collect();
    let present = warehouse.blocks().present(&control.incarnation, lane, asked.clone(), None).await?;
    // Only what has no row is lost, and only what was not said before is new.
    let mut lost = without(asked, &warehouse::ranges(present));
    for range in &known {
        lost = lost.into_iter().flat_map(|part| without(part, std::slice::from_ref(range))).collect();
    }
    if !args.dry_run {
        warehouse.acknowledge_loss(&control.incarnation, lane, &lost, Millis(now_ms()), &who, &args.why).await?;
    }
    say(reach, args, &who, &lost);
    Ok(Verdict::Fine)
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn say(reach: &Reach, args: &Args, who: &str, lost: &[Range<u64>]) {
    let (lane, records) = (args.lane, spans::total(lost));
    if reach.json {
        let answer = json!({ "ok": true, "dry_run": args.dry_run, "lane": lane, "records": records, "lost": spans::as_json(lost) });
        println!("{answer}");
        return;
    }
    let verb = if args.dry_run { "would be" } else { "are" };
    for range in lost {
        println!("lane {lane}: {} {verb} written down as lost, by {who}: {}", spans::named(range), args.why);
    }
    match records {
        0 => println!("Nothing to write down: each of these records has its row, or was acknowledged before."),
        _ => println!("Next: hookline ledger {}", reach.flag()),
    }
}

/// What of a range is in none of these ascending ranges.
fn without(range: Range<u64>, holes: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut at = range.start;
    for hole in holes {
        let until = hole.start.clamp(at, range.end.max(at));
        if at < until {
            left.push(at..until);
        }
        at = at.max(hole.end);
    }
    if at < range.end {
        left.push(at..range.end);
    }
    left
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a range is meant, not its elements")]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_row_is_not_lost() {
        assert_eq!(without(3..10, &[]), [3..10]);
        assert_eq!(without(3..10, &[0..4, 6..7, 9..20]), [4..6, 7..9]);
        assert_eq!(without(3..10, &[0..20]), []);
        assert_eq!(without(3..10, &[12..20]), [3..10]);
    }
}
