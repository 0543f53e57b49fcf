//! From signals to alerts and from alerts to messages, on a real broker and with a real receiver, while owners change.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use event::wire::Ids;
use event::{Alert, Delivery, DeliveryStage, Map, Millis, Signal, SignalBatch, lane};
use kafka::lane::{Fence, LaneProducer, NO_HEADERS, Writes, pause, read_all_committed};
use kafka::positions::Positions;
use kafka::topics::{Plan, ensure};
use kafka::{Cluster, Topic};
use notification::destination::{People, Values};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rules::{Per, Rule, When, pane_start};
use runtime::{LaneSet, Shutdown, Telemetry};
use standardwebhooks::Webhook as Verifier;
use tokio::runtime::Runtime;

use crate::harness::Running;
use crate::kafka_lanes::fresh;

const LANES: u16 = 3;
const TXN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(30);
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A broker for these tests, one test at a time: detector and notifier own their lanes alone.
struct Alone {
    cluster: Cluster,
    plan: Plan,
    _engines: Arc<Running>,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        static SHARED: Mutex<Weak<Running>> = Mutex::new(Weak::new());
        // The engines first: whoever waits for its turn keeps them running.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let engines = shared.upgrade().unwrap_or_else(|| Arc::new(Running::engines()));
        *shared = Arc::downgrade(&engines);
        drop(shared);
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Cluster::new(&engines.house.addresses.kafka);
        let plan = Plan::new(LANES, 1);
        ensure(&cluster, &plan).unwrap();
        // What is paused stands beside the identity of the pipeline.
        kafka::control::read_or_create(&cluster, LANES, 1, 1).unwrap();
        Self { cluster, plan, _engines: engines, _turn: turn }
    }

    fn end(&self, topic: Topic, partition: u16) -> i64 {
        Positions::open(&self.cluster, "test-ends", TXN).unwrap().stable(topic, partition).unwrap().end
    }

    /// Every committed record of a partition from an offset on.
    fn read<T>(&self, topic: Topic, partition: u16, from: i64, mut each: impl FnMut(&[u8]) -> T) -> Vec<T> {
        let mut read = Vec::new();
        read_all_committed::<Infallible>(&self.cluster, topic, partition, Some(from), None, |record| {
            read.extend(record.payload().map(&mut each));
            Ok(())
        })
        .unwrap();
        read
    }

    fn alerts(&self, from: i64, rules: &[Rule]) -> Vec<String> {
        let ids = self.read(Topic::Alerts, 0, from, |value| {
            let alert = Alert::from_wire(&Ids::FIXED, value).unwrap();
            (alert.rule.into_owned(), alert.alert_id.into_owned())
        });
        let own = |name: &str| rules.iter().any(|rule| rule.name() == name);
        ids.into_iter().filter(|(rule, _)| own(rule)).map(|(_, id)| id).collect()
    }

    /// What stands on `deliveries` about some rules: stage, destination, bundle, alerts.
    fn deliveries(&self, from: i64, rule: &str) -> Vec<Told> {
        let all = self.read(Topic::Deliveries, 0, from, |value| {
            let one = Delivery::from_wire(&Ids::FIXED, value).unwrap();
            Told {
                rule: one.rule.into_owned(),
                stage: one.stage,
                destination: one.destination.into_owned(),
                bundle_id: one.bundle_id.into_owned(),
                alerts: one.alert_ids.len(),
                test: one.test,
            }
        });
        all.into_iter().filter(|one| one.rule.starts_with(rule)).collect()
    }

    fn writer(&self, name: &str) -> LaneProducer {
        // Written, not judged by its fence: it has an id of its own.
        let all = |topic, partitions| (0..partitions).map(move |partition| (topic, partition));
        let writes =
            all(Topic::Signals, self.plan.signal_partitions).chain(all(Topic::Alerts, self.plan.alert_partitions));
        Fence::open(&self.cluster, &fresh(name), 0, TXN, Writes::records(writes)).unwrap()
    }
}

