//! Work on a thread beside the lane.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::StoreError;

/// Work under way on a thread of its own.
pub(super) struct Beside<T> {
    cancel: Cancel,
    thread: JoinHandle<Result<T, Stop>>,
}

/// Whether the work is still wanted.
#[derive(Clone, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

/// Why work did not come to its end.
pub(super) enum Stop {
    Cancelled,
    Failed(StoreError),
}

impl Cancel {
    /// For the work to ask every millisecond or so.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.0.load(Ordering::Relaxed) { Err(Stop::Cancelled) } else { Ok(()) }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl<T: Send + 'static> Beside<T> {
    /// Starts work for the store in `folder`.
    pub(super) fn start(
        name: &str,
        folder: &Path,
        work: impl FnOnce(&Cancel) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let cancel = Cancel::default();
        let asked = cancel.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&asked))
            .map_err(StoreError::io("start a thread for", folder))?;
        Ok(Self { cancel, thread })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end. `None` if it was cancelled.
    pub(super) fn wait(self) -> Result<Option<T>, StoreError> {
        match self.thread.join() {
            Ok(Ok(done)) => Ok(Some(done)),
            Ok(Err(Stop::Cancelled)) => Ok(None),
            Ok(Err(Stop::Failed(error))) => Err(error),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Ends the work and waits until its thread is gone. What came of it is not wanted any more, its error neither.
    pub(super) fn stop(self) {
        self.cancel.0.store(true, Ordering::Relaxed);
        drop(self.thread.join());
    }

    /// Ends the work without waiting: for work that only reads.
    pub(super) fn leave(self) {
        self.cancel.0.store(true, Ordering::Relaxed);
    }
}

/// Gives memory back beside the lane: for a hundred megabytes that takes milliseconds. If there is no thread to do it, it
/// happens right here.
pub(super) fn retire(memory: impl Send + 'static) {
    drop(thread::Builder::new().name("window-retired".to_owned()).spawn(move || drop(memory)));
}
