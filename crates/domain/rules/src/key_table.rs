//! The keys of a rule by name: what is known of each, which have changed, and when each must be walked.
//!
//! A key costs 4 bytes beside its state, 5 to 10 in the index, and its name. A key that is due is found without looking
//! at the others.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::names::{Name, Names};

/// A key.
struct Slot<S> {
    name: Name,
    state: S,
}

/// Keys and what is known of them. Times are in minutes or in seconds since 1970, as the rule counts them.
pub(crate) struct KeyTable<S> {
    /// Keyed anew for each table: names come from outside.
    hasher: DefaultHashBuilder,
    ids: HashTable<u32>,
    names: Names,
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    /// The time for which the timer of a key is set, of keys that have one.
    wakes: HashMap<u32, u32, Spread>,
    /// Time → keys that must be walked then.
    timers: BTreeMap<u32, Vec<u32>>,
    changed: Vec<u32>,
    /// Keys of the last snapshot that are gone.
    removed: HashSet<Box<str>>,
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
            ids: HashTable::new(),
            names: Names::default(),
            slots: Vec::new(),
            free: Vec::new(),
            wakes: HashMap::default(),
            timers: BTreeMap::new(),
            changed: Vec::new(),
            removed: HashSet::new(),
        }
    }
}

impl<S: Default> KeyTable<S> {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many records a snapshot would write now, about.
    pub(crate) fn unsaved(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        self.find_hashed(hash(&self.hasher, key.as_bytes()), key)
    }

    fn find_hashed(&self, hash: u64, key: &str) -> Option<u32> {
        let is_it = |id: &u32| self.slots.get(*id as usize).is_some_and(|slot| self.names.is(slot.name, key));
        self.ids.find(hash, is_it).copied()
    }

    /// The id of a key, which is made if it is not known.
    pub(crate) fn id(&mut self, key: &str, fresh: impl FnOnce() -> S) -> u32 {
        let hashed = hash(&self.hasher, key.as_bytes());
        if let Some(id) = self.find_hashed(hashed, key) {
            return id;
        }
        let mut name = self.names.add(key);
        // A key that is in the snapshot and comes back before the next one is still in it.
        name.set(Name::STORED, self.removed.remove(key));
        let slot = Slot { name, state: fresh() };
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
        let Self { hasher, ids, names, slots, .. } = self;
        let of = |id: &u32| slots.get(*id as usize).map_or(0, |slot| hash(hasher, names.bytes_of(slot.name)));
        ids.insert_unique(hashed, id, of);
        id
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

    /// Sets the timer of a key. What was set before is passed over when its time comes.
    pub(crate) fn wake(&mut self, id: u32, at: Option<u32>) {
        let before = match at {
            Some(at) => self.wakes.insert(id, at),
            None if self.wakes.is_empty() => None,
            None => self.wakes.remove(&id),
        };
        if let Some(at) = at.filter(|at| before != Some(*at)) {
            self.timers.entry(at).or_default().push(id);
        }
    }

    /// Sets the timer of a key, unless it rings before.
    pub(crate) fn wake_by(&mut self, id: u32, at: u32) {
        if self.wakes.get(&id).is_none_or(|before| at < *before) {
            self.wake(id, Some(at));
        }
    }

    /// The next key whose time has come by `to`. Its timer is off then.
    pub(crate) fn due(&mut self, to: u32) -> Option<u32> {
        loop {
            let mut first = self.timers.first_entry().filter(|first| *first.key() <= to)?;
            let at = *first.key();
            let Some(id) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            if self.wakes.get(&id) == Some(&at) {
                self.wakes.remove(&id);
                return Some(id);
            }
        }
    }

    /// Forgets a key. A snapshot that has it loses it with the next one.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize).filter(|slot| !slot.name.is_none()) else { return };
        let name = std::mem::replace(&mut slot.name, Name::NONE);
        drop(std::mem::take(&mut slot.state));
        let hashed = hash(&self.hasher, self.names.bytes_of(name));
        if let Ok(entry) = self.ids.find_entry(hashed, |known| *known == id) {
            entry.remove();
        }
        self.wakes.remove(&id);
        self.free.push(id);
        if name.has(Name::STORED) {
            self.removed.insert(self.names.get(name).into());
        }
        self.names.remove(name);
        if self.names.is_sparse() {
            self.names.pack(self.slots.iter_mut().map(|slot| &mut slot.name));
        }
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

fn hash(hasher: &DefaultHashBuilder, key: &[u8]) -> u64 {
    let mut hashing = hasher.build_hasher();
    hashing.write(key);
    hashing.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_at_the_time_that_was_set_last_and_once() {
        let mut keys: KeyTable<()> = KeyTable::default();
        let [a, b] = ["a", "b"].map(|key| keys.id(key, || ()));
        keys.wake(a, Some(5));
        keys.wake(b, Some(7));
        keys.wake(a, Some(9));
        assert_eq!((keys.due(6), keys.due(8), keys.due(8)), (None, Some(b), None));
        keys.wake_by(a, 12);
        assert_eq!((keys.due(9), keys.due(100)), (Some(a), None));
        keys.wake(a, Some(5));
        keys.wake(a, Some(4));
        keys.wake(a, Some(5));
        assert_eq!((keys.due(10), keys.due(10)), (Some(a), None));
    }

    #[test]
    fn a_key_that_is_gone_is_told_once_and_not_if_it_comes_back() {
        let mut keys: KeyTable<u8> = KeyTable::default();
        let id = keys.id("a", || 1);
        keys.touch(id);
        keys.remove(id);
        assert_eq!((keys.len(), keys.take_removed().count()), (0, 0), "no snapshot has it");
        let id = keys.id("a", || 2);
        keys.touch(id);
        keys.take_changed(|_, name, state| assert_eq!((name, *state), ("a", 2)));
        keys.wake(id, Some(3));
        keys.remove(id);
        let again = keys.id("b", || 3);
        assert_eq!((again, keys.due(10)), (id, None), "the timer of the key before is off");
        assert_eq!(keys.take_removed().collect::<Vec<_>>(), ["a".into()]);
        let id = keys.id("c", || 4);
        keys.touch(id);
        keys.take_changed(|_, _, _| ());
        keys.remove(id);
        let id = keys.id("c", || 5);
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
            let ids: Vec<u32> = (0..1_000).map(|n| keys.id(&format!("{round}-{n}"), || n)).collect();
            assert_eq!(keys.find(&format!("{round}-7")), Some(ids[7]));
            ids.iter().skip(round % 3).for_each(|id| keys.remove(*id));
        }
        assert_eq!((keys.len(), keys.slots.len()), (49, 1_048));
        assert_eq!(keys.find("49-0").and_then(|id| keys.get_mut(id).copied()), Some(0));
        assert!(keys.find("49-1").is_none() && keys.find("1-0").is_some());
        assert!(keys.names.bytes_in_use() < 200_000, "{}", keys.names.bytes_in_use());
    }
}
