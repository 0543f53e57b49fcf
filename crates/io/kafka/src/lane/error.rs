//! Why a transaction did not go through.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};

use super::reports::LaneContext;
use crate::rights::{self, Tried};
use crate::topics::Topic;

/// Why a transaction did not go through, by what the lane has to do now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    /// Another owner has taken the id. Nothing of this transaction will be seen. The lane ends; the process does not. Whoever still
    /// holds the lane by its hint (a static assignment, a membership) takes the fence again after a pause.
    #[error("{id} was fenced while about to {doing}: another owner has the lane; this one ends")]
    Fenced {
        /// The transactional id.
        id: String,
        /// What was tried.
        doing: &'static str,
    },
    /// This transaction cannot commit, the producer can go on: [`LaneProducer::abort`](super::LaneProducer::abort), forget what it held, seek back.
    #[error("the transaction of {id} must be aborted, it could not {doing}: {reason}")]
    Abortable {
        /// The transactional id.
        id: String,
        /// What was tried.
        doing: &'static str,
        /// Kafka's words.
        reason: String,
    },
    /// The producer is of no more use: drop it, take the fence again, and read the position back. If it failed to commit, the
    /// transaction may have been committed or not; the position tells.
    #[error(
        "the producer of {id} is of no more use, it could not {doing}: {reason}; the lane starts again from its committed position"
    )]
    Fatal {
        /// The transactional id.
        id: String,
        /// What was tried.
        doing: &'static str,
        /// Kafka's words.
        reason: String,
    },
    /// One record is larger than Kafka takes. It was not sent; the transaction is unharmed.
    #[error(
        "a record for {topic}/{partition} of {bytes} bytes is larger than Kafka takes (2,000,000 bytes); it was not sent"
    )]
    TooLarge {
        /// The target topic.
        topic: Topic,
        /// The target partition.
        partition: u16,
        /// Key and payload.
        bytes: usize,
    },
}

impl TxnError {
    /// The client has not returned from a call.
    pub(super) fn hung(id: &str, doing: &'static str, asked_for: Duration) -> Self {
        let reason = format!("the client was to answer within {asked_for:?} and has not; it is left behind");
        tracing::error!(id, doing, reason, "the producer of a lane hangs; the lane opens again with another");
        TxnError::Fatal { id: id.into(), doing, reason }
    }

    /// Where there is no transaction to abort, an abortable error is a fatal one.
    pub(super) fn unless_abortable(self) -> Self {
        match self {
            TxnError::Abortable { id, doing, reason } => TxnError::Fatal { id, doing, reason },
            other => other,
        }
    }
}

/// Sorts the client's error by what has to follow.
pub(super) fn classify(
    producer: &BaseProducer<LaneContext>,
    id: &str,
    doing: &'static str,
    error: &KafkaError,
) -> TxnError {
    let id = id.to_owned();
    let fenced = |code: RDKafkaErrorCode| {
        matches!(
            code,
            RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch
        )
    };
    if let Some((code, reason)) = producer.client().fatal_error() {
        let reason = reason + &rights::missing(Some(code), Tried::Write);
        return if fenced(code) { TxnError::Fenced { id, doing } } else { TxnError::Fatal { id, doing, reason } };
    }
    let reason = error.to_string() + &rights::missing_by(error, Tried::Write);
    match error {
        KafkaError::Transaction(error) if error.is_fatal() && fenced(error.code()) => TxnError::Fenced { id, doing },
        KafkaError::Transaction(error) if error.txn_requires_abort() => TxnError::Abortable { id, doing, reason },
        KafkaError::Transaction(_) => TxnError::Fatal { id, doing, reason },
        // A record that was not taken or not delivered: the transaction it belongs to is void.
        _ => TxnError::Abortable { id, doing, reason },
    }
}
