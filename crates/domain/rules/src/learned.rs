//! A rule whose panes are minutes: its keys, and which of them a closed minute concerns.
//!
//! Closing walks keys that were touched, that fire, or whose time has come; never all of them.

use std::collections::{BTreeMap, HashMap};
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

/// A key.
struct Known {
    state: KeyState,
    /// Its profile is in some snapshot.
    profile_stored: bool,
    /// The event that the last alert named, or the last one that came.
    sample: Option<Box<Sample>>,
}

/// The keys of production data, or of test data.
#[derive(Default)]
struct Keys {
    table: KeyTable<Known>,
    /// Minute → keys with events in it, of the minutes that have not closed.
    open: BTreeMap<i64, HashMap<u32, Pane>>,
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
        let room =
            if self.evaluator.only_counts() { usize::MAX } else { MOST_BYTES.saturating_sub(keys.open_bytes(id)) };
        let rest = self.evaluator.rest(signal.attributes.get(FACET));
        let of_minute = keys.open.entry(minute).or_default();
        let told_apart = match of_minute.get_mut(&id) {
            Some(pane) => pane.add(lane, signal, room, rest),
            None => {
                let pane = Some(Pane::new(Part::of(lane, signal))).filter(|pane| pane.bytes() <= room);
                let fits = pane.is_some();
                if let Some(pane) = pane.or_else(|| Pane::of_rest(lane, signal, rest)) {
                    of_minute.insert(id, pane);
                }
                fits
            }
        };
        keys.table.touch(id);
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
                for (id, pane) in keys.open.remove(&minute).unwrap_or_default() {
                    self.walk(keys, id, test, minute, Some(pane), &mut tell);
                }
            }
            while let Some(id) = keys.table.due(to) {
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
        let Some(slot) = keys.table.get_mut(id) else { return };
        let (key, known) = (&*slot.key, &mut slot.state);
        match (&self.evaluator, &mut known.state) {
            (Evaluator::Spike { rule, during_launches }, KeyState::Spike(state)) => {
                let planned = if *during_launches { Vec::new() } else { self.expectations.planned(key) };
                let (count, sample) = pane
                    .map(Pane::only)
                    .map_or((0, None), |part| (part.count.saturating_sub(part.late), Some(Box::new(part.sample))));
                let mut changes = Vec::new();
                if count > 0 {
                    state.take(rule, minute, count, &planned, &mut |change| changes.push(change));
                } else {
                    state.walk(rule, minute - 1, &planned, &mut |change| changes.push(change));
                }
                for change in changes {
                    if let SpikeChange::Fired { .. } = change {
                        known.sample.clone_from(&sample);
                    }
                    tell(self.teller.spike(key, test, known.sample.as_deref(), change));
                }
            }
            (Evaluator::Silence { .. }, KeyState::Silence(state)) => {
                let Some(rule) = self.evaluator.silence(key, &self.expectations) else { return };
                let mut changes = Vec::new();
                let mut before = None;
                match pane.map(Pane::only) {
                    Some(part) => {
                        state.take(&rule, minute, part.count, &mut |change| changes.push(change));
                        before = known.sample.replace(Box::new(part.sample));
                    }
                    None => state.walk(&rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    // What was said before this minute is about the events before it.
                    let sample = match change {
                        SilenceChange::Fired { trickle: false, .. } => before.as_deref().or(known.sample.as_deref()),
                        _ => known.sample.as_deref(),
                    };
                    tell(self.teller.silence(key, test, sample, change));
                }
            }
            (Evaluator::Broken(rule), KeyState::Broken(state)) => {
                let mut changes = Vec::new();
                match &pane {
                    Some(pane) => {
                        let (seen, named) = BrokenMinute::of(pane);
                        state.take(rule, minute, seen, &mut |change| changes.push(change));
                        if changes.iter().any(|change| matches!(change, BrokenChange::Fired { .. })) {
                            known.sample = Some(Box::new(pane.sample(named)));
                        }
                    }
                    None => state.walk(rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    tell(self.teller.broken(key, test, known.sample.as_deref(), rule, change));
                }
            }
            (Evaluator::Drift(rule), KeyState::Drift(state)) => {
                let mut changes = Vec::new();
                match &pane {
                    Some(pane) => {
                        state.take(rule, minute, &DriftMinute::of(pane), &mut |change| changes.push(change));
                        if let Some(new) = pane.parts().find(|part| state.is_new(&part.facet)) {
                            known.sample = Some(Box::new(new.sample.clone()));
                        }
                    }
                    None => state.walk(rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    tell(self.teller.drift(key, test, known.sample.as_deref(), rule, change));
                }
            }
            (Evaluator::Gap(rule), KeyState::Gap(state)) => {
                let mut changes = Vec::new();
                state.walk(rule, minute, &mut |change| changes.push(change));
                if let Some(pane) = &pane {
                    state.take(rule, minute, counted.0, counted.1);
                    known.sample = Some(Box::new(pane.sample(0)));
                }
                for change in changes {
                    tell(self.teller.gap(key, test, known.sample.as_deref(), rule, change));
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
        if known.state.is_over() && !keys.is_open(id) {
            return keys.table.remove(id);
        }
        let Some(slot) = keys.table.get_mut(id) else { return };
        let wakes = self.evaluator.wakes(&slot.key, &slot.state.state, &self.expectations);
        keys.table.touch(id);
        keys.table.wake(id, wakes);
    }

    /// What a minute adds to a key on delivery gaps: by how much the counters of its links grew, and what arrived.
    fn count(&self, keys: &mut Keys, rule: &gap::GapRule, id: u32, minute: i64, pane: &Pane) -> (u64, u64) {
        let Some(slot) = keys.table.get_mut(id) else { return (0, 0) };
        let KeyState::Gap(state) = &slot.state.state else { return (0, 0) };
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
            let KeyState::Counter(state) = &mut slot.state.state else { continue };
            let (counted, arrived) = state.take(minute, part.count, part.counters, before);
            sum = (sum.0.saturating_add(counted), sum.1.saturating_add(arrived));
            keys.table.touch(counter);
        }
        sum
    }

    /// What has changed since the last call.
    pub(crate) fn snapshot(&mut self, changes: &mut Vec<Change>) {
        for (test, keys) in [false, true].into_iter().zip(&mut self.keys) {
            let (name, memory, open) = (&self.name, &self.memory, &keys.open);
            let record = |key: &str, part| StateKey::of(name, memory, key, test).part(part).encode();
            keys.table.take_changed(|id, slot| {
                let known = &mut slot.state;
                let mut value = Writer(vec![known.state.kind(), VERSION]);
                known.state.write(&mut value);
                value.byte(u8::from(known.sample.is_some()));
                if let Some(sample) = &known.sample {
                    sample.write(&mut value);
                }
                let open: Vec<(&i64, &Pane)> =
                    open.iter().filter_map(|(minute, panes)| Some((minute, panes.get(&id)?))).collect();
                value.u32(
                    u32::try_from(open.iter().map(|(_, pane)| pane.parts().count()).sum::<usize>()).unwrap_or(u32::MAX),
                );
                let only_counts = matches!(known.state, KeyState::Spike(_) | KeyState::Silence(_));
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
                let kind = known.state.kind();
                match known.state.profile_mut() {
                    Some(profile) if profile.unsaved || !known.profile_stored => {
                        let mut value = Writer(vec![kind, VERSION]);
                        profile.write(&mut value);
                        (profile.unsaved, known.profile_stored) = (false, true);
                        changes.push(Change { key: record(&slot.key, StatePart::Profile), value: Some(value.0) });
                    }
                    None if known.profile_stored => {
                        known.profile_stored = false;
                        changes.push(Change { key: record(&slot.key, StatePart::Profile), value: None });
                    }
                    _ => {}
                }
            });
            let removed = keys.table.take_removed();
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
        self.profiles.clear();
        Ok(())
    }

    fn put_back(&mut self, test: bool, key: &str, value: &[u8], profile: Option<Profile>) -> Option<()> {
        let mut from = Reader(value);
        let profile_stored = profile.is_some();
        let (kind, _) = (from.byte()?, from.byte()?);
        let state = self.evaluator.read(kind, &mut from, profile)?;
        let sample = if from.byte()? == 1 { Some(Box::new(Sample::read(&mut from)?)) } else { None };
        let wakes = self.evaluator.wakes(key, &state, &self.expectations);
        let only_counts = matches!(state, KeyState::Spike(_) | KeyState::Silence(_));
        let keys = &mut self.keys[usize::from(test)];
        let id = keys.id(key, &self.evaluator);
        let slot = keys.table.get_mut(id)?;
        (slot.state, slot.stored) = (Known { state, sample, profile_stored }, true);
        for _ in 0..from.u32()? {
            let minute = from.i64()?;
            let part = if only_counts {
                let (count, late) = (from.u32()?, from.u32()?);
                Part { facet: "".into(), count, late, counters: None, sample: Sample::read(&mut from)? }
            } else {
                Part::read(&mut from)?
            };
            match keys.open.entry(minute).or_default().entry(id) {
                std::collections::hash_map::Entry::Occupied(mut pane) => pane.get_mut().push(part),
                std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(Pane::new(part))),
            }
        }
        keys.table.wake(id, wakes);
        Some(())
    }
}

impl Keys {
    fn id(&mut self, key: &str, evaluator: &Evaluator) -> u32 {
        self.table.id(key, || Known { state: evaluator.fresh(key), profile_stored: false, sample: None })
    }

    /// What the minutes of a key that have not closed take in its record, in bytes.
    fn open_bytes(&self, id: u32) -> usize {
        self.open.values().filter_map(|panes| panes.get(&id)).map(Pane::bytes).sum()
    }

    /// Whether a minute that has not closed has events of a key.
    fn is_open(&self, id: u32) -> bool {
        self.open.values().any(|panes| panes.contains_key(&id))
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
