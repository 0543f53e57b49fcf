//! One event is one event, and one link one link, however a sender writes it: modes of CloudEvents, forms, spellings.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use event::LinkEvent;
use event::raw::RawHeaders;
use hookline_adapter::mapping::{Field, KeyFrom, Mapping, MappingPlan, PayloadPath, TextFrom, TypeFrom};
use hookline_adapter::{Adapter, Dialect, Memory, Options};
use proptest::prelude::*;

const FORM: &str = "application/x-www-form-urlencoded";
const STRUCTURED: &str = "application/cloudevents+json";
const TIME: &str = "2026-11-23T10:00:00Z";

/// The key of the only event of a body and what it becomes, or why it is set aside.
fn one(
    adapter: Adapter,
    dialect: &Dialect,
    content_type: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(String, LinkEvent<'static>), &'static str> {
    let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    // The headers live as long as the body here.
    let elements = adapter.split(dialect, body, content_type, &header).map_err(|why| why.reason)?;
    let [element] = elements.as_slice() else { panic!("{} elements", elements.len()) };
    let raw = RawHeaders {
        received_at: 1_795_428_001_000,
        content_type: if element.content_type.is_empty() { content_type } else { element.content_type }.into(),
        cloud_event: headers
            .iter()
            .map(|(name, value)| (name.trim_start_matches("ce-").into(), (*value).into()))
            .collect(),
        ..RawHeaders::default()
    };
    let mut memory = Memory::new(Options::default());
    let adapted = adapter.adapt(dialect, &raw, &element.bytes, &mut memory);
    match (&element.quarantine, adapted) {
        (Some(why), adapted) => {
            assert!(adapted.is_err(), "both halves agree");
            Err(why.reason)
        }
        (None, adapted) => {
            let adapted = adapted.expect("both halves agree");
            let mut bytes = Vec::new();
            adapted.event.encode(&mut bytes);
            let event = LinkEvent::decode(Vec::leak(bytes)).expect("an event");
            Ok((element.key.as_str().to_owned(), event))
        }
    }
}

fn binary(headers: &[(&str, &str)]) -> Result<String, &'static str> {
    let body = br#"{"link":{"id":"l"}}"#;
    one(Adapter::CloudEvents, &Dialect::PLAIN, "application/json", headers, body).map(|(key, _)| key)
}

fn structured(data: &str) -> Result<String, &'static str> {
    let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"x.click","time":"{TIME}",{data}}}"#);
    one(Adapter::CloudEvents, &Dialect::PLAIN, STRUCTURED, &[], body.as_bytes()).map(|(key, _)| key)
}

/// As the HTTP binding says: spaces, quotes, percent signs and all that is not printable ASCII.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'%';
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

proptest! {
    #[test]
    fn a_cloud_event_has_one_key_in_all_three_modes(id in "[^\\p{Cc}]{1,20}", source in "[^\\p{Cc}]{1,20}") {
        prop_assume!(!id.trim().is_empty() && !source.trim().is_empty());
        let event = serde_json::json!({
            "specversion": "1.0", "id": id, "source": source, "type": "x.click", "time": TIME, "data": {"link": {"id": "l"}},
        });
        let key = |content_type: &str, body: String| {
            one(Adapter::CloudEvents, &Dialect::PLAIN, content_type, &[], body.as_bytes()).expect("an event").0
        };
        let known = key(STRUCTURED, event.to_string());
        prop_assert_eq!(&key("application/cloudevents-batch+json", format!("[{event}]")), &known);
        let (id_header, source_header) = (percent_encoded(&id), percent_encoded(&source));
        let headers = [("ce-id", id_header.as_str()), ("ce-source", &source_header), ("ce-type", "x.click"), ("ce-time", TIME)];
        prop_assert_eq!(binary(&headers), Ok(known.clone()));
        let quoted = |text: &str| format!("\"{}\"", text.replace('%', "%25").replace('\\', "\\\\").replace('"', "\\\""));
        let (id_header, source_header) = (quoted(&id), quoted(&source));
        let headers = [("ce-id", id_header.as_str()), ("ce-source", &source_header), ("ce-type", "\"x.click\""), ("ce-time", TIME)];
        prop_assert_eq!(binary(&headers), Ok(known));
    }
}

