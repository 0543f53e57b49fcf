//! Rules over stored history on the real ClickHouse: a backtest says what the detector said when it ran, and what
//! another rule would say.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config, Environment};
use event::{Alert, Counted, EventType, LinkEvent, Millis, Outcome, Signal, SignalBatch, Transition};
use operate::Installation;
use operate::backtest::{BacktestReport, Options, RuleReport, backtest};
use operate::installation::Overrides;
use rules::{Detector, Rule, RuleIndex, SignalSum, is_late};

use crate::warehouse_databases::{Databases, WithoutLane, block_of};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 2026-09-07, a Monday.
const BEGIN: i64 = 1_788_739_200_000;
const DAYS: i64 = 20;
const LANES: u16 = 2;

const RULES: &str = r#"
[rule.spike]
owner = "me"
when = { event = "visit" }
alert = { spike = "3x", per = "link", within = "5m", at_least = 50, quiet_for = "1h" }
send = { to = ["log"], first = "now", then_every = "5m", say_when_over = true }
[rule.quiet]
owner = "me"
when = { event = "visit" }
alert = { silence = "learned", per = "source" }
send = { to = ["log"], first = "now", say_when_over = true }
[rule.burst]
owner = "me"
when = { event = "visit", link_kind = "promo" }
alert = { count = 100, per = "link", within = "5m", quiet_for = "1h" }
send = { to = ["log", "other"], first = "30s", then_every = "5m" }
[rule.scan]
owner = "me"
when = { event = "qr_scan", programme = "in*store" }
alert = { each = true }
send = { to = ["log"], first = "now", then_every = "1h" }
"#;

fn installation(folder: &Path, databases: &Databases, rules: &str) -> Installation {
    let file = folder.join("hookline.toml");
    let text = format!(
        "version = 1\n[owner]\nme = {{ name = \"Ann\" }}\n[source.acme]\nadapter = \"dub\"\nowner = \"me\"\n\
         secrets = [{{ id = \"a\", env = \"S\" }}]\n[destination.log]\nkind = \"csv\"\nowner = \"me\"\npath = \"a.csv\"\n\
         [destination.other]\nkind = \"csv\"\nowner = \"me\"\npath = \"b.csv\"\n{rules}"
    );
    std::fs::write(&file, text).unwrap();
    let environment = Environment::new([("S", "x")], jiff::Timestamp::now());
    let config = Config::load(&file, &environment).unwrap_or_else(|problems| panic!("{problems}"));
    let overrides =
        Overrides { brokers: Some("127.0.0.1:1".into()), clickhouse: Some(databases.warehouse.settings().clone()) };
    Installation::new(config, &file, overrides).unwrap()
}

