//! Notify killed at each point between two of its steps: no alert is lost, and receivers with ids have one of each.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use event::wire::Ids;
use event::{Alert, Delivery, DeliveryStage, Map, Millis, Transition};
use kafka::Topic;
use kafka::lane::pause;
use notification::Message;
use testkit::house::{Program, free_address};
use testkit::receiver::{Platform, Receiver};
use tokio::runtime::Runtime;

use crate::alert_messages::write_alerts;
use crate::alerts::{Alone, LANES, SECRET, now_ms, wait_for};
use crate::tool::tool;

/// Where it is killed, and when it comes there for which time. Early times are in the planning of messages, later ones
/// in the recording of what came of them; of requests, they meet other destinations and other steps of theirs.
const ROUNDS: [(&str, u32); 28] = [
    ("told", 1),
    ("fenced", 1),
    ("committed", 1),
    ("restored", 1),
    ("answered", 2),
    ("reopened", 1),
    ("committed", 2),
    ("taken", 1),
    ("asking", 5),
    ("settled", 1),
    ("handed-out", 1),
    ("begun", 1),
    ("answered", 1),
    ("written", 1),
    ("flushed", 2),
    ("flushed", 1),
    ("attempting", 1),
    ("begun", 2),
    ("judged", 1),
    ("settled", 2),
    ("answered", 7),
    ("written", 2),
    ("told", 4),
    ("collected", 1),
    ("asking", 1),
    ("collected", 2),
    ("judged", 5),
    ("answered", 4),
];
/// The signal by which it ends there.
const ABORTED: i32 = 6;
/// How long it may take to come there.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long all that is owed may take in the end: some receivers are given a message a second.
const ALL: Duration = Duration::from_secs(90);
/// Every so many rounds, something is told that receivers get which take a message a second.
const SLOW: usize = 7;
/// How soon a switch is known everywhere.
const KNOWN: Duration = Duration::from_secs(2);
const CALLS: [&str; 4] = ["pagerduty", "webhook", "hubspot", "smtp"];
const TICKETS: [&str; 3] = ["slack", "github", "jira"];

fn configuration(folder: &Path, receivers: &BTreeMap<&str, Receiver>) -> String {
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    let mut text =
        "version = 1\n[owner]\nme = { name = \"Ann\" }\n[source.canonical]\nadapter = \"canonical\"\nowner = \"me\"\n\
        secrets = [{ id = \"first\", file = \"secret\" }]\n"
            .to_owned();
    for (name, platform) in Platform::ALL {
        let Some(receiver) = receivers.get(name) else { continue };
        let mut section = platform.section(receiver.address).replace("    # any", "").replace("    # whsec_...", "");
        while let Some((before, rest)) = section.split_once("{ env = \"") {
            section = format!("{before}{{ file = \"secret\" }}{}", rest.split_once('}').unwrap().1);
        }
        text.push_str(&format!("[destination.{name}]\nowner = \"me\"\n{section}\n"));
    }
    let rule = |name: &str, alert: &str, to: &[&str]| {
        let send = match to {
            [] => String::new(),
            to => format!(
                "send = {{ to = {to:?}, first = \"now\", then_every = \"1s\", say_when_over = true, one_open_per = \"link\" }}\n"
            ),
        };
        format!("[rule.{name}]\nowner = \"me\"\nwhen = {{}}\nalert = {alert}\n{send}")
    };
    let count = "{ count = 3, per = \"link\", within = \"10m\" }";
    text.push_str(&rule("calls", count, &CALLS));
    text.push_str(&rule("tickets", count, &TICKETS));
    text.push_str(&rule("source-quiet", "{ silence = \"1h\", per = \"source\" }", &[]));
    text.push_str(&rule("link-quiet", "{ silence = \"1h\", per = \"link\" }", &["webhook"]));
    text.push_str(
        "[inhibit.silent-source]\nwhile = [\"source-quiet\"]\nhold = [\"link-quiet\"]\nwait = \"0s\"\nafter = \"0s\"\n",
    );
    text
}

