//! `hookline up`: everything on one machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use config::{Config, Fresh};
use local::Progress;
use local::clickhouse::{Access, Account};
use local::engines::{Engines, KAFKA_SETTINGS, Options};
use operate::canary;
use operate::installation::ADDRESSES;
use reqwest::Url;
use runtime::{Live, Shutdown};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::demo::{self, Demo};
use crate::exit::{Outcome, Verdict};
use crate::lanes::{Instance, PastFuse, Share};
use crate::platform::{Platform, Whereabouts};
use crate::reload::{Hangups, Part, Reload};
use crate::service::{DRAIN, address, load, run_to_end};
use crate::services::{Known, Service, Services, serve_metrics};

/// How long the services may take to be ready once the engines are.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the console may take to stop: a redrive ends after the step that it is in.
const CONSOLE_DRAIN: Duration = Duration::from_secs(30);

/// What is said by the environment alone: it is about the machine, not about a run.
const ENVIRONMENT: &str = "\
Environment:
  HOOKLINE_CLICKHOUSE_BIN  A ClickHouse server's binary (26.4 or later) to run as the local ClickHouse; empty for
                           Hookline's own engine [default: a clickhouse on PATH, if it is good, else the own engine]";

#[derive(Debug, clap::Args)]
#[command(after_help = ENVIRONMENT)]
pub(crate) struct Args {
    /// Start Kafka and ClickHouse and no service
    #[arg(long)]
    engines_only: bool,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./hookline-data")]
    data: PathBuf,
    /// The configuration; without it, one with fresh secrets is written into the data folder
    #[arg(long, value_name = "FILE", conflicts_with = "engines_only")]
    config: Option<PathBuf>,
    /// Where webhooks come in [default: the configuration's, 127.0.0.1:8080 at first]
    #[arg(long, value_name = "ADDR", conflicts_with = "engines_only")]
    listen: Option<SocketAddr>,
    /// Where metrics and health are served [default: the configuration's, 127.0.0.1:9464 at first]
    #[arg(long, value_name = "ADDR", conflicts_with = "engines_only")]
    metrics: Option<SocketAddr>,
    /// Where the console is [default: the configuration's, 127.0.0.1:8088 at first, or a free port if that is in use]
    #[arg(long, value_name = "ADDR", conflicts_with = "engines_only")]
    console: Option<SocketAddr>,
    /// Local Kafka nodes: with 3 each record is on two disks at least, and two nodes suffice. A data folder keeps its
    /// number [default: what the data folder has, 1 at first]
    #[arg(long, value_name = "1|3", value_parser = nodes)]
    kafka_nodes: Option<u8>,
    /// Kafka's port on 127.0.0.1, further nodes have the next ones; 0 picks free ones
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    kafka_port: u16,
    /// The port of ClickHouse's HTTP interface on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 8123)]
    clickhouse_port: u16,
    /// Use brokers that run already instead of the local Kafka
    #[arg(long, value_name = "HOST:PORT,...", env = "HOOKLINE_KAFKA_BROKERS")]
    brokers: Option<String>,
    /// Use a ClickHouse that runs already instead of the local engine
    #[arg(long, value_name = "URL", env = "HOOKLINE_CLICKHOUSE_URL")]
    clickhouse_url: Option<Url>,
    /// Who may use the local ClickHouse
    #[arg(long, value_name = "NAME", env = "HOOKLINE_CLICKHOUSE_USER", default_value = "hookline")]
    clickhouse_user: String,
    /// That user's password
    #[arg(long, value_name = "WORD", env = "HOOKLINE_CLICKHOUSE_PASSWORD", default_value = "", hide_env_values = true)]
    clickhouse_password: String,
    /// Also send a living stream of made-up, signed events to the own ingest, about this many a second, and show what
    /// arrives. They are production events of this data folder
    #[arg(long, value_name = "PER_SECOND", num_args = 0..=1, require_equals = true, conflicts_with = "engines_only",
        default_missing_value = demo::DEFAULT_RATE, value_parser = crate::commands::send::rate)]
    demo: Option<f64>,
    /// Let the dead letters of a lane whose fuse has blown pass, up to an offset of raw; the message of the lane names
    /// both
    #[arg(long, value_name = "LANE@OFFSET", conflicts_with = "engines_only")]
    past_fuse: Vec<PastFuse>,
    /// Print the addresses as one JSON line once everything is ready
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Outcome {
    demo::init_logs(args.demo.is_some(), args.json, &args.data)?;
    run_to_end(up(args))
}

