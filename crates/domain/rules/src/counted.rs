//! A rule that counts in a sliding window: its keys, and which of them a closed pane concerns.

use event::{Alert, AlertId, Millis, Signal};

use crate::codec::{Reader, Writer};
use crate::counted_minute::Counted;
use crate::evaluator::threshold::{KeyState, KeyTransition, Threshold, window};
use crate::key_table::{KeyLimit, KeyTable, Likely};
use crate::learned::{Added, FullRule};
use crate::open_counts::OpenCounts;
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
    keys: [Keys; 2],
}

#[derive(Default)]
struct Keys {
    table: KeyTable<KeyState>,
    /// The panes that have not closed.
    open: OpenCounts,
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
        self.keys.iter().map(|keys| keys.table.len()).sum()
    }

    /// How many keys a snapshot would write now.
    pub(crate) fn unsaved(&self) -> usize {
        self.keys.iter().map(|keys| keys.table.unsaved()).sum()
    }

    /// Knows so many keys at most.
    pub(crate) fn limit(&mut self, limit: KeyLimit) {
        self.keys.iter_mut().for_each(|keys| keys.table.limit(limit));
    }

    /// What was passed over since the last call, for want of room.
    pub(crate) fn take_passed_over(&mut self) -> FullRule {
        let mut all = FullRule::default();
        for keys in &mut self.keys {
            all.add(FullRule { keys: keys.table.take_passed_over(), values: 0 });
        }
        all
    }

    /// What has passed, in milliseconds, after a restart.
    pub(crate) fn closed_at(&mut self, passed: Option<i64>) {
        self.closed = passed.map(|passed| self.threshold.closed_at(passed));
    }

    /// Looks the key of a signal up, to be added soon.
    pub(crate) fn likely(&self, signal: &Signal<'_>) -> Likely {
        self.keys[usize::from(signal.test)].table.likely(signal.key.as_ref())
    }

    /// Adds a signal.
    pub(crate) fn add(&mut self, likely: Likely, lane: u16, signal: &Signal<'_>) -> Added {
        // Nothing was received before 1970.
        let pane = self.threshold.closed_at(signal.pane.0.max(0));
        let Keys { table, open } = &mut self.keys[usize::from(signal.test)];
        let Some(closed) = self.closed.filter(|closed| pane < *closed) else {
            let has_room = open.add(table, likely, pane, lane, signal);
            return if has_room { Added::InTime } else { Added::NoRoom };
        };
        // What came late changes the windows that are to be evaluated next.
        let next = closed.saturating_add(self.threshold.pane_ms);
        let Some(id) = table.found(likely, signal.key.as_ref()).map(|found| found.id) else { return Added::NoRoom };
        if let Some(state) = table.get_mut(id) {
            state.add_late(&self.threshold, closed, pane, lane, signal);
        }
        table.touch(id);
        if let Some(at) = timer(next) {
            table.timers.wake_by(id, at);
        }
        Added::Late
    }

    /// Evaluates every pane that ends by `passed` and was not evaluated yet.
    pub(crate) fn close(&mut self, passed: i64, mut tell: impl FnMut(Alert<'static>)) {
        let to = self.threshold.closed_at(passed);
        if self.closed.is_some_and(|closed| closed >= to) {
            return;
        }
        let from = self.closed.replace(to);
        let mut keys = std::mem::take(&mut self.keys);
        let mut earlier = Vec::new();
        for (test, keys) in [false, true].into_iter().zip(&mut keys) {
            while let Some(pane) = keys.open.first_before(to) {
                let closed = keys.open.take_first();
                let is_last = keys.open.first_before(to).is_none();
                for (id, counted) in closed.keys() {
                    if let Some(state) = keys.table.get_mut(id) {
                        state.take(pane, from == Some(pane), &counted);
                    }
                    if is_last {
                        self.walk(keys, id, test, from, to, &mut tell);
                    } else {
                        earlier.push(id);
                    }
                }
                keys.open.put_back(closed);
            }
            for id in earlier.drain(..) {
                // It may have been in the last pane too.
                if keys.table.get_mut(id).is_some_and(|state| state.is_asked()) {
                    self.walk(keys, id, test, from, to, &mut tell);
                }
            }
            self.walk_due(keys, test, from, to, &mut tell);
            if let Some(ids) = keys.table.pack() {
                keys.open.renumber(&ids);
            }
        }
        self.keys = keys;
    }

    /// Evaluates the keys that must be although nothing came.
    fn walk_due(&self, keys: &mut Keys, test: bool, from: Option<i64>, to: i64, tell: &mut impl FnMut(Alert<'static>)) {
        while let Some(id) = keys.table.timers.due(timer(to).unwrap_or(u32::MAX)) {
            let Some(state) = keys.table.get_mut(id) else { continue };
            // Timers are set once and not moved when more comes: its time may be later by now.
            match from.filter(|_| !state.is_asked()).map(|from| state.wakes(&self.threshold, from)) {
                Some(at) if at > to => keys.table.timers.wake(id, timer(at)),
                _ => self.walk(keys, id, test, from, to, tell),
            }
        }
    }

    /// Evaluates a key. It has nothing to say of windows that ended before `from`: else it had been due then.
    fn walk(
        &self,
        keys: &mut Keys,
        id: u32,
        test: bool,
        from: Option<i64>,
        to: i64,
        tell: &mut impl FnMut(Alert<'static>),
    ) {
        let Keys { table, open } = keys;
        let Some((key, state)) = table.named_mut(id) else { return };
        let differs = state.close(&self.threshold, from, to, |turn| tell(self.alert(key, test, turn)));
        let is_over = state.is_over(&self.threshold, to);
        if is_over && open.of_key(id).next().is_none() {
            return table.remove(id);
        }
        // A pane that is open evaluates its keys when it closes.
        let wakes = if is_over { None } else { timer(state.wakes(&self.threshold, to)) };
        table.timers.walked(id, timer(to).unwrap_or(u32::MAX), wakes);
        if differs {
            table.touch(id);
        }
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
        // Written here first: what is kept until it is sent takes what it needs.
        let mut value = Writer::default();
        for (test, Keys { table, open }) in [false, true].into_iter().zip(&mut self.keys) {
            let (name, memory) = (&self.name, &self.memory);
            let record = |key: &str| StateKey::of(name, memory, key, test).encode();
            table.take_changed(|id, key, state| {
                value.0.clear();
                value.0.extend_from_slice(&HEAD);
                state.write(|| open.of_key(id), &mut value);
                open.is_saved(id);
                changes.push(Change { key: record(key), value: Some(value.0.clone()) });
            });
            changes.extend(table.take_removed().map(|key| Change { key: record(&key), value: None }));
        }
    }

    /// Takes one record of a snapshot; none if it is not what this version writes.
    pub(crate) fn restore(&mut self, key: &StateKey<'_>, value: &[u8]) -> Option<()> {
        if key.part != StatePart::Present || !value.starts_with(&HEAD) {
            return None;
        }
        let mut state = KeyState::read(&mut Reader(value.get(HEAD.len()..)?))?;
        let Keys { table, open } = &mut self.keys[usize::from(key.test)];
        let id = table.id(key.key)?;
        for (pane, count, sample) in state.take_open(self.closed.unwrap_or(i64::MIN)) {
            // Events that came late are told apart by rules that learn alone.
            open.restore(pane, id, &Counted { count, late: 0, sample: sample.by_ref() });
        }
        // The rule may have changed: each key is evaluated once.
        let next = self.closed.map(|closed| closed.saturating_add(self.threshold.pane_ms));
        let next = next.unwrap_or_else(|| state.wakes(&self.threshold, i64::MIN));
        *table.get_mut(id)? = state;
        table.is_stored(id);
        table.timers.wake(id, timer(next));
        Some(())
    }
}

/// The end of a pane, in milliseconds since 1970, as the time of a timer: a pane is whole seconds. None for what is
/// beyond the year 2106: nothing that happens is.
fn timer(at: i64) -> Option<u32> {
    u32::try_from(at.div_euclid(1_000).max(1)).ok()
}
