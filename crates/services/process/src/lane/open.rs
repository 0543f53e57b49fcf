//! Opening a lane: first the fence, then what the predecessor left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dedupe::store::{Identity, LogStore, Opened};
use dedupe::{Restore, StoreError, Window, WindowStore, changelog};
use kafka::lane::{
    End, EndIs, Ends, Isolation, LaneReader, PATIENCE, Record, Writes, first_committed, pause, read_all_committed,
};
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use runtime::clock::now_ms;
use runtime::{Current, LogLimit, Shutdown};

use super::transaction::view;
use crate::advance::Advance;
use crate::clock::Clock;
use crate::cuts::Policy;
use crate::metrics::ProcessMetrics;
use crate::opening::{GROUP, Opening, Start, broken, same_raw, window_is_whole};
use crate::pipeline::{Stages, unusable};
use crate::position::Carried;
use crate::salts::LaneSalts;
use crate::signals::Signals;
use crate::{Decisions, SERVICE, Settings, Step};

/// Ids that the store is made for at once; it grows beside the lane.
const EXPECTED_IDS: u64 = 1 << 16;
/// How often a restore says how far it has come.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// How long the catalogue is waited for before the lane says so and tries again.
const CATALOGUE_WITHIN: Duration = Duration::from_secs(10);

/// A lane at work.
pub(super) struct OpenLane<'s> {
    pub(super) lane: u16,
    pub(super) settings: &'s Settings,
    pub(super) metrics: &'s ProcessMetrics,
    pub(super) reader: LaneReader,
    /// What is decided by, until the next transaction at least.
    pub(super) decisions: Current<Decisions>,
    pub(super) stages: Stages<'s, LogStore>,
    /// Which files the stages label by.
    pub(super) references: u64,
    pub(super) advance: Advance,
    pub(super) clock: Clock,
    /// Lines about a clock that is off.
    pub(super) clock_lines: LogLimit,
    /// The open transaction, if one was begun.
    pub(super) transaction: Option<super::transaction::Begun>,
}

impl<'s> OpenLane<'s> {
    /// Restores the window from the store and `seen`, and opens the input where the predecessor, which is fenced,
    /// stopped.
    ///
    /// Nothing is read before the catalogue is there: all of it that the predecessor labelled by or wrote.
    pub(super) fn open(
        settings: &'s Settings,
        lane: u16,
        metrics: &'s ProcessMetrics,
        shutdown: &'s Shutdown,
    ) -> Result<Self, End> {
        let decisions = settings.decisions.current();
        let (store, carried) = restore(settings, &decisions, lane, metrics)?;
        if lane == 0 {
            settings.links.claim();
        }
        let needs_list = decisions.list.is_some();
        let end = end_of_links(settings, lane, carried.links, shutdown)?;
        let catalogue = settings.links.wait_for(end, needs_list, CATALOGUE_WITHIN, shutdown)?.catalogue;
        let next = carried.seen.raw_hi as i64;
        let reader = LaneReader::open(&settings.cluster, Topic::Raw, lane, next, Isolation::Uncommitted)?;
        tracing::info!(service = SERVICE, lane, raw = next, marks = store.ids_held(), "the lane is open");
        let stages = Stages::new(
            Step::shared(Arc::clone(&decisions.pipeline), &settings.control),
            Window::new(store),
            LaneSalts::new(&settings.salts),
            catalogue,
            Signals::new(lane, settings.plan.signal_partitions, &decisions.routes),
        );
        Ok(Self {
            lane,
            settings,
            metrics,
            reader,
            decisions,
            stages,
            references: 0,
            advance: Advance::from(carried, Policy::for_lanes(settings.plan.lanes)),
            clock: Clock::opened(),
            clock_lines: LogLimit::every(Duration::from_secs(60)),
            transaction: None,
        })
    }

    /// Decides by the newest configuration from now on. Between two transactions only: what one says is of one version.
    pub(super) fn follow_decisions(&mut self) {
        let Some(newer) = self.settings.decisions.newer(&self.decisions).filter(|_| self.transaction.is_none()) else {
            return;
        };
        self.stages.step = Step::shared(Arc::clone(&newer.pipeline), &self.settings.control);
        // The files of the new configuration may be others.
        self.references = 0;
        self.stages.signals.follow(&newer.routes);
        self.metrics.know(&newer.pipeline);
        self.decisions = newer;
        let version = &self.decisions.pipeline.config_version;
        tracing::info!(
            service = SERVICE,
            lane = self.lane,
            config = version,
            "the lane decides by another configuration"
        );
    }
}

