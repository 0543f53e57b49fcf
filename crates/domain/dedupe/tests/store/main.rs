//! What holds for the store on disk: it agrees with the model whatever happens to it, and says what it cannot do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its setup too")]

mod agreement;
mod clock;
mod damage;
mod disk_full;
mod growth;
mod kill;
mod opening;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hookline_dedupe::{
    Entry, Hit, Id128, Identity, KeyHasher, LogStore, Opened, SeenPosition, StoreError, WindowStore,
};

const HOUR: i64 = 3_600_000;

fn identity() -> Identity {
    Identity { incarnation: "f00d".to_owned(), lane: 3, recipe_version: 1 }
}

/// Opens a folder that nobody else has: but another test's child process, as long as it has not begun, may seem to.
fn open(folder: &Path) -> (LogStore, Opened) {
    open_as(folder, &identity())
}

fn open_as(folder: &Path, identity: &Identity) -> (LogStore, Opened) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match LogStore::open(folder, identity, 0) {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => {}
            opened => return opened.unwrap(),
        }
    }
}

fn id(key: u64) -> Id128 {
    KeyHasher::new([7; 16]).id128(&key.to_le_bytes())
}

fn hits(store: &mut impl WindowStore, ids: &[Id128]) -> Vec<Option<Hit>> {
    let mut out = Vec::new();
    store.lookup(ids, &mut out).unwrap();
    out
}

/// Of the keys, how many are found.
fn found(store: &mut impl WindowStore, keys: impl IntoIterator<Item = u64>) -> usize {
    let ids: Vec<Id128> = keys.into_iter().map(id).collect();
    hits(store, &ids).into_iter().flatten().count()
}

/// The files of a store that end so, in the order in which they were begun.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<(u64, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|item| {
            let path = item.unwrap().path();
            let number = path.file_name()?.to_str()?.strip_prefix("bucket-")?.strip_suffix(extension)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    files.sort_unstable();
    files.into_iter().map(|(_, path)| path).collect()
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    files(folder, ".log")
}

fn seals(folder: &Path) -> Vec<PathBuf> {
    files(folder, ".seal")
}

/// Marks `keys` at the next offsets, all received at one time, as one transaction.
fn apply(store: &mut LogStore, keys: impl IntoIterator<Item = u64>, received_at: i64) -> SeenPosition {
    let (entries, position) = transaction(store.position(), keys, received_at);
    store.apply(&entries, position).unwrap();
    position
}

fn transaction(
    held: Option<SeenPosition>,
    keys: impl IntoIterator<Item = u64>,
    received_at: i64,
) -> (Vec<Entry>, SeenPosition) {
    let held = held.unwrap_or(SeenPosition { next_offset: 0, raw_hi: 0 });
    let entries: Vec<Entry> =
        keys.into_iter().zip(held.raw_hi..).map(|(key, offset)| Entry { id: id(key), offset, received_at }).collect();
    let raw_hi = held.raw_hi + entries.len() as u64;
    (entries, SeenPosition { next_offset: held.next_offset + 2, raw_hi })
}
