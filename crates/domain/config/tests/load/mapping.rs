//! The `map` of a source: what `docs/mapping.md` shows works as it says, and what cannot work is refused.

use std::fs;
use std::path::Path;

use adapter::{Adapted, Adapter, Memory, Options};
use event::EventType;
use event::raw::RawHeaders;
use hookline_config::{Config, Source};

use crate::{base, environment, errors, load_with, sound, warnings};

/// 2026-11-23T10:00:01Z.
const RECEIVED_AT: i64 = 1_795_428_001_000;

/// The block of the documentation that is marked with a language and a name.
fn documented(language: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/mapping.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("```{language} {name}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

fn with(more: &str) -> Config {
    let environment = environment(&[("SMS_SECRET", "s"), ("TINYCC_KEY", "s")]);
    load_with(&format!("{}{more}", base()), &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Sends a body through both halves.
fn one(source: &Source, body: &str, read: impl FnOnce(&str, Adapted<'_>)) {
    let elements = source.adapter.split(&source.dialect, body.as_bytes(), "application/json", &|_| None).unwrap();
    assert_eq!(elements.len(), 1);
    let raw = RawHeaders { received_at: RECEIVED_AT, ..RawHeaders::default() };
    let mut memory = Memory::new(Options::default());
    let adapted = source.adapter.adapt(&source.dialect, &raw, &elements[0].bytes, &mut memory).unwrap();
    read(elements[0].key.as_str(), adapted);
}

#[test]
fn the_documented_map_of_8x8_reads_its_payload() {
    let config = with(&documented("toml", "8x8"));
    assert_eq!(config.warnings, []);
    let source = config.source("text-messages").unwrap();
    assert_eq!(source.adapter, Adapter::Mapping);
    one(source, &documented("json", "8x8"), |key, adapted| {
        let event = adapted.event;
        assert_eq!(key, "click:0f6a0c0f-8b67-4a3a-a6c3-7b0ecf0d2b1a");
        assert_eq!((event.r#type, event.event_time.0), (EventType::Click, RECEIVED_AT - 3_000));
        assert_eq!((&*event.domain, &*event.slug, &*event.channel), ("2g.to", "abc123/abc", "sms"));
        assert_eq!((&*event.destination_host, &*event.destination_path), ("shop.example.com", "/landing"));
    });
}

#[test]
fn the_documented_map_of_tinycc_reads_its_payload() {
    let config = with(&documented("toml", "tinycc"));
    assert_eq!(config.warnings, []);
    one(config.source("tinycc").unwrap(), &documented("json", "tinycc"), |key, adapted| {
        let event = adapted.event;
        assert!(key.starts_with("body:"), "{key}");
        assert_eq!((event.r#type, event.event_time.0), (EventType::Click, RECEIVED_AT - 3_000), "in New York's zone");
        assert_eq!(
            (&*event.link_id, adapted.referrer.as_deref()),
            ("custom.com/myhash", Some("http://example.net/referrer.html"))
        );
        assert!(adapted.visitor.ip.is_some() && adapted.visitor.user_agent.starts_with("Mozilla"));
    });
}

/// A source with this map; its first line is line 17.
fn source(map: &str) -> String {
    let source = "[source.s]\nadapter = \"mapping\"\nowner = \"growth\"\nscheme = \"dub\"\nsecrets = [{ id = \"a\", env = \"DUB_SECRET\" }]\n";
    format!("{}{source}{map}", base())
}

#[track_caller]
fn expect(map: &str, expected: &[&str]) {
    assert_eq!(errors(&source(map)), expected, "in\n{map}");
}

const GOOD: &str = "type = { default = \"click\" }\nevent_time = \"at\"\nlink_id = \"id\"\n";

#[test]
fn what_a_map_needs_is_named_when_it_is_missing() {
    expect("", &[r#"hookline.toml:12:1: [source.s] has no "map"; say where its payloads have what: docs/mapping.md"#]);
    expect(
        "map = { event_time = \"at\", domain = \"d\" }\n",
        &[
            r#"hookline.toml:17:7: map of [source.s] has no "type"; say where the payload names the type of event, or write type = { default = "click" }"#,
            r#"hookline.toml:17:7: map of [source.s] does not say which link an event is about; add link_id, or short_url, or domain and slug"#,
        ],
    );
    assert_eq!(
        warnings(&source("map = { type = \"t\", link_id = \"id\" }\n")),
        [
            r#"hookline.toml:17:7: map of [source.s] has no event_time: events will have happened when they arrive; say where the payload has the time"#,
            r#"hookline.toml:17:7: the map of [source.s] has neither event_key nor event_time: clicks whose payloads are equal, such as two of one person on one link, count once in 72h; name an id of the event, or let event_key be { all = [...] } with a time in it; if the payload has neither, set remember_for to how long the sender retries"#,
        ]
    );
    assert_eq!(sound(&source(&format!("[source.s.map]\n{GOOD}"))).warnings, []);
}

/// Maps by which two clicks of one person would look like one delivery and its retry.
#[test]
fn a_map_that_does_not_tell_clicks_apart_is_warned_about_with_its_window() {
    const TYPE: &str = "type = { default = \"click\" }\n";
    let said = |map: &str, source_line: &str| {
        let all = warnings(&source(&format!("{source_line}[source.s.map]\n{TYPE}{map}")));
        all.into_iter().filter(|warning| warning.contains("count once")).collect::<Vec<_>>()
    };
    let time = "event_time = \"at\"\n";
    // Mobivate's documented payload, as the map of docs/mapping.md would read it.
    let mobivate = said("link_id = \"batchId\"\ncountry = \"iso2l\"\n", "remember_for = \"76h\"\n");
    assert!(mobivate.len() == 1 && mobivate[0].contains("neither event_key nor event_time"), "{mobivate:?}");
    assert!(mobivate[0].contains("once in 76h") && mobivate[0].contains("remember_for"), "{mobivate:?}");
    for (map, why) in [
        ("link_id = \"id\"\n".to_owned(), "neither event_key nor event_time"),
        ("items = \"data\"\nshort_url = \"u\"\nip = \"ip\"\n".to_owned(), "neither event_key nor event_time"),
        (format!("{time}link_id = \"id\"\nevent_key = \"id\"\n"), "many events share (link_id)"),
        (
            format!("{time}link_id = \"id\"\nip = \"ip\"\nevent_key = {{ all = [\"id\", \"ip\"] }}\n"),
            "share (link_id, ip)",
        ),
        (
            format!("{time}link_id = \"id\"\ncampaign = [\"c\", \"d\"]\nevent_key = [\"d\", \"id\"]\n"),
            "share (campaign, link_id)",
        ),
        ("link_id = \"id\"\nuser_agent = \"ua\"\nevent_key = \"ua\"\n".to_owned(), "share (user_agent)"),
        ("link_id = \"id\"\nevent_time = { path = \"at\", format = \"%Y-%m-%d\" }\n".to_owned(), "no seconds"),
        ("link_id = \"id\"\nevent_time = { path = \"at\", format = \"%d.%m.%Y %H:%M %z\" }\n".to_owned(), "no seconds"),
        ("link_id = \"id\"\nevent_time = { path = \"at\", format = \"%F %R, 100 %%S\" }\n".to_owned(), "no seconds"),
    ] {
        let found = said(&map, "");
        assert!(found.len() == 1 && found[0].contains(why) && found[0].contains("once in 72h"), "{map}: {found:?}");
    }
    for map in [
        format!("{time}link_id = \"id\"\n"),
        "link_id = \"id\"\nevent_key = \"event\"\n".to_owned(),
        format!("{time}link_id = \"id\"\nevent_key = {{ all = [\"id\", \"at\"] }}\n"),
        format!("{time}link_id = \"id\"\nevent_key = {{ all = [\"id\", \"visit\"] }}\n"),
        format!("{time}link_id = \"id\"\nevent_key = [\"event\", \"id\"]\n"),
        "link_id = \"id\"\nevent_time = { path = \"at\", format = \"%Y-%m-%d %H:%M:%S\" }\n".to_owned(),
        "link_id = \"id\"\nevent_time = { path = \"at\", format = \"%FT%T%.f%:z\" }\n".to_owned(),
        "link_id = \"id\"\nevent_time = { path = \"at\", format = \"%s\" }\n".to_owned(),
        "link_id = \"id\"\nevent_time = { path = \"at\", format = \"%Y%m%d%H%M%-S\" }\n".to_owned(),
        "link_id = \"id\"\nevent_time = { path = \"at\", zone = \"Europe/Berlin\" }\n".to_owned(),
    ] {
        assert_eq!(said(&map, ""), Vec::<String>::new(), "{map}");
    }
}

#[test]
fn events_in_a_query_need_a_map_and_something_that_authenticates_the_query() {
    let map = format!("[source.s.map]\n{GOOD}");
    let with = |scheme: &str, adapter: &str| {
        let text = source(&format!("events_in_query = true\npublic_url = \"https://h/v1/webhooks/s\"\n{map}"));
        text.replace("scheme = \"dub\"\nsecrets", &format!("scheme = {scheme}\nsecrets"))
            .replace("adapter = \"mapping\"", adapter)
    };
    let secret = ["{ header = \"X-Secret\" }", "{ query = \"key\" }", "\"bearer\""];
    let url = "{ hmac = \"sha256\", header = \"X-S\", signed = \"{method}{url}{body}\" }";
    for scheme in secret.into_iter().chain([url, "\"twilio\""]) {
        let config = sound(&with(scheme, "adapter = \"mapping\""));
        assert!(config.source("s").unwrap().events_in_query, "{scheme}");
    }
    for scheme in ["\"github\"", "\"stripe\"", "{ hmac = \"sha256\", header = \"X-S\" }"] {
        let found = errors(&with(scheme, "adapter = \"mapping\""));
        assert!(found.len() == 1 && found[0].contains("signs the body and not the query"), "{scheme}: {found:?}");
    }
    let found = errors(&with("{ header = \"X-Secret\" }", "adapter = \"dub\"")).join("\n");
    assert!(found.contains("events_in_query of [source.s] needs adapter = \"mapping\""), "{found}");
    assert!(!sound(&source(&map)).source("s").unwrap().events_in_query, "opt-in");
}

#[test]
fn a_mistake_in_a_map_is_refused_at_its_place() {
    let map = |line: &str| format!("[source.s.map]\n{GOOD}{line}\n");
    for (line, problem) in [
        ("event_kye = \"id\"", r#"21:1: unknown key "event_kye" in map of [source.s]; did you mean "event_key"?"#),
        (
            "domain = 5",
            r#"21:10: domain in map of [source.s] is a whole number, not a path; write it in quotation marks, or several in a list"#,
        ),
        ("domain = []", r#"21:10: domain in map of [source.s] is an empty list; fill it in or leave it out"#),
        (
            "domain = \"$.a\"",
            r#"21:10: domain in map of [source.s] cannot be "$.a": a path starts at the event: write "a""#,
        ),
        (
            "domain = [\"a\", \"b..c\"]",
            r#"21:16: domain in map of [source.s] cannot be "b..c": a path is names between dots, and none of them is empty"#,
        ),
        (
            "domain = { paths = \"a\" }",
            r#"21:10: domain of map of [source.s] has no "path"; say where the payload has the domain"#,
        ),
        (
            "event_key = { any = [\"a\"] }",
            r#"21:13: event_key of map of [source.s] has no "all"; write event_key = { all = ["a path", "another"] }, or a path alone"#,
        ),
        (
            "value_minor = { path = \"a\", times = 0 }",
            r#"21:37: times in value_minor of map of [source.s] is 0; use 1 to 1000"#,
        ),
        (
            "extra = { \"a b\" = \"c\" }",
            r#"21:11: "a b" cannot name a field; use letters, digits, - and _ (at most 64)"#,
        ),
        (
            "test = { path = \"mode\", is = 1 }",
            r#"21:30: is in test of map of [source.s] is a whole number, not a text; write it in quotation marks, or several in a list"#,
        ),
    ] {
        let found = errors(&source(&map(line)));
        assert_eq!(
            found.first().map(String::as_str),
            Some(format!("hookline.toml:{problem}").as_str()),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn types_are_checked_word_by_word() {
    let map = |types: &str| format!("[source.s.map]\nevent_time = \"at\"\nlink_id = \"id\"\ntype = {types}\n");
    expect(
        &map("{ path = \"t\", clik = \"c\" }"),
        &[r#"hookline.toml:20:22: unknown key "clik" in type of map of [source.s]; did you mean "click"?"#],
    );
    expect(
        &map("{ path = \"t\", click = [\"a\", \"b\"], sale = \"b\" }"),
        &[r#"hookline.toml:20:49: "b" in type of map of [source.s] means click and sale; keep one of them"#],
    );
    expect(
        &map("{ path = \"t\", default = \"clik\" }"),
        &[r#"hookline.toml:20:32: default in type of map of [source.s] cannot be "clik"; did you mean "click"?"#],
    );
    expect(
        &map("{ click = \"a\" }"),
        &[r#"hookline.toml:20:8: type of map of [source.s] has no "path"; say where the payload has the type"#],
    );
    for (types, word, expected) in [
        ("\"t\"", "qr_scan", EventType::QrScan),
        ("{ path = \"t\", link.created = \"made\", link.expired = \"gone\" }", "gone", EventType::Lifecycle),
        ("{ path = \"t\", \"link.created\" = \"made\" }", "made", EventType::Lifecycle),
        ("{ path = \"t\", click = [\"a\", \"b\"], default = \"sale\" }", "b", EventType::Click),
        ("{ path = \"t\", click = [\"a\", \"b\"], default = \"sale\" }", "z", EventType::Sale),
    ] {
        let body = format!("{{\"t\":\"{word}\",\"id\":\"l\"}}");
        one(sound(&source(&map(types))).source("s").unwrap(), &body, |_, adapted| {
            assert_eq!(adapted.event.r#type, expected, "{types}");
        });
    }
}

#[test]
fn a_time_is_written_as_its_format_says_in_one_zone() {
    let map = |time: &str, zone: &str| {
        format!("{zone}map = {{ type = {{ default = \"click\" }}, link_id = \"id\", event_time = {time} }}\n")
    };
    let at = |time: &str, zone: &str| {
        let config = sound(&source(&map(time, zone)));
        let mut found = 0;
        one(config.source("s").unwrap(), r#"{"id":"l","at":"23.11.2026 10:59"}"#, |_, adapted| {
            found = adapted.event.event_time.0;
        });
        found
    };
    let format = "format = \"%d.%m.%Y %H:%M\"";
    assert_eq!(at(&format!("{{ path = \"at\", {format}, zone = \"Europe/Berlin\" }}"), ""), RECEIVED_AT - 61_000);
    assert_eq!(at(&format!("{{ path = \"at\", {format} }}"), "zone = \"Europe/Berlin\"\n"), RECEIVED_AT - 61_000);
    let found = errors(&source(&map("{ path = \"at\", format = \"yyyy-MM-dd\" }", "")));
    assert_eq!(
        found,
        [
            r#"hookline.toml:17:92: format in event_time of map of [source.s]: "yyyy-MM-dd" is no way to write a time: it gives no date: it needs at least %Y, %m and %d, or %s"#
        ]
    );
    let found = errors(&source(&map("{ path = \"at\", zone = \"UTC\" }", "zone = \"Europe/Berlin\"\n")));
    assert_eq!(
        found,
        [r#"hookline.toml:17:8: zone stands in [source.s] and in the event_time of its map; keep one of them"#]
    );
}

#[test]
fn other_adapters_have_no_map() {
    let text = base().replace("adapter = \"dub\"", "adapter = \"dub\"\nmap = { type = \"t\" }");
    let found = errors(&text);
    assert!(found.len() == 1 && found[0].starts_with(r#"hookline.toml:6:1: unknown key "map""#), "{found:?}");
}
