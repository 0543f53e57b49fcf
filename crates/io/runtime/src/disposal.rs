//! Values that may not return from being dropped end on a thread that nothing waits for.
//!
//! A client of librdkafka joins its own threads when it is destroyed, and can wait for them for good
//! (<https://github.com/confluentinc/librdkafka/issues/1640>). A thread that a service needs must not be the one that waits.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static NEXT: AtomicU64 = AtomicU64::new(0);
static ENDING: Mutex<BTreeMap<u64, (String, Instant)>> = Mutex::new(BTreeMap::new());

fn ending() -> MutexGuard<'static, BTreeMap<u64, (String, Instant)>> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Drops `value` on a thread made for that. `what` names it in the log while it does not end.
///
/// Where the system gives no thread, it is dropped on the calling one.
pub fn drop_aside<T: Send + 'static>(what: impl Into<String>, value: T) {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    ending().insert(id, (what.into(), Instant::now()));
    let spawned = std::thread::Builder::new().name("disposal".into()).spawn(move || {
        drop(value);
        ending().remove(&id);
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to drop a client on; it was dropped in place");
        ending().remove(&id);
    }
}

/// Counts something among what does not end ([`still_ending`]) for as long as it lives.
#[derive(Debug)]
pub struct Mark(u64);

impl Mark {
    /// `what` names it.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        ending().insert(id, (what.into(), Instant::now()));
        Self(id)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        ending().remove(&self.0);
    }
}

/// What is being dropped now, and for how long.
#[must_use]
pub fn still_ending() -> Vec<(String, Duration)> {
    ending().values().map(|(what, since)| (what.clone(), since.elapsed())).collect()
}

/// Waits until nothing is being dropped, at most `timeout`. Returns how many values are left. Blocking: for the end of a process.
pub fn settle(timeout: Duration) -> usize {
    let deadline = Instant::now() + timeout;
    loop {
        let left = ending().len();
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A value that ends by [`drop_aside`], wherever its owner is dropped.
#[derive(Debug)]
pub struct Aside<T: Send + 'static> {
    what: &'static str,
    /// None only while it is dropped.
    value: Option<T>,
}

impl<T: Send + 'static> Aside<T> {
    /// Holds `value`; `what` names its kind in the log.
    pub fn new(what: &'static str, value: T) -> Self {
        Self { what, value: Some(value) }
    }
}

impl<T: Send + 'static> Deref for Aside<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.value {
            Some(value) => value,
            None => unreachable!("it is taken by drop alone"),
        }
    }
}

impl<T: Send + 'static> Drop for Aside<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            drop_aside(self.what, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Stuck(mpsc::Receiver<()>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn a_value_whose_drop_does_not_return_holds_nobody_and_is_counted() {
        let (release, held) = mpsc::channel();
        drop(Aside::new("a stuck client", Stuck(held)));
        let counted = || still_ending().iter().filter(|(what, _)| what == "a stuck client").count();
        assert_eq!(counted(), 1);
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(20);
        while counted() > 0 {
            assert!(Instant::now() < deadline, "it ended and is still counted");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}
