//! The same input gives the same alerts: whatever the interleaving of lanes, and over snapshots at any point.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

use std::collections::{BTreeMap, HashMap};

use event::{Alert, Map, Millis, Signal, SignalBatch, Transition};
use hookline_rules::{Detector, EXCLUDED_AFTER_MS};
use hookline_rules::{Per, Rule, When, pane_start};
use proptest::prelude::*;

const START: i64 = 1_764_000_000_000;

fn rules() -> Vec<Rule> {
    let rule = |name: &str, count, within_s: i64, quiet_s: i64| {
        let alert = hookline_rules::Trigger::count(count, Per::Link, within_s * 1_000, quiet_s * 1_000).unwrap();
        Rule::new(name, "growth", When::new(vec![], vec![]), Some(alert))
    };
    vec![rule("one-pane", 2, 1, 0), rule("short", 5, 10, 0), rule("long", 8, 60, 45)]
}

fn threshold(rule: &Rule) -> (u64, i64, i64, i64) {
    let Some(hookline_rules::Trigger::Count { count, within_ms, pane_ms, quiet_for_ms, .. }) = rule.trigger() else {
        panic!()
    };
    (*count, *within_ms, *pane_ms, *quiet_for_ms)
}

/// A match: lane, milliseconds after the lane's last one, key, whether it is test data.
type Match = (u16, i64, u8, bool);

/// What `process` would send: batches of a few matches, each lane's in the order of its time, and a last tick for all.
fn batches(lanes: u16, matches: &[Match], per_batch: usize) -> Vec<Vec<SignalBatch<'static>>> {
    let rules = rules();
    let mut by_lane = Vec::new();
    for lane in 0..lanes {
        let mut at = START + i64::from(lane) * 137;
        let own: Vec<(usize, i64, u8, bool)> = matches
            .iter()
            .enumerate()
            .filter(|(_, one)| one.0 % lanes == lane)
            .map(|(number, (_, after, key, test))| {
                at += after;
                (number, at, *key, *test)
            })
            .collect();
        let mut batches = vec![SignalBatch { lane, watermark: Millis(START), signals: vec![] }];
        for chunk in own.chunks(per_batch.max(1)) {
            let mut counts: BTreeMap<(usize, u8, bool, i64), Signal<'static>> = BTreeMap::new();
            for (number, at, key, test) in chunk {
                for (index, rule) in rules.iter().enumerate() {
                    let pane = pane_start(*at, threshold(rule).2);
                    let mut attributes = Map::default();
                    attributes.add("slug", format!("slug-{number}"));
                    let signal = counts.entry((index, *key, *test, pane)).or_insert_with(|| Signal {
                        rule: rule.name().to_owned().into(),
                        rule_version: rule.version().to_owned().into(),
                        key: format!("go.example.com/{key}").into(),
                        pane: Millis(pane),
                        test: *test,
                        sample: format!("event-{number}").into(),
                        attributes,
                        ..Signal::default()
                    });
                    signal.count += 1;
                }
            }
            let watermark = Millis(chunk.last().map_or(START, |last| last.1));
            batches.push(SignalBatch { lane, watermark, signals: counts.into_values().collect() });
        }
        by_lane.push(batches);
    }
    let end = by_lane.iter().flatten().map(|batch| batch.watermark.0).max().unwrap_or(START);
    for (lane, batches) in (0..).zip(&mut by_lane) {
        // In steps, so that no lane runs far ahead of another.
        let from = batches.last().map_or(START, |batch| batch.watermark.0);
        for at in (from..end + 200_000).step_by(20_000).chain([end + 200_000]) {
            batches.push(SignalBatch { lane, watermark: Millis(at), signals: vec![] });
        }
    }
    by_lane
}

