//! What holds for verdicts, whatever is aborted, crashed or restored in between.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its setup too")]

use std::collections::HashMap;
use std::path::Path;

use hookline_dedupe::changelog::{decode, encode};
use hookline_dedupe::{
    Candidate, Id128, Identity, LogStore, MemoryStore, Restore, SeenPosition, StoreError, Verdict, Window, WindowStore,
};
use proptest::prelude::*;

fn candidate(key: u128, offset: u64, received_at: i64, window_ms: u64) -> Candidate {
    Candidate::new(Id128(key), offset, received_at, window_ms)
}

fn decide<S: WindowStore>(window: &mut Window<S>, batch: &[Candidate]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    window.decide_batch(batch, &mut verdicts).unwrap();
    verdicts
}

/// The rule in its plainest form: a map from a key to the last record that counted.
fn oracle(raw: &[Candidate]) -> Vec<Verdict> {
    let mut firsts: HashMap<Id128, Candidate> = HashMap::new();
    raw.iter()
        .map(|record| match firsts.get(&record.id) {
            Some(first) if record.received_at - first.received_at <= record.window_ms as i64 => {
                Verdict::Duplicate { first_offset: first.offset, delay_ms: record.received_at - first.received_at }
            }
            _ => {
                firsts.insert(record.id, *record);
                Verdict::First
            }
        })
        .collect()
}

/// A lane of raw records: few keys, times that mostly move on, two windows.
fn raw_lane() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec((0..12_u128, -40..100_i64, prop::bool::ANY), 1..150).prop_map(|records| {
        let mut now = 1_785_000_000_000;
        records
            .into_iter()
            .zip(0..)
            .map(|((key, step, long), offset)| {
                now += step;
                candidate(key, offset, now, if long { 2_000 } else { 150 })
            })
            .collect()
    })
}

const HOUR: i64 = 3_600_000;
/// By how much a record is received before one that was appended earlier.
const DISORDER: i64 = 20 * 60_000;

/// Ten days or so of few keys.
fn days_of_a_lane() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec((0..40_u128, 0..3 * HOUR, 0..DISORDER, prop::bool::ANY), 1..150).prop_map(|records| {
        let mut now = 1_785_000_000_000;
        records
            .into_iter()
            .zip(0..)
            .map(|((key, step, early, long), offset)| {
                now += step;
                candidate(key, offset, now - early, if long { 72 * HOUR as u64 } else { HOUR as u64 })
            })
            .collect()
    })
}

/// Cuts so many bytes off the newest file of a store, if it has that many.
fn tear(folder: &Path, bytes: u64) {
    let number = |path: &Path| path.file_stem()?.to_str()?.strip_prefix("bucket-")?.parse::<u64>().ok();
    let files = std::fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    if let Some(newest) = logs.max_by_key(|path| number(path)) {
        let file = std::fs::OpenOptions::new().write(true).open(newest).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len - bytes.min(len)).unwrap();
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    Abort,
    /// Killed before the commit: the transaction is gone, and so is all memory.
    CrashBefore,
    /// Killed after the commit, before the store heard of it.
    CrashAfter,
}

fn ends() -> impl Strategy<Value = Vec<(usize, usize, End)>> {
    let end = prop_oneof![4 => Just(End::Commit), 1 => Just(End::Abort), 1 => Just(End::CrashBefore), 1 => Just(End::CrashAfter)];
    prop::collection::vec((1..12_usize, 1..4_usize, end), 1..40)
}

/// The lane's committed `seen`, and the position that the commits carried.
#[derive(Default)]
struct Seen {
    values: Vec<(i64, Vec<u8>)>,
    end: Option<SeenPosition>,
}

impl Seen {
    fn commit(&mut self, raw_hi: u64, window: &Window<impl WindowStore>) -> SeenPosition {
        let (raw_lo, mut offset) = self.end.map_or((0, 0), |end| (end.raw_hi, end.next_offset));
        for value in encode(raw_lo, raw_hi, window.pending()).unwrap() {
            self.values.push((offset, value));
            offset += 1;
        }
        let end = SeenPosition { next_offset: offset, raw_hi };
        self.end = Some(SeenPosition { next_offset: offset + 1, raw_hi }); // the marker takes an offset
        end
    }