async fn up(args: Args) -> Outcome {
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    // What can be wrong is said before anything starts: the configuration, then the ports.
    let house = if args.engines_only { None } else { Some(House::prepare(&args, &shutdown).await?) };
    let options = Options {
        data: args.data.clone(),
        kafka_port: args.kafka_port,
        kafka_nodes: args.kafka_nodes,
        kafka_settings: std::env::var_os(KAFKA_SETTINGS).map(PathBuf::from),
        clickhouse_port: args.clickhouse_port,
        clickhouse_accounts: accounts(&args),
        clickhouse_binary: std::env::var_os(local::CLICKHOUSE_BINARY),
        executable: std::env::current_exe().context("cannot tell where this program lies")?,
        given_brokers: args.brokers.clone(),
        given_clickhouse: args.clickhouse_url.clone(),
        progress: Progress::on_stderr(),
    };
    let engines = tokio::select! {
        engines = Engines::start(options) => engines?,
        () = shutdown.given() => return Ok(Verdict::Fine),
    };
    let ended = match house {
        None => run_engines(&args, &engines, &shutdown).await,
        Some(house) => house.run(&args, &engines, &shutdown).await,
    };
    engines.stop().await;
    ended.map(|()| Verdict::Fine)
}

async fn run_engines(args: &Args, engines: &Engines, shutdown: &Shutdown) -> anyhow::Result<()> {
    let addresses = Addresses::of(engines);
    addresses.note(engines.data())?;
    addresses.print(args.json).context("cannot print the addresses")?;
    let ended = tokio::select! {
        () = shutdown.given() => Ok(()),
        reason = engines.failed() => Err(anyhow::Error::msg(reason)),
    };
    drop(std::fs::remove_file(engines.data().join(ADDRESSES)));
    ended
}

fn nodes(text: &str) -> Result<u8, &'static str> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("a local Kafka has 1 or 3 nodes"),
    }
}

/// The local ClickHouse listens on this machine only. Whoever asks it without a name may read.
fn accounts(args: &Args) -> Vec<Account> {
    let account = |name: &str, password: &str, access| Account { name: name.into(), password: password.into(), access };
    let mut accounts = vec![account(&args.clickhouse_user, &args.clickhouse_password, Access::Full)];
    for reader in ["default", "analyst"] {
        if reader != args.clickhouse_user {
            accounts.push(account(reader, "", Access::ReadOnly));
        }
    }
    accounts
}

/// The services, before the engines that they need are there.
struct House {
    config: Config,
    config_path: PathBuf,
    webhooks: TcpListener,
    metrics: SocketAddr,
    console: TcpListener,
    demo: Option<Demo>,
    hangups: Hangups,
}

impl House {
    async fn prepare(args: &Args, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let hangups = Hangups::listen(shutdown)?;
        let config_path = match &args.config {
            Some(path) => path.clone(),
            None => fresh_config(&args.data)?,
        };
        let config = load(&config_path)?;
        let listen = address(args.listen, &config.ingest.listen, "[ingest] listen")?;
        let metrics = address(args.metrics, &config.metrics.listen, "[metrics] listen")?;
        let demo = args.demo.map(|per_second| Demo::of(&config, &config_path, per_second)).transpose()?;
        let webhooks = runtime::listen::bind("webhooks", listen, "--listen").await?;
        let console = bind_console(args.console, &config.console.listen).await?;
        console::may_listen(console.local_addr()?, config.console.token.as_ref())?;
        Ok(Self { config, config_path, webhooks, metrics, console, demo, hangups })
    }

