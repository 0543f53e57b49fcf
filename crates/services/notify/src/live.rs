//! What people hold back while everything runs: rules, destinations, silences and acknowledged messages, as
//! `hookline pause`, `silence` and `ack` said.
//!
//! A thread follows the `control` topic and leaves what it learns for lanes and tasks to look at. A lane opens once the
//! topic was read: an instance that has just started must not send what is held back. One that loses Kafka later keeps
//! what it knew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kafka::Cluster;
use kafka::control::{Follower, Kind, State, Switch};
use kafka::lane::pause;
use notification::{Held, Live, LiveSilence};
use prometheus::GaugeVec;
use runtime::clock::now_ms;
use runtime::{Shutdown, Telemetry};

use crate::SERVICE;

/// How long the follower waits for news before it looks at the stop again.
const TURN: Duration = Duration::from_millis(500);
/// What is followed beside rules.
const OTHERS: [Kind; 3] = [Kind::Destination, Kind::Silence, Kind::Message];

/// What is held back now, for all lanes and tasks.
#[derive(Default)]
pub(crate) struct LiveSwitches {
    live: Mutex<Arc<Live>>,
    /// Changes with what is held back; 0 until the topic was read.
    version: AtomicU64,
}

impl LiveSwitches {
    /// Changes with what is held back; 0 while that is not known.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn get(&self) -> Arc<Live> {
        Arc::clone(&self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, live: Live) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// Follows the switches until the stop is given.
pub(crate) fn follow(
    cluster: Cluster,
    switches: Arc<LiveSwitches>,
    gauge: GaugeVec,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> std::io::Result<()> {
    let component = telemetry.health.component("notify switches");
    let (beats, shutdown) = (telemetry.beats.clone(), shutdown.clone());
    let run = move || {
        let mut follower = Follower::of(cluster, Kind::Rule, &OTHERS);
        let beat = beats.register("switches", "notify switches");
        let (mut said, mut shown) = (None, Vec::new());
        while !shutdown.is_stopping() {
            beat.tick();
            let changed = follower.turn(TURN);
            let problem = follower.standing().problem.clone();
            if problem != said {
                match (&problem, follower.standing().read) {
                    (Some(why), true) => {
                        tracing::warn!(service = SERVICE, "what is paused stays as it was last known: {why}");
                    }
                    (Some(why), false) => {
                        tracing::warn!(service = SERVICE, "what is paused is not known yet, nothing is sent: {why}");
                    }
                    (None, _) => tracing::info!(service = SERVICE, "what is paused is followed again"),
                }
                said = problem;
            }
            if changed {
                for why in follower.all().flat_map(|one| one.unreadable()) {
                    tracing::error!(service = SERVICE, "{why}");
                }
                switches.set(live(&follower));
                component.ready();
            }
            show(&switches.get(), &gauge, &mut shown);
            if follower.standing().problem.is_some() {
                pause("Kafka, to follow the switches", TURN);
            }
        }
    };
    std::thread::Builder::new().name("notify-switches".into()).spawn(run).map(drop)
}

fn live(follower: &Follower) -> Live {
    let mut live = Live::default();
    for switches in follower.all() {
        for (id, switch) in switches.iter().filter(|(_, switch)| switch.state == State::Pause) {
            let (id, held) = (id.to_owned(), held(switch));
            match switches.kind() {
                Kind::Rule => drop(live.rules.insert(id, held)),
                Kind::Destination => drop(live.destinations.insert(id, held)),
                Kind::Message => drop(live.acknowledged.insert(id, held)),
                Kind::Silence => {
                    let (rule, about) = id.split_once('/').unwrap_or((&id, ""));
                    live.silences.push(LiveSilence { rule: rule.to_owned(), about: about.to_owned(), held });
                }
                Kind::Source | Kind::Configuration => {}
            }
        }
    }
    live
}

fn held(switch: &Switch) -> Held {
    let until_ms = switch.until.map(|until| until.as_millisecond());
    Held { who: switch.who.clone(), why: switch.why.clone(), until_ms }
}

/// Shows what is paused now; what was shown before and is not any more is 0.
fn show(live: &Live, gauge: &GaugeVec, shown: &mut Vec<(&'static str, String)>) {
    let now = now_ms();
    let holds = |held: &Held| held.until_ms.is_none_or(|until| now < until);
    let of = |kind: &'static str, held: &std::collections::BTreeMap<String, Held>| {
        let now = held.iter().filter(|(_, held)| holds(held));
        now.map(|(id, _)| (kind, id.clone())).collect::<Vec<_>>()
    };
    let paused: Vec<_> = of("rule", &live.rules).into_iter().chain(of("destination", &live.destinations)).collect();
    shown
        .iter()
        .filter(|one| !paused.contains(one))
        .for_each(|(kind, id)| gauge.with_label_values(&[*kind, id.as_str()]).set(0.0));
    paused.iter().for_each(|(kind, id)| gauge.with_label_values(&[*kind, id.as_str()]).set(1.0));
    *shown = paused;
}
