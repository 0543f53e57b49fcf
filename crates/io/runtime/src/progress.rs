//! What each lane has read, told by the lane; and whether that is all there is, judged by a watch outside of it.
//!
//! A lane writes to its [`LaneProgress`] as it reads. The watch (in `kafka`) asks the broker where the partition ends, with
//! clients that no lane uses, and tells the lane to open again when it stands still.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The input that a lane has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// The topic's name in metrics, such as `raw`.
    pub label: &'static str,
    /// The topic's full name at the broker.
    pub topic: &'static str,
    /// The partition.
    pub partition: u16,
    /// Counts the openings of this lane.
    pub opening: u64,
}

/// How far one lane has come. One thread writes, the watch reads.
#[derive(Debug, Default)]
pub struct LaneProgress {
    input: Mutex<Option<Input>>,
    covered: AtomicI64,
    empty: AtomicU64,
    read_ms: AtomicI64,
    standing: AtomicBool,
    openings: AtomicU64,
    reopen: AtomicBool,
}

impl LaneProgress {
    /// The lane has opened its input at `start`.
    pub fn opened(&self, label: &'static str, topic: &'static str, partition: u16, start: i64) {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed) + 1;
        let mut input = self.input();
        self.covered.store(start, Ordering::Relaxed);
        self.read_ms.store(-1, Ordering::Relaxed);
        self.reopen.store(false, Ordering::Relaxed);
        *input = Some(Input { label, topic, partition, opening });
    }

    /// The lane has closed its input.
    pub fn closed(&self) {
        *self.input() = None;
    }

    /// All offsets below `next` are read; the last record was appended at `timestamp_ms` since 1970.
    pub fn read(&self, next: i64, timestamp_ms: i64) {
        self.covered.store(next, Ordering::Relaxed);
        self.read_ms.store(timestamp_ms, Ordering::Relaxed);
    }

    /// All offsets below `next` are read or hold no record.
    pub fn covers(&self, next: i64) {
        self.covered.fetch_max(next, Ordering::Relaxed);
    }

    /// The lane waited for a record and got none. Whether it is to open again instead of waiting on.
    pub fn starves(&self) -> bool {
        self.empty.fetch_add(1, Ordering::Relaxed);
        self.reopen.swap(false, Ordering::Relaxed)
    }

    /// The lane stands still for a reason of its own, or no longer.
    pub(crate) fn stands(&self, standing: bool) {
        self.standing.store(standing, Ordering::Relaxed);
    }

    /// Tells the lane to open again once it waits for a record and gets none.
    pub fn ask_to_reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
    }

    /// What the watch looks at.
    #[must_use]
    pub fn look(&self) -> Option<Seen> {
        let input = (*self.input())?;
        Some(Seen {
            input,
            covered: self.covered.load(Ordering::Relaxed),
            empty: self.empty.load(Ordering::Relaxed),
            read_ms: self.read_ms.load(Ordering::Relaxed),
            standing: self.standing.load(Ordering::Relaxed),
        })
    }

    fn input(&self) -> MutexGuard<'_, Option<Input>> {
        self.input.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One look at a lane whose input is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its input.
    pub input: Input,
    /// All offsets below are read or hold no record.
    pub covered: i64,
    /// How often the lane has waited for a record and got none, ever.
    pub empty: u64,
    /// When the last record that was read was appended, in milliseconds since 1970; below 0 before the first.
    pub read_ms: i64,
    /// Whether the lane stands still for a reason of its own.
    pub standing: bool,
}

/// A lane by its service and number.
pub type LaneId = (&'static str, u16);

/// The lanes of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<LaneId, Arc<LaneProgress>>>>);

impl Board {
    /// Adds a lane.
    pub(crate) fn add(&self, lane: LaneId) -> Arc<LaneProgress> {
        Arc::clone(self.lock().entry(lane).or_default())
    }

    /// The lane is no longer ours.
    pub(crate) fn remove(&self, lane: LaneId) {
        self.lock().remove(&lane);
    }

    /// The lanes there are.
    #[must_use]
    pub fn lanes(&self) -> Vec<(LaneId, Arc<LaneProgress>)> {
        self.lock().iter().map(|(lane, progress)| (*lane, Arc::clone(progress))).collect()
    }

    /// Does something about a lane only if it is still ours, and keeps it ours meanwhile.
    pub fn if_ours(&self, lane: LaneId, then: impl FnOnce()) {
        let lanes = self.lock();
        if lanes.contains_key(&lane) {
            then();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LaneId, Arc<LaneProgress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static MINE: RefCell<Option<Arc<LaneProgress>>> = const { RefCell::new(None) };
}

/// The lane whose thread this is, if it is one's.
#[must_use]
pub fn of_this_thread() -> Option<Arc<LaneProgress>> {
    MINE.with_borrow(Clone::clone)
}

pub(crate) fn set_for_this_thread(progress: Arc<LaneProgress>) {
    MINE.set(Some(progress));
}
