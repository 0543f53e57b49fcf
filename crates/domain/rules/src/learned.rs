//! A rule whose panes are minutes: its keys, and which of them a closed minute concerns.
//!
//! Closing walks keys that were touched, that fire, or whose time has come; never all of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use event::{Alert, Signal};

use crate::codec::{Reader, Writer};
use crate::evaluator::broken::{BrokenChange, BrokenMinute};
use crate::evaluator::drift::DriftMinute;
use crate::evaluator::profile::Profile;
use crate::evaluator::silence::SilenceChange;
use crate::evaluator::spike::SpikeChange;
use crate::evaluator::{Evaluator, KeyState, gap};
use crate::key_table::KeyTable;
use crate::observation::FACET;
use crate::open_minute::OpenMinute;
use crate::pane::{MOST_BYTES, Pane, Part};
use crate::sample::Sample;
use crate::state::{Change, StateKey, StatePart};
use crate::told::Teller;
use crate::{Expectations, Glob};

/// Length of a pane: a minute.
pub(crate) const PANE_MS: i64 = 60_000;
/// The version of a key's record, behind its kind.
const VERSION: u8 = 1;

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// Its minute was open.
    InTime,
    /// Its minute had closed.
    Late,
    /// Its key has no room for another facet: it counts with the rest, or is left out.
    NotToldApart,
}

/// The keys of production data, or of test data.
#[derive(Default)]
struct Keys {
    table: KeyTable<KeyState>,
    /// The event that the last alert of a key named, or the last one that came: of keys that may have something to
    /// say of it.
    samples: hashbrown::HashMap<u32, Sample>,
    /// Keys that have no profile any more, and had one in some snapshot.
    forgotten: HashSet<u32>,
    /// Minute → keys with events in it, of the minutes that have not closed.
    open: BTreeMap<i64, OpenMinute>,
}

/// A rule whose panes are minutes.
pub(crate) struct LearnedRule {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What its keys have learned is kept under this: a rule that asks for more or less keeps it.
    pub(crate) memory: String,
    evaluator: Evaluator,
    teller: Teller,
    expectations: Arc<Expectations>,
    /// The end of the last minute that was evaluated, in minutes since 1970.
    closed: Option<i64>,
    keys: [Keys; 2],
    /// Profiles that were restored and wait for the rest of their key.
    profiles: HashMap<(bool, String), Profile>,
    /// Keys that were restored and wait for their profile.
    restored: Vec<(bool, String, Vec<u8>)>,
}

impl LearnedRule {
    /// The rule, if its panes are minutes.
    pub(crate) fn of(rule: &crate::Rule, expectations: &Arc<Expectations>) -> Option<Self> {
        Some(Self {
            name: rule.name().to_owned(),
            version: rule.version().to_owned(),
            memory: rule.memory(),
            evaluator: Evaluator::of(rule.trigger()?)?,
            teller: Teller::of(rule),
            expectations: Arc::clone(expectations),
            closed: None,
            keys: Default::default(),
            profiles: HashMap::new(),
            restored: Vec::new(),
        })
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.teller.shadow
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.keys.iter().map(|keys| keys.table.len()).sum()
    }

    /// How many keys a snapshot would write now.
    pub(crate) fn unsaved(&self) -> usize {
        self.keys.iter().map(|keys| keys.table.unsaved()).sum()
    }

    /// What has passed, in milliseconds, after a restart.
    pub(crate) fn closed_at(&mut self, passed: Option<i64>) {
        self.closed = passed.map(|passed| passed.div_euclid(PANE_MS));
    }

