//! A disk without room: an error that says so, and nothing lost or half there once there is room again.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "HOOKLINE_TEST_FULL";

/// `/dev/full` answers every write as a full disk does.
#[test]
fn a_full_disk_is_an_error_and_the_store_says_that_it_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let before = apply(&mut store, 0..10, HOUR);
    symlink("/dev/full", folder.path().join("bucket-1.log")).unwrap();
    let (entries, position) = transaction(Some(before), [10], 7 * HOUR);
    let error = store.apply(&entries, position).unwrap_err();
    assert!(is_full(&error), "{error}");
    for later in [
        store.apply(&entries, position).unwrap_err(),
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
    store.apply(&entries, position).unwrap();
}

fn is_full(error: &StoreError) -> bool {
    use std::io::ErrorKind::{FileTooLarge, StorageFull};
    matches!(error, StoreError::Io { source, .. } if matches!(source.kind(), StorageFull | FileTooLarge))
}

/// Applies until there is no room. Gives the position that it holds, and the transaction that comes next: the one that had no
/// room, or the one after it, if what had none was the seal of a bucket that the transaction closed.
fn fill(store: &mut LogStore) -> (Option<SeenPosition>, Vec<Entry>, SeenPosition) {
    loop {
        let key = store.position().map_or(0, |position| position.raw_hi);
        // Odd sizes, so that what is left of the room is not a whole number of batches.
        let (entries, position) = transaction(store.position(), key..key + 37 + key % 11, key as i64 * 5_000);
        match store.apply(&entries, position) {
            Ok(()) => {}
            Err(error) => {
                assert!(is_full(&error), "{error}");
                assert!(error.to_string().contains(&*store.folder().to_string_lossy()), "{error}");
                let held = store.position();
                if held == Some(position) {
                    let key = position.raw_hi;
                    let (entries, position) = transaction(held, [key], key as i64 * 5_000);
                    return (held, entries, position);
                }
                return (held, entries, position);
            }
        }
    }
}

/// A file may not become larger than so and so, as a process may be told: the write that passes it is a partial one.
#[test]
fn a_write_that_ends_half_way_leaves_the_batches_before_it() {
    let folder = tempfile::tempdir().unwrap();
    // `ulimit -f` counts 512 bytes; the signal that goes with it is ignored, so that the write says it.
    run_in("sh", &["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"], "limited_files", folder.path());
    let (mut store, opened) = open(folder.path());
    assert!(matches!(opened, Opened::Reused { .. }), "{opened:?}");
    let position = store.position().unwrap();
    assert_eq!(found(&mut store, 0..position.raw_hi + 500) as u64, position.raw_hi);
    apply(&mut store, [position.raw_hi], 0);
}

/// Not a test of its own: runs where files are limited.
#[test]
#[ignore = "run by a_write_that_ends_half_way_leaves_the_batches_before_it"]
fn limited_files() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    for _ in 0..3 {
        let (mut store, _) = open(folder);
        let (held, ..) = fill(&mut store);
        drop(store);
        let (store, opened) = open(folder);
        assert!(matches!(opened, Opened::Reused { dropped_bytes } if dropped_bytes < 32 * 50), "{opened:?}");
        assert_eq!(store.position(), held);
    }
}

/// On a file system of its own, of two megabytes, where the machine lets a test have one.
#[test]
fn a_lane_on_a_full_disk_fails_until_there_is_room_and_then_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=2m tmpfs {} && exec \"$@\"", folder.path().display());
    let may = Command::new("unshare").args(["-rm", "sh", "-c", &mount, "sh", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this machine lets no test mount a file system (unshare -rm), so no disk was filled");
        return;
    }
    run_in("unshare", &["-rm", "sh", "-c", &mount, "sh"], "limited_disk", folder.path());
}

/// Not a test of its own: runs where the disk is small.
#[test]
#[ignore = "run by a_lane_on_a_full_disk_fails_until_there_is_room_and_then_goes_on_where_it_was"]
fn limited_disk() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (ballast, folder) = (Path::new(&folder).join("ballast"), Path::new(&folder).join("window-0"));
    fs::write(&ballast, vec![1; 256 << 10]).unwrap();
    let (mut store, _) = open(&folder);
    let (held, entries, position) = fill(&mut store);
    drop(store);
    for _ in 0..3 {
        // As the lane does: open again, read the rest of `seen`, fail again. Opening fails if a seal has no room.
        let mut store = match LogStore::open(&folder, &identity(), 0) {
            Ok((store, opened)) => {
                assert!(matches!(opened, Opened::Reused { .. }), "{opened:?}");
                store
            }
            Err(error) => {
                assert!(is_full(&error), "{error}");
                continue;
            }
        };
        assert_eq!(store.position(), held);
        let raw_hi = held.map_or(0, |held| held.raw_hi);
        assert_eq!(found(&mut store, 0..raw_hi + 100) as u64, raw_hi);
        // What was cut off may have left room for one more.
        match store.apply(&entries, position) {
            Ok(()) => break,
            Err(error) => assert!(is_full(&error), "{error}"),
        }
    }
    fs::remove_file(ballast).unwrap();
    let (mut store, _) = open(&folder);
    if store.position() == held {
        store.apply(&entries, position).unwrap();
    }
    let before = store.position().unwrap();
    let (after, ..) = fill(&mut store);
    assert!(after.unwrap().raw_hi > before.raw_hi);
}

/// Runs a test of this binary behind a command, and expects it to pass.
fn run_in(command: &str, args: &[&str], test: &str, folder: &Path) {
    let output = Command::new(command)
        .args(args)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("disk_full::{test}"), "--nocapture"])
        .env(FOLDER, folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}
