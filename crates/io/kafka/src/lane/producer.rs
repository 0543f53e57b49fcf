//! The transactional producer of a lane.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::clock::{Moment, now_ms};
use runtime::disposal::Aside;

use super::bounded::{ASKED_FOR, BoundedClient};
use super::error::{TxnError, classify};
use super::fence::Writes;
use super::reports::{LaneContext, Reports, Written};
use super::waiting::{Ready, Waiting};
use super::{End, Proof, pause};
use crate::cluster::{Cluster, Quiet, Voice};
use crate::topics::Topic;

/// For records without headers.
pub const NO_HEADERS: &[(&str, &[u8])] = &[];

/// A position to commit: the records of `partition` before `next` are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The input topic.
    pub topic: Topic,
    /// The input partition.
    pub partition: u16,
    /// The offset of the next record to read.
    pub next: i64,
    /// Kept beside the position and read back with it, such as the end of `seen`. At most 4 KiB (the broker's default).
    pub metadata: String,
}

/// The producer of one lane, alone under its transactional id.
///
/// It opens one transaction at a time. Everything that [`TxnError`] does not call otherwise leaves it usable.
pub struct LaneProducer {
    cluster: Cluster,
    id: String,
    producer: BoundedClient,
    txn_timeout: Duration,
    /// When the open transaction began, by the wall clock, as the broker counts: a machine's sleep counts too.
    opened_ms: Option<i64>,
    groups: Vec<(String, Arc<ConsumerGroupMetadata>)>,
    writes: Writes,
    /// Records of the open transaction that the client does not have yet.
    waiting: RefCell<Waiting>,
    /// The last proof that the lane is ours.
    proof: Proof,
}

impl std::fmt::Debug for LaneProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneProducer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl LaneProducer {
    pub(super) fn new(
        cluster: Cluster,
        id: String,
        producer: BoundedClient,
        txn_timeout: Duration,
        writes: Writes,
        proof: Proof,
    ) -> Self {
        let waiting = RefCell::default();
        Self { cluster, id, producer, txn_timeout, opened_ms: None, groups: Vec::new(), writes, waiting, proof }
    }

    /// The transactional id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The last proof that no one else has the id: by its fence, by [`Self::prove`], or by a commit of positions.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// Opens a transaction. No broker is asked.
    ///
    /// # Errors
    /// When the producer is fenced or broken, or a transaction is open already.
    pub fn begin(&mut self) -> Result<(), TxnError> {
        *self.producer.context().reports() = Reports::default();
        self.waiting.get_mut().clear();
        self.opened_ms = None;
        self.producer.begin_transaction().map_err(|error| self.classify("begin", &error).unless_abortable())?;
        self.opened_ms = Some(now_ms());
        Ok(())
    }

    /// Puts the fence into every partition that the id writes to, that of its positions among them: a transaction that is aborted.
    /// The first thing that an owner does; nothing of the lane is read before.
    ///
    /// The fence alone is known to the transaction coordinator only. A record of the predecessor that was under way when its
    /// transaction ended (a broker that stood still under load reads it from its socket later) can be appended after that end, and then
    /// belongs to the *next* transaction of the id: our commit would commit it (Kafka's KIP-890 calls such transactions hanging; seen on
    /// Kafka 4.3.1, which doubled rows). The abort ends what is open so, and with our epoch in the partition nothing older is taken any more.
    pub(super) fn seal(&mut self) -> Result<(), TxnError> {
        let Writes { partitions, group } = self.writes.clone();
        if partitions.is_empty() && group.is_none() {
            return Ok(());
        }
        self.begin()?;
        for (topic, partition) in partitions {
            // With a key, since a compacted topic takes nothing without one.
            self.send(topic, partition, Some(b"fence"), None, NO_HEADERS)?;
        }
        self.flush()?;
        if let Some(group) = group {
            // Of a partition that no group has a position on.
            let position = Position { topic: Topic::Control, partition: 0, next: 0, metadata: String::new() };
            self.send_positions(&group, &[position])?;
        }
        self.abort()
    }

