//! Rules that know as many keys as they may: what they know is evaluated as before, the rest is passed over and
//! counted, and a detector that was restored passes the same over.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use event::{Alert, EventType, LinkEvent, Map, Millis, SignalBatch};
use hookline_rules::{
    BrokenRule, COUNTER, Detector, DriftRule, FirstSeenRule, FullRule, GapRule, KeyLimit, Per, Rule, SignalSum,
    SilenceRule, Subject, Trigger, When,
};
use proptest::prelude::*;

const MINUTE: i64 = 29_459_520;

fn count() -> Trigger {
    Trigger::count(2, Per::Link, 300_000, 600_000).unwrap()
}

fn silence() -> Trigger {
    Trigger::Silence { silence: SilenceRule { quiet_after_minutes: Some(30), least_minutes: 10 }, per: Per::Link }
}

fn broken() -> Trigger {
    let broken =
        BrokenRule { at_least: 2, percent: 10, within_minutes: 10, over_after_minutes: 60, quiet_for_minutes: 60 };
    Trigger::Broken { broken, per: Per::Link }
}

fn gap() -> Trigger {
    Trigger::Gap { gap: GapRule { share_basis_points: 500, within_hours: 2, at_least: 3 }, per: Per::Source }
}

fn drift() -> Trigger {
    Trigger::Drift { drift: DriftRule { at_least: 2, quiet_for_minutes: 60 }, per: Per::Link }
}

fn first_seen() -> Trigger {
    Trigger::FirstSeen(FirstSeenRule { of: Subject::UtmSource, learn_minutes: 0, known: vec![] })
}

fn rules(triggers: impl IntoIterator<Item = Trigger>) -> Vec<Rule> {
    let rule =
        |(number, trigger)| Rule::new(format!("rule-{number}"), "growth", When::new(vec![], vec![]), Some(trigger));
    (0..).zip(triggers).map(rule).collect()
}

/// An event of link `link`; one in three is an error, and its platform has counted more each time.
fn event(minute: i64, link: usize, number: usize, test: bool) -> LinkEvent<'static> {
    let at = Millis(minute * 60_000 + 7_000);
    let mut extra = Map::default();
    extra.add(COUNTER, (100 + number * 2).to_string());
    LinkEvent {
        r#type: if number.is_multiple_of(3) { EventType::Error } else { EventType::Click },
        received_at: at,
        event_time: at,
        event_key: format!("e-{number}").into(),
        domain: "go.example.com".into(),
        slug: format!("s{link}").into(),
        source: if link.is_multiple_of(4) { "bitly" } else { "dub" }.into(),
        destination_host: format!("h{}.example", number % 2).into(),
        extra,
        test,
        ..LinkEvent::default()
    }
}

