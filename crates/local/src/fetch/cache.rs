//! The user's cache folder: one lock per thing fetched, checked sums, and names that only finished things have.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use crate::progress::Progress;

/// How often a waiting process looks whether the lock is free: quick enough not to be felt, and never blocks a stop.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// The folder that fetched engines are kept in, shared by every data folder of this user.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$HOOKLINE_CACHE`, else `$XDG_CACHE_HOME/hookline`, else `~/.cache/hookline`; created if need be.
    pub(crate) fn of_this_user() -> anyhow::Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = if let Some(root) = set("HOOKLINE_CACHE") {
            root
        } else if let Some(caches) = set("XDG_CACHE_HOME") {
            caches.join("hookline")
        } else if let Some(home) = set("HOME") {
            home.join(".cache/hookline")
        } else {
            bail!("no folder to keep the engines in: set HOOKLINE_CACHE, XDG_CACHE_HOME or HOME");
        };
        Self::at(root)
    }

    /// A cache in `root`; created if need be.
    pub(crate) fn at(root: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&root).with_context(|| {
            format!("cannot create the cache folder {} (HOOKLINE_CACHE names another)", root.display())
        })?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(Self { root })
    }

    /// The path of `name` in the cache.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Takes the lock of `name`; if another process has it, says so once and waits. Held until the file is dropped,
    /// and given up by the kernel when the holder dies.
    pub(crate) async fn lock(&self, name: &str, progress: Progress) -> anyhow::Result<File> {
        let mut said = false;
        loop {
            if let Some(lock) = try_lock(&self.path(&format!("{name}.lock")))? {
                return Ok(lock);
            }
            if !said {
                progress.say(&format!("another hookline is fetching {name}; waiting for it"));
                said = true;
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// An empty folder to build `name` in. What a killed process left of earlier ones is removed: call with the lock held.
    pub(crate) fn workshop(&self, name: &str) -> anyhow::Result<PathBuf> {
        let prefix = format!("{name}.building-");
        for entry in std::fs::read_dir(&self.root).context("cannot read the cache folder")? {
            let entry = entry.context("cannot read the cache folder")?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                std::fs::remove_dir_all(entry.path())
                    .with_context(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
        let path = self.path(&format!("{prefix}{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Gives a finished folder its name. Nothing half-done ever has it.
    pub(crate) fn publish(&self, workshop: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let target = self.path(name);
        if target.exists() {
            std::fs::remove_dir_all(&target).with_context(|| format!("cannot replace {}", target.display()))?;
        }
        std::fs::rename(workshop, &target)
            .with_context(|| format!("cannot move {} to {}", workshop.display(), target.display()))?;
        Ok(target)
    }

    /// Refuses to begin what would end with a full disk. `needed` is in bytes.
    pub(crate) fn require_space(&self, needed: u64, what: &str) -> anyhow::Result<()> {
        require_space(&self.root, needed, what, "HOOKLINE_CACHE names a cache folder elsewhere")
    }
}

/// Takes the lock that `path` stands for, if nobody has it. Held until the file is dropped, and given up by the kernel
/// when the holder dies.
pub(crate) fn try_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Refuses if the file system of `folder` has less than `needed` bytes for this user.
pub(crate) fn require_space(folder: &Path, needed: u64, what: &str, way_out: &str) -> anyhow::Result<()> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("cannot ask for the free space of {}", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed {
        bail!(
            "not enough space in {}: {what} needs {} MB, {} MB are free; free some, or {way_out}",
            folder.display(),
            needed.div_ceil(1_000_000),
            free / 1_000_000
        );
    }
    Ok(())
}

/// The SHA-256 of everything that `source` gives, in lower-case hexadecimal.
pub(crate) fn sha256(mut source: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = source.read(&mut buffer)?;
        if n == 0 {
            return Ok(const_hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Whether `file` has the SHA-256 `pinned`. The answer is kept in `<file>.verified` together with the file's size,
/// inode and time of change, so that half a gigabyte is read again only if somebody touched it.
pub(crate) fn is_verified(file: &Path, pinned: &str) -> anyhow::Result<bool> {
    if !file.is_file() {
        return Ok(false);
    }
    let stamp_path = PathBuf::from(format!("{}.verified", file.display()));
    let stamp = stamp(file, pinned)?;
    if std::fs::read_to_string(&stamp_path).is_ok_and(|kept| kept == stamp) {
        return Ok(true);
    }
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let found = sha256(opened).with_context(|| format!("cannot read {}", file.display()))?;
    if found != pinned {
        return Ok(false);
    }
    std::fs::write(&stamp_path, stamp).with_context(|| format!("cannot write {}", stamp_path.display()))?;
    Ok(true)
}

fn stamp(file: &Path, pinned: &str) -> anyhow::Result<String> {
    let meta = file.metadata().with_context(|| format!("cannot look at {}", file.display()))?;
    Ok(format!("{pinned} {} {} {}.{:09}\n", meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_fetches_at_once_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let first = cache.lock("thing", Progress::Silent).await.unwrap();

        let other = cache.clone();
        let second = tokio::spawn(async move { other.lock("thing", Progress::Silent).await.map(drop) });
        tokio::time::sleep(LOCK_POLL * 2).await;
        assert!(!second.is_finished(), "the second waits while the first holds the lock");

        drop(first);
        second.await.unwrap().unwrap();
    }

    #[test]
    fn a_workshop_starts_empty_whatever_a_killed_process_left() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned()).unwrap();
        std::fs::create_dir(folder.path().join("thing.building-1")).unwrap();
        std::fs::write(folder.path().join("thing.building-1/half"), "x").unwrap();
        std::fs::create_dir(folder.path().join("other.building-1")).unwrap();

        let workshop = cache.workshop("thing").unwrap();
        assert_eq!(std::fs::read_dir(&workshop).unwrap().count(), 0);
        assert!(!folder.path().join("thing.building-1/half").exists());
        assert!(folder.path().join("other.building-1").exists(), "another thing's workshop is not ours to clear");
    }

    #[test]
    fn a_file_that_changed_after_it_was_verified_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lib.so");
        std::fs::write(&file, "right").unwrap();
        let pinned = sha256("right".as_bytes()).unwrap();

        assert!(is_verified(&file, &pinned).unwrap());
        assert!(is_verified(&file, &pinned).unwrap(), "by its stamp");
        std::fs::write(&file, "wrong, and longer").unwrap();
        assert!(!is_verified(&file, &pinned).unwrap());
        assert!(!is_verified(&folder.path().join("absent"), &pinned).unwrap());
    }

    #[test]
    fn too_little_space_is_one_line_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let error = require_space(folder.path(), u64::MAX, "the engine", "move").unwrap_err().to_string();
        assert!(error.contains("the engine needs") && error.ends_with("or move") && !error.contains('\n'), "{error}");
    }
}
