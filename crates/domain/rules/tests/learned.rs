//! Rules that learn, through the detector: against a reference, over snapshots, with planned launches and late events.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

mod reference;

use std::collections::BTreeMap;

use event::{Alert, Map, Millis, Signal, SignalBatch, Transition};
use hookline_rules::{Detector, Expectations, Glob, Launch, Per, Rule, Sensitivity, SilenceRule, Spike, Trigger, When};
use proptest::prelude::*;
use reference::History;

/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
const MONDAY: i64 = 29_459_520;
const DAY: i64 = 1_440;
const LANES: u16 = 2;

fn spike() -> Rule {
    let spike = Spike {
        times_hundredths: 300,
        within_minutes: 5,
        at_least: 50,
        quiet_for_minutes: 60,
        sensitivity: Sensitivity::Normal,
    };
    let trigger = Trigger::Spike { spike, per: Per::Link, not_during_launches: true };
    Rule::new("spike", "growth", When::new(vec![], vec![]), Some(trigger))
}

fn silence() -> Rule {
    let silence = SilenceRule { quiet_after_minutes: None, least_minutes: 10 };
    let trigger = Trigger::Silence { silence, per: Per::Source };
    Rule::new("silence", "growth", When::new(vec![], vec![]), Some(trigger))
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

/// Days of a key with hours, weekends, spikes, holes and a launch: events and late events by minute.
fn history(random: &mut Random, days: i64) -> (History, History) {
    let (mut all, mut late) = (History::new(), History::new());
    let (rate, quiet_nights, batches) =
        ([1, 4, 30, 120][random.below(4) as usize], random.below(2), random.below(4) == 0);
    let (mut factor, mut until, mut hole, mut held) = (1, 0, 0, 0);
    for minute in 0..days * DAY {
        if random.below(4_000) == 0 {
            (factor, until) = ([2, 4, 8, 30][random.below(4) as usize], minute + 20 + random.below(120) as i64);
        }
        if random.below(6_000) == 0 {
            hole = minute + 10 + random.below(1_500) as i64;
        }
        let (hour, weekend) = (minute % DAY / 60, minute / DAY % 7 >= 5);
        let night = quiet_nights == 1 && !(6..22).contains(&hour);
        let mean = rate * if minute < until { factor } else { 1 } * if weekend { 2 } else { 4 };
        // In quarters of an event a minute, so that small keys are small.
        held += if night { random.below(8) } else { random.below(2 * mean) };
        if minute < hole || (batches && minute % 60 != 59) {
            continue;
        }
        let count = held / 4;
        held %= 4;
        if count > 0 {
            all.insert(MONDAY + minute, count);
            if hole > 0 && minute < hole + 3 || random.below(50) == 0 {
                late.insert(MONDAY + minute, count / 2);
            }
        }
    }
    (all, late)
}

/// What `process` would send: the counts of each minute split over lanes, and watermarks in steps of some minutes.
fn batches(rules: &[Rule], keys: &[(History, History)], days: i64, random: &mut Random) -> Vec<SignalBatch<'static>> {
    let mut batches: Vec<SignalBatch<'static>> =
        (0..LANES).map(|lane| SignalBatch { lane, watermark: Millis(MONDAY * 60_000), signals: vec![] }).collect();
    let (mut from, end) = (MONDAY, MONDAY + days * DAY);
    while from < end {
        let to = (from + 1 + random.below(7) as i64).min(end);
        for lane in 0..LANES {
            let mut signals = Vec::new();
            for (number, (all, late)) in keys.iter().enumerate() {
                for (minute, count) in all.range(from..to) {
                    let late = late.get(minute).copied().unwrap_or(0);
                    let (count, late) = if lane == 0 {
                        (count / 3, late.min(count / 3))
                    } else {
                        (count - count / 3, late - late.min(count / 3))
                    };
                    for rule in rules.iter().filter(|_| count > 0) {
                        let mut attributes = Map::default();
                        attributes.add("slug", format!("slug-{number}"));
                        signals.push(Signal {
                            rule: rule.name().to_owned().into(),
                            rule_version: rule.version().to_owned().into(),
                            key: format!("key-{number}").into(),
                            pane: Millis(minute * 60_000),
                            count,
                            late,
                            sample: format!("event-{minute}-{lane}").into(),
                            attributes,
                            ..Signal::default()
                        });
                    }
                }
            }
            batches.push(SignalBatch { lane, watermark: Millis(to * 60_000), signals });
        }
        from = to;
    }
    batches
}

fn expectations() -> Expectations {
    let (from_ms, until_ms) = ((MONDAY + 20 * DAY) * 60_000, (MONDAY + 21 * DAY) * 60_000);
    let launch = Launch { links: vec![Glob::new("key-1")], from_ms, until_ms };
    Expectations { launches: vec![launch], ..Expectations::default() }
}

