//! A shard of the sieve: the marks of closed buckets, some 15 bits each, as in a quotient filter. It never changes;
//! another is merged from it and from the marks of the next bucket.
//!
//! An id hashes to a *home*, and there are about as many homes as marks. A mark is the tag of its bucket, 5 bits, and a
//! *remainder*, the 7 bits of the hash that follow those of the home. 24 homes are a group. The bits of a group are its
//! header, which has for each home a one and then a zero for each of its marks, and then its marks in that order. The
//! groups follow one another without gaps; how many marks are before each stands in a separate array (*starts*).
//!
//! A search reads one start, the header and one mark on average, which are within one or two lines of the cache. One
//! absent id in 128 finds a mark that looks like its own, and the bucket then says that it is another's.

use std::io;
use std::iter::Peekable;
use std::ops::Range;

use super::bits::{BitWriter, Bits, MOST};
use super::sieve::{SHARD_BITS, Tags};
use crate::key::Id128;

/// Buckets that can be told apart.
pub(super) const TAGS: u64 = 1 << TAG_BITS;
const TAG_BITS: u32 = 5;
const REMAINDER_BITS: u32 = 7;
const MARK_BITS: u32 = REMAINDER_BITS + TAG_BITS;
/// Homes of a group.
const GROUP: u64 = 24;
/// Bits of a header that are looked at together: nearly always all of it.
const WINDOW: u64 = u64::BITS as u64;
/// Starts of so many bits are read two at a time.
const HALF: u32 = MOST / 2;

/// A mark with its home in front, so that marks are in the order in which a shard has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

impl Mark {
    fn tag(self) -> u64 {
        self.0 & (TAGS - 1)
    }

    fn home(self) -> u64 {
        self.0 >> MARK_BITS
    }

    /// What is held of it.
    fn held(self) -> u64 {
        self.0 & ((1 << MARK_BITS) - 1)
    }
}

/// Where to look for an id.
pub(super) struct Spot {
    hash: u64,
    /// Before it is approached, its number and nothing.
    group: Group,
}

/// Where a group is.
#[derive(Clone, Copy)]
struct Group {
    /// The bit at which its header begins.
    at: u64,
    marks: u64,
}

impl Group {
    fn header(self) -> u64 {
        GROUP + self.marks
    }

    fn mark(self, number: u64) -> u64 {
        self.at + self.header() + number * u64::from(MARK_BITS)
    }
}

/// How many homes a shard has: whole groups.
#[derive(Clone, Copy)]
pub(super) struct Homes(pub(super) u64);

impl Homes {
    /// As many as marks.
    pub(super) fn for_marks(marks: u64) -> Self {
        Self(marks.max(1).next_multiple_of(GROUP))
    }

    fn groups(self) -> u64 {
        self.0 / GROUP
    }

    /// The mark of an id of this shard, in a bucket with this tag.
    pub(super) fn mark(self, id: Id128, tag: u64) -> Mark {
        Mark(self.hash(id) << TAG_BITS | tag)
    }

    /// The home of an id, and the remainder.
    #[inline]
    fn hash(self, id: Id128) -> u64 {
        // The highest bits chose the shard.
        let key = (id.0 as u64) << SHARD_BITS;
        ((u128::from(key) * u128::from(self.0 << REMAINDER_BITS)) >> 64) as u64
    }
}

pub(super) struct Shard {
    homes: Homes,
    marks: u64,
    marks_of: [u64; TAGS as usize],
    /// Of each group, and of the end: how many marks are before it, in `start_bits` bits.
    starts: Bits,
    start_bits: u32,
    groups: Bits,
}

impl Shard {
    /// An empty shard with homes for so many marks.
    pub(super) fn for_marks(marks: u64) -> io::Result<Self> {
        let homes = Homes::for_marks(marks);
        let mut draft = Draft::with_room(homes, 0)?;
        (0..homes.groups()).for_each(|group| draft.write(group * GROUP, &[]));
        Ok(draft.finish())
    }

    /// About how many bytes a shard of so many marks takes.
    pub(super) fn memory_for(marks: u64) -> u64 {
        let start_bits = u64::from(bits_for(marks));
        marks.saturating_mul(u64::from(MARK_BITS) + 2).saturating_add(marks / GROUP * start_bits) / 8
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.starts.bytes() + self.groups.bytes()
    }

    pub(super) fn homes(&self) -> Homes {
        self.homes
    }

    pub(super) fn marks(&self) -> u64 {
        self.marks
    }

