//! Where the `hookline up` listens that runs on this configuration, as far as it runs.

use std::path::Path;

use anyhow::Context;
use config::Config;
use kafka::Cluster;

/// What a running `up` has left beside its configuration.
#[derive(serde::Deserialize)]
pub(crate) struct Running {
    pub(crate) ingest: Option<String>,
    pub(crate) clickhouse: String,
    pub(crate) kafka: String,
}

impl Running {
    /// The `up` whose data folder holds this configuration.
    pub(crate) fn beside(config: &Path) -> Option<Self> {
        let noted = std::fs::read(config.parent()?.join(crate::up::ADDRESSES)).ok()?;
        serde_json::from_slice(&noted).ok()
    }
}

/// Kafka, for a tool: as given, or that of the `up` that runs on the configuration, or as configured.
pub(crate) fn cluster(given: Option<&str>, path: &Path, config: &Config) -> anyhow::Result<Cluster> {
    let brokers = given
        .map(str::to_owned)
        .or_else(|| Running::beside(path).map(|running| running.kafka))
        .or_else(|| config.kafka.brokers.clone())
        .with_context(|| {
            format!(
                "no Kafka is known: {} names no brokers and no `hookline up` runs beside it; give them with --brokers",
                path.display()
            )
        })?;
    let mut cluster = Cluster::new(brokers);
    for (name, value) in &config.kafka.properties {
        cluster.properties.insert(name.clone(), value.reveal().to_owned());
    }
    Ok(cluster)
}