fn batch(rules: &[Rule], passed: i64, events: &[LinkEvent<'static>]) -> SignalBatch<'static> {
    let of_event = |event: &LinkEvent<'static>| {
        let signal =
            |rule: &Rule| Some(SignalSum::new(rule, &rule.observe(event, event.received_at.0)?, 1, event).signal());
        rules.iter().filter_map(signal).collect::<Vec<_>>()
    };
    SignalBatch { lane: 0, watermark: Millis(passed * 60_000), signals: events.iter().flat_map(of_event).collect() }
}

/// What came of a run.
#[derive(Debug, Default, PartialEq)]
struct Told {
    alerts: Vec<Alert<'static>>,
    full: BTreeMap<String, FullRule>,
    most_keys: usize,
}

/// Runs over batches; another detector goes on from what was stored after those that `restores` names.
fn run(rules: &[Rule], limit: KeyLimit, batches: &[SignalBatch<'static>], restores: impl Fn(usize) -> bool) -> Told {
    let new = || Detector::new(rules, 1).knowing_at_most(limit);
    let (mut detector, mut stored, mut told) = (new(), BTreeMap::new(), Told::default());
    for (at, batch) in batches.iter().enumerate() {
        let taken = detector.take(batch).unwrap();
        told.alerts.extend(taken.findings.into_iter().map(|finding| finding.alert));
        for (rule, full) in taken.full {
            told.full.entry(rule).or_default().add(full);
        }
        told.most_keys = told.most_keys.max(detector.keys());
        if restores(at) {
            for change in detector.snapshot() {
                match change.value {
                    Some(value) => drop(stored.insert(change.key, value)),
                    None => drop(stored.remove(&change.key)),
                }
            }
            let lanes = detector.lanes_snapshot();
            let keys = detector.keys();
            detector = new();
            detector.restore_lanes(&lanes).unwrap();
            stored.iter().for_each(|(key, value)| detector.restore(key, value).unwrap());
            detector.restored().unwrap();
            assert_eq!(detector.keys(), keys);
        }
    }
    told
}

/// Steps as batches: a link, minutes since the last one, and whether it is test data.
fn batches(rules: &[Rule], steps: &[(usize, i64, bool)]) -> Vec<SignalBatch<'static>> {
    let mut minute = MINUTE;
    let mut batches = vec![batch(rules, minute, &[])];
    for (number, (link, after, test)) in steps.iter().enumerate() {
        minute += after;
        batches.push(batch(rules, minute, &[event(minute, *link, number, *test)]));
    }
    batches.extend((1..40).map(|later| batch(rules, minute + later * 15, &[])));
    batches
}

fn steps() -> impl Strategy<Value = Vec<(usize, i64, bool)>> {
    let after = prop_oneof![4 => 0..3i64, 1 => 3..90i64];
    prop::collection::vec((0..9usize, after, prop::bool::weighted(0.2)), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_passed_over_is_the_same_wherever_a_detector_is_restored(
        steps in steps(), keys in 1..6usize, every in 1..9usize,
    ) {
        let rules = rules([count(), silence(), broken(), gap(), drift(), first_seen()]);
        let (batches, limit) = (batches(&rules, &steps), KeyLimit { keys, ..KeyLimit::default() });
        let told = run(&rules, limit, &batches, |_| false);
        prop_assert!(told.most_keys <= rules.len() * 2 * keys);
        prop_assert_eq!(&run(&rules, limit, &batches, |at| at % every == 0), &told);
    }

    #[test]
    fn keys_that_came_while_there_was_room_are_evaluated_as_without_a_limit(steps in steps(), keys in 1..6usize) {
        // None of these ever forgets a key.
        for trigger in [silence(), drift()] {
            let rules = rules([trigger]);
            let batches = batches(&rules, &steps);
            let mut known: BTreeSet<(bool, Cow<'_, str>)> = BTreeSet::new();
            let mut passed_over = 0;
            for signal in batches.iter().flat_map(|batch| &batch.signals) {
                let is_known = known.contains(&(signal.test, signal.key.clone()));
                if is_known || known.iter().filter(|one| one.0 == signal.test).count() < keys {
                    known.insert((signal.test, signal.key.clone()));
                } else {
                    passed_over += 1;
                }
            }
            let mut all = run(&rules, KeyLimit::default(), &batches, |_| false);
            prop_assert_eq!(all.full.len(), 0);
            all.alerts.retain(|alert| known.contains(&(alert.test, alert.key.clone())));
            let told = run(&rules, KeyLimit { keys, ..KeyLimit::default() }, &batches, |_| false);
            prop_assert_eq!(told.alerts, all.alerts);
            prop_assert_eq!(told.full.get("rule-0").map_or(0, |full| full.keys), passed_over);
        }
    }

    #[test]
    fn a_burst_that_is_forgotten_changes_nothing_of_what_stays(steps in steps(), every in 1..9usize) {
        let Trigger::Gap { gap, .. } = gap() else { unreachable!() };
        let rules = rules([count(), broken(), Trigger::Gap { gap, per: Per::Link }]);
        let alone = batches(&rules, &steps);
        let mut with_burst = alone.clone();
        let middle = with_burst.len() / 2;
        let minute = with_burst[middle - 1].watermark.0 / 60_000;
        // Errors of some links and visits of others; none of them is enough for an alert.
        let burst: Vec<_> = (1_000..4_000).map(|link| event(minute, link, 3 + link % 2, false)).collect();
        with_burst.insert(middle, batch(&rules, minute, &burst));
        let told = run(&rules, KeyLimit::default(), &with_burst, |_| false);
        prop_assert!(told.most_keys >= 6_000);
        prop_assert_eq!(&run(&rules, KeyLimit::default(), &with_burst, |at| at % every == 0), &told);
        prop_assert_eq!(told.alerts, run(&rules, KeyLimit::default(), &alone, |_| false).alerts);
    }
}

#[test]
fn a_rule_that_forgets_its_keys_takes_new_ones_again() {
    let rules = rules([count()]);
    let limit = KeyLimit { keys: 2, ..KeyLimit::default() };
    let pair = |link: usize, minute| [event(minute, link, 1, false), event(minute, link, 2, false)];
    let minute = |at: i64, links: &[usize]| {
        let events: Vec<_> = links.iter().flat_map(|link| pair(*link, MINUTE + at)).collect();
        batch(&rules, MINUTE + at, &events)
    };
    let batches = [
        minute(0, &[]),
        minute(0, &[1, 2, 3]),
        minute(1, &[3, 1]),
        minute(60, &[]),
        minute(60, &[3, 4, 5]),
        minute(90, &[]),
    ];
    let told = run(&rules, limit, &batches, |_| false);
    let fired: Vec<_> = told.alerts.iter().filter(|alert| alert.observed >= 2).map(|alert| &*alert.key).collect();
    assert_eq!(fired, ["go.example.com/s1", "go.example.com/s2", "go.example.com/s3", "go.example.com/s4"]);
    assert_eq!(told.full, BTreeMap::from([("rule-0".to_owned(), FullRule { keys: 6, values: 0 })]));
}

#[test]
fn the_limit_of_now_does_not_touch_what_was_known_before() {
    let rules = rules([silence()]);
    let mut before = Detector::new(&rules, 1);
    let events: Vec<_> = (0..5).map(|link| event(MINUTE, link, 1, false)).collect();
    before.take(&batch(&rules, MINUTE, &events)).unwrap();
    let mut detector = Detector::new(&rules, 1).knowing_at_most(KeyLimit { keys: 2, ..KeyLimit::default() });
    detector.restore_lanes(&before.lanes_snapshot()).unwrap();
    for change in before.snapshot() {
        detector.restore(&change.key, &change.value.unwrap()).unwrap();
    }
    detector.restored().unwrap();
    let taken = detector.take(&batch(&rules, MINUTE, &[event(MINUTE, 9, 1, false)])).unwrap();
    assert_eq!((detector.keys(), taken.full.values().map(|full| full.keys).sum::<u64>()), (5, 1));
    assert_eq!(detector.take(&batch(&rules, MINUTE + 40, &[])).unwrap().findings.len(), 5);
}

#[test]
fn a_link_without_room_for_its_counter_neither_makes_nor_hides_a_gap() {
    let rules = rules([gap()]);
    // The source and one link of it: the third, since errors, as the first event is, are counted by no platform.
    let limit = KeyLimit { keys: 2, ..KeyLimit::default() };
    let minutes = |links: &[usize]| -> Vec<_> {
        let minute = |number: usize| {
            let (at, link) = (MINUTE + number as i64, 1 + number % 2 * 2);
            let events = [event(at, link, number, false)];
            batch(&rules, at, if links.contains(&link) { &events } else { &[] })
        };
        [batch(&rules, MINUTE, &[])].into_iter().chain((0..400).map(minute)).collect()
    };
    let told = run(&rules, limit, &minutes(&[1, 3]), |_| false);
    let of_other_link = (0..400).filter(|number| number % 2 == 0 && number % 3 > 0).count() as u64;
    assert_eq!(told.full["rule-0"], FullRule { keys: of_other_link, values: 0 });
    let alone = run(&rules, limit, &minutes(&[3]), |_| false);
    assert!(!alone.alerts.is_empty() && alone.full.is_empty(), "{alone:?}");
    assert_eq!(told.alerts, alone.alerts);
}

#[test]
fn links_whose_platform_counts_nothing_take_no_room() {
    let rules = rules([gap()]);
    let limit = KeyLimit { keys: 2, ..KeyLimit::default() };
    let minute = |link: usize| {
        let at = MINUTE + link as i64;
        batch(&rules, at, &[LinkEvent { extra: Map::default(), ..event(at, link * 4 + 1, 1, false) }])
    };
    let batches: Vec<_> = [batch(&rules, MINUTE, &[])].into_iter().chain((0..50).map(minute)).collect();
    let told = run(&rules, limit, &batches, |_| false);
    assert_eq!((told.most_keys, told.full.len()), (1, 0));
}

#[test]
fn a_source_that_comes_back_finds_room_though_links_came_meanwhile() {
    let rules = rules([gap()]);
    let limit = KeyLimit { keys: 64, ..KeyLimit::default() };
    let minute = |at: i64, links: std::ops::Range<usize>| {
        let events: Vec<_> = links.map(|link| event(MINUTE + at, link * 4 + 1, 1, false)).collect();
        batch(&rules, MINUTE + at, &events)
    };
    let bitly = |at: i64| batch(&rules, MINUTE + at, &[event(MINUTE + at, 4, 1, false)]);
    let batches = [minute(0, 0..0), bitly(1), minute(2, 0..100), minute(900, 100..200), bitly(901), minute(902, 0..1)];
    let told = run(&rules, limit, &batches, |_| false);
    // Four of 64 places are left to sources. Beside both of them and the link of bitly there is room for 57 links.
    assert_eq!((told.most_keys, told.full["rule-0"].keys), (60, 2 * 100 - 57));
}

#[test]
fn values_beyond_those_that_are_remembered_are_counted() {
    let rules = rules([first_seen()]);
    let value = |minute: i64, number: usize| LinkEvent {
        utm_source: number.to_string().into(),
        ..event(MINUTE + minute, 1, 1, false)
    };
    // A minute holds fewer than 10,000 apart.
    let minutes: Vec<_> = (0..11)
        .map(|minute| (0..1_000).map(|at| value(minute, minute as usize * 1_000 + at)).collect::<Vec<_>>())
        .zip(0..)
        .map(|(events, minute)| batch(&rules, MINUTE + minute, &events))
        .chain([batch(&rules, MINUTE + 11, &[value(11, 3), value(11, 10_003)]), batch(&rules, MINUTE + 20, &[])])
        .collect();
    let told = run(&rules, KeyLimit::default(), &minutes, |at| at == 10);
    assert_eq!(told.alerts.len(), 10_000);
    assert_eq!(told.full["rule-0"], FullRule { keys: 0, values: 1_001 });
}
