//! Which installation is meant, and where its engines are. There is one answer to that, for every tool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::{Config, Environment};
use kafka::Cluster;
use kafka::control::{self, Control};
use kafka::topics::Plan;
use serde::Deserialize;
use warehouse::Warehouse;

use crate::error::refuse;
use crate::{Error, Result, blocking};

/// The file of a data folder that says where the `hookline up` listens that runs on it.
pub const ADDRESSES: &str = "addresses.json";

/// Where a running `hookline up` listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoints {
    /// Ingest's URL; `None` when only the engines run.
    pub ingest: Option<String>,
    /// The URL of metrics and health; `None` when only the engines run.
    #[serde(default)]
    pub metrics: Option<String>,
    /// ClickHouse's URL.
    pub clickhouse: String,
    /// Kafka's brokers.
    pub kafka: String,
}

impl Endpoints {
    /// Those of the `up` whose data folder holds this configuration, if one runs.
    pub fn beside(config: &Path) -> Option<Self> {
        let noted = std::fs::read(config.parent()?.join(ADDRESSES)).ok()?;
        serde_json::from_slice(&noted).ok()
    }
}

/// Where things are, when they are not where the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Kafka's brokers.
    pub brokers: Option<String>,
    /// ClickHouse.
    pub clickhouse: Option<warehouse::Settings>,
}

/// A configuration, and the engines that belong to it. Nothing has been asked yet. Cheap to clone.
#[derive(Clone)]
pub struct Installation {
    /// The configuration.
    pub config: Arc<Config>,
    /// Its file, as it was named.
    pub file: PathBuf,
    /// Kafka.
    pub cluster: Cluster,
    /// How the topics shall be.
    pub plan: Plan,
    /// ClickHouse.
    pub warehouse: warehouse::Settings,
    /// Where the `up` listens that runs on this configuration, if one does.
    pub running: Option<Endpoints>,
}

/// Which engines a tool needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Kafka and ClickHouse.
    Both,
    /// Kafka alone.
    Kafka,
    /// ClickHouse alone.
    ClickHouse,
}

impl Installation {
    /// The installation that a configuration is about. The engines are those of the `up` that runs in its folder, or
    /// else the configured ones; `brokers` takes the place of both. An engine that is not needed may be unknown.
    ///
    /// # Errors
    /// When the configuration has errors, or an engine that is needed is neither configured nor running.
    pub fn find(file: &Path, needs: Needs, brokers: Option<&str>) -> Result<Self> {
        Ok(Self::find_with_rules(file, needs, brokers, None)?.0)
    }

    /// The same, with a file of rules in the place of those of the configuration that are called the same; and the
    /// names of the rules in it.
    ///
    /// # Errors
    /// As for [`Installation::find`].
    pub fn find_with_rules(
        file: &Path,
        needs: Needs,
        brokers: Option<&str>,
        rules: Option<&Path>,
    ) -> Result<(Self, Vec<String>)> {
        let (config, names) = load(file, rules)?;
        let running = Endpoints::beside(file);
        let brokers = brokers
            .map(str::to_owned)
            .or_else(|| running.as_ref().map(|running| running.kafka.clone()))
            .or_else(|| config.kafka.brokers.clone());
        if brokers.is_none() && needs != Needs::ClickHouse {
            return Err(unknown(file, "Kafka brokers", "[kafka] brokers"));
        }
        let clickhouse = match &running {
            Some(running) => Some(of_up(running, &config)),
            None => configured(&config),
        };
        if clickhouse.is_none() && needs != Needs::Kafka {
            return Err(unknown(file, "ClickHouse", "[clickhouse] url"));
        }
        let overrides =
            Overrides { brokers: Some(brokers.unwrap_or_default()), clickhouse: Some(clickhouse.unwrap_or_default()) };
        Ok((Self { running, ..Self::new(config, file, overrides)? }, names))
    }

