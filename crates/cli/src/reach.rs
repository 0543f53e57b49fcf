//! What the operator's tools stand on: the configuration, and the engines of whatever runs by it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use config::{Config, Environment};
use kafka::control::{self, Control};
use runtime::Shutdown;
use tokio::runtime::Runtime;

use crate::platform::{Platform, Whereabouts};
use crate::running::Running;

/// Which installation a tool is about.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reach {
    /// The configuration. If it lies in the data folder of a running `hookline up`, that one is meant
    #[arg(long, value_name = "FILE", default_value = "hookline.toml", global = true)]
    pub(crate) config: PathBuf,
    /// Print one JSON line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Reach {
    /// The configuration and where its engines are. Nothing is asked yet.
    pub(crate) fn platform(&self) -> anyhow::Result<Platform> {
        let environment = Environment::of_process();
        // Tools need no source's secret, and whoever runs them may not have it.
        let config = Config::load(&self.config, &environment)
            .or_else(|problems| Config::load(&self.config, &environment.without_secrets()).map_err(|_| problems))?;
        let running = Running::beside(&self.config);
        let brokers = running.as_ref().map(|running| running.kafka.clone()).or_else(|| config.kafka.brokers.clone());
        let clickhouse = &config.clickhouse;
        let mut account = (
            clickhouse.user.clone(),
            clickhouse.password.as_ref().map(|word| word.reveal().to_owned()).unwrap_or_default(),
        );
        if running.is_some() {
            // The owner of the local engine is named to `up`, not in the configuration.
            let of_up = |name: &str| std::env::var(name).ok();
            account = (
                of_up("HOOKLINE_CLICKHOUSE_USER").unwrap_or_else(|| "hookline".to_owned()),
                of_up("HOOKLINE_CLICKHOUSE_PASSWORD").unwrap_or_default(),
            );
        }
        let url = running.map(|running| running.clickhouse).or_else(|| clickhouse.url.clone());
        let (Some(brokers), Some(url)) = (brokers, url) else {
            bail!(
                "{} names no Kafka brokers or no ClickHouse, and no `hookline up` runs in its folder: start one, or set \
                 [kafka] brokers and [clickhouse] url",
                self.config.display()
            );
        };
        let clickhouse = warehouse::Settings {
            url,
            user: account.0,
            password: account.1,
            cluster: clickhouse.cluster.clone(),
            ..warehouse::Settings::default()
        };
        let whereabouts =
            Whereabouts { brokers: Some(brokers), clickhouse: Some(clickhouse), ..Whereabouts::default() };
        Platform::new(config, whereabouts, Shutdown::default())
    }

    /// `--config FILE`, for a command that is printed as the next step.
    pub(crate) fn flag(&self) -> String {
        format!("--config {}", self.config.display())
    }
}

/// Runs a tool.
pub(crate) fn block_on<T>(tool: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    Runtime::new().context("cannot start the runtime")?.block_on(tool)
}

/// Runs what blocks, off the async workers.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a task of this command failed")?
}

/// Who this pipeline is. A tool never makes one.
pub(crate) async fn identity(platform: &Platform) -> anyhow::Result<Control> {
    let cluster = platform.cluster.clone();
    let brokers = cluster.brokers.clone();
    let found = blocking(move || Ok(control::read(&cluster)?)).await?;
    found.with_context(|| {
        format!("there is no Hookline on {brokers}: its topic control holds no identity; is it the right cluster, and was it ever started?")
    })
}
