//! Which events are traced: decided once, at the edge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event::TraceContext;

/// Why an event is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Our own ratio chose it.
    Ratio,
    /// A trusted sender records it.
    Sender,
}

/// What was decided about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is not traced.
    No,
    /// It is traced.
    Yes(Why),
    /// It would be, and so many were in this second that it is not.
    Capped,
}

/// The ratio and the cap.
#[derive(Debug)]
pub struct Head {
    /// A random number up to this chooses an event.
    threshold: u64,
    per_second: u32,
    /// The second since 1970 (upper half), and how many events of it are traced (lower half).
    used: AtomicU64,
}

impl Head {
    /// One event in `one_in` (0: none but those of trusted senders), and at most `per_second` a second.
    #[must_use]
    pub fn new(one_in: u32, per_second: u32) -> Self {
        let threshold = u64::MAX.checked_div(u64::from(one_in)).unwrap_or(0);
        Self { threshold, per_second, used: AtomicU64::new(0) }
    }

    /// Decides about one event. `sender` is the context that a *trusted* sender gave; another sender's is nothing to go
    /// by, since it could have all of its events traced. `random` is a number of the whole range; `now` is since 1970.
    pub fn decide(&self, sender: Option<&TraceContext>, random: u64, now: Duration) -> Decision {
        let why = match sender {
            Some(sender) if sender.sampled => Why::Sender,
            _ if self.threshold > 0 && random <= self.threshold => Why::Ratio,
            _ => return Decision::No,
        };
        if self.has_room(now) { Decision::Yes(why) } else { Decision::Capped }
    }

    fn has_room(&self, now: Duration) -> bool {
        let second = (now.as_secs() & u64::from(u32::MAX)) << 32;
        let mut known = self.used.load(Ordering::Relaxed);
        loop {
            let used = if known & !u64::from(u32::MAX) == second { known & u64::from(u32::MAX) } else { 0 };
            if used >= u64::from(self.per_second) {
                return false;
            }
            match self.used.compare_exchange_weak(known, second | (used + 1), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(current) => known = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_428_000);

    fn told(sampled: bool) -> TraceContext {
        TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled }
    }

    #[test]
    fn the_ratio_chooses_its_share_of_all_numbers() {
        let head = Head::new(1_000, u32::MAX);
        let step = u64::MAX / 1_000_000;
        let chosen = (0..1_000_000).filter(|n| head.decide(None, n * step, NOW) == Decision::Yes(Why::Ratio)).count();
        assert_eq!(chosen, 1_001);
        assert_eq!(Head::new(1, 1).decide(None, u64::MAX, NOW), Decision::Yes(Why::Ratio));
        assert_eq!(Head::new(0, 1).decide(None, 0, NOW), Decision::No);
    }

    #[test]
    fn a_trusted_sender_is_followed_where_it_records_and_no_further_than_the_cap() {
        let head = Head::new(0, 2);
        assert_eq!(head.decide(Some(&told(false)), 0, NOW), Decision::No);
        for _ in 0..2 {
            assert_eq!(head.decide(Some(&told(true)), 0, NOW), Decision::Yes(Why::Sender));
        }
        assert_eq!(head.decide(Some(&told(true)), 0, NOW), Decision::Capped);
        assert_eq!(head.decide(Some(&told(true)), 0, NOW + Duration::from_secs(1)), Decision::Yes(Why::Sender));
    }
}