    /// How many marks have one of some tags.
    pub(super) fn marks_of(&self, tags: Tags) -> u64 {
        self.marks_of.iter().enumerate().filter(|(tag, _)| tags >> tag & 1 == 1).map(|(_, marks)| marks).sum()
    }

    fn group(&self, number: u64) -> Group {
        let bits = self.start_bits;
        let (at, mask) = (number * u64::from(bits), (1 << bits) - 1);
        let (before, to) = if bits <= HALF {
            let both = self.starts.get(at, 2 * bits);
            (both & mask, both >> bits)
        } else {
            (self.starts.get(at, bits), self.starts.get(at + u64::from(bits), bits))
        };
        Group { at: number * GROUP + before * u64::from(1 + MARK_BITS), marks: to - before }
    }

    /// Where to look for an id. Brings into the cache what says where its group is.
    #[inline]
    pub(super) fn spot(&self, id: Id128) -> Spot {
        let hash = self.homes.hash(id);
        let number = (hash >> REMAINDER_BITS) / GROUP;
        self.starts.touch(number * u64::from(self.start_bits));
        Spot { hash, group: Group { at: number, marks: 0 } }
    }

    /// Finds the group of a spot, and brings it into the cache: its ends, which are nearly always all of it.
    #[inline]
    pub(super) fn approach(&self, spot: &mut Spot) {
        spot.group = self.group(spot.group.at);
        self.groups.touch(spot.group.at);
        self.groups.touch(spot.group.mark(spot.group.marks));
    }

    /// One bit per tag of the marks that look like that of an id, by its spot, which was approached.
    #[inline]
    pub(super) fn tags(&self, spot: &Spot) -> Tags {
        let Spot { hash, group } = *spot;
        let (home, remainder) = ((hash >> REMAINDER_BITS) % GROUP, hash & ((1 << REMAINDER_BITS) - 1));
        let marks = if group.header() <= WINDOW {
            let header = self.groups.window(group.at);
            let place = place_of_one(header, home + 1);
            let (first, zeros) = (place - home, u64::from((header >> place >> 1).trailing_zeros()));
            // The last home ends with the header.
            first..(first + zeros).min(group.marks)
        } else {
            self.marks_of_home(group, home)
        };
        let mut tags = 0;
        for number in marks {
            let held = self.groups.get(group.mark(number), MARK_BITS);
            tags |= Tags::from(held >> TAG_BITS == remainder) << (held & (TAGS - 1));
        }
        tags
    }

    /// Which marks of a group are of a home, whatever the length of its header.
    #[cold]
    fn marks_of_home(&self, group: Group, home: u64) -> Range<u64> {
        let (mut window, mut ones) = (group.at, home + 1);
        let place = loop {
            let bits = self.groups.window(window);
            let here = u64::from(bits.count_ones());
            if ones <= here {
                break window + place_of_one(bits, ones);
            }
            ones -= here;
            window += WINDOW;
        };
        let (mut end, to) = (place + 1, group.at + group.header());
        while end < to && self.groups.get(end, 1) == 0 {
            end += 1;
        }
        place - group.at - home..end - group.at - home - 1
    }

    /// Appends the marks of a group whose tags are not dead.
    fn read(&self, number: u64, group: Group, dead: Tags, marks: &mut Vec<Mark>) {
        let (mut before, mut zeros) = (0, !self.groups.window(group.at));
        for nth in 0..group.marks {
            while zeros == 0 {
                before += WINDOW;
                zeros = !self.groups.window(group.at + before);
            }
            // Of the bits before a zero so many are zeros, and the others ones; the first is that of the first home.
            let home = number * GROUP + before + u64::from(zeros.trailing_zeros()) - nth - 1;
            zeros &= zeros - 1;
            let mark = Mark(home << MARK_BITS | self.groups.get(group.mark(nth), MARK_BITS));
            if dead >> mark.tag() & 1 == 0 {
                marks.push(mark);
            }
        }
    }

