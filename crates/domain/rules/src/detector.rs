//! The rules that count, over the batches of all lanes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use event::{Alert, AlertId, Millis, SignalBatch};

use crate::Glob;
use crate::evaluator::threshold::{Arrival, KeyState, KeyTransition, Threshold, window};
use crate::learned::LearnedRule;
use crate::state::{Change, StateKey, UnreadableState};
use crate::watermark::WatermarkTracker;

/// What a batch led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchResult {
    /// What rules have to say now, in the order of their windows' ends.
    pub findings: Vec<Finding>,
    /// Signals that were passed over: no rule of that name and version counts.
    pub unknown: u64,
    /// Signals whose pane had closed, because their lane had been left out. They count where a window still reaches them.
    pub late: u64,
}

/// An alert, and whether anybody may hear of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The alert.
    pub alert: Alert<'static>,
    /// The rule is only tried out: the alert is counted and goes nowhere.
    pub shadow: bool,
}

/// A batch names a lane that does not exist: it was written by a pipeline with another number of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signal comes from lane {lane}, and there are {lanes} lanes: the number of lanes never changes in place")]
pub struct ForeignLane {
    lane: u16,
    lanes: usize,
}

/// A rule that counts, and the keys that it knows.
struct RuleState {
    name: String,
    version: String,
    owner: String,
    shadow: bool,
    threshold: Threshold,
    /// The end of the last pane that was evaluated.
    closed: Option<i64>,
    /// The keys of production data, and of test data: the same key in both has nothing in common.
    keys: [HashMap<String, KeyEntry>; 2],
}

#[derive(Default)]
struct KeyEntry {
    state: KeyState,
    /// Changed since the last snapshot.
    changed: bool,
    /// In some snapshot.
    stored: bool,
}

/// A launch that is planned: a spike of its links is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its links, by key.
    pub links: Vec<Glob>,
    /// Its begin, in milliseconds since 1970.
    pub from_ms: i64,
    /// Its end, in milliseconds since 1970, not included.
    pub until_ms: i64,
}

/// What the configuration says is to be expected, beside the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Launches that are planned.
    pub launches: Vec<Launch>,
    /// By source: after how many minutes without an event it is too quiet.
    pub quiet_after_minutes: BTreeMap<String, i64>,
}

/// Evaluates the rules that count for one partition of `signals`: some of the keys, all of the lanes.
pub struct Detector {
    rules: Vec<RuleState>,
    by_name: HashMap<String, usize>,
    /// The rules that learn what is usual.
    learned: Vec<LearnedRule>,
    learned_by_name: HashMap<String, usize>,
    lanes: WatermarkTracker,
    changed: Vec<(usize, bool, String)>,
    removed: HashSet<(usize, bool, String)>,
    /// Keys in the snapshot whose rule, or its version, is gone.
    orphans: Vec<Vec<u8>>,
}

impl Detector {
    /// A detector for those of `configured` that count, over so many lanes.
    pub fn new(configured: &[crate::Rule], lanes: u16) -> Self {
        Self::expecting(configured, lanes, Expectations::default())
    }

    /// The same, with what is to be expected.
    pub fn expecting(configured: &[crate::Rule], lanes: u16, expectations: Expectations) -> Self {
        let expectations = Arc::new(expectations);
        let learned: Vec<LearnedRule> =
            configured.iter().filter_map(|rule| LearnedRule::of(rule, &expectations)).collect();
        let learned_by_name = learned.iter().enumerate().map(|(at, rule)| (rule.name.clone(), at)).collect();
        let rules: Vec<RuleState> = configured.iter().filter_map(rule_state).collect();
        let by_name = rules.iter().enumerate().map(|(index, rule)| (rule.name.clone(), index)).collect();
        let (changed, removed, orphans) = Default::default();
        Self {
            rules,
            by_name,
            learned,
            learned_by_name,
            lanes: WatermarkTracker::new(lanes),
            changed,
            removed,
            orphans,
        }
    }

