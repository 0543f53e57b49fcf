//! Receivers that misbehave, beside one that is well.

use std::collections::BTreeMap;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

/// Messages that the receiver that is well is owed, and each of the others.
const MESSAGES: usize = 150;

/// A receiver that reads a message and then does not answer: it ends the connection, or leaves it as it is.
async fn silent(resets: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut bytes = [0; 4_096];
            let read = connection.read(&mut bytes).await;
            if !resets {
                kept.push((connection, read));
            }
        }
    });
    url
}

/// From handing a message out to what is told of it, in microseconds; and what is told of the others.
async fn latencies(running: &Running, others: &[&str]) -> (Vec<u128>, BTreeMap<String, Vec<Outcome>>) {
    let (mut given, mut took, mut told) = (BTreeMap::new(), Vec::new(), BTreeMap::<String, Vec<Outcome>>::new());
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut number = 0;
    while took.len() < MESSAGES {
        assert!(Instant::now() < deadline, "{} of {MESSAGES} are delivered", took.len());
        if number < MESSAGES {
            let id = format!("well-{number}");
            given.insert(id.clone(), Instant::now());
            running.workers.give(owed("well", &id));
            for name in others {
                running.workers.give(owed(name, &format!("{name}-{number}")));
            }
            number += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        for outcome in running.outcomes.try_iter() {
            match given.get(&outcome.bundle_id) {
                Some(at) => {
                    assert_eq!(outcome.stage, DeliveryStage::Delivered, "{outcome:?}");
                    took.push(at.elapsed().as_micros());
                }
                None => {
                    let name = outcome.bundle_id.split('-').next().unwrap().to_owned();
                    told.entry(name).or_default().push(outcome);
                }
            }
        }
    }
    took.sort_unstable();
    (took, told)
}

#[tokio::test]
async fn receivers_that_misbehave_in_every_way_delay_no_other() {
    let well = Receiver::start(|_| StatusCode::OK.into_response()).await;
    let busy = Receiver::start(|_| (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response()).await;
    let gone = Receiver::start(|_| StatusCode::GONE.into_response()).await;
    let private = [("location", "http://169.254.169.254/latest/meta-data")];
    let redirects = Receiver::start(move |_| (StatusCode::TEMPORARY_REDIRECT, private).into_response()).await;
    let (hangs, resets) = (silent(false).await, silent(true).await);
    let running = Running::start(vec![
        webhook("well", well.url(), true),
        webhook("hangs", hangs, true),
        webhook("resets", resets, true),
        webhook("busy", busy.url(), true),
        webhook("gone", gone.url(), true),
        webhook("redirects", redirects.url(), true),
    ]);
    let (alone, _) = latencies(&running, &[]).await;
    let (beside, told) = latencies(&running, &["hangs", "resets", "busy", "gone", "redirects"]).await;
    let at = |took: &[u128], percent: usize| Duration::from_micros(took[took.len() * percent / 100] as u64);
    println!(
        "alone: median {:?}, p99 {:?}; beside five that misbehave: median {:?}, p99 {:?}",
        at(&alone, 50),
        at(&alone, 99),
        at(&beside, 50),
        at(&beside, 99)
    );
    // A wide bound: one that waits for another would take the ten seconds of an attempt.
    assert!(at(&beside, 99) < at(&alone, 99) + Duration::from_secs(3), "{:?}", at(&beside, 99));

    // Each is left alone as it asks for, or as long as it takes nothing; nothing is lost or given up.
    assert!(told.values().flatten().all(|one| one.stage == DeliveryStage::Attempted), "{told:?}");
    let asked = |name: &str| told.get(name).map_or(0, Vec::len);
    assert_eq!(
        (busy.got().len(), gone.got().len()),
        (1, 1),
        "one that asks for an hour gets it; one that is gone, all"
    );
    assert_eq!((told["busy"][0].status, told["gone"][0].status), (429, 410));
    assert!(told["busy"][0].not_before >= told["busy"][0].at + 3_600_000, "{:?}", told["busy"]);
    assert!(told["resets"].iter().all(|one| one.status == 0 && !one.error.is_empty()), "{:?}", told["resets"]);
    assert!(told["redirects"].iter().all(|one| one.status == 307), "{:?}", told["redirects"]);
    assert!((1..MESSAGES).contains(&asked("resets")) && (1..MESSAGES).contains(&asked("redirects")), "they are spared");
    assert!(redirects.got().iter().all(|one| one.path == "/hook"), "no redirect is followed");
    assert!(["busy", "gone", "resets", "redirects"].iter().all(|name| running.circuit(name) || asked(name) < 5));
}
