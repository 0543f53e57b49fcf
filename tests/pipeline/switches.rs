//! Sources switched while everything runs: by the command line, seen by their senders.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use kafka::control::{self, Kind, Object, State, Switch};
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use testkit::Sender;
use testkit::oracle::Fleet;
use traffic::dub::Generator;

use crate::harness::{Running, SOON, dub, signal, until};
use crate::kafka_lanes::{Broker, LANES};

/// What a command answered: its exit code, standard output as JSON if it is, and standard error.
struct Said {
    code: Option<i32>,
    json: Value,
    errors: String,
}

async fn hookline(arguments: &[&str], config: &Path) -> Said {
    let binary = testkit::house::binary().unwrap();
    let mut command = tokio::process::Command::new(binary);
    command.args(arguments).arg("--config").arg(config).arg("--json");
    let output = tokio::time::timeout(SOON, command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code(),
        json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
        errors: text(&output.stderr),
    }
}

/// `up`, and a second ingest of the same pipeline in a process of its own.
struct Two {
    running: Running,
    config: PathBuf,
    second: Fleet,
    generator: Generator,
}

impl Two {
    fn start() -> Self {
        let running = Running::everything();
        let config = running.folder.path().join("data/hookline.toml");
        let second = Fleet::start(running.folder.path(), &config, &running.house.addresses, &["ingest"]).unwrap();
        Self { running, config, second, generator: Generator::new(7) }
    }

    fn senders(&self) -> [Sender; 2] {
        let data = self.running.folder.path().join("data");
        [self.running.dub(), dub(&self.second.ingest(), &data)]
    }

    /// Sends new clicks to both until both give this answer.
    async fn until_both_say(&mut self, status: u16) {
        for sender in self.senders() {
            let click = self.generator.click();
            let what = format!("{} says {status}", sender.url());
            until(SOON, &what, || async { (sender.once(&click).await.ok()?.0.as_u16() == status).then_some(()) })
                .await
                .unwrap();
        }
    }

    /// Whether both serve this line.
    async fn until_both_serve(&self, line: &str) {
        let client = testkit::http::client(Duration::from_secs(10)).unwrap();
        let own = self.running.house.addresses.metrics.clone().unwrap();
        for metrics in [own, self.second.metrics("ingest").unwrap()] {
            until(SOON, &format!("{metrics} serves {line}"), || async {
                let text = client.get(format!("{metrics}/metrics")).send().await.ok()?.text().await.ok()?;
                text.lines().any(|served| served == line).then_some(())
            })
            .await
            .unwrap();
        }
    }

