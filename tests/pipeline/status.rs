//! `hookline status` in the drills of docs/reliability.md: what it says on the real engines, and the exit code; and the
//! canary, which goes through all of them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use testkit::Sender;
use testkit::oracle::Fleet;
use traffic::dub::Generator;

use crate::harness::{Running, SOON, configure, dub, engine_pid, signal, until};
use crate::tool::{said, tool};

/// How long a state may take to be said: a status run waits for an engine that is away, and machines are busy.
const SAID: Duration = Duration::from_secs(180);

const SERVICES: [&str; 6] = ["ingest", "process", "report", "detect", "notify", "canary"];
const CANARY: &str = r#"test = true
[destination.log]
kind = "csv"
owner = "me"
path = "alerts.csv"
[rule.canary]
owner = "me"
when = { event = "click", source = "canary" }
alert = { each = true }
send = { to = ["log"], first = "now", then_every = "1s" }
[canary]
source = "canary"
rule = "canary"
interval = "5s"
patience = "10s"
"#;

struct Drill {
    running: Running,
    config: PathBuf,
    fleet: Fleet,
    generator: Generator,
}

impl Drill {
    fn start() -> Self {
        let running = Running::engines();
        let data = running.folder.path().join("data");
        let signed = "standard-webhooks";
        let sources = [("dub", "dub", "dub"), ("canonical", "canonical", signed), ("canary", "canonical", signed)];
        let config = configure(&data, &sources);
        // Its first line goes on with the last source.
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}{CANARY}")).unwrap();
        let fleet = Fleet::start(running.folder.path(), &config, &running.house.addresses, &SERVICES).unwrap();
        Self { running, config, fleet, generator: Generator::new(9) }
    }

    fn dub(&self) -> Sender {
        dub(&self.fleet.ingest(), &self.running.folder.path().join("data"))
    }

    async fn send(&mut self, clicks: usize) {
        let sender = self.dub();
        for _ in 0..clicks {
            let click = self.generator.click();
            until(SOON, "the click is taken", || async {
                (sender.once(&click).await.ok()?.0.as_u16() == 202).then_some(())
            })
            .await
            .unwrap();
        }
    }

    /// Asks until the answer is as it shall be; returns it.
    async fn until_it_says(&self, what: &str, code: i32, holds: impl Fn(&Value) -> bool) -> Value {
        let instances = SERVICES.map(|name| self.fleet.metrics(name).unwrap());
        let mut arguments = vec!["status"];
        for instance in &instances {
            arguments.extend(["--at", instance]);
        }
        let last = std::sync::Mutex::new(Value::Null);
        let asked = until(SAID, what, || async {
            let (exit, answer) = tool(&self.config, &arguments).await.unwrap();
            *last.lock().unwrap() = answer.clone();
            (exit == code && holds(&answer)).then_some(answer)
        });
        match asked.await {
            Ok(answer) => answer,
            Err(error) => panic!("{error}: {:#}", last.into_inner().unwrap()),
        }
    }
}

impl Drill {
    /// A figure of the canary, once there is one: the first sample that begins so, if it is not 0.
    async fn canary(&self, sample: &str) -> f64 {
        let url = format!("{}/metrics", self.fleet.metrics("canary").unwrap());
        let read = until(SAID, sample, || async {
            let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
            let line = text.lines().find(|line| line.starts_with(sample))?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok().filter(|value| *value > 0.0)
        });
        match read.await {
            Ok(value) => value,
            Err(error) => panic!("{error}; {}", self.fleet.logs()),
        }
    }
}

fn has_problem(answer: &Value, words: &str) -> bool {
    let problems = answer["problems"].as_array().into_iter().flatten();
    problems.into_iter().any(|problem| problem["what"].as_str().is_some_and(|what| what.contains(words)))
}

