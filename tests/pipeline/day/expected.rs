//! The alerts of the day by a plain reading of docs/detection.md, over all of the history in memory.

use std::collections::{BTreeMap, BTreeSet};

use event::{EventType, LinkEvent, Map, Millis};

use super::made::{ELSEWHERE, EXPECTED, KNOWN, Seen};
use super::{MINUTE, Told, event_key};

#[allow(dead_code, reason = "what is first seen is not part of the day")]
#[path = "../../../crates/domain/rules/tests/plain/mod.rs"]
mod plain;
#[path = "../../../crates/domain/rules/tests/reference/mod.rs"]
mod reference;

use reference::History;

fn key_of(seen: &Seen) -> String {
    format!("go.acme.example/{}", seen.slug())
}

/// What is told of the day from `start` to `end`, of which `drop` is a planned launch (all in minutes since 1970).
pub(super) fn expected(
    start: i64,
    end: i64,
    drop: (i64, i64),
    visits: &[(i64, usize)],
    day: &[Seen],
) -> BTreeSet<Told> {
    let mut told = learned(start, end, drop, visits, day);
    for test in [false, true] {
        let own: Vec<&Seen> = day.iter().filter(|seen| seen.is_test() == test).collect();
        told.extend(watched(end, test, &own));
    }
    let mut count =
        |rule: &str, asked: usize, within: i64, pane: i64, quiet: i64, of: &dyn Fn(&Seen) -> Option<String>| {
            let mut keys: BTreeMap<(String, bool), Vec<i64>> = BTreeMap::new();
            for seen in day.iter().filter(|seen| seen.counts()) {
                if let Some(key) = of(seen) {
                    keys.entry((key, seen.is_test())).or_default().push(seen.at);
                }
            }
            for ((key, test), times) in keys {
                let (mut firing, mut fired_at) = (false, i64::MIN / 2);
                let mut until = times[0].div_euclid(pane) * pane + pane;
                while until <= end * MINUTE {
                    let inside = times.iter().filter(|at| (until - within..until).contains(*at)).count();
                    if !firing && inside >= asked && until - fired_at >= quiet {
                        (firing, fired_at) = (true, until);
                        told.insert((rule.to_owned(), key.clone(), test, "fired", until));
                    } else if firing && inside < asked {
                        firing = false;
                        told.insert((rule.to_owned(), key.clone(), test, "resolved", until));
                    }
                    until += pane;
                }
            }
        };
    count("failing", 3, 10 * MINUTE, MINUTE, 60 * MINUTE, &|seen| (seen.r#type == "error").then(|| key_of(seen)));
    count("burst", 200, 5 * MINUTE, 30_000, 0, &|seen| {
        (seen.r#type != "error" && !seen.campaign.is_empty()).then(|| seen.campaign.to_owned())
    });
    for (number, seen) in day.iter().enumerate().filter(|(_, seen)| seen.r#type == "qr_scan") {
        told.insert(("scan".to_owned(), event_key(number), false, "each", seen.at));
    }
    told
}

/// Spikes and silences.
fn learned(start: i64, end: i64, drop: (i64, i64), visits: &[(i64, usize)], day: &[Seen]) -> BTreeSet<Told> {
    let mut told = BTreeSet::new();
    let mut links: BTreeMap<(String, bool), History> = BTreeMap::new();
    let mut sources: BTreeMap<(&str, bool), History> = BTreeMap::new();
    for (minute, link) in visits {
        let key = format!("go.acme.example/{}", KNOWN[*link]);
        *links.entry((key, false)).or_default().entry(*minute).or_default() += 1;
        *sources.entry(("acme", false)).or_default().entry(*minute).or_default() += 1;
    }
    for seen in day.iter().filter(|seen| seen.counts() && seen.r#type != "error") {
        let minute = seen.at / MINUTE;
        *sources.entry((seen.source, seen.is_test())).or_default().entry(minute).or_default() += 1;
        if seen.kind == "promo" && seen.late_ms == 0 {
            *links.entry((key_of(seen), seen.is_test())).or_default().entry(minute).or_default() += 1;
        }
    }
    let turn = |fired: bool| if fired { "fired" } else { "resolved" };
    for ((key, test), history) in &links {
        let planned = if key.ends_with("/drop") { vec![drop] } else { Vec::new() };
        for (at, fired) in reference::spikes(history, 50, 3.0, 5.5, 60, &planned, end - 1) {
            told.insert(("spike".to_owned(), key.clone(), *test, turn(fired.is_some()), at * MINUTE));
        }
    }
    for ((source, test), history) in &sources {
        for (at, fired) in reference::silences(history, 10, end) {
            told.insert(("quiet".to_owned(), (*source).to_owned(), *test, turn(fired), at * MINUTE));
        }
        // By a fixed time: half an hour after the last minute with a visit. It knows nothing of the days before.
        let minutes: Vec<i64> = history.keys().copied().filter(|minute| *minute >= start).collect();
        let next = minutes.iter().skip(1).copied().map(Some).chain([None]);
        for (minute, next) in minutes.iter().zip(next) {
            let due = minute + 31;
            if due <= next.unwrap_or(end) {
                told.insert(("still".to_owned(), (*source).to_owned(), *test, "fired", due * MINUTE));
                if let Some(next) = next {
                    told.insert(("still".to_owned(), (*source).to_owned(), *test, "resolved", (next + 1) * MINUTE));
                }
            }
        }
    }
    told
}

/// Broken destinations, drift and delivery gaps, of production data or of test data.
fn watched(end: i64, test: bool, day: &[&Seen]) -> BTreeSet<Told> {
    let events = |of: &dyn Fn(&Seen) -> bool| -> Vec<plain::Received> {
        // Links of which all visits are alike say nothing.
        let told_apart = day.iter().filter(|seen| of(seen) && !seen.slug.starts_with('l'));
        told_apart.map(|seen| (seen.at / MINUTE, event_of(seen))).collect()
    };
    let (met, all) = (events(&|seen| seen.counts()), events(&|seen| seen.r#type != "error"));
    let site = |host: &str| rules::site(host).to_owned();
    let said = [
        ("broken", plain::broken(&met, end)),
        ("drift", plain::drift(&met, site, end)),
        ("gap", plain::gap(&all, plain::link, end)),
    ];
    let turn = |sign: char| if sign == '+' { "fired" } else { "resolved" };
    let of_rule = |(rule, said): (&'static str, Vec<plain::Said>)| {
        said.into_iter().map(move |(key, at, sign, _)| (rule.to_owned(), key, test, turn(sign), at * MINUTE))
    };
    said.into_iter().flat_map(of_rule).collect()
}

fn event_of(seen: &Seen) -> LinkEvent<'static> {
    let mut extra = Map::default();
    seen.counter.iter().for_each(|counter| extra.add(rules::COUNTER, counter.to_string()));
    // The list of links expects one place of one link.
    let trace = match (seen.slug().as_str(), seen.host) {
        ("moved", ELSEWHERE) => vec![format!("catalogue:expected_host:{EXPECTED}").into()],
        _ => Vec::new(),
    };
    LinkEvent {
        r#type: EventType::from_name(seen.r#type).unwrap(),
        received_at: Millis(seen.at),
        event_time: Millis(seen.at - seen.late_ms),
        domain: "go.acme.example".into(),
        slug: seen.slug().into(),
        source: seen.source.into(),
        destination_host: seen.host.into(),
        redirect_status: 302,
        extra,
        trace,
        ..LinkEvent::default()
    }
}
