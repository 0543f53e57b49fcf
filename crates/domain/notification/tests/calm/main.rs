//! Few messages: budgets, open hours, what people hold back. Whatever crashes, no alert is lost, and no span of time
//! has more messages than its budget.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

#[path = "../common/mod.rs"]
mod common;

mod acknowledged;
mod clock;
mod ended;
mod restart;
mod tickets;
mod untold;

use std::collections::{BTreeMap, HashMap};

use event::{Alert, Delivery, DeliveryStage, Map, Millis, Transition};
use hookline_notification::{
    Budget, Destination, Held, Hours, Live, LiveSilence, Message, MessageKind, Mute, Open, Routing, Rule, Sending,
};
use jiff::civil::{Time, Weekday, time};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use common::{Lane, planned};

/// A Tuesday, 10:00 UTC.
const START: i64 = 1_764_064_800_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const BUDGET: Budget = Budget { count: 4, per_ms: HOUR };

fn rule(name: &str, to: &[&str], one_open_per: Option<&str>) -> Rule {
    Rule {
        name: name.to_owned(),
        owner: "growth".to_owned(),
        instruction: None,
        sending: Sending {
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            mention_link_owner: false,
            first_ms: 0,
            then_every_ms: 10 * MINUTE,
            say_when_over: true,
            one_open_per: one_open_per.map(str::to_owned),
            mute: None,
        },
    }
}

fn hours(from: Time, until: Time) -> Hours {
    Hours { days: Weekday::Monday.cycle_forward().take(7).collect(), from, until, zone: TimeZone::UTC }
}

fn routing() -> Routing {
    routing_of(false)
}

/// `log` may be a place that knows that something is acknowledged.
fn routing_of(acknowledging: bool) -> Routing {
    routing_with(Some(BUDGET), acknowledging.then_some("log"))
}

/// `chat` has this budget; this place knows that something is acknowledged.
fn routing_with(budget: Option<Budget>, acknowledging: Option<&str>) -> Routing {
    let destination = |name: &str, max: Option<Budget>, open: Option<Open>| Destination {
        name: name.to_owned(),
        owner: "data".to_owned(),
        fields: None,
        keyed: false,
        max,
        open,
    };
    let office = || hours(time(9, 0, 0, 0), time(17, 0, 0, 0));
    let mut muted = rule("muted", &["log"], None);
    muted.sending.mute = Some(Mute { name: "nights".to_owned(), hours: hours(time(22, 0, 0, 0), time(7, 0, 0, 0)) });
    let all = ["chat", "office", "drops", "log"];
    let rules =
        vec![rule("each", &all, None), rule("count", &all, Some("link")), rule("other", &["chat"], None), muted];
    let destinations = vec![
        destination("chat", budget, None),
        destination("office", None, Some(Open { hours: office(), drops_outside: false })),
        destination("drops", None, Some(Open { hours: office(), drops_outside: true })),
        destination("log", None, None),
    ];
    let routing = Routing::new(rules, destinations, vec![]);
    routing.with_acknowledging(acknowledging.map(str::to_owned))
}

fn alert(rule: &str, number: usize, link: usize, transition: Transition, at: i64) -> Alert<'static> {
    let mut attributes = Map::default();
    attributes.add("domain", "go.example.com");
    attributes.add("slug", format!("s{link}"));
    Alert {
        alert_id: format!("alert-{number}").into(),
        rule: rule.to_owned().into(),
        owner: "growth".into(),
        key: format!("go.example.com/s{link}").into(),
        transition,
        window_start: Millis(at),
        window_end: Millis(at),
        observed: 1,
        received_at: Millis(at),
        attributes,
        ..Alert::default()
    }
}

/// Why messages to a destination were never sent.
fn silenced(lane: &Lane, to: &str) -> Vec<String> {
    let silenced = |one: &&Delivery<'_>| one.stage == DeliveryStage::Silenced && one.destination == to;
    lane.deliveries.iter().filter(silenced).map(|one| one.error.to_string()).collect()
}

fn held(until_ms: Option<i64>) -> Held {
    Held { who: "ana".to_owned(), why: "launch".to_owned(), until_ms }
}

/// A person takes care of this message.
fn acknowledged(id: &str) -> Live {
    let mut live = Live::default();
    live.acknowledged.insert(id.to_owned(), held(None));
    live
}

