//! Every alert is in one message of each destination, whatever crashes in between, and people get few of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its setup too")]

use std::collections::{BTreeMap, HashMap, HashSet};

use event::{Alert, Delivery, DeliveryStage, Map, Millis, Transition};
use hookline_notification::{CAPTURE, Destination, Planner, Routing, Rule, Sending, Silence};
use proptest::prelude::*;
use serde_json::Value;

const START: i64 = 1_764_000_000_000;

fn rule(name: &str, to: &[&str], first_s: i64, then_every_s: i64) -> Rule {
    Rule {
        name: name.to_owned(),
        owner: "growth".to_owned(),
        instruction: Some("Call within the hour.".to_owned()),
        sending: Sending {
            to: to.iter().map(|to| (*to).to_owned()).collect(),
            mention_link_owner: false,
            first_ms: first_s * 1_000,
            then_every_ms: then_every_s * 1_000,
            say_when_over: false,
            one_open_per: None,
            mute: None,
        },
    }
}

fn destination(name: &str) -> Destination {
    Destination { name: name.to_owned(), owner: "data".to_owned(), fields: None, keyed: false, max: None, open: None }
}

fn routing() -> Routing {
    let mut mentions = rule("mentions", &["hook"], 30, 60);
    mentions.sending.mention_link_owner = true;
    let rules = vec![rule("at-once", &["hook", "log"], 0, 300), mentions, rule("waits", &["log"], 3_600, 600)];
    Routing::new(rules, vec![destination("hook"), destination("log")], vec![])
}

fn alert(rule: &str, number: usize, at: i64) -> Alert<'static> {
    let mut attributes = Map::default();
    attributes.add("domain", "go.example.com");
    attributes.add("slug", format!("s{}", number % 3));
    attributes.add("owner", if number.is_multiple_of(2) { "ann" } else { "bob" });
    Alert {
        alert_id: format!("alert-{number}").into(),
        rule: rule.to_owned().into(),
        owner: "growth".into(),
        window_start: Millis(at),
        window_end: Millis(at),
        observed: 1,
        received_at: Millis(at),
        sample: format!("event-{number}").into(),
        attributes,
        ..Alert::default()
    }
}

/// The topics: alerts, deliveries, and the committed position with what it carries.
#[derive(Default)]
struct Kafka {
    alerts: Vec<Alert<'static>>,
    deliveries: Vec<Delivery<'static>>,
    position: usize,
    needed: usize,
}

/// A lane that does what the notifier's lane does.
struct Lane {
    planner: Planner,
    next: usize,
}

impl Lane {
    fn open(kafka: &Kafka) -> Self {
        let mut planner = Planner::new(routing());
        for (offset, record) in kafka.deliveries.iter().enumerate().skip(kafka.needed) {
            planner.restore(record, offset as i64).unwrap();
        }
        Self { planner, next: kafka.position }
    }

    fn take(&mut self, kafka: &Kafka, now: i64) {
        kafka.alerts[self.next..].iter().for_each(|alert| self.planner.take(alert, now));
        self.next = kafka.alerts.len();
    }

