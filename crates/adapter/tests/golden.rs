//! What becomes of each kind of payload: `golden/<adapter>/<name>.json` in, `<name>.event.json` out.
//!
//! `UPDATE_GOLDEN=1 cargo test -p adapter` writes what comes out; the diff is the review.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use adapter::{Adapter, Dialect, Memory, Options};
use event::raw::RawHeaders;
use event::{LinkEvent, Value};
use serde_json::{Map, json};

/// 2026-11-23T10:00:01Z.
const RECEIVED_AT: i64 = 1_795_428_001_000;

fn folder(adapter: Adapter) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(adapter.name())
}

fn payloads(adapter: Adapter) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(adapter)).expect("the golden folder").map(|entry| entry.expect("an entry").path());
    let mut payloads: Vec<_> = files
        .filter(|path| {
            let name = path.to_string_lossy();
            name.ends_with(".json") && !name.ends_with(".event.json")
        })
        .collect();
    payloads.sort();
    payloads
}

/// The columns that say something.
fn columns(event: &LinkEvent<'_>) -> Map<String, serde_json::Value> {
    let mut names = LinkEvent::COLUMNS.iter().filter(|column| column.kind != event::Kind::Unstored);
    let mut columns = Map::new();
    event.visit(|value| {
        let name = names.next().expect("a column for each value").name;
        let value = match value {
            Value::Text("") | Value::Unsigned(0) | Value::Signed(0) | Value::Short(0) | Value::Flag(false) => return,
            Value::Pairs([]) | Value::Names([]) | Value::Unstored => return,
            Value::Text(text) => json!(text),
            Value::Time(time) => json!(time),
            Value::Unsigned(number) => json!(number),
            Value::Signed(number) => json!(number),
            Value::Short(number) => json!(number),
            Value::Flag(flag) => json!(flag),
            Value::Pairs(pairs) => pairs.iter().map(|(key, value)| (key.to_string(), json!(value))).collect(),
            Value::Names(names) => json!(names),
        };
        columns.insert(name.to_owned(), value);
    });
    if event.test {
        columns.insert("test".into(), json!(true));
    }
    columns
}

fn outcome(adapter: Adapter, payload: &[u8]) -> serde_json::Value {
    let elements =
        adapter.split(&Dialect::PLAIN, payload, "application/json", &|_| None).expect("a payload that can be split");
    let [element] = elements.as_slice() else { panic!("one event a file") };
    let raw = RawHeaders {
        source: "golden".into(),
        adapter: adapter.name().into(),
        received_at: RECEIVED_AT,
        request_id: "req_1".into(),
        content_type: element.content_type.into(),
        ..RawHeaders::default()
    };
    let options = Options { keep_query_params: vec!["sku".into()] };
    let adapted = adapter.adapt(&Dialect::PLAIN, &raw, element.bytes, &mut Memory::new(options));
    assert_eq!(adapted.as_ref().err(), element.quarantine.as_ref(), "both halves find the same fault");
    let result = match &adapted {
        Err(undecodable) => json!({"reason": undecodable.reason, "detail": undecodable.detail}),
        Ok(adapted) => json!({
            "event": columns(&adapted.event),
            "visitor": {
                "ip": adapted.visitor.ip.map(|ip| ip.to_string()),
                "user_agent": adapted.visitor.user_agent,
                "bot": adapted.visitor.bot,
            },
            "referrer": adapted.referrer,
            "tags": adapted.tags,
            "unread_fields": adapted.unread_fields,
        }),
    };
    json!({"key": element.key.as_str(), "result": result})
}

fn check(adapter: Adapter) {
    let payloads = payloads(adapter);
    assert!(!payloads.is_empty(), "{} has no golden files", adapter.name());
    for path in payloads {
        let found = outcome(adapter, &fs::read(&path).expect("a payload"));
        let expected_path = path.with_extension("event.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let text = serde_json::to_string_pretty(&found).expect("JSON") + "\n";
            fs::write(&expected_path, text).expect("the golden file can be written");
        }
        let expected = fs::read_to_string(&expected_path)
            .unwrap_or_else(|error| panic!("{}: {error}; run with UPDATE_GOLDEN=1", expected_path.display()));
        let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
        assert_eq!(found, expected, "{}", path.display());
    }
}

#[test]
fn dub_payloads_become_what_the_golden_files_say() {
    check(Adapter::Dub);
}

#[test]
fn canonical_payloads_become_what_the_golden_files_say() {
    check(Adapter::Canonical);
}

#[test]
fn cloudevents_become_what_the_golden_files_say() {
    check(Adapter::CloudEvents);
}

#[test]
fn no_golden_event_holds_personal_data() {
    let secrets = ["jane", "198.51.100.7", "2001:db8::7", "hunter2", "Mozilla", "Secret/1.0", "session"];
    for adapter in Adapter::ALL {
        for path in payloads(*adapter) {
            let found = outcome(*adapter, &fs::read(&path).expect("a payload"));
            let stored = format!("{} {}", found["key"], found["result"]["event"]);
            for secret in secrets {
                assert!(!stored.contains(secret), "{}: {secret} in {stored}", path.display());
            }
        }
    }
}
