//! From signals to alerts, on a real broker, while owners change.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test every failure is a panic, in its own functions as well"
)]

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use event::wire::Ids;
use event::{Alert, Delivery, DeliveryStage, Millis, Signal, SignalBatch, lane};
use kafka::lane::{Fence, LaneProducer, NO_HEADERS, Writes, pause, read_all_committed};
use kafka::positions::Positions;
use kafka::topics::{Plan, ensure};
use kafka::{Cluster, Topic};
use rules::{Per, Rule, When, pane_start};
use runtime::{LaneSet, Shutdown, Telemetry};

use crate::harness::Running;
use crate::kafka_lanes::fresh;

pub(crate) const LANES: u16 = 3;
pub(crate) const TXN: Duration = Duration::from_secs(10);
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A broker for these tests, one test at a time: detector and notifier own their lanes alone.
pub(crate) struct Alone {
    pub(crate) cluster: Cluster,
    pub(crate) plan: Plan,
    _engines: Arc<Running>,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    pub(crate) fn take() -> Self {
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

    pub(crate) fn end(&self, topic: Topic, partition: u16) -> i64 {
        Positions::open(&self.cluster, "test-ends", TXN).unwrap().stable(topic, partition).unwrap().end
    }

    /// Every committed record of a partition from an offset on.
    pub(crate) fn read<T>(&self, topic: Topic, partition: u16, from: i64, mut each: impl FnMut(&[u8]) -> T) -> Vec<T> {
        let mut read = Vec::new();
        read_all_committed::<Infallible>(&self.cluster, topic, partition, Some(from), None, |record| {
            read.extend(record.payload().map(&mut each));
            Ok(())
        })
        .unwrap();
        read
    }

    pub(crate) fn alerts(&self, from: i64, rules: &[Rule]) -> Vec<String> {
        let ids = self.read(Topic::Alerts, 0, from, |value| {
            let alert = Alert::from_wire(&Ids::FIXED, value).unwrap();
            (alert.rule.into_owned(), alert.alert_id.into_owned())
        });
        let own = |name: &str| rules.iter().any(|rule| rule.name() == name);
        ids.into_iter().filter(|(rule, _)| own(rule)).map(|(_, id)| id).collect()
    }

    /// What stands on `deliveries` about some rules: stage, destination, bundle, alerts.
    pub(crate) fn deliveries(&self, from: i64, rule: &str) -> Vec<Told> {
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

    pub(crate) fn writer(&self, name: &str) -> LaneProducer {
        // Written, not judged by its fence: it has an id of its own.
        let all = |topic, partitions| (0..partitions).map(move |partition| (topic, partition));
        let writes =
            all(Topic::Signals, self.plan.signal_partitions).chain(all(Topic::Alerts, self.plan.alert_partitions));
        Fence::open(&self.cluster, &fresh(name), 0, TXN, Writes::records(writes)).unwrap()
    }
}

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) rule: String,
    pub(crate) stage: DeliveryStage,
    pub(crate) destination: String,
    pub(crate) bundle_id: String,
    pub(crate) alerts: usize,
    pub(crate) test: bool,
}

/// A service that is told to stop when it goes.
pub(crate) struct Service {
    pub(crate) lanes: Option<LaneSet>,
    pub(crate) shutdown: Shutdown,
    pub(crate) telemetry: Telemetry,
}

impl Service {
    pub(crate) fn new(start: impl FnOnce(&Telemetry, &Shutdown) -> LaneSet) -> Self {
        let (telemetry, shutdown) = (Telemetry::new("").unwrap(), Shutdown::default());
        Self { lanes: Some(start(&telemetry, &shutdown)), shutdown, telemetry }
    }

    /// Tells it to stop and does not wait: somebody else fences it.
    pub(crate) fn tell(&self) {
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

pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

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
