//! While a source is silent, the silence of its links is held back: nothing is lost by it, and no crash changes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use event::{Alert, Delivery, DeliveryStage, Map, Millis, Transition};
use hookline_notification::{
    Destination, Held, Inhibit, Live, LiveSilence, MessageKind, Routing, Rule, SILENT_SOURCE, Sending, is_inhibited,
    is_inhibitor,
};
use proptest::prelude::*;

use common::{Lane, planned};

const START: i64 = 1_764_064_800_000;
const MINUTE: i64 = 60_000;
const WAIT: i64 = MINUTE;
const AFTER: i64 = 30 * MINUTE;
const SOURCES: [&str; 2] = ["dub", "bitly"];

fn rule(name: &str, to: &[&str], one_open_per: Option<&str>) -> Rule {
    Rule {
        name: name.to_owned(),
        owner: "growth".to_owned(),
        instruction: None,
        sending: Sending {
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            mention_link_owner: false,
            first_ms: 0,
            then_every_ms: 0,
            say_when_over: true,
            one_open_per: one_open_per.map(str::to_owned),
            mute: None,
        },
    }
}

fn destination(name: &str) -> Destination {
    Destination {
        name: name.to_owned(),
        owner: "data".to_owned(),
        fields: None,
        keyed: name == "tickets",
        max: None,
        open: None,
    }
}

fn inhibit() -> Inhibit {
    Inhibit {
        name: SILENT_SOURCE.to_owned(),
        by: BTreeMap::from([("source-quiet".to_owned(), "source".to_owned())]),
        hold: vec!["link-quiet".to_owned(), "each".to_owned()],
        same: vec!["source".to_owned()],
        wait_ms: WAIT,
        after_ms: AFTER,
    }
}

/// `source-quiet` sends nothing: that it fires is known all the same.
fn routing() -> Routing {
    let rules = vec![rule("link-quiet", &["chat", "tickets"], None), rule("each", &["chat"], None)];
    Routing::new(rules, ["chat", "tickets"].map(destination).to_vec(), vec![]).with_inhibits(vec![inhibit()])
}

fn alert(rule: &str, id: &str, (source, link): (usize, usize), transition: Transition, at: i64) -> Alert<'static> {
    let mut attributes = Map::default();
    attributes.add("source", SOURCES[source]);
    attributes.add("domain", "go.example.com");
    attributes.add("slug", format!("s{link}"));
    let key = match rule {
        "source-quiet" => SOURCES[source].to_owned(),
        _ => format!("go.example.com/{source}{link}"),
    };
    Alert {
        alert_id: id.to_owned().into(),
        rule: rule.to_owned().into(),
        owner: "growth".into(),
        key: key.into(),
        transition,
        window_start: Millis(at),
        window_end: Millis(at),
        received_at: Millis(at),
        attributes,
        ..Alert::default()
    }
}

use Transition::{Fired, Resolved};