    /// The installation of a service: the engines are as given, or else as configured.
    ///
    /// # Errors
    /// When an engine is neither.
    pub fn new(config: Config, file: &Path, overrides: Overrides) -> Result<Self> {
        let Some(brokers) = overrides.brokers.or_else(|| config.kafka.brokers.clone()) else {
            refuse!(
                "no Kafka brokers are configured; set [kafka] brokers, or HOOKLINE_KAFKA_BROKERS, or run `hookline up`"
            )
        };
        let Some(warehouse) = overrides.clickhouse.or_else(|| configured(&config)) else {
            refuse!(
                "no ClickHouse is configured; set [clickhouse] url, or HOOKLINE_CLICKHOUSE_URL, or run `hookline up`"
            )
        };
        let mut cluster = Cluster::new(brokers);
        for (name, value) in &config.kafka.properties {
            cluster.properties.insert(name.clone(), value.reveal().to_owned());
        }
        let plan = Plan {
            raw_retention: config.privacy.keep.raw,
            window: config.longest_window(),
            ..Plan::new(config.kafka.lanes, config.kafka.replication)
        };
        Ok(Self { config: Arc::new(config), file: file.to_owned(), cluster, plan, warehouse, running: None })
    }

    /// Starts to send spans, if the configuration says where to. Called on a runtime of tokio, which has to outlive
    /// them.
    ///
    /// # Errors
    /// When a header cannot be sent. A collector that is away is not an error.
    pub fn start_traces(&self, telemetry: &runtime::Telemetry) -> Result<traces::Traces> {
        let Some(settings) = &self.config.traces else { return Ok(traces::Traces::default()) };
        let header = |(name, value): &(String, config::SecretText)| (name.clone(), value.reveal().to_owned());
        let settings = traces::Settings {
            endpoint: settings.endpoint.clone(),
            headers: settings.headers.iter().map(header).collect(),
            one_in: settings.one_in,
            max_per_second: settings.max_per_second,
            timeout: settings.timeout,
        };
        Ok(traces::Traces::start(settings, telemetry, &tokio::runtime::Handle::current())?)
    }

    /// A configuration alone: engines are unknown, so what asks one fails at once.
    ///
    /// # Errors
    /// When the configuration names something that cannot be.
    pub fn without_engines(config: Config, file: &Path) -> Result<Self> {
        let overrides = Overrides { brokers: Some(String::new()), clickhouse: Some(warehouse::Settings::default()) };
        Self::new(config, file, overrides)
    }

