//! The whole language, and the example that users start from.

use std::path::Path;
use std::time::Duration;

use event::{EventType, LinkEvent};
use hookline_config::{Config, Environment, ReviewEvery};
use rules::{Per, Trigger};

use crate::{base, environment, load, load_with, sound};

const WHOLE_LANGUAGE: &str = include_str!("../whole-language.toml");

/// All of the reference configuration is read, typed and checked.
#[test]
fn the_whole_language_is_read() {
    let config = load_with(WHOLE_LANGUAGE, &environment(&[]).without_secrets()).unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(|problem| problem.line).collect();
    assert_eq!(warnings, [4, 22]);
    let report = config.rule("instore-qr").and_then(|rule| rule.report.clone()).unwrap();
    assert_eq!(
        (report.view.as_str(), report.to.as_slice()),
        ("qr_placement_daily", &["marketing-chat".to_owned()][..])
    );
    assert_eq!(report.select, [("programme".to_owned(), vec!["instore".to_owned()])]);
    assert_eq!((report.when.on, report.when.at), (None, jiff::civil::time(8, 0, 0, 0)));
    let workflow = config.workflow.unwrap();
    assert_eq!(
        (workflow.failures_digest.map(|weekly| weekly.day), workflow.failures_to),
        (Some(jiff::civil::Weekday::Monday), vec!["log".to_owned()])
    );
}

#[test]
fn what_is_sent_by_the_calendar_says_when_and_where() {
    let errors = |text: &str| crate::errors(&format!("{}{text}", base())).join("; ");
    let rule = |report: &str| {
        errors(&format!("[rule.r]\nowner = \"growth\"\nwhen = {{ event = \"visit\" }}\nreport = {{ {report} }}\n"))
    };
    assert_eq!(rule("view = \"link_hourly\", every = \"week\", on = \"friday\", at = \"07:30\", to = [\"log\"]"), "");
    for (report, message) in [
        ("every = \"day\", to = [\"log\"]", "view"),
        ("view = \"link_hourly\", to = [\"lgo\"]", "unknown destination \"lgo\""),
        ("view = \"link_hourly\", to = []", "is empty"),
        ("view = \"link_hourly\", every = \"day\", on = \"monday\", to = [\"log\"]", "has no day of the week"),
        ("view = \"link_hourly\", every = \"week\", on = \"someday\", to = [\"log\"]", "is not a day"),
        ("view = \"link_hourly\", at = \"25:00\", to = [\"log\"]", "25:00"),
    ] {
        assert!(rule(report).contains(message), "{report}: {}", rule(report));
    }
    let workflow =
        |more: &str| errors(&format!("[workflow]\nreceiver_owner = \"growth\"\nfailures_owner = \"growth\"\n{more}\n"));
    assert_eq!(workflow("failures_digest = \"monday 09:00\"\nfailures_to = [\"log\"]"), "");
    assert!(workflow("failures_digest = \"monday 09:00\"").contains("has no destination"));
    assert!(workflow("failures_to = [\"log\"]").contains("without a failures_digest"));
    assert!(
        workflow("failures_digest = \"monday 09:00\"\nfailures_to = [\"nowhere\"]").contains("unknown destination")
    );
}

