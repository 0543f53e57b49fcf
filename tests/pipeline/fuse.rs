//! The fuse: a sudden run of dead letters stops its lane before they are written, and the two ways on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use event::lane;
use event::raw::RawHeaders;
use kafka::edge::{EdgeOptions, EdgeProducer, EdgeRecord};
use kafka::{Cluster, Topic};
use serde_json::json;
use testkit::House;
use testkit::clickhouse::Asker;
use testkit::house::Program;
use testkit::oracle::{ROWS, every_offset_is_one_row, settle, variables, verify};
use traffic::dub::Generator;

use crate::harness::{Running, SOON, configure, dub, until};
use crate::tool::tool;

/// The lane that gets the poison.
const LANE: u16 = 2;
/// Dead letters in a row that blow the fuse.
const RUN: u64 = 20;
/// Deliveries of the platform that `process` cannot read for a while.
const POISON: u64 = 100;

/// What ingest appends of a platform that is described by the configuration: authentic, and a click for whoever has its map.
struct Partner(EdgeProducer);

impl Partner {
    async fn of(kafka: &str) -> Self {
        let producer = EdgeProducer::open(&Cluster::new(kafka), EdgeOptions::default()).unwrap();
        until(SOON, "Kafka is reached", || async { producer.is_up().then_some(()) }).await.unwrap();
        Self(producer)
    }

    /// Appends clicks whose keys lie in [`LANE`], one after the other.
    async fn clicks(&self, number: u64) {
        let keys = (0..).map(|id| format!("event:{id}")).filter(|key| lane::of_key(key.as_bytes(), 4) == LANE);
        for key in keys.take(number as usize) {
            let at = jiff::Timestamp::now();
            let body =
                json!({ "id": key, "kind": "tap", "at": at.to_string(), "link": "l_1", "host": "go.acme.example" });
            let body = body.to_string();
            let headers = RawHeaders {
                source: "partner".into(),
                adapter: "mapping".into(),
                received_at: at.as_millisecond(),
                request_id: "req_partner".into(),
                content_type: "application/json".into(),
                ..RawHeaders::default()
            }
            .to_headers();
            let record = EdgeRecord {
                topic: Topic::Raw,
                partition: LANE,
                key: key.as_bytes(),
                payload: body.as_bytes(),
                headers: &headers,
            };
            for report in self.0.send(&[record]).unwrap().wait(Instant::now() + SOON).await {
                report.unwrap();
            }
        }
    }
}

async fn get(url: impl AsRef<str>) -> reqwest::Result<reqwest::Response> {
    testkit::http::client(SOON).unwrap().get(url.as_ref()).send().await
}

/// Two configurations of one installation: one knows the partner, the other has lost it.
fn configurations(folder: &Path) -> (PathBuf, PathBuf) {
    let lost = configure(folder, &[("dub", "dub", "dub")]);
    std::fs::write(folder.join("secrets/partner"), "s3cret").unwrap();
    let whole = folder.join("whole.toml");
    let partner = r#"[source.partner]
adapter = "mapping"
owner = "me"
scheme = { hmac = "sha256", header = "X-Signature", encoding = "hex", signed = "{body}" }
secrets = [{ id = "a", file = "secrets/partner" }]
map = { event_key = "id", type = { path = "kind", click = "tap" }, event_time = "at", link_id = "link", domain = "host" }
"#;
    std::fs::write(&whole, std::fs::read_to_string(&lost).unwrap() + partner).unwrap();
    (whole, lost)
}

/// Services of one installation, each started by hand.
struct Services<'r> {
    running: &'r Running,
    metrics: String,
}

