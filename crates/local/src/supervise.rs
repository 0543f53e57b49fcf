//! Engines as children: started, watched, started again when they die, stopped with this process.
//!
//! All children are spawned by one thread that lives as long as its [`Supervisor`]: their parent-death signal is tied to
//! it (see [`crate::leash`]). So nothing outlives this process, also when it is killed.

use std::path::PathBuf;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::child_log::ChildLog;
use crate::data_dir::write_pid;

/// An engine that has not answered by then is taken for broken: a large log after a crash takes Kafka tens of seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often an engine that starts is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(25);
/// A run that stayed up this long after it was ready was no failed start.
const SETTLED: Duration = Duration::from_secs(3);
/// Starts that fail in a row before the engine is given up.
const FAILED_STARTS: u32 = 5;
/// The pause before the first new start, doubled after each further failure: 0.2 to 3.2 s.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// What an engine gets between SIGTERM and SIGKILL.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// For what lies in the pipe of a dead engine to be read.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(50);

/// What to run, and how to tell that it runs.
pub(crate) struct Engine {
    /// As it is called in logs and messages.
    pub(crate) name: &'static str,
    /// Builds the command of one run.
    pub(crate) command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Whether it answers now.
    pub(crate) is_ready: Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
    /// Called once it has stopped as asked, before the stop is reported.
    pub(crate) after_stop: Box<dyn Fn() + Send + Sync>,
    /// Where what it says is kept.
    pub(crate) log: PathBuf,
    /// Where its process id is noted.
    pub(crate) pid: PathBuf,
}

/// Where an engine is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not running, or not answering yet.
    Starting { pid: Option<u32> },
    /// Answering.
    Ready { pid: u32 },
    /// Died too often, or could not be started at all: why.
    GivenUp(String),
    /// Stopped as asked.
    Stopped,
}

/// The thread that children are tied to.
pub(crate) struct Supervisor {
    handle: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let cannot = "cannot start the supervisor of the engines";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(cannot)?;
        let handle = runtime.handle().clone();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (told, left) = (stop.clone(), tasks.clone());
        let thread = std::thread::Builder::new()
            .name("engines".into())
            .spawn(move || {
                runtime.block_on(async {
                    told.cancelled().await;
                    left.close();
                    left.wait().await;
                });
            })
            .context(cannot)?;
        Ok(Self { handle, tasks, stop, thread: Some(thread) })
    }

    /// Runs `work` on the thread that children are tied to; it is dropped when the stop is given.
    pub(crate) async fn on_thread<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        let stop = self.stop.clone();
        let work = async move { stop.run_until_cancelled(work).await.context("stopped")? };
        self.tasks.spawn_on(work, &self.handle).await.context("the supervisor of the engines is gone")?
    }

    /// Starts an engine and keeps it running until the stop.
    pub(crate) fn run(&self, engine: Engine) -> watch::Receiver<State> {
        let (state, watched) = watch::channel(State::Starting { pid: None });
        let stop = self.stop.clone();
        self.tasks.spawn_on(
            async move {
                let end = match keep_running(&engine, &state, &stop).await {
                    Ok(()) => State::Stopped,
                    Err(error) => State::GivenUp(format!("{error:#}")),
                };
                state.send_replace(end);
            },
            &self.handle,
        );
        watched
    }

    /// Stops all engines, side by side, and returns when all are gone.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // An error is a panic of that thread: its children are gone with it.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The engines stop in their own time while this process lives, and with it if it ends earlier.
        self.stop.cancel();
    }
}

/// How one run of an engine ended.
enum Ended {
    Stopped,
    Died { ready_for: Option<Duration>, why: String },
}

