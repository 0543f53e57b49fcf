//! `hookline ledger recover`: positions that are not where they belong, found again or moved past what is gone.

use std::ops::Range;

use anyhow::{Context, ensure};
use event::wire::Ids;
use event::{Millis, Progress};
use process::gap;
use report::recovery::{self, Facts, Fault};
use report::standing::Held;
use serde_json::{Value, json};
use warehouse::Warehouse;

use super::accept::new_losses;
use crate::exit::{Outcome, Verdict};
use crate::pause::{who, words};
use crate::platform::Platform;
use crate::reach::{self, Reach};
use crate::spans;
use crate::when::now_ms;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lane; without it, all of them
    #[arg(long)]
    lane: Option<u16>,
    /// Do it; without it, only what is wrong is shown
    #[arg(long)]
    apply: bool,
    /// How it came about. Needed where records are lost; it stays in the ledger
    #[arg(long, value_name = "TEXT", value_parser = words)]
    why: Option<String>,
    /// Who says so [default: the user that runs this]
    #[arg(long, value_name = "NAME", value_parser = words)]
    who: Option<String>,
}

/// What was found about a lane, and done.
struct Lane {
    lane: u16,
    /// What `process` will never see.
    gap: Option<Range<u64>>,
    /// What is wrong with the position of `report`.
    fault: Option<Fault>,
    /// Where it is, and where it belongs.
    from: Option<i64>,
    to: Option<(i64, Progress)>,
    /// Rows that are neither there nor in `events` any more; `raw` may hold them.
    replay: Option<Range<u64>>,
}

impl Lane {
    fn is_fine(&self) -> bool {
        self.gap.is_none() && self.fault.is_none()
    }
}

pub(crate) async fn run(reach: &Reach, args: &Args) -> Outcome {
    let platform = reach.platform()?;
    let warehouse = platform.connect().await?;
    let incarnation = reach::identity(&platform).await?;
    let lanes = match args.lane {
        Some(lane) => {
            let last = incarnation.lanes - 1;
            ensure!(lane <= last, "there is no lane {lane}: the lanes are 0 to {last}");
            vec![lane]
        }
        None => (0..incarnation.lanes).collect(),
    };
    let ids = platform.schemas().await?;
    let run = Run { platform: &platform, warehouse: &warehouse, incarnation: &incarnation.incarnation, ids };
    let mut found = Vec::new();
    for lane in lanes {
        found.push(run.look(lane).await?);
    }
    if args.apply {
        let lost = found.iter().any(|lane| lane.gap.is_some());
        let word = match lost {
            true => Some((
                who(args.who.as_ref())?,
                args.why
                    .clone()
                    .context("records are lost: say how that came about, --why TEXT; it stays in the ledger")?,
            )),
            false => None,
        };
        for lane in &found {
            run.mend(lane, word.as_ref()).await?;
        }
    }
    if reach.json {
        print_json(args, &found)
    } else {
        print(reach, args, &found)
    }
    Ok(if args.apply || found.iter().all(Lane::is_fine) { Verdict::Fine } else { Verdict::NeedsAttention })
}

struct Run<'r> {
    platform: &'r Platform,
    warehouse: &'r Warehouse,
    incarnation: &'r str,
    ids: Ids,
}

