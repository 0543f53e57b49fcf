//! What holds for the store on disk: it agrees with the model whatever happens to it, and says what it cannot do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its setup too")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dedupe::{
    Entry, Hit, Id128, Identity, KeyHasher, LogStore, MemoryStore, Opened, SeenPosition, StoreError, WindowStore,
};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000;

fn identity() -> Identity {
    Identity { incarnation: "f00d".to_owned(), lane: 3, recipe_version: 1 }
}

fn open(folder: &Path) -> (LogStore, Opened) {
    LogStore::open(folder, &identity(), 0).unwrap()
}

fn id(key: u64) -> Id128 {
    KeyHasher::new([7; 16]).id128(&key.to_le_bytes())
}

fn hits(store: &mut impl WindowStore, ids: &[Id128]) -> Vec<Option<Hit>> {
    let mut out = Vec::new();
    store.lookup(ids, &mut out).unwrap();
    out
}

/// The files of a store, oldest bucket first.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<(i64, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|item| {
            let path = item.unwrap().path();
            let bucket = path.file_name()?.to_str()?.strip_prefix("bucket-")?.strip_suffix(".log")?.parse().ok()?;
            Some((bucket, path))
        })
        .collect();
    logs.sort_unstable();
    logs.into_iter().map(|(_, path)| path).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// Marks `keys` at the next offsets, all received at one time, as one transaction.
fn apply(store: &mut LogStore, keys: impl IntoIterator<Item = u64>, received_at: i64) -> SeenPosition {
    let from = store.position().map_or(0, |position| position.raw_hi);
    let entries: Vec<Entry> =
        keys.into_iter().zip(from..).map(|(key, offset)| Entry { id: id(key), offset, received_at }).collect();
    let position = SeenPosition {
        next_offset: store.position().map_or(0, |position| position.next_offset) + 2,
        raw_hi: from + entries.len() as u64,
    };
    store.apply(&entries, position).unwrap();
    position
}

#[derive(Clone, Debug)]
enum Step {
    /// Keys, hours since the last step (at times negative), offsets skipped before each key.
    Apply(Vec<(u64, i64, u64)>),
    /// Hours before now.
    Expire(i64),
    Reopen,
    /// Cut so many bytes off the newest file.
    Cut(u64),
    /// Flip bits of the byte so far from the newest file's end.
    Flip(u64, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let marks = prop::collection::vec((0..60_u64, -2..4_i64, 0..3_u64), 0..25);
    let step = prop_oneof![
        12 => marks.prop_map(Step::Apply),
        2 => (0..40_i64).prop_map(Step::Expire),
        1 => Just(Step::Reopen),
        1 => (1..2_000_u64).prop_map(Step::Cut),
        1 => (1..2_000_u64, 1..=255_u8).prop_map(|(back, flip)| Step::Flip(back, flip)),
    ];
    prop::collection::vec(step, 1..60)
}

/// The transactions that the store should hold, and a model made from them.
struct Expected {
    transactions: Vec<(Vec<Entry>, SeenPosition)>,
    expired_before: i64,
}

impl Expected {
    fn position(&self) -> Option<SeenPosition> {
        self.transactions.last().map(|(_, position)| *position)
    }

    fn check(&self, store: &mut LogStore) -> Result<(), TestCaseError> {
        prop_assert_eq!(store.position(), self.position());
        let mut model = MemoryStore::new();
        for (entries, position) in &self.transactions {
            model.apply(entries, *position).unwrap();
        }
        let ids: Vec<Id128> = (0..60).map(id).collect();
        for (id, (found, expected)) in ids.iter().zip(hits(store, &ids).into_iter().zip(hits(&mut model, &ids))) {
            let may_be_gone = expected.is_some_and(|hit| hit.received_at < self.expired_before);
            prop_assert!(found == expected || may_be_gone && found.is_none(), "{id:?}: {found:?}, {expected:?}");
        }
        Ok(())
    }

