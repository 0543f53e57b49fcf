//! The producer of the HTTP edge: many requests at once, one answer a request.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;

use crate::cluster::{ClientError, Cluster, Voice};
use crate::lane::pause;
use crate::topics::Topic;

/// Bounds of the edge producer.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// After this long, a record that is not acknowledged has failed.
    pub delivery_timeout: Duration,
    /// How long the client waits to fill a batch.
    pub linger: Duration,
    /// Records that may wait for an acknowledgement.
    pub max_records: usize,
    /// Bytes that may wait for an acknowledgement: keys, payloads and headers.
    pub max_bytes: usize,
}

impl Default for EdgeOptions {
    /// 3.5 s (a hard answer within 4 s), 5 ms, 100,000 records, 128 MiB.
    fn default() -> Self {
        Self {
            delivery_timeout: Duration::from_millis(3500),
            linger: Duration::from_millis(5),
            max_records: 100_000,
            max_bytes: 128 * 1024 * 1024,
        }
    }
}

/// A record of a request; everything is borrowed, the client copies it.
#[derive(Debug)]
pub struct EdgeRecord<'a, N = std::borrow::Cow<'static, str>, V = Vec<u8>> {
    /// The target topic.
    pub topic: Topic,
    /// The target partition.
    pub partition: u16,
    /// The event key.
    pub key: &'a [u8],
    /// The bytes as received.
    pub payload: &'a [u8],
    /// Names and values.
    pub headers: &'a [(N, V)],
}

// By hand: a derive would ask that names and values are `Copy`, though they are borrowed.
impl<N, V> Copy for EdgeRecord<'_, N, V> {}
impl<N, V> Clone for EdgeRecord<'_, N, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> EdgeRecord<'_, N, V> {
    fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len()).sum();
        self.key.len() + self.payload.len() + headers
    }
}

/// Why a request was not taken. Answer it at once: send again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// Too much waits for acknowledgement. Nothing of the request was sent.
    #[error("the queue to Kafka is full ({records} records, {bytes} bytes wait); nothing of the request was sent")]
    QueueFull {
        /// Records that wait.
        records: usize,
        /// Bytes that wait.
        bytes: usize,
    },
    /// No broker is reachable. Nothing of the request was sent.
    #[error("Kafka is not reachable; nothing of the request was sent")]
    Down,
    /// The client refused a record in the middle of the request. Those before it may be stored, or not: the outcome is unknown, and
    /// sending the whole request again is harmless.
    #[error("the client refused record {at} of {of}: {reason}; the records before it may be stored")]
    Unknown {
        /// The place of the refused record, from 0.
        at: usize,
        /// The number of records of the request.
        of: usize,
        /// The client's words.
        reason: String,
    },
    /// A record is larger than Kafka takes (2,000,000 bytes with its headers). Nothing of the request was sent.
    #[error("record {at} of the request has {bytes} bytes, more than Kafka takes; nothing of the request was sent")]
    TooLarge {
        /// The place of the record, from 0.
        at: usize,
        /// Its size.
        bytes: usize,
    },
}

/// Why a record is not known to be stored. It may be, or not: sending again is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No acknowledgement before the deadline.
    #[error("not acknowledged before the deadline")]
    Late,
    /// The brokers refused it, or the client gave up.
    #[error("not acknowledged: {0}")]
    Failed(RDKafkaErrorCode),
}

impl DeliveryError {
    /// A short label for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            DeliveryError::Late | DeliveryError::Failed(RDKafkaErrorCode::MessageTimedOut) => "late",
            DeliveryError::Failed(_) => "failed",
        }
    }
}

/// A slot whose record has not been reported.
const PENDING: i64 = i64::MIN;
/// Errors are kept below zero, offsets are not: code `c` as `c - CODES`. librdkafka's codes lie between −200 and 130.
const CODES: i64 = 1 << 20;

/// What all records of one request share: one countdown, one slot a record.
struct Request {
    slots: Box<[AtomicI64]>,
    partitions: Box<[u16]>,
    left: AtomicUsize,
    done: Notify,
    admission: Arc<Admission>,
}

/// The place of one record in its request: what the client carries for it.
struct Ticket {
    request: Arc<Request>,
    place: u32,
    bytes: u32,
}