    fn commit(&mut self, kafka: &mut Kafka, now: i64) {
        let end = kafka.deliveries.len();
        let records = self.planner.settle(now);
        kafka.needed = self.planner.mark().map_or(end, |mark| mark.min(end as i64) as usize);
        kafka.deliveries.extend(records);
        kafka.position = self.next;
        self.planner.committed(end as i64);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Alert { rule: usize, test: bool },
    Wait { seconds: i64 },
    Commit,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3usize, prop::bool::weighted(0.15)).prop_map(|(rule, test)| Step::Alert { rule, test }),
        3 => prop_oneof![0..20i64, 20..400i64, 400..5_000i64].prop_map(|seconds| Step::Wait { seconds }),
        4 => Just(Step::Commit),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_alert_is_in_one_message_of_each_destination_whatever_crashes(steps in steps()) {
        let names = ["at-once", "mentions", "waits"];
        let (mut kafka, mut now) = (Kafka::default(), START);
        let mut lane = Lane::open(&kafka);
        for step in steps.into_iter().chain([Step::Wait { seconds: 10_000 }, Step::Commit, Step::Crash, Step::Wait { seconds: 10_000 }, Step::Commit]) {
            match step {
                Step::Alert { rule, test } => {
                    let number = kafka.alerts.len();
                    kafka.alerts.push(Alert { test, ..alert(names[rule], number, now) });
                }
                Step::Wait { seconds } => now += seconds * 1_000,
                Step::Commit => {
                    lane.take(&kafka, now);
                    lane.commit(&mut kafka, now);
                    prop_assert!(!lane.planner.has_news() && !lane.planner.is_due(now));
                }
                Step::Crash => {
                    // What it had taken and not committed is forgotten.
                    lane.take(&kafka, now);
                    lane = Lane::open(&kafka);
                }
            }
        }
        let planned: Vec<_> = kafka.deliveries.iter().filter(|one| one.stage == DeliveryStage::Planned).collect();
        let ids: HashSet<_> = planned.iter().map(|one| &one.bundle_id).collect();
        prop_assert_eq!(ids.len(), planned.len(), "a bundle is planned once");
        let mut sent: HashMap<(String, String), u32> = HashMap::new();
        let mut last: HashMap<(String, String, String, bool), i64> = HashMap::new();
        for one in &planned {
            for id in &one.alert_ids {
                *sent.entry((one.destination.to_string(), id.to_string())).or_default() += 1;
            }
            let body: Value = serde_json::from_str(&one.body).unwrap();
            prop_assert_eq!(&body["id"], &Value::from(one.bundle_id.as_ref()));
            prop_assert_eq!(&body["alerts"], &Value::from(one.alert_ids.len()));
            prop_assert_eq!(one.test, one.destination == CAPTURE);
            let every = match one.rule.as_ref() { "at-once" => 300_000, "mentions" => 60_000, _ => 600_000 };
            let group = (one.rule.to_string(), one.destination.to_string(), one.group.to_string(), one.test);
            if let Some(before) = last.insert(group, one.at.0) {
                prop_assert!(one.at.0 - before >= every, "two messages of a group are apart");
            }
        }
        let mut expected: HashMap<(String, String), u32> = HashMap::new();
        for alert in &kafka.alerts {
            let to: &[&str] = match (alert.test, alert.rule.as_ref()) {
                (true, _) => &[CAPTURE],
                (false, "at-once") => &["hook", "log"],
                (false, "mentions") => &["hook"],
                (false, _) => &["log"],
            };
            expected.extend(to.iter().map(|to| (((*to).to_owned(), alert.alert_id.to_string()), 1)));
        }
        prop_assert_eq!(sent, expected);
        let captured = kafka.deliveries.iter().filter(|one| one.stage == DeliveryStage::Delivered).count();
        prop_assert_eq!(captured, planned.iter().filter(|one| one.test).count());
    }
}

fn planned(planner: &mut Planner, now: i64) -> Vec<(Delivery<'static>, Value)> {
    let records = planner.settle(now);
    let planned = records.into_iter().filter(|one| one.stage == DeliveryStage::Planned);
    planned.map(|one| (one.clone(), serde_json::from_str(&one.body).unwrap())).collect()
}

#[test]
fn the_first_alert_goes_out_at_once_and_what_follows_is_one_summary_every_five_minutes() {
    let mut planner =
        Planner::new(Routing::new(vec![rule("at-once", &["hook"], 0, 300)], vec![destination("hook")], vec![]));
    let mut told = Vec::new();
    for second in 0..900 {
        let now = START + second * 1_000;
        if second < 650 {
            planner.take(&alert("at-once", second as usize, now), now);
        }
        told.extend(planned(&mut planner, now).into_iter().map(|(_, body)| {
            let count = body["count"].as_u64().unwrap();
            (second, body["type"].as_str().unwrap().to_owned(), count)
        }));
    }
    let expected = [(0, "alert", 1), (300, "summary", 300), (600, "summary", 300)];
    assert_eq!(told, expected.map(|(at, kind, count)| (at, kind.to_owned(), count)));
    assert_eq!(planned(&mut planner, START + 900_000)[0].1["count"], 49);
    // Five quiet minutes later the group starts afresh.
    assert!(planned(&mut planner, START + 1_200_000).is_empty());
    planner.take(&alert("at-once", 1_000, START + 1_300_000), START + 1_300_000);
    assert_eq!(planned(&mut planner, START + 1_300_000)[0].1["type"], "alert");
}

