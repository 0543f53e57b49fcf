//! Every record of `raw` is one row; which are not, and what they are.

pub mod accept_loss;
pub mod raw;
pub mod recover;
pub mod reset;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use kafka::Cluster;
use runtime::with_causes;
use serde::Serialize;
use warehouse::{LaneLedger, Loss, Warehouse};

use crate::offsets::{self, OffsetRange, split_at};
use crate::{Installation, Report, Result, blocking, clock};
use raw::{Kept, Record};

/// Faulty buckets of 65,536 offsets that are looked into for each lane: far more than a person reads.
const BUCKETS: usize = 200;
/// Commands of a kind that are named for a lane.
const NAMED: usize = 20;

/// The ledger of an installation.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerReport {
    /// Whether every settled record is one row.
    pub ok: bool,
    /// The life of the topics now; `None` when Kafka does not say.
    pub incarnation: Option<String>,
    /// Why Kafka does not say, if so.
    pub kafka: Option<String>,
    /// Each lane, those of earlier lives of the topics only when something is wrong with them.
    pub lanes: Vec<LaneReport>,
    /// What was acknowledged as lost.
    pub losses: Vec<Loss>,
    /// What was erased: of each such record a stub is left, which counts as its row.
    pub erasures: Vec<crate::erase::Named>,
    /// Commands that mend what is wrong.
    pub next: Vec<String>,
}

/// The ledger of one lane.
#[derive(Debug, Clone, Serialize)]
pub struct LaneReport {
    /// The life of the topics.
    pub incarnation: String,
    /// The lane.
    pub lane: u16,
    /// Rows.
    pub records: u64,
    /// Rows that there should be.
    pub expected: u64,
    /// Settled records without a row.
    pub missing: u64,
    /// Offsets with more than one row.
    pub repeated: usize,
    /// Records that were acknowledged as lost.
    pub lost: u64,
    /// One past the last settled offset; `None` before the lane has settled anything.
    pub settled: Option<u64>,
    /// Records that wait in `raw` for their rows; `None` when Kafka does not say, or the life of the topics is over.
    pub waiting: Option<u64>,
    /// For how many minutes the oldest of them has waited; 0 while that is less than a minute, or none waits.
    pub waiting_minutes: u64,
    /// Whether there is more than what is named.
    pub more: bool,
    /// Settled records without a row.
    pub missing_offsets: Vec<OffsetRange>,
    /// Without a row, and not settled yet: an insert may be under way.
    pub under_way: Vec<OffsetRange>,
    /// Offsets with more than one row.
    pub repeated_offsets: Vec<Repeated>,
    /// What `raw` still holds; `None` for an earlier life of the topics.
    pub kept: Option<Kept>,
    /// What some of the missing records are.
    pub details: Vec<Record>,
}

/// An offset with more than one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// The offset.
    pub offset: u64,
    /// How many rows it has.
    pub rows: u64,
}

impl Report for LedgerReport {
    fn needs_attention(&self) -> bool {
        let cut_short = self.erasures.iter().any(|erasure| erasure.done_at.is_none());
        !self.ok || self.kafka.is_some() || cut_short || self.lanes.iter().any(LaneReport::waits)
    }
}

impl LaneReport {
    /// A lane of which nothing is settled yet.
    fn unsettled(incarnation: &str, lane: u16, kept: Kept) -> Self {
        Self {
            incarnation: incarnation.to_owned(),
            lane,
            records: 0,
            expected: 0,
            missing: 0,
            repeated: 0,
            lost: 0,
            settled: None,
            waiting: Some(kept.to - kept.from),
            waiting_minutes: 0,
            more: false,
            missing_offsets: Vec::new(),
            under_way: Vec::new(),
            repeated_offsets: Vec::new(),
            kept: Some(kept),
            details: Vec::new(),
        }
    }

