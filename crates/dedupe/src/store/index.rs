//! The index of the whole window: eight tables, each of which grows by itself.
//!
//! Growing a table needs every full id again, and those are in the log only. So a new table is built from the log by a
//! thread beside the lane while the old one goes on filling, and then takes its place ([`super::growth`]). One shard at
//! a time, so that growing needs an eighth more memory, not twice as much.

use super::table::Table;
use crate::key::Id128;

/// The highest bits of an id's low half choose the shard.
pub(super) const SHARD_BITS: u32 = 3;
const SHARDS: usize = 1 << SHARD_BITS;
/// Ids whose lines are worth bringing into the cache together.
pub(super) const TOGETHER: usize = 64;

/// Entries a line holds on average, in tenths: when a shard is built large, when it starts to grow, and when the lane
/// waits for the growth to end. Lines have room for ten.
const BUILT_FILL: u64 = 70;
const GROW_FILL: u64 = 85;
const MOST_FILL: u64 = 93;
/// Shards below so many ids double; larger ones grow by a fifth, so that memory stays below ten bytes an id.
const DOUBLE_BELOW: u64 = 1 << 20;
/// A shard never has fewer lines: 64 KiB.
const LEAST_HOMES: u64 = 1 << 10;

/// Lines for so many ids at a fill.
fn homes_for(ids: u64, fill: u64) -> usize {
    (ids * 10).div_ceil(fill).max(LEAST_HOMES) as usize
}

pub(super) struct Index {
    shards: Vec<Table>,
}

impl Index {
    /// An empty index with room for so many ids.
    pub(super) fn with_room(ids: u64) -> Self {
        let homes = homes_for(ids.div_ceil(SHARDS as u64), BUILT_FILL);
        Self { shards: (0..SHARDS).map(|_| Table::with_homes(homes)).collect() }
    }

    /// Bytes of memory that an index of so many ids takes at most, growth included.
    pub(super) fn memory_for(ids: u64) -> u64 {
        let shard = 64 * homes_for(ids.div_ceil(SHARDS as u64), BUILT_FILL) as u64;
        shard * (SHARDS as u64 + 1)
    }

    pub(super) fn shard_of(id: Id128) -> usize {
        (id.0 as u64 >> (64 - SHARD_BITS)) as usize
    }

    pub(super) fn ids(&self) -> u64 {
        self.shards.iter().map(Table::len).sum()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.shards.iter().map(Table::memory_bytes).sum()
    }

    pub(super) fn touch(&self, id: Id128) {
        self.shards[Self::shard_of(id)].touch(id);
    }

    pub(super) fn find<E>(&self, id: Id128, confirm: impl FnMut(u32) -> Result<bool, E>) -> Result<Option<u32>, E> {
        self.shards[Self::shard_of(id)].find(id, confirm)
    }

    pub(super) fn insert<E>(
        &mut self,
        id: Id128,
        slot: u32,
        confirm: impl FnMut(u32) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.shards[Self::shard_of(id)].insert(id, slot, confirm)
    }

    /// The first shard that should start to grow.
    pub(super) fn crowded(&self) -> Option<usize> {
        self.shards.iter().position(|table| table.len() * 10 >= table.homes() as u64 * GROW_FILL)
    }

    /// The first shard without room for its share of `more` ids.
    pub(super) fn without_room_for(&self, more: u64) -> Option<usize> {
        self.shards.iter().position(|table| (table.len() + share(more)) * 10 > table.homes() as u64 * MOST_FILL)
    }

    /// Lines for a table that replaces a shard and then takes its share of `more` ids.
    pub(super) fn homes_to_grow(&self, shard: usize, more: u64) -> usize {
        let ids = self.shards[shard].len() + share(more);
        homes_for(ids, if ids < DOUBLE_BELOW { BUILT_FILL / 2 } else { BUILT_FILL })
    }

    /// Puts a table in the place of a shard's; gives back the old one.
    pub(super) fn replace(&mut self, shard: usize, table: Table) -> Table {
        std::mem::replace(&mut self.shards[shard], table)
    }

    /// Removes dead entries from some lines, from `next` on. Gives where to go on; `None` when all are swept.
    pub(super) fn sweep(&mut self, next: Sweep, lines: usize, dead: impl Fn(u32) -> bool) -> Option<Sweep> {
        match self.shards[next.shard].sweep(next.line, lines, dead) {
            Some(line) => Some(Sweep { shard: next.shard, line }),
            None if next.shard + 1 < SHARDS => Some(Sweep { shard: next.shard + 1, line: 0 }),
            None => None,
        }
    }
}

/// How far a sweep has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Sweep {
    shard: usize,
    line: usize,
}

/// A shard's share of so many ids; hashing spreads them evenly enough, and a table never refuses one too many.
fn share(ids: u64) -> u64 {
    ids.div_ceil(SHARDS as u64)
}