#[test]
fn a_silent_source_holds_the_silence_of_its_links_back_and_of_no_others() {
    let mut lane = Lane::new(routing());
    let at = |minutes: i64| START + minutes * MINUTE;
    // The link is first by some seconds.
    assert!(lane.say(&alert("link-quiet", "a", (0, 1), Fired, at(0)), "chat").is_empty());
    lane.take(&alert("source-quiet", "s", (0, 0), Fired, at(0) + 20_000));
    lane.crash();
    lane.take(&alert("link-quiet", "b", (0, 2), Fired, at(5)));
    lane.take(&alert("link-quiet", "c", (1, 3), Fired, at(5)));
    lane.crash();
    assert!(lane.planner.is_due(at(6)));
    let sent = planned(&lane.commit(at(6)), "chat");
    assert_eq!(sent.iter().map(|one| one.alert_ids.clone()).collect::<Vec<_>>(), [["c"]], "of the other source");
    let why: BTreeSet<&str> = lane.deliveries.iter().filter(|one| is_inhibited(one)).map(|one| &*one.error).collect();
    assert_eq!(Vec::from_iter(why), ["inhibit silent-source: source-quiet fires for dub"]);
    assert_eq!(lane.planner.inhibited(), BTreeMap::from([("link-quiet", 4)]), "two links, two destinations");

    // The source is back after a while, and one of the links: that was never told. The other one is told later.
    lane.take(&alert("source-quiet", "s-over", (0, 0), Resolved, at(90)));
    lane.crash();
    let over = lane.take(&alert("link-quiet", "b-over", (0, 2), Resolved, at(100)));
    assert!(planned(&over, "chat").is_empty());
    let silenced = over.iter().find(|one| one.stage == DeliveryStage::Silenced && one.destination == "chat").unwrap();
    assert_eq!(silenced.alert_ids, ["b", "b-over"]);
    assert_eq!(silenced.error, "inhibit silent-source: source-quiet fires for dub; this was over before");
    lane.crash();
    lane.commit(at(119));
    assert!(planned(&lane.deliveries, "chat").iter().all(|one| one.alert_ids == ["c"]), "not yet");
    assert!(lane.planner.is_due(at(120)));
    let told = planned(&lane.commit(at(120)), "chat");
    assert_eq!((told.len(), told[0].alert_ids.clone(), told[0].kind), (1, vec!["a".to_owned()], MessageKind::Alert));
    lane.crash();
    assert!(lane.commit(at(121)).is_empty(), "nothing is said twice");
    assert_eq!(lane.planner.inhibited(), BTreeMap::new());
    let end = lane.say(&alert("link-quiet", "a-over", (0, 1), Resolved, at(130)), "tickets");
    assert!(end[0].thread.as_ref().unwrap().ends && end[0].kind == MessageKind::Resolved);
}

#[test]
fn what_was_told_before_is_ended_whatever_fires() {
    let mut lane = Lane::new(routing());
    lane.take(&alert("link-quiet", "a", (0, 1), Fired, START));
    let told = planned(&lane.commit(START + WAIT), "tickets");
    lane.take(&alert("source-quiet", "s", (0, 0), Fired, START + 2 * MINUTE));
    // It goes on at the link, which is held back, and then it is over there: both are.
    assert!(lane.say(&alert("link-quiet", "more", (0, 1), Fired, START + 3 * MINUTE), "tickets").is_empty());
    lane.crash();
    let over = lane.take(&alert("link-quiet", "over", (0, 1), Resolved, START + 4 * MINUTE));
    let end = planned(&over, "tickets");
    assert_eq!(end[0].thread.as_ref().unwrap().first, told[0].id);
    assert!(end[0].thread.as_ref().unwrap().ends && end[0].alert_ids == ["over"]);
    let silenced = over.iter().find(|one| one.stage == DeliveryStage::Silenced && one.destination == "tickets");
    assert_eq!(silenced.unwrap().alert_ids, ["more"]);
}

#[test]
fn a_start_waits_no_longer_than_it_has_to_and_is_over_in_order() {
    let mut lane = Lane::new(routing());
    lane.take(&alert("link-quiet", "a", (0, 1), Fired, START));
    assert!(!lane.planner.is_due(START + WAIT - 1) && lane.planner.is_due(START + WAIT));
    // It ends before: nothing holds it back, so both are told.
    let sent = lane.say(&alert("link-quiet", "over", (0, 1), Resolved, START + WAIT / 2), "chat");
    assert_eq!((sent.len(), sent[0].alert_ids.clone()), (1, vec!["a".to_owned(), "over".to_owned()]));
    // What is read late does not wait again.
    lane.planner.take(&alert("link-quiet", "late", (0, 2), Fired, START + MINUTE), START + 60 * MINUTE);
    assert_eq!(planned(&lane.commit(START + 60 * MINUTE), "chat")[0].alert_ids, ["late"]);
}