    fn restore<S: WindowStore>(&self, mut store: S) -> Result<Window<S>, StoreError> {
        let mut restore = Restore::after(store.position());
        for (offset, value) in &self.values {
            if restore.next_offset().is_none_or(|next| *offset >= next) {
                let record = decode(value).unwrap();
                let position = restore.feed(*offset, &record).unwrap();
                store.apply(&record.entries, position)?;
            }
        }
        Ok(Window::new(store))
    }
}

/// Runs a lane over `raw` with transactions that end as told (and then all commit), and collects the verdicts of the
/// committed ones. `open` gives the store of a started process.
fn run<S: WindowStore>(raw: &[Candidate], ends: &[(usize, usize, End)], open: impl FnMut() -> S) -> Vec<Verdict> {
    run_with(raw, ends, open, |_, _| ())
}

/// The same; after each commit that the process lives to see, `tend` gets the window and the newest received time.
fn run_with<S: WindowStore>(
    raw: &[Candidate],
    ends: &[(usize, usize, End)],
    mut open: impl FnMut() -> S,
    mut tend: impl FnMut(&mut Window<S>, i64),
) -> Vec<Verdict> {
    let mut seen = Seen::default();
    let mut window = Window::new(open());
    let mut committed = Vec::new();
    let mut ends = ends.iter().copied();
    while committed.len() < raw.len() {
        let (size, batches, end) = ends.next().unwrap_or((7, 2, End::Commit));
        let mut verdicts = Vec::new();
        for batch in raw[committed.len()..].chunks(size).take(batches) {
            verdicts.extend(decide(&mut window, batch));
        }
        let raw_hi = (committed.len() + verdicts.len()) as u64;
        match end {
            End::Commit => {
                let position = seen.commit(raw_hi, &window);
                window.commit(position).unwrap();
                committed.extend(verdicts);
                tend(&mut window, raw[..committed.len()].iter().map(|record| record.received_at).max().unwrap_or(0));
            }
            End::Abort => window.abort(),
            End::CrashBefore => {
                drop(window);
                window = seen.restore(open()).unwrap();
            }
            End::CrashAfter => {
                seen.commit(raw_hi, &window);
                committed.extend(verdicts);
                drop(window);
                window = seen.restore(open()).unwrap();
            }
        }
    }
    committed
}

fn open_log(folder: &Path) -> LogStore {
    let identity = Identity { incarnation: "i".to_owned(), lane: 0, recipe_version: 1 };
    LogStore::open(folder, &identity, 0).unwrap().0
}