    /// A shard of the same homes with these marks besides, which are in order, and without those whose tags are dead.
    pub(super) fn merged(&self, dead: Tags, more: &[Mark]) -> io::Result<Self> {
        let kept = self.marks - self.marks_of(dead);
        let mut draft = Draft::with_room(self.homes, kept + more.len() as u64)?;
        for (tag, (held, drafted)) in self.marks_of.iter().zip(&mut draft.marks_of).enumerate() {
            *drafted = if dead >> tag & 1 == 0 { *held } else { 0 };
        }
        let (mut held, mut marks, mut more) = (Vec::new(), Vec::new(), more.iter().copied().peekable());
        for number in 0..self.homes.groups() {
            let (group, end) = (self.group(number), (number + 1) * GROUP);
            if dead == 0 && more.peek().is_none_or(|mark| mark.home() >= end) {
                draft.copy(&self.groups, group);
                continue;
            }
            held.clear();
            marks.clear();
            self.read(number, group, dead, &mut held);
            merge(
                &held,
                &mut more,
                |mark| mark.home() < end,
                |mark| draft.marks_of[mark.tag() as usize] += 1,
                &mut marks,
            );
            draft.write(number * GROUP, &marks);
        }
        Ok(draft.finish())
    }
}

/// Merges marks with those of others that are `ours`, and tells which were `added`: those that are not held.
fn merge(
    held: &[Mark],
    others: &mut Peekable<impl Iterator<Item = Mark>>,
    ours: impl Fn(&Mark) -> bool,
    mut added: impl FnMut(Mark),
    marks: &mut Vec<Mark>,
) {
    let mut held = held.iter().copied().peekable();
    while let Some(other) = others.next_if(&ours) {
        while let Some(mark) = held.next_if(|mark| *mark <= other) {
            marks.push(mark);
        }
        if marks.last() != Some(&other) {
            marks.push(other);
            added(other);
        }
    }
    marks.extend(held);
}

/// Where the so-manieth one of a word is, which has as many; 1 is the first.
fn place_of_one(word: u64, number: u64) -> u64 {
    const BYTES: u64 = 0x0101_0101_0101_0101;
    // In each byte the ones up to its end: pairs, fours, eights, and then their sums.
    let pairs = word - ((word >> 1) & (BYTES * 0x55));
    let fours = (pairs & (BYTES * 0x33)) + ((pairs >> 2) & (BYTES * 0x33));
    let sums = ((fours + (fours >> 4)) & (BYTES * 0x0f)).wrapping_mul(BYTES);
    // The first byte with enough of them.
    let enough = ((sums | BYTES << 7) - number * BYTES) & BYTES << 7;
    let at = enough.trailing_zeros() & !7;
    let before = sums << 8 >> at & 0xff;
    let mut byte = word >> at & 0xff;
    for _ in 1..number - before {
        byte &= byte - 1;
    }
    u64::from(at + byte.trailing_zeros())
}

/// Bits of the numbers up to this one; at least one.
fn bits_for(most: u64) -> u32 {
    (u64::BITS - most.leading_zeros()).max(1)
}

/// A shard that is being written.
struct Draft {
    homes: Homes,
    marks: u64,
    marks_of: [u64; TAGS as usize],
    starts: BitWriter,
    start_bits: u32,
    groups: BitWriter,
}

impl Draft {
    /// Room for so many marks at most.
    fn with_room(homes: Homes, marks: u64) -> io::Result<Self> {
        let start_bits = bits_for(marks);
        let starts = BitWriter::with_room((homes.groups() + 1) * u64::from(start_bits))?;
        let groups = BitWriter::with_room(homes.0 + marks * u64::from(1 + MARK_BITS))?;
        Ok(Self { homes, marks: 0, marks_of: [0; TAGS as usize], starts, start_bits, groups })
    }

    fn finish(mut self) -> Shard {
        self.starts.push(self.marks, self.start_bits);
        let Self { homes, marks, marks_of, starts, start_bits, groups } = self;
        Shard { homes, marks, marks_of, starts: starts.finish(), start_bits, groups: groups.finish() }
    }

    /// Takes the next group over as it is.
    fn copy(&mut self, from: &Bits, group: Group) {
        self.starts.push(self.marks, self.start_bits);
        let (mut at, end) = (group.at, group.mark(group.marks));
        while at < end {
            let count = (end - at).min(MOST.into()) as u32;
            self.groups.push(from.get(at, count), count);
            at += u64::from(count);
        }
        self.marks += group.marks;
    }

