//! A stream of deliveries as a platform makes them: new events, and now and then one of them again.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

/// A platform that has events to send.
pub trait Platform: Send {
    /// The next event, as it happened now.
    fn event(&mut self) -> Vec<u8>;

    /// An event of before, as the platform delivers it once more: byte for byte, unless it says otherwise.
    fn again(&mut self, body: &[u8]) -> Vec<u8> {
        body.to_vec()
    }

    /// The content type of its bodies.
    fn content_type(&self) -> &'static str {
        "application/json"
    }
}

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

/// The time as platforms write it.
pub(crate) fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Puts `patch` into a document, object by object.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::canonical;

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
