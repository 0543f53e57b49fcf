//! What a log store does besides: turning to a new file, growing, sealing, merging, deleting.

use std::sync::Arc;

use super::StoreError;
use super::beside::{Beside, retire};
use super::bucket::{Closed, Current, Index};
use super::log_store::LogStore;
use super::seal::Seal;
use super::segment::Segment;
use super::shard::TAGS;
use super::table::Table;

/// A closed bucket being sealed.
pub(super) struct Sealing {
    number: u64,
    seal: Beside<Seal>,
}

impl LogStore {
    /// Whether there is no file for a batch of so many cells.
    pub(super) fn must_turn(&self, cells: u64) -> bool {
        self.current.as_ref().is_none_or(|current| current.segment.end() + cells > self.most_cells)
    }

    /// Whether a batch begins a new bucket: it is of a later one, or the clock was set back by more than a bucket (but
    /// not to where everything has expired already), or what is in the current one has all expired.
    pub(super) fn is_time_to_turn(&self, newest: Option<i64>) -> bool {
        let Some(held) = self.current.as_ref().and_then(|current| current.newest) else { return false };
        let bucket_of = |received_at: i64| received_at.div_euclid(self.bucket_ms as i64);
        held < self.expired_before
            || newest.is_some_and(|newest| {
                let (held, next) = (bucket_of(held), bucket_of(newest));
                next > held || next + 1 < held && newest >= self.expired_before
            })
    }

    /// Whether the sieve can tell one more file from those that it has marks of. If not, the current one goes on.
    pub(super) fn may_turn(&mut self) -> Result<bool, StoreError> {
        let has_tag = |store: &Self| store.next_number() < store.sieve.from() + TAGS;
        if !has_tag(self) {
            // It may still have marks of files that are gone.
            self.finish_closed()?;
        }
        Ok(has_tag(self))
    }

    /// Buckets of a window.
    pub(super) fn buckets(&self) -> u64 {
        self.window_ms.div_ceil(self.bucket_ms).max(1)
    }

    /// The table of the bucket before the one that is written to, as long as the sieve does not know its marks. No
    /// other closed bucket has one.
    pub(super) fn unsieved(&self) -> Option<&Table> {
        self.closed.last().and_then(Closed::table)
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let current = self.current.iter().map(|current| &current.segment);
        self.closed.iter().map(|bucket| &bucket.segment).chain(current)
    }

    /// The number of the first file.
    pub(super) fn front(&self) -> u64 {
        self.segments().next().map_or(0, |segment| segment.number)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.segments().last().map_or(0, |segment| segment.number + 1)
    }

    /// Closes the current bucket and begins the next.
    pub(super) fn turn(&mut self) -> Result<(), StoreError> {
        if let Some(growth) = self.growth.take() {
            growth.leave();
        }
        if !self.may_turn()? {
            return Err(StoreError::Full { folder: self.folder.path.clone(), files: self.closed.len() + 1 });
        }
        // That was hours ago, unless `seen` is being read back.
        self.finish_closed()?;
        let number = self.next_number();
        let segment = Arc::new(Segment::create(&self.folder.path, number, self.position)?);
        // At first: the table of the bucket before is still there.
        let room = if self.current.is_none() { self.expected_ids } else { 0 };
        let begun = Current { segment, newest: None, table: Table::with_room(room).map_err(StoreError::Memory)? };
        if let Some(before) = self.current.replace(begun) {
            // A lane that was silent for a whole window may stay so.
            let is_gone = before.newest.is_some_and(|newest| newest < self.expired_before);
            self.expected_ids = if is_gone { 0 } else { before.table.len() };
            let segment = Arc::clone(&before.segment);
            self.closed.push(before.into());
            let number = segment.number;
            let seal = Beside::start("window-seal", &self.folder.path, move |cancel| Seal::build(&segment, cancel))?;
            self.sealing = Some(Sealing { number, seal });
        }
        Ok(())
    }

    /// Waits until there is room for so many ids more. A lane at its ordinary pace never waits: growth begins long
    /// before. Reading `seen` back may be faster than the threads beside it.
    pub(super) fn make_room(&mut self, more: u64) -> Result<(), StoreError> {
        while let Some(current) = &self.current
            && !current.table.has_room_for(more)
        {
            if self.growth.is_none() {
                self.grow(more)?;
            }
            self.adopt_growth()?;
        }
        Ok(())
    }

    /// The housekeeping that follows a batch.
    pub(super) fn tend(&mut self) -> Result<(), StoreError> {
        if self.sealing.as_ref().is_some_and(|sealing| sealing.seal.is_finished()) {
            self.adopt_seal()?;
        }
        if self.growth.as_ref().is_some_and(Beside::is_finished) {
            self.adopt_growth()?;
        }
        if self.merge.as_ref().is_some_and(Beside::is_finished) {
            self.adopt_merge()?;
        }
        self.merge_next()?;
        let Some(Current { table, .. }) = &self.current else { return Ok(()) };
        let expects_more = self.unsieved().is_none() && table.is_built_for_less_than(self.expected_ids);
        if self.growth.is_none() && (expects_more || table.is_crowded()) {
            self.grow(0)?;
        }
        Ok(())
    }

