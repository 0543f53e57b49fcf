//! `hookline explain` on the real engines: it agrees with the rows of 10,000 generated events, and says what another
//! configuration would.

use std::path::{Path, PathBuf};

use operate::Installation;
use operate::explain::{Explained, Explainer};
use operate::installation::Needs;
use serde_json::json;

use crate::harness::{Running, SOON, configure, until};
use crate::tool::{said, tool};

/// Events that are generated.
const EVENTS: u64 = 10_000;

/// What decides: test data, internal traffic, channels, rules. The generated events meet some of each.
const DECIDES: &str = r#"
[ignore.internal]
networks = ["198.51.100.0/24"]
[ignore.test]
slug_prefixes = ["s"]
[channels]
medium = { "influencer" = "social" }
[destination.log]
kind = "csv"
owner = "me"
path = "alerts.csv"
[rule.every-scan]
owner = "me"
when = { event = "qr_scan" }
alert = { each = true }
send = { to = ["log"] }
[rule.many-clicks]
owner = "me"
when = { event = "visit", channel = "email" }
alert = { count = 1000000, per = "link", within = "5m" }
send = { to = ["log"] }
"#;

fn write_config(folder: &Path, more: &str) -> PathBuf {
    let config = configure(folder, &[("dub", "dub", "dub"), ("canonical", "canonical", "standard-webhooks")]);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}{more}")).unwrap();
    config
}

/// Every record of every lane, explained.
async fn all(config: &Path) -> Vec<Explained> {
    let installation = Installation::find(config, Needs::Both, None).unwrap();
    let explainer = Explainer::open(&installation).await.unwrap();
    let report = operate::ledger::read(&installation, 0).await.unwrap();
    let mut explained = Vec::new();
    for lane in report.lanes {
        let kept = lane.kept.unwrap();
        let mut from = kept.from;
        while from < kept.to {
            let to = kept.to.min(from + 1_000);
            explained.extend(explainer.range(lane.lane, from..to).await.unwrap());
            from = to;
        }
    }
    explained
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_agrees_with_the_rows_of_10_000_events_and_names_what_another_configuration_would_change() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(&folder.path().join("data"), DECIDES);
    let running = Running::within(folder, &["--config", config.to_str().unwrap()]);
    let asker = running.asker();
    for (source, events) in [("canonical", EVENTS * 6 / 10), ("dub", EVENTS * 4 / 10)] {
        let count = events.to_string();
        let flags = ["send", "--source", source, "--count", &count, "--duplicates", "5"];
        let (code, _, errors) = said(&config, &flags).await.unwrap();
        assert_eq!(code, 0, "{errors}");
    }
    // Of the deliveries, some repeat an event: they are records as well.
    asker.until("SELECT count() FROM hookline.where_is", EVENTS, SOON * 3).await.unwrap();

    let explained = all(&config).await;
    assert!(explained.len() as u64 >= EVENTS, "{} records", explained.len());
    let wrong: Vec<&Explained> =
        explained.iter().filter(|event| event.differences.as_ref().is_none_or(|found| !found.is_empty())).collect();
    assert!(wrong.is_empty(), "{} of {} differ: {:#?}", wrong.len(), explained.len(), wrong.first());
    // It is not empty talk: duplicates, test data, internal traffic and rules that match are among them.
    let has = |words: &str| explained.iter().filter(|event| json!(event).to_string().contains(words)).count();
    for words in
        ["a duplicate: offset", "it would say", "\"matched\":true", "channel:", "counts as bot", "counts as human"]
    {
        assert!(words == "it would say" || has(words) > 0, "none says {words:?}");
    }

    // One event in each way in which it can be asked for.
    let event = explained.iter().find(|event| event.row["outcome"] == "event").unwrap();
    let place = event.place.as_ref().unwrap();
    let text = |column: &str| event.row[column].as_str().unwrap_or_default().to_owned();
    for id in [format!("{}:{}", place.lane, place.offset), text("request_id"), text("event_key")] {
        let (code, answer) = tool(&config, &["explain", &id]).await.unwrap();
        assert_eq!(code, 0, "{id}: {answer:#}");
        let keys = answer["events"].as_array().unwrap().iter().map(|event| &event["row"]["event_key"]);
        assert!(keys.into_iter().any(|key| *key == event.row["event_key"]), "{id}: {answer:#}");
    }
    let (code, answer) = tool(&config, &["explain", "req_that_was_never"]).await.unwrap();
    assert!(code == 1 && answer["next"][0].as_str().unwrap().contains("hookline verify"), "{answer:#}");

    // Another configuration: what it would say of stored events, with the columns.
    let other = DECIDES
        .replace("slug_prefixes = [\"s\"]", "slug_prefixes = [\"zzz-\"]")
        .replace("198.51.100.0/24", "0.0.0.0/0");
    write_config(&running.folder.path().join("data"), &other);
    let (code, changed) = tool(&config, &["explain", &text("event_key")]).await.unwrap();
    assert_eq!(changed["events"][0]["config"]["stored"], event.config.now, "{changed:#}");
    assert_ne!(changed["events"][0]["config"]["now"], event.config.now, "{changed:#}");
    let different = all(&config)
        .await
        .iter()
        .filter(|event| event.differences.as_ref().is_some_and(|found| !found.is_empty()))
        .count();
    assert!(code <= 1 && different > 0, "no event would be another");

    // What was not sent: a file, and a captured request.
    let files = running.folder.path();
    let click = json!({
        "id": "never-sent", "type": "click", "time": "2026-11-23T10:00:00Z", "link": { "id": "l_1", "domain": "go.acme.example", "slug": "x" },
        "utm": { "medium": "influencer" },
    });
    std::fs::write(files.join("click.json"), click.to_string()).unwrap();
    let file = files.join("click.json");
    let (code, answer) =
        tool(&config, &["explain", "--file", file.to_str().unwrap(), "--source", "canonical"]).await.unwrap();
    let said_of = answer["events"][0].to_string();
    assert!(code == 0 && answer["events"][0]["row"]["channel"] == "social", "{answer:#}");
    assert!(said_of.contains("hookline.toml:"), "the line of [channels] medium: {answer:#}");
    let request = format!(
        "POST /v1/webhooks/dub HTTP/1.1\r\nDub-Signature: 00\r\nContent-Type: application/json\r\n\r\n{}",
        r#"{"id":"evt_1"}"#
    );
    std::fs::write(files.join("request.http"), request).unwrap();
    let captured = files.join("request.http");
    let (code, screen, _) = said(&config, &["explain", "--request", captured.to_str().unwrap()]).await.unwrap();
    assert!(code == 1 && screen.contains("NOT AUTHENTIC") && screen.contains("dead letter"), "{screen}");
    until(SOON, "nothing of it was stored", || async {
        let rows = asker.number("SELECT count() FROM hookline.where_is WHERE event_key = 'never-sent'").await.ok()?;
        (rows == 0).then_some(())
    })
    .await
    .unwrap();
}
