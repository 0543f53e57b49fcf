//! The events of the last 60 minutes, by minute of the hour.

use std::ops::Range;

const MINUTES: usize = 60;

/// Two bytes a minute; four from the first minute on with more than 65,535 events.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    low: [u16; MINUTES],
    /// What does not fit into `low`.
    high: Option<Box<[u16; MINUTES]>>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { low: [0; MINUTES], high: None }
    }
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        (0..MINUTES).all(|minute| self.get(minute) == other.get(minute))
    }
}

impl Ring {
    pub(super) fn get(&self, minute: usize) -> u32 {
        let high = self.high.as_ref().map_or(0, |high| high[minute]);
        u32::from(high) << 16 | u32::from(self.low[minute])
    }

    pub(super) fn set(&mut self, minute: usize, count: u32) {
        let (high, low) = ((count >> 16) as u16, count as u16);
        self.low[minute] = low;
        if high > 0 || self.high.is_some() {
            self.high.get_or_insert_with(|| Box::new([0; MINUTES]))[minute] = high;
        }
    }

    pub(super) fn add(&mut self, minute: usize, count: u32) {
        self.set(minute, self.get(minute).saturating_add(count));
    }

    /// Empties a minute, and gives what it held.
    pub(super) fn take(&mut self, minute: usize) -> u32 {
        let count = self.get(minute);
        self.set(minute, 0);
        count
    }

    pub(super) fn sum(&self, minutes: Range<usize>) -> u64 {
        let sum = |counts: &[u16; MINUTES]| counts[minutes.clone()].iter().map(|count| u64::from(*count)).sum::<u64>();
        sum(&self.low) + self.high.as_ref().map_or(0, |high| sum(high) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_holds_any_count_and_the_sums_are_of_all_of_it() {
        let mut ring = Ring::default();
        for (minute, count) in [(0, 65_535), (0, 1), (7, 3), (59, u32::MAX), (59, 1)] {
            ring.add(minute, count);
        }
        assert_eq!([0, 7, 8, 59].map(|minute| ring.get(minute)), [65_536, 3, 0, u32::MAX]);
        assert_eq!(ring.sum(0..60), 65_536 + 3 + u64::from(u32::MAX));
        assert_eq!((ring.sum(1..8), ring.sum(60..60), ring.take(59), ring.take(0)), (3, 0, u32::MAX, 65_536));
        let mut other = Ring::default();
        other.add(7, 3);
        assert!(ring == other && ring != Ring::default() && ring.sum(0..60) == 3);
    }
}
