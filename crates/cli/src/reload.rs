//! Another configuration, taken while everything runs: on SIGHUP by one process, on `hookline reload` by all.
//!
//! The file is checked whole and everything is prepared before anything changes. Then it is taken in the order in which
//! an event does not travel: a stage knows a new rule, destination or source before the stage before it does.

mod part;

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use config::{Config, Environment, LiveChange};
use jiff::Timestamp;
use kafka::control::{Follower, Kind, Switch};
use kafka::lane::pause;
use runtime::{ConfigurationMetrics, Shutdown};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) use part::Part;
use part::{Order, Prepared};

use crate::platform::Platform;

/// How long the follower of requests waits for news before it looks at the stop again.
const TURN: Duration = Duration::from_millis(500);
/// How long the lanes of one stage may take until the stage before it is told: they change between two transactions.
const STAGE: Duration = Duration::from_secs(5);
/// What a process that has only later stages in it leaves to the processes of earlier ones, when all are asked.
const AFTER_DETECT: Duration = Duration::from_millis(700);
const AFTER_PROCESS: Duration = Duration::from_millis(1_200);

/// Why a process loads its file again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trigger {
    /// SIGHUP.
    Signal,
    /// `hookline reload`, for the configuration of this version.
    Asked { version: String, who: String, why: String },
}

/// Loads a configuration again whenever it is told to.
pub(crate) struct Reload {
    file: PathBuf,
    platform: Platform,
    /// What the file said at the start: what is read there alone stays so.
    started: Arc<Config>,
    parts: Vec<Part>,
    metrics: ConfigurationMetrics,
}

impl Reload {
    /// Follows SIGHUP and `hookline reload` until the stop is given.
    ///
    /// # Errors
    /// When a metric or a thread is refused.
    pub(crate) fn follow(file: &Path, platform: &Platform, parts: Vec<Part>, hangups: Hangups) -> anyhow::Result<()> {
        let metrics = ConfigurationMetrics::new(&platform.telemetry.metrics).context("metrics cannot be registered")?;
        let Hangups { tell, told } = hangups;
        follow_requests(platform, tell)?;
        let (platform, started) = (platform.clone(), Arc::clone(&platform.written));
        let beat = platform.telemetry.beats.register("reload", "the loading of configurations");
        let this = Self { file: file.to_owned(), platform, started, parts, metrics };
        tokio::spawn(beat.alongside(this.run(told)));
        Ok(())
    }

    async fn run(mut self, mut told: UnboundedReceiver<Trigger>) {
        let shutdown = self.platform.shutdown.clone();
        loop {
            let trigger = tokio::select! {
                trigger = told.recv() => match trigger {
                    Some(trigger) => trigger,
                    None => return,
                },
                () = shutdown.given() => return,
            };
            if let Err(error) = self.load(&trigger).await {
                let running = self.platform.config.version_hash();
                tracing::error!(file = %self.file.display(), running, "the configuration is not taken: {error:#}");
                self.metrics.refused();
            }
        }
    }

    /// Checks the file, prepares everything, and takes it.
    async fn load(&mut self, trigger: &Trigger) -> anyhow::Result<()> {
        let file = self.file.clone();
        let config = tokio::task::spawn_blocking(move || checked(&file)).await.context("the check panicked")??;
        let at_restart = self.started.change_to(&config).at_restart;
        let next = self.platform.with(config);
        let LiveChange { refused, .. } = self.platform.config.change_to(&next.config);
        if !refused.is_empty() {
            bail!("{}", refused.join("; "));
        }
        let mut prepared = Vec::new();
        for part in &self.parts {
            prepared.push(part.prepare(&next).await?);
        }
        self.take(prepared, trigger).await;
        let (was, is) = (self.platform.config.version_hash(), next.config.version_hash());
        match trigger {
            Trigger::Signal => tracing::info!(was, is, "the configuration is taken, on SIGHUP"),
            Trigger::Asked { who, why, .. } => tracing::info!(was, is, who, why, "the configuration is taken"),
        }
        if let Trigger::Asked { version, .. } = trigger
            && version != is
        {
            tracing::warn!(asked = version, is, file = %self.file.display(), "the file here is another one than was asked for");
        }
        for warning in &next.config.warnings {
            tracing::warn!("{warning}");
        }
        for one in &at_restart {
            tracing::warn!(
                key = one.key,
                "a change that is not taken while everything runs: start {} again",
                one.restart
            );
        }
        self.metrics.taken(is, &at_restart.iter().map(|one| one.key).collect::<Vec<_>>());
        self.platform = next;
        Ok(())
    }

    /// Puts it in place, later stages first.
    async fn take(&self, mut prepared: Vec<Prepared>, trigger: &Trigger) {
        prepared.sort_by_key(Prepared::order);
        let first = prepared.first().map_or(Order::Late, Prepared::order);
        if let Trigger::Asked { .. } = trigger {
            match first {
                Order::Late => {}
                Order::Process => tokio::time::sleep(AFTER_DETECT).await,
                Order::Ingest => tokio::time::sleep(AFTER_PROCESS).await,
            }
        }
        for order in [Order::Late, Order::Process, Order::Ingest] {
            let mut waits = Vec::new();
            while prepared.first().is_some_and(|part| part.order() == order) {
                waits.extend(prepared.remove(0).take());
            }
            for wait in waits {
                if !wait.is_over(STAGE).await {
                    tracing::warn!("{} lanes take the configuration when they are open again", wait.service());
                }
            }
        }
    }
}