#[derive(Debug)]
struct Told {
    rule: String,
    stage: DeliveryStage,
    destination: String,
    bundle_id: String,
    alerts: usize,
    test: bool,
}

/// A service that is told to stop when it goes.
struct Service {
    lanes: Option<LaneSet>,
    shutdown: Shutdown,
    telemetry: Telemetry,
}

impl Service {
    fn new(start: impl FnOnce(&Telemetry, &Shutdown) -> LaneSet) -> Self {
        let (telemetry, shutdown) = (Telemetry::new("").unwrap(), Shutdown::default());
        Self { lanes: Some(start(&telemetry, &shutdown)), shutdown, telemetry }
    }

    /// Tells it to stop and does not wait: somebody else fences it.
    fn tell(&self) {
        self.shutdown.stop();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shutdown.stop();
        self.lanes.take().into_iter().for_each(LaneSet::join);
    }
}

pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {SOON:?}");
        pause("a condition of a test", Duration::from_millis(20));
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

// ---- signals to alerts ----

fn counting(name: &str) -> Vec<Rule> {
    let rule = |name: String, count, within_s: i64| {
        let alert = rules::Trigger::count(count, Per::Link, within_s * 1_000, 0).unwrap();
        Rule::new(name, "growth", When::new(vec![], vec![]), Some(alert))
    };
    vec![rule(format!("{name}-short"), 4, 5), rule(format!("{name}-long"), 20, 60)]
}

/// Twenty minutes of three lanes: batches in the order in which they are written.
fn traffic(rules: &[Rule]) -> Vec<SignalBatch<'static>> {
    let start = 1_764_000_000_000 + (now_ms() % 1_000_000) * 1_000;
    let mut batches = Vec::new();
    let mut seed = 7u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for step in 0..600 {
        let lane = random(u64::from(LANES)) as u16;
        let at = start + step * 2_000 + i64::from(lane) * 100;
        let mut signals = Vec::new();
        // Bursts with pauses between them, so that rules fire and resolve.
        if step / 30 % 3 != 2 {
            for (key, rule) in (0..3).flat_map(|key| rules.iter().map(move |rule| (key, rule))) {
                let Some(rules::Trigger::Count { pane_ms, .. }) = rule.trigger() else { panic!() };
                signals.push(Signal {
                    rule: rule.name().to_owned().into(),
                    rule_version: rule.version().to_owned().into(),
                    key: format!("go.example.com/{key}").into(),
                    pane: Millis(pane_start(at, *pane_ms)),
                    count: random(3),
                    sample: format!("event-{step}").into(),
                    ..Signal::default()
                });
            }
        }
        batches.push(SignalBatch { lane, watermark: Millis(at), signals });
    }
    let end = start + 600 * 2_000 + 120_000;
    batches.extend((0..LANES).map(|lane| SignalBatch { lane, watermark: Millis(end), signals: vec![] }));
    batches
}

/// Writes a batch as `process` does: each signal to the partition of its key, the watermark to all of them.
fn write_signals(writer: &mut LaneProducer, plan: &Plan, batches: &[SignalBatch<'static>]) {
    writer.begin().unwrap();
    for batch in batches {
        for partition in 0..plan.signal_partitions {
            let of = |signal: &&Signal<'static>| {
                lane::of_rule_key(&signal.rule, &signal.key, plan.signal_partitions) == partition
            };
            let signals = batch.signals.iter().filter(of).cloned().collect();
            let part = SignalBatch { signals, ..batch.clone() };
            let mut value = Vec::new();
            part.write(&Ids::FIXED, &mut value);
            writer.send(Topic::Signals, partition, None, Some(&value), NO_HEADERS).unwrap();
        }
    }
    writer.commit("unused", &[]).unwrap();
}

fn detector(alone: &Alone, rules: &[Rule]) -> Service {
    let settings = detect::Settings {
        cluster: alone.cluster.clone(),
        plan: alone.plan.clone(),
        ids: Ids::FIXED,
        rules: rules.to_vec(),
        expectations: rules::Expectations::default(),
    };
    let partitions = (0..alone.plan.signal_partitions).collect();
    Service::new(|telemetry, shutdown| detect::start(settings, partitions, telemetry, shutdown).unwrap())
}