/// Where the topic of links ends when the lane was fenced: the catalogue is to be read up to there, so that a lane
/// never goes back to an older one, and knows what its predecessor wrote.
///
/// A broker that is cut off from the others may say that it ends before what the lane has labelled by: then it is asked
/// again, by new clients, until another one answers or the topic counts as made anew.
fn end_of_links(settings: &Settings, lane: u16, labelled_by: u64, shutdown: &Shutdown) -> Result<u64, End> {
    let (read, mut ends, mut said) = (i64::try_from(labelled_by).unwrap_or(i64::MAX), Ends::default(), false);
    loop {
        let end = Positions::open(&settings.cluster, GROUP, PATIENCE)?.watermarks(Topic::Links, 0)?.end;
        match ends.judge(end, read, Instant::now()) {
            EndIs::Known => return Ok(u64::try_from(end).unwrap_or(0)),
            EndIs::Doubted if shutdown.is_stopping() => {
                return Err(End::Retry(format!("the stop was given before it was known where {} ends", Topic::Links)));
            }
            EndIs::Doubted => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        service = SERVICE,
                        lane,
                        labelled_by,
                        end,
                        "a broker says that {} ends before what the lane has labelled by: it may be cut off from the \
                         others; asking again for 30 s",
                        Topic::Links
                    );
                }
                if lane == 0 {
                    // The list may have to be written anew, which the keeper does while the lane says that it is here.
                    settings.links.claim();
                }
                pause("another answer to where the topic of links ends", Duration::from_secs(1));
            }
            EndIs::OfAnother => {
                tracing::warn!(
                    service = SERVICE,
                    lane,
                    labelled_by,
                    end,
                    "{} is shorter than it was, for 30 s: it was made anew, and the catalogue with it",
                    Topic::Links
                );
                return Ok(u64::try_from(end).unwrap_or(0));
            }
        }
    }
}

/// Every partition that a lane writes to.
pub(super) fn written_to(settings: &Settings, lane: u16) -> Writes {
    let plan = &settings.plan;
    let all = |topic, partitions| (0..partitions).map(move |partition| (topic, partition));
    let partitions = [(Topic::Events, lane), (Topic::Seen, lane), (Topic::Links, 0)]
        .into_iter()
        .chain(all(Topic::Signals, plan.signal_partitions))
        .chain(all(Topic::Alerts, plan.alert_partitions))
        .chain(all(Topic::DeadLetters, plan.dead_letter_partitions));
    Writes::records(partitions).positions(GROUP)
}

/// Finds where the lane goes on, and brings the store up to there.
fn restore(
    settings: &Settings,
    decisions: &Decisions,
    lane: u16,
    metrics: &ProcessMetrics,
) -> Result<(LogStore, Carried), End> {
    let cluster = &settings.cluster;
    let positions = Positions::open(cluster, GROUP, PATIENCE)?;
    let committed = positions.committed_behind_fence(Topic::Raw, lane)?;
    let opening = Opening::new(committed.as_ref())?;
    let seen = positions.stable(Topic::Seen, lane)?;
    let mut store = open_store(settings, decisions, lane)?;
    if let Some(at) = store.position().filter(|at| !opening.fits(*at, seen)) {
        tracing::warn!(service = SERVICE, lane, ?at, ?seen, "the window store does not fit seen; it starts anew");
        store.discard().map_err(unusable)?;
        store = open_store(settings, decisions, lane)?;
    }
    let kept = store.position();
    let mut reading_back = ReadingBack::new(lane, in_window(decisions, &positions, lane)?);
    if kept.is_none() {
        store.expect(reading_back.marks).map_err(unusable)?;
    }
    let (mut chain, scan) = (Restore::after(kept), opening.scan(kept, seen));
    let (mut first, mut passed) = (None, kept.is_some_and(|at| opening.is_at(at)));
    read_all_committed(cluster, Topic::Seen, lane, scan.from, Some(scan.to), |record| {
        let offset = record.offset();
        let Some(value) = record.payload() else {
            return Err(broken(format!("seen has a record without a value at offset {offset}")));
        };
        let decoded = changelog::decode(value).map_err(|error| broken(format!("seen at offset {offset}: {error}")))?;
        let position = chain.feed(offset, &decoded).map_err(|error| broken(error.to_string()))?;
        first.get_or_insert(decoded.raw_lo);
        passed |= opening.is_at(position);
        store.apply(&decoded.entries, position).map_err(unusable)?;
        reading_back.tell(store.ids_held(), offset, scan.to);
        Ok(())
    })?;
    let written = || first_committed(cluster, Topic::Events, lane, 0, |_| ()).map(|first| first.is_some());
    let start = opening.start(&chain, seen, passed, || written().map_err(End::from))?;
    match start {
        Start::Recovered(at) => {
            metrics.lanes.position_disagrees(SERVICE);
            tracing::warn!(service = SERVICE, lane, raw = at.raw_hi, "the committed position is gone; seen has it");
        }
        Start::Outdated(at) => {
            metrics.lanes.position_disagrees(SERVICE);
            tracing::warn!(
                service = SERVICE,
                lane,
                given = committed.map(|committed| committed.next),
                raw = at.raw_hi,
                "the broker gave out an earlier position of the lane as the committed one (Kafka's coordinator can, after a crash; or somebody \
                 moved it back); the lane goes on from the end of seen, and nothing counts twice"
            );
        }
        Start::Fresh | Start::Restored(_) => {}
    }
    let mut carried = start.carried(now_ms());
    hold_raw(cluster, &positions, lane, &mut carried)?;
    if kept.is_none() {
        tell_lost_marks(settings, decisions, lane, first.unwrap_or(carried.seen.raw_hi), &carried)?;
    }
    Ok((store, carried))
}

