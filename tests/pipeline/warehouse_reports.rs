//! Reports on the real engine: equal to a count by hand at every moment, open or closed, late or thinned.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use event::{Counted, EventType, LinkEvent, Millis, Outcome};
use warehouse::{Closed, Day, OpenDay, REPORTS, Report, Side};

use crate::small_audiences::{hidden_groups, people_by_group};
use crate::warehouse_databases::{Databases, NOON, WithoutLane, block_of, event};

pub(crate) const DAY: i64 = 86_400_000;

pub(crate) fn day(days: i64) -> Day {
    Day::new(2026, 10, 15).unwrap().checked_add(jiff::Span::new().days(days)).unwrap()
}

/// Events of five days with every type, everybody, and some that count nowhere. Deterministic, and not in any order.
pub(crate) fn traffic(from: u64, number: u64) -> Vec<LinkEvent<'static>> {
    (from..from + number)
        .map(|offset| {
            // SplitMix64's finaliser: enough to mix the attributes.
            let mut z = offset.wrapping_add(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let mut next = |n: u64| {
                let value = z % n;
                z = z.rotate_right(9).wrapping_mul(31).wrapping_add(value);
                value as usize
            };
            let kind = [
                EventType::Click,
                EventType::Click,
                EventType::QrScan,
                EventType::Lead,
                EventType::Sale,
                EventType::Error,
            ][next(6)];
            let time = NOON - next(5) as i64 * DAY + next(11 * 3_600_000) as i64;
            LinkEvent {
                outcome: [Outcome::Event, Outcome::Event, Outcome::Event, Outcome::Duplicate, Outcome::DeadLetter]
                    [next(5)],
                r#type: kind,
                counted: [Counted::Human, Counted::Human, Counted::Bot, Counted::Internal][next(4)],
                event_time: Millis(time),
                received_at: Millis(NOON + 12 * 3_600_000 + offset as i64),
                campaign: ["", "spring", "autumn"][next(3)].into(),
                channel: ["email", "qr", "social"][next(3)].into(),
                link_id: format!("l_{}", next(9)).into(),
                domain: "go.acme.example".into(),
                slug: format!("s{}", next(2)).into(),
                programme: ["instore", "events"][next(2)].into(),
                placement: ["shelf", "till"][next(2)].into(),
                country: ["DE", "FR", "LI"][if next(40) == 0 { 2 } else { next(2) }].into(),
                region: ["", "DE-BE"][next(2)].into(),
                partner: ["", "", "dealfox"][next(3)].into(),
                partner_approved: next(2) == 0,
                destination_host: "acme.example".into(),
                destination_path: ["/a", "/b"][next(2)].into(),
                utm_source: ["newsletter", ""][next(2)].into(),
                launch: ["", "podcast"][next(2)].into(),
                link_kind: ["bio", "promo"][next(2)].into(),
                currency: if kind == EventType::Sale { ["EUR", "USD"][next(2)].into() } else { "".into() },
                value_minor: if kind == EventType::Sale { next(10_000) as i64 } else { 0 },
                visitor: [0, 1 + next(50) as u64][usize::from(next(4) > 0)],
                ..event(offset)
            }
        })
        .collect()
}

pub(crate) fn date(event: &LinkEvent<'_>) -> String {
    jiff::Timestamp::from_millisecond(event.event_time.0).unwrap().strftime("%F").to_string()
}

/// Counts by hand: the key of a row and the sums of its measures.
type Counts = BTreeMap<Vec<String>, Vec<i64>>;

fn count<'e>(
    events: impl IntoIterator<Item = &'e LinkEvent<'static>>,
    of: impl Fn(&LinkEvent<'static>) -> Option<(Vec<String>, Vec<bool>)>,
) -> Counts {
    let mut counts = Counts::new();
    for event in events.into_iter().filter(|event| event.outcome == Outcome::Event) {
        if let Some((key, measures)) = of(event) {
            let row = counts.entry(key).or_insert_with(|| vec![0; measures.len()]);
            row.iter_mut().zip(measures).for_each(|(sum, measure)| *sum += i64::from(measure));
        }
    }
    counts
}

