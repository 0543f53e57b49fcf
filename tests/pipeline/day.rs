//! A generated day through all services, with `detect` killed time and again: exactly the alerts of a plain reference,
//! and the backtest finds the same in the rows.
//!
//! The day is ahead of the clock: its records are stamped by the test, so that hours pass in seconds and each pane is
//! known. What is usual is taught from sixteen days of rows (`hookline train`) before it begins. In the default run it
//! is two hours with 20,000 clicks over 300 links; `HOOKLINE_TEST_DAY=1000000` makes it a whole day with a million
//! clicks over 5,000 links.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod expected;
mod made;
mod writer;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use event::wire::Ids;
use event::{Alert, EventType, LinkEvent, Millis, Transition};
use kafka::lane::read_all_committed;
use kafka::{Cluster, Topic};
use serde_json::json;
use testkit::House;
use testkit::oracle::Fleet;
use warehouse::{Settings, Side, Warehouse};

use crate::harness::{SOON, configure, until};
use crate::tool::{said, tool};
use crate::warehouse_databases::{WithoutLane, block_of};
use expected::expected;
use made::{KNOWN, Size};
use writer::Writer;

const MINUTE: i64 = 60_000;
/// Lanes of a fleet on one broker.
const LANES: u16 = 4;
/// So much of the day is written at once: lanes must not be ten minutes apart.
const SLICE: i64 = 8 * MINUTE;
/// A partition of `signals` hears a lane's time every two seconds at the latest.
const HEARD: Duration = Duration::from_millis(2_300);
/// Minutes after the last click, in which what is open ends.
const AFTER: i64 = 64;

/// What is said: rule, key, whether it is test data, transition, end of the window.
type Told = (String, String, bool, &'static str, i64);

fn event_key(number: usize) -> String {
    format!("day:{number}")
}

fn alerts(cluster: &Cluster, partitions: u16) -> Vec<Alert<'static>> {
    let mut alerts = Vec::new();
    for partition in 0..partitions {
        read_all_committed::<Infallible>(cluster, Topic::Alerts, partition, None, None, |record| {
            let alert = Alert::from_wire(&Ids::FIXED, record.payload().unwrap_or_default()).unwrap();
            alerts.push(Alert {
                alert_id: alert.alert_id.into_owned().into(),
                rule: alert.rule.into_owned().into(),
                key: alert.key.into_owned().into(),
                transition: alert.transition,
                window_end: alert.window_end,
                test: alert.test,
                ..Alert::default()
            });
            Ok(())
        })
        .unwrap();
    }
    alerts
}

fn told(alert: &Alert<'_>) -> Told {
    let turn = match alert.transition {
        Transition::Each => "each",
        Transition::Fired => "fired",
        Transition::Resolved => "resolved",
    };
    (alert.rule.to_string(), alert.key.to_string(), alert.test, turn, alert.window_end.0)
}

/// Brings the days before into ClickHouse.
async fn bring_in(warehouse: &Warehouse, visits: &[(i64, usize)]) {
    let events: Vec<LinkEvent<'static>> = (0..)
        .zip(visits)
        .map(|(offset, (minute, link))| LinkEvent {
            r#type: EventType::Click,
            event_time: Millis(minute * MINUTE + 500),
            received_at: Millis(minute * MINUTE + 1_000),
            source: "acme".into(),
            domain: "go.acme.example".into(),
            slug: KNOWN[*link].into(),
            link_id: format!("l_{}", KNOWN[*link]).into(),
            link_kind: "promo".into(),
            event_key: format!("before:{offset}").into(),
            raw_offset: offset,
            schema_version: 1,
            ..LinkEvent::default()
        })
        .collect();
    for (cut, part) in (1..).zip(events.chunks(20_000)) {
        warehouse.blocks().insert(&block_of("before", 0, cut, part)).await.unwrap();
    }
}

