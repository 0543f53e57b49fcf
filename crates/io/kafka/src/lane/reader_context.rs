//! What a reader's client says of itself: log lines, errors, and the partition's end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use super::Isolation;
use crate::cluster::Voice;

/// Keeps the partition's end, from the client's statistics.
pub(super) struct ReaderContext {
    pub(super) voice: Voice,
    isolation: Isolation,
    /// As the statistics name it.
    partition: String,
    end: AtomicI64,
}

impl ReaderContext {
    pub(super) fn new(voice: Voice, isolation: Isolation, partition: u16) -> Self {
        Self { voice, isolation, partition: partition.to_string(), end: AtomicI64::new(-1) }
    }

    /// One past the last record that may be read, as of the client's last statistics; below 0 while it is not known.
    pub(super) fn end(&self) -> i64 {
        self.end.load(Ordering::Relaxed)
    }
}

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }

    fn stats_raw(&self, json: &[u8]) {
        match serde_json::from_slice::<Statistics>(json) {
            Ok(statistics) => {
                // The client lists every partition of the topic, and all but its own without a value (below 0).
                for partition in
                    statistics.topics.into_values().filter_map(|topic| topic.partitions.get(&self.partition).copied())
                {
                    let end = match self.isolation {
                        Isolation::Committed => partition.ls_offset,
                        Isolation::Uncommitted => partition.hi_offset,
                    };
                    self.end.store(end, Ordering::Relaxed);
                }
            }
            Err(error) => {
                tracing::warn!(client = self.voice.role(), %error, "the client's statistics are unreadable; no lag")
            }
        }
    }
}

impl ConsumerContext for ReaderContext {}

/// The part of librdkafka's STATISTICS.md that tells a partition's end.
#[derive(serde::Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, TopicStatistics>,
}

#[derive(serde::Deserialize)]
struct TopicStatistics {
    partitions: BTreeMap<String, PartitionStatistics>,
}

#[derive(Clone, Copy, serde::Deserialize)]
struct PartitionStatistics {
    hi_offset: i64,
    ls_offset: i64,
}
