//! The index of a bucket that is written to: a hash table from ids to cells in 64-byte lines. One cache miss tells
//! that an id is absent.
//!
//! A line holds ten entries of a 16-bit tag and a 32-bit cell. An entry goes into the line its id hashes to (its
//! home) or, if that is full, into one of the next seven; the tag carries that distance in 3 bits and 13 further bits
//! of the id. A line that an entry passed over is marked, so that a search stops at the first line that none passed.
//! What finds no room within the distance goes into a small map, which only a search that crossed eight passed-over
//! lines ever asks.
//!
//! The table does not know ids, only their tags: the caller confirms every candidate cell against the full id.
//!
//! A table does not grow: a larger one is built from the log on a thread beside the lane, while this one goes on
//! filling, and then takes its place.

use std::io;

use super::beside::{Cancel, Stop};
use super::lines::{LINE, Line, Lines, WORDS};
use super::segment::{Batch, Segment, id_of};
use super::{Entry, StoreError};
use crate::key::{Id128, IdMap};

/// Ids whose lines are worth bringing into the cache together.
pub(super) const TOGETHER: usize = 64;

const WAYS: usize = 10;
const MAX_DISTANCE: usize = 7;
const PRINT_BITS: u32 = 13;

/// Entries a line holds on average, in tenths: when a table is built, when a larger one is begun, and when the lane
/// waits for that one. Lines have room for ten.
const BUILT_FILL: u64 = 70;
const GROW_FILL: u64 = 85;
const MOST_FILL: u64 = 93;
/// Tables below so many ids double; larger ones grow by half.
const DOUBLE_BELOW: u64 = 1 << 20;
/// A table never has fewer lines: 256 KiB.
const LEAST_HOMES: u64 = 1 << 12;
/// So few cells behind the end, the rest is left to the lane: well under a millisecond.
const NEAR: u64 = 4_096;

/// How ids are spread over the lines of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Homes(pub(super) usize);

impl Homes {
    /// The line that an id hashes to, below the number of homes.
    pub(super) fn of(self, id: Id128) -> usize {
        ((u128::from(id.0 as u64) * self.0 as u128) >> 64) as usize
    }
}

// The words of a line: ten tags, whether an entry whose home is this line or one before it lies after it, how many
// entries there are, and ten cells of two words each, the low half first.
const PASSED: usize = WAYS;
const LEN: usize = WAYS + 1;
const CELLS: usize = WAYS + 2;
const _: () = assert!(CELLS + 2 * WAYS == WORDS);

/// One bit per entry whose tag matches. Without branches, so that searches overlap their cache misses.
fn matches(line: &Line, tag: u16) -> u32 {
    let mut mask = 0;
    for (way, &held) in line[..WAYS].iter().enumerate() {
        mask |= u32::from(held == tag) << way;
    }
    mask & ((1 << line[LEN]) - 1)
}

fn cell(line: &Line, way: usize) -> u32 {
    u32::from(line[CELLS + 2 * way + 1]) << 16 | u32::from(line[CELLS + 2 * way])
}

/// Where an id was found.
enum Place {
    Line { line: usize, way: usize },
    Stash,
}

pub(super) struct Table {
    /// The homes, and seven lines more, so that a search needs no wrap.
    lines: Lines,
    homes: Homes,
    len: u64,
    stash: IdMap<u32>,
}

impl Table {
    /// An empty table for so many ids.
    pub(super) fn with_room(ids: u64) -> io::Result<Self> {
        Self::with_homes((ids * 10).div_ceil(BUILT_FILL).max(LEAST_HOMES) as usize)
    }

    fn with_homes(homes: usize) -> io::Result<Self> {
        let lines = Lines::zeroed(homes + MAX_DISTANCE)?;
        Ok(Self { lines, homes: Homes(homes), len: 0, stash: IdMap::default() })
    }

    /// A table with every mark of a file, up to a cell: the lane adds what follows.
    pub(super) fn build(segment: &Segment, room: u64, cancel: &Cancel) -> Result<(Self, u64), Stop> {
        let mut table = Self::with_room(room).map_err(StoreError::Memory)?;
        let mut reached = Segment::first_batch();
        loop {
            // The lane may write more meanwhile.
            reached = segment.scan_whole(reached, |batch| {
                cancel.check()?;
                Ok::<_, Stop>(table.fill(segment, &batch)?)
            })?;
            if segment.end() <= reached + NEAR {
                return Ok((table, reached));
            }
        }
    }

