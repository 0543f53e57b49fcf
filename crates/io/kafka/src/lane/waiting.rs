//! Records of a transaction that wait until the client can send them at once.
//!
//! The client (librdkafka 2.12) keeps the next batch of a partition back while more than four of its records wait for
//! their acknowledgement, and its broker thread polls without a pause for as long as that batch is due
//! (`rd_kafka_toppar_producer_serve`: the moment to wake up is set before what is in flight is looked at). On a busy
//! machine that was half of the CPU time of `process`. So the client gets a batch when it has nothing, and the next one
//! gathers here. The edge does the same ([`crate::edge`]), by partition.

use std::collections::VecDeque;

use rdkafka::message::{Headers, OwnedHeaders};

use crate::topics::Topic;

/// Bytes of a batch: below the client's own bound (`batch.size`), so that it is sent as one.
const BATCH_BYTES: usize = 900_000;
/// Records of a batch: below the client's own bound, too.
const BATCH_RECORDS: usize = 9_000;
/// From here on, the lane waits for the client before it adds more. Memory is up to twice that, and more for the growth
/// of its buffer: what was handed over is let go of once it is half.
const MOST_BYTES: usize = 16 << 20;
/// A record that is larger goes to the client alone.
const LARGE: usize = 500_000;
/// What the framing of a record may take beside its bytes.
const FRAMING: usize = 64;
/// Memory that is kept between transactions: bytes, and records.
const KEPT: usize = 1 << 20;
const KEPT_RECORDS: usize = 16_384;

/// The records, in order, and their keys and payloads, one after the other.
#[derive(Default)]
pub(super) struct Waiting {
    bytes: Vec<u8>,
    /// Bytes of records that were handed over.
    passed: usize,
    records: VecDeque<Held>,
    /// What the records weigh that were not.
    weight: usize,
    /// Records that were added since the client was last looked at.
    unseen: usize,
}

struct Held {
    topic: Topic,
    partition: u16,
    key: Option<usize>,
    payload: Option<usize>,
    headers: Option<OwnedHeaders>,
}

impl Held {
    fn weight(&self) -> usize {
        self.key.unwrap_or(0) + self.payload.unwrap_or(0) + header_bytes(self.headers.as_ref()) + FRAMING
    }
}

/// A record as it is handed over; everything but its headers is borrowed.
pub(super) struct Ready<'w> {
    pub(super) topic: Topic,
    pub(super) partition: u16,
    pub(super) key: Option<&'w [u8]>,
    pub(super) payload: Option<&'w [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
}

impl Ready<'_> {
    /// The bytes of its key, its payload and its headers: what the client's bound on a record is about.
    pub(super) fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.payload.map_or(0, <[u8]>::len) + header_bytes(self.headers.as_ref())
    }

    /// Whether it goes to the client alone.
    pub(super) fn is_large(&self) -> bool {
        self.bytes() >= LARGE
    }
}

fn header_bytes(headers: Option<&OwnedHeaders>) -> usize {
    let all = headers.into_iter().flat_map(|headers| headers.iter());
    all.map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len)).sum()
}

