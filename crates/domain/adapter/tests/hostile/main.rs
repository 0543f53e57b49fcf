//! Whatever a sender sends: no panic, both halves agree, and keys do not depend on how events travel.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod batches;
mod damage;
#[path = "../maps/mod.rs"]
mod maps;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use event::EventType;
use event::raw::RawHeaders;
use hookline_adapter::{Adapter, Dialect, Element, MAX_ELEMENTS, Memory, Options, Undecodable, fallback_key};
use proptest::prelude::*;

use crate::damage::{damage, damaged, is_form, values};

const RECEIVED_AT: i64 = 1_795_428_001_000;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A payload of the golden files.
struct Payload {
    adapter: Adapter,
    body: String,
    content_type: &'static str,
}

static GOLDEN: LazyLock<Vec<Payload>> = LazyLock::new(|| {
    let mut found = Vec::new();
    for adapter in Adapter::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(adapter.name());
        for entry in fs::read_dir(folder).expect("the golden folder") {
            let path = entry.expect("an entry").path();
            // Those that another map reads are left out.
            let read = std::ptr::eq(maps::of(*adapter, &path), dialect(*adapter));
            if read && !path.to_string_lossy().ends_with(".event.json") {
                let content_type = if path.extension().is_some_and(|name| name == "form") { FORM } else { JSON };
                found.push(Payload {
                    adapter: *adapter,
                    body: fs::read_to_string(path).expect("a payload"),
                    content_type,
                });
            }
        }
    }
    found.sort_by(|a, b| a.body.cmp(&b.body));
    found
});

/// How every payload of an adapter is read here.
fn dialect(adapter: Adapter) -> &'static Dialect {
    maps::of(adapter, Path::new(""))
}

fn split<'b>(adapter: Adapter, body: &'b [u8], content_type: &str) -> Result<Vec<Element<'b>>, Undecodable> {
    adapter.split(dialect(adapter), body, content_type, &|_| None)
}

