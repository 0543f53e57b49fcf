//! `hookline up`: everything on one machine.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use local::Progress;
use local::clickhouse::{Access, Account};
use local::engines::{Engines, Options};
use reqwest::Url;
use runtime::Shutdown;
use serde::Serialize;

use crate::exit::{Outcome, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Start Kafka and ClickHouse and no service
    #[arg(long, required = true)]
    engines_only: bool,
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "./hookline-data")]
    data: PathBuf,
    /// Kafka's port on 127.0.0.1; 0 picks a free one
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
    #[arg(long, value_name = "NAME", env = "HOOKLINE_CLICKHOUSE_USER", default_value = "default")]
    clickhouse_user: String,
    /// That user's password
    #[arg(long, value_name = "WORD", env = "HOOKLINE_CLICKHOUSE_PASSWORD", default_value = "", hide_env_values = true)]
    clickhouse_password: String,
    /// Print the addresses as one JSON line once everything is ready
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Outcome {
    if let Err(error) = runtime::logs::init() {
        bail!("cannot start logging: {error}");
    }
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(up(args))
}

async fn up(args: Args) -> Outcome {
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let options = Options {
        data: args.data,
        kafka_port: args.kafka_port,
        clickhouse_port: args.clickhouse_port,
        clickhouse_accounts: vec![Account {
            name: args.clickhouse_user,
            password: args.clickhouse_password,
            access: Access::Full,
        }],
        executable: std::env::current_exe().context("cannot tell where this program lies")?,
        given_brokers: args.brokers,
        given_clickhouse: args.clickhouse_url,
        progress: Progress::on_stderr(),
    };
    let engines = tokio::select! {
        engines = Engines::start(options) => engines?,
        () = shutdown.given() => return Ok(Verdict::Fine),
    };
    Addresses::of(&engines).print(args.json).context("cannot print the addresses")?;
    let failed = tokio::select! {
        () = shutdown.given() => None,
        reason = engines.failed() => Some(reason),
    };
    engines.stop().await;
    match failed {
        None => Ok(Verdict::Fine),
        Some(reason) => bail!(reason),
    }
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
        }
    }

    fn print(&self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, self)?;
            writeln!(out)?;
        } else {
            writeln!(out, "Ready. Ctrl-C stops everything.")?;
            for (name, address) in [
                ("ingest", self.ingest),
                ("console", self.console),
                ("metrics", self.metrics),
                ("Kafka", Some(self.kafka)),
                ("ClickHouse", Some(self.clickhouse)),
            ] {
                if let Some(address) = address {
                    writeln!(out, "  {name:<11} {address}")?;
                }
            }
        }
        Ok(out.flush()?)
    }
}
