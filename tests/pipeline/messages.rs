//! From a webhook that comes in to a message that goes out, through every service.
#![allow(clippy::unwrap_used, reason = "in a test every failure is a panic, in its own functions as well")]

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::{House, Sender};
use tokio::runtime::Runtime;
use traffic::canonical::Generator;

use crate::alert_messages::Receiver;
use crate::alerts::{SECRET, wait_for};

/// Rules that fire on every event, each for a campaign of its own, so that each message is the first of its group.
const RULES: usize = 100;

fn configuration(folder: &Path, receiver: &str) -> String {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.display();
    let mut text = format!(
        r#"
version = 1
[owner]
me = {{ name = "Me" }}
[source.canonical]
adapter = "canonical"
owner = "me"
secrets = [{{ id = "first", file = "{secret}" }}]
[ignore.test]
slug_prefixes = ["test-"]
[destination.hook]
kind = "webhook"
owner = "me"
url = "{receiver}"
secret = {{ file = "{secret}" }}
allow_private = true
[rule.broken]
owner = "me"
when = {{ event = "error" }}
alert = {{ count = 3, per = "link", within = "5s" }}
send = {{ to = ["hook"], first = "now", then_every = "1s", say_when_over = true }}
do = "Fix it."
"#
    );
    for number in 0..RULES {
        text.push_str(&format!(
            r#"
[rule.each-{number}]
owner = "me"
when = {{ event = "visit", campaign = "c-{number}" }}
alert = {{ each = true }}
send = {{ to = ["hook"], first = "now", then_every = "5m" }}
"#
        ));
    }
    text
}

#[test]
fn a_webhook_becomes_a_message_and_a_broken_link_is_told_once_and_when_it_is_over() {
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::start());
    let config = folder.path().join("hookline.toml");
    std::fs::write(&config, configuration(folder.path(), &receiver.url)).unwrap();
    let house = House::up(&folder.path().join("data"), &["--config", config.to_str().unwrap()]).unwrap();
    let ingest = house.addresses.ingest.as_deref().unwrap();
    let sender = Sender::new(ingest, "canonical", Scheme::StandardWebhooks, Secret::new("first", SECRET)).unwrap();
    let (runtime, mut generator) = (Runtime::new().unwrap(), Generator::new(1));
    let mut send = |patch: &Value| {
        let mut patch = patch.clone();
        // People: bots meet no rule.
        patch["visitor"] = json!({ "bot": false, "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" });
        let (status, answer) = runtime.block_on(sender.once(&generator.event_with(&patch))).unwrap();
        assert_eq!(status, 202, "{answer}");
        Instant::now()
    };

    // Each event is its own message. The first of all waits for everything to be warm, and is not measured.
    let mut accepted = HashMap::new();
    for number in 0..RULES {
        let patch = json!({ "campaign": format!("c-{number}") });
        accepted.insert(format!("each-{number}"), send(&patch));
        if number == 0 {
            wait_for("the first message", || !receiver.got().is_empty());
        }
        kafka::lane::pause("events come one by one", Duration::from_millis(50));
    }
    let of_each = || {
        let got = receiver.got().into_iter();
        got.filter(|(_, body, _)| body["rule"].as_str().unwrap().starts_with("each-")).collect::<Vec<_>>()
    };
    wait_for("every message", || of_each().len() >= RULES);
    let messages = of_each();
    assert_eq!(messages.len(), RULES, "each once");
    let mut took: Vec<Duration> =
        messages.iter().map(|(_, body, at)| *at - accepted[body["rule"].as_str().unwrap()]).collect();
    took.remove(0);
    took.sort();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!("from an accepted webhook to its message: median {median:?}, p99 {p99:?}");

    // A broken link, met by four people, and in test data by ten more: told once, and once when it is over.
    let broken = |slug: &str| {
        json!({
            "type": "error", "link": { "id": format!("l_{slug}"), "slug": slug },
            "error": { "kind": "destination_unavailable", "detail": "HTTP 503" },
        })
    };
    for slug in ["gone"; 4].into_iter().chain(["test-gone"; 10]) {
        send(&broken(slug));
    }
    let of_broken = || {
        let got = receiver.got().into_iter().map(|(_, body, _)| body);
        got.filter(|body| body["rule"] == "broken").collect::<Vec<_>>()
    };
    wait_for("the beginning and the end", || of_broken().len() >= 2);
    kafka::lane::pause("a message too many", Duration::from_secs(2));
    let told = of_broken();
    let kinds: Vec<_> =
        told.iter().map(|body| (body["type"].as_str().unwrap(), body["count"].as_u64().unwrap())).collect();
    assert!(matches!(kinds[..], [("alert", 3 | 4), ("resolved", 0)]), "{kinds:?}");
    assert_eq!(told[0]["do"], "Fix it.");
    assert!(told[0]["links"][0]["link"].as_str().unwrap().ends_with("/gone"), "{}", told[0]);
    assert!(receiver.got().iter().all(|(_, body, _)| body["test"] == false));
}
