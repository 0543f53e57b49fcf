//! Headers that any program with the right to write to a topic can write.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "the client's own writer takes names in UTF-8 alone")]

use std::ptr;
use std::time::{Duration, Instant};

use hookline_kafka::lane::{Isolation, LaneReader};
use hookline_kafka::{Cluster, Topic};
use rdkafka::bindings::{rd_kafka_header_add, rd_kafka_resp_err_t};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Adds a header whose name is not UTF-8.
fn add(headers: &OwnedHeaders, name: &[u8], value: &[u8]) {
    let raw = ptr::from_ref(headers.as_borrowed()).cast_mut().cast();
    // SAFETY: the reference is the client's pointer to these headers, which no one else has; name and value are copied.
    let told = unsafe {
        rd_kafka_header_add(raw, name.as_ptr().cast(), name.len() as isize, value.as_ptr().cast(), value.len() as isize)
    };
    assert_eq!(told, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
}

#[test]
fn a_header_whose_name_is_not_utf8_is_passed_over_and_the_record_is_read() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic(Topic::Raw.name(), 1, 1).unwrap();
    let all = brokers.bootstrap_servers();
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &all).create().unwrap();
    let mut headers = OwnedHeaders::new().insert(Header { key: "first", value: Some("1") });
    add(&headers, b"na\xff\xfeme", b"theirs");
    headers = headers.insert(Header { key: "null", value: None::<&str> });
    headers = headers.insert(Header { key: "last", value: Some("2") });
    let record = |payload| BaseRecord::<(), _>::to(Topic::Raw.name()).partition(0).payload(payload);
    producer.send(record("damaged").headers(headers)).unwrap();
    let alone = OwnedHeaders::new();
    add(&alone, b"\xc3", b"");
    producer.send(record("alone").headers(alone)).unwrap();
    producer.send(record("none")).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();

    let reader = LaneReader::open(&Cluster::new(&all), Topic::Raw, 0, 0, Isolation::Uncommitted).unwrap();
    let (begun, mut read) = (Instant::now(), 0);
    while read < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the records are not read");
        for record in &reader.fetch(10, Duration::from_millis(200)).unwrap() {
            let headers = record.headers();
            let shown: Vec<(&str, &[u8])> = headers.iter().collect();
            match record.payload().unwrap() {
                b"damaged" => {
                    assert_eq!(shown, [("first", &b"1"[..]), ("null", b""), ("last", b"2")]);
                    assert_eq!((headers.get("last"), headers.get("absent")), (Some(&b"2"[..]), None));
                    assert!(!headers.is_empty());
                }
                b"alone" => assert!(shown.is_empty() && !headers.is_empty()),
                _ => assert!(shown.is_empty() && headers.is_empty()),
            }
            read += 1;
        }
    }
}