/// About how many records of `raw` the window covers: as many marks as a restore may have to read.
fn in_window(decisions: &Decisions, positions: &Positions, lane: u16) -> Result<u64, End> {
    let since = now_ms().saturating_sub(decisions.longest_window.as_millis() as i64);
    let end = positions.watermarks(Topic::Raw, lane)?.end;
    Ok(positions.offset_at(Topic::Raw, lane, since)?.map_or(0, |from| end.abs_diff(from)))
}

/// Says every few seconds how far a restore of the window has come: a long one looks like a lane that stands still.
struct ReadingBack {
    lane: u16,
    /// Marks that the window may have.
    marks: u64,
    told: Instant,
}

impl ReadingBack {
    fn new(lane: u16, marks: u64) -> Self {
        Self { lane, marks, told: Instant::now() }
    }

    fn tell(&mut self, held: u64, offset: i64, to: i64) {
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            let Self { lane, marks, .. } = self;
            tracing::info!(
                service = SERVICE,
                lane,
                held,
                of_about = marks,
                offset,
                to,
                "the window is being read back from seen"
            );
        }
    }
}

/// Makes sure that `raw` is the topic that the position was taken on. A position that was found in `seen` takes its time from there.
fn hold_raw(cluster: &Cluster, positions: &Positions, lane: u16, carried: &mut Carried) -> Result<(), End> {
    let next = carried.seen.raw_hi;
    let raw = positions.watermarks(Topic::Raw, lane)?;
    let before = match i64::try_from(next) {
        Ok(next) if next > raw.low && next <= raw.end => {
            let found = |record: &Record<'_>| (record.offset() == next - 1).then(|| view(lane, record).time());
            first_committed(cluster, Topic::Raw, lane, next - 1, found)?.flatten()
        }
        _ => None,
    };
    same_raw(lane, next, raw, before, carried.watermark_ms)?;
    if carried.watermark_ms == 0 {
        carried.watermark_ms = before.unwrap_or(0);
    }
    Ok(())
}

/// Says so if marks are deleted that a record still to come could need: the lane was down for longer than `seen` outlives
/// the window, and its store is lost. They cannot be had back, so the lane goes on.
fn tell_lost_marks(
    settings: &Settings,
    decisions: &Decisions,
    lane: u16,
    first: u64,
    carried: &Carried,
) -> Result<(), End> {
    let Some(last_lost) = first.checked_sub(1) else { return Ok(()) };
    let appended =
        first_committed(&settings.cluster, Topic::Raw, lane, last_lost as i64, |record| view(lane, record).time())?;
    let window = decisions.longest_window.as_millis() as i64;
    let Some(lost_at) = appended.filter(|at| !window_is_whole(*at, carried.watermark_ms, window)) else {
        return Ok(());
    };
    tracing::error!(
        service = SERVICE,
        lane,
        marks_below = first,
        lost_at_ms = lost_at,
        watermark_ms = carried.watermark_ms,
        "the dedupe window is not whole: seen no longer has the marks below this raw offset, and a delivery that repeats one of \
         them counts again; the lane was down for too long and its window store is lost"
    );
    Ok(())
}

/// Opens the lane's store; a folder that a stopped predecessor still holds is left to it, and a fresh one is taken.
fn open_store(settings: &Settings, decisions: &Decisions, lane: u16) -> Result<LogStore, End> {
    let identity = Identity {
        incarnation: settings.control.incarnation.clone(),
        lane: u32::from(lane),
        recipe_version: settings.control.recipes,
    };
    for attempt in 0..16 {
        match LogStore::open(&folder(&settings.data, lane, attempt), &identity, EXPECTED_IDS) {
            Ok((mut store, opened)) => {
                store.set_window(decisions.longest_window.as_millis() as u64);
                if let Opened::Discarded { why } = opened {
                    tracing::warn!(service = SERVICE, lane, "the window store starts anew from seen: {why}");
                }
                return Ok(store);
            }
            Err(StoreError::Locked { .. }) => {}
            Err(error) => return Err(unusable(error)),
        }
    }
    Err(End::Retry(format!("every store folder of lane {lane} under {} is locked", settings.data.display())))
}

fn folder(data: &Path, lane: u16, attempt: u32) -> PathBuf {
    match attempt {
        0 => data.join(format!("window-{lane}")),
        n => data.join(format!("window-{lane}.{n}")),
    }
}
