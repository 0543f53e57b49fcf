//! The production store: a log of marks on disk, one index of it in memory.
//!
//! A lookup costs one cache miss when the id is absent, and one `pread` more when it is present: the index knows 13 bits
//! of an id, the log has all 128. An apply is one write and never waits for a disk: after a crash the store is as old as
//! its last whole batch, and the rest is in the `seen` topic. Files are buckets of six hours of received time, and
//! expiry drops whole ones; their slots are swept out of the index a little with every apply. Growing the index and
//! deleting files happen on threads beside the lane.
//!
//! A received time far in the future would hold the current bucket open until then: received times are the broker's
//! clock or at most that, so the caller has bounded them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::folder::{Folder, Identity, Opened, Owner};
use super::growth::{self, Growth};
use super::index::{Index, Sweep, TOGETHER};
use super::log::Log;
use super::recovery::{self, Recovered};
use super::segment::{CELL, Segment, encode_batch};
use super::{Entry, Hit, SeenPosition, StoreError, WindowStore, check_order};
use crate::key::Id128;

/// Received time that one file covers: six hours.
const BUCKET_MS: i64 = 6 * 60 * 60 * 1_000;
/// Lines swept with each apply while buckets have been dropped: 256 KiB, some 50 µs.
const SWEEP_LINES: usize = 4_096;
/// Slots have 32 bits, so so many cells can be told apart.
const MOST_CELLS: u64 = 1 << 32;

/// The window store on disk, one per lane.
pub struct LogStore {
    log: Log,
    index: Index,
    position: Option<SeenPosition>,
    growth: Option<Growth>,
    /// The sweep under way, and the front of the log when it began.
    sweep: Option<(Sweep, u64)>,
    /// No slot in the index is of a cell before this one.
    swept_to: u64,
    reaper: Option<JoinHandle<Result<(), StoreError>>>,
    /// The error after which memory and disk may disagree.
    broken: Option<String>,
    /// The batch being written.
    batch: Vec<u8>,
    /// Last, so that the folder stays locked until everything else is dropped.
    folder: Folder,
}