fn alert(rule: &str, key: &str, transition: Transition) -> Alert<'static> {
    let (now, mut attributes) = (Millis(now_ms()), Map::default());
    attributes.add("domain", "go.example.com");
    attributes.add("slug", key.to_owned());
    attributes.add("source", "canonical");
    Alert {
        alert_id: format!("{rule}/{key}/{}", transition.as_str()).into(),
        rule: rule.to_owned().into(),
        owner: "me".into(),
        key: key.to_owned().into(),
        transition,
        window_start: now,
        window_end: now,
        observed: 3,
        threshold: 3,
        received_at: now,
        attributes,
        ..Alert::default()
    }
}

/// What stands on `deliveries` since the test began.
struct Log<'a> {
    alone: &'a Alone,
    from: i64,
}

impl Log<'_> {
    fn all(&self) -> Vec<Delivery<'static>> {
        self.alone.read(Topic::Deliveries, 0, self.from, |value| {
            let one = Delivery::from_wire(&Ids::FIXED, value).unwrap();
            Delivery {
                bundle_id: one.bundle_id.into_owned().into(),
                destination: one.destination.into_owned().into(),
                owner: one.owner.into_owned().into(),
                rule: one.rule.into_owned().into(),
                group: one.group.into_owned().into(),
                error: one.error.into_owned().into(),
                body: one.body.into_owned().into(),
                alert_ids: one.alert_ids.into_iter().map(|id| id.into_owned().into()).collect(),
                ..Delivery { stage: one.stage, at: one.at, attempt: one.attempt, ..Delivery::default() }
            }
        })
    }

    /// The keys of a rule whose start is planned.
    fn told(&self, rule: &str) -> BTreeSet<String> {
        let planned = self.all().into_iter().filter(|one| one.stage == DeliveryStage::Planned && one.rule == rule);
        planned.map(|one| one.group.into_owned()).collect()
    }
}

