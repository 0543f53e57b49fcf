//! What the cluster knows of positions: those committed by a stage, and where partitions start and end.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::disposal::Aside;

use crate::cluster::{ClientError, Cluster, Quiet, Voice};
use crate::lane::pause;
use crate::rights::{self, Tried};
use crate::topics::Topic;

/// A position that a stage committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Committed {
    /// The offset of the next record to read.
    pub next: i64,
    /// What was committed beside it.
    pub metadata: String,
}

/// Offsets of one partition: `low` is the first one kept, `end` is one past the last one that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first offset still kept.
    pub low: i64,
    /// One past the last readable offset.
    pub end: i64,
}

/// The cluster did not tell a position.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The committed position is not served, most often because a transaction on it is pending.
    #[error(
        "the position of {group} on {topic}/{partition} was not served within {waited:?}: {source}{}",
        rights_or(source, "; a transaction on it may be pending: take the lane's fence first")
    )]
    NotServed {
        /// The group that holds the position.
        group: String,
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// How long was waited.
        waited: Duration,
        /// The client's words.
        source: Box<KafkaError>,
    },
    /// The start and end of a partition are unknown.
    #[error("{topic}/{partition} did not tell {what} within {waited:?}: {source}{}", rights_or(source, ""))]
    Unknown {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        waited: Duration,
        /// The client's words.
        source: Box<KafkaError>,
    },
}

/// The right that is missing, or else what is likely.
fn rights_or(error: &KafkaError, likely: &str) -> String {
    let missing = rights::missing_by(error, Tried::Read);
    if missing.is_empty() { likely.to_owned() } else { missing }
}

/// Asks the cluster for positions under a group that has no members. Blocking.
pub struct Positions {
    committed: Aside<BaseConsumer<Quiet>>,
    appended: Aside<BaseConsumer<Quiet>>,
    group: String,
    timeout: Duration,
}

