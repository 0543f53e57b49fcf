//! Which of the closed buckets an id may be in, for less than two bytes of memory an id.
//!
//! Eight shards ([`super::shard`]), each of which is made anew when a bucket was closed or has expired: merged from
//! the shard as it is, without the marks of expired buckets, and from the log of the buckets that were closed. That
//! happens on a thread beside the lane while the lane goes on with the shard as it was, one shard at a time, so that
//! it needs an eighth more memory and not twice as much.
//!
//! A shard with far too few or too many homes for its marks gets others. That needs the full ids again, which are in
//! the log only, so then the logs of all closed buckets are read.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::StoreError;
use super::beside::{Cancel, Stop};
use super::segment::{Segment, id_of};
use super::shard::{Homes, Mark, Shard, Spot, TAGS};
use crate::key::Id128;

/// One bit per tag of a bucket.
pub(super) type Tags = u32;
/// The highest bits of an id's low half choose the shard.
pub(super) const SHARD_BITS: u32 = 3;
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
/// A shard with more marks a home gets more homes: more absent ids look like its marks.
const MOST_LOAD: u64 = 2;
/// A shard with so many times the homes that its marks need gets fewer.
const MOST_ROOM: u64 = 8;
/// More marks than so many times those that there are, are not expected: the first bucket may be an import.
const MOST_EXPECTED: u64 = 4;
/// A shard with so few homes is left as it is.
const FEW_HOMES: u64 = 1 << 10;
/// Marks of the log that are merged into a shard at once: 4 MB.
const AT_ONCE: usize = 1 << 19;

/// The tag of a log file.
pub(super) fn tag_of(number: u64) -> u64 {
    number % TAGS
}

fn tags_of(numbers: Range<u64>) -> Tags {
    numbers.fold(0, |tags, number| tags | 1 << tag_of(number))
}

pub(super) fn shard_of(id: Id128) -> usize {
    (id.0 as u64 >> (64 - SHARD_BITS)) as usize
}

/// A shard's share of so many marks; hashing spreads them evenly enough, and a shard never refuses one too many.
pub(super) fn share(marks: u64) -> u64 {
    marks.div_ceil(SHARDS as u64)
}

/// A shard, and the files that it has marks of: from this number on, up to, not including, that.
struct Slot {
    shard: Arc<Shard>,
    from: u64,
    to: u64,
}

/// What marks are merged into.
enum Base {
    /// The shard as it is.
    Held(Arc<Shard>),
    /// An empty one, with homes for so many marks.
    Anew(u64),
}

/// What a shard is to be made of.
pub(super) struct Plan {
    which: usize,
    base: Base,
    /// Closed files that it has no marks of.
    segments: Vec<Arc<Segment>>,
    /// Tags of files that it has marks of and that are gone.
    dead: Tags,
    from: u64,
    to: u64,
}

/// A shard that was made.
pub(super) struct Built {
    which: usize,
    slot: Slot,
}

pub(super) struct Sieve {
    slots: Vec<Slot>,
}

impl Sieve {
    /// An empty sieve with homes for so many marks.
    pub(super) fn for_marks(marks: u64) -> io::Result<Self> {
        let slot = |_| Ok(Slot { shard: Arc::new(Shard::for_marks(share(marks))?), from: 0, to: 0 });
        Ok(Self { slots: (0..SHARDS).map(slot).collect::<io::Result<_>>()? })
    }

    /// The sieve of files with these numbers.
    pub(super) fn of(shards: Vec<Shard>, files: &Range<u64>) -> Self {
        let slot = |shard| Slot { shard: Arc::new(shard), from: files.start, to: files.end };
        Self { slots: shards.into_iter().map(slot).collect() }
    }

