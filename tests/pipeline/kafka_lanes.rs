//! What delivery rests on, held against a real broker: fences, transactions, positions, and readers that never jump.
#![allow(clippy::unwrap_used, reason = "in a test every failure is a panic, in its own functions as well")]

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use kafka::control::ControlError;
use kafka::lane::{
    Fence, Isolation, LaneProducer, LaneReader, NO_HEADERS, Position, ReadError, TxnError, Writes, pause,
    read_all_committed,
};
use kafka::positions::{PositionError, Positions};
use kafka::topics::{Plan, TopicsError, ensure};
use kafka::{Cluster, Topic, control};
use tempfile::TempDir;
use testkit::House;

/// Each test has a lane of its own, so that they can run side by side.
pub(crate) const LANES: u16 = 17;
pub(crate) const TXN: Duration = Duration::from_secs(10);

/// The local engines, kept for as long as a test uses them.
struct Engines {
    house: House,
    folder: TempDir,
}

impl Engines {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let house = House::up(&folder.path().join("data"), &["--engines-only"]).unwrap();
        Self { house, folder }
    }
}

/// A cluster with its topics, and what keeps it running.
pub(crate) struct Broker {
    cluster: Cluster,
    engines: Arc<Engines>,
}

impl Deref for Broker {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Broker {
    /// The one that tests share.
    pub(crate) fn shared() -> Self {
        static SHARED: Mutex<Weak<Engines>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let engines = shared.upgrade().unwrap_or_else(|| Arc::new(Engines::start()));
        *shared = Arc::downgrade(&engines);
        Self::of(engines)
    }

    /// One that a test may harm.
    pub(crate) fn own() -> Self {
        Self::of(Arc::new(Engines::start()))
    }

    fn of(engines: Arc<Engines>) -> Self {
        let this = Self::bare(engines);
        // Before there is a record: one without an identity is a pipeline that has forgotten who it is.
        control::read_or_create(&this.cluster, LANES, 1, 1).unwrap();
        this
    }

    /// With topics, and without an identity.
    fn bare(engines: Arc<Engines>) -> Self {
        let cluster = Cluster::new(&engines.house.addresses.kafka);
        ensure(&cluster, &Plan::new(LANES, 1)).unwrap();
        Self { cluster, engines }
    }

    /// Sends the broker's process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let noted = std::fs::read_to_string(self.engines.folder.path().join("data/kafka.pid")).unwrap();
        let pid = noted.split_whitespace().next().unwrap();
        assert!(std::process::Command::new("kill").args([name, pid]).status().unwrap().success());
    }
}

/// A name that no earlier run used.
pub(crate) fn fresh(name: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let now = jiff::Timestamp::now();
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("test-{name}-{}-{count}", now.as_millisecond())
}

/// Takes a lane as `process` does, for events and marks.
pub(crate) fn take(cluster: &Cluster, stage: &str, lane: u16, timeout: Duration) -> LaneProducer {
    let writes = Writes::records([(Topic::Events, lane), (Topic::Seen, lane)]).positions(&format!("hookline-{stage}"));
    Fence::open(cluster, stage, lane, timeout, writes).unwrap()
}

fn write(producer: &mut LaneProducer, topic: Topic, lane: u16, payloads: &[&str]) {
    for payload in payloads {
        producer.send(topic, lane, None, Some(payload.as_bytes()), NO_HEADERS).unwrap();
    }
}

pub(crate) fn end(cluster: &Cluster, topic: Topic, lane: u16) -> i64 {
    Positions::open(cluster, "test-ends", TXN).unwrap().watermarks(topic, lane).unwrap().end
}

/// The committed payloads of a lane from an offset on.
pub(crate) fn committed(cluster: &Cluster, topic: Topic, lane: u16, from: i64) -> Vec<String> {
    let mut shown = Vec::new();
    read_all_committed::<std::convert::Infallible>(cluster, topic, lane, Some(from), None, |record| {
        shown.push(String::from_utf8_lossy(record.payload().unwrap_or(b"null")).into_owned());
        Ok(())
    })
    .unwrap();
    shown
}

