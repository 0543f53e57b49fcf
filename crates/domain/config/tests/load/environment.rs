//! Secrets and overrides.

use std::fs;

use hookline_config::Environment;
use jiff::Timestamp;

use crate::{base, environment, errors, load_file, load_with, sound};

fn errors_with(variables: &[(&str, &str)]) -> Vec<String> {
    match load_with(&base(), &environment(variables)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_key_of_the_platforms_half_has_an_override() {
    let text = format!("{}[kafka]\nlanes = 6\n[ingest]\nlisten = \"0.0.0.0:80\"\n", base());
    let config = load_with(
        &text,
        &environment(&[
            ("HOOKLINE_KAFKA_BROKERS", "a:9092, b:9092"),
            ("HOOKLINE_KAFKA_LANES", "24"),
            ("HOOKLINE_KAFKA_PROPERTIES", r#"{ "sasl.username" = "u", "queued.min.messages" = 10 }"#),
            ("HOOKLINE_CLICKHOUSE_URL", "http://ch:8123/"),
            ("HOOKLINE_CLICKHOUSE_CLUSTER", "main"),
            ("HOOKLINE_CLICKHOUSE_SHARDS", "http://ch-1:8123, http://ch-2:8123/"),
            ("HOOKLINE_CLICKHOUSE_REPLICATED", "false"),
            ("HOOKLINE_CLICKHOUSE_PASSWORD", "hidden"),
            ("HOOKLINE_INGEST_LISTEN", "127.0.0.1:0"),
            ("HOOKLINE_INGEST_MAX_BODY", "1MiB"),
            ("HOOKLINE_INGEST_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
            ("HOOKLINE_KAFKA_TAKEOVER_AFTER", "45s"),
            ("HOOKLINE_REGISTRY_URL", "http://registry:8080/apis/ccompat/v7/"),
            ("HOOKLINE_REGISTRY_REGISTER", "false"),
            ("HOOKLINE_PROCESS_DATA", "/var/lib/hookline"),
            ("HOOKLINE_PROCESS_FUSE_RUN", "50"),
            ("HOOKLINE_PROCESS_FUSE_PERCENT", "0"),
            ("HOOKLINE_METRICS_LISTEN", "[::]:9464"),
            ("HOOKLINE_CONSOLE_TOKEN", "t"),
        ]),
    )
    .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.kafka.brokers.as_deref(), Some("a:9092,b:9092"));
    assert_eq!((config.kafka.lanes, config.kafka.replication), (24, 3));
    assert_eq!(config.kafka.takeover_after.as_secs(), 45);
    let properties: Vec<_> =
        config.kafka.properties.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(properties, [("sasl.username", "u"), ("queued.min.messages", "10")]);
    assert_eq!(config.clickhouse.url.as_deref(), Some("http://ch:8123"));
    assert_eq!(config.clickhouse.shards, ["http://ch-1:8123", "http://ch-2:8123"]);
    assert!(!config.clickhouse.replicated);
    assert_eq!(config.clickhouse.password.unwrap().reveal(), "hidden");
    assert_eq!((config.ingest.listen.as_str(), config.ingest.max_body), ("127.0.0.1:0", 1 << 20));
    assert_eq!(config.ingest.trusted_proxies.len(), 2);
    assert_eq!(config.sources[0].max_body, 1 << 20);
    let registry = config.registry.unwrap();
    assert_eq!((registry.url.as_str(), registry.register), ("http://registry:8080/apis/ccompat/v7", false));
    assert_eq!(config.process.data.to_str(), Some("/var/lib/hookline"));
    assert_eq!((config.process.fuse_run, config.process.fuse_percent), (50, 0));
    assert_eq!(config.metrics.listen, "[::]:9464");
    assert_eq!(config.console.token.unwrap().reveal(), "t");
}

#[test]
fn an_override_is_checked_like_the_key_it_stands_for() {
    assert_eq!(
        errors_with(&[("HOOKLINE_KAFKA_LANSE", "4"), ("HOOKLINE_KAFKA_REPLICATION", "three")]),
        [
            r#"HOOKLINE_KAFKA_LANSE: unknown key "lanse" in [kafka]; did you mean "lanes"?"#,
            r#"HOOKLINE_KAFKA_REPLICATION: "three" is not a whole number"#,
        ]
    );
}

#[test]
fn an_empty_override_of_a_secret_says_that_there_is_none() {
    let empty = environment(&[("HOOKLINE_CLICKHOUSE_PASSWORD", ""), ("HOOKLINE_CONSOLE_TOKEN", "")]);
    // The second asks for secrets that are nowhere: the override wins, so they are not looked up.
    let asking = "[clickhouse]\npassword = { env = \"NOWHERE\" }\n[console]\ntoken = { env = \"NOWHERE\" }\n";
    for text in [base(), format!("{}{asking}", base())] {
        let config = load_with(&text, &empty).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"));
        assert!(config.clickhouse.password.is_none() && config.console.token.is_none());
    }
}

#[test]
fn an_empty_secret_in_the_file_is_a_problem() {
    let written = format!("{}[clickhouse]\npassword = \"\"\n", base());
    assert_eq!(
        errors(&written),
        [
            r#"hookline.toml:13:12: password in [clickhouse] is a text; write { env = "VARIABLE" } or { file = "PATH" }: secrets do not belong in this file"#
        ]
    );
}

#[test]
fn a_variable_that_overrides_nothing_is_a_problem() {
    assert_eq!(
        errors_with(&[("HOOKLINE_KAKFA_BROKERS", "a:1")]),
        [r#"HOOKLINE_KAKFA_BROKERS: overrides no key of the configuration; did you mean "kafka"?"#]
    );
    assert_eq!(errors_with(&[("HOOKLINE_RULES", "x")]).len(), 1);
}

#[test]
fn other_variables_of_hookline_and_of_kubernetes_are_no_overrides() {
    let none: [String; 0] = [];
    assert_eq!(
        errors_with(&[
            ("HOOKLINE_CACHE", "/c"),
            ("HOOKLINE_CLICKHOUSE_BIN", "/usr/bin/clickhouse"),
            ("HOOKLINE_ENGINE_ACCOUNTS", "[]"),
            ("HOOKLINE_LOG", "debug"),
            ("HOOKLINE_LOG_FORMAT", "json"),
            ("HOOKLINE_TEST_KAFKA", "1"),
            ("HOOKLINE_INGEST_SERVICE_HOST", "10.0.0.1"),
            ("HOOKLINE_INGEST_SERVICE_PORT_HTTP", "80"),
            ("HOOKLINE_INGEST_PORT", "tcp://10.0.0.1:80"),
            ("HOOKLINE_INGEST_PORT_80_TCP_ADDR", "10.0.0.1"),
        ]),
        none
    );
}

#[test]
fn a_variable_that_the_file_refers_to_is_no_override() {
    let text = base().replace("DUB_SECRET", "HOOKLINE_DUB");
    assert!(load_with(&text, &environment(&[("HOOKLINE_DUB", "s")])).is_ok());
    let console = format!("{}[console]\ntoken = {{ env = \"HOOKLINE_CONSOLE_TOKEN\" }}\n", base());
    let config = load_with(&console, &environment(&[("HOOKLINE_CONSOLE_TOKEN", "t")])).unwrap();
    assert_eq!(config.console.token.unwrap().reveal(), "t");
}

#[test]
fn nothing_prints_a_secret() {
    let text = format!(
        "{}[destination.hook]\nkind = \"webhook\"\nowner = \"growth\"\nurl = {{ env = \"HOOK_URL\" }}\nsecret = {{ env = \"HOOK_SECRET\" }}\n[clickhouse]\npassword = {{ env = \"PASSWORD\" }}\n[kafka]\nproperties = {{ \"sasl.password\" = {{ env = \"PASSWORD\" }} }}\n",
        base()
    );
    let surroundings = environment(&[("HOOK_URL", "https://hooks.example.com/t0k3n"), ("PASSWORD", "pa55word")]);
    let config = load_with(&text, &surroundings).unwrap();
    let printed = format!("{config:?} {surroundings:?}");
    for secret in ["t0k3n", "pa55word", "whsec_dub", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert!(!printed.contains(secret), "{secret} is printed");
    }
    let values = config.destination("hook").unwrap().values.as_ref().unwrap();
    assert_eq!(values.text("url"), "https://hooks.example.com/t0k3n");
}

#[test]
fn without_secrets_a_missing_variable_is_no_problem_and_no_secret_is_there() {
    let text = base().replace("DUB_SECRET", "MISSING");
    assert_eq!(errors(&text).len(), 1);
    let config = load_with(&text, &environment(&[]).without_secrets()).unwrap();
    assert!(config.sources[0].secrets.is_empty());
}

#[test]
fn a_secret_file_is_found_beside_the_configuration_and_its_last_line_break_is_not_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let text = base().replace("env = \"DUB_SECRET\"", "file = \"secrets/dub\"");
    fs::write(folder.path().join("hookline.toml"), text).unwrap();
    let missing = load_file(folder.path(), &environment(&[])).unwrap_err().errors[0].to_string();
    assert!(missing.starts_with("hookline.toml:7:31: the secret file secrets/dub cannot be read"), "{missing}");
    fs::create_dir(folder.path().join("secrets")).unwrap();
    fs::write(folder.path().join("secrets/dub"), "whsec_x\n").unwrap();
    let config = load_file(folder.path(), &environment(&[])).unwrap();
    let expected = signature::Secret::new("a", "whsec_x");
    assert_eq!(config.sources[0].secrets, [expected]);
}

#[test]
fn a_secrets_lifetime_is_kept() {
    let text = base().replace("env = \"DUB_SECRET\"", "env = \"DUB_SECRET\", from = 2026-09-01, until = 2026-12-01");
    let secret = &sound(&text).sources[0].secrets[0];
    let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
    assert!(secret.is_live(at("2026-09-01T00:00:00Z")) && secret.is_live(at("2026-11-30T23:59:59Z")));
    assert!(!secret.is_live(at("2026-08-31T23:59:59Z")) && !secret.is_live(at("2026-12-01T00:00:00Z")));
}

#[test]
fn a_tool_that_reaches_kafka_alone_needs_no_secret_but_kafkas() {
    let kafka = "[kafka]\nbrokers = \"k:9092\"\nproperties = { \"sasl.password\" = { env = \"KAFKA_PASSWORD\" } }\n";
    let text = format!("{}{kafka}", base());
    let alone = |name: &str| Environment::new([(name, "p")], crate::now()).with_platform_secrets_only();
    let config = load_with(&text, &alone("KAFKA_PASSWORD")).unwrap();
    assert_eq!(config.kafka.properties[0].1.reveal(), "p");
    assert!(config.sources[0].secrets.is_empty());
    let missing = load_with(&text, &alone("OTHER")).unwrap_err();
    assert!(missing.to_string().contains("KAFKA_PASSWORD"), "{missing}");
}
