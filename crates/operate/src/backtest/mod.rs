//! What rules would have sent over stored history, beside what was sent.
//!
//! The rules of a configuration, of now or changed, meet the rows of ClickHouse as `process`, `detect` and `notify`
//! would have met the events: the same index of rules, the same detector, the same planner. Nothing is written or
//! sent.

mod before;
mod messages;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use event::{Alert, Transition};
use rules::{Rule, RuleIndex, Trigger};
use serde::Serialize;
use warehouse::Side;

use crate::error::refuse_unless;
use crate::history::{Engine, Reading};
use crate::{Installation, Report, Result};
use before::Before;
pub use messages::{DestinationReport, Preview};
use messages::{Sent, Simulation};

/// How long before the span rules that learn look at history, unless told otherwise: eight weeks.
pub const LEARN_MS: i64 = 56 * 86_400_000;
/// Keys of a rule that are named.
const KEYS: usize = 5;
/// Alerts that only one of the two has, and are named.
const DIFFERENCES: usize = 20;
/// Of each rule the first so many alerts are held against those that were sent, and so many keys are told apart: a rule
/// that fires on every event has as many as there are events.
const KEPT: usize = 100_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// From when on alerts are told, in milliseconds since 1970.
    pub from: i64,
    /// Until when, not included.
    pub until: i64,
    /// How long before that rules learn, in milliseconds; none: [`LEARN_MS`] for rules that learn.
    pub learn_ms: Option<i64>,
    /// The names of the rules; all of them, if there is none.
    pub rules: Vec<String>,
    /// Messages that are shown of each rule and destination.
    pub previews: usize,
}

/// What rules would have sent.
#[derive(Debug, Clone, Serialize)]
pub struct BacktestReport {
    /// Whether there was history to look at.
    pub ok: bool,
    /// The configuration.
    pub config: String,
    /// From when on alerts are told, in milliseconds since 1970.
    pub from: i64,
    /// Until when, not included.
    pub until: i64,
    /// Since when rules have learned.
    pub learned_from: i64,
    /// Events that were looked at.
    pub events: u64,
    /// In so many seconds.
    pub seconds: f64,
    /// Each rule.
    pub rules: Vec<RuleReport>,
    /// Each destination that gets something.
    pub destinations: Vec<DestinationReport>,
    /// Some messages of each rule and destination, as they would have been.
    pub messages: Vec<Preview>,
    /// What is not exact, and why.
    pub notes: Vec<String>,
}

/// What a rule would have said, beside what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: String,
    /// Whose it is.
    pub owner: String,
    /// What makes it speak: each, count, spike and so on.
    pub kind: &'static str,
    /// Whether it is only tried out: it sends nothing.
    pub shadow: bool,
    /// Hash of what it decides by.
    pub version: String,
    /// How many times it fires.
    pub alerts: u64,
    /// For how many keys; 100,000 are told apart.
    pub keys: u64,
    /// The keys it fires most for.
    pub most: Vec<KeyCount>,
    /// Messages, to all destinations.
    pub messages: u64,
    /// Alerts that no destination gets: silences, mutes, closed hours.
    pub held_back: u64,
    /// How many times it fired, as the alerts stored in ClickHouse say.
    pub alerts_before: u64,
    /// Messages that were sent.
    pub messages_before: u64,
    /// Alerts that both have: the same key, at the same time to within two panes.
    pub both: u64,
    /// Until when the two are compared, in milliseconds since 1970; none: all of the span. A rule with very many alerts
    /// is compared as far as the first 100,000 go.
    pub compared_until: Option<i64>,
    /// Whether another version of it fired: it was changed within the span, or is changed now.
    pub was_another: bool,
    /// Alerts that only one of the two has, the first of them.
    pub differences: Vec<Difference>,
}

/// A key and how many times a rule fires for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyCount {
    /// The key.
    pub key: String,
    /// How many times.
    pub alerts: u64,
}

/// An alert that only one of the two has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// When it fires or fired, in milliseconds since 1970.
    pub at: i64,
    /// For what key.
    pub key: String,
    /// Whether it would be new; otherwise it was sent, and would not be.
    pub is_new: bool,
    /// Why it fires, where the rule says so.
    pub why: String,
}