    /// `--config FILE`, for a command that is named as the next step.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--config {}", self.file.display())
    }

    /// Connects to ClickHouse.
    ///
    /// # Errors
    /// When it does not answer or refuses the user.
    pub async fn connect(&self) -> Result<Warehouse> {
        Ok(Warehouse::connect(&self.warehouse).await?)
    }

    /// Who this pipeline is. A tool never makes an identity.
    ///
    /// # Errors
    /// When Kafka does not answer, or holds no Hookline.
    pub async fn identity(&self) -> Result<Control> {
        let cluster = self.cluster.clone();
        let found = blocking(move || Ok(control::read(&cluster)?)).await?;
        found.ok_or_else(|| {
            Error::NoInstallation(format!(
                "there is no Hookline on {}: its topic control holds no identity; is it the right cluster, and was it ever \
                 started?",
                self.cluster.brokers
            ))
        })
    }

    /// How the tables shall be.
    #[must_use]
    pub fn layout(&self) -> warehouse::Layout {
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

    /// Where the files are that events are labelled by.
    #[must_use]
    pub fn reference_files(&self) -> process::ReferenceFiles {
        process::ReferenceFiles { country: self.config.geo.country.clone() }
    }

    /// What `process` decides by, with the catalogue as the topic `links` has it now.
    ///
    /// # Errors
    /// When a file cannot be used, or the topic cannot be read.
    pub async fn pipeline_with_links(&self) -> Result<process::Pipeline> {
        let (cluster, ids, mut pipeline) = (self.cluster.clone(), self.schemas().await?, self.pipeline()?);
        let catalogue = blocking(move || Ok(process::read_links(&cluster, &ids)?)).await?;
        pipeline.references.catalogue = Some(Arc::new(catalogue));
        Ok(pipeline)
    }

    /// What `process` decides by, without its engines: the catalogue is the operator's list, if that is a file.
    ///
    /// # Errors
    /// When a file that events are labelled by cannot be used.
    pub fn pipeline_of_files(&self) -> Result<process::Pipeline> {
        let mut pipeline = self.pipeline()?;
        if let Some(config::ListPlace::File(file)) = &self.config.catalogue {
            pipeline.references.catalogue = Some(Arc::new(process::read_catalogue(file)?));
        }
        Ok(pipeline)
    }

    /// What `process` decides by, but for the catalogue of links.
    ///
    /// # Errors
    /// When a file that events are labelled by cannot be used.
    pub fn pipeline(&self) -> Result<process::Pipeline> {
        let millis = |duration: Duration| duration.as_millis() as u64;
        let rules = |source: &config::Source| process::SourceRules {
            window_ms: millis(source.remember_for),
            dialect: source.dialect.clone(),
            visitors: source.visitors,
        };
        Ok(process::Pipeline {
            sources: self.config.sources.iter().map(|source| (source.name.clone(), rules(source))).collect(),
            gone: process::SourceRules {
                window_ms: millis(self.config.longest_window()),
                dialect: adapter::Dialect::PLAIN,
                visitors: self.config.privacy.visitors,
            },
            adapt: self.config.adapter_options(),
            enrich: self.config.enrich_settings(),
            references: self.reference_files().read()?,
            owners: self.config.owners.iter().map(|owner| owner.id.clone()).collect(),
            config_version: self.config.version_hash().to_owned(),
        })
    }
}

/// Tools need no source's secret, and whoever runs them may not have it; those of the engines may be needed.
fn load(file: &Path, rules: Option<&Path>) -> Result<(Config, Vec<String>)> {
    let environment = Environment::of_process();
    let read = |environment: &Environment| Config::load_with_rules(file, rules, environment);
    let fewer = || {
        let engines = environment.clone().with_platform_secrets_only();
        read(&engines).or_else(|_| read(&environment.clone().without_secrets()))
    };
    Ok(read(&environment).or_else(|problems| fewer().map_err(|_| problems))?)
}

/// ClickHouse as the configuration names it.
fn configured(config: &Config) -> Option<warehouse::Settings> {
    let clickhouse = &config.clickhouse;
    let configured = clickhouse.password.as_ref().map(|password| password.reveal().to_owned());
    // A configuration that was read without secrets has none of the variable's either.
    let password = configured.or_else(|| variable("HOOKLINE_CLICKHOUSE_PASSWORD")).unwrap_or_default();
    Some(warehouse::Settings {
        url: clickhouse.url.clone()?,
        user: clickhouse.user.clone(),
        password,
        cluster: clickhouse.cluster.clone(),
        shards: clickhouse.shards.clone(),
        replicated: clickhouse.replicated,
        ..warehouse::Settings::default()
    })
}

/// ClickHouse as an `up` has it. The owner of the local engine is named to `up`, not in the configuration.
fn of_up(running: &Endpoints, config: &Config) -> warehouse::Settings {
    warehouse::Settings {
        url: running.clickhouse.clone(),
        user: variable("HOOKLINE_CLICKHOUSE_USER").unwrap_or_else(|| "hookline".to_owned()),
        password: variable("HOOKLINE_CLICKHOUSE_PASSWORD").unwrap_or_default(),
        cluster: config.clickhouse.cluster.clone(),
        replicated: config.clickhouse.replicated,
        ..warehouse::Settings::default()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn unknown(file: &Path, what: &str, key: &str) -> Error {
    Error::NoInstallation(format!(
        "{} names no {what}, and no `hookline up` runs in its folder: start one, or set {key}",
        file.display()
    ))
}
