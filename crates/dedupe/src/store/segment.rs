//! One file of the log: a window bucket of six hours.
//!
//! A file is an array of 32-byte cells. Two cells of header, then one batch per apply: a head cell and an entry cell for
//! each mark. All integers are little endian.
//!
//! | header | | batch head | | entry | |
//! |---|---|---|---|---|---|
//! | 0..8 | magic | 0..4 | magic | 0..16 | id |
//! | 8..16 | bucket (received time / 6 h) | 4..8 | entries | 16..24 | raw offset |
//! | 16..24 | 1 if a position follows, else 0 | 8..12 | CRC-32C of the rest of the batch | 24..32 | received, Unix ms |
//! | 24..40 | position at the start | 12..16 | zero | | |
//! | 40..44 | CRC-32C of 0..40 | 16..32 | position after the batch | | |
//! | 44..64 | zero | | | | |
//!
//! A batch is one write. If the process dies in it, its checksum fails and the reader ends before it. Nothing is synced:
//! a power loss takes more of the tail, and shows in the same way.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Entry, SeenPosition, StoreError};
use crate::key::Id128;

pub(super) const CELL: usize = 32;
const HEADER_CELLS: u64 = 2;
const HEADER: usize = HEADER_CELLS as usize * CELL;
const FILE_MAGIC: [u8; 8] = *b"HLwindw1";
const BATCH_MAGIC: [u8; 4] = *b"HLb1";
/// Read at once when scanning.
const SCAN_BYTES: usize = 1 << 20;

/// A file of the log, open for positioned reads by anyone and for writes by the lane.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) bucket: i64,
    pub(super) path: PathBuf,
    /// The log's number of this file's first cell.
    pub(super) base: u64,
    /// One past the last cell of the last whole batch. Written by the lane, after the batch is.
    end: AtomicU64,
    file: File,
}

/// A batch as the scanner found it.
pub(super) struct Batch<'a> {
    /// The position after it.
    pub(super) position: SeenPosition,
    /// The log's number of its first entry cell.
    pub(super) first_cell: u64,
    /// Its entry cells.
    pub(super) cells: &'a [[u8; CELL]],
}

/// What a segment's header says.
pub(super) struct Header {
    pub(super) bucket: i64,
    pub(super) start: Option<SeenPosition>,
}

impl Segment {
    /// Creates the file of a bucket. A file of that name is overwritten: nothing that is held can be in it.
    pub(super) fn create(
        folder: &Path,
        bucket: i64,
        base: u64,
        start: Option<SeenPosition>,
    ) -> Result<Self, StoreError> {
        let path = folder.join(name(bucket));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        file.write_all_at(&encode_header(bucket, start), 0).map_err(StoreError::io("write", &path))?;
        Ok(Self { bucket, path, base, end: AtomicU64::new(base + HEADER_CELLS), file })
    }

    /// Opens an existing file and reads its header; `None` if that is not whole. Its batches are not read: the end is
    /// right behind the header until [`Segment::set_end`] says more.
    pub(super) fn open(path: &Path, base: u64) -> Result<Option<(Self, Header)>, StoreError> {
        let file = File::options().read(true).write(true).open(path).map_err(StoreError::io("open", path))?;
        let mut bytes = [0; HEADER];
        if read_up_to(&file, &mut bytes, 0).map_err(StoreError::io("read", path))? < HEADER {
            return Ok(None);
        }
        let Some(header) = decode_header(&bytes) else { return Ok(None) };
        let end = AtomicU64::new(base + HEADER_CELLS);
        Ok(Some((Self { bucket: header.bucket, path: path.to_owned(), base, end, file }, header)))
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The cell of the first batch.
    pub(super) fn first_batch(&self) -> u64 {
        self.base + HEADER_CELLS
    }

    /// The error for a batch that was whole when it was written or opened and is not any more.
    pub(super) fn damaged_at(&self, cell: u64) -> StoreError {
        let byte = (cell - self.base) * CELL as u64;
        let source = io::Error::new(io::ErrorKind::InvalidData, format!("the batch at byte {byte} was damaged"));
        StoreError::io("read", &self.path)(source)
    }

    pub(super) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Cuts the file off after cell `end`.
    pub(super) fn truncate(&self, end: u64) -> Result<(), StoreError> {
        self.file.set_len((end - self.base) * CELL as u64).map_err(StoreError::io("truncate", &self.path))
    }

    /// Writes an encoded batch after the last one. It counts once [`Segment::set_end`] says so.
    pub(super) fn write(&self, batch: &[u8]) -> Result<(), StoreError> {
        let at = (self.end() - self.base) * CELL as u64;
        self.file.write_all_at(batch, at).map_err(StoreError::io("write", &self.path))
    }

    /// Reads one entry.
    pub(super) fn entry(&self, cell: u64) -> Result<Entry, StoreError> {
        let mut bytes = [0; CELL];
        let at = (cell - self.base) * CELL as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(StoreError::io("read", &self.path))?;
        Ok(decode_entry(&bytes))
    }

    /// Reads whole batches from cell `from` up to cell `to` and hands them to `on_batch`. Gives the cell after the last
    /// one: less than `to` if what follows is not a whole, undamaged batch.
    pub(super) fn scan<E: From<StoreError>>(
        &self,
        from: u64,
        to: u64,
        mut on_batch: impl FnMut(Batch<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut buffer = vec![0; SCAN_BYTES];
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).saturating_mul(CELL).min(buffer.len());
            let offset = (at - self.base) * CELL as u64;
            let got =
                read_up_to(&self.file, &mut buffer[..wanted], offset).map_err(StoreError::io("read", &self.path))?;
            let mut cells = buffer[..got].as_chunks::<CELL>().0;
            let begin = at;
            let mut needs = CELL;
            while let Some((head, rest)) = cells.split_first() {
                let Some(count) = batch_len(head).filter(|&count| count < to - at) else { return Ok(at) };
                let Some((entries, after)) = rest.split_at_checked(count as usize) else {
                    needs = (1 + count as usize) * CELL;
                    break;
                };
                let Some(position) = check_batch(head, entries) else { return Ok(at) };
                on_batch(Batch { position, first_cell: at + 1, cells: entries })?;
                at += 1 + count;
                cells = after;
            }
            if at == begin {
                if needs <= wanted {
                    return Ok(at); // the file ends inside this batch
                }
                buffer.resize(needs, 0);
            }
        }
        Ok(at)
    }
}

