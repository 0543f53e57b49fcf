//! What of a changed configuration can be taken while everything runs.

use notification::destination::SecretText;

use crate::{ClickHouse, Config, Console, Ingest, Kafka, Metrics, Process};

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

    /// Sections of the platform's half are taken apart whole, so that a new option of one does not compile before it is
    /// said here whether it is taken while everything runs.
    fn at_restart(&self, next: &Self) -> Vec<AtRestart> {
        let Kafka { brokers, lanes: _, replication, takeover_after, properties } = &self.kafka;
        let ClickHouse { url, user, password, cluster, shards, replicated } = &self.clickhouse;
        // The largest body and what may be under way are settings of sources, which are taken.
        let Ingest {
            listen,
            max_body: _,
            trusted_proxies,
            tls,
            memory,
            max_connections,
            in_flight: _,
            header_timeout,
            body_timeout,
            idle_timeout,
        } = &self.ingest;
        let Process { data, fuse_run, fuse_percent } = &self.process;
        // Where instances are asked is not read by them.
        let Metrics { listen: metrics, instances: _ } = &self.metrics;
        let Console { listen: console, token } = &self.console;
        let (n, asking) = (&next.ingest, "report, notify and console");
        let differs = [
            ("[kafka] brokers", *brokers != next.kafka.brokers, ALL),
            ("[kafka] replication", *replication != next.kafka.replication, ALL),
            ("[kafka] takeover_after", *takeover_after != next.kafka.takeover_after, ALL),
            ("[kafka] properties", sorted(properties) != sorted(&next.kafka.properties), ALL),
            ("[clickhouse] url", *url != next.clickhouse.url, asking),
            ("[clickhouse] user", *user != next.clickhouse.user, asking),
            ("[clickhouse] password", *password != next.clickhouse.password, asking),
            ("[clickhouse] cluster", *cluster != next.clickhouse.cluster, asking),
            ("[clickhouse] shards", *shards != next.clickhouse.shards, asking),
            ("[clickhouse] replicated", *replicated != next.clickhouse.replicated, asking),
            ("[registry]", self.registry != next.registry, "process, detect, report and notify"),
            ("[ingest] listen", *listen != n.listen, "ingest"),
            ("[ingest] trusted_proxies", *trusted_proxies != n.trusted_proxies, "ingest"),
            ("[ingest] tls", *tls != n.tls, "ingest"),
            ("[ingest] memory", *memory != n.memory, "ingest"),
            ("[ingest] max_connections", *max_connections != n.max_connections, "ingest"),
            ("[ingest] header_timeout", *header_timeout != n.header_timeout, "ingest"),
            ("[ingest] body_timeout", *body_timeout != n.body_timeout, "ingest"),
            ("[ingest] idle_timeout", *idle_timeout != n.idle_timeout, "ingest"),
            ("[process] data", *data != next.process.data, "process"),
            ("[process] fuse_run", *fuse_run != next.process.fuse_run, "process"),
            ("[process] fuse_percent", *fuse_percent != next.process.fuse_percent, "process"),
            ("[traces]", self.traces != next.traces, ALL),
            ("[metrics] listen", *metrics != next.metrics.listen, ALL),
            ("[console] listen", *console != next.console.listen, "console"),
            ("[console] token", *token != next.console.token, "console"),
        ];
        differs
            .into_iter()
            .filter(|(_, differs, _)| *differs)
            .map(|(key, _, restart)| AtRestart { key, restart })
            .collect()
    }
}

fn sorted(properties: &[(String, SecretText)]) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = properties.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    all.sort_unstable();
    all
}