#[test]
fn an_event_of_a_silent_source_and_what_a_person_silences_are_recorded_at_once() {
    let mut lane = Lane::new(routing());
    lane.take(&alert("source-quiet", "s", (0, 0), Fired, START));
    lane.take(&alert("each", "e", (0, 1), Transition::Each, START));
    let held = Held { who: "ana".to_owned(), why: "launch".to_owned(), until_ms: None };
    lane.live(Live { rules: BTreeMap::from([("link-quiet".to_owned(), held)]), ..Live::default() });
    lane.take(&alert("link-quiet", "a", (0, 1), Fired, START));
    let silenced =
        lane.deliveries.iter().filter(|one| one.stage == DeliveryStage::Silenced && one.destination == "chat");
    let why: Vec<(&str, &str)> = silenced.map(|one| (&*one.alert_ids[0], &*one.error)).collect();
    assert_eq!(
        why,
        [("e", "inhibit silent-source: source-quiet fires for dub"), ("a", "the rule is paused by ana: launch")]
    );
}

#[test]
fn what_is_not_told_itself_holds_nothing_back() {
    // The rule of the source sends, is paused, and fires; a link of it goes quiet. One of the two has to be told.
    let with_source = || {
        let rules = vec![rule("link-quiet", &["chat"], None), rule("source-quiet", &["chat"], None)];
        let destinations = ["chat", "tickets"].map(destination).to_vec();
        Routing::new(rules, destinations, vec![]).with_inhibits(vec![inhibit()])
    };
    let held = Held { who: "ana".to_owned(), why: "launch".to_owned(), until_ms: Some(START + MINUTE) };
    let paused = Live { rules: BTreeMap::from([("source-quiet".to_owned(), held)]), ..Live::default() };
    for (live, told) in [(paused, vec!["a"]), (Live::default(), vec!["s"])] {
        let mut lane = Lane::new(routing());
        lane.planner.reroute(with_source());
        lane.live(live);
        lane.take(&alert("source-quiet", "s", (0, 0), Fired, START));
        lane.take(&alert("link-quiet", "a", (0, 1), Fired, START + MINUTE));
        lane.commit(START + MINUTE + WAIT);
        let messages = planned(&lane.deliveries, "chat");
        assert_eq!(messages.iter().flat_map(|one| one.alert_ids.clone()).collect::<Vec<_>>(), told);
    }
}

#[test]
fn what_is_let_go_meets_the_silences_of_then() {
    let mut lane = Lane::new(routing());
    lane.take(&alert("source-quiet", "s", (0, 0), Fired, START));
    lane.take(&alert("link-quiet", "a", (0, 1), Fired, START + MINUTE));
    lane.take(&alert("link-quiet", "b", (0, 2), Fired, START + MINUTE));
    lane.take(&alert("source-quiet", "s-over", (0, 0), Resolved, START + 2 * MINUTE));
    let held = Held { who: "ana".to_owned(), why: "launch".to_owned(), until_ms: None };
    let silence = LiveSilence { rule: "link-quiet".to_owned(), about: "go.example.com/s1".to_owned(), held };
    let live = Live { silences: vec![silence], ..Live::default() };
    lane.live(live.clone());
    let free = lane.commit(START + 2 * MINUTE + AFTER);
    let sent: Vec<_> = planned(&free, "tickets").into_iter().flat_map(|one| one.alert_ids).collect();
    assert_eq!(sent, ["b"]);
    let silenced: Vec<_> = free.iter().filter(|one| one.stage == DeliveryStage::Silenced).collect();
    assert_eq!(silenced.len(), 2, "one for each destination");
    assert!(silenced.iter().all(|one| one.error == "silenced by ana: launch" && one.alert_ids == ["a"]));
    lane.crash();
    assert_eq!(lane.planner.inhibited(), BTreeMap::new());
    assert!(planned(&lane.commit(START + 3 * MINUTE + AFTER), "chat").is_empty(), "it is not told after a crash");
    // One that nothing held back goes by the time at which it came: only its wait ended in the silence.
    let mut lane = Lane::new(routing());
    lane.take(&alert("link-quiet", "c", (0, 1), Fired, START));
    lane.live(live);
    assert_eq!(planned(&lane.commit(START + WAIT), "tickets")[0].alert_ids, ["c"]);
}

