//! Files that are not as they were written.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::*;

/// Three closed buckets, sealed, of ten marks each, and one that is written to; and the position after each.
fn four_buckets(folder: &Path) -> [SeenPosition; 4] {
    let (mut store, _) = open(folder);
    let positions = [0, 10, 20, 30].map(|key| {
        let position = apply(&mut store, key..key + 10, (1 + key as i64 * 6 / 10) * HOUR);
        store.settle().unwrap();
        position
    });
    assert_eq!((logs(folder).len(), seals(folder).len()), (4, 3));
    positions
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn damage_in_an_older_file_gives_up_what_came_after_it() {
    // The head and the first entry of the second bucket's batch, behind the header.
    for at in 64..128 {
        let folder = tempfile::tempdir().unwrap();
        let positions = four_buckets(folder.path());
        flip(&logs(folder.path())[1], at);
        let (mut store, opened) = open(folder.path());
        assert!(matches!(opened, Opened::Reused { dropped_bytes } if dropped_bytes > 1_000), "{opened:?}");
        assert_eq!((store.position(), found(&mut store, 0..40)), (Some(positions[0]), 10));
        // It goes on from there, into files that were deleted.
        apply(&mut store, 10..40, 7 * HOUR);
        assert_eq!(found(&mut store, 0..40), 40);
    }
}

#[test]
fn a_mark_that_is_damaged_while_the_store_is_open_is_never_believed() {
    // The first entry of the second bucket.
    for at in 96..128 {
        let folder = tempfile::tempdir().unwrap();
        let positions = four_buckets(folder.path());
        let (mut store, _) = open(folder.path());
        flip(&logs(folder.path())[1], at);
        assert_eq!(found(&mut store, (0..10).chain(11..40)), 39, "{at}");
        let error = store.lookup(&[id(10)], &mut Vec::new()).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { byte: 96, .. }), "{at}: {error}");
        let later = store.lookup(&[id(11)], &mut Vec::new()).unwrap_err();
        assert!(matches!(&later, StoreError::Unusable { cause, .. } if *cause == error.to_string()), "{later}");
        drop(store);
        assert_eq!(open(folder.path()).0.position(), Some(positions[0]));
    }
}

#[test]
fn a_file_that_is_missing_gives_up_those_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let positions = four_buckets(folder.path());
    fs::remove_file(&logs(folder.path())[1]).unwrap();
    let (mut store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Reused { dropped_bytes } if dropped_bytes > 700), "{opened:?}");
    assert_eq!((store.position(), found(&mut store, 0..40)), (Some(positions[0]), 10));
    assert_eq!((logs(folder.path()).len(), seals(folder.path()).len()), (1, 1));
}

/// Otherwise the marks of a bucket that has not expired would be missing under a position that covers them.
#[test]
fn a_damaged_oldest_file_discards_the_store() {
    let folder = tempfile::tempdir().unwrap();
    four_buckets(folder.path());
    flip(&logs(folder.path())[0], 0);
    let (store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Discarded { .. }), "{opened:?}");
    assert_eq!(store.position(), None);
}

#[test]
fn a_damaged_seal_costs_nothing_but_its_making() {
    let folder = tempfile::tempdir().unwrap();
    let positions = four_buckets(folder.path());
    let path = &seals(folder.path())[1];
    let whole = fs::read(path).unwrap();
    let ids: Vec<Id128> = (0..40).map(id).collect();
    let mut noticed = 0;
    // Every byte changed, while the folder is closed and while it is open, and the file cut off at every fifth.
    for at in 0..whole.len() * 2 {
        let while_open = (at >= whole.len()).then(|| open(folder.path()));
        let at = at % whole.len();
        if at.is_multiple_of(5) {
            OpenOptions::new().write(true).open(path).unwrap().set_len(at as u64).unwrap();
        } else {
            flip(path, at as u64);
        }
        let (mut store, opened) = while_open.unwrap_or_else(|| open(folder.path()));
        assert_eq!((opened, store.position()), (Opened::Reused { dropped_bytes: 0 }, Some(positions[3])));
        if let Err(error) = store.lookup(&ids, &mut Vec::new()) {
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
            noticed += 1;
            drop(store);
            store = open(folder.path()).0;
        }
        assert_eq!((store.position(), found(&mut store, 0..40)), (Some(positions[3]), 40), "{at}");
        drop(store);
        // Made again where it was noticed.
        fs::write(path, &whole).unwrap();
    }
    assert!(noticed > whole.len() / 2, "{noticed} of {}", whole.len() * 2);
}

#[test]
fn a_closed_file_that_is_longer_than_its_seal_says_is_cut_off_and_sealed_again() {
    let folder = tempfile::tempdir().unwrap();
    let positions = four_buckets(folder.path());
    let log = OpenOptions::new().write(true).open(&logs(folder.path())[2]).unwrap();
    let len = log.metadata().unwrap().len();
    log.set_len(len + 32).unwrap();
    let (mut store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Reused { dropped_bytes } if dropped_bytes > 32), "{opened:?}");
    assert_eq!((store.position(), found(&mut store, 0..40)), (Some(positions[2]), 30));
    drop(store);
    log.set_len(len - 1).unwrap();
    let (mut store, _) = open(folder.path());
    assert_eq!((store.position(), found(&mut store, 0..40)), (Some(positions[1]), 20));
}

#[test]
fn a_seal_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..10, HOUR);
    let blocked = folder.path().join("bucket-0.seal.new");
    fs::create_dir(&blocked).unwrap();
    let (entries, position) = transaction(store.position(), 10..20, 7 * HOUR);
    // It is found either with the next apply or after it, but the marks are written.
    let error = store.apply(&entries, position).and_then(|()| store.settle()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { doing: "write", path, .. } if *path == blocked), "{error}");
    assert!(matches!(store.lookup(&[id(0)], &mut Vec::new()), Err(StoreError::Unusable { .. })));
    drop(store);
    fs::remove_dir(&blocked).unwrap();
    let (mut store, opened) = open(folder.path());
    assert_eq!((opened, store.position()), (Opened::Reused { dropped_bytes: 0 }, Some(position)));
    assert_eq!(found(&mut store, 0..30), 20);
}

#[test]
fn a_file_that_cannot_be_deleted_is_an_error_that_names_it_and_the_store_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for bucket in 0..3 {
        apply(&mut store, [bucket], bucket as i64 * 6 * HOUR);
    }
    store.settle().unwrap();
    let path = &logs(folder.path())[0];
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    store.expire(7 * HOUR).unwrap();
    let error = store.settle().unwrap_err();
    assert!(matches!(&error, StoreError::Io { doing: "delete", path: named, .. } if named == path), "{error}");
    apply(&mut store, [3], 18 * HOUR);
    store.expire(7 * HOUR).unwrap();
    assert_eq!(found(&mut store, 0..4), 2);
}
