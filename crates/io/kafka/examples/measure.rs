//! What a fence, a transaction and a record cost on a running broker: `cargo run -p kafka --example measure -- 127.0.0.1:9092`.
//!
//! CPU is this process's own, all threads.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use std::time::{Duration, Instant};

use hookline_kafka::edge::{EdgeOptions, EdgeProducer, EdgeRecord};
use hookline_kafka::lane::{Fence, Isolation, LaneReader, NO_HEADERS, Position, Writes};
use hookline_kafka::topics::{Plan, ensure};
use hookline_kafka::{Cluster, Topic};

const TXN: Duration = Duration::from_secs(10);

/// CPU time of this process in microseconds (`/proc/self/stat`, fields 14 and 15, in ticks of 10 ms).
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

fn per(what: &str, count: u64, run: impl FnOnce()) {
    let (before, started) = (cpu(), Instant::now());
    run();
    let (spent, took) = (cpu() - before, started.elapsed());
    let each = spent as f64 / count as f64;
    println!("{what:<58} {each:>8.2} µs CPU each, {:>8.0}/s", count as f64 / took.as_secs_f64());
}

#[tokio::main]
async fn main() {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".into());
    let cluster = Cluster::new(brokers);
    let lanes = cluster.clone();
    tokio::task::spawn_blocking(move || transactions(&lanes)).await.unwrap();
    edge(&cluster).await;
}

fn transactions(cluster: &Cluster) {
    ensure(cluster, &Plan::new(16, 1)).unwrap();
    let started = Instant::now();
    let mut producer =
        Fence::open(cluster, "measure", 15, TXN, Writes::records([(Topic::Events, 15)]).positions("hookline-measure"))
            .unwrap();
    println!("a fence: {:?}", started.elapsed());
    let body = vec![b'x'; 650];
    for records in [0, 10, 1000] {
        let mut times: Vec<Duration> = (0..200)
            .map(|n| {
                producer.begin().unwrap();
                for _ in 0..records {
                    producer.send(Topic::Events, 15, None, Some(&body), NO_HEADERS).unwrap();
                }
                if records > 0 {
                    producer.send(Topic::Seen, 15, None, Some(&body), NO_HEADERS).unwrap();
                }
                let started = Instant::now();
                let position = Position { topic: Topic::Raw, partition: 15, next: n, metadata: "seen=1".into() };
                producer.commit("hookline-measure", &[position]).unwrap();
                started.elapsed()
            })
            .collect();
        times.sort();
        println!("a transaction of {records} records, flush to commit: median {:?}, p99 {:?}", times[100], times[197]);
    }
    let started = Instant::now();
    for _ in 0..50 {
        producer.prove().unwrap();
    }
    println!("a proof: {:?}", started.elapsed() / 50);

    const MANY: u64 = 400_000;
    per("lane: a record of 650 bytes, 20,000 a transaction", MANY, || {
        for _ in 0..MANY / 20_000 {
            producer.begin().unwrap();
            for _ in 0..20_000 {
                producer.send(Topic::Events, 15, None, Some(&body), NO_HEADERS).unwrap();
            }
            producer.commit("unused", &[]).unwrap();
        }
    });
    let positions = hookline_kafka::positions::Positions::open(cluster, "measure", TXN).unwrap();
    let end = positions.stable(Topic::Events, 15).unwrap().end;
    per("reader: a record of 650 bytes", MANY, || {
        let reader = LaneReader::open(cluster, Topic::Events, 15, end - MANY as i64, Isolation::Committed).unwrap();
        let mut bytes = 0;
        while !reader.is_at_end() {
            for record in reader.fetch(10_000, Duration::from_millis(100)).unwrap() {
                bytes += record.payload().map_or(0, <[u8]>::len);
            }
        }
        assert!(bytes > 0);
    });
}

async fn edge(cluster: &Cluster) {
    let edge = EdgeProducer::open(cluster, EdgeOptions::default()).unwrap();
    while !edge.is_up() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let body = vec![b'x'; 1200];
    let headers: Vec<(&str, &[u8])> = vec![
        ("hl-version", b"1"),
        ("source", b"short-links"),
        ("adapter", b"dub"),
        ("received-at", b"1764000000000"),
        ("request-id", b"0190f3c2-7c1a-7000-8000-0123456789ab"),
        ("secret-id", b"primary"),
        ("content-type", b"application/json"),
    ];
    for count in [0, 1, 7] {
        for batch in [1, 100] {
            const RECORDS: usize = 200_000;
            let record = EdgeRecord {
                topic: Topic::Raw,
                partition: 15,
                key: b"click:yNrYm0F6r1KMnq6N",
                payload: &body,
                headers: &headers[..count],
            };
            let request = vec![record; batch];
            let before = (cpu(), Instant::now());
            let mut waiting = Vec::new();
            for _ in 0..RECORDS / batch {
                waiting.push(edge.send(&request).unwrap());
                if waiting.len() * batch >= 10_000 {
                    for delivery in waiting.drain(..) {
                        let results = delivery.wait(Instant::now() + TXN).await;
                        assert!(results.iter().all(Result::is_ok));
                    }
                }
            }
            for delivery in waiting {
                assert!(delivery.wait(Instant::now() + TXN).await.iter().all(Result::is_ok));
            }
            let each = (cpu() - before.0) as f64 / RECORDS as f64;
            let rate = RECORDS as f64 / before.1.elapsed().as_secs_f64();
            println!(
                "edge: a record of 1,200 bytes, {count} headers, {batch:>3} a request       {each:>8.2} µs CPU each, {rate:>8.0}/s"
            );
        }
    }
}
