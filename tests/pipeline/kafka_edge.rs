//! The producer of the HTTP edge against a real broker, and a lane that is copied behind it.
#![allow(clippy::unwrap_used, reason = "in a test every failure is a panic, in its own functions as well")]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use kafka::Cluster;
use kafka::Topic;
use kafka::edge::{EdgeError, EdgeOptions, EdgeProducer, EdgeRecord};
use kafka::lane::{Fence, Isolation, LaneReader, NO_HEADERS, Position, TxnError, Writes, pause};
use kafka::positions::{PositionError, Positions};

use crate::kafka_lanes::{Broker, TXN, committed, end as end_of, fresh};

fn headers() -> Vec<(Cow<'static, str>, Vec<u8>)> {
    vec![("source".into(), b"short-links".to_vec()), ("received-at".into(), b"1764000000000".to_vec())]
}

/// For tests whose subject is not the deadline: a busy machine may be slow.
fn patient() -> EdgeOptions {
    EdgeOptions { delivery_timeout: 3 * TXN, ..EdgeOptions::default() }
}

async fn up(edge: &EdgeProducer, within: Duration) {
    let started = Instant::now();
    while !edge.is_up() {
        assert!(started.elapsed() < within, "the edge does not find Kafka");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_acknowledged_request_stands_in_raw_in_its_order() {
    let lane = 13;
    let cluster = tokio::task::spawn_blocking(Broker::shared).await.unwrap();
    let edge = EdgeProducer::open(&cluster, patient()).unwrap();
    up(&edge, 3 * TXN).await;
    let headers = headers();
    let payloads: Vec<String> = (0..250).map(|n| format!("event {n}")).collect();
    let records: Vec<EdgeRecord<'_>> = payloads
        .iter()
        .map(|payload| EdgeRecord {
            topic: Topic::Raw,
            partition: lane,
            key: b"key",
            payload: payload.as_bytes(),
            headers: &headers,
        })
        .collect();
    let results = edge.send(&records).unwrap().wait(Instant::now() + 4 * TXN).await;
    let offsets: Vec<i64> = results.into_iter().map(|result| result.unwrap().1).collect();
    assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "raw has no gap: {offsets:?}");
    assert_eq!(edge.flush(Duration::from_secs(1)).await, 0);
    let (first, expected) = (offsets[0], payloads.clone());
    tokio::task::spawn_blocking(move || {
        let reader = LaneReader::open(&cluster, Topic::Raw, lane, first, Isolation::Uncommitted).unwrap();
        let mut found = Vec::new();
        while found.len() < expected.len() {
            for record in reader.fetch(1000, TXN).unwrap() {
                assert_eq!(record.headers().get("source"), Some(&b"short-links"[..]));
                found.push(String::from_utf8(record.payload().unwrap().to_vec()).unwrap());
            }
        }
        assert_eq!(found, expected);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_full_queue_is_an_error_at_once_and_takes_nothing() {
    let cluster = tokio::task::spawn_blocking(Broker::shared).await.unwrap();
    // A long linger keeps the first request waiting.
    let options = EdgeOptions { linger: Duration::from_millis(800), max_records: 100, ..patient() };
    let edge = EdgeProducer::open(&cluster, options.clone()).unwrap();
    up(&edge, 3 * TXN).await;
    let headers = headers();
    let record = EdgeRecord { topic: Topic::Raw, partition: 14, key: b"key", payload: b"x", headers: &headers };
    let first = edge.send(&[record; 90]).unwrap();
    let started = Instant::now();
    assert!(matches!(edge.send(&[record; 11]), Err(EdgeError::QueueFull { records: 90, .. })));
    // At once: before the queue drains, which the linger holds back.
    assert!(started.elapsed() < options.linger, "{:?}", started.elapsed());
    let second = edge.send(&[record; 10]).unwrap();
    for (request, records) in [(first, 90), (second, 10)] {
        let results = request.wait(Instant::now() + 4 * TXN).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), records);
    }
    assert_eq!(edge.waiting(), (0, 0));
}

#[tokio::test]
async fn without_a_broker_a_request_is_refused_at_once() {
    let edge = EdgeProducer::open(&Cluster::new("127.0.0.1:1"), EdgeOptions::default()).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let headers = headers();
    let record = EdgeRecord { topic: Topic::Raw, partition: 0, key: b"key", payload: b"x", headers: &headers };
    assert_eq!(edge.send(&[record]).unwrap_err(), EdgeError::Down);
}

/// Sends a record again and again until it is acknowledged, as senders do.
async fn delivered(edge: &EdgeProducer, record: EdgeRecord<'_>) {
    let started = Instant::now();
    loop {
        let result = match edge.send(&[record]) {
            Ok(delivery) => {
                delivery.wait(Instant::now() + Duration::from_millis(3800)).await[0].map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(_) => return,
            Err(error) => assert!(started.elapsed() < 3 * TXN, "no request succeeds: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_broker_that_hangs_fails_requests_before_the_deadline_and_is_found_again() {
    let cluster = tokio::task::spawn_blocking(Broker::own).await.unwrap();
    let edge = EdgeProducer::open(&cluster, EdgeOptions::default()).unwrap();
    up(&edge, 3 * TXN).await;
    let headers = headers();
    let record = EdgeRecord { topic: Topic::Raw, partition: 15, key: b"key", payload: b"x", headers: &headers };
    delivered(&edge, record).await;

    cluster.signal("-STOP");
    let started = Instant::now();
    let results = edge.send(&[record; 3]).unwrap().wait(started + Duration::from_millis(3800)).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(results.iter().all(Result::is_err), "{results:?}");
    while !matches!(edge.send(&[record]), Err(EdgeError::Down)) {
        assert!(started.elapsed() < Duration::from_secs(8), "requests are still taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Long enough for the edge to give its client up, and to try others, none of which can be ended as long as the broker hangs.
    tokio::time::sleep(Duration::from_secs(16)).await;
    cluster.signal("-CONT");

    up(&edge, 3 * TXN).await;
    // What was under way when the broker stopped has failed; what is sent now must not.
    delivered(&edge, record).await;
    assert_eq!(edge.flush(TXN).await, 0);
}

/// One owner of a lane: fences, reads its position, and copies `raw` to `events` until it is fenced or `end` is reached.
fn copy_lane(
    cluster: &Cluster,
    stage: &str,
    lane: u16,
    start: i64,
    end: i64,
) -> Result<bool, Box<dyn std::error::Error>> {
    let group = format!("hookline-{stage}");
    let mut producer =
        Fence::open(cluster, stage, lane, TXN, Writes::records([(Topic::Events, lane)]).positions(&group))?;
    let positions = Positions::open(cluster, &group, TXN)?;
    let committed = || -> Result<i64, PositionError> {
        Ok(positions.committed(Topic::Raw, lane)?.map_or(start, |committed| committed.next))
    };
    let mut reader = LaneReader::open(cluster, Topic::Raw, lane, committed()?, Isolation::Uncommitted)?;
    while reader.position() < end {
        let records = reader.fetch(500, Duration::from_millis(100))?;
        if records.is_empty() {
            continue;
        }
        producer.begin()?;
        let copied = records
            .iter()
            .try_for_each(|record| producer.send(Topic::Events, lane, record.key(), record.payload(), NO_HEADERS))
            .and_then(|()| {
                let position =
                    Position { topic: Topic::Raw, partition: lane, next: reader.position(), metadata: String::new() };
                producer.commit(&group, &[position])
            });
        drop(records);
        match copied {
            Ok(()) => {}
            Err(TxnError::Abortable { .. }) => {
                producer.abort()?;
                reader.seek(committed()?)?;
            }
            Err(ended) => return Err(ended.into()),
        }
    }
    Ok(true)
}

#[tokio::test]
async fn a_lane_is_copied_exactly_once_through_takeovers_at_any_moment() {
    const RECORDS: usize = 30_000;
    let lane = 16;
    let cluster = tokio::task::spawn_blocking(Broker::shared).await.unwrap();
    let edge = EdgeProducer::open(&cluster, patient()).unwrap();
    up(&edge, 3 * TXN).await;
    let headers = headers();
    let payloads: Vec<String> = (0..RECORDS).map(|n| n.to_string()).collect();
    let mut offsets = Vec::new();
    for chunk in payloads.chunks(1000) {
        let records: Vec<EdgeRecord<'_>> = chunk
            .iter()
            .map(|payload| EdgeRecord {
                topic: Topic::Raw,
                partition: lane,
                key: b"key",
                payload: payload.as_bytes(),
                headers: &headers,
            })
            .collect();
        let results = edge.send(&records).unwrap().wait(Instant::now() + 4 * TXN).await;
        offsets.extend(results.into_iter().map(|result| result.unwrap().1));
    }
    let (start, end) = (offsets[0], offsets[RECORDS - 1] + 1);
    tokio::task::spawn_blocking(move || {
        let stage = fresh("copy");
        let from = end_of(&cluster, Topic::Events, lane);
        let done = std::sync::atomic::AtomicBool::new(false);
        let takeovers = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            // Three would-be owners that keep taking the lane from each other, at moments that drift apart.
            for owner in 0..3_u64 {
                let (cluster, stage, done, takeovers) = (&cluster, &stage, &done, &takeovers);
                scope.spawn(move || {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        match copy_lane(cluster, stage, lane, start, end) {
                            Ok(_) => done.store(true, std::sync::atomic::Ordering::Relaxed),
                            Err(ended) => {
                                takeovers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                                println!("owner {owner} ended: {ended}");
                                pause("another moment", Duration::from_millis(300 + owner * 170));
                            }
                        }
                    }
                });
            }
        });
        assert!(takeovers.into_inner() > 0, "nobody took the lane over");
        assert_eq!(committed(&cluster, Topic::Events, lane, from), payloads);
    })
    .await
    .unwrap();
}