#[test]
fn above_its_budget_a_destination_gets_one_digest_that_names_the_rule_which_spent_it() {
    let mut lane = Lane::new(routing());
    let mut sent = Vec::new();
    // Each link has its own message: four fill the hour, six wait.
    for number in 0..10 {
        sent.extend(
            lane.say(&alert("count", number, number, Transition::Fired, START + number as i64 * MINUTE), "chat"),
        );
    }
    assert_eq!(sent.len(), 4);
    assert!(sent[3].text.contains("message 4 of 4 in an hour, 4 of them of count"), "{}", sent[3].text);
    assert!(!lane.planner.is_due(START + 30 * MINUTE), "what waits is not looked at again and again");
    lane.crash();
    assert!(planned(&lane.commit(START + 59 * MINUTE), "chat").is_empty(), "a crash spends nothing again");
    assert!(lane.planner.is_due(START + HOUR));
    let digest = planned(&lane.commit(START + HOUR), "chat");
    assert_eq!((digest.len(), digest[0].kind, digest[0].digest.len()), (1, MessageKind::Digest, 6));
    assert_eq!(digest[0].title, "digest: 6 events in 6 messages of count");
    assert!(
        digest[0].text.contains("chat takes 4 messages in an hour; count has spent most of them"),
        "{}",
        digest[0].text
    );
    assert!(!digest[0].pings());
    lane.crash();
    assert!(planned(&lane.commit(START + 3 * HOUR), "chat").is_empty(), "nothing is said twice");
}

#[test]
fn what_was_opened_is_ended_whatever_the_budget_and_not_outside_the_hours() {
    let mut lane = Lane::new(routing());
    for number in 0..4 {
        lane.say(&alert("count", number, number, Transition::Fired, START), "chat");
    }
    lane.say(&alert("other", 4, 9, Transition::Each, START), "chat");
    // Its group has just spoken: the end waits for its turn, and then goes though the budget is spent.
    lane.say(&alert("count", 5, 0, Transition::Resolved, START + MINUTE), "chat");
    let ends = planned(&lane.commit(START + 10 * MINUTE), "chat");
    assert_eq!(ends.iter().map(|one| one.kind).collect::<Vec<_>>(), [MessageKind::Resolved]);
    // At 16:55 the office hears of something, at 17:00 it closes: the end comes at nine.
    let mut lane = Lane::new(routing());
    let evening = START + 6 * HOUR + 55 * MINUTE;
    assert_eq!(lane.say(&alert("count", 0, 0, Transition::Fired, evening), "office").len(), 1);
    lane.say(&alert("count", 1, 0, Transition::Resolved, evening + 10 * MINUTE), "office");
    lane.say(&alert("each", 2, 1, Transition::Each, evening + 11 * MINUTE), "office");
    lane.say(&alert("count", 3, 2, Transition::Fired, evening + 12 * MINUTE), "office");
    lane.crash();
    let nine = START + 23 * HOUR;
    assert!(planned(&lane.commit(nine - 1), "office").is_empty());
    let mut kinds: Vec<_> = planned(&lane.commit(nine), "office").iter().map(|one| one.kind.name()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["digest", "resolved"]);
    // What drops says so, and drops no end.
    assert!(silenced(&lane, "drops").iter().all(|why| why == "outside the open hours of drops"));
    assert_eq!(silenced(&lane, "drops").len(), 2);
}

#[test]
fn people_hold_starts_back_and_never_ends() {
    let mut lane = Lane::new(routing());
    let first = lane.say(&alert("count", 0, 0, Transition::Fired, START), "log");
    let at = |minutes: i64| START + minutes * MINUTE;
    let mut live = Live::default();
    live.rules.insert("count".to_owned(), held(Some(at(60))));
    live.silences.push(LiveSilence {
        rule: "each".to_owned(),
        about: "go.example.com/s1".to_owned(),
        held: held(None),
    });
    lane.live(live.clone());
    assert!(lane.say(&alert("count", 1, 1, Transition::Fired, at(20)), "log").is_empty());
    assert!(lane.say(&alert("each", 2, 1, Transition::Each, at(20)), "log").is_empty(), "the link that is silenced");
    assert_eq!(lane.say(&alert("each", 3, 2, Transition::Each, at(20)), "log").len(), 1, "another link");
    let end = lane.say(&alert("count", 4, 0, Transition::Resolved, at(21)), "log");
    assert_eq!((end.len(), end[0].kind), (1, MessageKind::Resolved));
    assert_eq!(lane.say(&alert("count", 5, 3, Transition::Fired, at(61)), "log").len(), 1, "the pause is over");
    assert_eq!(silenced(&lane, "log"), ["the rule is paused by ana: launch", "silenced by ana: launch"]);

    // A destination that is paused gets everything as one when it goes on.
    live.destinations.insert("log".to_owned(), held(None));
    lane.live(live);
    assert!(lane.say(&alert("count", 6, 6, Transition::Fired, at(70)), "log").is_empty());
    assert!(lane.say(&alert("count", 7, 7, Transition::Fired, at(71)), "log").is_empty());
    lane.crash();
    assert!(planned(&lane.commit(at(600)), "log").is_empty());
    lane.live(Live::default());
    assert_eq!(planned(&lane.commit(at(601)), "log")[0].digest.len(), 2);
    assert_eq!(first.len(), 1);
}

