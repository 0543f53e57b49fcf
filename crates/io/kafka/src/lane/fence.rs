//! Taking a lane: whoever opens a transactional id last owns it, in every partition that it writes to.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};
use runtime::clock::Moment;

use super::bounded::BoundedClient;
use super::error::{TxnError, classify};
use super::pause;
use super::producer::LaneProducer;
use super::proof::Proof;
use super::reports::LaneContext;
use crate::cluster::{ANSWERED_WITHIN, ClientError, Cluster};
use crate::topics::Topic;

/// Takes lanes.
#[derive(Debug)]
pub struct Fence;

/// Where the owner of a transactional id writes: its fence is put into all of it.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    pub(super) partitions: Vec<(Topic, u16)>,
    pub(super) group: Option<String>,
}

impl Writes {
    /// Nothing: an id that is only a claim, held by [`LaneProducer::prove`].
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Records, to these partitions.
    pub fn records(partitions: impl IntoIterator<Item = (Topic, u16)>) -> Self {
        Self { partitions: partitions.into_iter().collect(), group: None }
    }

    /// Positions, to this group.
    #[must_use]
    pub fn positions(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }
}

/// How often a broker that is not ready is asked again before the lane gives up.
const ATTEMPTS: u32 = 6;

impl Fence {
    /// Takes `lane` of `stage`, which writes to `writes`: the id is `hookline-<stage>-<lane>`.
    ///
    /// On return, the predecessor is fenced: what it left open is aborted, and nothing that it sends will be committed, not even by
    /// our own transactions (`LaneProducer::seal`). Only now read the lane's position and state. `txn_timeout` is how long a transaction may stay open before the broker aborts it
    /// (10 s suits; measured on the local broker: 0.6 to 1.1 s to take a fence).
    ///
    /// # Errors
    /// [`TxnError::Fatal`] when no broker takes the id in time, or the client's settings are refused.
    pub fn open(
        cluster: &Cluster,
        stage: &str,
        lane: u16,
        txn_timeout: Duration,
        writes: Writes,
    ) -> Result<LaneProducer, TxnError> {
        Self::open_id(cluster, &format!("hookline-{stage}-{lane}"), txn_timeout, writes)
    }

    /// Takes a transactional id by its whole name, for what is not a lane.
    ///
    /// # Errors
    /// As [`Fence::open`].
    pub fn open_id(
        cluster: &Cluster,
        id: &str,
        txn_timeout: Duration,
        writes: Writes,
    ) -> Result<LaneProducer, TxnError> {
        let begun = Moment::now();
        let timeout_ms = txn_timeout.as_millis().to_string();
        // A transaction must have time left when a broker is given up: what that one led is written to the next leader.
        let answered_within = ANSWERED_WITHIN.min(txn_timeout.saturating_sub(Duration::from_millis(100)));
        let answered_within = answered_within.as_millis().max(100).to_string();
        let config = cluster
            .config(
                id,
                &[
                    // The wait after a commit's markers, and the step in which a busy coordinator is asked again: 100 ms and
                    // more by default, 200 of the 210 ms of an untuned transaction.
                    ("retry.backoff.ms", "5"),
                    ("retry.backoff.max.ms", "20"),
                    ("compression.type", "lz4"),
                    ("linger.ms", "5"),
                    ("batch.size", "1000000"),
                    ("message.max.bytes", "2000000"),
                    ("queue.buffering.max.messages", "1000000"),
                    ("queue.buffering.max.kbytes", "262144"),
                    ("socket.timeout.ms", &answered_within),
                ],
                &[
                    ("transactional.id", id),
                    ("transaction.timeout.ms", &timeout_ms),
                    ("enable.idempotence", "true"),
                    ("acks", "all"),
                ],
            )
            .map_err(|error| no_client(id, error))?;
        let producer: BaseProducer<LaneContext> = config
            .create_with_context(LaneContext::new(id))
            .map_err(|source| no_client(id, ClientError::refused(id, source)))?;
        let producer = BoundedClient::new(id, producer).map_err(|error| {
            let reason = format!("the system gives no thread: {error}");
            TxnError::Fatal { id: id.into(), doing: "make the producer", reason }
        })?;
        init(&producer, id, txn_timeout)?;
        let mut producer =
            LaneProducer::new(cluster.clone(), id.to_owned(), producer, txn_timeout, writes, Proof::since(begun));
        producer.seal()?;
        Ok(producer)
    }
}

fn no_client(id: &str, error: ClientError) -> TxnError {
    TxnError::Fatal { id: id.into(), doing: "make the producer", reason: error.to_string() }
}

fn init(producer: &BoundedClient, id: &str, txn_timeout: Duration) -> Result<(), TxnError> {
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        // The call waits for the coordinator itself; the predecessor's open transaction is aborted inside it.
        let answer = producer.call(txn_timeout, move |producer| producer.init_transactions(txn_timeout));
        match answer.ok_or_else(|| TxnError::hung(id, "take the fence", txn_timeout))? {
            Ok(()) => {
                tracing::debug!(id, attempt, took = ?started.elapsed(), "fence taken");
                return Ok(());
            }
            Err(KafkaError::Transaction(error)) if error.is_retriable() && attempt < ATTEMPTS => {
                tracing::warn!(id, attempt, %error, "the fence is not taken yet; trying again");
                producer.poll(Duration::ZERO);
                pause("the transaction coordinator", Duration::from_millis(200));
            }
            Err(error) => return Err(classify(producer, id, "take the fence", &error).unless_abortable()),
        }
    }
}
