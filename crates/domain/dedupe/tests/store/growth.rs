//! How it grows, seals and expires.

use super::*;

#[test]
fn expiry_deletes_whole_buckets_and_gives_their_memory_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for bucket in 0..4 {
        apply(&mut store, bucket * 30_000..(bucket + 1) * 30_000, (1 + bucket as i64 * 6) * HOUR);
        store.settle().unwrap();
    }
    let counts = |store: &mut LogStore| [0, 1, 2, 3].map(|bucket| found(store, bucket * 30_000..(bucket + 1) * 30_000));
    assert_eq!(counts(&mut store), [30_000; 4]);
    let full = store.memory_bytes();
    store.expire(7 * HOUR).unwrap();
    store.settle().unwrap();
    assert_eq!(counts(&mut store), [0, 30_000, 30_000, 30_000]);
    assert_eq!((logs(folder.path()).len(), seals(folder.path()).len()), (3, 2));
    // The bucket that is written to holds the position, and stays.
    store.expire(1_000 * HOUR).unwrap();
    store.settle().unwrap();
    assert_eq!(counts(&mut store), [0, 0, 0, 30_000]);
    assert_eq!((logs(folder.path()).len(), seals(folder.path()).len()), (1, 0));
    // At 14 bits a mark.
    assert!(store.memory_bytes() + 80_000 * 14 / 8 < full, "{full} bytes before, {} now", store.memory_bytes());
    let position = store.position();
    drop(store);
    assert_eq!(open(folder.path()).0.position(), position);
}

#[test]
fn a_lane_that_falls_silent_gives_its_last_bucket_back_too() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..100_000, HOUR);
    let full = store.memory_bytes();
    store.expire(2 * HOUR).unwrap();
    // An idle lane commits without marks.
    apply(&mut store, [], 0);
    store.expire(2 * HOUR).unwrap();
    store.settle().unwrap();
    assert_eq!((store.ids_held(), logs(folder.path()).len()), (0, 1));
    assert!(store.memory_bytes() < full / 2, "{full} bytes before, {} now", store.memory_bytes());
    let position = apply(&mut store, [], 0);
    drop(store);
    assert_eq!(open(folder.path()).0.position(), Some(position));
}

/// Three times the window through a store that begins small: it grows while it is filled, and misses nothing.
#[test]
fn it_grows_and_shrinks_with_what_it_holds_and_misses_nothing() {
    const A_BUCKET: u64 = 40_000;
    const KEPT: u64 = 3;
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for bucket in 0..KEPT * 3 {
        let received_at = bucket as i64 * 6 * HOUR;
        let first = bucket * A_BUCKET;
        for batch in (first..first + A_BUCKET).step_by(500) {
            apply(&mut store, batch..batch + 500, received_at);
        }
        store.expire(received_at - KEPT as i64 * 6 * HOUR).unwrap();
        // Every key is at its own offset.
        let oldest = (bucket + 1).saturating_sub(KEPT) * A_BUCKET;
        let ids: Vec<Id128> = (oldest..first + A_BUCKET).map(id).collect();
        for (hit, offset) in hits(&mut store, &ids).into_iter().zip(oldest..) {
            assert_eq!(hit.map(|hit| hit.offset), Some(offset));
        }
        assert_eq!(found(&mut store, 10_000_000..10_001_000), 0);
        assert!(store.ids_held() <= (KEPT + 1) * A_BUCKET, "{} ids", store.ids_held());
    }
    store.settle().unwrap();
    // A sieve for a bucket more than the window, with homes for as many as the window may come to have; and a table
    // that was built for as many ids as one has.
    let most = ((KEPT + 1) * A_BUCKET * 13 + 24 * A_BUCKET * 3 / 2) / 8 + A_BUCKET * 64 / 7;
    assert!(store.memory_bytes() <= most, "{} bytes, {most} at most", store.memory_bytes());
    drop(store);
    let (mut store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    assert_eq!(hits(&mut store, &[id(KEPT * 3 * A_BUCKET - 1)])[0].unwrap().offset, KEPT * 3 * A_BUCKET - 1);
}

/// The sieve is made for as many marks as the bucket before leads one to expect; then come more, or fewer.
#[test]
fn buckets_that_are_a_thousand_times_larger_or_smaller_than_the_one_before_are_found_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let mut starts = vec![0];
    for (bucket, marks) in [10, 60_000, 5, 5, 200_000, 1, 1].into_iter().enumerate() {
        let first = starts[bucket];
        starts.push(first + marks);
        apply(&mut store, first..first + marks, bucket as i64 * 6 * HOUR);
        // Before the sieve has the marks of the bucket that was closed, and after it.
        for _ in 0..2 {
            let ids: Vec<Id128> = (0..first + marks).map(id).collect();
            assert!(
                hits(&mut store, &ids)
                    .into_iter()
                    .zip(0..)
                    .all(|(hit, offset)| hit.is_some_and(|hit| hit.offset == offset))
            );
            store.settle().unwrap();
        }
    }
    let absent = found(&mut store, 1_000_000..1_100_000);
    let full = store.memory_bytes();
    store.expire(25 * HOUR).unwrap();
    store.settle().unwrap();
    assert_eq!((absent, found(&mut store, 0..starts[5])), (0, 0));
    assert_eq!(found(&mut store, starts[5]..starts[7]), 2);
    assert!(store.memory_bytes() < full / 2, "{full} bytes before, {} now", store.memory_bytes());
}

