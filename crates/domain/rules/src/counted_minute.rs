//! A pane that has not closed, of a rule that tells nothing apart within a key: the keys with events in it, in the
//! order in which they came.
//!
//! Counts are packed closely, and the events that an alert may name stand one behind the other: a signal for a key that
//! is there touches 24 bytes, and one for another key makes no allocation.

use event::Signal;
use hashbrown::HashTable;

use crate::key_table::{GONE, spread};
use crate::sample::{self, SampleRef};

/// Keys by id, and what came of each.
#[derive(Default)]
pub(crate) struct CountedMinute {
    counts: Vec<KeyCount>,
    /// Positions in `counts`.
    places: HashTable<u32>,
    /// What is told of an event of each, behind its length, each from a multiple of [`UNIT`] on.
    samples: Vec<u8>,
}

/// Samples begin at multiples of 4 bytes, so 32 bits reach 16 GiB.
const UNIT: usize = 4;

struct KeyCount {
    count: u64,
    late: u32,
    id: u32,
    /// Where its sample begins, in [`UNIT`]s.
    sample: u32,
    /// The lane of the sample.
    lane: u16,
    /// The next snapshot writes it.
    is_unsaved: bool,
}

/// What came of a key.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'m> {
    pub(crate) count: u64,
    pub(crate) late: u32,
    pub(crate) sample: SampleRef<'m>,
}

/// Where a signal was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) at: u32,
    /// Whether the key was not known to be unsaved.
    pub(crate) was_saved: bool,
}

impl CountedMinute {
    /// Adds a signal of a key that was counted at `before` in the last pane, or in this one.
    pub(crate) fn add(&mut self, id: u32, before: u32, lane: u16, signal: &Signal<'_>) -> Added {
        let late = u32::try_from(signal.late).unwrap_or(u32::MAX);
        let is_there = self.counts.get(before as usize).is_some_and(|one| one.id == id);
        let at = if is_there { Some(before) } else { self.place(id) };
        let Some((at, known)) = at.and_then(|at| Some((at, self.counts.get_mut(at as usize)?))) else {
            let sample = self.append(|bytes| sample::append(signal, bytes));
            let at = self.insert(KeyCount { id, count: signal.count, late, lane, sample, is_unsaved: true });
            return Added { at, was_saved: true };
        };
        known.count = known.count.saturating_add(signal.count);
        known.late = known.late.saturating_add(late);
        let was_saved = !std::mem::replace(&mut known.is_unsaved, true);
        if lane < known.lane {
            known.lane = lane;
            let sample = self.append(|bytes| sample::append(signal, bytes));
            if let Some(known) = self.counts.get_mut(at as usize) {
                known.sample = sample;
            }
        }
        Added { at, was_saved }
    }

    /// Adds what was stored of a key. Of several the first goes.
    pub(crate) fn restore(&mut self, id: u32, stored: &Counted<'_>) {
        if self.place(id).is_some() {
            return;
        }
        let Counted { count, late, sample: SampleRef { lane, bytes } } = *stored;
        let sample = self.append(|samples| samples.extend_from_slice(bytes));
        self.insert(KeyCount { id, count, late, lane, sample, is_unsaved: false });
    }

    pub(crate) fn get(&self, id: u32) -> Option<Counted<'_>> {
        Some(self.shown(self.counts.get(self.place(id)? as usize)?))
    }

    /// A snapshot has the key as it is.
    pub(crate) fn is_saved(&mut self, id: u32) {
        if let Some(one) = self.place(id).and_then(|at| self.counts.get_mut(at as usize)) {
            one.is_unsaved = false;
        }
    }

    /// All keys, in the order in which they came.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, Counted<'_>)> {
        self.counts.iter().map(|one| (one.id, self.shown(one)))
    }

    /// An empty pane in the same memory, unless that is far more than was needed.
    pub(crate) fn emptied(mut self) -> Self {
        if self.samples.capacity() / 4 > self.samples.len() || self.counts.capacity() / 4 > self.counts.len() {
            return Self::default();
        }
        self.counts.clear();
        self.places.clear();
        self.samples.clear();
        self
    }

    /// Keys have new ids, which `ids` says by the old ones.
    pub(crate) fn renumber(&mut self, ids: &[u32]) {
        self.places.clear();
        for (at, one) in (0..).zip(&mut self.counts) {
            one.id = ids.get(one.id as usize).copied().unwrap_or(GONE);
            self.places.insert_unique(spread(u64::from(one.id)), at, |_| 0);
        }
    }

    fn shown<'m>(&'m self, one: &KeyCount) -> Counted<'m> {
        let begins = one.sample as usize * UNIT + 4;
        let length = self.samples.get(begins - 4..begins).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let length = length.map_or(0, u32::from_le_bytes) as usize;
        let bytes = self.samples.get(begins..begins + length).unwrap_or_default();
        Counted { count: one.count, late: one.late, sample: SampleRef { lane: one.lane, bytes } }
    }

    /// Appends a sample, and says where it begins.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        let begins = self.samples.len();
        self.samples.extend_from_slice(&[0; 4]);
        write(&mut self.samples);
        let length = u32::try_from(self.samples.len() - begins - 4).unwrap_or(u32::MAX);
        if let Some(place) = self.samples.get_mut(begins..begins + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.samples.resize(self.samples.len().next_multiple_of(UNIT), 0);
        u32::try_from(begins / UNIT).unwrap_or(u32::MAX)
    }

    fn insert(&mut self, one: KeyCount) -> u32 {
        let at = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
        let hashed = spread(u64::from(one.id));
        self.counts.push(one);
        let counts = &self.counts;
        let of = |at: &u32| counts.get(*at as usize).map_or(0, |one| spread(u64::from(one.id)));
        self.places.insert_unique(hashed, at, of);
        at
    }

    fn place(&self, id: u32) -> Option<u32> {
        let is_it = |at: &u32| self.counts.get(*at as usize).is_some_and(|one| one.id == id);
        self.places.find(spread(u64::from(id)), is_it).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(count: u64, sample: &str) -> Signal<'static> {
        Signal { count, late: count / 2, sample: sample.to_owned().into(), ..Signal::default() }
    }

    #[test]
    fn a_count_takes_twenty_four_bytes() {
        assert_eq!(size_of::<KeyCount>(), 24);
    }

    #[test]
    fn a_key_is_found_wherever_it_was_counted_before_and_is_unsaved_once() {
        let mut minute = CountedMinute::default();
        for (id, before, at, was_saved) in [(7, u32::MAX, 0, true), (9, 0, 1, true), (7, 1, 0, false), (9, 1, 1, false)]
        {
            assert_eq!(minute.add(id, before, 0, &signal(1, "a")), Added { at, was_saved });
        }
        minute.is_saved(9);
        assert!(minute.add(9, 0, 0, &signal(1, "a")).was_saved && !minute.add(7, 0, 0, &signal(1, "a")).was_saved);
        assert_eq!(minute.keys().map(|(id, one)| (id, one.count)).collect::<Vec<_>>(), [(7, 3), (9, 3)]);
    }

    #[test]
    fn counts_add_up_and_the_first_of_the_smallest_lane_is_named() {
        let mut minute = CountedMinute::default();
        for (id, lane, count, sample) in
            [(7, 2, 3, "a"), (9, 0, 1, "b"), (7, 1, 4, "c"), (7, 1, 5, "d"), (7, 2, 1, "e")]
        {
            let before = if id == 7 { 0 } else { 1 };
            minute.add(id, before, lane, &signal(count, sample));
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