proptest! {
    #[test]
    fn exactly_the_first_offset_within_the_window_counts(raw in raw_lane()) {
        let verdicts = run(&raw, &[], MemoryStore::new);
        for (record, verdict) in raw.iter().zip(&verdicts) {
            let earlier_first = raw.iter().zip(&verdicts).rfind(|(other, verdict)| {
                other.offset < record.offset && other.id == record.id && **verdict == Verdict::First
            });
            let within = earlier_first.filter(|(first, _)| {
                record.received_at - first.received_at <= record.window_ms as i64
            });
            match (verdict, within) {
                (Verdict::First, None) => {}
                (Verdict::Duplicate { first_offset, delay_ms }, Some((first, _))) => {
                    prop_assert_eq!((*first_offset, *delay_ms), (first.offset, record.received_at - first.received_at));
                }
                other => prop_assert!(false, "{record:?}: {other:?}"),
            }
        }
    }

    /// Every restart loses all memory and has nothing but the changelog.
    #[test]
    fn verdicts_do_not_depend_on_aborts_crashes_or_restores_from_the_changelog(raw in raw_lane(), ends in ends()) {
        prop_assert_eq!(run(&raw, &ends, MemoryStore::new), oracle(&raw));
    }

    /// Every restart finds the store of its predecessor, at times one transaction behind.
    #[test]
    fn verdicts_do_not_depend_on_what_the_store_on_disk_had_heard_of(raw in raw_lane(), ends in ends()) {
        let folder = tempfile::tempdir().unwrap();
        prop_assert_eq!(run(&raw, &ends, || open_log(folder.path())), oracle(&raw));
    }

    /// Days of a lane whose sources remember for an hour or for three days, while buckets are sealed and expire; and
    /// whenever the process starts again, the end of a file may be missing, and `seen` has to make up for it.
    #[test]
    fn verdicts_do_not_depend_on_expiry_sealing_or_torn_files(
        raw in days_of_a_lane(), ends in ends(), torn in prop::collection::vec(0..400_u64, 40)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut torn = torn.into_iter();
        let open = || {
            tear(folder.path(), torn.next().unwrap_or(0));
            open_log(folder.path())
        };
        let tend = |window: &mut Window<LogStore>, newest| window.expire(newest - 72 * HOUR - DISORDER).unwrap();
        prop_assert_eq!(run_with(&raw, &ends, open, tend), oracle(&raw));
    }

    #[test]
    fn whatever_was_committed_and_comes_again_is_rewound(raw in raw_lane(), again in any::<prop::sample::Index>()) {
        let mut window = Window::new(MemoryStore::new());
        decide(&mut window, &raw);
        window.commit(SeenPosition { next_offset: 1, raw_hi: raw.len() as u64 }).unwrap();
        let record = raw[again.index(raw.len())];
        prop_assert_eq!(decide(&mut window, &[record]), [Verdict::Rewound { offset: record.offset }]);
        prop_assert_eq!(window.pending(), []);
    }
}

#[test]
fn a_duplicate_within_the_window_names_the_first_offset_and_its_delay() {
    let mut window = Window::new(MemoryStore::new());
    let batch = [candidate(1, 10, 5_000, 100), candidate(1, 11, 5_100, 100), candidate(1, 12, 4_900, 100)];
    let duplicate = |delay_ms| Verdict::Duplicate { first_offset: 10, delay_ms };
    assert_eq!(decide(&mut window, &batch), [Verdict::First, duplicate(100), duplicate(-100)]);
    window.commit(SeenPosition { next_offset: 1, raw_hi: 13 }).unwrap();
    assert_eq!(decide(&mut window, &[candidate(1, 13, 5_000, 100)]), [duplicate(0)]);
}

#[test]
fn outside_the_window_a_key_counts_again_and_is_measured_anew() {
    let mut window = Window::new(MemoryStore::new());
    assert_eq!(decide(&mut window, &[candidate(1, 0, 0, 100), candidate(1, 1, 101, 100)]), [Verdict::First; 2]);
    assert_eq!(
        decide(&mut window, &[candidate(1, 2, 150, 100)]),
        [Verdict::Duplicate { first_offset: 1, delay_ms: 49 }]
    );
    assert_eq!(window.pending().len(), 2);
}

#[test]
fn a_record_that_claims_to_be_from_long_before_what_came_before_it_is_a_duplicate_all_the_same() {
    let mut window = Window::new(MemoryStore::new());
    let duplicate = Verdict::Duplicate { first_offset: 0, delay_ms: -101 };
    assert_eq!(decide(&mut window, &[candidate(1, 0, 101, 100), candidate(1, 1, 0, 100)]), [Verdict::First, duplicate]);
}

#[test]
fn where_clocks_disagree_the_mark_lasts_as_long_and_the_repeat_is_as_near_as_either_has_it() {
    let between = |offset, received_at, between| Candidate { between, ..candidate(1, offset, received_at, 100) };
    let mut window = Window::new(MemoryStore::new());
    let duplicate = |delay_ms| Verdict::Duplicate { first_offset: 0, delay_ms };
    let batch = [between(0, 0, (0, 1_000)), candidate(1, 1, 1_100, 100), between(2, 5_000, (1_050, 5_000))];
    assert_eq!(decide(&mut window, &batch), [Verdict::First, duplicate(100), duplicate(4_000)]);
    assert_eq!(window.pending().iter().map(|mark| mark.received_at).collect::<Vec<_>>(), [1_000]);
    let mut third = between(0, 0, (0, 1_000));
    third.not_after(400);
    assert_eq!(third.between, (0, 400));
    third.not_after(-1);
    assert_eq!(third.between, (0, 0), "what the third clock says is between the two, or one of them is right");
}