impl Ticket {
    fn settle(&self, value: i64) {
        let request = &self.request;
        request.admission.leave(1, self.bytes as usize);
        request.slots[self.place as usize].store(value, Ordering::Release);
        if request.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            request.done.notify_one();
        }
    }
}

/// What waits for acknowledgement. The bound is kept here and not by the client's queue, so that a request is taken whole or not
/// at all.
struct Admission {
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
}

impl Admission {
    fn enter(&self, records: usize, bytes: usize) -> Result<(), EdgeError> {
        let before_records = self.records.fetch_add(records, Ordering::Relaxed);
        let before_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // A request that alone is larger than the bound is taken when nothing else waits.
        let fits = before_records + records <= self.max_records && before_bytes + bytes <= self.max_bytes;
        if fits || before_records == 0 {
            return Ok(());
        }
        self.leave(records, bytes);
        Err(EdgeError::QueueFull { records: before_records, bytes: before_bytes })
    }

    fn leave(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

struct EdgeContext {
    voice: Voice,
    health: Arc<Health>,
}

/// Whether brokers answer.
#[derive(Default)]
struct Health {
    up: AtomicBool,
    delivered: AtomicU64,
}

impl ClientContext for EdgeContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.health.up.store(false, Ordering::Relaxed);
        }
        self.voice.error(&error, reason);
    }
}

impl ProducerContext for EdgeContext {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match report {
            Ok(message) => {
                self.health.delivered.fetch_add(1, Ordering::Relaxed);
                ticket.settle(message.offset());
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                ticket.settle(code as i64 - CODES);
            }
        }
    }
}