    /// Writes the marks of the next group, in their order.
    fn write(&mut self, first_home: u64, marks: &[Mark]) {
        self.starts.push(self.marks, self.start_bits);
        // Ones, but for a zero for each mark.
        const ONES: u64 = (1 << MOST) - 1;
        let (mut before, mut bits) = (0, ONES);
        for (mark, nth) in marks.iter().zip(0..) {
            let zero = mark.home() - first_home + 1 + nth;
            while zero >= before + u64::from(MOST) {
                self.groups.push(bits, MOST);
                (before, bits) = (before + u64::from(MOST), ONES);
            }
            bits &= !(1 << (zero - before));
        }
        let mut left = GROUP + marks.len() as u64 - before;
        while left > u64::from(MOST) {
            self.groups.push(bits, MOST);
            (left, bits) = (left - u64::from(MOST), ONES);
        }
        self.groups.push(bits & ((1 << left) - 1), left as u32);
        marks.iter().for_each(|mark| self.groups.push(mark.held(), MARK_BITS));
        self.marks += marks.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::key::KeyHasher;

    fn held(shard: &Shard, id: Id128) -> Tags {
        let mut spot = shard.spot(id);
        shard.approach(&mut spot);
        shard.tags(&spot)
    }

    /// An id with this home among 128, and this remainder.
    fn id(home: u64, remainder: u64) -> Id128 {
        let hash = home << REMAINDER_BITS | remainder;
        Id128(u128::from(hash << (64 - 7 - REMAINDER_BITS) >> SHARD_BITS))
    }

    fn marks() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
        // Few homes and remainders, so that homes are crowded and marks alike.
        let home = prop_oneof![0..4_u64, 62..66_u64, 0..128_u64];
        prop::collection::vec((home, 0..40_u64, 0..TAGS), 0..400)
    }

    proptest! {
        /// In particular it never denies a mark that it holds.
        #[test]
        fn a_shard_has_the_marks_that_were_merged_and_no_others(
            rounds in prop::collection::vec((marks(), any::<u32>()), 1..4)
        ) {
            let mut shard = Shard::for_marks(128).unwrap();
            let mut model: BTreeSet<(u64, u64, u64)> = BTreeSet::new();
            for (more, dead) in rounds {
                model.retain(|mark| dead >> mark.2 & 1 == 0);
                model.extend(&more);
                let mut more: Vec<Mark> = more.iter().map(|&(home, remainder, tag)| shard.homes().mark(id(home, remainder), tag)).collect();
                more.sort_unstable();
                shard = shard.merged(dead, &more).unwrap();
                prop_assert_eq!(shard.marks(), model.len() as u64);
                prop_assert_eq!(shard.marks_of(Tags::MAX), shard.marks());
                for home in 0..128 {
                    for remainder in 0..40 {
                        let tags = (0..TAGS).filter(|&tag| model.contains(&(home, remainder, tag)));
                        prop_assert_eq!(held(&shard, id(home, remainder)), tags.fold(0, |tags, tag| tags | 1 << tag));
                    }
                }
            }
        }

        #[test]
        fn any_set_of_ids_in_any_number_of_homes_is_found(
            ids in prop::collection::vec((any::<u128>(), 0..TAGS), 0..300), room in 0..1_000_u64
        ) {
            let shard = Shard::for_marks(room).unwrap();
            let mut marks: Vec<Mark> = ids.iter().map(|&(id, tag)| shard.homes().mark(Id128(id), tag)).collect();
            marks.sort_unstable();
            let shard = shard.merged(0, &marks).unwrap();
            for (id, tag) in ids {
                prop_assert_eq!(held(&shard, Id128(id)) >> tag & 1, 1);
            }
        }

        #[test]
        fn a_one_is_found_where_it_is(word in any::<u64>(), number in 1..=64_u64) {
            let ones = (0..64).filter(|at| word >> at & 1 == 1);
            if let Some(at) = ones.clone().nth(number as usize - 1) {
                prop_assert_eq!(place_of_one(word, number), at);
            }
        }
    }

    #[test]
    fn one_absent_id_in_128_looks_like_a_mark_and_a_mark_takes_less_than_two_bytes() {
        const IDS: u64 = 200_000;
        let hasher = KeyHasher::new([9; 16]);
        let ids = |from: u64| (from..from + IDS).map(|key| hasher.id128(&key.to_le_bytes()));
        let shard = Shard::for_marks(IDS).unwrap();
        let mut marks: Vec<Mark> = ids(0).map(|id| shard.homes().mark(id, id.0 as u64 % TAGS)).collect();
        marks.sort_unstable();
        let shard = shard.merged(0, &marks).unwrap();
        let alike = ids(IDS).filter(|&id| held(&shard, id) != 0).count() as u64;
        assert!((IDS / 140..IDS / 115).contains(&alike), "{alike} of {IDS}");
        let (bytes, expected) = (shard.memory_bytes(), Shard::memory_for(IDS));
        assert!(bytes < IDS * 2 && bytes.abs_diff(expected) < bytes / 50, "{bytes} bytes, {expected} expected");
    }
}
