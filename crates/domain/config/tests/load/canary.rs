//! `[canary]`.

use std::time::Duration;

use crate::{base, environment, errors, load_with, sound};

const SOURCE: &str = "[source.canary]\nadapter = \"canonical\"\nowner = \"growth\"\ntest = true\n\
                      secrets = [{ id = \"a\", env = \"HOOK_SECRET\" }]\n";

fn rule(alert: &str, send: &str) -> String {
    format!("[rule.canary]\nowner = \"growth\"\nwhen = {{ event = \"click\", source = \"canary\" }}\n{alert}\n{send}\n")
}

fn with(rule: &str, canary: &str) -> String {
    format!("{}{SOURCE}{rule}[canary]\n{canary}", base())
}

const EACH: &str = "alert = { each = true }";
const AT_ONCE: &str = "send = { to = [\"log\"], first = \"now\", then_every = \"1s\" }";

#[test]
fn there_is_none_unless_it_is_asked_for() {
    assert!(sound(&base()).canary.is_none());
    let canary = sound(&with("", "source = \"canary\"\n")).canary.unwrap();
    assert_eq!((canary.source.as_str(), &canary.rule, &canary.ingest), ("canary", &None, &None));
    assert_eq!((canary.interval.as_secs(), canary.patience.as_secs(), canary.dead_after().as_secs()), (60, 30, 270));
}

#[test]
fn every_key_is_read_from_the_file_and_from_variables() {
    let keys =
        "source = \"canary\"\nrule = \"canary\"\ninterval = \"10s\"\npatience = \"5s\"\ningest = \"https://hooks/\"\n";
    let text = with(&rule(EACH, AT_ONCE), keys);
    let canary = sound(&text).canary.unwrap();
    assert_eq!((canary.rule.as_deref(), canary.ingest.as_deref()), (Some("canary"), Some("https://hooks")));
    assert_eq!((canary.interval, canary.patience), (Duration::from_secs(10), Duration::from_secs(5)));
    let variables = [("HOOKLINE_CANARY_INGEST", "http://127.0.0.1:8080"), ("HOOKLINE_CANARY_INTERVAL", "2m")];
    let config = load_with(&text, &environment(&variables)).unwrap();
    let canary = config.canary.as_ref().unwrap();
    assert_eq!((canary.ingest.as_deref(), canary.interval.as_secs()), (Some("http://127.0.0.1:8080"), 120));
    assert_eq!(config.version_hash(), sound(&text).version_hash(), "it decides nothing about an event");
}

#[test]
fn its_events_count_nowhere_and_a_message_follows_each() {
    let refused = |rule: &str, canary: &str, words: &str| {
        let found = errors(&with(rule, canary));
        assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
    };
    refused("", "source = \"canray\"\n", "unknown source \"canray\"; did you mean \"canary\"?");
    refused("", "source = \"dub-main\"\n", "reads dub: the canary writes the canonical format");
    refused("", "interval = \"10s\"\n", "[canary] has no \"source\"");
    refused("", "source = \"canary\"\nrule = \"canary\"\n", "unknown rule \"canary\"");
    refused("", "source = \"canary\"\ninterval = \"1h\"\n", "interval");
    let named = "source = \"canary\"\nrule = \"canary\"\n";
    let count = "alert = { count = 2, per = \"link\", within = \"1m\" }";
    refused(&rule(count, AT_ONCE), named, "does not speak at each event");
    refused(&rule(EACH, ""), named, "sends nothing");
    refused(&rule(EACH, "send = { to = [\"log\"] }"), named, "bundles");
    refused(&rule(EACH, "send = { to = [\"log\"], first = \"5s\", then_every = \"1s\" }"), named, "bundles");
    refused(&rule(EACH, &format!("{AT_ONCE}\nshadow = true")), named, "shadow rule");
    refused(&rule(EACH, AT_ONCE).replace("source =", "intent ="), named, "list of links");
    refused(&rule(EACH, AT_ONCE).replace("\"canary\" }", "\"dub-*\" }"), named, "another source than that of [canary]");
    let among = rule(EACH, AT_ONCE).replace("source = \"canary\"", "source = [\"dub-main\", \"can*\"]");
    assert_eq!(sound(&with(&among, named)).canary.unwrap().rule.as_deref(), Some("canary"));
    let counted = with("", "source = \"canary\"\n").replace("test = true\n", "");
    assert!(errors(&counted)[0].contains("would stand in reports"), "{:?}", errors(&counted));
}

#[test]
fn where_ingest_has_tls_its_address_has_to_be_said() {
    let tls = "[ingest]\ntls = { cert = \"a.pem\", key = \"b.pem\" }\n";
    let text = |canary: &str| format!("{}{tls}", with("", &format!("source = \"canary\"\n{canary}")));
    let found = errors(&text(""));
    assert!(found.len() == 1 && found[0].contains("[canary] has no \"ingest\""), "{found:?}");
    assert_eq!(sound(&text("ingest = \"https://hooks\"\n")).canary.unwrap().ingest.as_deref(), Some("https://hooks"));
    let variables = environment(&[("HOOKLINE_CANARY_INGEST", "https://hooks")]);
    assert!(load_with(&text(""), &variables).is_ok());
}
