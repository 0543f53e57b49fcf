//! The state of detectors that run now: this version reads it, goes on as they would have, and writes the same.
//!
//! `stored/version-1.txt` was written on 30 November 2026, before keys were packed; it is renewed only together with
//! the versions of records: `HOOKLINE_TEST_WRITE_STATE=1 cargo test -p hookline-rules --test stored`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

use std::collections::BTreeMap;

use event::{Alert, EventType, LinkEvent, Map, Millis, SignalBatch};
use hookline_rules::{
    BrokenRule, COUNTER, Detector, DriftRule, FirstSeenRule, GapRule, Per, Rule, Sensitivity, SignalSum, SilenceRule,
    Spike, Subject, Trigger, When,
};

/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
const MONDAY: i64 = 29_459_520;
/// The state is written in the middle of this minute.
const STOP: i64 = MONDAY + 3 * 1_440 + 17;
const END: i64 = STOP + 240;
const LANES: u16 = 2;

fn rules() -> Vec<Rule> {
    let spike = Spike {
        times_hundredths: 300,
        within_minutes: 5,
        at_least: 50,
        quiet_for_minutes: 60,
        sensitivity: Sensitivity::Normal,
    };
    let silence = |quiet_after_minutes| SilenceRule { quiet_after_minutes, least_minutes: 10 };
    let broken =
        BrokenRule { at_least: 3, percent: 10, within_minutes: 10, over_after_minutes: 60, quiet_for_minutes: 60 };
    let triggers = [
        ("count", Trigger::count(100, Per::Link, 300_000, 600_000).unwrap()),
        ("spike", Trigger::Spike { spike, per: Per::Link, not_during_launches: false }),
        ("silence", Trigger::Silence { silence: silence(None), per: Per::Link }),
        ("quiet", Trigger::Silence { silence: silence(Some(30)), per: Per::Link }),
        ("broken", Trigger::Broken { broken, per: Per::Link }),
        ("drift", Trigger::Drift { drift: DriftRule { at_least: 3, quiet_for_minutes: 60 }, per: Per::Link }),
        (
            "gap",
            Trigger::Gap { gap: GapRule { share_basis_points: 500, within_hours: 24, at_least: 50 }, per: Per::Source },
        ),
        ("first", Trigger::FirstSeen(FirstSeenRule { of: Subject::Campaign, learn_minutes: 1_440, known: Vec::new() })),
    ];
    let rule = |(name, trigger)| Rule::new(name, "growth", When::new(vec![], vec![]), Some(trigger));
    triggers.into_iter().map(rule).collect()
}

/// The events of a minute: a busy link with a spike around the stop, one that drifts, breaks and is counted by its
/// platform, one with an event in two hours, and test data.
fn events(minute: i64) -> Vec<LinkEvent<'static>> {
    let near = (STOP - 12..STOP + 9).contains(&minute);
    let quiet = (STOP + 40..STOP + 130).contains(&minute);
    let mut events = Vec::new();
    let mut add = |slug: &str, number: i64, test: bool, change: &dyn Fn(&mut LinkEvent<'static>)| {
        let at = Millis(minute * 60_000 + 7_000);
        let mut event = LinkEvent {
            r#type: EventType::Click,
            received_at: at,
            event_time: if number % 11 == 10 { Millis(at.0 - 1_200_000) } else { at },
            event_key: format!("e-{minute}-{slug}-{number}").into(),
            domain: "go.example.com".into(),
            slug: slug.to_owned().into(),
            source: "dub".into(),
            campaign: if minute % 1_000 == 999 { format!("c-{}", minute % 7_000) } else { "spring".to_owned() }.into(),
            destination_host: "www.shop.example.com".into(),
            redirect_status: 302,
            test,
            ..LinkEvent::default()
        };
        change(&mut event);
        events.push(event);
    };
    for number in 0..if near {
        150
    } else if quiet {
        0
    } else {
        6 + minute % 5
    } {
        add("busy", number, false, &|_| ());
    }
    if minute % 2 == 0 {
        add("odd", minute / 2, minute % 3 == 0 && !near, &|event| {
            let mut extra = Map::default();
            extra.add(COUNTER, (1_000 + (minute - MONDAY) * if near { 2 } else { 1 }).to_string());
            event.extra = extra;
            if near {
                event.destination_host = "elsewhere.example.org".into();
                event.redirect_status = 404;
            }
        });
    }
    if minute % 120 == 7 {
        add("rare", 0, false, &|_| ());
    }
    events
}

