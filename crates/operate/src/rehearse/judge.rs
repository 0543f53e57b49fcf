//! Whether what is there is what was expected. Pure.

use std::collections::{BTreeMap, BTreeSet};

use config::Config;
use rules::Trigger;
use serde_json::Value;

use super::expected::{About, Expected};
use super::look::{Row, Seen, SeenAlert};
use super::made_up::{MadeUp, Scenario};
use super::{RehearsedRule, ScenarioReport};

/// What a rehearsal came to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Judged {
    pub(super) scenarios: Vec<ScenarioReport>,
    pub(super) rules: Vec<RehearsedRule>,
    /// Alerts of each rule that spoke, by their ids.
    pub(super) alerts: BTreeMap<String, Vec<String>>,
    /// Whether something that has to come has not.
    pub(super) waits: bool,
}

pub(super) struct Judge<'j> {
    pub(super) config: &'j Config,
    pub(super) events: &'j [MadeUp],
    pub(super) expected: &'j [Expected],
    pub(super) begun: i64,
    /// How often a request was repeated: so often an event may have been taken once more than it was meant to be.
    pub(super) repeated: u64,
    /// How long alerts are waited for, in milliseconds.
    pub(super) patience_ms: i64,
}

/// From the end of a pane until its alert is a row and its message captured, in milliseconds: measured 5 s at most, and
/// more on a busy machine.
const AFTER_PANE_MS: i64 = 30_000;

