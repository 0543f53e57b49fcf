//! `hookline ledger accept-loss`: what is gone for good, said by somebody.

use std::ops::Range;

use anyhow::{bail, ensure};
use event::Millis;
use serde_json::json;
use warehouse::Warehouse;

use super::raw;
use crate::exit::{Outcome, Verdict};
use crate::pause::{who, words};
use crate::reach::{self, Reach};
use crate::spans;
use crate::when::now_ms;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lane
    #[arg(long, required_unless_present = "life")]
    lane: Option<u16>,
    /// The first offset of raw that is lost
    #[arg(long, value_name = "OFFSET", required_unless_present = "life")]
    from: Option<u64>,
    /// The last one
    #[arg(long, value_name = "OFFSET", required_unless_present = "life")]
    to: Option<u64>,
    /// An earlier life of the topics is over: what it had accepted beyond its rows is lost
    #[arg(long, value_name = "INCARNATION", conflicts_with_all = ["lane", "from", "to"])]
    life: Option<String>,
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
    if let Some(life) = &args.life {
        return end_life(reach, args, &who, life).await;
    }
    let (Some(lane), Some(from), Some(to)) = (args.lane, args.from, args.to) else {
        bail!("say what is lost: --lane with --from and --to, or --life");
    };
    let asked = spans::given(from, to)?;
    let platform = reach.platform()?;
    let warehouse = platform.connect().await?;
    let control = reach::identity(&platform).await?;
    ensure!(lane < control.lanes, "there is no lane {lane}: the lanes are 0 to {}", control.lanes - 1);
    let kept = raw::kept(&platform.cluster, control.lanes).await?;
    let low = kept.get(&lane).map_or(0, |kept| kept.offsets.start);
    if asked.end > low {
        bail!(
            "raw still holds records of lane {lane} from {low} on, so they are not lost: bring them in with `hookline replay {} \
             --lane {lane} --from {} --to {} --apply`",
            reach.flag(),
            asked.start.max(low),
            to
        );
    }
    let lost = new_losses(&warehouse, &control.incarnation, lane, asked).await?;
    if !args.dry_run {
        warehouse.acknowledge_loss(&control.incarnation, lane, &lost, Millis(now_ms()), &who, &args.why).await?;
    }
    say(reach, args, lane, &who, &lost);
    Ok(Verdict::Fine)
}

/// What of a range of a lane has no row and was not acknowledged as lost before.
pub(super) async fn new_losses(
    warehouse: &Warehouse,
    incarnation: &str,
    lane: u16,
    asked: Range<u64>,
) -> anyhow::Result<Vec<Range<u64>>> {
    let known = warehouse.losses(incarnation).await?;
    let known: Vec<Range<u64>> = known
        .into_iter()
        .filter(|loss| loss.lane == lane)
        .map(|loss| loss.first_offset..loss.last_offset + 1)
        .collect();
    let present = warehouse.blocks().present(incarnation, lane, asked.clone(), None).await?;
    // Only what has no row is lost, and only what was not said before is new.
    let mut lost = without(asked, &warehouse::ranges(present));
    for range in &known {
        lost = lost.into_iter().flat_map(|part| without(part, std::slice::from_ref(range))).collect();
    }
    Ok(lost)
}

async fn end_life(reach: &Reach, args: &Args, who: &str, life: &str) -> Outcome {
    let platform = reach.platform()?;
    let warehouse = platform.connect().await?;
    let current = reach::identity(&platform).await?.incarnation;
    ensure!(life != current, "{life} is the life of the topics that are there: `hookline ledger start-anew` ends it");
    let lives = warehouse.lives().await?;
    let Some(found) = lives.iter().find(|known| known.incarnation == life) else {
        bail!("ClickHouse has no row of a life {life}");
    };
    let ended = warehouse.ended_lives().await?.iter().any(|ended| ended == life);
    if !args.dry_run && !ended {
        warehouse.end_life(life, Millis(now_ms()), who, &args.why).await?;
    }
    if reach.json {
        let answer = json!({ "ok": true, "dry_run": args.dry_run, "life": life, "records": found.records, "ended_before": ended });
        println!("{answer}");
    } else {
        let verb = match (ended, args.dry_run) {
            (true, _) => "was written down as over before",
            (false, true) => "would be written down as over",
            (false, false) => "is written down as over",
        };
        println!("{life} {verb}, by {who}: {}. Its {} rows stay, as history.", args.why, found.records);
        println!("Next: restart report; then hookline ledger {}", reach.flag());
    }
    Ok(Verdict::Fine)
}

fn say(reach: &Reach, args: &Args, lane: u16, who: &str, lost: &[Range<u64>]) {
    let records = spans::total(lost);
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
