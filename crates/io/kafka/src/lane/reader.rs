//! The reader of one partition: from an offset that the caller knows, and never a silent jump.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::disposal::Aside;
use runtime::progress::LaneProgress;

use super::reader_context::ReaderContext;
use super::record::Record;
use super::whole_milliseconds;
use crate::cluster::{ClientError, Cluster, Voice};
use crate::positions::{self, PositionError};
use crate::rights::{self, Tried};
use crate::topics::Topic;

/// How long a broker holds a fetch that has nothing to give. A record ends the wait at once; a seek has to wait for it to end, and
/// each idle reader costs the broker one fetch per wait.
const IDLE_FETCH: Duration = Duration::from_millis(250);

/// What of a partition is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions, up to the last stable offset. Offsets have gaps: aborted records and markers.
    Committed,
    /// All records. For `raw`, which nobody writes transactionally.
    Uncommitted,
}

/// Why reading ends.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The partition does not have the offset, most often because it was deleted before it was read.
    #[error("{topic}/{partition} has no offset {requested}: it holds {low} to {high}; {}", out_of_range(*requested, *low))]
    OutOfRange {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// The offset that was to be read.
        requested: i64,
        /// The first offset kept.
        low: i64,
        /// One past the last offset.
        high: i64,
    },
    /// Offsets of a topic without gaps jumped, or went back.
    #[error("{topic}/{partition} gave offset {found} where {expected} was next; reading ends, nothing was passed over")]
    Gap {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// The offset that was next.
        expected: i64,
        /// The offset that came.
        found: i64,
    },
    /// The cluster refuses.
    #[error("{topic}/{partition} cannot be read: {source}{}", rights::missing_by(source, Tried::Read))]
    Refused {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// The client's words.
        source: Box<KafkaError>,
    },
    /// The client lost sight of the partition's leader and has read nothing since: open the reader again.
    #[error(
        "{topic}/{partition} was without a leader for a moment, and the client has read nothing since; another client reads on"
    )]
    Lost {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
    },
    /// The watch over lanes has seen a record that this client does not give: open the reader again.
    #[error(
        "{topic}/{partition} has records from offset {next} on, and the client that reads it gets none; \
         the lane opens again with another client"
    )]
    Starved {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// The offset that is next.
        next: i64,
    },
    /// The partition's start and end could not be asked for.
    #[error(transparent)]
    Position(#[from] PositionError),
}

/// How long a client that has lost sight of a leader may find it again by itself.
const LOST: Duration = Duration::from_secs(5);

fn out_of_range(requested: i64, low: i64) -> String {
    if requested < low {
        format!("{} records were deleted before they were read", low - requested)
    } else {
        "the partition ends before it, so it is not the one that the position was taken on".into()
    }
}

/// Reads one partition of one topic, without being a member of any group.
pub struct LaneReader {
    consumer: Aside<BaseConsumer<ReaderContext>>,
    /// The lane that reads, if this is its input.
    progress: Option<Arc<LaneProgress>>,
    topic: Topic,
    partition: u16,
    next: Cell<i64>,
    at_end: Cell<bool>,
    last_timestamp_ms: Cell<i64>,
}

impl std::fmt::Debug for LaneReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneReader")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("next", &self.next.get())
            .finish_non_exhaustive()
    }
}

impl LaneReader {
    /// Opens the partition at `start`, the offset of the next record to read. Up to 16 MiB are fetched ahead.
    ///
    /// No broker is asked yet: an offset that the partition does not have is told by the first [`LaneReader::fetch`].
    /// On the thread of a lane, the partition is the lane's input: the watch over lanes goes by what is read of it.
    ///
    /// # Errors
    /// When the client's settings are refused.
    pub fn open(
        cluster: &Cluster,
        topic: Topic,
        partition: u16,
        start: i64,
        isolation: Isolation,
    ) -> Result<Self, ReadError> {
        let mut reader = Self::unassigned(cluster, topic, partition, isolation, IDLE_FETCH)?;
        reader.assign(Offset::Offset(start))?;
        reader.next.set(start);
        reader.progress = runtime::progress::of_this_thread();
        if let Some(progress) = &reader.progress {
            progress.opened(topic.label(), topic.name(), partition, start);
        }
        Ok(reader)
    }

    /// Opens the partition at `start` to look whether there is a committed record: never the input of a lane.
    pub(crate) fn to_look(cluster: &Cluster, topic: Topic, partition: u16, start: i64) -> Result<Self, ReadError> {
        let reader = Self::unassigned(cluster, topic, partition, Isolation::Committed, Duration::from_millis(100))?;
        reader.assign(Offset::Offset(start))?;
        reader.next.set(start);
        Ok(reader)
    }