    /// Runs every service until the stop is given or something cannot go on.
    async fn run(self, args: &Args, engines: &Engines, shutdown: &Shutdown) -> anyhow::Result<()> {
        let ingest = format!("http://{}", self.webhooks.local_addr().context("ingest has no address")?);
        let whereabouts = Whereabouts {
            brokers: Some(engines.kafka.clone()),
            clickhouse: Some(self.warehouse(args, engines)),
            window_data: Some(engines.data().join("windows")),
            // As its own topics have it.
            replication: (engines.kafka_nodes() == 3).then_some(3),
        };
        let platform = Platform::new(self.config, whereabouts, shutdown.clone())?;
        let (metrics, _serving) = serve_metrics(&platform, self.metrics).await?;
        let console = format!("http://{}", self.console.local_addr().context("the console has no address")?);
        let mut installation = platform.installation();
        installation.file = self.config_path.clone();
        let token = installation.config.console.token.clone();
        let installation = Live::new(installation);
        let on_console = Part::Installation(installation.clone());
        // Sends nothing while the configuration has no [canary].
        let canary = canary::Settings {
            installation: installation.clone(),
            ingest: canary::Ingest::Unless(Some(ingest.clone())),
        };
        let settings = console::Settings { token, installation, instances: vec![metrics.to_string()] };
        let mut console_served = tokio::spawn(console::serve(self.console, settings, shutdown.clone()));
        let stage = demo::Stage {
            ingest: &ingest,
            warehouse: &platform.warehouse,
            data: engines.data(),
            telemetry: &platform.telemetry,
            json: args.json,
        };
        let demo = self.demo.map(|demo| demo.start(&stage, shutdown)).transpose()?;
        let (mut showing, mut services) = (None, Services::new());
        let started = async {
            let known = Known::by(&platform, true).await?;
            let mut webhooks = Some(self.webhooks);
            for service in Service::ALL {
                let listener = if service == Service::Ingest { webhooks.take() } else { None };
                services
                    .start(service, &platform, &known, Share::Fixed(Instance::ONLY), &args.past_fuse, listener)
                    .await?;
            }
            let parts = services.parts().into_iter().chain([on_console]).collect();
            Reload::follow(&self.config_path, &platform, parts, self.hangups)?;
            ready(&platform).await
        };
        let metrics = format!("http://{metrics}");
        let ended = tokio::select! {
            started = started => match started {
                Ok(()) => {
                    send_canary(canary, &platform, shutdown);
                    let addresses = Addresses {
                        ingest: Some(&ingest),
                        console: Some(&console),
                        metrics: Some(&metrics),
                        ..Addresses::of(engines)
                    };
                    addresses.note(engines.data())?;
                    addresses.print(args.json).context("cannot print the addresses")?;
                    match demo {
                        Some(demo) => showing = Some(tokio::spawn(demo)),
                        None if args.json => {}
                        None => hint(&self.config_path, &ingest),
                    }
                    tokio::select! {
                        () = shutdown.given() => Ok(()),
                        ended = services.ended() => ended,
                        ended = &mut console_served => match ended.context("the console panicked") {
                            Ok(served) => served.context("the console ended"),
                            Err(error) => Err(error),
                        },
                        reason = engines.failed() => Err(anyhow::Error::msg(reason)),
                    }
                }
                Err(error) => Err(error),
            },
            () = shutdown.given() => Ok(()),
            reason = engines.failed() => Err(anyhow::Error::msg(reason)),
        };
        shutdown.stop();
        // It is not there when nothing got ready.
        drop(std::fs::remove_file(engines.data().join(ADDRESSES)));
        if let Some(showing) = showing {
            showing.await.context("the demo panicked")?;
        }
        // The console ends after the step that a redrive of it is in; it may have ended before.
        let console = async {
            if !console_served.is_finished() && timeout(CONSOLE_DRAIN, console_served).await.is_err() {
                tracing::warn!("the console took longer than {} s to stop", CONSOLE_DRAIN.as_secs());
            }
        };
        let (stopped, ()) = tokio::join!(timeout(DRAIN, services.stop()), console);
        platform.traces.finish().await;
        if stopped.is_err() {
            tracing::warn!(
                "the services took longer than {} s to stop; what was left is done at the next start",
                DRAIN.as_secs()
            );
        }
        ended
    }

    /// ClickHouse as this run has it.
    fn warehouse(&self, args: &Args, engines: &Engines) -> warehouse::Settings {
        warehouse::Settings {
            url: engines.clickhouse.as_str().trim_end_matches('/').to_owned(),
            user: args.clickhouse_user.clone(),
            password: args.clickhouse_password.clone(),
            cluster: self.config.clickhouse.cluster.clone(),
            replicated: self.config.clickhouse.replicated,
            ..warehouse::Settings::default()
        }
    }
}