impl Run<'_> {
    async fn look(&self, lane: u16) -> anyhow::Result<Lane> {
        let cluster = self.platform.cluster.clone();
        let (processed, (committed, log)) =
            reach::blocking(move || Ok((gap::find(&cluster, lane)?, recovery::located(&cluster, lane)?))).await?;
        let blocks = self.warehouse.blocks();
        let raw_end = blocks.max_offset(self.incarnation, lane).await?.map_or(0, |last| last + 1);
        let lost = self.warehouse.losses(self.incarnation).await?.into_iter().filter(|loss| loss.lane == lane);
        let lost = lost.map(|loss| loss.first_offset..loss.last_offset + 1).collect();
        let held = Held { raw_end, lost, others: Vec::new() };
        let position = committed.as_ref().map_or(0, |committed| committed.next);
        let beyond = blocks.rows_beyond(self.incarnation, lane, position.unsigned_abs()).await?;
        let from = committed.as_ref().map(|committed| committed.next);
        let facts = Facts { committed, log, held, blocks_beyond: beyond.len().saturating_sub(1) };
        let fault = facts.fault();
        let (mut to, mut replay) = (None, None);
        if fault.is_some() {
            let last_cut = blocks.max_cut(self.incarnation, lane).await?;
            let empty = processed.carried.map_or_else(Progress::default, |carried| Progress {
                raw_hi: carried.seen.raw_hi,
                watermark: Millis(carried.watermark_ms),
            });
            let (cluster, held, ids) = (self.platform.cluster.clone(), facts.held.clone(), self.ids);
            let at =
                reach::blocking(move || Ok(recovery::find(&cluster, &ids, lane, log, &held, last_cut, empty)?)).await?;
            replay = Some(facts.held.accounted_for()..at.1.raw_hi).filter(|range| !range.is_empty());
            to = Some(at);
        }
        Ok(Lane { lane, gap: processed.gap, fault, from, to, replay })
    }

    /// Puts the positions of a lane where they belong. `word` is who says that records are lost, and why.
    async fn mend(&self, found: &Lane, word: Option<&(String, String)>) -> anyhow::Result<()> {
        let lane = found.lane;
        if let (Some(gap), Some((who, why))) = (&found.gap, word) {
            // First the word, then the deed: what is passed over was said to be lost before.
            let lost = new_losses(self.warehouse, self.incarnation, lane, gap.clone()).await?;
            self.warehouse.acknowledge_loss(self.incarnation, lane, &lost, Millis(now_ms()), who, why).await?;
            let cluster = self.platform.cluster.clone();
            reach::blocking(move || Ok(gap::bridge(&cluster, lane)?)).await?;
        }
        if let Some((position, progress)) = found.to {
            let cluster = self.platform.cluster.clone();
            reach::blocking(move || Ok(recovery::move_to(&cluster, lane, position, progress)?)).await?;
        }
        Ok(())
    }
}

fn print_json(args: &Args, found: &[Lane]) {
    let lane = |lane: &Lane| {
        json!({
            "lane": lane.lane,
            "process": lane.gap.as_ref().map(|gap| json!({ "lost": spans::as_json(std::slice::from_ref(gap)) })),
            "report": lane.fault.map(|fault| json!({
                "fault": fault.words(), "from": lane.from, "to": lane.to.map(|(position, _)| position),
                "settled": lane.to.map(|(_, progress)| progress.raw_hi),
                "to_replay": lane.replay.as_ref().map(|range| spans::as_json(std::slice::from_ref(range))),
            })),
        })
    };
    let ok = args.apply || found.iter().all(Lane::is_fine);
    println!("{}", json!({ "ok": ok, "applied": args.apply, "lanes": found.iter().map(lane).collect::<Vec<Value>>() }));
}

fn print(reach: &Reach, args: &Args, found: &[Lane]) {
    for Lane { lane, gap, fault, from, to, replay } in found.iter().filter(|lane| !lane.is_fine()) {
        if let Some(gap) = gap {
            let verb = if args.apply { "was" } else { "would be" };
            println!(
                "lane {lane}: raw was deleted before it was processed: {} are lost; the lane {verb} moved past them",
                spans::named(gap)
            );
        }
        if let (Some(fault), Some((position, progress))) = (fault, to) {
            let from = from.map_or_else(|| "none".to_owned(), |from| from.to_string());
            let verb = if args.apply { "is now" } else { "belongs to" };
            println!(
                "lane {lane}: {}. The position of report was {from} and {verb} {position}, settled up to raw offset {}",
                fault.words(),
                progress.raw_hi
            );
        }
        if let Some(range) = replay {
            println!(
                "lane {lane}: {} are neither rows nor in events: hookline replay {} --lane {lane} --from {} --to {} --apply brings in what \
                 raw still holds",
                spans::named(range),
                reach.flag(),
                range.start,
                range.end - 1
            );
        }
    }
    match (found.iter().all(Lane::is_fine), args.apply) {
        (true, _) => {
            println!("Every position is where it belongs. What rows are missing: hookline ledger {}", reach.flag())
        }
        (false, true) => println!(
            "Next: restart process and report, if their lanes stand still; then hookline ledger {}",
            reach.flag()
        ),
        (false, false) => println!("Next: the same with --apply (and --why TEXT where records are lost)"),
    }
}