#[test]
fn rules_that_learn_mean_what_they_say() {
    let load = |alert: &str| {
        let rule = format!("[rule.r]\nowner = \"growth\"\nwhen = {{ event = \"visit\" }}\nalert = {{ {alert} }}\n");
        let config = format!("{}{rule}", base());
        load_with(&config, &environment(&[]).without_secrets()).map(|config| config.rules[0].rule.trigger().cloned())
    };
    let spike = rules::Spike {
        times_hundredths: 300,
        within_minutes: 5,
        at_least: 50,
        quiet_for_minutes: 60,
        sensitivity: rules::Sensitivity::Calm,
    };
    let words = "spike = \"3x\", per = \"link\", within = \"5m\", at_least = 50, quiet_for = \"1h\", not_during = \"launches\", sensitivity = \"calm\"";
    let trigger = Trigger::Spike { spike, per: Per::Link, not_during_launches: true };
    assert_eq!(load(words).unwrap(), Some(trigger));
    let silence = |after, least_minutes, per| {
        let silence = rules::SilenceRule { quiet_after_minutes: after, least_minutes };
        Some(Trigger::Silence { silence, per })
    };
    assert_eq!(load("silence = \"learned\", per = \"source\"").unwrap(), silence(None, 10, Per::Source));
    assert_eq!(load("silence = \"30m\", per = \"link\"").unwrap(), silence(Some(30), 60, Per::Link));
    for (alert, message) in [
        ("spike = \"3\", per = \"link\"", "is not a factor"),
        ("spike = \"3x\"", "per"),
        ("spike = \"3x\", per = \"link\", within = \"90s\"", "is not whole minutes"),
        ("spike = \"3x\", per = \"link\", at_least = 2", "at_least"),
        ("silence = \"soon\", per = \"source\"", "soon"),
        ("silence = \"10s\", per = \"source\"", "a minute to 30 days"),
        ("silence = \"learned\"", "per"),
    ] {
        let problems = load(alert).unwrap_err().to_string();
        assert!(problems.contains(message), "{alert}: {problems}");
    }
}

#[test]
fn rules_that_watch_mean_what_they_say() {
    let load = |when: &str, alert: &str| {
        let rule = format!("[rule.r]\nowner = \"growth\"\nwhen = {{ {when} }}\nalert = {{ {alert} }}\n");
        load_with(&format!("{}{rule}", base()), &environment(&[]).without_secrets())
    };
    let trigger = |alert: &str| load("", alert).map(|config| config.rules[0].rule.trigger().cloned());
    let broken = |at_least, percent, within_minutes, over_after_minutes, quiet_for_minutes, per| {
        let broken = rules::BrokenRule { at_least, percent, within_minutes, over_after_minutes, quiet_for_minutes };
        Some(Trigger::Broken { broken, per })
    };
    assert_eq!(trigger("broken = true, per = \"link\"").unwrap(), broken(3, 10, 10, 60, 60, Per::Link));
    let words =
        "broken = \"25%\", per = \"owner\", at_least = 5, within = \"5m\", over_after = \"2h\", quiet_for = \"1d\"";
    assert_eq!(trigger(words).unwrap(), broken(5, 25, 5, 120, 1_440, Per::Owner));
    let drift = |at_least, quiet_for_minutes, per| {
        Some(Trigger::Drift { drift: rules::DriftRule { at_least, quiet_for_minutes }, per })
    };
    assert_eq!(trigger("drift = true").unwrap(), drift(3, 60, Per::Link));
    assert_eq!(trigger("drift = true, per = \"qr\", at_least = 1").unwrap(), drift(1, 60, Per::Qr));
    let gap = |share_basis_points, within_hours, at_least, per| {
        Some(Trigger::Gap { gap: rules::GapRule { share_basis_points, within_hours, at_least }, per })
    };
    assert_eq!(trigger("gap = \"5%\", per = \"source\"").unwrap(), gap(500, 24, 50, Per::Source));
    assert_eq!(
        trigger("gap = \"0.5%\", per = \"link\", within = \"6h\", at_least = 9").unwrap(),
        gap(50, 6, 9, Per::Link)
    );
    let first = rules::FirstSeenRule {
        of: rules::Subject::CampaignPrefix,
        learn_minutes: 0,
        known: vec![rules::Glob::new("2026*")],
    };
    let words = "first_seen = \"campaign_prefix\", learn_for = \"0s\", known = [\"2026*\"]";
    assert_eq!(trigger(words).unwrap(), Some(Trigger::FirstSeen(first)));
    for (when, alert, message) in [
        ("", "broken = 3, per = \"link\"", "broken in alert of [rule.r] is a whole number; write broken = true"),
        ("", "broken = false, per = \"link\"", "broken = false says nothing"),
        ("", "broken = \"0%\", per = \"link\"", "is not a share: write it as \"5%\""),
        ("", "broken = true", "say of what: per"),
        (
            "",
            "broken = true, per = \"link\", over_after = \"5m\"",
            "over_after in alert of [rule.r] is shorter than within",
        ),
        ("", "drift = true, per = \"campaign\"", "per in alert of [rule.r] cannot be \"campaign\""),
        ("", "gap = \"5\", per = \"link\"", "is not a share"),
        ("", "gap = \"5%\", per = \"link\", within = \"150m\"", "is not whole hours"),
        ("", "first_seen = \"domian\"", "did you mean \"domain\"?"),
        ("", "first_seen = \"domain\", per = \"link\"", "unknown key \"per\""),
        (
            "event = \"sale\"",
            "broken = true, per = \"link\"",
            "looks at errors or visits, and when lets none of them in",
        ),
        (
            "event = \"error\"",
            "drift = true",
            "looks at visits, and when lets none of them in; leave event out of when",
        ),
    ] {
        let problems = load(when, alert).unwrap_err().to_string();
        assert!(problems.contains(message), "{alert}: {problems}");
    }
    let warned = |when: &str, alert: &str| {
        let warnings = load(when, alert).unwrap().warnings;
        warnings.iter().map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warned("event = \"visit\"", "drift = true"), ["[rule.r] never hears that a link was edited"]);
    assert_eq!(warned("event = \"error\"", "broken = true, per = \"link\""), ["[rule.r] hears of errors only"]);
    assert_eq!(warned("", "drift = true"), [""; 0]);
}

