//! Kafka's hanging transactions, made on purpose: a record that is appended after its transaction ended belongs to the next one.
//!
//! No client does this by itself. So the predecessor of a lane is played by requests written here byte by byte, with the one check
//! turned off that narrows the hole (the broker's question to the coordinator, KIP-890, which a broker that stood still under load
//! was seen to pass).
#![allow(clippy::unwrap_used, reason = "in a test every failure is a panic, in its own functions as well")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kafka::Topic;
use kafka::lane::{NO_HEADERS, pause};
use kafka::positions::{PositionError, Positions};

use crate::kafka_lanes::{Broker, TXN, committed, end, fresh, take};

#[test]
fn a_record_and_a_position_that_come_after_their_transaction_are_not_committed_by_the_next_owner_of_the_lane() {
    let (broker, stage) = (Broker::own(), fresh("hanging"));
    // An owner before, so that the coordinator knows its ids.
    let (unsealed, sealed) = (4, 3);
    let ids = [unsealed, sealed].map(|lane| take(&broker, &stage, lane, TXN).id().to_owned());
    let from = [unsealed, sealed].map(|lane| end(&broker, Topic::Events, lane));
    let mut wire = Wire::connect(&broker.brokers);
    wire.believe_every_producer();

    // What Kafka does: whoever takes the id, writes to the partition and commits, commits the late record of the one before, too.
    let before = wire.take(&ids[0]);
    let deadline = Instant::now() + TXN;
    loop {
        match wire.produce(&ids[0], before, Topic::Events, unsealed, b"late") {
            // 48, no such transaction: the setting has not come to the partition yet.
            48 if Instant::now() < deadline => pause("a setting to be taken", Duration::from_millis(50)),
            error => break assert_eq!(error, 0, "Produce"),
        }
    }
    let next = wire.take(&ids[0]);
    assert_eq!((next.id, next.epoch), (before.id, before.epoch + 1));
    wire.add_partition(&ids[0], next, Topic::Events, unsealed);
    wire.commit(&ids[0], next);
    let shown = || committed(&broker, Topic::Events, unsealed, from[0]);
    let deadline = Instant::now() + TXN;
    while shown().is_empty() && Instant::now() < deadline {
        pause("the marker", Duration::from_millis(50));
    }
    assert_eq!(shown(), ["late"], "if Kafka no longer does this, the fence need not be put into partitions any more");

    // A lane: the same late record, and a late position.
    let group = format!("hookline-{stage}");
    let positions = Positions::open(&broker, &group, Duration::from_secs(1)).unwrap();
    let before = wire.take(&ids[1]);
    assert_eq!(wire.produce(&ids[1], before, Topic::Events, sealed, b"late"), 0);
    wire.commit_position(&ids[1], before, &group, Topic::Raw, sealed, 7);
    assert_eq!(positions.stable(Topic::Events, sealed).unwrap().end, from[1]);
    assert!(matches!(positions.committed(Topic::Raw, sealed), Err(PositionError::NotServed { .. })));

    let mut lane = take(&broker, &stage, sealed, TXN);
    assert_eq!(positions.committed(Topic::Raw, sealed).unwrap(), None);
    let (stable, log_end) = (positions.stable(Topic::Events, sealed).unwrap().end, end(&broker, Topic::Events, sealed));
    assert_eq!(stable, log_end, "what was open is ended");
    // And what comes later still is refused: 47, an epoch that is too old.
    assert_eq!(wire.produce(&ids[1], before, Topic::Events, sealed, b"later still"), 47);

    lane.begin().unwrap();
    lane.send(Topic::Events, sealed, None, Some(b"of the owner"), NO_HEADERS).unwrap();
    lane.commit(&group, &[]).unwrap();
    assert_eq!(committed(&broker, Topic::Events, sealed, from[1]), ["of the owner"]);
    assert_eq!(positions.committed(Topic::Raw, sealed).unwrap(), None);
}

/// What the coordinator gave to whoever took a transactional id.
#[derive(Clone, Copy)]
struct Owner {
    id: i64,
    epoch: i16,
}

/// A connection to the broker that speaks Kafka's protocol, in the oldest versions that Kafka 4 takes (all without tagged fields).
struct Wire {
    stream: TcpStream,
    correlation: i32,
}

impl Wire {
    fn connect(brokers: &str) -> Self {
        Self { stream: TcpStream::connect(brokers).unwrap(), correlation: 0 }
    }