#[test]
fn takeovers_of_the_detector_change_neither_the_alerts_nor_their_ids() {
    let alone = Alone::take();
    let rules = counting(&fresh("count"));
    let running = takeovers(&alone, &rules, &traffic(&rules), 20);
    wait_for("the last detector to say how far it is", || {
        running.telemetry.metrics.render().unwrap().contains("hookline_watermark_delay_seconds")
    });
    drop(running);
    // What was learned survives as well. In the same test, since the time of the lanes goes on.
    let rules = learning(&fresh("learn"));
    drop(takeovers(&alone, &rules, &weeks(&rules), 4));
}

/// Runs the batches through detectors that take over from each other, and holds their alerts to those of one that does
/// not. The last of them.
fn takeovers(alone: &Alone, rules: &[Rule], batches: &[SignalBatch<'static>], least: usize) -> Service {
    let (from, mut writer) = (alone.end(Topic::Alerts, 0), alone.writer("signals"));
    let mut said = rules::Detector::new(rules, LANES);
    let mut expected = HashSet::new();
    for batch in batches {
        for finding in said.take(batch).unwrap().findings {
            assert!(expected.insert(finding.alert.alert_id.into_owned()));
        }
    }
    assert!(expected.len() >= least, "{} alerts say little", expected.len());

    let mut running = detector(alone, rules);
    for (round, some) in batches.chunks(batches.len() / 4 + 1).enumerate() {
        some.chunks(2_000).for_each(|some| write_signals(&mut writer, &alone.plan, some));
        if round == 1 {
            // The next owner takes the lanes while this one is at work.
            let next = detector(alone, rules);
            running.tell();
            running = next;
        } else {
            pause("the detector to be in the middle of something", Duration::from_millis(700));
            drop(running);
            running = detector(alone, rules);
        }
    }
    wait_for("all alerts", || alone.alerts(from, rules).len() >= expected.len());
    pause("an alert too many", Duration::from_millis(500));
    let alerts = alone.alerts(from, rules);
    assert_eq!(alerts.len(), expected.len(), "an alert is told once");
    assert_eq!(alerts.into_iter().collect::<HashSet<_>>(), expected);
    running
}

fn learning(name: &str) -> Vec<Rule> {
    let spike = rules::Spike {
        times_hundredths: 300,
        within_minutes: 5,
        at_least: 50,
        quiet_for_minutes: 60,
        sensitivity: rules::Sensitivity::Normal,
    };
    let silence = rules::SilenceRule { quiet_after_minutes: None, least_minutes: 10 };
    let rule =
        |kind: &str, alert| Rule::new(format!("{name}-{kind}"), "growth", When::new(vec![], vec![]), Some(alert));
    vec![
        rule("spike", rules::Trigger::Spike { spike, per: Per::Link, not_during_launches: false }),
        rule("silence", rules::Trigger::Silence { silence, per: Per::Source }),
    ]
}

/// Fifteen days of one key in batches of five minutes, with a spike on the third and an hour of nothing on the last.
fn weeks(rules: &[Rule]) -> Vec<SignalBatch<'static>> {
    let start = 29_500_000 + now_ms() % 1_000_000 / 60;
    let day = 1_440;
    let lanes = 0..LANES;
    let mut batches: Vec<_> =
        lanes.map(|lane| SignalBatch { lane, watermark: Millis(start * 60_000), signals: vec![] }).collect();
    for from in (0..15 * day).step_by(5) {
        for lane in 0..LANES {
            let mut signals = Vec::new();
            for minute in (from..from + 5).filter(|minute| minute % i64::from(LANES) == i64::from(lane)) {
                let spike = (2 * day + 600..2 * day + 620).contains(&minute);
                if (14 * day + 600..14 * day + 660).contains(&minute) {
                    continue;
                }
                for rule in rules {
                    signals.push(Signal {
                        rule: rule.name().to_owned().into(),
                        rule_version: rule.version().to_owned().into(),
                        key: "go.example.com/weeks".into(),
                        pane: Millis((start + minute) * 60_000),
                        count: if spike { 200 } else { 10 },
                        sample: format!("event-{minute}").into(),
                        ..Signal::default()
                    });
                }
            }
            batches.push(SignalBatch { lane, watermark: Millis((start + from + 5) * 60_000), signals });
        }
    }
    batches
}

