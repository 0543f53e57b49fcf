//! Received times are clocks of machines, and clocks are set.

use super::*;

const YEAR: i64 = 365 * 24 * HOUR;
const WINDOW: i64 = 72 * HOUR;

/// An hour of a lane: ten marks, and expiry by its own window.
fn hours(store: &mut LogStore, from: i64, hours: std::ops::Range<i64>) {
    for hour in hours {
        let now = from + hour * HOUR;
        let key = store.position().map_or(0, |position| position.raw_hi);
        apply(store, key..key + 10, now);
        store.expire(now - WINDOW).unwrap();
    }
    store.settle().unwrap();
}

#[test]
fn a_clock_that_was_years_ahead_for_a_moment_neither_forgets_nor_holds_on_to_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let start = 50 * YEAR;
    hours(&mut store, start, 0..70);
    apply(&mut store, 700..710, start + 10 * YEAR);
    hours(&mut store, start, 71..80);
    // The first buckets have expired; the window begins at hour 7.
    assert_eq!(found(&mut store, 60..800), 740);
    // A window later all of that is gone, and no more files are left than usual. The window begins at hour 87.
    hours(&mut store, start, 80..160);
    assert_eq!((found(&mut store, 0..870), found(&mut store, 870..1_600)), (0, 730));
    assert!(logs(folder.path()).len() <= 26, "{:?}", logs(folder.path()));
    drop(store);
    assert_eq!(open(folder.path()).1, Opened::Reused { dropped_bytes: 0 });
}

#[test]
fn a_clock_that_is_set_back_forgets_nothing_that_is_still_in_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    let start = 50 * YEAR;
    hours(&mut store, start, 0..70);
    for back in [2 * HOUR, 24 * HOUR, 10 * YEAR] {
        // The caller's time does not go back.
        let key = store.position().map_or(0, |position| position.raw_hi);
        for batch in 0..10 {
            apply(&mut store, key + batch * 10..key + batch * 10 + 10, start + 70 * HOUR - back + batch as i64 * HOUR);
            store.expire(start + 70 * HOUR - WINDOW).unwrap();
        }
        assert_eq!(found(&mut store, 0..key + 100) as u64, key + 100, "{back}");
    }
    assert!(logs(folder.path()).len() <= 32, "{:?}", logs(folder.path()));
    drop(store);
    let (mut store, opened) = open(folder.path());
    assert_eq!((opened, found(&mut store, 0..1_000)), (Opened::Reused { dropped_bytes: 0 }, 1_000));
}

#[test]
fn times_at_the_ends_of_the_scale_are_marks_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    for (key, received_at) in [(0, i64::MIN), (1, -1), (2, i64::MAX), (3, 0), (4, i64::MIN)] {
        apply(&mut store, [key], received_at);
        store.settle().unwrap();
    }
    assert_eq!(found(&mut store, 0..5), 5);
    drop(store);
    assert_eq!(found(&mut open(folder.path()).0, 0..5), 5);
}
