//! Which buckets an id may be in: one cache miss tells that it is in none, for three bytes of memory an id.
//!
//! A line of 64 bytes holds up to 32 marks, each as 12 bits of the id and the tag of its bucket in 4; an id's line is what
//! its other half hashes to. What a line has no room for stands in a small map, which only a search that meets a full
//! line asks. One absent id in 200 finds a mark that looks like its own, and the bucket then says that it is another's.
//!
//! Eight shards, each of which grows (or shrinks) by itself. That needs the full ids again, and those are in the log only: a
//! new shard is built from the log by a thread beside the lane while the old one goes on filling, and then takes its
//! place. One at a time, so that growing needs an eighth more memory and not twice as much.

use std::io;
use std::sync::Arc;

use hashbrown::HashMap;

use super::beside::{Cancel, Stop};
use super::lines::{LINE, Line, Lines, WORDS};
use super::segment::{Batch, Segment, id_of};
use super::table::{Homes, TOGETHER};
use super::{StoreError, segment};
use crate::key::Id128;

/// Buckets that can be told apart.
pub(super) const TAGS: u64 = 16;
const TAG_BITS: u32 = 4;
/// The highest bits of an id's low half choose the shard.
const SHARD_BITS: u32 = 3;
const SHARDS: usize = 1 << SHARD_BITS;

/// Marks a line holds on average: when a shard is built, when a larger one is begun, and when the lane waits for that one.
const BUILT_FILL: u64 = 18;
const GROW_FILL: u64 = 22;
const MOST_FILL: u64 = 26;
/// Less than that, and a smaller one is begun.
const LEAST_FILL: u64 = 5;
/// Shards of fewer marks double; larger ones grow by less.
const DOUBLE_BELOW: u64 = 1 << 18;
/// A shard never has fewer lines: 32 KiB.
const LEAST_LINES: u64 = 512;
/// So few cells behind the end, the rest is left to the lane: well under a millisecond.
const NEAR: u64 = 4_096;

fn is_full(line: &Line) -> bool {
    line[WORDS - 1] != 0
}

/// The marks of a line stand before its zeros.
fn len(line: &Line) -> usize {
    line.iter().position(|&mark| mark == 0).unwrap_or(WORDS)
}

/// One bit per tag of the marks with a print. Nearly always there is none, and to know that takes a dozen instructions.
fn tags_of(line: &Line, print: u16) -> u16 {
    if !line.iter().fold(false, |any, &mark| any | (mark >> TAG_BITS == print)) {
        return 0;
    }
    tags_among(line, print)
}

fn tags_among(marks: &[u16], print: u16) -> u16 {
    marks.iter().filter(|&&mark| mark >> TAG_BITS == print).fold(0, |tags, mark| tags | 1 << (mark & (TAGS as u16 - 1)))
}

pub(super) struct Shard {
    lines: Lines,
    /// Of some full lines what they had no room for.
    stash: HashMap<u32, Vec<u16>>,
    marks: u64,
}

impl Shard {
    /// An empty shard with room for so many marks.
    fn with_room(marks: u64) -> io::Result<Self> {
        let fill = if marks < DOUBLE_BELOW { GROW_FILL / 2 } else { BUILT_FILL };
        Self::with_lines(marks.div_ceil(fill).max(LEAST_LINES) as usize)
    }

    fn with_lines(lines: usize) -> io::Result<Self> {
        Ok(Self { lines: Lines::zeroed(lines)?, stash: HashMap::new(), marks: 0 })
    }

    fn line(&self, id: Id128) -> usize {
        Homes(self.lines.len()).of(Id128(u128::from((id.0 as u64) << SHARD_BITS)))
    }

    fn touch(&self, id: Id128) {
        self.lines.touch(self.line(id));
    }

    fn tags(&self, id: Id128) -> u16 {
        let (at, print) = (self.line(id), print(id));
        let line = self.lines.get(at);
        let tags = tags_of(&line, print);
        match is_full(&line).then(|| self.stash.get(&(at as u32))).flatten() {
            Some(more) => tags | tags_among(more, print),
            None => tags,
        }
    }

    /// Adds a mark, unless one that looks the same is there.
    fn insert(&mut self, id: Id128, tag: u16) {
        let at = self.line(id);
        let mark = print(id) << TAG_BITS | tag;
        let line = self.lines.get(at);
        if line.iter().fold(false, |any, &held| any | (held == mark)) {
            return;
        }
        if !is_full(&line) {
            self.lines.set_word(at, len(&line), mark);
        } else {
            let more = self.stash.entry(at as u32).or_default();
            if more.contains(&mark) {
                return;
            }
            more.push(mark);
        }
        self.marks += 1;
    }

