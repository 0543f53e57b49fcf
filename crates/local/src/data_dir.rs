//! The data folder: one owner at a time, and what a killed owner left behind.
//!
//! ```text
//! lock               held by the running `hookline up`; its process id
//! kafka/             server.properties, log/ (the topics); of three nodes kafka-1/ to kafka-3/
//! kafka.nodes        three nodes have been ready together here
//! clickhouse/        ClickHouse's tables, and `kind`: whether our own engine or a server wrote them
//! logs/              what the engines say, one file and its predecessor each
//! kafka.pid (or kafka-1.pid …), clickhouse.pid   the running engines: process id and start time
//! ```

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::fetch::{require_space, try_lock};
use crate::port::FREE_WITHIN;

/// Below this, in bytes, starting is refused: Kafka stops at a full disk, and a full disk is best met before the start.
const MIN_FREE: u64 = 300_000_000;
/// How long a killed owner's engines get to go by themselves; the kernel sends them SIGKILL when their owner dies.
const ORPHANS_GO_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// Of the masks of signals in `/proc/PID/status`.
const SIGKILL_BIT: u64 = 1 << 8;

/// A data folder that this process owns.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    waited: bool,
    _lock: File,
}

impl DataDir {
    /// Takes the folder, creating it if need be. Given back when dropped, or by the kernel when this process dies: of one that
    /// was killed the threads hold it until the last has ended, which is waited for.
    ///
    /// # Errors
    /// Another process owns it (its id is named), it cannot be created, or its disk is full.
    pub(crate) async fn take(root: &Path) -> anyhow::Result<Self> {
        let create = |path: &Path| {
            std::fs::create_dir_all(path).with_context(|| format!("cannot create the data folder {}", path.display()))
        };
        create(root)?;
        let root = root.canonicalize().with_context(|| format!("cannot resolve {}", root.display()))?;
        let (lock, waited) = lock(&root).await?;
        for part in ["clickhouse", "logs"] {
            create(&root.join(part))?;
        }
        require_space(&root, MIN_FREE, "starting", "give a folder on another disk with --data DIR")?;
        Ok(Self { root, waited, _lock: lock })
    }

    /// Whether the process that had it was ending when it was taken.
    pub(crate) fn was_waited_for(&self) -> bool {
        self.waited
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

/// Takes the lock; whether the one that had it was waited for.
async fn lock(root: &Path) -> anyhow::Result<(File, bool)> {
    let path = root.join("lock");
    let asked = Instant::now();
    let mut waited = false;
    let mut file = loop {
        if let Some(file) = try_lock(&path)? {
            break file;
        }
        let holder = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let holder = holder.trim();
        if asked.elapsed() > FREE_WITHIN || !is_ending(holder) {
            bail!(
                "the data folder {} is in use by hookline with process id {holder}: stop that one, or give another folder \
                 with --data DIR",
                root.display(),
            );
        }
        if !waited {
            tracing::warn!(
                "the data folder {} is still held by process {holder}, which is ending: waiting for it, up to {} s",
                root.display(),
                FREE_WITHIN.as_secs()
            );
        }
        waited = true;
        tokio::time::sleep(POLL).await;
    };
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("cannot write {} (is the disk full?)", path.display()))?;
    Ok((file, waited))
}

/// Whether a process has been killed and not quite gone, or is gone: its main thread has ended, or SIGKILL waits for it
/// (`/proc/PID/status`, proc(5)). A holder that has not written its id yet is just beginning.
fn is_ending(pid: &str) -> bool {
    if pid.is_empty() || pid.parse::<u32>().is_err() {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    status.lines().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        match name {
            "State" => value.starts_with(['Z', 'X']),
            "SigPnd" | "ShdPnd" => u64::from_str_radix(value, 16).is_ok_and(|signals| signals & SIGKILL_BIT != 0),
            _ => false,
        }
    })
}

/// Notes that `pid` runs for this data folder. One that has ended already needs no note.
pub(crate) fn write_pid(path: &Path, pid: u32) -> anyhow::Result<()> {
    let Some(started) = start_time(pid) else { return Ok(()) };
    std::fs::write(path, format!("{pid} {started}\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// Waits until the process noted in `path` by an earlier owner is gone, and kills it if it does not go. A process that
/// merely has the same id by now has another start time, and is left alone. Returns whether one was noted: an earlier run did
/// not stop as it should.
pub(crate) async fn reap(path: &Path) -> anyhow::Result<bool> {
    let Ok(noted) = std::fs::read_to_string(path) else { return Ok(false) };
    let mut words = noted.split_whitespace();
    let (Some(pid), Some(started)) =
        (words.next().and_then(|w| w.parse().ok()), words.next().and_then(|w| w.parse().ok()))
    else {
        return Ok(true); // half-written: its owner died between starting the engine and noting it
    };
    let runs = || start_time(pid) == Some(started);
    if runs() {
        tracing::warn!(pid, "an engine of an earlier run on this data folder is ending: waiting for it");
    }
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
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(true)
}

/// The time at which a live process started, in clock ticks since boot: field 22 of `/proc/PID/stat` (proc(5)). `None` if
/// there is no such process, or only its zombie. One whose main thread alone has ended still has its ports and files.
fn start_time(pid: u32) -> Option<u64> {
    let (ended, started) = read_start_time(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    if !ended {
        return Some(started);
    }
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
    (threads > 1).then_some(started)
}

/// Whether the main thread has ended, and when it started.
fn read_start_time(stat: &str) -> Option<(bool, u64)> {
    // The second field, the name in parentheses, may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let ended = state == "Z" || state == "X";
    Some((ended, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_owner_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::take(folder.path()).await.unwrap();
        let error = DataDir::take(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process id {}", std::process::id())) && error.contains("--data"), "{error}");
        drop(first);
        DataDir::take(folder.path()).await.unwrap();
    }

    #[test]
    fn the_start_time_is_read_past_a_hostile_name() {
        let stat = "4711 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20";
        assert_eq!(read_start_time(stat), Some((false, 987_654)));
        assert_eq!(read_start_time(&stat.replace(" S ", " Z ")), Some((true, 987_654)));
        assert_eq!(read_start_time("nonsense"), None);
    }

    #[tokio::test]
    async fn a_process_left_behind_is_gone_after_reaping() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("engine.pid");
        let mut left = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        write_pid(&note, left.id()).unwrap();
        assert!(reap(&note).await.unwrap());
        assert!(!left.wait().unwrap().success());
        assert!(!note.exists());
    }

    /// A process whose main thread has ended and that runs on all the same, as a killed JVM does for a while.
    #[tokio::test]
    async fn a_process_whose_main_thread_alone_has_ended_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("engine.pid");
        let script = "import ctypes, threading, time\n\
                      threading.Thread(target=time.sleep, args=(1.0,)).start()\n\
                      ctypes.CDLL(None).pthread_exit(None)\n";
        let mut left = std::process::Command::new("python3").args(["-c", script]).spawn().unwrap();
        write_pid(&note, left.id()).unwrap();
        let status = format!("/proc/{}/status", left.id());
        while !std::fs::read_to_string(&status).unwrap().contains("State:\tZ") {
            tokio::time::sleep(POLL).await;
        }
        assert!(is_ending(&left.id().to_string()));
        let threads = || std::fs::read_dir(format!("/proc/{}/task", left.id())).unwrap().count();
        assert_eq!(threads(), 2);
        reap(&note).await.unwrap();
        assert_eq!(threads(), 1, "only the zombie is left");
        left.wait().unwrap();
        assert!(is_ending(&left.id().to_string()) && !is_ending(&std::process::id().to_string()) && !is_ending(""));
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