fn example() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../deploy/hookline.example.toml");
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let variables = [
        ("DUB_SECRET", "a"),
        ("DUB_SECRET_OLD", "b"),
        ("QR_SECRET", key),
        ("BITLY_KEY", "f"),
        ("REBRANDLY_SECRET", "g"),
        ("SHORTIO_KEY", "h"),
        ("TWILIO_TOKEN", "i"),
        ("PARTNER_SECRET", "j"),
        ("HOOK_SECRET", key),
        ("SALES_SLACK_URL", "https://hooks.slack.com/services/T0/B0/x"),
        ("SLACK_TOKEN", "xoxb-1"),
        ("TEAMS_URL", "https://prod-1.westeurope.logic.azure.com/workflows/x"),
        ("PAGERDUTY_KEY", "k"),
        ("HUBSPOT_TOKEN", "l"),
        ("GITHUB_TOKEN", "m"),
        ("SMTP_PASSWORD", "n"),
        ("JIRA_TOKEN", "o"),
        ("KAFKA_PASSWORD", "c"),
        ("CLICKHOUSE_PASSWORD", "d"),
        ("HOOKLINE_CONSOLE_TOKEN", "e"),
    ];
    Config::load(&path, &Environment::new(variables, crate::now())).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_example_checks_clean() {
    assert_eq!(example().warnings, []);
}

