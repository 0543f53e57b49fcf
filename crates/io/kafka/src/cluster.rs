//! The cluster's address, and the client settings that every producer and reader here starts from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use runtime::LogLimits;

use crate::rights::{self, Tried};

/// Where Kafka is, and how its clients log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port`, several separated by commas (`bootstrap.servers`).
    pub brokers: String,
    /// librdkafka settings by their own names, such as `security.protocol` or `sasl.username`. They replace defaults of this
    /// crate; a setting that delivery rests on (`acks`, `isolation.level`, …) cannot be replaced and is refused.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for Cluster {
    /// Properties hold passwords: only their names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A client could not be made from the settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A property of the configuration would break the delivery contract.
    #[error(
        "[kafka] properties: `{name} = {given}` would break the delivery contract, which needs `{name} = {needed}` in the {role}; remove it"
    )]
    Reserved {
        /// Which client.
        role: String,
        /// librdkafka's name of the setting.
        name: String,
        /// What the configuration says.
        given: String,
        /// What delivery rests on.
        needed: String,
    },
    /// librdkafka refused the settings.
    #[error("the Kafka client of {role} could not be made: {source}; check [kafka] brokers and properties")]
    Refused {
        /// Which client.
        role: String,
        /// librdkafka's own words.
        source: Box<KafkaError>,
    },
}

impl ClientError {
    pub(crate) fn refused(role: &str, source: KafkaError) -> Self {
        Self::Refused { role: role.to_owned(), source: Box::new(source) }
    }
}

/// How long a request may go without an answer: `socket.timeout.ms` of [`DEFAULTS`].
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(6);

/// Settings that hold for every client; a property of the configuration may replace them.
const DEFAULTS: &[(&str, &str)] = &[
    // A broker that was restarted is found again within a second, not ten.
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("socket.connection.setup.timeout.ms", "5000"),
    // A broker that keeps its connections and says nothing is given up after this, and asked for are the leaders that
    // there are by now. With the default of 60 s a lane waited that long for a broker that others had replaced.
    ("socket.timeout.ms", "6000"),
    // Idle connections are closed by brokers as a matter of course.
    ("log.connection.close", "false"),
];

impl Cluster {
    /// A cluster that needs no properties.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), properties: BTreeMap::new() }
    }

    /// Defaults, then the configuration's properties, then what delivery rests on.
    pub(crate) fn config(
        &self,
        role: &str,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
    ) -> Result<ClientConfig, ClientError> {
        let mut config = ClientConfig::new();
        config.set("client.id", format!("hookline-{role}"));
        for (name, value) in DEFAULTS.iter().chain(defaults) {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, needed) in fixed {
            if let Some(given) = self.properties.get(*name)
                && given != needed
            {
                return Err(ClientError::Reserved {
                    role: role.into(),
                    name: (*name).into(),
                    given: given.clone(),
                    needed: (*needed).into(),
                });
            }
            config.set(*name, *needed);
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }
}

/// Brings librdkafka's log lines and errors to `tracing`: one line per kind and five seconds, with the number left out since.
pub(crate) struct Voice {
    role: String,
    lines: LogLimits,
    lost: Mutex<Option<Instant>>,
}

/// How long one kind of line stays silent after it was said.
const SILENCE: Duration = Duration::from_secs(5);

impl Voice {
    pub(crate) fn new(role: impl Into<String>) -> Self {
        Self { role: role.into(), lines: LogLimits::every(SILENCE), lost: Mutex::new(None) }
    }

    /// Which client speaks.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Since when the client may have lost a partition for good, if it may.
    ///
    /// librdkafka 2.12 passes over a partition whose leader is away for a moment, as while a broker comes up, and may never look for
    /// it again: neither reads nor writes get anywhere then, and nothing but this line says so
    /// (<https://github.com/confluentinc/librdkafka/issues/5430>). A new client finds the leader.
    pub(crate) fn lost_for(&self) -> Option<Duration> {
        self.lost().map(|at| at.elapsed())
    }

    /// The partition answers: nothing is lost.
    pub(crate) fn found(&self) {
        *self.lost() = None;
    }