    async fn switch(&self, arguments: &[&str]) -> Said {
        hookline(arguments, &self.config).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_paused_put_into_quarantine_retired_and_resumed_while_two_ingests_run() {
    let mut two = Two::start();
    two.until_both_say(202).await;
    let listed = two.switch(&["pause", "--list"]).await;
    assert_eq!((listed.code, &listed.json["switched"]), (Some(0), &json!([])), "{}", listed.errors);

    // Paused: nobody gets in, the sender is told when to come back, and other sources feel nothing.
    let said = two.switch(&["pause", "source/dub", "--for", "1h", "--why", "plan change", "--who", "ana"]).await;
    assert_eq!(said.code, Some(1), "Dub gives up after 20 refusals: {}", said.errors);
    assert!(said.json["warning"].as_str().unwrap().contains("20 refusals"), "{}", said.json);
    assert_eq!((&said.json["state"], &said.json["was"]), (&json!("pause"), &json!("accept")));
    two.until_both_say(503).await;
    let client = testkit::http::client(Duration::from_secs(10)).unwrap();
    for sender in two.senders() {
        let stranger = client.post(sender.url()).body("{}").send().await.unwrap();
        assert_eq!(stranger.status().as_u16(), 503);
        let seconds: u64 = stranger.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&seconds), "{seconds}");
        let problem: Value = serde_json::from_str(&stranger.text().await.unwrap()).unwrap();
        assert_eq!(problem["type"], "urn:hookline:problem:paused");
    }
    let error = json!({
        "id": "e-1", "type": "error", "time": "2026-11-23T10:00:00.000Z",
        "link": { "id": "l_9", "domain": "go.acme.example", "slug": "gone" }, "error": { "kind": "destination_unavailable" },
    });
    assert_eq!(two.running.canonical().once(error.to_string().as_bytes()).await.unwrap().0.as_u16(), 202);
    two.until_both_serve(r#"hookline_paused{id="dub",kind="source"} 1"#).await;
    two.until_both_serve(r#"hookline_paused{id="canonical",kind="source"} 0"#).await;
    let listed = two.switch(&["pause", "--list"]).await;
    let one = &listed.json["switched"][0];
    assert_eq!((listed.code, &one["object"], &one["who"]), (Some(1), &json!("source/dub"), &json!("ana")));

    // Resumed.
    assert_eq!(two.switch(&["resume", "source/dub", "--who", "ben"]).await.code, Some(0));
    two.until_both_say(202).await;

    // In quarantine: authentic deliveries are taken and set aside; others are refused as ever.
    let said = two.switch(&["pause", "source/dub", "--quarantine", "--why", "odd data", "--who", "ana"]).await;
    assert_eq!((said.code, &said.json["state"]), (Some(0), &json!("quarantine")), "{}", said.errors);
    two.until_both_serve(r#"hookline_paused{id="dub",kind="source"} 1"#).await;
    let click = two.generator.click();
    let asker = two.running.asker();
    for sender in two.senders() {
        let (status, answer) = sender.once(&click).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!((status.as_u16(), &answer["status"]), (202, &json!("quarantined")), "{answer}");
        assert_eq!(answer["results"][0]["reason"], "switched_to_quarantine");
        let of = format!("WHERE request_id = '{}'", answer["receipt"].as_str().unwrap());
        asker.until(&format!("SELECT count() FROM hookline.records {of}"), 1, SOON).await.unwrap();
        let row =
            asker.rows(&format!("SELECT outcome, stage, reason FROM hookline.records {of}")).await.unwrap().remove(0);
        assert_eq!(row, json!({ "outcome": "dead_letter", "stage": "ingest", "reason": "switched_to_quarantine" }));
        assert_eq!(client.post(sender.url()).body("{}").send().await.unwrap().status().as_u16(), 401);
    }

    // A pause that ends by itself.
    two.switch(&["pause", "source/dub", "--for", "15s", "--why", "a moment", "--who", "ana"]).await;
    two.until_both_say(503).await;
    two.until_both_say(202).await;
    two.until_both_serve(r#"hookline_paused{id="dub",kind="source"} 0"#).await;
    assert_eq!(two.switch(&["pause", "--list"]).await.code, Some(0));
    // What was set aside was not marked as seen: sent again, it counts.
    let key = format!("click:{}", Generator::click_id(&click));
    two.senders()[1].deliver(&click).await.unwrap();
    let sql = format!("SELECT count() FROM hookline.records WHERE event_key = '{key}' AND outcome = 'event'");
    asker.until(&sql, 1, SOON).await.unwrap();

    // Retired: an ingest that is killed and comes back knows it from its first answer on.
    assert_eq!(two.switch(&["pause", "source/dub", "--retire", "--why", "gone", "--who", "ana"]).await.code, Some(0));
    two.until_both_say(410).await;
    two.second.kill("ingest").unwrap();
    two.second.restart("ingest").unwrap();
    let [_, second] = two.senders();
    let click = two.generator.click();
    until(SOON, "the second ingest is back", || async {
        match second.once(&click).await.ok()?.0.as_u16() {
            410 => Some(()),
            status => {
                assert_eq!(status, 503, "an ingest that does not know yet takes nothing");
                None
            }
        }
    })
    .await
    .unwrap();
    // Who did what, and why.
    let history = two.switch(&["pause", "--history", "source/dub"]).await;
    assert_eq!(history.code, Some(0), "{}", history.errors);
    let changes = history.json["changes"].as_array().unwrap();
    let states: Vec<_> = changes.iter().map(|change| change["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pause", "accept", "quarantine", "pause", "retired"]);
    let before: Vec<_> = changes.iter().map(|change| change["was"].as_str().unwrap()).collect();
    assert_eq!(before, ["accept", "pause", "accept", "quarantine", "accept"]);
    assert_eq!((&changes[0]["who"], &changes[0]["why"]), (&json!("ana"), &json!("plan change")));
    assert_eq!((&changes[1]["who"], &changes[1]["why"]), (&json!("ben"), &json!("resumed")));

    // What is not there is said with a suggestion.
    let said = two.switch(&["pause", "source/dubb", "--why", "typo", "--who", "ana"]).await;
    assert_eq!(said.code, Some(2));
    assert!(said.errors.contains("did you mean \"dub\""), "{}", said.errors);

    // Kafka goes away: what was known holds.
    let kafka = std::fs::read_to_string(two.running.folder.path().join("data/kafka.pid")).unwrap();
    let kafka: u32 = kafka.split_whitespace().next().unwrap().parse().unwrap();
    signal(kafka, "-STOP").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answers = [&two.senders()[0], &second].map(|sender| sender.clone());
    for sender in answers {
        let status = sender.once(&click).await.unwrap().0.as_u16();
        if status != 410 {
            signal(kafka, "-CONT").unwrap();
            panic!("without Kafka the state is {status}");
        }
    }
    signal(kafka, "-CONT").unwrap();
    two.until_both_serve(r#"hookline_requests_total{outcome="retired",source="dub"} 2"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_newer_version_is_said_loudly_and_not_guessed_at() {
    let mut two = Two::start();
    two.until_both_say(202).await;
    let brokers = two.running.house.addresses.kafka.clone();
    let newer = r#"{"version":9,"state":"half_open","who":"ana","why":"from the future","at":"2026-01-01T00:00:00Z"}"#;
    tokio::task::spawn_blocking(move || write_control(&brokers, "source/dub", newer)).await.unwrap().unwrap();

    // Who runs keeps what it knew, and pages somebody.
    two.until_both_serve(r#"hookline_stalled{reason="switch_unreadable",service="ingest"} 1"#).await;
    two.until_both_say(202).await;
    let listed = two.switch(&["pause", "--list"]).await;
    assert_eq!(listed.code, Some(1));
    assert!(listed.json["unreadable"][0].as_str().unwrap().contains("its version is 9"), "{}", listed.json);

    // Who starts does not know, so it takes nothing and says why.
    two.second.kill("ingest").unwrap();
    two.second.restart("ingest").unwrap();
    let ready = format!("{}/readyz", two.second.metrics("ingest").unwrap());
    let client = testkit::http::client(Duration::from_secs(10)).unwrap();
    until(SOON, "the second ingest says what it cannot read", || async {
        let answer = client.get(&ready).send().await.ok()?;
        (answer.status().as_u16() == 503 && answer.text().await.ok()?.contains("its version is 9")).then_some(())
    })
    .await
    .unwrap();
    let [_, second] = two.senders();
    assert_eq!(second.once(&two.generator.click()).await.unwrap().0.as_u16(), 503);

    // The way out that the message names.
    assert_eq!(two.switch(&["resume", "source/dub", "--who", "ben"]).await.code, Some(0));
    two.until_both_say(202).await;
    two.until_both_serve(r#"hookline_paused{id="dub",kind="source"} 0"#).await;
    until(SOON, "the second ingest is ready", || async {
        client.get(&ready).send().await.ok()?.status().is_success().then_some(())
    })
    .await
    .unwrap();
}

/// Writes a record as another program might.
fn write_control(brokers: &str, key: &str, value: &str) -> anyhow::Result<()> {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let producer: BaseProducer =
        rdkafka::ClientConfig::new().set("bootstrap.servers", brokers).set("acks", "all").create()?;
    let record = BaseRecord::to(kafka::Topic::Control.name()).partition(0).key(key).payload(value);
    producer.send(record).map_err(|(error, _)| error).context("control")?;
    Ok(producer.flush(Duration::from_secs(30))?)
}

#[test]
fn those_who_switch_at_the_same_time_do_it_one_after_the_other() {
    let cluster = Broker::shared();
    control::read_or_create(&cluster, LANES, 1, 1).unwrap();
    let object = Object::source("contended");
    let states = [State::Pause, State::Quarantine, State::Retired, State::Accept];
    std::thread::scope(|scope| {
        for (n, state) in states.into_iter().enumerate() {
            let (cluster, object) = (&cluster, &object);
            scope.spawn(move || {
                let at = jiff::Timestamp::now();
                let switch = Switch { state, who: format!("person {n}"), why: "all at once".into(), until: None, at };
                control::set(cluster, object, &switch).unwrap();
            });
        }
    });
    let log = control::read_log(&cluster, Kind::Source).unwrap();
    let changes: Vec<_> =
        log.changes.into_iter().map(Result::unwrap).filter(|change| change.object == object).collect();
    assert_eq!(changes.len(), states.len(), "each is in the audit");
    // Each knew of the one before: none overwrote another unseen.
    let mut before = State::Accept;
    for change in &changes {
        assert_eq!(change.was, before);
        before = change.switch.state;
    }
    assert_eq!(log.switches.get("contended"), changes.last().map(|change| &change.switch));
}
