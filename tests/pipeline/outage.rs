//! Kafka stands still and dies under load, with senders that retry: what got a 202 is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::clickhouse::Asker;
use testkit::{Sender, oracle};
use traffic::dub::Generator;
use traffic::load::locked;
use traffic::sender::Answer;

use crate::harness::{Running, engine_pid, signal, until};

/// Senders at once.
const SENDERS: u64 = 24;
/// For how long Kafka stands still; `HOOKLINE_TEST_OUTAGE_SECONDS` says otherwise.
const STANDSTILL: u64 = 15;
/// The longest that an answer may take, and what a busy machine may add to it.
const HARD_ANSWER: Duration = Duration::from_secs(4);
const BUSY: Duration = Duration::from_secs(3);
/// How long everything may take to be in order again.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the senders have seen.
#[derive(Default)]
struct Seen {
    /// The receipt of each 202, and the click that it was for.
    receipts: BTreeMap<String, String>,
    /// Attempts that were answered 503, with Retry-After.
    told_to_wait: u64,
    /// Attempts without an answer.
    unanswered: u64,
    longest: Duration,
    /// What no attempt may have been.
    wrong: Vec<String>,
}

impl Seen {
    /// Notes an attempt to send a click; whether it was taken.
    fn note(&mut self, answer: anyhow::Result<Answer>, took: Duration, click: &str) -> bool {
        let Ok(answer) = answer else {
            self.unanswered += 1;
            return false;
        };
        self.longest = self.longest.max(took);
        if took > HARD_ANSWER + BUSY {
            self.wrong.push(format!("an answer after {took:?}: {} {}", answer.status, answer.text));
        }
        match (answer.status.as_u16(), answer.retry_after) {
            (202, _) => {
                let receipt: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
                self.receipts.insert(receipt["receipt"].as_str().unwrap().to_owned(), click.to_owned());
                return true;
            }
            (503, Some(_)) => self.told_to_wait += 1,
            _ => self.wrong.push(format!("{} {:?} {}", answer.status, answer.retry_after, answer.text)),
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kafka_stopped_and_killed_under_load_nothing_that_got_a_202_is_missing() {
    let standstill =
        std::env::var("HOOKLINE_TEST_OUTAGE_SECONDS").map_or(STANDSTILL, |seconds| seconds.parse().unwrap());
    let running = Running::everything();
    let data = running.folder.path().join("data");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..SENDERS)
        .map(|seed| tokio::spawn(keep_sending(running.dub(), seed, Arc::clone(&seen), Arc::clone(&stop))))
        .collect();
    let taken = || locked(&seen).receipts.len() as u64;
    let flows = async |since: u64, what: &str| {
        until(PATIENCE, what, || async { (taken() >= since + 1_000).then_some(()) }).await.unwrap();
    };
    let ready = format!("{}/readyz", running.ingest());
    let is_ready = async || reqwest::get(&ready).await.unwrap().status().as_u16() == 200;

    flows(0, "clicks are taken").await;
    let kafka = engine_pid(&data, "kafka").await.unwrap();
    signal(kafka, "-STOP").unwrap();
    let begun = Instant::now();
    until(PATIENCE, "not ready", || async { (!is_ready().await).then_some(()) }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(standstill).saturating_sub(begun.elapsed())).await;
    let waited = locked(&seen).told_to_wait;
    let at_the_end = taken();
    assert!(!is_ready().await, "ready without Kafka");
    signal(kafka, "-CONT").unwrap();
    assert!(waited >= SENDERS, "only {waited} attempts were told to wait");
    flows(at_the_end, "clicks are taken after the standstill").await;
    until(PATIENCE, "ready by itself", || async { is_ready().await.then_some(()) }).await.unwrap();

    signal(engine_pid(&data, "kafka").await.unwrap(), "-KILL").unwrap();
    until(PATIENCE, "Kafka is started again", || async {
        engine_pid(&data, "kafka").await.ok().filter(|pid| *pid != kafka)
    })
    .await
    .unwrap();
    until(PATIENCE, "ready by itself", || async { is_ready().await.then_some(()) }).await.unwrap();
    flows(taken(), "clicks are taken after the kill").await;

    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let seen = std::mem::take(&mut *locked(&seen));
    assert!(seen.wrong.is_empty(), "{:?}", &seen.wrong[..seen.wrong.len().min(5)]);
    assert_eq!(seen.unanswered, 0, "attempts without an answer");
    let clicks: BTreeSet<&String> = seen.receipts.values().collect();
    assert_eq!(clicks.len(), seen.receipts.len(), "each click was taken once, and then no longer sent");

    // Each receipt is a row, and each click counts once, however often it was sent.
    let asker = running.asker();
    if let Err(error) = oracle::settle(&asker, clicks.len() as u64, PATIENCE).await {
        panic!("{error:#}\n{}", where_they_are(&asker, &clicks, &running).await);
    }
    let rows = asker.rows("SELECT DISTINCT request_id, event_key FROM hookline.records").await.unwrap();
    let rows: BTreeMap<&str, &str> =
        rows.iter().map(|row| (row["request_id"].as_str().unwrap(), row["event_key"].as_str().unwrap())).collect();
    let missing: Vec<_> =
        seen.receipts.iter().filter(|(receipt, click)| rows.get(receipt.as_str()) != Some(&click.as_str())).collect();
    assert!(
        missing.is_empty(),
        "{} of {} receipts have no row: {:?}",
        missing.len(),
        seen.receipts.len(),
        missing.first()
    );
    oracle::verify(&asker, clicks.len() as u64).await.unwrap();
    let rows = asker.number("SELECT count() FROM hookline.records").await.unwrap();
    println!(
        "Kafka stopped for {standstill} s, then killed: {} clicks taken, none missing, {} attempts told to wait, longest answer {:?}, {} \
         rows of which {} duplicates",
        seen.receipts.len(),
        seen.told_to_wait,
        seen.longest,
        rows,
        rows - clicks.len() as u64
    );
}

/// What a person would look at first: which clicks are no rows, which rows are no clicks, and what each lane says of itself.
async fn where_they_are(asker: &Asker, clicks: &BTreeSet<&String>, running: &Running) -> String {
    let keys = asker.rows("SELECT event_key FROM hookline.records WHERE outcome = 'event'").await.unwrap_or_default();
    let keys: Vec<&str> = keys.iter().filter_map(|row| row["event_key"].as_str()).collect();
    let known: BTreeSet<&str> = keys.iter().copied().collect();
    let missing: Vec<_> = clicks.iter().filter(|click| !known.contains(click.as_str())).take(5).collect();
    let others: Vec<_> = known.iter().filter(|key| !clicks.contains(&(**key).to_owned())).take(5).collect();
    let ledger = asker.rows("SELECT * FROM hookline.ledger").await;
    let address = running.house.addresses.metrics.as_deref().unwrap_or_default();
    let metrics = async { reqwest::get(format!("{address}/metrics")).await?.text().await };
    let metrics = metrics.await.unwrap_or_else(|error| error.to_string());
    let of_lanes = |line: &&str| line.contains("lag_records") || line.contains("stalled") || line.contains("lane");
    let lanes: Vec<&str> = metrics.lines().filter(of_lanes).collect();
    format!(
        "{} rows of {} keys, {} clicks; not there: {missing:?}; never sent: {others:?}\nledger: {ledger:?}\n{}",
        keys.len(),
        known.len(),
        clicks.len(),
        lanes.join("\n")
    )
}

/// Sends click after click, each until it is taken, as a platform does that cannot wait as long as it is told.
async fn keep_sending(sender: Sender, seed: u64, seen: Arc<Mutex<Seen>>, stop: Arc<AtomicBool>) {
    let mut generator = Generator::new(1_000 + seed);
    while !stop.load(Ordering::Relaxed) {
        let click = generator.click();
        let key = format!("click:{}", Generator::click_id(&click));
        loop {
            let begun = Instant::now();
            let answer = sender.attempt_once(&click).await;
            if locked(&seen).note(answer, begun.elapsed(), &key) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Not faster than a small machine counts rows.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
