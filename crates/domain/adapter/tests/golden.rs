//! What becomes of each kind of payload: `golden/<adapter>/<name>.json` (or `.form`) in, `<name>.event.json` out. A
//! payload of several events has a list of outcomes.
//!
//! `UPDATE_GOLDEN=1 cargo test -p hookline-adapter` writes what comes out; the diff is the review.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod maps;

use std::fs;
use std::path::{Path, PathBuf};

use event::raw::RawHeaders;
use event::{LinkEvent, Value};
use hookline_adapter::{Adapter, Dialect, Element, Memory, Options};
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
            !name.ends_with(".event.json")
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

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("form") => "application/x-www-form-urlencoded",
        _ => "application/json",
    }
}

/// What becomes of a payload, an outcome an event.
fn outcomes(adapter: Adapter, path: &Path) -> Vec<serde_json::Value> {
    let payload = fs::read(path).expect("a payload");
    let dialect = maps::of(adapter, path);
    let elements =
        adapter.split(dialect, &payload, content_type(path), &|_| None).expect("a payload that can be split");
    elements.iter().map(|element| outcome(adapter, dialect, element)).collect()
}

fn outcome(adapter: Adapter, dialect: &Dialect, element: &Element<'_>) -> serde_json::Value {
    let raw = RawHeaders {
        source: "golden".into(),
        adapter: adapter.name().into(),
        received_at: RECEIVED_AT,
        request_id: "req_1".into(),
        content_type: element.content_type.into(),
        ..RawHeaders::default()
    };
    let mut memory = Memory::new(Options { keep_query_params: vec!["sku".into()] });
    let adapted = adapter.adapt(dialect, &raw, &element.bytes, &mut memory);
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
        let found = match <[_; 1]>::try_from(outcomes(adapter, &path)) {
            Ok([one]) => one,
            Err(several) => json!(several),
        };
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
fn bitly_payloads_become_what_the_golden_files_say() {
    check(Adapter::Bitly);
}

#[test]
fn rebrandly_payloads_become_what_the_golden_files_say() {
    check(Adapter::Rebrandly);
}

#[test]
fn shortio_payloads_become_what_the_golden_files_say() {
    check(Adapter::ShortIo);
}

#[test]
fn shlink_payloads_become_what_the_golden_files_say() {
    check(Adapter::Shlink);
}

#[test]
fn twilio_payloads_become_what_the_golden_files_say() {
    check(Adapter::Twilio);
}

/// Names of fields whose values are somebody's: addresses, user agents, names, phone numbers, passwords, accounts.
const PERSONAL: [&str; 24] = [
    "ip",
    "Host",
    "ua",
    "userAgent",
    "user_agent",
    "User-agent",
    "email",
    "password",
    "avatar",
    "title",
    "comments",
    "to",
    "from",
    "message_sid",
    "account_sid",
    "messaging_service_sid",
    "webhook_guid",
    "organization_guid",
    "group_guid",
    "customer.name",
    "customer.externalId",
    "creator.id",
    "workspace.name",
    "workspace.id",
];

/// The values in a payload that are somebody's. `within` names the object that the value stands in.
fn personal(adapter: Adapter, value: &serde_json::Value, name: &str, within: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (inner, value) in fields {
                personal(adapter, value, inner, name, found);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| personal(adapter, item, name, within, found)),
        serde_json::Value::String(text) if text.len() > 3 => {
            let listed = PERSONAL.contains(&name) || PERSONAL.contains(&format!("{within}.{name}").as_str());
            if listed || (adapter == Adapter::Rebrandly && within.is_empty() && name == "key") {
                found.push(text.clone());
            }
        }
        _ => {}
    }
}

#[test]
fn mapped_payloads_become_what_the_golden_files_say() {
    check(Adapter::Mapping);
}

#[test]
fn no_golden_event_holds_personal_data() {
    let known =
        ["jane", "Jane", "198.51.100.7", "2001:db8::7", "hunter2", "Mozilla", "Secret/1.0", "session", "secret"];
    for adapter in Adapter::ALL {
        let mut found = Vec::new();
        for path in payloads(*adapter) {
            let before = found.len();
            let text = fs::read_to_string(&path).expect("a payload");
            match serde_json::from_str(&text) {
                Ok(json) => personal(*adapter, &json, "", "", &mut found),
                Err(_) => {
                    let fields = form_urlencoded::parse(text.trim().as_bytes());
                    found.extend(
                        fields.filter(|(name, _)| PERSONAL.contains(&name.as_ref())).map(|(_, value)| value.into()),
                    );
                }
            }
            for outcome in outcomes(*adapter, &path) {
                let result = &outcome["result"];
                let stored = format!("{} {} {}", outcome["key"], result["event"], result["detail"]);
                for secret in known.into_iter().chain(found[before..].iter().map(String::as_str)) {
                    assert!(secret == "null" || !stored.contains(secret), "{}: {secret} in {stored}", path.display());
                }
            }
        }
        assert!(!found.is_empty(), "no golden file of {} has anything that must not be stored", adapter.name());
    }
}

#[test]
fn the_example_has_the_time_and_the_id_that_it_is_given_and_is_else_the_golden_click() {
    let told = hookline_adapter::example("2027-01-02T03:04:05.006Z".parse().expect("a time"), "first-1");
    let mut told: serde_json::Value = serde_json::from_str(&told).expect("the example is JSON");
    assert_eq!((told["id"].as_str(), told["time"].as_str()), (Some("first-1"), Some("2027-01-02T03:04:05.006Z")));
    let click = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/canonical/click.json");
    let click: serde_json::Value = serde_json::from_str(&fs::read_to_string(click).expect("a payload")).expect("JSON");
    (told["id"], told["time"]) = (click["id"].clone(), click["time"].clone());
    assert_eq!(told, click);
}
