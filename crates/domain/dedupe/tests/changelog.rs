//! What holds for the records of `seen`, whatever is put into them and whatever happens to their bytes.

use hookline_dedupe::changelog::{DecodeError, EncodeError, MAX_RECORD_BYTES, decode, encode};
use hookline_dedupe::{Entry, Id128, Restore};
use proptest::prelude::*;

/// Entries with ascending offsets from `raw_lo`, and the end of a range that holds them.
fn transaction() -> impl Strategy<Value = (u64, u64, Vec<Entry>)> {
    let raw_lo = prop_oneof![0..1_000_u64, 0..u64::MAX / 2];
    let steps = prop::collection::vec((any::<u128>(), 0..5_u64, any::<i64>()), 0..60);
    (raw_lo, steps, 0..5_u64).prop_map(|(raw_lo, steps, behind)| {
        let mut next = raw_lo;
        let entries: Vec<Entry> = steps
            .into_iter()
            .map(|(id, skip, received_at)| {
                let offset = next + skip;
                next = offset + 1;
                Entry { id: Id128(id), offset, received_at }
            })
            .collect();
        (raw_lo, next + behind, entries)
    })
}

fn entry(offset: u64) -> Entry {
    let id = u128::from(offset).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834);
    Entry { id: Id128(id), offset, received_at: 1_785_000_000_000 + offset as i64 / 20 }
}

fn with_valid_checksum(mut value: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&value[..1]), &value[5..]);
    value[1..5].copy_from_slice(&checksum.to_le_bytes());
    value
}

proptest! {
    #[test]
    fn a_transaction_reads_back_as_it_was_written((raw_lo, raw_hi, entries) in transaction()) {
        let values = encode(raw_lo, raw_hi, &entries).unwrap();
        prop_assert_eq!(values.len(), 1);
        let record = decode(&values[0]).unwrap();
        prop_assert_eq!((record.raw_lo, record.raw_hi), (raw_lo, raw_hi));
        prop_assert_eq!(record.entries, entries);
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let random = decode(&bytes);
        prop_assert!(random.is_err(), "32 bits of checksum matched by chance: {random:?}");
        if bytes.len() >= 5 {
            let mut versioned = bytes;
            versioned[0] = 1;
            // Past the checksum: anything that decodes must keep what a record promises.
            if let Ok(record) = decode(&with_valid_checksum(versioned)) {
                prop_assert!(record.raw_lo <= record.raw_hi);
                prop_assert!(encode(record.raw_lo, record.raw_hi, &record.entries).is_ok());
            }
        }
    }

    #[test]
    fn a_changed_byte_never_goes_unnoticed(
        (raw_lo, raw_hi, entries) in transaction(), at in any::<prop::sample::Index>(), flip in 1..=255_u8
    ) {
        let mut value = encode(raw_lo, raw_hi, &entries).unwrap().remove(0);
        let at = at.index(value.len());
        value[at] ^= flip;
        prop_assert!(decode(&value).is_err());
    }

    #[test]
    fn a_record_that_is_cut_or_mended_wrongly_does_not_panic(
        (raw_lo, raw_hi, entries) in transaction(), at in any::<prop::sample::Index>(), flip in any::<u8>(), cut in 0..40_usize
    ) {
        let mut value = encode(raw_lo, raw_hi, &entries).unwrap().remove(0);
        let at = 5 + at.index(value.len() - 5);
        value[at] ^= flip;
        value.truncate(value.len().saturating_sub(cut).max(5));
        if let Ok(record) = decode(&with_valid_checksum(value)) {
            prop_assert!(encode(record.raw_lo, record.raw_hi, &record.entries).is_ok());
        }
    }
}

#[test]
fn a_large_transaction_is_split_into_a_chain_of_values_that_a_fetch_can_carry() {
    let entries: Vec<Entry> = (1_000..51_000).map(entry).collect();
    let values = encode(990, 51_005, &entries).unwrap();
    assert!(values.len() > 1);
    let mut restore = Restore::after(None);
    let mut read = Vec::new();
    for (offset, value) in values.iter().enumerate() {
        assert!(value.len() <= MAX_RECORD_BYTES, "{} bytes", value.len());
        let record = decode(value).unwrap();
        restore.feed(offset as i64, &record).unwrap();
        read.extend(record.entries);
    }
    assert_eq!(read, entries);
    assert_eq!(decode(&values[0]).unwrap().raw_lo, 990);
    assert_eq!(restore.position().unwrap().raw_hi, 51_005);
    // All but the last are full, and an entry takes 18 bytes.
    assert_eq!(values.len(), (50_000 * 18_usize).div_ceil(MAX_RECORD_BYTES));
}

#[test]
fn a_transaction_that_marked_nothing_still_carries_its_range() {
    for (raw_lo, raw_hi) in [(0, 0), (7, 7), (7, 900)] {
        let values = encode(raw_lo, raw_hi, &[]).unwrap();
        assert_eq!(values.len(), 1);
        let record = decode(&values[0]).unwrap();
        assert_eq!((record.raw_lo, record.raw_hi, record.entries.len()), (raw_lo, raw_hi, 0));
    }
}

#[test]
fn entries_outside_their_range_are_refused() {
    assert_eq!(encode(5, 4, &[]), Err(EncodeError::RangeBackwards { raw_lo: 5, raw_hi: 4 }));
    let outside = |offset, from| Err(EncodeError::EntryOutOfOrder { offset, from, to: 10 });
    assert_eq!(encode(5, 10, &[entry(4)]), outside(4, 5));
    assert_eq!(encode(5, 10, &[entry(10)]), outside(10, 5));
    assert_eq!(encode(5, 10, &[entry(7), entry(7)]), outside(7, 8));
}

#[test]
fn another_version_is_named() {
    let mut value = encode(0, 1, &[]).unwrap().remove(0);
    value[0] = 2;
    assert_eq!(decode(&value), Err(DecodeError::UnknownVersion(2)));
}

#[test]
fn the_bytes_of_version_1_stay_as_they_are() {
    let entries = [
        Entry { id: Id128(0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100), offset: 300, received_at: 1_000 },
        Entry { id: Id128(1), offset: 302, received_at: 998 },
    ];
    let value = encode(299, 310, &entries).unwrap().remove(0);
    let mut expected = vec![1, 0, 0, 0, 0, 0xab, 0x02, 11, 2];
    expected.extend(0..16);
    expected.extend([1, 0xd0, 0x0f]);
    expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([1, 3]);
    assert_eq!(value, with_valid_checksum(expected));
}