/// All alerts; every so many batches the detector is made anew from what it has stored.
fn run(rules: &[Rule], batches: &[SignalBatch<'static>], restore_every: usize) -> Vec<Alert<'static>> {
    let new = || Detector::expecting(rules, LANES, expectations());
    let (mut detector, mut stored, mut alerts) = (new(), BTreeMap::new(), Vec::new());
    for (number, batch) in (1..).zip(batches) {
        let taken = detector.take(batch).unwrap();
        assert_eq!((taken.late, taken.unknown), (0, 0));
        alerts.extend(taken.findings.into_iter().map(|finding| finding.alert));
        if number % restore_every == 0 {
            for change in detector.snapshot() {
                match change.value {
                    Some(value) => drop(stored.insert(change.key, value)),
                    None => drop(stored.remove(&change.key)),
                }
            }
            let lanes = detector.lanes_snapshot();
            detector = new();
            detector.restore_lanes(&lanes).unwrap();
            stored.iter().for_each(|(key, value)| detector.restore(key, value).unwrap());
            detector.restored().unwrap();
        }
    }
    alerts
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn the_detector_says_what_the_reference_says_and_a_restart_changes_nothing(seed in any::<u64>()) {
        let (mut random, days) = (Random(seed), 24);
        let keys: Vec<_> = (0..3).map(|_| history(&mut random, days)).collect();
        let rules = [spike(), silence()];
        let batches = batches(&rules, &keys, days, &mut random);
        let alerts = run(&rules, &batches, usize::MAX);
        let bytes = |alerts: &[Alert<'_>]| alerts.iter().map(|alert| {
            let mut bytes = Vec::new();
            alert.encode(&mut bytes);
            bytes
        }).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&run(&rules, &batches, 501)), bytes(&alerts));
        let end = MONDAY + days * DAY;
        for (number, (all, late)) in keys.iter().enumerate() {
            let own: Vec<&Alert<'_>> = alerts.iter().filter(|alert| alert.key == format!("key-{number}")).collect();
            let said = |rule: &str| own.iter().copied().filter(|alert| alert.rule == rule).map(|alert| {
                let fired = alert.transition == Transition::Fired;
                let window = (alert.window_end.0 - alert.window_start.0) / 60_000;
                (alert.window_end.0 / 60_000, fired.then_some((alert.observed, window)))
            }).collect::<Vec<_>>();
            let in_time: History = all.iter().map(|(minute, count)| (*minute, count - late.get(minute).copied().unwrap_or(0)))
                .filter(|(_, count)| *count > 0).collect();
            let planned = if number == 1 { vec![(MONDAY + 20 * DAY, MONDAY + 21 * DAY)] } else { vec![] };
            prop_assert_eq!(said("spike"), reference::spikes(&in_time, 50, 3.0, 5.5, 60, &planned, end - 1), "spikes of {}", number);
            let silences: Vec<(i64, bool)> = said("silence").into_iter().map(|(at, fired)| (at, fired.is_some())).collect();
            prop_assert_eq!(silences, reference::silences(all, 10, end), "silences of {}", number);
        }
    }
}

#[test]
fn what_the_detector_is_held_to_has_alerts_of_each_kind() {
    let (mut random, days) = (Random(7), 24);
    let keys: Vec<_> = (0..6).map(|_| history(&mut random, days).0).collect();
    let end = MONDAY + days * DAY;
    let spikes: usize = keys.iter().map(|all| reference::spikes(all, 50, 3.0, 5.5, 60, &[], end).len()).sum();
    let silences: usize = keys.iter().map(|all| reference::silences(all, 10, end).len()).sum();
    assert!(spikes > 10 && silences > 3, "{spikes} and {silences}");
}

fn steady(days: i64, count: u64) -> History {
    (0..days * DAY).map(|minute| (MONDAY + minute, count)).collect()
}

#[test]
fn an_alert_says_what_is_usual() {
    let mut all = steady(20, 10);
    all.extend((19 * DAY + 600..19 * DAY + 610).map(|minute| (MONDAY + minute, 200)));
    let rules = [spike()];
    let batches = batches(&rules, &[(all, History::new())], 20, &mut Random(1));
    let alerts = run(&rules, &batches, usize::MAX);
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    let fired = &alerts[0];
    assert_eq!(fired.transition, Transition::Fired);
    let why = fired.attributes.get("why");
    assert!(why.starts_with("240 events in 5 min; usual for Saturday 10:00 UTC is "), "{why}");
    assert_eq!((fired.attributes.get("window"), fired.attributes.get("level")), ("5 min", "1.00"));
    assert_eq!(fired.attributes.get("slug"), "slug-0");
    assert_eq!(alerts[1].transition, Transition::Resolved);
    assert_eq!(alerts[1].attributes.get("slug"), "slug-0");
}

