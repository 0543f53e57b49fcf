//! Payloads: both halves of an adapter, held to each other and to what every event is.

use std::borrow::Cow;

use adapter::mapping::{Field, KeyFrom, Mapping, MappingPlan, PayloadPath, TextFrom, TypeFrom};
use adapter::{Adapter, Dialect, Element, Memory, Options};
use event::raw::RawHeaders;
use event::{EventType, LinkEvent, Value};
use jiff::tz::TimeZone;

use crate::pick;

/// 2026-11-23T10:00:01Z.
const RECEIVED_AT: i64 = 1_795_428_001_000;

const CONTENT_TYPES: [&str; 6] = [
    "application/json",
    "application/x-ndjson",
    "application/x-www-form-urlencoded",
    "application/cloudevents+json",
    "application/cloudevents-batch+json; charset=utf-8",
    "",
];

/// Headers of a request: none, and those of a CloudEvent in binary mode.
const HEADERS: [&[(&str, &str)]; 2] = [
    &[],
    &[
        ("ce-specversion", "1.0"),
        ("ce-id", "A1"),
        ("ce-source", "/acme"),
        ("ce-type", "com.acme.click"),
        ("ce-time", "2026-11-23T10:00:00Z"),
    ],
];

/// Three bytes choose adapter, content type and headers; the rest is a body.
pub fn adapters(data: &[u8]) {
    let [adapter, content_type, headers, body @ ..] = data else { return };
    let dialect =
        Dialect { time_zone: TimeZone::get("Europe/Berlin").unwrap(), mapping: Some(a_mapping()), ..Dialect::PLAIN };
    both_halves(
        *pick(Adapter::ALL, *adapter),
        &dialect,
        pick::<&str>(&CONTENT_TYPES, *content_type),
        pick::<&[(&str, &str)]>(&HEADERS, *headers),
        body,
    );
}

/// A mapping whose fields stand at the top of an event, by their own names.
fn a_mapping() -> Mapping {
    let at = |name: &str| vec![PayloadPath::parse(name).unwrap()];
    let field = |field: &Field| (*field, TextFrom { paths: at(field.name()), default: String::new() });
    Mapping::new(MappingPlan {
        event_key: Some(KeyFrom::First(at("id"))),
        event_type: TypeFrom { paths: at("type"), ..TypeFrom::default() },
        event_time: at("time"),
        fields: Field::ALL.iter().map(field).collect(),
        value: Some((at("value_minor"), adapter::mapping::AmountUnit::Currency)),
        extra: vec![("more".to_owned(), TextFrom { paths: at("extra.0.more"), default: String::new() })],
        ..MappingPlan::default()
    })
}

/// Runs a body through both halves.
pub(crate) fn both_halves(
    adapter: Adapter,
    dialect: &Dialect,
    content_type: &str,
    headers: &[(&'static str, &'static str)],
    body: &[u8],
) {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    let elements = adapter.split(dialect, body, content_type, &header);
    assert_eq!(elements, adapter.split(dialect, body, content_type, &header), "keys are equal on repeat");
    let mut memory = Memory::new(Options { keep_query_params: vec!["sku".to_owned(), "email".to_owned()] });
    match elements {
        Err(undecodable) => no_email(&undecodable.detail),
        Ok(elements) => {
            assert!((1..=adapter::MAX_ELEMENTS).contains(&elements.len()));
            for (ordinal, element) in elements.iter().enumerate() {
                assert_eq!(element.ordinal as usize, ordinal);
                read(adapter, dialect, content_type, headers, body, element, &mut memory);
            }
        }
    }
}

fn read(
    adapter: Adapter,
    dialect: &Dialect,
    content_type: &str,
    headers: &[(&'static str, &'static str)],
    body: &[u8],
    element: &Element<'_>,
    memory: &mut Memory,
) {
    match &element.bytes {
        Cow::Borrowed(bytes) => {
            assert!(body.as_ptr_range().start <= bytes.as_ptr() && bytes.as_ptr_range().end <= body.as_ptr_range().end);
        }
        Cow::Owned(bytes) => assert!(bytes.len() <= 2 * body.len(), "decoded"),
    }
    assert_eq!(element.bytes.as_ref(), element.bytes.trim_ascii());
    let key = element.key.as_str();
    assert!((1..=1_024).contains(&key.len()), "a key of {} bytes", key.len());
    no_email(key);
    let own = |text: &str| Cow::Owned(text.to_owned());
    let raw = RawHeaders {
        received_at: RECEIVED_AT,
        source: "hostile".into(),
        adapter: adapter.name().into(),
        content_type: own(if element.content_type.is_empty() { content_type } else { element.content_type }),
        cloud_event: headers
            .iter()
            .filter_map(|(name, value)| Some((own(name.strip_prefix("ce-")?), own(value))))
            .collect(),
        ..RawHeaders::default()
    };
    let adapted = adapter.adapt(dialect, &raw, &element.bytes, memory);
    match (&adapted, &element.quarantine) {
        (Ok(_), None) => {}
        // The edge reads less, so it may find a body too deep that adapting can still follow.
        (_, Some(why)) if why.reason == "not_json" => {}
        (Err(adapted), Some(why)) => assert_eq!(adapted, why, "both halves find the same fault"),
        (adapted, why) => panic!("the halves disagree: {why:?}, {:?}", adapted.as_ref().err()),
    }
    assert_eq!(adapted, adapter.adapt(dialect, &raw, &element.bytes, memory), "what is remembered changes nothing");
    match adapted {
        Err(undecodable) => no_email(&undecodable.detail),
        Ok(adapted) => is_an_event(&adapted.event),
    }
}

/// What holds for every event, whoever sent it.
fn is_an_event(event: &LinkEvent<'_>) {
    assert!((-300_000..=35 * 24 * 3_600_000).contains(&(RECEIVED_AT - event.event_time.0)), "an impossible time");
    assert_ne!(event.r#type, EventType::Unknown);
    assert!(
        event.country.is_empty() || (event.country.len() == 2 && event.country.bytes().all(|b| b.is_ascii_uppercase()))
    );
    assert!(event.extra.0.len() <= 20 && event.trace.len() <= 24);
    assert!(!event.domain.chars().any(char::is_uppercase));
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    assert!(bytes.len() < 96 * 1_024, "an event of {} bytes", bytes.len());
    assert_eq!(LinkEvent::decode(&bytes).as_ref(), Ok(event), "written and read");
    event.visit(|value| match value {
        Value::Text(text) => no_email(text),
        Value::Pairs(pairs) => pairs.iter().for_each(|(name, value)| {
            no_email(name);
            no_email(value);
        }),
        Value::Names(names) => names.iter().for_each(|name| no_email(name)),
        _ => {}
    });
}

/// Whether a text shows somebody's address, by a rule of its own: letters, `@`, a host with a top-level domain.
fn no_email(text: &str) {
    let text = text.replace("%40", "@");
    for (at, _) in text.match_indices('@') {
        let before = text[..at].bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let host: String =
            text[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
        let labels: Vec<&str> = host.split('.').collect();
        let top = labels.last().filter(|_| labels.len() > 1);
        let top = top.is_some_and(|top| top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic()));
        assert!(!(before && top && !labels[0].is_empty()), "an e-mail address in {text:?}");
    }
}