impl Waiting {
    /// Adds a copy of a record.
    pub(super) fn push(&mut self, record: Ready<'_>) {
        self.weight += record.bytes() + FRAMING;
        let Ready { topic, partition, key, payload, headers } = record;
        for bytes in [key, payload].into_iter().flatten() {
            self.bytes.extend_from_slice(bytes);
        }
        self.unseen += 1;
        let (key, payload) = (key.map(<[u8]>::len), payload.map(<[u8]>::len));
        self.records.push_back(Held { topic, partition, key, payload, headers });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether a batch is there, and it is time to look whether the client can have it: a look costs as much as a
    /// record.
    pub(super) fn comes_due(&mut self) -> bool {
        let is_batch = self.weight >= BATCH_BYTES || self.records.len() >= BATCH_RECORDS;
        let is_due = is_batch && self.unseen >= 64;
        if is_due {
            self.unseen = 0;
        }
        is_due
    }

    /// Whether more may be added before the client has taken some.
    pub(super) fn has_room(&self) -> bool {
        self.weight < MOST_BYTES
    }

    /// Hands a batch over, in order; at least one record, if there is one.
    ///
    /// # Errors
    /// What the client refuses with. What it refused is gone: the transaction is over.
    pub(super) fn hand_over<E>(&mut self, mut to: impl FnMut(Ready<'_>) -> Result<(), E>) -> Result<(), E> {
        let (mut bytes, mut records) = (0, 0);
        while let Some(next) = self.records.front() {
            let weight = next.weight();
            if records > 0 && (bytes + weight > BATCH_BYTES || records >= BATCH_RECORDS) {
                break;
            }
            let Some(Held { topic, partition, key, payload, headers }) = self.records.pop_front() else { break };
            let key_at = self.passed;
            let payload_at = key_at + key.unwrap_or(0);
            self.passed = payload_at + payload.unwrap_or(0);
            self.weight -= weight;
            let key = key.map(|length| &self.bytes[key_at..key_at + length]);
            let payload = payload.map(|length| &self.bytes[payload_at..payload_at + length]);
            to(Ready { topic, partition, key, payload, headers })?;
            (bytes, records) = (bytes + weight, records + 1);
        }
        self.tidy();
        Ok(())
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.weight = 0;
        self.tidy();
    }

    /// Lets go of the bytes that were handed over.
    fn tidy(&mut self) {
        if self.records.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.records.shrink_to(KEPT_RECORDS);
            (self.passed, self.unseen) = (0, 0);
        } else if self.passed >= self.bytes.len() / 2 {
            self.bytes.drain(..self.passed);
            self.passed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record<'w>(partition: u16, key: Option<&'w [u8]>, payload: Option<&'w [u8]>) -> Ready<'w> {
        Ready { topic: Topic::Events, partition, key, payload, headers: None }
    }

    type Taken = (u16, Option<Vec<u8>>, Option<Vec<u8>>);

    fn taken(waiting: &mut Waiting) -> Vec<Taken> {
        let mut taken = Vec::new();
        let all = waiting.hand_over(|ready| {
            taken.push((ready.partition, ready.key.map(<[u8]>::to_vec), ready.payload.map(<[u8]>::to_vec)));
            Ok::<(), ()>(())
        });
        assert_eq!(all, Ok(()));
        taken
    }

    #[test]
    fn a_batch_is_bounded_and_a_record_that_is_larger_than_one_goes_alone() {
        let mut waiting = Waiting::default();
        let (third, more_than_all) = (vec![7; BATCH_BYTES / 3], vec![8; BATCH_BYTES + 1]);
        for payload in [&third, &third, &third, &more_than_all, &third] {
            waiting.push(record(0, None, Some(payload)));
        }
        let sizes: Vec<usize> =
            std::iter::from_fn(|| (!waiting.is_empty()).then(|| taken(&mut waiting).len())).collect();
        assert_eq!(sizes, [2, 1, 1, 1], "three thirds with their framing are more than a batch");
        assert!(record(0, None, Some(&more_than_all)).is_large());
    }

    proptest! {
        /// Whatever is added and taken in whatever order comes out as it went in.
        #[test]
        fn records_come_out_whole_and_in_order(
            steps in prop::collection::vec((any::<bool>(), any::<Option<u8>>(), prop::option::of(0..400_000_usize)), 0..40)
        ) {
            let (mut waiting, mut expected, mut found) = (Waiting::default(), Vec::new(), Vec::new());
            for (at, (take, key, payload)) in steps.into_iter().enumerate() {
                let (key, payload) = (key.map(|byte| vec![byte; 3]), payload.map(|length| vec![at as u8; length]));
                waiting.push(record(at as u16, key.as_deref(), payload.as_deref()));
                expected.push((at as u16, key, payload));
                if take {
                    found.extend(taken(&mut waiting));
                }
            }
            while !waiting.is_empty() {
                found.extend(taken(&mut waiting));
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!((waiting.weight, waiting.bytes.len(), waiting.passed), (0, 0, 0));
        }
    }
}
