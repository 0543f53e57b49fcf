//! Views that show geography hide groups of few people, and an attacker who knows all totals has none of them either.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use event::{Counted, EventType, LinkEvent, Outcome};

use crate::warehouse_databases::{Databases, WithoutLane, block_of, event};
use crate::warehouse_reports::{date, shown};

/// People outside and our own people of a group: those who are known, and each scan without a visitor.
pub(crate) type People = [(BTreeSet<u64>, usize); 2];

/// People of one kind by country.
type Situation = &'static [(&'static str, usize, Counted)];

/// By day, programme, placement, country and region.
pub(crate) type Groups = BTreeMap<Vec<String>, People>;

pub(crate) fn people_by_group<'e>(
    scans: impl IntoIterator<Item = &'e LinkEvent<'static>>,
    group: impl Fn(&LinkEvent<'static>) -> Vec<String>,
) -> Groups {
    let mut groups = Groups::new();
    for scan in scans {
        let people = groups.entry(group(scan)).or_default();
        let Some(at) = [Counted::Human, Counted::Internal].iter().position(|who| *who == scan.counted) else {
            continue;
        };
        match scan.visitor {
            0 => people[at].1 += 1,
            visitor => _ = people[at].0.insert(visitor),
        }
    }
    groups
}

fn number((known, unknown): &(BTreeSet<u64>, usize)) -> usize {
    known.len() + unknown
}

/// The groups whose geography is not shown: small ones, and the next by size until those that are hidden have enough
/// people.
pub(crate) fn hidden_groups(groups: &Groups, smallest: usize) -> BTreeSet<Vec<String>> {
    let small = |people: &People| people.iter().any(|people| (1..smallest).contains(&number(people)));
    let mut hidden = BTreeSet::new();
    let placements: BTreeSet<&[String]> = groups.keys().map(|key| &key[..3]).collect();
    for placement in placements {
        let in_it =
            groups.iter().filter(|(key, _)| key[..3] == *placement && (!key[3].is_empty() || !key[4].is_empty()));
        let mut in_it: Vec<_> = in_it.collect();
        in_it.sort_by_key(|(key, people)| (!small(people), number(&people[0]), *key));
        if !in_it.iter().any(|(_, people)| small(people)) {
            continue;
        }
        let mut so_far = 0;
        for (key, people) in in_it {
            if small(people) || so_far < smallest {
                hidden.insert(key.clone());
            }
            so_far += number(&people[0]);
        }
    }
    hidden
}

/// An attacker may read the view and knows all totals, and looks for a country with few people in it.
#[tokio::test(flavor = "multi_thread")]
async fn no_group_of_few_people_is_had_by_subtracting_what_is_shown_from_totals() {
    let databases = Databases::new("few").await;
    let smallest = databases.layout.smallest_group as usize;
    // Each placement is another situation: people by country, and who they are.
    let situations: &[(&str, Situation)] = &[
        ("alone", &[("DE", 40, Counted::Human), ("LI", 1, Counted::Human)]),
        ("two small", &[("DE", 40, Counted::Human), ("LI", 3, Counted::Human), ("VA", 4, Counted::Human)]),
        ("enough small", &[("DE", 40, Counted::Human), ("LI", 6, Counted::Human), ("VA", 7, Counted::Human)]),
        ("many bots", &[("DE", 40, Counted::Human), ("LI", 2, Counted::Human), ("LI", 90, Counted::Bot)]),
        ("many of ours", &[("DE", 40, Counted::Human), ("LI", 2, Counted::Human), ("LI", 90, Counted::Internal)]),
        ("few of ours", &[("DE", 40, Counted::Human), ("LI", 50, Counted::Human), ("LI", 2, Counted::Internal)]),
        ("one who comes often", &[("DE", 40, Counted::Human), ("LI", 1, Counted::Human)]),
        ("only few", &[("LI", 3, Counted::Human)]),
        ("unknown besides", &[("DE", 40, Counted::Human), ("LI", 2, Counted::Human), ("", 30, Counted::Human)]),
        ("none small", &[("DE", 40, Counted::Human), ("FR", 10, Counted::Human)]),
    ];
    let mut events = Vec::new();
    for (placement, groups) in situations {
        for (country, people, counted) in *groups {
            let times = if *placement == "one who comes often" { 50 } else { 1 };
            for person in 0..*people * times {
                let offset = events.len() as u64;
                events.push(LinkEvent {
                    outcome: Outcome::Event,
                    r#type: EventType::QrScan,
                    counted: *counted,
                    programme: "instore".into(),
                    placement: (*placement).into(),
                    country: (*country).into(),
                    region: "".into(),
                    visitor: 1 + (person / times) as u64,
                    ..event(offset)
                });
            }
        }
    }
    databases.warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    let group = |event: &LinkEvent<'static>| {
        let names = [&event.programme, &event.placement, &event.country, &event.region].map(|name| name.to_string());
        std::iter::once(date(event)).chain(names).collect::<Vec<_>>()
    };
    let groups = people_by_group(&events, group);
    let keys = ["placement", "country", "hidden"];
    let rows = shown(&databases, &keys, &["scans", "raw_scans"], "qr_placement_daily").await;
    let seen = |placement: &str| {
        let of_it = rows.keys().filter(|key| key[0] == placement && !key[1].is_empty());
        of_it.map(|key| key[1].clone()).collect::<Vec<_>>()
    };
    for (placement, _) in situations {
        let of_it = || groups.iter().filter(|(key, _)| key[2] == *placement);
        for (key, people) in of_it().filter(|(key, _)| seen(placement).contains(&key[3])) {
            let small = people.iter().any(|people| (1..smallest).contains(&number(people)));
            assert!(!small, "{placement}: {key:?} is shown");
        }
        // What a total leaves when all that is shown is taken from it.
        let rest = of_it().filter(|(key, _)| !key[3].is_empty() && !seen(placement).contains(&key[3]));
        let (countries, people) =
            rest.fold((0, 0), |(countries, people), (_, more)| (countries + 1, people + number(&more[0])));
        assert!(
            people == 0 || people >= smallest || seen(placement).is_empty(),
            "{placement}: {people} people in {countries}"
        );
    }
    assert_eq!(seen("none small"), ["DE", "FR"], "what need not be hidden is shown");
    assert_eq!(seen("enough small"), ["DE"], "nor more than is needed");
    let total: i64 = rows.values().map(|measures| measures[1]).sum();
    assert_eq!(total, events.len() as i64, "no scan is lost");
}