/// What lanes say of the minutes `from..to`, and that they have passed `to`, or half a minute more.
fn take(detector: &mut Detector, rules: &[Rule], from: i64, to: i64, half: bool) -> Vec<Vec<u8>> {
    let mut alerts = Vec::new();
    for minute in from..to {
        for lane in 0..LANES {
            let mut sums: BTreeMap<(usize, String, bool, i64, String), SignalSum> = BTreeMap::new();
            for (number, event) in
                events(minute).iter().enumerate().filter(|(number, _)| number % 2 == usize::from(lane))
            {
                for (at, rule) in rules.iter().enumerate() {
                    let Some(seen) = rule.observe(event, minute * 60_000 + 7_000 + number as i64) else { continue };
                    let counted = (at, seen.key.to_string(), event.test, seen.pane, seen.facet.to_string());
                    match sums.get_mut(&counted) {
                        Some(sum) => sum.add(&seen, event),
                        None => drop(sums.insert(counted, SignalSum::new(rule, &seen, 1, event))),
                    }
                }
            }
            let end = if half && minute + 1 == to { 30_000 } else { 60_000 };
            let signals = sums.values().map(SignalSum::signal).collect();
            let batch = SignalBatch { lane, watermark: Millis(minute * 60_000 + end), signals };
            let told = detector.take(&batch).unwrap();
            assert_eq!((told.late, told.unknown, told.crowded), (0, 0, 0));
            alerts.extend(told.findings.into_iter().map(|finding| bytes(&finding.alert)));
        }
    }
    alerts
}

fn bytes(alert: &Alert<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    alert.encode(&mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A line a record: key and value; the first one is of the lanes.
fn lines(detector: &mut Detector) -> Vec<String> {
    let mut records: Vec<String> = detector
        .snapshot()
        .iter()
        .map(|change| format!("{} {}", hex(&change.key), hex(change.value.as_ref().unwrap())))
        .collect();
    records.sort();
    records.insert(0, hex(&detector.lanes_snapshot()));
    records
}

fn restore(rules: &[Rule], lines: &[&str]) -> Detector {
    let mut detector = Detector::new(rules, LANES);
    let (lanes, records) = lines.split_first().unwrap();
    detector.restore_lanes(&unhex(lanes)).unwrap();
    for record in records {
        let (key, value) = record.split_once(' ').unwrap();
        detector.restore(&unhex(key), &unhex(value)).unwrap();
    }
    detector.restored().unwrap();
    detector
}

#[test]
fn what_earlier_versions_have_stored_is_read_and_what_is_written_is_the_same() {
    let rules = rules();
    let mut detector = Detector::new(&rules, LANES);
    let before = take(&mut detector, &rules, MONDAY, STOP + 1, true);
    let written = lines(&mut detector);
    let after = take(&mut detector, &rules, STOP + 1, END, false);
    if std::env::var_os("HOOKLINE_TEST_WRITE_STATE").is_some() {
        let mut text = written.join("\n");
        text.push('\n');
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored/version-1.txt"), text).unwrap();
    }
    let stored = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored/version-1.txt")).unwrap();
    let stored: Vec<&str> = stored.lines().collect();
    // Counters of links that never told a number were kept, too.
    let says_something = |line: &&&str| !(line.starts_with(&hex(b"gap\0")) && line.ends_with(&"0".repeat(40)));
    assert_eq!(written.len(), stored.iter().filter(says_something).count());
    assert_eq!(stored.len() - written.len(), 2);
    for (written, stored) in written.iter().zip(stored.iter().filter(says_something)) {
        assert_eq!(written, stored, "a record is written as before");
    }
    let mut restored = restore(&rules, &stored);
    assert_eq!(
        restored.keys(),
        stored.len() - 1 - stored.iter().filter(|line| line.contains(&hex(b"profile"))).count()
    );
    assert_eq!(take(&mut restored, &rules, STOP + 1, END, false), after);
    let again = lines(&mut restored);
    assert_eq!(again[0], lines(&mut detector)[0]);
    // Each rule has something to say, before it is stored or after.
    let told: Vec<Alert<'_>> = before.iter().chain(&after).map(|bytes| Alert::decode(bytes).unwrap()).collect();
    for rule in rules.iter().filter(|rule| rule.name() != "silence") {
        assert!(told.iter().any(|alert| alert.rule == rule.name()), "{}", rule.name());
    }
    assert!(after.len() >= 8, "{}", after.len());
}