fn next_of(answer: &Value, words: &str) -> String {
    let mut problems = answer["problems"].as_array().into_iter().flatten();
    let problem = problems.find(|problem| problem["what"].as_str().is_some_and(|what| what.contains(words)));
    problem.map(|problem| problem["next"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_is_broken_and_what_to_do_in_each_drill() {
    let mut drill = Drill::start();
    drill.send(20).await;
    let well = drill.until_it_says("all is well", 0, |answer| answer["ok"] == true).await;
    assert_eq!(well["lost"]["verdict"], "nothing", "{well:#}");
    assert_eq!(well["instances"].as_array().map(Vec::len), Some(6), "{well:#}");

    // The canary has come through, in both ways.
    let count = |path: &str| format!("hookline_canary_seconds_count{{path=\"{path}\"}}");
    drill.canary(&count("row")).await;
    drill.canary(&count("message")).await;

    // A stage that does not run: records wait, and the command that starts it.
    drill.fleet.kill("process").unwrap();
    drill.send(3).await;
    let down = drill.until_it_says("process is down", 2, |answer| has_problem(answer, "process stands still")).await;
    assert!(next_of(&down, "process stands still").contains("hookline process --config"), "{down:#}");
    drill.fleet.restart("process").unwrap();
    drill.until_it_says("process runs again", 0, |answer| answer["ok"] == true).await;

    // A paused source, with the way back.
    let pause = ["pause", "source/dub", "--why", "a drill", "--who", "ana"];
    tool(&drill.config, &pause).await.unwrap();
    let paused = drill.until_it_says("paused", 1, |answer| has_problem(answer, "source dub is paused by ana")).await;
    assert!(next_of(&paused, "paused").contains("hookline resume source/dub --config"), "{paused:#}");
    tool(&drill.config, &["resume", "source/dub", "--who", "ana"]).await.unwrap();

    // A dead letter waits for a decision, and nothing is lost.
    let canonical = Sender::new(
        &drill.fleet.ingest(),
        "canonical",
        signature::Scheme::StandardWebhooks,
        signature::Secret::new("first", drill.running.secret("canonical")),
    );
    canonical.unwrap().deliver(br#"{"id":"torn"}"#).await.unwrap();
    let letters = drill.until_it_says("a dead letter", 1, |answer| answer["dead_letters_open"] == 1).await;
    assert!(next_of(&letters, "dead letters").contains("hookline dlq list"), "{letters:#}");
    assert_eq!(letters["lost"]["verdict"], "nothing", "{letters:#}");

    // For people: one screen, and the exit code.
    let (code, screen, _) = said(&drill.config, &["status"]).await.unwrap();
    assert!(code == 1 && screen.starts_with("ATTENTION") && screen.contains("lost: nothing ("), "{screen}");
    assert!(screen.lines().count() <= 40, "{screen}");
    let discard = ["dlq", "discard", "--all", "--why", "a drill", "--who", "ana"];
    tool(&drill.config, &discard).await.unwrap();

    // Each engine away: said with what follows, and no more is claimed than is known.
    let data = drill.running.folder.path().join("data");
    for (engine, name) in [("clickhouse", "ClickHouse at"), ("kafka", "Kafka at")] {
        let pid = engine_pid(&data, engine).await.unwrap();
        signal(pid, "-STOP").unwrap();
        let away = drill.until_it_says(name, 2, |answer| has_problem(answer, name)).await;
        assert_eq!(away["lost"]["verdict"], "not_proven", "{away:#}");
        if engine == "clickhouse" {
            // It hangs, so the canary cannot be seen; ingest still takes it, one at a time.
            drill.canary("hookline_canary_failures_total{path=\"row\",reason=\"clickhouse\"}").await;
            drill.until_it_says("the canary is dead", 2, |answer| has_problem(answer, "end to end is broken")).await;
        }
        signal(pid, "-CONT").unwrap();
        if engine == "clickhouse" {
            // Since its start, a new one has no success to show but its own.
            drill.fleet.kill("canary").unwrap();
            drill.fleet.restart("canary").unwrap();
            drill.canary(&count("message")).await;
            drill.until_it_says("all is well with ClickHouse", 0, |answer| answer["ok"] == true).await;
            // What follows is about Kafka alone.
            drill.fleet.kill("canary").unwrap();
        }
    }
    drill.fleet.restart("canary").unwrap();
    // With the canary, which comes through again.
    drill.until_it_says("all is well again", 0, |answer| answer["ok"] == true).await;
    let asker = drill.running.asker();
    let (seen, counted) = ["hookline_test.records", "hookline.records"]
        .map(|table| format!("SELECT count() FROM {table} WHERE source = 'canary'"))
        .into();
    assert!(asker.number(&seen).await.unwrap() > 1, "its events are test data");
    assert_eq!(asker.number(&counted).await.unwrap(), 0, "none of it stands in reports");
    let sent = drill.running.folder.path().join("data/alerts.csv");
    assert!(!sent.exists(), "its messages go to the capture sink alone");
}
