//! The folder of a log store: whose it is, and that nobody else has it.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{StoreError, seal, segment};

const LOCK: &str = "LOCK";
const IDENTITY: &str = "IDENTITY";
const IDENTITY_DRAFT: &str = "IDENTITY.new";
/// Of the folder's files. Version 2 had the same ones, but took files 16 or more numbers behind the last for
/// expired: it must not open a folder that may have more.
const VERSION: u32 = 3;
/// A version whose folders are taken over.
const VERSION_BEFORE: u32 = 2;

/// What the marks in a store belong to. With any of it changed they mean nothing, so the store is discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The random id of this set of topics, from the control topic.
    pub incarnation: String,
    /// The lane.
    pub lane: u32,
    /// Version of the key recipes.
    pub recipe_version: u32,
}

impl Identity {
    /// The file's content: compared as a whole, so any other format version differs as well.
    fn text(&self, version: u32) -> String {
        format!(
            "hookline window store {version}\nincarnation {}\nlane {}\nkey recipe {}\n",
            self.incarnation, self.lane, self.recipe_version
        )
    }
}

/// What was found when a store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: the store begins empty, without a position.
    Fresh,
    /// A store of this identity: it begins with its marks and the position of its last whole batch.
    Reused {
        /// Cut off the tail because it was not a whole, undamaged batch; 0 after a clean stop.
        dropped_bytes: u64,
    },
    /// A store that cannot be used: it was deleted, and the store begins empty, without a position.
    Discarded {
        /// Why, for the log.
        why: String,
    },
}

/// A locked folder. The lock is the kernel's: it ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    _lock: File,
}

/// Whose store a folder holds.
pub(super) enum Owner {
    Nobody,
    This,
    Other { text: String },
}

impl Folder {
    /// Creates the folder if need be, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(StoreError::io("create", path))?;
        let lock_path = path.join(LOCK);
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(StoreError::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(StoreError::io("lock", &lock_path)(source)),
        }
    }

    /// Whose store it holds. One of the version before becomes one of this version.
    pub(super) fn owner(&self, identity: &Identity) -> Result<Owner, StoreError> {
        let path = self.path.join(IDENTITY);
        match fs::read(&path) {
            Ok(bytes) if bytes == identity.text(VERSION).as_bytes() => Ok(Owner::This),
            Ok(bytes) if bytes == identity.text(VERSION_BEFORE).as_bytes() => {
                self.claim(identity)?;
                Ok(Owner::This)
            }
            Ok(bytes) => Ok(Owner::Other { text: String::from_utf8_lossy(&bytes).trim_end().replace('\n', ", ") }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Owner::Nobody),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// Writes the identity as a whole or not at all.
    pub(super) fn claim(&self, identity: &Identity) -> Result<(), StoreError> {
        let (draft, path) = (self.path.join(IDENTITY_DRAFT), self.path.join(IDENTITY));
        let write = || -> io::Result<()> {
            File::create(&draft)?.write_all(identity.text(VERSION).as_bytes())?;
            fs::rename(&draft, &path)
        };
        write().map_err(StoreError::io("write", &path))
    }

    /// The log files with their numbers, in the order in which they were begun.
    pub(super) fn logs(&self) -> Result<Vec<(u64, PathBuf)>, StoreError> {
        let mut logs = Vec::new();
        for (name, path) in self.files()? {
            if let Some(number) = segment::number_of(&name) {
                logs.push((number, path));
            }
        }
        logs.sort_unstable();
        Ok(logs)
    }

    fn files(&self) -> Result<Vec<(String, PathBuf)>, StoreError> {
        let list = || -> io::Result<Vec<(String, PathBuf)>> {
            let mut files = Vec::new();
            for item in fs::read_dir(&self.path)? {
                let item = item?;
                if let Ok(name) = item.file_name().into_string() {
                    files.push((name, item.path()));
                }
            }
            Ok(files)
        };
        list().map_err(StoreError::io("list", &self.path))
    }

    /// Deletes what an interrupted sealing or deletion left.
    pub(super) fn tidy(&self) -> Result<(), StoreError> {
        for (name, path) in self.files()? {
            let orphan = name.ends_with(".seal") && !path.with_extension("log").exists();
            if name.starts_with("bucket-") && (orphan || name.ends_with(".seal.new")) {
                fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Deletes the store, and last of all its identity: a store that is half deleted still names its owner.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        for (_, path) in self.logs()? {
            seal::remove(&path)?;
            fs::remove_file(&path).map_err(StoreError::io("delete", &path))?;
        }
        self.tidy()?;
        let path = self.path.join(IDENTITY);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("delete", &path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
