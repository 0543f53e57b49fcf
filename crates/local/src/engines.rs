//! The engines of one machine, as one thing that starts, is watched, and stops.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clickhouse::{Access, Account};
use crate::clickhouse_server::{self, Chosen};
use crate::data_dir::{DataDir, reap};
use crate::kafka::{Kafka, PIDS};
use crate::port::Claims;
use crate::supervise::{Engine, State, Supervisor};
use crate::{Progress, fetch, leash, probe};

/// What to start, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder; created if need be.
    pub data: PathBuf,
    /// Kafka's port on 127.0.0.1; 0 picks a free one.
    pub kafka_port: u16,
    /// Kafka nodes, 1 or 3; without it as many as the data folder has, one at first. The further ones have the next ports.
    pub kafka_nodes: Option<u8>,
    /// A folder with further settings of the Kafka nodes, for tests alone: the value of [`KAFKA_SETTINGS`]. Those in
    /// `kafka-1.properties` (of one node alone `kafka.properties`) and so on replace ours.
    pub kafka_settings: Option<PathBuf>,
    /// The port of ClickHouse's HTTP interface on 127.0.0.1; 0 picks a free one.
    pub clickhouse_port: u16,
    /// Who may use the local ClickHouse; the first one owns it.
    pub clickhouse_accounts: Vec<Account>,
    /// A ClickHouse server's binary to run as the local ClickHouse: the value of `HOOKLINE_CLICKHOUSE_BIN`. Empty: our
    /// own engine. Absent: a `clickhouse` on PATH, if it is good, else our own engine.
    pub clickhouse_binary: Option<OsString>,
    /// A binary with the hidden subcommands [`leash::SUBCOMMAND`] and [`CLICKHOUSE_SUBCOMMAND`]: the caller's own.
    pub executable: PathBuf,
    /// Brokers that run already, `host:port,…`: the local Kafka is not started.
    pub given_brokers: Option<String>,
    /// A ClickHouse that runs already: the local one is not started.
    pub given_clickhouse: Option<Url>,
    /// Where a person sees the fetching.
    pub progress: Progress,
}

/// The variable by which tests give Kafka's nodes further settings.
pub const KAFKA_SETTINGS: &str = "HOOKLINE_TEST_KAFKA_SETTINGS";

/// The hidden subcommand under which the own binary serves the ClickHouse engine.
pub const CLICKHOUSE_SUBCOMMAND: &str = "engine-clickhouse";

/// Process ids of the local engines: `None` where an engine is being started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pids {
    /// Of the JVMs of Kafka's nodes; empty where brokers were given.
    pub kafka: Vec<Option<u32>>,
    /// Of the ClickHouse engine's process; `None` also where one was given.
    pub clickhouse: Option<u32>,
}

/// Engines that answer. A local one that dies is started again; all stop with this process, whatever it ends of.
pub struct Engines {
    /// Kafka's brokers, `host:port,…`.
    pub kafka: String,
    /// ClickHouse's HTTP interface.
    pub clickhouse: Url,
    /// Which ClickHouse that is, with its version, in words; `None` where one was given.
    pub clickhouse_is: Option<String>,
    /// One for each node.
    kafka_states: Vec<watch::Receiver<State>>,
    clickhouse_state: Option<watch::Receiver<State>>,
    supervisor: Supervisor,
    /// The ports are this run's as long as its engines may be started again.
    _claims: Claims,
    // Last: the folder is given back when everything else is gone.
    data: DataDir,
}