    /// Removes the marks of some tags from a line.
    fn sweep(&mut self, at: usize, dead: u16) {
        let is_dead = |mark: u16| dead >> (mark & (TAGS as u16 - 1)) & 1 == 1;
        let line = self.lines.get(at);
        let mut kept = [0; WORDS];
        let mut len = 0;
        for &mark in line.iter().take_while(|&&mark| mark != 0) {
            if is_dead(mark) {
                self.marks -= 1;
            } else {
                kept[len] = mark;
                len += 1;
            }
        }
        if is_full(&line)
            && let Some(mut more) = self.stash.remove(&(at as u32))
        {
            let before = more.len();
            more.retain(|&mark| !is_dead(mark));
            self.marks -= (before - more.len()) as u64;
            // A line that is not full has nothing in the map.
            while len < WORDS
                && let Some(mark) = more.pop()
            {
                kept[len] = mark;
                len += 1;
            }
            if !more.is_empty() {
                self.stash.insert(at as u32, more);
            }
        }
        self.lines.set(at, &kept);
    }

    fn memory_bytes(&self) -> u64 {
        let stash = self.stash.allocation_size() + self.stash.values().map(|more| more.capacity() * 2).sum::<usize>();
        self.lines.bytes() + stash as u64
    }

    fn holds(&self, fill: u64) -> u64 {
        self.lines.len() as u64 * fill
    }
}

/// Never 0, which is no mark.
fn print(id: Id128) -> u16 {
    ((id.0 >> 64) as u16 >> TAG_BITS).max(1)
}

/// The tag of a log file.
pub(super) fn tag_of(number: u64) -> u16 {
    (number % TAGS) as u16
}

pub(super) struct Sieve {
    shards: Vec<Shard>,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Default)]
pub(super) struct Sweep {
    shard: usize,
    line: usize,
}

impl Sieve {
    /// An empty sieve with room for so many marks.
    pub(super) fn with_room(marks: u64) -> io::Result<Self> {
        Ok(Self { shards: (0..SHARDS).map(|_| Shard::with_room(share(marks))).collect::<io::Result<_>>()? })
    }

    /// Bytes of memory for so many marks, growth included.
    pub(super) fn memory_for(marks: u64) -> u64 {
        share(marks).div_ceil(BUILT_FILL) * LINE as u64 * (SHARDS as u64 + 1)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.shards.iter().map(Shard::memory_bytes).sum()
    }

    /// Brings the line of an id into the cache.
    pub(super) fn touch(&self, id: Id128) {
        self.shards[shard_of(id)].touch(id);
    }

    /// One bit per tag of the buckets that an id may be in.
    pub(super) fn tags(&self, id: Id128) -> u16 {
        self.shards[shard_of(id)].tags(id)
    }

    /// Adds the marks of a batch.
    pub(super) fn fill(&mut self, number: u64, batch: &Batch<'_>) {
        let tag = tag_of(number);
        for cells in batch.cells.chunks(TOGETHER) {
            cells.iter().for_each(|cell| self.touch(id_of(cell)));
            for cell in cells {
                let id = id_of(cell);
                self.shards[shard_of(id)].insert(id, tag);
            }
        }
    }

    /// The first shard without room for its share of `more` marks.
    pub(super) fn without_room_for(&self, more: u64) -> Option<usize> {
        self.shards.iter().position(|shard| shard.marks + share(more) > shard.holds(MOST_FILL))
    }