#[test]
fn the_latest_mark_of_a_key_counts_in_an_open_and_in_a_sealed_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for _ in 0..50 {
        apply(&mut store, [1, 1, 2, 1], HOUR);
    }
    let latest = |store: &mut LogStore| -> Vec<u64> {
        hits(store, &[id(1), id(2)]).iter().map(|hit| hit.unwrap().offset).collect()
    };
    assert_eq!(store.ids_held(), 2);
    assert_eq!(latest(&mut store), [199, 198]);
    apply(&mut store, [3], 7 * HOUR);
    store.settle().unwrap();
    assert_eq!(seals(folder.path()).len(), 1);
    // A hundred and fifty marks of one key fill more than five lines of a seal.
    assert_eq!(latest(&mut store), [199, 198]);
    apply(&mut store, [2], 8 * HOUR);
    assert_eq!(latest(&mut store), [199, 201]);
}

#[test]
fn one_transaction_may_be_larger_than_everything_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..300_000, HOUR);
    assert_eq!(store.ids_held(), 300_000);
    drop(store);
    let (mut store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    assert_eq!(hits(&mut store, &[id(299_999)])[0].unwrap().offset, 299_999);
}

#[test]
fn what_check_prints_bounds_what_a_store_takes() {
    // Ten ids a second for a day, all in one lane.
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    store.set_window(24 * HOUR as u64);
    let mut most = 0;
    for hour in 0..48 {
        apply(&mut store, hour * 36_000..(hour + 1) * 36_000, hour as i64 * HOUR);
        store.expire((hour as i64 - 24) * HOUR).unwrap();
        // A seal that is still being written would count twice.
        store.settle().unwrap();
        most = most.max(store.memory_bytes());
    }
    let bound = LogStore::memory_for(10, 24 * HOUR as u64, 1);
    assert!(most <= bound && bound < most * 2, "{most} bytes, {bound} were printed");
}

#[test]
fn a_window_of_weeks_has_longer_buckets_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    store.set_window(35 * 24 * HOUR as u64);
    for hour in 0..60 * 24 {
        apply(&mut store, hour * 2..hour * 2 + 2, hour as i64 * HOUR);
        store.expire((hour as i64 - 35 * 24) * HOUR).unwrap();
    }
    assert_eq!(found(&mut store, 25 * 24 * 2..60 * 24 * 2), 35 * 24 * 2);
    assert!((28..=31).contains(&logs(folder.path()).len()), "{:?}", logs(folder.path()));
}

/// As for a caller that says nothing of a long window, or keeps marks for good.
#[test]
fn more_buckets_than_can_be_told_apart_become_longer_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for bucket in 0..40 {
        apply(&mut store, bucket * 10..bucket * 10 + 10, bucket as i64 * 6 * HOUR);
    }
    store.settle().unwrap();
    assert_eq!((logs(folder.path()).len(), found(&mut store, 0..500)), (32, 400));
    drop(store);
    let (mut store, opened) = open(folder.path());
    assert_eq!((opened, found(&mut store, 0..500)), (Opened::Reused { dropped_bytes: 0 }, 400));
    // When the first expire, there is room for new ones: the lane waits until the sieve has no marks of them.
    store.expire(30 * HOUR).unwrap();
    for bucket in 40..44 {
        apply(&mut store, bucket * 10..bucket * 10 + 10, bucket as i64 * 6 * HOUR);
    }
    assert_eq!((logs(folder.path()).len(), found(&mut store, 0..500)), (31, 390));
}