    /// After the newest file, of `len` bytes, was damaged `back` bytes from its end: the store must be at a batch
    /// boundary, and only batches that reach into the damaged bytes may be missing.
    fn cut_back_to(&mut self, position: Option<SeenPosition>, len: u64, back: u64) -> Result<(), TestCaseError> {
        let header_hit = back > len - 64;
        if header_hit && position.is_none() {
            self.transactions.clear(); // the older files had expired: nothing is left
            return Ok(());
        }
        let mut bytes = 0;
        while self.position() != position {
            prop_assert!(bytes < back, "a batch was lost that ended {bytes} bytes before the end, damage was {back}");
            let Some((entries, _)) = self.transactions.pop() else {
                return Err(TestCaseError::fail(format!("{position:?} is no batch boundary")));
            };
            bytes += 32 * (1 + entries.len() as u64);
        }
        prop_assert!(bytes > 0 || header_hit, "damage went unnoticed");
        Ok(())
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_model_through_reopening_and_torn_tails(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, opened) = open(folder.path());
        prop_assert_eq!(opened, Opened::Fresh);
        let mut expected = Expected { transactions: Vec::new(), expired_before: i64::MIN };
        let mut now = 1_000 * HOUR;
        for step in steps {
            match step {
                Step::Apply(marks) => {
                    let held = expected.position().unwrap_or(SeenPosition { next_offset: 0, raw_hi: 0 });
                    let mut offset = held.raw_hi;
                    let mut entries = Vec::new();
                    for (key, hours, skip) in marks {
                        now += hours * HOUR / 4;
                        offset += skip;
                        entries.push(Entry { id: id(key), offset, received_at: now });
                        offset += 1;
                    }
                    let position = SeenPosition { next_offset: held.next_offset + 2, raw_hi: offset };
                    store.apply(&entries, position).unwrap();
                    expected.transactions.push((entries, position));
                }
                Step::Expire(hours) => {
                    let before = now - hours * HOUR;
                    store.expire(before).unwrap();
                    expected.expired_before = expected.expired_before.max(before);
                }
                Step::Reopen => {
                    drop(store);
                    let opened;
                    (store, opened) = open(folder.path());
                    let reused = if expected.transactions.is_empty() { Opened::Fresh } else { Opened::Reused { dropped_bytes: 0 } };
                    prop_assert_eq!(opened, reused);
                }
                Step::Cut(back) | Step::Flip(back, _) => {
                    drop(store);
                    if let Some(newest) = logs(folder.path()).last() {
                        let file = OpenOptions::new().read(true).write(true).open(newest).unwrap();
                        let len = file.metadata().unwrap().len();
                        let back = back.min(len);
                        if let Step::Flip(_, flip) = step {
                            let mut byte = [0];
                            file.read_exact_at(&mut byte, len - back).unwrap();
                            file.write_all_at(&[byte[0] ^ flip], len - back).unwrap();
                        } else {
                            file.set_len(len - back).unwrap();
                        }
                        // Bytes 44 to 64 of a file are zero and mean nothing.
                        let unnoticed = matches!(step, Step::Flip(..)) && (44..64).contains(&(len - back));
                        (store, _) = open(folder.path());
                        if !unnoticed {
                            expected.cut_back_to(store.position(), len, back)?;
                        }
                    } else {
                        (store, _) = open(folder.path());
                    }
                }
            }
            expected.check(&mut store)?;
        }
    }
}

#[test]
fn damage_in_an_older_file_gives_up_the_later_ones_too() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let first = apply(&mut store, 0..10, HOUR);
    apply(&mut store, 10..20, 2 * HOUR);
    apply(&mut store, 20..30, 7 * HOUR);
    apply(&mut store, 30..40, 13 * HOUR);
    drop(store);
    let files = logs(folder.path());
    assert_eq!(files.len(), 3);
    let file = OpenOptions::new().write(true).open(&files[0]).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let (mut store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Reused { dropped_bytes } if dropped_bytes > 700), "{opened:?}");
    assert_eq!(store.position(), Some(first));
    assert_eq!(hits(&mut store, &[id(9), id(10), id(25), id(35)]).iter().filter(|hit| hit.is_some()).count(), 1);
    assert_eq!(logs(folder.path()).len(), 1);
    // It goes on from there, into buckets whose files were deleted.
    apply(&mut store, 10..20, 7 * HOUR);
    assert!(hits(&mut store, &[id(19)])[0].is_some());
}