#[test]
fn the_window_is_that_of_the_record_that_asks() {
    let mut window = Window::new(MemoryStore::new());
    let batch = [candidate(1, 0, 0, 10), candidate(1, 1, 50, 100), candidate(1, 2, 51, 10)];
    let duplicate = Verdict::Duplicate { first_offset: 0, delay_ms: 50 };
    assert_eq!(decide(&mut window, &batch), [Verdict::First, duplicate, Verdict::First]);
}

#[test]
fn the_same_offset_twice_in_one_transaction_is_rewound() {
    let mut window = Window::new(MemoryStore::new());
    let verdicts = decide(&mut window, &[candidate(1, 4, 0, 10), candidate(1, 4, 0, 10), candidate(2, 3, 0, 10)]);
    assert_eq!(verdicts, [Verdict::First, Verdict::Rewound { offset: 4 }, Verdict::Rewound { offset: 3 }]);
}

/// A store that is ahead of the input, as no store of this lane can be: its position was lost with its first record.
#[test]
fn a_mark_at_or_behind_the_offset_that_asks_is_rewound_even_without_a_position() {
    struct Ahead;
    impl WindowStore for Ahead {
        fn lookup(&mut self, ids: &[Id128], out: &mut Vec<Option<hookline_dedupe::Hit>>) -> Result<(), StoreError> {
            out.clear();
            out.resize(ids.len(), Some(hookline_dedupe::Hit { offset: 7, received_at: 0 }));
            Ok(())
        }
        fn apply(&mut self, _: &[hookline_dedupe::Entry], _: SeenPosition) -> Result<(), StoreError> {
            Ok(())
        }
        fn position(&self) -> Option<SeenPosition> {
            None
        }
        fn expire(&mut self, _: i64) -> Result<(), StoreError> {
            Ok(())
        }
        fn ids_held(&self) -> u64 {
            1
        }
    }
    let mut window = Window::new(Ahead);
    assert_eq!(decide(&mut window, &[candidate(1, 6, 9_999, 1)]), [Verdict::Rewound { offset: 6 }]);
    assert_eq!(decide(&mut window, &[candidate(1, 7, 9_999, 1)]), [Verdict::Rewound { offset: 7 }]);
    assert_eq!(decide(&mut window, &[candidate(1, 8, 9_999, 1)]), [Verdict::First]);
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let mut window = Window::new(MemoryStore::new());
    let batch = [candidate(1, 0, 0, 10), candidate(1, 1, 0, 10)];
    let before = decide(&mut window, &batch);
    window.abort();
    assert_eq!(window.pending(), []);
    assert_eq!(window.store(), &MemoryStore::new());
    assert_eq!(decide(&mut window, &batch), before);
}

#[test]
fn a_commit_that_does_not_cover_what_was_decided_is_refused() {
    let mut window = Window::new(MemoryStore::new());
    decide(&mut window, &[candidate(1, 0, 0, 10), candidate(2, 5, 0, 10)]);
    let short = window.commit(SeenPosition { next_offset: 1, raw_hi: 5 });
    assert!(matches!(short, Err(StoreError::PositionShort { raw_hi: 5, decided: 6 })), "{short:?}");
    assert_eq!(window.pending().len(), 2);
    window.commit(SeenPosition { next_offset: 1, raw_hi: 6 }).unwrap();
    assert_eq!(window.pending(), []);
}

#[test]
fn the_same_transaction_is_never_applied_twice() {
    let mut window = Window::new(MemoryStore::new());
    window.commit(SeenPosition { next_offset: 5, raw_hi: 6 }).unwrap();
    let again = window.commit(SeenPosition { next_offset: 5, raw_hi: 6 });
    assert!(matches!(again, Err(StoreError::PositionNotNew { .. })), "{again:?}");
}
