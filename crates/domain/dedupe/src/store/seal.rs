//! What finds the marks of a bucket that is closed: a file, with one read.
//!
//! The marks are ordered by the line that their id hashes to (its home). A line holds up to 28 of them, those of its home
//! after what the lines before it had no room for: of each a print, which is 16 bits of the id, and the cell.
//!
//! The file `bucket-<number>.seal`, integers little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic |
//! | 8..16 | number of the log file |
//! | 16..24 | cells of the log file |
//! | 24..32, 32..40, 40..48 | marks, homes, lines |
//! | 168..172 | CRC-32C of 0..168 |
//! | then | lines: 28 prints of two bytes, 28 cells of four, CRC-32C of those 168 bytes |
//!
//! It is written beside the lane, synced, and renamed to its name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::beside::{Cancel, Stop};
use super::segment::{Segment, field, id_of, read_up_to};
use super::table::Homes;
use super::{Entry, StoreError};
use crate::key::Id128;

const MAGIC: [u8; 8] = *b"HLseal01";
const WAYS: usize = 28;
const CELLS_AT: usize = WAYS * 2;
const CHECKSUM_AT: usize = CELLS_AT + WAYS * 4;
const LINE: usize = CHECKSUM_AT + 4;
/// Marks a line holds on average: so few that one in eight lines is full and sends a search on to the next.
const FILL: u64 = 22;
/// Written at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Lines that are laid out at once, 5 MB: of a larger bucket the log is read once for each so many.
const PART: usize = 1 << 15;

#[derive(Clone, Copy)]
struct Line {
    /// Those of the marks in it, then zeros.
    prints: [u16; WAYS],
    cells: [u32; WAYS],
}

impl Line {
    const EMPTY: Self = Self { prints: [0; WAYS], cells: [0; WAYS] };

    fn is_full(&self) -> bool {
        self.prints[WAYS - 1] != 0
    }

    fn encode(&self) -> [u8; LINE] {
        let mut bytes = [0; LINE];
        for (two, print) in bytes[..CELLS_AT].as_chunks_mut().0.iter_mut().zip(self.prints) {
            *two = print.to_le_bytes();
        }
        for (four, cell) in bytes[CELLS_AT..CHECKSUM_AT].as_chunks_mut().0.iter_mut().zip(self.cells) {
            *four = cell.to_le_bytes();
        }
        with_checksum(bytes)
    }

    fn decode(bytes: &[u8; LINE]) -> Self {
        let mut line = Self::EMPTY;
        for (print, two) in line.prints.iter_mut().zip(bytes[..CELLS_AT].as_chunks().0) {
            *print = u16::from_le_bytes(*two);
        }
        for (cell, four) in line.cells.iter_mut().zip(bytes[CELLS_AT..CHECKSUM_AT].as_chunks().0) {
            *cell = u32::from_le_bytes(*four);
        }
        line
    }
}