// ---- alerts to messages ----

/// What a receiver got: id, body, when.
pub(crate) type Got = Vec<(String, serde_json::Value, Instant)>;

/// A receiver that checks every signature, and refuses for as long as it is told to.
pub(crate) struct Receiver {
    runtime: Runtime,
    pub(crate) url: String,
    got: Arc<Mutex<Got>>,
    down: Arc<std::sync::atomic::AtomicBool>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let (got, down): (Arc<Mutex<Got>>, Arc<std::sync::atomic::AtomicBool>) = Default::default();
        let (seen, is_down) = (Arc::clone(&got), Arc::clone(&down));
        let handler = move |headers: HeaderMap, body: Bytes| {
            Verifier::new(SECRET).unwrap().verify(&body, &headers).unwrap();
            let down = is_down.load(std::sync::atomic::Ordering::SeqCst);
            if !down {
                let id = headers["webhook-id"].to_str().unwrap().to_owned();
                seen.lock().unwrap().push((id, serde_json::from_slice(&body).unwrap(), Instant::now()));
            }
            async move { if down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK } }
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(handler));
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { runtime, url, got, down }
    }

    pub(crate) fn got(&self) -> Got {
        self.got.lock().unwrap().clone()
    }

    fn is_down(&self, down: bool) {
        self.down.store(down, std::sync::atomic::Ordering::SeqCst);
    }
}

fn sends(name: &str, first_ms: i64, then_every_ms: i64) -> notification::Rule {
    notification::Rule {
        name: name.to_owned(),
        owner: "growth".to_owned(),
        instruction: None,
        sending: notification::Sending {
            to: vec!["hook".to_owned()],
            mention_link_owner: false,
            first_ms,
            then_every_ms,
            say_when_over: false,
            one_open_per: None,
            mute: None,
        },
    }
}

fn notifier(alone: &Alone, receiver: &Receiver, rules: &[notification::Rule]) -> Service {
    let hook = notify::Destination {
        name: "hook".to_owned(),
        owner: "data".to_owned(),
        fields: None,
        kind: notification::destination::kind("webhook").unwrap(),
        values: Values::default().with("url", &receiver.url).with("secret", SECRET),
        allow_private: true,
        proxy: None,
        max: None,
        open: None,
    };
    let settings = notify::Settings {
        cluster: alone.cluster.clone(),
        plan: alone.plan.clone(),
        ids: Ids::FIXED,
        rules: rules.to_vec(),
        silences: Vec::new(),
        destinations: vec![hook],
        people: People::new(),
        templates: notification::Templates::default(),
        traces: Default::default(),
        scheduled: Vec::new(),
        warehouse: None,
    };
    let handle = receiver.runtime.handle().clone();
    let service =
        Service::new(|telemetry, shutdown| notify::start(settings, vec![0], handle, telemetry, shutdown).unwrap());
    wait_for("the notifier is at work", || service.telemetry.health.is_ready());
    service
}

fn alert(rule: &str, number: usize, test: bool) -> Alert<'static> {
    let (now, mut attributes) = (Millis(now_ms()), Map::default());
    attributes.add("domain", "go.example.com");
    attributes.add("slug", format!("s{number}"));
    Alert {
        alert_id: format!("{rule}-{number}").into(),
        rule: rule.to_owned().into(),
        owner: "growth".into(),
        key: format!("event-{number}").into(),
        window_start: now,
        window_end: now,
        observed: 1,
        received_at: now,
        sample: format!("event-{number}").into(),
        test,
        attributes,
        ..Alert::default()
    }
}

