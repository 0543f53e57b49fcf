//! One rule.

use std::borrow::Cow;

use event::{AlertId, LinkEvent, Transition, keyed_hash_hex};

use crate::evaluator::{Evaluator, broken, drift};
use crate::observation::Observation;
use crate::{Per, Trigger, When, pane_start};

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
            attributes: event::attributes(event),
        })
    }

    /// Whether it decides over time, in the detector: its matches are sent there.
    pub fn is_evaluated_over_time(&self) -> bool {
        self.trigger.as_ref().is_some_and(|trigger| trigger.pane_ms().is_some())
    }

    /// Whether it tells events of a key apart, by more than how many they are: broken destinations, drift, delivery
    /// gaps and what is first seen.
    pub fn tells_apart(&self) -> bool {
        let evaluator = self.trigger.as_ref().and_then(Evaluator::of);
        evaluator.is_some_and(|evaluator| !evaluator.only_counts())
    }

    /// What one event adds to a rule that counts; none for rules that do not count, and for events without the key.
    ///
    /// `at_ms` is the lane's received time, which never goes back: by the event's own, a count could fall into a pane
    /// that the lane's watermark has already closed.
    pub fn observe<'e>(&self, event: &'e LinkEvent<'_>, at_ms: i64) -> Option<Observation<'e>> {
        let trigger = self.trigger.as_ref()?;
        let pane = pane_start(at_ms, trigger.pane_ms()?);
        let seen = |key, facet| Observation { key, pane, facet, counter: None };
        Some(match trigger {
            Trigger::FirstSeen(rule) => seen(Cow::Borrowed(rule.of.name()), rule.of.value(event)?),
            Trigger::Broken { per, .. } => seen(per.key(event)?, broken::facet(event, *per == Per::Link)?),
            Trigger::Drift { per, .. } => seen(per.key(event)?, drift::facet(event)?),
            Trigger::Gap { per, .. } => Observation::of_counter(per.key(event)?, pane, event)?,
            Trigger::Each => return None,
            Trigger::Count { per, .. } | Trigger::Spike { per, .. } | Trigger::Silence { per, .. } => {
                seen(per.key(event)?, Cow::Borrowed(""))
            }
        })
    }

    /// Under what its keys are kept: what they remember by, and not all of the version. So a rule that asks for more or
    /// less keeps what its keys have learned.
    pub(crate) fn memory(&self) -> String {
        let learns = self.trigger.as_ref().map(Trigger::learns).unwrap_or_default();
        let mut memory = keyed_hash_hex(&["rule.memory.v1", &self.when.to_string(), &learns]);
        memory.truncate(12);
        memory
    }
}
