//! Rules on broken destinations, drift, delivery gaps and what is first seen, from events to alerts: against a plain
//! reference, over any interleaving of lanes, with a lane that is behind, late events, and restarts anywhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

mod broken;
mod plain;

use std::collections::{BTreeMap, HashMap};

use event::{Alert, EventType, LinkEvent, Map, Millis, Signal, SignalBatch, Transition};
use hookline_rules::{
    BrokenRule, COUNTER, Detector, DriftRule, FirstSeenRule, GapRule, Glob, Per, Rule, SignalSum, Subject, Trigger,
    When, site,
};
use plain::{Received, Said};
use proptest::prelude::*;

/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
const MONDAY: i64 = 29_459_520;
const LANES: u16 = 3;

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

fn rule(trigger: Trigger) -> Rule {
    Rule::new("watch", "growth", When::new(vec![], vec![]), Some(trigger))
}

fn broken(per: Per) -> Rule {
    let broken =
        BrokenRule { at_least: 3, percent: 10, within_minutes: 10, over_after_minutes: 60, quiet_for_minutes: 60 };
    rule(Trigger::Broken { broken, per })
}

fn drift() -> Rule {
    rule(Trigger::Drift { drift: DriftRule { at_least: 3, quiet_for_minutes: 60 }, per: Per::Link })
}

fn gap(per: Per) -> Rule {
    rule(Trigger::Gap { gap: GapRule { share_basis_points: 500, within_hours: 24, at_least: 50 }, per })
}

fn first_seen() -> Rule {
    let known = vec![Glob::new("go.known.example")];
    rule(Trigger::FirstSeen(FirstSeenRule { of: Subject::Domain, learn_minutes: 1_440, known }))
}

fn event(minute: i64, r#type: EventType, slug: u64) -> LinkEvent<'static> {
    let at = Millis(minute * 60_000 + 7_000);
    LinkEvent {
        r#type,
        received_at: at,
        event_time: at,
        event_key: format!("e-{minute}-{slug}").into(),
        domain: "go.example.com".into(),
        slug: format!("s{slug}").into(),
        source: "dub".into(),
        ..LinkEvent::default()
    }
}

