//! A hash table from ids to slots in 64-byte lines: one cache miss tells that an id is absent.
//!
//! A line holds ten entries of a 16-bit tag and a 32-bit slot. An entry goes into the line its id hashes to (its home)
//! or, if that is full, into one of the next seven; the tag carries that distance in 3 bits and 13 further bits of the
//! hash. Each line counts the entries that passed over it, so that a search stops at the first line nobody passed, and
//! removing an entry leaves no trace. What finds no room within the distance goes into a small map, which only a search
//! that crossed eight passed-over lines ever asks.
//!
//! The table does not know ids, only their tags: the caller confirms every candidate slot against the full id.

use super::index::SHARD_BITS;
use crate::key::{Id128, IdMap};

const WAYS: usize = 10;
const MAX_DISTANCE: usize = 7;
const PRINT_BITS: u32 = 13;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line {
    tags: [u16; WAYS],
    /// Entries whose home is this line or one before it and whose place is after it.
    passed: u16,
    len: u16,
    slots: [u32; WAYS],
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    const EMPTY: Self = Self { tags: [0; WAYS], passed: 0, len: 0, slots: [0; WAYS] };

    /// One bit per entry whose tag matches. Without branches, so that searches overlap their cache misses.
    fn matches(&self, tag: u16) -> u32 {
        let mut mask = 0;
        for (way, &held) in self.tags.iter().enumerate() {
            mask |= u32::from(held == tag) << way;
        }
        mask & ((1 << self.len) - 1)
    }

    /// A count that reached the top is no longer exact, so it stays there: longer searches, never a wrong one.
    fn pass(&mut self) {
        self.passed = self.passed.saturating_add(1);
    }

    fn unpass(&mut self) {
        if self.passed != u16::MAX {
            self.passed -= 1;
        }
    }
}

/// Where an id was found.
enum Place {
    Line { line: usize, way: usize },
    Stash,
}

/// The table of one shard of the index.
pub(super) struct Table {
    lines: Vec<Line>,
    /// Lines that are homes; seven more follow them, so that a search needs no wrap.
    homes: usize,
    len: u64,
    stash: IdMap<u32>,
}

