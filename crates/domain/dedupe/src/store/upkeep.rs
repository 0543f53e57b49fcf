//! What a log store does besides: turning to a new file, growing, sealing, sweeping, deleting.

use std::sync::Arc;

use super::StoreError;
use super::beside::{Beside, retire};
use super::bucket::{Closed, Current, Index};
use super::log_store::LogStore;
use super::seal::Seal;
use super::segment::Segment;
use super::sieve::{self, Sweep, TAGS, tag_of};
use super::table::Table;

/// Lines of the sieve swept with each apply while buckets have been dropped: 256 KiB, some 50 µs.
const SWEEP_LINES: usize = 4_096;

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
        let bucket_of = |received_at: i64| received_at.div_euclid(self.bucket_ms);
        held < self.expired_before
            || newest.is_some_and(|newest| {
                let (held, next) = (bucket_of(held), bucket_of(newest));
                next > held || next + 1 < held && newest >= self.expired_before
            })
    }

    /// Whether the sieve can tell one more file from those that it has marks of. If not, the current one goes on.
    pub(super) fn may_turn(&mut self) -> bool {
        while self.next_number() - self.swept_to >= TAGS && self.swept_to < self.front() {
            self.sweep_some();
        }
        self.next_number() - self.swept_to < TAGS
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
        if !self.may_turn() {
            return Err(StoreError::Full { folder: self.folder.path.clone(), files: self.closed.len() + 1 });
        }
        // Six hours ago, unless `seen` is being read back.
        self.adopt_seal()?;
        let number = self.next_number();
        let segment = Arc::new(Segment::create(&self.folder.path, number, self.position)?);
        // At first: the table of the bucket before is still there.
        let room = if self.current.is_none() { self.expected_ids } else { 0 };
        let begun = Current { segment, newest: None, table: Table::with_room(room).map_err(StoreError::Memory)? };
        if let Some(before) = self.current.replace(begun) {
            self.expected_ids = before.table.len();
            let segment = Arc::clone(&before.segment);
            self.closed.push(before.into());
            let number = segment.number;
            let seal = Beside::start("window-seal", &self.folder.path, move |cancel| Seal::build(&segment, cancel))?;
            self.sealing = Some(Sealing { number, seal });
        }
        Ok(())
    }

    /// Waits until there is room for so many ids more. A lane at its ordinary pace never waits: growth begins long before.
    /// Reading `seen` back may be faster than the threads beside it.
    pub(super) fn make_room(&mut self, more: u64) -> Result<(), StoreError> {
        while let Some(current) = &self.current
            && !current.table.has_room_for(more)
        {
            if self.growth.is_none() {
                self.grow(more)?;
            }
            self.adopt_growth()?;
        }
        while let Some(shard) = self.sieve.without_room_for(more) {
            if self.reshape.is_none() {
                self.shape(shard, more)?;
            }
            self.adopt_shape()?;
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
        if self.reshape.as_ref().is_some_and(Beside::is_finished) {
            self.adopt_shape()?;
        }
        self.sweep_some();
        if self.reshape.is_none()
            && let Some(shard) = self.sieve.out_of_shape(self.expected_ids)
        {
            self.shape(shard, 0)?;
        }
        let Some(Current { table, .. }) = &self.current else { return Ok(()) };
        let expects_more = self.sealing.is_none() && table.is_built_for_less_than(self.expected_ids);
        if self.growth.is_none() && (expects_more || table.is_crowded()) {
            self.grow(0)?;
        }
        Ok(())
    }

    /// Begins to build a shard of the sieve anew.
    pub(super) fn shape(&mut self, shard: usize, more: u64) -> Result<(), StoreError> {
        let segments: Vec<Arc<Segment>> = self.segments().cloned().collect();
        let room = self.sieve.marks(shard, more);
        let build = move |cancel: &_| sieve::build(&segments, shard, room, cancel);
        self.reshape = Some(Beside::start("window-shape", &self.folder.path, build)?);
        Ok(())
    }

    /// Waits for the shard that is being built, adds what was written meanwhile, and puts it in its place.
    pub(super) fn adopt_shape(&mut self) -> Result<(), StoreError> {
        let Some(reshape) = self.reshape.take() else { return Ok(()) };
        let Some(mut built) = reshape.wait()? else { return Ok(()) };
        if self.next_number() - built.front > TAGS {
            return Ok(()); // it took so long that files have the tags of files that it has marks of
        }
        built.add(self.segments(), || Ok::<_, StoreError>(()))?;
        if built.front < self.front() {
            // Buckets were dropped while it was built: it has marks of theirs, perhaps behind the sweep's back.
            self.swept_to = self.swept_to.min(built.front);
            self.sweep = None;
        }
        retire(self.sieve.replace(built.which, built.shard));
        Ok(())
    }

    /// Sweeps some lines if the sieve has marks of buckets that were dropped.
    pub(super) fn sweep_some(&mut self) {
        let front = self.front();
        if self.sweep.is_none() && self.swept_to < front {
            self.sweep = Some((Sweep::default(), front));
        }
        if let Some((next, began)) = self.sweep.take() {
            let dead = (self.swept_to..front).fold(0, |dead, number| dead | 1 << tag_of(number));
            match self.sieve.sweep(next, SWEEP_LINES, dead) {
                Some(next) => self.sweep = Some((next, began)),
                None => self.swept_to = began,
            }
        }
    }

    /// Begins to build a larger table.
    pub(super) fn grow(&mut self, more: u64) -> Result<(), StoreError> {
        let Some(Current { segment, table, .. }) = &self.current else { return Ok(()) };
        let expected = if self.sealing.is_none() { self.expected_ids } else { 0 };
        let room = table.larger(more).max(expected);
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

    /// Waits for the seal that is being made, and puts it in the place of its bucket's table.
    pub(super) fn adopt_seal(&mut self) -> Result<(), StoreError> {
        let Some(Sealing { number, seal }) = self.sealing.take() else { return Ok(()) };
        let Some(seal) = seal.wait()? else { return Ok(()) };
        if let Some(bucket) = self.closed.iter_mut().find(|bucket| bucket.segment.number == number) {
            retire(std::mem::replace(&mut bucket.index, Index::Seal(seal)));
        }
        Ok(())
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

    /// Ends the threads beside the lane, whatever came of them: a table or a seal that was not finished is not missed, and
    /// a file that could not be deleted is found again when the folder is next opened.
    pub(super) fn stop_threads(&mut self) {
        if let Some(growth) = self.growth.take() {
            growth.stop();
        }
        if let Some(reshape) = self.reshape.take() {
            reshape.stop();
        }
        if let Some(sealing) = self.sealing.take() {
            sealing.seal.stop();
        }
        if let Some(reaper) = self.reaper.take() {
            drop(reaper.wait());
        }
    }
}
