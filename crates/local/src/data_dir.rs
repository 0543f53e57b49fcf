//! The data folder: one owner at a time, and what a killed owner left behind.
//!
//! ```text
//! lock               held by the running `hookline up`; its process id
//! kafka/             server.properties, log/ (the topics)
//! clickhouse/        the engine's tables
//! logs/              what the engines say, one file and its predecessor each
//! kafka.pid, clickhouse.pid   the running engines: process id and start time
//! ```

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::fetch::{require_space, try_lock};

/// Below this, in bytes, starting is refused: Kafka stops at a full disk, and a full disk is best met before the start.
const MIN_FREE: u64 = 300_000_000;
/// How long a killed owner's engines get to go by themselves; the kernel sends them SIGKILL when their owner dies.
const ORPHANS_GO_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// A data folder that this process owns.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the folder, creating it if need be. Given back when dropped, or by the kernel when this process dies.
    ///
    /// # Errors
    /// Another process owns it (its id is named), it cannot be created, or its disk is full.
    pub(crate) fn take(root: &Path) -> anyhow::Result<Self> {
        let create = |path: &Path| {
            std::fs::create_dir_all(path).with_context(|| format!("cannot create the data folder {}", path.display()))
        };
        create(root)?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        let lock = lock(&root)?;
        for part in ["kafka", "clickhouse", "logs"] {
            create(&root.join(part))?;
        }
        require_space(&root, MIN_FREE, "starting", "give a folder on another disk with --data DIR")?;
        Ok(Self { root, _lock: lock })
    }

    /// The folder itself, as an absolute path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `name` inside the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn lock(root: &Path) -> anyhow::Result<File> {
    let path = root.join("lock");
    let Some(mut file) = try_lock(&path)? else {
        let holder = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        bail!(
            "the data folder {} is in use by hookline with process id {}: stop that one, or give another folder with --data DIR",
            root.display(),
            holder.trim()
        );
    };
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("cannot write {} (is the disk full?)", path.display()))?;
    Ok(file)
}

/// Notes that `pid` runs for this data folder. One that has ended already needs no note.
pub(crate) fn write_pid(path: &Path, pid: u32) -> anyhow::Result<()> {
    let Some(started) = start_time(pid) else { return Ok(()) };
    std::fs::write(path, format!("{pid} {started}\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// Waits until the process noted in `path` by an earlier owner is gone, and kills it if it does not go. A process that
/// merely has the same id by now has another start time, and is left alone.
pub(crate) async fn reap(path: &Path) -> anyhow::Result<()> {
    let Ok(noted) = std::fs::read_to_string(path) else { return Ok(()) };
    let mut words = noted.split_whitespace();
    let (Some(pid), Some(started)) =
        (words.next().and_then(|w| w.parse().ok()), words.next().and_then(|w| w.parse().ok()))
    else {
        return Ok(()); // half-written: its owner died between starting the engine and noting it
    };
    let runs = || start_time(pid) == Some(started);
    let deadline = Instant::now() + ORPHANS_GO_WITHIN;
    while runs() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    if runs() {
        // Through a descriptor, so that the id cannot pass to another process between the look and the kill.
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            && let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && runs()
        {
            tracing::warn!(pid = pid.as_raw_nonzero().get(), "killing an engine that an earlier run left behind");
            pidfd_send_signal(&process, Signal::KILL)
                .context("cannot kill an engine that an earlier run left behind")?;
        }
        let deadline = Instant::now() + ORPHANS_GO_WITHIN;
        while runs() {
            if Instant::now() > deadline {
                bail!(
                    "process {pid}, an engine of an earlier run on this data folder, does not go away: kill it first"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// The time at which a live process started, in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)). `None` if
/// there is no such process, or only its zombie.
fn start_time(pid: u32) -> Option<u64> {
    read_start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn read_start_time(stat: &str) -> Option<u64> {
    // The second field, the name in parentheses, may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::take(folder.path()).unwrap();
        let error = DataDir::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process id {}", std::process::id())) && error.contains("--data"), "{error}");
        drop(first);
        DataDir::take(folder.path()).unwrap();
    }

    #[test]
    fn the_start_time_is_read_past_a_hostile_name() {
        let stat = "4711 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20";
        assert_eq!(read_start_time(stat), Some(987_654));
        assert_eq!(read_start_time(&stat.replace(" S ", " Z ")), None, "a zombie is gone");
        assert_eq!(read_start_time("nonsense"), None);
    }

    #[tokio::test]
    async fn a_process_left_behind_is_gone_after_reaping() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("engine.pid");
        let mut left = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        write_pid(&note, left.id()).unwrap();
        reap(&note).await.unwrap();
        assert!(!left.wait().unwrap().success());
        assert!(!note.exists());
    }

    #[tokio::test]
    async fn a_process_that_only_inherited_the_id_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("engine.pid");
        let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(&note, format!("{} 1\n", other.id())).unwrap();
        reap(&note).await.unwrap();
        assert!(other.try_wait().unwrap().is_none(), "it still runs");
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