    pub(super) fn unassigned(
        cluster: &Cluster,
        topic: Topic,
        partition: u16,
        isolation: Isolation,
        idle_fetch: Duration,
    ) -> Result<Self, ReadError> {
        let idle_fetch = idle_fetch.as_millis().to_string();
        let role = format!("read-{}-{partition}", topic.name());
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let config = cluster.config(
            &role,
            &[
                // An event waits for no other: the broker answers as soon as it has a byte.
                ("fetch.min.bytes", "1"),
                ("fetch.wait.max.ms", &idle_fetch),
                // The default waits a second after a fetch that filled the queue, and half a second after an error.
                ("fetch.queue.backoff.ms", "5"),
                ("fetch.error.backoff.ms", "50"),
                ("queued.max.messages.kbytes", "16384"),
                ("queued.min.messages", "100000"),
                ("statistics.interval.ms", "2000"),
                ("check.crcs", "true"),
            ],
            &[
                // Required by the client for an assignment; nobody joins, nothing is committed.
                ("group.id", crate::groups::READERS),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("enable.partition.eof", "true"),
                ("isolation.level", level),
            ],
        )?;
        let context = ReaderContext::new(Voice::new(role.clone()), isolation, partition);
        let consumer = config.create_with_context(context).map_err(|source| ClientError::refused(&role, source))?;
        Ok(Self {
            consumer: Aside::new("a reader's client", consumer),
            progress: None,
            topic,
            partition,
            next: Cell::new(0),
            at_end: Cell::new(false),
            last_timestamp_ms: Cell::new(-1),
        })
    }

    pub(super) fn assign(&self, at: Offset) -> Result<(), ReadError> {
        let mut assignment = TopicPartitionList::with_capacity(1);
        assignment
            .add_partition_offset(self.topic.name(), i32::from(self.partition), at)
            .and_then(|()| self.consumer.assign(&assignment))
            .map_err(|source| self.refused(source))?;
        self.at_end.set(false);
        Ok(())
    }

