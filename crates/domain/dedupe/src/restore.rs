//! Reading `seen` back.
//!
//! ```text
//! let mut restore = Restore::after(store.position());
//! for each committed record of the lane's seen, from restore.next_offset():
//!     let record = changelog::decode(value)?;
//!     let position = restore.feed(offset, &record)?;
//!     store.apply(&record.entries, position)?;
//! restore.agrees_with(committed)?;
//! ```

use std::fmt;
use std::str::FromStr;

use crate::changelog::SeenRecord;
use crate::store::SeenPosition;

/// Follows the chain of `seen` records of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    position: Option<SeenPosition>,
    records: u64,
    entries: u64,
}

/// Why `seen` cannot be followed, or where it leads does not match.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A record does not begin where the one before ended: marks are missing or repeated.
    #[error(
        "seen is broken at offset {offset}: its record begins at raw offset {found}, the chain has reached {expected}"
    )]
    ChainBroken {
        /// Offset in `seen` of the record that does not fit.
        offset: i64,
        /// The `raw_lo` that would have continued the chain.
        expected: u64,
        /// The `raw_lo` that the record has.
        found: u64,
    },
    /// Records came out of order.
    #[error("seen record at offset {offset} was read after offset {next_offset} had been reached")]
    OffsetRepeated {
        /// The record's offset in `seen`.
        offset: i64,
        /// The least offset that was expected.
        next_offset: i64,
    },
    /// `seen` led elsewhere than the committed position says.
    #[error("seen leads to {restored:?}, but the committed position says {committed:?}")]
    Disagrees {
        /// Where the chain led; `None` if there was neither a record nor a position.
        restored: Option<SeenPosition>,
        /// What was committed with the input offset.
        committed: SeenPosition,
    },
}

impl Restore {
    /// Goes on after `position`, as a store reports it. With `None` the chain begins at the first record of `seen`,
    /// whatever range that has, since older ones may have been deleted with their window.
    #[must_use]
    pub fn after(position: Option<SeenPosition>) -> Self {
        Self { position, records: 0, entries: 0 }
    }

    /// The offset in `seen` to read from; `None` for its beginning.
    #[must_use]
    pub fn next_offset(&self) -> Option<i64> {
        self.position.map(|position| position.next_offset)
    }

    /// Takes the next committed record, found at `offset` of `seen`, and gives the position reached with it. Offsets may
    /// skip: transaction markers take some.
    ///
    /// # Errors
    /// The record does not continue the chain. Nothing changed.
    pub fn feed(&mut self, offset: i64, record: &SeenRecord) -> Result<SeenPosition, RestoreError> {
        if let Some(position) = self.position {
            if offset < position.next_offset {
                return Err(RestoreError::OffsetRepeated { offset, next_offset: position.next_offset });
            }
            if record.raw_lo != position.raw_hi {
                return Err(RestoreError::ChainBroken { offset, expected: position.raw_hi, found: record.raw_lo });
            }
        }
        let reached = SeenPosition { next_offset: offset.saturating_add(1), raw_hi: record.raw_hi };
        self.position = Some(reached);
        self.records += 1;
        self.entries += record.entries.len() as u64;
        Ok(reached)
    }

    /// The position reached; its `raw_hi` is the raw offset at which the lane goes on.
    #[must_use]
    pub fn position(&self) -> Option<SeenPosition> {
        self.position
    }

    /// Records fed so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Marks in the records fed so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Checks the position reached against the one committed beside the input offset.
    ///
    /// # Errors
    /// They differ: either `seen` was not read to its committed end, or one of the two logs was tampered with.
    pub fn agrees_with(&self, committed: SeenPosition) -> Result<(), RestoreError> {
        if self.position == Some(committed) {
            Ok(())
        } else {
            Err(RestoreError::Disagrees { restored: self.position, committed })
        }
    }
}

/// As it stands in the metadata of the input offset's commit: `seen=<next_offset> raw=<raw_hi>`.
impl fmt::Display for SeenPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seen={} raw={}", self.next_offset, self.raw_hi)
    }
}

/// The text is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position of the form `seen=<offset> raw=<offset>`: {0:?}")]
pub struct PositionSyntax(pub String);

impl FromStr for SeenPosition {
    type Err = PositionSyntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (seen, raw) = text.strip_prefix("seen=")?.split_once(" raw=")?;
            Some(Self { next_offset: seen.parse().ok()?, raw_hi: raw.parse().ok()? })
        };
        parse().ok_or_else(|| PositionSyntax(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(raw_lo: u64, raw_hi: u64) -> SeenRecord {
        SeenRecord { raw_lo, raw_hi, entries: Vec::new() }
    }

    #[test]
    fn a_gap_in_the_chain_is_named() {
        let mut restore = Restore::after(None);
        assert_eq!(restore.feed(3, &record(10, 20)), Ok(SeenPosition { next_offset: 4, raw_hi: 20 }));
        assert_eq!(
            restore.feed(5, &record(25, 30)),
            Err(RestoreError::ChainBroken { offset: 5, expected: 20, found: 25 })
        );
        assert_eq!(restore.position(), Some(SeenPosition { next_offset: 4, raw_hi: 20 }));
        assert_eq!(restore.feed(5, &record(20, 20)), Ok(SeenPosition { next_offset: 6, raw_hi: 20 }));
    }

    #[test]
    fn a_store_that_is_behind_goes_on_where_it_stopped() {
        let mut restore = Restore::after(Some(SeenPosition { next_offset: 7, raw_hi: 100 }));
        assert_eq!(restore.next_offset(), Some(7));
        assert_eq!(restore.feed(6, &record(100, 101)), Err(RestoreError::OffsetRepeated { offset: 6, next_offset: 7 }));
        assert!(restore.feed(9, &record(100, 120)).is_ok());
        assert!(restore.agrees_with(SeenPosition { next_offset: 10, raw_hi: 120 }).is_ok());
        assert!(restore.agrees_with(SeenPosition { next_offset: 10, raw_hi: 121 }).is_err());
    }

    #[test]
    fn a_position_reads_back_from_its_text_and_nothing_else_does() {
        let position = SeenPosition { next_offset: 12, raw_hi: 3_456 };
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "seen=1", "seen=1 raw=", "seen=1 raw=-1", "seen=x raw=1", "raw=1 seen=1", "seen=1 raw=2 "] {
            assert!(text.parse::<SeenPosition>().is_err(), "{text:?}");
        }
    }
}
