//! Killed under load and started again in the same moment, at the same addresses: what is left of the killed one is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use config::Fresh;
use testkit::House;
use testkit::house::{Program, free_address};
use testkit::oracle::{settle, variables, verify};

use crate::harness::{Running, SOON, dub, until};

/// kill -9 and a start at once, so often.
const TIMES: usize = 3;

/// A Dub that sends clicks until the stop, and how many were taken.
fn send(ingest: &str, data: &std::path::Path, seed: u64, stop: &Arc<AtomicBool>) -> Arc<AtomicU64> {
    let (sender, stop, taken) = (dub(ingest, data), Arc::clone(stop), Arc::new(AtomicU64::new(0)));
    let counts = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut clicks = traffic::dub::Generator::new(seed);
        while !stop.load(Ordering::Relaxed) {
            let click = clicks.click();
            // Retried until it is taken: an answer that was lost may be of one that was stored.
            while !sender.once(&click).await.is_ok_and(|(status, _)| status.is_success()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn up_that_is_killed_under_load_starts_again_at_once_at_the_same_ports() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let port = || free_address().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let (kafka, clickhouse, listen, metrics) = (port(), port(), free_address().unwrap(), free_address().unwrap());
    // One that is not asked for by name takes another port where its own is in use.
    let console = free_address().unwrap();
    let arguments = [
        ["--kafka-port", &kafka],
        ["--clickhouse-port", &clickhouse],
        ["--listen", &listen],
        ["--metrics", &metrics],
        ["--console", &console],
    ]
    .concat();
    let mut house = House::up_as(&data, &arguments, &[]).unwrap();
    let ingest = house.addresses.ingest.clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let taken: Vec<_> = (0..8).map(|seed| send(&ingest, &data, seed, &stop)).collect();
    let count = || taken.iter().map(|taken| taken.load(Ordering::Relaxed)).sum::<u64>();
    for _ in 0..TIMES {
        let before = count();
        until(SOON, "clicks are taken", || async { (count() > before + 100).then_some(()) }).await.unwrap();
        // Not waited for: the next one begins while its threads and its engines end.
        house.program.signal("-KILL").unwrap();
        let next = House::up_as(&data, &arguments, &[]).unwrap();
        assert_eq!(next.addresses, house.addresses);
        house = next;
    }
    let before = count();
    until(SOON, "clicks are taken", || async { (count() > before + 100).then_some(()) }).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let asker = testkit::clickhouse::Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let mut last = u64::MAX;
    while last != count() {
        last = count();
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    settle(&asker, count(), SOON).await.unwrap();
    verify(&asker, count()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_starts_again_at_once_at_the_same_ports() {
    let running = Running::engines();
    let folder = running.folder.path();
    let config = Fresh::new([7; 96]).write(folder).unwrap().display().to_string();
    let windows = folder.join("windows").display().to_string();
    let client = testkit::http::client(Duration::from_secs(1)).unwrap();
    for service in ["ingest", "process", "report"] {
        let (metrics, listen) = (free_address().unwrap(), free_address().unwrap());
        let mut arguments = vec![service, "--config", &config, "--metrics", &metrics];
        if service == "ingest" {
            arguments.extend(["--listen", &listen]);
        }
        let more = [("HOOKLINE_PROCESS_DATA", windows.as_str())];
        let variables = [&variables(&running.house.addresses)[..], &more].concat();
        let start = || Program::start(service, folder, &arguments, &variables).unwrap();
        let mut program = start();
        for time in 0..=TIMES {
            until(SOON, service, || async {
                let answer = client.get(format!("http://{metrics}/readyz")).send().await.ok()?;
                answer.status().is_success().then_some(())
            })
            .await
            .unwrap_or_else(|error| panic!("{error}; its log:\n{}", program.log()));
            assert_eq!(program.ended().unwrap(), None, "{}", program.log());
            if time < TIMES {
                program.signal("-KILL").unwrap();
                program = start();
            }
        }
    }
}
