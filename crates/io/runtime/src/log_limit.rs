//! Log lines that a flood of what causes them cannot turn into a flood of lines.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::monotonic_ms;

/// Says when to write a line of one kind, and how many were left out since the last one.
#[derive(Debug)]
pub struct LogLimit {
    every_ms: u64,
    /// On the monotonic clock; 0: at once.
    next_ms: AtomicU64,
    left_out: AtomicU64,
}

impl LogLimit {
    /// One line at once, and then one in each `every` at most.
    #[must_use]
    pub const fn every(every: Duration) -> Self {
        Self { every_ms: every.as_millis() as u64, next_ms: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// How many lines were left out, if one is due; else this one is left out.
    pub fn due(&self) -> Option<u64> {
        self.due_at(monotonic_ms().unsigned_abs())
    }

    fn due_at(&self, now_ms: u64) -> Option<u64> {
        let next = self.next_ms.load(Ordering::Relaxed);
        let after = now_ms.saturating_add(self.every_ms);
        let is_ours =
            now_ms >= next && self.next_ms.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_ours {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// The same for lines whose kind is known only when they come, such as those of a library. The kinds are to be few.
#[derive(Debug)]
pub struct LogLimits {
    every: Duration,
    kinds: Mutex<HashMap<String, LogLimit>>,
}

impl LogLimits {
    /// One line of each kind at once, and then one in each `every` at most.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self { every, kinds: Mutex::default() }
    }

    /// How many lines of a kind were left out, if one is due; else this one is left out.
    pub fn due(&self, kind: &str) -> Option<u64> {
        self.due_at(kind, monotonic_ms().unsigned_abs())
    }

    fn due_at(&self, kind: &str, now_ms: u64) -> Option<u64> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get(kind) {
            Some(limit) => limit.due_at(now_ms),
            None => kinds.entry(kind.to_owned()).or_insert(LogLimit::every(self.every)).due_at(now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_line_is_written_at_once_and_then_every_ten_seconds_with_what_was_left_out() {
        let lines = LogLimit::every(TEN);
        let at = |seconds: u64| lines.due_at(seconds * 1_000);
        assert_eq!([at(1), at(2), at(10), at(11), at(12), at(30)], [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn each_kind_of_line_is_limited_by_itself() {
        let lines = LogLimits::every(TEN);
        let at = |kind, seconds: u64| lines.due_at(kind, seconds * 1_000);
        assert_eq!([at("FAIL", 0), at("FAIL", 1), at("OTHER", 1)], [Some(0), None, Some(0)]);
        assert_eq!([at("FAIL", 11), at("OTHER", 11), at("FAIL", 12)], [Some(1), Some(0), None]);
    }

    #[test]
    fn of_many_threads_at_one_moment_one_writes_and_the_others_are_counted() {
        let lines = LogLimit::every(TEN);
        let written: Vec<u64> = std::thread::scope(|scope| {
            let say = || (0..1_000).filter_map(|_| lines.due_at(5_000)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(say)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
        });
        // Some may be left out before the one that writes has counted: it tells of those itself.
        let told_later = lines.due_at(15_000).unwrap();
        assert_eq!((written.len(), written[0] + told_later), (1, 3_999));
    }

    #[test]
    fn the_clock_of_this_machine_lets_the_first_line_through_and_not_the_second() {
        let hour = LogLimit::every(Duration::from_secs(3_600));
        assert_eq!([hour.due(), hour.due()], [Some(0), None]);
        let hours = LogLimits::every(Duration::from_secs(3_600));
        assert_eq!([hours.due("a"), hours.due("a"), hours.due("b")], [Some(0), None, Some(0)]);
    }
}