async fn teach(config: &Path, links: u64) {
    // `detect` keeps its state every ten seconds.
    let taught = until(SOON, "history is learned", || async {
        let (code, answer) = tool(config, &["train", "--apply"]).await.ok()?;
        (code == 0).then_some(answer)
    });
    let answer = taught.await.unwrap();
    let of = |answer: &serde_json::Value, rule: &str, what: &str| {
        let rules = answer["rules"].as_array().unwrap().iter();
        rules.filter(|one| one["rule"] == rule).map(|one| one[what].as_u64().unwrap()).sum::<u64>()
    };
    let all = |answer: &serde_json::Value, rule: &str| of(answer, rule, "taught") + of(answer, rule, "firing");
    assert_eq!((of(&answer, "spike", "taught"), all(&answer, "quiet")), (links, 1), "{answer:#}");
    // What was learned is not taught again.
    let (code, again) = tool(config, &["train"]).await.unwrap();
    assert_eq!((code, of(&again, "spike", "kept"), of(&again, "spike", "taught")), (1, links, 0), "{again:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_day_gives_exactly_the_alerts_of_the_reference_however_often_detect_is_killed() {
    let size = Size::of_environment();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let house = House::up(&data, &["--engines-only"]).unwrap();
    // It begins when everything is up and has learned, with time to spare.
    let now = jiff::Timestamp::now().as_millisecond() / MINUTE;
    let start = now + 10;
    let drop = (start + size.minutes * 49 / 100, start + size.minutes * 60 / 100);
    let config =
        configure(&data, &[("acme", "canonical", "standard-webhooks"), ("beta", "canonical", "standard-webhooks")]);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}{}", made::rules(drop))).unwrap();
    std::fs::write(data.join("links.csv"), made::links()).unwrap();
    let services = ["process", "detect", "report"];
    let fleet = Fleet::start(folder.path(), &config, &house.addresses, &services).unwrap();
    let warehouse = until(SOON * 3, "tables are there", || async {
        let settings = Settings { url: house.addresses.clickhouse.clone(), ..Settings::default() };
        let warehouse = Warehouse::connect(&settings).await.ok()?;
        let there = warehouse.query(Side::Production, "SELECT count() FROM alerts", &[]).await;
        there.ok().map(|_| warehouse)
    });
    let warehouse = warehouse.await.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    // Rows of another life of the topics are believed once there are some of this one.
    let mut writer = Writer::new(&house.addresses.kafka);
    writer.write(&[], 0, now * MINUTE).await;
    let first = until(SOON * 2, "the first rows", || async {
        let rows = warehouse.query(Side::Production, "SELECT count() AS number FROM records", &[]).await.ok()?;
        rows[0]["number"].as_u64().filter(|number| *number >= u64::from(LANES))
    });
    first.await.unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
    let visits = made::before(now - 1);
    bring_in(&warehouse, &visits).await;
    teach(&config, KNOWN.len() as u64).await;
    assert!(jiff::Timestamp::now().as_millisecond() < (start - 1) * MINUTE, "the machine is too slow for this test");

    let day = made::day(start, &size);
    let end = start + (size.minutes + AFTER) / 8 * 8;
    let (mut written, mut at, mut kills) = (0, start * MINUTE, 0);
    while at < end * MINUTE {
        let to = at + SLICE;
        let number = day[written..].partition_point(|seen| seen.at < to);
        writer.write(&day[written..written + number], written, to).await;
        (written, at, kills) = (written + number, to, kills + 1);
        fleet.kill("detect").unwrap();
        fleet.restart("detect").unwrap();
        until(SOON * 2, "the slice is processed", || async { writer.is_processed().then_some(()) })
            .await
            .unwrap_or_else(|error| panic!("{error:#}\n{}", fleet.logs()));
        tokio::time::sleep(HEARD).await;
    }
    assert_eq!(written, day.len());

    let expected = expected(start, end, drop, &visits, &day);
    let kinds: BTreeSet<&str> = expected.iter().map(|one| one.0.as_str()).collect();
    let all = ["broken", "burst", "drift", "failing", "gap", "quiet", "scan", "spike", "still"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "{expected:#?}");
    let cluster = Cluster::new(&house.addresses.kafka);
    let partitions = kafka::topics::Plan::new(LANES, 1).alert_partitions;
    let read = || alerts(&cluster, partitions);
    let wanted = expected.len();
    let _ = until(SOON, "alerts are there", || async { (read().len() >= wanted).then_some(()) }).await;
    let found = read();
    let ids: BTreeSet<&str> = found.iter().map(|alert| alert.alert_id.as_ref()).collect();
    assert_eq!(ids.len(), found.len(), "an alert was raised twice");
    let found: BTreeSet<Told> = found.iter().map(told).collect();
    let missing: Vec<&Told> = expected.difference(&found).collect();
    let invented: Vec<&Told> = found.difference(&expected).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:#?}, invented {invented:#?}\n{}",
        fleet.logs()
    );
    println!("{} events, detect killed {kills} times, {} alerts as the reference has them", day.len(), found.len());

    await_rows(&warehouse, day.len() as u64, wanted as u64).await;
    let instant = |minute: i64| jiff::Timestamp::from_millisecond(minute * MINUTE).unwrap().to_string();
    backtest(&config, &instant(start), &instant(end)).await;
    for rule in ["broken", "burst", "drift", "failing", "gap", "quiet"] {
        explain(&warehouse, &config, rule, folder.path()).await;
    }
    fleet.stop().unwrap();
}

