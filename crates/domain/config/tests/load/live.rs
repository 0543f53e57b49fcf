//! What of another configuration can be taken while everything runs.

use crate::{base, sound};

#[test]
fn sources_rules_and_destinations_change_while_everything_runs_and_what_does_not_is_named() {
    let running = sound(&base());
    let more = "[rule.a]\nowner = \"growth\"\nwhen = { event = \"visit\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n";
    let change = running.change_to(&sound(&format!("{}{more}", base())));
    assert_eq!((change.refused, change.at_restart), (vec![], vec![]));
    let shorter = base().replace("owner = \"growth\"\nsecrets", "owner = \"growth\"\nremember_for = \"1h\"\nsecrets");
    assert_eq!(running.change_to(&sound(&shorter)).refused, Vec::<String>::new());

    // What decides is taken whole or not at all.
    let refused = |text: &str| running.change_to(&sound(text)).refused.join("; ");
    assert!(refused(&format!("{}[kafka]\nlanes = 9\n", base())).contains("never changed in place"));
    let longer = base().replace("owner = \"growth\"\nsecrets", "owner = \"growth\"\nremember_for = \"9d\"\nsecrets");
    assert!(refused(&longer).contains("to 216 hours"), "{}", refused(&longer));
    assert!(refused(&format!("{}[privacy]\nkeep = {{ raw = \"9d\" }}\n", base())).contains("keep.raw"));

    // What is read at the start is named, with what to start again.
    let at_restart = |text: &str| {
        let change = running.change_to(&sound(text));
        assert_eq!(change.refused, Vec::<String>::new());
        change.at_restart.into_iter().map(|one| format!("{}: {}", one.key, one.restart)).collect::<Vec<_>>()
    };
    let platform = "[ingest]\nlisten = \"127.0.0.1:1\"\n[metrics]\nlisten = \"127.0.0.1:2\"\n\
        [kafka]\nproperties = { \"client.rack\" = \"a\" }\n[console]\nlisten = \"127.0.0.1:3\"\n";
    assert_eq!(
        at_restart(&format!("{}{platform}", base())),
        [
            "[kafka] properties: all services",
            "[ingest] listen: ingest",
            "[metrics] listen: all services",
            "[console] listen: console",
        ]
    );
    let platform = "[kafka]\nreplication = 3\n[clickhouse]\nuser = \"other\"\n";
    assert_eq!(
        at_restart(&format!("{}{platform}", base())),
        ["[kafka] replication: all services", "[clickhouse] user: report, notify and console"]
    );
}

#[test]
fn another_secret_of_a_header_of_traces_needs_a_start() {
    let with = |token: &str| {
        let mut config = sound(&base());
        config.traces = Some(hookline_config::Traces {
            endpoint: "http://127.0.0.1:4318".to_owned(),
            headers: vec![("authorization".to_owned(), notification::destination::SecretText::new(token))],
            one_in: 1,
            max_per_second: 1,
            trusted_sources: Vec::new(),
            timeout: std::time::Duration::from_secs(1),
        });
        config
    };
    let named = |token: &str| with("one").change_to(&with(token)).at_restart.len();
    assert_eq!((named("one"), named("two")), (0, 1));
}