#[test]
fn a_fenced_producer_cannot_commit_and_what_it_sent_is_never_shown() {
    let (cluster, lane, stage) = (Broker::shared(), 0, fresh("fenced"));
    let from = end(&cluster, Topic::Events, lane);
    let mut first = take(&cluster, &stage, lane, TXN);
    first.begin().unwrap();
    write(&mut first, Topic::Events, lane, &["of the first"]);
    first.flush().unwrap();

    let mut second = take(&cluster, &stage, lane, TXN);
    let position = Position { topic: Topic::Raw, partition: lane, next: 1, metadata: String::new() };
    let refused = first.commit(&format!("hookline-{stage}"), &[position]).unwrap_err();
    assert!(matches!(refused, TxnError::Fenced { .. }), "{refused}");

    second.begin().unwrap();
    write(&mut second, Topic::Events, lane, &["of the second"]);
    second.commit("unused", &[]).unwrap();
    assert_eq!(committed(&cluster, Topic::Events, lane, from), ["of the second"]);
    let positions = Positions::open(&cluster, &format!("hookline-{stage}"), TXN).unwrap();
    assert_eq!(positions.committed(Topic::Raw, lane).unwrap(), None);
}

#[test]
fn a_sleeper_that_wakes_with_records_to_send_learns_that_it_was_fenced() {
    let (cluster, lane, stage) = (Broker::shared(), 1, fresh("sleeper"));
    let from = end(&cluster, Topic::Events, lane);
    let mut sleeper = take(&cluster, &stage, lane, TXN);
    let _owner = take(&cluster, &stage, lane, TXN);
    sleeper.begin().unwrap();
    write(&mut sleeper, Topic::Events, lane, &["too late"]);
    // The first answer may be that the transaction has to be aborted; the abort then tells why.
    let told = match sleeper.commit("unused", &[]) {
        Err(TxnError::Abortable { .. }) => sleeper.abort().unwrap_err(),
        Err(error) => error,
        Ok(()) => panic!("a fenced producer committed"),
    };
    assert!(matches!(told, TxnError::Fenced { .. }), "{told}");
    assert!(committed(&cluster, Topic::Events, lane, from).is_empty());
}

#[test]
fn a_transaction_that_outlives_its_timeout_costs_the_producer_and_not_the_lane() {
    let (cluster, lane, stage) = (Broker::shared(), 15, fresh("late"));
    let timeout = Duration::from_secs(1);
    let mut producer = take(&cluster, &stage, lane, timeout);
    producer.begin().unwrap();
    write(&mut producer, Topic::Events, lane, &["too late"]);
    producer.flush().unwrap();
    // The broker looks for such transactions once a second locally, every ten seconds by default.
    pause("the broker to end the transaction", Duration::from_secs(4));
    let told = producer.commit("unused", &[]).unwrap_err();
    assert!(matches!(told, TxnError::Fatal { .. }), "{told}");
    take(&cluster, &stage, lane, timeout).prove().unwrap();
}

