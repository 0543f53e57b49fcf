//! The keys of a rule by name: what is known of each, which have changed, and when each must be walked.
//!
//! A key costs 4 bytes beside its state, 23 to 34 in the index, and its name.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher};

use hashbrown::DefaultHashBuilder;

use crate::key_index::KeyIndex;
use crate::names::{Name, Names};
use crate::timers::Timers;

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
        }
    }
}

impl<S: Default> KeyTable<S> {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
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

    /// The key of a signal, which is made if it is not known.
    pub(crate) fn found(&mut self, likely: Likely, key: &str, fresh: impl FnOnce() -> S) -> Found {
        let (tag, at) = (likely.tag, likely.at as usize);
        // Another key may have come in between, and moved it.
        if let Some(place) = self.index.get(at, tag).filter(|place| self.names.is(place.name, key)) {
            return Found { at, id: place.id, counted: place.counted };
        }
        if let Some(at) = self.index.find(tag, |place| self.names.is(place.name, key))
            && let Some(place) = self.index.get(at, tag)
        {
            return Found { at, id: place.id, counted: place.counted };
        }
        self.add(tag, key, fresh())
    }

    /// Notes where a key is counted now.
    pub(crate) fn set_counted(&mut self, found: Found, counted: u32) {
        if found.counted != counted {
            self.index.set_counted(found.at, counted);
        }
    }

    /// The id of a key, which is made if it is not known.
    pub(crate) fn id(&mut self, key: &str, fresh: impl FnOnce() -> S) -> u32 {
        self.found(self.likely(key), key, fresh).id
    }

    fn add(&mut self, tag: u32, key: &str, state: S) -> Found {
        let mut name = self.names.add(key);
        // A key that is in the snapshot and comes back before the next one is still in it.
        name.set(Name::STORED, self.removed.remove(key));
        let slot = Slot { name, state };
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
        Found { at: self.index.insert(tag, id, name), id, counted: u32::MAX }
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
mod tests {
    use super::*;

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
        keys.timers.wake(id, Some(3));
        keys.remove(id);
        let again = keys.id("b", || 3);
        assert_eq!((again, keys.timers.due(10)), (id, None), "the timer of the key before is off");
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
