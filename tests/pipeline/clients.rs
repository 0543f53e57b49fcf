//! Clients that others wrote, unmodified: what analysts, stream processors and SREs come with. What platforms come with:
//! `senders.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use clickhouse::{Client, Compression, Row};
use serde::Deserialize;
use serde_json::Value;
use traffic::Traffic;
use traffic::{canonical, dub};

use crate::foreign::Python;
use crate::harness::{ROOT, Running, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_others_work_unmodified() {
    let python = Python::with_clients();
    let running = Running::everything();
    let rows = fill(&running).await;

    an_analyst_reads_with_clickhouse_connect_and_cannot_write(&python, &running, rows);
    the_clickhouse_crate_reads_records_with_validation_and_lz4(&running, rows).await;
    confluent_kafka_and_fastavro_decode_events_by_the_schemas_folder_alone(&python, &running).await;
    promtool_finds_no_fault_in_the_metrics(&running).await;
    curl_inserts_and_selects(&running);
    hookline_send_tells_what_became_of_what_it_sent(&running).await;
}

/// Traffic of both platforms, with repeats; waits for its rows and returns how many there are.
async fn fill(running: &Running) -> u64 {
    let dub = Traffic::new(Box::new(dub::Generator::new(1)), 5.0, 1);
    let canonical = Traffic::new(Box::new(canonical::Generator::new(2)), 5.0, 2);
    let bodies = |traffic: Traffic| traffic.take(300).map(|delivery| delivery.body).collect::<Vec<_>>();
    running.dub().deliver_all(bodies(dub), 32).await.unwrap();
    running.canonical().deliver_all(bodies(canonical), 32).await.unwrap();
    let asker = running.asker();
    asker.until("SELECT toUInt64(count() >= 600) FROM hookline.records", 1, SOON).await.unwrap();
    asker.number("SELECT count() FROM hookline.records").await.unwrap()
}

fn an_analyst_reads_with_clickhouse_connect_and_cannot_write(python: &Python, running: &Running, rows: u64) {
    let (host, port) = address(&running.house.addresses.clickhouse);
    let read = python.run("read_with_clickhouse_connect.py", &[host, port]);
    assert_eq!(read["rows"], rows, "{read}");
    assert!(read["dub"].as_u64().unwrap() > 0 && read["clicks"].as_u64().unwrap() > 0, "{read}");
}

async fn confluent_kafka_and_fastavro_decode_events_by_the_schemas_folder_alone(python: &Python, running: &Running) {
    let schemas = format!("{ROOT}/schemas");
    let brokers = &running.house.addresses.kafka;
    let decoded = python.run("decode_events.py", &[brokers, &schemas, "hookline.events.v1"]);

    let rows = running
        .asker()
        .rows("SELECT lane, raw_offset, outcome, event_key FROM hookline.records ORDER BY lane, raw_offset")
        .await
        .unwrap();
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| ["lane", "raw_offset", "outcome", "event_key"].map(|column| row[column].clone()).into())
        .collect();
    assert_eq!(decoded.as_array().unwrap(), &rows, "every record decodes to its row");
}

/// A row as the `clickhouse` crate reads it: it refuses a column whose type does not fit the field.
#[derive(Debug, Row, Deserialize)]
struct Record {
    outcome: String,
    r#type: String,
    event_time: i64,
    received_at: i64,
    country: [u8; 2],
    redirect_status: u16,
    value_minor: i64,
    extra: Vec<(String, String)>,
    trace: Vec<String>,
    lane: u16,
    raw_offset: u64,
    event_key: String,
}

async fn the_clickhouse_crate_reads_records_with_validation_and_lz4(running: &Running, rows: u64) {
    let client = Client::default()
        .with_url(&running.house.addresses.clickhouse)
        .with_user("analyst")
        .with_compression(Compression::Lz4)
        .with_validation(true);
    let read = client
        .query("SELECT ?fields FROM hookline.records ORDER BY lane, raw_offset")
        .fetch_all::<Record>()
        .await
        .unwrap();
    assert_eq!(read.len() as u64, rows);
    let mut next = BTreeMap::new();
    for record in &read {
        let expected = next.entry(record.lane).or_insert(0);
        assert_eq!(record.raw_offset, *expected, "offsets of a lane have no gap: {record:?}");
        *expected += 1;
        assert!(record.received_at >= record.event_time - 300_000 && !record.event_key.is_empty(), "{record:?}");
    }
    let sales = read.iter().filter(|record| record.r#type == "sale" && record.value_minor > 0);
    assert!(sales.count() > 0, "sales carry their value");
    assert!(read.iter().any(|record| &record.country == b"DE" && record.redirect_status == 302));
    assert!(read.iter().any(|record| record.outcome == "duplicate" && !record.trace.is_empty()));
    assert!(read.iter().any(|record| !record.extra.is_empty()), "leads name the click that led to them");
}

async fn promtool_finds_no_fault_in_the_metrics(running: &Running) {
    let url = format!("{}/metrics", running.house.addresses.metrics.as_deref().unwrap());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("hookline_events_total{source=\"dub\"} 300"), "{metrics}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("promtool does not start ({error}): install the package prometheus, as tests/run does")
        });
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
}

