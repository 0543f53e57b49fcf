//! The log: the files of the live buckets, read as one array of cells.

use std::sync::Arc;

use super::segment::{Batch, Segment};
use super::{Entry, StoreError};
use crate::key::Id128;

/// Cells are numbered from here, so that the 32-bit slots of the index wrap within the first thousand marks of every
/// store (and of every test) and not for the first time after four billion.
const FIRST_CELL: u64 = (1 << 32) - 1_000;

/// The live files. Cheap to clone: a clone is how a thread beside the lane reads the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Oldest first; each begins with the cell number at which the one before ends.
    segments: Vec<Arc<Segment>>,
}

impl Log {
    /// The oldest cell that is still held.
    pub(super) fn front(&self) -> u64 {
        self.segments.first().map_or(FIRST_CELL, |segment| segment.base)
    }

    /// One past the newest whole batch.
    pub(super) fn head(&self) -> u64 {
        self.segments.last().map_or(FIRST_CELL, |segment| segment.end())
    }

    /// The file that is written to.
    pub(super) fn current(&self) -> Option<&Arc<Segment>> {
        self.segments.last()
    }

    /// Adds a file whose base is the head.
    pub(super) fn push(&mut self, segment: Arc<Segment>) {
        self.segments.push(segment);
    }

    /// Takes out the files of the leading buckets below `bucket`; never the current one, which holds the position.
    pub(super) fn take_below(&mut self, bucket: i64) -> Vec<Arc<Segment>> {
        let kept = self.segments.len().saturating_sub(1);
        let gone = self.segments[..kept].iter().take_while(|segment| segment.bucket < bucket).count();
        self.segments.drain(..gone).collect()
    }

    /// The slot by which the index knows a cell.
    pub(super) fn slot(cell: u64) -> u32 {
        cell as u32
    }

    /// The cell of a slot; `None` if it was in a bucket that has been dropped. Needs every indexed cell to lie within
    /// 2³² of the head, which the store keeps true.
    pub(super) fn cell(&self, slot: u32) -> Option<u64> {
        let last = self.head().checked_sub(1)?;
        let back = (last as u32).wrapping_sub(slot);
        last.checked_sub(u64::from(back)).filter(|&cell| cell >= self.front())
    }

    /// Reads the entry of a slot; `None` if its bucket has been dropped.
    pub(super) fn entry(&self, slot: u32) -> Result<Option<Entry>, StoreError> {
        let Some(cell) = self.cell(slot) else { return Ok(None) };
        let after = self.segments.partition_point(|segment| segment.base <= cell);
        match after.checked_sub(1).and_then(|at| self.segments.get(at)) {
            Some(segment) => segment.entry(cell).map(Some),
            None => Ok(None),
        }
    }

    /// Whether the entry of a slot is alive and of this id.
    pub(super) fn is(&self, slot: u32, id: Id128) -> Result<bool, StoreError> {
        Ok(self.entry(slot)?.is_some_and(|entry| entry.id == id))
    }

    /// Hands the batches from cell `from` (a batch boundary) up to the head to `on_batch`. Gives the cell reached.
    pub(super) fn scan<E: From<StoreError>>(
        &self,
        from: u64,
        mut on_batch: impl FnMut(Batch<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut at = from;
        for segment in &self.segments {
            let end = segment.end();
            let begin = at.max(segment.first_batch());
            if begin < end {
                at = segment.scan(begin, end, &mut on_batch)?;
                if at < end {
                    return Err(E::from(segment.damaged_at(at)));
                }
            }
        }
        Ok(at)
    }
}