    /// Whether records have waited for their rows for longer than any stage takes: nothing is lost, and something
    /// stands still.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.waiting_minutes >= 2
    }

    fn balances(&self) -> bool {
        self.missing_offsets.is_empty() && self.repeated_offsets.is_empty() && !self.more
    }

    /// The missing records that `raw` still holds, and those that it does not.
    #[must_use]
    pub fn kept_and_gone(&self) -> (Vec<OffsetRange>, Vec<OffsetRange>) {
        let low = self.kept.as_ref().map_or(u64::MAX, |kept| kept.from);
        let missing: Vec<Range<u64>> = self.missing_offsets.iter().map(|range| range.0.clone()).collect();
        let (gone, kept) = split_at(&missing, low);
        (offsets::ranges(&kept), offsets::ranges(&gone))
    }

    /// What to do about the faults.
    fn next(&self, flag: &str) -> Vec<String> {
        let lane = self.lane;
        let command = |verb: &str, range: &OffsetRange, more: &str| {
            format!("hookline {verb} {flag} --lane {lane} --from {} --to {}{more}", range.first(), range.last())
        };
        let (kept, gone) = self.kept_and_gone();
        let kept = kept.iter().take(NAMED).map(|range| command("replay", range, ""));
        let gone = gone.iter().take(NAMED).map(|range| command("ledger accept-loss", range, " --why WHY"));
        let repeated = offsets::ranges_of(self.repeated_offsets.iter().map(|repeated| repeated.offset));
        let doubled = repeated.iter().take(NAMED).map(|range| command("replay", range, " --apply --replace"));
        kept.chain(gone).chain(doubled).collect()
    }
}

/// Reads the ledger. Of each lane, `details` of the missing records are looked at, as far as `raw` still holds them.
/// When Kafka does not answer, the report says so and holds what ClickHouse knows.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn read(installation: &Installation, details: usize) -> Result<LedgerReport> {
    let warehouse = installation.connect().await?;
    let mut report = report(installation, &warehouse, kept_now(installation).await, details).await?;
    if report.kafka.is_none() {
        let noted = crate::erase::noted(installation).await?;
        report.erasures = noted.iter().map(crate::erase::Named::of).collect();
        if report.erasures.iter().any(|erasure| erasure.done_at.is_none()) {
            report.next.push(format!("hookline erase {} --again --apply --why WHY", installation.flag()));
        }
    }
    Ok(report)
}

/// The same without details, for a caller that has asked Kafka: the life of the topics and how many lanes there are,
/// or `None` when Kafka does not answer.
pub(crate) async fn read_beside(
    installation: &Installation,
    warehouse: &Warehouse,
    known: Option<(&str, u16)>,
) -> Result<LedgerReport> {
    let now = match known {
        Some((life, lanes)) => match raw::kept(&installation.cluster, lanes).await {
            Ok(kept) => Ok((life.to_owned(), kept)),
            Err(error) => Err((Some(life.to_owned()), with_causes(&error))),
        },
        None => Err((None, "Kafka does not answer".to_owned())),
    };
    report(installation, warehouse, now, 0).await
}

async fn report(
    installation: &Installation,
    warehouse: &Warehouse,
    now: KeptNow,
    details: usize,
) -> Result<LedgerReport> {
    let (current, kept) = match now {
        Ok((current, kept)) => (Ok(current), kept),
        Err((current, error)) => (Err((current, error)), BTreeMap::new()),
    };
    // Kafka may say whose life it is, and not what it holds.
    let life = match &current {
        Ok(current) => Some(current.clone()),
        Err((current, _)) => current.clone(),
    };
    let (mut lanes, losses) = lanes(warehouse, &installation.cluster, life.as_deref(), &kept, details).await?;
    if let Some(life) = &life {
        // Earlier lives of the topics are history: they show when something is wrong with them.
        lanes.retain(|lane| lane.incarnation == *life || !lane.balances());
    }
    Ok(LedgerReport {
        ok: lanes.iter().all(LaneReport::balances),
        incarnation: current.as_ref().ok().cloned(),
        kafka: current.err().map(|(_, why)| why),
        next: lanes.iter().flat_map(|lane| lane.next(&installation.flag())).collect(),
        lanes,
        losses,
        erasures: Vec::new(),
    })
}