pub(crate) async fn shown(databases: &Databases, keys: &[&str], measures: &[&str], view: &str) -> Counts {
    let sql = format!("SELECT {}, {} FROM {view}", keys.join(", "), measures.join(", "));
    let rows = databases.warehouse.query(Side::Production, &sql, &[]).await.unwrap();
    let number = rows.len();
    let counts: Counts = rows
        .iter()
        .map(|row| {
            let key = keys.iter().map(|name| row[*name].as_str().map_or_else(|| row[*name].to_string(), str::to_owned));
            (key.collect(), measures.iter().map(|name| row[*name].as_i64().unwrap()).collect())
        })
        .collect();
    assert_eq!(counts.len(), number, "{view} shows a key twice");
    counts
}

fn human(event: &LinkEvent<'_>) -> bool {
    event.counted == Counted::Human
}

/// Every report against a count by hand.
pub(crate) async fn check(databases: &Databases, events: &[LinkEvent<'static>]) {
    let visit = |event: &LinkEvent<'_>| event.r#type.is_visit();
    let is = |event: &LinkEvent<'_>, kind| event.r#type == kind;
    let who = |event: &LinkEvent<'_>, counted| event.counted == counted;

    let expected = count(events, |event| {
        let countable = visit(event) || is(event, EventType::Lead) || is(event, EventType::Sale);
        countable.then(|| {
            (
                vec![date(event), event.campaign.to_string(), event.channel.to_string()],
                vec![
                    visit(event) && human(event),
                    is(event, EventType::QrScan) && human(event),
                    visit(event) && who(event, Counted::Bot),
                    visit(event) && who(event, Counted::Internal),
                    visit(event),
                    is(event, EventType::Lead),
                    is(event, EventType::Sale),
                ],
            )
        })
    });
    let measures = ["clicks", "qr_scans", "bot_clicks", "internal_clicks", "raw_clicks", "leads", "sales"];
    assert_eq!(shown(databases, &["day", "campaign", "channel"], &measures, "campaign_channel_daily").await, expected);

    let euros: i64 = events
        .iter()
        .filter(|event| event.outcome == Outcome::Event && is(event, EventType::Sale) && event.currency == "EUR")
        .map(|event| event.value_minor)
        .sum();
    let sql = "SELECT sum(revenue_minor['EUR']) AS euros FROM campaign_channel_daily";
    assert_eq!(databases.number(Side::Production, sql).await, euros);

    let expected = count(events, |event| {
        let hour = jiff::Timestamp::from_millisecond(event.event_time.0).unwrap().strftime("%F %H:00:00").to_string();
        visit(event).then(|| {
            (
                vec![hour, event.link_id.to_string(), event.domain.to_string(), event.slug.to_string()],
                vec![human(event), is(event, EventType::QrScan) && human(event), true],
            )
        })
    });
    let keys = ["hour", "link_id", "domain", "slug"];
    assert_eq!(shown(databases, &keys, &["clicks", "qr_scans", "raw_clicks"], "link_hourly").await, expected);

    let expected = count(events, |event| {
        let measured = visit(event) || is(event, EventType::Lead) || is(event, EventType::Sale);
        (measured && !event.partner.is_empty()).then(|| {
            (
                vec![
                    date(event),
                    event.partner.to_string(),
                    event.source.to_string(),
                    event.utm_source.to_string(),
                    event.destination_path.to_string(),
                    event.partner_approved.to_string(),
                ],
                vec![
                    visit(event) && human(event),
                    visit(event),
                    is(event, EventType::Lead),
                    is(event, EventType::Sale),
                ],
            )
        })
    });
    let keys = ["day", "partner", "source", "utm_source", "landing_path", "approved"];
    let measures = ["clicks", "raw_clicks", "leads", "sales"];
    assert_eq!(shown(databases, &keys, &measures, "affiliate_landing_daily").await, expected);

    let expected = count(events, |event| {
        let key = [date(event), event.launch.to_string(), event.link_kind.to_string(), event.slug.to_string()];
        (visit(event) && (!event.launch.is_empty() || event.link_kind == "bio"))
            .then(|| (key.to_vec(), vec![human(event), true]))
    });
    let keys = ["day", "launch", "link_kind", "slug"];
    assert_eq!(shown(databases, &keys, &["clicks", "raw_clicks"], "bio_launch_daily").await, expected);

    check_placements(databases, events).await;
    check_visitors(databases, events).await;
}

/// Groups under ten people lose their geography, and nothing else.
async fn check_placements(databases: &Databases, events: &[LinkEvent<'static>]) {
    let scans: Vec<_> =
        events.iter().filter(|event| event.outcome == Outcome::Event && event.r#type == EventType::QrScan).collect();
    let group = |event: &LinkEvent<'static>| {
        [
            date(event),
            event.programme.to_string(),
            event.placement.to_string(),
            event.country.to_string(),
            event.region.to_string(),
        ]
        .to_vec()
    };
    let groups = people_by_group(scans.iter().copied(), group);
    let hidden = hidden_groups(&groups, 10);
    let expected = count(scans, |event| {
        let mut key = group(event);
        let hidden = hidden.contains(&key);
        if hidden {
            key[3].clear();
            key[4].clear();
        }
        key.push(hidden.to_string());
        Some((key, vec![human(event), true]))
    });
    assert!(expected.keys().any(|key| key[5] == "true") && expected.keys().any(|key| key[5] == "false"));
    let keys = ["day", "programme", "placement", "country", "region", "hidden"];
    assert_eq!(shown(databases, &keys, &["scans", "raw_scans"], "qr_placement_daily").await, expected);
}

async fn check_visitors(databases: &Databases, events: &[LinkEvent<'static>]) {
    let mut expected: BTreeMap<Vec<String>, (BTreeSet<u64>, i64)> = BTreeMap::new();
    let counted =
        events.iter().filter(|event| event.outcome == Outcome::Event && event.r#type.is_visit() && human(event));
    for event in counted {
        let mut add = |dimension: &str, value: &str| {
            let key = vec![date(event), dimension.to_owned(), value.to_owned()];
            let (known, clicks) = expected.entry(key).or_default();
            *clicks += 1;
            if event.visitor != 0 {
                known.insert(event.visitor);
            }
        };
        add("all", "");
        add("campaign", &event.campaign);
        for (dimension, value) in
            [("link", &event.link_id), ("programme", &event.programme), ("partner", &event.partner)]
        {
            if !value.is_empty() {
                add(dimension, value);
            }
        }
    }
    let expected: Counts =
        expected.into_iter().map(|(key, (known, clicks))| (key, vec![known.len() as i64, clicks])).collect();
    assert_eq!(
        shown(databases, &["day", "dimension", "value"], &["visitors", "clicks"], "daily_visitors").await,
        expected
    );
}

#[tokio::test]
async fn reports_equal_a_count_by_hand_while_days_are_open_closed_and_late() {
    let databases = Databases::new("reports").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    // Identifiers are cleared after 30 days: these days must count as young.
    let mut events = traffic(0, 40_000);
    shift_to_recent(&mut events);
    warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    check(&databases, &events).await;

    let last = today();
    let before = last.yesterday().unwrap().yesterday().unwrap();
    let open = warehouse.open_days(Side::Production, layout, before).await.unwrap();
    assert_eq!(open.len(), 3 * REPORTS.len(), "{open:?}");
    for OpenDay { report, day } in open {
        let closed = warehouse.close_day(Side::Production, layout, Report::named(report).unwrap(), day).await.unwrap();
        assert!(matches!(closed, Closed::Written { records } if records > 0), "{closed:?}");
    }
    assert_eq!(warehouse.open_days(Side::Production, layout, before).await.unwrap(), []);
    check(&databases, &events).await;

    // A day that is closed again is the same, whether nothing is done or it is done again.
    let report = Report::named("campaign_channel_daily").unwrap();
    let unchanged = warehouse.close_day(Side::Production, layout, report, before).await.unwrap();
    assert!(matches!(unchanged, Closed::Unchanged { records } if records > 0), "{unchanged:?}");
    let again = warehouse.rebuild(Side::Production, layout, report, before).await.unwrap();
    assert!(matches!(again, Closed::Written { records } if records > 0), "{again:?}");
    check(&databases, &events).await;

    // A kept day is held against its rows, whatever types its columns have; one that was damaged is told, and computed
    // again.
    for report in REPORTS {
        let same = warehouse.compare_day(Side::Production, layout, report, before).await.unwrap();
        assert!(!same.differs() && same.closed == same.records && same.kept_rows == same.live_rows, "{same:?}");
        assert!(same.kept_rows > 0 && !same.frozen, "{}: {same:?}", report.name);
    }
    let closed = format!("{}.campaign_channel_daily_closed", warehouse.database(Side::Production));
    let damage = format!(
        "ALTER TABLE {closed} DELETE WHERE day = '{before}' AND campaign = 'spring' AND raw_clicks > 0 SETTINGS mutations_sync = 2"
    );
    databases.execute(&damage).await;
    let wrong = warehouse.compare_day(Side::Production, layout, report, before).await.unwrap();
    assert!(wrong.differs() && wrong.only_kept == 0, "{wrong:?}");
    assert_eq!(wrong.only_live, wrong.live_rows - wrong.kept_rows, "{wrong:?}");
    warehouse.rebuild(Side::Production, layout, report, before).await.unwrap();
    let mended = warehouse.compare_day(Side::Production, layout, report, before).await.unwrap();
    assert!(!mended.differs(), "{mended:?}");
    check(&databases, &events).await;

    // Late events of closed days are counted at once, and the days wait to be closed again.
    let mut late = traffic(40_000, 600);
    shift_to_recent(&mut late);
    warehouse.blocks().insert(&block_of("inc", 0, 2, &late)).await.unwrap();
    events.extend(late);
    check(&databases, &events).await;
    let open = warehouse.open_days(Side::Production, layout, before).await.unwrap();
    assert_eq!(open.len(), 3 * REPORTS.len());
    for OpenDay { report, day } in open {
        warehouse.close_day(Side::Production, layout, Report::named(report).unwrap(), day).await.unwrap();
    }
    check(&databases, &events).await;

    let staging = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name LIKE '%staging%'";
    assert_eq!(databases.number(Side::Production, staging).await, 0);
    databases.drop().await;
}

#[tokio::test]
async fn visitors_who_open_three_links_within_two_seconds_are_counted_as_by_hand_and_stay_human() {
    let databases = Databases::new("pace").await;
    let mut events = traffic(0, 3_000);
    shift_to_recent(&mut events);
    for (at, event) in (0_i64..).zip(&mut events) {
        // Few visitors within a minute, so that some are as close as two seconds and most are not.
        event.event_time.0 = event.event_time.0 / DAY * DAY + at * 7_919 % 60_000;
        event.visitor = event.visitor.min(1) * (1 + at.unsigned_abs() * 31 % 7);
        event.campaign = ["spring", "autumn"][usize::try_from(at % 2).unwrap()].into();
    }
    databases.warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();

    let counted = |event: &&LinkEvent<'static>| {
        event.outcome == Outcome::Event && event.r#type.is_visit() && human(event) && event.visitor != 0
    };
    let visits: Vec<&LinkEvent<'_>> = events.iter().filter(counted).collect();
    let mut hurried = BTreeSet::new();
    for first in &visits {
        let near = visits.iter().filter(|other| {
            let later = other.event_time.0 - first.event_time.0;
            other.visitor == first.visitor && date(other) == date(first) && (0..=2_000).contains(&later)
        });
        let links: BTreeSet<_> = near.map(|event| &event.link_id).collect();
        if links.len() >= 3 {
            hurried.insert((date(first), first.visitor));
        }
    }
    let mut expected: BTreeMap<Vec<String>, [BTreeSet<u64>; 2]> = BTreeMap::new();
    let mut clicks = Counts::new();
    for event in &visits {
        let key = vec![date(event), event.campaign.to_string()];
        let is_hurried = hurried.contains(&(date(event), event.visitor));
        let known = expected.entry(key.clone()).or_default();
        known[0].insert(event.visitor);
        let row = clicks.entry(key).or_insert_with(|| vec![0, 0]);
        row[0] += 1;
        if is_hurried {
            known[1].insert(event.visitor);
            row[1] += 1;
        }
    }
    let expected: Counts = expected
        .into_iter()
        .map(|(key, known)| {
            let clicks = clicks[&key].clone();
            let visitors = known.iter().map(|set| set.len() as i64);
            (key, visitors.chain(clicks).collect())
        })
        .collect();
    let [all, few] = [0, 1].map(|column| expected.values().map(|row| row[column]).sum::<i64>());
    assert!(few > 5 && few < all, "{few} of {all} are hurried: the test would prove nothing");
    let measures = ["visitors", "hurried_visitors", "clicks", "hurried_clicks"];
    assert_eq!(shown(&databases, &["day", "campaign"], &measures, "visitor_pace_daily").await, expected);
    databases.drop().await;
}

pub(crate) fn today() -> Day {
    jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date()
}

/// Moves the traffic to the days before today, with its received times.
pub(crate) fn shift_to_recent(events: &mut [LinkEvent<'static>]) {
    let days = (today() - day(0)).get_days();
    for event in events {
        event.event_time.0 += i64::from(days) * DAY;
        event.received_at.0 += i64::from(days) * DAY;
    }
}
