//! The published schema and the adapter say the same about the canonical format.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use boon::{Compiler, SchemaIndex, Schemas};
use event::raw::RawHeaders;
use hookline_adapter::{Adapter, Dialect, Memory, Options, SCHEMA, example};
use proptest::prelude::*;
use serde_json::{Value, json};

fn compile() -> (Schemas, SchemaIndex) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let schema = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    compiler.add_resource("https://hookline.example/schema.json", schema).expect("the schema can be added");
    let index = compiler.compile("https://hookline.example/schema.json", &mut schemas).expect("the schema compiles");
    (schemas, index)
}

/// What the adapter finds wrong: the reason of a quarantine, or the paths that it flags.
fn complaints(event: &Value) -> Vec<String> {
    let body = event.to_string();
    let raw = RawHeaders { received_at: 1_795_428_001_000, ..RawHeaders::default() };
    match Adapter::Canonical.adapt(&Dialect::PLAIN, &raw, body.as_bytes(), &mut Memory::new(Options::default())) {
        Err(undecodable) => vec![undecodable.to_string()],
        Ok(adapted) => {
            let flagged = |line: &str| line.starts_with("bad_field:") || line.starts_with("extra:");
            adapted.event.trace.iter().filter(|line| flagged(line)).map(|line| line.to_string()).collect()
        }
    }
}

/// Every path to a value in the document.
fn paths(value: &Value, here: &str, found: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let path = format!("{here}/{name}");
        found.push(path.clone());
        paths(value, &path, found);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, value)| below(&n.to_string(), value)),
        _ => {}
    }
}

fn given() -> Value {
    let text = example("2026-11-23T10:00:00Z".parse().expect("a time"), "first-1");
    serde_json::from_str(&text).expect("the example is JSON")
}

/// An event with every field of the format.
fn full() -> Value {
    let mut event = given();
    event["qr"] = json!({"id": "qr_12", "programme": "instore", "placement": "shelf-3"});
    event["error"] = json!({"kind": "malformed_target", "detail": "HTTP 503"});
    event["conversion"] = json!({"name": "signup", "value_minor": 4900, "currency": "EUR", "click_id": "c1"});
    event["visitor"]["method"] = json!("GET");
    event["visitor"]["purpose"] = json!("prefetch");
    event["link"]["expires_at"] = json!("2026-12-01T00:00:00Z");
    event
}

#[test]
fn the_example_is_valid_and_adapts_without_a_complaint() {
    let (schemas, index) = compile();
    let event = given();
    schemas.validate(&event, index).expect("the example is valid");
    assert_eq!(complaints(&event), Vec::<String>::new());
    assert_eq!(complaints(&full()), Vec::<String>::new());
}

#[test]
fn every_field_of_the_schema_is_read() {
    let event = full();
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let properties = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    for (name, field) in properties(&schema) {
        assert!(event.get(&name).is_some(), "{name} is not in the full event");
        for (inner, _) in properties(&field) {
            assert!(event[&name].get(&inner).is_some(), "{name}.{inner} is not in the full event");
        }
    }
    let body = event.to_string();
    let mut memory = Memory::new(Options::default());
    let adapted = Adapter::Canonical
        .adapt(&Dialect::PLAIN, &RawHeaders::default(), body.as_bytes(), &mut memory)
        .expect("an event");
    assert_eq!(adapted.unread_fields, 0);
}

proptest! {
    #[test]
    fn the_adapter_complains_exactly_where_the_schema_does(pick in any::<prop::sample::Index>(), kind in 0..8usize) {
        let (schemas, index) = compile();
        let mut event = full();
        let mut all = Vec::new();
        paths(&event, "", &mut all);
        let path = pick.get(&all);
        let other = [json!(null), json!(true), json!(7), json!(1.5), json!("text"), json!([]), json!({}), json!([7])];
        *event.pointer_mut(path).expect("a path of the document") = other[kind].clone();

        let valid = schemas.validate(&event, index).is_ok();
        // What no schema can say: is it a URL, a host, an address, a country?
        let beyond = [
            "bad_field:link.destination_url",
            "bad_field:link.domain",
            "bad_field:visitor.country",
            "bad_field:visitor.ip",
        ];
        let complaints: Vec<String> =
            complaints(&event).into_iter().filter(|line| !beyond.contains(&line.as_str()) || !valid).collect();
        prop_assert_eq!(valid, complaints.is_empty(), "{} = {}: {:?}", path, other[kind], complaints);
    }
}