impl LogStore {
    /// Opens the store in a folder of its own, which is created if need be. Memory is prepared for `expected_ids`, or
    /// for what the folder holds if that is more; beyond that the index grows beside the lane. A million ids take 10 MB;
    /// a good guess saves a long restore most of its growing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if somebody holds the folder, or the folder cannot be read or written.
    pub fn open(folder: &Path, identity: &Identity, expected_ids: u64) -> Result<(Self, Opened), StoreError> {
        let folder = Folder::lock(folder)?;
        let logs = folder.logs()?;
        let why = match folder.owner(identity)? {
            Owner::This if logs.is_empty() => None,
            Owner::This => {
                let recovered = recovery::recover(&logs, expected_ids)?;
                if recovered.position.is_some() {
                    let opened = Opened::Reused { dropped_bytes: recovered.dropped_bytes };
                    return Ok((Self::over(folder, recovered), opened));
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
        Ok((Self::over(folder, Recovered::nothing(expected_ids)), opened))
    }

    fn over(folder: Folder, recovered: Recovered) -> Self {
        let swept_to = recovered.log.front();
        Self {
            log: recovered.log,
            index: recovered.index,
            position: recovered.position,
            growth: None,
            sweep: None,
            swept_to,
            reaper: None,
            broken: None,
            batch: Vec::new(),
            folder,
        }
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

    /// Bytes of memory that the index takes now; one shard of eight more while it grows.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.index.memory_bytes() as u64
    }

    /// Bytes of memory that a store of so many ids needs at most: what a check of the configuration prints.
    #[must_use]
    pub fn memory_for(ids: u64) -> u64 {
        Index::memory_for(ids)
    }

    fn usable(&self) -> Result<(), StoreError> {
        match &self.broken {
            Some(cause) => Err(StoreError::Unusable { folder: self.folder.path.clone(), cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Writes a batch and indexes it.
    fn append(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError> {
        let segment = self.segment_for(entries)?;
        self.keep_slots_apart(entries.len() as u64 + 1)?;
        self.make_room(entries.len() as u64)?;
        encode_batch(entries, position, &mut self.batch);
        segment.write(&self.batch)?;
        let first_cell = segment.end() + 1;
        segment.set_end(first_cell + entries.len() as u64);
        recovery::fill(&mut self.index, &self.log, first_cell, self.batch[CELL..].as_chunks().0)?;
        self.position = Some(position);
        self.tend()
    }

    /// The file for a batch: the current one, or a new one if the batch is of a later bucket. Buckets never go back, so
    /// of two marks of one id the later is never dropped before the earlier.
    fn segment_for(&mut self, entries: &[Entry]) -> Result<Arc<Segment>, StoreError> {
        let newest = entries.iter().map(|entry| bucket_of(entry.received_at)).max().unwrap_or(0);
        if let Some(current) = self.log.current()
            && newest <= current.bucket
        {
            return Ok(Arc::clone(current));
        }
        let segment = Arc::new(Segment::create(&self.folder.path, newest.max(0), self.log.head(), self.position)?);
        self.log.push(Arc::clone(&segment));
        Ok(segment)
    }

    /// Makes sure that after so many more cells every indexed cell is within 2³² of the head. The sweep has done this
    /// long before in all but absurd cases.
    fn keep_slots_apart(&mut self, more: u64) -> Result<(), StoreError> {
        let head = self.log.head() + more;
        if head - self.log.front() >= MOST_CELLS {
            return Err(StoreError::Full { cells: self.log.head() - self.log.front() });
        }
        while head - self.swept_to >= MOST_CELLS {
            self.sweep_some();
        }
        Ok(())
    }

    /// Waits until every shard has room for its share of so many more ids. A lane at its ordinary pace never waits:
    /// growth begins long before. Reading `seen` back may be faster than the thread beside it.
    fn make_room(&mut self, more: u64) -> Result<(), StoreError> {
        while let Some(shard) = self.index.without_room_for(more) {
            if self.growth.is_none() {
                self.grow(shard, more)?;
            }
            self.adopt()?;
        }
        Ok(())
    }

    /// The housekeeping that follows a batch.
    fn tend(&mut self) -> Result<(), StoreError> {
        if self.growth.as_ref().is_some_and(Growth::is_finished) {
            self.adopt()?;
        }
        if self.growth.is_none()
            && let Some(shard) = self.index.crowded()
        {
            self.grow(shard, 0)?;
        }
        self.sweep_some();
        Ok(())
    }

    fn grow(&mut self, shard: usize, more: u64) -> Result<(), StoreError> {
        let homes = self.index.homes_to_grow(shard, more);
        let growth = Growth::start(self.log.clone(), shard, homes)
            .map_err(StoreError::io("start a thread for", &self.folder.path))?;
        self.growth = Some(growth);
        Ok(())
    }

    /// Waits for the growing table, adds what was written meanwhile, and puts it in its place.
    fn adopt(&mut self) -> Result<(), StoreError> {
        let Some(growth) = self.growth.take() else { return Ok(()) };
        let (shard, front) = (growth.shard, growth.front);
        let Some(mut grown) = growth.wait()? else { return Ok(()) };
        let (log, table) = (&self.log, &mut grown.table);
        log.scan(grown.reached, |batch| growth::fill(table, shard, log, &batch))?;
        let retired = self.index.replace(shard, grown.table);
        // Giving a hundred megabytes back takes milliseconds. If there is no thread to do it, it happens right here.
        drop(thread::Builder::new().name("window-retired".to_owned()).spawn(move || drop(retired)));
        if front < log.front() {
            // Buckets were dropped while it was built: it has slots of theirs, perhaps behind a sweep's back.
            self.swept_to = self.swept_to.min(front);
            self.sweep = None;
        }
        Ok(())
    }

    /// Sweeps some lines if slots of dropped buckets are left.
    fn sweep_some(&mut self) {
        if self.sweep.is_none() && self.swept_to < self.log.front() {
            self.sweep = Some((Sweep::default(), self.log.front()));
        }
        if let Some((next, front)) = self.sweep.take() {
            let log = &self.log;
            match self.index.sweep(next, SWEEP_LINES, |slot| log.cell(slot).is_none()) {
                Some(next) => self.sweep = Some((next, front)),
                None => self.swept_to = front,
            }
        }
    }

    /// Deletes files beside the lane: freeing gigabytes of page cache takes time.
    fn reap(&mut self, segments: Vec<Arc<Segment>>) -> Result<(), StoreError> {
        let reap = move || {
            for segment in segments {
                fs::remove_file(&segment.path).map_err(StoreError::io("delete", &segment.path))?;
            }
            Ok(())
        };
        let reaper = thread::Builder::new()
            .name("window-reaper".to_owned())
            .spawn(reap)
            .map_err(StoreError::io("start a thread for", &self.folder.path))?;
        self.reaper = Some(reaper);
        Ok(())
    }

    fn reaped(&mut self) -> Result<(), StoreError> {
        match self.reaper.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }

    /// Ends the threads beside the lane, whatever came of them: a table that was not finished is not missed, and a file
    /// that could not be deleted is found again when the folder is next opened.
    fn stop_threads(&mut self) {
        if let Some(growth) = self.growth.take() {
            growth.stop();
        }
        if let Some(reaper) = self.reaper.take() {
            drop(reaper.join());
        }
    }
}

impl WindowStore for LogStore {
    fn lookup(&mut self, ids: &[Id128], out: &mut Vec<Option<Hit>>) -> Result<(), StoreError> {
        self.usable()?;
        out.clear();
        out.reserve(ids.len());
        let (index, log) = (&self.index, &self.log);
        for ids in ids.chunks(TOGETHER) {
            ids.iter().for_each(|&id| index.touch(id));
            for &id in ids {
                let mut hit = None;
                index.find(id, |slot| {
                    let entry = log.entry(slot)?.filter(|entry| entry.id == id);
                    hit = entry.map(|entry| Hit { offset: entry.offset, received_at: entry.received_at });
                    Ok::<_, StoreError>(hit.is_some())
                })?;
                out.push(hit);
            }
        }
        Ok(())
    }

    fn apply(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError> {
        self.usable()?;
        check_order(self.position, entries, position)?;
        self.append(entries, position).inspect_err(|error| self.broken = Some(error.to_string()))
    }

    fn position(&self) -> Option<SeenPosition> {
        self.position
    }

    fn expire(&mut self, before_ms: i64) -> Result<(), StoreError> {
        self.usable()?;
        let expired = self.log.take_below(bucket_of(before_ms));
        if expired.is_empty() {
            return if self.reaper.as_ref().is_some_and(JoinHandle::is_finished) { self.reaped() } else { Ok(()) };
        }
        let before = self.reaped();
        self.reap(expired)?;
        before
    }

    fn ids_held(&self) -> u64 {
        self.index.ids()
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
            .field("ids", &self.index.ids())
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

fn bucket_of(received_at: i64) -> i64 {
    received_at.div_euclid(BUCKET_MS)
}