    /// Sends a request and returns the body of its response.
    fn call(&mut self, key: i16, version: i16, body: &Body) -> Answer {
        self.correlation += 1;
        let head = Body::default().i16(key).i16(version).i32(self.correlation).string("by hand");
        let length = (head.0.len() + body.0.len()) as i32;
        self.stream.write_all(&[&length.to_be_bytes(), head.0.as_slice(), &body.0].concat()).unwrap();
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).unwrap();
        let mut answer = Answer(answer.into_iter());
        assert_eq!(answer.i32(), self.correlation);
        answer
    }

    /// `IncrementalAlterConfigs`, of broker 1: `transaction.partition.verification.enable`.
    fn believe_every_producer(&mut self) {
        let (broker, set) = (4, 0);
        let body = Body::default().i32(1).i8(broker).string("1").i32(1);
        let body = body.string("transaction.partition.verification.enable").i8(set).string("false").i8(0);
        let mut answer = self.call(44, 0, &body);
        assert_eq!((answer.i32(), answer.i32(), answer.i16()), (0, 1, 0), "throttle, answers, error");
    }

    /// `InitProducerId`.
    fn take(&mut self, id: &str) -> Owner {
        let body = Body::default().string(id).i32(60_000);
        let deadline = Instant::now() + TXN;
        loop {
            let mut answer = self.call(22, 0, &body);
            let (_throttle, error) = (answer.i32(), answer.i16());
            if error == 0 {
                return Owner { id: answer.i64(), epoch: answer.i16() };
            }
            // 51: the transaction before is still being ended.
            assert!(error == 51 && Instant::now() < deadline, "InitProducerId of {id}: error {error}");
            pause("the coordinator", Duration::from_millis(50));
        }
    }

    /// `Produce`: one transactional record. Returns the error of the partition.
    fn produce(&mut self, id: &str, owner: Owner, topic: Topic, partition: u16, value: &[u8]) -> i16 {
        let batch = batch(owner, value);
        let body = Body::default().string(id).i16(-1).i32(10_000).i32(1).string(topic.name());
        let body = body.i32(1).i32(i32::from(partition)).i32(batch.len() as i32).bytes(&batch);
        self.call(0, 3, &body).partition_error()
    }

    /// `AddPartitionsToTxn`.
    fn add_partition(&mut self, id: &str, owner: Owner, topic: Topic, partition: u16) {
        let body = Body::default().string(id).i64(owner.id).i16(owner.epoch).i32(1).string(topic.name());
        let mut answer = self.call(24, 0, &body.i32(1).i32(i32::from(partition)));
        let _throttle = answer.i32();
        assert_eq!(answer.partition_error(), 0, "AddPartitionsToTxn");
    }

    /// `TxnOffsetCommit`.
    fn commit_position(&mut self, id: &str, owner: Owner, group: &str, topic: Topic, partition: u16, next: i64) {
        let body = Body::default().string(id).string(group).i64(owner.id).i16(owner.epoch).i32(1).string(topic.name());
        let mut answer = self.call(28, 0, &body.i32(1).i32(i32::from(partition)).i64(next).string(""));
        let _throttle = answer.i32();
        assert_eq!(answer.partition_error(), 0, "TxnOffsetCommit");
    }

    /// `EndTxn`.
    fn commit(&mut self, id: &str, owner: Owner) {
        let mut answer = self.call(26, 0, &Body::default().string(id).i64(owner.id).i16(owner.epoch).i8(1));
        let _throttle = answer.i32();
        assert_eq!(answer.i16(), 0, "EndTxn");
    }
}

/// A batch of one record, the first that its producer writes to the partition.
fn batch(owner: Owner, value: &[u8]) -> Vec<u8> {
    // Lengths and counts are zigzag varints: of so few bytes, twice the number (−1 is 1).
    let twice = |number: usize| (2 * number) as u8;
    assert!(value.len() < 50, "one byte of varint");
    // Attributes, timestamp and offset as deltas, no key, the value, no headers.
    let record = [&[0, 0, 0, 1, twice(value.len())], value, &[0]].concat();
    let record = [&[twice(record.len())], record.as_slice()].concat();
    let transactional = 1 << 4;
    let now = jiff::Timestamp::now().as_millisecond();
    let checked = Body::default().i16(transactional).i32(0).i64(now).i64(now).i64(owner.id).i16(owner.epoch);
    let checked = checked.i32(0).i32(1).bytes(&record).0;
    let (leader_epoch, magic) = (-1, 2);
    let after_length =
        Body::default().i32(leader_epoch).i8(magic).i32(crc32c::crc32c(&checked).cast_signed()).bytes(&checked).0;
    Body::default().i64(0).i32(after_length.len() as i32).bytes(&after_length).0
}

/// A request as it is written.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn i8(self, number: i8) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn i16(self, number: i16) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn i32(self, number: i32) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn i64(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn string(self, text: &str) -> Self {
        self.i16(text.len() as i16).bytes(text.as_bytes())
    }
}

/// A response as it is read.
struct Answer(std::vec::IntoIter<u8>);

impl Answer {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.0.next().unwrap())
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    /// The error of the one partition of the one topic.
    fn partition_error(&mut self) -> i16 {
        assert_eq!(self.i32(), 1, "topics");
        let name = self.i16();
        for _ in 0..name {
            self.take::<1>();
        }
        assert_eq!(self.i32(), 1, "partitions");
        let _partition = self.i32();
        self.i16()
    }
}
