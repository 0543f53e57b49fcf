//! The records of the `seen` topic.
//!
//! Every Kafka transaction of a process lane writes at least one, even when it marked nothing. A record covers a
//! half-open range `[raw_lo, raw_hi)` of raw offsets and carries the marks of that range. Records chain without a gap:
//! the `raw_lo` of each is the `raw_hi` of the one before, inside a transaction and from one to the next. A range may be
//! empty (`raw_lo == raw_hi`), as when an idle lane commits to keep its position alive.
//!
//! A value, version 1 (integers are LEB128 varints unless said):
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version |
//! | 4 | CRC-32C of every other byte, little endian |
//! | varint | `raw_lo` |
//! | varint | `raw_hi - raw_lo` |
//! | varint | number of entries |
//! | per entry: 16 | id, little endian |
//! | varint | offset minus the least possible (`raw_lo`, then the previous offset + 1) |
//! | varint, zigzag | received time (Unix ms) minus the previous entry's; the first minus 0 |
//!
//! An entry of a busy lane takes 18 or 19 bytes.

use crate::key::Id128;
use crate::store::Entry;

/// No value is larger than this, so that a fetch stays small and a broker's default limits hold.
pub const MAX_RECORD_BYTES: usize = 256 * 1024;

const VERSION: u8 = 1;
/// Version, checksum, and three varints of at most ten bytes.
const HEAD_BYTES: usize = 1 + 4 + 3 * 10;
const MIN_ENTRY_BYTES: usize = 16 + 1 + 1;

/// One decoded `seen` record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenRecord {
    /// First raw offset covered.
    pub raw_lo: u64,
    /// One past the last raw offset covered.
    pub raw_hi: u64,
    /// The marks of the range, ascending by offset.
    pub entries: Vec<Entry>,
}

/// Why entries do not make a `seen` record: a mistake of the caller.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The range runs backwards.
    #[error("the raw range of a transaction runs backwards: {raw_lo} to {raw_hi}")]
    RangeBackwards {
        /// Start of the range.
        raw_lo: u64,
        /// Its end.
        raw_hi: u64,
    },
    /// An entry is outside the range or not ascending.
    #[error("entry at raw offset {offset} is out of order: expected one from {from} up to, not including, {to}")]
    EntryOutOfOrder {
        /// The entry's offset.
        offset: u64,
        /// The least allowed.
        from: u64,
        /// End of the allowed range.
        to: u64,
    },
}

/// Why bytes are not a `seen` record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than any record that is written.
    #[error("seen record of {0} bytes is larger than any that is written ({MAX_RECORD_BYTES})")]
    TooLarge(usize),
    /// Written by another version.
    #[error("seen record has version {0}, this program reads version {VERSION}: run the program that wrote it")]
    UnknownVersion(u8),
    /// The bytes changed after they were written.
    #[error("seen record is damaged: checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// What the record says.
        expected: u32,
        /// What its bytes give.
        found: u32,
    },
    /// The bytes end early.
    #[error("seen record ends early")]
    Truncated,
    /// A number or a count does not fit, or bytes are left over.
    #[error("seen record is malformed: {0}")]
    Malformed(&'static str),
}

/// Encodes the marks of one transaction, which covers the raw offsets `[raw_lo, raw_hi)`.
///
/// Gives at least one value; more than one if they would exceed [`MAX_RECORD_BYTES`]. They must be produced in this
/// order and in one transaction.
///
/// # Errors
/// The range runs backwards, or entries are outside it or not ascending by offset.
pub fn encode(raw_lo: u64, raw_hi: u64, entries: &[Entry]) -> Result<Vec<Vec<u8>>, EncodeError> {
    if raw_lo > raw_hi {
        return Err(EncodeError::RangeBackwards { raw_lo, raw_hi });
    }
    let mut values = Vec::with_capacity(1);
    let mut part = Part::starting_at(raw_lo);
    for entry in entries {
        if entry.offset < part.next_offset || entry.offset >= raw_hi {
            return Err(EncodeError::EntryOutOfOrder { offset: entry.offset, from: part.next_offset, to: raw_hi });
        }
        if !part.push(entry) {
            values.push(part.finish(entry.offset));
            part = Part::starting_at(entry.offset);
            part.push(entry);
        }
    }
    values.push(part.finish(raw_hi));
    Ok(values)
}

