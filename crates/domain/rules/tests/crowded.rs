//! Keys with more facets in a minute than a record of the log may hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

use event::{Alert, EventType, LinkEvent, Map, Millis, SignalBatch};
use hookline_rules::{
    BrokenRule, COUNTER, Detector, DriftRule, FirstSeenRule, GapRule, Per, Rule, SignalSum, Subject, Trigger, When,
};

const MINUTE: i64 = 29_459_520;
/// A record of the log is 1 MB at most.
const RECORD: usize = 500_000;

fn rule(trigger: Trigger) -> Rule {
    Rule::new("watch", "growth", When::new(vec![], vec![]), Some(trigger))
}

fn event(r#type: EventType, minute: i64) -> LinkEvent<'static> {
    let at = Millis(minute * 60_000 + 7_000);
    LinkEvent {
        r#type,
        received_at: at,
        event_time: at,
        event_key: "e-1".into(),
        domain: "go.example.com".into(),
        slug: "s".into(),
        source: "dub".into(),
        ..LinkEvent::default()
    }
}

fn batch(
    rule: &Rule,
    minute: i64,
    passed: i64,
    events: impl Iterator<Item = LinkEvent<'static>>,
) -> SignalBatch<'static> {
    let signals = events.filter_map(|event| {
        let seen = rule.observe(&event, minute * 60_000 + 7_000)?;
        Some(SignalSum::new(rule, &seen, 1, &event).signal())
    });
    SignalBatch { lane: 0, watermark: Millis(passed * 60_000), signals: signals.collect() }
}

/// The largest record after 10,000 events in one minute while it is open, how many of their facets are not told apart,
/// and all alerts up to four days later. The state is stored and restored while the minute is open.
fn crowd(rule: &Rule, one: impl Fn(usize) -> LinkEvent<'static>) -> (usize, u64, Vec<Alert<'static>>) {
    let mut detector = Detector::new(std::slice::from_ref(rule), 1);
    let first = detector.take(&batch(rule, MINUTE, MINUTE, (0..1).map(&one))).unwrap();
    assert!(first.findings.is_empty());
    let mut crowded = 0;
    for part in 0..10 {
        let events = (part * 1_000..(part + 1) * 1_000).map(&one);
        crowded += detector.take(&batch(rule, MINUTE, MINUTE, events)).unwrap().crowded;
    }
    let (changes, lanes) = (detector.snapshot(), detector.lanes_snapshot());
    let largest = changes.iter().filter_map(|change| Some(change.value.as_ref()?.len())).max().unwrap();
    let mut restored = Detector::new(std::slice::from_ref(rule), 1);
    restored.restore_lanes(&lanes).unwrap();
    for change in &changes {
        restored.restore(&change.key, change.value.as_ref().unwrap()).unwrap();
    }
    restored.restored().unwrap();
    let mut alerts = Vec::new();
    for later in [1, 2, 60, 120, 180, 5_760] {
        let end = batch(rule, MINUTE, MINUTE + later, std::iter::empty());
        alerts.extend(restored.take(&end).unwrap().findings.into_iter().map(|finding| finding.alert));
    }
    (largest, crowded, alerts)
}

#[test]
fn a_link_rich_source_makes_no_record_too_large_and_no_gap() {
    let gap = GapRule { share_basis_points: 500, within_hours: 24, at_least: 50 };
    let rule = rule(Trigger::Gap { gap, per: Per::Source });
    let (largest, crowded, alerts) = crowd(&rule, |number| {
        let mut extra = Map::default();
        extra.add(COUNTER, (number % 7).to_string());
        LinkEvent { slug: format!("s{number}").into(), extra, ..event(EventType::Click, MINUTE) }
    });
    assert!(largest < RECORD && crowded > 5_000, "{largest} bytes, {crowded}");
    assert_eq!(alerts, []);
}

#[test]
fn values_that_are_new_are_left_out_beyond_what_a_record_holds() {
    let first_seen = FirstSeenRule { of: Subject::UtmSource, learn_minutes: 0, known: vec![] };
    let rule = rule(Trigger::FirstSeen(first_seen));
    let (largest, crowded, alerts) = crowd(&rule, |number| LinkEvent {
        utm_source: format!("{number}-{}", "x".repeat(200)).into(),
        ..event(EventType::Click, MINUTE)
    });
    assert!(largest < RECORD && crowded > 5_000, "{largest} bytes, {crowded}");
    assert_eq!(alerts.len() as u64, 10_000 - crowded);
}

#[test]
fn an_error_of_many_reasons_counts_whatever_the_reasons_are() {
    let broken =
        BrokenRule { at_least: 10_000, percent: 10, within_minutes: 10, over_after_minutes: 60, quiet_for_minutes: 60 };
    let rule = rule(Trigger::Broken { broken, per: Per::Link });
    let (largest, crowded, alerts) = crowd(&rule, |number| LinkEvent {
        subtype: format!("{number}-{}", "x".repeat(200)).into(),
        ..event(EventType::Error, MINUTE)
    });
    assert!(largest < RECORD && crowded > 5_000, "{largest} bytes, {crowded}");
    assert_eq!(alerts.first().map(|alert| alert.observed), Some(10_001));
}

#[test]
fn a_link_that_leads_anywhere_makes_no_record_too_large() {
    let rule = rule(Trigger::Drift { drift: DriftRule { at_least: 3, quiet_for_minutes: 60 }, per: Per::Link });
    let (largest, crowded, _) = crowd(&rule, |number| LinkEvent {
        destination_host: format!("h{number}-{}.example", "x".repeat(100)).into(),
        ..event(EventType::Click, MINUTE)
    });
    assert!(largest < RECORD && crowded > 5_000, "{largest} bytes, {crowded}");
}