impl Table {
    /// A table of so many lines, its memory touched so that no page fault is left for a search.
    pub(super) fn with_homes(homes: usize) -> Self {
        let homes = homes.max(1);
        Self { lines: vec![Line::EMPTY; homes + MAX_DISTANCE], homes, len: 0, stash: IdMap::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn homes(&self) -> usize {
        self.homes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.stash.allocation_size()
    }

    /// The bits below those that chose the shard, spread over the homes by a multiplication.
    fn home(&self, id: Id128) -> usize {
        let bits = (id.0 as u64) << SHARD_BITS;
        ((u128::from(bits) * self.homes as u128) >> 64) as usize
    }

    fn tag(id: Id128, distance: usize) -> u16 {
        let print = (id.0 >> 64) as u16 & ((1 << PRINT_BITS) - 1);
        (distance as u16) << PRINT_BITS | print
    }

    /// Brings the home line of an id into the cache. A loop over this for many ids overlaps their misses, which is as
    /// good as a prefetch instruction and needs no unsafe code.
    pub(super) fn touch(&self, id: Id128) {
        std::hint::black_box(self.lines[self.home(id)].len);
    }

    /// The slot of an id: the first candidate that `confirm` recognises.
    pub(super) fn find<E>(&self, id: Id128, confirm: impl FnMut(u32) -> Result<bool, E>) -> Result<Option<u32>, E> {
        Ok(self.search(id, confirm)?.map(|(_, slot)| slot))
    }

    /// Puts an id at a slot; if `confirm` recognises a slot as the same id's, the new one replaces it.
    pub(super) fn insert<E>(
        &mut self,
        id: Id128,
        slot: u32,
        confirm: impl FnMut(u32) -> Result<bool, E>,
    ) -> Result<(), E> {
        match self.search(id, confirm)? {
            Some((Place::Line { line, way }, _)) => self.lines[line].slots[way] = slot,
            Some((Place::Stash, _)) => {
                self.stash.insert(id, slot);
            }
            None => self.add(id, slot),
        }
        Ok(())
    }

    fn search<E>(&self, id: Id128, mut confirm: impl FnMut(u32) -> Result<bool, E>) -> Result<Option<(Place, u32)>, E> {
        let home = self.home(id);
        for distance in 0..=MAX_DISTANCE {
            let line = &self.lines[home + distance];
            let mut mask = line.matches(Self::tag(id, distance));
            while mask != 0 {
                let way = mask.trailing_zeros() as usize;
                let slot = line.slots[way];
                if confirm(slot)? {
                    return Ok(Some((Place::Line { line: home + distance, way }, slot)));
                }
                mask &= mask - 1;
            }
            if line.passed == 0 {
                return Ok(None);
            }
        }
        match self.stash.get(&id) {
            Some(&slot) if confirm(slot)? => Ok(Some((Place::Stash, slot))),
            _ => Ok(None),
        }
    }

    fn add(&mut self, id: Id128, slot: u32) {
        self.len += 1;
        let home = self.home(id);
        for distance in 0..=MAX_DISTANCE {
            let line = &mut self.lines[home + distance];
            let way = usize::from(line.len);
            if way < WAYS {
                line.tags[way] = Self::tag(id, distance);
                line.slots[way] = slot;
                line.len += 1;
                return;
            }
            line.pass();
        }
        // A dead entry of the same id may lie here still: then this replaces it, and the passes are counted already.
        if self.stash.insert(id, slot).is_some() {
            self.len -= 1;
            self.lines[home..=home + MAX_DISTANCE].iter_mut().for_each(Line::unpass);
        }
    }

    /// Removes the entries of up to `count` lines, from line `from`, whose slots are dead. Gives the next line to sweep;
    /// `None` at the end.
    pub(super) fn sweep(&mut self, from: usize, count: usize, dead: impl Fn(u32) -> bool) -> Option<usize> {
        if from == 0 {
            self.sweep_stash(&dead);
        }
        let to = (from + count).min(self.lines.len());
        for at in from..to {
            for way in (0..usize::from(self.lines[at].len)).rev() {
                let line = &mut self.lines[at];
                if !dead(line.slots[way]) {
                    continue;
                }
                let distance = usize::from(line.tags[way] >> PRINT_BITS);
                line.len -= 1;
                let last = usize::from(line.len);
                line.tags[way] = line.tags[last];
                line.slots[way] = line.slots[last];
                self.len -= 1;
                self.lines[at - distance..at].iter_mut().for_each(Line::unpass);
            }
        }
        (to < self.lines.len()).then_some(to)
    }

    fn sweep_stash(&mut self, dead: &impl Fn(u32) -> bool) {
        let gone: Vec<Id128> = self.stash.iter().filter(|&(_, &slot)| dead(slot)).map(|(&id, _)| id).collect();
        for id in gone {
            self.stash.remove(&id);
            self.len -= 1;
            let home = self.home(id);
            self.lines[home..=home + MAX_DISTANCE].iter_mut().for_each(Line::unpass);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// An id whose home is among the first of few lines, so that tests overflow lines on purpose.
    fn id(home: u64, print: u64) -> Id128 {
        Id128(u128::from(print) << 64 | u128::from(home << (64 - SHARD_BITS - 3)))
    }

    fn insert(table: &mut Table, owners: &HashMap<u32, Id128>, id: Id128, slot: u32) {
        let Ok(()) = table.insert(id, slot, |slot| Ok::<_, Infallible>(owners.get(&slot) == Some(&id)));
    }

    fn find(table: &Table, owners: &HashMap<u32, Id128>, id: Id128) -> Option<u32> {
        let Ok(found) = table.find(id, |slot| Ok::<_, Infallible>(owners.get(&slot) == Some(&id)));
        found
    }

    proptest! {
        /// Eight lines for up to 200 ids: most go past their home and many into the stash.
        #[test]
        fn it_agrees_with_a_map_however_crowded(
            steps in prop::collection::vec((0_u64..8, 0_u64..40, prop::bool::weighted(0.02)), 1..400)
        ) {
            let mut table = Table::with_homes(8);
            let mut owners: HashMap<u32, Id128> = HashMap::new();
            let mut model: HashMap<Id128, u32> = HashMap::new();
            let mut front = 0_u32;
            for (slot, &(home, print, sweep)) in steps.iter().enumerate() {
                let (slot, id) = (slot as u32, id(home, print));
                owners.insert(slot, id);
                insert(&mut table, &owners, id, slot);
                model.insert(id, slot);
                if sweep {
                    // The older half of what is alive dies.
                    front = front.midpoint(slot);
                    model.retain(|_, slot| *slot >= front);
                    let mut next = Some(0);
                    while let Some(from) = next {
                        next = table.sweep(from, 3, |slot| slot < front);
                    }
                }
                prop_assert_eq!(table.len(), model.len() as u64);
            }
            for home in 0..8 {
                for print in 0..40 {
                    prop_assert_eq!(find(&table, &owners, id(home, print)), model.get(&id(home, print)).copied());
                }
            }
            // Sweeping everything leaves neither entries nor traces of passing.
            let mut next = Some(0);
            while let Some(from) = next {
                next = table.sweep(from, 5, |_| true);
            }
            prop_assert_eq!(table.len(), 0);
            prop_assert!(table.stash.is_empty());
            prop_assert!(table.lines.iter().all(|line| line.len == 0 && line.passed == 0));
        }
    }

    #[test]
    fn ids_that_share_a_tag_are_told_apart_by_the_confirmation() {
        let (a, b) = (id(1, 5), Id128(id(1, 5).0 | 1 << 100));
        assert_eq!(Table::tag(a, 0), Table::tag(b, 0));
        let owners = HashMap::from([(1, a), (2, b)]);
        let mut table = Table::with_homes(8);
        insert(&mut table, &owners, a, 1);
        insert(&mut table, &owners, b, 2);
        assert_eq!((find(&table, &owners, a), find(&table, &owners, b)), (Some(1), Some(2)));
    }
}