    /// Takes a copy of a record into the transaction. It is written by the time [`LaneProducer::flush`] has returned;
    /// before that, the client gets it in a batch (`lane/waiting.rs`).
    ///
    /// Where much waits, the client is waited for, at most half of the transaction's timeout.
    ///
    /// # Errors
    /// [`TxnError::TooLarge`] leaves the transaction as it was; any other error does not, and may be about a record
    /// that was sent before.
    pub fn send<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        topic: Topic,
        partition: u16,
        key: Option<&[u8]>,
        payload: Option<&[u8]>,
        headers: &[(N, V)],
    ) -> Result<(), TxnError> {
        let record = Ready { topic, partition, key, payload, headers: owned_headers(headers) };
        let mut waiting = self.waiting.borrow_mut();
        if record.is_large() {
            // It may be more than the client takes, which has to be said now.
            while !waiting.is_empty() {
                waiting.hand_over(|before| self.produce(before))?;
            }
            return self.produce(record);
        }
        waiting.push(record);
        if waiting.comes_due() && self.has_nothing() {
            waiting.hand_over(|next| self.produce(next))?;
        }
        if waiting.has_room() { Ok(()) } else { self.make_room(&mut waiting) }
    }

    /// Waits until the client has taken enough for more to be added.
    fn make_room(&self, waiting: &mut Waiting) -> Result<(), TxnError> {
        let give_up = Instant::now() + self.txn_timeout / 2;
        while !waiting.has_room() {
            let nothing = self.has_nothing();
            if let Some(first) = &self.producer.context().reports().first_failure {
                return Err(self.classify("deliver all records", first));
            }
            if nothing {
                waiting.hand_over(|next| self.produce(next))?;
            } else if Instant::now() >= give_up {
                return Err(self.full());
            } else {
                pause("room in the queue to the broker", Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Whether the client has no record that is not reported.
    fn has_nothing(&self) -> bool {
        self.producer.poll(Duration::ZERO);
        self.producer.in_flight_count() == 0
    }

    fn full(&self) -> TxnError {
        let reason = "the queue to the broker stayed full".into();
        TxnError::Abortable { id: self.id.clone(), doing: "send", reason }
    }

    /// Hands a record to the client, which copies it. A full queue is waited for, at most half of the transaction's
    /// timeout.
    fn produce(&self, ready: Ready<'_>) -> Result<(), TxnError> {
        let bytes = ready.bytes();
        let mut record =
            BaseRecord::with_opaque_to(ready.topic.name(), ready.topic as usize).partition(i32::from(ready.partition));
        record.key = ready.key;
        record.payload = ready.payload;
        record.headers = ready.headers;
        let mut give_up = None;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    let now = Instant::now();
                    if now >= *give_up.get_or_insert(now + self.txn_timeout / 2) {
                        return Err(self.full());
                    }
                    self.producer.poll(Duration::ZERO);
                    pause("room in the queue to the broker", Duration::from_millis(1));
                    record = same;
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                    let Ready { topic, partition, .. } = ready;
                    return Err(TxnError::TooLarge { topic, partition, bytes });
                }
                Err((error, _)) => return Err(self.classify("send", &error)),
            }
        }
    }

    /// Waits until everything sent is written, and tells the last offset of each partition of this transaction.
    ///
    /// # Errors
    /// When a record was not delivered, in time or at all: the transaction cannot commit.
    pub fn flush(&mut self) -> Result<Written, TxnError> {
        let deadline = Instant::now() + self.txn_timeout;
        let mut all = self.deliver(deadline);
        while all && !self.waiting.get_mut().is_empty() && self.producer.context().reports().failed == 0 {
            self.waiting.borrow_mut().hand_over(|next| self.produce(next))?;
            all = self.deliver(deadline);
        }
        if !all && self.producer.context().reports().failed == 0 {
            let late = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
            return Err(self.classify("deliver all records in time", &late));
        }
        let reports = self.producer.context().reports();
        match &reports.first_failure {
            None => {
                debug_assert!(
                    reports
                        .written
                        .iter()
                        .all(|(topic, partition, _)| self.writes.partitions.contains(&(topic, partition))),
                    "{} writes where its fence was not put: {:?} is not all in {:?}",
                    self.id,
                    reports.written,
                    self.writes
                );
                Ok(reports.written.clone())
            }
            Some(first) => {
                let error = self.classify("deliver all records", first);
                tracing::debug!(id = self.id, failed = reports.failed, %error, "records were not delivered");
                Err(error)
            }
        }
    }

    /// Takes delivery reports until none is outstanding (`true`), one has failed, or the deadline has passed.
    fn deliver(&self, deadline: Instant) -> bool {
        // The client's own flush polls in steps of 100 ms. Asked with no time at all, it only tells the brokers' threads to stop
        // lingering.
        if self.producer.flush(Duration::ZERO).is_ok() {
            self.producer.poll(Duration::ZERO);
            return true;
        }
        loop {
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() == 0 {
                return true;
            }
            if self.producer.context().reports().failed > 0 || Instant::now() >= deadline {
                return false;
            }
            pause("deliveries of the transaction", Duration::from_millis(1));
        }
    }

    /// Commits the transaction together with the positions, which `group` keeps (a group without members, `hookline-<stage>`).
    ///
    /// With no positions, only the records are committed.
    ///
    /// # Errors
    /// [`TxnError::Fatal`] after a commit that was not answered: whether it happened is told by the position, once the fence is
    /// taken again.
    pub fn commit(&mut self, group: &str, positions: &[Position]) -> Result<(), TxnError> {
        let begun = Moment::now();
        self.flush()?;
        if !positions.is_empty() {
            self.send_positions(group, positions)?;
        }
        let deadline = Instant::now() + self.txn_timeout;
        loop {
            match self.ask("commit", |producer, within| producer.commit_transaction(within))? {
                Ok(()) => {
                    // A commit of nothing asks no broker.
                    if !positions.is_empty() {
                        self.proof = Proof::since(begun);
                    }
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                    tracing::warn!(id = self.id, %error, "the commit is not answered yet; asking again");
                    self.producer.poll(Duration::ZERO);
                    pause("the transaction coordinator", Duration::from_millis(20));
                }
                Err(error) => return Err(self.classify("commit", &error)),
            }
        }
    }

    /// Adds positions to the open transaction without committing it; [`LaneProducer::commit`] does both.
    ///
    /// # Errors
    /// As for [`LaneProducer::commit`].
    pub fn send_positions(&mut self, group: &str, positions: &[Position]) -> Result<(), TxnError> {
        let place = self.group(group)?;
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            let partition = i32::from(position.partition);
            offsets.add_partition(position.topic.name(), partition);
            offsets
                .set_partition_offset(position.topic.name(), partition, Offset::Offset(position.next))
                .map_err(|error| self.classify("commit its position", &error))?;
            if let Some(mut element) = offsets.find_partition(position.topic.name(), partition) {
                element.set_metadata(&position.metadata);
            }
        }
        let deadline = Instant::now() + self.txn_timeout;
        loop {
            let (offsets, group) = (offsets.clone(), Arc::clone(&self.groups[place].1));
            let sent = self.ask("commit its position", move |producer, within| {
                producer.send_offsets_to_transaction(&offsets, &group, within)
            });
            match sent? {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && !error.txn_requires_abort() && Instant::now() < deadline =>
                {
                    self.producer.poll(Duration::ZERO);
                    pause("the group coordinator", Duration::from_millis(20));
                }
                Err(error) => return Err(self.classify("commit its position", &error)),
            }
        }
    }

    /// Makes a call that waits for a coordinator, within the time that is given to it.
    fn ask(
        &self,
        doing: &'static str,
        call: impl FnOnce(&BaseProducer<LaneContext>, Duration) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<Result<(), KafkaError>, TxnError> {
        let within = ASKED_FOR.min(self.txn_timeout);
        let answer = self.producer.call(within, move |producer| call(producer, within));
        answer.ok_or_else(|| TxnError::hung(&self.id, doing, within))
    }

    /// The place of a group's metadata. A consumer that only has the group's id gives it; nobody joins.
    fn group(&mut self, group: &str) -> Result<usize, TxnError> {
        if let Some(place) = self.groups.iter().position(|(known, _)| known == group) {
            return Ok(place);
        }
        let fatal = |reason: String| TxnError::Fatal { id: self.id.clone(), doing: "name its group", reason };
        let consumer: BaseConsumer<Quiet> = self
            .cluster
            .config(&self.id, &[], &[("group.id", group), ("enable.auto.commit", "false")])
            .map_err(|error| fatal(error.to_string()))?
            .create_with_context(Quiet(Voice::new(self.id.clone())))
            .map_err(|error| fatal(error.to_string()))?;
        let consumer = Aside::new("a client that names a group", consumer);
        let metadata = consumer.group_metadata().ok_or_else(|| fatal("the client gave no group metadata".into()))?;
        self.groups.push((group.to_owned(), Arc::new(metadata)));
        Ok(self.groups.len() - 1)
    }

    /// Aborts the open transaction: what it sent is never shown. Then forget what it held and seek back.
    ///
    /// # Errors
    /// [`TxnError::Fenced`] or [`TxnError::Fatal`]: as told there.
    pub fn abort(&mut self) -> Result<(), TxnError> {
        // An abort right after the first records of a transaction can overtake their partitions on the way to the coordinator, which
        // then knows of no transaction to end, and the client declares itself broken (librdkafka 2.12, seen once in 15 times with
        // 20,000 records under way). So what is under way arrives first, unless it fails or takes long.
        self.waiting.get_mut().clear();
        let arrived = Instant::now() + self.txn_timeout / 10;
        self.deliver(arrived);
        let deadline = Instant::now() + self.txn_timeout;
        loop {
            // The client's abort waits for what is in flight, whose reports somebody must take meanwhile. In short steps it need not
            // be another thread: an abort that ran out of time goes on where it stood.
            self.producer.poll(Duration::ZERO);
            let in_flight = self.producer.in_flight_count() > 0;
            let step = if in_flight { Duration::from_millis(5) } else { ASKED_FOR.min(self.txn_timeout) };
            match self.ask("abort", move |producer, within| producer.abort_transaction(step.min(within)))? {
                Ok(()) => {
                    self.producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => return Err(self.classify("abort", &error).unless_abortable()),
            }
        }
    }

    /// Proves that nobody else has taken the id since: a transaction of its own, which the coordinator commits under this epoch.
    ///
    /// An empty transaction would prove nothing, the client commits it without asking anyone. This one writes a position to a
    /// group of its own, `<id>-proof`. Between transactions only; 8 to 10 ms on the local broker.
    ///
    /// # Errors
    /// [`TxnError::Fenced`] when somebody has; the others as told there, an open transaction being aborted.
    pub fn prove(&mut self) -> Result<Proof, TxnError> {
        self.begin()?;
        let group = format!("{}-proof", self.id);
        let position = Position { topic: Topic::Control, partition: 0, next: 0, metadata: String::new() };
        match self.commit(&group, &[position]) {
            Err(TxnError::Abortable { id, doing, reason }) => {
                self.abort()?;
                Err(TxnError::Abortable { id, doing, reason })
            }
            other => other.map(|()| self.proof),
        }
    }

    /// What an end means, given that only the owner of a lane may halt it.
    ///
    /// Whoever was fenced while it read positions, state and rows may have seen some from before and some from after, which looks
    /// like damage. So a halt counts only under a fence that is proven after it was decided. No transaction may be open.
    #[must_use]
    pub fn confirm(&mut self, end: End) -> End {
        let End::Halt { reason, message } = &end else { return end };
        match self.prove() {
            Ok(_) => end,
            Err(TxnError::Fenced { .. }) => {
                tracing::debug!(id = self.id, reason = reason.name(), message, "what a fenced lane took for damage");
                End::Fenced
            }
            Err(error) => End::Retry(format!("{message}; whether the lane is still ours could not be proven: {error}")),
        }
    }

    fn classify(&self, doing: &'static str, error: &KafkaError) -> TxnError {
        let open = self.opened_ms.map_or(0, |opened| now_ms() - opened);
        let open = Duration::from_millis(u64::try_from(open).unwrap_or(0));
        match classify(&self.producer, &self.id, doing, error) {
            // A transaction that outlives its timeout is ended by the broker, which fences its producer to do so: nobody else need
            // have the lane. If somebody has, taking the fence again costs a restart, never an event.
            TxnError::Fenced { id, doing } if open >= self.txn_timeout => TxnError::Fatal {
                id,
                doing,
                reason: format!(
                    "the transaction was open for {open:?}, longer than its timeout of {:?}",
                    self.txn_timeout
                ),
            },
            other => other,
        }
    }
}

/// Copies headers into the client's own form.
pub(crate) fn owned_headers<N: AsRef<str>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let new = OwnedHeaders::new_with_capacity(headers.len());
    Some(
        headers
            .iter()
            .fold(new, |new, (name, value)| new.insert(Header { key: name.as_ref(), value: Some(value.as_ref()) })),
    )
}