/// Runs a body through both halves and holds them to each other and to what every event is.
fn both_halves(adapter: Adapter, body: &[u8], content_type: &str) {
    let Ok(elements) = split(adapter, body, content_type) else { return };
    let mut memory = Memory::new(Options { keep_query_params: vec!["sku".into()] });
    for (ordinal, element) in elements.iter().enumerate() {
        assert_eq!(element.ordinal as usize, ordinal);
        let content_type = element.content_type;
        let raw = RawHeaders { received_at: RECEIVED_AT, content_type: content_type.into(), ..RawHeaders::default() };
        let adapted = adapter.adapt(dialect(adapter), &raw, &element.bytes, &mut memory);
        match (&adapted, &element.quarantine) {
            // The edge reads less, so it may find a body too deep that adapting can still follow.
            (Ok(_), Some(why)) => assert_eq!(why.reason, "not_json"),
            // Nor do the two give up at the same byte then.
            (Err(adapted), Some(why)) if why.reason == "not_json" => assert_eq!(adapted.reason, why.reason),
            (adapted, why) => assert_eq!(adapted.as_ref().err(), why.as_ref(), "both halves find the same fault"),
        }
        let Ok(adapted) = adapted else { continue };
        let event = &adapted.event;
        let age = RECEIVED_AT - event.event_time.0;
        assert!((-300_000..=35 * 24 * 3_600_000).contains(&age), "the event time is possible");
        assert_ne!(event.r#type, EventType::Unknown);
        assert!(event.country.is_empty() || event.country.len() == 2);
        assert!(event.extra.0.len() <= 20 && event.trace.len() <= 24);
        assert!(!event.domain.chars().any(char::is_uppercase));
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        event::LinkEvent::decode(&bytes).expect("the event can be written and read");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_damaged_payload_panics_nobody_and_both_halves_agree(
        pick in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 0..4),
    ) {
        let Payload { adapter, body, content_type } = pick.get(GOLDEN.as_slice());
        let body = damaged(body.clone().into_bytes(), content_type, &damages);
        both_halves(*adapter, &body, JSON);
        both_halves(*adapter, &body, FORM);
        let mut batch = b"[ {} ,".to_vec();
        batch.extend_from_slice(&body);
        batch.extend_from_slice(b"\n]");
        both_halves(*adapter, &batch, JSON);
        both_halves(Adapter::Canonical, &body, "application/x-ndjson");
        both_halves(Adapter::Mapping, &body, "application/x-ndjson");
        let mut nested = b"{\"data\":".to_vec();
        nested.extend_from_slice(&batch);
        nested.extend_from_slice(b",\"key\":1}");
        both_halves(Adapter::Rebrandly, &nested, JSON);
    }

    #[test]
    fn any_bytes_panic_nobody(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for adapter in Adapter::ALL {
            for content_type in [JSON, "application/x-ndjson", FORM] {
                both_halves(*adapter, &body, content_type);
                let mut memory = Memory::new(Options::default());
                let raw = RawHeaders { content_type: content_type.into(), ..RawHeaders::default() };
                let _: Result<_, Undecodable> = adapter.adapt(dialect(*adapter), &raw, &body, &mut memory);
            }
        }
    }

    #[test]
    fn any_form_panics_nobody(pairs in prop::collection::vec((form_name(), any::<String>()), 0..12)) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        both_halves(Adapter::ShortIo, body.as_bytes(), FORM);
    }

    #[test]
    fn an_element_is_known_by_the_same_key_alone_in_an_array_and_in_ndjson(
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        space in prop::sample::select(vec!["", " ", "\n", "\r\n\t "]),
        adapter in prop::sample::select(vec![
            Adapter::Canonical,
            Adapter::CloudEvents,
            Adapter::Rebrandly,
            Adapter::Shlink,
            Adapter::Twilio,
            Adapter::Mapping,
        ]),
    ) {
        let singles = singles(adapter);
        let bodies: Vec<&str> = picks.iter().map(|pick| pick.get(&singles).as_str()).collect();
        let alone: Vec<_> = bodies.iter().map(|body| split(adapter, body.as_bytes(), "").expect("one event").remove(0)).collect();
        let array = format!("{space}[{space}{}{space}]{space}", bodies.join(&format!("{space},{space}")));
        let within = format!("{{\"key\":\"k\",{space}\"data\"{space}:{array}}}");
        let lines = bodies.join("\r\n\n") + "\n";
        let mut batches = vec![split(adapter, array.as_bytes(), JSON).expect("an array")];
        if [Adapter::Canonical, Adapter::Mapping].contains(&adapter) {
            batches.push(split(adapter, lines.as_bytes(), "application/x-ndjson; charset=utf-8").expect("lines"));
        }
        if adapter == Adapter::Rebrandly {
            batches.push(split(adapter, within.as_bytes(), JSON).expect("a batch"));
        }
        for batch in batches {
            prop_assert_eq!(batch.len(), alone.len());
            for (ordinal, (batched, alone)) in batch.iter().zip(&alone).enumerate() {
                let before = batch[..ordinal].iter().filter(|other| other.bytes == batched.bytes).count();
                match before {
                    0 => prop_assert_eq!(&batched.key, &alone.key),
                    // Rebrandly has no ids: what stands in one batch twice happened twice.
                    _ if adapter == Adapter::Rebrandly && alone.quarantine.is_none() => {
                        prop_assert_eq!(batched.key.as_str(), format!("{}:{before}", alone.key.as_str()));
                    }
                    _ => prop_assert_eq!(&batched.key, &alone.key),
                }
                prop_assert_eq!(&batched.bytes, &alone.bytes);
                prop_assert_eq!(&batched.quarantine, &alone.quarantine);
            }
        }
    }

    #[test]
    fn an_email_address_in_any_field_rests_nowhere(pick in any::<prop::sample::Index>(), field in any::<prop::sample::Index>()) {
        let Payload { adapter, body, content_type } = pick.get(GOLDEN.as_slice());
        let places = values(body.as_bytes(), content_type);
        prop_assume!(!places.is_empty());
        let (start, end) = *field.get(&places);
        for address in [
            "jill.roe@mail.example.com",
            "Jill <jill.roe@mail.example.com>",
            "https://x.example/jill.roe%40mail.example.com?a=1",
            "https://x.example/u/jill.roe%252540mail.example.com/x",
            "https://x.example/?utm_content=jill.roe%2540mail.example.com",
            "jill.roe＠mail.example.com",
        ] {
            let address = match is_form(body, content_type) {
                true => form_urlencoded::byte_serialize(address.as_bytes()).collect(),
                false => format!("\"{address}\""),
            };
            let body = format!("{}{address}{}", &body[..start], &body[end..]);
            for element in split(*adapter, body.as_bytes(), content_type).unwrap_or_default() {
                let raw = RawHeaders { content_type: element.content_type.into(), ..RawHeaders::default() };
                prop_assert!(!element.key.as_str().contains("jill"));
                let mut memory = Memory::new(Options::default());
                match adapter.adapt(dialect(*adapter), &raw, &element.bytes, &mut memory) {
                    Err(undecodable) => prop_assert!(!undecodable.detail.contains("jill"), "{}", undecodable.detail),
                    Ok(adapted) => {
                        let mut stored = Vec::new();
                        adapted.event.encode(&mut stored);
                        prop_assert!(!String::from_utf8_lossy(&stored).contains("jill"), "{:?}", adapted.event);
                    }
                }
            }
        }
    }
}