/// The records of one request on their way.
#[must_use = "a request is answered after its delivery"]
pub struct Delivery {
    request: Arc<Request>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("left", &self.request.left.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

impl Delivery {
    /// Waits until every record is reported, at most until `deadline`; what is left then is [`DeliveryError::Late`].
    ///
    /// The results stand in the order of the records: partition and offset, or why it is not known to be stored.
    pub async fn wait(self, deadline: Instant) -> Vec<Result<(u16, i64), DeliveryError>> {
        let all = async {
            while self.request.left.load(Ordering::Acquire) > 0 {
                self.request.done.notified().await;
            }
        };
        // Elapsed or not, the slots tell.
        let _ = tokio::time::timeout_at(deadline.into(), all).await;
        let slots = self.request.slots.iter().zip(&self.request.partitions);
        slots.map(|(slot, partition)| read_slot(slot.load(Ordering::Acquire), *partition)).collect()
    }
}

fn read_slot(value: i64, partition: u16) -> Result<(u16, i64), DeliveryError> {
    match value {
        PENDING => Err(DeliveryError::Late),
        offset if offset >= 0 => Ok((partition, offset)),
        code => {
            let code = i32::try_from(code + CODES).ok().and_then(|code| RDKafkaRespErr::try_from(code).ok());
            Err(DeliveryError::Failed(code.map_or(RDKafkaErrorCode::Unknown, RDKafkaErrorCode::from)))
        }
    }
}

/// The largest record that is taken, in bytes; the client's own limit of 2,000,000 counts its framing as well.
const MAX_RECORD: usize = 1_900_000;
/// How often the brokers are asked while nothing is delivered.
const PROBE_EVERY: Duration = Duration::from_secs(1);

type Client = BaseProducer<EdgeContext>;

struct Shared {
    cluster: Cluster,
    options: EdgeOptions,
    client: RwLock<Arc<Client>>,
    admission: Arc<Admission>,
    health: Arc<Health>,
    stop: AtomicBool,
}

impl Shared {
    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes the records of requests and tells when the in-sync replicas have them.
///
/// Idempotent, `acks=all`, in order within a partition. Two threads belong to it: one takes delivery reports, one asks the brokers
/// once a second while nothing is delivered. It finds the brokers again by itself.
pub struct EdgeProducer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for EdgeProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeProducer").field("up", &self.is_up()).finish_non_exhaustive()
    }
}

impl EdgeProducer {
    /// Starts the producer. No broker is waited for: it takes records once [`EdgeProducer::is_up`].
    ///
    /// # Errors
    /// When the client's settings are refused, or a thread cannot be started.
    pub fn open(cluster: &Cluster, options: EdgeOptions) -> Result<Self, EdgeOpenError> {
        let health = Arc::new(Health::default());
        let client = connect(cluster, &options, &health)?;
        let admission = Arc::new(Admission {
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_records: options.max_records,
            max_bytes: options.max_bytes,
        });
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            options,
            client: RwLock::new(Arc::new(client)),
            admission,
            health,
            stop: AtomicBool::new(false),
        });
        let mut this = Self { shared, threads: Vec::with_capacity(2) };
        for (name, run) in [("edge-reports", take_reports as fn(&Shared)), ("edge-probe", probe)] {
            let shared = Arc::clone(&this.shared);
            let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&shared));
            this.threads.push(thread?);
        }
        Ok(this)
    }

    /// Takes the records of one request, all or none, in order. Never waits.
    ///
    /// # Errors
    /// At once, when the queue is full or no broker is reachable.
    pub fn send<N: AsRef<str>, V: AsRef<[u8]>>(&self, records: &[EdgeRecord<'_, N, V>]) -> Result<Delivery, EdgeError> {
        if !self.is_up() {
            return Err(EdgeError::Down);
        }
        let mut bytes = 0;
        for (at, record) in records.iter().enumerate() {
            let size = record.bytes();
            if size > MAX_RECORD {
                return Err(EdgeError::TooLarge { at, bytes: size });
            }
            bytes += size;
        }
        let admission = &self.shared.admission;
        admission.enter(records.len(), bytes)?;
        let request = Arc::new(Request {
            slots: records.iter().map(|_| AtomicI64::new(PENDING)).collect(),
            partitions: records.iter().map(|record| record.partition).collect(),
            left: AtomicUsize::new(records.len()),
            done: Notify::new(),
            admission: Arc::clone(admission),
        });
        let client = self.shared.client();
        for (at, record) in records.iter().enumerate() {
            let ticket = Ticket { request: Arc::clone(&request), place: at as u32, bytes: record.bytes() as u32 };
            let mut sent = BaseRecord::with_opaque_to(record.topic.name(), Box::new(ticket))
                .partition(i32::from(record.partition))
                .key(record.key)
                .payload(record.payload);
            sent.headers = crate::lane::owned_headers(record.headers);
            if let Err((error, _)) = client.send(sent) {
                // The tickets of those before it stay with the client.
                let unsent = &records[at..];
                admission.leave(unsent.len(), unsent.iter().map(EdgeRecord::bytes).sum());
                return Err(EdgeError::Unknown { at, of: records.len(), reason: error.to_string() });
            }
        }
        Ok(Delivery { request })
    }

    /// Whether brokers are reachable and `raw` has a leader: for readiness. Recovers by itself.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.health.up.load(Ordering::Relaxed)
    }

    /// Records and bytes that wait for acknowledgement.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let admission = &self.shared.admission;
        (admission.records.load(Ordering::Relaxed), admission.bytes.load(Ordering::Relaxed))
    }

    /// On stop: waits until nothing is waiting for acknowledgement, at most `timeout`. Returns how many records are left.
    pub async fn flush(&self, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        loop {
            let (left, _) = self.waiting();
            if left == 0 || Instant::now() >= deadline {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for EdgeProducer {
    /// Ends the two threads, which takes up to 100 ms, or 2 s while no broker answers; what is still waiting has failed.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a thread of the edge producer had panicked");
            }
        }
    }
}

/// The edge producer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EdgeOpenError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No thread.
    #[error("a thread of the edge producer could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

fn connect(cluster: &Cluster, options: &EdgeOptions, health: &Arc<Health>) -> Result<Client, ClientError> {
    let role = "edge";
    let linger = options.linger.as_millis().to_string();
    let timeout = options.delivery_timeout.as_millis().to_string();
    // The bound is `Admission`; the client's own queue is a little larger, so that it never refuses in the middle of a request.
    let max_messages = (options.max_records * 2).clamp(1000, 10_000_000).to_string();
    let max_kbytes = (options.max_bytes / 1024 * 2).clamp(16 * 1024, 2_000_000).to_string();
    cluster
        .config(
            role,
            &[
                ("linger.ms", &linger),
                ("batch.size", "1000000"),
                ("batch.num.messages", "100000"),
                ("message.max.bytes", "2000000"),
                ("compression.type", "lz4"),
                ("retry.backoff.ms", "50"),
                ("retry.backoff.max.ms", "500"),
                ("queue.buffering.max.messages", &max_messages),
                ("queue.buffering.max.kbytes", &max_kbytes),
            ],
            &[
                ("acks", "all"),
                ("enable.idempotence", "true"),
                ("message.timeout.ms", &timeout),
                ("request.timeout.ms", &timeout),
            ],
        )?
        .create_with_context(EdgeContext { voice: Voice::new(role), health: Arc::clone(health) })
        .map_err(|source| ClientError::Refused { role: role.into(), source })
}