impl Engines {
    /// Starts both engines side by side, fetching them first if need be, and returns when both answer.
    ///
    /// # Errors
    /// In one line: what is missing, taken or broken, and what to do. Nothing is left running.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let data = DataDir::take(&options.data).await?;
        // What can be wrong about it is said before anything starts.
        let clickhouse = match &options.given_clickhouse {
            Some(url) => Clickhouse::Given(url.clone()),
            None => Clickhouse::Local(choose_clickhouse(&data, &options).await?),
        };
        // An earlier run that was killed may still be ending, and its engines with it.
        let mut patient = data.was_waited_for();
        for pid in PIDS.into_iter().chain([CLICKHOUSE_PID]) {
            patient |= reap(&data.path(pid)).await?;
        }
        let (supervisor, claims) = (Supervisor::new()?, Claims::of_this_user()?);
        let started = tokio::try_join!(
            start_kafka(&supervisor, &data, &options, &claims, patient),
            start_clickhouse(&supervisor, &data, &options, clickhouse, &claims, patient)
        );
        match started {
            Ok(((kafka, kafka_states), (clickhouse, local))) => {
                let (clickhouse_is, clickhouse_state) = local.unzip();
                Ok(Self {
                    kafka,
                    clickhouse,
                    clickhouse_is,
                    kafka_states,
                    clickhouse_state,
                    supervisor,
                    _claims: claims,
                    data,
                })
            }
            Err(error) => {
                supervisor.stop().await;
                Err(error)
            }
        }
    }

    /// Returns when a local engine is given up, with the reason in one line; never, as long as that does not happen.
    pub async fn failed(&self) -> String {
        let states = self.kafka_states.iter().chain(&self.clickhouse_state).cloned();
        let mut ends: FuturesUnordered<_> = states.map(given_up).collect();
        match ends.next().await {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }

    /// How many Kafka nodes this run has of its own: 0 where brokers were given.
    #[must_use]
    pub fn kafka_nodes(&self) -> usize {
        self.kafka_states.len()
    }

    /// The data folder, as an absolute path. It is this process's alone until the engines are stopped.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.root()
    }

    /// The process ids of the local engines.
    #[must_use]
    pub fn pids(&self) -> Pids {
        Pids {
            kafka: self.kafka_states.iter().map(pid).collect(),
            clickhouse: self.clickhouse_state.as_ref().and_then(pid),
        }
    }

    /// Stops the local engines and returns when they are gone. Stop what uses them first.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}

async fn start_kafka(
    supervisor: &Supervisor,
    data: &DataDir,
    options: &Options,
    claims: &Claims,
    patient: bool,
) -> anyhow::Result<(String, Vec<watch::Receiver<State>>)> {
    if let Some(brokers) = &options.given_brokers {
        ensure!(
            options.kafka_nodes.is_none(),
            "--kafka-nodes is for the local Kafka, and brokers are given: leave one of the two away"
        );
        return Ok((brokers.clone(), Vec::new()));
    }
    let kafka = Kafka::prepare(data, options, claims, patient).await?;
    // All of them before any is waited for: two nodes are needed for either to be ready.
    let started = kafka.engines(data).into_iter().map(|engine| until_ready(supervisor.run(engine)));
    let states = futures::future::try_join_all(started).await?;
    kafka.complete()?;
    Ok((kafka.addresses(), states))
}

/// Which ClickHouse a run has.
enum Clickhouse {
    /// One that runs already.
    Given(Url),
    /// One that is started.
    Local(Chosen),
}

async fn choose_clickhouse(data: &DataDir, options: &Options) -> anyhow::Result<Chosen> {
    let (path, tables) = (std::env::var_os("PATH"), data.path(CLICKHOUSE_FOLDER));
    clickhouse_server::choose(options.clickhouse_binary.as_deref(), path.as_deref(), &tables).await
}

/// The address of ClickHouse, and of a local one what it is and where it is in its life.
async fn start_clickhouse(
    supervisor: &Supervisor,
    data: &DataDir,
    options: &Options,
    clickhouse: Clickhouse,
    claims: &Claims,
    patient: bool,
) -> anyhow::Result<(Url, Option<(String, watch::Receiver<State>)>)> {
    let chosen = match clickhouse {
        Clickhouse::Given(url) => return Ok((url, None)),
        Clickhouse::Local(chosen) => chosen,
    };
    let port = claims.choose(options.clickhouse_port, "ClickHouse", "--clickhouse-port", patient).await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (executable, accounts) = (&options.executable, &options.clickhouse_accounts);
    let (engine, of) = match &chosen {
        Chosen::Library => {
            let library = fetch::clickhouse_library(&options.progress).await?;
            (clickhouse_engine(data, options, &library, address)?, "Hookline's own engine".to_owned())
        }
        Chosen::Server(binary) => {
            let engine = clickhouse_server::engine(data, executable, binary, accounts, address, CLICKHOUSE_PID)?;
            (engine, format!("the server {}", binary.program.display()))
        }
    };
    let state = until_ready(supervisor.run(engine)).await?;
    chosen.mark(&data.path(CLICKHOUSE_FOLDER))?;
    let url = Url::parse(&format!("http://{address}")).context("cannot write ClickHouse's address")?;
    let owner = accounts.first().context("ClickHouse has no account")?;
    let version = probe::clickhouse_version(&url, owner).await?;
    let clickhouse_is = format!("{version}, {of}");
    tracing::info!("ClickHouse is {clickhouse_is}");
    Ok((url, Some((clickhouse_is, state))))
}

