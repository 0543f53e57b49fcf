//! Every problem of one run, with its line, column and a suggestion.

use crate::{base, errors, sound, warnings};

/// Appends `more` to the base configuration and expects exactly these problems. `more` starts on line 12.
#[track_caller]
pub(crate) fn expect(more: &str, expected: &[&str]) {
    assert_eq!(errors(&format!("{}{more}", base())), expected, "in\n{more}");
}

/// Replaces a line of the base configuration.
#[track_caller]
fn expect_instead(line: &str, replacement: &str, expected: &[&str]) {
    assert!(base().contains(line));
    assert_eq!(errors(&base().replace(line, replacement)), expected, "with\n{replacement}");
}

const RULE: &str = "[rule.r]\nowner = \"growth\"\n";

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
    let more = "[source.other]\nadapter = \"dub\"\n  quoat = { per_second = 5 }\nowner = \"growth\"\nsecrets = [{ id = \"a\", env = \"DUB_SECRET\" }]\n";
    expect(more, &[r#"hookline.toml:14:3: unknown key "quoat" in [source.other]; did you mean "quota"?"#]);
    expect("[sorce.x]\n", &[r#"hookline.toml:12:2: unknown key "sorce" in the configuration; did you mean "source"?"#]);
    expect(
        "[ignore.test]\ntag = [\"qa\"]\n",
        &[r#"hookline.toml:13:1: unknown key "tag" in [ignore.test]; did you mean "tags"?"#],
    );
}

#[test]
fn all_problems_are_found_in_one_run_in_the_order_of_their_lines() {
    let text = "version = 2\ntimezone = \"Europe/Berlyn\"\n[source.x]\nadapter = \"dubb\"\nowner = \"nobody\"\nsecrets = [{ id = \"a\", env = \"MISSING\" }]\nremember_for = \"3 moons\"\n";
    assert_eq!(
        errors(text),
        [
            r#"hookline.toml:1:11: version in the configuration is 2; use 1 to 1"#,
            r#"hookline.toml:2:12: unknown time zone "Europe/Berlyn"; use an IANA name, such as "Europe/Berlin""#,
            r#"hookline.toml:4:11: unknown adapter "dubb"; did you mean "dub"?"#,
            r#"hookline.toml:5:9: unknown owner "nobody"; declare it under [owner]"#,
            r#"hookline.toml:6:30: the environment variable MISSING is not set; set it, or check with --without-secrets"#,
            r#"hookline.toml:7:16: remember_for in [source.x]: "3 moons" is not a duration: write a number and a unit, such as "30s", "5m", "72h" or "400d""#,
        ]
    );
}

#[test]
fn syntax_errors_have_a_place_too() {
    let found = errors(&base().replace("kind = \"csv\"", "kind = "));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("hookline.toml:9:"), "{found:?}");
}

#[test]
fn a_key_that_stands_twice_in_one_file_is_refused() {
    let found = errors(&base().replace("kind = \"csv\"", "kind = \"csv\"\nkind = \"webhook\""));
    assert!(found.len() == 1 && found[0].starts_with("hookline.toml:10:1: duplicate key"), "{found:?}");
}

#[test]
fn everything_has_an_owner_that_exists() {
    expect_instead(
        "adapter = \"dub\"\nowner = \"growth\"\n",
        "adapter = \"dub\"\n",
        &[r#"hookline.toml:4:1: [source.dub-main] has no "owner"; everything has an owner: name one of [owner]"#],
    );
    expect_instead(
        "adapter = \"dub\"\nowner = \"growth\"\n",
        "adapter = \"dub\"\nowner = \"grwoth\"\n",
        &[r#"hookline.toml:6:9: unknown owner "grwoth"; did you mean "growth"?"#],
    );
    expect(
        "[rule.r]\nwhen = { event = \"visit\" }\nalert = { each = true }\n",
        &[r#"hookline.toml:12:1: [rule.r] has no "owner"; everything has an owner: name one of [owner]"#],
    );
    expect(
        "[destination.d]\nkind = \"csv\"\npath = \"x\"\n",
        &[r#"hookline.toml:12:1: [destination.d] has no "owner"; everything has an owner: name one of [owner]"#],
    );
}

#[test]
fn references_to_destinations_rules_and_owners_are_checked() {
    let rule =
        |send: &str| format!("{RULE}when = {{ event = \"visit\" }}\nalert = {{ each = true }}\nsend = {{ {send} }}\n");
    expect(&rule("to = [\"lug\"]"), &[r#"hookline.toml:16:16: unknown destination "lug"; did you mean "log"?"#]);
    expect(
        &rule("to = []"),
        &[r#"hookline.toml:16:15: to in send of [rule.r] is empty; name at least one destination"#],
    );
    expect(
        "[silence.s]\nrules = [\"promo-spkie\"]\nfrom = 2026-12-01\nuntil = 2026-12-02\nwhy = \"x\"\n[rule.promo-spike]\nowner = \"growth\"\nwhen = { event = \"visit\" }\nalert = { each = true }\n",
        &[r#"hookline.toml:13:10: unknown rule "promo-spkie"; did you mean "promo-spike"?"#],
    );
    expect(
        "[workflow]\nreceiver_owner = \"growth\"\nfailures_owner = \"data\"\n",
        &[r#"hookline.toml:14:18: unknown owner "data"; one of: growth"#],
    );
}

#[test]
fn calm_is_for_messages_and_not_for_tickets() {
    let tickets = |line: &str| {
        format!("[destination.d]\nkind = \"pagerduty\"\nowner = \"growth\"\nkey = {{ env = \"DUB_SECRET\" }}\n{line}\n")
    };
    let hint = "leave it out, and bundle with first and then_every in the send of its rules";
    for (key, line, place) in
        [("max", "max = \"30 per hour\"", 7), ("open", "open = { days = \"mon-fri\", hours = \"08:00-19:00\" }", 8)]
    {
        let said = format!(
            "hookline.toml:16:{place}: {key} is for messages, and [destination.d] opens a ticket for each key; {hint}"
        );
        expect(&tickets(line), &[&said]);
    }
}

#[test]
fn an_end_finds_its_start_or_the_rule_is_refused() {
    expect(
        &format!(
            "{RULE}when = {{ event = \"visit\" }}\nalert = {{ count = 3, per = \"link\", within = \"10m\" }}\nsend = {{ to = [\"log\"], one_open_per = \"campaign\" }}\n"
        ),
        &[
            r#"hookline.toml:16:8: [rule.r] counts per link and sends one_open_per = "campaign"; write one_open_per = "link": an end has to find its start"#,
        ],
    );
}

#[test]
fn what_a_destination_needs_is_said_with_its_line() {
    let slack = |rest: &str| format!("[destination.d]\nkind = \"slack\"\nowner = \"growth\"\n{rest}\n");
    let channel = "hookline.toml:16:11: [destination.d]: the channel is not given by its id; write the channel's id, such as \"C0123ABCD\" (in Slack: the channel's details, at the end)";
    expect(&slack("token = { env = \"DUB_SECRET\" }\nchannel = \"#sales\""), &[channel]);
    let repo = "[destination.d]\nkind = \"github-issues\"\nowner = \"growth\"\nrepo = { name = \"web\", token = { env = \"DUB_SECRET\" } }\n";
    expect(
        repo,
        &[
            "hookline.toml:15:8: [destination.d]: \"web\" is not a repository; write OWNER/NAME, such as \"example/web\"",
        ],
    );
}

#[test]
fn no_destination_takes_the_name_of_the_sink_of_test_data() {
    expect(
        "[destination.capture]\nkind = \"csv\"\nowner = \"growth\"\npath = \"x\"\n",
        &[
            r#"hookline.toml:12:14: "capture" is where messages about test data are recorded: nothing would be sent; choose another name"#,
        ],
    );
}

#[test]
fn a_rule_without_an_alert_is_warned_about() {
    assert_eq!(
        warnings(&format!("{}{RULE}when = {{ event = \"visit\" }}\n", base())),
        [
            r#"hookline.toml:12:1: [rule.r] has no alert: it says nothing; add alert = { each = true } or alert = { count = N, per = "link", within = "5m" }"#
        ]
    );
}

#[test]
fn conditions_of_rules_are_checked() {
    let rule = |when: &str| format!("{RULE}alert = {{ each = true }}\nwhen = {{ {when} }}\n");
    expect(&rule("event = \"vist\""), &[r#"hookline.toml:15:18: unknown event "vist"; did you mean "visit"?"#]);
    expect(
        &rule("linkkind = \"promo\""),
        &[r#"hookline.toml:15:10: unknown field "linkkind" in when of [rule.r]; did you mean "link_kind"?"#],
    );
    expect(
        &rule("country = \"Germany\""),
        &[r#"hookline.toml:15:20: "Germany" is no country; use two letters (ISO 3166-1), such as "DE""#],
    );
    expect(
        &rule("campaign = 7"),
        &[
            r#"hookline.toml:15:21: campaign in when of [rule.r] is a whole number; write a text, a list of texts, or a text with *"#,
        ],
    );
    expect(
        &rule("campaign = []"),
        &[r#"hookline.toml:15:21: campaign is an empty list: nothing would match; leave it out to match everything"#],
    );
}

#[test]
fn alerts_are_checked() {
    let rule = |alert: &str| format!("{RULE}when = {{ event = \"visit\" }}\nalert = {{ {alert} }}\n");
    expect(
        &rule("count = 3"),
        &[
            r#"hookline.toml:15:9: alert of [rule.r] has no "per"; say what is counted: per = "link" (or campaign, qr, domain, partner, source, owner, all)"#,
            r#"hookline.toml:15:9: alert of [rule.r] has no "within"; say in how long: within = "10m""#,
        ],
    );
    expect(
        &rule("count = 0, per = \"lnk\", within = \"10d\""),
        &[
            "hookline.toml:15:19: count in alert of [rule.r] is 0; use 1 to 1000000000000",
            r#"hookline.toml:15:28: per in alert of [rule.r] cannot be "lnk"; did you mean "link"?"#,
        ],
    );
    expect(
        &rule("count = 1, per = \"link\", within = \"10d\""),
        &[r#"hookline.toml:15:45: within in alert of [rule.r] cannot be "10d"; use whole seconds, from 1s to 7d"#],
    );
    expect(
        &rule(""),
        &[
            r#"hookline.toml:15:9: alert of [rule.r] does not say when; write { each = true } or { count = N, per = "link", within = "5m" }"#,
        ],
    );
    expect(
        &format!("{RULE}when = {{ event = \"visit\" }}\nsend = {{ to = [\"log\"] }}\n"),
        &[
            r#"hookline.toml:15:8: [rule.r] sends but never alerts; add alert = { each = true } or alert = { count = N, per = "link", within = "5m" }"#,
        ],
    );
}

#[test]
fn schemes_and_secrets_are_checked() {
    let source = |lines: &str| format!("[source.s]\nadapter = \"canonical\"\nowner = \"growth\"\n{lines}\n");
    let secret = "secrets = [{ id = \"a\", env = \"HOOK_SECRET\" }]";
    expect(
        &source(&format!("scheme = \"svyx\"\n{secret}")),
        &[r#"hookline.toml:15:10: unknown scheme "svyx"; did you mean "svix"?"#],
    );
    expect(
        &source(&format!("scheme = \"query\"\n{secret}")),
        &[r#"hookline.toml:15:10: scheme "query" needs the parameter's name; write { query = "key" }"#],
    );
    expect(
        &source("secrets = [{ id = \"a\", env = \"DUB_SECRET\" }]"),
        &[
            r#"hookline.toml:15:12: a secret of [source.s] does not fit scheme "standard-webhooks": secret "a" is not base64 (after its `whsec_` prefix, if any): copy all of it from the sender's page; if the sender uses the text itself as the key, give the base64 of the text"#,
        ],
    );
    expect(
        &source("secrets = [\"whsec_abc\"]"),
        &["hookline.toml:15:12: a secret in [source.s] is a text, not a table"],
    );
    expect(
        &source("secrets = [{ id = \"a\", value = \"x\" }]"),
        &[
            r#"hookline.toml:15:12: a secret of [source.s] does not say where its secret is; write { env = "VARIABLE" } or { file = "PATH" }: secrets do not belong in this file"#,
            r#"hookline.toml:15:24: unknown key "value" in a secret of [source.s]; one of: id, from, until, env, file"#,
        ],
    );
    expect(
        &source("secrets = []"),
        &[
            r#"hookline.toml:15:11: [source.s] has no secret that is live; write secrets = [{ id = "2026-09", env = "VARIABLE" }]"#,
        ],
    );
    expect(
        &source("secrets = [{ id = \"a\", env = \"HOOK_SECRET\" }, { id = \"a\", env = \"HOOK_SECRET\" }]"),
        &[r#"hookline.toml:15:54: secret "a" stands twice in [source.s]; give each its own id"#],
    );
    expect(
        &source("secrets = [{ id = \"a\", env = \"HOOK_SECRET\", until = 2026-01-01 }]"),
        &[
            r#"hookline.toml:15:11: [source.s] has no secret that is live; write secrets = [{ id = "2026-09", env = "VARIABLE" }]"#,
        ],
    );
    expect(
        &source("scheme = \"twilio\"\nsecrets = [{ id = \"a\", env = \"DUB_SECRET\" }]"),
        &[
            r#"hookline.toml:12:1: scheme "twilio" signs the URL, which [source.s] does not give; add public_url = "https://…/v1/webhooks/…", the address that the sender was given"#,
        ],
    );
    let twilio = |url: &str| {
        source(&format!(
            "scheme = \"twilio\"\npublic_url = \"{url}\"\nsecrets = [{{ id = \"a\", env = \"DUB_SECRET\" }}]"
        ))
    };
    expect(&twilio("https://hooks.example.com/v1/webhooks/s"), &[]);
    for wrong in ["hooks.example.com/v1/webhooks/s", "https://hooks.example.com/v1/webhooks/s?a=b"] {
        let message = format!(
            r#"hookline.toml:16:14: public_url "{wrong}" of [source.s] is not an address; write "https://host/v1/webhooks/name", without a query"#
        );
        expect(&twilio(wrong), &[&message]);
    }
}

#[test]
fn names_that_stand_in_addresses_are_plain() {
    expect(
        "[source.\"a/b\"]\nadapter = \"dub\"\nowner = \"growth\"\nsecrets = [{ id = \"a\", env = \"DUB_SECRET\" }]\n",
        &[
            r#"hookline.toml:12:9: "a/b" cannot name a source: the name is part of its address; use letters, digits, - and _ (at most 64)"#,
        ],
    );
}

#[test]
fn networks_and_addresses_are_checked() {
    let found = errors(&format!("{}[ignore.internal]\nnetworks = [\"203.0.113.7/24\"]\n", base()));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("hookline.toml:13:13: ") && found[0].contains("203.0.113.0/24"), "{found:?}");
    expect(
        "[ingest]\nlisten = \"8080\"\n",
        &[r#"hookline.toml:13:10: listen "8080" is not an address; write "127.0.0.1:8080""#],
    );
    expect(
        "[kafka]\nbrokers = \"kafka-1\"\n",
        &[r#"hookline.toml:13:11: brokers "kafka-1" are not addresses; write "host:port,host:port""#],
    );
    expect(
        "[clickhouse]\nurl = \"click:9000\"\n",
        &[r#"hookline.toml:13:7: url "click:9000" is not an http address; write "https://host:8443""#],
    );
    expect(
        "[registry]\nurl = \"http://ana:secret@registry\"\nregistre = true\n",
        &[
            "hookline.toml:13:7: url of [registry] holds a user; write user and password as keys of their own",
            r#"hookline.toml:14:1: unknown key "registre" in [registry]; did you mean "register"?"#,
        ],
    );
    let lonely = "[registry]\npassword = { env = \"PATH\" }\n";
    expect(
        lonely,
        &[
            r#"hookline.toml:12:1: [registry] has no "url"; write "http://host:8081", or leave [registry] out: Hookline needs no registry"#,
            r#"hookline.toml:13:12: password of [registry] has no user; add user"#,
        ],
    );
}

#[test]
fn a_window_shorter_than_the_senders_retries_is_warned_about() {
    let more = "[source.own]\nadapter = \"canonical\"\nowner = \"growth\"\nsecrets = [{ id = \"a\", env = \"HOOK_SECRET\" }]\nremember_for = \"72h\"\n";
    assert_eq!(
        warnings(&format!("{}{more}", base())),
        [
            r#"hookline.toml:16:16: standard-webhooks retries for 75h36m, but [source.own] remembers for 72h; a late retry would count twice: use at least "75h36m""#
        ]
    );
    assert_eq!(warnings(&format!("{}{}", base(), more.replace("remember_for = \"72h\"\n", ""))), [""; 0]);
}

#[test]
fn an_expired_secret_beside_a_live_one_is_warned_about() {
    let text = base().replace(
        "secrets = [{ id = \"a\", env = \"DUB_SECRET\" }]",
        "secrets = [{ id = \"a\", env = \"DUB_SECRET\" }, { id = \"old\", env = \"DUB_SECRET\", until = 2026-10-01 }]",
    );
    assert_eq!(
        warnings(&text),
        [r#"hookline.toml:7:88: secret "old" of [source.dub-main] has expired and is refused; remove it"#]
    );
}

#[test]
fn the_memory_of_a_large_window_is_warned_about() {
    let quota = |per_second: u32| {
        base().replace(
            "[destination.log]",
            &format!("quota = {{ per_second = {per_second}, when_over = \"accept-and-warn\" }}\n[destination.log]"),
        )
    };
    assert_eq!(warnings(&quota(500)), [""; 0]);
    assert_eq!(
        warnings(&quota(20_000)),
        [
            "hookline.toml:8:9: at its full quota all the time, 20000 events a second for 72h take about 15 GiB of memory over all lanes; size the machines for it, or lower the quota or the window"
        ]
    );
}

#[test]
fn a_quota_that_refuses_a_platform_that_gives_up_is_warned_about() {
    let quota = |when_over: &str| {
        base().replace("[destination.log]", &format!("quota = {{ per_second = 9, {when_over} }}\n[destination.log]"))
    };
    let warning = r#"hookline.toml:8:9: [source.dub-main] refuses what is over its quota, and Dub disables a webhook after 20 refusals in a row; use when_over = "accept-and-warn""#;
    assert_eq!(warnings(&quota("when_over = \"refuse\"")), [warning]);
    assert_eq!(warnings(&quota("when_over = \"accept-and-warn\"")), [""; 0]);
}

#[test]
fn the_bounds_of_ingest_are_read_and_fit_together() {
    let config = sound(&format!(
        "{}[ingest]\nmax_body = \"1MiB\"\nmemory = \"64MiB\"\nmax_connections = 100\nin_flight = 7\nheader_timeout = \"3s\"\nbody_timeout = \"4s\"\nidle_timeout = \"1m\"\ntls = {{ cert = \"chain.pem\", key = \"/run/key.pem\" }}\n",
        base()
    ));
    let ingest = &config.ingest;
    let seconds = |seconds| std::time::Duration::from_secs(seconds);
    assert_eq!((ingest.memory, ingest.max_connections, ingest.in_flight), (64 << 20, 100, 7));
    assert_eq!(
        (ingest.header_timeout, ingest.body_timeout, ingest.idle_timeout),
        (seconds(3), seconds(4), seconds(60))
    );
    let tls = ingest.tls.as_ref().unwrap();
    assert!(tls.cert.ends_with("chain.pem") && tls.cert != std::path::Path::new("chain.pem"), "beside the file");
    assert_eq!(tls.key, std::path::Path::new("/run/key.pem"));
    assert_eq!((config.sources[0].max_body, config.sources[0].in_flight), (1 << 20, 7));
    expect(
        "[ingest]\nmax_body = \"2MiB\"\nmemory = \"16MiB\"\ntls = { cert = \"chain.pem\" }\n",
        &[
            r#"hookline.toml:4:1: bodies of 2097152 bytes do not fit into the memory of ingest, 16777216 bytes; lower max_body, or set memory = "32MiB" in [ingest]"#,
            r#"hookline.toml:15:7: tls of [ingest] has no "key"; write { cert = "chain.pem", key = "key.pem" }"#,
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_and_not_an_empty_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let problems = crate::load_file(folder.path(), &crate::environment(&[])).unwrap_err();
    let first = problems.errors[0].to_string();
    assert!(first.starts_with("hookline.toml: cannot be read: "), "{first}");
}

#[test]
fn a_secret_that_ends_soon_is_said_and_more_urgently_when_nothing_takes_over() {
    let with = |secrets: &str| {
        warnings(&base().replace("secrets = [{ id = \"a\", env = \"DUB_SECRET\" }]", &format!("secrets = [{secrets}]")))
    };
    let (old, new) =
        ("{ id = \"old\", env = \"DUB_SECRET\", until = 2026-12-01 }", "{ id = \"new\", env = \"DUB_SECRET\" }");
    assert_eq!(
        with(&format!("{old}, {new}")),
        [
            "hookline.toml:7:54: secret \"old\" of [source.dub-main] ends in 7 days, at 2026-12-01T00:00:00Z; see that hookline_secret_uses_total no longer counts it; then it can go"
        ]
    );
    let alone = with(old);
    assert!(alone[0].contains("no other secret is live then: everything will be refused"), "{alone:?}");
    let late = new.replace(" }", ", from = 2026-12-02 }");
    assert!(with(&format!("{old}, {late}"))[0].contains("no other secret is live"));
    assert_eq!(with(&format!("{}, {new}", old.replace("2026-12-01", "2026-12-08"))), [] as [String; 0]);
}

#[test]
fn channels_are_named_and_their_spellings_are_one() {
    let more = "[channels]\nmedium = { \"e mail\" = \"email\", E-Mail = \"crm\", x = \"Paid Social\", y = 3 }\n";
    let found = errors(&format!("{}{more}", base()));
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].contains("E-Mail stands twice in channels.medium"), "{found:#?}");
    assert!(found[1].contains("\"Paid Social\" is not the name of a channel"), "{found:#?}");
    assert!(found[2].contains("y is"), "{found:#?}");
    let text = format!("{}[channels]\nsource = {{ Acme-News = \"email\" }}\n", base());
    assert_eq!(sound(&text).enrich_settings().channels.source["acmenews"], "email");
}

#[test]
fn a_template_is_filled_before_anything_is_sent() {
    let rule = "when = { event = \"visit\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n";
    let with = |template: &str| errors(&format!("{}{RULE}{rule}template = {template}\n", base()));
    assert_eq!(with(r#"{ title = "{{ rule }} on {{ link }}", text = "{{ event.campaign }}" }"#), [""; 0]);
    let one = |template: &str| -> String {
        let mut found = with(template);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    };
    let unknown = one(r#"{ text = "{{ event.campain }}" }"#);
    assert!(unknown.contains("it names event.campain") && unknown.ends_with("did you mean \"campaign\"?"), "{unknown}");
    assert!(one(r#"{ title = "{{ coumt }}" }"#).ends_with("did you mean \"count\"?"));
    assert!(one(r#"{ title = "{{ rule" }"#).starts_with("hookline.toml:17:"));
    assert!(one(r#"{ subject = "x", title = "y" }"#).contains("unknown key \"subject\""));
    assert!(one("{}").contains("says nothing"));
}
