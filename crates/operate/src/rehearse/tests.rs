use std::path::Path;

use config::Environment;
use kafka::control::Control;
use serde_json::{Value, json};

use super::expected::{Expected, Tried};
use super::look::{Row, SeenAlert};
use super::made_up::Scenario;
use super::*;

const NOW: i64 = 1_795_428_000_000;

const CONFIG: &str = r##"version = 1
[owner]
me = { name = "Me" }
[source.s]
adapter = "canonical"
owner = "me"
secrets = [{ id = "a", env = "S" }]
[partner.dealfox]
approved_sources = ["dealfox"]
[destination.log]
kind = "csv"
owner = "me"
path = "alerts.csv"
[rule.scan]
owner = "me"
when = { event = "qr_scan", programme = "inst*", placement = "shelf-3" }
alert = { each = true }
send = { to = ["log"] }
[rule.burst]
owner = "me"
when = { event = "visit", link_kind = "promo", tag = "q4" }
alert = { count = 400, per = "campaign", within = "5m" }
send = { to = ["log"] }
[rule.broken]
owner = "me"
when = { event = "error" }
alert = { count = 3, per = "link", within = "10m" }
send = { to = ["log"] }
[rule.approved]
owner = "me"
when = { event = "visit", partner_approved = true }
alert = { each = true }
[rule.elsewhere]
owner = "me"
when = { event = "visit", source = "other" }
alert = { each = true }
[rule.huge]
owner = "me"
when = { event = "visit" }
alert = { count = 100000, per = "all", within = "5m" }
[rule.spike]
owner = "me"
when = { event = "visit" }
alert = { spike = "3x", per = "link", within = "5m" }
[rule.nowhere]
owner = "me"
when = { source = "s" }
alert = { broken = true, per = "link", at_least = 3, within = "10m" }
[rule.high]
owner = "me"
when = { event = "visit", intent = "high" }
alert = { each = true }
"##;

struct Rehearsed {
    config: std::sync::Arc<Config>,
    events: Vec<MadeUp>,
    tried: Vec<Tried>,
    left_out: Vec<(String, String)>,
    patience_ms: i64,
    repeated: u64,
}

