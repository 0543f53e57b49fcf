//! Why topics are not as planned, and what to do.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::Topic;
use crate::cluster::ClientError;
use crate::control::ControlError;
use crate::positions::PositionError;
use crate::rights::{self, Tried};

/// The topics are not, and could not be made, as the plan says.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No broker answered.
    #[error(
        "no answer from Kafka at {brokers} within {patience:?} while asking for {what}: {source}; is it running, and is [kafka] brokers right?"
    )]
    Unreachable {
        /// The addresses tried.
        brokers: String,
        /// What was asked.
        what: &'static str,
        /// How long.
        patience: Duration,
        /// The client's last words.
        source: Box<KafkaError>,
    },
    /// The user of the configuration may not do it.
    #[error("Kafka refuses {what}: {source}{lacks}")]
    Denied {
        /// What was asked.
        what: &'static str,
        /// The right that is missing, as the end of the sentence.
        lacks: String,
        /// The client's words.
        source: Box<KafkaError>,
    },
    /// The cluster refused to create a topic.
    #[error("{topic} could not be created with {partitions} partitions and {replication} replicas: {code:?}{}", why_not(*code))]
    NotCreated {
        /// Which topic.
        topic: Topic,
        /// Planned partitions.
        partitions: u16,
        /// Planned replicas.
        replication: u16,
        /// Kafka's code.
        code: RDKafkaErrorCode,
    },
    /// The cluster refused to delete a topic.
    #[error(
        "{topic} could not be deleted: {code:?}{}; then do the same again", rights::missing(Some(*code), Tried::Delete)
    )]
    NotDeleted {
        /// Which topic.
        topic: Topic,
        /// Kafka's code.
        code: RDKafkaErrorCode,
    },
    /// An existing topic has another number of partitions.
    #[error(
        "{topic} has {found} partitions, the configuration wants {wanted}; the number never changes in place: set it to {found} again, or start on a new cluster"
    )]
    Partitions {
        /// Which topic.
        topic: Topic,
        /// What exists.
        found: usize,
        /// What the plan says.
        wanted: u16,
    },
    /// A setting of an existing topic breaks the delivery contract.
    #[error(
        "{topic} has {setting}={found}, delivery needs {wanted}; set it: kafka-configs.sh --bootstrap-server … --alter --topic {topic} --add-config {setting}={wanted}"
    )]
    Setting {
        /// Which topic.
        topic: Topic,
        /// Kafka's name of the setting.
        setting: &'static str,
        /// What exists.
        found: String,
        /// What the plan says.
        wanted: String,
    },
    /// Topics are gone that this pipeline was started with.
    #[error(
        "{} gone from Kafka, and the pipeline ({}) was started with {}: somebody deleted {}, or the brokers lost {}. Made again \
         empty, {} would hide what is lost. If that cannot be put back: {}",
        names(topics), life(incarnation.as_deref()), it(topics), it(topics), it(topics), they(topics), way_out(topics)
    )]
    Vanished {
        /// Which topics.
        topics: Vec<Topic>,
        /// The pipeline, if the topic that says so is still there.
        incarnation: Option<String>,
    },
    /// It is not known whether topics are missing or have vanished.
    #[error("whether a pipeline was started on these topics before could not be told: {0}")]
    Identity(#[from] Box<ControlError>),
    /// It is not known whether topics are missing or have vanished.
    #[error("whether a pipeline was started on these topics before could not be told: {0}")]
    Ends(#[from] PositionError),
    /// Partitions have no leader.
    #[error("{topic} still has {without} partitions without a leader after {patience:?}; are enough brokers up?")]
    NoLeader {
        /// Which topic.
        topic: Topic,
        /// How many.
        without: usize,
        /// How long was waited.
        patience: Duration,
    },
}

/// Why a topic was not created, as far as the code says it.
fn why_not(code: RDKafkaErrorCode) -> String {
    let missing = rights::missing(Some(code), Tried::Create);
    match missing.is_empty() {
        true => "; with fewer brokers than replicas set [kafka] replication lower".to_owned(),
        false => missing,
    }
}

fn names(topics: &[Topic]) -> String {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name()).collect();
    format!("{} {}", names.join(", "), if topics.len() == 1 { "is" } else { "are" })
}

fn life(incarnation: Option<&str>) -> String {
    incarnation
        .map_or_else(|| "its identity is gone with it".to_owned(), |incarnation| format!("incarnation {incarnation}"))
}

fn it(topics: &[Topic]) -> &'static str {
    if topics.len() == 1 { "it" } else { "them" }
}

fn they(topics: &[Topic]) -> &'static str {
    if topics.len() == 1 { "it" } else { "they" }
}

fn way_out(topics: &[Topic]) -> String {
    match topics.iter().find(|topic| topic.counts_for_rows()) {
        Some(_) => {
            "stop all services; `hookline ledger start-anew` says what is lost, and begins a new life of the topics"
                .to_owned()
        }
        None => topics
            .iter()
            .map(|topic| format!("`hookline ledger recreate-topic {topic} --why …`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}
