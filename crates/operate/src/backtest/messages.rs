//! Alerts into messages, by the planner of `notify`, at the times at which it would have planned them.

use std::collections::{BTreeMap, BTreeSet};

use config::Config;
use event::{Alert, Delivery, DeliveryStage};
use notification::{Message, Planner, Routing};
use serde::Serialize;

/// How often a destination that does not take what is due is asked again, in milliseconds.
const AGAIN_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// What a destination would have got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestinationReport {
    /// The destination.
    pub destination: String,
    /// Whose it is.
    pub owner: String,
    /// Messages.
    pub messages: u64,
    /// On how many days there is one.
    pub days: u64,
    /// The messages of the day with the most, and when it begins (milliseconds since 1970).
    pub most_a_day: u64,
    /// When that day begins, in milliseconds since 1970.
    pub most_on: i64,
}

/// A message as it would have been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The rule.
    pub rule: String,
    /// Where to.
    pub destination: String,
    /// The owner of the links that it mentions; empty: none.
    pub mentions: String,
    /// Alert, summary, resolved or digest.
    pub kind: &'static str,
    /// One line.
    pub title: String,
    /// All of it.
    pub text: String,
    /// Alerts in it.
    pub alerts: u64,
}

/// What would have been sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Messages by rule, destination and day.
    messages: BTreeMap<(String, String, i64), u64>,
    /// Alerts that no destination gets, by rule.
    held_back: BTreeMap<String, u64>,
    pub(super) previews: Vec<Preview>,
}

/// The planner, and its time.
pub(super) struct Simulation {
    planner: Planner,
    now: i64,
    from: i64,
    previews: usize,
    /// Previews by rule and destination.
    shown: BTreeMap<(String, String), usize>,
    sent: Sent,
}

impl Simulation {
    /// Messages from a time on count, and of each rule and destination some are kept.
    pub(super) fn new(routing: Routing, from: i64, previews: usize) -> Self {
        let (shown, sent) = Default::default();
        Self { planner: Planner::new(routing), now: i64::MIN, from, previews, shown, sent }
    }

    /// Takes the next alert at the time of its last event.
    pub(super) fn take(&mut self, alert: &Alert<'_>) {
        let at = alert.received_at.0.max(self.now);
        self.run_to(at);
        self.planner.take(alert, at);
        self.settle(at);
    }

    /// What was sent up to a time.
    pub(super) fn end(mut self, until: i64) -> Sent {
        self.run_to(until);
        self.sent
    }

    fn run_to(&mut self, to: i64) {
        while let Some(due) = self.planner.next_due() {
            let at = due.max(self.now);
            if at > to {
                break;
            }
            self.now = at;
            if self.planner.is_due(at) {
                self.settle(at);
            } else {
                self.now = at + AGAIN_MS;
            }
        }
        self.now = self.now.max(to);
    }

    fn settle(&mut self, now: i64) {
        self.now = now;
        let records = self.planner.settle(now);
        // Nothing is read back: these records are not written.
        self.planner.committed(0);
        for record in &records {
            self.keep(record);
        }
    }

    fn keep(&mut self, record: &Delivery<'_>) {
        if record.at.0 < self.from || record.test {
            return;
        }
        let (rule, destination) = (record.rule.clone().into_owned(), record.destination.clone().into_owned());
        match record.stage {
            DeliveryStage::Planned => {
                let day = record.at.0.div_euclid(DAY_MS) * DAY_MS;
                *self.sent.messages.entry((rule.clone(), destination.clone(), day)).or_default() += 1;
                let shown = self.shown.entry((rule.clone(), destination.clone())).or_default();
                if *shown < self.previews
                    && let Ok(message) = Message::thawed(&record.body)
                {
                    *shown += 1;
                    self.sent.previews.push(Preview {
                        at: record.at.0,
                        rule,
                        destination,
                        mentions: message.mention.unwrap_or_default(),
                        kind: message.kind.name(),
                        title: message.title,
                        text: message.text,
                        alerts: message.alerts,
                    });
                }
            }
            DeliveryStage::Silenced => {
                *self.sent.held_back.entry(rule).or_default() += record.alert_ids.len() as u64;
            }
            _ => {}
        }
    }
}

impl Sent {
    /// Messages of a rule.
    pub(super) fn messages(&self, rule: &str) -> u64 {
        self.messages.iter().filter(|((of, ..), _)| of == rule).map(|(_, count)| count).sum()
    }

    /// Alerts of a rule that no destination gets.
    pub(super) fn held_back(&self, rule: &str) -> u64 {
        self.held_back.get(rule).copied().unwrap_or(0)
    }

    /// What each destination gets.
    pub(super) fn destinations(&self, config: &Config) -> Vec<DestinationReport> {
        let names: BTreeSet<&str> = self.messages.keys().map(|(_, destination, _)| destination.as_str()).collect();
        let report = |name: &str| {
            let mut days: BTreeMap<i64, u64> = BTreeMap::new();
            for ((_, _, day), count) in self.messages.iter().filter(|((_, destination, _), _)| destination == name) {
                *days.entry(*day).or_default() += count;
            }
            let (most_on, most_a_day) =
                days.iter().max_by_key(|(day, count)| (**count, -**day)).map_or((0, 0), |(day, count)| (*day, *count));
            DestinationReport {
                destination: name.to_owned(),
                owner: config.destination(name).map(|one| one.owner.clone()).unwrap_or_default(),
                messages: days.values().sum(),
                days: days.len() as u64,
                most_a_day,
                most_on,
            }
        };
        names.into_iter().map(report).collect()
    }
}
