//! The production store: a log of marks on disk, and in memory what tells where an id may be.
//!
//! An apply is one write and never waits for a disk: after a crash the store is as old as its last whole batch, and
//! the rest is in the `seen` topic. Files are buckets of three hours of received time. The marks of the bucket that
//! is written to are found by a table in memory ([`super::table`]: seven to nine bytes an id). Of the closed buckets
//! a sieve in memory ([`super::sieve`]: less than two bytes an id) says for nearly every absent id that it is in
//! none; where it says otherwise, a file of the bucket knows ([`super::seal`]). A bucket that was closed keeps its
//! table until it has that file and the sieve has its marks. Expiry drops whole buckets, and the sieve is made again
//! without them. Growing, sealing, merging and deleting happen on threads beside the lane.
//!
//! Received times are clocks, and clocks are set. Marks that are ahead of everything that was marked after them
//! expire with that. Marks that are behind are held at least as long as they must be.

use std::fmt;
use std::path::Path;

use super::beside::Beside;
use super::bucket::{Closed, Current, expired};
use super::folder::{Folder, Identity, Opened, Owner};
use super::recovery::{self, Recovered};
use super::seal::{self, Seal};
use super::segment::{Batch, CELL, encode_batch};
use super::shard::{Spot, TAGS};
use super::sieve::{self, Sieve, Tags};
use super::table::{TOGETHER, Table};
use super::upkeep::Sealing;
use super::{Entry, Hit, SeenPosition, StoreError, WindowStore, check_order};
use crate::key::Id128;

/// Received time that one file covers: three hours, unless the window is so long that there were too many files.
const BUCKET_MS: u64 = 3 * 60 * 60 * 1_000;
/// Buckets of a window, besides the one that is written to, the one that expires and the one that leaves the sieve.
const MOST_BUCKETS: u64 = TAGS - 3;
/// Of a store that is not told for how long it keeps marks: three days.
const USUAL_WINDOW_MS: u64 = 72 * 60 * 60 * 1_000;
/// Cells have 32-bit numbers. A file that reaches this is closed before its time.
const MOST_CELLS: u64 = 1 << 32;

/// The window store on disk, one per lane.
pub struct LogStore {
    pub(super) sieve: Sieve,
    /// In the order in which they were begun.
    pub(super) closed: Vec<Closed>,
    pub(super) current: Option<Current>,
    pub(super) position: Option<SeenPosition>,
    /// For how long marks are kept, and how much of that is one bucket.
    pub(super) window_ms: u64,
    pub(super) bucket_ms: u64,
    /// What was received before this has been allowed to go.
    pub(super) expired_before: i64,
    /// Ids that the bucket which is written to may come to hold: as many as the one before.
    pub(super) expected_ids: u64,
    pub(super) most_cells: u64,
    /// A larger table for the bucket that is written to, with the cell that it has reached.
    pub(super) growth: Option<Beside<(Table, u64)>>,
    /// A shard of the sieve with other marks.
    pub(super) merge: Option<Beside<sieve::Built>>,
    pub(super) sealing: Option<Sealing>,
    pub(super) reaper: Option<Beside<()>>,
    /// The error after which memory and disk may disagree.
    pub(super) broken: Option<String>,
    /// The batch being written.
    pub(super) batch: Vec<u8>,
    /// Where ids are that are looked up together.
    spots: Vec<Spot>,
    /// Last, so that the folder stays locked until everything else is dropped.
    pub(super) folder: Folder,
}

impl LogStore {
    /// Files that a store has open at most: a log and its seal for each bucket that can be told apart, and its lock.
    pub const FILES: u64 = 2 * TAGS;

    /// Opens the store in its own folder, which is created if need be. Memory is prepared for `expected_ids` in
    /// the bucket that is written to, or for what the folder holds in it if that is more; beyond that it grows beside
    /// the lane. A million ids take 9 MB.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if somebody holds the folder, or the folder cannot be read or written.
    pub fn open(folder: &Path, identity: &Identity, expected_ids: u64) -> Result<(Self, Opened), StoreError> {
        let folder = Folder::lock(folder)?;
        folder.tidy()?;
        let logs = folder.logs()?;
        let why = match folder.owner(identity)? {
            Owner::This if logs.is_empty() => None,
            Owner::This => {
                let recovered = recovery::recover(&folder.path, &logs, expected_ids)?;
                if recovered.position.is_some() {
                    let opened = Opened::Reused { dropped_bytes: recovered.dropped_bytes };
                    return Ok((Self::over(folder, recovered, expected_ids), opened));
                }
                Some("not one batch in it is whole".to_owned())
            }
            Owner::Nobody if logs.is_empty() => None,
            Owner::Nobody => Some("it does not say whose it is".to_owned()),
            Owner::Other { text } => Some(format!("it belongs to another owner or version: {text}")),
        };
        folder.clear()?;
        folder.claim(identity)?;
        let opened = why.map_or(Opened::Fresh, |why| Opened::Discarded { why });
        Ok((Self::over(folder, Recovered::nothing(expected_ids)?, expected_ids), opened))
    }

