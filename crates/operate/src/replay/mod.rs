//! A range of `raw` read again through the same pure steps, held against its rows, and brought in where it is missing.
//!
//! It writes rows and nothing else: no event, no signal, no alert, so nobody is told anything a second time.

mod backfill;
mod erased;
pub(crate) mod read;

use std::ops::Range;
use std::time::{Duration, Instant};

use event::Progress;
use kafka::Topic;
use kafka::control::Control;
use kafka::positions::Positions;
use serde::Serialize;
use warehouse::{ChangedColumn, FrozenDay, RowDiff, Shadow, Side, Warehouse};

use crate::error::{refuse, refuse_unless};
use crate::ledger::raw;
use crate::offsets::{self, OffsetRange};
use crate::{GROUP, Installation, KAFKA_TIMEOUT, Report, Result, blocking};
use backfill::Claim;
use read::Replayed;

/// Records of one run: their verdicts are kept in memory.
const MOST: u64 = 5_000_000;
/// Offsets that are held against each other at once.
const COMPARED: u64 = 50_000;

/// How long is waited until rows that are being deleted are gone.
const REWRITTEN_WITHIN: Duration = Duration::from_secs(120);
/// How often is looked whether they are.
const LOOK: Duration = Duration::from_millis(300);

/// Which records of `raw` are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These of a lane.
    Range {
        /// The lane.
        lane: u16,
        /// The offsets.
        range: OffsetRange,
    },
    /// Those that were appended at a time, in milliseconds since 1970; of all lanes unless one is named.
    Time {
        /// At or after.
        since: i64,
        /// Before.
        until: Option<i64>,
        /// The only lane.
        lane: Option<u16>,
    },
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// Nothing: only the difference is told.
    No,
    /// The rows that are missing.
    Missing,
    /// The rows of the range are deleted and all written anew, as of today's configuration.
    Replace,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Which records.
    pub selection: Selection,
    /// What is written.
    pub apply: Apply,
    /// Whether the columns are compared too that depend on today's configuration, catalogue and enrichment.
    pub all_columns: bool,
    /// Whether the shadow tables stay, to be looked at. They go by themselves within two days.
    pub keep: bool,
}

/// What came of a replay.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// Whether rows and replay agree now.
    pub ok: bool,
    /// Whether rows were to be written.
    pub applied: bool,
    /// The shadow table, if it stays.
    pub shadow: Option<String>,
    /// Each range of a lane.
    pub lanes: Vec<LaneReplay>,
    /// Whether all rows of the range were to be written anew.
    #[serde(skip)]
    pub replaced: bool,
}

/// What came of one lane.
#[derive(Debug, Clone, Serialize)]
pub struct LaneReplay {
    /// The lane.
    pub lane: u16,
    /// The first offset.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// How rows and replay differed.
    pub diff: Difference,
    /// Rows that were brought in, when that was asked for.
    pub written: Option<u64>,
    /// What differs after that.
    pub after: Option<Difference>,
    /// Reports of closed days that could not be computed again, because their rows are thinned or cleared.
    pub frozen: Vec<String>,
}

/// How rows differ from what a replay makes of their records.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Rows that were held against each other.
    pub compared: u64,
    /// Offsets without a row.
    pub missing: usize,
    /// Offsets with more than one row.
    pub repeated: usize,
    /// Rows that the replay would put into the other database.
    pub moved: u64,
    /// Rows that differ in at least one column.
    pub changed: u64,
    /// In which columns.
    pub columns: Vec<ChangedColumn>,
    /// Offsets without a row.
    pub missing_offsets: Vec<OffsetRange>,
    /// Offsets with more than one row.
    pub repeated_offsets: Vec<OffsetRange>,
}

impl Difference {
    /// Whether rows and replay agree.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing == 0 && !self.is_beyond_missing()
    }

    /// Whether there is a difference that bringing missing rows in does not mend.
    #[must_use]
    pub fn is_beyond_missing(&self) -> bool {
        self.repeated > 0 || self.moved > 0 || self.changed > 0
    }
}

impl From<RowDiff> for Difference {
    fn from(diff: RowDiff) -> Self {
        let RowDiff { compared, missing, repeated, moved, changed, columns } = diff;
        Self {
            compared,
            missing: missing.len(),
            repeated: repeated.len(),
            moved,
            changed,
            columns,
            missing_offsets: offsets::ranges_of(missing),
            repeated_offsets: offsets::ranges_of(repeated),
        }
    }
}

