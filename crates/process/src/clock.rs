//! Clocks that jump.
//!
//! A lane looks at three clocks: the broker's (append times), this machine's wall clock, and its monotonic clock, which nobody sets. What it
//! does by time must not follow one that jumped: a watermark that runs ahead closes windows and days too early, and marks that expire too
//! early make duplicates count. Setting a clock back only keeps things for longer.

use event::raw::CLOCK_TRUST_MS;

/// Both clocks of this machine, in milliseconds: the wall clock since 1970, the monotonic one since a point of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall_ms: i64,
    /// The monotonic clock.
    pub monotonic_ms: i64,
}

/// The time of a lane: the wall clock, as long as it does not run ahead of what has passed since somebody else's clock agreed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    agreed: Reading,
}

impl Clock {
    /// The clock of a lane that opens: nothing contradicts it yet.
    #[must_use]
    pub fn opened(now: Reading) -> Self {
        Self { agreed: now }
    }

    /// The time, in milliseconds since 1970: never more than [`CLOCK_TRUST_MS`] ahead of what can have passed.
    #[must_use]
    pub fn time(&self, now: Reading) -> i64 {
        now.wall_ms.min(self.passed(now).saturating_add(CLOCK_TRUST_MS))
    }

    /// Whether the wall clock has jumped ahead, or is behind the broker's by more than is trusted; `appended_at` is the time at which
    /// the broker appended the newest record, if one has come.
    #[must_use]
    pub fn disagrees(&self, now: Reading, appended_at: Option<i64>) -> bool {
        self.time(now) < now.wall_ms || appended_at.is_some_and(|at| at > now.wall_ms.saturating_add(CLOCK_TRUST_MS))
    }

    /// The broker has appended a record at this time: where the two clocks agree, the wall clock is right.
    pub fn hear(&mut self, now: Reading, appended_at: i64) {
        if appended_at.abs_diff(now.wall_ms) <= CLOCK_TRUST_MS.unsigned_abs() {
            self.agreed = now;
        }
    }

    fn passed(&self, now: Reading) -> i64 {
        self.agreed.wall_ms.saturating_add(now.monotonic_ms.saturating_sub(self.agreed.monotonic_ms))
    }
}

/// The earliest received time that a record still to come can look for in the window, in milliseconds since 1970. `appended_ms` is the
/// newest append time of the records that were read, by the broker's clock; `time_ms` is ours. One that jumped ahead is held by the other.
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

    fn after(wall: i64, monotonic: i64) -> Reading {
        Reading { wall_ms: NOW + wall, monotonic_ms: 7 + monotonic }
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_not_followed_until_the_broker_agrees_with_it() {
        let mut clock = Clock::opened(after(0, 0));
        assert_eq!(clock.time(after(HOUR, HOUR)), NOW + HOUR);
        let jumped = after(49 * HOUR, HOUR);
        assert_eq!(clock.time(jumped), NOW + HOUR + CLOCK_TRUST_MS);
        assert!(clock.disagrees(jumped, None) && !clock.disagrees(after(HOUR, HOUR), None));
        clock.hear(jumped, NOW + HOUR);
        assert!(clock.disagrees(jumped, None), "the broker says otherwise");
        // A machine that slept: its wall clock is right, and the broker says so.
        clock.hear(jumped, NOW + 49 * HOUR - 20);
        assert_eq!((clock.time(jumped), clock.disagrees(jumped, None)), (NOW + 49 * HOUR, false));
    }

    #[test]
    fn a_clock_that_is_behind_the_brokers_is_told_and_one_that_is_set_back_is_followed() {
        let clock = Clock::opened(after(0, 0));
        assert!(clock.disagrees(after(0, 0), Some(NOW + CLOCK_TRUST_MS + 1)));
        assert!(!clock.disagrees(after(0, 0), Some(NOW + CLOCK_TRUST_MS)));
        assert_eq!(clock.time(after(-HOUR, 5)), NOW - HOUR);
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

        /// A lane's time runs no faster than what passes, whatever the wall clock does.
        #[test]
        fn time_passes_no_faster_than_it_does(walls in proptest::collection::vec(any::<i64>(), 1..20), step in 0..HOUR) {
            let clock = Clock::opened(after(0, 0));
            for (wall, n) in walls.into_iter().zip(1..) {
                let now = Reading { wall_ms: wall, monotonic_ms: 7 + n * step };
                prop_assert!(clock.time(now) <= NOW + n * step + CLOCK_TRUST_MS);
            }
        }
    }
}
