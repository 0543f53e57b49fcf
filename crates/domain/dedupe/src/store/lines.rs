//! Lines of 64 bytes in memory of their own.
//!
//! Not from the allocator, for two reasons: it keeps most of what is given back to it, as long as a block has less than
//! 32 MB; and a search that misses the cache should not miss the page tables too, so huge pages are asked for.

use std::io;

use memmap2::{Advice, MmapMut};

/// Words of 16 bits in a line.
pub(super) const WORDS: usize = 32;
pub(super) const LINE: usize = WORDS * 2;
const PAGE: usize = 4_096;

pub(super) type Line = [u16; WORDS];

/// So many bytes of zeros, none of them touched.
pub(super) fn anonymous(bytes: usize) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(bytes.max(1))?;
    // A kernel without huge pages says so, and nothing is lost by that.
    let _ = memory.advise(Advice::HugePage);
    Ok(memory)
}

pub(super) struct Lines {
    memory: MmapMut,
    len: usize,
}

impl Lines {
    /// So many lines of zeros, all touched, so that no page fault is left for a search.
    pub(super) fn zeroed(len: usize) -> io::Result<Self> {
        let mut memory = anonymous(len * LINE)?;
        memory.chunks_mut(PAGE).for_each(|page| page[0] = 0);
        Ok(Self { memory, len })
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.len * LINE) as u64
    }

    #[inline]
    pub(super) fn get(&self, at: usize) -> Line {
        let mut line = [0; WORDS];
        for (word, bytes) in line.iter_mut().zip(self.memory.as_chunks::<LINE>().0[at].as_chunks().0) {
            *word = u16::from_ne_bytes(*bytes);
        }
        line
    }

    #[inline]
    pub(super) fn word(&self, at: usize, word: usize) -> u16 {
        u16::from_ne_bytes(self.memory.as_chunks::<LINE>().0[at].as_chunks().0[word])
    }

    pub(super) fn set_word(&mut self, at: usize, word: usize, value: u16) {
        self.memory.as_chunks_mut::<LINE>().0[at].as_chunks_mut().0[word] = value.to_ne_bytes();
    }

    /// Brings a line into the cache. A loop over this for many lines overlaps their misses, which is as good as a prefetch
    /// instruction and needs no unsafe code.
    pub(super) fn touch(&self, at: usize) {
        std::hint::black_box(self.word(at, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_where_its_line_has_it() {
        let mut lines = Lines::zeroed(3).unwrap();
        let line: Line = std::array::from_fn(|word| word as u16 * 1_000);
        line.iter().enumerate().for_each(|(at, &word)| lines.set_word(1, at, word));
        assert_eq!([0, 1, 2].map(|at| lines.get(at)), [[0; WORDS], line, [0; WORDS]]);
        assert_eq!(lines.word(1, 31), 31_000);
    }
}