/// The life of the topics and what `raw` holds, or the life, if that at least is known, and why not more.
type KeptNow = Result<(String, BTreeMap<u16, Kept>), (Option<String>, String)>;

async fn kept_now(installation: &Installation) -> KeptNow {
    let control = installation.identity().await.map_err(|error| (None, with_causes(&error)))?;
    match raw::kept(&installation.cluster, control.lanes).await {
        Ok(kept) => Ok((control.incarnation, kept)),
        Err(error) => Err((Some(control.incarnation), with_causes(&error))),
    }
}

async fn lanes(
    warehouse: &Warehouse,
    cluster: &Cluster,
    current: Option<&str>,
    kept: &BTreeMap<u16, Kept>,
    details: usize,
) -> Result<(Vec<LaneReport>, Vec<Loss>)> {
    let (mut lanes, mut losses) = (Vec::new(), Vec::new());
    let mut settled = BTreeMap::new();
    for LaneLedger { incarnation, lane, records, expected, missing, repeated, lost } in warehouse.ledger().await? {
        if !settled.contains_key(&incarnation) {
            settled.insert(incarnation.clone(), warehouse.settled(&incarnation).await?);
            losses.extend(warehouse.losses(&incarnation).await?);
        }
        let known = settled.get(&incarnation).and_then(|lanes| lanes.get(&lane)).copied();
        let settled = known.map(|lane| lane.end);
        let faults = match missing != 0 || repeated != 0 {
            true => warehouse.blocks().faults(&incarnation, lane, BUCKETS).await?,
            false => warehouse::Faults::default(),
        };
        let (missing, under_way) = split_at(&faults.missing, settled.unwrap_or(u64::MAX));
        let is_current = current.is_none_or(|current| current == incarnation);
        let kept = kept.get(&lane).filter(|_| is_current).cloned();
        let waiting = kept.as_ref().map(|kept| kept.to.saturating_sub(settled.unwrap_or(0)));
        let missing_offsets = offsets::ranges(&missing);
        let mut report = LaneReport {
            incarnation,
            lane,
            records,
            expected,
            missing: offsets::total(&missing_offsets),
            repeated: faults.repeated.len(),
            lost,
            settled,
            waiting,
            waiting_minutes: match (waiting, known) {
                (Some(1..), Some(known)) => minutes_since(known.through_ms),
                _ => 0,
            },
            more: faults.more,
            missing_offsets,
            under_way: offsets::ranges(&under_way),
            repeated_offsets: faults.repeated.into_iter().map(|(offset, rows)| Repeated { offset, rows }).collect(),
            kept,
            details: Vec::new(),
        };
        let (still_kept, _) = report.kept_and_gone();
        report.details = details_of(cluster, lane, still_kept, details).await?;
        lanes.push(report);
    }
    // A lane that has settled nothing has no row in the ledger, and its records wait all the same.
    let seen: BTreeSet<u16> =
        lanes.iter().filter(|lane| current == Some(lane.incarnation.as_str())).map(|lane| lane.lane).collect();
    if let Some(current) = current {
        let unsettled = kept.iter().filter(|(lane, kept)| !seen.contains(lane) && kept.to > kept.from);
        lanes.extend(unsettled.map(|(lane, kept)| LaneReport::unsettled(current, *lane, kept.clone())));
        lanes.sort_by_key(|lane| lane.lane);
    }
    Ok((lanes, losses))
}

/// Whole minutes since a time in milliseconds.
fn minutes_since(at_ms: i64) -> u64 {
    u64::try_from(clock::now().0.saturating_sub(at_ms) / 60_000).unwrap_or(0)
}

/// What the first `most` records of these ranges are.
async fn details_of(cluster: &Cluster, lane: u16, ranges: Vec<OffsetRange>, most: usize) -> Result<Vec<Record>> {
    if ranges.is_empty() || most == 0 {
        return Ok(Vec::new());
    }
    let cluster = cluster.clone();
    blocking(move || raw::records(&cluster, lane, &ranges, most)).await
}