impl Report for ReplayReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Reads a range of `raw` again and holds it against its rows; brings rows in if that was asked for.
///
/// # Errors
/// When `raw` no longer holds the records, `report` has not settled them, there are too many, or an engine fails.
pub async fn replay(installation: &Installation, replay: &Replay) -> Result<ReplayReport> {
    let warehouse = installation.connect().await?;
    let control = installation.identity().await?;
    let parts = parts(&replay.selection, installation, &control).await?;
    refuse_unless!(
        !parts.is_empty(),
        "raw holds no settled record of that time; `hookline ledger {}` says how far lanes are",
        installation.flag()
    );
    let records: u64 = parts.iter().map(|(_, range)| range.end - range.start).sum();
    refuse_unless!(records <= MOST, "these are {records} records: replay at most {MOST} at once");
    wait_until_rewritten(&warehouse, "nothing was compared").await?;
    let shadow = warehouse.shadow().await?;
    let run = Run {
        apply: replay.apply,
        all_columns: replay.all_columns,
        installation,
        warehouse: &warehouse,
        control: &control,
        shadow: &shadow,
    };
    let done = run.all(&parts).await;
    if replay.keep {
        tracing::debug!(table = shadow.table(), "kept");
    } else {
        let dropped = warehouse.drop_shadow(&shadow).await;
        // The error that matters is the first.
        if done.is_ok() {
            dropped?;
        }
    }
    let lanes: Vec<LaneReplay> = done?.into_iter().map(Lane::report).collect();
    Ok(ReplayReport {
        ok: lanes.iter().all(|lane| lane.after.as_ref().unwrap_or(&lane.diff).is_none()),
        applied: replay.apply != Apply::No,
        shadow: replay.keep.then(|| shadow.table().to_owned()),
        lanes,
        replaced: replay.apply == Apply::Replace,
    })
}