/// Waits until all of it is rows.
async fn await_rows(warehouse: &Warehouse, events: u64, alerts: u64) {
    let of_both = |table: &str, only: &str| {
        format!(
            "SELECT (SELECT count() FROM {table} WHERE {only}) + (SELECT count() FROM hookline_test.{table} WHERE {only}) AS number"
        )
    };
    let queries = [(of_both("records", "startsWith(event_key, 'day:')"), events), (of_both("alerts", "1"), alerts)];
    for (sql, wanted) in &queries {
        let found = until(SOON * 3, "all are rows", || async {
            let rows = warehouse.query(Side::Production, sql, &[]).await.ok()?;
            rows[0]["number"].as_u64().filter(|number| number >= wanted)
        });
        assert_eq!(found.await.unwrap(), *wanted, "{sql}");
    }
}

/// A backtest over the day says what was told.
async fn backtest(config: &Path, since: &str, until: &str) {
    let span = ["backtest", "--since", since, "--until", until];
    let (code, report) = tool(config, &span).await.unwrap();
    assert_eq!(code, 0, "{report:#}");
    for rule in report["rules"].as_array().unwrap() {
        // A silence by a fixed time looks at the days before, which detect did not see: there it begins with a silence.
        if rule["rule"] == "still" {
            continue;
        }
        let told = &rule["alerts_before"];
        assert!(told.as_u64() > Some(0), "{rule:#}");
        assert_eq!((&rule["alerts"], &rule["both"], &rule["differences"]), (told, told, &json!([])), "{rule:#}");
    }
    println!("backtest: {} events in {} s", report["events"], report["seconds"]);
    let markdown = [&span[..], &["--rule", "spike", "--markdown"]].concat();
    let (code, words, errors) = said(config, &markdown).await.unwrap();
    assert!(code == 0 && words.contains("| spike | spike |") && words.contains("clicks in"), "{words}{errors}");
}

/// An alert of a rule, explained and drawn.
async fn explain(warehouse: &Warehouse, config: &Path, rule: &str, folder: &Path) {
    let sql = format!(
        "SELECT alert_id FROM alerts WHERE rule = '{rule}' AND transition != 'resolved' ORDER BY window_end LIMIT 1"
    );
    let rows = warehouse.query(Side::Production, &sql, &[]).await.unwrap();
    let (id, svg) = (rows[0]["alert_id"].as_str().unwrap(), folder.join("alert.svg"));
    let (code, words, errors) = said(config, &["explain", id, "--svg", svg.to_str().unwrap()]).await.unwrap();
    println!("{words}");
    let is_drawn = words.contains('█') && std::fs::read_to_string(&svg).is_ok_and(|svg| svg.contains("<polyline"));
    let says = match rule {
        "broken" => "that led nowhere",
        "drift" => "that show",
        "gap" => "that are missing",
        _ => "█ events",
    };
    assert!(code == 0 && is_drawn && words.contains(says), "{rule}: {words}{errors}");
    let _ = std::fs::remove_file(&svg);
}
