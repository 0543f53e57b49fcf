//! What rules would make of events that have not happened: route tests, without Kafka and without a clock.

use std::collections::BTreeSet;

use event::{Alert, LinkEvent, Millis, SignalBatch, Transition};
use jiff::tz::TimeZone;

use crate::{Detector, Expectations, MAX_WINDOW_MS, Rule, RuleIndex, SignalSum};

/// When the events of a trial happen, in milliseconds since 1970: every pane begins there.
pub(crate) const START_MS: i64 = 1_800_000_000_000 / MAX_WINDOW_MS * MAX_WINDOW_MS;
/// How far back the usual traffic goes: four times the longest week that a baseline looks at.
const BEFORE_MS: i64 = 28 * 86_400_000;
/// The most spans of usual traffic that are played.
const SPANS: i64 = 20_000;

/// Events of one kind, so many in so long.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What each of them is.
    pub event: LinkEvent<'static>,
    /// How many of them happen, spread evenly.
    pub count: u64,
    /// In how many milliseconds.
    pub within_ms: i64,
    /// How many of them happen in as long a time before, span after span.
    pub usual: u64,
}

impl Trial {
    /// The names of the rules that fire on these events, shadow rules included.
    #[must_use]
    pub fn fired<'r>(&self, index: &'r RuleIndex) -> BTreeSet<&'r str> {
        let rules: Vec<&'r Rule> = index.matching_indexes(&self.event).map(|at| &index.rules()[at]).collect();
        let mut fired: BTreeSet<&str> = BTreeSet::new();
        if self.count > 0 {
            let each = rules.iter().filter(|rule| rule.each_alert(&self.event).is_some());
            fired.extend(each.map(|rule| rule.name()));
        }
        let counting: Vec<Rule> = rules.into_iter().filter(|rule| rule.is_evaluated_over_time()).cloned().collect();
        let alerts = self.play(&counting, None).into_iter();
        let found: BTreeSet<String> = alerts
            .filter(|alert| alert.transition != Transition::Resolved)
            .map(|alert| alert.rule.into_owned())
            .collect();
        fired.extend(found.iter().filter_map(|name| index.rule(name)).map(Rule::name));
        fired
    }

    /// The alerts that a rule raises about these events. They say times by that zone.
    #[must_use]
    pub fn alerts(&self, rule: &Rule, zone: Option<&TimeZone>) -> Vec<Alert<'static>> {
        match rule.is_evaluated_over_time() {
            true => self.play(std::slice::from_ref(rule), zone),
            false => (0..self.count.min(1)).filter_map(|_| rule.each_alert(&self.event)).collect(),
        }
    }

    /// What rules that count say about these events, and about no event before.
    fn play(&self, counting: &[Rule], zone: Option<&TimeZone>) -> Vec<Alert<'static>> {
        if counting.is_empty() {
            return Vec::new();
        }
        let expectations = Expectations { zone: zone.cloned(), ..Expectations::default() };
        let mut detector = Detector::expecting(counting, 1, expectations);
        let mut found = Vec::new();
        let mut play = |batch: &SignalBatch<'_>| {
            // There is one lane, and it is number 0.
            let taken = detector.take(batch).unwrap_or_default();
            let alerts = taken.findings.into_iter().map(|finding| finding.alert);
            found.extend(alerts.filter(|alert| alert.window_end.0 > START_MS));
        };
        if self.usual > 0 {
            let spans = (BEFORE_MS / self.within_ms.max(1)).min(SPANS);
            for span in (1..=spans).rev() {
                play(&self.batch(counting, START_MS - span * self.within_ms, self.usual));
            }
        }
        // Ten seconds at a time, so that panes close as they do when events come one by one.
        let steps = (self.within_ms / 10_000).clamp(1, 10_000);
        for step in 0..steps {
            let (from, to) = (self.count * step as u64 / steps as u64, self.count * (step + 1) as u64 / steps as u64);
            play(&self.batch(counting, START_MS + self.within_ms * step / steps, to - from));
        }
        let end = Millis(START_MS + self.within_ms + 2 * MAX_WINDOW_MS);
        play(&SignalBatch { lane: 0, watermark: end, signals: Vec::new() });
        found
    }

    /// What `process` would send for so many events at a time.
    fn batch(&self, rules: &[Rule], at_ms: i64, count: u64) -> SignalBatch<'static> {
        let signal = |rule: &Rule| {
            let seen = rule.observe(&self.event, at_ms).filter(|_| count > 0)?;
            Some(SignalSum::new(rule, &seen, count, &self.event).signal())
        };
        SignalBatch { lane: 0, watermark: Millis(at_ms), signals: rules.iter().filter_map(signal).collect() }
    }
}

#[cfg(test)]
mod tests {
    use event::EventType;

    use super::*;
    use crate::{Condition, EventPattern, Field, Per, Trigger, When};

    fn rule(name: &str, kind: &str, trigger: Trigger) -> Rule {
        let when = When::new(EventPattern::parse("visit"), [Condition::new(Field::LinkKind, [kind])]);
        Rule::new(name, "growth", when, Some(trigger))
    }

    #[test]
    fn rules_that_count_fire_from_their_count_on_within_their_window() {
        let count = Trigger::count(500, Per::Link, 300_000, 0).expect("a window");
        let index = RuleIndex::new(vec![
            rule("each", "promo", Trigger::Each),
            rule("burst", "promo", count),
            rule("other", "bio", Trigger::Each).in_shadow(true),
        ]);
        let fired = |kind: &'static str, count, minutes: i64, usual| {
            let event = LinkEvent {
                r#type: EventType::Click,
                link_kind: kind.into(),
                link_id: "l".into(),
                ..LinkEvent::default()
            };
            let trial = Trial { event, count, within_ms: minutes * 60_000, usual };
            trial.fired(&index).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(fired("promo", 500, 5, 0), ["burst", "each"]);
        assert_eq!(fired("promo", 499, 5, 0), ["each"]);
        assert_eq!(fired("promo", 600, 60, 0), ["each"], "600 in an hour are 50 in five minutes");
        assert_eq!(fired("promo", 0, 5, 499), [""; 0], "what is usual is not part of the test");
        assert_eq!(fired("bio", 1, 5, 0), ["other"]);
        assert_eq!(fired("proposal", 1_000_000_000_000, 5, 0), [""; 0]);
    }
}
