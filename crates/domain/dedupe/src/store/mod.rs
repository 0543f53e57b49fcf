//! The window store: what the committed transactions of a lane have marked.
//!
//! It is a cache of the lane's `seen` topic and carries the position up to which it reflects that topic, so it may be
//! lost, discarded or left behind at any time: reading the rest of `seen` makes it whole again.

mod beside;
mod bits;
mod bucket;
mod filling;
mod folder;
mod lines;
mod log_store;
mod memory;
mod recovery;
mod seal;
mod segment;
mod shard;
mod sieve;
mod table;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};

pub use folder::{Identity, Opened};
pub use log_store::LogStore;
pub use memory::MemoryStore;

use crate::key::Id128;

/// A mark: this key was first seen at this offset, at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Hash of the event key.
    pub id: Id128,
    /// Offset in the lane of `raw`.
    pub offset: u64,
    /// Unix milliseconds.
    pub received_at: i64,
}

/// Where and when a key was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// Offset in the lane of `raw`.
    pub offset: u64,
    /// Unix milliseconds.
    pub received_at: i64,
}

/// Up to where something reflects the lane's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeenPosition {
    /// The next offset to read in the lane of `seen`.
    pub next_offset: i64,
    /// The end of the raw range covered so far: the next offset to read in the lane of `raw`.
    pub raw_hi: u64,
}

/// A store of marks. One lane owns it; nothing reads it beside the lane.
pub trait WindowStore {
    /// Looks ids up. `out` is cleared, then holds one answer per id, in order. Of an id that was marked more than once
    /// (it came again after its window) the answer is the latest mark.
    ///
    /// # Errors
    /// The store could not be read, or an earlier error made it unusable.
    fn lookup(&mut self, ids: &[Id128], out: &mut Vec<Option<Hit>>) -> Result<(), StoreError>;

    /// Adds the marks of committed transactions together with the position that now is reflected: both or neither.
    ///
    /// Entries ascend by offset and lie between the raw position held so far and `position.raw_hi`; the position's
    /// `seen` offset moves on with every call, even when there are no entries. Several `seen` records may be applied at
    /// once, under the position of the last.
    ///
    /// # Errors
    /// Out of order, which changes nothing; or the store could not write, after which it is unusable: [`Self::position`] says
    /// whether it has these marks (its housekeeping may be what failed).
    fn apply(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError>;

    /// The position of the last apply; `None` if there was none, or none that survived.
    fn position(&self) -> Option<SeenPosition>;

    /// Allows the store to forget marks received before `before_ms` (Unix milliseconds). It may keep them for a while;
    /// it never forgets one received at or after it (but see [`LogStore`] on clocks that were set back).
    ///
    /// # Errors
    /// What has expired could not be dropped.
    fn expire(&mut self, before_ms: i64) -> Result<(), StoreError>;

    /// Ids held, expired ones that are not yet dropped included.
    fn ids_held(&self) -> u64;
}

impl<S: WindowStore + ?Sized> WindowStore for Box<S> {
    fn lookup(&mut self, ids: &[Id128], out: &mut Vec<Option<Hit>>) -> Result<(), StoreError> {
        (**self).lookup(ids, out)
    }

    fn apply(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError> {
        (**self).apply(entries, position)
    }

    fn position(&self) -> Option<SeenPosition> {
        (**self).position()
    }

    fn expire(&mut self, before_ms: i64) -> Result<(), StoreError> {
        (**self).expire(before_ms)
    }

    fn ids_held(&self) -> u64 {
        (**self).ids_held()
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Reading or writing failed.
    #[error("window store: could not {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no memory.
    #[error("window store: no memory for its index: {0}; shorten the window, use more lanes, or give the machine more")]
    Memory(io::Error),
    /// Somebody else holds the folder, for instance a stopped predecessor.
    #[error("window store folder {} is locked by another owner: restore into a fresh folder", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// An earlier write failed, so memory and disk may disagree.
    #[error("window store {} is unusable since: {cause}; open it again and read the rest from the seen topic", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// The error that made it so.
        cause: String,
    },
    /// The raw range of a commit ends before the last decided offset.
    #[error(
        "commit covers raw offsets below {raw_hi}, but offsets below {decided} were decided: commit what was decided, or abort"
    )]
    PositionShort {
        /// End of the committed range.
        raw_hi: u64,
        /// One past the last decided offset.
        decided: u64,
    },
    /// The same or an earlier transaction was applied again.
    #[error("position {given:?} does not follow {held:?}: each transaction is applied once, in order")]
    PositionNotNew {
        /// What the store reflects.
        held: SeenPosition,
        /// What it was given.
        given: SeenPosition,
    },
    /// An entry's offset is outside the range that the transaction adds, or not ascending.
    #[error("entry at raw offset {offset} is out of order: expected one from {from} up to, not including, {to}")]
    EntryOutOfOrder {
        /// The entry's offset.
        offset: u64,
        /// The least allowed offset.
        from: u64,
        /// The end of the allowed range.
        to: u64,
    },
    /// More marks than the files of one lane can hold.
    #[error("window store {} has {files} files of the most marks each: shorten the window or use more lanes", folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// Files in it.
        files: usize,
    },
    /// A file is not as it was written.
    #[error("window store file {} is damaged at byte {byte}: what it held is read from the seen topic again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged mark or batch begins.
        byte: u64,
    },
}

impl StoreError {
    /// For `map_err`: what was being done to which path.
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

/// The order that every store holds its callers to.
fn check_order(held: Option<SeenPosition>, entries: &[Entry], given: SeenPosition) -> Result<(), StoreError> {
    if let Some(held) = held
        && (given.next_offset <= held.next_offset || given.raw_hi < held.raw_hi)
    {
        return Err(StoreError::PositionNotNew { held, given });
    }
    let mut from = held.map_or(0, |held| held.raw_hi);
    for entry in entries {
        if entry.offset < from || entry.offset >= given.raw_hi {
            return Err(StoreError::EntryOutOfOrder { offset: entry.offset, from, to: given.raw_hi });
        }
        from = entry.offset + 1;
    }
    Ok(())
}