/// Waits until no mutation rewrites `records`: rows that a deletion has not reached yet would be taken for rows that
/// stay. `not_done` is what is said where they do not end in time.
async fn wait_until_rewritten(warehouse: &Warehouse, not_done: &str) -> Result<()> {
    let until = Instant::now() + REWRITTEN_WITHIN;
    loop {
        match warehouse.rewrites_of_records().await? {
            (0, _) => return Ok(()),
            (number, why) if Instant::now() >= until => {
                let why = if why.is_empty() { String::new() } else { format!(" (the last failure: {why})") };
                refuse!(
                    "{number} mutations of records are under way in ClickHouse{why}: rows that they have not reached yet may be gone a \
                     moment later, so {not_done}. Look at system.mutations, and do the same again once they are done"
                )
            }
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The ranges that were asked for, as far as they can be replayed.
async fn parts(
    selection: &Selection,
    installation: &Installation,
    control: &Control,
) -> Result<Vec<(u16, Range<u64>)>> {
    let kept = raw::kept(&installation.cluster, control.lanes).await?;
    let settled = settled(installation, control.lanes).await?;
    let bounds = |lane: u16| -> Result<(u64, u64)> {
        let Some(kept) = kept.get(&lane) else {
            refuse!("there is no lane {lane}: the lanes are 0 to {}", control.lanes - 1)
        };
        Ok((kept.from, settled.get(usize::from(lane)).copied().unwrap_or(0)))
    };
    if let Selection::Range { lane, range: OffsetRange(range) } = selection {
        let (lane, range) = (*lane, range.clone());
        let (low, high) = bounds(lane)?;
        refuse_unless!(
            range.start >= low,
            "raw no longer holds the records of lane {lane} before {low}: they cannot be replayed. If they are lost: hookline ledger \
             accept-loss {} --lane {lane} --from {} --to {} --why WHY",
            installation.flag(),
            range.start,
            (range.end - 1).min(low - 1)
        );
        // From there on report itself may be writing.
        refuse_unless!(
            range.end <= high,
            "lane {lane} is settled up to {high} (not included): what comes after is report's to write. If it does not: its lane, \
             `hookline_stalled` and docs/runbooks/lane-stalled.md"
        );
        return Ok(vec![(lane, range)]);
    }
    let Selection::Time { since, until, lane: only } = *selection else { return Ok(Vec::new()) };
    let (cluster, lanes) = (installation.cluster.clone(), control.lanes);
    let times = blocking(move || {
        let positions = Positions::open(&cluster, GROUP, KAFKA_TIMEOUT)?;
        let at = |lane, time| positions.offset_at(Topic::Raw, lane, time);
        let of = |lane| Ok((at(lane, since)?, until.map(|until| at(lane, until)).transpose()?.flatten()));
        (0..lanes).map(of).collect::<Result<Vec<_>>>()
    })
    .await?;
    let mut parts = Vec::new();
    for (lane, (from, to)) in (0..lanes).zip(times) {
        if only.is_some_and(|only| only != lane) {
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
pub(crate) async fn settled(installation: &Installation, lanes: u16) -> Result<Vec<u64>> {
    let cluster = installation.cluster.clone();
    blocking(move || {
        let positions = Positions::open(&cluster, report::GROUP, KAFKA_TIMEOUT)?;
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

impl Lane {
    fn report(self) -> LaneReplay {
        let Self { lane, range, diff, written, after, frozen } = self;
        LaneReplay {
            lane,
            from: range.start,
            to: range.end - 1,
            diff: diff.into(),
            written,
            after: after.map(Difference::from),
            frozen,
        }
    }
}

struct Run<'r> {
    apply: Apply,
    all_columns: bool,
    installation: &'r Installation,
    warehouse: &'r Warehouse,
    control: &'r Control,
    shadow: &'r Shadow,
}

impl Run<'_> {
    async fn all(&self, parts: &[(u16, Range<u64>)]) -> Result<Vec<Lane>> {
        // Whoever writes takes the lane first: two replays that do not know of each other could count one event twice.
        let mut claims = Vec::new();
        if self.apply != Apply::No {
            for (lane, _) in parts {
                claims.push(Some(Claim::take(&self.installation.cluster, *lane).await?));
            }
        } else {
            claims.resize_with(parts.len(), || None);
        }
        let pipeline = self.installation.pipeline_with_links().await?;
        let cluster = self.installation.cluster.clone();
        let salts = blocking(move || Ok(kafka::salts::read(&cluster)?)).await?;
        let mut lanes = Vec::new();
        for ((lane, range), claim) in parts.iter().zip(claims) {
            let replayed =
                Replayed::new(self.installation, self.warehouse, &pipeline, self.control, &salts, *lane, range.clone());
            lanes.push(self.one(replayed, *lane, range.clone(), claim).await?);
        }
        Ok(lanes)
    }

    async fn one(
        &self,
        mut replayed: Replayed<'_>,
        lane: u16,
        range: Range<u64>,
        claim: Option<Claim>,
    ) -> Result<Lane> {
        let store = self.warehouse.blocks();
        while let Some(block) = replayed.next().await? {
            store.insert_shadow(self.shadow, &block).await?;
        }
        if let Some(claim) = &claim {
            // What a claim before this one has begun is over before anything is compared.
            claim.wait_until_calm(self.warehouse).await?;
            let not_done = format!("nothing of lane {lane} was written; lanes before it are done");
            wait_until_rewritten(self.warehouse, &not_done).await?;
        }
        let diff = self.diff(lane, &range).await?;
        let mut done = Lane { lane, range: range.clone(), diff, written: None, after: None, frozen: Vec::new() };
        if let Some(mut claim) = claim {
            let replace = self.apply == Apply::Replace;
            let wanted = match replace {
                true => vec![range.clone()],
                false => warehouse::ranges(done.diff.missing.iter().copied()),
            };
            let (layout, incarnation) = (self.installation.layout(), &self.control.incarnation);
            let (mut days, mut kept) = (Vec::new(), Vec::new());
            if replace {
                days = self.warehouse.closed_days_of(self.shadow, incarnation, lane, range.clone()).await?;
                // A replacement that is cut in the middle leaves a day with as many events as when it was closed, and
                // other ones.
                kept = self.warehouse.reopen_days(&layout, &days).await?;
                claim.prove().await?;
                store.delete(incarnation, lane, range.clone()).await?;
            }
            done.written = Some(claim.backfill(&store, &mut replayed, &wanted).await?);
            // Days that are open are served live, and report closes them again by and by; these are closed at once.
            let frozen = self.warehouse.rebuild_days(&layout, &days, kept).await?;
            done.frozen = frozen.iter().map(words).collect();
            done.after = Some(self.diff(lane, &range).await?);
        }
        Ok(done)
    }

    async fn diff(&self, lane: u16, range: &Range<u64>) -> Result<RowDiff> {
        let mut diff = RowDiff::default();
        let mut from = range.start;
        while from < range.end {
            let to = range.end.min(from + COMPARED);
            let all = self.all_columns;
            diff.add(self.warehouse.diff(self.shadow, &self.control.incarnation, lane, from..to, all).await?);
            from = to;
        }
        Ok(diff)
    }
}

/// A report of a day, for people.
fn words(FrozenDay { side, report, day }: &FrozenDay) -> String {
    match side {
        Side::Production => format!("{report} of {day}"),
        Side::Test => format!("{report} of {day} (test data)"),
    }
}