fn write_alerts(writer: &mut LaneProducer, alerts: &[Alert<'static>]) {
    writer.begin().unwrap();
    for alert in alerts {
        let mut value = Vec::new();
        alert.write(&Ids::FIXED, &mut value);
        writer.send(Topic::Alerts, 0, Some(alert.rule.as_bytes()), Some(&value), NO_HEADERS).unwrap();
    }
    writer.commit("unused", &[]).unwrap();
}

#[test]
fn an_alert_becomes_one_signed_message() {
    let (alone, receiver, name) = (Alone::take(), Receiver::start(), fresh("now"));
    let rules: Vec<_> = (0..60).map(|number| sends(&format!("{name}-{number}"), 0, 300_000)).collect();
    let (from, mut writer) = (alone.end(Topic::Deliveries, 0), alone.writer("alerts"));
    let service = notifier(&alone, &receiver, &rules);
    let mut sent = HashMap::new();
    for rule in &rules {
        sent.insert(rule.name.clone(), Instant::now());
        write_alerts(&mut writer, &[alert(&rule.name, 0, false)]);
        pause("alerts come one by one", Duration::from_millis(20));
    }
    wait_for("every message", || receiver.got().len() >= rules.len());
    let got = receiver.got();
    assert_eq!(got.len(), rules.len());
    let mut took: Vec<Duration> = got.iter().map(|(_, body, at)| *at - sent[body["rule"].as_str().unwrap()]).collect();
    took.sort();
    println!(
        "from the writing of an alert to its message: median {:?}, p99 {:?}",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    wait_for("every outcome", || {
        alone.deliveries(from, &name).iter().filter(|one| one.stage == DeliveryStage::Delivered).count() == rules.len()
    });
    let planned: HashSet<String> = alone
        .deliveries(from, &name)
        .into_iter()
        .filter(|one| one.stage == DeliveryStage::Planned)
        .map(|one| one.bundle_id)
        .collect();
    assert_eq!(planned, got.into_iter().map(|(id, ..)| id).collect());
    let metrics = service.telemetry.metrics.render().unwrap();
    assert!(metrics.contains(r#"hookline_deliveries_total{destination="hook",outcome="delivered"} 60"#), "{metrics}");
}

#[test]
fn alerts_that_wait_survive_takeovers_and_arrive_in_one_message() {
    let (alone, receiver, name) = (Alone::take(), Receiver::start(), fresh("waits"));
    let rules = [sends(&name, 6_000, 300_000)];
    let (from, mut writer) = (alone.end(Topic::Deliveries, 0), alone.writer("alerts"));
    let mut running = notifier(&alone, &receiver, &rules);
    for round in 0..3 {
        let alerts: Vec<_> = (0..10).map(|number| alert(&name, round * 10 + number, false)).collect();
        write_alerts(&mut writer, &alerts);
        if round == 1 {
            let next = notifier(&alone, &receiver, &rules);
            running.tell();
            running = next;
        } else {
            pause("alerts to be held", Duration::from_millis(1_200));
            drop(running);
            running = notifier(&alone, &receiver, &rules);
        }
    }
    wait_for("the message", || !receiver.got().is_empty());
    pause("a message too many", Duration::from_millis(500));
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!((&got[0].1["count"], &got[0].1["alerts"]), (&30.into(), &30.into()));
    let told = alone.deliveries(from, &name);
    let held: usize = told.iter().filter(|one| one.stage == DeliveryStage::Held).map(|one| one.alerts).sum();
    assert!(held > 0 && told.iter().all(|one| one.bundle_id == got[0].0), "{told:?}");
}

#[test]
fn the_position_moves_on_while_a_destination_is_down_and_what_is_owed_arrives_under_its_id() {
    let (alone, receiver, name) = (Alone::take(), Receiver::start(), fresh("down"));
    let rules: Vec<_> = (0..4).map(|number| sends(&format!("{name}-{number}"), 0, 300_000)).collect();
    let (from, mut writer) = (alone.end(Topic::Deliveries, 0), alone.writer("alerts"));
    receiver.is_down(true);
    let running = notifier(&alone, &receiver, &rules);
    write_alerts(&mut writer, &rules.iter().map(|rule| alert(&rule.name, 0, false)).collect::<Vec<_>>());
    let stage = |stage| alone.deliveries(from, &name).into_iter().filter(|one| one.stage == stage).collect::<Vec<_>>();
    wait_for("failed attempts", || stage(DeliveryStage::Attempted).len() >= 4);
    let positions = Positions::open(&alone.cluster, "hookline-notify", TXN).unwrap();
    let end = alone.end(Topic::Alerts, 0);
    let position = positions.committed(Topic::Alerts, 0).unwrap().unwrap();
    assert!(position.next > end - 3, "the position {position:?} moves on to the end {end}");
    drop(running);
    receiver.is_down(false);
    let _running = notifier(&alone, &receiver, &rules);
    wait_for("every message", || stage(DeliveryStage::Delivered).len() >= 4);
    let planned: HashSet<String> = stage(DeliveryStage::Planned).into_iter().map(|one| one.bundle_id).collect();
    let got: Vec<String> = receiver.got().into_iter().map(|(id, ..)| id).collect();
    assert_eq!((got.len(), planned.len()), (4, 4));
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), planned);
}

/// As Kafka's coordinator can after a crash: the position of a while ago, with what stands beside it, is the committed one again.
#[test]
fn an_earlier_position_that_a_broker_gives_out_tells_nobody_twice() {
    let (alone, receiver, name) = (Alone::take(), Receiver::start(), fresh("early"));
    let rules = [sends(&name, 0, 0)];
    let mut writer = alone.writer("alerts");
    let running = notifier(&alone, &receiver, &rules);
    let mut said = 0;
    let mut says = |until: usize| {
        while said < until {
            said += 1;
            write_alerts(&mut writer, &[alert(&name, said, false)]);
            wait_for("its message", || receiver.got().len() == said);
        }
    };
    let committed = || Positions::open(&alone.cluster, "hookline-notify", TXN).unwrap().committed(Topic::Alerts, 0);
    says(2);
    let early = committed().unwrap().unwrap();
    says(5);
    drop(running);
    assert!(committed().unwrap().unwrap().next > early.next);
    let client: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", &alone.cluster.brokers)
        .set("group.id", "hookline-notify")
        .create()
        .unwrap();
    let mut back = TopicPartitionList::new();
    let mut position = back.add_partition(Topic::Alerts.name(), 0);
    position.set_offset(Offset::Offset(early.next)).unwrap();
    position.set_metadata(&early.metadata);
    client.commit(&back, CommitMode::Sync).unwrap();
    let running = notifier(&alone, &receiver, &rules);
    says(6);
    pause("a message too many", Duration::from_millis(500));
    assert_eq!(receiver.got().len(), 6);
    let metrics = running.telemetry.metrics.render().unwrap();
    assert!(metrics.contains(r#"hookline_position_disagreements_total{service="notify"} 1"#), "{metrics}");
}

#[test]
fn test_data_reaches_the_capture_sink_and_nobody_else() {
    let (alone, receiver, name) = (Alone::take(), Receiver::start(), fresh("captured"));
    let rules = [sends(&name, 0, 300_000)];
    let (from, mut writer) = (alone.end(Topic::Deliveries, 0), alone.writer("alerts"));
    let _running = notifier(&alone, &receiver, &rules);
    write_alerts(&mut writer, &[alert(&name, 0, true), alert(&name, 1, false)]);
    wait_for("all outcomes", || {
        alone.deliveries(from, &name).iter().filter(|one| one.stage == DeliveryStage::Delivered).count() == 2
    });
    let got = receiver.got();
    assert_eq!((got.len(), &got[0].1["test"]), (1, &false.into()));
    let told = alone.deliveries(from, &name);
    assert!(told.iter().all(|one| one.test == (one.destination == notification::CAPTURE)), "{told:?}");
}
