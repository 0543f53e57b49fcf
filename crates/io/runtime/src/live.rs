//! What is replaced while threads work by it: each takes the newest value between two pieces of its work.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

/// How often it is looked whether a replaced value is out of use.
const LOOK: Duration = Duration::from_millis(10);

/// A value that is replaced while threads work by it. Clones share it.
#[derive(Debug)]
pub struct Live<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    /// Counts the replacements, so that a thread sees at a glance that there was none.
    version: AtomicU64,
    value: RwLock<Arc<T>>,
}

/// The value as a thread took it: it stays as it is for as long as the thread holds it.
#[derive(Debug)]
pub struct Current<T> {
    version: u64,
    value: Arc<T>,
}

/// A value that was replaced, and may still be in use.
#[derive(Debug)]
pub struct Replaced<T>(Weak<T>);

impl<T> Live<T> {
    /// The value to begin with.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(Shared { version: AtomicU64::new(1), value: RwLock::new(Arc::new(value)) }))
    }

    /// The newest value.
    #[must_use]
    pub fn current(&self) -> Current<T> {
        // The version first: a value that is put in between is newer than its version says, and is taken once more.
        let version = self.0.version.load(Ordering::Acquire);
        let value = Arc::clone(&self.0.value.read().unwrap_or_else(PoisonError::into_inner));
        Current { version, value }
    }

    /// The newest value if it is newer than `known`. The usual case is one load.
    #[must_use]
    pub fn newer(&self, known: &Current<T>) -> Option<Current<T>> {
        (self.0.version.load(Ordering::Acquire) != known.version).then(|| self.current())
    }

    /// Puts another value in its place.
    pub fn replace(&self, value: T) -> Replaced<T> {
        let mut held = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, Arc::new(value));
        self.0.version.fetch_add(1, Ordering::AcqRel);
        Replaced(Arc::downgrade(&before))
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> Deref for Current<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> AsRef<T> for Current<T> {
    fn as_ref(&self) -> &T {
        &self.value
    }
}

impl<T> Replaced<T> {
    /// Whether a thread still works by it.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Waits until no thread works by it, at most `patience`. Whether that came to pass.
    pub async fn out_of_use(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_in_use() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_works_by_one_value_until_it_takes_the_next() {
        let live = Live::new("old");
        let mut thread = live.current();
        assert!(live.newer(&thread).is_none());
        let replaced = live.replace("new");
        assert_eq!((*thread, *live.current()), ("old", "new"));
        assert!(!replaced.out_of_use(Duration::from_millis(30)).await, "the thread holds it");
        thread = live.newer(&thread).unwrap();
        assert_eq!(*thread, "new");
        assert!(live.newer(&thread).is_none() && replaced.out_of_use(Duration::ZERO).await);
    }
}