    /// Takes the next batch of the partition, and evaluates what it closes.
    ///
    /// # Errors
    /// When the batch comes from a lane that does not exist. Nothing is taken then.
    pub fn take(&mut self, batch: &SignalBatch<'_>) -> Result<BatchResult, ForeignLane> {
        if usize::from(batch.lane) >= self.lanes.count() {
            return Err(ForeignLane { lane: batch.lane, lanes: self.lanes.count() });
        }
        let mut taken = BatchResult::default();
        for signal in &batch.signals {
            let learned = self.learned_by_name.get(signal.rule.as_ref()).and_then(|at| self.learned.get_mut(*at));
            if let Some(rule) = learned.filter(|rule| rule.version == signal.rule_version) {
                taken.late += u64::from(!rule.add(batch.lane, signal));
                continue;
            }
            let index = self.by_name.get(signal.rule.as_ref()).copied();
            let Some(index) = index.filter(|index| self.rules[*index].version == signal.rule_version) else {
                taken.unknown += 1;
                continue;
            };
            let rule = &mut self.rules[index];
            let keys = &mut rule.keys[usize::from(signal.test)];
            if !keys.contains_key(signal.key.as_ref()) {
                // Whoever is in the snapshot and comes back before the next one is still in it.
                let stored = self.removed.remove(&(index, signal.test, signal.key.clone().into_owned()));
                keys.insert(signal.key.clone().into_owned(), KeyEntry { stored, ..KeyEntry::default() });
            }
            let Some(known) = keys.get_mut(signal.key.as_ref()) else { continue };
            let arrival = known.state.add(&rule.threshold, rule.closed, batch.lane, signal);
            taken.late += u64::from(arrival != Arrival::InTime);
            if !std::mem::replace(&mut known.changed, true) {
                self.changed.push((index, signal.test, signal.key.clone().into_owned()));
            }
        }
        // A lane that has not read anything yet knows no time, and says 0.
        if batch.watermark.0 > 0 {
            self.lanes.hear(batch.lane, batch.watermark.0);
        }
        if let Some(passed) = self.lanes.passed() {
            self.close(passed, &mut taken.findings);
        }
        Ok(taken)
    }

    /// Evaluates every pane that ends by `passed` and was not evaluated yet.
    fn close(&mut self, passed: i64, findings: &mut Vec<Finding>) {
        let Self { rules, learned, changed, removed, .. } = self;
        let before = findings.len();
        for (index, rule) in rules.iter_mut().enumerate() {
            let (threshold, from) = (rule.threshold, rule.closed);
            let to = threshold.closed_at(passed);
            if from.is_some_and(|from| from >= to) {
                continue;
            }
            rule.closed = Some(to);
            let mut keys = std::mem::take(&mut rule.keys);
            for (test, keys) in [false, true].into_iter().zip(&mut keys) {
                keys.retain(|key, known| {
                    let differs =
                        known.state.close(&threshold, from, to, |turn| findings.push(finding(rule, key, test, turn)));
                    let over = known.state.is_over(&threshold, to);
                    if over && known.stored {
                        removed.insert((index, test, key.clone()));
                    } else if !over && differs && !std::mem::replace(&mut known.changed, true) {
                        changed.push((index, test, key.clone()));
                    }
                    !over
                });
            }
            rule.keys = keys;
        }
        for rule in learned {
            let shadow = rule.is_shadow();
            rule.close(passed, |alert| findings.push(Finding { alert, shadow }));
        }
        // Keys lie in no order; their alerts are told in one.
        findings[before..].sort_by(|left, right| order(&left.alert).cmp(&order(&right.alert)));
    }

    /// What every lane that is waited for has passed, in milliseconds since 1970; none until all have spoken.
    pub fn watermark(&self) -> Option<i64> {
        self.lanes.passed()
    }

    /// The lanes that are left out, because they are too far behind.
    pub fn excluded(&self) -> Vec<u16> {
        self.lanes.excluded().collect()
    }

    /// How many keys are known.
    pub fn keys(&self) -> usize {
        let learned: usize = self.learned.iter().map(LearnedRule::len).sum();
        learned + self.rules.iter().flat_map(|rule| &rule.keys).map(HashMap::len).sum::<usize>()
    }

    /// How many keys a snapshot would write now.
    pub fn unsaved(&self) -> usize {
        let learned: usize = self.learned.iter().map(LearnedRule::unsaved).sum();
        learned + self.changed.len() + self.removed.len() + self.orphans.len()
    }

    /// What has changed since the last call: to be stored, together with [`Detector::lanes_snapshot`] and the position of
    /// the last batch, as one.
    pub fn snapshot(&mut self) -> Vec<Change> {
        let Self { rules, learned, changed, removed, orphans, .. } = self;
        let mut changes: Vec<Change> = orphans.drain(..).map(|key| Change { key, value: None }).collect();
        for (index, test, key) in changed.drain(..) {
            let rule = &mut rules[index];
            // A key that was removed and came back stands here twice.
            if let Some(known) = rule.keys[usize::from(test)].get_mut(&key).filter(|known| known.changed) {
                (known.changed, known.stored) = (false, true);
                let value = known.state.encode();
                changes.push(Change {
                    key: StateKey::of(&rule.name, &rule.version, &key, test).encode(),
                    value: Some(value),
                });
            }
        }
        for (index, test, key) in removed.drain() {
            let rule = &rules[index];
            changes.push(Change { key: StateKey::of(&rule.name, &rule.version, &key, test).encode(), value: None });
        }
        learned.iter_mut().for_each(|rule| rule.snapshot(&mut changes));
        changes
    }