#[test]
fn killed_between_any_two_steps_notify_loses_no_alert_and_opens_nothing_twice() {
    let named: BTreeSet<&str> = ROUNDS.iter().map(|(point, _)| *point).collect();
    assert_eq!(named, BTreeSet::from(notify::POINTS), "every point has its round");
    let (alone, folder) = (Alone::take(), tempfile::tempdir().unwrap());
    let names = || CALLS.into_iter().chain(TICKETS);
    let receivers: BTreeMap<&str, Receiver> =
        names().map(|name| (name, Receiver::start(Platform::parse(name).unwrap()).unwrap())).collect();
    let config = folder.path().join("hookline.toml");
    std::fs::write(&config, configuration(folder.path(), &receivers)).unwrap();
    let mut writer = alone.writer("faults");
    let log = Log { alone: &alone, from: alone.end(Topic::Deliveries, 0) };
    let lanes = LANES.to_string();
    let start = |name: &str, kill_at: Option<String>| {
        let metrics = free_address().unwrap();
        let arguments = ["notify", "--config", config.to_str().unwrap(), "--metrics", &metrics];
        let mut variables = vec![
            ("HOOKLINE_KAFKA_BROKERS", alone.cluster.brokers.as_str()),
            ("HOOKLINE_KAFKA_LANES", &lanes),
            ("HOOKLINE_KAFKA_REPLICATION", "1"),
            ("HOOKLINE_CLICKHOUSE_URL", "http://127.0.0.1:1"),
        ];
        variables.extend(kill_at.as_deref().map(|at| ("HOOKLINE_TEST_KILL_AT", at)));
        Program::start(name, folder.path(), &arguments, &variables).unwrap()
    };

    let begun = Instant::now();
    write_alerts(&mut writer, &[alert("source-quiet", "canonical", Transition::Fired)]);
    let mut ended: BTreeSet<(&str, String)> = BTreeSet::new();
    for (round, (point, times)) in ROUNDS.into_iter().enumerate() {
        // Something begins, and what began and was told is over.
        let key = format!("k{round}");
        let mut alerts = vec![alert("calls", &key, Transition::Fired), alert("link-quiet", &key, Transition::Fired)];
        if round % SLOW == 0 {
            alerts.push(alert("tickets", &key, Transition::Fired));
        }
        for rule in ["calls", "tickets"] {
            let over = log.told(rule).into_iter().find(|key| !ended.contains(&(rule, key.clone())));
            alerts.extend(over.map(|key| {
                ended.insert((rule, key.clone()));
                alert(rule, &key, Transition::Resolved)
            }));
        }
        write_alerts(&mut writer, &alerts);
        let mut killed = start("killed", Some(format!("{point}:{times}")));
        let status = killed.wait(PATIENCE).unwrap_or_else(|error| panic!("{point}:{times}: {error}\n{}", killed.log()));
        assert_eq!(status.signal(), Some(ABORTED), "{point}:{times}: {status}\n{}", killed.log());
    }
    let rounds = begun.elapsed();

    // In the end nothing ends it, and everything is over: of the links, half of them while their source is silent.
    let running = start("first", None);
    let keys: Vec<String> = (0..ROUNDS.len()).map(|round| format!("k{round}")).collect();
    let slow: Vec<String> = keys.iter().step_by(SLOW).cloned().collect();
    let until = |what: &str, holds: &dyn Fn(&[Delivery<'static>]) -> bool| {
        let deadline = Instant::now() + ALL;
        while !holds(&log.all()) {
            assert!(Instant::now() < deadline, "{what}: not within {ALL:?}\n{}", running.log());
            pause("what is owed", Duration::from_millis(250));
        }
    };
    let of = |all: &[Delivery<'_>], rule: &str, stage: DeliveryStage| {
        all.iter().filter(|one| one.rule == rule && one.stage == stage).count()
    };
    until("every start", &|all| {
        of(all, "calls", DeliveryStage::Planned) >= keys.len() * CALLS.len()
            && of(all, "tickets", DeliveryStage::Planned) >= slow.len() * TICKETS.len()
            && of(all, "link-quiet", DeliveryStage::Held) >= keys.len()
    });
    let mut rest: Vec<Alert<'static>> = Vec::new();
    for (rule, keys) in [("calls", &keys), ("tickets", &slow)] {
        let open = keys.iter().filter(|key| !ended.contains(&(rule, (*key).clone())));
        rest.extend(open.map(|key| alert(rule, key, Transition::Resolved)));
    }
    rest.extend(keys.iter().step_by(2).map(|key| alert("link-quiet", key, Transition::Resolved)));
    rest.push(alert("source-quiet", "canonical", Transition::Resolved));
    write_alerts(&mut writer, &rest);
    let quiet = keys.len() / 2;
    until("every end", &|all| {
        of(all, "calls", DeliveryStage::Delivered) == 2 * keys.len() * CALLS.len()
            && of(all, "tickets", DeliveryStage::Delivered) == 2 * slow.len() * TICKETS.len()
            && of(all, "link-quiet", DeliveryStage::Delivered) == quiet
    });
    println!(
        "killed {} times within {rounds:?}; all that was owed was sent {:?} after the last start",
        ROUNDS.len(),
        begun.elapsed() - rounds
    );

    // No alert is lost, and each is in one bundle of each destination.
    let all = log.all();
    let mut bundles: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for one in all.iter().filter(|one| matches!(one.stage, DeliveryStage::Planned | DeliveryStage::Silenced)) {
        for id in &one.alert_ids {
            bundles.entry((&one.destination, id)).or_default().insert(&one.bundle_id);
        }
    }
    let alerts_of = |rule: &str, keys: &[String]| -> Vec<String> {
        keys.iter().flat_map(|key| ["fired", "resolved"].map(|turn| format!("{rule}/{key}/{turn}"))).collect()
    };
    for (rule, keys, to) in [("calls", &keys, &CALLS[..]), ("tickets", &slow, &TICKETS[..])] {
        for id in alerts_of(rule, keys) {
            for to in to {
                assert_eq!(bundles.get(&(*to, id.as_str())).map(BTreeSet::len), Some(1), "{id} at {to}");
            }
        }
    }
    // The links of the silent source: half of them were over before and are not told, the others were told afterwards.
    for (place, key) in keys.iter().enumerate() {
        let fired = format!("link-quiet/{key}/fired");
        let stage = |stage| all.iter().any(|one| one.stage == stage && one.alert_ids.iter().any(|id| *id == *fired));
        let (told, silenced) = (stage(DeliveryStage::Planned), stage(DeliveryStage::Silenced));
        assert_eq!((told, silenced), (place % 2 == 1, place % 2 == 0), "{key}");
    }

    // Receivers: at least one of each, under its one id and with its one text; where they have ids, one of each.
    let page = |name: &str| receivers[name].page();
    let articles = |name: &str| page(name).matches("<article").count();
    for name in ["github", "jira"] {
        let closed = page(name).matches("class=closed").count();
        assert_eq!((articles(name), closed), (slow.len(), slow.len()), "{name} has one issue of each, closed");
    }
    let resolved = page("pagerduty").matches("class=resolved").count();
    assert_eq!((articles("pagerduty"), resolved), (keys.len(), keys.len()), "one incident of each, resolved");
    assert_eq!(articles("hubspot"), 2 * keys.len(), "a note for each beginning and each end");
    assert_eq!(articles("smtp"), 2 * keys.len(), "the same mail twice is one by its id");
    let mut webhooks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let requests = receivers["webhook"].requests();
    for request in &requests {
        webhooks.entry(request.header("webhook-id").unwrap().to_owned()).or_default().insert(request.body.clone());
    }
    assert!(webhooks.values().all(|bodies| bodies.len() == 1), "a message never changes");
    let planned: BTreeMap<String, String> = all
        .iter()
        .filter(|one| one.stage == DeliveryStage::Planned && one.destination == "webhook")
        .map(|one| (one.bundle_id.to_string(), Message::thawed(&one.body).unwrap().to_json()))
        .collect();
    let got: BTreeMap<String, String> =
        webhooks.into_iter().map(|(id, bodies)| (id, bodies.into_iter().next().unwrap())).collect();
    assert_eq!(got, planned, "what is planned is what arrives");
    // Slack has no ids for what is posted: a beginning may be there twice, if its answer was lost. An edit is never.
    let slack = receivers["slack"].requests();
    let posts = slack.iter().filter(|one| one.path.ends_with("postMessage") && one.json()["thread_ts"].is_null());
    let edited = page("slack").matches("(edited)").count();
    assert_eq!(edited, slow.len(), "each end edits what its beginning posted");
    println!(
        "webhook: {} requests for {} messages; slack: {} posts for {} beginnings",
        requests.len(),
        planned.len(),
        posts.count(),
        slow.len()
    );
    for (name, receiver) in &receivers {
        assert_eq!(receiver.faults(), Vec::<String>::new(), "{name}");
    }

    // A second instance takes over while the first one runs. What a person holds back is known to both, and nothing is
    // sent twice.
    let runtime = Runtime::new().unwrap();
    let say = |arguments: &[&str]| {
        let all = [arguments, &["--who", "ann", "--brokers", &alone.cluster.brokers]].concat();
        let (code, said) = runtime.block_on(tool(&config, &all)).unwrap();
        assert_eq!(code, 0, "{said}");
        pause("every instance to know", KNOWN);
    };
    let requests = || receivers.values().map(|receiver| receiver.requests().len()).sum::<usize>();
    let before = requests();
    say(&["pause", "rule/calls", "--why", "launch", "--for", "1h"]);
    let second = start("second", None);
    wait_for("the second one to take over", || second.log().contains("the lane is open"));
    write_alerts(&mut writer, &[alert("calls", "held", Transition::Fired)]);
    until("what is held back", &|all| of(all, "calls", DeliveryStage::Silenced) == CALLS.len());
    assert_eq!(requests(), before, "nothing is sent while the rule is paused, and nothing again after a takeover");
    say(&["resume", "rule/calls"]);
    write_alerts(&mut writer, &[alert("calls", "later", Transition::Fired)]);
    until("the message after that", &|all| {
        of(all, "calls", DeliveryStage::Delivered) == (2 * keys.len() + 1) * CALLS.len()
    });
    pause("a message too many", Duration::from_secs(1));
    let webhooks = receivers["webhook"].requests();
    assert_eq!(webhooks.iter().filter(|one| one.body.contains("calls/later/fired")).count(), 1);
    assert_eq!(articles("pagerduty"), keys.len() + 1);
}
