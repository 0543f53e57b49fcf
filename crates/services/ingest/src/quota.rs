//! How much a source may send: a bucket of events that refills by itself. There is no clock in here; the time comes in.

use std::time::Duration;

/// What the bucket holds when it is full, as the time in which it fills: a second's worth may come at once.
const FULL: Duration = Duration::from_secs(1);

/// The quota of one source as it stands.
///
/// A request larger than the whole bucket is taken when the bucket is full, and what it took beyond is paid off before the next:
/// such a request could never come otherwise, and over time the rate holds all the same.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u32,
    /// When it is full again if nothing more comes, on the caller's clock.
    full_at: Duration,
}

impl Bucket {
    /// A full bucket that refills by `per_second` events a second (at least 1).
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), full_at: Duration::ZERO }
    }

    /// Takes room for `events` at `now` (any clock that does not go back).
    ///
    /// # Errors
    /// How long to wait until there is room; nothing was taken.
    pub(crate) fn take(&mut self, now: Duration, events: usize) -> Result<(), Duration> {
        let wait = self.wait(now, events);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.full_at = self.full_at.max(now).saturating_add(self.cost(events));
        Ok(())
    }

    /// Gives back what was taken for events that were not stored.
    pub(crate) fn give_back(&mut self, events: usize) {
        self.full_at = self.full_at.saturating_sub(self.cost(events));
    }

    /// How long until there is room for `events`; zero when there is.
    pub(crate) fn wait(&self, now: Duration, events: usize) -> Duration {
        let missing = self.full_at.saturating_sub(now);
        (missing + self.cost(events).min(FULL)).saturating_sub(FULL)
    }

    /// How many events there is room for at `now`.
    pub(crate) fn room(&self, now: Duration) -> u64 {
        let there = FULL.saturating_sub(self.full_at.saturating_sub(now));
        (there.as_nanos() * u128::from(self.per_second) / FULL.as_nanos()) as u64
    }

    /// The time in which room for `events` grows, rounded up.
    fn cost(&self, events: usize) -> Duration {
        let nanos = (events as u128 * FULL.as_nanos()).div_ceil(u128::from(self.per_second));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(100);
        assert_eq!(bucket.room(START), 100);
        assert_eq!(bucket.take(START, 100), Ok(()));
        assert_eq!((bucket.room(START), bucket.take(START, 1)), (0, Err(Duration::from_millis(10))));
        assert_eq!(bucket.take(START + Duration::from_millis(500), 50), Ok(()));
        assert!(bucket.take(START + Duration::from_millis(500), 1).is_err());
    }

    #[test]
    fn a_request_larger_than_the_bucket_is_taken_when_it_is_full_and_paid_off_after() {
        let mut bucket = Bucket::new(10);
        assert_eq!(bucket.take(START, 1), Ok(()));
        assert_eq!(bucket.take(START, 40), Err(Duration::from_millis(100)));
        let full = START + Duration::from_secs(1);
        assert_eq!(bucket.take(full, 40), Ok(()));
        assert_eq!(bucket.take(full, 1), Err(Duration::from_millis(3_100)));
    }

    #[test]
    fn what_was_not_stored_is_given_back() {
        let mut bucket = Bucket::new(10);
        assert_eq!(bucket.take(START, 10), Ok(()));
        bucket.give_back(10);
        assert_eq!(bucket.take(START, 10), Ok(()));
    }

    proptest! {
        /// Over any stretch of time: no more than the rate, a full bucket, and one request that went into debt.
        #[test]
        fn no_more_is_taken_than_the_rate_and_one_burst(
            per_second in 1_u32..20_000,
            requests in prop::collection::vec((0_u64..400, 1_usize..3_000), 1..200),
        ) {
            let mut bucket = Bucket::new(per_second);
            let (mut now, mut taken, mut largest) = (START, 0, 0);
            for (millis, events) in requests {
                now += Duration::from_millis(millis);
                if bucket.take(now, events).is_ok() {
                    taken += events;
                    largest = largest.max(events);
                }
            }
            let allowed = (now - START).as_secs_f64() * f64::from(per_second) + f64::from(per_second) + largest as f64;
            prop_assert!(taken as f64 <= allowed + 1.0, "{taken} of {allowed}");
        }

        /// Whoever waits as long as it was told is taken, and not before.
        #[test]
        fn the_wait_that_is_told_is_long_enough_and_not_too_long(
            per_second in 1_u32..20_000,
            before in prop::collection::vec(1_usize..3_000, 0..5),
            events in 1_usize..3_000,
        ) {
            let mut bucket = Bucket::new(per_second);
            for earlier in before {
                let _ = bucket.take(START, earlier);
            }
            if let Err(wait) = bucket.take(START, events) {
                prop_assert!(bucket.take(START + wait - Duration::from_nanos(1), events).is_err());
                prop_assert!(bucket.take(START + wait, events).is_ok());
            }
        }
    }
}