fn clickhouse_engine(data: &DataDir, options: &Options, library: &Path, address: SocketAddr) -> anyhow::Result<Engine> {
    let (executable, library, folder) = (options.executable.clone(), library.to_owned(), data.path(CLICKHOUSE_FOLDER));
    let accounts = pass_on(&options.clickhouse_accounts)?;
    Ok(Engine {
        name: "ClickHouse".to_owned(),
        prepare: Box::new(|| Box::pin(async { Ok(()) })),
        log: data.path("logs/clickhouse.log"),
        pid: data.path(CLICKHOUSE_PID),
        command: Box::new(move || {
            let mut command = leash::command(&executable, &executable);
            command.arg(CLICKHOUSE_SUBCOMMAND).arg("--lib").arg(&library).arg("--data").arg(&folder);
            command.arg("--listen").arg(address.to_string()).current_dir(&folder);
            // Not as arguments, which every user of the machine can read.
            command.env(ACCOUNTS_ENV, &accounts);
            command
        }),
        is_ready: Box::new(move || Box::pin(probe::clickhouse(address))),
        after_stop: Box::new(|| {}),
    })
}

async fn until_ready(mut state: watch::Receiver<State>) -> anyhow::Result<watch::Receiver<State>> {
    let settled = state
        .wait_for(|state| !matches!(state, State::Starting { .. }))
        .await
        .context("the supervisor of the engines is gone")?
        .clone();
    match settled {
        State::GivenUp(reason) => bail!(reason),
        State::Starting { .. } | State::Ready { .. } | State::Stopped => Ok(state),
    }
}

async fn given_up(mut state: watch::Receiver<State>) -> String {
    if let Ok(State::GivenUp(reason)) = state.wait_for(|state| matches!(state, State::GivenUp(_))).await.as_deref() {
        return reason.clone();
    }
    if matches!(*state.borrow(), State::Starting { .. } | State::Ready { .. }) {
        return "the task that keeps an engine running has panicked: its last words are in the log above".to_owned();
    }
    // The engine was stopped as asked, and can fail no more.
    std::future::pending().await
}

fn pid(state: &watch::Receiver<State>) -> Option<u32> {
    match &*state.borrow() {
        State::Starting { pid } => *pid,
        State::Ready { pid } => Some(*pid),
        State::GivenUp(_) | State::Stopped => None,
    }
}

/// The folder of ClickHouse's tables in the data folder.
const CLICKHOUSE_FOLDER: &str = "clickhouse";

/// The file of the data folder whose first word is the process id of the running engine.
const CLICKHOUSE_PID: &str = "clickhouse.pid";

/// The environment of the ClickHouse engine's process: its accounts, in JSON.
const ACCOUNTS_ENV: &str = "HOOKLINE_ENGINE_ACCOUNTS";

/// An [`Account`] on its way to the engine's process.
#[derive(Serialize, Deserialize)]
struct Passed {
    name: String,
    password: String,
    read_only: bool,
}

fn pass_on(accounts: &[Account]) -> anyhow::Result<String> {
    let passed = accounts.iter().map(|account| Passed {
        name: account.name.clone(),
        password: account.password.clone(),
        read_only: account.access == Access::ReadOnly,
    });
    serde_json::to_string(&passed.collect::<Vec<_>>()).context("cannot write ClickHouse's accounts")
}

/// The accounts that the supervisor gave to this process, the ClickHouse engine's.
///
/// # Errors
/// It was not started by a supervisor.
pub fn passed_accounts() -> anyhow::Result<Vec<Account>> {
    let text = std::env::var(ACCOUNTS_ENV).context("this is started by `hookline up` and not by hand")?;
    let passed: Vec<Passed> = serde_json::from_str(&text).context("cannot read ClickHouse's accounts")?;
    Ok(passed
        .into_iter()
        .map(|Passed { name, password, read_only }| Account {
            name,
            password,
            access: if read_only { Access::ReadOnly } else { Access::Full },
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_engine_whose_task_panicked_is_given_up_and_one_that_was_stopped_is_not() {
        let (running, watched) = watch::channel(State::Ready { pid: 7 });
        let task = tokio::spawn(async move {
            let _held = running;
            panic!("a defect");
        });
        let reason = tokio::time::timeout(Duration::from_secs(20), given_up(watched)).await.unwrap();
        assert!(reason.contains("panicked"), "{reason}");
        assert!(task.await.is_err());

        let (stopped, watched) = watch::channel(State::Stopped);
        drop(stopped);
        assert!(tokio::time::timeout(Duration::from_millis(50), given_up(watched)).await.is_err());
    }
}
