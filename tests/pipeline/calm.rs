//! What keeps people calm, while everything runs: budgets, and what they pause, silence and acknowledge.

use std::path::Path;
use std::time::{Duration, Instant};

use kafka::lane::pause;
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::receiver::{Platform, Receiver};
use testkit::{House, Sender};
use tokio::runtime::Runtime;
use traffic::canonical::Generator;

use crate::alerts::{SECRET, wait_for};
use crate::harness::SOON;
use crate::tool::tool;

/// How soon a switch is known everywhere.
const KNOWN: Duration = Duration::from_secs(2);

fn configuration(folder: &Path, hook: &Receiver, few: &Receiver) -> String {
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    let mut text =
        "version = 1\n[owner]\nme = { name = \"Ann\" }\n[source.canonical]\nadapter = \"canonical\"\nowner = \"me\"\n\
        secrets = [{ id = \"first\", file = \"secret\" }]\n"
            .to_owned();
    for (name, receiver, more) in [("hook", hook, ""), ("few", few, "max = \"2 per hour\"\n")] {
        text.push_str(&format!(
            "[destination.{name}]\nkind = \"webhook\"\nowner = \"me\"\nurl = \"http://{}/hook\"\n\
             secret = {{ file = \"secret\" }}\nallow_private = true\n{more}",
            receiver.address
        ));
    }
    for (name, to, every) in [("one", "hook", "1s"), ("two", "hook", "1s"), ("many", "few", "1s")] {
        text.push_str(&format!(
            "[rule.{name}]\nowner = \"me\"\nwhen = {{ event = \"visit\", campaign = \"{name}\" }}\nalert = {{ each = true }}\n\
             send = {{ to = [\"{to}\"], first = \"now\", then_every = \"{every}\", one_open_per = \"link\" }}\n"
        ));
    }
    text
}

