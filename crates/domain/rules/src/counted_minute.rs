//! A minute that has not closed, of a rule that tells nothing apart within a key: the keys with events in it, in the
//! order in which they came.
//!
//! Counts are packed closely, and the events that an alert may name stand one behind the other: a signal for a key that
//! is there touches 24 bytes, and one for another key makes no allocation.

use event::Signal;
use hashbrown::HashTable;

use crate::key_table::spread;
use crate::sample::{self, SampleRef};

/// Keys by id, and what came of each.
#[derive(Default)]
pub(crate) struct CountedMinute {
    counts: Vec<KeyCount>,
    /// Positions in `counts`.
    places: HashTable<u32>,
    /// What is told of an event of each, behind its length.
    samples: Vec<u8>,
}

struct KeyCount {
    id: u32,
    count: u32,
    late: u32,
    /// The lane of the sample.
    lane: u16,
    /// Where its sample begins.
    sample: usize,
}

/// What came of a key.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'m> {
    pub(crate) count: u32,
    pub(crate) late: u32,
    pub(crate) sample: SampleRef<'m>,
}

impl CountedMinute {
    /// Adds a signal of a key.
    pub(crate) fn add(&mut self, id: u32, lane: u16, signal: &Signal<'_>) {
        let [count, late] = [signal.count, signal.late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let place = self.place(id);
        let Some(known) = place.and_then(|place| self.counts.get_mut(place)) else {
            let sample = self.append(|bytes| sample::append(signal, bytes));
            self.insert(KeyCount { id, count, late, lane, sample });
            return;
        };
        known.count = known.count.saturating_add(count);
        known.late = known.late.saturating_add(late);
        if lane < known.lane {
            known.lane = lane;
            let sample = self.append(|bytes| sample::append(signal, bytes));
            if let Some(known) = place.and_then(|place| self.counts.get_mut(place)) {
                known.sample = sample;
            }
        }
    }

    /// Adds what was stored of a key. Of several the first goes.
    pub(crate) fn restore(&mut self, id: u32, stored: &Counted<'_>) {
        if self.place(id).is_some() {
            return;
        }
        let Counted { count, late, sample: SampleRef { lane, bytes } } = *stored;
        let sample = self.append(|samples| samples.extend_from_slice(bytes));
        self.insert(KeyCount { id, count, late, lane, sample });
    }

    pub(crate) fn get(&self, id: u32) -> Option<Counted<'_>> {
        Some(self.shown(self.counts.get(self.place(id)?)?))
    }

    /// All keys, in the order in which they came.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, Counted<'_>)> {
        self.counts.iter().map(|one| (one.id, self.shown(one)))
    }

    /// An empty minute in the same memory, unless that is far more than was needed.
    pub(crate) fn emptied(mut self) -> Self {
        if self.samples.capacity() / 4 > self.samples.len() || self.counts.capacity() / 4 > self.counts.len() {
            return Self::default();
        }
        self.counts.clear();
        self.places.clear();
        self.samples.clear();
        self
    }

    fn shown<'m>(&'m self, one: &KeyCount) -> Counted<'m> {
        let begins = one.sample + 4;
        let length = self.samples.get(one.sample..begins).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let length = length.map_or(0, u32::from_le_bytes) as usize;
        let bytes = self.samples.get(begins..begins + length).unwrap_or_default();
        Counted { count: one.count, late: one.late, sample: SampleRef { lane: one.lane, bytes } }
    }

    /// Appends a sample, and says where it begins.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let begins = self.samples.len();
        self.samples.extend_from_slice(&[0; 4]);
        write(&mut self.samples);
        let length = u32::try_from(self.samples.len() - begins - 4).unwrap_or(u32::MAX);
        if let Some(place) = self.samples.get_mut(begins..begins + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        begins
    }

    fn insert(&mut self, one: KeyCount) {
        let place = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
        let hashed = spread(u64::from(one.id));
        self.counts.push(one);
        let counts = &self.counts;
        let of = |place: &u32| counts.get(*place as usize).map_or(0, |one| spread(u64::from(one.id)));
        self.places.insert_unique(hashed, place, of);
    }

    fn place(&self, id: u32) -> Option<usize> {
        let is_it = |place: &u32| self.counts.get(*place as usize).is_some_and(|one| one.id == id);
        self.places.find(spread(u64::from(id)), is_it).map(|place| *place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(count: u64, sample: &str) -> Signal<'static> {
        Signal { count, late: count / 2, sample: sample.to_owned().into(), ..Signal::default() }
    }

    #[test]
    fn counts_add_up_and_the_first_of_the_smallest_lane_is_named() {
        let mut minute = CountedMinute::default();
        for (id, lane, count, sample) in
            [(7, 2, 3, "a"), (9, 0, 1, "b"), (7, 1, 4, "c"), (7, 1, 5, "d"), (7, 2, 1, "e")]
        {
            minute.add(id, lane, &signal(count, sample));
        }
        let seen: Vec<_> =
            minute.keys().map(|(id, one)| (id, one.count, one.late, one.sample.owned().told().0)).collect();
        assert_eq!(seen, [(7, 13, 5, "c".to_owned()), (9, 1, 0, "b".to_owned())]);
        let mut other = CountedMinute::default();
        minute.keys().for_each(|(id, one)| other.restore(id, &one));
        assert!(other.keys().zip(minute.keys()).all(|(one, other)| one.1.sample == other.1.sample));
        assert_eq!(other.get(7).map(|one| (one.count, one.sample.lane)), Some((13, 1)));
        assert!(other.get(8).is_none());
        assert_eq!(minute.emptied().keys().count(), 0);
    }
}