#[test]
fn the_example_means_what_it_says() {
    let config = example();
    assert_eq!(config.timezone.iana_name(), Some("Europe/Berlin"));
    let workflow = config.workflow.as_ref().unwrap();
    assert_eq!((workflow.receiver_owner.as_str(), workflow.review_every), ("data", ReviewEvery::Quarter));
    let dub = config.source("dub-main").unwrap();
    assert_eq!(dub.adapter, adapter::Adapter::Dub);
    assert_eq!(dub.scheme, signature::Scheme::Dub);
    assert_eq!(dub.secrets.iter().map(signature::Secret::id).collect::<Vec<_>>(), ["2026-09", "2026-03"]);
    assert_eq!(dub.remember_for, Duration::from_secs(72 * 3_600));
    let qr = config.source("stores-qr").unwrap();
    assert_eq!(qr.remember_for, Duration::from_secs(76 * 3_600), "beyond what Standard Webhooks senders retry");
    let scheme = |name| &config.source(name).unwrap().scheme;
    assert_eq!(scheme("short-links"), &signature::Scheme::Query { key: "key".into() });
    assert_eq!(scheme("texts"), &signature::Scheme::Twilio);
    assert_eq!(scheme("branded-links"), &signature::Scheme::Header { name: "X-Rebrandly-Secret".into() });
    assert_eq!(config.privacy.keep_query_params, ["sku", "lang"]);
    assert!(config.privacy.visitors && dub.visitors, "what [privacy] says holds for every source that says nothing");
    let keep = config.privacy.keep;
    assert_eq!((keep.events_days(), keep.rollups_years(), keep.deliveries_days()), (400, 5, 400));
    let enrich = config.enrich_settings();
    assert!(enrich.internal_networks[0].contains("203.0.113.77".parse().unwrap()));
    assert_eq!(enrich.test_slug_prefixes, ["qa-", "test-"]);
    assert_eq!(enrich.source_owners["stores-qr"], "growth");
    let hook = config.destination("own-hook").unwrap();
    assert_eq!((hook.kind.name, hook.allow_private, hook.values.is_some()), ("webhook", false, true));
    let kinds: Vec<&str> = config.destinations.iter().map(|one| one.kind.name).collect();
    assert!(
        notification::destination::KINDS.iter().all(|kind| kinds.contains(&kind.name)),
        "the example shows each kind: {kinds:?}"
    );
    assert_eq!(hook.fields.as_ref().unwrap(), &["event_time", "link", "campaign", "country"]);
    assert_eq!((config.kafka.lanes, config.kafka.replication), (12, 3));
    assert_eq!(config.clickhouse.cluster.as_deref(), Some("main"));
    let broken = config.rule("broken-destination").unwrap();
    assert_eq!(broken.rule.trigger(), Some(&Trigger::count(3, Per::Link, 600_000, 0).unwrap()));
    assert!(broken.send.as_ref().unwrap().say_when_over);
    let opened = config.rule("proposal-opened").unwrap().send.as_ref().unwrap();
    assert_eq!((opened.first, opened.then_every), (Duration::ZERO, Duration::from_secs(300)));
    assert!(opened.mention_link_owner);
    assert_eq!(config.silences[0].rules, ["promo-burst"]);
    let max = config.destination("sales-chat").unwrap().max.unwrap();
    assert_eq!((max.count, max.per), (30, Duration::from_secs(3_600)));
    let open = config.destination("marketing-chat").unwrap().open.as_ref().unwrap();
    assert_eq!((open.hours.days.len(), open.hours.zone.iana_name()), (5, Some("Europe/Berlin")));
    assert_eq!((config.mutes.len(), opened.mute.as_deref()), (1, Some("nights")));
    let inhibits: Vec<&str> = config.inhibits.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(inhibits, ["dead-link", "silent-source"]);
}

