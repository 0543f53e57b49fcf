//! From request to acknowledgement: what waits, what each record came to, and the one wait of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::Notify;

use super::EdgeError;
use crate::rights::{self, Tried};

/// Why a record is not known to be stored. It may be, or not: sending again is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// No acknowledgement before the deadline.
    #[error("not acknowledged before the deadline")]
    Late,
    /// The brokers refused it, or the client gave up.
    #[error("not acknowledged: {code}{lacks}", code = .0, lacks = rights::missing(Some(*.0), Tried::Write))]
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
pub(super) struct Request {
    slots: Box<[AtomicI64]>,
    partitions: Box<[u16]>,
    left: AtomicUsize,
    done: Notify,
    admission: Arc<Admission>,
}

/// The records of a partition that the client has and has not reported.
#[derive(Debug, Default)]
pub(super) struct Flight {
    left: AtomicUsize,
    /// The last report was that a record was not acknowledged: whether the partition has a leader has to be seen first.
    late: AtomicBool,
}

impl Flight {
    /// As many records are handed over now.
    pub(super) fn depart(&self, records: usize) {
        self.left.fetch_add(records, Ordering::AcqRel);
    }

    /// Whether all that was handed over is reported.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Whether the last report was that a record was not acknowledged.
    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// The flight of the next client: nothing is under way, and what is known of the partition stays known.
    pub(super) fn next(&self) -> Self {
        Self { left: AtomicUsize::new(0), late: AtomicBool::new(self.is_late()) }
    }

    /// A record is reported. Returns whether it was the last one.
    fn land(&self, is_late: bool) -> bool {
        self.late.store(is_late, Ordering::Relaxed);
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// The place of one record in its request: what the client carries for it.
pub(super) struct Ticket {
    request: Arc<Request>,
    place: u32,
    bytes: u32,
    /// The records of its partition that the client has, this one among them; none before it is handed over.
    under_way: Option<Arc<Flight>>,
}

impl Request {
    pub(super) fn new(partitions: impl ExactSizeIterator<Item = u16>, admission: &Arc<Admission>) -> Arc<Self> {
        let partitions: Box<[u16]> = partitions.collect();
        Arc::new(Self {
            slots: partitions.iter().map(|_| AtomicI64::new(PENDING)).collect(),
            left: AtomicUsize::new(partitions.len()),
            partitions,
            done: Notify::new(),
            admission: Arc::clone(admission),
        })
    }

    /// What the client carries for the record at `place`.
    pub(super) fn ticket(self: &Arc<Self>, place: usize, bytes: usize) -> Box<Ticket> {
        let request = Arc::clone(self);
        Box::new(Ticket { request, place: place as u32, bytes: bytes as u32, under_way: None })
    }
}

impl Ticket {
    /// The record is handed over; `under_way` counts it already.
    pub(super) fn handed_over(&mut self, under_way: &Arc<Flight>) {
        self.under_way = Some(Arc::clone(under_way));
    }

    /// Returns whether it was the last one of its partition that was under way: the next batch can go.
    pub(super) fn delivered(&self, offset: i64) -> bool {
        self.settle(offset, false)
    }

    /// As [`Self::delivered`], for a record that is not known to be stored.
    pub(super) fn failed(&self, code: RDKafkaErrorCode) -> bool {
        self.settle(code as i64 - CODES, true)
    }

    fn settle(&self, value: i64, is_late: bool) -> bool {
        let request = &self.request;
        request.admission.leave(1, self.bytes as usize);
        request.slots[self.place as usize].store(value, Ordering::Release);
        if request.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            request.done.notify_one();
        }
        self.under_way.as_ref().is_some_and(|under_way| under_way.land(is_late))
    }
}

/// What waits for acknowledgement. The bound is kept here and not by the client's queue, so that a request is taken whole or not
/// at all.
pub(super) struct Admission {
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_records: usize,
    max_bytes: usize,
}

impl Admission {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { records: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_records, max_bytes })
    }

    /// Records and bytes that wait.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    pub(super) fn enter(&self, records: usize, bytes: usize) -> Result<(), EdgeError> {
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

    pub(super) fn leave(&self, records: usize, bytes: usize) {
        self.records.fetch_sub(records, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
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
    pub(super) fn of(request: Arc<Request>) -> Self {
        Self { request }
    }

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
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_is_admitted_whole_or_not_at_all() {
        let admission = Admission::new(10, 1000);
        assert_eq!(admission.enter(8, 100), Ok(()));
        assert_eq!(admission.enter(3, 1), Err(EdgeError::QueueFull { records: 8, bytes: 100 }));
        assert_eq!(admission.enter(2, 900), Ok(()));
        admission.leave(8, 100);
        assert_eq!(admission.enter(1, 101), Err(EdgeError::QueueFull { records: 2, bytes: 900 }));
    }

    #[test]
    fn a_request_above_the_bound_is_admitted_alone() {
        let admission = Admission::new(10, 1000);
        assert_eq!(admission.enter(50, 5000), Ok(()));
        assert!(admission.enter(1, 1).is_err());
    }

    #[tokio::test]
    async fn what_is_not_reported_before_the_deadline_is_late_and_the_rest_is_told() {
        let admission = Admission::new(10, 1000);
        admission.enter(3, 30).unwrap();
        let request = Request::new([4, 5, 6].into_iter(), &admission);
        let under_way = Arc::new(Flight::default());
        under_way.depart(2);
        let ticket = |place| {
            let mut ticket = request.ticket(place, 10);
            ticket.handed_over(&under_way);
            ticket
        };
        assert!(!ticket(0).delivered(77));
        assert!(ticket(2).failed(RDKafkaErrorCode::MessageTimedOut));
        let results = Delivery::of(Arc::clone(&request)).wait(Instant::now() + Duration::from_millis(20)).await;
        let timed_out = DeliveryError::Failed(RDKafkaErrorCode::MessageTimedOut);
        assert_eq!(results, [Ok((4, 77)), Err(DeliveryError::Late), Err(timed_out)]);
        assert_eq!(admission.waiting(), (1, 10));
    }
}
