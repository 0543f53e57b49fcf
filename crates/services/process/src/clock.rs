//! Clocks that jump.
//!
//! A lane looks at three clocks: the broker's (append times), this machine's wall clock, and its monotonic clock, which nobody sets. What it
//! does by time must not follow one that jumped: a watermark that runs ahead closes windows and days too early, and marks that expire too
//! early make duplicates count. Setting a clock back only keeps things for longer.

use event::raw::CLOCK_TRUST_MS;
use runtime::clock::Moment;

/// The latest that another machine's clock can say now and be believed, in milliseconds since 1970.
#[must_use]
pub fn latest(now: Moment) -> i64 {
    now.wall_ms.saturating_add(CLOCK_TRUST_MS)
}

/// The time of a lane: the earlier of this machine's clock and the broker's. The broker says its own with every transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    /// What the broker's clock said, and our monotonic clock at that moment.
    heard: Option<(i64, i64)>,
}

impl Clock {
    /// The clock of a lane that opens: nobody has told it the broker's time.
    #[must_use]
    pub fn opened() -> Self {
        Self::default()
    }

    /// The broker has just stamped a record with this time, in milliseconds since 1970.
    pub fn hear(&mut self, now: Moment, stamped_ms: i64) {
        self.heard = Some((stamped_ms, now.monotonic_ms));
    }

    /// Whether the broker was heard.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// The time, in milliseconds since 1970; `None` until the broker was heard, since our own clock may be wrong from the start.
    #[must_use]
    pub fn time(&self, now: Moment) -> Option<i64> {
        Some(self.brokers(now)?.min(now.wall_ms))
    }

    /// Whether the two clocks are so far apart that one must be wrong.
    #[must_use]
    pub fn disagrees(&self, now: Moment) -> bool {
        self.brokers(now).is_some_and(|brokers| brokers.abs_diff(now.wall_ms) > CLOCK_TRUST_MS.unsigned_abs())
    }

    fn brokers(&self, now: Moment) -> Option<i64> {
        let (stamped_ms, at) = self.heard?;
        Some(stamped_ms.saturating_add(now.monotonic_ms.saturating_sub(at)))
    }
}

/// The earliest received time that a record still to come can look for in the window, in milliseconds since 1970. `appended_ms` is the
/// append time of the last record that was read, by the broker's clock; `time_ms` is ours. One that jumped ahead is held by the other.
#[must_use]
pub fn needed_from(appended_ms: i64, time_ms: i64, longest_window_ms: i64) -> i64 {
    appended_ms.min(time_ms).saturating_sub(CLOCK_TRUST_MS).saturating_sub(longest_window_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_764_000_000_000;

    fn after(wall: i64, monotonic: i64) -> Moment {
        Moment { wall_ms: NOW + wall, monotonic_ms: 7 + monotonic }
    }

    fn heard(now: Moment, stamped_ms: i64) -> Clock {
        let mut clock = Clock::opened();
        clock.hear(now, stamped_ms);
        clock
    }

    #[test]
    fn a_lane_goes_by_the_earlier_of_two_clocks_and_says_when_they_are_apart() {
        let clock = heard(after(0, 0), NOW + 3);
        assert_eq!((clock.time(after(HOUR, HOUR)), clock.disagrees(after(HOUR, HOUR))), (Some(NOW + HOUR), false));
        let ahead = after(49 * HOUR, HOUR);
        assert_eq!((clock.time(ahead), clock.disagrees(ahead)), (Some(NOW + HOUR + 3), true));
        let behind = after(-HOUR, HOUR);
        assert_eq!((clock.time(behind), clock.disagrees(behind)), (Some(NOW - HOUR), true));
        assert!(!heard(after(0, 0), NOW + CLOCK_TRUST_MS).disagrees(after(0, 0)));
    }

    #[test]
    fn a_lane_has_no_time_before_it_has_heard_the_broker_and_hears_it_anew_after_a_sleep() {
        let mut clock = Clock::opened();
        assert_eq!((clock.time(after(0, 0)), clock.disagrees(after(0, 0)), clock.is_heard()), (None, false, false));
        clock.hear(after(0, 0), NOW);
        // A machine that slept: its monotonic clock stood still, until the broker is heard it seems to be ahead.
        let woken = after(49 * HOUR, 1);
        assert!(clock.disagrees(woken));
        clock.hear(woken, NOW + 49 * HOUR - 20);
        assert_eq!((clock.time(woken), clock.disagrees(woken)), (Some(NOW + 49 * HOUR - 20), false));
    }

    proptest! {
        /// Either clock may be anywhere: as long as the other is right (or behind), no mark goes that a record to come may look for.
        #[test]
        fn one_clock_that_jumps_ahead_expires_nothing_that_is_needed(
            right in 0_i64..1_000 * HOUR, wrong in any::<i64>(), window in 0..168 * HOUR, received_before in 0..CLOCK_TRUST_MS
        ) {
            // A record is received at most this long before it is appended, and it may repeat anything of the window before that.
            let oldest_needed = right - received_before - window;
            prop_assert!(needed_from(right, wrong, window) <= oldest_needed);
            prop_assert!(needed_from(wrong, right, window) <= oldest_needed);
        }

        /// A lane's time runs no faster than the broker's, whatever the wall clock does, and no faster than the wall clock.
        #[test]
        fn time_passes_no_faster_than_either_clock_says(
            walls in proptest::collection::vec(any::<i64>(), 1..20), step in 0..HOUR, off in -1_000 * HOUR..1_000 * HOUR,
        ) {
            let clock = heard(after(0, 0), NOW + off);
            for (wall, n) in walls.into_iter().zip(1..) {
                let time = clock.time(Moment { wall_ms: wall, monotonic_ms: 7 + n * step }).unwrap();
                prop_assert!(time <= NOW + off + n * step && time <= wall);
            }
        }
    }
}
