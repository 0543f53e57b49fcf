//! Points at which tests end the process at once, as `kill -9` does: between any two of them, a crash could lose or
//! double something, if the order of things were wrong.
//!
//! `HOOKLINE_TEST_KILL_AT=flushed:2` ends it when it comes to the point `flushed` for the second time. Builds without
//! debug assertions, as releases are, have none of this.

/// The names of all points, in the order in which a message comes to them.
pub const POINTS: [&str; 16] = [
    // A lane opens: its predecessor is fenced, what it knew is read back, what is owed is given to the destinations.
    "fenced",
    "restored",
    "reopened",
    // Alerts are taken, and what becomes of them is committed.
    "taken",
    "settled",
    "begun",
    "written",
    "flushed",
    "committed",
    "handed-out",
    // A message is sent: each request of it, and what came of it.
    "attempting",
    "asking",
    "answered",
    "judged",
    "told",
    // What came of it is taken up, and committed as above.
    "collected",
];

/// Ends the process here, if a test has asked for it.
#[inline]
pub(crate) fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The point, and how often it is still to be passed.
    static ASKED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let asked = std::env::var("HOOKLINE_TEST_KILL_AT").ok()?;
        let (name, times) = asked.split_once(':').unwrap_or((&asked, "1"));
        Some((name.to_owned(), AtomicU32::new(times.parse().unwrap_or(1))))
    });

    pub(super) fn pass(name: &'static str) {
        debug_assert!(super::POINTS.contains(&name), "{name} is not in the list of points");
        if let Some((asked, left)) = &*ASKED
            && asked == name
            && left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // By a signal: no destructor runs, and nothing is written that was not.
            std::process::abort();
        }
    }
}
