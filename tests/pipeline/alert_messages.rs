//! From alerts to messages, on a real broker and with a real receiver, while owners change.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use event::wire::Ids;
use event::{Alert, DeliveryStage, Map, Millis};
use kafka::Topic;
use kafka::lane::{LaneProducer, NO_HEADERS, pause};
use kafka::positions::Positions;
use notification::destination::{People, Values};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use standardwebhooks::Webhook as Verifier;
use tokio::runtime::Runtime;

use crate::alerts::{Alone, SECRET, Service, TXN, now_ms, wait_for};
use crate::kafka_lanes::fresh;

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
        silent_rules: Vec::new(),
        silences: Vec::new(),
        inhibits: Vec::new(),
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

pub(crate) fn write_alerts(writer: &mut LaneProducer, alerts: &[Alert<'static>]) {
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
    // Who has lost a lane does not go on saying what it is owed: a page takes the largest of all instances.
    let metrics = running.telemetry.clone();
    let owed = || metrics.metrics.render().unwrap();
    let nothing = "hookline_oldest_pending_seconds{destination=\"hook\"} 0\n";
    wait_for("the age of what is owed", || !owed().contains(nothing));
    drop(running);
    assert!(owed().contains(nothing), "{}", owed());
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