/// As `process` sends it: each event takes a lane, and each lane sends what it has read in steps of some minutes. A
/// lane may be up to nine minutes behind the others.
fn batches(rule: &Rule, events: &[Received], end: i64, random: &mut Random) -> Vec<SignalBatch<'static>> {
    let mut of_lanes: Vec<Vec<&Received>> = vec![Vec::new(); usize::from(LANES)];
    let mut events: Vec<&Received> = events.iter().collect();
    events.sort_by_key(|one| one.0);
    for one in events {
        of_lanes[random.below(u64::from(LANES)) as usize].push(one);
    }
    // With the time at which it comes, by which lanes interleave.
    let mut batches: Vec<(i64, u64, SignalBatch<'static>)> = Vec::new();
    for (lane, own) in (0..LANES).zip(of_lanes) {
        let mut from = MONDAY;
        let first = SignalBatch { lane, watermark: Millis(MONDAY * 60_000), signals: vec![] };
        batches.push((MONDAY, 0, first));
        while from < end {
            let to = (from + 1 + random.below(6) as i64).min(end);
            let mut sums: HashMap<(String, i64, String), SignalSum> = HashMap::new();
            let until = |minute: i64| own.partition_point(|one| one.0 < minute);
            for (minute, event) in &own[until(from)..until(to)] {
                let Some(seen) = rule.observe(event, minute * 60_000 + 7_000) else { continue };
                let counted = (seen.key.clone().into_owned(), seen.pane, seen.facet.clone().into_owned());
                match sums.get_mut(&counted) {
                    Some(sum) => sum.add(&seen, event),
                    None => drop(sums.insert(counted, SignalSum::new(rule, &seen, 1, event))),
                }
            }
            let mut signals: Vec<Signal<'static>> = sums.values().map(SignalSum::signal).collect();
            // The attributes of the first of several events depend on nothing but their order.
            signals
                .sort_by(|one, other| (&one.key, one.pane, &one.sample).cmp(&(&other.key, other.pane, &other.sample)));
            let behind = random.below(3) as i64;
            batches.push((
                to + behind,
                random.below(100),
                SignalBatch { lane, watermark: Millis(to * 60_000), signals },
            ));
            from = to;
        }
    }
    let mut next: Vec<usize> = vec![0; usize::from(LANES)];
    let mut in_order: Vec<Vec<(i64, u64, SignalBatch<'static>)>> = vec![Vec::new(); usize::from(LANES)];
    for one in batches {
        in_order[usize::from(one.2.lane)].push(one);
    }
    // Each lane in its order; of the lanes, the one that comes first.
    let mut merged = Vec::new();
    while let Some(lane) = (0..in_order.len())
        .filter(|lane| next[*lane] < in_order[*lane].len())
        .min_by_key(|lane| (in_order[*lane][next[*lane]].0, in_order[*lane][next[*lane]].1))
    {
        merged.push(in_order[lane][next[lane]].2.clone());
        next[lane] += 1;
    }
    merged
}

/// All alerts; every so many batches the detector is made anew from what it has stored.
fn run(rule: &Rule, batches: &[SignalBatch<'static>], restore_every: usize) -> Vec<Alert<'static>> {
    let new = || Detector::new(std::slice::from_ref(rule), LANES);
    let (mut detector, mut stored, mut alerts) = (new(), BTreeMap::new(), Vec::new());
    for (number, batch) in (1..).zip(batches) {
        let taken = detector.take(batch).unwrap();
        assert_eq!((taken.late, taken.unknown), (0, 0));
        alerts.extend(taken.findings.into_iter().map(|finding| finding.alert));
        if number % restore_every == 0 {
            for change in detector.snapshot() {
                match change.value {
                    Some(value) => drop(stored.insert(change.key, value)),
                    None => drop(stored.remove(&change.key).unwrap()),
                }
            }
            assert_eq!((stored.len(), detector.unsaved()), (detector.keys(), 0));
            let lanes = detector.lanes_snapshot();
            detector = new();
            detector.restore_lanes(&lanes).unwrap();
            stored.iter().for_each(|(key, value)| detector.restore(key, value).unwrap());
            detector.restored().unwrap();
        }
    }
    alerts
}

fn said(alerts: &[Alert<'_>]) -> Vec<Said> {
    let mut said: Vec<Said> = alerts
        .iter()
        .map(|alert| {
            let sign = match alert.transition {
                Transition::Fired => '+',
                Transition::Resolved => '-',
                Transition::Each => '!',
            };
            (alert.key.to_string(), alert.window_end.0 / 60_000, sign, alert.observed)
        })
        .collect();
    said.sort();
    said
}

/// Holds a rule to what should be said, and to itself over another interleaving and over restarts.
fn hold(rule: &Rule, events: &[Received], end: i64, mut expected: Vec<Said>, seed: u64) -> Result<(), TestCaseError> {
    let one = batches(rule, events, end, &mut Random(seed));
    let alerts = run(rule, &one, usize::MAX);
    expected.sort();
    prop_assert_eq!(said(&alerts), expected);
    let bytes = |alerts: &[Alert<'_>]| {
        let mut all = Vec::new();
        alerts.iter().for_each(|alert| alert.encode(&mut all));
        all
    };
    prop_assert_eq!(bytes(&run(rule, &one, 7 + seed as usize % 300)), bytes(&alerts), "a restart changes nothing");
    let other = batches(rule, events, end, &mut Random(seed ^ 0x5555));
    prop_assert_eq!(said(&run(rule, &other, usize::MAX)), said(&alerts), "lanes may interleave as they like");
    Ok(())
}

/// Links that break, are mended, edited, ended by their platform or by the catalogue, and revived, and late visits.
fn breaking(random: &mut Random) -> (Vec<Received>, i64) {
    let end = MONDAY + 1_000 + random.below(2_000) as i64;
    let mut events = Vec::new();
    for link in 0..3 {
        let (mut rate, mut bad) = (1 + random.below(3), 0);
        for minute in MONDAY..end {
            if random.below(150) == 0 {
                (rate, bad) = (random.below(4), [0, 0, 1, 3, 30][random.below(5) as usize]);
            }
            if random.below(400) == 0 {
                let subtype = random.pick(&["link.expired", "link.edited", "link.deleted", "link.edited"]);
                let of_catalogue = subtype == "link.expired" && random.below(2) == 0;
                let mut one = LinkEvent { subtype: subtype.into(), ..event(minute, EventType::Lifecycle, link) };
                one.source = if of_catalogue { "catalogue" } else { "dub" }.into();
                one.campaign = "spring".into();
                events.push((minute, one));
            }
            for _ in 0..random.below(rate + 1) {
                let kind = if random.below(5) == 0 { EventType::QrScan } else { EventType::Click };
                let mut one = event(minute, kind, link);
                one.campaign = "spring".into();
                if random.below(30) < bad {
                    match random.below(4) {
                        0 => {
                            (one.r#type, one.error_kind) = (EventType::Error, "destination_unavailable".into());
                        }
                        1 => one.trace.push("catalogue:expired".into()),
                        2 => one.trace.push("catalogue:deleted".into()),
                        _ => one.redirect_status = 404,
                    }
                }
                if random.below(4) == 0 {
                    one.event_time = Millis(one.received_at.0 - 15 * 60_000 - random.below(30 * 60_000) as i64);
                }
                events.push((minute, one));
            }
        }
    }
    (events, end)
}

/// Links that lead elsewhere for a while or for good, with and without edits, and late events of before.
fn drifting(random: &mut Random) -> (Vec<Received>, i64) {
    let end = MONDAY + 3_000 + random.below(14_000) as i64;
    let hosts = ["www.shop.example.com", "pay.example.com", "shop.example.org", "evil.example.net"];
    let mut events = Vec::new();
    for link in 0..3 {
        let (mut host, mut status, mut expects) = (hosts[0], 301, random.below(3) == 0);
        let rate = [6, 20, 60][random.below(3) as usize];
        for minute in MONDAY..end {
            if random.below(2_500) == 0 {
                (host, status) = (random.pick(&hosts), [301, 301, 302, 0][random.below(4) as usize]);
                expects ^= random.below(4) == 0;
            }
            if random.below(3_000) == 0 {
                let mut edit = event(minute, EventType::Lifecycle, link);
                edit.subtype = "link.edited".into();
                edit.destination_host = random.pick(&[host, host, "", hosts[2]]).to_owned().into();
                events.push((minute, edit));
            }
            if random.below(rate) > 0 {
                continue;
            }
            let mut one = event(minute, EventType::Click, link);
            let shown = if random.below(200) == 0 { random.pick(&hosts) } else { host };
            (one.destination_host, one.redirect_status) = (shown.to_owned().into(), status);
            if expects && shown != hosts[0] {
                one.trace.push(format!("catalogue:expected_host:{}", hosts[0]).into());
            }
            if random.below(40) == 0 {
                one.event_time = Millis(one.received_at.0 - 20 * 60_000);
                one.destination_host = hosts[random.below(4) as usize].into();
            }
            events.push((minute, one));
        }
    }
    (events, end)
}

/// Links whose platform counts: with losses, retries that come later, reordering, counters that are set back or anew,
/// bots, and a second source that tells of the same link.
fn counting(random: &mut Random) -> (Vec<Received>, i64) {
    let end = MONDAY + 2_000 + random.below(2_500) as i64;
    let mut events: Vec<Received> = Vec::new();
    for (link, source) in [(0, "dub"), (1, "dub"), (1, "shlink"), (2, "shlink")] {
        let (mut counter, mut lost, mut rate) = (random.below(5_000), 0, 1 + random.below(4));
        let mut held: Vec<(i64, LinkEvent<'static>)> = Vec::new();
        for minute in MONDAY..end {
            if random.below(300) == 0 {
                (lost, rate) = ([0, 0, 2, 10, 100][random.below(5) as usize], 1 + random.below(5));
            }
            if random.below(2_500) == 0 {
                counter = [0, counter / 2, counter + 30_000][random.below(3) as usize];
            }
            for _ in 0..random.below(rate) * u64::from(random.below(3) == 0) {
                counter += 1;
                let mut one = event(minute, EventType::Click, link);
                one.source = source.into();
                let mut extra = Map::default();
                extra.add(COUNTER, counter.to_string());
                one.extra = extra;
                if random.below(5) == 0 {
                    one.counted = event::Counted::Bot;
                }
                match random.below(100) {
                    roll if roll < lost => {
                        if random.below(3) == 0 {
                            held.push((minute + 20 + random.below(900) as i64, one));
                        }
                    }
                    99 => held.push((minute + 1 + random.below(10) as i64, one)),
                    98 => {
                        one.extra = Map::default();
                        events.push((minute, one));
                    }
                    _ => events.push((minute, one)),
                }
            }
            for at in (0..held.len()).rev().filter(|at| held[*at].0 <= minute).collect::<Vec<_>>() {
                let (_, mut one) = held.remove(at);
                one.received_at = Millis(minute * 60_000 + 7_000);
                events.push((minute, one));
            }
        }
    }
    events.sort_by_key(|one| one.0);
    (events, end)
}

/// Domains, of which some come late.
fn naming(random: &mut Random) -> (Vec<Received>, i64) {
    let end = MONDAY + 4_000;
    let mut events = Vec::new();
    for minute in MONDAY..end {
        for _ in 0..random.below(2) {
            let known = 2 + (minute - MONDAY) as u64 / 300;
            let mut one = event(minute, EventType::Click, 0);
            one.domain = match random.below(known) {
                0 => "go.known.example".into(),
                number => format!("go{number}.example").into(),
            };
            one.event_time = Millis(one.received_at.0 - random.below(40) as i64 * 60_000);
            events.push((minute, one));
        }
    }
    (events, end)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn broken_destinations_are_told_as_the_reference_tells_them(seed in any::<u64>()) {
        let (events, end) = breaking(&mut Random(seed));
        hold(&broken(Per::Link), &events, end, plain::broken(&events, end), seed)?;
        let by_campaign = plain::broken_per(&events, |event| event.campaign.to_string(), false, end);
        hold(&broken(Per::Campaign), &events, end, by_campaign, seed)?;
    }

    #[test]
    fn drift_is_told_as_the_reference_tells_it(seed in any::<u64>()) {
        let (events, end) = drifting(&mut Random(seed));
        let expected = plain::drift(&events, |host| site(host).to_owned(), end);
        hold(&drift(), &events, end, expected, seed)?;
    }

    #[test]
    fn delivery_gaps_are_told_as_the_reference_tells_them(seed in any::<u64>()) {
        let (events, end) = counting(&mut Random(seed));
        hold(&gap(Per::Link), &events, end, plain::gap(&events, plain::link, end), seed)?;
        let by_source = plain::gap(&events, |event| event.source.to_string(), end);
        hold(&gap(Per::Source), &events, end, by_source, seed)?;
    }

    #[test]
    fn what_is_first_seen_is_told_as_the_reference_tells_it(seed in any::<u64>()) {
        let (events, end) = naming(&mut Random(seed));
        hold(&first_seen(), &events, end, plain::first_seen(&events), seed)?;
    }
}

#[test]
fn what_the_rules_are_held_to_has_alerts_of_each_kind() {
    let (mut said, mut random) = ([0; 8], Random(3));
    let count = |of: Vec<Said>, sign: char| of.iter().filter(|one| one.2 == sign).count();
    for _ in 0..6 {
        let (events, end) = breaking(&mut random);
        let of = plain::broken(&events, end);
        (said[0], said[1]) = (said[0] + count(of.clone(), '+'), said[1] + count(of, '-'));
        let (events, end) = drifting(&mut random);
        let of = plain::drift(&events, |host| site(host).to_owned(), end);
        (said[2], said[3]) = (said[2] + count(of.clone(), '+'), said[3] + count(of, '-'));
        let (events, end) = counting(&mut random);
        let of = plain::gap(&events, plain::link, end);
        (said[4], said[5]) = (said[4] + count(of.clone(), '+'), said[5] + count(of, '-'));
        let of = plain::gap(&events, |event| event.source.to_string(), end);
        said[6] += count(of, '+');
        said[7] += count(plain::first_seen(&naming(&mut random).0), '!');
    }
    assert!(said.iter().all(|count| *count >= 4), "{said:?}");
}
