//! A stream of deliveries as a platform makes them: new events, and now and then one of them again.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::platform::Platform;

/// Deliveries of late that may come again.
const REMEMBERED: usize = 64;

/// A body to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is sent.
    pub body: Vec<u8>,
    /// Whether the same event was sent before, on purpose.
    pub again: bool,
}

/// An endless stream of deliveries. The same seed gives the same events but for their times.
pub struct Traffic {
    platform: Box<dyn Platform>,
    /// Of a hundred deliveries, how many are repeats.
    repeats: f64,
    recent: VecDeque<Vec<u8>>,
    random: StdRng,
}

impl Traffic {
    /// A stream of `platform`'s, of which `repeats` per cent are events that were sent before.
    pub fn new(platform: Box<dyn Platform>, repeats: f64, seed: u64) -> Self {
        Self { platform, repeats, recent: VecDeque::new(), random: StdRng::seed_from_u64(seed) }
    }
}

impl Iterator for Traffic {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        if !self.recent.is_empty() && self.random.random_range(0.0..100.0) < self.repeats {
            let index = self.random.random_range(0..self.recent.len());
            return Some(Delivery { body: self.platform.again(&self.recent[index]), again: true });
        }
        let body = self.platform.event();
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(body.clone());
        Some(Delivery { body, again: false })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::platform::canonical;

    #[test]
    fn repeats_are_as_many_as_were_asked_for_and_are_of_events_sent_before() {
        let traffic = Traffic::new(Box::new(canonical::Generator::new(1)), 10.0, 2);
        let (mut seen, mut again) = (HashSet::new(), 0);
        for delivery in traffic.take(5_000) {
            let new = seen.insert(canonical::Generator::id(&delivery.body));
            assert_eq!(new, !delivery.again);
            again += u32::from(delivery.again);
        }
        assert!((400..600).contains(&again), "{again} of 5,000");
        assert!(Traffic::new(Box::new(canonical::Generator::new(1)), 0.0, 2).take(1_000).all(|next| !next.again));
    }
}