impl std::fmt::Debug for Positions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Positions").field("group", &self.group).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Positions {
    /// Opens the positions of `group` (`hookline-<stage>`); each question waits at most `timeout`.
    ///
    /// # Errors
    /// When the client's settings are refused. No broker is asked yet.
    pub fn open(cluster: &Cluster, group: &str, timeout: Duration) -> Result<Self, PositionError> {
        Ok(Self {
            committed: asking(cluster, group, "read_committed")?,
            appended: asking(cluster, group, "read_uncommitted")?,
            group: group.to_owned(),
            timeout,
        })
    }

    /// The position that the group committed, or `None` if it never did (or it expired).
    ///
    /// While a transaction that commits this position is pending, the broker does not serve it and the call ends in
    /// [`PositionError::NotServed`]: take the lane's fence first, which ends the transaction.
    ///
    /// # Errors
    /// When the broker does not serve the position in time.
    pub fn committed(&self, topic: Topic, partition: u16) -> Result<Option<Committed>, PositionError> {
        self.ask(&self.committed, topic, partition)
    }

    /// The same, for whoever holds the lane's fence: all that was ever begun under the lane's id is ended. If the broker then
    /// still holds the position back, it waits for a transaction that nobody can end any more: a commit that arrived after its
    /// transaction had been aborted, as happens when a broker stands still under load (Kafka's KIP-890 calls such transactions
    /// hanging). That commit never counts, so the last one that did is taken.
    ///
    /// # Errors
    /// When the broker does not serve the position in time, asked either way.
    pub fn committed_behind_fence(&self, topic: Topic, partition: u16) -> Result<Option<Committed>, PositionError> {
        match self.ask(&self.committed, topic, partition) {
            Err(PositionError::NotServed { source, .. })
                if source.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) =>
            {
                let committed = self.last_committed(topic, partition)?;
                let (group, topic) = (&self.group, topic.name());
                tracing::warn!(
                    group,
                    topic,
                    partition,
                    next = committed.as_ref().map(|committed| committed.next),
                    "the broker holds the position back for a transaction that was ended; the last one that counts is taken"
                );
                Ok(committed)
            }
            answer => answer,
        }
    }

    /// The last position that counts, whether or not a transaction on it is pending: for whoever watches a lane and does not
    /// own it. It is never ahead of the truth.
    ///
    /// # Errors
    /// When the broker does not serve the position in time.
    pub fn last_committed(&self, topic: Topic, partition: u16) -> Result<Option<Committed>, PositionError> {
        self.ask(&self.appended, topic, partition)
    }

    fn ask(
        &self,
        client: &BaseConsumer<Quiet>,
        topic: Topic,
        partition: u16,
    ) -> Result<Option<Committed>, PositionError> {
        let failed = |source| PositionError::NotServed {
            group: self.group.clone(),
            topic,
            partition,
            waited: self.timeout,
            source: Box::new(source),
        };
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition(topic.name(), i32::from(partition));
        let answer = client.committed_offsets(asked, self.timeout).map_err(failed)?;
        let element = answer
            .find_partition(topic.name(), i32::from(partition))
            .ok_or_else(|| failed(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition)))?;
        element.error().map_err(failed)?;
        match element.offset() {
            Offset::Offset(next) => Ok(Some(Committed { next, metadata: element.metadata().to_owned() })),
            _ => Ok(None),
        }
    }

    /// The partition's first offset and one past its last record, pending transactions included.
    ///
    /// # Errors
    /// When the partition's leader does not answer in time.
    pub fn watermarks(&self, topic: Topic, partition: u16) -> Result<Range, PositionError> {
        range(&self.appended, topic, partition, self.timeout)
    }

    /// Whether any of the topic's first `partitions` partitions has, or ever had, a record.
    ///
    /// # Errors
    /// When a partition's leader does not answer in time.
    pub fn any_record(&self, topic: Topic, partitions: u16) -> Result<bool, PositionError> {
        (0..partitions).try_fold(false, |any, partition| Ok(any || self.watermarks(topic, partition)?.end > 0))
    }

    /// The partition's first offset and its last stable offset: all below it is committed or aborted.
    ///
    /// # Errors
    /// When the partition's leader does not answer in time.
    pub fn stable(&self, topic: Topic, partition: u16) -> Result<Range, PositionError> {
        range(&self.committed, topic, partition, self.timeout)
    }

    /// The first offset whose timestamp is at or after `timestamp_ms` (since 1970), or `None` if every record is older.
    ///
    /// # Errors
    /// When the partition's leader does not answer in time.
    pub fn offset_at(&self, topic: Topic, partition: u16, timestamp_ms: i64) -> Result<Option<i64>, PositionError> {
        let failed = |source| PositionError::Unknown {
            topic,
            partition,
            what: "the offset of a time",
            waited: self.timeout,
            source: Box::new(source),
        };
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition_offset(topic.name(), i32::from(partition), Offset::Offset(timestamp_ms)).map_err(failed)?;
        let answer = self.appended.offsets_for_times(asked, self.timeout).map_err(failed)?;
        let element = answer
            .find_partition(topic.name(), i32::from(partition))
            .ok_or_else(|| failed(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition)))?;
        element.error().map_err(failed)?;
        match element.offset() {
            Offset::Offset(offset) => Ok(Some(offset)),
            _ => Ok(None),
        }
    }
}

/// A consumer that is only asked, never assigned.
pub(crate) fn asking(
    cluster: &Cluster,
    group: &str,
    isolation: &str,
) -> Result<Aside<BaseConsumer<Quiet>>, ClientError> {
    let role = format!("{group}-positions");
    cluster
        .config(&role, &[], &[("group.id", group), ("isolation.level", isolation), ("enable.auto.commit", "false")])?
        .create_with_context(Quiet(Voice::new(role.clone())))
        .map(|client| Aside::new("a client that asks for positions", client))
        .map_err(|source| ClientError::refused(&role, source))
}

/// Start and end as the consumer's isolation sees them. A partition that has just been created, or whose leader has just
/// moved, is asked again until `timeout`.
pub(crate) fn range<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: Topic,
    partition: u16,
    timeout: Duration,
) -> Result<Range, PositionError> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match consumer.fetch_watermarks(topic.name(), i32::from(partition), left) {
            Ok((low, end)) => return Ok(Range { low, end }),
            Err(source) if moving(&source) && !left.is_zero() => {
                pause("the partition's leader", Duration::from_millis(50));
            }
            Err(source) => {
                let source = Box::new(source);
                return Err(PositionError::Unknown {
                    topic,
                    partition,
                    what: "its start and end",
                    waited: timeout,
                    source,
                });
            }
        }
    }
}

/// Whether the partition has no leader at this moment, or another one than the client knows of.
fn moving(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
        )
    )
}