#[test]
fn a_file_that_is_missing_gives_up_those_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let first = apply(&mut store, 0..10, HOUR);
    apply(&mut store, 10..20, 7 * HOUR);
    apply(&mut store, 20..30, 13 * HOUR);
    drop(store);
    fs::remove_file(&logs(folder.path())[1]).unwrap();
    let (mut store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Reused { dropped_bytes } if dropped_bytes > 300), "{opened:?}");
    assert_eq!(store.position(), Some(first));
    assert_eq!(hits(&mut store, &[id(25)]), [None]);
}

/// Otherwise the marks of a bucket that has not expired would be missing under a position that covers them.
#[test]
fn a_damaged_oldest_file_discards_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..10, HOUR);
    apply(&mut store, 10..20, 7 * HOUR);
    drop(store);
    OpenOptions::new().write(true).open(&logs(folder.path())[0]).unwrap().write_all_at(&[0], 0).unwrap();
    let (store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Discarded { .. }), "{opened:?}");
    assert_eq!(store.position(), None);
}

#[test]
fn a_store_of_another_lane_incarnation_or_recipe_is_discarded_and_says_so() {
    let others = [
        Identity { incarnation: "beef".to_owned(), ..identity() },
        Identity { lane: 4, ..identity() },
        Identity { recipe_version: 2, ..identity() },
    ];
    for other in others {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = open(folder.path());
        apply(&mut store, 0..10, HOUR);
        drop(store);
        let (mut store, opened) = LogStore::open(folder.path(), &other, 0).unwrap();
        assert!(matches!(&opened, Opened::Discarded { why } if why.contains("lane 3, key recipe 1")), "{opened:?}");
        assert_eq!(store.position(), None);
        assert_eq!(hits(&mut store, &[id(0)]), [None]);
        apply(&mut store, 0..1, HOUR);
        drop(store);
        let (_, opened) = LogStore::open(folder.path(), &other, 0).unwrap();
        assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    }
}

#[test]
fn a_folder_of_log_files_without_an_identity_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..10, HOUR);
    drop(store);
    fs::remove_file(folder.path().join("IDENTITY")).unwrap();
    let (store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Discarded { .. }), "{opened:?}");
    assert_eq!(store.position(), None);
}

#[test]
fn a_folder_in_use_is_locked_until_its_store_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let second = LogStore::open(folder.path(), &identity(), 0);
    assert!(matches!(&second, Err(StoreError::Locked { folder: locked }) if locked == folder.path()), "{second:?}");
    drop(store);
    open(folder.path());
}

#[test]
fn a_discarded_store_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..10, HOUR);
    store.discard().unwrap();
    assert_eq!(logs(folder.path()), Vec::<PathBuf>::new());
    assert_eq!(open(folder.path()).1, Opened::Fresh);
}