/// Reads the file as `hookline check` does: with its route tests, and the files that it names.
fn checked(file: &Path) -> anyhow::Result<Config> {
    let environment = Environment::of_process();
    let config = Config::load(file, &environment)?;
    let report = operate::check::check(file, &environment);
    let errors: Vec<&str> = report.errors.iter().map(|error| error.text.as_str()).collect();
    match report.version.as_deref() {
        Some(version) if version == config.version_hash() => Ok(config),
        Some(_) => bail!("it was changed while it was read: load it again"),
        None => bail!("{}", errors.join("; ")),
    }
}

/// SIGHUP, listened to before anything starts: one that comes during the start is followed after it.
pub(crate) struct Hangups {
    tell: UnboundedSender<Trigger>,
    told: UnboundedReceiver<Trigger>,
}

impl Hangups {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the signal handler cannot be installed.
    pub(crate) fn listen(shutdown: &Shutdown) -> anyhow::Result<Self> {
        let (tell, told) = unbounded_channel();
        let on_signal = tell.clone();
        // Without a receiver the process is about to end.
        on_hangup(shutdown, move || drop(on_signal.send(Trigger::Signal)))?;
        Ok(Self { tell, told })
    }
}

/// Calls `act` on SIGHUP. One that comes because the terminal was closed ends the process, as it always does.
///
/// # Errors
/// When the signal handler cannot be installed.
pub(crate) fn on_hangup(shutdown: &Shutdown, act: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let had_terminal = std::io::stdin().is_terminal();
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                () = shutdown.given() => return,
            }
            if had_terminal && !std::io::stdin().is_terminal() {
                tracing::info!("the terminal is closed: stopping");
                return shutdown.stop();
            }
            act();
        }
    });
    Ok(())
}

/// The requests that are known, by the version that they are for. Each says when it was made by the clock of the
/// machine that made it, so times of two versions are never compared to tell whether one is new.
#[derive(Default)]
struct Requests(HashMap<String, Timestamp>);

impl Requests {
    /// A request that was not there before and `counts`, the newest if there are several: one load of the file is
    /// enough for all.
    fn news<'a>(
        &mut self,
        all: impl Iterator<Item = (&'a str, &'a Switch)>,
        counts: impl Fn(&str) -> bool,
    ) -> Option<(&'a str, &'a Switch)> {
        let is_news =
            |(version, switch): &(&str, &Switch)| self.0.insert((*version).to_owned(), switch.at) != Some(switch.at);
        all.filter(is_news).filter(|(version, _)| counts(version)).max_by_key(|(_, switch)| switch.at)
    }
}

/// Tells of requests on the topic `control`, on a separate thread.
fn follow_requests(platform: &Platform, tell: UnboundedSender<Trigger>) -> anyhow::Result<()> {
    let (cluster, shutdown) = (platform.cluster.clone(), platform.shutdown.clone());
    let running = platform.config.version_hash().to_owned();
    let beats = platform.telemetry.beats.clone();
    let run = move || {
        let mut follower = Follower::new(cluster, Kind::Configuration);
        let beat = beats.register("switches", "requests to load the configuration");
        let mut requests = Requests::default();
        while !shutdown.is_stopping() {
            beat.tick();
            let (before, changed) = (follower.standing().read, follower.turn(TURN));
            // A request of before this process read its file is news only if it was for another one.
            let counts = |version: &str| before || version != running;
            let news = if changed { requests.news(follower.switches().iter(), counts) } else { None };
            if let Some((version, switch)) = news {
                let (version, who, why) = (version.to_owned(), switch.who.clone(), switch.why.clone());
                if tell.send(Trigger::Asked { version, who, why }).is_err() {
                    return;
                }
            }
            if follower.standing().problem.is_some() {
                pause("Kafka, to follow requests to load the configuration", TURN);
            }
        }
    };
    std::thread::Builder::new().name("reload".into()).spawn(run).context("no thread to follow requests")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka::control::State;

    use super::*;

    fn asked(at: &str) -> Switch {
        let (who, why) = ("ana".to_owned(), "a new rule".to_owned());
        Switch { state: State::Accept, who, why, until: None, at: at.parse().unwrap() }
    }

    #[test]
    fn a_request_is_news_whatever_the_clocks_of_those_who_ask_say() {
        let (first, second) = (asked("2026-11-30T12:00:00Z"), asked("2026-11-30T11:58:00Z"));
        let mut requests = Requests::default();
        assert_eq!(requests.news([("a", &first)].into_iter(), |_| true).map(|(version, _)| version), Some("a"));
        assert_eq!(requests.news([("a", &first)].into_iter(), |_| true), None);
        // Asked later, on a machine whose clock is two minutes behind.
        let both = || [("a", &first), ("b", &second)].into_iter();
        assert_eq!(requests.news(both(), |_| true).map(|(version, _)| version), Some("b"));
        assert_eq!(requests.news(both(), |_| true), None);
        // Back to the first version, by that clock as well.
        let again = asked("2026-11-30T11:59:00Z");
        let all = [("a", &again), ("b", &second)].into_iter();
        assert_eq!(requests.news(all, |_| true).map(|(version, _)| version), Some("a"));
        // While it starts with the file that the first asks for, stamped by a clock that is ahead.
        let both = [("a", &first), ("b", &second)].into_iter();
        let told = Requests::default().news(both, |version| version != "a").map(|(version, _)| version);
        assert_eq!(told, Some("b"));
    }

    #[tokio::test]
    async fn a_hangup_during_the_start_is_kept_and_followed_after_it() {
        let shutdown = Shutdown::default();
        let mut hangups = Hangups::listen(&shutdown).unwrap();
        let own = std::process::id().to_string();
        // Without the listener, this ends the test.
        assert!(std::process::Command::new("kill").args(["-HUP", &own]).status().unwrap().success());
        let told = tokio::time::timeout(Duration::from_secs(20), hangups.told.recv()).await;
        assert_eq!(told, Ok(Some(Trigger::Signal)));
        assert!(!shutdown.is_stopping());
    }
}
