//! One rule.

use std::borrow::Cow;

use event::{AlertId, LinkEvent, Signal, Transition, keyed_hash_hex};

use crate::{Per, Trigger, When, attributes, pane_start};

/// An event that was received so long after it happened came late.
pub const LATE_MS: i64 = 15 * 60_000;

/// Whether an event came late: its sender was away, and sends what it had kept. It makes no spike, and ends a silence.
pub fn is_late(event: &LinkEvent<'_>) -> bool {
    event.received_at.0.saturating_sub(event.event_time.0) >= LATE_MS
}

/// One rule: which events, what makes it speak, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    name: String,
    owner: String,
    when: When,
    trigger: Option<Trigger>,
    shadow: bool,
    version: String,
}

impl Rule {
    /// A rule. Without an `alert` it is matched and explained, and says nothing.
    pub fn new(name: impl Into<String>, owner: impl Into<String>, when: When, trigger: Option<Trigger>) -> Self {
        let canonical = trigger.as_ref().map_or_else(String::new, Trigger::canonical);
        let mut version = keyed_hash_hex(&["rule.v1", &when.to_string(), &canonical]);
        version.truncate(12);
        Self { name: name.into(), owner: owner.into(), when, trigger, shadow: false, version }
    }

    /// The same rule, evaluated and counted, whose alerts are sent nowhere.
    #[must_use]
    pub fn in_shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Which events it is about.
    pub fn when(&self) -> &When {
        &self.when
    }

    /// What makes it speak.
    pub fn trigger(&self) -> Option<&Trigger> {
        self.trigger.as_ref()
    }

    /// Whether it is only tried out: it is matched and counted, and raises no alert.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// 12 hex digits of what it decides by: its conditions and its alert, whatever their order. Name, owner and where
    /// its messages go are not part of it, so that changing those keeps counts and alert ids.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What it counts per; none for a rule that fires on every event or never.
    pub fn per(&self) -> Option<Per> {
        self.trigger.as_ref().and_then(Trigger::per)
    }

    /// The alert about one event, for a rule that fires on every event; none for others.
    ///
    /// Its key is the event's, so its id is the same however often the event is processed.
    pub fn each_alert(&self, event: &LinkEvent<'_>) -> Option<event::Alert<'static>> {
        if self.trigger != Some(Trigger::Each) {
            return None;
        }
        let received = event.received_at;
        let id = AlertId::new(&self.name, &self.version, &event.event_key, received.0, Transition::Each);
        Some(event::Alert {
            alert_id: id.0.into(),
            rule: self.name.clone().into(),
            rule_version: self.version.clone().into(),
            owner: self.owner.clone().into(),
            key: event.event_key.clone().into_owned().into(),
            transition: Transition::Each,
            window_start: received,
            window_end: received,
            observed: 1,
            threshold: 0,
            received_at: received,
            sample: event.event_key.clone().into_owned().into(),
            test: event.test,
            attributes: attributes(event),
        })
    }

    /// What one event adds to a rule that counts: its key and the start of its pane, in milliseconds. None for rules
    /// that do not count, and for events without the key.
    ///
    /// `at_ms` is the lane's received time, which never goes back: by the event's own, a count could fall into a pane
    /// that the lane's watermark has already closed.
    pub fn count_of<'e>(&self, event: &'e LinkEvent<'_>, at_ms: i64) -> Option<(Cow<'e, str>, i64)> {
        let trigger = self.trigger.as_ref()?;
        Some((trigger.per()?.key(event)?, pane_start(at_ms, trigger.pane_ms()?)))
    }

    /// Under what its keys are kept: the version, but for rules that learn only what they learn by. So a rule that asks
    /// for more or less keeps what its keys have learned.
    pub(crate) fn memory(&self) -> String {
        match &self.trigger {
            Some(trigger @ (Trigger::Spike { .. } | Trigger::Silence { .. })) => {
                let mut memory = keyed_hash_hex(&["rule.memory.v1", &self.when.to_string(), &trigger.learns()]);
                memory.truncate(12);
                memory
            }
            _ => self.version.clone(),
        }
    }

    /// The signal of `count` matches under `key` in the pane that starts at `pane`; `event` is one of them.
    pub fn signal(&self, key: &str, pane: i64, count: u64, event: &LinkEvent<'_>) -> Signal<'static> {
        Signal {
            rule: self.name.clone().into(),
            rule_version: self.version.clone().into(),
            key: key.to_owned().into(),
            pane: event::Millis(pane),
            count,
            late: u64::from(is_late(event)),
            test: event.test,
            sample: event.event_key.clone().into_owned().into(),
            attributes: attributes(event),
        }
    }
}