#[test]
fn the_examples_rules_find_the_events_they_are_about() {
    let routes = example().routes();
    let names =
        |event: &LinkEvent<'_>| -> Vec<String> { routes.matches(event).map(|rule| rule.name().to_owned()).collect() };
    let click = |link_kind: &'static str| LinkEvent {
        r#type: EventType::Click,
        link_kind: link_kind.into(),
        ..LinkEvent::default()
    };
    let watched = ["dead-links", "link-drift", "delivery-gap", "new-domain"];
    let with = |rules: &[&'static str]| [rules, &watched[..]].concat();
    assert_eq!(names(&click("proposal")), with(&["proposal-opened", "source-quiet"]));
    assert_eq!(names(&click("promo")), with(&["promo-burst", "promo-spike", "source-quiet"]));
    assert_eq!(names(&click("bio")), with(&["source-quiet"]));
    let error = LinkEvent { r#type: EventType::Error, ..LinkEvent::default() };
    assert_eq!(names(&error), ["broken-destination", "dead-links", "link-drift", "new-domain"]);
}

#[test]
fn the_smallest_configuration_gets_the_documented_defaults() {
    let config = sound(&base());
    assert_eq!(config.warnings, []);
    assert_eq!(config.timezone.iana_name(), Some("UTC"));
    assert_eq!((config.kafka.brokers, config.kafka.lanes, config.kafka.replication), (None, 4, 1));
    assert_eq!((config.clickhouse.url, config.clickhouse.user.as_str()), (None, "default"));
    assert_eq!((config.ingest.listen.as_str(), config.ingest.max_body), ("127.0.0.1:8080", 256 * 1024));
    assert_eq!(config.metrics.listen, "127.0.0.1:9464");
    assert_eq!(config.console.listen, "127.0.0.1:8088");
    assert!(config.console.token.is_none());
    assert_eq!(config.sources[0].remember_for, Duration::from_secs(72 * 3_600));
    assert_eq!(config.privacy.keep.raw, Duration::from_secs(7 * 86_400));
}

#[test]
fn a_configuration_without_a_source_receives_nothing_and_is_refused() {
    let problems = load("version = 1\n").unwrap_err();
    assert_eq!(
        problems.to_string(),
        "hookline.toml: there is no [source]: nothing could be received; add one\n1 problem in the configuration"
    );
}

#[test]
fn a_shadow_rule_sends_nothing() {
    let rule = "[rule.r]\nowner = \"growth\"\nwhen = { event = \"visit\" }\nalert = { each = true }\nsend = { to = [\"log\"] }\n";
    assert!(sound(&format!("{}{rule}", base())).rule("r").unwrap().send.is_some());
    let config = sound(&format!("{}{rule}shadow = true\n", base()));
    let rule = config.rule("r").unwrap();
    assert!(rule.rule.is_shadow() && rule.send.is_none());
}

#[test]
fn times_without_a_zone_are_in_the_zone_of_their_source_whatever_zone_reports_are_in() {
    let of = |text: &str| sound(text).source("dub-main").unwrap().dialect.time_zone.clone();
    let berlin = base().replace("version = 1", "version = 1\ntimezone = \"Europe/Berlin\"");
    assert_eq!(of(&berlin).iana_name(), Some("UTC"));
    let oslo = berlin.replace("adapter = \"dub\"", "adapter = \"dub\"\nzone = \"Europe/Oslo\"");
    assert_eq!(of(&oslo).iana_name(), Some("Europe/Oslo"));
    // Alerts say times by the zone of the file.
    let of_alerts = |text: &str| sound(text).expectations().zone.unwrap().iana_name().map(str::to_owned);
    assert_eq!((of_alerts(&berlin).as_deref(), of_alerts(&base()).as_deref()), (Some("Europe/Berlin"), Some("UTC")));
}

#[test]
fn the_example_has_no_source_that_is_silent_by_a_fixed_time_while_its_rule_learns() {
    let config = example();
    let mut triggers = config.rules.iter().filter_map(|rule| rule.rule.trigger());
    assert!(
        triggers.any(|one| matches!(one, Trigger::Silence { silence, .. } if silence.quiet_after_minutes.is_none()))
    );
    assert_eq!(config.expectations().quiet_after_minutes, std::collections::BTreeMap::new());
}

#[test]
fn a_source_may_say_otherwise_than_privacy_whether_its_visitors_are_told_apart() {
    let told_apart = |source: &str, privacy: &str| {
        let config = sound(&base().replace("[destination.log]", &format!("{source}{privacy}[destination.log]")));
        (config.sources[0].visitors, config.privacy.visitors)
    };
    let off = "[privacy]\nvisitors = \"off\"\n";
    assert_eq!(told_apart("", ""), (true, true));
    assert_eq!(told_apart("", off), (false, false));
    assert_eq!(told_apart("visitors = \"daily\"\n", off), (true, false));
    assert_eq!(told_apart("visitors = \"off\"\n", ""), (false, true));
}
