//! The keys of a rule by name: what is known of each, which have changed, and when each must be walked.
//!
//! A key costs 4 bytes beside its state, 23 to 34 in the index, and its name.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use hashbrown::DefaultHashBuilder;

use crate::key_index::KeyIndex;
use crate::names::{Name, Names};
use crate::timers::Timers;

/// Fewer places without a key than that are left as they are.
const FEW: usize = 1_024;
/// A key that is gone has no new id.
pub(crate) const GONE: u32 = u32::MAX;

/// How many keys a rule knows, of production data and of test data each, in one partition of `signals`. Beyond it a key
/// that is not known is passed over; those that are known are not touched by it. It is a matter of the keys alone: a
/// detector that was restored passes the same ones over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLimit {
    /// So many keys. 4 million: a million links over one partition, with their counters and their growth of years. They
    /// take 0.4 GB where keys are known and do not speak, and up to 7 GB where all of them do.
    pub keys: usize,
    /// And so many bytes of names, at most 1 GiB. 512 MiB: 128 bytes a key.
    pub name_bytes: usize,
}

impl Default for KeyLimit {
    fn default() -> Self {
        Self { keys: 4_000_000, name_bytes: 512 << 20 }
    }
}

/// A key.
struct Slot<S> {
    name: Name,
    state: S,
}

/// Keys and what is known of them.
pub(crate) struct KeyTable<S> {
    /// Keyed anew for each table: names come from outside.
    hasher: DefaultHashBuilder,
    index: KeyIndex,
    names: Names,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    pub(crate) timers: Timers,
    changed: Vec<u32>,
    /// Keys of the last snapshot that are gone.
    removed: HashSet<Box<str>>,
    limit: KeyLimit,
    /// How often a key was passed over since the last question.
    passed_over: u64,
}

/// Where the key of a signal probably is: its hash was looked up, its name was not compared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Likely {
    tag: u32,
    /// Its place in the index; beyond the last one if there is none.
    at: u32,
}

/// Where a key is in the index, until another one comes or goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    at: usize,
    pub(crate) id: u32,
    /// Where it was counted last.
    pub(crate) counted: u32,
}

/// A hash of ids, which are small numbers without gaps: one product spreads them over the bits that a table looks at.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spread(u64);

impl BuildHasher for Spread {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = spread(self.0 << 8 ^ u64::from(id));
    }
}

/// The hash of an id.
pub(crate) fn spread(id: u64) -> u64 {
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl<S> Default for KeyTable<S> {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            index: KeyIndex::default(),
            names: Names::default(),
            slots: Vec::new(),
            free: Vec::new(),
            timers: Timers::default(),
            changed: Vec::new(),
            removed: HashSet::new(),
            limit: KeyLimit::default(),
            passed_over: 0,
        }
    }
}

impl<S: Default> KeyTable<S> {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn limit(&mut self, limit: KeyLimit) {
        self.limit = limit;
    }

