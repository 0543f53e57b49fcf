//! The store agrees with a map through whatever happens to it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use hookline_dedupe::MemoryStore;
use proptest::prelude::*;

use super::*;

const KEYS: u64 = 60;

#[derive(Clone, Debug)]
enum Step {
    /// Keys, quarters of an hour since the last (at times negative), offsets skipped before each key.
    Apply(Vec<(u64, i64, u64)>),
    /// Hours before now.
    Expire(i64),
    /// Wait for the threads beside the lane.
    Settle,
    /// Closed, or as good as killed: nothing happens when a store is dropped but that its threads end.
    Reopen,
    /// Which file, how far from its end, and what is done to it there.
    Damage(prop::sample::Index, u64, Damage),
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Flip(u8),
    Zeros,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let marks = prop::collection::vec((0..KEYS, -2..4_i64, 0..3_u64), 0..25);
    let damage = prop_oneof![Just(Damage::Cut), (1..=255_u8).prop_map(Damage::Flip), Just(Damage::Zeros)];
    let step = prop_oneof![
        12 => marks.prop_map(Step::Apply),
        2 => (0..40_i64).prop_map(Step::Expire),
        2 => Just(Step::Settle),
        1 => Just(Step::Reopen),
        2 => (any::<prop::sample::Index>(), 1..2_000_u64, damage).prop_map(|(file, back, how)| Step::Damage(file, back, how)),
    ];
    prop::collection::vec(step, 1..60)
}

/// The transactions that the store should hold.
struct Expected {
    transactions: Vec<(Vec<Entry>, SeenPosition)>,
    expired_before: i64,
}

impl Expected {
    fn position(&self) -> Option<SeenPosition> {
        self.transactions.last().map(|(_, position)| *position)
    }

    /// Every key has the answer of a map, except that what has expired may be gone.
    fn check(&self, store: &mut LogStore) -> Result<Result<(), StoreError>, TestCaseError> {
        prop_assert_eq!(store.position(), self.position());
        let mut model = MemoryStore::new();
        for (entries, position) in &self.transactions {
            model.apply(entries, *position).unwrap();
        }
        let ids: Vec<Id128> = (0..KEYS).map(id).collect();
        let mut found = Vec::new();
        if let Err(error) = store.lookup(&ids, &mut found) {
            return Ok(Err(error));
        }
        for (id, (found, expected)) in ids.iter().zip(found.into_iter().zip(hits(&mut model, &ids))) {
            let may_be_gone = expected.is_some_and(|hit| hit.received_at < self.expired_before);
            prop_assert!(found == expected || may_be_gone && found.is_none(), "{id:?}: {found:?}, {expected:?}");
        }
        Ok(Ok(()))
    }

    /// What is left after damage is what there was after one of the transactions.
    fn cut_back_to(&mut self, position: Option<SeenPosition>) -> Result<(), TestCaseError> {
        if position.is_none() {
            self.transactions.clear();
        }
        while self.position() != position {
            prop_assert!(self.transactions.pop().is_some(), "{position:?} is no batch boundary");
        }
        Ok(())
    }
}

fn damage(path: &Path, back: u64, how: Damage) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let at = len - back.min(len);
    match how {
        Damage::Cut => file.set_len(at).unwrap(),
        Damage::Zeros => file.write_all_at(&vec![0; (len - at).min(100) as usize], at).unwrap(),
        // A file that was cut to nothing before has no byte to flip.
        Damage::Flip(_) if at == len => {}
        Damage::Flip(flip) => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ flip], at).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_map_through_reopening_and_damage(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, opened) = open(folder.path());
        prop_assert_eq!(opened, Opened::Fresh);
        let mut expected = Expected { transactions: Vec::new(), expired_before: i64::MIN };
        let mut now = 1_000 * HOUR;
        let mut damages = 0;
        for step in steps {
            match step {
                Step::Apply(marks) => {
                    let held = expected.position().unwrap_or(SeenPosition { next_offset: 0, raw_hi: 0 });
                    let mut offset = held.raw_hi;
                    let mut entries = Vec::new();
                    for (key, quarters, skip) in marks {
                        now += quarters * HOUR / 4;
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
                Step::Settle => store.settle().unwrap(),
                Step::Reopen => {
                    drop(store);
                    let opened;
                    (store, opened) = open(folder.path());
                    let reused = if expected.transactions.is_empty() { Opened::Fresh } else { Opened::Reused { dropped_bytes: 0 } };
                    prop_assert_eq!(opened, reused);
                }
                Step::Damage(which, back, how) => {
                    drop(store);
                    let files: Vec<PathBuf> = logs(folder.path()).into_iter().chain(seals(folder.path())).collect();
                    if !files.is_empty() {
                        damage(&files[which.index(files.len())], back, how);
                    }
                    (store, _) = open(folder.path());
                    expected.cut_back_to(store.position())?;
                    damages += 1;
                }
            }
            // Damage in a seal is noticed before it is believed, and not before it is asked for.
            while let Err(error) = expected.check(&mut store)? {
                prop_assert!(matches!(error, StoreError::Damaged { .. }) && damages > 0, "{error}");
                damages -= 1;
                drop(store);
                (store, _) = open(folder.path());
                expected.cut_back_to(store.position())?;
            }
        }
    }
}

/// The last writes of a store, cut off at every byte and with every byte changed.
#[test]
fn it_ends_at_the_last_whole_batch_wherever_it_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let older = apply(&mut store, 0..10, HOUR);
    let mut ends = vec![(64, older)];
    for keys in [10..13, 13..13, 13..14, 14..20] {
        let marks = keys.end - keys.start;
        let position = apply(&mut store, keys, 7 * HOUR);
        ends.push((ends[ends.len() - 1].0 + 32 * (1 + marks), position));
    }
    store.settle().unwrap();
    drop(store);
    let path = &logs(folder.path())[1];
    let whole = fs::read(path).unwrap();
    assert_eq!(whole.len() as u64, ends[ends.len() - 1].0);
    let last_before = |byte: u64| ends.iter().rfind(|(end, _)| *end <= byte).map_or(older, |(_, position)| *position);
    let check = |bytes: &[u8], damaged: u64| {
        fs::write(path, bytes).unwrap();
        let (mut store, opened) = open(folder.path());
        let position = last_before(damaged);
        assert_eq!(store.position(), Some(position), "{damaged}");
        assert_eq!(found(&mut store, 0..100) as u64, position.raw_hi, "{damaged}");
        let kept = ends.iter().rfind(|(end, _)| *end <= damaged).map_or(0, |(end, _)| *end);
        assert_eq!(opened, Opened::Reused { dropped_bytes: bytes.len() as u64 - kept }, "{damaged}");
        // It goes on from there.
        let next = apply(&mut store, 20..30, 8 * HOUR);
        drop(store);
        assert_eq!(open(folder.path()).0.position(), Some(next));
        for later in logs(folder.path()).split_off(2) {
            fs::remove_file(later).unwrap();
        }
    };
    for len in 0..whole.len() {
        check(&whole[..len], len as u64);
    }
    for at in (0..whole.len()).filter(|at| !(44..64).contains(at)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        check(&bytes, at as u64);
    }
}