#[test]
fn aborted_records_are_never_shown_and_the_producer_goes_on() {
    let (cluster, lane) = (Broker::shared(), 2);
    let mut producer = take(&cluster, &fresh("abort"), lane, TXN);
    let from = end(&cluster, Topic::Events, lane);
    for (payload, commits) in [("a", true), ("b", false), ("c", true)] {
        producer.begin().unwrap();
        write(&mut producer, Topic::Events, lane, &[payload]);
        if commits { producer.commit("unused", &[]) } else { producer.abort() }.unwrap();
    }
    // Records that are still on their way when the abort comes.
    producer.begin().unwrap();
    let many: Vec<String> = (0..20_000).map(|n| format!("aborted {n}")).collect();
    write(&mut producer, Topic::Events, lane, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let started = Instant::now();
    producer.abort().unwrap();
    // Not by the broker's timeout.
    assert!(started.elapsed() < TXN, "the abort took {:?}", started.elapsed());
    producer.begin().unwrap();
    write(&mut producer, Topic::Events, lane, &["d"]);
    producer.commit("unused", &[]).unwrap();
    assert_eq!(committed(&cluster, Topic::Events, lane, from), ["a", "c", "d"]);
}

#[test]
fn flush_tells_the_offsets_at_which_the_records_stand() {
    let (cluster, lane) = (Broker::shared(), 3);
    let mut producer = take(&cluster, &fresh("flush"), lane, TXN);
    for round in 0..5 {
        producer.begin().unwrap();
        let payloads: Vec<String> = (0..100).map(|n| format!("{round} {n}")).collect();
        write(&mut producer, Topic::Events, lane, &payloads.iter().map(String::as_str).collect::<Vec<_>>());
        producer.send(Topic::Seen, lane, Some(b"key"), Some(b"value"), NO_HEADERS).unwrap();
        let written = producer.flush().unwrap();
        let (event, seen) = (written.last(Topic::Events, lane).unwrap(), written.last(Topic::Seen, lane).unwrap());
        assert_eq!(written.last(Topic::Alerts, 0), None);
        assert_eq!(written.iter().count(), 2);
        producer.commit("unused", &[]).unwrap();
        let reader = LaneReader::open(&cluster, Topic::Events, lane, event, Isolation::Committed).unwrap();
        let records = reader.fetch(10, TXN).unwrap();
        assert_eq!(records[0].offset(), event);
        assert_eq!(records[0].payload(), Some(format!("{round} 99").as_bytes()));
        let reader = LaneReader::open(&cluster, Topic::Seen, lane, seen, Isolation::Committed).unwrap();
        assert_eq!(reader.fetch(10, TXN).unwrap()[0].key(), Some(&b"key"[..]));
    }
}

#[test]
fn a_committed_position_is_read_back_with_its_metadata_and_an_unknown_one_is_none() {
    let (cluster, lane, stage) = (Broker::shared(), 4, fresh("position"));
    let group = format!("hookline-{stage}");
    let mut producer = take(&cluster, &stage, lane, TXN);
    let positions = Positions::open(&cluster, &group, TXN).unwrap();
    assert_eq!(positions.committed(Topic::Raw, lane).unwrap(), None);
    for next in [7, 4711] {
        producer.begin().unwrap();
        let metadata = format!("seen=1:{next} ü");
        producer.commit(&group, &[Position { topic: Topic::Raw, partition: lane, next, metadata }]).unwrap();
        let found = positions.committed(Topic::Raw, lane).unwrap().unwrap();
        assert_eq!((found.next, found.metadata), (next, format!("seen=1:{next} ü")));
    }
    assert_eq!(positions.committed(Topic::Raw, lane + 1).unwrap(), None);
}

#[test]
fn a_pending_transaction_hides_the_position_until_the_fence_is_taken() {
    let (cluster, lane, stage) = (Broker::shared(), 5, fresh("pending"));
    let group = format!("hookline-{stage}");
    let position = |next| Position { topic: Topic::Raw, partition: lane, next, metadata: format!("{next}") };
    let mut first = take(&cluster, &stage, lane, TXN);
    first.begin().unwrap();
    first.commit(&group, &[position(1)]).unwrap();
    // The crash: positions are on their way, the commit never comes.
    first.begin().unwrap();
    write(&mut first, Topic::Events, lane, &["left open"]);
    first.flush().unwrap();
    first.send_positions(&group, &[position(2)]).unwrap();

    let positions = Positions::open(&cluster, &group, Duration::from_secs(1)).unwrap();
    assert!(matches!(positions.committed(Topic::Raw, lane), Err(PositionError::NotServed { .. })));
    let _second = take(&cluster, &stage, lane, TXN);
    assert_eq!(positions.committed(Topic::Raw, lane).unwrap().unwrap().next, 1);
}

#[test]
fn an_offset_that_the_partition_does_not_have_is_an_error_and_not_a_jump() {
    let (cluster, lane) = (Broker::shared(), 6);
    let end = end(&cluster, Topic::Events, lane);
    let reader = LaneReader::open(&cluster, Topic::Events, lane, end + 1000, Isolation::Uncommitted).unwrap();
    let started = Instant::now();
    let told = loop {
        match reader.fetch(1, Duration::from_millis(100)) {
            Ok(records) => assert!(records.is_empty() && started.elapsed() < TXN, "no error came"),
            Err(error) => break error,
        }
    };
    match told {
        ReadError::OutOfRange { requested, low, high, .. } => assert_eq!((requested, low, high), (end + 1000, 0, end)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_proof_holds_until_another_takes_the_lane() {
    let (cluster, lane, stage) = (Broker::shared(), 7, fresh("proof"));
    let mut first = take(&cluster, &stage, lane, TXN);
    first.prove().unwrap();
    first.prove().unwrap();
    let mut second = take(&cluster, &stage, lane, TXN);
    let refused = first.prove().unwrap_err();
    assert!(matches!(refused, TxnError::Fenced { .. }), "{refused}");
    second.prove().unwrap();
}

#[test]
fn topics_are_created_once_and_another_number_of_lanes_is_refused() {
    let cluster = Broker::shared();
    assert_eq!(ensure(&cluster, &Plan::new(LANES, 1)).unwrap(), []);
    let refused = ensure(&cluster, &Plan::new(LANES + 1, 1)).unwrap_err();
    match refused {
        TopicsError::Partitions { topic, found, wanted } => {
            assert_eq!((topic, found, wanted), (Topic::Raw, usize::from(LANES), LANES + 1));
        }
        other => panic!("{other}"),
    }
    let longer = Plan { window: Duration::from_secs(30 * 24 * 3600), ..Plan::new(LANES, 1) };
    let refused = ensure(&cluster, &longer).unwrap_err();
    assert!(matches!(refused, TopicsError::Setting { topic: Topic::Seen, setting: "retention.ms", .. }), "{refused}");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let patience = Duration::from_secs(1);
    let refused = ensure(&Cluster::new("127.0.0.1:1"), &Plan { patience, ..Plan::new(4, 1) }).unwrap_err();
    assert!(refused.to_string().contains("127.0.0.1:1"), "{refused}");
}

#[test]
fn starters_that_race_agree_on_one_identity() {
    let cluster = Broker::bare(Arc::new(Engines::start()));
    let found: Vec<control::Control> = std::thread::scope(|scope| {
        let starters: Vec<_> =
            (0..4).map(|_| scope.spawn(|| control::read_or_create(&cluster, LANES, 1, 1).unwrap())).collect();
        starters.into_iter().map(|starter| starter.join().unwrap()).collect()
    });
    assert!(found.iter().all(|control| *control == found[0]), "{found:?}");
    let mut identities = 0;
    read_all_committed::<std::convert::Infallible>(&cluster, Topic::Control, 0, None, None, |record| {
        identities += u32::from(record.key() == Some(b"identity"));
        Ok(())
    })
    .unwrap();
    assert_eq!(identities, 1);
    let refused = control::read_or_create(&cluster, LANES, 2, 1).unwrap_err();
    assert!(matches!(refused, ControlError::Mismatch { created: 1, wanted: 2, .. }), "{refused}");
}

#[test]
fn a_seek_shows_the_very_next_record_whatever_was_fetched_ahead() {
    let (cluster, lane) = (Broker::shared(), 8);
    let mut producer = take(&cluster, &fresh("seek"), lane, TXN);
    let from = end(&cluster, Topic::Events, lane);
    producer.begin().unwrap();
    let payloads: Vec<String> = (0..50_000).map(|n| n.to_string()).collect();
    write(&mut producer, Topic::Events, lane, &payloads.iter().map(String::as_str).collect::<Vec<_>>());
    producer.commit("unused", &[]).unwrap();
    let mut reader = LaneReader::open(&cluster, Topic::Events, lane, from, Isolation::Committed).unwrap();
    for round in 0..15_i64 {
        // Take some, with much more fetched ahead, then go back or forth.
        let taken = reader.fetch(1 + (round as usize * 37) % 900, TXN).unwrap();
        assert!(!taken.is_empty());
        drop(taken);
        let target = from + (round * 7919) % 49_000;
        reader.seek(target).unwrap();
        let records = reader.fetch(1, TXN).unwrap();
        assert_eq!(records[0].offset(), target, "round {round}");
    }
}

#[test]
fn a_scan_ends_at_the_stable_end_though_markers_and_aborted_records_stand_before_it() {
    let (cluster, lane) = (Broker::shared(), 9);
    let mut producer = take(&cluster, &fresh("scan"), lane, TXN);
    // The fence aborts a transaction, and Kafka writes its marker a moment after it has answered.
    let scan = |from| {
        read_all_committed::<std::convert::Infallible>(&cluster, Topic::Seen, lane, Some(from), None, |_| Ok(()))
            .unwrap()
    };
    let settled = Instant::now() + TXN;
    while scan(0).end != end(&cluster, Topic::Seen, lane) && Instant::now() < settled {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let from = end(&cluster, Topic::Seen, lane);
    for commits in [true, true, false, false] {
        producer.begin().unwrap();
        write(&mut producer, Topic::Seen, lane, &["x", "y"]);
        producer.flush().unwrap(); // or an abort would drop what has not left yet
        if commits { producer.commit("unused", &[]) } else { producer.abort() }.unwrap();
    }
    let started = Instant::now();
    let scanned = scan(from);
    assert_eq!((scanned.records, scanned.end), (4, from + 12));
    assert!(started.elapsed() < TXN, "{:?}", started.elapsed());
    // An open transaction is beyond the stable end and is not waited for.
    producer.begin().unwrap();
    write(&mut producer, Topic::Seen, lane, &["open"]);
    producer.flush().unwrap();
    assert_eq!(committed(&cluster, Topic::Seen, lane, from).len(), 4);
    producer.abort().unwrap();
    assert_eq!(committed(&cluster, Topic::Seen, lane, end(&cluster, Topic::Seen, lane)), Vec::<String>::new());
}

#[test]
fn headers_nulls_and_times_arrive_as_they_were_sent() {
    let (cluster, lane) = (Broker::shared(), 10);
    let mut producer = take(&cluster, &fresh("cut"), lane, TXN);
    let from = end(&cluster, Topic::Events, lane);
    producer.begin().unwrap();
    let headers = [("cut", "1".to_owned()), ("raw-hi", "42".to_owned()), ("empty", String::new())];
    producer.send(Topic::Events, lane, None, None, &headers).unwrap();
    producer.commit("unused", &[]).unwrap();
    let reader = LaneReader::open(&cluster, Topic::Events, lane, from, Isolation::Committed).unwrap();
    let records = reader.fetch(1, TXN).unwrap();
    let record = &records[0];
    assert_eq!((record.key(), record.payload()), (None, None));
    assert_eq!(record.headers().get("raw-hi"), Some(&b"42"[..]));
    assert_eq!(record.headers().get("other"), None);
    let all: Vec<(&str, &[u8])> = record.headers().iter().collect();
    assert_eq!(all, [("cut", &b"1"[..]), ("raw-hi", &b"42"[..]), ("empty", &b""[..])]);
    let now = jiff::Timestamp::now().as_millisecond();
    assert!((now - record.timestamp_ms()).abs() < 60_000);
}

#[test]
fn lag_counts_down_to_zero_at_the_end() {
    let (cluster, lane) = (Broker::shared(), 11);
    let mut producer = take(&cluster, &fresh("lag"), lane, TXN);
    let from = end(&cluster, Topic::Events, lane);
    producer.begin().unwrap();
    write(&mut producer, Topic::Events, lane, &["x"; 100]);
    producer.commit("unused", &[]).unwrap();
    let reader = LaneReader::open(&cluster, Topic::Events, lane, from, Isolation::Committed).unwrap();
    assert_eq!((reader.lag_records(), reader.lag_ms(0)), (None, None));
    assert_eq!(reader.fetch(40, TXN).unwrap().len(), 40);
    let started = Instant::now();
    while reader.end().is_none() && started.elapsed() < TXN {
        // The end comes with the client's statistics, every two seconds.
        assert_eq!(reader.fetch(1, TXN).unwrap().len(), 1);
        pause("statistics", Duration::from_millis(50));
    }
    assert_eq!(reader.lag_records(), Some(from + 101 - reader.position()));
    assert!(!reader.is_at_end());
    while !reader.is_at_end() && started.elapsed() < TXN {
        reader.fetch(100, Duration::from_millis(100)).unwrap();
    }
    assert_eq!((reader.lag_records(), reader.lag_ms(i64::MAX)), (Some(0), Some(0)));
}

#[test]
fn a_time_is_found_as_an_offset() {
    let (cluster, lane) = (Broker::shared(), 12);
    let mut producer = take(&cluster, &fresh("time"), lane, TXN);
    pause("a time after that of the fence", Duration::from_millis(5));
    producer.begin().unwrap();
    write(&mut producer, Topic::Events, lane, &["x"]);
    let offset = producer.flush().unwrap().last(Topic::Events, lane).unwrap();
    producer.commit("unused", &[]).unwrap();
    let reader = LaneReader::open(&cluster, Topic::Events, lane, offset, Isolation::Committed).unwrap();
    let time = reader.fetch(1, TXN).unwrap()[0].timestamp_ms();
    let positions = Positions::open(&cluster, "test-times", TXN).unwrap();
    assert_eq!(positions.offset_at(Topic::Events, lane, time).unwrap(), Some(offset));
    assert_eq!(positions.offset_at(Topic::Events, lane, time + 3_600_000).unwrap(), None);
}
