//! A process that is killed in the middle of writing leaves a store that ends at a batch boundary.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use super::*;

const FOLDER: &str = "HOOKLINE_TEST_FOLDER";
/// Kills in an ordinary run; `HOOKLINE_TEST_WINDOW_KILLS` asks for more.
const KILLS: u64 = 15;
/// Marks in a transaction: large enough that a kill often meets a write.
const A_BATCH: u64 = 1_500;
/// Offsets in a bucket: eleven transactions, so that kills meet sealing and deletion too.
const A_BUCKET: u64 = 16_500;
/// Buckets that are kept.
const KEPT: i64 = 4;

const BUCKET_MS: i64 = 3 * HOUR;

fn mark(offset: u64) -> Entry {
    Entry { id: id(offset), offset, received_at: received_at(offset) }
}

fn received_at(offset: u64) -> i64 {
    (u128::from(offset) * BUCKET_MS as u128 / u128::from(A_BUCKET)) as i64
}

/// Not a test of its own: the process that is killed.
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
        store.expire(received_at(position.raw_hi) - KEPT * BUCKET_MS).unwrap();
        println!("\napplied {}", position.raw_hi);
    }
}

/// A writer, and how far it says that it has come.
fn writer(folder: &Path) -> (Child, mpsc::Receiver<u64>) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "kill::writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (says, applied) = mpsc::channel();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for raw_hi in lines.filter_map(|line| line.ok()?.strip_prefix("applied ")?.parse().ok()) {
            if says.send(raw_hi).is_err() {
                return;
            }
        }
    });
    (writer, applied)
}

fn kill(mut writer: Child) {
    writer.kill().unwrap(); // SIGKILL
    writer.wait().unwrap();
}

/// Everything up to the position is there, but for what may have expired when the writer had come to `expired_at`;
/// nothing after it.
fn check(store: &mut LogStore, expired_at: u64) -> Result<(), StoreError> {
    let raw_hi = raw_hi(store);
    assert_eq!(raw_hi % A_BATCH, 0, "a batch boundary");
    let from = expired_at.saturating_sub(KEPT as u64 * A_BUCKET).min(raw_hi);
    let ids: Vec<Id128> = (from..raw_hi + 2 * A_BATCH).map(id).collect();
    let mut found = Vec::new();
    store.lookup(&ids, &mut found)?;
    for (hit, offset) in found.into_iter().zip(from..) {
        let expected = (offset < raw_hi).then_some(Hit { offset, received_at: received_at(offset) });
        assert_eq!(hit, expected, "offset {offset} of {raw_hi}");
    }
    Ok(())
}

fn raw_hi(store: &LogStore) -> u64 {
    store.position().map_or(0, |position| position.raw_hi)
}

#[test]
fn a_killed_store_ends_at_a_batch_boundary_whatever_else_happens_to_its_files() {
    let kills = std::env::var("HOOKLINE_TEST_WINDOW_KILLS").map_or(KILLS, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (mut reached, mut damaged) = (0, 0);
    // Not quite random: the same every time, but for when a kill comes.
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..kills {
        let (process, applied) = writer(folder.path());
        let mut last = 0;
        for _ in 0..3 + round * 2 % 11 {
            last = applied.recv_timeout(Duration::from_secs(120)).expect("the writer applies until it is killed");
        }
        if round == 0 {
            let second = LogStore::open(folder.path(), &identity(), 0);
            assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
        }
        kill(process);
        let (mut store, _) = open(folder.path());
        assert!(raw_hi(&store) >= last, "{last} was applied, {} is left", raw_hi(&store));
        reached = reached.max(raw_hi(&store));
        check(&mut store, reached).unwrap();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if round % 3 == 2 {
            drop(store);
            damaged += u64::from(damage(folder.path(), dice));
            (store, _) = open(folder.path());
            if check(&mut store, reached).is_err() {
                drop(store);
                check(&mut open(folder.path()).0, reached).unwrap();
            }
        }
    }
    assert!(reached > A_BUCKET, "rounds go on where the one before was killed");
    println!("{kills} kills, damage to {damaged} files, {reached} marks");
}

/// Changes a byte of a file near its end, cuts it off there, or deletes a seal. Whether there was one.
fn damage(folder: &Path, dice: u64) -> bool {
    let files: Vec<PathBuf> = logs(folder).into_iter().chain(seals(folder)).collect();
    let Some(path) = files.get((dice >> 33) as usize % files.len().max(1)) else { return false };
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let at = len.saturating_sub(1 + (dice >> 13) % 100_000);
    match dice >> 61 {
        0..4 => {
            use std::os::unix::fs::FileExt;
            let mut byte = [0];
            file.read_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        }
        // A log at the front that is gone looks like one that has expired: no kill does that, so only seals are deleted.
        7 if path.extension().is_some_and(|extension| extension == "seal") => fs::remove_file(path).unwrap(),
        _ => file.set_len(at).unwrap(),
    }
    true
}