impl Rehearsed {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hookline.toml");
        std::fs::write(&file, CONFIG).expect("written");
        let environment = Environment::new([("S", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")], Timestamp::now());
        let config = Config::load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let installation = Installation::without_engines(config, Path::new("hookline.toml")).expect("a configuration");
        let config = installation.config.clone();
        let pipeline = installation.pipeline().expect("no files");
        let control = Control { incarnation: String::new(), lanes: 4, partitioner: 1, recipes: 1, dedupe_key: [0; 16] };
        let source = config.source("s").expect("the source");
        let try_out = |events: &mut [MadeUp]| try_out(&pipeline, &control, &config, source, events, NOW);
        let mut maker = Maker::new(&config, "s", "1", NOW);
        let mut events = maker.scenarios();
        let mut tried = try_out(&mut events);
        let mut left_out = Vec::new();
        for rule in &config.rules {
            match maker.of_rule(&rule.rule) {
                Err(why) => left_out.push((rule.rule.name().to_owned(), why)),
                Ok(mut made) => {
                    let more = try_out(&mut made);
                    match more[0].mismatch.clone() {
                        Some(why) => left_out.push((rule.rule.name().to_owned(), why)),
                        None => {
                            events.extend(made);
                            tried.extend(more);
                        }
                    }
                }
            }
        }
        Self { config, events, tried, left_out, patience_ms: 90_000, repeated: 0 }
    }

    fn expected(&self) -> Vec<Expected> {
        expected(&self.config, &self.events, &self.tried)
    }

    /// The rows that a system in which everything holds has.
    fn rows(&self) -> Vec<Row> {
        let row = |event: &MadeUp, outcome: &str| -> Row {
            let mut row = Row::new();
            row.insert("event_key".to_owned(), json!(event.key));
            row.insert("outcome".to_owned(), json!(outcome));
            row.extend(event.expects.iter().map(|(column, value)| ((*column).to_owned(), json!(value))));
            row
        };
        let of = |event: &MadeUp| {
            let outcomes = (0..event.deliveries).map(|number| if number == 0 { "event" } else { "duplicate" });
            outcomes.map(|outcome| row(event, outcome)).collect::<Vec<_>>()
        };
        self.events.iter().flat_map(of).collect()
    }

    fn alerts(&self) -> Vec<SeenAlert> {
        let alert = |(number, expected): (usize, Expected)| {
            let (key, sample) = match &expected.about {
                expected::About::Event(key) => (key.clone(), key.clone()),
                expected::About::Key(key) => (key.clone(), self.events[0].key.clone()),
            };
            alert(&expected.rule, number, &key, &sample)
        };
        self.expected().into_iter().enumerate().map(alert).collect()
    }

    fn judge(&self, rows: Vec<Row>, alerts: Vec<SeenAlert>) -> Judged {
        let steps = alerts.iter().flat_map(|alert| {
            let bundle = format!("bundle-{}", alert.alert_id);
            let step = |stage: &str, ids: Value| {
                serde_json::from_value(json!({
                    "bundle_id": bundle, "destination": "capture", "stage": stage, "error": "", "not_before_ms": NOW,
                    "alert_ids": ids,
                }))
                .expect("a step")
            };
            [step("planned", json!([alert.alert_id])), step("delivered", json!([]))]
        });
        let seen = Seen { rows, steps: steps.collect(), alerts, production: [0; 3] };
        let expected = self.expected();
        let (config, events, repeated, patience_ms) = (&self.config, &self.events, self.repeated, self.patience_ms);
        Judge { config, events, expected: &expected, begun: NOW, repeated, patience_ms }.judge(&seen)
    }
}

fn alert(rule: &str, number: usize, key: &str, sample: &str) -> SeenAlert {
    serde_json::from_value(json!({
        "alert_id": format!("alert-{number}"), "rule": rule, "owner": "me", "key": key, "transition": "fired",
        "start_ms": NOW, "end_ms": NOW + 1_000, "received_ms": NOW, "observed": 1, "threshold": 1, "sample": sample,
        "attributes": {},
    }))
    .expect("an alert")
}

fn problems(judged: &Judged) -> Vec<String> {
    judged.scenarios.iter().flat_map(|scenario| scenario.problems.clone()).collect()
}

#[test]
fn every_event_is_test_data_and_each_rule_speaks_or_is_left_out_with_a_reason() {
    let rehearsed = Rehearsed::new();
    assert!(rehearsed.tried.iter().all(|tried| tried.is_event && tried.is_test));
    let speak = rehearsed.expected();
    for (rule, scenario) in [
        ("scan", Scenario::QrScan),
        ("burst", Scenario::Burst),
        ("broken", Scenario::Broken),
        ("approved", Scenario::Click),
    ] {
        assert!(speak.iter().any(|one| one.rule == rule && one.scenario == scenario), "{rule}: {speak:?}");
    }
    let why: Vec<(&str, &str)> = rehearsed.left_out.iter().map(|(rule, why)| (rule.as_str(), why.as_str())).collect();
    for (rule, words) in [
        ("elsewhere", "another source"),
        ("huge", "100000"),
        ("spike", "learns"),
        ("nowhere", "before"),
        ("high", "no intent"),
    ] {
        assert!(why.iter().any(|(name, why)| *name == rule && why.contains(words)), "{why:?}");
    }
    assert_eq!(why.len(), 5, "{why:?}");
}

#[test]
fn a_system_in_which_all_is_as_it_should_be_holds() {
    let rehearsed = Rehearsed::new();
    let judged = rehearsed.judge(rehearsed.rows(), rehearsed.alerts());
    assert_eq!(problems(&judged), [""; 0]);
    assert!(!judged.waits && judged.rules.iter().any(|rule| rule.rule == "scan" && rule.message == "captured"));
    assert!(judged.rules.iter().any(|rule| rule.rule == "approved" && rule.message == "sends nothing"));
}

#[test]
fn a_rule_that_looks_at_its_window_too_seldom_is_noted_and_not_waited_for() {
    let mut rehearsed = Rehearsed::new();
    let silent: Vec<SeenAlert> = rehearsed.alerts().into_iter().filter(|alert| alert.rule != "broken").collect();
    let judged = rehearsed.judge(rehearsed.rows(), silent.clone());
    assert!(judged.waits, "panes of a minute are waited for");
    rehearsed.patience_ms = 60_000;
    let judged = rehearsed.judge(rehearsed.rows(), silent);
    assert!(!judged.waits && problems(&judged).is_empty(), "{:?}", problems(&judged));
    let notes: Vec<&String> = judged.scenarios.iter().flat_map(|one| &one.notes).collect();
    assert!(notes.iter().any(|note| note.contains("rule broken looks at what it counts every 60 s")), "{notes:?}");
    assert!(notes.iter().any(|note| note.ends_with("--patience 90 does")), "{notes:?}");
}

#[test]
fn a_request_that_was_repeated_may_have_been_taken_twice() {
    let mut rehearsed = Rehearsed::new();
    let mut rows = rehearsed.rows();
    let mut again = rows[0].clone();
    again.insert("outcome".to_owned(), json!("duplicate"));
    rows.push(again);
    let said = problems(&rehearsed.judge(rows.clone(), rehearsed.alerts()));
    assert!(said.iter().any(|problem| problem.contains("was delivered")), "{said:?}");
    rehearsed.repeated = 1;
    assert_eq!(problems(&rehearsed.judge(rows, rehearsed.alerts())), [""; 0]);
}

#[test]
fn a_rule_that_tells_apart_is_said_to_look_at_test_data_and_not_to_learn() {
    let rehearsed = Rehearsed::new();
    let mut alerts = rehearsed.alerts();
    for (number, rule) in [(900, "nowhere"), (901, "spike")] {
        alerts.push(alert(rule, number, "k", &rehearsed.events[0].key));
    }
    let judged = rehearsed.judge(rehearsed.rows(), alerts);
    assert_eq!(problems(&judged), [""; 0]);
    let notes: Vec<&str> = judged.scenarios.iter().flat_map(|one| &one.notes).map(String::as_str).collect();
    for (rule, words) in [("nowhere", "it looks at test data as well"), ("spike", "it learns from test data as well")] {
        let note = format!("rule {rule} spoke about k: {words}");
        assert!(notes.contains(&&*note), "{notes:?}");
    }
}

#[test]
fn what_does_not_hold_is_named() {
    let rehearsed = Rehearsed::new();
    let (rows, alerts) = (rehearsed.rows(), rehearsed.alerts());
    let said = |rows: Vec<Row>, alerts: Vec<SeenAlert>| problems(&rehearsed.judge(rows, alerts)).join("; ");

    let missing = rehearsed.judge(rows[1..].to_vec(), alerts.clone());
    assert!(missing.waits && problems(&missing)[0].contains("have no row"), "{:?}", problems(&missing));
    let twice: Vec<Row> = rows
        .iter()
        .cloned()
        .map(|mut row| {
            row.insert("outcome".to_owned(), json!("event"));
            row
        })
        .collect();
    assert!(said(twice, alerts.clone()).contains("counts 3 times"));
    let mut wrong = rows.clone();
    wrong.iter_mut().filter(|row| row.contains_key("utm_source")).for_each(|row| {
        row.insert("utm_source".to_owned(), json!(""));
    });
    assert!(said(wrong, alerts.clone()).contains("utm_source is \"\" and should be \"rehearse-source\""));
    let silent: Vec<SeenAlert> = alerts.iter().filter(|alert| alert.rule != "broken").cloned().collect();
    assert!(said(rows.clone(), silent).contains("rule broken said nothing"));
    let mut more = alerts.clone();
    more.push(alert("scan", 900, "k", &rehearsed.events[0].key));
    assert!(said(rows, more).contains("rule scan spoke about k, and by this configuration it should not"));
}
