//! How far the lanes have come, and which of them are waited for.

use serde::{Deserialize, Serialize};

/// A lane whose watermark is this far behind the foremost is not waited for, in milliseconds.
pub const EXCLUDED_AFTER_MS: i64 = 600_000;

/// The watermarks of all lanes, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WatermarkTracker {
    /// Per lane, what it said last; none before it spoke.
    heard: Vec<Option<i64>>,
    /// What any lane said first: from then on, a lane that says nothing falls behind.
    first: Option<i64>,
    /// What every lane that is waited for has passed. It never goes back.
    passed: Option<i64>,
}

impl WatermarkTracker {
    pub(crate) fn new(lanes: u16) -> Self {
        Self { heard: vec![None; usize::from(lanes)], first: None, passed: None }
    }

    /// How many lanes there are.
    pub(crate) fn count(&self) -> usize {
        self.heard.len()
    }

    /// Takes what a lane says; a watermark that goes back is not believed. There is such a lane, or nothing happens.
    pub(crate) fn hear(&mut self, lane: u16, watermark: i64) {
        let Some(heard) = self.heard.get_mut(usize::from(lane)) else { return };
        *heard = Some(heard.map_or(watermark, |before| before.max(watermark)));
        self.first.get_or_insert(watermark);
        self.passed = self.passed.max(self.smallest());
    }

    /// What every lane that is waited for has passed; none until each of them has spoken.
    pub(crate) fn passed(&self) -> Option<i64> {
        self.passed
    }

    /// The lanes that are not waited for.
    pub(crate) fn excluded(&self) -> impl Iterator<Item = u16> + '_ {
        (0..).zip(&self.heard).filter(|(_, heard)| self.is_behind(**heard)).map(|(lane, _)| lane)
    }

    fn smallest(&self) -> Option<i64> {
        let mut smallest = None;
        for heard in self.heard.iter().filter(|heard| !self.is_behind(**heard)) {
            let heard = (*heard)?;
            smallest = Some(smallest.map_or(heard, |other: i64| other.min(heard)));
        }
        smallest
    }

    fn is_behind(&self, heard: Option<i64>) -> bool {
        let foremost = self.heard.iter().flatten().max();
        match (foremost, heard.or(self.first)) {
            (Some(foremost), Some(at)) => foremost.saturating_sub(at) >= EXCLUDED_AFTER_MS,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_passed_until_every_lane_has_spoken() {
        let mut lanes = WatermarkTracker::new(3);
        lanes.hear(0, 100);
        lanes.hear(1, 50);
        assert_eq!(lanes.passed(), None);
        lanes.hear(2, 70);
        assert_eq!(lanes.passed(), Some(50));
        lanes.hear(1, 40);
        assert_eq!(lanes.passed(), Some(50), "a watermark does not go back");
        lanes.hear(3, 1);
        assert_eq!(lanes.passed(), Some(50), "there is no lane 3");
    }

    #[test]
    fn a_lane_ten_minutes_behind_the_foremost_is_left_out_until_it_has_caught_up() {
        let mut lanes = WatermarkTracker::new(3);
        for lane in 0..3 {
            lanes.hear(lane, 1_000);
        }
        lanes.hear(0, 1_000 + EXCLUDED_AFTER_MS - 1);
        assert_eq!((lanes.passed(), lanes.excluded().count()), (Some(1_000), 0));
        lanes.hear(0, 1_000 + EXCLUDED_AFTER_MS);
        assert_eq!(lanes.excluded().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(lanes.passed(), Some(1_000 + EXCLUDED_AFTER_MS));
        lanes.hear(2, 5_000);
        assert_eq!(lanes.excluded().collect::<Vec<_>>(), [1]);
        assert_eq!(lanes.passed(), Some(1_000 + EXCLUDED_AFTER_MS), "what has passed has passed");
    }

    #[test]
    fn a_lane_that_never_spoke_is_waited_for_only_so_long() {
        let mut lanes = WatermarkTracker::new(2);
        lanes.hear(0, 7);
        assert_eq!(lanes.passed(), None);
        lanes.hear(0, 7 + EXCLUDED_AFTER_MS);
        assert_eq!(lanes.passed(), Some(7 + EXCLUDED_AFTER_MS));
    }
}