    /// Adds a signal.
    pub(crate) fn add(&mut self, lane: u16, signal: &Signal<'_>) -> Added {
        let minute = signal.pane.0.max(0) / PANE_MS;
        let in_time = self.closed.is_none_or(|closed| minute >= closed);
        let minute = match self.closed {
            // A lane that was left out still proves that a key speaks.
            Some(closed) if self.evaluator.takes_late_minutes() => minute.max(closed),
            _ if !in_time => return Added::Late,
            _ => minute,
        };
        let keys = &mut self.keys[usize::from(signal.test)];
        let id = keys.id(signal.key.as_ref(), &self.evaluator);
        keys.table.touch(id);
        let told_apart = if self.evaluator.only_counts() {
            let of_minute = keys.open.entry(minute).or_default();
            match of_minute.get_mut(id) {
                Some(pane) => pane.count(lane, signal),
                None => of_minute.insert(id, Pane::new(Part::counted(lane, signal))),
            }
            true
        } else {
            let room = MOST_BYTES.saturating_sub(keys.open_bytes(id));
            let rest = self.evaluator.rest(signal.attributes.get(FACET));
            let of_minute = keys.open.entry(minute).or_default();
            match of_minute.get_mut(id) {
                Some(pane) => pane.add(lane, signal, room, rest),
                None => {
                    let pane = Some(Pane::new(Part::of(lane, signal))).filter(|pane| pane.bytes() <= room);
                    let fits = pane.is_some();
                    if let Some(pane) = pane.or_else(|| Pane::of_rest(lane, signal, rest)) {
                        of_minute.insert(id, pane);
                    }
                    fits
                }
            }
        };
        match (told_apart, in_time) {
            (false, _) => Added::NotToldApart,
            (true, true) => Added::InTime,
            (true, false) => Added::Late,
        }
    }