/// The texts of an event, by column.
fn texts(event: &event::LinkEvent<'_>) -> Vec<(&'static str, String)> {
    let mut columns = event::LinkEvent::COLUMNS.iter().map(|column| column.name);
    let mut texts = Vec::new();
    event.visit(|value| {
        let column = columns.next().expect("a column for each value");
        match value {
            event::Value::Text(text) => texts.push((column, text.to_owned())),
            event::Value::Pairs(pairs) => {
                texts.extend(
                    pairs.iter().flat_map(|(key, value)| [(column, key.to_string()), (column, value.to_string())]),
                );
            }
            event::Value::Names(names) => texts.extend(names.iter().map(|name| (column, name.to_string()))),
            _ => {}
        }
    });
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever field of whatever platform it stands in, and however often it was encoded.
    #[test]
    fn no_stored_text_decoded_until_it_no_longer_changes_holds_an_address(
        pick in any::<prop::sample::Index>(),
        field in any::<prop::sample::Index>(),
        address in prop::sample::select(vec![
            "jill.roe@mail.example.com",
            "198.51.100.77",
            "0306.063.0144.0115",
            "0xC6.0x33.0x64.0x4D",
            "0xC633644D",
            "[2001:db8:77::77]",
            "::ffff:198.51.100.77",
            "http://0xC633644D/",
            "http://3325256781/",
            "http://[2001:db8:77::77]:8080/",
            "https://x.example/198.51.100.77/jill.roe@mail.example.com?sku=jill.roe@mail.example.com&utm_term=198.51.100.77",
        ]),
        depth in 0..4_usize,
    ) {
        let Payload { adapter, body, content_type } = pick.get(GOLDEN.as_slice());
        let places = values(body.as_bytes(), content_type);
        prop_assume!(!places.is_empty());
        let (start, end) = *field.get(&places);
        let (scheme, mut rest) = match address.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest.to_owned()),
            None => (String::new(), address.to_owned()),
        };
        for _ in 0..depth {
            rest = rest.replace('%', "%25").replace('@', "%40").replace('.', "%2E");
        }
        let address = scheme + &rest;
        let address = match is_form(body, content_type) {
            true => form_urlencoded::byte_serialize(address.as_bytes()).collect(),
            false => format!("\"{address}\""),
        };
        let body = format!("{}{address}{}", &body[..start], &body[end..]);
        for element in split(*adapter, body.as_bytes(), content_type).unwrap_or_default() {
            let raw = RawHeaders { content_type: element.content_type.into(), received_at: RECEIVED_AT, ..RawHeaders::default() };
            let key = event::personal::find(element.key.as_str());
            prop_assert_eq!(key, None, "{}", element.key.as_str());
            let mut memory = Memory::new(Options { keep_query_params: vec!["sku".into()] });
            match adapter.adapt(dialect(*adapter), &raw, &element.bytes, &mut memory) {
                Err(undecodable) => prop_assert_eq!(event::personal::find(&undecodable.detail), None, "{}", undecodable.detail),
                Ok(adapted) => {
                    for (column, text) in texts(&adapted.event) {
                        prop_assert_eq!(event::personal::find(&text), None, "{} is {}", column, text);
                        let host = ["domain", "destination_host", "referrer_host"].contains(&column);
                        let number = text.parse::<u32>().is_ok() || text.starts_with("0x") || text.starts_with("0X");
                        prop_assert!(!(host && number), "{} is {}", column, text);
                    }
                }
            }
        }
    }
}

