//! Names of keys, one behind the other in one piece of memory: an allocation each would cost more than most names.

use crate::codec::{length, put_length};

/// Where a name begins, and two marks. Names begin at multiples of 4 bytes, so 30 bits reach 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(u32);

/// No name: of a place that waits for a new key.
const NONE: u32 = (1 << 30) - 1;
const UNIT: usize = 4;

impl Name {
    pub(crate) const NONE: Self = Self(NONE);
    /// Changed since the last snapshot.
    pub(crate) const CHANGED: u32 = 1 << 31;
    /// In some snapshot.
    pub(crate) const STORED: u32 = 1 << 30;

    pub(crate) fn is_none(self) -> bool {
        self.0 & NONE == NONE
    }

    pub(crate) fn has(self, mark: u32) -> bool {
        self.0 & mark != 0
    }

    /// Sets a mark, and says whether it was set.
    pub(crate) fn set(&mut self, mark: u32, to: bool) -> bool {
        let before = self.has(mark);
        self.0 = if to { self.0 | mark } else { self.0 & !mark };
        before
    }

    fn begins(self) -> usize {
        (self.0 & NONE) as usize * UNIT
    }

    /// The same marks on another place.
    fn moved(self, to: Self) -> Self {
        Self(self.0 & !NONE | to.0 & NONE)
    }
}

/// The names themselves, each behind its length.
#[derive(Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Bytes of names that are gone.
    gone: usize,
}

impl Names {
    /// Adds a name; none beyond 4 GiB of names, where no place could be said.
    pub(crate) fn add(&mut self, name: &str) -> Option<Name> {
        let begins = self.bytes.len();
        let place = u32::try_from(begins / UNIT).ok().filter(|place| *place < NONE)?;
        put_length(name.len(), &mut self.bytes);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(UNIT), 0);
        Some(Name(place))
    }

    /// What the names that are not gone take, in bytes: by the names alone, however they came and went.
    pub(crate) fn in_use(&self) -> usize {
        self.bytes.len().saturating_sub(self.gone)
    }

    pub(crate) fn get(&self, name: Name) -> &str {
        std::str::from_utf8(self.bytes_of(name)).unwrap_or_default()
    }

    pub(crate) fn is(&self, name: Name, text: &str) -> bool {
        same(self.bytes_of(name), text.as_bytes())
    }

    pub(crate) fn bytes_of(&self, name: Name) -> &[u8] {
        let (length, from) = self.length(name.begins());
        self.bytes.get(from..from + length).unwrap_or_default()
    }

    /// How long a name is, and where its text begins.
    fn length(&self, begins: usize) -> (usize, usize) {
        match self.bytes.get(begins) {
            Some(byte) if *byte < 0x80 => (usize::from(*byte), begins + 1),
            _ => self.long_length(begins),
        }
    }

    fn long_length(&self, begins: usize) -> (usize, usize) {
        let behind = self.bytes.get(begins..).and_then(length);
        behind.map_or((0, begins), |(length, rest)| (length, self.bytes.len() - rest.len()))
    }

    /// A name that is needed no more.
    pub(crate) fn remove(&mut self, name: Name) {
        let (length, from) = self.length(name.begins());
        self.gone += (from + length).next_multiple_of(UNIT) - name.begins();
    }

    /// Whether most of the memory is of names that are gone.
    pub(crate) fn is_sparse(&self) -> bool {
        self.gone > 65_536 && self.gone > self.bytes.len() / 2
    }

    /// What it takes in memory.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Moves the names that are left together.
    pub(crate) fn pack<'n>(&mut self, left: impl Iterator<Item = &'n mut Name>) {
        let mut packed = Self::default();
        packed.bytes.reserve_exact(self.bytes.len().saturating_sub(self.gone));
        for name in left.filter(|name| !name.is_none()) {
            // They fitted with more between them.
            *name = name.moved(packed.add(self.get(*name)).unwrap_or(Name::NONE));
        }
        *self = packed;
    }
}

/// Whether two texts are the same. Most have a few bytes, for which a general comparison is mostly its call.
#[inline]
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    // The end first: names of one table mostly begin alike.
    if let (Some(left_end), Some(right_end)) = (left.last_chunk::<8>(), right.last_chunk::<8>()) {
        let eights = left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0);
        return left_end == right_end && eights.map(|(left, right)| (*left, *right)).all(|(left, right)| left == right);
    }
    if let (Some(left_end), Some(right_end)) = (left.last_chunk::<4>(), right.last_chunk::<4>()) {
        return left_end == right_end && left.first_chunk::<4>() == right.first_chunk::<4>();
    }
    left.iter().eq(right)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_if_all_of_their_bytes_are() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).collect();
            assert!(same(&text, &text.clone()));
            assert!(!same(&text, &[&text[..], b"x"].concat()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(!same(&text, &other), "{length} {at}");
            }
        }
    }

    #[test]
    fn a_name_of_any_length_reads_back_and_keeps_its_marks_when_names_are_packed() {
        let mut names = Names::default();
        let texts: Vec<String> = [0, 1, 3, 4, 127, 128, 20_000]
            .iter()
            .map(|length| "ä".repeat(*length))
            .chain(["a\0b".to_owned()])
            .collect();
        let mut placed: Vec<Name> = texts.iter().map(|text| names.add(text).unwrap()).collect();
        placed[3].set(Name::CHANGED, true);
        for (name, text) in placed.iter().zip(&texts) {
            assert!(names.is(*name, text) && names.get(*name) == text && !names.is(*name, "another"));
        }
        assert!(!names.is_sparse());
        names.remove(placed[6]);
        names.remove(placed[1]);
        placed[6] = Name::NONE;
        placed[1] = Name::NONE;
        assert_eq!(names.gone, 40_004 + 4);
        names.gone += 65_536;
        assert!(names.is_sparse());
        names.pack(placed.iter_mut());
        assert!(!names.is_sparse());
        for (name, text) in placed.iter().zip(&texts).filter(|(name, _)| !name.is_none()) {
            assert_eq!(names.get(*name), text);
        }
        assert_eq!((placed[3].has(Name::CHANGED), placed[3].has(Name::STORED)), (true, false));
        assert!(placed[3].set(Name::CHANGED, false) && !placed[3].has(Name::CHANGED));
    }
}