    /// How far the lanes have come: part of every snapshot.
    pub fn lanes_snapshot(&self) -> Vec<u8> {
        self.lanes.encode()
    }

    /// Restores how far the lanes had come. Before any [`Detector::restore`] and any batch.
    ///
    /// # Errors
    /// When it is not what this version writes, or speaks of another number of lanes.
    pub fn restore_lanes(&mut self, value: &[u8]) -> Result<(), UnreadableState> {
        self.lanes = WatermarkTracker::decode(value, self.lanes.count())?;
        for rule in &mut self.rules {
            rule.closed = self.lanes.passed().map(|passed| rule.threshold.closed_at(passed));
        }
        let passed = self.lanes.passed();
        self.learned.iter_mut().for_each(|rule| rule.closed_at(passed));
        Ok(())
    }

    /// Puts together what [`Detector::restore`] took: after the last of its calls, before any batch.
    ///
    /// # Errors
    /// When a key cannot be read, or its profile is missing.
    pub fn restored(&mut self) -> Result<(), UnreadableState> {
        self.learned.iter_mut().try_for_each(|rule| rule.restored().map_err(|key| UnreadableState::of_key(&key)))
    }

    /// Restores one key, the last value that was stored under it. A key whose rule or version is gone is removed with the
    /// next snapshot.
    ///
    /// # Errors
    /// When it is not what this version writes.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), UnreadableState> {
        let parsed = StateKey::decode(key)?;
        let learned = self.learned_by_name.get(parsed.rule).and_then(|at| self.learned.get_mut(*at));
        if let Some(rule) = learned.filter(|rule| rule.memory == parsed.version) {
            return rule.restore(&parsed, value).ok_or_else(|| UnreadableState::of_key(parsed.key));
        }
        let index = self.by_name.get(parsed.rule).copied();
        match index.filter(|index| self.rules[*index].version == parsed.version) {
            Some(index) => {
                let known = KeyEntry { state: KeyState::decode(value)?, changed: false, stored: true };
                self.rules[index].keys[usize::from(parsed.test)].insert(parsed.key.to_owned(), known);
            }
            None => self.orphans.push(key.to_vec()),
        }
        Ok(())
    }
}

fn rule_state(rule: &crate::Rule) -> Option<RuleState> {
    let Some(crate::Trigger::Count { count, within_ms, pane_ms, quiet_for_ms, .. }) = rule.trigger() else {
        return None;
    };
    Some(RuleState {
        name: rule.name().to_owned(),
        version: rule.version().to_owned(),
        owner: rule.owner().to_owned(),
        shadow: rule.is_shadow(),
        threshold: Threshold { count: *count, within_ms: *within_ms, pane_ms: *pane_ms, quiet_for_ms: *quiet_for_ms },
        closed: None,
        keys: Default::default(),
    })
}

fn finding(rule: &RuleState, key: &str, test: bool, turn: KeyTransition) -> Finding {
    let (window_start, window_end) = window(&rule.threshold, &turn);
    // The same key in test data is another thing, so it has another id. The separator stands in no key.
    let id_key = if test { format!("\u{1f}test\u{1f}{key}") } else { key.to_owned() };
    let id = AlertId::new(&rule.name, &rule.version, &id_key, window_start.0, turn.transition);
    let alert = Alert {
        alert_id: id.0.into(),
        rule: rule.name.clone().into(),
        rule_version: rule.version.clone().into(),
        owner: rule.owner.clone().into(),
        key: key.to_owned().into(),
        transition: turn.transition,
        window_start,
        window_end,
        observed: turn.observed,
        threshold: rule.threshold.count,
        // The pane behind it ended then; everything that it counts was received before.
        received_at: Millis(turn.window_end),
        sample: turn.sample.into(),
        test,
        attributes: turn.attributes,
    };
    Finding { alert, shadow: rule.shadow }
}

fn order<'a>(alert: &'a Alert<'_>) -> (Millis, &'a str, &'a str, bool) {
    (alert.window_end, &alert.rule, &alert.key, alert.test)
}
