//! Authentic and hostile: whatever a platform signs is answered, never with a 5xx, and what was answered 202 is a row.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use signature::Scheme;
use testkit::hostile::{self, CONTENT_TYPES, Hostile};
use testkit::{Sender, oracle};
use tokio::task::JoinSet;

use crate::harness::{ROOT, Running, until};

/// The size up to which a source takes bodies, unless it says otherwise.
const MOST: usize = 256 * 1_024;
/// Rows of a burst on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_get_no_5xx_and_every_authentic_one_that_is_taken_is_a_row() {
    let platforms = platforms();
    let sources: Vec<_> = platforms.keys().map(|name| (name.as_str(), name.as_str(), "standard-webhooks")).collect();
    let running = Running::of(&sources);
    let pid = running.house.program.pid();

    let (mut taken, mut answers) = (BTreeMap::new(), BTreeMap::new());
    for (name, examples) in &platforms {
        let sender = running.sender(name, Scheme::StandardWebhooks);
        let before = taken.len();
        for answer in post_all(&sender, corpus(examples)).await {
            *answers.entry((name.clone(), answer.status)).or_insert(0_u64) += 1;
            if answer.status == 202 {
                let (events, quarantined) = (number(&answer.body, "events"), number(&answer.body, "quarantined"));
                assert!(events > 0 && quarantined <= events, "{}: {}", answer.what, answer.body);
                assert_eq!(answer.body["results"].as_array().unwrap().len() as u64, events, "{}", answer.what);
                taken.insert(answer.body["receipt"].as_str().unwrap().to_owned(), (events, quarantined));
            }
        }
        assert!(taken.len() - before > 250, "{name}: only {} requests were taken", taken.len() - before);
    }
    println!("{answers:?}");

    // It lives, and takes good requests as before.
    assert_eq!(running.house.program.pid(), pid);
    for (name, examples) in &platforms {
        let sender = running.sender(name, Scheme::StandardWebhooks);
        let again = Hostile { what: "nothing is wrong with it".into(), body: examples[0].clone() };
        let answer = post(&sender, &again, "application/json").await;
        assert_eq!((answer.status, &answer.body["quarantined"]), (202, &0.into()), "{name}: {}", answer.body);
        let receipt = answer.body["receipt"].as_str().unwrap().to_owned();
        taken.insert(receipt, (number(&answer.body, "events"), 0));
    }

    // Each event of each answer is a row under its receipt, the quarantined ones as dead letters; nothing else is.
    let asker = running.asker();
    let expected: u64 = taken.values().map(|(events, _)| events).sum();
    asker.until(&format!("SELECT count() FROM {}", oracle::ROWS), expected, PATIENCE).await.unwrap();
    let sql = format!(
        "SELECT request_id, toUInt64(count()) AS rows, toUInt64(countIf(outcome = 'dead_letter')) AS dead FROM {} GROUP BY request_id",
        oracle::ROWS
    );
    let rows = asker.rows(&sql).await.unwrap();
    let rows: BTreeMap<String, (u64, u64)> = rows
        .iter()
        .map(|row| (row["request_id"].as_str().unwrap().to_owned(), (number(row, "rows"), number(row, "dead"))))
        .collect();
    assert_eq!(rows.len(), taken.len());
    for (receipt, told) in &taken {
        assert_eq!(rows.get(receipt), Some(told), "{receipt}: rows and dead letters against events and quarantined");
    }
    oracle::every_offset_is_one_row(&asker).await.unwrap();
    until(PATIENCE, "ready", || async {
        let ready = format!("{}/readyz", running.house.addresses.metrics.as_deref()?);
        reqwest::get(ready).await.ok()?.status().is_success().then_some(())
    })
    .await
    .unwrap();
    println!("{} requests taken, {expected} rows", taken.len());
}

