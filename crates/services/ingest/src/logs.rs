//! Log lines that a flood of requests cannot turn into a flood of lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The shortest time between two lines of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// Says when to write a line, and how many were left out since the last one.
#[derive(Debug, Default)]
pub(crate) struct Sparingly {
    /// Milliseconds on the caller's clock; 0: at once.
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Sparingly {
    /// At `now` (any clock that does not go back): the number of lines left out, if a line is due.
    pub(crate) fn due(&self, now: Duration) -> Option<u64> {
        let now = now.as_millis() as u64;
        let next = self.next.load(Ordering::Relaxed);
        let after = now + EVERY.as_millis() as u64;
        let ours = now >= next && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if ours {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_at_once_and_then_every_ten_seconds_with_what_was_left_out() {
        let lines = Sparingly::default();
        let at = |seconds| lines.due(Duration::from_secs(seconds));
        assert_eq!([at(1), at(2), at(10), at(11), at(12), at(30)], [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
