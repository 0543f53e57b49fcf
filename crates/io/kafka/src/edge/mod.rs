//! The producer of the HTTP edge: many requests at once, one answer a request.

mod delivery;
mod gather;
mod probe;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use runtime::disposal::Aside;

use self::delivery::{Admission, Request, Ticket};
use self::gather::{Gather, Ready};
use self::probe::probe;
use crate::cluster::{ClientError, Cluster, Voice};
use crate::lane::pause;
use crate::topics::Topic;

pub use delivery::{Delivery, DeliveryError};

/// Bounds of the edge producer.
#[derive(Debug, Clone)]
pub struct EdgeOptions {
    /// After this long, a record that is not acknowledged has failed.
    pub delivery_timeout: Duration,
    /// How long a record waits for others of its partition when no batch of that partition is under way.
    pub linger: Duration,
    /// Records that may wait for an acknowledgement.
    pub max_records: usize,
    /// Bytes that may wait for an acknowledgement: keys, payloads and headers.
    pub max_bytes: usize,
    /// Where the threads of the producer show signs of life.
    pub beats: runtime::Beats,
}

impl Default for EdgeOptions {
    /// 3.5 s (a hard answer within 4 s), 4 ms, 100,000 records, 128 MiB.
    fn default() -> Self {
        Self {
            delivery_timeout: Duration::from_millis(3500),
            linger: Duration::from_millis(4),
            max_records: 100_000,
            max_bytes: 128 * 1024 * 1024,
            beats: runtime::Beats::default(),
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
    /// A partition does not acknowledge, while others may. Nothing of the request was sent.
    #[error("partition {partition} of {} does not acknowledge; nothing of the request was sent", Topic::Raw.name())]
    Silent {
        /// The partition.
        partition: u16,
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

struct EdgeContext {
    voice: Voice,
    /// Which of the clients that follow each other this is.
    number: u64,
    health: Arc<Health>,
    gather: Arc<Gather>,
}

/// Whether brokers answer.
#[derive(Default)]
struct Health {
    up: AtomicBool,
    delivered: AtomicU64,
    /// The client that sends now. What an earlier one says, of brokers that it lost, is no news.
    current: AtomicU64,
    /// Records were not acknowledged in time by a client that has lost sight of a leader.
    late_without_leader: AtomicBool,
    /// No answer has come for long: another client may get one.
    unanswered: AtomicBool,
}

impl ClientContext for EdgeContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let is_current = self.number == self.health.current.load(Ordering::Relaxed);
        if is_current && error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.health.up.store(false, Ordering::Relaxed);
        }
        self.voice.error(&error, reason);
    }
}

impl ProducerContext for EdgeContext {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let next_can_go = match report {
            Ok(message) => {
                self.health.delivered.fetch_add(1, Ordering::Relaxed);
                ticket.delivered(message.offset())
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let is_current = self.number == self.health.current.load(Ordering::Relaxed);
                if is_current && code == RDKafkaErrorCode::MessageTimedOut && self.voice.lost_for().is_some() {
                    self.health.late_without_leader.store(true, Ordering::Relaxed);
                }
                ticket.failed(code)
            }
        };
        if next_can_go {
            self.gather.wake();
        }
    }
}

/// The largest record that is taken, in bytes; the client's own limit of 2,000,000 counts its framing as well.
const MAX_RECORD: usize = 1_900_000;
/// How long reports are waited for at once. The client waits whole milliseconds and asks without a pause for the rest:
/// the rest is a little more than nothing, not a little less than one.
const REPORTS_WITHIN: Duration = Duration::from_micros(100_050);
/// How often the brokers are asked while nothing is delivered.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Ended on a thread of its own, whichever thread uses it last: its end can wait for an answer that never comes.
type Client = Aside<BaseProducer<EdgeContext>>;

struct Shared {
    cluster: Cluster,
    options: EdgeOptions,
    client: RwLock<Arc<Client>>,
    admission: Arc<Admission>,
    gather: Arc<Gather>,
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
/// Idempotent, `acks=all`, in order within a partition. Three threads belong to it: one hands gathered records to the
/// client, one takes delivery reports, one asks the brokers once a second while nothing is delivered. It finds the
/// brokers again by itself.
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
        let gather = Arc::new(Gather::default());
        let client = connect(cluster, &options, &health, &gather, 0)?;
        let admission = Admission::new(options.max_records, options.max_bytes);
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            options,
            client: RwLock::new(Arc::new(client)),
            admission,
            gather,
            health,
            stop: AtomicBool::new(false),
        });
        let mut this = Self { shared, threads: Vec::with_capacity(3) };
        let runs = [("edge-send", hand_over as fn(&Shared)), ("edge-reports", take_reports), ("edge-probe", probe)];
        for (name, run) in runs {
            let shared = Arc::clone(&this.shared);
            let thread = std::thread::Builder::new().name(name.into()).spawn(move || run(&shared));
            this.threads.push(thread?);
        }
        Ok(this)
    }

    /// Takes the records of one request, all or none, in order. Never waits.
    ///
    /// # Errors
    /// At once, when the queue is full, no broker is reachable, or a partition of the request does not acknowledge.
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
        let request = Request::new(records.iter().map(|record| record.partition), admission);
        if let Err(partition) = self.shared.gather.push(&request, records) {
            admission.leave(records.len(), bytes);
            return Err(EdgeError::Silent { partition });
        }
        Ok(Delivery::of(request))
    }

    /// Whether brokers are reachable and `raw` has a leader: for readiness. Recovers by itself.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.health.up.load(Ordering::Relaxed)
    }

    /// The partitions that do not acknowledge now: requests for them are refused until one gets through.
    #[must_use]
    pub fn silent(&self) -> Vec<u16> {
        self.shared.gather.silent(Instant::now())
    }

    /// Records and bytes that wait for acknowledgement.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.shared.admission.waiting()
    }

    /// On stop: waits until nothing is waiting for acknowledgement, at most `timeout`. Returns how many records are
    /// left.
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
    /// Ends the threads, which takes up to 100 ms, or 2 s while no broker answers; what is still waiting has failed.
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

