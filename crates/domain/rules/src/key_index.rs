//! Where the keys of a table are, by the hash of their names.
//!
//! A key has one place of 16 bytes: a look-up reads one line of the processor's caches, and the name of a key whose
//! hash agrees in 32 bits. Beside the id stands where the key was counted last, so that the next signal needs no
//! second look-up. From where the hash points, places are tried one behind the other. More places are made by the
//! hashes alone: no name is read again.

use crate::names::Name;

/// A key in the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Half of the hash of its name.
    tag: u32,
    pub(crate) id: u32,
    pub(crate) name: Name,
    /// Where it was counted last.
    pub(crate) counted: u32,
}

const EMPTY: Place = Place { tag: 0, id: u32::MAX, name: Name::NONE, counted: u32::MAX };
/// Of so many places, at most [`FULL`] are in use.
const OF: usize = 10;
const FULL: usize = 7;

/// Places by hash.
#[derive(Default)]
pub(crate) struct KeyIndex {
    places: Vec<Place>,
    used: usize,
}

impl Place {
    fn is_empty(self) -> bool {
        self.id == u32::MAX
    }
}

impl KeyIndex {
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// The first key whose hash agrees; a name has to be compared.
    pub(crate) fn likely(&self, tag: u32) -> Option<usize> {
        self.find(tag, |_| true)
    }

    /// Where the key is that `is_it` says.
    pub(crate) fn find(&self, tag: u32, is_it: impl Fn(&Place) -> bool) -> Option<usize> {
        let mut at = self.first(tag);
        loop {
            let place = self.places.get(at)?;
            if place.is_empty() {
                return None;
            }
            if place.tag == tag && is_it(place) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// What is at a place, if a key of this hash is there.
    pub(crate) fn get(&self, at: usize, tag: u32) -> Option<&Place> {
        self.places.get(at).filter(|place| place.tag == tag && !place.is_empty())
    }

    /// Notes where a key was counted.
    pub(crate) fn set_counted(&mut self, at: usize, counted: u32) {
        if let Some(place) = self.places.get_mut(at) {
            place.counted = counted;
        }
    }

    /// Adds a key that is not there, and says where it is.
    pub(crate) fn insert(&mut self, tag: u32, id: u32, name: Name) -> usize {
        if (self.used + 1) * OF > self.places.len() * FULL {
            self.grow();
        }
        self.used += 1;
        self.put(Place { tag, id, name, counted: u32::MAX })
    }

    /// Removes the key at a place. Those that had to go further because of it come nearer.
    pub(crate) fn remove(&mut self, at: usize) {
        let Some(place) = self.places.get_mut(at).filter(|place| !place.is_empty()) else { return };
        *place = EMPTY;
        self.used -= 1;
        let (mut hole, mut next) = (at, self.after(at));
        while let Some(place) = self.places.get(next).copied().filter(|place| !place.is_empty()) {
            let first = self.first(place.tag);
            // How far it is from where its hash points, and how far from the hole, going round at the end.
            let ahead = |from: usize| (next + self.places.len() - from) % self.places.len();
            if ahead(first) >= ahead(hole) {
                self.places.swap(hole, next);
                hole = next;
            }
            next = self.after(next);
        }
    }

    /// All keys, to be told where their names are now.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.places.iter_mut().filter(|place| !place.is_empty())
    }

    fn put(&mut self, new: Place) -> usize {
        let mut at = self.first(new.tag);
        while let Some(place) = self.places.get_mut(at) {
            if place.is_empty() {
                *place = new;
                break;
            }
            at = self.after(at);
        }
        at
    }

    /// Half as many places more.
    fn grow(&mut self) {
        self.resize((self.places.len() + self.places.len() / 2).max(8));
    }

    /// As many places as the keys that are there need, with as much room for more as a growing index has.
    pub(crate) fn shrink(&mut self) {
        self.resize((self.used * OF / FULL * 5 / 4 + 1).max(8));
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }

    fn resize(&mut self, places: usize) {
        let before = std::mem::replace(&mut self.places, vec![EMPTY; places]);
        for place in before.into_iter().filter(|place| !place.is_empty()) {
            self.put(place);
        }
    }

    fn first(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.places.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.places.len() { at + 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_there_is_found_and_what_is_gone_is_not(
            // Few hashes, at both ends: many keys stand one behind the other, round the end too.
            steps in prop::collection::vec((prop_oneof![0..4u32, u32::MAX - 3..=u32::MAX, any::<u32>()], any::<bool>()), 0..300),
        ) {
            let mut index = KeyIndex::default();
            let mut known: Vec<(u32, u32)> = Vec::new();
            for (id, (tag, adds)) in (0..).zip(steps) {
                if adds || known.is_empty() {
                    let at = index.insert(tag, id, Name::NONE);
                    index.set_counted(at, id * 3);
                    known.push((tag, id));
                } else {
                    let (tag, gone) = known.swap_remove(tag as usize % known.len());
                    let at = index.find(tag, |place| place.id == gone);
                    prop_assert!(at.is_some());
                    index.remove(at.unwrap_or_default());
                    prop_assert!(index.find(tag, |place| place.id == gone).is_none());
                }
                prop_assert_eq!(index.len(), known.len());
                for (tag, id) in &known {
                    let at = index.find(*tag, |place| place.id == *id);
                    let place = at.and_then(|at| index.get(at, *tag));
                    prop_assert_eq!(place.map(|place| (place.id, place.counted)), Some((*id, id * 3)));
                    prop_assert!(index.likely(*tag).is_some_and(|at| index.get(at, *tag).is_some()));
                }
            }
            prop_assert_eq!(index.iter_mut().count(), known.len());
        }
    }
}
