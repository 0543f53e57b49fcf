//! Daily visitors: told apart without an address at rest, by all instances alike, over restarts, and by replays again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kafka::lane::read_all_committed;
use kafka::{Cluster, Topic};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::Sender;
use testkit::oracle::Fleet;

use crate::harness::{Running, SOON, configure, until};
use crate::tool::tool;

/// Two people: one by IPv6, whose devices share the network and not the rest of the address.
const ANNA: &[&str] = &["2001:db8:7:7::1", "2001:db8:7:7:ffff::2"];
const BERT: &[&str] = &["198.51.100.7", "::ffff:198.51.100.7"];

/// A click of one of them on a link of a domain. `seed` makes its id.
fn click(seed: u32, at: Timestamp, person: &[&str], domain: &str) -> Vec<u8> {
    json!({
        "id": format!("v{seed}"), "type": "click", "time": at.to_string(), "campaign": "2026q4-de-people", "channel": "email",
        "link": { "id": format!("l_{}", seed % 2), "domain": domain, "slug": "spring" },
        "visitor": { "ip": person[seed as usize % person.len()], "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0" },
    })
    .to_string()
    .into_bytes()
}

fn sender(fleet: &Fleet, folder: &Path, source: &str) -> Sender {
    let text = std::fs::read_to_string(folder.join("secrets").join(source)).unwrap();
    Sender::new(&fleet.ingest(), source, Scheme::StandardWebhooks, Secret::new("first", text.trim())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_is_one_on_its_day_whoever_hashes_it_and_nothing_at_rest_leads_back() {
    let running = Running::engines();
    let folder = running.folder.path();
    let sources = [("canonical", "canonical", "standard-webhooks"), ("quiet", "canonical", "standard-webhooks")];
    let config = configure(folder, &sources);
    let text = std::fs::read_to_string(&config).unwrap();
    // The last section is that of the source that wants none.
    let engines = &running.house.addresses;
    std::fs::write(
        &config,
        format!(
            "{text}visitors = \"off\"\n[kafka]\nbrokers = \"{}\"\nlanes = 4\nreplication = 1\n[clickhouse]\nurl = \"{}\"\nuser = \"hookline\"\n",
            engines.kafka, engines.clickhouse
        ),
    )
    .unwrap();
    let fleet = Fleet::start(folder, &config, engines, &["ingest", "process 1/2", "process 2/2", "report"]).unwrap();
    let (asker, canonical, quiet) =
        (running.asker(), sender(&fleet, folder, "canonical"), sender(&fleet, folder, "quiet"));

    // Noon, so that none of these days ends in mid-test; and the fraction of one that arrives late.
    let noon = |days_ago: i64| {
        let today = Timestamp::now().as_second().div_euclid(86_400) - days_ago;
        Timestamp::from_second(today * 86_400).unwrap() + SignedDuration::from_hours(if days_ago == 0 { 0 } else { 12 })
    };
    let mut id = 0;
    let mut send = async |from: &Sender, days_ago: i64, person: &[&str], domain: &str, clicks: usize| {
        let bodies: Vec<Vec<u8>> = (0..clicks)
            .map(|_| {
                id += 1;
                click(id, noon(days_ago), person, domain)
            })
            .collect();
        from.deliver_all(bodies, 4).await.unwrap();
    };
    // Both instances need the salt of today at once, and in all lanes.
    send(&canonical, 0, ANNA, "go.acme.example", 40).await;
    send(&canonical, 0, BERT, "go.acme.example", 40).await;
    send(&canonical, 1, ANNA, "go.acme.example", 10).await;
    send(&canonical, 3, ANNA, "go.acme.example", 10).await;
    send(&quiet, 0, BERT, "go.acme.example", 10).await;
    asker.until("SELECT count() FROM hookline.records", 110, SOON).await.unwrap();

    // Whoever comes after a kill -9 knows them.
    for name in ["process 1/2", "process 2/2"] {
        fleet.kill(name).unwrap();
        fleet.restart(name).unwrap();
    }
    send(&canonical, 0, ANNA, "go.acme.example", 20).await;
    send(&canonical, 0, BERT, "l.acme.example", 20).await;
    asker.until("SELECT count() FROM hookline.records", 150, SOON).await.unwrap();

    // Of each row: day, domain and source say which visitors there may be.
    let of = async |condition: &str| -> BTreeSet<String> {
        let sql = format!("SELECT DISTINCT toString(visitor) AS visitor FROM hookline.records WHERE {condition}");
        let rows = asker.rows(&sql).await.unwrap();
        rows.iter().map(|row| row["visitor"].as_str().unwrap().to_owned()).collect()
    };
    let day = |days_ago: i64| format!("toDate(event_time) = '{}'", &noon(days_ago).to_string()[..10]);
    let today = of(&format!("{} AND source = 'canonical' AND domain = 'go.acme.example'", day(0))).await;
    assert_eq!(today.len(), 2, "Anna and Bert");
    let elsewhere = of("domain = 'l.acme.example'").await;
    assert!(elsewhere.len() == 1 && elsewhere.is_disjoint(&today), "Bert is another one on another domain");
    let yesterday = of(&day(1)).await;
    assert!(yesterday.len() == 1 && yesterday.is_disjoint(&today), "and Anna on another day");
    let none = BTreeSet::from(["0".to_owned()]);
    assert_eq!(of(&day(3)).await, none, "too late: that salt may be gone");
    assert_eq!(of("source = 'quiet'").await, none, "switched off");

    // The report counts them, and says of how many clicks it knows.
    let report = |days_ago: i64| {
        format!(
            "SELECT visitors, clicks, clicks_with_visitor, toUInt64(round(100 * coverage)) AS percent FROM hookline.daily_visitors \
             WHERE dimension = 'all' AND {}",
            day(days_ago).replace("toDate(event_time)", "day")
        )
    };
    let row = async |days_ago: i64| -> Value {
        let mut row = asker.rows(&report(days_ago)).await.unwrap().remove(0);
        for column in ["visitors", "clicks", "clicks_with_visitor", "percent"] {
            let number = row[column].as_u64().or_else(|| row[column].as_str()?.parse().ok()).unwrap();
            row[column] = json!(number);
        }
        row
    };
    let today = json!({ "visitors": 3, "clicks": 130, "clicks_with_visitor": 120, "percent": 92 });
    assert_eq!(row(0).await, today);
    assert_eq!(row(3).await, json!({ "visitors": 0, "clicks": 10, "clicks_with_visitor": 0, "percent": 0 }));

    // One salt a day, although many asked at once.
    let cluster = Cluster::new(engines.kafka.as_str());
    let salts = tokio::task::spawn_blocking(move || kafka::salts::read(&cluster)).await.unwrap().unwrap();
    assert_eq!(salts.len(), 2, "yesterday's and today's");
    assert_eq!(values(&engines.kafka, Topic::Salts, 0).await.len(), 2);
    // An address is nowhere behind raw.
    let holds = |value: &[u8], text: &str| value.windows(text.len()).any(|part| part == text.as_bytes());
    for lane in 0..4 {
        for value in values(&engines.kafka, Topic::Events, lane).await {
            assert!(value.is_empty() || holds(&value, "acme.example"), "an event names its domain");
            assert!(![ANNA, BERT].concat().iter().any(|address| holds(&value, address)), "an address stands on events");
        }
    }

    // A replay gives every row the visitor that it has.
    let balanced = async || {
        let (code, replayed) = tool(&config, &["replay", "--since", "1h", "--all-columns"]).await.unwrap();
        let lanes = replayed["lanes"].as_array()?.clone();
        (code == 0).then_some(lanes)
    };
    let lanes = until(Duration::from_secs(30), "a replay of all lanes", balanced).await.unwrap();
    let compared: u64 = lanes.iter().map(|lane| lane["diff"]["compared"].as_u64().unwrap()).sum();
    let changed: u64 = lanes.iter().map(|lane| lane["diff"]["changed"].as_u64().unwrap()).sum();
    assert_eq!((compared, changed), (150, 0), "{lanes:?}");
    fleet.stop().unwrap();
}

/// The values of all records of a partition.
async fn values(brokers: &str, topic: Topic, partition: u16) -> Vec<Vec<u8>> {
    let cluster = Cluster::new(brokers);
    let read = move || {
        let mut values = Vec::new();
        read_all_committed::<Infallible>(&cluster, topic, partition, None, None, |record| {
            values.push(record.payload().unwrap_or_default().to_vec());
            Ok(())
        })
        .map(|_| values)
    };
    tokio::task::spawn_blocking(read).await.unwrap().unwrap()
}