    /// Takes up to `max_records` records that follow the last ones. Waits at most `max_wait` for the first; once there is one, it
    /// takes what has been fetched already and returns. Empty if none came.
    ///
    /// A broker that is away is waited for like a quiet one (and logged by the client): reading goes on when it is back.
    ///
    /// # Errors
    /// [`ReadError::Lost`] where it may never go on, [`ReadError::OutOfRange`] if the partition does not have the next offset,
    /// [`ReadError::Gap`] if offsets of `raw` jumped.
    /// The position is then where it was before the call: [`LaneReader::seek`] before reading on.
    pub fn fetch(&self, max_records: usize, max_wait: Duration) -> Result<Vec<Record<'_>>, ReadError> {
        let before = self.next.get();
        self.take(max_records, max_wait).inspect_err(|_| self.next.set(before))
    }

    fn take(&self, max_records: usize, max_wait: Duration) -> Result<Vec<Record<'_>>, ReadError> {
        let mut records = Vec::new();
        let deadline = Instant::now() + max_wait;
        while records.len() < max_records {
            let wait =
                if records.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            match self.step(wait)? {
                Step::Record(record) => records.push(record),
                Step::End if !records.is_empty() => break,
                Step::Nothing if !records.is_empty() || Instant::now() >= deadline => break,
                Step::End | Step::Nothing => {}
            }
        }
        if records.is_empty() {
            if self.consumer.context().voice.lost_for().is_some_and(|lost| lost >= LOST) {
                return Err(ReadError::Lost { topic: self.topic, partition: self.partition });
            }
            if self.progress.as_ref().is_some_and(|progress| progress.starves()) {
                return Err(ReadError::Starved { topic: self.topic, partition: self.partition, next: self.next.get() });
            }
        } else if let Some(progress) = &self.progress {
            progress.read(self.next.get(), self.last_timestamp_ms.get());
        }
        Ok(records)
    }

    pub(crate) fn step(&self, wait: Duration) -> Result<Step<'_>, ReadError> {
        match self.consumer.poll(whole_milliseconds(wait)) {
            None => Ok(Step::Nothing),
            Some(Ok(message)) => {
                let (expected, found) = (self.next.get(), message.offset());
                if found < expected || (found > expected && self.topic == Topic::Raw) {
                    let (topic, partition) = (self.topic, self.partition);
                    return Err(ReadError::Gap { topic, partition, expected, found });
                }
                self.next.set(found + 1);
                self.at_end.set(false);
                self.last_timestamp_ms.set(message.timestamp().to_millis().unwrap_or(-1));
                Ok(Step::Record(Record(message)))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.at_end.set(true);
                // The leader has answered. A quiet partition says so only once: it is opened again after an outage.
                self.consumer.context().voice.found();
                if let (Some(progress), Some(covered)) = (&self.progress, self.covered()) {
                    progress.covers(covered);
                }
                Ok(Step::End)
            }
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    let range = positions::range(&self.consumer, self.topic, self.partition, Duration::from_secs(5))?;
                    Err(ReadError::OutOfRange {
                        topic: self.topic,
                        partition: self.partition,
                        requested: self.next.get(),
                        low: range.low,
                        high: range.end,
                    })
                }
                Some(code) if passes(code) => Ok(Step::Nothing),
                _ => Err(self.refused(error)),
            },
        }
    }

    /// One past the last offset that the client has passed: also over markers and aborted records, which it does not show.
    fn covered(&self) -> Option<i64> {
        let position = self.consumer.position().ok()?;
        match position.find_partition(self.topic.name(), i32::from(self.partition))?.offset() {
            Offset::Offset(next) => Some(next.max(self.next.get())),
            _ => None,
        }
    }

    /// Goes to another offset, back as a rule; what was fetched ahead is dropped.
    ///
    /// # Errors
    /// When the client refuses.
    pub fn seek(&mut self, offset: i64) -> Result<(), ReadError> {
        self.assign(Offset::Offset(offset))?;
        self.next.set(offset);
        Ok(())
    }

    /// The offset after the last record that was fetched: what to commit as `next`.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.next.get()
    }

    /// Which topic.
    #[must_use]
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Which partition.
    #[must_use]
    pub fn partition(&self) -> u16 {
        self.partition
    }

    /// Whether the end of the partition was reached and nothing has come since.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at_end.get()
    }

    /// One past the partition's last readable record, as of two seconds ago at most; `None` until the first fetch is answered.
    #[must_use]
    pub fn end(&self) -> Option<i64> {
        let end = self.consumer.context().end();
        (end >= 0).then_some(end)
    }

    /// Asks the broker for one past the partition's last readable record, waiting at most `within`. Blocking.
    ///
    /// # Errors
    /// When the partition's leader does not answer in time: unlike [`LaneReader::fetch`], this tells whether it is there.
    pub fn ask_end(&self, within: Duration) -> Result<i64, PositionError> {
        Ok(positions::range(&self.consumer, self.topic, self.partition, within)?.end)
    }

    /// As [`LaneReader::ask_end`], of another partition: the client of this reader asks.
    ///
    /// # Errors
    /// When that partition's leader does not answer in time.
    pub fn ask_end_of(&self, topic: Topic, partition: u16, within: Duration) -> Result<i64, PositionError> {
        Ok(positions::range(&self.consumer, topic, partition, within)?.end)
    }

    /// How many offsets the reader is behind the end; 0 at the end, `None` until the first fetch is answered.
    #[must_use]
    pub fn lag_records(&self) -> Option<i64> {
        if self.at_end.get() { Some(0) } else { self.end().map(|end| (end - self.next.get()).max(0)) }
    }

    /// How many milliseconds lie between the last record read and `now_ms`; 0 at the end, `None` before the first record.
    #[must_use]
    pub fn lag_ms(&self, now_ms: i64) -> Option<i64> {
        match (self.at_end.get(), self.last_timestamp_ms.get()) {
            (true, _) => Some(0),
            (false, -1) => None,
            (false, last) => Some((now_ms - last).max(0)),
        }
    }

    fn refused(&self, source: KafkaError) -> ReadError {
        ReadError::Refused { topic: self.topic, partition: self.partition, source: Box::new(source) }
    }

    pub(super) fn set_next(&self, next: i64) {
        self.next.set(next);
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<ReaderContext> {
        &self.consumer
    }
}

/// What one poll gave.
pub(crate) enum Step<'a> {
    Record(Record<'a>),
    /// The end of what may be read.
    End,
    Nothing,
}

/// Errors that the client gets over by itself: brokers that are away, elections, a topic that was created a moment ago.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::OffsetNotAvailable
            | Code::UnknownLeaderEpoch
            | Code::FencedLeaderEpoch
            | Code::KafkaStorageError
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
    )
}
