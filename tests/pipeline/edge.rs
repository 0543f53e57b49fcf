//! The edge on the real log: quotas, batches, and a Kafka that stops and comes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::http::client;
use testkit::oracle::{Fleet, settle, verify};
use traffic::dub::Generator;

use crate::harness::{Running, SOON, signal};

const DUB_SECRET: &str = "whsec_of_the_dub_sources";
const OWN_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// `memory` of `[ingest]` in these tests, in MiB.
const MEMORY: u64 = 64;

/// Writes a configuration with a source of each kind of quota.
fn write_config(folder: &Path) -> PathBuf {
    std::fs::write(folder.join("dub"), DUB_SECRET).unwrap();
    std::fs::write(folder.join("own"), OWN_SECRET).unwrap();
    let text = format!(
        r#"version = 1
[owner]
me = {{ name = "Whoever runs this" }}
[source.refused]
adapter = "dub"
owner   = "me"
secrets = [{{ id = "first", file = "dub" }}]
quota   = {{ per_second = 5, when_over = "refuse" }}
[source.borne]
adapter = "dub"
owner   = "me"
secrets = [{{ id = "first", file = "dub" }}]
quota   = {{ per_second = 5, when_over = "accept-and-warn" }}
[source.free]
adapter = "dub"
owner   = "me"
secrets = [{{ id = "first", file = "dub" }}]
in_flight = 64
[source.own]
adapter  = "canonical"
owner    = "me"
secrets  = [{{ id = "first", file = "own" }}]
max_body = "1MiB"
[ingest]
memory = "{MEMORY}MiB"
"#
    );
    let path = folder.join("hookline.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// An answer, taken apart.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    took: Duration,
}

impl Answer {
    fn receipt(&self) -> &str {
        self.body["receipt"].as_str().unwrap()
    }

    fn retry_after(&self) -> Option<u64> {
        self.headers.get("retry-after")?.to_str().ok()?.parse().ok()
    }
}

async fn post(client: &Client, ingest: &str, source: &str, body: &[u8]) -> Answer {
    let scheme = if source == "own" { Scheme::StandardWebhooks } else { Scheme::Dub };
    let secret = Secret::new("first", if source == "own" { OWN_SECRET } else { DUB_SECRET });
    let now = jiff::Timestamp::now().as_second();
    let id = format!("msg_{now}_{}", body.len());
    let begun = Instant::now();
    let mut request = client.post(format!("{ingest}/v1/webhooks/{source}")).body(body.to_vec());
    for (name, value) in signature::sign(&scheme, &secret, &id, now, body).unwrap() {
        request = request.header(name, value);
    }
    let response = request.header("content-type", "application/json").send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.json().await.unwrap();
    Answer { status, headers, body, took: begun.elapsed() }
}

/// Waits until ingest has found Kafka.
async fn until_ready(client: &Client, fleet: &Fleet) {
    let deadline = Instant::now() + 2 * SOON;
    let ready = format!("{}/readyz", fleet.ingest());
    while !client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(Instant::now() < deadline, "ingest is not ready\n{}", fleet.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_quotas_and_receipts_on_the_real_log() {
    let running = Running::engines();
    let folder = running.folder.path();
    let fleet = Fleet::start(folder, &write_config(folder), &running.house.addresses, &["ingest", "process", "report"])
        .unwrap();
    let (client, ingest, asker) = (client(SOON).unwrap(), fleet.ingest(), running.asker());
    let mut generator = Generator::new(8);

    until_ready(&client, &fleet).await;

    // A batch with one bad event: one answer, two events, one dead letter, and the receipt on all three rows.
    let event = |id: u32| json!({"id": format!("b-{id}"), "type": "click", "time": "2026-11-23T10:00:00Z", "link": {"id": "l_1"}});
    let batch = json!([event(1), { "id": "b-2", "type": "click" }, event(3)]).to_string();
    let answer = post(&client, &ingest, "own", batch.as_bytes()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    assert_eq!(answer.headers["hookline-receipt"], answer.receipt());
    let said: Vec<_> = answer.body["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(said, ["accepted", "quarantined", "accepted"]);
    let of_request = |outcome: &str| {
        format!(
            "SELECT count() FROM hookline.records WHERE request_id = '{}' AND outcome = '{outcome}'",
            answer.receipt()
        )
    };
    let found = asker.until(&of_request("event"), 2, SOON).await;
    found.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    asker.until(&of_request("dead_letter"), 1, SOON).await.unwrap();

    // Strangers spend nothing of a quota; then five events may come at once, and what follows is refused until the time that is told.
    for _ in 0..20 {
        let request = client.post(format!("{ingest}/v1/webhooks/refused")).header("dub-signature", "00").body("{}");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    let mut accepted = 0;
    let refused = loop {
        let answer = post(&client, &ingest, "refused", &generator.click()).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            break answer;
        }
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        accepted += 1;
        // One at a time can be slower than the quota on a busy machine: a batch is not.
        if accepted > 10 {
            let all = (0..12).map(|_| generator.click()).collect::<Vec<_>>();
            let answers = futures_of(&client, &ingest, "refused", all).await;
            accepted += answers.iter().filter(|answer| answer.status == StatusCode::ACCEPTED).count();
            if let Some(answer) = answers.into_iter().find(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS) {
                break answer;
            }
        }
    };
    assert!(accepted >= 5, "{accepted}");
    assert_eq!(refused.body["type"], "urn:hookline:problem:over-quota");
    tokio::time::sleep(Duration::from_secs(refused.retry_after().unwrap())).await;
    assert_eq!(post(&client, &ingest, "refused", &generator.click()).await.status, StatusCode::ACCEPTED);
    let stored = "SELECT count() FROM hookline.records WHERE source = 'refused'";
    asker.until(stored, accepted as u64 + 1, SOON).await.unwrap();

    // A source that must not be refused is borne, and counted.
    let answers = futures_of(&client, &ingest, "borne", (0..40).map(|_| generator.click()).collect()).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::ACCEPTED));
    let metrics =
        client.get(format!("{}/metrics", fleet.metrics("ingest").unwrap())).send().await.unwrap().text().await.unwrap();
    let over = metrics.lines().find_map(|line| {
        line.strip_prefix(r#"hookline_over_quota_events_total{answer="accepted",source="borne"} "#)?.parse::<u64>().ok()
    });
    assert!(over.is_some_and(|over| over > 0), "{metrics}");
    assert!(fleet.logs().contains("over its quota, accepted all the same"), "{}", fleet.logs());
    fleet.stop().unwrap();
}

async fn futures_of(client: &Client, ingest: &str, source: &'static str, bodies: Vec<Vec<u8>>) -> Vec<Answer> {
    let tasks: Vec<_> = bodies
        .into_iter()
        .map(|body| {
            let (client, ingest) = (client.clone(), ingest.to_owned());
            tokio::spawn(async move { post(&client, &ingest, source, &body).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Events of nearly a megabyte.
const LARGE: u32 = 40;
/// Events that one source sends at once.
const CROWD: u32 = 150;

fn large_event(id: u32) -> Vec<u8> {
    let padding = "x".repeat(900_000);
    json!({"id": format!("large-{id}"), "type": "click", "link": {"id": "l"}, "time": "2026-11-23T10:00:00Z", "padding": padding})
        .to_string()
        .into_bytes()
}

/// Megabytes that a process has in memory.
fn resident(pid: u32) -> u64 {
    measure::resident(pid).unwrap() / 1_048_576
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_stops_under_load_and_comes_back_and_nothing_that_was_accepted_is_missing() {
    let running = Running::engines();
    let folder = running.folder.path();
    let fleet = Fleet::start(folder, &write_config(folder), &running.house.addresses, &["ingest", "process", "report"])
        .unwrap();
    let (client, ingest, asker) = (client(SOON).unwrap(), fleet.ingest(), running.asker());
    until_ready(&client, &fleet).await;
    let noted = std::fs::read_to_string(folder.join("data/kafka.pid")).unwrap();
    let kafka: u32 = noted.split_whitespace().next().unwrap().parse().unwrap();

    // Eight senders that send the same click again until it is accepted, as platforms do.
    let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let senders: Vec<_> = (0..8)
        .map(|seed| {
            let (client, ingest, stop, accepted) =
                (client.clone(), ingest.clone(), Arc::clone(&stop), Arc::clone(&accepted));
            tokio::spawn(async move {
                let (mut generator, mut unavailable, mut longest) = (Generator::new(100 + seed), 0_u64, Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let click = generator.click();
                    loop {
                        let answer = post(&client, &ingest, "free", &click).await;
                        longest = longest.max(answer.took);
                        match answer.status {
                            StatusCode::ACCEPTED => {
                                accepted.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                                assert!(answer.retry_after().is_some_and(|seconds| (1..=8).contains(&seconds)));
                                unavailable += 1;
                                tokio::time::sleep(Duration::from_millis(50)).await;
                            }
                            other => panic!("{other} {}", answer.body),
                        }
                    }
                }
                (unavailable, longest)
            })
        })
        .collect();
    let count = || accepted.load(Ordering::Relaxed);
    let reaches = async |number: u64| {
        let deadline = Instant::now() + 2 * SOON;
        while count() < number {
            assert!(Instant::now() < deadline, "{} of {number}\n{}", count(), fleet.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    reaches(500).await;

    let crowd: Vec<_> = {
        let mut generator = Generator::new(99);
        (0..CROWD).map(|_| generator.click()).collect()
    };
    signal(kafka, "-STOP").unwrap();
    // More of one source at once than may be under way: those beyond it are told so at once. They come first: once Kafka is known to
    // be gone, nothing is under way any more.
    let crowding = {
        let (client, ingest, crowd) = (client.clone(), ingest.clone(), crowd.clone());
        tokio::spawn(async move { futures_of(&client, &ingest, "free", crowd).await })
    };
    // While nothing is acknowledged, forty others press on with bodies of nearly a megabyte: memory stays flat.
    let pid = fleet.pid("ingest").unwrap();
    let before = resident(pid);
    let watched = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut most = 0;
            while !stop.load(Ordering::Relaxed) {
                most = resident(pid).max(most);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            most
        })
    };
    let large: Vec<_> = (0..LARGE).map(large_event).collect();
    let pressing: Vec<_> = large
        .iter()
        .cloned()
        .map(|body| {
            let (client, ingest) = (client.clone(), ingest.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let answer = post(&client, &ingest, "own", &body).await;
                    assert_ne!(answer.status, StatusCode::ACCEPTED);
                    assert!(answer.retry_after().is_some());
                }
            })
        })
        .collect();
    let answers = crowding.await.unwrap();
    let crowded =
        answers.iter().filter(|answer| answer.body["type"] == "urn:hookline:problem:too-many-at-once").count();
    assert!(crowded > 0, "{:?}", answers.iter().map(|answer| &answer.body["type"]).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(10)).await;
    for sender in pressing {
        sender.await.unwrap();
    }
    let ready = async || client.get(format!("{ingest}/readyz")).send().await.unwrap().status();
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    let during = count();
    signal(kafka, "-CONT").unwrap();
    reaches(during + 500).await;
    stop.store(true, Ordering::Relaxed);
    // What pressed on is sent until it is taken, so that it is known what must be there.
    for (source, body) in large.iter().map(|body| ("own", body)).chain(crowd.iter().map(|body| ("free", body))) {
        while post(&client, &ingest, source, body).await.status != StatusCode::ACCEPTED {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut refused = 0;
    for sender in senders {
        let (unavailable, longest) = sender.await.unwrap();
        refused += unavailable;
        // 4 s from the last byte of the body; the rest is for a busy machine.
        assert!(longest < Duration::from_secs(15), "{longest:?}");
    }
    assert!(refused > 0);
    let most = watched.await.unwrap();
    assert_eq!(ready().await, StatusCode::OK);
    println!("{} accepted, {refused} refused, ingest {before} MB before and at most {most} MB", count());
    // The bound, half of it twice over for what the allocator and Kafka's client keep beside.
    assert!(most < before + 2 * MEMORY, "{before} MB before, {most} MB at most");

    let different = count() + u64::from(LARGE + CROWD);
    let settled = settle(&asker, different, 2 * SOON).await;
    settled.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    verify(&asker, different).await.unwrap();
    fleet.stop().unwrap();
}
