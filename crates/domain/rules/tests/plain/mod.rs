//! The rules on broken destinations, drift, delivery gaps and what is first seen, written once more from
//! docs/detection.md: minute by minute, with all events in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use event::{EventType, LinkEvent};

/// What is said: key, end of the minute, `+` fired, `-` over, `!` a single word, and the events observed.
pub(crate) type Said = (String, i64, char, u64);

/// An event and the minute in which it was received.
pub(crate) type Received = (i64, LinkEvent<'static>);

fn is_visit(event: &LinkEvent<'_>) -> bool {
    matches!(event.r#type, EventType::Click | EventType::QrScan)
}

fn is_late(event: &LinkEvent<'_>) -> bool {
    event.received_at.0 - event.event_time.0 >= 15 * 60_000
}

fn by_key(events: &[Received], key: impl Fn(&LinkEvent<'_>) -> String) -> BTreeMap<String, Vec<&Received>> {
    let mut keys: BTreeMap<String, Vec<&Received>> = BTreeMap::new();
    for one in events {
        let key = key(&one.1);
        if !key.is_empty() {
            keys.entry(key).or_default().push(one);
        }
    }
    keys
}

fn by_minute<'a>(events: &[&'a Received]) -> BTreeMap<i64, Vec<&'a LinkEvent<'static>>> {
    let mut minutes: BTreeMap<i64, Vec<&LinkEvent<'static>>> = BTreeMap::new();
    events.iter().for_each(|(minute, event)| minutes.entry(*minute).or_default().push(event));
    minutes
}

pub(crate) fn link(event: &LinkEvent<'_>) -> String {
    format!("{}/{}", event.domain, event.slug)
}

/// At least 3 visits in 10 minutes, and a tenth of all, led nowhere, of each link; over an hour after the last one.
pub(crate) fn broken(events: &[Received], end: i64) -> Vec<Said> {
    broken_per(events, link, true, end)
}

/// The same of other keys. Only of a link (`of_links`) does an end of its platform say where later visits lead, until
/// an edit.
pub(crate) fn broken_per(
    events: &[Received],
    per: impl Fn(&LinkEvent<'_>) -> String,
    of_links: bool,
    end: i64,
) -> Vec<Said> {
    let mut said = Vec::new();
    // What says nothing of the key is as if it were not there.
    let tells = |event: &LinkEvent<'_>| event.r#type != EventType::Lifecycle || of_links && event.source != "catalogue";
    let events: Vec<Received> = events.iter().filter(|one| tells(&one.1)).cloned().collect();
    for (key, own) in by_key(&events, per) {
        let ends = |event: &LinkEvent<'_>| ["link.expired", "link.deleted"].contains(&event.subtype.as_ref());
        let edits = |event: &LinkEvent<'_>| event.r#type == EventType::Lifecycle && !ends(event);
        let minutes = |is: &dyn Fn(&LinkEvent<'_>) -> bool| -> BTreeSet<i64> {
            own.iter().filter(|(_, event)| is(event)).map(|(minute, _)| *minute).collect()
        };
        let (ended, edited) = (minutes(&ends), minutes(&edits));
        let of_ended = |minute: i64| {
            let last_end = ended.range(..minute).next_back();
            last_end.is_some_and(|at| edited.range(*at..=minute).next().is_none())
        };
        let (mut bad, mut good, mut good_now) =
            (BTreeMap::<i64, u64>::new(), BTreeMap::<i64, u64>::new(), BTreeMap::<i64, u64>::new());
        for (minute, event) in &own {
            let over = event.trace.iter().any(|line| line == "catalogue:expired" || line == "catalogue:deleted");
            if event.r#type == EventType::Error || is_visit(event) && (over || event.redirect_status >= 400) {
                *bad.entry(*minute).or_default() += 1;
            } else if is_visit(event) && of_ended(*minute) {
                // What comes late may have been made before the end: it says nothing.
                *bad.entry(*minute).or_default() += u64::from(!is_late(event));
            } else if is_visit(event) {
                *good.entry(*minute).or_default() += 1;
                *good_now.entry(*minute).or_default() += u64::from(!is_late(event));
            }
        }
        bad.retain(|_, count| *count > 0);
        let busy: BTreeSet<i64> = own.iter().map(|one| one.0).collect();
        let (mut firing, mut fired_at, mut first) = (false, i64::MIN / 2, 0);
        for minute in busy.first().copied().unwrap_or(end)..end {
            let at = minute + 1;
            let sum = |of: &BTreeMap<i64, u64>, from: i64| of.range(from..at).map(|(_, count)| count).sum::<u64>();
            if firing {
                let last = *bad.range(..at).next_back().unwrap().0;
                // What comes late does not show that it works again.
                let before = good.range(last + 1..fired_at.max(last + 1)).map(|(_, count)| count).sum::<u64>();
                let since = sum(&good_now, fired_at.max(last + 1));
                let shown = before + since > 0 || edited.range(last..at).next().is_some();
                let quiet = at - (last + 1);
                if quiet >= 60 || shown && quiet >= 10 {
                    firing = false;
                    said.push((key.clone(), at, '-', sum(&bad, first)));
                }
            } else if busy.contains(&minute) && at - fired_at >= 60 {
                let (nowhere, arrived) = (sum(&bad, at - 10), sum(&good, at - 10));
                if nowhere >= 3 && nowhere * 10 >= nowhere + arrived {
                    (firing, fired_at, first) = (true, at, at - 10);
                    said.push((key.clone(), at, '+', nowhere));
                }
            }
        }
    }
    said
}

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Usual,
    New,
    Told,
}