impl Services<'_> {
    fn start(&self, service: &str, config: &Path, more: &[&str]) -> Program {
        let (folder, engines) = (self.running.folder.path(), &self.running.house.addresses);
        let windows = folder.join("windows").display().to_string();
        let run = RUN.to_string();
        let own = [("HOOKLINE_PROCESS_DATA", windows.as_str()), ("HOOKLINE_PROCESS_FUSE_RUN", run.as_str())];
        let variables = [&variables(engines)[..], &own].concat();
        let metrics = if service == "process" { self.metrics.as_str() } else { "127.0.0.1:0" };
        let arguments = [&[service, "--config", config.to_str().unwrap(), "--metrics", metrics], more].concat();
        Program::start(service, folder, &arguments, &variables).unwrap()
    }

    /// Starts `process`, waits until its lane stands still, and returns the offset at which the message says so.
    async fn process_that_halts(&self, config: &Path, more: &[&str]) -> (Program, u64) {
        let log = self.running.folder.path().join("process.log");
        let before = std::fs::read_to_string(&log).unwrap_or_default().len();
        let program = self.start("process", config, more);
        let offset = self.halts(&program, before).await;
        (program, offset)
    }

    /// Waits until the lane stands still, and returns the offset that the message names, in what was logged after `before`.
    async fn halts(&self, process: &Program, before: usize) -> u64 {
        let url = format!("http://{}", self.metrics);
        let line = r#"hookline_stalled{reason="fuse",service="process"} 1"#;
        until(SOON, "the fuse has blown", || async {
            let text = get(format!("{url}/metrics")).await.ok()?.text().await.ok()?;
            text.contains(line).then_some(())
        })
        .await
        .unwrap();
        let health = get(format!("{url}/healthz")).await.unwrap();
        assert_eq!(health.status().as_u16(), 503);
        let health = health.text().await.unwrap();
        let said = format!("the fuse of lane {LANE} has blown at raw offset ");
        assert!(health.contains(&said), "{health}");
        let log = process.log();
        let (_, rest) = log[before..].split_once(&said).unwrap();
        assert!(
            rest.contains("no_mapping of source partner") && rest.contains(&format!("--past-fuse {LANE}@")),
            "{rest}"
        );
        rest.split(':').next().unwrap().parse().unwrap()
    }
}

fn clicks(generator: &mut Generator) -> Vec<Vec<u8>> {
    (0..300).map(|_| generator.click()).collect()
}

async fn rows(asker: &Asker, condition: &str) -> u64 {
    asker.number(&format!("SELECT count() FROM {ROWS} WHERE {condition}")).await.unwrap()
}