/// `/dev/full` answers every write as a full disk does.
#[test]
fn a_full_disk_is_an_error_and_the_store_says_that_it_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let before = apply(&mut store, 0..10, HOUR);
    symlink("/dev/full", folder.path().join("bucket-1.log")).unwrap();
    let entry = Entry { id: id(10), offset: before.raw_hi, received_at: 7 * HOUR };
    let position = SeenPosition { next_offset: before.next_offset + 1, raw_hi: before.raw_hi + 1 };
    let error = store.apply(&[entry], position).unwrap_err();
    assert!(
        matches!(&error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
    for later in [
        store.apply(&[entry], position).unwrap_err(),
        store.lookup(&[id(0)], &mut Vec::new()).unwrap_err(),
        store.expire(0).unwrap_err(),
    ] {
        assert!(matches!(&later, StoreError::Unusable { cause, .. } if *cause == error.to_string()), "{later}");
    }
    assert_eq!(store.position(), Some(before));
    // With room again it is as it was before the write that failed.
    fs::remove_file(folder.path().join("bucket-1.log")).unwrap();
    drop(store);
    let (mut store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    assert_eq!(store.position(), Some(before));
    store.apply(&[entry], position).unwrap();
}

#[test]
fn a_step_out_of_order_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let held = apply(&mut store, 0..10, HOUR);
    let mark = |offset| [Entry { id: id(99), offset, received_at: HOUR }];
    let next = SeenPosition { next_offset: held.next_offset + 1, raw_hi: 12 };
    assert!(matches!(store.apply(&[], held), Err(StoreError::PositionNotNew { .. })));
    assert!(matches!(store.apply(&mark(9), next), Err(StoreError::EntryOutOfOrder { offset: 9, from: 10, to: 12 })));
    assert!(matches!(store.apply(&mark(12), next), Err(StoreError::EntryOutOfOrder { offset: 12, .. })));
    assert_eq!((store.position(), hits(&mut store, &[id(99)])), (Some(held), vec![None]));
    store.apply(&mark(11), next).unwrap();
}

#[test]
fn expiry_deletes_whole_buckets_but_never_the_one_that_holds_the_position() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..10, HOUR);
    apply(&mut store, 10..20, 7 * HOUR);
    let last = apply(&mut store, 20..30, 13 * HOUR);
    store.expire(12 * HOUR - 1).unwrap();
    wait_until("the first bucket is deleted", || logs(folder.path()).len() == 2);
    let counts = |store: &mut LogStore| {
        [0..10, 10..20, 20..30].map(|keys| {
            let ids: Vec<Id128> = keys.map(id).collect();
            hits(store, &ids).iter().filter(|hit| hit.is_some()).count()
        })
    };
    assert_eq!(counts(&mut store), [0, 10, 10]);
    store.expire(1_000 * HOUR).unwrap();
    wait_until("the second bucket is deleted", || logs(folder.path()).len() == 1);
    assert_eq!(counts(&mut store), [0, 0, 10]);
    drop(store);
    assert_eq!(open(folder.path()).0.position(), Some(last));
}

/// Three times the window through a store that begins small: it grows while it is filled, its slots wrap, and what
/// expires leaves the index.
#[test]
fn it_grows_and_shrinks_with_what_it_holds_and_misses_nothing() {
    const A_BUCKET: u64 = 60_000;
    const KEPT: u64 = 4;
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let small = store.memory_bytes();
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
        let absent: Vec<Id128> = (10_000_000..10_001_000).map(id).collect();
        assert_eq!(hits(&mut store, &absent), vec![None; 1_000]);
    }
    assert!(store.memory_bytes() > 2 * small, "{small} bytes at first, {} now", store.memory_bytes());
    // The sweep goes on with every transaction, empty ones too.
    for _ in 0..100 {
        apply(&mut store, [], 0);
    }
    assert!(store.ids_held() <= (KEPT + 1) * A_BUCKET, "{} ids", store.ids_held());
    drop(store);
    let (mut store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    assert_eq!(hits(&mut store, &[id(KEPT * 3 * A_BUCKET - 1)])[0].unwrap().offset, KEPT * 3 * A_BUCKET - 1);
}

#[test]
fn a_key_marked_again_and_again_takes_one_slot() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for _ in 0..50 {
        apply(&mut store, [1, 1, 2, 1], HOUR);
    }
    assert_eq!(store.ids_held(), 2);
    assert_eq!(hits(&mut store, &[id(1), id(2)]).iter().map(|hit| hit.unwrap().offset).collect::<Vec<_>>(), [199, 198]);
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
fn an_interrupted_claim_of_a_folder_leaves_it_fresh() {
    let folder = tempfile::tempdir().unwrap();
    File::create(folder.path().join("IDENTITY.new")).unwrap();
    assert_eq!(open(folder.path()).1, Opened::Fresh);
}