/// At least 3 visits to another site or with another status, the first 5 minutes ago.
pub(crate) fn drift(events: &[Received], site: impl Fn(&str) -> String, end: i64) -> Vec<Said> {
    let mut said = Vec::new();
    for (key, own) in by_key(events, link) {
        let minutes = by_minute(&own);
        let mut standing: BTreeMap<String, Standing> = BTreeMap::new();
        let mut shown: HashMap<String, Vec<i64>> = HashMap::new();
        let (mut firing, mut fired_at, mut usual) = (false, i64::MIN / 2, 0);
        let (mut free_sites, mut free_statuses) = (0, 0);
        let first_visit =
            own.iter().find(|(_, event)| is_visit(event) && !is_late(event)).map(|(minute, _)| minute + 1);
        for minute in own[0].0..end {
            let at = minute + 1;
            let now = minutes.get(&minute).map(Vec::as_slice).unwrap_or_default();
            let edits: Vec<String> = now
                .iter()
                .filter(|event| event.r#type == EventType::Lifecycle)
                .map(|event| site(&event.destination_host))
                .collect();
            if !edits.is_empty() {
                let named: Vec<String> =
                    edits.iter().filter(|site| !site.is_empty()).map(|site| format!("to {site}")).collect();
                free_statuses = at + 1_440;
                if named.is_empty() {
                    free_sites = at + 1_440;
                }
                for (mark, standing) in &mut standing {
                    if mark.starts_with("status")
                        || mark.starts_with("to") && (named.is_empty() || named.contains(mark))
                    {
                        *standing = Standing::Usual;
                    }
                }
                for mark in named {
                    standing.insert(mark, Standing::Usual);
                }
            }
            let mut visits: Vec<Vec<String>> = now
                .iter()
                .filter(|event| is_visit(event) && !is_late(event))
                .map(|event| {
                    let to = site(&event.destination_host);
                    let mut marks = vec![format!("to {to}")];
                    let expected = event.trace.iter().find_map(|line| line.strip_prefix("catalogue:expected_host:"));
                    if let Some(expected) = expected.filter(|expected| site(expected) != to) {
                        marks.push(format!("not {expected} but {to}"));
                    }
                    if event.redirect_status > 0 {
                        marks.push(format!("status {}", event.redirect_status));
                    }
                    marks
                })
                .collect();
            visits.sort();
            for marks in visits {
                let mut all_usual = true;
                for mark in marks {
                    let kind = mark.split(' ').next().unwrap().to_owned();
                    if !standing.contains_key(&mark) {
                        let none =
                            !standing.iter().any(|(mark, one)| mark.starts_with(&kind) && *one == Standing::Usual);
                        let free = match kind.as_str() {
                            "to" => at <= free_sites,
                            _ => at <= free_statuses,
                        };
                        let young = at - first_visit.unwrap() < 1_440;
                        let usual = kind != "not" && (none || free || young);
                        standing.insert(mark.clone(), if usual { Standing::Usual } else { Standing::New });
                    }
                    all_usual &= standing[&mark] == Standing::Usual;
                    shown.entry(mark).or_default().push(at);
                }
                if all_usual {
                    usual = at;
                }
            }
            if firing {
                let told: Vec<String> =
                    standing.iter().filter(|(_, one)| **one == Standing::Told).map(|(mark, _)| mark.clone()).collect();
                let most = told.iter().map(|mark| shown[mark].len() as u64).max().unwrap_or(0);
                let last = told.iter().filter_map(|mark| shown[mark].last().copied()).max().unwrap_or(0);
                if told.is_empty() {
                    firing = false;
                } else if usual > last && at - last >= 60 {
                    firing = false;
                    for mark in &told {
                        standing.remove(mark);
                        shown.remove(mark);
                    }
                } else if at - fired_at >= 7 * 1_440 {
                    firing = false;
                    for mark in told {
                        standing.insert(mark, Standing::Usual);
                    }
                }
                if !firing {
                    said.push((key.clone(), at, '-', most));
                }
            }
            let due: Vec<String> = standing
                .iter()
                .filter(|(mark, one)| **one == Standing::New && shown[*mark].len() >= 3 && at - shown[*mark][0] >= 5)
                .map(|(mark, _)| mark.clone())
                .collect();
            if !due.is_empty() && (firing || at - fired_at >= 60) {
                let most = due.iter().map(|mark| shown[mark].len() as u64).max().unwrap();
                for mark in due {
                    standing.insert(mark, Standing::Told);
                }
                if !firing {
                    (firing, fired_at) = (true, at);
                    said.push((key.clone(), at, '+', most));
                }
            }
        }
    }
    said
}

/// Of at least 50 that the platform counted in 24 hours, 5 % have not arrived; judged at the end of each hour.
pub(crate) fn gap(events: &[Received], per: impl Fn(&LinkEvent<'_>) -> String, end: i64) -> Vec<Said> {
    let mut said = Vec::new();
    let visits: Vec<Received> = events.iter().filter(|(_, event)| is_visit(event)).cloned().collect();
    for (key, own) in by_key(&visits, per) {
        // Minute → counted and arrived.
        let mut sums: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        let mut tops: HashMap<String, (u64, i64)> = HashMap::new();
        for (minute, now) in by_minute(&own) {
            let from = minute.div_euclid(60) * 60 - 24 * 60;
            let before: u64 = sums.range(from..minute).map(|(_, sum)| sum.1).sum();
            let mut of_links: BTreeMap<String, Vec<&LinkEvent<'_>>> = BTreeMap::new();
            for event in now {
                of_links.entry(format!("{} {}", event.source, link(event))).or_default().push(event);
            }
            for (link, events) in of_links {
                let came = events.len() as u64;
                let said: Vec<u64> = events
                    .iter()
                    .filter(|event| !is_late(event))
                    .filter_map(|event| event.extra.get("clicks_total").parse().ok())
                    .collect();
                // A counter that is set anew within a minute says nothing of what was counted in it.
                let within = |low: u64, high: u64| {
                    if high - low > std::cmp::max(1_000, came * 10) { 0 } else { high - low }
                };
                let (counted, arrived) = match (said.iter().min(), said.iter().max(), tops.get(&link).copied()) {
                    (Some(low), Some(high), None) => {
                        tops.insert(link, (*high, minute + 1));
                        (within(*low, *high), came - 1)
                    }
                    (Some(low), Some(high), Some((top, at))) => {
                        let set_back = *high < top && minute + 1 - at > 15;
                        let jumped = *high > top
                            && minute + 1 - at <= 60
                            && high - top > std::cmp::max(1_000, (before + came) * 10);
                        if *high < top && !set_back {
                            (0, came)
                        } else {
                            tops.insert(link, (*high, minute + 1));
                            match (set_back, jumped) {
                                (true, _) => (within(*low, *high), came - 1),
                                (_, true) => (0, came - 1),
                                _ => (high - top, came),
                            }
                        }
                    }
                    (_, _, Some(_)) => (0, came),
                    _ => (0, 0),
                };
                let sum = sums.entry(minute).or_default();
                (sum.0, sum.1) = (sum.0 + counted, sum.1 + arrived);
            }
        }
        let mut firing = false;
        for hour in own[0].0.div_euclid(60) + 1..=end.div_euclid(60) {
            let sum = |from: i64, to: i64, which: fn(&(u64, u64)) -> u64| -> u64 {
                sums.range(from * 60..to * 60).map(|(_, sum)| which(sum)).sum()
            };
            let counted = sum(hour - 24, hour - 1, |sum| sum.0);
            let missing = counted.saturating_sub(sum(hour - 25, hour, |sum| sum.1));
            let least = std::cmp::max(1, (counted * 5).div_ceil(100));
            if !firing && counted >= 50 && missing >= least {
                firing = true;
                said.push((key.clone(), hour * 60, '+', missing));
            } else if firing && missing * 2 < least {
                firing = false;
                said.push((key.clone(), hour * 60, '-', missing));
            }
        }
    }
    said
}

/// Domains that no event had before, from a day after the first event on.
pub(crate) fn first_seen(events: &[Received]) -> Vec<Said> {
    let Some(first) = events.iter().map(|one| one.0).min() else { return Vec::new() };
    let domains = by_key(events, |event| event.domain.to_string());
    let one = |(domain, own): (String, Vec<&Received>)| {
        let minute = own.iter().map(|one| one.0).min()?;
        let events = own.iter().filter(|one| one.0 == minute).count() as u64;
        (domain != "go.known.example" && minute - first >= 1_440).then_some((domain, minute + 1, '!', events))
    };
    domains.into_iter().filter_map(one).collect()
}