impl Judge<'_> {
    pub(super) fn judge(&self, seen: &Seen) -> Judged {
        let mut judged = Judged::default();
        let rows = by_key(&seen.rows);
        for scenario in Scenario::ALL {
            let events: Vec<&MadeUp> = self.events.iter().filter(|event| event.scenario == scenario).collect();
            if !events.is_empty() {
                let report = self.rows(scenario, &events, &rows, &mut judged.waits);
                judged.scenarios.push(report);
            }
        }
        self.alerts(seen, &mut judged);
        for scenario in &mut judged.scenarios {
            scenario.ok = scenario.problems.is_empty();
        }
        judged
    }

    fn rows(
        &self,
        scenario: Scenario,
        events: &[&MadeUp],
        rows: &BTreeMap<&str, Vec<&Row>>,
        waits: &mut bool,
    ) -> ScenarioReport {
        let mut report = ScenarioReport { name: scenario.name(), title: scenario.title(), ..ScenarioReport::default() };
        let mut missing = 0;
        for event in events {
            report.deliveries += event.deliveries;
            let own = rows.get(event.key.as_str()).map(Vec::as_slice).unwrap_or_default();
            report.rows += own.len() as u64;
            let of = |outcome: &str| own.iter().filter(|row| text(row, "outcome") == outcome).count() as u64;
            report.duplicates += of("duplicate");
            if (own.len() as u64) < event.deliveries {
                missing += event.deliveries - own.len() as u64;
                continue;
            }
            let first = own.iter().find(|row| text(row, "outcome") == "event");
            let repeats = event.deliveries - 1..=event.deliveries - 1 + self.repeated;
            if of("event") != 1 || !repeats.contains(&of("duplicate")) {
                let dead = own.iter().find(|row| text(row, "outcome") == "dead_letter");
                let why = dead.map(|row| format!(": {}", text(row, "detail"))).unwrap_or_default();
                report.problems.push(format!(
                    "{} was delivered {} times and counts {} times, with {} duplicates{why}",
                    event.id,
                    event.deliveries,
                    of("event"),
                    of("duplicate")
                ));
            }
            for (column, value) in first.iter().flat_map(|_| &event.expects) {
                let stored = first.map_or("", |row| text(row, column));
                if stored != value {
                    report.problems.push(format!("{}: {column} is {stored:?} and should be {value:?}", event.id));
                }
            }
        }
        if missing > 0 {
            *waits = true;
            report.problems.insert(0, format!("{missing} of {} deliveries have no row", report.deliveries));
        }
        // Many of one kind say the same.
        let more = report.problems.len().saturating_sub(5);
        report.problems.truncate(5);
        if more > 0 {
            report.problems.push(format!("and {more} more of this kind"));
        }
        report
    }

    fn alerts(&self, seen: &Seen, judged: &mut Judged) {
        let scenario_of: BTreeMap<&str, Scenario> =
            self.events.iter().map(|event| (event.key.as_str(), event.scenario)).collect();
        let now: Vec<&SeenAlert> =
            seen.alerts.iter().filter(|alert| alert.end_ms >= self.begun && !alert.is_over()).collect();
        let mut explained: BTreeSet<&str> = BTreeSet::new();
        for expected in self.expected {
            let found: Vec<&&SeenAlert> = now.iter().filter(|alert| is(expected, alert)).collect();
            explained.extend(found.iter().map(|alert| alert.alert_id.as_str()));
            let Some(report) = judged.scenarios.iter_mut().find(|one| one.name == expected.scenario.name()) else {
                continue;
            };
            match found.as_slice() {
                [] if !expected.certain => {}
                [] => match self.earlier(seen, expected).or_else(|| self.slow(expected)) {
                    Some(note) => push_once(&mut report.notes, note),
                    None => {
                        judged.waits = true;
                        push_once(&mut report.problems, format!("rule {} said nothing", expected.rule));
                    }
                },
                [one] => {
                    if !report.rules.contains(&expected.rule) {
                        report.rules.push(expected.rule.clone());
                    }
                    judged.alerts.entry(expected.rule.clone()).or_default().push(one.alert_id.clone());
                }
                many => push_once(&mut report.problems, format!("rule {} spoke {} times", expected.rule, many.len())),
            }
        }
        for alert in now.iter().filter(|alert| !explained.contains(alert.alert_id.as_str())) {
            let Some(scenario) = scenario_of.get(alert.sample.as_str()) else { continue };
            let Some(report) = judged.scenarios.iter_mut().find(|one| one.name == scenario.name()) else { continue };
            let rule = self.config.rule(&alert.rule).map(|rule| &rule.rule);
            let counts =
                rule.is_none_or(|rule| matches!(rule.trigger(), None | Some(Trigger::Each | Trigger::Count { .. })));
            let said = format!("rule {} spoke about {}", alert.rule, alert.key);
            match rule {
                Some(rule) if rule.tells_apart() => {
                    push_once(&mut report.notes, format!("{said}: it looks at test data as well"));
                }
                _ if !counts => push_once(&mut report.notes, format!("{said}: it learns from test data as well")),
                _ => push_once(&mut report.problems, format!("{said}, and by this configuration it should not")),
            }
        }
        let alerts = judged.alerts.clone();
        for (rule, ids) in &alerts {
            let rehearsed = self.message(rule, ids, seen);
            if let Some(problem) = &rehearsed.problem {
                let scenario = self.expected.iter().find(|one| one.rule == *rule).map(|one| one.scenario);
                let report = judged.scenarios.iter_mut().find(|one| Some(one.name) == scenario.map(Scenario::name));
                report
                    .into_iter()
                    .for_each(|report| push_once(&mut report.problems, format!("rule {rule}: {problem}")));
                judged.waits = true;
            }
            judged.rules.push(rehearsed);
        }
    }

    /// Whether the rule looks at its window so seldom that its alert may come after the rehearsal.
    fn slow(&self, expected: &Expected) -> Option<String> {
        let pane = self.config.rule(&expected.rule)?.rule.trigger()?.pane_ms()?;
        let enough = pane.saturating_add(AFTER_PANE_MS);
        (enough > self.patience_ms).then(|| {
            format!(
                "rule {} looks at what it counts every {} s, which is not waited for; --patience {} does",
                expected.rule,
                pane / 1_000,
                enough / 1_000
            )
        })
    }

    /// Whether the key was firing before the rehearsal began, so that nothing new is said.
    fn earlier(&self, seen: &Seen, expected: &Expected) -> Option<String> {
        let About::Key(key) = &expected.about else { return None };
        let of_it = |alert: &&SeenAlert| alert.rule == expected.rule && alert.key == *key && alert.end_ms < self.begun;
        seen.alerts.iter().rev().find(of_it)?;
        Some(format!(
            "rule {} said nothing new: {key} fired within the hour before, in an earlier rehearsal",
            expected.rule
        ))
    }

    /// What became of the alerts of a rule: each is in a message of the capture sink, or waits for one.
    fn message(&self, rule: &str, ids: &[String], seen: &Seen) -> RehearsedRule {
        let mut rehearsed = RehearsedRule { rule: rule.to_owned(), alerts: ids.len(), ..RehearsedRule::default() };
        if self.config.rule(rule).is_none_or(|rule| rule.send.is_none()) {
            rehearsed.message = "sends nothing";
            return rehearsed;
        }
        for id in ids {
            let steps: Vec<_> = seen.steps.iter().filter(|step| step.alert_ids.contains(id)).collect();
            if let Some(step) = steps.iter().find(|step| step.destination != notification::CAPTURE) {
                rehearsed.problem =
                    Some(format!("its message went to {}, and not to the capture sink", step.destination));
                return rehearsed;
            }
            let of = |stage: &str| steps.iter().find(|step| step.stage == stage);
            if let Some(planned) = of("planned") {
                let delivered = |step: &&super::look::DeliveryStep| {
                    step.bundle_id == planned.bundle_id && step.stage == "delivered"
                };
                if !seen.steps.iter().any(|step| delivered(&step)) {
                    rehearsed.problem = Some("its message is not in the capture sink yet".to_owned());
                }
                push_once(&mut rehearsed.captured, planned.bundle_id.clone());
                rehearsed.message = "captured";
            } else if let Some(silenced) = of("silenced") {
                rehearsed.note = Some(format!("nothing is sent: {}", silenced.error));
                rehearsed.message = "held back";
            } else if let Some(held) = of("held") {
                let until = jiff::Timestamp::from_millisecond(held.not_before_ms).unwrap_or_default();
                if rehearsed.message.is_empty() {
                    rehearsed.message = "waits";
                }
                rehearsed.note = Some(format!("some of it waits until {}, as the rule says", until.strftime("%T UTC")));
            } else {
                rehearsed.problem = Some("its alert became no message".to_owned());
            }
        }
        rehearsed
    }
}

fn is(expected: &Expected, alert: &SeenAlert) -> bool {
    alert.rule == expected.rule
        && match &expected.about {
            About::Event(key) => alert.sample == *key,
            About::Key(key) => alert.key == *key,
        }
}

fn by_key(rows: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut by_key: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_key.entry(text(row, "event_key")).or_default().push(row);
    }
    by_key
}

fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn push_once(into: &mut Vec<String>, text: String) {
    if !into.contains(&text) {
        into.push(text);
    }
}