/// The header has the length of a line, and its checksum where lines have theirs.
fn with_checksum(mut bytes: [u8; LINE]) -> [u8; LINE] {
    let checksum = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn is_whole(bytes: &[u8; LINE]) -> bool {
    crc32c::crc32c(&bytes[..CHECKSUM_AT]) == u32::from_le_bytes(field(bytes, CHECKSUM_AT))
}

/// The seal of a log file, open for reading.
pub(super) struct Seal {
    header: Header,
    path: PathBuf,
    file: File,
}

impl Seal {
    /// Reads a closed log file, and writes its seal.
    pub(super) fn build(segment: &Segment, cancel: &Cancel) -> Result<Self, Stop> {
        let layout = Layout::of(segment, cancel)?;
        let header = Header {
            number: segment.number,
            log_cells: segment.end(),
            marks: layout.end().into(),
            homes: layout.homes,
            lines: layout.firsts.len() as u64,
        };
        let (path, draft) = (path_of(segment), segment.path.with_extension("seal.new"));
        let failed = |error| StoreError::io("write", &draft)(error);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&draft).map_err(failed)?;
        let mut out = BufWriter::with_capacity(CHUNK_BYTES, &file);
        out.write_all(&header.encode()).map_err(failed)?;
        for first in (0..layout.firsts.len()).step_by(PART) {
            let lines = layout.lines(segment, first..layout.firsts.len().min(first + PART), cancel)?;
            lines.iter().try_for_each(|line| out.write_all(&line.encode())).map_err(failed)?;
        }
        cancel.check()?;
        out.flush().and_then(|()| file.sync_data()).and_then(|()| fs::rename(&draft, &path)).map_err(failed)?;
        drop(out);
        Ok(Self { header, path, file })
    }

    /// Opens the seal of a log file; `None` if there is none that is whole and of just this file.
    pub(super) fn open(segment: &Segment) -> Result<Option<Self>, StoreError> {
        let path = path_of(segment);
        let file = match File::options().read(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let read = || -> io::Result<Option<Header>> {
            let mut bytes = [0; LINE];
            let read = read_up_to(&file, &mut bytes, 0)?;
            let bytes_there = file.metadata()?.len();
            Ok(Header::decode(&bytes).filter(|header| {
                let is_its = header.number == segment.number && header.log_cells == segment.end();
                read == LINE && is_its && header.bytes() == Some(bytes_there)
            }))
        };
        Ok(read().map_err(StoreError::io("read", &path))?.map(|header| Self { header, path, file }))
    }

    /// Marks in it.
    pub(super) fn marks(&self) -> u64 {
        self.header.marks
    }

    /// Bytes of memory that sealing so many marks takes.
    pub(super) fn memory_to_build(marks: u64) -> u64 {
        let lines = marks.div_ceil(FILL);
        lines * 12 + lines.min(PART as u64) * size_of::<Line>() as u64
    }

    /// The latest mark of an id.
    pub(super) fn lookup(&self, segment: &Segment, id: Id128) -> Result<Option<Entry>, StoreError> {
        let mut latest: Option<(u32, Entry)> = None;
        let (home, print) = (self.header.homes.of(id) as u64, print(id));
        for at in home..self.header.lines {
            let line = self.line(at)?;
            for (&cell, _) in line.cells.iter().zip(line.prints).filter(|&(_, held)| held == print) {
                // Whatever stands there has this print, and its home is not after this line.
                let alike = |held| self::print(held) == print && self.header.homes.of(held) as u64 <= at;
                let entry = segment.entry(cell.into(), alike)?;
                if entry.id == id && latest.is_none_or(|(latest, _)| cell > latest) {
                    latest = Some((cell, entry));
                }
            }
            if !line.is_full() {
                break;
            }
        }
        Ok(latest.map(|(_, entry)| entry))
    }

    fn line(&self, at: u64) -> Result<Line, StoreError> {
        let byte = (at + 1) * LINE as u64;
        let damaged = || StoreError::Damaged { path: self.path.clone(), byte };
        let mut bytes = [0; LINE];
        match self.file.read_exact_at(&mut bytes, byte) {
            Ok(()) if is_whole(&bytes) => Ok(Line::decode(&bytes)),
            Ok(()) => Err(damaged()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged()),
            Err(error) => Err(StoreError::io("read", &self.path)(error)),
        }
    }
}

/// Which marks are in which line. A mark has a rank: how many are before it, by their homes and then by their cells.
struct Layout {
    homes: Homes,
    /// Rank of the first mark of each home, and of the end.
    ranks: Vec<u32>,
    /// Rank of the first mark of each line; the last line is empty.
    firsts: Vec<u32>,
}

impl Layout {
    fn of(segment: &Segment, cancel: &Cancel) -> Result<Self, Stop> {
        let homes = Homes((segment.end() / FILL) as usize + 1);
        let mut ranks = vec![0; homes.0];
        segment.scan_whole(Segment::first_batch(), |batch| {
            cancel.check()?;
            batch.cells.iter().for_each(|cell| ranks[homes.of(id_of(cell))] += 1);
            Ok::<_, Stop>(())
        })?;
        let firsts = arrange(&mut ranks);
        ranks.extend(firsts.last());
        Ok(Self { homes, ranks, firsts })
    }

    /// How many marks there are.
    fn end(&self) -> u32 {
        self.ranks[self.homes.0]
    }

    /// Reads the log for some of the lines.
    fn lines(&self, segment: &Segment, which: Range<usize>, cancel: &Cancel) -> Result<Vec<Line>, Stop> {
        let mut lines = vec![Line::EMPTY; which.len()];
        let ours = self.firsts[which.start]..self.firsts.get(which.end).copied().unwrap_or(self.end());
        let mut next = self.ranks.clone();
        segment.scan_whole(Segment::first_batch(), |batch| {
            cancel.check()?;
            for (entry, cell) in batch.cells.iter().zip(batch.first_cell..) {
                let id = id_of(entry);
                let home = self.homes.of(id);
                if self.ranks[home] >= ours.end || self.ranks[home + 1] <= ours.start {
                    continue;
                }
                let rank = next[home];
                next[home] += 1;
                if !ours.contains(&rank) {
                    continue;
                }
                let mut at = home.max(which.start);
                while self.firsts[at + 1] <= rank {
                    at += 1;
                }
                let way = (rank - self.firsts[at]) as usize;
                lines[at - which.start].prints[way] = print(id);
                lines[at - which.start].cells[way] = cell as u32;
            }
            Ok::<_, Stop>(())
        })?;
        Ok(lines)
    }
}

/// Lays out lines for so many marks a home, and puts the rank of its first mark in the place of each count. Gives the rank
/// of the first mark of each line; the last line is empty.
fn arrange(counts: &mut [u32]) -> Vec<u32> {
    let mut firsts = Vec::with_capacity(counts.len() + counts.len() / 64 + 2);
    let (mut placed, mut waiting) = (0, 0);
    for count in counts {
        firsts.push(placed);
        let marks = *count;
        *count = placed + waiting;
        waiting += marks;
        let here = waiting.min(WAYS as u32);
        (placed, waiting) = (placed + here, waiting - here);
    }
    while waiting > 0 {
        firsts.push(placed);
        let here = waiting.min(WAYS as u32);
        (placed, waiting) = (placed + here, waiting - here);
    }
    firsts.push(placed);
    firsts
}

/// Never 0, which marks a free place.
fn print(id: Id128) -> u16 {
    ((id.0 >> 64) as u16).max(1)
}

/// Where the seal of a log file is.
pub(super) fn path_of(segment: &Segment) -> PathBuf {
    segment.path.with_extension("seal")
}

/// Deletes the seal of a log file, if there is one: before the log file itself, or when either is in doubt.
pub(super) fn remove(log: &Path) -> Result<(), StoreError> {
    for extension in ["seal", "seal.new"] {
        let path = log.with_extension(extension);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("delete", &path)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

struct Header {
    number: u64,
    log_cells: u64,
    marks: u64,
    homes: Homes,
    /// The homes, then what the last of them had no room for, then an empty one.
    lines: u64,
}

impl Header {
    /// Bytes of the whole file.
    fn bytes(&self) -> Option<u64> {
        self.lines.checked_add(1)?.checked_mul(LINE as u64)
    }

    fn encode(&self) -> [u8; LINE] {
        let mut bytes = [0; LINE];
        bytes[..8].copy_from_slice(&MAGIC);
        let numbers = [self.number, self.log_cells, self.marks, self.homes.0 as u64, self.lines];
        for (eight, number) in bytes[8..48].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *eight = number.to_le_bytes();
        }
        with_checksum(bytes)
    }

    fn decode(bytes: &[u8; LINE]) -> Option<Self> {
        let number = |at| u64::from_le_bytes(field(bytes, at));
        (bytes.starts_with(&MAGIC) && is_whole(bytes)).then(|| Self {
            number: number(8),
            log_cells: number(16),
            marks: number(24),
            homes: Homes(number(32) as usize),
            lines: number(40),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_has_a_place_at_or_after_its_home() {
        let marks_a_home = [0, 3, 100, 1, 28, 0, 0, 27, 60];
        let mut ranks = marks_a_home;
        let firsts = arrange(&mut ranks);
        let mut expected = 0;
        for (home, (&first, marks)) in ranks.iter().zip(marks_a_home).enumerate() {
            assert_eq!(first, expected);
            assert!(firsts[home] <= first, "a search from home {home} meets its marks");
            expected += marks;
        }
        assert_eq!(firsts.last(), Some(&expected));
        for lines in firsts.windows(2) {
            assert!(lines[1] - lines[0] <= WAYS as u32);
        }
        // A line that is not full ends a search, so before a mark's line all from its home on are full.
        for (home, (&first, marks)) in ranks.iter().zip(marks_a_home).enumerate() {
            for rank in first..first + marks {
                let line = firsts.iter().rposition(|&first| first <= rank).unwrap();
                assert!(firsts[home..=line].windows(2).all(|lines| lines[1] - lines[0] == WAYS as u32));
            }
        }
    }
}
