//! What every service of this process stands on: the installation, metrics, the stop.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use config::Config;
use event::wire::Ids;
use kafka::control::{self, Control};
use kafka::topics;
use operate::Installation;
use operate::installation::Overrides;
use runtime::{Backoff, Shutdown, Telemetry};

/// The pauses before a registry that did not answer is asked again.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).jittered();

/// An installation and what a process that serves it has. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Platform {
    installation: Installation,
    /// The configuration as the file has it, without what `up` decides about its own engines.
    pub(crate) written: Arc<Config>,
    /// Where the window stores lie.
    pub(crate) window_data: PathBuf,
    pub(crate) telemetry: Telemetry,
    /// Where spans of traced events go.
    pub(crate) traces: traces::Traces,
    pub(crate) shutdown: Shutdown,
}

/// Where things are, when they are not where the configuration says: the local engines and the data folder of `up`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whereabouts {
    pub(crate) brokers: Option<String>,
    pub(crate) clickhouse: Option<warehouse::Settings>,
    pub(crate) window_data: Option<PathBuf>,
    /// Of topics, where it is not the configuration's.
    pub(crate) replication: Option<u16>,
}

impl Deref for Platform {
    type Target = Installation;

    fn deref(&self) -> &Installation {
        &self.installation
    }
}

impl Platform {
    /// On a runtime of tokio: spans are sent there.
    pub(crate) fn new(config: Config, whereabouts: Whereabouts, shutdown: Shutdown) -> anyhow::Result<Self> {
        let Whereabouts { brokers, clickhouse, window_data, replication } = whereabouts;
        let (written, mut config) = (Arc::new(config.clone()), config);
        config.kafka.replication = replication.unwrap_or(config.kafka.replication);
        let window_data = window_data.unwrap_or_else(|| config.process.data.clone());
        let telemetry = Telemetry::new(config.version_hash()).context("metrics cannot be registered")?;
        // Services name no next command, so the file's name is not needed.
        let installation = Installation::new(config, Path::new("hookline.toml"), Overrides { brokers, clickhouse })?;
        let traces = installation.start_traces(&telemetry)?;
        Ok(Self { installation, written, window_data, telemetry, traces, shutdown })
    }

    /// The same with another configuration: where the engines are and how topics are laid out stays.
    pub(crate) fn with(&self, mut config: Config) -> Self {
        let written = Arc::new(config.clone());
        // The topics are there already; `up` may have decided about its own brokers.
        config.kafka.replication = self.config.kafka.replication;
        let installation = Installation { config: Arc::new(config), ..self.installation.clone() };
        Self { installation, written, ..self.clone() }
    }

    /// What `process` decides by. Files that lanes look at already are not followed anew.
    pub(crate) fn decisions(&self, before: Option<&process::Decisions>) -> anyhow::Result<process::Decisions> {
        let (pipeline, files) = (self.pipeline()?, self.reference_files());
        let references = match before.filter(|before| *before.references.files() == files) {
            Some(before) => Arc::clone(&before.references),
            None => Arc::new(process::SharedReferences::new(files, pipeline.references.clone())),
        };
        let longest = self.config.longest_window();
        Ok(process::Decisions {
            pipeline: Arc::new(pipeline),
            references,
            list: self.config.catalogue.clone(),
            routes: Arc::new(self.config.routes()),
            // Marks that are kept for longer than they are asked for do no harm.
            longest_window: before.map_or(longest, |before| before.longest_window.max(longest)),
        })
    }

    /// The installation alone, for what reports on it.
    pub(crate) fn installation(&self) -> Installation {
        self.installation.clone()
    }

    /// Creates or checks the topics, and reads who this pipeline is.
    pub(crate) async fn ensure_identity(&self) -> anyhow::Result<Control> {
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

    /// The ids, for a service: as long as the registry is out of reach it is not ready, and says so in `/readyz`, a metric and the log.
    ///
    /// # Errors
    /// When asking again would not help: the registry refuses us or one of our schemas.
    pub(crate) async fn wait_for_schemas(&self) -> anyhow::Result<Ids> {
        let Some(settings) = self.registry() else { return Ok(Ids::FIXED) };
        let component = self.telemetry.health.component("schema registry");
        let reached = self.telemetry.metrics.gauge(
            "registry_reached",
            "1 once the schema registry has told the ids of our schemas, 0 while it is waited for",
            &[],
        )?;
        let reached = reached.with_label_values::<&str>(&[]);
        reached.set(0.0);
        let mut pauses = PAUSES;
        loop {
            match registry::ids(&settings).await {
                Ok(ids) => {
                    reached.set(1.0);
                    component.ready();
                    return Ok(ids);
                }
                Err(error) if error.is_transient() => {
                    let pause = pauses.pause();
                    tracing::warn!(%error, again_in_s = pause.as_secs_f64(), "waiting for the schema registry");
                    component.failing(error.to_string());
                    tokio::time::sleep(pause).await;
                }
                Err(error) => return Err(error.into()),
            }
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
                secret_parameter: match &source.scheme {
                    signature::Scheme::Query { key } => Some(key.clone()),
                    _ => None,
                },
                events_in_query: source.events_in_query,
                public_url: source.public_url.clone().filter(|_| source.scheme.signs_url()),
                challenge: source.scheme.challenge(),
                max_body: usize::try_from(source.max_body).context("max_body")?,
                quota: source.quota,
                in_flight: usize::try_from(source.in_flight).context("in_flight")?,
                trusts_traces: self
                    .config
                    .traces
                    .as_ref()
                    .is_some_and(|traces| traces.trusted_sources.contains(&source.name)),
                refusals_allowed: config::patience(source.adapter.name(), &source.scheme)
                    .and_then(|patience| patience.refusals),
            })
        };
        self.config.sources.iter().map(source).collect()
    }
}

/// Brings tables and views up to date, on those shards that answer.
pub(crate) async fn migrate(warehouse: &warehouse::Warehouse, layout: &warehouse::Layout) -> anyhow::Result<()> {
    let (migrations, away) = warehouse.migrate_reached(layout).await?;
    for error in away {
        tracing::warn!(
            "{error}; its lanes wait for it, the others go on, and its tables are looked at at the next start"
        );
    }
    for warehouse::Migration { database, version, name, .. } in &migrations {
        tracing::debug!(database, version, name, "migrated");
    }
    if !migrations.is_empty() {
        tracing::info!(steps = migrations.len(), "tables and views are up to date");
    }
    Ok(())
}