    /// Evaluates every minute that ends by `passed` and was not evaluated yet.
    pub(crate) fn close(&mut self, passed: i64, mut tell: impl FnMut(Alert<'static>)) {
        let to = passed.div_euclid(PANE_MS);
        if self.closed.is_some_and(|closed| closed >= to) {
            return;
        }
        self.closed = Some(to);
        let mut keys = std::mem::take(&mut self.keys);
        for (test, keys) in [false, true].into_iter().zip(&mut keys) {
            while let Some(minute) = keys.open.first_key_value().map(|(minute, _)| *minute).filter(|at| *at < to) {
                for (id, pane) in keys.open.remove(&minute).unwrap_or_default().into_panes() {
                    self.walk(keys, id, test, minute, Some(pane), &mut tell);
                }
            }
            while let Some(id) = keys.table.due(timer(to).unwrap_or(u32::MAX)) {
                self.walk(keys, id, test, to, None, &mut tell);
            }
        }
        self.keys = keys;
    }

    /// Takes a closed minute of a key, or walks it up to the end `minute` of a minute: nothing came since its last one.
    fn walk(
        &self,
        keys: &mut Keys,
        id: u32,
        test: bool,
        minute: i64,
        pane: Option<Pane>,
        tell: &mut impl FnMut(Alert<'static>),
    ) {
        // What is counted for the key's links has its own records.
        let counted = match (&self.evaluator, &pane) {
            (Evaluator::Gap(rule), Some(pane)) => self.count(keys, rule, id, minute, pane),
            _ => (0, 0),
        };
        let Keys { table, samples, forgotten, .. } = keys;
        let Some(slot) = table.get_mut(id) else { return };
        let (key, state) = (&*slot.key, &mut slot.state);
        let had_profile = state.has_profile();
        match (&self.evaluator, &mut *state) {
            (Evaluator::Spike { rule, during_launches }, KeyState::Spike(state)) => {
                let planned = if *during_launches { Vec::new() } else { self.expectations.planned(key) };
                let (count, mut sample) = pane
                    .map(Pane::only)
                    .map_or((0, None), |part| (part.count.saturating_sub(part.late), Some(part.sample)));
                let mut changes = Vec::new();
                if count > 0 {
                    state.take(rule, minute, count, &planned, &mut |change| changes.push(change));
                } else {
                    state.walk(rule, minute - 1, &planned, &mut |change| changes.push(change));
                }
                for change in changes {
                    match change {
                        SpikeChange::Fired { .. } => {
                            let sample = sample.take().and_then(|sample| {
                                samples.insert(id, sample);
                                samples.get(&id)
                            });
                            tell(self.teller.spike(key, test, sample, change));
                        }
                        SpikeChange::Resolved { .. } => {
                            tell(self.teller.spike(key, test, samples.remove(&id).as_ref(), change));
                        }
                    }
                }
            }
            (Evaluator::Silence { .. }, KeyState::Silence(state)) => {
                let Some(rule) = self.evaluator.silence(key, &self.expectations) else { return };
                let mut changes = Vec::new();
                let (mut before, mut present) = (None, None);
                match pane.map(Pane::only) {
                    Some(part) => {
                        state.take(&rule, minute, part.count, &mut |change| changes.push(change));
                        (before, present) = (samples.remove(&id), Some(part.sample));
                    }
                    None => state.walk(&rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    let present = present.as_ref().or_else(|| samples.get(&id));
                    // What was said before this minute is about the events before it.
                    let sample = match change {
                        SilenceChange::Fired { trickle: false, .. } => before.as_ref().or(present),
                        _ => present,
                    };
                    tell(self.teller.silence(key, test, sample, change));
                }
                // A key that does not speak has nothing to say of its events.
                if !state.is_watched_by(&rule) {
                    samples.remove(&id);
                } else if let Some(present) = present {
                    samples.insert(id, present);
                }
            }
            (Evaluator::Broken(rule), KeyState::Broken(state)) => {
                let mut changes = Vec::new();
                match &pane {
                    Some(pane) => {
                        let (seen, named) = BrokenMinute::of(pane);
                        state.take(rule, minute, seen, &mut |change| changes.push(change));
                        if changes.iter().any(|change| matches!(change, BrokenChange::Fired { .. })) {
                            samples.insert(id, pane.sample(named));
                        }
                    }
                    None => state.walk(rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    tell(self.teller.broken(key, test, samples.get(&id), rule, change));
                }
            }
            (Evaluator::Drift(rule), KeyState::Drift(state)) => {
                let mut changes = Vec::new();
                match &pane {
                    Some(pane) => {
                        state.take(rule, minute, &DriftMinute::of(pane), &mut |change| changes.push(change));
                        if let Some(new) = pane.parts().find(|part| state.is_new(&part.facet)) {
                            samples.insert(id, new.sample.clone());
                        }
                    }
                    None => state.walk(rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    tell(self.teller.drift(key, test, samples.get(&id), rule, change));
                }
            }
            (Evaluator::Gap(rule), KeyState::Gap(state)) => {
                let mut changes = Vec::new();
                state.walk(rule, minute, &mut |change| changes.push(change));
                if let Some(pane) = &pane {
                    state.take(rule, minute, counted.0, counted.1);
                    samples.insert(id, pane.sample(0));
                }
                for change in changes {
                    tell(self.teller.gap(key, test, samples.get(&id), rule, change));
                }
            }
            (Evaluator::FirstSeen(rule), KeyState::FirstSeen(state)) => {
                for part in pane.iter().flat_map(Pane::parts) {
                    if state.take(rule, minute + 1, &part.facet) {
                        tell(self.teller.first_seen(rule, test, minute, part));
                    }
                }
            }
            _ => {}
        }
        if had_profile && !state.has_profile() {
            forgotten.insert(id);
        }
        let (is_over, wakes) = (state.is_over(), self.evaluator.wakes(key, state, &self.expectations));
        if is_over && !keys.is_open(id) {
            keys.samples.remove(&id);
            return keys.table.remove(id);
        }
        keys.table.touch(id);
        keys.table.wake(id, wakes.and_then(timer));
    }

    /// What a minute adds to a key on delivery gaps: by how much the counters of its links grew, and what arrived.
    fn count(&self, keys: &mut Keys, rule: &gap::GapRule, id: u32, minute: i64, pane: &Pane) -> (u64, u64) {
        let Some(slot) = keys.table.get_mut(id) else { return (0, 0) };
        let KeyState::Gap(state) = &slot.state else { return (0, 0) };
        let (key, before) = (slot.key.clone(), state.arrived(rule, minute));
        let mut sum = (0_u64, 0_u64);
        for part in pane.parts() {
            if part.facet.is_empty() {
                // Its key had no room to tell it apart: it has arrived.
                sum.1 = sum.1.saturating_add(u64::from(part.count));
                continue;
            }
            let counter = keys.id(&gap::counter_key(&key, &part.facet), &self.evaluator);
            let Some(slot) = keys.table.get_mut(counter) else { continue };
            let KeyState::Counter(state) = &mut slot.state else { continue };
            let (counted, arrived) = state.take(minute, part.count, part.counters, before);
            sum = (sum.0.saturating_add(counted), sum.1.saturating_add(arrived));
            keys.table.touch(counter);
        }
        sum
    }

    /// What has changed since the last call.
    pub(crate) fn snapshot(&mut self, changes: &mut Vec<Change>) {
        for (test, keys) in [false, true].into_iter().zip(&mut self.keys) {
            let (name, memory) = (&self.name, &self.memory);
            let Keys { table, samples, forgotten, open } = keys;
            let record = |key: &str, part| StateKey::of(name, memory, key, test).part(part).encode();
            table.take_changed(|id, slot| {
                let state = &mut slot.state;
                let mut value = Writer(vec![state.kind(), VERSION]);
                state.write(&mut value);
                let sample = samples.get(&id);
                value.byte(u8::from(sample.is_some()));
                if let Some(sample) = sample {
                    sample.write(&mut value);
                }
                let open: Vec<(&i64, &Pane)> =
                    open.iter().filter_map(|(minute, panes)| Some((minute, panes.get(id)?))).collect();
                value.u32(
                    u32::try_from(open.iter().map(|(_, pane)| pane.parts().count()).sum::<usize>()).unwrap_or(u32::MAX),
                );
                let only_counts = matches!(state, KeyState::Spike(_) | KeyState::Silence(_));
                for (minute, part) in open.into_iter().flat_map(|(at, pane)| pane.parts().map(move |part| (at, part))) {
                    value.i64(*minute);
                    if only_counts {
                        value.u32(part.count);
                        value.u32(part.late);
                        part.sample.write(&mut value);
                    } else {
                        part.write(&mut value);
                    }
                }
                changes.push(Change { key: record(&slot.key, StatePart::Present), value: Some(value.0) });
                let kind = state.kind();
                let was_forgotten = forgotten.remove(&id);
                match state.profile_mut() {
                    Some(profile) if profile.unsaved => {
                        let mut value = Writer(vec![kind, VERSION]);
                        profile.write(&mut value);
                        profile.unsaved = false;
                        changes.push(Change { key: record(&slot.key, StatePart::Profile), value: Some(value.0) });
                    }
                    None if was_forgotten => {
                        changes.push(Change { key: record(&slot.key, StatePart::Profile), value: None });
                    }
                    _ => {}
                }
            });
            let removed = table.take_removed();
            changes.extend(removed.map(|key| Change { key: record(&key, StatePart::Present), value: None }));
        }
    }

    /// Takes one record of a snapshot; none if it is not what this version writes.
    pub(crate) fn restore(&mut self, key: &StateKey<'_>, value: &[u8]) -> Option<()> {
        let mut from = Reader(value);
        let (kind, version) = (from.byte()?, from.byte()?);
        if version != VERSION {
            return None;
        }
        match key.part {
            StatePart::Profile => {
                let kinds = match self.evaluator {
                    Evaluator::Spike { .. } => b'S',
                    Evaluator::Silence { .. } => b'Q',
                    _ => return None,
                };
                if kind != kinds {
                    return None;
                }
                self.profiles.insert((key.test, key.key.to_owned()), Profile::read(&mut from)?);
            }
            // Most keys do not speak, and wait for nothing.
            StatePart::Present if self.evaluator.read(kind, &mut from, None).is_some() => {
                self.put_back(key.test, key.key, value, None)?;
            }
            StatePart::Present => self.restored.push((key.test, key.key.to_owned(), value.to_vec())),
        }
        Some(())
    }

    /// Puts keys and their profiles together, once all records are there. The key that cannot be read.
    pub(crate) fn restored(&mut self) -> Result<(), String> {
        for (test, key, value) in std::mem::take(&mut self.restored) {
            let profile = self.profiles.remove(&(test, key.clone()));
            self.put_back(test, &key, &value, profile).ok_or(key)?;
        }
        for (test, key) in std::mem::take(&mut self.profiles).into_keys() {
            let keys = &mut self.keys[usize::from(test)];
            keys.forgotten.extend(keys.table.find(&key));
        }
        Ok(())
    }

    fn put_back(&mut self, test: bool, key: &str, value: &[u8], profile: Option<Profile>) -> Option<()> {
        let mut from = Reader(value);
        let (kind, _) = (from.byte()?, from.byte()?);
        let state = self.evaluator.read(kind, &mut from, profile)?;
        let sample = if from.byte()? == 1 { Some(Sample::read(&mut from)?) } else { None };
        let wakes = self.evaluator.wakes(key, &state, &self.expectations);
        let only_counts = matches!(state, KeyState::Spike(_) | KeyState::Silence(_));
        let names_events = self.evaluator.names_events(key, &state, &self.expectations);
        let keys = &mut self.keys[usize::from(test)];
        let id = keys.id(key, &self.evaluator);
        let slot = keys.table.get_mut(id)?;
        (slot.state, slot.stored) = (state, true);
        if let Some(sample) = sample.filter(|_| names_events) {
            keys.samples.insert(id, sample);
        }
        for _ in 0..from.u32()? {
            let minute = from.i64()?;
            let part = if only_counts {
                let (count, late) = (from.u32()?, from.u32()?);
                Part { facet: "".into(), count, late, counters: None, sample: Sample::read(&mut from)? }
            } else {
                Part::read(&mut from)?
            };
            let of_minute = keys.open.entry(minute).or_default();
            match of_minute.get_mut(id) {
                Some(pane) => pane.push(part),
                None => of_minute.insert(id, Pane::new(part)),
            }
        }
        keys.table.wake(id, wakes.and_then(timer));
        Some(())
    }
}

/// The end of a minute, since 1970, as the time of a timer; none for what no minute that comes will reach.
fn timer(minute: i64) -> Option<u32> {
    u32::try_from(minute.max(1)).ok()
}

impl Keys {
    fn id(&mut self, key: &str, evaluator: &Evaluator) -> u32 {
        self.table.id(key, || evaluator.fresh(key))
    }

    /// What the minutes of a key that have not closed take in its record, in bytes.
    fn open_bytes(&self, id: u32) -> usize {
        self.open.values().filter_map(|panes| panes.get(id)).map(Pane::bytes).sum()
    }

    /// Whether a minute that has not closed has events of a key.
    fn is_open(&self, id: u32) -> bool {
        self.open.values().any(|panes| panes.get(id).is_some())
    }
}

impl Expectations {
    /// The planned launches of a link, as half-open ranges of minutes.
    fn planned(&self, key: &str) -> Vec<(i64, i64)> {
        let of_link = self.launches.iter().filter(|launch| launch.links.iter().any(|link: &Glob| link.matches(key)));
        of_link.map(|launch| (launch.from_ms.div_euclid(PANE_MS), -(-launch.until_ms).div_euclid(PANE_MS))).collect()
    }

    /// After how many minutes a source is too quiet, where its configuration says it.
    pub(crate) fn quiet_after(&self, source: &str) -> Option<i64> {
        self.quiet_after_minutes.get(source).copied()
    }
}