/// A value being written.
struct Part {
    raw_lo: u64,
    count: u64,
    next_offset: u64,
    last_received_at: i64,
    body: Vec<u8>,
}

impl Part {
    fn starting_at(raw_lo: u64) -> Self {
        Self { raw_lo, count: 0, next_offset: raw_lo, last_received_at: 0, body: Vec::new() }
    }

    /// Adds an entry at or after `next_offset`; false if the value has no room for it.
    fn push(&mut self, entry: &Entry) -> bool {
        let before = self.body.len();
        self.body.extend_from_slice(&entry.id.0.to_le_bytes());
        put_varint(&mut self.body, entry.offset - self.next_offset);
        put_varint(&mut self.body, zigzag(entry.received_at.wrapping_sub(self.last_received_at)));
        if self.body.len() > MAX_RECORD_BYTES - HEAD_BYTES {
            self.body.truncate(before);
            return false;
        }
        self.count += 1;
        self.next_offset = entry.offset + 1;
        self.last_received_at = entry.received_at;
        true
    }

    fn finish(self, raw_hi: u64) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEAD_BYTES + self.body.len());
        value.push(VERSION);
        value.extend_from_slice(&[0; 4]);
        put_varint(&mut value, self.raw_lo);
        put_varint(&mut value, raw_hi - self.raw_lo);
        put_varint(&mut value, self.count);
        value.extend_from_slice(&self.body);
        let checksum = checksum(&value);
        value[1..5].copy_from_slice(&checksum.to_le_bytes());
        value
    }
}

/// CRC-32C of a value without its checksum field. The value is at least five bytes long.
fn checksum(value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&value[..1]), &value[5..])
}

/// Decodes one value. Never panics, whatever the bytes.
///
/// # Errors
/// The bytes are not a whole, undamaged record of a version that this program reads.
pub fn decode(value: &[u8]) -> Result<SeenRecord, DecodeError> {
    if value.len() > MAX_RECORD_BYTES {
        return Err(DecodeError::TooLarge(value.len()));
    }
    match value.first() {
        None => return Err(DecodeError::Truncated),
        Some(&VERSION) => {}
        Some(&other) => return Err(DecodeError::UnknownVersion(other)),
    }
    let Some(&[a, b, c, d]) = value.get(1..5) else { return Err(DecodeError::Truncated) };
    let expected = u32::from_le_bytes([a, b, c, d]);
    let found = checksum(value);
    if found != expected {
        return Err(DecodeError::Checksum { expected, found });
    }
    let mut rest = &value[5..];
    let raw_lo = take_varint(&mut rest)?;
    let raw_hi = raw_lo.checked_add(take_varint(&mut rest)?).ok_or(DecodeError::Malformed("the range overflows"))?;
    let count = take_varint(&mut rest)?;
    if count > (rest.len() / MIN_ENTRY_BYTES) as u64 {
        return Err(DecodeError::Malformed("more entries than bytes for them"));
    }
    let mut entries = Vec::with_capacity(count as usize);
    let mut next_offset = raw_lo;
    let mut received_at = 0_i64;
    for _ in 0..count {
        let (id, after) = rest.split_first_chunk::<16>().ok_or(DecodeError::Truncated)?;
        rest = after;
        let offset = next_offset
            .checked_add(take_varint(&mut rest)?)
            .filter(|&offset| offset < raw_hi)
            .ok_or(DecodeError::Malformed("an entry lies outside the range"))?;
        received_at = received_at.wrapping_add(unzigzag(take_varint(&mut rest)?));
        entries.push(Entry { id: Id128(u128::from_le_bytes(*id)), offset, received_at });
        next_offset = offset + 1;
    }
    if !rest.is_empty() {
        return Err(DecodeError::Malformed("bytes are left over"));
    }
    Ok(SeenRecord { raw_lo, raw_hi, entries })
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(DecodeError::Truncated)?;
        *rest = after;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(DecodeError::Malformed("a number does not fit 64 bits"))
}
