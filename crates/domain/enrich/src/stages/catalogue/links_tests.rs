//! What the topic `links` says: whatever became of its older records, and however it was read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use event::{EventType, LinkEvent, LinkRecord, Millis, Teller};
use proptest::prelude::*;

use super::*;
use crate::stages::catalogue::facts::after;

const NOW: i64 = 1_764_000_000_000;

fn record(teller: Teller, link: &str, campaign: &str) -> LinkRecord<'static> {
    LinkRecord {
        teller,
        link: link.to_owned().into(),
        campaign: campaign.to_owned().into(),
        at: Millis(NOW),
        ..LinkRecord::default()
    }
}

fn made_of(records: &[(u64, LinkRecord<'_>)]) -> Links {
    let mut links = Links::default();
    for (offset, record) in records {
        links.apply(*offset, NOW, record);
    }
    links
}

/// All that a catalogue says, by link.
fn said(catalogue: &Catalogue) -> BTreeMap<String, (u64, Option<Facts<'_>>, Option<Facts<'_>>)> {
    catalogue.links().map(|link| (link.name().to_owned(), (link.version(), link.list(), link.platform()))).collect()
}

fn labelled(catalogue: &Catalogue, slug: &'static str) -> LinkEvent<'static> {
    let mut event = LinkEvent {
        r#type: EventType::Click,
        domain: "go.acme.example".into(),
        slug: slug.into(),
        event_time: Millis(NOW),
        ..LinkEvent::default()
    };
    // Events borrow from a catalogue for as long as they are, here to the end of the test.
    let catalogue: &'static Catalogue = Box::leak(Box::new(catalogue.clone()));
    if let Some(link) = catalogue.find("go.acme.example", slug, "") {
        join(link, &mut event, false);
    }
    event
}

#[test]
fn the_list_goes_before_the_platform_and_neither_overwrites_the_other() {
    let name = "go.acme.example/a";
    let platform = LinkRecord { kind: "promo".into(), ..record(Teller::Platform, name, "theirs") };
    let mut records = vec![(3, platform), (5, record(Teller::List, name, "ours"))];
    let event = labelled(&made_of(&records).catalogue(), "a");
    assert_eq!((event.campaign.as_ref(), event.link_kind.as_ref(), event.catalogue_version), ("ours", "promo", 6));
    records.push((9, LinkRecord { removed: true, ..record(Teller::List, name, "") }));
    let catalogue = made_of(&records).catalogue();
    let event = labelled(&catalogue, "a");
    assert_eq!((event.campaign.as_ref(), event.catalogue_version, catalogue.len()), ("theirs", 10, 1));
    let alone = made_of(&[(5, record(Teller::List, name, "x")), (9, records[2].1.clone())]).catalogue();
    assert_eq!((labelled(&alone, "a").catalogue_version, alone.len()), (0, 0));
}

#[test]
fn a_list_that_is_exported_again_changes_nothing_and_an_edit_changes_its_line_alone() {
    let read = |list: &str| Catalogue::read(list.as_bytes()).expect("a list");
    let list = "link,campaign,expires,tags\na/1,x,2026-12-01,p|q\na/2,y,,\na/3,z,,\n";
    let mut links = Links::default();
    let mut next = 0;
    let mut take = |links: &mut Links, list: &Catalogue| {
        let now = links.catalogue();
        let changes: Vec<LinkRecord<'_>> = now.changes(list).collect();
        for change in &changes {
            links.apply(next, NOW, change);
            next += 1;
        }
        let mut names: Vec<String> =
            changes.iter().map(|change| format!("{}:{}", change.link, change.removed)).collect();
        names.sort();
        names
    };
    assert_eq!(take(&mut links, &read(list)).len(), 3);
    assert!(take(&mut links, &read(list)).is_empty());
    let sorted_otherwise = "tags,link,expires,campaign\n,a/3,,z\np;q,https://a/1/,2026-12-01T00:00:00Z,x\n,a/2,,y\n";
    assert!(take(&mut links, &read(sorted_otherwise)).is_empty(), "the same list in another order is the same");
    assert_eq!(take(&mut links, &read(&list.replace("y,,", "why,,"))), ["a/2:false"]);
    assert_eq!(take(&mut links, &read("link,campaign,expires,tags\na/1,x,2026-12-01,p|q\n")), ["a/2:true", "a/3:true"]);
    assert_eq!(links.catalogue().len(), 1);
}

#[test]
fn an_expiry_is_due_once_unless_it_was_over_before_it_was_known() {
    let expires = |link: &str, at: i64| LinkRecord { expires: Millis(at), ..record(Teller::List, link, "") };
    let mut links = Links::default();
    links.apply(0, NOW, &expires("a/over", NOW - 1));
    links.apply(1, NOW, &expires("a/soon", NOW + 10));
    links.apply(2, NOW, &expires("a/later", NOW + 20));
    let due = |links: &Links, at: i64| {
        let (due, next) = links.catalogue().due(at, 10);
        (due.into_iter().map(|due| due.link).collect::<Vec<_>>(), next)
    };
    assert_eq!(due(&links, NOW), (vec![], Some(NOW + 10)));
    assert_eq!(due(&links, NOW + 15), (vec!["a/soon".to_owned()], Some(NOW + 20)));
    links.apply(3, NOW + 16, &LinkRecord { teller: Teller::Timer, ..expires("a/soon", NOW + 10) });
    assert_eq!(due(&links, NOW + 15), (vec![], Some(NOW + 20)));
    let version = |links: &Links| links.catalogue().find("a", "soon", "").map(|link| link.version());
    assert_eq!(version(&links), Some(2), "what was told is nothing that events are labelled by");
    links.apply(4, NOW + 16, &expires("a/soon", NOW + 40));
    assert_eq!(due(&links, NOW + 50).0, ["a/later", "a/soon"], "another expiry is told as well");
    let ended = LinkRecord { expired: true, ..record(Teller::Platform, "a/soon", "") };
    links.apply(5, NOW + 16, &ended);
    assert_eq!(due(&links, NOW + 50).0, ["a/later"], "the platform has told it itself");
}

#[test]
fn a_link_whose_records_were_erased_is_as_one_that_was_never_told() {
    let planned = |teller| LinkRecord { expires: Millis(NOW + 10), ..record(teller, "go.acme.example/a", "spring") };
    let records = [Teller::List, Teller::Platform, Teller::Timer].map(planned);
    let mut links = Links::default();
    for (offset, record) in (0..).zip(&records) {
        links.apply(offset, NOW, record);
    }
    links.apply(3, NOW, &record(Teller::List, "go.acme.example/b", "autumn"));
    for (offset, key) in (4..).zip(records.iter().map(LinkRecord::key).chain(["clock".into(), "list c/d".into()])) {
        links.erase(offset, &key);
    }
    let catalogue = links.catalogue();
    assert_eq!((catalogue.len(), links.next(), labelled(&catalogue, "a").catalogue_version), (1, 9, 0));
    assert_eq!(labelled(&catalogue, "b").campaign, "autumn");
    assert!(catalogue.due(NOW + 1_000_000, 10).0.is_empty());
    // The same name may be told again: it is due again as well, since nothing is known of the first time.
    links.apply(10, NOW, &records[0]);
    assert_eq!(labelled(&links.catalogue(), "a").campaign, "spring");
    assert_eq!(links.catalogue().due(NOW + 1_000_000, 10).0.len(), 1);
}

#[test]
fn an_expiry_that_a_platform_plans_waits_for_its_own_word_and_is_told_under_one_name() {
    let planned = |link: &str, at: i64| LinkRecord {
        at: Millis(at),
        expires: Millis(NOW + 10),
        ..record(Teller::Platform, link, "spring")
    };
    let mut links = Links::default();
    links.apply(0, NOW, &planned("a/one", NOW - 5));
    links.apply(1, NOW, &planned("l_1", NOW - 5));
    links.apply(2, NOW, &planned("l_2", NOW - 6));
    let minutes = 60_000;
    let due = |at: i64| links.catalogue().due(at, 10);
    assert_eq!(due(NOW + 9 * minutes), (vec![], Some(NOW + 10 + 10 * minutes)));
    let (due, _) = due(NOW + 11 * minutes);
    let said: Vec<_> = due.iter().map(|due| (due.link.as_str(), due.is_other_name)).collect();
    assert_eq!(said, [("a/one", false), ("l_1", true), ("l_2", false)]);
}

#[test]
fn a_link_that_is_edited_while_its_platform_may_tell_its_end_keeps_its_turn() {
    let minutes = 60_000;
    let planned =
        |at: i64| LinkRecord { at: Millis(at), expires: Millis(NOW + 10), ..record(Teller::Platform, "l_1", "spring") };
    let due_after = |edited_ms: i64| {
        let mut links = Links::default();
        links.apply(0, NOW, &planned(NOW - 5));
        links.apply(1, edited_ms, &planned(edited_ms));
        links.catalogue().due(NOW + 30 * minutes, 10).0.len()
    };
    assert_eq!(due_after(NOW + 5 * minutes), 1);
    assert_eq!(due_after(NOW + 20 * minutes), 0, "its turn was over by then");
}

#[test]
fn an_event_of_the_platform_says_what_has_changed_and_an_older_one_nothing() {
    let told = |at: i64, campaign: &str, kind: &'static str| LinkRecord {
        at: Millis(at),
        kind: kind.into(),
        ..record(Teller::Platform, "l_1", campaign)
    };
    let known = told(10, "a", "promo");
    let edited = after(told(11, "b", ""), Some(known.clone()), false).expect("newer");
    assert_eq!((edited.campaign.as_ref(), edited.kind.as_ref()), ("b", "promo"));
    let created = after(told(11, "b", ""), Some(known.clone()), true).expect("newer");
    assert_eq!((created.campaign.as_ref(), created.kind.as_ref()), ("b", ""));
    assert_eq!(after(told(9, "b", ""), Some(known.clone()), false), None);
    let planned = LinkRecord { expires: Millis(20), ..known };
    let over = LinkRecord { expired: true, expires: Millis(25), ..told(25, "", "") };
    let over = after(over, Some(planned), false).expect("newer");
    assert_eq!((over.expires.0, over.expired), (20, true));
    let opened = LinkRecord { expires: Millis(90), ..told(30, "", "") };
    let opened = after(opened, Some(over), false).expect("newer");
    assert_eq!((opened.expires.0, opened.expired), (90, false));
}

#[test]
fn a_lifecycle_event_tells_each_name_of_its_link_and_other_events_tell_nothing() {
    let mut event = LinkEvent {
        r#type: EventType::Lifecycle,
        subtype: "link.created".into(),
        event_time: Millis(NOW),
        domain: "go.acme.example".into(),
        slug: "spring".into(),
        link_id: "l_77".into(),
        link_kind: "promo".into(),
        utm_campaign: "2026q4".into(),
        destination_host: "acme.example".into(),
        ..LinkEvent::default()
    };
    event.extra.add("expires_at", "2026-12-01T00:00:00Z");
    event.extra.add("owner", "growth");
    let told = platform_facts(&event, &[Cow::Borrowed("q4"), Cow::Borrowed("a,b")]);
    assert_eq!(
        told.iter().map(LinkRecord::key).collect::<Vec<_>>(),
        ["platform go.acme.example/spring", "platform l_77"]
    );
    let first = &told[0];
    assert_eq!((first.campaign.as_ref(), first.owner.as_ref(), first.tags.as_ref()), ("2026q4", "growth", "q4,a b"));
    assert_eq!((first.expires.0, first.expected_host.as_ref(), first.at.0), (1_796_083_200_000, "acme.example", NOW));
    event.r#type = EventType::Click;
    assert!(platform_facts(&event, &[]).is_empty());
}

#[test]
fn a_catalogue_that_is_merged_says_what_it_said_before() {
    let mut links = Links::default();
    for offset in 0..30_000_u64 {
        let link = format!("go.acme.example/{}", offset % 20_000);
        let record = LinkRecord { contact: format!("c-{offset}").into(), ..record(Teller::List, &link, "x") };
        links.apply(offset, NOW, &record);
    }
    let catalogue = links.catalogue();
    assert_eq!((catalogue.len(), catalogue.links().count()), (20_000, 20_000));
    for (slug, newest) in [("5", 20_005), ("9999", 29_999), ("15000", 15_000)] {
        let link = catalogue.find("go.acme.example", slug, "").expect("a link");
        assert_eq!(
            (link.version(), link.list().map(|facts| facts.fields[4].to_owned())),
            (newest + 1, Some(format!("c-{newest}")))
        );
    }
}

proptest! {
    /// A lane that has read everything, one that begins after the topic was compacted, and one that went on from a
    /// snapshot have the same catalogue at the same version: labels are a function of the event and of that version.
    #[test]
    fn the_same_version_says_the_same_however_it_was_read(
        told in prop::collection::vec((0..3_usize, 0..4_usize, "[a-c]{0,2}", any::<bool>()), 1..40), kept in any::<u64>(), upto in 0..40_usize,
    ) {
        let names = ["go.acme.example/a", "go.acme.example/b", "l_1", "l_2"];
        let tellers = [Teller::List, Teller::Platform, Teller::Timer];
        let records: Vec<(u64, LinkRecord<'static>)> = told
            .into_iter()
            .enumerate()
            .map(|(offset, (teller, name, campaign, removed))| {
                let removed = removed && tellers[teller] == Teller::List;
                let record = LinkRecord { removed, expires: Millis(offset as i64), ..record(tellers[teller], names[name], &campaign) };
                // Aborted records and markers leave gaps.
                (offset as u64 * 3, record)
            })
            .collect();
        let version = &records[..records.len().min(upto + 1)];
        let whole = made_of(version);
        // Compaction keeps the newest record of each key, and of the others whichever it has not come to.
        let compacted: Vec<_> = version
            .iter()
            .enumerate()
            .filter(|(at, (_, record))| {
                kept >> (at % 64) & 1 == 1 || version[at + 1..].iter().all(|(_, later)| later.key() != record.key())
            })
            .map(|(_, record)| record.clone())
            .collect();
        let again = made_of(&compacted);
        let (whole, again) = (whole.catalogue(), again.catalogue());
        prop_assert_eq!(said(&whole), said(&again));
        prop_assert_eq!((whole.version(), whole.len()), (again.version(), again.len()));
        prop_assert_eq!(labelled(&whole, "a"), labelled(&again, "a"));
        // What comes later does not change what was said at a version.
        let mut links = made_of(version);
        let before = links.catalogue();
        for (offset, record) in &records[version.len()..] {
            links.apply(*offset, NOW, record);
        }
        prop_assert_eq!(said(&whole), said(&before));
    }
}