#[test]
fn a_silence_says_since_when_and_what_is_usual() {
    let mut all = steady(20, 10);
    all.retain(|minute, _| !(19 * DAY + 602..19 * DAY + 700).contains(&(minute - MONDAY)));
    let rules = [silence()];
    let batches = batches(&rules, &[(all, History::new())], 20, &mut Random(1));
    let alerts = run(&rules, &batches, 97);
    assert_eq!(alerts.len(), 2, "{alerts:?}");
    let why = alerts[0].attributes.get("why");
    assert!(why.starts_with("key-0: nothing since 10:02 UTC; usual for Saturday 10:00 UTC is "), "{why}");
    assert_eq!(alerts[0].window_end.0 / 60_000 - MONDAY, 19 * DAY + 612);
    assert_eq!(alerts[1].transition, Transition::Resolved);
}

#[test]
fn a_rule_that_asks_for_less_keeps_what_its_keys_have_learned() {
    let mut all = steady(8, 10);
    all.extend((7 * DAY + 600..7 * DAY + 610).map(|minute| (MONDAY + minute, 40)));
    let keys = [(all, History::new())];
    let batches = |rule: &Rule| batches(std::slice::from_ref(rule), &keys, 8, &mut Random(1));
    let before = spike();
    let spike = Spike {
        times_hundredths: 200,
        within_minutes: 5,
        at_least: 20,
        quiet_for_minutes: 0,
        sensitivity: Sensitivity::Keen,
    };
    let trigger = Trigger::Spike { spike, per: Per::Link, not_during_launches: false };
    let after = Rule::new("spike", "growth", When::new(vec![], vec![]), Some(trigger));
    assert_ne!(before.version(), after.version());
    let (learned, changed) = (batches(&before), batches(&after));
    let mut detector = Detector::new(std::slice::from_ref(&before), LANES);
    let until = learned.len() * 7 / 8;
    learned[..until].iter().for_each(|batch| drop(detector.take(batch).unwrap()));
    let mut next = Detector::new(std::slice::from_ref(&after), LANES);
    let changes = detector.snapshot();
    next.restore_lanes(&detector.lanes_snapshot()).unwrap();
    changes.iter().for_each(|change| next.restore(&change.key, change.value.as_ref().unwrap()).unwrap());
    next.restored().unwrap();
    let told: usize = changed[until..].iter().map(|batch| next.take(batch).unwrap().findings.len()).sum();
    assert_eq!(told, 2, "it fires, and is over: it was known");
}

#[test]
fn a_profile_that_is_missing_is_not_guessed_at() {
    let rules = [spike()];
    let batches = batches(&rules, &[(steady(2, 10), History::new())], 2, &mut Random(1));
    let mut detector = Detector::new(&rules, LANES);
    batches.iter().for_each(|batch| drop(detector.take(batch).unwrap()));
    let mut next = Detector::new(&rules, LANES);
    next.restore_lanes(&detector.lanes_snapshot()).unwrap();
    let changes = detector.snapshot();
    let present = changes.iter().find(|change| !change.key.ends_with(b"profile")).unwrap();
    next.restore(&present.key, present.value.as_ref().unwrap()).unwrap();
    assert!(next.restored().is_err());
}

#[test]
fn an_alert_says_times_in_the_zone_of_the_configuration_and_is_the_same_alert() {
    let mut all = steady(20, 10);
    all.extend((19 * DAY + 600..19 * DAY + 610).map(|minute| (MONDAY + minute, 200)));
    all.retain(|minute, _| !(19 * DAY + 782..19 * DAY + 900).contains(&(minute - MONDAY)));
    let rules = [spike(), silence()];
    let batches = batches(&rules, &[(all, History::new())], 20, &mut Random(1));
    let told = |zone: Option<&str>| {
        let zone = zone.map(|name| jiff::tz::TimeZone::get(name).unwrap());
        let mut detector = Detector::expecting(&rules, LANES, Expectations { zone, ..Expectations::default() });
        let found = batches.iter().flat_map(|batch| detector.take(batch).unwrap().findings);
        found.map(|finding| finding.alert).collect::<Vec<_>>()
    };
    let (utc, berlin) = (told(None), told(Some("Europe/Berlin")));
    let why = |alert: &Alert<'_>| alert.attributes.get("why").to_owned();
    let fired = |alerts: &[Alert<'_>], rule: &str| why(alerts.iter().find(|alert| alert.rule == rule).unwrap());
    assert!(fired(&utc, "spike").contains("usual for Saturday 10:00 UTC is "), "{}", fired(&utc, "spike"));
    assert!(fired(&berlin, "spike").contains("usual for Saturday 11:00 CET is "), "{}", fired(&berlin, "spike"));
    let silent = fired(&berlin, "silence");
    assert!(silent.starts_with("key-0: nothing since 14:02 CET; usual for Saturday 14:00 CET is "), "{silent}");
    let ids = |alerts: &[Alert<'_>]| alerts.iter().map(|alert| alert.alert_id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&utc), ids(&berlin));
}
