//! `[kafka]`.

use std::time::Duration;

use super::{PAIRS, is_address, read_pairs};
use crate::form::{Integer, Span, Text};
use crate::option::{Group, Opt};
use crate::secret::SecretText;
use crate::section::Section;
use crate::table::Own;

/// Lanes and replicas with the local engine, and with brokers.
pub(crate) const LANES_WHERE: (u16, u16) = (4, 12);
const REPLICATION_WHERE: (u16, u16) = (1, 3);

const BROKERS: Opt<Text> = Opt::new(
    "brokers",
    Text("`host:port`, separated by commas"),
    "The brokers.",
    "\"kafka-1:9092,kafka-2:9092,kafka-3:9092\"",
)
.otherwise("the local engine of `hookline up`");
const LANES: Opt<Integer<u16>> = Opt::new(
    "lanes",
    Integer::within(1, 1_024, "partitions"),
    "Partitions of `raw`, `events` and `seen`. Fixed when the topics are created, and never changed in place.",
    "12",
)
.otherwise("4 with the local engine, 12 with `brokers`");
const REPLICATION: Opt<Integer<u16>> =
    Opt::new("replication", Integer::within(1, 15, "replicas"), "Replicas of every topic.", "3")
        .otherwise("1 with the local engine, 3 with `brokers`");
/// Brokers take no session below 6 s unless they are told to.
const TAKEOVER_AFTER: Opt<Span> = Opt::new(
    "takeover_after",
    Span::within(Duration::from_secs(6), Duration::from_secs(120)),
    "With `--join`: an instance that is not heard of for so long loses its lanes to others.",
    "\"10s\"",
)
.or(Duration::from_secs(10));
const PROPERTIES: Opt<Own> = Opt::new(
    "properties",
    PAIRS,
    "Further properties of librdkafka, such as those of SASL and TLS. Their values appear in no output.",
    "{ \"security.protocol\" = \"SASL_SSL\", \"sasl.password\" = { env = \"KAFKA_PASSWORD\" } }",
);

pub(crate) static GROUP: Group = Group {
    title: "[kafka]",
    about: "Where Kafka is.",
    read_by: "every service and tool",
    options: &[&BROKERS, &LANES, &REPLICATION, &TAKEOVER_AFTER, &PROPERTIES],
    others: &[],
};

/// `[kafka]`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port`, separated by commas; none means the local engine of `hookline up`.
    pub brokers: Option<String>,
    /// Partitions of `raw`, `events` and `seen`; never changed in place. 4 with the local engine, 12 with brokers.
    pub lanes: u16,
    /// Replicas of every topic. 1 with the local engine, 3 with brokers.
    pub replication: u16,
    /// A member of a stage's group that is not heard of for so long is taken for dead, and its lanes are given to others.
    pub takeover_after: Duration,
    /// Further librdkafka properties, such as those of SASL. Their values are hidden, since some are secrets.
    pub properties: Vec<(String, SecretText)>,
}

pub(crate) fn read_kafka(section: Option<Section<'_>>) -> Kafka {
    let Some(section) = section else {
        let (lanes, replication) = (LANES_WHERE.0, REPLICATION_WHERE.0);
        let (takeover_after, properties) = (TAKEOVER_AFTER.usual(), Vec::new());
        return Kafka { brokers: None, lanes, replication, takeover_after, properties };
    };
    let brokers = section.placed(&BROKERS).and_then(|(text, at)| {
        let sound = text.split(',').map(str::trim).all(is_address);
        if !sound {
            section.error(&at, format!("brokers {text:?} are not addresses"), "write \"host:port,host:port\"");
        }
        sound.then(|| text.split(',').map(str::trim).collect::<Vec<_>>().join(","))
    });
    let remote = section.has(&BROKERS);
    let choose = |(local, cluster): (u16, u16)| if remote { cluster } else { local };
    let lanes = section.integer(&LANES).unwrap_or(choose(LANES_WHERE));
    let replication = section.integer(&REPLICATION).unwrap_or(choose(REPLICATION_WHERE));
    let takeover_after = section.duration(&TAKEOVER_AFTER).unwrap_or(TAKEOVER_AFTER.usual());
    let properties = read_pairs(&section, &PROPERTIES);
    section.finish();
    Kafka { brokers, lanes, replication, takeover_after, properties }
}
