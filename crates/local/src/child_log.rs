//! What an engine says, kept in a file of bounded size, the last lines at hand for messages.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{PipeReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;

/// At this size, in bytes, a log becomes the predecessor and a new one begins: at most twice this is kept.
const MAX_SIZE: u64 = 16 << 20;
/// Lines remembered to explain an end.
const REMEMBERED: usize = 60;
/// Of one line, in characters, in a message.
const LINE_IN_MESSAGE: usize = 300;

/// The log of one engine, over all its runs. Clones share it.
#[derive(Clone)]
pub(crate) struct ChildLog {
    path: PathBuf,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    file: File,
    size: u64,
    last: VecDeque<String>,
}

impl ChildLog {
    /// Begins a log; an earlier one becomes `<path>.1`.
    pub(crate) fn begin(path: &Path) -> anyhow::Result<Self> {
        let file = begin_file(path).with_context(|| format!("cannot write the log {}", path.display()))?;
        let kept = Kept { file, size: 0, last: VecDeque::new() };
        Ok(Self { path: path.to_owned(), kept: Arc::new(Mutex::new(kept)) })
    }

    /// A new run: what the last one said explains nothing any more.
    pub(crate) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).last.clear();
    }

    /// Keeps all that comes out of `pipe`, until every writer has closed it.
    pub(crate) async fn keep(self, pipe: PipeReader) -> anyhow::Result<()> {
        let pipe = Receiver::from_owned_fd(OwnedFd::from(pipe)).context("cannot read what an engine says")?;
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).await.context("cannot read what an engine says")? > 0 {
            self.add(&line);
            line.clear();
        }
        Ok(())
    }

    fn add(&self, line: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.size > MAX_SIZE
            && let Ok(file) = begin_file(&self.path)
        {
            kept.file = file;
            kept.size = 0;
        }
        // A full disk must not stop the reading: the engine would block on its pipe. Its own error is what counts then.
        let _ = kept.file.write_all(line);
        kept.size += line.len() as u64;
        if kept.last.len() == REMEMBERED {
            kept.last.pop_front();
        }
        kept.last.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    }

    /// What of the last lines explains an end best, in one line: errors if it named any, else the last thing it said.
    pub(crate) fn reason(&self) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let said = || kept.last.iter().filter(|line| !line.is_empty() && !line.starts_with(char::is_whitespace));
        let mut telling: Vec<&String> = said()
            .filter(|line| ["ERROR", "FATAL", "Exception", "Error"].iter().any(|word| line.contains(word)))
            .collect();
        if telling.is_empty() {
            telling.extend(said().next_back());
        }
        if telling.is_empty() {
            return "it said nothing".to_owned();
        }
        let shown = telling.iter().skip(telling.len().saturating_sub(3));
        let lines: Vec<String> = shown.map(|line| line.chars().take(LINE_IN_MESSAGE).collect()).collect();
        format!("it said: {}", lines.join(" / "))
    }

    /// Where the whole of it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn begin_file(path: &Path) -> std::io::Result<File> {
    match std::fs::rename(path, path.with_added_extension("1")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_grows_beyond_twice_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.log");
        let log = ChildLog::begin(&path).unwrap();
        let line = [b'x'; 1 << 20];
        for _ in 0..40 {
            log.add(&line);
        }
        let size = |path: PathBuf| std::fs::metadata(path).unwrap().len();
        assert!(size(path.clone()) <= MAX_SIZE + (1 << 20));
        assert!(size(folder.path().join("engine.log.1")) <= MAX_SIZE + (1 << 20));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_reason_is_the_error_and_not_the_noise_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = ChildLog::begin(&folder.path().join("engine.log")).unwrap();
        assert_eq!(log.reason(), "it said nothing");
        log.add(b"starting\n");
        assert_eq!(log.reason(), "it said: starting");
        log.add(b"[main] ERROR Exiting Kafka due to fatal exception\n");
        log.add(b"\tat kafka.Kafka.main(Kafka.scala)\n");
        log.add(b"shutting down\n");
        assert_eq!(log.reason(), "it said: [main] ERROR Exiting Kafka due to fatal exception");
        log.forget();
        assert_eq!(log.reason(), "it said nothing");
    }
}
