//! Whose folder it is, and what is found in it.

use super::*;

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
        apply(&mut store, 10..20, 7 * HOUR);
        store.settle().unwrap();
        drop(store);
        let (mut store, opened) = open_as(folder.path(), &other);
        assert!(matches!(&opened, Opened::Discarded { why } if why.contains("lane 3, key recipe 1")), "{opened:?}");
        assert_eq!(store.position(), None);
        assert_eq!(found(&mut store, 0..20), 0);
        assert_eq!((logs(folder.path()).len(), seals(folder.path()).len()), (0, 0));
        apply(&mut store, 0..1, HOUR);
        drop(store);
        let (_, opened) = open_as(folder.path(), &other);
        assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    }
}

/// The other way round it must not: that version deletes files that are 16 or more numbers behind the last.
#[test]
fn a_store_of_the_version_before_is_taken_over_and_refused_by_it_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let held = apply(&mut store, 0..10, HOUR);
    drop(store);
    let path = folder.path().join("IDENTITY");
    let ours = fs::read_to_string(&path).unwrap();
    let before = ours.replace("window store 3\n", "window store 2\n");
    assert_ne!(ours, before);
    fs::write(&path, before).unwrap();
    let (store, opened) = open(folder.path());
    assert_eq!((opened, store.position()), (Opened::Reused { dropped_bytes: 0 }, Some(held)));
    assert_eq!(fs::read_to_string(&path).unwrap(), ours);
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
    apply(&mut store, 10..20, 7 * HOUR);
    store.discard().unwrap();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, ["LOCK"]);
    assert_eq!(open(folder.path()).1, Opened::Fresh);
}

#[test]
fn an_interrupted_claim_of_a_folder_leaves_it_fresh() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("IDENTITY.new"), "").unwrap();
    assert_eq!(open(folder.path()).1, Opened::Fresh);
}

#[test]
fn what_an_interrupted_sealing_or_deletion_left_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let held = apply(&mut store, 0..10, HOUR);
    drop(store);
    for left in ["bucket-0.seal.new", "bucket-9.seal"] {
        fs::write(folder.path().join(left), "half").unwrap();
    }
    let (store, opened) = open(folder.path());
    assert_eq!((opened, store.position()), (Opened::Reused { dropped_bytes: 0 }, Some(held)));
    assert!(!folder.path().join("bucket-0.seal.new").exists() && seals(folder.path()).is_empty());
}

#[test]
fn a_closed_bucket_that_was_not_sealed_yet_is_sealed_when_the_folder_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    apply(&mut store, 0..10, HOUR);
    apply(&mut store, 10..20, 7 * HOUR);
    store.settle().unwrap();
    drop(store);
    fs::remove_file(&seals(folder.path())[0]).unwrap();
    let (mut store, opened) = open(folder.path());
    assert_eq!(opened, Opened::Reused { dropped_bytes: 0 });
    assert_eq!(seals(folder.path()).len(), 1);
    assert_eq!(found(&mut store, 0..30), 20);
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
