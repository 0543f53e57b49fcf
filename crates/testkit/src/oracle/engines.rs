//! The engines under `hookline up --engines-only`, seen from outside.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// `up` gives up on an engine that dies five times before it has run for 3 s.
const SETTLED: Duration = Duration::from_secs(4);
/// How long an engine may take to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// An engine of `up`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The one broker.
    Kafka,
    /// One of three, from 1.
    Broker(u8),
    ClickHouse,
}

impl Engine {
    /// As `up` calls it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Kafka => "Kafka".to_owned(),
            Self::Broker(id) => format!("Kafka {id}"),
            Self::ClickHouse => "ClickHouse".to_owned(),
        }
    }
}

/// The engines of a data folder.
pub(crate) struct Engines {
    folder: PathBuf,
}

impl Engines {
    /// Of the folder in which `data` and the log of `up` lie.
    pub(crate) fn of(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Kafka's brokers.
    pub(crate) fn brokers(&self) -> Vec<Engine> {
        match self.folder.join("data/kafka.nodes").exists() {
            true => (1..=3).map(Engine::Broker).collect(),
            false => vec![Engine::Kafka],
        }
    }

    /// The brokers and ClickHouse.
    pub(crate) fn all(&self) -> Vec<Engine> {
        let mut all = self.brokers();
        all.push(Engine::ClickHouse);
        all
    }

    /// Waits until `up` says that the engine answers.
    pub(crate) async fn ready(&self, engine: Engine) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.pid(engine).is_none_or(|pid| !is_ready(&self.log(), pid)) {
            self.given_up(engine, deadline)?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The process id that `up` has noted; none while it starts the engine again.
    pub(crate) fn pid(&self, engine: Engine) -> Option<u32> {
        let name = engine.name().to_lowercase().replace(' ', "-");
        let file = self.folder.join("data").join(format!("{name}.pid"));
        std::fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// kill -9; `up` starts it again.
    pub(crate) fn kill(&self, engine: Engine) -> anyhow::Result<()> {
        self.signal(engine, "-KILL")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, engine: Engine, signal: &str) -> anyhow::Result<()> {
        let pid = self.pid(engine).with_context(|| format!("{} does not run", engine.name()))?;
        let told = Command::new("kill").args([signal, &pid.to_string()]).status()?;
        ensure!(told.success(), "{} cannot be sent {signal}", engine.name());
        Ok(())
    }

    /// Waits until another process than `old` is the engine; it may not answer yet.
    pub(crate) async fn born_again(&self, engine: Engine, old: Option<u32>) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.pid(engine).is_none_or(|pid| Some(pid) == old) {
            self.given_up(engine, deadline)?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the engine has run so long that `up` counts its death as the first in a row.
    pub(crate) async fn settled(&self, engine: Engine) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut since: Option<(u32, Instant)> = None;
        loop {
            let ready = self.pid(engine).filter(|pid| is_ready(&self.log(), *pid));
            since = match (ready, since) {
                (Some(pid), Some((before, at))) if pid == before => Some((pid, at)),
                (pid, _) => pid.map(|pid| (pid, Instant::now())),
            };
            if since.is_some_and(|(_, at)| at.elapsed() >= SETTLED) {
                return Ok(());
            }
            self.given_up(engine, deadline)?;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn given_up(&self, engine: Engine, deadline: Instant) -> anyhow::Result<()> {
        if Instant::now() > deadline {
            bail!("{} does not come back within {PATIENCE:?}; the log of up:\n{}", engine.name(), tail(&self.log()));
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("up.log")).unwrap_or_default()
    }
}

/// Whether `up` has logged that this process answers.
fn is_ready(log: &str, pid: u32) -> bool {
    let pid = format!("pid={pid}");
    log.lines().any(|line| line.contains(" is ready after ") && line.ends_with(&pid))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
