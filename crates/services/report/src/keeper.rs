//! What `report` does beside its lanes: how far everything is complete, whether the ledger balances, which days close.
//!
//! One instance does it, the one with lane 0. Doing it twice would be harmless: every step is idempotent.

mod days;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use event::{Millis, Progress};
use kafka::Topic;
use kafka::lane::PATIENCE;
use kafka::positions::Positions;
use prometheus::{Gauge, GaugeVec};
use runtime::clock::now_ms;
use runtime::{Component, Live, Shutdown, Telemetry};
use warehouse::{Day, Faults, LaneLedger, LaneWatermark, Side, WarehouseError};

use crate::{SERVICE, Settings, standing};

/// How often progress is looked at and told to ClickHouse.
const LOOK: Duration = Duration::from_secs(5);
/// How often the ledger is added up.
const BALANCE: Duration = Duration::from_secs(30);
/// How often days are looked through for ones to close.
const CLOSE: Duration = Duration::from_secs(30);
/// How often old identifiers are cleared.
const TIDY: Duration = Duration::from_secs(86_400);
/// Faulty buckets of a lane that are looked into: 65,536 offsets each.
const BUCKETS: usize = 4;
/// Series of open dead letters: rows name sources that are configured no longer, too.
const MOST_SOURCES: usize = 100;

/// The gauges of the keeper.
#[derive(Clone)]
pub(crate) struct KeeperMetrics {
    complete_through: GaugeVec,
    reports_to_close: GaugeVec,
    ledger_missing: GaugeVec,
    repeated: GaugeVec,
    waiting: GaugeVec,
    dead_letters_open: GaugeVec,
    shard_reached: GaugeVec,
}

impl KeeperMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| telemetry.metrics.gauge(name, help, &[]);
        Ok(Self {
            complete_through: gauge(
                "complete_through_timestamp_seconds",
                "Every record received before this is a row in ClickHouse (Unix seconds)",
            )?,
            reports_to_close: gauge(
                "reports_to_close",
                "Reports of whole days that are not closed yet, a report and day each",
            )?,
            ledger_missing: gauge("ledger_missing_records", "Offsets of raw that are settled and have no row")?,
            repeated: gauge("ledger_repeated_records", "Rows beyond the first for an offset of raw")?,
            waiting: gauge(
                "ledger_waiting_seconds",
                "For how long the oldest record without a row waits, once that is over a minute; 0 before",
            )?,
            dead_letters_open: telemetry.metrics.gauge(
                "dead_letters_open",
                "Dead letters that were neither redriven nor discarded; source \"other\" beyond the first hundred",
                &["source", "stage"],
            )?,
            shard_reached: telemetry.metrics.gauge(
                "clickhouse_shard_reached",
                "1 while a shard of ClickHouse answers, 0 while it does not: lanes whose rows are there wait. None without shards",
                &["shard"],
            )?,
        })
    }

    /// The gauges that have no labels are there from the start.
    fn show(&self) {
        for family in
            [&self.complete_through, &self.reports_to_close, &self.ledger_missing, &self.repeated, &self.waiting]
        {
            only(family);
        }
    }

    /// Another instance says it now: an old figure must not stand beside its own.
    pub(crate) fn forget(&self) {
        let Self {
            complete_through,
            reports_to_close,
            ledger_missing,
            repeated,
            waiting,
            dead_letters_open,
            shard_reached,
        } = self;
        for family in
            [complete_through, reports_to_close, ledger_missing, repeated, waiting, dead_letters_open, shard_reached]
        {
            family.reset();
        }
    }
}

/// The gauge of a family without labels.
fn only(family: &GaugeVec) -> Gauge {
    family.with_label_values::<&str>(&[])
}

/// How long one turn may take: closing many days of many rows is the longest part of it.
const TURN_WITHIN: Duration = Duration::from_secs(900);

