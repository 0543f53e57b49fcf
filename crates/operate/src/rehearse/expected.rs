//! What the configuration says that rules make of the events of a rehearsal, before they are sent: by the steps that
//! `process` runs.

use std::collections::BTreeMap;

use config::{Config, Source};
use event::Outcome;
use event::lane::of_key;
use kafka::control::Control;
use process::{Pipeline, Step};
use rules::{RuleIndex, Trigger};

use super::made_up::{MadeUp, Scenario};
use crate::replay::read::Raw;

/// A rule that counts within less is not held to its count: how long requests take decides.
const CERTAIN_MS: i64 = 10_000;

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// One event, by its key.
    Event(String),
    /// A key that a rule counts per.
    Key(String),
}

/// An alert that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) rule: String,
    pub(super) scenario: Scenario,
    pub(super) about: About,
    /// Whether it has to come. Otherwise it may.
    pub(super) certain: bool,
}

/// What became of a made-up event when it was tried out.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    /// Its event key.
    key: String,
    pub(super) is_event: bool,
    pub(super) is_test: bool,
    /// Rules that fire on each event, and match it.
    each: Vec<String>,
    /// Rules that count it, with the key.
    counts: Vec<(String, String)>,
    /// Why the rule that it is made for does not match it.
    pub(super) mismatch: Option<String>,
}

/// Takes made-up events through the steps of `process`, without sending them, and gives them their keys.
pub(super) fn try_out(
    pipeline: &Pipeline,
    control: &Control,
    config: &Config,
    source: &Source,
    events: &mut [MadeUp],
    now_ms: i64,
) -> Vec<Tried> {
    let routes = config.routes();
    let mut step = Step::new(pipeline, control);
    let one = |event: &MadeUp| {
        let body = event.body.to_string();
        let split = source.adapter.split(&source.dialect, body.as_bytes(), "application/json", &|_| None);
        let Some(element) = split.ok().and_then(|elements| elements.into_iter().next()) else {
            return Tried::default();
        };
        let raw = Raw::made(&element, source, now_ms, "");
        let record = raw.view(of_key(&raw.key, control.lanes));
        let decoded = step.decode(&record);
        let verdict = decoded.candidate().map(|_| dedupe::Verdict::First);
        let catalogue = step.catalogue();
        let decided = step.enrich(&record, decoded, verdict, None, catalogue.as_deref());
        let made_for = routes.rule(&event.rule);
        Tried {
            key: element.key.as_str().to_owned(),
            is_event: decided.event.outcome == Outcome::Event,
            is_test: decided.event.test,
            each: matching(&routes, &decided.event).filter(|rule| rule.per().is_none()).map(name).collect(),
            counts: matching(&routes, &decided.event)
                .filter_map(|rule| Some((name(rule), rule.observe(&decided.event, now_ms)?.key.into_owned())))
                .collect(),
            mismatch: made_for.and_then(|rule| {
                let verdicts = routes.explain(&decided.event);
                let verdict = verdicts.into_iter().find(|verdict| verdict.rule.name() == rule.name())?;
                (!verdict.matched).then_some(verdict.why)
            }),
        }
    };
    let tried: Vec<Tried> = events.iter().map(one).collect();
    events.iter_mut().zip(&tried).for_each(|(event, tried)| event.key.clone_from(&tried.key));
    tried
}

fn name(rule: &rules::Rule) -> String {
    rule.name().to_owned()
}

/// The rules that match an event and raise alerts about it.
fn matching<'r>(routes: &'r RuleIndex, event: &event::LinkEvent<'_>) -> impl Iterator<Item = &'r rules::Rule> {
    let speaks = |rule: &&rules::Rule| rule.trigger().is_some() && !rule.is_shadow();
    let matching: Vec<usize> = routes.matching_indexes(event).collect();
    matching.into_iter().map(|at| &routes.rules()[at]).filter(speaks)
}

/// The alerts that the events are to lead to.
pub(super) fn expected(config: &Config, events: &[MadeUp], tried: &[Tried]) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (event, tried) in events.iter().zip(tried) {
        for rule in &tried.each {
            let about = About::Event(event.key.clone());
            all.push(Expected { rule: rule.clone(), scenario: event.scenario, about, certain: true });
        }
        for (rule, key) in &tried.counts {
            let Some(trigger) = config.rule(rule).and_then(|rule| rule.rule.trigger()) else { continue };
            let Trigger::Count { count, within_ms, .. } = trigger else { continue };
            let counted = counts.entry((rule, key)).or_default();
            *counted += 1;
            if *counted == *count {
                let certain = *within_ms >= CERTAIN_MS || *count == 1;
                let (rule, about) = (rule.clone(), About::Key(key.clone()));
                all.push(Expected { rule, scenario: event.scenario, about, certain });
            }
        }
    }
    all
}
