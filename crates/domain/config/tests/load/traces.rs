//! `[traces]`.

use crate::{base, environment, errors, load_with, sound};

#[test]
fn nothing_is_traced_unless_a_collector_is_named() {
    assert!(sound(&base()).traces.is_none());
    let traces = sound(&format!("{}[traces]\nendpoint = \"http://collector:4318/\"\n", base())).traces.unwrap();
    assert_eq!(traces.endpoint, "http://collector:4318");
    assert_eq!((traces.one_in, traces.max_per_second, traces.timeout.as_secs()), (1_000, 20, 5));
    assert!(traces.headers.is_empty() && traces.trusted_sources.is_empty());
}

#[test]
fn every_key_is_read_from_the_file_and_from_variables() {
    let section = "[traces]\nendpoint = \"https://c\"\none_in = 0\nmax_per_second = 7\ntimeout = \"2s\"\n\
                   headers = { authorization = { env = \"DUB_SECRET\" } }\ntrusted_sources = [\"dub-main\"]\n";
    let traces = sound(&format!("{}{section}", base())).traces.unwrap();
    assert_eq!((traces.one_in, traces.max_per_second, traces.timeout.as_secs()), (0, 7, 2));
    let [(name, token)] = traces.headers.as_slice() else { panic!("{:?}", traces.headers) };
    assert_eq!((name.as_str(), token.reveal()), ("authorization", "whsec_dub"));
    assert!(!format!("{traces:?}").contains("whsec_dub"), "a token is not shown");
    assert_eq!(traces.trusted_sources, ["dub-main"]);
    let variables = [
        ("HOOKLINE_TRACES_ENDPOINT", "http://other:4318"),
        ("HOOKLINE_TRACES_ONE_IN", "50"),
        ("HOOKLINE_TRACES_TRUSTED_SOURCES", "dub-main"),
        ("HOOKLINE_TRACES_HEADERS", r#"{ "x-token" = "t" }"#),
    ];
    let config = load_with(&base(), &environment(&variables)).unwrap();
    let traces = config.traces.as_ref().unwrap();
    assert_eq!((traces.endpoint.as_str(), traces.one_in), ("http://other:4318", 50));
    assert_eq!(traces.headers[0].1.reveal(), "t");
    assert_eq!(config.version_hash(), sound(&base()).version_hash(), "it decides nothing about an event");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let found =
        errors(&format!("{}[traces]\nendpoint = \"collector:4318\"\ntrusted_sources = [\"dub-man\"]\n", base()));
    assert_eq!(
        found,
        [
            r#"hookline.toml:13:12: endpoint "collector:4318" is not an http address; write "http://collector:4318""#,
            r#"hookline.toml:14:20: unknown source "dub-man"; did you mean "dub-main"?"#,
        ]
    );
    let found = errors(&format!("{}[traces]\none_in = -1\n", base()));
    assert!(found[0].contains("[traces] has no \"endpoint\"") && found[1].contains("one_in"), "{found:?}");
}
