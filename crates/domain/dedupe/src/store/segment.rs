//! One file of the log: the marks of one bucket, in the order in which they were committed.
//!
//! A file is an array of 32-byte cells. Two cells of header, then one batch per apply: a head cell and an entry cell for
//! each mark. All integers are little endian.
//!
//! | header | | batch head | | entry | |
//! |---|---|---|---|---|---|
//! | 0..8 | magic | 0..4 | magic | 0..16 | id |
//! | 8..16 | number of the file | 4..8 | entries | 16..24 | raw offset |
//! | 16..24 | 1 if a position follows, else 0 | 8..12 | CRC-32C of the rest of the batch | 24..30 | received, Unix ms, signed |
//! | 24..40 | position at the start | 12..16 | zero | 30..32 | low half of the CRC-32C of 0..30 |
//! | 40..44 | CRC-32C of 0..40 | 16..32 | position after the batch | | |
//! | 44..64 | zero | | | | |
//!
//! A batch is one write. If the process dies in it, its checksum fails and the reader ends before it. An entry has a check
//! of its own, because lookups read one at a time. Nothing is synced: a power loss takes more of the tail, and shows in the
//! same way.

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
const FILE_MAGIC: [u8; 8] = *b"HLwindw2";
const BATCH_MAGIC: [u8; 4] = *b"HLb1";
/// Read at once when scanning.
const SCAN_BYTES: usize = 1 << 20;
/// A received time takes 48 bits: the years −2490 to 6429. What lies outside is held as the nearest of them.
const TIMES: std::ops::RangeInclusive<i64> = -(1 << 47)..=(1 << 47) - 1;

/// A file of the log, open for positioned reads by anyone and for writes by the lane. Cells are numbered from its start.
#[derive(Debug)]
pub(super) struct Segment {
    /// Files are numbered in the order in which they were begun.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// The position of the log when the file was begun.
    pub(super) start: Option<SeenPosition>,
    /// One past the last cell of the last whole batch. Written by the lane, after the batch is.
    end: AtomicU64,
    file: File,
}

/// A batch as the scanner found it.
pub(super) struct Batch<'a> {
    /// The position after it.
    pub(super) position: SeenPosition,
    /// The number of its first entry cell.
    pub(super) first_cell: u64,
    /// Its entry cells.
    pub(super) cells: &'a [[u8; CELL]],
}

impl Segment {
    /// Creates a file. One of that name is overwritten: nothing that is held can be in it.
    pub(super) fn create(folder: &Path, number: u64, start: Option<SeenPosition>) -> Result<Self, StoreError> {
        let path = folder.join(name(number));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(StoreError::io("create", &path))?;
        file.write_all_at(&encode_header(number, start), 0).map_err(StoreError::io("write", &path))?;
        Ok(Self { number, path, start, end: AtomicU64::new(HEADER_CELLS), file })
    }

    /// Opens an existing file and reads its header; `None` if that is not whole. Its batches are not read: the end is
    /// right behind the header until [`Segment::set_end`] says more.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let file = File::options().read(true).write(true).open(path).map_err(StoreError::io("open", path))?;
        let mut bytes = [0; HEADER];
        if read_up_to(&file, &mut bytes, 0).map_err(StoreError::io("read", path))? < HEADER {
            return Ok(None);
        }
        Ok(decode_header(&bytes).map(|(number, start)| {
            let end = AtomicU64::new(HEADER_CELLS);
            Self { number, path: path.to_owned(), start, end, file }
        }))
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The cell of the first batch.
    pub(super) const fn first_batch() -> u64 {
        HEADER_CELLS
    }