    /// Begins to build a larger table.
    pub(super) fn grow(&mut self, more: u64) -> Result<(), StoreError> {
        let Some(Current { segment, table, .. }) = &self.current else { return Ok(()) };
        let (larger, expected) = (table.larger(more), self.expected_ids);
        // Two whole tables at a time only when it has to be, and none that is larger than it is likely to be filled.
        let suffices = expected > table.len() + table.len() / 8 + more;
        let room = if suffices && self.unsieved().is_some() { larger.min(expected) } else { larger.max(expected) };
        let segment = Arc::clone(segment);
        let grow = move |cancel: &_| Table::build(&segment, room, cancel);
        self.growth = Some(Beside::start("window-growth", &self.folder.path, grow)?);
        Ok(())
    }

    /// Waits for the larger table, adds what was written meanwhile, and puts it in its place.
    pub(super) fn adopt_growth(&mut self) -> Result<(), StoreError> {
        let Some(growth) = self.growth.take() else { return Ok(()) };
        let (Some((mut table, reached)), Some(current)) = (growth.wait()?, &mut self.current) else { return Ok(()) };
        let segment = &current.segment;
        segment.scan_whole(reached, |batch| table.fill(segment, &batch))?;
        retire(std::mem::replace(&mut current.table, table));
        Ok(())
    }

    /// Waits for the seal that is being made.
    fn adopt_seal(&mut self) -> Result<(), StoreError> {
        let Some(Sealing { number, seal: beside }) = self.sealing.take() else { return Ok(()) };
        let Some(made) = beside.wait()? else { return Ok(()) };
        if let Some(bucket) = self.closed.iter_mut().find(|bucket| bucket.segment.number == number)
            && let Index::Table(_, seal) = &mut bucket.index
        {
            *seal = Some(made);
        }
        Ok(())
    }

    /// Begins to make the next shard of the sieve that lacks marks of closed files or has some of files that are
    /// gone. First a bucket is sealed.
    fn merge_next(&mut self) -> Result<(), StoreError> {
        if self.merge.is_some() || self.sealing.is_some() {
            return Ok(());
        }
        let (front, expected) = (self.front(), self.expected_ids.saturating_mul(self.buckets()));
        let closed = self.closed.iter().map(|bucket| &bucket.segment);
        if let Some(plan) = self.sieve.plan(closed, front, expected) {
            self.merge = Some(Beside::start("window-merge", &self.folder.path, move |cancel| plan.build(cancel))?);
        } else if let Some(bucket) = self.closed.last_mut() {
            bucket.give_table_up();
        }
        Ok(())
    }

    /// Waits for the shard that is being made, and puts it in its place.
    fn adopt_merge(&mut self) -> Result<(), StoreError> {
        let Some(merge) = self.merge.take() else { return Ok(()) };
        let Some(built) = merge.wait()? else { return Ok(()) };
        retire(self.sieve.adopt(built));
        Ok(())
    }

    /// Waits until all closed buckets are sealed and the sieve has their marks, and none of buckets that are gone.
    pub(super) fn finish_closed(&mut self) -> Result<(), StoreError> {
        self.adopt_seal()?;
        self.adopt_merge()?;
        loop {
            self.merge_next()?;
            if self.merge.is_none() {
                return Ok(());
            }
            self.adopt_merge()?;
        }
    }

    /// Deletes buckets beside the lane: freeing gigabytes of page cache takes time.
    pub(super) fn reap(&mut self, buckets: Vec<Closed>) -> Result<(), StoreError> {
        if self.sealing.as_ref().is_some_and(|sealing| buckets.iter().any(|gone| gone.segment.number == sealing.number))
            && let Some(sealing) = self.sealing.take()
        {
            sealing.seal.stop();
        }
        let reap = move |_: &_| Ok(buckets.iter().try_for_each(Closed::delete)?);
        self.reaper = Some(Beside::start("window-reaper", &self.folder.path, reap)?);
        Ok(())
    }

    /// Waits until what was to be deleted is.
    pub(super) fn reaped(&mut self) -> Result<(), StoreError> {
        self.reaper.take().map_or(Ok(()), |reaper| reaper.wait().map(drop))
    }

    /// Ends the threads beside the lane, whatever came of them: a table or a seal that was not finished is not
    /// missed, and a file that could not be deleted is found again when the folder is next opened.
    pub(super) fn stop_threads(&mut self) {
        if let Some(growth) = self.growth.take() {
            growth.stop();
        }
        if let Some(merge) = self.merge.take() {
            merge.stop();
        }
        if let Some(sealing) = self.sealing.take() {
            sealing.seal.stop();
        }
        if let Some(reaper) = self.reaper.take() {
            drop(reaper.wait());
        }
    }
}
