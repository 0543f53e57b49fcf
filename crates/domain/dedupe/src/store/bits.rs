//! Bits in memory of their own: written once from the front, then read at any place.

use std::hint::black_box;
use std::io;

use memmap2::MmapMut;

use super::lines::anonymous;

/// Most bits that are written or read at once.
pub(super) const MOST: u32 = 56;
/// Every write is of eight bytes, and a read of up to sixteen, also the last.
const WORD: usize = 8;
const BEHIND: usize = 16;

/// Bits that are all written.
pub(super) struct Bits {
    memory: MmapMut,
    bytes: usize,
}

/// Bits that are being written.
pub(super) struct BitWriter {
    memory: MmapMut,
    /// Whole bytes written.
    bytes: usize,
    /// Bits that are no whole byte yet, fewer than eight.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// Room for so many bits. Memory is taken as they are written.
    pub(super) fn with_room(bits: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bits.div_ceil(8)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory: anonymous(bytes + BEHIND)?, bytes: 0, pending: 0, pending_bits: 0 })
    }

    /// Appends the lowest `count` bits of a value that has no others; at most [`MOST`].
    #[inline]
    pub(super) fn push(&mut self, value: u64, count: u32) {
        debug_assert!(count <= MOST && value >> count == 0);
        self.pending |= value << self.pending_bits;
        self.pending_bits += count;
        self.memory[self.bytes..self.bytes + WORD].copy_from_slice(&self.pending.to_le_bytes());
        self.bytes += self.pending_bits as usize / 8;
        self.pending >>= self.pending_bits & !7;
        self.pending_bits &= 7;
    }

    /// What was written.
    pub(super) fn finish(self) -> Bits {
        // The byte that is not whole was written with the last push.
        Bits { memory: self.memory, bytes: self.bytes + 1 }
    }
}

impl Bits {
    /// `count` bits from the bit `at` on, at most [`MOST`]; what is behind the last one written is anything.
    #[inline]
    pub(super) fn get(&self, at: u64, count: u32) -> u64 {
        let (byte, bit) = (at as usize / 8, at as u32 % 8);
        let mut word = [0; WORD];
        word.copy_from_slice(&self.memory[byte..byte + WORD]);
        u64::from_le_bytes(word) >> bit & ((1 << count) - 1)
    }

    /// 64 bits from the bit `at` on.
    #[inline]
    pub(super) fn window(&self, at: u64) -> u64 {
        let (byte, bit) = (at as usize / 8, at as u32 % 8);
        let mut words = [0; BEHIND];
        words.copy_from_slice(&self.memory[byte..byte + BEHIND]);
        (u128::from_le_bytes(words) >> bit) as u64
    }

    /// Brings a bit into the cache. A loop over this for many overlaps their misses, which is as good as a prefetch
    /// instruction and needs no unsafe code.
    #[inline]
    pub(super) fn touch(&self, at: u64) {
        black_box(self.memory[at as usize / 8]);
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_read_back_as_they_were_written(values in prop::collection::vec((any::<u64>(), 0..=MOST), 0..200)) {
            let total = values.iter().map(|(_, count)| u64::from(*count)).sum();
            let mut writer = BitWriter::with_room(total).unwrap();
            let values: Vec<(u64, u32)> = values.into_iter().map(|(value, count)| (value & ((1 << count) - 1), count)).collect();
            values.iter().for_each(|&(value, count)| writer.push(value, count));
            let bits = writer.finish();
            let mut at = 0;
            for (value, count) in values {
                prop_assert_eq!(bits.get(at, count), value);
                prop_assert_eq!(bits.window(at) & ((1 << count) - 1), value);
                at += u64::from(count);
            }
            prop_assert_eq!(at, total);
            prop_assert_eq!(bits.bytes(), total / 8 + 1);
        }
    }
}