    /// Bytes of memory for so many marks, a shard that is being made included; so many of them are added at a time.
    pub(super) fn memory_for(marks: u64, more: u64) -> u64 {
        let waiting = share(more).min(AT_ONCE as u64) * size_of::<Mark>() as u64;
        Shard::memory_for(share(marks)) * (SHARDS as u64 + 1) + waiting
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.shard.memory_bytes()).sum()
    }

    /// For each id one bit per tag of the buckets that it may be in. Each step is done for all ids before the next
    /// is, so that their cache misses overlap. `spots` is room to work in.
    pub(super) fn tags<'a>(&'a self, ids: &'a [Id128], spots: &'a mut Vec<Spot>) -> impl Iterator<Item = Tags> + 'a {
        let shard = |id: &Id128| &*self.slots[shard_of(*id)].shard;
        spots.clear();
        spots.extend(ids.iter().map(|id| shard(id).spot(*id)));
        ids.iter().zip(&mut *spots).for_each(|(id, spot)| shard(id).approach(spot));
        ids.iter().zip(&*spots).map(move |(id, spot)| shard(id).tags(spot))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.shard.marks() == 0)
    }

    /// The first file that it may have marks of.
    pub(super) fn from(&self) -> u64 {
        self.slots.iter().map(|slot| slot.from).min().unwrap_or(0)
    }

    /// What is to be made first, if anything is: when closed files come before `front`, or it has not all marks of
    /// these. `expected` is how many marks a window may come to have.
    pub(super) fn plan<'a>(
        &mut self,
        closed: impl DoubleEndedIterator<Item = &'a Arc<Segment>> + Clone,
        front: u64,
        expected: u64,
    ) -> Option<Plan> {
        let end = closed.clone().next_back().map_or(0, |last| last.number + 1);
        for (which, slot) in self.slots.iter_mut().enumerate() {
            if slot.shard.marks_of(tags_of(slot.from..front.min(slot.to))) == 0 {
                slot.from = slot.from.max(front);
                slot.to = slot.to.max(front);
            }
            let files = front..end.max(slot.to);
            if slot.from < files.start || slot.to < files.end {
                return Some(slot.plan(which, closed, files, share(expected)));
            }
        }
        None
    }

    /// Puts a shard that was made in the place of the one that it was made from, and gives that back.
    pub(super) fn adopt(&mut self, built: Built) -> impl Send + use<> {
        std::mem::replace(&mut self.slots[built.which], built.slot).shard
    }
}

impl Slot {
    /// `which` shard is to have the marks of the closed files with these numbers.
    fn plan<'a>(
        &self,
        which: usize,
        closed: impl Iterator<Item = &'a Arc<Segment>> + Clone,
        files: Range<u64>,
        expected: u64,
    ) -> Plan {
        let dead = tags_of(self.from..files.start.min(self.to));
        let more: Vec<_> = closed.clone().filter(|segment| segment.number >= self.to).cloned().collect();
        // Cells are at least as many as marks.
        let marks =
            self.shard.marks() - self.shard.marks_of(dead) + share(more.iter().map(|segment| segment.end()).sum());
        let (Homes(homes), wanted) = (self.shard.homes(), marks.max(expected.min(marks * MOST_EXPECTED)));
        // Without marks it was made for those that are coming.
        let is_roomy = self.shard.marks() > 0 && homes > FEW_HOMES.max(wanted * MOST_ROOM);
        let (base, segments, dead) = if marks > homes * MOST_LOAD || is_roomy {
            (Base::Anew(wanted), closed.cloned().collect(), 0)
        } else {
            (Base::Held(Arc::clone(&self.shard)), more, dead)
        };
        Plan { which, base, segments, dead, from: files.start, to: files.end }
    }
}

impl Plan {
    /// Makes the shard.
    pub(super) fn build(self, cancel: &Cancel) -> Result<Built, Stop> {
        let Self { which, base, segments, mut dead, from, to } = self;
        let mut shard = match base {
            Base::Held(shard) => shard,
            Base::Anew(marks) => Arc::new(Shard::for_marks(marks).map_err(StoreError::Memory)?),
        };
        // An eighth more than its share, so that it need not grow.
        let cells: u64 = segments.iter().map(|segment| segment.end()).sum();
        let mut marks = Vec::with_capacity(AT_ONCE.min(share(cells + cells / 8) as usize));
        for segment in &segments {
            let tag = tag_of(segment.number);
            segment.scan_whole(Segment::first_batch(), |batch| {
                cancel.check()?;
                for id in batch.cells.iter().map(id_of).filter(|&id| shard_of(id) == which) {
                    if marks.len() == AT_ONCE {
                        shard = Arc::new(merged(&shard, std::mem::take(&mut dead), &mut marks)?);
                    }
                    marks.push(shard.homes().mark(id, tag));
                }
                Ok::<_, Stop>(())
            })?;
        }
        if dead != 0 || !marks.is_empty() {
            shard = Arc::new(merged(&shard, dead, &mut marks)?);
        }
        Ok(Built { which, slot: Slot { shard, from, to } })
    }
}

/// Merges marks into a shard, and empties them.
pub(super) fn merged(shard: &Shard, dead: Tags, marks: &mut Vec<Mark>) -> Result<Shard, StoreError> {
    marks.sort_unstable();
    let merged = shard.merged(dead, marks).map_err(StoreError::Memory)?;
    marks.clear();
    Ok(merged)
}
