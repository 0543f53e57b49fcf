//! The keys of a rule whose panes are minutes as records of the state, and back.

use super::{Keys, LearnedRule, VERSION, timer};
use crate::codec::{Reader, Writer};
use crate::counted_minute::Counted;
use crate::evaluator::profile::Profile;
use crate::evaluator::{Evaluator, KeyState};
use crate::pane::{Pane, Part};
use crate::sample::Sample;
use crate::state::{Change, StateKey, StatePart};

impl LearnedRule {
    /// What has changed since the last call.
    pub(crate) fn snapshot(&mut self, changes: &mut Vec<Change>) {
        // Written here first: what is kept until it is sent takes what it needs.
        let mut value = Writer::default();
        for (test, keys) in [false, true].into_iter().zip(&mut self.keys) {
            let (name, memory, evaluator) = (&self.name, &self.memory, &self.evaluator);
            let Keys { table, states, samples, forgotten, open, counted, .. } = keys;
            let record = |key: &str, part| StateKey::of(name, memory, key, test).part(part).encode();
            table.take_changed(|id, key, kept| {
                let Some(mut state) = states.take(evaluator, key, *kept) else { return };
                value.0.clear();
                value.0.extend_from_slice(&[state.kind(), VERSION]);
                state.write(&mut value);
                let sample = samples.get(&id);
                value.byte(u8::from(sample.is_some()));
                if let Some(sample) = sample {
                    sample.write(&mut value);
                }
                if evaluator.only_counts() {
                    value.u32(u32::try_from(counted.of_key(id).count()).unwrap_or(u32::MAX));
                    for (minute, one) in counted.of_key(id) {
                        value.i64(minute);
                        value.u32(u32::try_from(one.count).unwrap_or(u32::MAX));
                        value.u32(one.late);
                        one.sample.write(&mut value);
                    }
                    counted.is_saved(id);
                } else {
                    let open = || open.iter().filter_map(|(minute, panes)| Some((minute, panes.get(id)?)));
                    let parts: usize = open().map(|(_, pane)| pane.parts().count()).sum();
                    value.u32(u32::try_from(parts).unwrap_or(u32::MAX));
                    for (minute, part) in open().flat_map(|(at, pane)| pane.parts().map(move |part| (at, part))) {
                        value.i64(*minute);
                        part.write(&mut value);
                    }
                }
                changes.push(Change { key: record(key, StatePart::Present), value: Some(value.0.clone()) });
                let kind = state.kind();
                let was_forgotten = forgotten.remove(&id);
                match state.profile_mut() {
                    Some(profile) if profile.unsaved => {
                        value.0.clear();
                        value.0.extend_from_slice(&[kind, VERSION]);
                        profile.write(&mut value);
                        profile.unsaved = false;
                        changes.push(Change { key: record(key, StatePart::Profile), value: Some(value.0.clone()) });
                    }
                    None if was_forgotten => {
                        changes.push(Change { key: record(key, StatePart::Profile), value: None });
                    }
                    _ => {}
                }
                states.put(kept, state);
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
            StatePart::Present => match self.evaluator.read(kind, &mut from, None) {
                Some(state) => self.put_back(key.test, key.key, state, from)?,
                None => self.restored.push((key.test, key.key.to_owned(), value.to_vec())),
            },
        }
        Some(())
    }

    /// Puts keys and their profiles together, once all records are there. The key that cannot be read.
    pub(crate) fn restored(&mut self) -> Result<(), String> {
        for (test, key, value) in std::mem::take(&mut self.restored) {
            let profile = self.profiles.remove(&(test, key.clone()));
            let mut from = Reader(value.get(2..).unwrap_or_default());
            let kind = value.first().copied().unwrap_or_default();
            let state = self.evaluator.read(kind, &mut from, profile);
            state.and_then(|state| self.put_back(test, &key, state, from)).ok_or(key)?;
        }
        for (test, key) in std::mem::take(&mut self.profiles).into_keys() {
            let keys = &mut self.keys[usize::from(test)];
            keys.forgotten.extend(keys.table.find(&key));
        }
        Ok(())
    }

    /// Puts a state back, and what `from` still says of its key.
    fn put_back(&mut self, test: bool, key: &str, state: KeyState, mut from: Reader<'_>) -> Option<()> {
        let sample = if from.byte()? == 1 { Some(Sample::read(&mut from)?) } else { None };
        let wakes = self.evaluator.wakes(key, &state, &self.expectations);
        let names_events = self.evaluator.names_events(key, &state, &self.expectations);
        let keys = &mut self.keys[usize::from(test)];
        let id = keys.table.id(key)?;
        keys.table.is_stored(id);
        keys.states.put(keys.table.get_mut(id)?, state);
        if let Some(sample) = sample.filter(|_| names_events) {
            keys.samples.insert(id, sample);
        }
        for _ in 0..from.u32()? {
            let minute = from.i64()?;
            if self.evaluator.only_counts() {
                let (count, late, sample) = (from.u32()?.into(), from.u32()?, Sample::read(&mut from)?);
                keys.counted.restore(minute, id, &Counted { count, late, sample: sample.by_ref() });
                continue;
            }
            let part = Part::read(&mut from)?;
            let of_minute = keys.open.entry(minute).or_default();
            match of_minute.get_mut(id) {
                Some(pane) => pane.push(part),
                None => of_minute.insert(id, Pane::new(part)),
            }
        }
        keys.table.timers.wake(id, wakes.and_then(timer));
        Some(())
    }
}
