//! A broker that keeps its connections and says nothing, while another leads what it led.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use hookline_kafka::lane::{Isolation, LaneReader};
use hookline_kafka::{Cluster, Topic};
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Less than the minute that a client waits by default.
const SOON: Duration = Duration::from_secs(40);

fn write(brokers: &str, payload: &str) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    producer.send(BaseRecord::<(), _>::to(Topic::Raw.name()).partition(0).payload(payload)).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
}

fn next(reader: &LaneReader) -> Vec<u8> {
    let begun = Instant::now();
    loop {
        if let Some(record) = reader.fetch(1, Duration::from_millis(200)).unwrap().first() {
            return record.payload().unwrap().to_vec();
        }
        assert!(begun.elapsed() < SOON, "nothing is read for {SOON:?}");
    }
}

#[test]
fn a_lane_reads_on_from_the_new_leader_though_the_old_one_is_silent() {
    let brokers = MockCluster::new(3).unwrap();
    brokers.create_topic(Topic::Raw.name(), 1, 3).unwrap();
    brokers.partition_leader(Topic::Raw.name(), 0, Some(1)).unwrap();
    let all = brokers.bootstrap_servers();
    let (_, others) = all.split_once(',').unwrap();
    write(&all, "one");
    let reader = LaneReader::open(&Cluster::new(&all), Topic::Raw, 0, 0, Isolation::Uncommitted).unwrap();
    assert_eq!(next(&reader), b"one");

    brokers.broker_round_trip_time(1, Duration::from_secs(3_600)).unwrap();
    brokers.partition_leader(Topic::Raw.name(), 0, Some(2)).unwrap();
    write(others, "two");
    assert_eq!(next(&reader), b"two");
}