    /// Adds the marks of a batch.
    pub(super) fn fill(&mut self, segment: &Segment, batch: &Batch<'_>) -> Result<(), StoreError> {
        for (cells, first) in batch.cells.chunks(TOGETHER).zip((batch.first_cell..).step_by(TOGETHER)) {
            cells.iter().for_each(|cell| self.touch(id_of(cell)));
            for (cell, number) in cells.iter().zip(first..) {
                self.mark(segment, id_of(cell), number as u32)?;
            }
        }
        Ok(())
    }

    fn mark(&mut self, segment: &Segment, id: Id128, cell: u32) -> Result<(), StoreError> {
        let homes = self.homes;
        self.insert(id, cell, |cell| Ok(segment.entry(cell.into(), |held| alike(homes, held, id))?.id == id))
    }

    /// Whether an id may be in it. Nearly always one that is absent is not, and to know that takes two dozen
    /// instructions.
    #[inline]
    pub(super) fn may_have(&self, id: Id128) -> bool {
        let line = self.lines.get(self.homes.of(id));
        // Words that are no tags may look like one, which costs a search.
        line[PASSED] != 0 || line.iter().fold(false, |any, &word| any | (word == tag(id, 0)))
    }

    /// The latest mark of an id.
    pub(super) fn lookup(&self, segment: &Segment, id: Id128) -> Result<Option<Entry>, StoreError> {
        let mut found = None;
        self.search(id, |cell| {
            let entry = segment.entry(cell.into(), |held| alike(self.homes, held, id))?;
            found = (entry.id == id).then_some(entry);
            Ok::<_, StoreError>(found.is_some())
        })?;
        Ok(found)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.lines.bytes() + self.stash.allocation_size() as u64
    }

    /// Bytes of a table for so many ids.
    pub(super) fn memory_for(ids: u64) -> u64 {
        (ids * 10).div_ceil(BUILT_FILL) * LINE as u64
    }

    /// Whether so many ids more can be added before a larger table must be there.
    pub(super) fn has_room_for(&self, more: u64) -> bool {
        (self.len + more) * 10 <= self.homes.0 as u64 * MOST_FILL
    }

    /// Whether it is time to begin a larger one.
    pub(super) fn is_crowded(&self) -> bool {
        self.len * 10 >= self.homes.0 as u64 * GROW_FILL
    }

    /// Whether it is smaller than one for so many ids would be built.
    pub(super) fn is_built_for_less_than(&self, ids: u64) -> bool {
        (self.homes.0 as u64) * BUILT_FILL < ids * 10
    }

    /// For how many ids the next larger one is built, if it soon takes so many more.
    pub(super) fn larger(&self, more: u64) -> u64 {
        let ids = self.len + more;
        if ids < DOUBLE_BELOW { ids * 2 } else { ids + ids / 2 }
    }

    /// Brings the home line of an id into the cache.
    pub(super) fn touch(&self, id: Id128) {
        self.lines.touch(self.homes.of(id));
    }

    /// Puts an id at a cell; if `confirm` recognises a cell as the same id's, the new one replaces it.
    fn insert<E>(&mut self, id: Id128, cell: u32, confirm: impl FnMut(u32) -> Result<bool, E>) -> Result<(), E> {
        match self.search(id, confirm)? {
            Some((Place::Line { line, way }, _)) => self.put(line, way, cell),
            Some((Place::Stash, _)) => {
                self.stash.insert(id, cell);
            }
            None => self.add(id, cell),
        }
        Ok(())
    }

