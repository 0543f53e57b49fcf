//! What the broker reports of the records of a transaction.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::cluster::Voice;
use crate::topics::Topic;

/// The last offsets that a transaction has written so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    last: Vec<Last>,
}

/// The last record written to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Last {
    target: (Topic, u16),
    offset: i64,
    /// The broker's clock when it appended it, if the topic is stamped by it.
    stamped_ms: Option<i64>,
}

impl Written {
    /// The offset of the last record written to the partition in this transaction, if there is one.
    #[must_use]
    pub fn last(&self, topic: Topic, partition: u16) -> Option<i64> {
        self.to(topic, partition).map(|last| last.offset)
    }

    /// What the broker's clock said when it appended that record, in milliseconds since 1970; `None` if the topic keeps
    /// its writer's time.
    #[must_use]
    pub fn stamped_ms(&self, topic: Topic, partition: u16) -> Option<i64> {
        self.to(topic, partition)?.stamped_ms
    }

    /// All partitions written to, with their last offsets.
    pub fn iter(&self) -> impl Iterator<Item = (Topic, u16, i64)> + '_ {
        self.last.iter().map(|Last { target: (topic, partition), offset, .. }| (*topic, *partition, *offset))
    }

    fn to(&self, topic: Topic, partition: u16) -> Option<&Last> {
        self.last.iter().find(|last| last.target == (topic, partition))
    }

    fn reported(&mut self, report: Last) {
        match self.last.iter_mut().find(|last| last.target == report.target) {
            Some(last) if last.offset < report.offset => *last = report,
            Some(_) => {}
            None => self.last.push(report),
        }
    }
}

/// What the delivery reports of the open transaction said.
#[derive(Default)]
pub(super) struct Reports {
    pub(super) written: Written,
    pub(super) failed: u64,
    pub(super) first_failure: Option<KafkaError>,
}

/// What a lane's client tells: its log, and the delivery reports.
pub(super) struct LaneContext {
    voice: Voice,
    reports: Mutex<Reports>,
}

impl LaneContext {
    pub(super) fn new(id: &str) -> Self {
        Self { voice: Voice::new(id), reports: Mutex::default() }
    }

    pub(super) fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for LaneContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }
}

impl ProducerContext for LaneContext {
    /// The topic, as its place in [`Topic::ALL`]: the report itself names it as a C string only.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, topic: usize) {
        let mut reports = self.reports();
        match report {
            Ok(message) => {
                let stamped_ms = match message.timestamp() {
                    Timestamp::LogAppendTime(at) => Some(at),
                    Timestamp::CreateTime(_) | Timestamp::NotAvailable => None,
                };
                let target = (Topic::ALL[topic], message.partition() as u16);
                reports.written.reported(Last { target, offset: message.offset(), stamped_ms });
            }
            Err((error, _)) => {
                reports.failed += 1;
                reports.first_failure.get_or_insert_with(|| error.clone());
            }
        }
    }
}