    /// The first shard that should be built anew: larger, or smaller if so many marks are not expected either.
    pub(super) fn out_of_shape(&self, expected: u64) -> Option<usize> {
        self.shards.iter().position(|shard| {
            let small = shard.lines.len() as u64 <= LEAST_LINES;
            let too_large = shard.marks.max(share(expected)) < shard.holds(LEAST_FILL);
            shard.marks >= shard.holds(GROW_FILL) || too_large && !small
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.marks == 0)
    }

    /// How many marks a shard holds, if it soon takes its share of so many more.
    pub(super) fn marks(&self, shard: usize, more: u64) -> u64 {
        self.shards[shard].marks + share(more)
    }

    /// Puts a shard in the place of another; gives back the old one.
    pub(super) fn replace(&mut self, shard: usize, new: Shard) -> Shard {
        std::mem::replace(&mut self.shards[shard], new)
    }

    /// Removes the marks of some tags from some lines, from `next` on. Gives where to go on; `None` when all are swept.
    pub(super) fn sweep(&mut self, next: Sweep, lines: usize, dead: u16) -> Option<Sweep> {
        let shard = &mut self.shards[next.shard];
        let to = (next.line + lines).min(shard.lines.len());
        (next.line..to).for_each(|line| shard.sweep(line, dead));
        if to < shard.lines.len() {
            Some(Sweep { line: to, ..next })
        } else {
            (next.shard + 1 < SHARDS).then_some(Sweep { shard: next.shard + 1, line: 0 })
        }
    }
}

fn shard_of(id: Id128) -> usize {
    (id.0 as u64 >> (64 - SHARD_BITS)) as usize
}

/// A shard's share of so many marks; hashing spreads them evenly enough, and a shard never refuses one too many.
fn share(marks: u64) -> u64 {
    marks.div_ceil(SHARDS as u64)
}

/// A shard built from the log.
pub(super) struct Built {
    pub(super) which: usize,
    pub(super) shard: Shard,
    /// The file, and the cell in it, up to which it has all marks.
    pub(super) reached: (u64, u64),
    /// The first file of the log when it was begun.
    pub(super) front: u64,
}

/// Builds a shard with room for so many marks from files of the log.
pub(super) fn build(segments: &[Arc<Segment>], which: usize, room: u64, cancel: &Cancel) -> Result<Built, Stop> {
    let front = segments.first().map_or(0, |segment| segment.number);
    let shard = Shard::with_room(room).map_err(StoreError::Memory)?;
    let mut built = Built { which, shard, reached: (front, Segment::first_batch()), front };
    loop {
        built.add(segments.iter(), || cancel.check())?;
        // The lane may write more to the last file meanwhile.
        if segments.last().is_none_or(|last| last.end() <= built.reached.1 + NEAR) {
            return Ok(built);
        }
    }
}

impl Built {
    /// Adds what files hold beyond the cell that was reached.
    pub(super) fn add<'a, E: From<StoreError>>(
        &mut self,
        segments: impl Iterator<Item = &'a Arc<Segment>>,
        mut go_on: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let (number, cell) = self.reached;
        for segment in segments.filter(|segment| segment.number >= number) {
            let from = if segment.number == number { cell } else { Segment::first_batch() };
            let tag = tag_of(segment.number);
            let end = segment.scan_whole(from, |batch| {
                go_on()?;
                self.fill(tag, batch.cells);
                Ok::<_, E>(())
            })?;
            self.reached = (segment.number, end);
        }
        Ok(())
    }

    fn fill(&mut self, tag: u16, cells: &[[u8; segment::CELL]]) {
        let ours = |cell: &&[u8; segment::CELL]| shard_of(id_of(cell)) == self.which;
        for cells in cells.chunks(TOGETHER * SHARDS) {
            cells.iter().filter(ours).for_each(|cell| self.shard.touch(id_of(cell)));
            for cell in cells.iter().filter(|cell| shard_of(id_of(cell)) == self.which) {
                self.shard.insert(id_of(cell), tag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// An id for one of two lines, with one of few prints, so that tests overflow lines on purpose.
    fn id(line: u64, print: u64) -> Id128 {
        Id128(u128::from(print + 1) << (64 + TAG_BITS) | u128::from(line << 60))
    }

    proptest! {
        /// Two lines for up to 200 marks: most stand in the map.
        #[test]
        fn a_shard_agrees_with_a_set_however_crowded(
            steps in prop::collection::vec((0..2_u64, 0..50_u64, 0..TAGS as u16, prop::bool::weighted(0.02)), 1..400)
        ) {
            let mut shard = Shard::with_lines(2).unwrap();
            let mut model: HashSet<(u64, u64, u16)> = HashSet::new();
            for (line, print, tag, sweep) in steps {
                shard.insert(id(line, print), tag);
                model.insert((line, print, tag));
                if sweep {
                    (0..2).for_each(|line| shard.sweep(line, 1 << tag | 1));
                    model.retain(|held| held.2 != tag && held.2 != 0);
                }
                prop_assert_eq!(shard.marks, model.len() as u64);
            }
            for line in 0..2 {
                for print in 0..50 {
                    let tags = (0..TAGS as u16).filter(|&tag| model.contains(&(line, print, tag)));
                    prop_assert_eq!(shard.tags(id(line, print)), tags.fold(0, |tags, tag| tags | 1 << tag));
                }
            }
            (0..2).for_each(|line| shard.sweep(line, u16::MAX));
            prop_assert!(shard.marks == 0 && shard.stash.is_empty() && (0..2).all(|line| shard.lines.get(line) == [0; WORDS]));
        }
    }
}
