//! `hookline replay`: a range of `raw` read again through the same pure steps, held against its rows, and brought in where it is missing.
//!
//! It writes rows and nothing else: no event, no signal, no alert, so nobody is told anything a second time.

mod mend;
mod read;

use std::ops::Range;

use anyhow::{bail, ensure};
use event::Progress;
use kafka::Topic;
use kafka::control::Control;
use kafka::positions::Positions;
use kafka::salts::Salts;
use serde_json::json;
use warehouse::{RowDiff, Shadow, Warehouse};

use crate::exit::{Outcome, Verdict};
use crate::ledger::raw;
use crate::platform::Platform;
use crate::reach::{self, Reach};
use crate::{spans, when};
use mend::Claim;
use read::Replayed;

/// Records of one run: their verdicts are kept in memory.
const MOST: u64 = 5_000_000;
/// Offsets that are held against each other at once.
const COMPARED: u64 = 50_000;
/// Columns and ranges that are printed.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
    /// This record: LANE:OFFSET
    #[arg(long, value_name = "LANE:OFFSET", value_parser = spans::lane_and_offset, conflicts_with_all = ["lane", "from", "to", "since", "until"])]
    offset: Option<(u16, u64)>,
    /// The lane
    #[arg(long)]
    lane: Option<u16>,
    /// The first offset of raw
    #[arg(long, value_name = "OFFSET", requires = "lane", requires = "to")]
    from: Option<u64>,
    /// The last one
    #[arg(long, value_name = "OFFSET", requires = "from")]
    to: Option<u64>,
    /// Appended at or after: 2h (ago), 2026-11-25, 2026-11-25T12:00:00Z; of all lanes unless --lane names one
    #[arg(long, value_name = "TIME", value_parser = when::time, conflicts_with = "from")]
    since: Option<i64>,
    /// Appended before
    #[arg(long, value_name = "TIME", value_parser = when::time, requires = "since")]
    until: Option<i64>,
    /// Bring in the rows that are missing; without it, only the difference is shown
    #[arg(long)]
    apply: bool,
    /// Delete the rows of the range and write all of them anew, as of today's configuration
    #[arg(long, requires = "apply")]
    replace: bool,
    /// Compare also the columns that depend on today's configuration, catalogue and enrichment
    #[arg(long)]
    all_columns: bool,
    /// Keep the shadow tables, to be looked at; they go by themselves within two days
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    reach::block_on(replay(args))
}

async fn replay(args: &Args) -> Outcome {
    let platform = args.reach.platform()?;
    let warehouse = platform.connect().await?;
    let control = reach::identity(&platform).await?;
    let parts = parts(args, &platform, &control).await?;
    ensure!(
        !parts.is_empty(),
        "raw holds no settled record of that time; `hookline ledger {}` says how far lanes are",
        args.reach.flag()
    );
    let records: u64 = parts.iter().map(|(_, range)| range.end - range.start).sum();
    ensure!(records <= MOST, "these are {records} records: replay at most {MOST} at once");
    let shadow = warehouse.shadow().await?;
    let run = Run { args, platform: &platform, warehouse: &warehouse, control: &control, shadow: &shadow };
    let done = run.all(&parts).await;
    if args.keep {
        tracing::debug!(table = shadow.table(), "kept");
    } else {
        let dropped = warehouse.drop_shadow(&shadow).await;
        // The error that matters is the first.
        if done.is_ok() {
            dropped?;
        }
    }
    let lanes = done?;
    if args.reach.json {
        print_json(args, &shadow, &lanes)
    } else {
        print(args, &shadow, &lanes)
    }
    Ok(if lanes.iter().all(|lane| lane.after.as_ref().unwrap_or(&lane.diff).is_none()) {
        Verdict::Fine
    } else {
        Verdict::NeedsAttention
    })
}

