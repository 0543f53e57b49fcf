//! What of a changed configuration can be taken while everything runs.

use crate::{Config, Kafka};

/// What stands between a configuration and another one, for processes that run by the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveChange {
    /// Why it cannot be taken at all, and what to do instead. What decides about events is taken whole or not.
    pub refused: Vec<String>,
    /// What stays as it is until something is started again.
    pub at_restart: Vec<AtRestart>,
}

/// A key of the platform's half that is read at the start alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtRestart {
    /// The key, with its section.
    pub key: &'static str,
    /// What to start again.
    pub restart: &'static str,
}

const ALL: &str = "all services";

impl Config {
    /// What of `next` processes that run by this configuration cannot take, or not before they start again.
    #[must_use]
    pub fn change_to(&self, next: &Self) -> LiveChange {
        let hours = |config: &Self| config.longest_window().as_secs().div_ceil(3_600);
        let days = |config: &Self| config.privacy.keep.raw.as_secs() / 86_400;
        let mut refused = Vec::new();
        if self.kafka.lanes != next.kafka.lanes {
            refused.push(format!(
                "[kafka] lanes would change from {} to {}: lanes are never changed in place",
                self.kafka.lanes, next.kafka.lanes
            ));
        }
        if next.longest_window() > self.longest_window() {
            refused.push(format!(
                "the longest remember_for of a source would grow from {} to {} hours, and the log of the dedupe window keeps no \
                 more than that: start all services again to take it",
                hours(self),
                hours(next)
            ));
        }
        if self.privacy.keep.raw != next.privacy.keep.raw {
            refused.push(format!(
                "[privacy] keep.raw would change from {} to {} days, which is settled when the topics are checked: start all \
                 services again to take it",
                days(self),
                days(next)
            ));
        }
        LiveChange { refused, at_restart: self.at_restart(next) }
    }

    fn at_restart(&self, next: &Self) -> Vec<AtRestart> {
        let (kafka, clickhouse, ingest) = (&self.kafka, &self.clickhouse, &self.ingest);
        let (process, registry) = (&self.process, &self.registry);
        let registries = |config: &Self| {
            let registry = config.registry.as_ref()?;
            let password = registry.password.as_ref().map(|password| password.reveal().to_owned());
            Some((registry.url.clone(), registry.user.clone(), password, registry.register))
        };
        let differs = [
            ("[kafka] brokers", kafka.brokers != next.kafka.brokers, ALL),
            ("[kafka] replication", kafka.replication != next.kafka.replication, ALL),
            ("[kafka] takeover_after", kafka.takeover_after != next.kafka.takeover_after, ALL),
            ("[kafka] properties", properties(kafka) != properties(&next.kafka), ALL),
            ("[clickhouse] url", clickhouse.url != next.clickhouse.url, "report and console"),
            ("[clickhouse] user", clickhouse.user != next.clickhouse.user, "report and console"),
            ("[clickhouse] password", clickhouse.password != next.clickhouse.password, "report and console"),
            ("[clickhouse] cluster", clickhouse.cluster != next.clickhouse.cluster, "report and console"),
            (
                "[registry]",
                registry.is_some() != next.registry.is_some() || registries(self) != registries(next),
                "process, detect, report and notify",
            ),
            ("[ingest] listen", ingest.listen != next.ingest.listen, "ingest"),
            ("[ingest] trusted_proxies", ingest.trusted_proxies != next.ingest.trusted_proxies, "ingest"),
            ("[ingest] tls", ingest.tls != next.ingest.tls, "ingest"),
            ("[ingest] memory", ingest.memory != next.ingest.memory, "ingest"),
            ("[ingest] max_connections", ingest.max_connections != next.ingest.max_connections, "ingest"),
            ("[ingest] header_timeout", ingest.header_timeout != next.ingest.header_timeout, "ingest"),
            ("[ingest] body_timeout", ingest.body_timeout != next.ingest.body_timeout, "ingest"),
            ("[ingest] idle_timeout", ingest.idle_timeout != next.ingest.idle_timeout, "ingest"),
            ("[process] data", process.data != next.process.data, "process"),
            ("[process] fuse_run", process.fuse_run != next.process.fuse_run, "process"),
            ("[process] fuse_percent", process.fuse_percent != next.process.fuse_percent, "process"),
            ("[traces]", format!("{:?}", self.traces) != format!("{:?}", next.traces), ALL),
            ("[metrics] listen", self.metrics.listen != next.metrics.listen, ALL),
            ("[console] listen", self.console.listen != next.console.listen, "console"),
            ("[console] token", self.console.token != next.console.token, "console"),
        ];
        differs
            .into_iter()
            .filter(|(_, differs, _)| *differs)
            .map(|(key, _, restart)| AtRestart { key, restart })
            .collect()
    }
}

fn properties(kafka: &Kafka) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> =
        kafka.properties.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    all.sort_unstable();
    all
}