#[test]
fn an_acknowledged_message_is_followed_by_its_end_alone() {
    let mut lane = Lane::new(routing());
    let first = lane.say(&alert("count", 0, 0, Transition::Fired, START), "log");
    lane.live(acknowledged(&first[0].id));
    lane.crash();
    for number in 1..5 {
        let more = alert("count", number, 0, Transition::Fired, START + number as i64 * 20 * MINUTE);
        assert!(lane.say(&more, "log").is_empty(), "{number}");
    }
    assert_eq!(silenced(&lane, "log").len(), 4);
    assert_eq!(lane.say(&alert("count", 9, 0, Transition::Resolved, START + 3 * HOUR), "log").len(), 1);
}

#[test]
fn a_place_that_knows_of_acknowledgements_is_told_once_and_before_the_end_whatever_crashes() {
    let mut lane = Lane::new(routing_of(true));
    let first = lane.say(&alert("count", 0, 0, Transition::Fired, START), "log").remove(0);
    let other = lane.say(&alert("count", 1, 1, Transition::Fired, START), "log").remove(0);
    lane.live(acknowledged(&first.id));
    assert!(lane.planner.is_due(START + MINUTE));
    let told = lane.commit(START + MINUTE);
    assert_eq!(told.len(), 1, "what is open at other links is not told");
    let told = Message::thawed(&told[0].body).unwrap();
    let (opened, thread) = (first.thread.clone().unwrap(), told.thread.clone().unwrap());
    assert_eq!((told.kind, &thread.key, thread.ends), (MessageKind::Acknowledged, &opened.key, false));
    assert!(told.id != first.id && told.id != other.id && told.text.contains("acknowledged by"), "{}", told.text);
    for round in 0..3 {
        let now = START + (round + 2) * MINUTE;
        assert!(!lane.planner.is_due(now) && lane.commit(now).is_empty(), "{round}");
        lane.crash();
    }
    let over = lane.say(&alert("count", 9, 0, Transition::Resolved, START + HOUR), "log").remove(0);
    let end = over.thread.unwrap();
    assert!(end.ends && end.key == opened.key);
}

#[test]
fn an_acknowledgement_counts_against_no_budget_after_a_restart_either() {
    let mut lane = Lane::new(routing_with(Some(BUDGET), Some("chat")));
    let mut sent = Vec::new();
    for number in 0..3 {
        sent.extend(lane.say(&alert("count", number, number, Transition::Fired, START), "chat"));
    }
    lane.live(acknowledged(&sent[0].id));
    assert_eq!(planned(&lane.commit(START + MINUTE), "chat")[0].kind, MessageKind::Acknowledged);
    lane.crash();
    let fourth = lane.say(&alert("count", 3, 3, Transition::Fired, START + 2 * MINUTE), "chat");
    assert_eq!(fourth.len(), 1, "the budget has room for four");
    assert!(lane.say(&alert("count", 4, 4, Transition::Fired, START + 3 * MINUTE), "chat").is_empty());
}

#[test]
fn very_many_messages_that_wait_are_few_digests() {
    let paused = |destination: &str| {
        let mut live = Live::default();
        live.destinations.insert(destination.to_owned(), held(None));
        live
    };
    for (keys, digests) in [(500, vec![500]), (501, vec![251, 250]), (1_300, vec![434, 434, 432])] {
        let mut lane = Lane::new(routing());
        lane.live(paused("log"));
        for number in 0..keys {
            lane.planner.take(&alert("count", number, number, Transition::Fired, START), START);
        }
        assert!(planned(&lane.commit(START), "log").is_empty());
        lane.crash();
        lane.live(Live::default());
        let sizes = |sent: &[Message]| sent.iter().map(|one| one.digest.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&planned(&lane.commit(START + HOUR), "log")), digests, "{keys}");
        lane.crash();
        assert!(planned(&lane.commit(START + 2 * HOUR), "log").is_empty(), "nothing is said twice");
    }
    // Where the budget has room for fewer, the rest waits for its turn.
    let mut lane = Lane::new(routing_with(Some(Budget { count: 2, per_ms: HOUR }), None));
    lane.live(paused("chat"));
    for number in 0..1_300 {
        lane.planner.take(&alert("count", number, number, Transition::Fired, START), START);
    }
    lane.commit(START);
    lane.live(Live::default());
    assert_eq!(planned(&lane.commit(START + HOUR), "chat").len(), 2);
    lane.crash();
    assert!(planned(&lane.commit(START + 2 * HOUR - 1), "chat").is_empty());
    let rest = planned(&lane.commit(START + 2 * HOUR), "chat");
    assert_eq!(rest.iter().map(|one| one.digest.len()).collect::<Vec<_>>(), [432]);
}