/// The ranges that were asked for, as far as they can be replayed.
async fn parts(args: &Args, platform: &Platform, control: &Control) -> anyhow::Result<Vec<(u16, Range<u64>)>> {
    let kept = raw::kept(&platform.cluster, control.lanes).await?;
    let settled = settled(platform, control.lanes).await?;
    let bounds = |lane: u16| -> anyhow::Result<(u64, u64)> {
        let Some(kept) = kept.get(&lane) else {
            bail!("there is no lane {lane}: the lanes are 0 to {}", control.lanes - 1)
        };
        Ok((kept.offsets.start, settled.get(usize::from(lane)).copied().unwrap_or(0)))
    };
    let exact = match (args.offset, args.lane, args.from, args.to) {
        (Some((lane, offset)), ..) => Some((lane, offset..offset + 1)),
        (None, Some(lane), Some(from), Some(to)) => Some((lane, spans::given(from, to)?)),
        _ => None,
    };
    if let Some((lane, range)) = exact {
        let (low, high) = bounds(lane)?;
        ensure!(
            range.start >= low,
            "raw no longer holds the records of lane {lane} before {low}: they cannot be replayed. If they are lost: hookline ledger \
             accept-loss {} --lane {lane} --from {} --to {} --why WHY",
            args.reach.flag(),
            range.start,
            (range.end - 1).min(low - 1)
        );
        // From there on report itself may be writing.
        ensure!(
            range.end <= high,
            "lane {lane} is settled up to {high} (not included): what comes after is report's to write. If it does not: its lane, \
             `hookline_stalled` and docs/runbooks/lane-stalled.md"
        );
        return Ok(vec![(lane, range)]);
    }
    let Some(since) = args.since else {
        bail!("say what to replay: --offset LANE:OFFSET, --lane with --from and --to, or --since");
    };
    let (cluster, until, lanes) = (platform.cluster.clone(), args.until, control.lanes);
    let times = reach::blocking(move || {
        let positions = Positions::open(&cluster, "hookline-tools", raw::PATIENCE)?;
        let at = |lane, time| positions.offset_at(Topic::Raw, lane, time);
        let of = |lane| Ok((at(lane, since)?, until.map(|until| at(lane, until)).transpose()?.flatten()));
        (0..lanes).map(of).collect::<anyhow::Result<Vec<_>>>()
    })
    .await?;
    let mut parts = Vec::new();
    for (lane, (from, to)) in (0..lanes).zip(times) {
        if args.lane.is_some_and(|only| only != lane) {
            continue;
        }
        let (low, high) = bounds(lane)?;
        let from = from.map_or(u64::MAX, |from| from as u64).max(low);
        let to = to.map_or(u64::MAX, |to| to as u64).min(high);
        if from < to {
            parts.push((lane, from..to));
        }
    }
    Ok(parts)
}

/// One past the last raw offset whose row `report` has committed, by lane.
async fn settled(platform: &Platform, lanes: u16) -> anyhow::Result<Vec<u64>> {
    let cluster = platform.cluster.clone();
    reach::blocking(move || {
        let positions = Positions::open(&cluster, report::GROUP, raw::PATIENCE)?;
        (0..lanes)
            .map(|lane| {
                let committed = positions.committed(Topic::Events, lane)?;
                let progress = committed.map(|committed| committed.metadata.parse::<Progress>()).transpose()?;
                Ok(progress.map_or(0, |progress| progress.raw_hi))
            })
            .collect()
    })
    .await
}

/// What came of one lane.
struct Lane {
    lane: u16,
    range: Range<u64>,
    diff: RowDiff,
    /// Rows that were brought in, when that was asked for.
    written: Option<u64>,
    /// What differs after that.
    after: Option<RowDiff>,
    /// Reports of closed days that could not be computed again.
    frozen: Vec<String>,
}

struct Run<'r> {
    args: &'r Args,
    platform: &'r Platform,
    warehouse: &'r Warehouse,
    control: &'r Control,
    shadow: &'r Shadow,
}

impl Run<'_> {
    async fn all(&self, parts: &[(u16, Range<u64>)]) -> anyhow::Result<Vec<Lane>> {
        // Whoever writes takes the lane first: two replays that do not know of each other could count one event twice.
        let mut claims = Vec::new();
        if self.args.apply {
            for (lane, _) in parts {
                claims.push(Some(Claim::take(&self.platform.cluster, *lane).await?));
            }
        } else {
            claims.resize_with(parts.len(), || None);
        }
        let pipeline = self.platform.pipeline();
        let cluster = self.platform.cluster.clone();
        let salts = reach::blocking(move || Ok(kafka::salts::read(&cluster)?)).await?;
        let mut lanes = Vec::new();
        for ((lane, range), claim) in parts.iter().zip(claims) {
            lanes.push(self.one(&pipeline, &salts, *lane, range.clone(), claim).await?);
        }
        Ok(lanes)
    }

    async fn one(
        &self,
        pipeline: &process::Pipeline,
        salts: &Salts,
        lane: u16,
        range: Range<u64>,
        claim: Option<Claim>,
    ) -> anyhow::Result<Lane> {
        let mut replayed =
            Replayed::new(self.platform, self.warehouse, pipeline, self.control, salts, lane, range.clone());
        let store = self.warehouse.blocks();
        while let Some(block) = replayed.next().await? {
            store.insert_shadow(self.shadow, &block).await?;
        }
        let diff = self.diff(lane, &range).await?;
        let mut done = Lane { lane, range: range.clone(), diff, written: None, after: None, frozen: Vec::new() };
        if let Some(mut claim) = claim {
            claim.wait_until_calm(self.warehouse).await?;
            let wanted = match self.args.replace {
                true => vec![range.clone()],
                false => warehouse::ranges(done.diff.missing.iter().copied()),
            };
            let days = match self.args.replace {
                true => {
                    self.warehouse.closed_days_of(self.shadow, &self.control.incarnation, lane, range.clone()).await?
                }
                false => Vec::new(),
            };
            if self.args.replace {
                claim.prove().await?;
                store.delete(&self.control.incarnation, lane, range.clone()).await?;
            }
            done.written = Some(claim.mend(&store, &mut replayed, &wanted).await?);
            // Days that have more events than when they were closed are closed again by report; here are as many and other ones.
            done.frozen = self.warehouse.rebuild_days(&self.platform.layout(), &days).await?;
            done.after = Some(self.diff(lane, &range).await?);
        }
        Ok(done)
    }

    async fn diff(&self, lane: u16, range: &Range<u64>) -> anyhow::Result<RowDiff> {
        let mut diff = RowDiff::default();
        let mut from = range.start;
        while from < range.end {
            let to = range.end.min(from + COMPARED);
            let all = self.args.all_columns;
            diff.add(self.warehouse.diff(self.shadow, &self.control.incarnation, lane, from..to, all).await?);
            from = to;
        }
        Ok(diff)
    }
}