    fn lost(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "METADATAUPDATE" && line.contains("not found in cache") {
            self.lost().get_or_insert_with(Instant::now);
        }
        // CONFWARN: a property meant for producers was given to a reader, or the other way round; both get the same map.
        if facility == "CONFWARN" {
            tracing::debug!(client = self.role, facility, "{line}");
            return;
        }
        let Some(left_out) = self.lines.due(facility) else { return };
        // A transaction's records are then purged, and their own errors do not say why.
        let refused = facility == "ADDPARTS" && line.contains("Topic authorization failed");
        let code = refused.then_some(RDKafkaErrorCode::TopicAuthorizationFailed);
        let line = format!("{line}{}{}", rights::missing(code, Tried::Write), about_certificates(line));
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(client = self.role, facility, left_out, "{line}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(client = self.role, facility, left_out, "{line}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(client = self.role, facility, left_out, "{line}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(client = self.role, facility, left_out, "{line}"),
        }
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        // Not an error: the end of a partition.
        if let KafkaError::Global(RDKafkaErrorCode::PartitionEOF) = error {
            return;
        }
        let code = error.rdkafka_error_code().map_or_else(|| "other".to_owned(), |code| format!("{code:?}"));
        if let Some(left_out) = self.lines.due(&code) {
            tracing::warn!(client = self.role, code, left_out, "Kafka: {reason}{}", about_certificates(reason));
        }
    }
}

/// What librdkafka leaves out where it refuses a broker's certificate: it names one reason of several.
fn about_certificates(line: &str) -> &'static str {
    if line.contains("certificate verify failed") {
        "; or the certificate has expired, or is for another name: `openssl s_client -connect HOST:PORT` says which"
    } else {
        ""
    }
}

/// The context of clients that need nothing but a voice.
pub(crate) struct Quiet(pub(crate) Voice);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Quiet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_would_break_delivery_is_refused_by_name() {
        let mut cluster = Cluster::new("localhost:1");
        cluster.properties.insert("acks".into(), "1".into());
        let refused = cluster.config("edge", &[], &[("acks", "all")]).unwrap_err().to_string();
        assert!(refused.contains("acks = 1") && refused.contains("acks = all"), "{refused}");
    }

    #[test]
    fn a_property_replaces_a_default_and_nothing_else() {
        let mut cluster = Cluster::new("localhost:1");
        cluster.properties.insert("linger.ms".into(), "50".into());
        let config = cluster.config("edge", &[("linger.ms", "5")], &[("acks", "all")]).unwrap();
        assert_eq!((config.get("linger.ms"), config.get("acks")), (Some("50"), Some("all")));
    }

    #[test]
    fn every_client_gives_a_silent_broker_up() {
        let config = Cluster::new("localhost:1").config("edge", &[], &[]).unwrap();
        assert_eq!(config.get("socket.timeout.ms"), Some(ANSWERED_WITHIN.as_millis().to_string().as_str()));
    }

    #[test]
    fn passwords_are_not_shown() {
        let mut cluster = Cluster::new("localhost:1");
        cluster.properties.insert("sasl.password".into(), "hunter2".into());
        assert!(!format!("{cluster:?}").contains("hunter2"));
    }

    #[test]
    fn a_leader_that_is_lost_stays_lost_until_the_partition_answers() {
        let voice = Voice::new("test");
        let say = |facility, line| voice.log(RDKafkaLogLevel::Warning, facility, line);
        say("METADATAUPDATE", "[thrd:main]: Partition hookline.raw.v1(zhT)[1]: leader epoch is not newer 4 >= 3");
        say("FAIL", "Connect failed: broker not found in cache");
        assert_eq!(voice.lost_for(), None);
        // As librdkafka 2.12.1 says it.
        say("METADATAUPDATE", "[thrd:main]: Partition hookline.raw.v1(zhT)[1]: new leader-1 not found in cache");
        let first = voice.lost_for().unwrap();
        say("METADATAUPDATE", "[thrd:main]: Partition hookline.raw.v1(zhT)[1]: new leader-1 not found in cache");
        assert!(voice.lost_for().unwrap() >= first, "it counts from the first time");
        voice.found();
        assert_eq!(voice.lost_for(), None);
    }
}
