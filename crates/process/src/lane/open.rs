//! Opening a lane: first the fence, then what the predecessor left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dedupe::store::{Identity, LogStore, Opened};
use dedupe::{Restore, SeenPosition, StoreError, Window, WindowStore, changelog};
use kafka::Topic;
use kafka::lane::{End, Fence, Isolation, LaneProducer, LaneReader, read_all_committed};
use kafka::positions::Positions;

use crate::cuts::{Open, Policy};
use crate::metrics::ProcessMetrics;
use crate::position::Carried;
use crate::signals::Signals;
use crate::{SERVICE, Settings, Step};

/// The group that holds the positions of `process`; it never has members.
pub(super) const GROUP: &str = "hookline-process";
/// A transaction that takes longer is aborted by the broker, and its lane fenced.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Ids that the store is made for at once; it grows beside the lane.
const EXPECTED_IDS: u64 = 1 << 16;
/// How long the broker is asked for positions.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lane at work.
pub(super) struct OpenLane<'s> {
    pub(super) lane: u16,
    pub(super) settings: &'s Settings,
    pub(super) metrics: &'s ProcessMetrics,
    pub(super) producer: LaneProducer,
    pub(super) reader: LaneReader,
    pub(super) window: Window<LogStore>,
    pub(super) step: Step<'s>,
    pub(super) signals: Signals,
    pub(super) policy: Policy,
    /// As of the last commit.
    pub(super) committed: Carried,
    /// As of the last record that was read.
    pub(super) current: Carried,
    /// The open transaction, if one was begun.
    pub(super) transaction: Option<super::transaction::Begun>,
}

impl<'s> OpenLane<'s> {
    /// Fences the predecessor, restores the window from the store and `seen`, and opens the input where it stopped.
    pub(super) fn open(settings: &'s Settings, lane: u16, metrics: &'s ProcessMetrics) -> Result<Self, End> {
        let cluster = &settings.cluster;
        let producer = Fence::open(cluster, SERVICE, lane, TRANSACTION_TIMEOUT)?;
        let committed = Positions::open(cluster, GROUP, PATIENCE)?.committed(Topic::Raw, lane)?;
        let carried = committed.map(|committed| check(&committed)).transpose()?;
        let store = open_store(settings, lane)?;
        let (store, restored) = restore(settings, lane, store, carried.map(|carried| carried.seen))?;
        let carried = match (carried, restored) {
            (Some(carried), _) => carried,
            (None, Some(seen)) => {
                tracing::warn!(
                    service = SERVICE,
                    lane,
                    raw = seen.raw_hi,
                    "the committed position is gone; seen has it"
                );
                // What the open block holds is unknown: one row more than none makes the next cut come in time.
                Carried { seen, open: Open { rows: 1, bytes: 0, since_ms: super::now_ms() }, watermark_ms: 0 }
            }
            (None, None) => {
                Carried { seen: SeenPosition { next_offset: 0, raw_hi: 0 }, open: Open::default(), watermark_ms: 0 }
            }
        };
        let reader = LaneReader::open(cluster, Topic::Raw, lane, carried.seen.raw_hi as i64, Isolation::Uncommitted)?;
        tracing::info!(
            service = SERVICE,
            lane,
            raw = carried.seen.raw_hi,
            marks = store.ids_held(),
            "the lane is open"
        );
        Ok(Self {
            lane,
            settings,
            metrics,
            producer,
            reader,
            window: Window::new(store),
            step: Step::new(&settings.pipeline, &settings.control),
            signals: Signals::new(lane, settings.plan.signal_partitions, &settings.routes),
            policy: Policy::for_lanes(settings.plan.lanes),
            committed: carried,
            current: carried,
            transaction: None,
        })
    }

    /// One past the last raw offset that is committed.
    pub(super) fn position(&self) -> u64 {
        self.committed.seen.raw_hi
    }
}

fn check(committed: &kafka::positions::Committed) -> Result<Carried, End> {
    let halt = |message: String| End::Halt { reason: "position", message };
    let carried: Carried =
        committed.metadata.parse().map_err(|error| halt(format!("{error}; upgrade, or reset the position by hand")))?;
    if carried.seen.raw_hi != committed.next as u64 {
        return Err(halt(format!(
            "the committed position is {}, but what was committed with it says {}: somebody moved it; set it back",
            committed.next, carried.seen.raw_hi
        )));
    }
    Ok(carried)
}

/// Opens the lane's store; a folder that a stopped predecessor still holds is left to it, and a fresh one is taken.
fn open_store(settings: &Settings, lane: u16) -> Result<LogStore, End> {
    let identity = Identity {
        incarnation: settings.control.incarnation.clone(),
        lane: u32::from(lane),
        recipe_version: settings.control.recipes,
    };
    for attempt in 0..16 {
        match LogStore::open(&folder(&settings.data, lane, attempt), &identity, EXPECTED_IDS) {
            Ok((store, opened)) => {
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

/// Brings the store up to the committed end of `seen`. Returns the position that `seen` leads to, if it has any record.
fn restore(
    settings: &Settings,
    lane: u16,
    mut store: LogStore,
    committed: Option<SeenPosition>,
) -> Result<(LogStore, Option<SeenPosition>), End> {
    let cluster = &settings.cluster;
    let seen = Positions::open(cluster, GROUP, PATIENCE)?.stable(Topic::Seen, lane)?;
    let ahead = |at: SeenPosition| committed.is_some_and(|committed| at.raw_hi > committed.raw_hi);
    if store.position().is_some_and(|at| at.next_offset < seen.low || at.next_offset > seen.end || ahead(at)) {
        tracing::warn!(service = SERVICE, lane, at = ?store.position(), ?seen, "the window store does not fit seen; it starts anew");
        store.discard().map_err(unusable)?;
        store = open_store(settings, lane)?;
    }
    let mut chain = Restore::after(store.position());
    let from = chain.next_offset().or((seen.low > 0).then_some(seen.low));
    let to = committed.map(|committed| committed.next_offset);
    read_all_committed(cluster, Topic::Seen, lane, from, to, |record| {
        let offset = record.offset();
        let Some(value) = record.payload() else {
            return Err(broken(format!("seen has a record without a value at offset {offset}")));
        };
        let decoded = changelog::decode(value).map_err(|error| broken(format!("seen at offset {offset}: {error}")))?;
        let position = chain.feed(offset, &decoded).map_err(|error| broken(error.to_string()))?;
        store.apply(&decoded.entries, position).map_err(unusable)
    })?;
    if let Some(committed) = committed {
        chain.agrees_with(committed).map_err(|error| broken(error.to_string()))?;
    }
    Ok((store, chain.position()))
}

fn broken(message: String) -> End {
    End::Halt { reason: "seen_broken", message: format!("{message}; the dedupe window cannot be proven") }
}

/// The store is a cache: opening the lane again rebuilds what is damaged.
pub(super) fn unusable(error: StoreError) -> End {
    End::Retry(error.to_string())
}
