//! Offsets of a lane as people name them: single ones and ranges with both ends.

use std::ops::Range;

use anyhow::ensure;
use serde_json::{Value, json};

/// `17`, or `17 to 20` with both ends.
pub(crate) fn named(range: &Range<u64>) -> String {
    match range.end - range.start {
        1 => range.start.to_string(),
        _ => format!("{} to {}", range.start, range.end - 1),
    }
}

/// How many offsets there are.
pub(crate) fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// `[{"first": 17, "last": 20}]`.
pub(crate) fn as_json(ranges: &[Range<u64>]) -> Value {
    ranges.iter().map(|range| json!({ "first": range.start, "last": range.end - 1 })).collect()
}

/// The part of each range below `limit`, and the part from it on.
pub(crate) fn split_at(ranges: &[Range<u64>], limit: u64) -> (Vec<Range<u64>>, Vec<Range<u64>>) {
    let below = ranges.iter().map(|range| range.start..range.end.min(limit)).filter(|range| !range.is_empty());
    let above = ranges.iter().map(|range| range.start.max(limit)..range.end).filter(|range| !range.is_empty());
    (below.collect(), above.collect())
}

/// A range that was given by both its ends.
pub(crate) fn given(first: u64, last: u64) -> anyhow::Result<Range<u64>> {
    ensure!(first <= last, "--from {first} is after --to {last}");
    ensure!(last < i64::MAX as u64, "--to {last} is no offset");
    Ok(first..last + 1)
}

/// `3:17`: lane 3, offset 17.
pub(crate) fn lane_and_offset(text: &str) -> Result<(u16, u64), String> {
    let read = || {
        let (lane, offset) = text.split_once([':', '/'])?;
        Some((lane.parse().ok()?, offset.parse().ok().filter(|offset| *offset < i64::MAX as u64)?))
    };
    read().ok_or_else(|| format!("{text:?} names no record: write LANE:OFFSET, such as 3:17"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_named_with_both_ends_and_cut_at_a_limit() {
        assert_eq!((named(&(17..18)), named(&(17..21))), ("17".to_owned(), "17 to 20".to_owned()));
        let ranges = [0..3, 5..9, 12..13];
        assert_eq!(split_at(&ranges, 6), (vec![0..3, 5..6], vec![6..9, 12..13]));
        assert_eq!(total(&ranges), 8);
        assert_eq!(given(3, 3).unwrap(), 3..4);
        assert!(given(4, 3).is_err() && given(0, u64::MAX).is_err());
    }

    #[test]
    fn records_are_named_by_lane_and_offset() {
        assert_eq!((lane_and_offset("3:17"), lane_and_offset("0/1")), (Ok((3, 17)), Ok((0, 1))));
        for wrong in ["", "3", "3:", ":3", "70000:1", "1:-1"] {
            assert!(lane_and_offset(wrong).is_err(), "{wrong}");
        }
    }
}