/// Takes delivery reports as they come, and replaces a client that has ended itself.
fn take_reports(shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        let client = shared.client();
        client.poll(Duration::from_millis(100));
        if let Some((code, reason)) = client.client().fatal_error() {
            tracing::error!(?code, reason, "the edge producer has ended itself; starting another");
            shared.health.up.store(false, Ordering::Relaxed);
            match connect(&shared.cluster, &shared.options, &shared.health) {
                Ok(new) => {
                    *shared.client.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                    // What the old one still holds is reported as failed, here or when its last user drops it.
                    client.purge(PurgeConfig::default().queue().inflight());
                    client.poll(Duration::from_millis(100));
                }
                Err(error) => {
                    tracing::error!(%error, "no new edge producer");
                    pause("another try to start the edge producer", PROBE_EVERY);
                }
            }
        }
    }
}

/// Keeps [`Health::up`].
fn probe(shared: &Shared) {
    let mut seen = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let health = &shared.health;
        let delivered = health.delivered.load(Ordering::Relaxed);
        let flowing = health.up.load(Ordering::Relaxed) && delivered != seen;
        seen = delivered;
        if !flowing {
            let client = shared.client();
            let answer = client.client().fetch_metadata(Some(Topic::Raw.name()), Duration::from_secs(2));
            let up = answer.is_ok_and(|metadata| {
                metadata.topics().iter().flat_map(|topic| topic.partitions()).any(|partition| partition.leader() >= 0)
            });
            if health.up.swap(up, Ordering::Relaxed) != up {
                tracing::info!(up, "the edge's way to Kafka");
            }
        }
        std::thread::park_timeout(if health.up.load(Ordering::Relaxed) { PROBE_EVERY } else { PROBE_EVERY / 4 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_records: usize, max_bytes: usize) -> Arc<Admission> {
        Arc::new(Admission { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_records, max_bytes })
    }

    #[test]
    fn a_request_is_admitted_whole_or_not_at_all() {
        let admission = admission(10, 1000);
        assert_eq!(admission.enter(8, 100), Ok(()));
        assert_eq!(admission.enter(3, 1), Err(EdgeError::QueueFull { records: 8, bytes: 100 }));
        assert_eq!(admission.enter(2, 900), Ok(()));
        admission.leave(8, 100);
        assert_eq!(admission.enter(1, 101), Err(EdgeError::QueueFull { records: 2, bytes: 900 }));
    }

    #[test]
    fn a_request_above_the_bound_is_admitted_alone() {
        let admission = admission(10, 1000);
        assert_eq!(admission.enter(50, 5000), Ok(()));
        assert!(admission.enter(1, 1).is_err());
    }

    #[tokio::test]
    async fn what_is_not_reported_before_the_deadline_is_late_and_the_rest_is_told() {
        let request = Arc::new(Request {
            slots: (0..3).map(|_| AtomicI64::new(PENDING)).collect(),
            partitions: Box::new([4, 5, 6]),
            left: AtomicUsize::new(3),
            done: Notify::new(),
            admission: admission(10, 1000),
        });
        request.admission.enter(3, 30).unwrap();
        let ticket = |place| Ticket { request: Arc::clone(&request), place, bytes: 10 };
        ticket(0).settle(77);
        ticket(2).settle(RDKafkaErrorCode::MessageTimedOut as i64 - CODES);
        let results = Delivery { request: Arc::clone(&request) }.wait(Instant::now() + Duration::from_millis(20)).await;
        let timed_out = DeliveryError::Failed(RDKafkaErrorCode::MessageTimedOut);
        assert_eq!(results, [Ok((4, 77)), Err(DeliveryError::Late), Err(timed_out)]);
        assert_eq!(request.admission.records.load(Ordering::Relaxed), 1);
    }
}