    /// How often a key was passed over since the last call, for want of room.
    pub(crate) fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }

    /// How many records a snapshot would write now, about.
    pub(crate) fn unsaved(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        let tag = self.tag(key.as_bytes());
        let at = self.index.find(tag, |place| self.names.is(place.name, key))?;
        self.index.get(at, tag).map(|place| place.id)
    }

    /// Looks the hash of a key up. Of several keys, one behind the other: so the processor fetches all of their places
    /// at once.
    pub(crate) fn likely(&self, key: &str) -> Likely {
        let tag = self.tag(key.as_bytes());
        Likely { tag, at: self.index.likely(tag).and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX) }
    }

    /// The key of a signal, which is made if it is not known; none if another one has no room.
    pub(crate) fn found(&mut self, likely: Likely, key: &str) -> Option<Found> {
        let (tag, at) = (likely.tag, likely.at as usize);
        // Another key may have come in between, and moved it.
        if let Some(place) = self.index.get(at, tag).filter(|place| self.names.is(place.name, key)) {
            return Some(Found { at, id: place.id, counted: place.counted });
        }
        if let Some(at) = self.index.find(tag, |place| self.names.is(place.name, key))
            && let Some(place) = self.index.get(at, tag)
        {
            return Some(Found { at, id: place.id, counted: place.counted });
        }
        if self.len() >= self.limit.keys || self.names.in_use().saturating_add(key.len()) > self.limit.name_bytes {
            self.passed_over = self.passed_over.saturating_add(1);
            return None;
        }
        self.add(tag, key)
    }

    /// The id of a key that a rule keeps besides those of signals, which is made if it is not known; none if it has no
    /// room.
    pub(crate) fn beside(&mut self, key: &str) -> Option<u32> {
        if let Some(id) = self.find(key) {
            return Some(id);
        }
        if !self.has_room_beside(1, key.len()) {
            self.passed_over = self.passed_over.saturating_add(1);
            return None;
        }
        self.add(self.tag(key.as_bytes()), key).map(|found| found.id)
    }

    /// Notes where a key is counted now.
    pub(crate) fn set_counted(&mut self, found: Found, counted: u32) {
        if found.counted != counted {
            self.index.set_counted(found.at, counted);
        }
    }

    /// The id of a key of a snapshot, which is made if it is not known. It was known, so the limit of now does not keep
    /// it out; none where no table could hold it.
    pub(crate) fn id(&mut self, key: &str) -> Option<u32> {
        let tag = self.tag(key.as_bytes());
        self.find(key).or_else(|| self.add(tag, key).map(|found| found.id))
    }

    fn add(&mut self, tag: u32, key: &str) -> Option<Found> {
        let mut name = self.names.add(key)?;
        // A key that is in the snapshot and comes back before the next one is still in it.
        name.set(Name::STORED, self.removed.remove(key));
        let slot = Slot { name, state: S::default() };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(Slot { name: Name::NONE, state: S::default() });
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.slots.get_mut(id as usize) {
            *place = slot;
        }
        Some(Found { at: self.index.insert(tag, id, name), id, counted: u32::MAX })
    }

    /// Half of the hash of a name.
    fn tag(&self, key: &[u8]) -> u32 {
        let mut hashing = self.hasher.build_hasher();
        hashing.write(key);
        (spread(hashing.finish()) >> 32) as u32
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut S> {
        let slot = self.slots.get_mut(id as usize).filter(|slot| !slot.name.is_none())?;
        Some(&mut slot.state)
    }

    /// A key's name, and what is known of it.
    pub(crate) fn named_mut(&mut self, id: u32) -> Option<(&str, &mut S)> {
        let slot = self.slots.get_mut(id as usize).filter(|slot| !slot.name.is_none())?;
        Some((self.names.get(slot.name), &mut slot.state))
    }

    /// A key's name.
    pub(crate) fn name(&self, id: u32) -> &str {
        let name = self.slots.get(id as usize).map(|slot| slot.name).filter(|name| !name.is_none());
        name.map(|name| self.names.get(name)).unwrap_or_default()
    }

    /// Whether there is room for so many more keys besides those of signals, whose names have so many bytes together.
    /// They are never forgotten, so a sixteenth of all room is left to keys of signals, which come and go.
    pub(crate) fn has_room_beside(&self, keys: usize, bytes: usize) -> bool {
        let limit = self.limit;
        // A name takes its length and what fills it up to a multiple of 4 bytes besides; a counter's has a separator.
        let bytes = bytes.saturating_add(keys.saturating_mul(16));
        self.len().saturating_add(keys) <= limit.keys - limit.keys / 16
            && self.names.in_use().saturating_add(bytes) <= limit.name_bytes - limit.name_bytes / 16
    }

    /// Marks a key as one that some snapshot has.
    pub(crate) fn is_stored(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize) {
            slot.name.set(Name::STORED, true);
        }
    }

    /// Marks a key as one that the next snapshot writes.
    pub(crate) fn touch(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(id as usize)
            && !slot.name.is_none()
            && !slot.name.set(Name::CHANGED, true)
        {
            self.changed.push(id);
        }
    }

    /// Forgets a key. A snapshot that has it loses it with the next one.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize).filter(|slot| !slot.name.is_none()) else { return };
        let name = std::mem::replace(&mut slot.name, Name::NONE);
        drop(std::mem::take(&mut slot.state));
        let tag = self.tag(self.names.bytes_of(name));
        if let Some(at) = self.index.find(tag, |place| place.id == id) {
            self.index.remove(at);
        }
        self.timers.wake(id, None);
        self.free.push(id);
        if name.has(Name::STORED) {
            self.removed.insert(self.names.get(name).into());
        }
        self.names.remove(name);
        if self.names.is_sparse() {
            self.names.pack(self.slots.iter_mut().map(|slot| &mut slot.name));
            for place in self.index.iter_mut() {
                place.name = self.slots.get(place.id as usize).map_or(Name::NONE, |slot| slot.name);
            }
        }
    }

    /// Gives the memory of keys that are gone back, once most places have none. What each id is from now on, by what it
    /// was; [`GONE`]: no key has it. As many keys have gone since the last time as are looked at.
    pub(crate) fn pack(&mut self) -> Option<Vec<u32>> {
        if self.free.len() <= FEW || self.free.len() <= self.slots.len() / 2 {
            return None;
        }
        let mut ids = vec![GONE; self.slots.len()];
        let mut left = Vec::with_capacity(self.len());
        for (slot, id) in
            std::mem::take(&mut self.slots).into_iter().zip(&mut ids).filter(|(slot, _)| !slot.name.is_none())
        {
            *id = u32::try_from(left.len()).unwrap_or(GONE);
            left.push(slot);
        }
        self.slots = left;
        self.free = Vec::new();
        let new = |id: u32| ids.get(id as usize).copied().unwrap_or(GONE);
        self.index.iter_mut().for_each(|place| place.id = new(place.id));
        self.index.shrink();
        self.timers.renumber(&ids);
        self.changed = self.changed.iter().map(|id| new(*id)).filter(|id| *id != GONE).collect();
        Some(ids)
    }

    /// What is known of each key.
    pub(crate) fn states_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.slots.iter_mut().filter(|slot| !slot.name.is_none()).map(|slot| &mut slot.state)
    }

    /// What it takes in memory, beside what states point to.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        let slots = self.slots.capacity() * size_of::<Slot<S>>();
        let ids = (self.free.capacity() + self.changed.capacity()) * size_of::<u32>();
        slots + ids + self.index.memory() + self.names.memory() + self.timers.memory()
    }

    /// Each key that has changed since the last call, which is stored from now on.
    pub(crate) fn take_changed(&mut self, mut each: impl FnMut(u32, &str, &mut S)) {
        for id in std::mem::take(&mut self.changed) {
            if let Some(slot) = self.slots.get_mut(id as usize)
                && !slot.name.is_none()
                && slot.name.set(Name::CHANGED, false)
            {
                each(id, self.names.get(slot.name), &mut slot.state);
                slot.name.set(Name::STORED, true);
            }
        }
    }

    /// The keys that are gone since the last call.
    pub(crate) fn take_removed(&mut self) -> impl Iterator<Item = Box<str>> {
        std::mem::take(&mut self.removed).into_iter()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking, in its setup too")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn add<S: Default>(keys: &mut KeyTable<S>, key: &str, state: S) -> u32 {
        let found = keys.found(keys.likely(key), key).unwrap();
        *keys.get_mut(found.id).unwrap() = state;
        found.id
    }

    #[test]
    fn a_key_that_is_gone_is_told_once_and_not_if_it_comes_back() {
        let mut keys: KeyTable<u8> = KeyTable::default();
        let id = add(&mut keys, "a", 1);
        keys.touch(id);
        keys.remove(id);
        assert_eq!((keys.len(), keys.take_removed().count()), (0, 0), "no snapshot has it");
        let id = add(&mut keys, "a", 2);
        keys.touch(id);
        keys.take_changed(|_, name, state| assert_eq!((name, *state), ("a", 2)));
        keys.timers.wake(id, Some(3));
        keys.remove(id);
        let again = add(&mut keys, "b", 3);
        assert_eq!((again, keys.timers.due(10)), (id, None), "the timer of the key before is off");
        assert_eq!(keys.take_removed().collect::<Vec<_>>(), ["a".into()]);
        let id = add(&mut keys, "c", 4);
        keys.touch(id);
        keys.take_changed(|_, _, _| ());
        keys.remove(id);
        let id = add(&mut keys, "c", 5);
        assert_eq!((keys.take_removed().count(), keys.slots[id as usize].name.has(Name::STORED)), (0, true));
    }

    #[test]
    fn a_slot_of_a_key_that_learns_takes_sixteen_bytes() {
        assert_eq!(size_of::<Slot<crate::evaluator::kept::Kept>>(), 16);
    }

    #[test]
    fn keys_come_and_go_and_the_memory_of_their_names_does_not_grow() {
        let mut keys: KeyTable<u32> = KeyTable::default();
        for round in 0..50 {
            let ids: Vec<u32> = (0..1_000).map(|n| add(&mut keys, &format!("{round}-{n}"), n)).collect();
            assert_eq!(keys.find(&format!("{round}-7")), Some(ids[7]));
            ids.iter().skip(round % 3).for_each(|id| keys.remove(*id));
        }
        assert_eq!((keys.len(), keys.slots.len()), (49, 1_048));
        assert_eq!(keys.find("49-0").and_then(|id| keys.get_mut(id).copied()), Some(0));
        assert!(keys.find("49-1").is_none() && keys.find("1-0").is_some());
        assert!(keys.names.memory() < 300_000, "{}", keys.names.memory());
    }

    #[test]
    fn beyond_the_limit_a_new_key_takes_nothing_and_those_that_are_known_are_found() {
        let mut keys: KeyTable<u32> = KeyTable::default();
        keys.limit(KeyLimit { keys: 1_000, ..KeyLimit::default() });
        let ids: Vec<u32> = (0..1_000).map(|n| add(&mut keys, &format!("k-{n}"), n)).collect();
        let memory = keys.memory();
        for n in 0..100_000 {
            let key = format!("k-{n}");
            assert_eq!(keys.found(keys.likely(&key), &key).map(|found| found.id), ids.get(n).copied());
        }
        assert_eq!(
            (keys.len(), keys.memory(), keys.take_passed_over(), keys.take_passed_over()),
            (1_000, memory, 99_000, 0)
        );
        keys.remove(ids[7]);
        assert_eq!(add(&mut keys, "another", 3), ids[7]);
        assert!(keys.id("restored").is_some(), "what a snapshot has was known");
        assert_eq!(keys.len(), 1_001);

        let mut keys: KeyTable<u32> = KeyTable::default();
        keys.limit(KeyLimit { name_bytes: 10_000, ..KeyLimit::default() });
        for n in 0..1_000 {
            let key = format!("{n:0100}");
            keys.found(keys.likely(&key), &key);
        }
        assert_eq!((keys.len(), keys.names.in_use(), keys.take_passed_over()), (96, 9_984, 904));
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back_once_its_keys_are_gone() {
        let mut keys: KeyTable<[u64; 8]> = KeyTable::default();
        let fill = |keys: &mut KeyTable<[u64; 8]>, from: u32, to: u32| -> Vec<u32> {
            let add = |n| {
                let id = add(keys, &format!("go.example.com/{n}"), [u64::from(n); 8]);
                keys.timers.wake(id, Some(1_000 + n % 50));
                id
            };
            (from..to).map(add).collect()
        };
        fill(&mut keys, 0, 10_000);
        let before = keys.memory();
        let burst = fill(&mut keys, 10_000, 300_000);
        assert!(keys.memory() > 20 * before);
        // One in a thousand stays, wherever it is.
        burst.iter().enumerate().filter(|(at, _)| at % 1_000 > 0).for_each(|(_, id)| keys.remove(*id));
        assert!(keys.pack().is_some() && keys.pack().is_none());
        assert!(keys.memory() < before * 3 / 2, "{} bytes, {before} before", keys.memory());
        assert_eq!(keys.len(), 10_290);
    }

    proptest! {
        #[test]
        fn keys_keep_their_states_marks_and_timers_wherever_they_are_moved(
            removed in prop::collection::vec(any::<bool>(), 3_000),
            steps in prop::collection::vec((0..4_000u32, any::<bool>()), 0..50),
        ) {
            let mut keys: KeyTable<u32> = KeyTable::default();
            let mut known = BTreeMap::new();
            for n in 0..3_000 {
                let id = add(&mut keys, &n.to_string(), n);
                keys.timers.wake(id, (n % 3 > 0).then_some(n + 1));
                if n % 5 == 0 {
                    keys.touch(id);
                }
                known.insert(n, id);
            }
            for (n, _) in removed.iter().enumerate().filter(|(n, removed)| **removed || n % 3 == 0) {
                keys.remove(known.remove(&(n as u32)).unwrap());
            }
            let ids = keys.pack();
            prop_assert!(ids.is_some());
            let ids = ids.unwrap_or_default();
            known.values_mut().for_each(|id| *id = ids[*id as usize]);
            // All of them have a timer. One that goes and comes back has none, and has not changed.
            let mut originals: BTreeSet<u32> = known.keys().copied().collect();
            for (n, adds) in steps {
                match known.get(&n) {
                    Some(id) if !adds => {
                        keys.remove(*id);
                        known.remove(&n);
                        originals.remove(&n);
                    }
                    None if adds => drop(known.insert(n, add(&mut keys, &n.to_string(), n))),
                    _ => {}
                }
            }
            prop_assert_eq!(keys.len(), known.len());
            for (n, id) in &known {
                prop_assert_eq!(keys.find(&n.to_string()), Some(*id));
                prop_assert_eq!(keys.get_mut(*id).copied(), Some(*n));
            }
            let of = |wanted: &dyn Fn(u32) -> bool| -> BTreeSet<u32> {
                originals.iter().filter(|n| wanted(**n)).map(|n| known[n]).collect()
            };
            let mut changed = BTreeSet::new();
            keys.take_changed(|id, _, _| changed.extend([id]));
            prop_assert_eq!(changed, of(&|n| n % 5 == 0));
            for n in &originals {
                prop_assert_eq!(keys.timers.due(*n), None);
                prop_assert_eq!(keys.timers.due(*n + 1), Some(known[n]));
            }
            prop_assert_eq!(keys.timers.due(10_000), None);
        }
    }
}
