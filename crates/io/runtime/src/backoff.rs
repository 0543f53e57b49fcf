//! The one back-off: pauses that double from the first to the longest, and what is drawn of them.

use std::time::Duration;

/// Pauses after failures in a row: each doubles the one before, from the first to the longest. It starts small again
/// once [reset](Self::reset). What waits says so itself, since it knows for what: in a log line, and in a metric or in
/// health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    drawn: Drawn,
    failures: u32,
}

/// How much of a pause is left to chance, so that those who failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drawn {
    Nothing,
    Half,
    From(Duration),
}

impl Backoff {
    /// Pauses of just these lengths: for one that waits alone.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, drawn: Drawn::Nothing, failures: 0 }
    }

    /// The second half of each pause is left to chance: for lanes and instances that all fail with one engine.
    #[must_use]
    pub const fn jittered(self) -> Self {
        Self { drawn: Drawn::Half, ..self }
    }

    /// Each pause is drawn anew between `shortest` and its length: for writers that get into each other's way, and for
    /// those who are to come to an address of others at all times alike.
    #[must_use]
    pub const fn drawn_from(self, shortest: Duration) -> Self {
        Self { drawn: Drawn::From(shortest), ..self }
    }

    /// With another longest pause.
    #[must_use]
    pub const fn up_to(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.after(self.failures)
    }

    /// The pause after so many failures in a row; after none, the first.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let ceiling = self.ceiling(failures);
        let shortest = match self.drawn {
            Drawn::Nothing => return ceiling,
            Drawn::Half => ceiling / 2,
            Drawn::From(shortest) => shortest,
        };
        if shortest < ceiling { rand::random_range(shortest..=ceiling) } else { shortest }
    }

    /// The longest that the pause after so many failures can be.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).and_then(|times| self.first.checked_mul(times));
        doubled.map_or(self.longest, |pause| pause.min(self.longest))
    }

    /// It worked: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_small_again_once_it_works() {
        let mut backoff = Backoff::new(MS(200), MS(1_000));
        let pauses: [Duration; 5] = std::array::from_fn(|_| backoff.pause());
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000].map(MS));
        backoff.reset();
        assert_eq!(backoff.pause(), MS(200));
        assert_eq!((backoff.after(0), backoff.after(u32::MAX)), (MS(200), MS(1_000)));
        assert_eq!(backoff.up_to(Duration::from_secs(60)).after(5), MS(3_200));
        let years = Backoff::new(Duration::from_secs(1 << 40), Duration::MAX);
        assert_eq!(years.after(u32::MAX), Duration::MAX, "what cannot be counted is the longest");
    }

    #[test]
    fn chance_takes_at_most_half_of_a_pause_and_uses_all_of_that() {
        let backoff = Backoff::new(MS(100), MS(1_000)).jittered();
        for (failures, ceiling) in [(1, 100), (3, 400), (9, 1_000)] {
            let drawn: Vec<Duration> = (0..1_000).map(|_| backoff.after(failures)).collect();
            assert!(drawn.iter().all(|pause| (MS(ceiling / 2)..=MS(ceiling)).contains(pause)), "{failures}");
            let (low, high) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
            assert!(*low < MS(ceiling * 6 / 10) && *high > MS(ceiling * 9 / 10), "{low:?} to {high:?}");
        }
    }

    #[test]
    fn a_pause_that_is_drawn_is_never_shorter_than_the_shortest() {
        let backoff = Backoff::new(MS(50), MS(5_000)).drawn_from(MS(100));
        assert_eq!(backoff.after(1), MS(100), "though the first is shorter");
        assert!((0..1_000).all(|_| (MS(100)..=MS(400)).contains(&backoff.after(4))));
    }
}
