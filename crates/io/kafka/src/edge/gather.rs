//! Records gather by partition until the client can send them at once.
//!
//! The client (librdkafka 2.12) keeps the next batch of an idempotent partition back while more than four of its
//! records wait for their acknowledgement, and its broker thread polls without a pause for as long as that batch is due
//! (`rd_kafka_toppar_producer_serve`: the moment to wake up is set before what is in flight is looked at). Where
//! brokers acknowledge later than the client lingers, that burns CPU for nothing. So the client gets one batch of a
//! partition at a time, and the next one gathers here: batches also grow by themselves with the time that brokers take.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::message::OwnedHeaders;

use super::EdgeRecord;
use super::delivery::{Flight, Request, Ticket};
use crate::topics::Topic;

/// Records and bytes after which a batch is full: it stays below the client's own bounds, so that it is sent as one.
const FULL: (usize, usize) = (10_000, 900_000);
/// What the framing of a record may take beside its bytes.
const FRAMING: usize = 64;
/// A partition whose records are under way for so long is silent: acknowledgements take milliseconds. It is less than
/// the time in which a record fails, so that requests are answered at once rather than held until then.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// A buffer that grew larger than this is not kept: every partition has one, and few batches are larger.
const KEPT: usize = 256 << 10;

/// What waits to be handed to the client, by partition.
#[derive(Default)]
pub(super) struct Gather {
    lanes: Mutex<Vec<Lane>>,
    /// The thread that hands over, once it runs.
    hand: OnceLock<Thread>,
}

#[derive(Default)]
struct Lane {
    batches: VecDeque<Batch>,
    /// Records that the client has and has not reported.
    under_way: Arc<Flight>,
    /// When the last batch was handed to the client.
    handed_at: Option<Instant>,
    /// The buffers of the last batch, to be used again.
    spare: Option<Batch>,
}

/// Records of one partition, one after the other.
#[derive(Default)]
pub(super) struct Batch {
    partition: u16,
    bytes: Vec<u8>,
    records: Vec<Gathered>,
    weight: usize,
    /// What counts them once they are due.
    under_way: Arc<Flight>,
}

struct Gathered {
    topic: Topic,
    key: usize,
    payload: usize,
    headers: Option<OwnedHeaders>,
    ticket: Box<Ticket>,
    since: Instant,
}

/// A record as it is handed over.
pub(super) struct Ready<'b> {
    pub(super) topic: Topic,
    pub(super) partition: u16,
    pub(super) key: &'b [u8],
    pub(super) payload: &'b [u8],
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) ticket: Box<Ticket>,
    pub(super) since: Instant,
}

impl Gather {
    /// Registers the thread that hands over: it is woken when there is something to do.
    pub(super) fn run_by(&self, hand: Thread) {
        // There is one such thread, and it registers once.
        let _ = self.hand.set(hand);
    }