#[test]
fn a_muted_rule_says_nothing_new_at_night() {
    let mut lane = Lane::new(routing());
    assert_eq!(lane.say(&alert("muted", 0, 0, Transition::Fired, START), "log").len(), 1);
    assert!(lane.say(&alert("muted", 1, 0, Transition::Fired, START + 13 * HOUR), "log").is_empty());
    assert_eq!(silenced(&lane, "log"), ["mute nights"]);
    assert_eq!(lane.say(&alert("muted", 2, 0, Transition::Fired, START + 22 * HOUR), "log").len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Alert { rule: usize, link: usize, over: bool },
    Wait { minutes: i64 },
    Pause { destination: bool },
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3usize, 0..6usize, prop::bool::weighted(0.2)).prop_map(|(rule, link, over)| Step::Alert { rule, link, over }),
        4 => (0..90i64).prop_map(|minutes| Step::Wait { minutes }),
        1 => any::<bool>().prop_map(|destination| Step::Pause { destination }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_alert_is_told_once_or_recorded_as_held_back_and_no_budget_is_exceeded(steps in steps()) {
        let (mut lane, mut now) = (Lane::new(routing()), START);
        let (mut expected, mut number): (HashMap<String, Vec<String>>, usize) = (HashMap::new(), 0);
        let days = [Step::Pause { destination: false }, Step::Wait { minutes: 3_000 }, Step::Crash, Step::Wait { minutes: 3_000 }];
        for step in steps.into_iter().chain(days) {
            match step {
                Step::Alert { rule, link, over } => {
                    let name = ["each", "count", "other"][rule];
                    let transition = match (name, over) {
                        ("count", true) => Transition::Resolved,
                        ("count", false) => Transition::Fired,
                        _ => Transition::Each,
                    };
                    let alert = alert(name, number, link, transition, now);
                    number += 1;
                    lane.planner.take(&alert, now);
                    for to in if name == "other" { &["chat"][..] } else { &["chat", "office", "drops", "log"] } {
                        expected.entry((*to).to_owned()).or_default().push(alert.alert_id.to_string());
                    }
                    lane.commit(now);
                }
                // Minute by minute, as the lane looks.
                Step::Wait { minutes } => for _ in 0..minutes {
                    now += MINUTE;
                    if lane.planner.is_due(now) {
                        lane.commit(now);
                        prop_assert!(!lane.planner.is_due(now), "what is settled is not due again");
                    }
                },
                Step::Pause { destination } => {
                    let mut live = Live::default();
                    if destination {
                        live.destinations.insert("chat".to_owned(), held(Some(now + 3 * HOUR)));
                        live.rules.insert("each".to_owned(), held(Some(now + 2 * HOUR)));
                    }
                    lane.live(live);
                }
                Step::Crash => lane.crash(),
            }
        }
        let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut starts = Vec::new();
        for record in &lane.deliveries {
            if matches!(record.stage, DeliveryStage::Planned | DeliveryStage::Silenced) {
                for id in &record.alert_ids {
                    *told.entry((record.destination.to_string(), id.to_string())).or_default() += 1;
                }
            }
            if record.stage == DeliveryStage::Planned {
                let message = Message::thawed(&record.body).unwrap();
                if record.destination == "chat" && message.over == 0 {
                    starts.push(record.at.0);
                }
                let open = hours(time(9, 0, 0, 0), time(17, 0, 0, 0)).cover(record.at.0);
                prop_assert!(open || !["office", "drops"].contains(&record.destination.as_ref()));
            }
        }
        for (to, ids) in expected {
            for id in ids {
                prop_assert_eq!(told.get(&(to.clone(), id.clone())), Some(&1), "{} at {}", id, to);
            }
        }
        for (place, at) in starts.iter().enumerate() {
            let within = starts[place..].iter().filter(|later| **later < at + BUDGET.per_ms).count();
            prop_assert!(within <= BUDGET.count as usize, "{within} messages in an hour");
        }
    }
}