fn connect(
    cluster: &Cluster,
    options: &EdgeOptions,
    health: &Arc<Health>,
    gather: &Arc<Gather>,
    number: u64,
) -> Result<Client, ClientError> {
    let role = "edge";
    let timeout = options.delivery_timeout.as_millis().to_string();
    let request_timeout = (options.delivery_timeout.as_millis() * 4 / 7).max(100).to_string();
    // The bound is `Admission`; the client's own queue is a little larger, so that it never refuses in the middle of a
    // request.
    let max_messages = (options.max_records * 2).clamp(1000, 10_000_000).to_string();
    let max_kbytes = (options.max_bytes / 1024 * 2).clamp(16 * 1024, 2_000_000).to_string();
    cluster
        .config(
            role,
            &[
                // Records have gathered before: this is the time in which a batch is handed over.
                ("linger.ms", "1"),
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
                // Less than a record's time: what a broker that stands still has not answered goes to the next leader.
                ("request.timeout.ms", &request_timeout),
            ],
        )?
        .create_with_context(EdgeContext {
            voice: Voice::new(role),
            number,
            health: Arc::clone(health),
            gather: Arc::clone(gather),
        })
        .map(|client| Aside::new("an edge producer", client))
        .map_err(|source| ClientError::refused(role, source))
}

/// Hands gathered records to the client as soon as it can send them.
fn hand_over(shared: &Shared) {
    let Shared { gather, options, .. } = shared;
    gather.run_by(std::thread::current());
    let beat = options.beats.register("edge", "edge-send");
    while !shared.stop.load(Ordering::Relaxed) {
        beat.tick();
        let now = Instant::now();
        let (batches, next) = gather.due(now, options.linger);
        let client = (!batches.is_empty()).then(|| shared.client());
        for mut batch in batches {
            batch.hand_over(|record| {
                let too_late = now.saturating_duration_since(record.since) >= options.delivery_timeout;
                match &client {
                    // Its request has been answered. What is sent now would only be another copy of what comes again.
                    Some(client) if !too_late => send(client, record),
                    _ => {
                        record.ticket.failed(RDKafkaErrorCode::MessageTimedOut);
                    }
                }
            });
            gather.give_back(batch);
        }
        if client.is_none() {
            let idle = next.map_or(PROBE_EVERY, |next| next.saturating_duration_since(Instant::now()));
            std::thread::park_timeout(idle);
        }
    }
    for mut batch in gather.rest() {
        batch.hand_over(|record| {
            record.ticket.failed(RDKafkaErrorCode::PurgeQueue);
        });
    }
}

fn send(client: &Client, record: Ready<'_>) {
    let mut sent = BaseRecord::with_opaque_to(record.topic.name(), record.ticket)
        .partition(i32::from(record.partition))
        .key(record.key)
        .payload(record.payload);
    sent.headers = record.headers;
    if let Err((error, refused)) = client.send(sent) {
        refused.delivery_opaque.failed(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
    }
}

/// Takes delivery reports as they come, and replaces a client that has ended itself, has lost a partition, or gets no
/// answer.
fn take_reports(shared: &Shared) {
    let health = &shared.health;
    let beat = shared.options.beats.register("edge", "edge-reports");
    while !shared.stop.load(Ordering::Relaxed) {
        beat.tick();
        let client = shared.client();
        client.poll(REPORTS_WITHIN);
        if let Some((code, reason)) = client.client().fatal_error() {
            tracing::error!(?code, reason, "the edge producer has ended itself; starting another");
            replace(shared, &client);
        } else if health.late_without_leader.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "records are not acknowledged since a partition was without a leader for a moment; starting another edge producer"
            );
            replace(shared, &client);
        } else if health.unanswered.swap(false, Ordering::Relaxed) {
            tracing::warn!("no broker answers the edge producer; starting another, in case it has lost its way");
            replace(shared, &client);
        }
    }
}

fn replace(shared: &Shared, old: &Client) {
    let Shared { cluster, options, health, gather, .. } = shared;
    // `up` stays as it is: a partition without a leader does not keep the others from being taken.
    let number = health.current.load(Ordering::Relaxed) + 1;
    match connect(cluster, options, health, gather, number) {
        Ok(new) => {
            health.current.store(number, Ordering::Relaxed);
            *shared.client.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            // What the old one still holds is reported as failed, here or when it ends. Nothing waits for that: neither
            // this thread for its broker threads, nor a partition for its reports.
            old.purge(PurgeConfig::default().queue().inflight().non_blocking());
            old.poll(Duration::from_millis(100));
            gather.forget_under_way();
            health.late_without_leader.store(false, Ordering::Relaxed);
        }
        Err(error) => {
            tracing::error!(%error, "no new edge producer");
            pause("another try to start the edge producer", PROBE_EVERY);
        }
    }
}