#[test]
fn what_people_hold_back_is_held_back_within_two_seconds_and_a_budget_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let [hook, few] = [Receiver::start(Platform::Webhook).unwrap(), Receiver::start(Platform::Webhook).unwrap()];
    let config = folder.path().join("hookline.toml");
    std::fs::write(&config, configuration(folder.path(), &hook, &few)).unwrap();
    let data = folder.path().join("data");
    let house = House::up(&data, &["--config", config.to_str().unwrap()]).unwrap();
    let ingest = house.addresses.ingest.as_deref().unwrap();
    let sender = Sender::new(ingest, "canonical", Scheme::StandardWebhooks, Secret::new("first", SECRET)).unwrap();
    let (runtime, mut generator) = (Runtime::new().unwrap(), Generator::new(1));
    let mut visit = |campaign: &str, slug: &str| {
        let event = generator.event_with(&json!({
            "type": "click", "campaign": campaign, "link": { "id": format!("l_{slug}"), "slug": slug },
            "visitor": { "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
        }));
        let (status, answer) = runtime.block_on(sender.once(&event)).unwrap();
        assert_eq!(status, 202, "{answer}");
    };
    let brokers = house.addresses.kafka.clone();
    let say = |arguments: &[&str]| -> Value {
        let all = [arguments, &["--who", "ann", "--brokers", &brokers]].concat();
        let (code, said) = runtime.block_on(tool(&config, &all)).unwrap();
        assert_eq!(code, 0, "{said}");
        said
    };
    let bodies = |receiver: &Receiver| receiver.requests().iter().map(|one| one.json()).collect::<Vec<Value>>();
    let of = |rule: &str| bodies(&hook).into_iter().filter(|body| body["rule"] == rule).collect::<Vec<Value>>();

    visit("one", "a");
    wait_for("the first message", || of("one").len() == 1);

    // A paused rule says nothing new; another speaks, and so does it when it goes on.
    say(&["pause", "rule/one", "--why", "launch", "--for", "1h"]);
    pause("every instance to know", KNOWN);
    visit("one", "b");
    visit("two", "b");
    wait_for("the other rule", || of("two").len() == 1);
    assert_eq!(of("one").len(), 1);
    say(&["resume", "rule/one"]);
    pause("every instance to know", KNOWN);
    visit("one", "c");
    wait_for("the rule again", || of("one").len() == 2);

    // A silence of one link.
    say(&["silence", "two", "--about", "go.acme.example/d", "--why", "test", "--for", "1h"]);
    pause("every instance to know", KNOWN);
    visit("two", "d");
    visit("two", "e");
    wait_for("the other link", || of("two").len() == 2);

    // An acknowledged message is followed by nothing.
    let last = of("two")[1]["id"].as_str().unwrap().to_owned();
    say(&["ack", &last]);
    pause("every instance to know", KNOWN);

    // A paused destination gets nothing; what came meanwhile is one digest.
    say(&["pause", "destination/hook", "--why", "it is being moved"]);
    pause("every instance to know", KNOWN);
    let before = bodies(&hook).len();
    ["f", "g", "h"].iter().for_each(|slug| visit("one", slug));
    pause("a message too many", Duration::from_secs(3));
    assert_eq!(bodies(&hook).len(), before);
    let resumed = Instant::now();
    say(&["resume", "destination/hook"]);
    wait_for("the digest", || bodies(&hook).len() > before);
    println!("a digest {:?} after its destination went on", resumed.elapsed());
    let digest = bodies(&hook).pop().unwrap();
    assert_eq!((&digest["type"], digest["digest"].as_array().unwrap().len()), (&json!("digest"), 3), "{digest}");

    // A budget of two: the second says so, the others wait.
    ["a", "b", "c", "d"].iter().for_each(|slug| visit("many", slug));
    wait_for("the budget", || bodies(&few).len() == 2);
    pause("a message too many", Duration::from_secs(3));
    let got = bodies(&few);
    assert_eq!(got.len(), 2);
    assert!(got[1]["text"].as_str().unwrap().contains("message 2 of 2 in an hour, 2 of them of many"), "{}", got[1]);

    // What was held back stands in ClickHouse with its reason, and every switch with who and why.
    let asker = testkit::clickhouse::Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let held = "SELECT toUInt64(countIf(error = 'the rule is paused by ann: launch') = 1 AND countIf(error = 'silenced by ann: test') = 1) \
        FROM hookline.delivery_attempts WHERE stage = 'silenced'";
    runtime.block_on(asker.until(held, 1, SOON)).unwrap();
    // Asked about one alert, explain says what became of it.
    let silenced = "SELECT alert_ids[1] AS id FROM hookline.delivery_attempts WHERE stage = 'silenced' AND error LIKE 'silenced by%'";
    let id = runtime.block_on(asker.rows(silenced)).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let beside = data.join("hookline.toml");
    std::fs::copy(&config, &beside).unwrap();
    std::fs::copy(folder.path().join("secret"), data.join("secret")).unwrap();
    let (_, explained) = runtime.block_on(tool(&beside, &["explain", &id])).unwrap();
    let told = &explained["messages"][0];
    let expected = [("destination", "hook"), ("stage", "silenced"), ("why", "silenced by ann: test")];
    assert!(expected.iter().all(|(name, value)| told[*name] == *value), "{explained}");
    let (_, history) = runtime.block_on(tool(&config, &["pause", "--history", "--brokers", &brokers])).unwrap();
    let objects: Vec<&str> =
        history["changes"].as_array().unwrap().iter().map(|one| one["object"].as_str().unwrap()).collect();
    let message = format!("message/{last}");
    let expected = [
        "rule/one",
        "rule/one",
        "silence/two/go.acme.example/d",
        message.as_str(),
        "destination/hook",
        "destination/hook",
    ];
    assert_eq!(objects, expected);
    assert!(history["changes"].as_array().unwrap().iter().all(|one| one["who"] == "ann"));
    let metrics = runtime.block_on(async {
        let url = format!("{}/metrics", house.addresses.metrics.as_deref().unwrap());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    });
    assert!(metrics.contains("hookline_rule_messages_total{outcome=\"held_back\",rule=\"one\"} 1"), "{metrics}");
}
