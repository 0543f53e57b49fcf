//! The watch over lanes on a real broker: a lane whose client is given nothing is opened again; markers alone are no lag.
#![allow(clippy::unwrap_used, reason = "in a test every failure is a panic, in its own functions as well")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kafka::lane::{End, Isolation, LaneReader, NO_HEADERS, pause};
use kafka::topics::Plan;
use kafka::{Cluster, Topic, watch};
use runtime::{LaneSet, Shutdown, Telemetry};

use crate::kafka_lanes::{Broker, TXN, end, fresh, take};

/// As [`Cluster`], for a client that the broker gives nothing: it asks for more than there will ever be, and waits for five minutes.
fn given_nothing(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    for (name, value) in
        [("fetch.min.bytes", "90000000"), ("fetch.wait.max.ms", "290000"), ("socket.timeout.ms", "300000")]
    {
        cluster.properties.insert(name.into(), value.into());
    }
    cluster
}

fn until(telemetry: &Telemetry, line: &str) {
    let started = Instant::now();
    while !telemetry.metrics.render().unwrap().contains(line) {
        assert!(started.elapsed() < 3 * TXN, "{line} never came:\n{}", telemetry.metrics.render().unwrap());
        pause("a metric", Duration::from_millis(50));
    }
}

#[test]
fn a_lane_whose_client_is_given_nothing_though_there_is_something_is_opened_again() {
    let (broker, lane) = (Broker::shared(), 7);
    let cluster: Cluster = (*broker).clone();
    let from = end(&cluster, Topic::Events, lane);
    let (telemetry, shutdown) = (Telemetry::new("").unwrap(), Shutdown::default());
    let openings = Arc::new(AtomicU32::new(0));
    let (tell, told) = mpsc::channel();
    let (opened, good) = (Arc::clone(&openings), cluster.clone());
    let lanes = LaneSet::start("report", [lane], &telemetry, &shutdown, move |lane, component, stop| {
        let first = opened.fetch_add(1, Ordering::SeqCst) == 0;
        let cluster = if first { given_nothing(&good) } else { good.clone() };
        let read = || -> Result<(), End> {
            let reader = LaneReader::open(&cluster, Topic::Events, lane, from, Isolation::Committed)?;
            component.ready();
            while !stop.is_stopping() {
                for record in reader.fetch(10, Duration::from_millis(200))? {
                    tell.send(record.offset()).unwrap();
                }
            }
            Ok(())
        };
        read()
    })
    .unwrap();
    let watching = watch::start(&cluster, &Plan::new(16, 1), &telemetry, &shutdown).unwrap();

    // Markers only: the fence's transaction was aborted, and so is this one. The lane has nothing to read.
    let mut producer = take(&cluster, &fresh("watch"), lane, TXN);
    producer.begin().unwrap();
    producer.send(Topic::Events, lane, None, Some(b"aborted"), NO_HEADERS).unwrap();
    producer.flush().unwrap();
    producer.abort().unwrap();
    pause("the watch to have a reason, if it thinks so", Duration::from_secs(14));
    assert_eq!(openings.load(Ordering::SeqCst), 1, "markers are no reason to open again");
    until(&telemetry, r#"hookline_lag_records{service="report",topic="events"} 0"#);

    producer.begin().unwrap();
    producer.send(Topic::Events, lane, None, Some(b"there"), NO_HEADERS).unwrap();
    let offset = producer.flush().unwrap().last(Topic::Events, lane).unwrap();
    producer.commit("unused", &[]).unwrap();
    assert_eq!(told.recv_timeout(3 * TXN), Ok(offset), "the lane never read it");
    assert_eq!(openings.load(Ordering::SeqCst), 2);
    until(&telemetry, r#"hookline_lane_reopened_total{service="report"} 1"#);
    until(&telemetry, r#"hookline_lag_records{service="report",topic="events"} 0"#);
    assert!(telemetry.health.is_ready(), "{:?}", telemetry.health.states());
    shutdown.stop();
    lanes.join();
    watching.join().unwrap();
}
