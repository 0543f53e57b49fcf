//! Offsets of a lane as people name them: single ones and ranges with both ends.

use std::fmt;
use std::ops::Range;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::Result;
use crate::error::refuse_unless;

/// A range of offsets that has at least one. In words and in JSON it has both its ends: `17 to 20`, `{"first": 17, "last": 20}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OffsetRange(pub Range<u64>);

impl OffsetRange {
    /// A range given by both its ends.
    ///
    /// # Errors
    /// When the first is after the last, or the last is no offset that Kafka could have.
    pub fn given(first: u64, last: u64) -> Result<Self> {
        refuse_unless!(first <= last, "--from {first} is after --to {last}");
        refuse_unless!(last < i64::MAX as u64, "--to {last} is no offset");
        Ok(Self(first..last + 1))
    }

    /// The first offset.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.start
    }

    /// The last offset.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.0.end - 1
    }

    /// How many offsets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.end - self.0.start
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => write!(f, "{}", self.first()),
            _ => write!(f, "{} to {}", self.first(), self.last()),
        }
    }
}

impl Serialize for OffsetRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("OffsetRange", 2)?;
        object.serialize_field("first", &self.first())?;
        object.serialize_field("last", &self.last())?;
        object.end()
    }
}

/// Ranges for people.
pub(crate) fn ranges(ranges: &[Range<u64>]) -> Vec<OffsetRange> {
    ranges.iter().cloned().map(OffsetRange).collect()
}

/// Single offsets for people.
pub(crate) fn ranges_of(offsets: impl IntoIterator<Item = u64>) -> Vec<OffsetRange> {
    ranges(&warehouse::ranges(offsets))
}

/// How many offsets there are.
#[must_use]
pub fn total(ranges: &[OffsetRange]) -> u64 {
    ranges.iter().map(OffsetRange::count).sum()
}

/// The part of each range below `limit`, and the part from it on.
pub(crate) fn split_at(ranges: &[Range<u64>], limit: u64) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let below = ranges.iter().map(|range| range.start..range.end.min(limit)).filter(|range| !range.is_empty());
    let above = ranges.iter().map(|range| range.start.max(limit)..range.end).filter(|range| !range.is_empty());
    (below.collect(), above.collect())
}

/// What of a range is in none of these ascending ranges.
pub(crate) fn without(range: Range<u64>, holes: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut at = range.start;
    for hole in holes {
        let until = hole.start.clamp(at, range.end.max(at));
        if at < until {
            left.push(at..until);
        }
        at = at.max(hole.end);
    }
    if at < range.end {
        left.push(at..range.end);
    }
    left
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a range is meant, not its elements")]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_named_with_both_ends_and_cut_at_a_limit() {
        let named = |range| OffsetRange(range).to_string();
        assert_eq!((named(17..18), named(17..21)), ("17".to_owned(), "17 to 20".to_owned()));
        assert_eq!(serde_json::to_string(&OffsetRange(17..21)).unwrap(), r#"{"first":17,"last":20}"#);
        let all = [0..3, 5..9, 12..13];
        assert_eq!(split_at(&all, 6), (vec![0..3, 5..6], vec![6..9, 12..13]));
        assert_eq!(total(&ranges(&all)), 8);
        assert_eq!(OffsetRange::given(3, 3).unwrap().0, 3..4);
        assert!(OffsetRange::given(4, 3).is_err() && OffsetRange::given(0, u64::MAX).is_err());
    }

    #[test]
    fn what_has_a_row_is_not_lost() {
        assert_eq!(without(3..10, &[]), [3..10]);
        assert_eq!(without(3..10, &[0..4, 6..7, 9..20]), [4..6, 7..9]);
        assert_eq!(without(3..10, &[0..20]), []);
        assert_eq!(without(3..10, &[12..20]), [3..10]);
    }
}