fn diff_as_json(diff: &RowDiff) -> serde_json::Value {
    json!({
        "compared": diff.compared, "missing": diff.missing.len(), "repeated": diff.repeated.len(), "moved": diff.moved,
        "changed": diff.changed, "columns": diff.columns,
        "missing_offsets": spans::as_json(&warehouse::ranges(diff.missing.iter().copied())),
        "repeated_offsets": spans::as_json(&warehouse::ranges(diff.repeated.iter().copied())),
    })
}

fn print_json(args: &Args, shadow: &Shadow, lanes: &[Lane]) {
    let lane = |lane: &Lane| {
        json!({
            "lane": lane.lane, "from": lane.range.start, "to": lane.range.end - 1, "diff": diff_as_json(&lane.diff),
            "written": lane.written, "after": lane.after.as_ref().map(diff_as_json), "frozen": lane.frozen,
        })
    };
    let ok = lanes.iter().all(|lane| lane.after.as_ref().unwrap_or(&lane.diff).is_none());
    let shadow = args.keep.then(|| shadow.table());
    println!(
        "{}",
        json!({ "ok": ok, "applied": args.apply, "shadow": shadow, "lanes": lanes.iter().map(lane).collect::<Vec<_>>() })
    );
}

fn print(args: &Args, shadow: &Shadow, lanes: &[Lane]) {
    for Lane { lane, range, diff, written, after, frozen } in lanes {
        println!("lane {lane}, {}: {} records", spans::named(range), range.end - range.start);
        print_diff(diff);
        if let Some(written) = written {
            println!(
                "  {written} rows were brought in{}",
                if args.replace { ", in place of what was there" } else { "" }
            );
        }
        match after {
            Some(after) if after.is_none() => println!("  Now every record has its row, and they agree."),
            Some(after) => {
                println!("  What differs after that:");
                print_diff(after);
            }
            None => {}
        }
        for report in frozen.iter().take(SHOWN) {
            println!("  stays as it was closed, its rows are thinned: {report}");
        }
    }
    if args.keep {
        println!("The shadow stays, in hookline and hookline_test: {}", shadow.table());
    }
    let missing: usize = lanes.iter().map(|lane| lane.diff.missing.len()).sum();
    let others = lanes.iter().any(|lane| {
        RowDiff { missing: Vec::new(), ..lane.diff.clone() }
            != RowDiff { compared: lane.diff.compared, ..RowDiff::default() }
    });
    match args.apply {
        true => println!("Nobody was alerted. Next: hookline ledger {}", args.reach.flag()),
        false if missing > 0 => {
            println!("Next: the same with --apply brings the {missing} missing rows in; nobody is alerted")
        }
        false if others => {
            println!("Next: the same with --apply --replace writes the range anew, as of today's configuration")
        }
        false => println!("Rows and replay agree."),
    }
}

fn print_diff(diff: &RowDiff) {
    let RowDiff { compared, missing, repeated, moved, changed, columns } = diff;
    println!("  {compared} rows compared, {} missing, {} repeated, {changed} changed", missing.len(), repeated.len());
    for (what, offsets) in [("missing", missing), ("repeated", repeated)] {
        let ranges = warehouse::ranges(offsets.iter().copied());
        for range in ranges.iter().take(SHOWN) {
            println!("    {what:<9} {}", spans::named(range));
        }
        if ranges.len() > SHOWN {
            println!("    {what:<9} and {} further ranges", ranges.len() - SHOWN);
        }
    }
    if *moved > 0 {
        println!("    {moved} rows would go to the other database (test data or not)");
    }
    for column in columns {
        println!(
            "    {:<22} differs in {} rows; at {}: {:?}, would be {:?}",
            column.column, column.rows, column.example, column.is, column.would_be
        );
    }
}