    /// The error for a cell, or the batch that it begins, that is not what was written there.
    pub(super) fn damaged_at(&self, cell: u64) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), byte: cell * CELL as u64 }
    }

    pub(super) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Cuts the file off at its end.
    pub(super) fn truncate(&self) -> Result<(), StoreError> {
        self.file.set_len(self.end() * CELL as u64).map_err(StoreError::io("truncate", &self.path))
    }

    /// Writes an encoded batch after the last one. It counts once [`Segment::set_end`] says so.
    pub(super) fn write(&self, batch: &[u8]) -> Result<(), StoreError> {
        self.file.write_all_at(batch, self.end() * CELL as u64).map_err(StoreError::io("write", &self.path))
    }

    /// Reads one entry, for an index that says `alike` of its id.
    pub(super) fn entry(&self, cell: u64, alike: impl FnOnce(Id128) -> bool) -> Result<Entry, StoreError> {
        let mut bytes = [0; CELL];
        match self.file.read_exact_at(&mut bytes, cell * CELL as u64) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(self.damaged_at(cell)),
            other => other.map_err(StoreError::io("read", &self.path))?,
        }
        let entry = decode_entry(&bytes);
        let check = u16::from_le_bytes(field(&bytes, 30));
        if check_of(&bytes) == check && alike(entry.id) { Ok(entry) } else { Err(self.damaged_at(cell)) }
    }

    /// Reads whole batches from cell `from` up to cell `to` and hands them to `on_batch`. Gives the cell after the last
    /// one: less than `to` if what follows is not a whole, undamaged batch.
    pub(super) fn scan<E: From<StoreError>>(
        &self,
        from: u64,
        to: u64,
        mut on_batch: impl FnMut(Batch<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut buffer = vec![0; SCAN_BYTES.min(usize::try_from(to - from.min(to)).unwrap_or(SCAN_BYTES) * CELL)];
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).saturating_mul(CELL).min(buffer.len());
            let offset = at * CELL as u64;
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

    /// As [`Segment::scan`] from `from` up to the end, all of which was whole when it was written or opened. Gives the
    /// end.
    pub(super) fn scan_whole<E: From<StoreError>>(
        &self,
        from: u64,
        on_batch: impl FnMut(Batch<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let end = self.end();
        let reached = self.scan(from, end, on_batch)?;
        if reached < end { Err(E::from(self.damaged_at(reached))) } else { Ok(end) }
    }
}

/// The name of a file by its number.
pub(super) fn name(number: u64) -> String {
    format!("bucket-{number}.log")
}

/// The number of a file by its name; `None` if it is not one of the log's.
pub(super) fn number_of(name: &str) -> Option<u64> {
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
        out.extend_from_slice(&encode_entry(entry));
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

fn encode_entry(entry: &Entry) -> [u8; CELL] {
    let mut cell = [0; CELL];
    cell[..16].copy_from_slice(&entry.id.0.to_le_bytes());
    cell[16..24].copy_from_slice(&entry.offset.to_le_bytes());
    let received_at = entry.received_at.clamp(*TIMES.start(), *TIMES.end());
    cell[24..30].copy_from_slice(&received_at.to_le_bytes()[..6]);
    let check = check_of(&cell);
    cell[30..].copy_from_slice(&check.to_le_bytes());
    cell
}

pub(super) fn decode_entry(cell: &[u8; CELL]) -> Entry {
    // The last two bytes are the check: shifting them out extends the sign of the 48 bits before them.
    let received_at = (i64::from_le_bytes(field(cell, 24)) << 16) >> 16;
    Entry { id: id_of(cell), offset: u64::from_le_bytes(field(cell, 16)), received_at }
}

/// The id of an entry cell.
pub(super) fn id_of(cell: &[u8; CELL]) -> Id128 {
    Id128(u128::from_le_bytes(field(cell, 0)))
}

fn check_of(cell: &[u8; CELL]) -> u16 {
    crc32c::crc32c(&cell[..30]) as u16
}

fn encode_header(number: u64, start: Option<SeenPosition>) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(&FILE_MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    if let Some(start) = start {
        bytes[16] = 1;
        bytes[24..32].copy_from_slice(&start.next_offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&start.raw_hi.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[..40]);
    bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode_header(bytes: &[u8; HEADER]) -> Option<(u64, Option<SeenPosition>)> {
    if !bytes.starts_with(&FILE_MAGIC) || crc32c::crc32c(&bytes[..40]) != u32::from_le_bytes(field(bytes, 40)) {
        return None;
    }
    let start = (bytes[16] == 1).then(|| SeenPosition {
        next_offset: i64::from_le_bytes(field(bytes, 24)),
        raw_hi: u64::from_le_bytes(field(bytes, 32)),
    });
    Some((u64::from_le_bytes(field(bytes, 8)), start))
}

/// `N` bytes from `at`, which the callers keep inside the array.
pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// Fills the buffer from a position of the file; less only at the end of the file.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_reads_back_as_it_was_written(id: u128, offset: u64, received_at in TIMES) {
            let entry = Entry { id: Id128(id), offset, received_at };
            prop_assert_eq!(decode_entry(&encode_entry(&entry)), entry);
        }
    }

    /// What a flipped bit does to a CRC does not depend on the other bits, so one entry stands for all.
    #[test]
    fn any_flipped_bit_or_two_of_an_entry_show() {
        let whole = encode_entry(&Entry { id: Id128(7), offset: 300, received_at: 1_785_000_000_000 });
        for one in 0..CELL * 8 {
            for other in 0..CELL * 8 {
                let mut cell = whole;
                cell[one / 8] ^= 1 << (one % 8);
                if other != one {
                    cell[other / 8] ^= 1 << (other % 8);
                }
                assert_ne!(check_of(&cell), u16::from_le_bytes(field(&cell, 30)), "bits {one} and {other}");
            }
        }
    }

    #[test]
    fn a_time_outside_of_all_calendars_is_held_as_the_nearest() {
        for (given, held) in [(i64::MIN, *TIMES.start()), (i64::MAX, *TIMES.end()), (-1, -1)] {
            let cell = encode_entry(&Entry { id: Id128(1), offset: 1, received_at: given });
            assert_eq!(decode_entry(&cell).received_at, held);
        }
    }

    /// As a power loss leaves a page that was never written.
    #[test]
    fn a_cell_of_zeros_is_not_an_entry() {
        assert_ne!(check_of(&[0; CELL]), 0);
    }
}