    /// The place and cell of an id: the first candidate that `confirm` recognises.
    fn search<E>(&self, id: Id128, mut confirm: impl FnMut(u32) -> Result<bool, E>) -> Result<Option<(Place, u32)>, E> {
        let home = self.homes.of(id);
        for distance in 0..=MAX_DISTANCE {
            let line = self.lines.get(home + distance);
            let mut mask = matches(&line, tag(id, distance));
            while mask != 0 {
                let way = mask.trailing_zeros() as usize;
                let cell = cell(&line, way);
                if confirm(cell)? {
                    return Ok(Some((Place::Line { line: home + distance, way }, cell)));
                }
                mask &= mask - 1;
            }
            if line[PASSED] == 0 {
                return Ok(None);
            }
        }
        match self.stash.get(&id) {
            Some(&cell) if confirm(cell)? => Ok(Some((Place::Stash, cell))),
            _ => Ok(None),
        }
    }

    fn add(&mut self, id: Id128, cell: u32) {
        self.len += 1;
        let home = self.homes.of(id);
        for line in home..=home + MAX_DISTANCE {
            let way = usize::from(self.lines.word(line, LEN));
            if way < WAYS {
                self.lines.set_word(line, way, tag(id, line - home));
                self.lines.set_word(line, LEN, way as u16 + 1);
                self.put(line, way, cell);
                return;
            }
            self.lines.set_word(line, PASSED, 1);
        }
        self.stash.insert(id, cell);
    }

    fn put(&mut self, line: usize, way: usize, cell: u32) {
        self.lines.set_word(line, CELLS + 2 * way, cell as u16);
        self.lines.set_word(line, CELLS + 2 * way + 1, (cell >> 16) as u16);
    }
}

fn tag(id: Id128, distance: usize) -> u16 {
    (distance as u16) << PRINT_BITS | print(id)
}

fn print(id: Id128) -> u16 {
    (id.0 >> 64) as u16 & ((1 << PRINT_BITS) - 1)
}

/// Whether a table cannot tell two ids apart. A cell that it took for an id holds one that is alike, or is damaged.
fn alike(homes: Homes, one: Id128, other: Id128) -> bool {
    homes.of(one) == homes.of(other) && print(one) == print(other)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// An id whose home is among the first of eight lines, so that tests overflow lines on purpose.
    fn id(home: u64, print: u64) -> Id128 {
        Id128(u128::from(print) << 64 | u128::from(home << 61))
    }

    fn insert(table: &mut Table, owners: &HashMap<u32, Id128>, id: Id128, cell: u32) {
        let Ok(()) = table.insert(id, cell, |cell| Ok::<_, Infallible>(owners.get(&cell) == Some(&id)));
    }

    fn find(table: &Table, owners: &HashMap<u32, Id128>, id: Id128) -> Option<u32> {
        let Ok(found) = table.search(id, |cell| Ok::<_, Infallible>(owners.get(&cell) == Some(&id)));
        found.map(|(_, cell)| cell)
    }

    proptest! {
        /// Eight lines for up to 200 ids: most go past their home and many into the stash.
        #[test]
        fn it_agrees_with_a_map_however_crowded(steps in prop::collection::vec((0_u64..8, 0_u64..40), 1..400)) {
            let mut table = Table::with_homes(8).unwrap();
            let mut owners: HashMap<u32, Id128> = HashMap::new();
            let mut model: HashMap<Id128, u32> = HashMap::new();
            for (cell, &(home, print)) in steps.iter().enumerate() {
                let (cell, id) = (cell as u32, id(home, print));
                owners.insert(cell, id);
                insert(&mut table, &owners, id, cell);
                model.insert(id, cell);
                prop_assert_eq!(table.len(), model.len() as u64);
                prop_assert!(table.may_have(id));
            }
            for home in 0..8 {
                for print in 0..40 {
                    prop_assert_eq!(find(&table, &owners, id(home, print)), model.get(&id(home, print)).copied());
                }
            }
        }
    }

    #[test]
    fn ids_that_share_a_tag_are_told_apart_by_the_confirmation() {
        let (a, b) = (id(1, 5), Id128(id(1, 5).0 | 1 << 100));
        assert!(alike(Homes(8), a, b) && tag(a, 0) == tag(b, 0));
        let owners = HashMap::from([(1, a), (2, b)]);
        let mut table = Table::with_homes(8).unwrap();
        insert(&mut table, &owners, a, 1);
        insert(&mut table, &owners, b, 2);
        assert_eq!((find(&table, &owners, a), find(&table, &owners, b)), (Some(1), Some(2)));
    }
}