    fn over(folder: Folder, recovered: Recovered, expected_ids: u64) -> Self {
        Self {
            sieve: recovered.sieve,
            closed: recovered.closed,
            current: recovered.current,
            position: recovered.position,
            window_ms: USUAL_WINDOW_MS,
            bucket_ms: BUCKET_MS,
            expired_before: i64::MIN,
            expected_ids,
            most_cells: MOST_CELLS,
            growth: None,
            merge: None,
            sealing: None,
            reaper: None,
            broken: None,
            batch: Vec::new(),
            spots: Vec::new(),
            folder,
        }
    }

    /// Says for how long marks are kept, in milliseconds: for more than 87 hours, buckets are longer than three hours.
    pub fn set_window(&mut self, longest_ms: u64) {
        (self.window_ms, self.bucket_ms) = (longest_ms, bucket_for(longest_ms));
    }

    /// Deletes the store's files and releases the folder: for a store that fell out of step with its lane.
    ///
    /// # Errors
    /// A file could not be deleted.
    pub fn discard(mut self) -> Result<(), StoreError> {
        self.stop_threads();
        self.folder.clear()
    }

    /// The folder of the store.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Bytes of memory that its indexes take now, without what a thread beside the lane is building.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |current| current.table.memory_bytes());
        self.sieve.memory_bytes() + current + self.closed.iter().map(Closed::memory_bytes).sum::<u64>()
    }

    /// Bytes of memory that the windows of so many lanes take together at most, if ids come at `per_second` all the
    /// time and each is kept for `window_ms`: a bucket goes once all of it is older than that, and the last closed one
    /// is being sealed, in all lanes at the same time. While a folder is opened, up to a fifth more: marks wait to be
    /// merged.
    #[must_use]
    pub fn memory_for(per_second: u64, window_ms: u64, lanes: u16) -> u64 {
        let lanes = u64::from(lanes.max(1));
        let ids = |ms: u64| (per_second.saturating_mul(ms) / 1_000).div_ceil(lanes);
        let bucket = ids(bucket_for(window_ms));
        let lane = Sieve::memory_for(ids(window_ms) + bucket, bucket)
            + 2 * Table::memory_for(bucket)
            + Seal::memory_to_build(bucket);
        lanes * lane
    }

    /// Waits for what threads beside the lane are doing, so that measurements and tests find it done.
    ///
    /// # Errors
    /// It failed, which makes the store unusable.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        let settled = self.finish_closed().and_then(|()| self.adopt_growth());
        settled.inspect_err(|error| self.give_up(error))?;
        self.reaped()
    }

    /// Prepares an empty store for so many marks, which saves reading a long `seen` back most of its growing.
    ///
    /// # Errors
    /// The system has no memory for that.
    pub fn expect(&mut self, marks: u64) -> Result<(), StoreError> {
        if self.sieve.is_empty() && self.merge.is_none() {
            self.expected_ids = self.expected_ids.max(marks / self.buckets());
            self.sieve = Sieve::for_marks(marks).map_err(StoreError::Memory)?;
        }
        Ok(())
    }

    fn usable(&self) -> Result<(), StoreError> {
        match &self.broken {
            Some(cause) => Err(StoreError::Unusable { folder: self.folder.path.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Writes a batch and indexes it.
    fn append(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError> {
        let newest = entries.iter().map(|entry| entry.received_at).max();
        let marks = entries.len() as u64;
        if self.must_turn(marks + 1) || self.is_time_to_turn(newest) && self.may_turn()? {
            self.turn()?;
        }
        self.make_room(marks)?;
        if let Some(Current { segment, newest: held, table }) = &mut self.current {
            encode_batch(entries, position, &mut self.batch);
            segment.write(&self.batch)?;
            let first_cell = segment.end() + 1;
            segment.set_end(first_cell + marks);
            let batch = Batch { position, first_cell, cells: self.batch[CELL..].as_chunks().0 };
            table.fill(segment, &batch)?;
            *held = (*held).max(newest);
            self.position = Some(position);
        }
        self.tend()
    }

    /// Looks an id up that may be in closed buckets of these tags.
    fn find(&self, id: Id128, tags: Tags) -> Result<Option<Hit>, StoreError> {
        let mut found = match &self.current {
            Some(current) if current.table.may_have(id) => current.table.lookup(&current.segment, id)?,
            _ => None,
        };
        // Of an id that the sieve does not know, only the last closed bucket can have a mark.
        let from = if tags == 0 { self.closed.len().saturating_sub(1) } else { 0 };
        for bucket in self.closed.iter().skip(from).rev() {
            if found.is_some() {
                break;
            }
            found = bucket.lookup(id, tags)?;
        }
        Ok(found.map(|entry| Hit { offset: entry.offset, received_at: entry.received_at }))
    }

    /// What a file holds is in doubt: without its seal it is read as a whole when the folder is next opened, and what
    /// is damaged is cut off.
    fn give_up(&mut self, error: &StoreError) {
        let mut cause = error.to_string();
        if let StoreError::Damaged { path, .. } = error
            && let Err(error) = seal::remove(path)
        {
            cause = format!("{cause}; {error}");
        }
        self.broken = Some(cause);
    }
}

/// Received time of one bucket, for marks that are kept for so long, milliseconds.
fn bucket_for(window_ms: u64) -> u64 {
    BUCKET_MS * window_ms.div_ceil(BUCKET_MS).div_ceil(MOST_BUCKETS).clamp(1, 1 << 20)
}

impl WindowStore for LogStore {
    fn lookup(&mut self, ids: &[Id128], out: &mut Vec<Option<Hit>>) -> Result<(), StoreError> {
        self.usable()?;
        out.clear();
        out.reserve(ids.len());
        for ids in ids.chunks(TOGETHER) {
            let table = self.current.as_ref().map(|current| &current.table);
            for table in [table, self.unsieved()].into_iter().flatten() {
                ids.iter().for_each(|&id| table.touch(id));
            }
            let mut spots = std::mem::take(&mut self.spots);
            let found = (ids.iter().zip(self.sieve.tags(ids, &mut spots)))
                .try_for_each(|(&id, tags)| self.find(id, tags).map(|hit| out.push(hit)));
            self.spots = spots;
            found.inspect_err(|error| self.give_up(error))?;
        }
        Ok(())
    }

    fn apply(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError> {
        self.usable()?;
        check_order(self.position, entries, position)?;
        self.append(entries, position).inspect_err(|error| self.give_up(error))
    }

    fn position(&self) -> Option<SeenPosition> {
        self.position
    }

    fn expire(&mut self, before_ms: i64) -> Result<(), StoreError> {
        self.usable()?;
        self.expired_before = self.expired_before.max(before_ms);
        let current = self.current.as_ref().map(|current| current.newest);
        let newest: Vec<Option<i64>> = self.closed.iter().map(|bucket| bucket.newest).chain(current).collect();
        let count = expired(&newest, self.expired_before);
        if count == 0 {
            return if self.reaper.as_ref().is_some_and(Beside::is_finished) { self.reaped() } else { Ok(()) };
        }
        let before = self.reaped();
        let gone = self.closed.drain(..count).collect();
        self.reap(gone)?;
        before
    }

    fn ids_held(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |current| current.table.len());
        current + self.closed.iter().map(Closed::marks).sum::<u64>()
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("folder", &self.folder.path)
            .field("position", &self.position)
            .field("ids", &self.ids_held())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if a cell's number had not 32 bits but so many that a hundred can be told apart.
    #[test]
    fn a_file_is_closed_before_its_cells_cannot_be_numbered_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { incarnation: "i".to_owned(), lane: 0, recipe_version: 1 };
        let (mut store, _) = LogStore::open(folder.path(), &identity, 0).unwrap();
        store.most_cells = 100;
        let id = |offset: u64| Id128(u128::from(offset).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834));
        let apply = |store: &mut LogStore, first: u64| {
            let entries: Vec<Entry> =
                (first..first + 10).map(|offset| Entry { id: id(offset), offset, received_at: 0 }).collect();
            store.apply(&entries, SeenPosition { next_offset: first as i64 + 1, raw_hi: first + 10 })
        };
        (0..1_000).step_by(10).for_each(|first| apply(&mut store, first).unwrap());
        assert!(store.closed.len() > 10 && store.closed.iter().all(|bucket| bucket.segment.end() <= 100));
        let ids: Vec<Id128> = (0..1_000).map(id).collect();
        let mut hits = Vec::new();
        store.lookup(&ids, &mut hits).unwrap();
        assert!(hits.iter().zip(0..).all(|(hit, offset)| hit.is_some_and(|hit| hit.offset == offset)));
        // As many files as the sieve can tell apart.
        let error = (1_000..4_000).step_by(10).find_map(|first| apply(&mut store, first).err());
        assert!(matches!(error, Some(StoreError::Full { files: 32, .. })), "{error:?}");
    }
}