#[test]
fn a_message_says_what_happened_where_and_what_to_do() {
    let mut planner = Planner::new(Routing::new(
        vec![rule("proposal-opened", &["hook"], 60, 300)],
        vec![destination("hook")],
        vec![],
    ));
    for number in 0..7 {
        planner.take(&alert("proposal-opened", number, START + number as i64), START);
    }
    let (record, body) = planned(&mut planner, START + 60_000).remove(0);
    assert_eq!(record.first_received_at, Millis(START));
    assert!(body["text"].as_str().unwrap().contains("\nat 2025-11-24 16:00:00 UTC"), "within one second: {body}");
    assert_eq!((record.owner.as_ref(), record.rule.as_ref()), ("data", "proposal-opened"));
    assert_eq!(body["links"][0], serde_json::json!({ "link": "go.example.com/s0", "count": 3 }));
    assert_eq!(body["links"][2], serde_json::json!({ "link": "go.example.com/s2", "count": 2 }));
    assert_eq!(body["title"], "proposal-opened: 7 events on 3 links");
    assert_eq!(body["do"], "Call within the hour.");
    assert_eq!(body["owner"], "growth");
    assert_eq!(body["sample_event_keys"].as_array().unwrap().len(), 5);
    assert_eq!(body["alert_ids"].as_array().unwrap().len(), 7);
    assert_eq!(body["window"]["start"], "2025-11-24T16:00:00Z");
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("Do: Call within the hour."));
    assert!(text.contains("\nSample events: event-0, event-1, event-2\n"), "{text}");
    // What follows says how many there were in all.
    planner.take(&alert("proposal-opened", 9, START + 100_000), START + 100_000);
    let (_, more) = planned(&mut planner, START + 400_000).remove(0);
    assert!(more["text"].as_str().unwrap().ends_with("In all: 8 events since the first message."), "{more}");
}

#[test]
fn what_was_held_begins_when_its_first_alert_did() {
    let mut planner =
        Planner::new(Routing::new(vec![rule("waits", &["hook"], 60, 300)], vec![destination("hook")], vec![]));
    planner.take(&alert("waits", 0, START), START);
    // It is written as held, and planned without anything new.
    assert_eq!(planner.settle(START + 1_000).len(), 1);
    let (record, body) = planned(&mut planner, START + 60_000).remove(0);
    assert_eq!(body["window"]["start"], "2025-11-24T16:00:00Z", "{body}");
    assert_eq!(record.first_received_at, Millis(START));
}

#[test]
fn what_did_not_come_is_said_as_such() {
    let mut planner =
        Planner::new(Routing::new(vec![rule("quiet", &["hook"], 60, 300)], vec![destination("hook")], vec![]));
    let mut quiet = alert("quiet", 0, START);
    (quiet.transition, quiet.key) = (Transition::Fired, "short-links".into());
    (quiet.observed, quiet.threshold) = (0, 63);
    quiet.attributes.add("why", "short-links: nothing since 9:51");
    planner.take(&quiet, START);
    let (_, body) = planned(&mut planner, START + 60_000).remove(0);
    assert_eq!(body["title"], "quiet: short-links is quiet");
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("nothing since 9:51") && !text.contains("asks for"), "{text}");
}

#[test]
fn of_several_links_each_says_what_is_usual_for_it_and_a_narrow_destination_hears_none_of_it() {
    let narrow = Destination { fields: Some(vec!["country".to_owned()]), ..destination("log") };
    let mut planner = Planner::new(Routing::new(
        vec![rule("spike", &["hook", "log"], 60, 300)],
        vec![destination("hook"), narrow],
        vec![],
    ));
    for number in 0..2 {
        let mut spike = alert("spike", number, START);
        spike.transition = Transition::Fired;
        spike.attributes.add("why", format!("{}00 clicks in 5 min; usual is 2 to 9", number + 1));
        planner.take(&spike, START);
    }
    let bodies = planned(&mut planner, START + 60_000);
    let text = |to: &str| {
        let (_, body) = bodies.iter().find(|(record, _)| record.destination == to).unwrap();
        body["text"].as_str().unwrap().to_owned()
    };
    for line in ["- go.example.com/s0: 1 (100 clicks in 5 min; usual is 2 to 9)", "- go.example.com/s1: 1 (200 clicks"]
    {
        assert!(text("hook").contains(line), "{}", text("hook"));
    }
    assert!(!text("log").contains("usual") && !text("log").contains("event-"), "{}", text("log"));
}

