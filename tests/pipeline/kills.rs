//! Services killed with kill -9 in mid-stream: counted once all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use config::Fresh;
use testkit::dub::Generator;
use testkit::oracle::{Fleet, settle, verify};

use crate::harness::{Running, dub};

/// Clicks that are sent, one in ten of them again; `HOOKLINE_TEST_CLICKS` sends more.
const CLICKS: u64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn services_killed_at_random_lose_nothing_and_count_nothing_twice() {
    let clicks = std::env::var("HOOKLINE_TEST_CLICKS").map_or(CLICKS, |number| number.parse().unwrap());
    counted_once_under_kills(clicks, &["ingest", "process", "report"], 42).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_killed_between_the_services_change_nothing_of_that() {
    counted_once_under_kills(30_000, &["kafka", "clickhouse", "process", "report", "clickhouse"], 43).await;
}

async fn counted_once_under_kills(clicks: u64, targets: &'static [&'static str], seed: u64) {
    let different = clicks / 10 * 9;
    let running = Running::engines();
    let folder = running.folder.path();
    let config = Fresh::new([7; 96]).write(folder).unwrap();
    let fleet = Fleet::start(folder, &config, &running.house.addresses, &["ingest", "process", "report"]).unwrap();
    let fleet = Arc::new(fleet);

    let stop = Arc::new(AtomicBool::new(false));
    let killer = {
        let (fleet, stop) = (Arc::clone(&fleet), Arc::clone(&stop));
        tokio::spawn(async move { fleet.harass(targets, seed, &stop).await })
    };
    let bodies = clicks_with_repeats(clicks, different);
    let sent = dub(&fleet.ingest(), folder).deliver_all(bodies, 64).await;
    let sent = sent.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    assert_eq!(sent.accepted, clicks);
    // A few more kills while the rest is on its way.
    tokio::time::sleep(Duration::from_secs(10)).await;
    stop.store(true, Ordering::Relaxed);
    let kills = killer.await.unwrap().unwrap();

    let asker = running.asker();
    let settled = settle(&asker, different, Duration::from_secs(120)).await;
    settled.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    verify(&asker, different).await.unwrap();
    println!("{clicks} clicks, {} attempts repeated, {kills} kills of {targets:?}", sent.repeated);
    assert!(kills >= 3, "only {kills} kills");
    Arc::into_inner(fleet).unwrap().stop().unwrap();
}

/// Clicks of which `different` are different; the others come again, near their original or far from it.
fn clicks_with_repeats(clicks: u64, different: u64) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(3);
    let mut bodies: Vec<_> = (0..different).map(|_| generator.click()).collect();
    for repeat in 0..clicks - different {
        let original = bodies[(repeat * 7_919 % different) as usize].clone();
        bodies.push(generator.again(&original));
    }
    bodies
}
