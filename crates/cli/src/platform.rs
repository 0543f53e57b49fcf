//! What every service of this process stands on: the configuration, the two engines, metrics, the stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use config::Config;
use kafka::Cluster;
use kafka::control::{self, Control};
use kafka::topics::{self, Plan};
use runtime::{Shutdown, Telemetry};
use warehouse::Warehouse;

/// The engines' addresses and what is configured about them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Platform {
    pub(crate) config: Arc<Config>,
    pub(crate) cluster: Cluster,
    pub(crate) plan: Plan,
    pub(crate) warehouse: warehouse::Settings,
    /// Where the window stores lie.
    pub(crate) window_data: PathBuf,
    pub(crate) telemetry: Telemetry,
    pub(crate) shutdown: Shutdown,
}

/// Where things are, when they are not where the configuration says: the local engines and the data folder of `up`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whereabouts {
    pub(crate) brokers: Option<String>,
    pub(crate) clickhouse: Option<warehouse::Settings>,
    pub(crate) window_data: Option<PathBuf>,
}

impl Platform {
    pub(crate) fn new(config: Config, whereabouts: Whereabouts, shutdown: Shutdown) -> anyhow::Result<Self> {
        let kafka = &config.kafka;
        let brokers = whereabouts.brokers.or_else(|| kafka.brokers.clone()).context(
            "no Kafka brokers are configured; set [kafka] brokers, or HOOKLINE_KAFKA_BROKERS, or run `hookline up`",
        )?;
        let mut cluster = Cluster::new(brokers);
        for (name, value) in &kafka.properties {
            cluster.properties.insert(name.clone(), value.reveal().to_owned());
        }
        let warehouse = match whereabouts.clickhouse {
            Some(settings) => settings,
            None => warehouse_settings(&config)?,
        };
        let plan = Plan {
            raw_retention: config.privacy.keep.raw,
            window: config.longest_window(),
            ..Plan::new(kafka.lanes, kafka.replication)
        };
        let window_data = whereabouts.window_data.unwrap_or_else(|| config.process.data.clone());
        let telemetry = Telemetry::new(config.version_hash()).context("metrics cannot be registered")?;
        Ok(Self { config: Arc::new(config), cluster, plan, warehouse, window_data, telemetry, shutdown })
    }

    /// Creates or checks the topics, and reads who this pipeline is.
    pub(crate) async fn identity(&self) -> anyhow::Result<Control> {
        let (cluster, plan) = (self.cluster.clone(), self.plan.clone());
        let identity = tokio::task::spawn_blocking(move || -> anyhow::Result<Control> {
            for created in topics::ensure(&cluster, &plan)? {
                tracing::info!(topic = %created.topic, partitions = created.partitions, "created");
            }
            let (partitioner, recipes) = (event::lane::PARTITIONER_VERSION, adapter::RECIPE_VERSION);
            Ok(control::read_or_create(&cluster, plan.lanes, partitioner, recipes)?)
        });
        identity.await.context("the topics could not be prepared")?
    }

    /// Connects to ClickHouse.
    pub(crate) async fn connect(&self) -> anyhow::Result<Warehouse> {
        Ok(Warehouse::connect(&self.warehouse).await?)
    }

    /// How the tables shall be.
    pub(crate) fn layout(&self) -> warehouse::Layout {
        let config::Keep { events, rollups, deliveries, .. } = &self.config.privacy.keep;
        let days = |duration: &Duration| u16::try_from(duration.as_secs() / 86_400).unwrap_or(u16::MAX).max(1);
        warehouse::Layout {
            events_days: days(events),
            reports_years: (days(rollups) / 365).max(1),
            deliveries_days: days(deliveries),
            smallest_group: self.config.privacy.hide_groups_under,
            ..warehouse::Layout::default()
        }
    }

    /// What `process` decides by.
    pub(crate) fn pipeline(&self) -> process::Pipeline {
        let millis = |duration: Duration| duration.as_millis() as u64;
        let rules = |source: &config::Source| process::SourceRules {
            window_ms: millis(source.remember_for),
            dialect: source.dialect.clone(),
            visitors: source.visitors,
        };
        process::Pipeline {
            sources: self.config.sources.iter().map(|source| (source.name.clone(), rules(source))).collect(),
            gone: process::SourceRules {
                window_ms: millis(self.config.longest_window()),
                dialect: adapter::Dialect::PLAIN,
                visitors: self.config.privacy.visitors,
            },
            adapt: self.config.adapter_options(),
            enrich: self.config.enrich_settings(),
            config_version: self.config.version_hash().to_owned(),
        }
    }

    /// The sources as ingest takes them.
    pub(crate) fn sources(&self) -> anyhow::Result<Vec<ingest::SourceSettings>> {
        let source = |source: &config::Source| {
            let verifier = signature::Verifier::new(source.scheme.clone(), source.secrets.clone())
                .with_context(|| format!("source {:?}", source.name))?;
            Ok(ingest::SourceSettings {
                name: source.name.clone(),
                adapter: source.adapter,
                dialect: source.dialect.clone(),
                verifier,
                public_url: source.public_url.clone().filter(|_| source.scheme.signs_url()),
                challenge: source.scheme.challenge(),
                max_body: usize::try_from(source.max_body).context("max_body")?,
                quota: source.quota,
                in_flight: usize::try_from(source.in_flight).context("in_flight")?,
                refusals_allowed: config::patience(source.adapter.name(), &source.scheme)
                    .and_then(|patience| patience.refusals),
            })
        };
        self.config.sources.iter().map(source).collect()
    }
}

/// ClickHouse as the configuration names it.
pub(crate) fn warehouse_settings(config: &Config) -> anyhow::Result<warehouse::Settings> {
    let clickhouse = &config.clickhouse;
    let url = clickhouse.url.clone().context(
        "no ClickHouse is configured; set [clickhouse] url, or HOOKLINE_CLICKHOUSE_URL, or run `hookline up`",
    )?;
    Ok(warehouse::Settings {
        url,
        user: clickhouse.user.clone(),
        password: clickhouse.password.as_ref().map(|password| password.reveal().to_owned()).unwrap_or_default(),
        cluster: clickhouse.cluster.clone(),
        ..warehouse::Settings::default()
    })
}