/// The file name of a bucket.
pub(super) fn name(bucket: i64) -> String {
    format!("bucket-{bucket}.log")
}

/// The bucket of a file name; `None` if it is not one of the log's.
pub(super) fn bucket_of_name(name: &str) -> Option<i64> {
    name.strip_prefix("bucket-")?.strip_suffix(".log")?.parse().ok()
}

/// Encodes a batch into `out`, which is cleared.
pub(super) fn encode_batch(entries: &[Entry], position: SeenPosition, out: &mut Vec<u8>) {
    out.clear();
    out.reserve((1 + entries.len()) * CELL);
    out.extend_from_slice(&BATCH_MAGIC);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&position.next_offset.to_le_bytes());
    out.extend_from_slice(&position.raw_hi.to_le_bytes());
    for entry in entries {
        out.extend_from_slice(&entry.id.0.to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.received_at.to_le_bytes());
    }
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&out[..8]), &out[12..]);
    out[8..12].copy_from_slice(&checksum.to_le_bytes());
}

/// The number of entries that a batch head announces; `None` if it is no batch head.
fn batch_len(head: &[u8; CELL]) -> Option<u64> {
    head.starts_with(&BATCH_MAGIC).then(|| u64::from(u32::from_le_bytes(field(head, 4))))
}

/// The position after a batch, if its checksum holds.
fn check_batch(head: &[u8; CELL], entries: &[[u8; CELL]]) -> Option<SeenPosition> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[..8]), &head[12..]);
    let checksum = crc32c::crc32c_append(checksum, entries.as_flattened());
    (checksum == u32::from_le_bytes(field(head, 8))).then(|| SeenPosition {
        next_offset: i64::from_le_bytes(field(head, 16)),
        raw_hi: u64::from_le_bytes(field(head, 24)),
    })
}

pub(super) fn decode_entry(cell: &[u8; CELL]) -> Entry {
    Entry {
        id: Id128(u128::from_le_bytes(field(cell, 0))),
        offset: u64::from_le_bytes(field(cell, 16)),
        received_at: i64::from_le_bytes(field(cell, 24)),
    }
}

fn encode_header(bucket: i64, start: Option<SeenPosition>) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&FILE_MAGIC);
    bytes[8..16].copy_from_slice(&bucket.to_le_bytes());
    if let Some(start) = start {
        bytes[16] = 1;
        bytes[24..32].copy_from_slice(&start.next_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&start.raw_hi.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[..40]);
    bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_header(bytes: &[u8; HEADER]) -> Option<Header> {
    if !bytes.starts_with(&FILE_MAGIC) || crc32c::crc32c(&bytes[..40]) != u32::from_le_bytes(field(bytes, 40)) {
        return None;
    }
    let start = (bytes[16] == 1).then(|| SeenPosition {
        next_offset: i64::from_le_bytes(field(bytes, 24)),
        raw_hi: u64::from_le_bytes(field(bytes, 32)),
    });
    Some(Header { bucket: i64::from_le_bytes(field(bytes, 8)), start })
}

/// `N` bytes from `at`, which the callers keep inside the array.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Fills the buffer from a position of the file; less only at the end of the file.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
