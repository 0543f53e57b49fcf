//! A process that is killed in the middle of writing leaves a store that ends at a batch boundary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its setup too")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use dedupe::{Entry, Hit, Id128, Identity, KeyHasher, LogStore, Opened, SeenPosition, WindowStore};

const FOLDER: &str = "DEDUPE_TEST_FOLDER";
/// Marks in a transaction: large enough that a kill often meets a write.
const A_BATCH: u64 = 3_000;

fn open(folder: &Path) -> (LogStore, Opened) {
    let identity = Identity { incarnation: "kill".to_owned(), lane: 0, recipe_version: 1 };
    LogStore::open(folder, &identity, 0).unwrap()
}

/// The mark at an offset: a time that passes a bucket's end every 300,000 offsets.
fn mark(offset: u64) -> Entry {
    let id = KeyHasher::new([1; 16]).id128(&offset.to_le_bytes());
    Entry { id, offset, received_at: offset as i64 * 72 }
}

/// Not a test of its own: the process that [`a_killed_store_ends_at_a_batch_boundary`] kills.
#[test]
#[ignore = "writes until it is killed"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (mut store, _) = open(Path::new(&folder));
    loop {
        let held = store.position().unwrap_or(SeenPosition { next_offset: 0, raw_hi: 0 });
        let entries: Vec<Entry> = (held.raw_hi..held.raw_hi + A_BATCH).map(mark).collect();
        let position = SeenPosition { next_offset: held.next_offset + 1, raw_hi: held.raw_hi + A_BATCH };
        store.apply(&entries, position).unwrap();
        println!("\napplied {}", position.raw_hi);
    }
}

#[test]
fn a_killed_store_ends_at_a_batch_boundary() {
    let folder = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for round in 0..12 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let applied = BufReader::new(writer.stdout.take().unwrap())
            .lines()
            .filter_map(|line| line.unwrap().strip_prefix("applied ").map(|raw_hi| raw_hi.parse::<u64>().unwrap()))
            .nth(3 + round * 2 % 7)
            .expect("the writer applies until it is killed");
        writer.kill().unwrap(); // SIGKILL
        writer.wait().unwrap();

        let (mut store, opened) = open(folder.path());
        assert!(matches!(opened, Opened::Reused { .. }), "{opened:?}");
        let position = store.position().unwrap();
        assert_eq!(position.raw_hi, position.next_offset as u64 * A_BATCH, "a batch boundary");
        assert!(position.raw_hi >= applied, "{} was applied, {} is left", applied, position.raw_hi);
        let ids: Vec<Id128> = (0..position.raw_hi + 2 * A_BATCH).map(|offset| mark(offset).id).collect();
        let mut found = Vec::new();
        store.lookup(&ids, &mut found).unwrap();
        for (hit, offset) in found.into_iter().zip(0..) {
            let Entry { received_at, .. } = mark(offset);
            let expected = (offset < position.raw_hi).then_some(Hit { offset, received_at });
            assert_eq!(hit, expected, "offset {offset} of {}", position.raw_hi);
        }
        checked = position.raw_hi;
    }
    assert!(checked > 12 * 3 * A_BATCH, "every round went on where the one before was killed");
}