#[test]
fn attributes_in_headers_are_read_as_the_http_binding_says() {
    let read =
        |source: &str| binary(&[("ce-id", "1"), ("ce-source", source), ("ce-type", "x.click"), ("ce-time", TIME)]);
    for (source, key) in [
        ("/caf%C3%A9%20berlin", "/café berlin 1"),
        ("/caf%c3%a9 berlin", "/café berlin 1"),
        ("/café berlin", "/café berlin 1"),
        ("\"/café berlin\"", "/café berlin 1"),
        (r#""/caf%C3%A9\ berlin""#, "/café berlin 1"),
        ("/a%2520b", "/a%20b 1"),
        ("/100%", "/100% 1"),
        ("/%zz", "/%zz 1"),
        ("%F0%9F%98%80", "😀 1"),
    ] {
        assert_eq!(read(source).as_deref(), Ok(key), "{source}");
    }
    for source in ["/caf%FF", "%C0%AF", "%ED%A0%BD", "%F0%9F", "\"%80\""] {
        assert_eq!(read(source), Err("not_utf8"), "{source}");
    }
}

#[test]
fn data_in_base64_is_data() {
    let known = structured(r#""data":{"link":{"id":"l_1"}}"#);
    assert_eq!(known.as_deref(), Ok("/s 1"));
    for encoded in [
        "eyJsaW5rIjp7ImlkIjoibF8xIn19",
        r"eyJsaW5rIjp7ImlkIjoibF8xIn19\n",
        "IHsibGluayI6eyJpZCI6ImxfMSJ9fQ==",
        "IHsibGluayI6eyJpZCI6ImxfMSJ9fQ",
        "77u/eyJsaW5rIjp7ImlkIjoibF8xIn19",
        "77u_eyJsaW5rIjp7ImlkIjoibF8xIn19",
    ] {
        assert_eq!(structured(&format!(r#""data_base64":"{encoded}""#)), known, "{encoded}");
    }
    for (data, why) in [
        (r#""data_base64":"!""#, "wrong_type"),
        (r#""data_base64":"bm8ganNvbg==""#, "wrong_type"),
        (r#""data_base64":"Nw==""#, "wrong_type"),
        (r#""data_base64":7"#, "wrong_type"),
        (r#""data_base64":"e30=""#, "missing_field"),
        (r#""odd":1"#, "missing_field"),
    ] {
        assert_eq!(structured(data), Err(why), "{data}");
    }
}

/// A mapping whose events stand at the top, or in a list at `items`.
fn mapped(items: Option<&str>, text_plain: bool) -> Dialect {
    let at = |name: &str| vec![PayloadPath::parse(name).expect("a path")];
    let plan = MappingPlan {
        items: items.map(|items| PayloadPath::parse(items).expect("a path")),
        text_plain,
        event_key: Some(KeyFrom::First(at("id"))),
        event_type: TypeFrom { paths: at("event"), ..TypeFrom::default() },
        event_time: at("time"),
        fields: vec![(Field::ShortUrl, TextFrom { paths: at("short_url"), default: String::new() })],
        ..MappingPlan::default()
    };
    Dialect { mapping: Some(Mapping::new(plan)), ..Dialect::PLAIN }
}

#[test]
fn json_that_is_called_a_form_is_the_event_that_it_is() {
    let dialect = mapped(None, false);
    let json = format!(r#"{{"id":"1","event":"click","time":"{TIME}","short_url":"https://go.example/a?b=1&c=2"}}"#);
    let encoded: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
    let known = one(Adapter::Mapping, &dialect, "application/json", &[], json.as_bytes()).expect("an event");
    for body in [
        json.clone(),
        format!("\u{feff} {json}\n"),
        format!("[{json}]"),
        encoded.clone(),
        format!("{encoded}="),
        format!("payload={encoded}"),
        format!("data={encoded}"),
        format!("token=t&event_json={encoded}"),
        format!("payload={encoded}&meta=%7B%22a%22%3A1%7D"),
        format!("id=of-the-form&payload={encoded}"),
        format!("payload=%5B{encoded}%5D"),
    ] {
        for content_type in [FORM, "application/x-www-form-urlencoded; charset=UTF-8"] {
            let found = one(Adapter::Mapping, &dialect, content_type, &[], body.as_bytes());
            assert_eq!(found.as_ref(), Ok(&known), "{body}");
        }
    }
    // What is an event as a form stays one, whatever one of its fields holds.
    let form = format!("id=1&event=click&time={TIME}&short_url=go.example%2Fa&meta={encoded}");
    assert_eq!(one(Adapter::Mapping, &dialect, FORM, &[], form.as_bytes()).expect("an event").0, "click:1");
    let within = format!("payload=%7B%22list%22%3A%5B{encoded}%5D%7D");
    let found = one(Adapter::Mapping, &mapped(Some("list"), false), FORM, &[], within.as_bytes());
    assert_eq!(found, Ok(known));
}

#[test]
fn plain_text_is_taken_where_the_map_says_so() {
    for (text_plain, content_type) in [(true, "text/plain; charset=UTF-8"), (false, "text/plain")] {
        let dialect = mapped(None, text_plain);
        assert_eq!(Adapter::Mapping.accepts(&dialect, content_type, b"{}"), text_plain);
        assert!(!Adapter::Canonical.accepts(&dialect, content_type, b"{}"));
    }
}

#[test]
fn one_link_in_several_spellings_is_one_link() {
    let dialect = mapped(None, false);
    let link = |url: &str| {
        let body = serde_json::json!({"id": "1", "event": "click", "time": TIME, "short_url": url}).to_string();
        let (_, event) = one(Adapter::Mapping, &dialect, "", &[], body.as_bytes()).expect(url);
        event.link_id.into_owned()
    };
    for url in [
        "https://go.acme.example/café",
        "https://go.acme.example/caf%C3%A9",
        "https://go.acme.example/caf%c3%a9",
        "HTTP://GO.ACME.EXAMPLE/%63af%C3%A9",
        "http://go.acme.example:80/café",
        "https://go.acme.example:443/café",
        "https://go.acme.example./café",
        "https://go.acme.example.:443/café?utm_source=x#y",
        "//go.acme.example/café",
        "go.acme.example/café",
        " go.acme.example:443/caf%C3%a9 ",
    ] {
        assert_eq!(link(url), "go.acme.example/café", "{url}");
    }
    assert_eq!(link("https://bücher.example/a"), link("https://xn--bcher-kva.example/a"));
    assert_eq!(link("https://go.acme.example/a%20b"), link("https://go.acme.example/a b"));
    for (one, other) in [
        ("go.acme.example/a%2Fb", "go.acme.example/a/b"),
        ("go.acme.example/a%3Fb", "go.acme.example/a?b"),
        ("go.acme.example:8080/a", "go.acme.example/a"),
        ("go.acme.example/A", "go.acme.example/a"),
        ("go.acme.example/a+b", "go.acme.example/a%20b"),
    ] {
        assert_ne!(link(one), link(other), "{one}");
    }
}
