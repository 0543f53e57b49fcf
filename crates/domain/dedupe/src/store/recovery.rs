//! Reading a log back when its folder is opened, whatever ended the process that wrote it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beside::{Cancel, Stop};
use super::bucket::{Closed, Current, Index};
use super::filling::Filling;
use super::seal::{self, Seal};
use super::segment::{Batch, CELL, Segment, decode_entry};
use super::shard::TAGS;
use super::sieve::Sieve;
use super::table::Table;
use super::{SeenPosition, StoreError};

/// What the files of a folder held.
pub(super) struct Recovered {
    pub(super) sieve: Sieve,
    pub(super) closed: Vec<Closed>,
    /// The last file, unless it was cut off after later ones.
    pub(super) current: Option<Current>,
    /// After the last whole batch.
    pub(super) position: Option<SeenPosition>,
    /// Cut off or deleted because it was damaged or came after damage.
    pub(super) dropped_bytes: u64,
}

impl Recovered {
    /// What an empty folder holds.
    pub(super) fn nothing(room: u64) -> Result<Self, StoreError> {
        let sieve = Sieve::for_marks(room).map_err(StoreError::Memory)?;
        Ok(Self { sieve, closed: Vec::new(), current: None, position: None, dropped_bytes: 0 })
    }
}

/// Reads the files of `folder`, in the order of their numbers, up to the first damage. The rest is cut off and later
/// files are deleted: what is left is the log as it was after some batch, and the position says after which. The last
/// is indexed for writing, with room for `expected_ids` at least.
pub(super) fn recover(folder: &Path, files: &[(u64, PathBuf)], expected_ids: u64) -> Result<Recovered, StoreError> {
    // A file that many numbers behind had expired, and was about to be deleted.
    let newest = files.last().map_or(0, |(number, _)| *number);
    let expired = files.iter().take_while(|(number, _)| number + TAGS <= newest).count();
    let (expired, files) = files.split_at(expired);
    expired.iter().try_for_each(|(_, path)| delete(path))?;

    let mut sizes = Vec::with_capacity(files.len());
    for (_, path) in files {
        sizes.push(fs::metadata(path).map_err(StoreError::io("inspect", path))?.len());
    }
    let cells = |bytes: u64| bytes / CELL as u64;
    let mut recovered = Recovered::nothing(0)?;
    if files.is_empty() {
        return Ok(recovered);
    }
    let mut filling = Filling::for_marks(expected_ids.max(sizes.iter().copied().map(cells).sum()), folder)?;
    let mut damaged = false;
    for (at, ((number, path), &bytes)) in files.iter().zip(&sizes).enumerate() {
        let room = (at + 1 == files.len()).then(|| expected_ids.max(cells(bytes)));
        let kept = if damaged { 0 } else { recover_file(&mut recovered, &mut filling, *number, path, bytes, room)? };
        if kept == 0 {
            delete(path)?;
        }
        // A file may be empty altogether, and then later ones do not follow either.
        damaged |= kept < bytes || kept == 0;
        recovered.dropped_bytes += bytes - kept;
    }
    if let (Some(first), Some(last)) = (recovered.closed.first(), recovered.closed.last()) {
        recovered.sieve = filling.finish(&(first.segment.number..last.segment.number + 1))?;
    }
    Ok(recovered)
}

fn delete(log: &Path) -> Result<(), StoreError> {
    seal::remove(log)?;
    fs::remove_file(log).map_err(StoreError::io("delete", log))
}

/// Reads one file and cuts it off where it is damaged. Gives the bytes kept, 0 if the file as a whole does not belong.
fn recover_file(
    recovered: &mut Recovered,
    filling: &mut Filling,
    number: u64,
    path: &Path,
    bytes: u64,
    room_to_write: Option<u64>,
) -> Result<u64, StoreError> {
    let Some(segment) = Segment::open(path)? else { return Ok(0) };
    let follows = recovered.closed.is_empty() || segment.start == recovered.position;
    if segment.number != number || !follows {
        return Ok(0);
    }
    let mut table = room_to_write.map(Table::with_room).transpose().map_err(StoreError::Memory)?;
    let (mut position, mut newest) = (segment.start, None);
    segment.scan(Segment::first_batch(), bytes / CELL as u64, |batch: Batch<'_>| {
        segment.set_end(batch.first_cell + batch.cells.len() as u64);
        position = Some(batch.position);
        newest = newest.max(batch.cells.iter().map(|cell| decode_entry(cell).received_at).max());
        match &mut table {
            Some(table) => table.fill(&segment, &batch),
            None => {
                filling.fill(number, &batch);
                Ok(())
            }
        }
    })?;
    let kept = segment.end() * CELL as u64;
    if kept < bytes {
        segment.truncate()?;
    }
    recovered.position = position;
    match table {
        Some(table) => recovered.current = Some(Current { segment: Arc::new(segment), newest, table }),
        None => {
            let seal = Seal::open(&segment)?.map_or_else(|| seal_now(&segment), Ok)?;
            recovered.closed.push(Closed { segment: Arc::new(segment), newest, index: Index::Seal(seal) });
        }
    }
    Ok(kept)
}

/// The process ended before a closed file was sealed, or its seal is damaged.
fn seal_now(segment: &Segment) -> Result<Seal, StoreError> {
    match Seal::build(segment, &Cancel::default()) {
        Ok(seal) => Ok(seal),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Cancelled) => unreachable!("nobody else has the means to cancel"),
    }
}