#[test]
fn what_has_no_room_goes_its_usual_way() {
    let mut lane = Lane::new(routing());
    lane.take(&alert("source-quiet", "s", (0, 0), Fired, START));
    // 5,000 links at two destinations; the planner keeps no more.
    for link in 0..5_000 {
        lane.planner.take(&alert("link-quiet", &format!("a{link}"), (0, link), Fired, START), START);
    }
    lane.commit(START);
    assert_eq!(lane.planner.inhibited(), BTreeMap::from([("link-quiet", 10_000)]));
    let more = lane.take(&alert("link-quiet", "more", (0, 5_000), Fired, START + MINUTE));
    assert_eq!(planned(&more, "chat").iter().map(|one| one.alert_ids.clone()).collect::<Vec<_>>(), [["more"]]);
    assert!(more.iter().all(|one| one.stage != DeliveryStage::Silenced), "it is not given up");
    let over = lane.take(&alert("link-quiet", "over", (0, 5_000), Resolved, START + 2 * MINUTE));
    assert_eq!(planned(&over, "tickets")[0].kind, MessageKind::Resolved);
    // What is held already stays so, and its end makes room.
    lane.take(&alert("link-quiet", "end", (0, 1), Resolved, START + 3 * MINUTE));
    assert!(lane.say(&alert("link-quiet", "b", (0, 5_001), Fired, START + 4 * MINUTE), "chat").is_empty());
}

#[test]
fn test_data_and_other_configurations_change_nothing_for_the_rest() {
    let mut lane = Lane::new(routing());
    let test = Alert { test: true, ..alert("source-quiet", "s", (0, 0), Fired, START) };
    lane.take(&test);
    lane.take(&alert("link-quiet", "a", (0, 1), Fired, START));
    assert_eq!(planned(&lane.commit(START + WAIT), "chat").len(), 1, "test data holds test data back");
    lane.take(&alert("source-quiet", "t", (0, 0), Fired, START + WAIT));
    lane.take(&alert("link-quiet", "b", (0, 2), Fired, START + WAIT));
    // The inhibition is taken out: what it held is told.
    lane.planner.reroute(routing().with_inhibits(vec![]));
    assert!(lane.planner.is_due(START + 2 * WAIT));
    assert_eq!(planned(&lane.commit(START + 2 * WAIT), "chat")[0].alert_ids, ["b"]);
}