/// Runs an engine again and again until the stop. An error gives it up.
async fn keep_running(engine: &Engine, state: &watch::Sender<State>, stop: &CancellationToken) -> anyhow::Result<()> {
    let log = ChildLog::begin(&engine.log)?;
    let (mut was_ready, mut failed_starts) = (false, 0);
    loop {
        state.send_replace(State::Starting { pid: None });
        let (ready_for, why) = match run_once(engine, &log, state, stop).await? {
            Ended::Stopped => return Ok(()),
            Ended::Died { ready_for, why } => (ready_for, why),
        };
        was_ready |= ready_for.is_some();
        if !was_ready {
            bail!("{} did not start: {why}; its log is {}", engine.name, log.path().display());
        }
        failed_starts = if ready_for.is_some_and(|time| time >= SETTLED) { 0 } else { failed_starts + 1 };
        if failed_starts > FAILED_STARTS {
            bail!(
                "{} is given up after {FAILED_STARTS} starts in a row that failed: {why}; its log is {}",
                engine.name,
                log.path().display()
            );
        }
        let pause = FIRST_PAUSE * 2_u32.pow(failed_starts);
        tracing::error!(engine = engine.name, "{} died: {why}; starting it again in {pause:?}", engine.name);
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(());
        }
    }
}

async fn run_once(
    engine: &Engine,
    log: &ChildLog,
    state: &watch::Sender<State>,
    stop: &CancellationToken,
) -> anyhow::Result<Ended> {
    let started = Instant::now();
    log.forget();
    let (mut child, pid) = spawn(engine, log)?;
    state.send_replace(State::Starting { pid: Some(pid) });
    let mut ready_since = None;
    let mut poll = tokio::time::interval(READY_POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let why = loop {
        tokio::select! {
            () = stop.cancelled() => {
                stop_child(engine, &mut child, pid).await?;
                return Ok(Ended::Stopped);
            }
            exit = child.wait() => {
                let exit = exit.with_context(|| format!("cannot wait for {}", engine.name))?;
                remove_pid(engine)?;
                tokio::time::sleep(LAST_WORDS_WITHIN).await;
                break format!("it ended with {exit}; {}", log.reason());
            }
            _ = poll.tick(), if ready_since.is_none() => {
                if (engine.is_ready)().await {
                    ready_since = Some(Instant::now());
                    state.send_replace(State::Ready { pid });
                    tracing::info!(engine = engine.name, pid, "{} is ready after {:.1?}", engine.name, started.elapsed());
                } else if started.elapsed() > READY_WITHIN {
                    child.kill().await.with_context(|| format!("cannot stop {}", engine.name))?;
                    remove_pid(engine)?;
                    break format!("it was not ready within {} s; {}", READY_WITHIN.as_secs(), log.reason());
                }
            }
        }
    };
    Ok(Ended::Died { ready_for: ready_since.map(|since| since.elapsed()), why })
}

fn spawn(engine: &Engine, log: &ChildLog) -> anyhow::Result<(Child, u32)> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut command = (engine.command)();
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot make a pipe")?)
        .stderr(writer)
        // Not in our process group: Ctrl-C is for us, who stop the engines when their users have stopped.
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start {}", engine.name))?;
    drop(command); // it holds the writing ends: the pipe must end with the engine
    tokio::spawn(log.clone().keep(reader));
    let pid = child.id().with_context(|| format!("{} ended at once", engine.name))?;
    write_pid(&engine.pid, pid)?;
    Ok((child, pid))
}

async fn stop_child(engine: &Engine, child: &mut Child, pid: u32) -> anyhow::Result<()> {
    // The child has not been waited for, so the id is still its own.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop {}", engine.name))?;
    }
    match tokio::time::timeout(STOPS_WITHIN, child.wait()).await {
        Ok(exit) => {
            let exit = exit.with_context(|| format!("cannot wait for {}", engine.name))?;
            (engine.after_stop)();
            tracing::debug!(engine = engine.name, %exit, "stopped");
        }
        Err(_) => {
            tracing::warn!(engine = engine.name, "{} did not stop within {STOPS_WITHIN:?}: killing it", engine.name);
            child.kill().await.with_context(|| format!("cannot kill {}", engine.name))?;
        }
    }
    remove_pid(engine)
}

fn remove_pid(engine: &Engine) -> anyhow::Result<()> {
    match std::fs::remove_file(&engine.pid) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", engine.pid.display()))
        }
        _ => Ok(()), // an engine that ended at once was never noted
    }
}