/// One interleaving: each choice takes the next batch of a lane; lanes that would run out of reach of the slowest wait.
fn interleave(by_lane: &[Vec<SignalBatch<'static>>], choices: &[u16]) -> Vec<SignalBatch<'static>> {
    let mut next = vec![0; by_lane.len()];
    let mut order = Vec::new();
    let mut choices = choices.iter().copied().cycle();
    let left =
        |next: &[usize]| (0..by_lane.len()).filter(|lane| next[*lane] < by_lane[*lane].len()).collect::<Vec<_>>();
    loop {
        let open = left(&next);
        if open.is_empty() {
            return order;
        }
        let watermark = |lane: usize, at: usize| by_lane[lane][at].watermark.0;
        let said = |lane: usize| if next[lane] == 0 { START } else { watermark(lane, next[lane] - 1) };
        let slowest = (0..by_lane.len()).map(said).min().unwrap();
        let mut may: Vec<usize> =
            open.iter().copied().filter(|lane| watermark(*lane, next[*lane]) - slowest < EXCLUDED_AFTER_MS).collect();
        if may.is_empty() {
            may = open;
        }
        let lane = may[usize::from(choices.next().unwrap_or(0)) % may.len()];
        order.push(by_lane[lane][next[lane]].clone());
        next[lane] += 1;
    }
}

fn told(mut alerts: Vec<Alert<'static>>) -> Vec<Alert<'static>> {
    alerts.sort_by(|a, b| (a.window_end, &a.rule, &a.key, a.test).cmp(&(b.window_end, &b.rule, &b.key, b.test)));
    alerts
}

fn run(lanes: u16, order: &[SignalBatch<'static>]) -> Vec<Alert<'static>> {
    let mut detector = Detector::new(&rules(), lanes);
    let mut alerts = Vec::new();
    for batch in order {
        let taken = detector.take(batch).unwrap();
        assert_eq!((taken.late, taken.unknown), (0, 0));
        alerts.extend(taken.findings.into_iter().map(|finding| finding.alert));
    }
    assert_eq!(detector.keys(), 0, "nothing is counted any more, so nothing is kept");
    told(alerts)
}

/// What should be said, from all counts at once: every window that ends with a pane, in order.
fn expected(order: &[SignalBatch<'static>], end: i64) -> Vec<(String, String, bool, i64, Transition, u64)> {
    let mut expected = Vec::new();
    for rule in rules() {
        let (count, within, pane, quiet) = threshold(&rule);
        let mut counts: BTreeMap<(String, bool), BTreeMap<i64, u64>> = BTreeMap::new();
        for signal in order.iter().flat_map(|batch| &batch.signals).filter(|signal| signal.rule == rule.name()) {
            let of_key = counts.entry((signal.key.to_string(), signal.test)).or_default();
            *of_key.entry(signal.pane.0).or_default() += signal.count;
        }
        for ((key, test), panes) in counts {
            let (mut firing, mut fired_at) = (false, i64::MIN / 2);
            let mut at = pane_start(START, pane) - within;
            while at <= pane_start(end, pane) {
                let sum: u64 =
                    panes.iter().filter(|(start, _)| at - within <= **start && **start < at).map(|(_, n)| n).sum();
                let turn = match (firing, sum >= count) {
                    (false, true) if at - fired_at >= quiet => Some(Transition::Fired),
                    (true, false) => Some(Transition::Resolved),
                    _ => None,
                };
                if let Some(transition) = turn {
                    firing = transition == Transition::Fired;
                    fired_at = if firing { at } else { fired_at };
                    expected.push((rule.name().to_owned(), key.clone(), test, at, transition, sum));
                }
                at += pane;
            }
        }
    }
    expected.sort_by(|a, b| (a.3, &a.0, &a.1, a.2).cmp(&(b.3, &b.0, &b.1, b.2)));
    expected
}

fn summary(alerts: &[Alert<'static>]) -> Vec<(String, String, bool, i64, Transition, u64)> {
    let one = |alert: &Alert<'_>| {
        let (rule, key) = (alert.rule.to_string(), alert.key.to_string());
        (rule, key, alert.test, alert.window_end.0, alert.transition, alert.observed)
    };
    alerts.iter().map(one).collect()
}

fn matches() -> impl Strategy<Value = Vec<Match>> {
    let after = prop_oneof![4 => 0..400i64, 2 => 400..5_000i64, 1 => 5_000..40_000i64];
    prop::collection::vec((any::<u16>(), after, 0..3u8, prop::bool::weighted(0.2)), 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_interleaving_of_lanes_gives_the_alerts_of_the_counts_with_the_same_ids(
        lanes in 1..5u16, matches in matches(), per_batch in 1..12usize,
        first in prop::collection::vec(any::<u16>(), 1..60), second in prop::collection::vec(any::<u16>(), 1..60),
    ) {
        let by_lane = batches(lanes, &matches, per_batch);
        let end = by_lane.iter().flatten().map(|batch| batch.watermark.0).max().unwrap();
        let (one, other) = (interleave(&by_lane, &first), interleave(&by_lane, &second));
        let alerts = run(lanes, &one);
        prop_assert_eq!(summary(&alerts), expected(&one, end));
        prop_assert_eq!(&alerts, &run(lanes, &other));
        let ids: std::collections::HashSet<_> = alerts.iter().map(|alert| &alert.alert_id).collect();
        prop_assert_eq!(ids.len(), alerts.len(), "an id names one alert");
    }

    #[test]
    fn a_detector_that_is_stored_and_restored_anywhere_says_the_same(
        lanes in 1..4u16, matches in matches(), choices in prop::collection::vec(any::<u16>(), 1..60),
        // After how many batches it stores, and whether it then loses what it read since the last time, and itself.
        steps in prop::collection::vec((1..9usize, any::<bool>()), 1..20),
    ) {
        let order = interleave(&batches(lanes, &matches, 5), &choices);
        let mut topic: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let (mut stored_lanes, mut position): (Option<Vec<u8>>, usize) = (None, 0);
        let (mut detector, mut at) = (Detector::new(&rules(), lanes), 0);
        let (mut committed, mut open) = (Vec::new(), Vec::new());
        let mut steps = steps.into_iter().cycle();
        let (mut left, mut crashes) = steps.next().unwrap();
        while at < order.len() {
            open.extend(detector.take(&order[at]).unwrap().findings.into_iter().map(|finding| finding.alert));
            (at, left) = (at + 1, left - 1);
            if left > 0 {
                continue;
            }
            let crashed = crashes;
            if crashes {
                detector = Detector::new(&rules(), lanes);
                if let Some(lanes) = &stored_lanes {
                    detector.restore_lanes(lanes).unwrap();
                }
                topic.iter().for_each(|(key, value)| detector.restore(key, value).unwrap());
                open.clear();
                at = position;
            } else {
                for change in detector.snapshot() {
                    match change.value {
                        Some(value) => topic.insert(change.key, value),
                        None => Some(topic.remove(&change.key).expect("only what is stored is removed")),
                    };
                }
                prop_assert_eq!(topic.len(), detector.keys());
                prop_assert_eq!(detector.unsaved(), 0);
                stored_lanes = Some(detector.lanes_snapshot());
                committed.append(&mut open);
                position = at;
            }
            (left, crashes) = steps.next().unwrap();
            // Crashes for ever would never get anywhere.
            crashes &= !crashed;
        }
        committed.append(&mut open);
        prop_assert_eq!(told(committed), run(lanes, &order));
    }
}

fn batch(lane: u16, watermark: i64, signals: Vec<Signal<'static>>) -> SignalBatch<'static> {
    SignalBatch { lane, watermark: Millis(watermark), signals }
}

fn signal(rule: &Rule, key: &str, at: i64, count: u64) -> Signal<'static> {
    let (rule_name, version) = (rule.name().to_owned(), rule.version().to_owned());
    let pane = Millis(pane_start(at, threshold(rule).2));
    Signal {
        rule: rule_name.into(),
        rule_version: version.into(),
        key: key.to_owned().into(),
        pane,
        count,
        ..Signal::default()
    }
}

#[test]
fn a_condition_fires_once_and_resolves_once_however_long_it_holds() {
    let rule = &rules()[1];
    let mut detector = Detector::new(std::slice::from_ref(rule), 1);
    let mut said = Vec::new();
    for second in 0..120 {
        let at = START + second * 1_000;
        let signals = if second < 60 { vec![signal(rule, "k", at, 3)] } else { vec![] };
        said.extend(detector.take(&batch(0, at, signals)).unwrap().findings);
    }
    let said: Vec<_> = said.iter().map(|one| (one.alert.transition, one.alert.window_end.0 - START)).collect();
    assert_eq!(said, [(Transition::Fired, 2_000), (Transition::Resolved, 69_000)]);
}

#[test]
fn a_rule_that_fired_stays_quiet_for_a_while_and_speaks_again_after_it() {
    let quick = Rule::new(
        "quick",
        "growth",
        When::new(vec![], vec![]),
        Some(hookline_rules::Trigger::count(2, Per::Link, 1_000, 10_000).unwrap()),
    );
    let mut bursts = Detector::new(std::slice::from_ref(&quick), 1);
    let mut said = Vec::new();
    for second in 0..30 {
        let at = START + second * 1_000;
        // A burst every other second: it would fire fifteen times.
        let signals = if second % 2 == 0 { vec![signal(&quick, "k", at, 2)] } else { vec![] };
        said.extend(bursts.take(&batch(0, at, signals)).unwrap().findings);
    }
    let fired: Vec<_> = said
        .iter()
        .filter(|one| one.alert.transition == Transition::Fired)
        .map(|one| (one.alert.window_end.0 - START) / 1_000)
        .collect();
    assert_eq!(fired, [1, 11, 21]);
}

#[test]
fn what_a_left_out_lane_sends_late_is_told_and_still_counts_where_a_window_reaches_it() {
    let rule = &rules()[2];
    let mut detector = Detector::new(std::slice::from_ref(rule), 2);
    detector.take(&batch(0, START, vec![])).unwrap();
    detector.take(&batch(1, START, vec![])).unwrap();
    let ahead = START + EXCLUDED_AFTER_MS + 100_000;
    detector.take(&batch(0, ahead, vec![])).unwrap();
    assert_eq!(detector.excluded(), [1]);
    // Both panes have closed; the windows that end from now on reach the second one only.
    let late = vec![signal(rule, "k", ahead - 90_000, 8), signal(rule, "k", ahead - 20_000, 8)];
    let taken = detector.take(&batch(1, ahead - 20_000, late)).unwrap();
    assert_eq!((taken.late, taken.findings.len()), (2, 0));
    detector.take(&batch(1, ahead + 5_000, vec![])).unwrap();
    let taken = detector.take(&batch(0, ahead + 5_000, vec![])).unwrap();
    let told: Vec<_> = taken.findings.iter().map(|one| (one.alert.transition, one.alert.observed)).collect();
    assert_eq!(told, [(Transition::Fired, 8)]);
}

#[test]
fn signals_of_another_version_and_of_unknown_rules_are_passed_over_and_counted() {
    let rule = &rules()[1];
    let mut detector = Detector::new(std::slice::from_ref(rule), 1);
    let old = Signal { rule_version: "000000000000".into(), ..signal(rule, "k", START, 100) };
    let unknown = Signal { rule: "gone".into(), ..signal(rule, "k", START, 100) };
    let taken = detector.take(&batch(0, START + 60_000, vec![old, unknown])).unwrap();
    assert_eq!((taken.unknown, taken.findings.len(), detector.keys()), (2, 0, 0));
}

#[test]
fn the_state_of_a_rule_that_is_gone_is_removed_with_the_next_snapshot() {
    let rules = rules();
    let mut before = Detector::new(&rules, 1);
    before.take(&batch(0, START, vec![signal(&rules[1], "k", START, 1), signal(&rules[2], "k", START, 1)])).unwrap();
    let stored = before.snapshot();
    assert_eq!(stored.len(), 2);
    let mut after = Detector::new(&rules[2..], 1);
    after.restore_lanes(&before.lanes_snapshot()).unwrap();
    stored.iter().for_each(|change| after.restore(&change.key, change.value.as_ref().unwrap()).unwrap());
    assert_eq!(after.keys(), 1);
    let changes = after.snapshot();
    assert!(changes.len() == 1 && changes[0].value.is_none() && changes[0].key.starts_with(b"short\0"));
}

#[test]
fn a_lane_that_does_not_exist_is_an_error_and_an_absurd_pane_does_no_harm() {
    let rule = &rules()[1];
    let mut detector = Detector::new(std::slice::from_ref(rule), 1);
    assert!(detector.take(&batch(1, START, vec![])).is_err());
    for at in [i64::MIN, -1, i64::MAX - 1_000, i64::MAX] {
        let absurd = Signal { pane: Millis(at), ..signal(rule, "k", START, 1) };
        detector.take(&batch(0, START, vec![absurd])).unwrap();
    }
    detector.take(&batch(0, i64::MAX, vec![])).unwrap();
}

#[test]
fn a_lane_that_has_read_nothing_yet_is_neither_behind_nor_passed_by() {
    let rule = &rules()[1];
    let mut detector = Detector::new(std::slice::from_ref(rule), 2);
    detector.take(&batch(0, 0, vec![])).unwrap();
    detector.take(&batch(1, START, vec![signal(rule, "k", START, 5)])).unwrap();
    let taken = detector.take(&batch(1, START + 60_000, vec![])).unwrap();
    assert_eq!((detector.excluded(), detector.watermark(), taken.findings.len()), (vec![], None, 0));
    let taken = detector.take(&batch(0, START + 60_000, vec![])).unwrap();
    assert_eq!(taken.findings.len(), 2);
}

#[test]
fn a_shadow_rule_is_marked_so_that_nobody_hears_of_it() {
    let rule = rules()[0].clone().in_shadow(true);
    let mut detector = Detector::new(std::slice::from_ref(&rule), 1);
    let taken = detector.take(&batch(0, START + 10_000, vec![signal(&rule, "k", START, 2)])).unwrap();
    assert!(taken.findings.iter().all(|finding| finding.shadow) && taken.findings.len() == 2);
}
