//! Broken destinations, case by case: what ends a link, for whom, and what does not.

use super::*;

/// When a rule on broken destinations fires for these events, and for which keys, in a detector that knows nothing.
fn told_of_broken(per: Per, events: &[Received]) -> Vec<(String, i64)> {
    let rule = broken(per);
    let one = batches(&rule, events, MONDAY + 120, &mut Random(5));
    let alerts = run(&rule, &one, 7);
    let fired = alerts.iter().filter(|alert| alert.transition == Transition::Fired);
    fired.map(|alert| (alert.key.to_string(), alert.window_end.0 / 60_000 - MONDAY)).collect()
}

/// A visit a minute of so many links of a campaign, from some minute to some other.
fn visits(links: u64, minutes: std::ops::Range<i64>) -> Vec<Received> {
    let of_minute = |minute: i64| {
        let visit =
            move |link| (minute, LinkEvent { campaign: "spring".into(), ..event(minute, EventType::Click, link) });
        (0..links).map(visit)
    };
    minutes.map(|minute| MONDAY + minute).flat_map(of_minute).collect()
}

fn lifecycle(minute: i64, subtype: &'static str, source: &'static str) -> Received {
    let of = event(MONDAY + minute, EventType::Lifecycle, 0);
    let one = LinkEvent { subtype: subtype.into(), source: source.into(), campaign: "spring".into(), ..of };
    (MONDAY + minute, one)
}

#[test]
fn the_end_of_one_link_of_a_campaign_does_not_break_the_others() {
    let mut events = visits(40, 0..60);
    events.push(lifecycle(10, "link.expired", "dub"));
    assert_eq!(told_of_broken(Per::Campaign, &events), []);
    assert_eq!(
        told_of_broken(Per::Link, &events),
        [("go.example.com/s0".to_owned(), 14)],
        "its own visits lead nowhere"
    );
    // What counts is which of the visits are marked.
    for event in events.iter_mut().filter(|one| one.0 > MONDAY + 10 && one.1.slug == "s0") {
        event.1.trace.push("catalogue:expired".into());
    }
    assert_eq!(told_of_broken(Per::Campaign, &events), [], "one in forty is less than a tenth");
    let few: Vec<Received> = events.into_iter().filter(|one| one.1.slug.len() == 2 && &*one.1.slug < "s6").collect();
    assert_eq!(told_of_broken(Per::Campaign, &few).len(), 1, "one in six is more");
}

#[test]
fn an_end_that_an_older_version_noted_for_a_campaign_is_forgotten() {
    // As it was written for a link, which has the same record, and is read for a campaign of that name.
    let (of_links, of_campaigns) = (broken(Per::Link), broken(Per::Campaign));
    let mut before = Detector::new(std::slice::from_ref(&of_links), LANES);
    for batch in batches(&of_links, &[lifecycle(10, "link.expired", "dub")], MONDAY + 30, &mut Random(5)) {
        before.take(&batch).unwrap();
    }
    let mut after = Detector::new(std::slice::from_ref(&of_campaigns), LANES);
    after.restore_lanes(&before.lanes_snapshot()).unwrap();
    let changes = before.snapshot();
    assert_eq!(changes.len(), 1, "the end of a link is kept");
    let memory = |rule: &Rule, events: &[Received]| {
        let mut detector = Detector::new(std::slice::from_ref(rule), LANES);
        for batch in batches(rule, events, MONDAY + 5, &mut Random(5)) {
            detector.take(&batch).unwrap();
        }
        detector.snapshot().remove(0).key
    };
    let mut bad = visits(1, 0..1);
    bad[0].1.redirect_status = 404;
    let key = memory(&of_campaigns, &bad);
    after.restore(&key, changes[0].value.as_ref().unwrap()).unwrap();
    after.restored().unwrap();
    let mut fired = 0;
    for batch in batches(&of_campaigns, &visits(40, 31..60), MONDAY + 90, &mut Random(5)) {
        fired += after.take(&batch).unwrap().findings.len();
    }
    assert_eq!((fired, after.keys()), (0, 0));
}

#[test]
fn an_expiry_of_the_list_that_is_put_off_breaks_nothing() {
    // The catalogue told it; the list says another day since, so visits have no mark.
    let mut events = visits(1, 0..60);
    events.push(lifecycle(10, "link.expired", event::CATALOGUE_SOURCE));
    assert_eq!(told_of_broken(Per::Link, &events), []);
    // Where the list was not changed, visits are marked.
    for one in events.iter_mut().filter(|one| one.0 > MONDAY + 10) {
        one.1.trace.push("catalogue:expired".into());
    }
    assert_eq!(told_of_broken(Per::Link, &events).len(), 1);
}

#[test]
fn visits_that_come_late_to_a_link_that_has_ended_break_nothing() {
    // Made at 23:40, and the link ends at 00:00; the sender was away until 00:20.
    let mut events: Vec<Received> = visits(20, 20..21)
        .into_iter()
        .map(|(minute, one)| {
            let event_time = Millis((MONDAY - 20) * 60_000);
            (minute, LinkEvent { slug: "s0".into(), event_time, ..one })
        })
        .collect();
    events.push(lifecycle(0, "link.deleted", "dub"));
    assert_eq!(told_of_broken(Per::Link, &events), []);
    // Visits of now lead nowhere, and those of before do not show that it works again.
    events.extend(visits(1, 30..35));
    events.extend(visits(20, 50..51).into_iter().map(|(minute, one)| {
        (minute, LinkEvent { slug: "s0".into(), event_time: Millis((MONDAY - 20) * 60_000), ..one })
    }));
    events.sort_by_key(|one| one.0);
    let rule = broken(Per::Link);
    let said = said(&run(&rule, &batches(&rule, &events, MONDAY + 200, &mut Random(5)), 7));
    let said: Vec<(i64, char, u64)> = said.into_iter().map(|one| (one.1 - MONDAY, one.2, one.3)).collect();
    assert_eq!(said, [(33, '+', 3), (95, '-', 5)]);
}