#[test]
fn a_key_that_never_ends_holds_nothing_back_for_longer_than_a_week() {
    let mut lane = Lane::new(routing());
    lane.take(&alert("source-quiet", "s", (0, 0), Fired, START));
    lane.take(&alert("link-quiet", "a", (0, 1), Fired, START + MINUTE));
    let week = START + 7 * 24 * 60 * MINUTE;
    assert!(planned(&lane.commit(week - 1), "chat").is_empty());
    lane.crash();
    assert_eq!(planned(&lane.commit(week), "chat").len(), 1);
    lane.commit(week + 1);
    assert!(lane.say(&alert("link-quiet", "b", (0, 2), Fired, week + 2), "chat").is_empty(), "it waits");
    assert_eq!(planned(&lane.commit(week + 2 + WAIT), "chat").len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    /// The condition of a link, or of its source, changes.
    Turn {
        source: usize,
        link: Option<usize>,
    },
    Wait {
        minutes: i64,
    },
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2usize, 0..4usize).prop_map(|(source, link)| Step::Turn { source, link: Some(link) }),
        2 => (0..2usize).prop_map(|source| Step::Turn { source, link: None }),
        3 => (0..50i64).prop_map(|minutes| Step::Wait { minutes }),
        3 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_is_lost_or_told_while_its_source_is_silent_and_crashes_change_nothing(steps in steps()) {
        let (mut lane, mut undisturbed, mut now) = (Lane::new(routing()), Lane::new(routing()), START);
        // By source, and by link: since when it fires.
        let mut silent: BTreeMap<usize, bool> = BTreeMap::new();
        let mut back_at: BTreeMap<usize, i64> = BTreeMap::new();
        let mut quiet: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut of_alert: BTreeMap<String, ((usize, usize), Transition)> = BTreeMap::new();
        let mut told: BTreeSet<(usize, usize)> = BTreeSet::new();
        // What is silent at the end speaks again, and time goes by.
        let all_back = (0..2).map(|source| Step::Turn { source, link: None });
        let end = all_back.map(|step| (step, true)).chain([(Step::Wait { minutes: 200 }, false), (Step::Crash, false), (Step::Wait { minutes: 5 }, false)]);
        let mut number = 0;
        for (step, only_back) in steps.into_iter().map(|step| (step, false)).chain(end) {
            let mut times = vec![now];
            match step {
                Step::Turn { source, link: None } => {
                    let before = silent.insert(source, false).unwrap_or(false);
                    if only_back && !before {
                        continue;
                    }
                    silent.insert(source, !before);
                    if before {
                        back_at.insert(source, now);
                    }
                    let turn = if before { Resolved } else { Fired };
                    let one = alert("source-quiet", &format!("source-{number}"), (source, 0), turn, now);
                    lane.planner.take(&one, now);
                    undisturbed.planner.take(&one, now);
                }
                Step::Turn { source, link: Some(link) } => {
                    let turn = if quiet.remove(&(source, link)) { Resolved } else { Fired };
                    if turn == Fired {
                        quiet.insert((source, link));
                    }
                    let id = format!("link-{number}");
                    of_alert.insert(id.clone(), ((source, link), turn));
                    let one = alert("link-quiet", &id, (source, link), turn, now);
                    lane.planner.take(&one, now);
                    undisturbed.planner.take(&one, now);
                }
                Step::Wait { minutes } => times = (1..=minutes).map(|minute| now + minute * MINUTE).collect(),
                Step::Crash => { lane.crash(); continue; }
            }
            number += 1;
            for at in times {
                now = at;
                let records = lane.commit(now);
                undisturbed.commit(now);
                prop_assert!(!lane.planner.is_due(now), "what is settled is not due again");
                for message in planned(&records, "tickets") {
                    for id in &message.alert_ids {
                        let (link, turn) = of_alert[id];
                        if turn == Resolved {
                            told.remove(&link);
                            continue;
                        }
                        told.insert(link);
                        let is_silent = silent.get(&link.0).copied().unwrap_or(false);
                        let afterwards = back_at.get(&link.0).is_some_and(|back| now < back + AFTER);
                        prop_assert!(!is_silent && !afterwards, "{id} is told while {} is silent", SOURCES[link.0]);
                    }
                }
                // What was told is over at the receiver as soon as it is over.
                prop_assert!(told.is_subset(&quiet), "{told:?} is open, {quiet:?} is quiet");
            }
        }
        prop_assert_eq!(told, quiet, "what is quiet in the end is told");
        prop_assert_eq!(&lane.deliveries, &undisturbed.deliveries, "as if nothing had crashed");
        prop_assert_eq!(lane.planner.inhibited(), BTreeMap::new());
        for to in ["chat", "tickets"] {
            let mut said: BTreeMap<&str, usize> = BTreeMap::new();
            let last = |one: &&Delivery<'_>| matches!(one.stage, DeliveryStage::Planned | DeliveryStage::Silenced);
            for record in lane.deliveries.iter().filter(last).filter(|one| one.destination == to) {
                record.alert_ids.iter().for_each(|id| *said.entry(id).or_default() += 1);
            }
            prop_assert_eq!(said.len(), of_alert.len(), "each alert is told or recorded");
            prop_assert!(said.values().all(|times| *times == 1), "{:?}", said);
        }
        let inhibitors = lane.deliveries.iter().filter(|one| is_inhibitor(one));
        prop_assert!(inhibitors.clone().all(|one| one.stage == DeliveryStage::Held && one.alert_ids.is_empty()));
    }
}