/// The platforms that `adapter` has, by the folders of their golden files, and good bodies of each, the longest first.
fn platforms() -> BTreeMap<String, Vec<Vec<u8>>> {
    let golden = Path::new(ROOT).join("crates/domain/adapter/tests/golden");
    let mut platforms = BTreeMap::new();
    for folder in std::fs::read_dir(golden).unwrap() {
        let folder = folder.unwrap();
        // Of a mapped platform nothing is known without a map; crates/fuzz-targets holds such adapters against any bytes.
        if folder.file_name() == "mapping" {
            continue;
        }
        let mut bodies = Vec::new();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let expected = path.with_extension("event.json");
            // A golden file whose outcomes are all events, and not the reason of a quarantine.
            let all_events = |text: String| text.contains("\"event\":") && !text.contains("\"reason\":");
            let good = std::fs::read_to_string(expected).is_ok_and(all_events);
            if path.extension().is_some_and(|extension| extension == "json") && good {
                bodies.push(std::fs::read(path).unwrap());
            }
        }
        bodies.sort_by_key(|body| std::cmp::Reverse(body.len()));
        assert!(!bodies.is_empty(), "no golden files in {}", folder.path().display());
        platforms.insert(folder.file_name().into_string().unwrap(), bodies);
    }
    assert!(platforms.len() >= 3, "{:?}", platforms.keys());
    platforms
}

/// What is posted to one source: hostile bodies, damaged forms of its own, and content types of all kinds.
fn corpus(examples: &[Vec<u8>]) -> Vec<(Hostile, &'static str)> {
    let made = hostile::bodies(MOST).into_iter().map(|hostile| (hostile, "application/json"));
    let damaged = hostile::of(&examples[0]).into_iter().map(|hostile| (hostile, "application/json"));
    let lines = hostile::bodies(MOST).into_iter().filter(|hostile| hostile.body.len() < 2_000);
    let lines = lines.map(|hostile| (hostile, "application/x-ndjson"));
    let types = CONTENT_TYPES.iter().flat_map(|content_type| {
        let bodies = [examples[0].clone(), b"{}".to_vec(), b"[1]".to_vec(), Vec::new(), b"a=1&b=%00".to_vec()];
        bodies.map(|body| (Hostile { what: format!("{} bytes as {content_type:?}", body.len()), body }, *content_type))
    });
    made.chain(damaged).chain(lines).chain(types).collect()
}

struct Answer {
    what: String,
    status: u16,
    body: Value,
}

async fn post_all(sender: &Sender, corpus: Vec<(Hostile, &'static str)>) -> Vec<Answer> {
    let mut under_way = JoinSet::new();
    let mut answers = Vec::new();
    let sender = Arc::new(sender.clone());
    for (hostile, content_type) in corpus {
        if under_way.len() >= 8 {
            answers.push(under_way.join_next().await.unwrap().unwrap());
        }
        let sender = Arc::clone(&sender);
        under_way.spawn(async move { post(&sender, &hostile, content_type).await });
    }
    answers.extend(under_way.join_all().await);
    answers
}

/// Signs and posts one body; holds the answer to what may be answered to an authentic request.
async fn post(sender: &Sender, hostile: &Hostile, content_type: &str) -> Answer {
    let Hostile { what, body } = hostile;
    let what = format!("{what} as {content_type:?} to {}", sender.url());
    let mut request = sender.client().post(sender.url()).body(body.clone());
    if !content_type.is_empty() {
        request = request.header(CONTENT_TYPE, HeaderValue::from_bytes(content_type.as_bytes()).unwrap());
    }
    for (name, value) in sender.headers(body).unwrap() {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let status = answer.status().as_u16();
    let said = answer.headers().get(CONTENT_TYPE).cloned();
    let text = answer.text().await.unwrap();
    let body_of_answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {status} {text}"));
    match status {
        202 => assert!(body.len() <= MOST, "{what}: a body above the limit was taken"),
        413 => assert!(body.len() > MOST, "{what}: {text}"),
        415 => assert_ne!(content_type, "application/json", "{what}: {text}"),
        _ => panic!("{what}: {status} {text}"),
    }
    let expected = if status == 202 { "application/json" } else { "application/problem+json" };
    assert_eq!(said, Some(HeaderValue::from_static(expected)), "{what}");
    Answer { what, status, body: body_of_answer }
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {value}"))
}
