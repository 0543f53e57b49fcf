//! A rule that counts in a sliding window: its keys, and which of them a closed pane concerns.

use event::{Alert, AlertId, Millis, Signal};

use crate::codec::{Reader, Writer};
use crate::evaluator::threshold::{Arrival, KeyState, KeyTransition, Threshold, window};
use crate::key_table::KeyTable;
use crate::state::{Change, StateKey, StatePart};

/// The first bytes of a key's record: kind and version.
const HEAD: [u8; 2] = [b'T', 1];

/// A rule that counts.
pub(crate) struct CountedRule {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What its keys hold is kept under this: a rule that asks for more or less keeps it.
    pub(crate) memory: String,
    owner: String,
    pub(crate) shadow: bool,
    threshold: Threshold,
    /// The end of the last pane that was evaluated.
    closed: Option<i64>,
    /// The keys of production data, and of test data: the same key in both has nothing in common.
    keys: [KeyTable<KeyState>; 2],
}

impl CountedRule {
    /// The rule, if it is one that counts.
    pub(crate) fn of(rule: &crate::Rule) -> Option<Self> {
        let Some(crate::Trigger::Count { count, within_ms, pane_ms, quiet_for_ms, .. }) = rule.trigger() else {
            return None;
        };
        Some(Self {
            name: rule.name().to_owned(),
            version: rule.version().to_owned(),
            memory: rule.memory(),
            owner: rule.owner().to_owned(),
            shadow: rule.is_shadow(),
            threshold: Threshold {
                count: *count,
                within_ms: *within_ms,
                pane_ms: *pane_ms,
                quiet_for_ms: *quiet_for_ms,
            },
            closed: None,
            keys: Default::default(),
        })
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.keys.iter().map(KeyTable::len).sum()
    }

    /// How many keys a snapshot would write now.
    pub(crate) fn unsaved(&self) -> usize {
        self.keys.iter().map(KeyTable::unsaved).sum()
    }

    /// What has passed, in milliseconds, after a restart.
    pub(crate) fn closed_at(&mut self, passed: Option<i64>) {
        self.closed = passed.map(|passed| self.threshold.closed_at(passed));
    }

    /// Adds a signal. Whether its pane was open.
    pub(crate) fn add(&mut self, lane: u16, signal: &Signal<'_>) -> bool {
        let (threshold, closed) = (&self.threshold, self.closed);
        let keys = &mut self.keys[usize::from(signal.test)];
        let id = keys.id(signal.key.as_ref(), KeyState::default);
        let Some(state) = keys.get_mut(id) else { return true };
        let arrival = state.add(threshold, closed, lane, signal);
        if arrival == Arrival::InTime {
            // The timer was set with the first match of the pane, at the latest.
            keys.touch(id);
            return true;
        }
        // What came late changes the windows that are to be evaluated next.
        let next = closed.map_or(i64::MIN, |closed| closed.saturating_add(threshold.pane_ms));
        let of_pane = threshold.closed_at(signal.pane.0.max(0)).saturating_add(threshold.pane_ms);
        keys.touch(id);
        if let Some(at) = timer(next.max(of_pane)) {
            keys.wake_by(id, at);
        }
        arrival == Arrival::First
    }

    /// Evaluates every pane that ends by `passed` and was not evaluated yet.
    pub(crate) fn close(&mut self, passed: i64, mut tell: impl FnMut(Alert<'static>)) {
        let to = self.threshold.closed_at(passed);
        if self.closed.is_some_and(|closed| closed >= to) {
            return;
        }
        // A key that is due has nothing to say of windows that ended before: else it had been due then.
        let from = self.closed.replace(to);
        let threshold = self.threshold;
        let mut keys = std::mem::take(&mut self.keys);
        for (test, keys) in [false, true].into_iter().zip(&mut keys) {
            while let Some(id) = keys.due(timer(to).unwrap_or(u32::MAX)) {
                let Some((key, state)) = keys.named_mut(id) else { continue };
                let differs = state.close(&threshold, from, to, |turn| tell(self.alert(key, test, turn)));
                if state.is_over(&threshold, to) {
                    keys.remove(id);
                    continue;
                }
                let wakes = state.wakes(&threshold, to);
                if differs {
                    keys.touch(id);
                }
                keys.wake(id, timer(wakes));
            }
        }
        self.keys = keys;
    }

    fn alert(&self, key: &str, test: bool, turn: KeyTransition) -> Alert<'static> {
        let (window_start, window_end) = window(&self.threshold, &turn);
        // The same key in test data is another thing, so it has another id. The separator stands in no key.
        let id_key = if test { format!("\u{1f}test\u{1f}{key}") } else { key.to_owned() };
        let id = AlertId::new(&self.name, &self.version, &id_key, window_start.0, turn.transition);
        Alert {
            alert_id: id.0.into(),
            rule: self.name.clone().into(),
            rule_version: self.version.clone().into(),
            owner: self.owner.clone().into(),
            key: key.to_owned().into(),
            transition: turn.transition,
            window_start,
            window_end,
            observed: turn.observed,
            threshold: self.threshold.count,
            // The pane behind it ended then; everything that it counts was received before.
            received_at: Millis(turn.window_end),
            sample: turn.sample.into(),
            test,
            attributes: turn.attributes,
        }
    }

    /// What has changed since the last call.
    pub(crate) fn snapshot(&mut self, changes: &mut Vec<Change>) {
        for (test, keys) in [false, true].into_iter().zip(&mut self.keys) {
            let (name, memory) = (&self.name, &self.memory);
            let record = |key: &str| StateKey::of(name, memory, key, test).encode();
            keys.take_changed(|_, key, state| {
                let mut value = Writer(Vec::with_capacity(512));
                value.0.extend_from_slice(&HEAD);
                state.write(&mut value);
                changes.push(Change { key: record(key), value: Some(value.0) });
            });
            changes.extend(keys.take_removed().map(|key| Change { key: record(&key), value: None }));
        }
    }

    /// Takes one record of a snapshot; none if it is not what this version writes.
    pub(crate) fn restore(&mut self, key: &StateKey<'_>, value: &[u8]) -> Option<()> {
        if key.part != StatePart::Present || !value.starts_with(&HEAD) {
            return None;
        }
        let state = KeyState::read(&mut Reader(value.get(HEAD.len()..)?))?;
        // The rule may have changed: each key is evaluated once.
        let next = self.closed.map(|closed| closed.saturating_add(self.threshold.pane_ms));
        let next = next.unwrap_or_else(|| state.wakes(&self.threshold, i64::MIN));
        let keys = &mut self.keys[usize::from(key.test)];
        let id = keys.id(key.key, KeyState::default);
        *keys.get_mut(id)? = state;
        keys.is_stored(id);
        keys.wake(id, timer(next));
        Some(())
    }
}

/// The end of a pane, in milliseconds since 1970, as the time of a timer: a pane is whole seconds. None for what is
/// beyond the year 2106: nothing that happens is.
fn timer(at: i64) -> Option<u32> {
    u32::try_from(at.div_euclid(1_000).max(1)).ok()
}
