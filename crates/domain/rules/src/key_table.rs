//! The keys of a rule by name: what is known of each, which have changed, and when each must be walked.
//!
//! A key costs its name, its state and about 35 bytes. A key that is due is found without looking at the others.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// A key.
pub(crate) struct Slot<S> {
    pub(crate) key: Box<str>,
    pub(crate) state: S,
    /// The time for which its timer is set; 0: none.
    wakes: u32,
    /// Changed since the last snapshot.
    changed: bool,
    /// In some snapshot.
    pub(crate) stored: bool,
}

/// Keys and what is known of them. Times are in minutes or in seconds since 1970, as the rule counts them.
pub(crate) struct KeyTable<S> {
    hasher: RandomState,
    names: HashTable<u32>,
    slots: Vec<Option<Slot<S>>>,
    free: Vec<u32>,
    /// Time → keys that must be walked then.
    timers: BTreeMap<u32, Vec<u32>>,
    changed: Vec<u32>,
    /// Keys of the last snapshot that are gone.
    removed: HashSet<Box<str>>,
}

impl<S> Default for KeyTable<S> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            names: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            timers: BTreeMap::new(),
            changed: Vec::new(),
            removed: HashSet::new(),
        }
    }
}

impl<S> KeyTable<S> {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// How many records a snapshot would write now, about.
    pub(crate) fn unsaved(&self) -> usize {
        self.changed.len() + self.removed.len()
    }

    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        let is_it =
            |id: &u32| self.slots.get(*id as usize).and_then(Option::as_ref).is_some_and(|slot| &*slot.key == key);
        self.names.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// The id of a key, which is made if it is not known.
    pub(crate) fn id(&mut self, key: &str, fresh: impl FnOnce() -> S) -> u32 {
        if let Some(id) = self.find(key) {
            return id;
        }
        // A key that is in the snapshot and comes back before the next one is still in it.
        let stored = self.removed.remove(key);
        let slot = Slot { key: key.into(), state: fresh(), wakes: 0, changed: false, stored };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = self.slots.get_mut(id as usize) {
            *place = Some(slot);
        }
        let (hasher, slots) = (&self.hasher, &self.slots);
        let hash = |id: &u32| match slots.get(*id as usize) {
            Some(Some(slot)) => hasher.hash_one(&*slot.key),
            _ => 0,
        };
        self.names.insert_unique(hasher.hash_one(key), id, hash);
        id
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Slot<S>> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Marks a key as one that the next snapshot writes.
    pub(crate) fn touch(&mut self, id: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(id as usize)
            && !std::mem::replace(&mut slot.changed, true)
        {
            self.changed.push(id);
        }
    }

    /// Sets the timer of a key. What was set before is passed over when its time comes.
    pub(crate) fn wake(&mut self, id: u32, at: Option<u32>) {
        let Some(Some(slot)) = self.slots.get_mut(id as usize) else { return };
        let at = at.unwrap_or(0);
        if std::mem::replace(&mut slot.wakes, at) != at && at != 0 {
            self.timers.entry(at).or_default().push(id);
        }
    }

    /// Sets the timer of a key, unless it rings before.
    pub(crate) fn wake_by(&mut self, id: u32, at: u32) {
        let Some(Some(slot)) = self.slots.get(id as usize) else { return };
        if slot.wakes == 0 || at < slot.wakes {
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
            if let Some(Some(slot)) = self.slots.get_mut(id as usize)
                && slot.wakes == at
            {
                slot.wakes = 0;
                return Some(id);
            }
        }
    }

    /// Forgets a key. A snapshot that has it loses it with the next one.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize).and_then(Option::take) else { return };
        let hash = self.hasher.hash_one(&*slot.key);
        if let Ok(entry) = self.names.find_entry(hash, |known| *known == id) {
            entry.remove();
        }
        self.free.push(id);
        if slot.stored {
            self.removed.insert(slot.key);
        }
    }

    /// Each key that has changed since the last call, which is stored from now on.
    pub(crate) fn take_changed(&mut self, mut each: impl FnMut(u32, &mut Slot<S>)) {
        for id in std::mem::take(&mut self.changed) {
            if let Some(Some(slot)) = self.slots.get_mut(id as usize)
                && std::mem::take(&mut slot.changed)
            {
                each(id, slot);
                slot.stored = true;
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
        keys.take_changed(|_, slot| assert_eq!(slot.state, 2));
        keys.wake(id, Some(3));
        keys.remove(id);
        let again = keys.id("b", || 3);
        assert_eq!((again, keys.due(10)), (id, None), "the timer of the key before is off");
        assert_eq!(keys.take_removed().collect::<Vec<_>>(), ["a".into()]);
        let id = keys.id("c", || 4);
        keys.touch(id);
        keys.take_changed(|_, _| ());
        keys.remove(id);
        let id = keys.id("c", || 5);
        assert_eq!((keys.take_removed().count(), keys.get_mut(id).map(|slot| slot.stored)), (0, Some(true)));
    }
}
