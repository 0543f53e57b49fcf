//! What one event adds to a rule that counts, and what the events of a transaction come to as one signal.

use std::borrow::Cow;

use event::{LinkEvent, Millis, Signal};

use crate::{Rule, is_late};

/// What is told apart within a key, among the attributes of a signal.
pub(crate) const FACET: &str = "facet";
/// The least and the most that the platform itself has counted, among the attributes of a signal.
pub(crate) const COUNTERS: [&str; 2] = ["counter_low", "counter_high"];

/// What one event adds to a rule that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation<'e> {
    /// What it counts under.
    pub key: Cow<'e, str>,
    /// The start of its pane, in milliseconds since 1970.
    pub pane: i64,
    /// What the rule tells apart within the key; `''` for rules that only count.
    pub facet: Cow<'e, str>,
    /// What the platform itself has counted, where the rule asks for it and the event came in time.
    pub counter: Option<u64>,
}

/// The events of one key, pane and facet, on their way to be one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalSum {
    signal: Signal<'static>,
    counters: Option<(u64, u64)>,
}

impl SignalSum {
    /// `count` events that all look like this one.
    #[must_use]
    pub fn new(rule: &Rule, seen: &Observation<'_>, count: u64, event: &LinkEvent<'_>) -> Self {
        let mut attributes = event::attributes(event);
        attributes.add(FACET, seen.facet.clone().into_owned());
        let signal = Signal {
            rule: rule.name().to_owned().into(),
            rule_version: rule.version().to_owned().into(),
            key: seen.key.clone().into_owned().into(),
            pane: Millis(seen.pane),
            count,
            late: if is_late(event) { count } else { 0 },
            test: event.test,
            sample: event.event_key.clone().into_owned().into(),
            attributes,
        };
        Self { signal, counters: seen.counter.map(|counter| (counter, counter)) }
    }

    /// One event more.
    pub fn add(&mut self, seen: &Observation<'_>, event: &LinkEvent<'_>) {
        self.signal.count += 1;
        self.signal.late += u64::from(is_late(event));
        if let Some(counter) = seen.counter {
            let (low, high) = self.counters.unwrap_or((counter, counter));
            self.counters = Some((low.min(counter), high.max(counter)));
        }
    }

    /// The signal of what was added so far.
    #[must_use]
    pub fn signal(&self) -> Signal<'static> {
        let mut signal = self.signal.clone();
        if let Some((low, high)) = self.counters {
            for (name, counter) in COUNTERS.into_iter().zip([low, high]) {
                signal.attributes.add(name, counter.to_string());
            }
        }
        signal
    }
}