fn stop(mut program: Program) {
    assert!(program.stop(Duration::from_secs(15)).unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_dead_letters_stops_its_lane_until_somebody_has_mended_it_or_lets_it_pass() {
    let running = Running::engines();
    let (asker, data) = (running.asker(), running.folder.path());
    let (whole, lost) = configurations(data);
    let free = || testkit::house::free_address().unwrap();
    let (listen, metrics) = (free(), free());
    let services = Services { running: &running, metrics };
    let ingest = services.start("ingest", &whole, &["--listen", &listen]);
    let report = services.start("report", &whole, &[]);
    // The partner's map is missing where it is needed.
    let process = services.start("process", &lost, &[]);

    let mut generator = Generator::new(11);
    let (early, late) = (clicks(&mut generator), clicks(&mut generator));
    let lane_of = |click: &Vec<u8>| lane::of_key(format!("click:{}", Generator::click_id(click)).as_bytes(), 4);
    let poisoned_from = early.iter().filter(|click| lane_of(click) == LANE).count() as u64;
    let elsewhere = early.iter().chain(&late).filter(|click| lane_of(click) != LANE).count() as u64;
    let sender = dub(&format!("http://{listen}"), data);
    until(SOON, "ingest takes", || async {
        let ready = get(format!("http://{listen}/readyz")).await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await
    .unwrap();
    assert_eq!(sender.deliver_all(early, 16).await.unwrap().accepted, 300);
    asker.until(&format!("SELECT count() FROM {ROWS}"), 300, SOON).await.unwrap();

    // The lane stands still before its dead letters drain, and the other lanes go on.
    let before = process.log().len();
    let partner = Partner::of(&running.house.addresses.kafka).await;
    partner.clicks(POISON).await;
    let first = services.halts(&process, before).await;
    // Status says it in one line, with the reason and what waits behind it.
    let beside = data.join("data/status.toml");
    std::fs::copy(&lost, &beside).unwrap();
    let (code, status) = tool(&beside, &["status", "--at", &services.metrics]).await.unwrap();
    let what = status["problems"].to_string();
    assert!(code == 2 && what.contains(&format!("process lane {LANE} stands still (fuse)")), "{status:#}");
    assert_eq!(status["lost"]["verdict"], "nothing", "{status:#}");
    assert_eq!(sender.deliver_all(late, 16).await.unwrap().accepted, 300);
    asker.until(&format!("SELECT count() FROM {ROWS} WHERE lane != {LANE}"), elsewhere, SOON).await.unwrap();
    assert_eq!(first, poisoned_from + RUN - 1);
    let drained = async || rows(&asker, "outcome = 'dead_letter'").await;
    assert!(drained().await < RUN);
    stop(process);

    // Whoever starts it again without a change is told the same, at the same record.
    let (process, again) = services.process_that_halts(&lost, &[]).await;
    assert_eq!(again, first);
    assert!(drained().await < RUN);
    stop(process);

    // Let pass up to an offset: no further than to the next run after it.
    let last = first + 30;
    let pass = format!("{LANE}@{last}");
    let (process, next) = services.process_that_halts(&lost, &["--past-fuse", &pass]).await;
    assert_eq!(next, last + RUN);
    stop(process);

    // Mended: what was not let pass is read, and nothing is said twice or left out.
    let process = services.start("process", &whole, &[]);
    // Those of the run that blew it first, and all after it up to `last`.
    let passed = RUN + (last - first);
    settle(&asker, 600 + POISON - passed, SOON).await.unwrap();
    verify(&asker, 600 + POISON - passed).await.unwrap();
    assert_eq!(rows(&asker, "outcome = 'dead_letter' AND reason = 'no_mapping'").await, passed);
    stop(process);
    stop(report);
    stop(ingest);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_stays_alive_when_a_lane_halts_and_starts_with_one_that_has() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (whole, lost) = configurations(&data);
    let text = std::fs::read_to_string(&lost).unwrap() + &format!("[process]\nfuse_run = {RUN}\n");
    std::fs::write(&lost, text).unwrap();
    let up = |config: &Path, more: &[&str]| {
        House::up(&data, &[&["--config", config.to_str().unwrap()], more].concat()).unwrap()
    };
    let halted = async |house: &House| {
        let url = format!("{}/healthz", house.addresses.metrics.as_deref().unwrap());
        until(SOON, "the fuse has blown", || async {
            let text = get(&url).await.ok()?.text().await.ok()?;
            text.contains("the fuse of lane 2 has blown").then_some(())
        })
        .await
        .unwrap();
    };
    let take = async |house: &House, seed: u64| {
        let bodies: Vec<_> = {
            let mut generator = Generator::new(seed);
            (0..40).map(|_| generator.click()).collect()
        };
        let taken = dub(house.addresses.ingest.as_deref().unwrap(), &data).deliver_all(bodies, 8).await.unwrap();
        assert_eq!(taken.accepted, 40);
    };
    let mut house = up(&lost, &[]);
    Partner::of(&house.addresses.kafka).await.clicks(POISON).await;
    halted(&house).await;
    take(&house, 1).await;
    assert!(house.program.stop(Duration::from_secs(30)).unwrap().success());

    // Its lane halts again, and everything else is there.
    let mut house = up(&lost, &[]);
    halted(&house).await;
    take(&house, 2).await;
    assert!(house.program.stop(Duration::from_secs(30)).unwrap().success());

    // All of it passes, and comes back once the map is there.
    let mut house = up(&lost, &["--past-fuse", "2@1000"]);
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    asker.until(&format!("SELECT count() FROM {ROWS} WHERE outcome = 'dead_letter'"), POISON, SOON).await.unwrap();
    assert!(house.program.stop(Duration::from_secs(30)).unwrap().success());
    drop(house);
    let house = up(&whole, &[]);
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let (code, done) = tool(&whole, &["dlq", "redrive", "--who", "ana", "--reason", "no_mapping"]).await.unwrap();
    assert_eq!((code, &done["redriven"]), (0, &json!(POISON)), "{done}");
    asker.until(&format!("SELECT count() FROM {ROWS} WHERE outcome = 'event'"), 80 + POISON, SOON).await.unwrap();
    every_offset_is_one_row(&asker).await.unwrap();
}
