//! What began and ended before it was told: said to be over, by its name, and without a ping.

use super::*;

/// 03:00 UTC of the day on which the office opens at nine.
const NIGHT: i64 = START - 7 * HOUR;
const NINE: i64 = START - HOUR;

/// The office hears of a source that is quiet and of bursts, each rule in one group.
fn night(fields: Option<&[&str]>) -> Lane {
    let fields = fields.map(|fields| fields.iter().map(|one| (*one).to_owned()).collect());
    let open = Open { hours: hours(time(9, 0, 0, 0), time(17, 0, 0, 0)), drops_outside: false };
    let office = Destination {
        name: "office".to_owned(),
        owner: "data".to_owned(),
        fields,
        keyed: false,
        max: None,
        open: Some(open),
    };
    let rules = ["source-quiet", "promo-burst"].map(|name| {
        let mut rule = rule(name, &["office"], None);
        rule.instruction = Some("Call the owner.".to_owned());
        rule
    });
    Lane::new(Routing::new(rules.to_vec(), vec![office], vec![]))
}

fn quiet(source: &str, number: usize, over: bool, minutes: i64) -> Alert<'static> {
    let mut attributes = Map::default();
    attributes.add("source", source.to_owned());
    Alert {
        key: source.to_owned().into(),
        observed: 0,
        threshold: 63,
        attributes,
        ..burst(0, number, over, minutes).named("source-quiet")
    }
}

fn burst(link: usize, number: usize, over: bool, minutes: i64) -> Alert<'static> {
    let transition = if over { Transition::Resolved } else { Transition::Fired };
    let observed = if over { 0 } else { 600 };
    Alert { observed, ..alert("promo-burst", number, link, transition, NIGHT + minutes * MINUTE) }
}

trait Named {
    fn named(self, rule: &str) -> Self;
}

impl Named for Alert<'static> {
    fn named(self, rule: &str) -> Self {
        Alert { rule: rule.to_owned().into(), ..self }
    }
}

/// What the office is told when it opens.
fn told(mut lane: Lane, alerts: &[Alert<'_>]) -> Message {
    for alert in alerts {
        assert!(lane.say(alert, "office").is_empty());
    }
    lane.crash();
    let mut told = planned(&lane.commit(NINE), "office");
    assert_eq!(told.len(), 1);
    told.remove(0)
}

#[test]
fn a_digest_says_what_is_over_and_of_which_source_or_link() {
    let alerts = [quiet("dub", 0, false, 0), burst(1, 1, false, 10), burst(1, 2, true, 40), quiet("dub", 3, true, 60)];
    let digest = told(night(None), &alerts);
    let lines = [
        "digest: 600 events in 2 messages of 2 rules, most of them of promo-burst; all of it is over",
        "- promo-burst: began and is over: 600 events on go.example.com/s1",
        "- source-quiet: began and is over: dub was quiet",
    ];
    for line in lines {
        assert!(digest.text.lines().any(|one| one == line), "{}", digest.text);
    }
    assert!(!digest.pings() && digest.digest[1].title == lines[2][2..]);
}

#[test]
fn what_goes_on_stands_before_what_is_over_and_a_part_that_is_over_is_named() {
    let alerts = [
        burst(1, 0, false, 0),
        burst(1, 1, true, 5),
        quiet("dub", 2, false, 10),
        quiet("hubspot", 3, false, 11),
        quiet("dub", 4, true, 12),
    ];
    let digest = told(night(None), &alerts);
    let lines: Vec<&str> = digest.text.lines().skip(3).collect();
    let expected = [
        "Over by now: 1 of 2",
        "- source-quiet: hubspot is quiet (over: dub)",
        "- promo-burst: began and is over: 600 events on go.example.com/s1",
    ];
    assert_eq!(lines, expected);
    assert!(!digest.title.ends_with("over"), "{}", digest.title);
}

#[test]
fn alone_it_pings_no_person_and_asks_for_nothing() {
    for (alerts, title) in [
        ([quiet("dub", 0, false, 0), quiet("dub", 1, true, 60)], "source-quiet: began and is over: dub was quiet"),
        (
            [burst(1, 0, false, 0), burst(1, 1, true, 60)],
            "promo-burst: began and is over: 600 events on go.example.com/s1",
        ),
    ] {
        let message = told(night(None), &alerts);
        assert_eq!((message.title.as_str(), message.kind), (title, MessageKind::Resolved));
        assert!(!message.pings() && !message.text.contains("Do:"), "{}", message.text);
        let thread = message.thread.unwrap();
        assert!(thread.opens && thread.ends && thread.firing.is_empty());
    }
}

#[test]
fn of_many_links_those_that_are_over_are_named_up_to_a_few() {
    let starts = (1..8).map(|link| burst(link, link, false, 0));
    let alerts: Vec<_> = starts.chain((1..6).map(|link| burst(link, 10 + link, true, 30))).collect();
    let message = told(night(None), &alerts);
    assert_eq!((message.title.as_str(), message.kind), ("promo-burst: 4200 events on 7 links", MessageKind::Alert));
    let over = "; over: go.example.com/s1, go.example.com/s2, go.example.com/s3 and 2 more";
    assert!(message.text.lines().nth(1).unwrap().ends_with(over), "{}", message.text);
    assert!(message.pings() && message.text.contains("Do: Call the owner."));
    // It ended, and began again.
    let again = [burst(1, 0, false, 0), burst(1, 1, true, 30), burst(1, 2, false, 40)];
    let message = told(night(None), &again);
    assert!(message.text.contains("; over in between, and again") && message.pings(), "{}", message.text);
}

#[test]
fn a_place_that_may_hear_neither_link_nor_source_is_told_how_many_are_over() {
    let narrow = || night(Some(&["country"]));
    let message = told(narrow(), &[burst(1, 0, false, 0), burst(2, 1, false, 0), burst(2, 2, true, 30)]);
    assert!(message.text.contains("; 1 of 3 alerts say that it is over"), "{}", message.text);
    let message = told(narrow(), &[quiet("dub", 0, false, 0), quiet("dub", 1, true, 60)]);
    assert_eq!(message.title, "source-quiet: began and is over: too quiet");
    let message = told(narrow(), &[burst(1, 0, false, 0), burst(1, 1, true, 60)]);
    assert!(!message.to_json().contains("go.example.com"), "{}", message.text);
}

#[test]
fn an_end_without_a_link_names_its_key() {
    let mut lane = night(None);
    let day = NINE - NIGHT;
    let minutes = day / MINUTE;
    assert_eq!(lane.say(&quiet("dub", 0, false, minutes), "office")[0].title, "source-quiet: dub is quiet");
    let end = lane.say(&quiet("dub", 1, true, minutes + 30), "office").remove(0);
    assert_eq!(end.title, "source-quiet: over for dub");
    // What began and ended while its group was quiet.
    for (number, over) in [(2, false), (3, true)] {
        lane.say(&burst(1, number, over, minutes + 31), "office");
    }
    lane.say(&burst(1, 4, false, minutes + 60), "office");
    for (number, link, over) in [(5, 2, false), (6, 2, true)] {
        assert!(lane.say(&burst(link, number, over, minutes + 65), "office").is_empty());
    }
    let brief = planned(&lane.commit(NINE + 70 * MINUTE), "office").remove(0);
    assert_eq!(
        (brief.title.as_str(), brief.kind),
        ("promo-burst: over: 600 events more on go.example.com/s2", MessageKind::Resolved)
    );
    let thread = brief.thread.unwrap();
    assert_eq!((thread.opens, thread.ends, thread.firing), (false, false, vec!["go.example.com/s1".to_owned()]));
}