#[test]
fn only_the_fields_that_may_leave_do() {
    let narrow = Destination { fields: Some(vec!["slug".to_owned()]), ..destination("hook") };
    let mut planner = Planner::new(Routing::new(vec![rule("at-once", &["hook"], 0, 300)], vec![narrow], vec![]));
    planner.take(&alert("at-once", 0, START), START);
    let (_, body) = planned(&mut planner, START).remove(0);
    assert_eq!(body["attributes"], serde_json::json!({ "slug": "s0" }));
    assert_eq!((body["links"].as_array().unwrap().len(), body["sample_event_keys"].as_array().unwrap().len()), (0, 0));
    assert!(!body.to_string().contains("go.example.com"));
}

#[test]
fn a_silenced_alert_is_recorded_and_reaches_nobody() {
    let silence = Silence {
        name: "black-friday".to_owned(),
        rules: vec!["at-once".to_owned()],
        from_ms: START,
        until_ms: START + 1_000,
        why: "war room".to_owned(),
    };
    let mut planner =
        Planner::new(Routing::new(vec![rule("at-once", &["hook"], 0, 300)], vec![destination("hook")], vec![silence]));
    planner.take(&alert("at-once", 0, START + 999), START + 5_000);
    planner.take(&alert("at-once", 1, START + 1_000), START + 5_000);
    let records = planner.settle(START + 5_000);
    let told: BTreeMap<_, _> =
        records.iter().map(|one| (one.stage, (one.alert_ids.clone(), one.error.as_ref()))).collect();
    assert_eq!(told.len(), 2);
    assert_eq!(told[&DeliveryStage::Silenced], (vec!["alert-0".into()], "silence black-friday: war room"));
    assert_eq!(told[&DeliveryStage::Planned].0, ["alert-1"]);
    assert!(planner.settle(START + 6_000).is_empty());
}

#[test]
fn an_end_is_said_only_where_the_rule_asks_for_it() {
    let over = |number| Alert {
        transition: Transition::Resolved,
        observed: 0,
        threshold: 3,
        ..alert("at-once", number, START)
    };
    let mut quiet =
        Planner::new(Routing::new(vec![rule("at-once", &["hook"], 0, 300)], vec![destination("hook")], vec![]));
    quiet.take(&over(0), START);
    assert!(quiet.settle(START).is_empty());
    let mut says = rule("at-once", &["hook"], 0, 300);
    says.sending.say_when_over = true;
    let mut loud = Planner::new(Routing::new(vec![says], vec![destination("hook")], vec![]));
    loud.take(&over(1), START);
    let (_, body) = planned(&mut loud, START).remove(0);
    assert_eq!((&body["type"], &body["title"]), (&"resolved".into(), &"at-once: over on go.example.com/s1".into()));
}

#[test]
fn alerts_of_a_rule_that_no_longer_sends_there_end_as_failed_and_not_in_silence() {
    let waits = Routing::new(vec![rule("waits", &["log"], 3_600, 600)], vec![destination("log")], vec![]);
    let mut before = Planner::new(waits);
    before.take(&alert("waits", 0, START), START);
    let held = before.settle(START);
    assert_eq!(held[0].stage, DeliveryStage::Held);
    let elsewhere = Routing::new(vec![rule("waits", &["hook"], 3_600, 600)], vec![destination("hook")], vec![]);
    let mut after = Planner::new(elsewhere);
    after.restore(&held[0], 7).unwrap();
    let records = after.settle(START + 1);
    assert_eq!((records[0].stage, records[0].bundle_id == held[0].bundle_id), (DeliveryStage::Failed, true));
    assert_eq!(after.mark(), None);
}

#[test]
fn a_bundle_keeps_its_id_and_bytes_when_the_same_alerts_are_taken_again() {
    let run = || {
        let mut planner = Planner::new(routing());
        (0..20).for_each(|number| planner.take(&alert("at-once", number, START), START));
        planner.settle(START)
    };
    assert_eq!(run(), run());
}

#[test]
fn what_is_held_of_five_thousand_alerts_with_endless_names_fits_a_record() {
    let mut planner = Planner::new(routing());
    for number in 0..5_000 {
        let mut alert = alert("waits", number, START);
        alert.attributes = Map::default();
        alert.attributes.add("slug", format!("{number}-{}", "\"\0".repeat(5_000)));
        alert.alert_id = format!("{number:032x}").into();
        alert.sample = "k".repeat(5_000).into();
        planner.take(&alert, START);
    }
    let mut value = Vec::new();
    let held = planner.settle(START);
    held[0].write(&event::wire::Ids::FIXED, &mut value);
    assert_eq!((held.len(), held[0].alert_ids.len()), (1, 5_000));
    assert!(value.len() < 1_900_000, "{} bytes", value.len());
}