/// Sends the canary of the configuration, now or once it has one.
fn send_canary(settings: canary::Settings, platform: &Platform, shutdown: &Shutdown) {
    let (telemetry, shutdown) = (platform.telemetry.clone(), shutdown.clone());
    let beat = telemetry.beats.register("canary", "the canary");
    tokio::spawn(beat.alongside(async move {
        if let Err(error) = canary::run(settings, &telemetry, &shutdown).await {
            tracing::error!(%error, "the canary is not sent");
        }
    }));
}

/// The console's listener. Where nothing was said about it on the command line, a port that is in use does not keep
/// `up` from starting: it takes a free one, and the address that is printed says which.
async fn bind_console(given: Option<SocketAddr>, configured: &str) -> anyhow::Result<TcpListener> {
    let at = address(given, configured, "[console] listen")?;
    if given.is_some() {
        return Ok(runtime::listen::bind("the console", at, "--console").await?);
    }
    match TcpListener::bind(at).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!("{at} is in use, so the console has another port; --console ADDR chooses one");
            Ok(runtime::listen::bind("the console", SocketAddr::new(at.ip(), 0), "--console").await?)
        }
        Ok(listener) => Ok(listener),
        Err(error) => Err(error)
            .with_context(|| format!("the console cannot listen on {at}; --console ADDR chooses another address")),
    }
}

/// Returns when every component is ready; fails with what is not. One that has halted is not waited for: it has said
/// why, and the others go on without it, as they do when it halts later.
async fn ready(platform: &Platform) -> anyhow::Result<()> {
    let all = async {
        while !platform.telemetry.health.is_settled() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(READY_WITHIN, all).await {
        Ok(()) => Ok(()),
        Err(_elapsed) => {
            let states = platform.telemetry.health.states();
            let waiting: Vec<String> = states
                .into_iter()
                .filter(|(_, state)| !state.is_settled())
                .map(|(name, state)| format!("{name}: {state:?}"))
                .collect();
            bail!("not ready after {} s: {}", READY_WITHIN.as_secs(), waiting.join("; "))
        }
    }
}

/// Writes a configuration with secrets of its own into the data folder, once.
fn fresh_config(data: &Path) -> anyhow::Result<PathBuf> {
    let mut random = [0; 96];
    for part in random.chunks_mut(16) {
        part.copy_from_slice(&rand::random::<[u8; 16]>());
    }
    Ok(Fresh::new(random).write(data)?)
}

fn hint(config: &Path, ingest: &str) {
    println!("  {:<11} {}", "config", config.display());
    println!("Next: hookline send --config {} --ingest {ingest} --source dub --count 10", config.display());
}

/// Where everything listens; `null` for what does not run.
#[derive(Debug, Serialize)]
struct Addresses<'a> {
    ready: bool,
    ingest: Option<&'a str>,
    console: Option<&'a str>,
    metrics: Option<&'a str>,
    kafka: &'a str,
    clickhouse: &'a str,
    /// Version and kind of a local ClickHouse.
    clickhouse_is: Option<&'a str>,
}

impl<'a> Addresses<'a> {
    fn of(engines: &'a Engines) -> Self {
        Self {
            ready: true,
            ingest: None,
            console: None,
            metrics: None,
            kafka: &engines.kafka,
            clickhouse: engines.clickhouse.as_str().trim_end_matches('/'),
            clickhouse_is: engines.clickhouse_is.as_deref(),
        }
    }

    /// Beside the configuration, so that `hookline send` and the tools find a run on other ports; gone with it.
    fn note(&self, data: &Path) -> anyhow::Result<()> {
        let noted = data.join(ADDRESSES);
        std::fs::write(&noted, serde_json::to_vec(self)?).with_context(|| format!("cannot write {}", noted.display()))
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            println!("Ready. Ctrl-C stops everything.");
            for (name, address, what) in [
                ("ingest", self.ingest, None),
                ("console", self.console, None),
                ("metrics", self.metrics, None),
                ("Kafka", Some(self.kafka), None),
                ("ClickHouse", Some(self.clickhouse), self.clickhouse_is),
            ] {
                if let Some(address) = address {
                    let what = what.map(|what| format!("  ({what})")).unwrap_or_default();
                    println!("  {name:<11} {address}{what}");
                }
            }
        }
        Ok(())
    }
}
