//! Reading a log back when its folder is opened, whatever ended the process that wrote it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::{Index, TOGETHER};
use super::log::Log;
use super::segment::{CELL, Segment, decode_entry};
use super::{SeenPosition, StoreError};

/// What the files of a folder held.
pub(super) struct Recovered {
    pub(super) log: Log,
    pub(super) index: Index,
    /// After the last whole batch.
    pub(super) position: Option<SeenPosition>,
    /// Cut off or deleted because it was damaged or came after damage.
    pub(super) dropped_bytes: u64,
}

impl Recovered {
    /// What an empty folder holds.
    pub(super) fn nothing(room_for_ids: u64) -> Self {
        Self { log: Log::default(), index: Index::with_room(room_for_ids), position: None, dropped_bytes: 0 }
    }
}

/// Reads files, oldest bucket first, up to the first damage. The rest is cut off and later files are deleted: what is
/// left is the log as it was after some batch, and the position says after which.
pub(super) fn recover(files: &[(i64, PathBuf)], expected_ids: u64) -> Result<Recovered, StoreError> {
    let mut sizes = Vec::with_capacity(files.len());
    for (_, path) in files {
        sizes.push(fs::metadata(path).map_err(StoreError::io("inspect", path))?.len());
    }
    let cells = sizes.iter().sum::<u64>() / CELL as u64;
    let mut recovered = Recovered::nothing(expected_ids.max(cells));
    let mut damaged = false;
    for ((bucket, path), &bytes) in files.iter().zip(&sizes) {
        let kept = if damaged { 0 } else { recover_file(&mut recovered, *bucket, path, bytes)? };
        if kept == 0 {
            fs::remove_file(path).map_err(StoreError::io("delete", path))?;
        }
        damaged |= kept < bytes;
        recovered.dropped_bytes += bytes - kept;
    }
    Ok(recovered)
}

/// Reads one file and cuts it off where it is damaged. Gives the bytes kept, 0 if the file as a whole does not belong.
fn recover_file(recovered: &mut Recovered, bucket: i64, path: &Path, bytes: u64) -> Result<u64, StoreError> {
    let Recovered { log, index, position, .. } = recovered;
    let Some((segment, header)) = Segment::open(path, log.head())? else { return Ok(0) };
    if header.bucket != bucket || (log.current().is_some() && header.start != *position) {
        return Ok(0);
    }
    *position = header.start;
    let segment = Arc::new(segment);
    log.push(Arc::clone(&segment));
    let end = segment.scan(segment.first_batch(), segment.base + bytes / CELL as u64, |batch| {
        segment.set_end(batch.first_cell + batch.cells.len() as u64);
        *position = Some(batch.position);
        fill(index, log, batch.first_cell, batch.cells)
    })?;
    let kept = (end - segment.base) * CELL as u64;
    if kept < bytes {
        segment.truncate(end)?;
    }
    Ok(kept)
}

/// Puts the marks of a batch into the index.
pub(super) fn fill(index: &mut Index, log: &Log, first_cell: u64, cells: &[[u8; CELL]]) -> Result<(), StoreError> {
    for (cells, first) in cells.chunks(TOGETHER).zip((first_cell..).step_by(TOGETHER)) {
        cells.iter().for_each(|cell| index.touch(decode_entry(cell).id));
        for (cell, number) in cells.iter().zip(first..) {
            let id = decode_entry(cell).id;
            index.insert(id, Log::slot(number), |slot| log.is(slot, id))?;
        }
    }
    Ok(())
}