/// Names that a form may have, some of which are read.
fn form_name() -> impl Strategy<Value = String> {
    let known = ["Host", "Date", "Origin", "Path", "Referrer", "User-agent", "country", "link", "utm_source"];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// The golden events of an adapter, each on one line and without a batch around it.
fn singles(adapter: Adapter) -> Vec<String> {
    let payloads = GOLDEN.iter().filter(|payload| payload.adapter == adapter && payload.content_type == JSON);
    let events = payloads.flat_map(|payload| {
        let elements = split(adapter, payload.body.as_bytes(), "").expect("a payload that can be split");
        elements.into_iter().map(|element| String::from_utf8_lossy(&element.bytes).replace('\n', " "))
    });
    // Of a quarantined element that is no object, the adapter alone would make something else.
    events.filter(|event| event.starts_with('{')).collect()
}

#[test]
fn a_body_as_deep_as_it_is_long_is_refused_without_exhausting_the_stack() {
    for open in ["[", "{\"a\":", "{\"id\":[", "{\"data\":{\"link\":{\"tags\":["] {
        let body = open.repeat(256 * 1_024 / open.len());
        for adapter in Adapter::ALL {
            assert_eq!(split(*adapter, body.as_bytes(), "").expect_err("no event").reason, "not_json");
            let lines = split(Adapter::Canonical, body.as_bytes(), "application/x-ndjson").expect("one line");
            assert_eq!(lines[0].quarantine.as_ref().map(|why| why.reason), Some("not_json"));
            let mut memory = Memory::new(Options::default());
            adapter
                .adapt(dialect(*adapter), &RawHeaders::default(), body.as_bytes(), &mut memory)
                .expect_err("no event");
        }
    }
}

#[test]
fn a_partly_bad_batch_keeps_its_good_elements() {
    let good = r#"{"id":"1","type":"click","time":"2026-11-23T10:00:00Z","link":{"id":"l"}}"#;
    let array = format!(r#"[{good}, 7, {{"id":"2"}}, null, {good}]"#);
    let reasons = |elements: &[Element<'_>]| -> Vec<Option<&str>> {
        elements.iter().map(|element| element.quarantine.as_ref().map(|why| why.reason)).collect()
    };
    let elements = split(Adapter::Canonical, array.as_bytes(), "application/json").expect("an array");
    assert_eq!(reasons(&elements), [None, Some("not_an_event"), Some("missing_field"), Some("not_an_event"), None]);
    assert_eq!(elements[1].bytes.as_ref(), b"7");
    assert_eq!(elements[1].key, fallback_key(b"7"));

    let mut lines = format!("{good}\n{{\"id\":\n\n{good}\n").into_bytes();
    lines.extend_from_slice(b"{\"id\":\"\xff\"}\n");
    let elements = split(Adapter::Canonical, &lines, "application/x-ndjson").expect("lines");
    assert_eq!(reasons(&elements), [None, Some("not_json"), None, Some("missing_field")]);
}

#[test]
fn a_body_that_is_not_strictly_json_is_refused_whole() {
    for (body, reason) in [
        ("", "empty"),
        (" \n", "empty"),
        ("[]", "empty"),
        ("{", "not_json"),
        ("{} {}", "not_json"),
        ("[7,]", "not_json"),
        ("[7] x", "not_json"),
        ("{\"id\":\"\\ud800\" 1}", "not_json"),
        ("{\"any\":\"tab\there\"}", "not_json"),
        ("{\"n\":01}", "not_json"),
    ] {
        assert_eq!(split(Adapter::Canonical, body.as_bytes(), "").expect_err(body).reason, reason, "{body}");
    }
    assert_eq!(split(Adapter::Canonical, b"{\"skipped\"\xff:1}", "").expect_err("no UTF-8").reason, "not_json");
    assert_eq!(split(Adapter::Canonical, b"[\xff]", "").expect_err("no UTF-8").reason, "not_utf8");
    let many = format!("[{}{{}}]", "{},".repeat(MAX_ELEMENTS));
    assert_eq!(split(Adapter::Canonical, many.as_bytes(), "").expect_err("too many").reason, "too_many_events");
    let lines = "{}\n".repeat(MAX_ELEMENTS + 1);
    let refused = split(Adapter::Canonical, lines.as_bytes(), "application/x-ndjson").expect_err("too many");
    assert_eq!(refused.reason, "too_many_events");
}

#[test]
fn no_error_quotes_the_payload() {
    let body = r#"{"id":"1","email":"jane@example.com" "broken"}"#;
    let refused = split(Adapter::Canonical, body.as_bytes(), "").expect_err("not JSON");
    assert_eq!(refused.detail, "the body is not valid JSON at line 1 column 38");
}

#[test]
fn of_several_equal_keys_the_last_counts_in_both_halves() {
    let body = r#"{"id":"a","id":"b","type":"sale","type":"click","time":"2026-11-23T10:00:00Z","link":{"id":"l"}}"#;
    let elements = split(Adapter::Canonical, body.as_bytes(), "").expect("an event");
    assert_eq!(elements[0].key.as_str(), "b");
    let raw = RawHeaders { received_at: RECEIVED_AT, ..RawHeaders::default() };
    let adapted =
        Adapter::Canonical.adapt(&Dialect::PLAIN, &raw, &elements[0].bytes, &mut Memory::new(Options::default()));
    assert_eq!(adapted.expect("an event").event.r#type, EventType::Click);
}

#[test]
fn a_cloud_event_in_binary_mode_is_known_and_read_by_its_headers() {
    let body = br#" {"link":{"id":"l_77"}} "#;
    let headers = [("id", "A1"), ("source", "/acme"), ("type", "com.acme.qr_scan"), ("time", "2026-11-23T10:00:00Z")];
    let header = |name: &str| {
        let attribute = name.strip_prefix("ce-")?;
        headers.iter().find(|(known, _)| *known == attribute).map(|(_, value)| *value)
    };
    let elements = Adapter::CloudEvents.split(&Dialect::PLAIN, body, "application/json", &header).expect("an event");
    assert_eq!((elements[0].key.as_str(), elements[0].quarantine.as_ref()), ("/acme A1", None));
    let raw = RawHeaders {
        received_at: RECEIVED_AT,
        content_type: elements[0].content_type.into(),
        cloud_event: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..RawHeaders::default()
    };
    let mut memory = Memory::new(Options::default());
    let adapted = Adapter::CloudEvents.adapt(&Dialect::PLAIN, &raw, &elements[0].bytes, &mut memory).expect("an event");
    assert_eq!(adapted.event.r#type, EventType::QrScan);
    assert_eq!(adapted.event.event_time.0, 1_795_428_000_000);

    let unnamed = Adapter::CloudEvents
        .split(&Dialect::PLAIN, body, "application/json", &|name| header(name).filter(|_| name != "ce-source"))
        .expect("an element");
    assert_eq!(unnamed[0].quarantine.as_ref().map(|why| why.reason), Some("missing_field"));

    // Nothing proves who wrote the headers: binary mode is set aside, and what stands in the body is not.
    let wary = Dialect { attributes_unproven: true, ..Dialect::PLAIN };
    let unproven = Adapter::CloudEvents.split(&wary, body, "application/json", &header).expect_err("set aside");
    assert_eq!(unproven.reason, "unsigned_attributes");
    let structured = br#"{"id":"A1","source":"/acme","type":"com.acme.click","time":"2026-11-23T10:00:00Z","data":{"link":{"id":"l_77"}}}"#;
    let whole =
        Adapter::CloudEvents.split(&wary, structured, "application/cloudevents+json", &header).expect("an event");
    assert_eq!((whole[0].key.as_str(), whole[0].quarantine.as_ref()), ("/acme A1", None));
}

#[test]
fn content_types_are_taken_as_senders_write_them() {
    for adapter in Adapter::ALL {
        let accepts = |content_type: &str| adapter.accepts(&Dialect::PLAIN, content_type, b"id=1");
        for fine in ["", "application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"] {
            assert!(accepts(fine), "{fine}");
        }
        assert!(!accepts("text/html"));
        for form in [FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
            assert_eq!(accepts(form), [Adapter::ShortIo, Adapter::Mapping].contains(adapter));
            for json in ["{\"id\":1}", "\u{feff} [{}]", "%7B%22id%22%3A1%7D", "payload=%7B%22id%22%3A1%7D&v=2"] {
                assert!(adapter.accepts(&Dialect::PLAIN, form, json.as_bytes()), "{json}");
            }
        }
        assert_eq!(accepts("application/x-ndjson"), [Adapter::Canonical, Adapter::Mapping].contains(adapter));
        assert_eq!(Adapter::parse(adapter.name()), Some(*adapter));
    }
    assert_eq!(Adapter::parse("nobody"), None);
}

/// The same JSON, written another way.
fn rewritten(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).expect("JSON");
    value.to_string().replace('/', "\\/")
}

#[test]
fn a_key_made_of_fields_does_not_depend_on_how_they_are_written() {
    for adapter in Adapter::ALL {
        let mut compared = 0;
        for body in singles(*adapter) {
            let other = rewritten(&body);
            let (one, other) = (split(*adapter, body.as_bytes(), JSON), split(*adapter, other.as_bytes(), JSON));
            let (one, other) = (one.expect("an event").remove(0), other.expect("an event").remove(0));
            assert_eq!(one.quarantine, other.quarantine);
            if !one.key.as_str().starts_with("body:") {
                assert_eq!(one.key, other.key, "{body}");
                compared += 1;
            }
        }
        // Short.io has no key of its own.
        assert_eq!(compared > 0, *adapter != Adapter::ShortIo, "{}", adapter.name());
    }
}

#[test]
fn a_delivery_that_comes_again_has_the_keys_that_it_had() {
    for Payload { adapter, body, content_type } in GOLDEN.iter() {
        let keys = |body: &str| -> Vec<String> {
            let elements = split(*adapter, body.as_bytes(), content_type).expect("a payload that can be split");
            elements.iter().map(|element| element.key.as_str().to_owned()).collect()
        };
        assert_eq!(keys(body), keys(&format!("\n {body} \n")));
    }
}