impl Report for BacktestReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// An alert, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fired {
    at: i64,
    key: String,
    why: String,
}

/// What a rule says over the span, as far as it is kept.
#[derive(Debug, Default)]
struct Said {
    alerts: u64,
    keys: HashMap<String, u64>,
    first: Vec<Fired>,
}

impl Said {
    fn add(&mut self, alert: &Alert<'_>) {
        self.alerts += 1;
        let key = alert.key.as_ref();
        let has_room = self.keys.len() < KEPT;
        match self.keys.get_mut(key) {
            Some(alerts) => *alerts += 1,
            None if has_room => drop(self.keys.insert(key.to_owned(), 1)),
            None => {}
        }
        if self.first.len() < KEPT {
            let why = alert.attributes.get("why").to_owned();
            self.first.push(Fired { at: alert.received_at.0, key: key.to_owned(), why });
        }
    }
}

/// Plays the rules over the history.
///
/// # Errors
/// When ClickHouse fails, or a rule that is named is not there.
pub async fn backtest(installation: &Installation, options: &Options) -> Result<BacktestReport> {
    let begun = Instant::now();
    let config = &installation.config;
    refuse_unless!(options.from < options.until, "the span ends before it begins: say --since before --until");
    for name in &options.rules {
        refuse_unless!(config.rule(name).is_some(), "{} has no rule {name:?}", installation.file.display());
    }
    let is_meant = |rule: &Rule| options.rules.is_empty() || options.rules.iter().any(|name| name == rule.name());
    let rules: Vec<Rule> = config.rules.iter().map(|rule| rule.rule.clone()).filter(is_meant).collect();
    let rules: Vec<Rule> = rules.into_iter().filter(|rule| rule.trigger().is_some()).collect();
    let warehouse = installation.connect().await?;
    let reading = Reading::of(&warehouse, Side::Production);
    let oldest = reading.oldest().await?;
    let learn_ms = options.learn_ms.unwrap_or_else(|| rules.iter().map(needs_before).max().unwrap_or(0));
    let learned_from = oldest.map_or(options.from, |oldest| oldest.max(options.from - learn_ms)).min(options.from);
    let span = learned_from..options.until;
    let lanes = reading.lanes(&span).await?;
    let mut engine = Engine::new(&rules, config.expectations(), lanes, learned_from);
    let index = RuleIndex::new(rules.clone());
    let mut simulation = Simulation::new(notify::routing(config), options.from, options.previews);
    let mut fired: BTreeMap<String, Said> = BTreeMap::new();
    let mut at = learned_from;
    while at < options.until {
        let to = options.until.min((at.div_euclid(crate::history::SLICE_MS) + 1) * crate::history::SLICE_MS);
        let mut counted = Vec::new();
        reading
            .play(&mut engine, at..to, |_, _, told, shadow| {
                shadow
                    .iter()
                    .filter(|alert| alert.received_at.0 >= options.from)
                    .for_each(|alert| note(&mut fired, alert));
                counted.extend(told);
            })
            .await?;
        counted.sort_by_key(|alert| alert.received_at);
        let mut take = |alert: &Alert<'_>| {
            // What a shadow rule says of each event is counted and goes nowhere, as in production.
            if alert.received_at.0 >= options.from {
                note(&mut fired, alert);
            }
            simulation.take(alert);
        };
        let mut counted = counted.iter().peekable();
        if to > options.from {
            let each = |alert: &Alert<'static>| {
                while let Some(before) = counted.next_if(|one| one.received_at <= alert.received_at) {
                    take(before);
                }
                take(alert);
            };
            reading.each_alerts(&index, &(at.max(options.from)..to), each).await?;
        }
        counted.for_each(take);
        at = to;
    }
    let sent = simulation.end(options.until);
    let before = Before::read(&warehouse, options.from..options.until).await?;
    let events = reading.count(&span).await?;
    let mut notes = notes(&rules, options, oldest, learned_from);
    let reports =
        rules.iter().map(|rule| rule_report(rule, fired.remove(rule.name()).unwrap_or_default(), &sent, &before));
    let reports: Vec<RuleReport> = reports.collect();
    let partly = reports.iter().filter(|report| report.compared_until.is_some());
    let partly: Vec<&str> = partly.map(|report| report.rule.as_str()).collect();
    if !partly.is_empty() {
        notes.push(format!(
            "all alerts are counted; of {} only the first {KEPT} are compared with what was sent, and only so many keys \
             are told apart",
            partly.join(", ")
        ));
    }
    for (rule, full) in engine.full() {
        notes.push(format!(
            "{rule} knows as much as a rule may: {} signals of further keys and {} events with values that may be new were \
             passed over (docs/runbooks/rule-full.md)",
            full.keys, full.values
        ));
    }
    Ok(BacktestReport {
        ok: events > 0,
        config: config.version_hash().to_owned(),
        from: options.from,
        until: options.until,
        learned_from,
        events,
        rules: reports,
        destinations: sent.destinations(config),
        messages: sent.previews,
        notes,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn note(fired: &mut BTreeMap<String, Said>, alert: &Alert<'_>) {
    if alert.transition != Transition::Resolved {
        match fired.get_mut(alert.rule.as_ref()) {
            Some(said) => said.add(alert),
            None => fired.entry(alert.rule.clone().into_owned()).or_default().add(alert),
        }
    }
}

/// How much history before the span a rule looks at, in milliseconds.
fn needs_before(rule: &Rule) -> i64 {
    match rule.trigger() {
        None | Some(Trigger::Each) => 0,
        Some(Trigger::Count { within_ms, quiet_for_ms, .. }) => within_ms + quiet_for_ms,
        Some(_) => LEARN_MS,
    }
}

fn kind(rule: &Rule) -> &'static str {
    rule.trigger().map_or("none", Trigger::name)
}

fn notes(rules: &[Rule], options: &Options, oldest: Option<i64>, learned_from: i64) -> Vec<String> {
    let mut notes = Vec::new();
    let counts = rules.iter().filter(|rule| rule.is_evaluated_over_time()).count();
    let learns = rules.iter().filter(|rule| needs_before(rule) == LEARN_MS).count();
    match oldest {
        None => notes.push("ClickHouse holds no event: nothing can be said".to_owned()),
        Some(oldest) if oldest > options.from => {
            notes.push("there are no events at the begin of the span: nothing fires there".to_owned());
        }
        Some(_) => {}
    }
    if counts > 0 {
        notes.push(
            "panes are cut by the time of receipt; when it ran, they were cut by the time at which the log took the event, \
             some milliseconds later: a count may differ by the events at the edges of its window, and an alert by a pane"
                .to_owned(),
        );
    }
    if learns > 0 && oldest.is_some_and(|oldest| oldest < learned_from) {
        notes.push(
            "rules that learn have learned from the begin named above; when they ran, they may have learned from earlier \
             events, or from fewer if they were new"
                .to_owned(),
        );
    }
    notes.push(
        "events have the labels that they were given when they came; a lane that was left out because it was ten minutes \
         behind, and what people paused, silenced or acknowledged while it ran, are not played again"
            .to_owned(),
    );
    if !options.rules.is_empty() {
        notes.push("budgets of destinations are played with these rules alone".to_owned());
    }
    notes
}

fn rule_report(rule: &Rule, fired: Said, sent: &Sent, before: &Before) -> RuleReport {
    let keys = fired.keys.len() as u64;
    let mut most: Vec<KeyCount> = fired.keys.into_iter().map(|(key, alerts)| KeyCount { key, alerts }).collect();
    most.sort_by(|left, right| right.alerts.cmp(&left.alerts).then(left.key.cmp(&right.key)));
    most.truncate(KEYS);
    let pane_ms = rule.trigger().and_then(Trigger::pane_ms).unwrap_or(0);
    let old = before.alerts(rule.name());
    let alerts_before = before.number(rule.name());
    let is_part = |first: &[Fired], all: u64| (first.len() as u64) < all;
    let ends = [(&*fired.first, fired.alerts), (old, alerts_before)].into_iter();
    let ends = ends.filter(|(first, all)| is_part(first, *all)).filter_map(|(first, _)| first.last());
    let compared_until = ends.map(|last| last.at).min();
    let up_to = |first: &[Fired]| first.partition_point(|one| compared_until.is_none_or(|until| one.at < until));
    let (now, then) = (&fired.first[..up_to(&fired.first)], &old[..up_to(old)]);
    let (both, mut differences) = compare(now, then, (2 * pane_ms).max(if pane_ms > 0 { 120_000 } else { 0 }));
    differences.truncate(DIFFERENCES);
    RuleReport {
        rule: rule.name().to_owned(),
        owner: rule.owner().to_owned(),
        kind: kind(rule),
        shadow: rule.is_shadow(),
        version: rule.version().to_owned(),
        alerts: fired.alerts,
        keys,
        most,
        messages: sent.messages(rule.name()),
        held_back: sent.held_back(rule.name()),
        alerts_before,
        messages_before: before.messages(rule.name()),
        both,
        compared_until,
        was_another: before.versions(rule.name()).any(|version| version != rule.version()),
        differences,
    }
}

/// How many alerts both have, and those that one has alone, by time.
fn compare(now: &[Fired], before: &[Fired], within_ms: i64) -> (u64, Vec<Difference>) {
    let mut free: BTreeMap<&str, BTreeSet<(i64, usize)>> = BTreeMap::new();
    for (at, one) in before.iter().enumerate() {
        free.entry(&one.key).or_default().insert((one.at, at));
    }
    let (mut both, mut differences) = (0, Vec::new());
    for one in now {
        let near = |free: &BTreeSet<(i64, usize)>| {
            let mut near = free.range((one.at - within_ms, 0)..=(one.at + within_ms, usize::MAX));
            near.next().copied()
        };
        let found = free.get_mut(one.key.as_str()).and_then(|free| near(free).map(|found| free.remove(&found)));
        match found {
            Some(_) => both += 1,
            None => differences.push(difference(one, true)),
        }
    }
    let left = free.into_values().flatten().filter_map(|(_, at)| before.get(at));
    differences.extend(left.map(|one| difference(one, false)));
    differences.sort_by(|left, right| (left.at, &left.key).cmp(&(right.at, &right.key)));
    (both, differences)
}

fn difference(one: &Fired, is_new: bool) -> Difference {
    Difference { at: one.at, key: one.key.clone(), is_new, why: one.why.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_of_the_same_key_within_two_panes_are_the_same_and_each_stands_for_one() {
        let fired = |at: i64, key: &str| Fired { at: at * 1_000, key: key.into(), why: String::new() };
        let now = [fired(100, "a"), fired(110, "a"), fired(100, "b"), fired(900, "a")];
        let before = [fired(115, "a"), fired(100, "c"), fired(300, "b")];
        let (both, differences) = compare(&now, &before, 120_000);
        assert_eq!(both, 1);
        let shown: Vec<_> = differences.iter().map(|one| (one.at / 1_000, one.key.as_str(), one.is_new)).collect();
        assert_eq!(shown, [(100, "b", true), (100, "c", false), (110, "a", true), (300, "b", false), (900, "a", true)]);
    }

    #[test]
    fn of_very_many_alerts_all_are_counted_and_the_first_are_compared() {
        let rule = Rule::new("all", "me", rules::When::default(), Some(Trigger::Each));
        let mut said = Said::default();
        for at in 0..=KEPT as i64 {
            let alert = Alert { key: format!("e:{at}").into(), received_at: event::Millis(at), ..Alert::default() };
            said.add(&alert);
        }
        let report = rule_report(&rule, said, &Sent::default(), &Before::default());
        assert_eq!((report.alerts, report.keys), (KEPT as u64 + 1, KEPT as u64));
        // Up to the last one that is kept, which may not be the last of its moment.
        assert_eq!((report.compared_until, report.differences.len()), (Some(KEPT as i64 - 1), DIFFERENCES));
    }
}