/// Looks after everything until the stop is given.
pub(crate) async fn keep(live: Live<Settings>, metrics: KeeperMetrics, component: Component, shutdown: Shutdown) {
    // Rows come in whether or not this works: nobody has to wait for the first look.
    component.ready();
    metrics.show();
    let (mut balanced, mut closed, mut tidied) = (None::<Instant>, None::<Instant>, None::<Instant>);
    let mut published = BTreeSet::new();
    let mut through_ms = now_ms();
    let due = |last: &Option<Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
    while !shutdown.is_stopping() {
        component.allow(TURN_WITHIN);
        let settings = live.current();
        let away = look_at_shards(&settings, &metrics).await;
        let turn = async {
            let complete = settle(&settings, &metrics).await?;
            through_ms = complete.map_or(through_ms, |Millis(at)| at);
            if due(&balanced, BALANCE) {
                balance(&settings, &metrics).await?;
                count_dead_letters(&settings, &metrics, &mut published).await?;
                balanced = Some(Instant::now());
            }
            let mut done = Ok(());
            if due(&closed, CLOSE) {
                done = days::close_days(&settings, &metrics, &component, complete).await;
                closed = done.is_ok().then(Instant::now);
            }
            // Whatever became of days: identifiers are kept for so long and no longer.
            if due(&tidied, TIDY) {
                let tidy = tidy(&settings).await;
                tidied = tidy.is_ok().then(Instant::now);
                done = first_of(done, tidy);
            }
            done
        };
        let turned = turn.await;
        drop(settings);
        // Whether or not that could be asked: records that wait go on waiting.
        only(&metrics.waiting).set(waiting_ms(now_ms(), through_ms) as f64 / 1_000.0);
        match turned {
            Ok(()) => component.ready(),
            Err(error) => {
                // What reads all shards fails by one of them, and ClickHouse does not name it as the file does.
                let error = away.map_or_else(|| error.to_string(), |away| format!("{away}; so {error}"));
                tracing::warn!(
                    service = SERVICE,
                    "progress, ledger or closing of days: {error}; tried again in {} s",
                    LOOK.as_secs()
                );
                component.failing(error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.given() => {}
        }
    }
}

/// Asks each shard whether it is there. Says which are not, if any is not.
async fn look_at_shards(settings: &Settings, metrics: &KeeperMetrics) -> Option<String> {
    let mut away = Vec::new();
    for (shard, error) in settings.warehouse.shards().await {
        let number = shard.number.to_string();
        metrics.shard_reached.with_label_values(&[&number]).set(if error.is_none() { 1.0 } else { 0.0 });
        away.extend(error.map(|error| error.to_string()));
    }
    (!away.is_empty()).then(|| away.join("; "))
}

/// For how long the oldest record without a row waits; nothing while that is what an idle lane takes to say that it is
/// idle.
fn waiting_ms(now_ms: i64, through_ms: i64) -> i64 {
    const USUAL_MS: i64 = 60_000;
    let waiting = now_ms.saturating_sub(through_ms);
    if waiting < USUAL_MS { 0 } else { waiting }
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    #[error(transparent)]
    Positions(#[from] kafka::positions::PositionError),
    #[error(transparent)]
    Progress(#[from] event::UnreadableProgress),
    #[error("{failed} reports of days could not be closed, others were; the first, {report} of {day}: {error}")]
    Days { failed: usize, report: &'static str, day: Day, error: Box<WarehouseError> },
    #[error("the task that asks Kafka for positions failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Tells ClickHouse how far each lane is settled. Returns the time up to which all of them are, if all have begun.
async fn settle(settings: &Settings, metrics: &KeeperMetrics) -> Result<Option<Millis>, KeepError> {
    let (cluster, lanes) = (settings.cluster.clone(), settings.plan.lanes);
    let progress = tokio::task::spawn_blocking(move || -> Result<Vec<Option<Progress>>, KeepError> {
        let (processed, reported) = (
            // How far it has come tells whether a quiet lane is complete.
            Positions::open(&cluster, kafka::groups::PROCESS, PATIENCE)?,
            Positions::open(&cluster, standing::GROUP, PATIENCE)?,
        );
        let read = |positions: &Positions, topic, lane| -> Result<Option<Progress>, KeepError> {
            let committed = positions.last_committed(topic, lane)?;
            Ok(committed.map(|committed| committed.metadata.parse()).transpose()?)
        };
        (0..lanes)
            .map(|lane| Ok(settled(read(&processed, Topic::Raw, lane)?, read(&reported, Topic::Events, lane)?)))
            .collect()
    });
    let progress = progress.await??;
    let known = progress.iter().enumerate().filter_map(|(lane, progress)| Some((lane as u16, (*progress)?)));
    let watermarks: Vec<LaneWatermark> =
        known.map(|(lane, Progress { raw_hi, watermark })| LaneWatermark { lane, raw_hi, watermark }).collect();
    if !watermarks.is_empty() {
        settings.warehouse.save_watermarks(&settings.control.incarnation, &watermarks).await?;
    }
    let complete = progress.into_iter().map(|progress| progress.map(|progress| progress.watermark)).min().flatten();
    if let Some(Millis(at)) = complete {
        only(&metrics.complete_through).set(at as f64 / 1_000.0);
    }
    Ok(complete)
}

/// How far a lane is complete in ClickHouse: to the last cut that was reported; and where nothing is between that cut
/// and what `process` has seen, to the time that `process` has seen.
fn settled(processed: Option<Progress>, reported: Option<Progress>) -> Option<Progress> {
    match (processed, reported) {
        (Some(processed), Some(reported)) if processed.raw_hi == reported.raw_hi => Some(processed),
        (Some(processed), None) if processed.raw_hi == 0 => Some(processed),
        (_, reported) => reported,
    }
}

/// Adds the books up, and names the first offsets that are wrong. What is not settled yet is under way, not missing: a
/// block that holds test data is two inserts, and between them its offsets have a gap.
async fn balance(settings: &Settings, metrics: &KeeperMetrics) -> Result<(), KeepError> {
    let (mut missing, mut repeated) = (0, 0);
    let mut settled = BTreeMap::new();
    // How far lanes are settled is asked before the rows, which can only become more.
    let current = &settings.control.incarnation;
    settled.insert(current.clone(), settings.warehouse.settled(current).await?);
    for book in settings.warehouse.ledger().await? {
        repeated += book.repeated;
        if book.missing == 0 && book.repeated == 0 {
            continue;
        }
        let LaneLedger { incarnation, lane, .. } = &book;
        if !settled.contains_key(incarnation) {
            settled.insert(incarnation.clone(), settings.warehouse.settled(incarnation).await?);
        }
        let settled = settled.get(incarnation).and_then(|lanes| lanes.get(lane)).map(|lane| lane.end);
        // Of an earlier life of the topics nothing is under way any more.
        let settled = settled.unwrap_or(if incarnation == current { 0 } else { u64::MAX });
        let faults = settings.warehouse.blocks().faults(incarnation, *lane, BUCKETS).await?;
        let lost = missing_of(&book, &faults, settled);
        missing += lost;
        if lost != 0 || book.repeated != 0 {
            tracing::error!(
                service = SERVICE, incarnation, lane, missing = lost, repeated = book.repeated,
                first_missing = ?faults.missing.first(), first_repeated = ?faults.repeated.first().map(|(offset, _)| offset),
                "the ledger does not balance: offsets of raw without a row, or with more than one; `hookline ledger` names them"
            );
        }
    }
    only(&metrics.ledger_missing).set(missing as f64);
    only(&metrics.repeated).set(repeated as f64);
    Ok(())
}

/// How many offsets below `settled` a lane misses.
fn missing_of(book: &LaneLedger, faults: &Faults, settled: u64) -> u64 {
    // An offset that rests in both databases shows as missing -1: a fault like any other.
    if book.missing < 0 || faults.more {
        return book.missing.unsigned_abs();
    }
    faults.missing.iter().map(|range| range.end.min(settled).saturating_sub(range.start)).sum()
}

/// Publishes how many dead letters wait for a decision.
async fn count_dead_letters(
    settings: &Settings,
    metrics: &KeeperMetrics,
    published: &mut BTreeSet<(String, String)>,
) -> Result<(), KeepError> {
    let mut open = settings.warehouse.open_dead_letters().await?;
    open.sort_by(|one, other| (&one.source, &one.stage).cmp(&(&other.source, &other.stage)));
    let mut sums = BTreeMap::<(&str, &str), u64>::new();
    for (place, letters) in open.iter().enumerate() {
        let source = if place < MOST_SOURCES { letters.source.as_str() } else { "other" };
        *sums.entry((source, &letters.stage)).or_default() += letters.number;
    }
    for ((source, stage), number) in &sums {
        metrics.dead_letters_open.with_label_values(&[source, stage]).set(*number as f64);
    }
    for (source, stage) in
        published.iter().filter(|(source, stage)| !sums.contains_key(&(source.as_str(), stage.as_str())))
    {
        metrics.dead_letters_open.with_label_values(&[source, stage]).set(0.0);
    }
    published.extend(sums.into_keys().map(|(source, stage)| (source.to_owned(), stage.to_owned())));
    Ok(())
}

/// Clears what is kept for a shorter time than the rows.
async fn tidy(settings: &Settings) -> Result<(), KeepError> {
    for side in Side::BOTH {
        for done in settings.warehouse.tidy(side, &settings.layout).await? {
            tracing::info!(service = SERVICE, ?side, "{done}");
        }
    }
    Ok(())
}

/// The first error; the second one is in the log.
fn first_of(first: Result<(), KeepError>, second: Result<(), KeepError>) -> Result<(), KeepError> {
    if let (Err(_), Err(error)) = (&first, &second) {
        tracing::warn!(service = SERVICE, "beside another failure: {error}");
    }
    first.and(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(raw_hi: u64, at: i64) -> Option<Progress> {
        Some(Progress { raw_hi, watermark: Millis(at) })
    }

    #[test]
    fn a_quiet_lane_is_complete_up_to_what_process_has_seen_and_a_busy_one_up_to_its_last_cut() {
        assert_eq!(settled(progress(10, 900), progress(10, 500)), progress(10, 900));
        assert_eq!(settled(progress(11, 900), progress(10, 500)), progress(10, 500));
        assert_eq!(settled(progress(0, 900), None), progress(0, 900));
        assert_eq!(settled(progress(1, 900), None), None);
        assert_eq!(settled(None, None), None);
    }

    #[test]
    fn offsets_are_missing_once_they_are_settled_and_under_way_before() {
        let book = |missing| LaneLedger {
            incarnation: String::new(),
            lane: 0,
            records: 0,
            expected: 0,
            missing,
            repeated: 0,
            lost: 0,
        };
        let faults =
            |offsets: &[u64]| Faults { missing: warehouse::ranges(offsets.iter().copied()), ..Faults::default() };
        // Between the two inserts of a block with test data: a gap beyond what is settled.
        assert_eq!(missing_of(&book(2), &faults(&[10, 11]), 10), 0);
        assert_eq!(missing_of(&book(2), &faults(&[10, 11]), 11), 1);
        assert_eq!(missing_of(&book(5), &faults(&[3, 4, 5, 10, 11]), 12), 5);
        // The second insert has come since the books were read.
        assert_eq!(missing_of(&book(2), &faults(&[]), 12), 0);
        // More than was looked into is believed, and so is an offset that rests in both databases.
        assert_eq!(missing_of(&book(70_000), &Faults { more: true, ..Faults::default() }, 0), 70_000);
        assert_eq!(missing_of(&book(-1), &faults(&[]), 12), 1);
    }
}
