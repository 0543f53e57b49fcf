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
/// The pause before a new start, doubled for every failed start in a row: 0.2 to 6.4 s.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// What an engine gets between SIGTERM and SIGKILL.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// For what lies in the pipe of a dead engine to be read.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(50);

/// What to run, and how to tell that it runs.
pub(crate) struct Engine {
    /// As it is called in logs and messages.
    pub(crate) name: String,
    /// Done before each run. An error gives the engine up.
    pub(crate) prepare: Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>,
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

/// What to do about an engine that died.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    StartAgain {
        after: Duration,
    },
    /// It never ran: what is wrong is wrong again the next time.
    DidNotStart,
    GiveUp,
}

/// How an engine's runs went so far.
#[derive(Debug, Default)]
struct Record {
    was_ready: bool,
    failed_starts: u32,
}

impl Record {
    /// Judges a run that ended by itself `ready_for` after it was ready, or before.
    fn judge(&mut self, ready_for: Option<Duration>) -> Verdict {
        self.was_ready |= ready_for.is_some();
        if !self.was_ready {
            return Verdict::DidNotStart;
        }
        self.failed_starts = if ready_for.is_some_and(|time| time >= SETTLED) { 0 } else { self.failed_starts + 1 };
        if self.failed_starts > FAILED_STARTS {
            return Verdict::GiveUp;
        }
        Verdict::StartAgain { after: FIRST_PAUSE * 2_u32.pow(self.failed_starts) }
    }
}

/// Runs an engine again and again until the stop. An error gives it up.
async fn keep_running(engine: &Engine, state: &watch::Sender<State>, stop: &CancellationToken) -> anyhow::Result<()> {
    let (name, log) = (&*engine.name, ChildLog::begin(&engine.log)?);
    let mut record = Record::default();
    loop {
        state.send_replace(State::Starting { pid: None });
        let (ready_for, why) = match run_once(engine, &log, state, stop).await? {
            Ended::Stopped => return Ok(()),
            Ended::Died { ready_for, why } => (ready_for, why),
        };
        let pause = match record.judge(ready_for) {
            Verdict::StartAgain { after } => after,
            Verdict::DidNotStart => bail!("{name} did not start: {why}; its log is {}", log.path().display()),
            Verdict::GiveUp => bail!(
                "{name} is given up after {FAILED_STARTS} starts in a row that failed: {why}; its log is {}",
                log.path().display()
            ),
        };
        tracing::error!(engine = name, "{name} died: {why}; starting it again in {pause:?}");
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
    match stop.run_until_cancelled((engine.prepare)()).await {
        Some(prepared) => prepared?,
        None => return Ok(Ended::Stopped),
    }
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
                    tracing::info!(engine = %engine.name, pid, "{} is ready after {:.1?}", engine.name, started.elapsed());
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
            tracing::debug!(engine = %engine.name, %exit, "stopped");
        }
        Err(_) => {
            tracing::warn!(engine = %engine.name, "{} did not stop within {STOPS_WITHIN:?}: killing it", engine.name);
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A shell script as an engine; ready once it has made a file `ready`.
    fn engine(folder: &Path, script: &str) -> Engine {
        let (script, folder) = (script.to_owned(), folder.to_owned());
        let ready = folder.join("ready");
        Engine {
            name: "Script".to_owned(),
            prepare: Box::new(|| Box::pin(async { Ok(()) })),
            log: folder.join("log"),
            pid: folder.join("pid"),
            command: Box::new({
                let folder = folder.clone();
                move || {
                    let mut command = Command::new("sh");
                    command.args(["-c", &script]).current_dir(&folder);
                    command
                }
            }),
            is_ready: Box::new(move || {
                let there = ready.exists();
                Box::pin(async move { there })
            }),
            after_stop: Box::new(|| {}),
        }
    }

    async fn ready(state: &mut watch::Receiver<State>) -> u32 {
        match *state.wait_for(|state| matches!(state, State::Ready { .. })).await.unwrap() {
            State::Ready { pid } => pid,
            _ => unreachable!("waited for it"),
        }
    }

    #[tokio::test]
    async fn an_engine_that_dies_is_started_again_and_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new().unwrap();
        let mut state = supervisor.run(engine(folder.path(), "touch ready; exec sleep 60"));
        let first = ready(&mut state).await;
        kill_process(Pid::from_raw(first as i32).unwrap(), Signal::KILL).unwrap();
        state.wait_for(|state| matches!(state, State::Starting { .. })).await.unwrap();
        let second = ready(&mut state).await;
        assert_ne!(first, second);
        let noted = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        assert!(noted.starts_with(&format!("{second} ")), "{noted}");

        supervisor.stop().await;
        assert_eq!(*state.borrow(), State::Stopped);
        assert!(!Path::new(&format!("/proc/{second}")).exists());
        assert!(!folder.path().join("pid").exists());
    }

    #[tokio::test]
    async fn an_engine_that_never_starts_is_given_up_at_once_with_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new().unwrap();
        let mut state = supervisor.run(engine(folder.path(), "echo 'ERROR no room here' >&2; exit 3"));
        let given_up = state.wait_for(|state| matches!(state, State::GivenUp(_))).await.unwrap().clone();
        let State::GivenUp(why) = given_up else { unreachable!("waited for it") };
        assert!(why.contains("Script did not start: it ended with exit status: 3"), "{why}");
        assert!(why.contains("ERROR no room here") && why.contains("its log is"), "{why}");
        supervisor.stop().await;
    }

    #[tokio::test]
    async fn what_a_dropped_supervisor_ran_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::new().unwrap();
        let mut state = supervisor.run(engine(folder.path(), "touch ready; exec sleep 60"));
        ready(&mut state).await;
        drop(supervisor);
        state.wait_for(|state| *state == State::Stopped).await.unwrap();
    }

    #[test]
    fn pauses_grow_until_an_engine_is_given_up_and_a_settled_run_starts_anew() {
        let mut record = Record::default();
        let settled = Record::default().judge(Some(SETTLED));
        assert_eq!(settled, Verdict::StartAgain { after: FIRST_PAUSE });
        let mut pauses = Vec::new();
        for _ in 0..FAILED_STARTS {
            match record.judge(Some(Duration::ZERO)) {
                Verdict::StartAgain { after } => pauses.push(after.as_millis()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pauses, [400, 800, 1600, 3200, 6400]);
        assert_eq!(record.judge(None), Verdict::GiveUp);
        assert_eq!(record.judge(Some(SETTLED)), Verdict::StartAgain { after: FIRST_PAUSE });
        assert_eq!(Record::default().judge(None), Verdict::DidNotStart);
    }
}
