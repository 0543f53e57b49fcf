//! Growing a shard of the index beside the lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::StoreError;
use super::index::{Index, TOGETHER};
use super::log::Log;
use super::segment::{Batch, decode_entry};
use super::table::Table;
use crate::key::Id128;

/// So few cells behind the head, the rest is left to the lane: well under a millisecond.
const NEAR: u64 = 4_096;

/// A larger table for one shard, being built from the log.
pub(super) struct Growth {
    pub(super) shard: usize,
    /// The oldest cell when it began: the table may hold slots from there on, later dropped ones included.
    pub(super) front: u64,
    cancel: Arc<AtomicBool>,
    thread: JoinHandle<Result<Grown, Stop>>,
}

/// A table with every mark of its shard up to a cell of the log.
pub(super) struct Grown {
    pub(super) table: Table,
    pub(super) reached: u64,
}

/// Why a table was not built to its end.
enum Stop {
    Cancelled,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Growth {
    pub(super) fn start(log: Log, shard: usize, homes: usize) -> std::io::Result<Self> {
        let front = log.front();
        let cancel = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&cancel);
        let thread = thread::Builder::new()
            .name("window-growth".to_owned())
            .spawn(move || build(&log, shard, homes, &cancelled))?;
        Ok(Self { shard, front, cancel, thread })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the table. `None` if it was cancelled.
    pub(super) fn wait(self) -> Result<Option<Grown>, StoreError> {
        match self.thread.join() {
            Ok(Ok(grown)) => Ok(Some(grown)),
            Ok(Err(Stop::Cancelled)) => Ok(None),
            Ok(Err(Stop::Failed(error))) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Ends the thread without its table.
    pub(super) fn stop(self) {
        self.cancel.store(true, Ordering::Relaxed);
        drop(self.thread.join());
    }
}

fn build(log: &Log, shard: usize, homes: usize, cancelled: &AtomicBool) -> Result<Grown, Stop> {
    let mut table = Table::with_homes(homes);
    let mut reached = log.front();
    loop {
        reached = log.scan(reached, |batch| {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            Ok(fill(&mut table, shard, log, &batch)?)
        })?;
        // The lane may have written more to the last file meanwhile.
        if log.head() <= reached + NEAR {
            return Ok(Grown { table, reached });
        }
    }
}

/// Puts the marks of a batch that belong to a shard into its table.
pub(super) fn fill(table: &mut Table, shard: usize, log: &Log, batch: &Batch<'_>) -> Result<(), StoreError> {
    let mut ours: Vec<(Id128, u32)> = Vec::with_capacity(TOGETHER);
    for (cells, first) in batch.cells.chunks(TOGETHER).zip((batch.first_cell..).step_by(TOGETHER)) {
        ours.clear();
        for (cell, number) in cells.iter().zip(first..) {
            let id = decode_entry(cell).id;
            if Index::shard_of(id) == shard {
                table.touch(id);
                ours.push((id, Log::slot(number)));
            }
        }
        for &(id, slot) in &ours {
            table.insert(id, slot, |slot| log.is(slot, id))?;
        }
    }
    Ok(())
}