    pub(super) fn wake(&self) {
        if let Some(hand) = self.hand.get() {
            hand.unpark();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes copies of the records of one request, in order.
    ///
    /// # Errors
    /// The partition of one of them, when it is silent; then nothing is taken.
    pub(super) fn push<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        request: &Arc<Request>,
        records: &[EdgeRecord<'_, N, V>],
    ) -> Result<(), u16> {
        let since = Instant::now();
        let mut wake = false;
        let mut lanes = self.lanes();
        let silent = |partition: u16| lanes.get(usize::from(partition)).is_some_and(|lane| lane.is_silent(since));
        if let Some(record) = records.iter().find(|record| silent(record.partition)) {
            return Err(record.partition);
        }
        for (at, record) in records.iter().enumerate() {
            let partition = usize::from(record.partition);
            if lanes.len() <= partition {
                lanes.resize_with(partition + 1, Lane::default);
            }
            let lane = &mut lanes[partition];
            let (weight, ticket) = (record.bytes() + FRAMING, request.ticket(at, record.bytes()));
            let batch = lane.open(record.partition, weight);
            let first = batch.records.is_empty();
            batch.weight += weight;
            batch.bytes.extend_from_slice(record.key);
            batch.bytes.extend_from_slice(record.payload);
            batch.records.push(Gathered {
                topic: record.topic,
                key: record.key.len(),
                payload: record.payload.len(),
                headers: crate::lane::owned_headers(record.headers),
                ticket,
                since,
            });
            // The first record sets the moment at which a batch is due, and the one behind it says that it is full: due
            // now. While the client has a batch, the last report of that wakes.
            let due_changes = first && lane.batches.len() <= 2;
            wake |= due_changes && lane.under_way.is_over();
        }
        drop(lanes);
        if wake {
            self.wake();
        }
        Ok(())
    }

    /// The partitions that are silent at `now`.
    pub(super) fn silent(&self, now: Instant) -> Vec<u16> {
        let lanes = self.lanes();
        (0..).zip(lanes.iter()).filter(|(_, lane)| lane.is_silent(now)).map(|(partition, _)| partition).collect()
    }

    /// The batches that the client may have now, and when the next one is due. A batch waits for `linger` since its
    /// first record, unless it is full.
    pub(super) fn due(&self, now: Instant, linger: Duration) -> (Vec<Batch>, Option<Instant>) {
        let (mut ready, mut next) = (Vec::new(), None::<Instant>);
        for lane in self.lanes().iter_mut() {
            let Some(first) = lane.batches.front() else { continue };
            if !lane.under_way.is_over() {
                continue;
            }
            let due = first.records.first().map_or(now, |record| record.since + linger);
            if due > now && lane.batches.len() == 1 {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            if let Some(mut batch) = lane.batches.pop_front() {
                lane.under_way.depart(batch.records.len());
                lane.handed_at = Some(now);
                batch.under_way = Arc::clone(&lane.under_way);
                ready.push(batch);
            }
        }
        (ready, next)
    }

    /// What was handed over so far is the business of a client that is given up: nothing waits for its reports any
    /// more.
    pub(super) fn forget_under_way(&self) {
        self.lanes().iter_mut().for_each(|lane| lane.under_way = Arc::new(lane.under_way.next()));
        self.wake();
    }

    /// Everything that has not been handed over, whether due or not: for the end.
    pub(super) fn rest(&self) -> Vec<Batch> {
        let take = |lane: &mut Lane| {
            let mut batches: Vec<Batch> = lane.batches.drain(..).collect();
            for batch in &mut batches {
                lane.under_way.depart(batch.records.len());
                batch.under_way = Arc::clone(&lane.under_way);
            }
            batches
        };
        self.lanes().iter_mut().flat_map(take).collect()
    }

    /// Gives the buffers of a batch back.
    pub(super) fn give_back(&self, batch: Batch) {
        if batch.bytes.capacity() <= KEPT
            && let Some(lane) = self.lanes().get_mut(usize::from(batch.partition))
        {
            lane.spare = Some(batch);
        }
    }
}

impl Lane {
    /// Whether its records are not acknowledged: some are under way for long; or the last ones failed, and others are
    /// to show first whether the partition is well again.
    fn is_silent(&self, now: Instant) -> bool {
        let is_waiting = !self.under_way.is_over();
        let for_long = self.handed_at.is_some_and(|at| now.saturating_duration_since(at) >= SILENT_AFTER);
        (is_waiting && for_long) || (self.under_way.is_late() && (is_waiting || !self.batches.is_empty()))
    }

    /// The batch that a record of `weight` joins.
    fn open(&mut self, partition: u16, weight: usize) -> &mut Batch {
        let full =
            |last: &Batch| last.records.len() >= FULL.0 || (last.weight + weight > FULL.1 && !last.records.is_empty());
        if self.batches.back().is_none_or(full) {
            let batch = Batch { partition, ..self.spare.take().unwrap_or_default() };
            self.batches.push_back(batch);
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }
}

impl Batch {
    /// Hands every record over, in order, and leaves the batch empty.
    pub(super) fn hand_over(&mut self, mut to: impl FnMut(Ready<'_>)) {
        let mut at = 0;
        for record in self.records.drain(..) {
            let Gathered { topic, key, payload, headers, mut ticket, since } = record;
            ticket.handed_over(&self.under_way);
            let (key_end, end) = (at + key, at + key + payload);
            to(Ready {
                topic,
                partition: self.partition,
                key: &self.bytes[at..key_end],
                payload: &self.bytes[key_end..end],
                headers,
                ticket,
                since,
            });
            at = end;
        }
        self.bytes.clear();
        self.weight = 0;
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::super::delivery::{Admission, Delivery};
    use super::*;
    use crate::lane::NO_HEADERS;

    const LINGER: Duration = Duration::from_millis(5);

    fn push(gather: &Gather, partition: u16, payloads: &[&[u8]]) -> Delivery {
        let record = |payload| EdgeRecord { topic: Topic::Raw, partition, key: b"k", payload, headers: NO_HEADERS };
        let records: Vec<_> = payloads.iter().map(|payload| record(*payload)).collect();
        let admission = Admission::new(100_000, 100_000_000);
        admission.enter(records.len(), records.iter().map(EdgeRecord::bytes).sum()).unwrap();
        let request = Request::new(records.iter().map(|record| record.partition), &admission);
        gather.push(&request, &records).unwrap();
        Delivery::of(request)
    }

    /// Whether a request with one record for each of these partitions is taken, or which one refuses it.
    fn taken(gather: &Gather, partitions: &[u16]) -> Result<(), u16> {
        let record =
            |partition| EdgeRecord { topic: Topic::Raw, partition, key: b"k", payload: b"p", headers: NO_HEADERS };
        let records: Vec<_> = partitions.iter().map(|partition| record(*partition)).collect();
        gather.push(&Request::new(partitions.iter().copied(), &Admission::new(100, 100_000)), &records)
    }

    /// What is due at `now`, as partitions and payloads; the tickets go to `flying`.
    #[allow(clippy::vec_box, reason = "the client carries them boxed")]
    fn handed(gather: &Gather, now: Instant, flying: &mut Vec<Box<Ticket>>) -> Vec<(u16, Vec<u8>)> {
        let mut seen = Vec::new();
        for mut batch in gather.due(now, LINGER).0 {
            batch.hand_over(|record| {
                assert_eq!(record.key, b"k");
                seen.push((record.partition, record.payload.to_vec()));
                flying.push(record.ticket);
            });
            gather.give_back(batch);
        }
        seen
    }

    #[test]
    fn a_partition_gathers_while_a_batch_of_it_is_under_way_and_others_do_not_wait_for_it() {
        let (gather, mut flying, begun) = (Gather::default(), Vec::new(), Instant::now());
        let _one = push(&gather, 3, &[b"a", b"b"]);
        assert_eq!(handed(&gather, begun, &mut flying), [], "it lingers");
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying), [(3, b"a".to_vec()), (3, b"b".to_vec())]);
        let _two = push(&gather, 3, &[b"c"]);
        let _three = push(&gather, 0, &[b"d"]);
        let _four = push(&gather, 3, &[b"e"]);
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying), [(0, b"d".to_vec())]);
        flying.remove(0).delivered(7);
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying), [], "half of the batch is still under way");
        flying.remove(0).delivered(8);
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying), [(3, b"c".to_vec()), (3, b"e".to_vec())]);
        assert_eq!(gather.due(Instant::now() + LINGER, LINGER).1, None);
    }

    #[test]
    fn a_full_batch_does_not_linger_and_a_large_record_goes_alone() {
        let (gather, mut flying, begun) = (Gather::default(), Vec::new(), Instant::now());
        let (half, large) = (vec![1; FULL.1 / 2 + 1], vec![2; 2 * FULL.1]);
        let _request = push(&gather, 1, &[&half, &half, &large, b"last"]);
        for expected in [&half, &half, &large] {
            assert_eq!(handed(&gather, begun, &mut flying), [(1, expected.clone())]);
            flying.remove(0).delivered(1);
        }
        assert_eq!(handed(&gather, begun, &mut flying), [], "the last one is not full: it lingers");
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying), [(1, b"last".to_vec())]);
    }

    #[test]
    fn the_moment_when_the_next_batch_is_due_is_that_of_its_first_record() {
        let gather = Gather::default();
        let before = Instant::now();
        let _one = push(&gather, 0, &[b"a"]);
        let after = Instant::now();
        std::thread::park_timeout(Duration::from_millis(2));
        let _two = push(&gather, 1, &[b"b"]);
        let (ready, next) = gather.due(before, LINGER);
        assert!(ready.is_empty());
        assert!((before + LINGER..=after + LINGER).contains(&next.unwrap()));
    }

    #[test]
    fn a_client_that_is_given_up_holds_no_partition_back() {
        let (gather, mut flying) = (Gather::default(), Vec::new());
        let due = || Instant::now() + LINGER;
        let _one = push(&gather, 3, &[b"a"]);
        assert_eq!(handed(&gather, due(), &mut flying), [(3, b"a".to_vec())]);
        let _two = push(&gather, 3, &[b"b"]);
        assert_eq!(handed(&gather, due(), &mut flying), [], "a is under way");
        gather.forget_under_way();
        assert_eq!(handed(&gather, due(), &mut flying), [(3, b"b".to_vec())]);
        let _three = push(&gather, 3, &[b"c"]);
        // The old client reports at last: that is not what the partition waits for.
        flying.remove(0).failed(RDKafkaErrorCode::PurgeInflight);
        assert_eq!(handed(&gather, due(), &mut flying), [], "b is under way");
        flying.remove(0).delivered(7);
        assert_eq!(handed(&gather, due(), &mut flying), [(3, b"c".to_vec())]);
    }

    #[test]
    fn a_partition_that_does_not_acknowledge_refuses_until_one_record_gets_through_and_others_take_on() {
        let (gather, mut flying) = (Gather::default(), Vec::new());
        let _one = push(&gather, 1, &[b"a"]);
        let long_ago = Instant::now() - SILENT_AFTER;
        assert_eq!(handed(&gather, long_ago + SILENT_AFTER + LINGER, &mut flying).len(), 1);
        gather.lanes()[1].handed_at = Some(long_ago);
        assert_eq!(gather.silent(Instant::now()), [1], "its record is under way for long");
        assert_eq!((taken(&gather, &[1]), taken(&gather, &[0, 1]), taken(&gather, &[0])), (Err(1), Err(1), Ok(())));
        assert_eq!(
            handed(&gather, Instant::now() + LINGER, &mut flying).len(),
            1,
            "of a refused request nothing is kept"
        );
        flying.remove(0).failed(RDKafkaErrorCode::MessageTimedOut);
        assert_eq!(gather.silent(Instant::now()), [0; 0], "one may try now");
        assert_eq!((taken(&gather, &[1]), taken(&gather, &[1])), (Ok(()), Err(1)), "one at a time");
        gather.forget_under_way();
        assert_eq!(taken(&gather, &[1]), Err(1), "another client has not shown that the partition is well");
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying).len(), 1);
        flying.remove(1).delivered(1);
        assert_eq!((taken(&gather, &[1]), taken(&gather, &[1])), (Ok(()), Ok(())));
    }

    #[test]
    fn what_is_left_at_the_end_is_handed_back_whole() {
        let (gather, mut flying, begun) = (Gather::default(), Vec::new(), Instant::now());
        let _one = push(&gather, 0, &[b"a"]);
        assert_eq!(handed(&gather, Instant::now() + LINGER, &mut flying).len(), 1);
        let _two = push(&gather, 0, &[b"b"]);
        let _three = push(&gather, 2, &[b"c"]);
        assert_eq!(handed(&gather, begun, &mut flying), [], "nothing is due");
        let mut left = Vec::new();
        for mut batch in gather.rest() {
            batch.hand_over(|record| left.push(record.payload.to_vec()));
        }
        assert_eq!(left, [b"b".to_vec(), b"c".to_vec()]);
    }
}