fn curl_inserts_and_selects(running: &Running) {
    let url = &running.house.addresses.clickhouse;
    let curl = |user: &str, query: &str, body: &str| {
        let address = format!("{url}/?query={}", query.replace(' ', "+"));
        let arguments = ["-sS", "--user", &format!("{user}:"), "--data-binary", body, "-w", "\n%{http_code}", &address];
        let asked = Command::new("curl").args(arguments).output().unwrap();
        let answer = String::from_utf8(asked.stdout).unwrap();
        let (text, status) = answer.rsplit_once('\n').unwrap();
        (status.to_owned(), text.to_owned())
    };
    let done = ("200".to_owned(), String::new());
    assert_eq!(
        curl("hookline", "", "CREATE TABLE default.notes (n UInt32, note String) ENGINE = MergeTree ORDER BY n"),
        done
    );
    assert_eq!(curl("hookline", "INSERT INTO default.notes FORMAT CSV", "1,\"one\"\n2,\"two, too\"\n"), done);
    assert_eq!(curl("hookline", "", "INSERT INTO default.notes VALUES (3, 'three')"), done);
    let selected = curl("analyst", "SELECT n, note FROM default.notes ORDER BY n FORMAT TSV", "");
    assert_eq!(selected, ("200".to_owned(), "1\tone\n2\ttwo, too\n3\tthree\n".to_owned()));
    let (status, why) = curl("analyst", "INSERT INTO default.notes FORMAT CSV", "4,\"four\"\n");
    assert!(status != "200" && why.contains("readonly"), "{status} {why}");
    let (status, why) = curl("stranger", "SELECT 1", "");
    assert!(status == "403" && why.contains("Authentication failed"), "{status} {why}");
    assert_eq!(curl("analyst", "SELECT count() FROM default.notes", "").1, "3\n");
}

async fn hookline_send_tells_what_became_of_what_it_sent(running: &Running) {
    let config = running.folder.path().join("data/hookline.toml");
    let ingest = running.house.addresses.ingest.as_deref().unwrap();
    let send = |arguments: &[&str]| {
        let elsewhere = arguments.contains(&"--ingest");
        let mut command = Command::new(testkit::house::binary().unwrap());
        command.args(["send", "--config"]).arg(&config).args(arguments);
        if !elsewhere {
            command.args(["--ingest", ingest]);
        }
        command.output().unwrap()
    };
    let told = |arguments: &[&str]| -> Value {
        let sent = send(arguments);
        assert!(sent.status.success(), "{sent:?}");
        serde_json::from_slice(&sent.stdout).unwrap()
    };
    let asker = running.asker();
    // In the canonical format the id is the key: a second run from the same seed is known whole.
    for (source, known) in [("dub", false), ("canonical", false), ("canonical", true)] {
        let sent = told(&["--source", source, "--count", "200", "--duplicates", "10", "--seed", "7", "--json"]);
        assert_eq!((&sent["accepted"], &sent["events"]), (&200.into(), &200.into()), "{sent}");
        let events = if known { 0 } else { 200 - sent["again"].as_u64().unwrap() };
        let shown = sent["query"].as_str().unwrap();
        for (outcome, expected) in [("event", events), ("duplicate", 200 - events)] {
            let sql = format!("SELECT sumIf(records, outcome = '{outcome}') FROM ({shown})");
            asker.until(&sql, expected, SOON).await.unwrap();
        }
    }
    let before = asker.number("SELECT count() FROM hookline.records").await.unwrap();
    assert_eq!(told(&["--source", "dub", "--count", "20", "--dry-run", "--json"])["accepted"], 20);

    let no_event = running.folder.path().join("no-event.json");
    fs::write(&no_event, "{}").unwrap();
    let aside = send(&["--source", "canonical", "--file", no_event.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&aside.stdout);
    assert!(aside.status.code() == Some(1) && said.contains("quarantined") && said.contains("Next:"), "{aside:?}");
    asker.until("SELECT count() FROM hookline.records", before + 1, SOON).await.unwrap();

    let lost = send(&["--source", "dub", "--count", "1", "--ingest", "http://127.0.0.1:1"]);
    let said = String::from_utf8_lossy(&lost.stderr);
    assert!(lost.status.code() == Some(2) && said.lines().count() == 1 && said.contains("hookline up"), "{lost:?}");
}

/// Host and port of a URL.
fn address(url: &str) -> (&str, &str) {
    url.trim_start_matches("http://").rsplit_once(':').unwrap()
}
