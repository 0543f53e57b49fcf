//! Times, counted in buckets that are 2 % wide: any number of them in a few kilobytes.

use std::time::Duration;

/// Each bucket's upper bound is this much above its lower one.
const WIDTH: f64 = 1.02;
/// From a microsecond to about a quarter of an hour.
const BUCKETS: usize = 1_050;

/// A distribution of times.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], longest: Duration::ZERO }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, time: Duration) {
        let micros = (time.as_secs_f64() * 1e6).max(1.0);
        let bucket = (micros.ln() / WIDTH.ln()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.longest = self.longest.max(time);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time below which `share` (0 to 1) of them lie, within 2 %; `None` when there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut passed = 0;
        let bucket = self.counts.iter().position(|count| {
            passed += count;
            passed >= wanted
        })?;
        Some(Duration::from_secs_f64(WIDTH.powi(bucket as i32 + 1) / 1e6).min(self.longest))
    }

    /// The longest of them.
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_two_per_cent() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        (1..=1_000).for_each(|millis| latencies.add(Duration::from_millis(millis)));
        for (share, expected) in [(0.5, 0.5), (0.99, 0.99), (0.001, 0.001)] {
            let found = latencies.quantile(share).unwrap().as_secs_f64();
            assert!((expected..expected * 1.0201).contains(&found), "{share}: {found}");
        }
        assert_eq!(latencies.quantile(1.0), Some(Duration::from_secs(1)));
        assert_eq!(latencies.longest(), Duration::from_secs(1));
    }

    #[test]
    fn times_beyond_the_last_bucket_are_counted_there() {
        let mut latencies = Latencies::default();
        latencies.add(Duration::ZERO);
        latencies.add(Duration::from_secs(1_000_000));
        assert!(latencies.quantile(1.0).is_some_and(|time| time > Duration::from_secs(900)));
    }
}