/// Twenty days of visits, in the order of receipt: two links that are visited all day, and what happens to them.
fn history() -> Vec<LinkEvent<'static>> {
    let mut events: Vec<LinkEvent<'static>> = Vec::new();
    let mut add = |at: i64, slug: &'static str, of: &dyn Fn(&mut LinkEvent<'static>)| {
        let mut event = LinkEvent {
            r#type: EventType::Click,
            event_time: Millis(at - 700),
            received_at: Millis(at),
            source: "acme".into(),
            domain: "go.acme.example".into(),
            slug: slug.into(),
            link_id: format!("l_{slug}").into(),
            link_kind: "promo".into(),
            owner: "me".into(),
            campaign: "spring".into(),
            schema_version: 1,
            ..LinkEvent::default()
        };
        of(&mut event);
        events.push(event);
    };
    for minute in 0..DAYS * 24 * 60 {
        let at = BEGIN + minute * MINUTE;
        // No two hours are alike, and the same in each run.
        let jitter = (minute * 7_919 % 50_000) + 1;
        add(at + jitter, "usual", &|_| {});
        if minute % 3 != 0 {
            add(at + jitter / 2, "bots", &|event| event.counted = Counted::Bot);
        }
        // A source that goes quiet on the 17th day.
        if minute % 2 == 0 && minute < 16 * 24 * 60 + 700 {
            add(at + jitter / 3, "beta", &|event| event.source = "beta".into());
        }
    }
    let spike = BEGIN + 15 * DAY + 14 * HOUR;
    for n in 0..400 {
        add(spike + n * 700, "usual", &|_| {});
        // As many by bots, repeats, and what a sender had kept for an hour.
        add(spike + n * 700 + 100, "bots", &|event| event.counted = Counted::Bot);
        add(spike + n * 700 + 200, "usual", &|event| event.outcome = Outcome::Duplicate);
        add(spike + 9 * HOUR + n * 500, "usual", &|event| event.event_time = Millis(event.received_at.0 - HOUR));
    }
    for n in 0..3 {
        add(BEGIN + 16 * DAY + n * 20 * MINUTE, "poster", &|event| {
            (event.r#type, event.programme, event.qr_id) = (EventType::QrScan, "instore".into(), "qr_1".into());
        });
        add(BEGIN + 16 * DAY + n * 20 * MINUTE, "poster", &|event| {
            (event.r#type, event.programme) = (EventType::QrScan, "events".into());
        });
    }
    events.sort_by_key(|event| event.received_at);
    let mut ends = [0; LANES as usize];
    for (number, event) in events.iter_mut().enumerate() {
        // Neither lane is the one that is always first.
        let lane = number * 31 % 7 % LANES as usize;
        (event.raw_offset, event.event_key) = (ends[lane], format!("e:{lane}:{}", ends[lane]).into());
        ends[lane] += 1;
    }
    events
}

fn lane_of(event: &LinkEvent<'_>) -> u16 {
    event.event_key.split(':').nth(1).unwrap().parse().unwrap()
}

/// What `process` and `detect` say of the events, a minute of a lane in each transaction.
fn told(rules: &[Rule], events: &[LinkEvent<'static>]) -> Vec<Alert<'static>> {
    let index = RuleIndex::new(rules.to_vec());
    let mut detector = Detector::new(rules, LANES);
    let mut alerts: Vec<Alert<'static>> = Vec::new();
    let mut end = BEGIN;
    for events in events.chunk_by(|left, right| left.received_at.0 / MINUTE == right.received_at.0 / MINUTE) {
        end = (events[0].received_at.0 / MINUTE + 1) * MINUTE - 1;
        for lane in 0..LANES {
            let mut counts: BTreeMap<(usize, String, i64), Signal<'static>> = BTreeMap::new();
            for event in events.iter().filter(|event| lane_of(event) == lane) {
                for at in index.matching_indexes(event) {
                    let rule = &index.rules()[at];
                    alerts.extend(rule.each_alert(event));
                    let Some(seen) = rule.observe(event, event.received_at.0) else { continue };
                    let signal = counts.entry((at, seen.key.clone().into_owned(), seen.pane));
                    let signal = signal.or_insert_with(|| SignalSum::new(rule, &seen, 0, event).signal());
                    signal.count += 1;
                    signal.late += u64::from(is_late(event));
                }
            }
            let batch = SignalBatch { lane, watermark: Millis(end), signals: counts.into_values().collect() };
            alerts.extend(detector.take(&batch).unwrap().findings.into_iter().map(|finding| finding.alert));
        }
    }
    for lane in 0..LANES {
        let tick = SignalBatch { lane, watermark: Millis(end + 1), signals: Vec::new() };
        alerts.extend(detector.take(&tick).unwrap().findings.into_iter().map(|finding| finding.alert));
    }
    alerts.sort_by_key(|alert| alert.received_at);
    alerts
}

fn of<'r>(report: &'r BacktestReport, rule: &str) -> &'r RuleReport {
    report.rules.iter().find(|one| one.rule == rule).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_says_what_the_detector_said_and_what_other_rules_would_have_said() {
    let databases = Databases::new("history").await;
    let folder = tempfile::tempdir().unwrap();
    let events = history();
    for lane in 0..LANES {
        let of_lane: Vec<LinkEvent<'static>> = events.iter().filter(|event| lane_of(event) == lane).cloned().collect();
        for (cut, part) in (1..).zip(of_lane.chunks(20_000)) {
            databases.warehouse.blocks().insert(&block_of("a", lane, cut, part)).await.unwrap();
        }
    }
    let now = installation(folder.path(), &databases, RULES);
    let rules: Vec<Rule> = now.config.rules.iter().map(|rule| rule.rule.clone()).collect();
    let alerts = told(&rules, &events);
    let fired = |name: &str| {
        alerts.iter().filter(|alert| alert.rule == name && alert.transition != Transition::Resolved).count() as u64
    };
    // The history has one of each, and the detector saw it.
    assert_eq!(["spike", "quiet", "burst", "scan"].map(fired), [1, 1, 2, 3], "{alerts:#?}");
    databases.warehouse.insert_alerts(&alerts, "all").await.unwrap();

    // The same rules say the same, and nothing else.
    let until = BEGIN + DAYS * DAY;
    let options = Options { from: BEGIN + 14 * DAY, until, learn_ms: None, rules: Vec::new(), previews: 10 };
    let same = backtest(&now, &options).await.unwrap();
    for rule in &same.rules {
        assert_eq!(
            (rule.alerts, rule.alerts_before, rule.both),
            (fired(&rule.rule), fired(&rule.rule), fired(&rule.rule))
        );
        assert!(rule.differences.is_empty() && !rule.was_another, "{rule:#?}");
    }
    assert_eq!(
        (same.events, same.learned_from),
        (events.iter().filter(|one| one.outcome == Outcome::Event).count() as u64, events[0].received_at.0)
    );
    // Its messages name what theirs named, though rows were added up.
    for alert in
        alerts.iter().filter(|alert| alert.transition == Transition::Fired && alert.received_at.0 >= options.from)
    {
        let why = alert.attributes.get("why");
        let shown = same.messages.iter().find(|one| one.rule == alert.rule && one.kind == "alert").unwrap();
        // The rule about a source names the source, the others a link.
        let about = if alert.rule == "quiet" { "beta" } else { "go.acme.example" };
        assert!(shown.text.contains(why) && shown.text.contains(about), "{shown:#?}");
    }
    let spike = same.messages.iter().find(|one| one.rule == "spike").unwrap();
    assert!(spike.text.contains("clicks in 5 min; usual for Tuesday 14:00 UTC is "), "{}", spike.text);
    // To both destinations the burst, with a wait of 30 seconds; scans within the hour in one more message.
    let log = same.destinations.iter().find(|one| one.destination == "log").unwrap();
    let other = same.destinations.iter().find(|one| one.destination == "other").unwrap();
    assert_eq!((of(&same, "burst").messages, of(&same, "scan").messages, other.messages), (4, 2, 2), "{same:#?}");
    assert_eq!(log.messages + other.messages, same.rules.iter().map(|rule| rule.messages).sum::<u64>());

    // Another file of rules: one that asks for more, and a new one.
    let file = folder.path().join("growth.toml");
    let changed = "[rule.spike]\nowner = \"me\"\nwhen = { event = \"visit\" }\nalert = { spike = \"900x\", per = \"link\", within = \"5m\", at_least = 50 }\n\
                   send = { to = [\"log\"] }\n[rule.clicks]\nowner = \"me\"\nwhen = { event = \"click\", link = \"go.acme.example/usual\" }\n\
                   alert = { count = 300, per = \"campaign\", within = \"10m\" }\nsend = { to = [\"other\"] }\n";
    std::fs::write(&file, changed).unwrap();
    let environment = Environment::new([("S", "x")], jiff::Timestamp::now());
    let (config, names) =
        Config::load_with_rules(&folder.path().join("hookline.toml"), Some(&file), &environment).unwrap();
    assert_eq!(names, ["spike", "clicks"]);
    let other = Installation { config: config.into(), ..now.clone() };
    let report = backtest(&other, &Options { rules: names, ..options.clone() }).await.unwrap();
    let (spike, clicks) = (of(&report, "spike"), of(&report, "clicks"));
    assert_eq!((spike.alerts, spike.alerts_before, spike.both, spike.was_another), (0, 1, 0, true));
    assert!(!spike.differences[0].is_new && spike.differences[0].why.contains("usual for"), "{spike:#?}");
    assert_eq!((clicks.alerts, clicks.alerts_before, clicks.most[0].key.as_str()), (2, 0, "spring"), "{clicks:#?}");
    assert_eq!(report.rules.len(), 2);
    // A file that holds something else says so.
    std::fs::write(&file, "[source.x]\nadapter = \"dub\"\n").unwrap();
    let problems =
        Config::load_with_rules(&folder.path().join("hookline.toml"), Some(&file), &environment).unwrap_err();
    assert!(problems.to_string().contains("[source] is not part of a file of rules"), "{problems}");

    // Without history it says so.
    let empty = backtest(&now, &Options { from: BEGIN - 9 * DAY, until: BEGIN - 8 * DAY, ..options }).await.unwrap();
    assert!(!empty.ok && empty.rules.iter().all(|rule| rule.alerts == 0));
    databases.drop().await;
}
