//! Live switches of sources: what is done with a source now, as `hookline pause` said, without a restart.
//!
//! A thread follows the `control` topic and leaves what it learns in one atomic number per source, which is all that a
//! request looks at. An instance that has not read the switches yet knows nothing, so it takes nothing. One that loses
//! Kafka later keeps what it knew.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use adapter::{Element, Undecodable};
use kafka::Cluster;
use kafka::control::{Follower, Kind, State, Switch};
use kafka::lane::pause;
use prometheus::GaugeVec;
use runtime::clock::now_ms;
use runtime::{Component, Lag, Shutdown, Telemetry, WaitReason};

use crate::answer::Problem;
use crate::{Edge, SERVICE};

/// How long the follower waits for news before it looks at the clock again.
const TURN: Duration = Duration::from_millis(500);
/// What the sender of a paused source is asked to wait, when the pause has no end of its own. A platform with a schedule
/// of its own does not listen; one that listens is back soon after `resume`.
const RETRY_WITHOUT_END: Duration = Duration::from_secs(60);
/// The longest that a sender is asked to wait: a pause may be ended early.
const RETRY_AT_MOST: Duration = Duration::from_secs(3_600);
/// What a sender is asked to wait for an instance that has just started.
const RETRY_AT_START: Duration = Duration::from_secs(2);
/// The reason on dead letters of a source that is switched to quarantine.
const REASON: &str = "switched_to_quarantine";

/// The switch of one source, as requests see it: the state in the lowest three bits, above them the end in milliseconds
/// since 1970 (0: none).
#[derive(Debug)]
pub(crate) struct SourceSwitch(AtomicI64);

const ACCEPT: i64 = 0;
const NOT_READ: i64 = 1;
const QUARANTINE: i64 = 2;
const PAUSE: i64 = 3;
const RETIRED: i64 = 4;
const STATE_BITS: i64 = 0b111;

/// What a request to the source meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// Authentic deliveries are set aside.
    Quarantine,
    /// The switches have not been read yet.
    NotRead,
    Paused {
        retry_after: Duration,
    },
    Retired,
}

impl SourceSwitch {
    /// Nothing is known yet.
    pub(crate) fn unread() -> Self {
        Self(AtomicI64::new(NOT_READ))
    }

    /// What a request meets now. The usual case is one load.
    pub(crate) fn gate(&self) -> Gate {
        match self.0.load(Ordering::Acquire) {
            ACCEPT => Gate::Open,
            packed => gate_at(packed, now_ms()),
        }
    }

    /// Takes over what was switched. Returns whether that is news.
    pub(crate) fn set(&self, switch: Option<&Switch>) -> bool {
        let packed = packed(switch);
        self.0.swap(packed, Ordering::AcqRel) != packed
    }
}

fn packed(switch: Option<&Switch>) -> i64 {
    let Some(switch) = switch else { return ACCEPT };
    let state = match switch.state {
        State::Accept => return ACCEPT,
        State::Quarantine => QUARANTINE,
        State::Pause => PAUSE,
        State::Retired => RETIRED,
    };
    // An end at or before 1970 is long over: 1 ms is as good, and 0 would mean none.
    let until = switch.until.map_or(0, |until| until.as_millisecond().clamp(1, i64::MAX >> 3));
    until << 3 | state
}

fn gate_at(packed: i64, now_ms: i64) -> Gate {
    let until = packed >> 3;
    if until != 0 && until <= now_ms {
        return Gate::Open;
    }
    match packed & STATE_BITS {
        NOT_READ => Gate::NotRead,
        QUARANTINE => Gate::Quarantine,
        PAUSE => Gate::Paused { retry_after: retry_after(until, now_ms) },
        RETIRED => Gate::Retired,
        _ => Gate::Open,
    }
}

/// Until the end of the pause, rounded up, if it has one and that is near.
fn retry_after(until: i64, now_ms: i64) -> Duration {
    match until {
        0 => RETRY_WITHOUT_END,
        until => {
            let left = u64::try_from(until - now_ms).unwrap_or(0).div_ceil(1_000);
            Duration::from_secs(left.max(1)).min(RETRY_AT_MOST)
        }
    }
}

impl Gate {
    /// The answer to whoever asks, before anything is read; `None` if the request goes on. It needs no authentication: the
    /// state of a source is no secret, and a paused ingest should not work for strangers.
    pub(crate) fn refusal(self) -> Option<Problem> {
        match self {
            Self::Open | Self::Quarantine => None,
            Self::NotRead => Some(Problem::Unavailable { retry_after: RETRY_AT_START }),
            Self::Paused { retry_after } => Some(Problem::Paused { retry_after }),
            Self::Retired => Some(Problem::Retired),
        }
    }

    /// What the source is switched to, and why a request would not be taken: for dry runs, which say it instead of being refused.
    pub(crate) fn said(self) -> (Option<&'static str>, Option<(u16, &'static str)>) {
        match self {
            Self::Open => (None, None),
            Self::Quarantine => (Some("quarantine"), None),
            Self::NotRead => (None, Some((503, "this instance has just started"))),
            Self::Paused { .. } => (Some("pause"), Some((503, "the source is paused"))),
            Self::Retired => (Some("retired"), Some((410, "the source is retired"))),
        }
    }

    /// Sets every event of an authentic request aside, if the source is switched so. An event that could not be read
    /// anyway keeps its own reason.
    pub(crate) fn set_aside(self, elements: &mut [Element<'_>]) {
        if self == Self::Quarantine {
            for element in elements.iter_mut().filter(|element| element.quarantine.is_none()) {
                element.quarantine = Some(Undecodable {
                    reason: REASON,
                    detail: "the source is switched to quarantine; the event is kept and can be redriven".to_owned(),
                });
            }
        }
    }
}

/// Starts to follow. The thread ends after the stop is given.
pub(crate) fn follow(
    cluster: Cluster,
    edge: Arc<Edge>,
    telemetry: &Telemetry,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let component = telemetry.health.component("ingest switches");
    let watcher = Watcher { edge, component, telemetry: telemetry.clone(), problem: None, unreadable: false };
    std::thread::Builder::new().name("switches".into()).spawn(move || watcher.run(cluster, &shutdown)).map(drop)
}

/// The gauge of what is switched off for a while.
pub(crate) fn paused_gauge(telemetry: &Telemetry) -> Result<GaugeVec, prometheus::Error> {
    let help = "1 while somebody has paused the object or put it into quarantine";
    telemetry.metrics.gauge("paused", help, &["kind", "id"])
}

/// Brings what the follower learns to requests, metrics, health and the log.
struct Watcher {
    edge: Arc<Edge>,
    component: Component,
    telemetry: Telemetry,
    /// The last problem that was said.
    problem: Option<String>,
    /// Whether the newest record of a source is unreadable and that was said.
    unreadable: bool,
}

impl Watcher {
    fn run(mut self, cluster: Cluster, shutdown: &Shutdown) {
        let mut follower = Follower::new(cluster, Kind::Source);
        let started = Instant::now();
        let beat = self.telemetry.beats.register("switches", "ingest switches");
        let mut sources = self.edge.sources.current();
        while !shutdown.is_stopping() {
            beat.tick();
            let changed = follower.turn(TURN);
            self.say_problem(&follower);
            let others = self.edge.sources.newer(&sources);
            if changed || (others.is_some() && follower.standing().read) {
                self.take_over(&follower);
            }
            sources = others.unwrap_or(sources);
            self.show(&follower, started);
            if follower.standing().problem.is_some() {
                pause("Kafka, to follow the switches", TURN);
            }
        }
    }

    fn take_over(&mut self, follower: &Follower) {
        let switches = follower.switches();
        let unreadable: Vec<String> = switches.unreadable().map(ToString::to_string).collect();
        for why in &unreadable {
            tracing::error!(service = SERVICE, "{why}");
        }
        let lanes = self.telemetry.metrics.lanes();
        match (self.unreadable, !unreadable.is_empty()) {
            (false, true) => lanes.stalled(SERVICE, WaitReason::SwitchUnreadable, 1.0),
            (true, false) => lanes.stalled(SERVICE, WaitReason::SwitchUnreadable, -1.0),
            _ => {}
        }
        self.unreadable = !unreadable.is_empty();
        let sources = self.edge.sources.current();
        let first = sources.iter().all(|source| source.switch.gate() == Gate::NotRead);
        // What an instance has never known it does not guess; what it has known once it keeps.
        if first && let Some(why) = unreadable.into_iter().next() {
            self.component.failing(why);
            return;
        }
        let whole = !self.unreadable;
        for source in sources.iter() {
            let (name, switch) = (source.settings.name.as_str(), switches.get(&source.settings.name));
            let unknown = source.switch.gate() == Gate::NotRead;
            if unknown && !whole {
                continue;
            }
            let first = first || unknown;
            if source.switch.set(switch) {
                say(name, switch, first);
            }
        }
        self.component.ready();
    }

    fn show(&self, follower: &Follower, started: Instant) {
        let standing = follower.standing();
        for source in self.edge.sources.current().iter() {
            let gate = source.switch.gate();
            let paused = matches!(gate, Gate::Quarantine | Gate::Paused { .. });
            self.edge
                .metrics
                .paused
                .with_label_values(&[Kind::Source.name(), &source.settings.name])
                .set(f64::from(paused));
        }
        let is_current = standing.records_behind == 0 && standing.problem.is_none() && standing.read;
        let since = standing.current_at.unwrap_or(started).elapsed().as_secs_f64();
        let lag = Lag {
            records: standing.records_behind,
            seconds: if is_current { 0.0 } else { since },
            headroom_seconds: f64::INFINITY,
        };
        self.telemetry.metrics.lanes().set_lag(SERVICE, "control", 0, lag);
    }

    /// Says once that reading does not go on, and once that it does again.
    fn say_problem(&mut self, follower: &Follower) {
        let problem = &follower.standing().problem;
        if *problem == self.problem {
            return;
        }
        match (problem, follower.standing().read) {
            (Some(why), true) => {
                tracing::warn!(service = SERVICE, "the switches of sources stay as they were last known: {why}");
            }
            (Some(why), false) => {
                tracing::warn!(service = SERVICE, "the switches of sources are not known yet, nothing is taken: {why}");
            }
            (None, _) => tracing::info!(service = SERVICE, "the switches of sources are followed again"),
        }
        self.problem.clone_from(problem);
    }
}

/// Says what a source was switched to; at the start only what is out of the ordinary.
fn say(source: &str, switch: Option<&Switch>, first: bool) {
    match switch {
        Some(Switch { state, who, why, until, .. }) if !first || *state != State::Accept => {
            let until = until.map_or_else(|| "further notice".to_owned(), |until| until.to_string());
            tracing::info!(service = SERVICE, source, %state, who, why, until, "switched");
        }
        Some(_) => {}
        None if !first => tracing::info!(service = SERVICE, source, state = "accept", "switched: its record is gone"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const NOW: i64 = 1_764_000_000_000;

    fn switch(state: State, until_ms: Option<i64>) -> Switch {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        Switch { state, who: "ana".into(), why: "test".into(), until: until_ms.map(at), at: at(NOW) }
    }

    #[test]
    fn a_request_meets_what_was_switched_until_its_end() {
        let gate = |state, until, now| gate_at(packed(Some(&switch(state, until))), now);
        let end = NOW + 90_000;
        for (state, expected) in [
            (State::Accept, Gate::Open),
            (State::Quarantine, Gate::Quarantine),
            (State::Pause, Gate::Paused { retry_after: Duration::from_secs(90) }),
            (State::Retired, Gate::Retired),
        ] {
            assert_eq!(gate(state, Some(end), NOW), expected);
            assert_eq!(gate(state, Some(end), end), Gate::Open, "{state} at its end");
            assert_eq!(gate(state, Some(end), end + 1), Gate::Open, "{state} after its end");
        }
        assert_eq!(gate(State::Retired, None, i64::MAX >> 3), Gate::Retired, "without an end, for good");
        assert_eq!(gate_at(packed(None), NOW), Gate::Open);
    }

    #[test]
    fn an_instance_that_knows_nothing_takes_nothing() {
        let unread = SourceSwitch::unread();
        assert!(matches!(unread.gate().refusal(), Some(Problem::Unavailable { .. })));
        assert!(unread.set(None), "that nothing is switched is news to it");
        assert!(unread.gate().refusal().is_none());
        assert!(!unread.set(None));
    }

    #[test]
    fn a_sender_is_asked_to_wait_for_the_end_but_not_too_long() {
        let wait = |until| match gate_at(packed(Some(&switch(State::Pause, until))), NOW) {
            Gate::Paused { retry_after } => retry_after.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(Some(NOW + 1_000)), 1);
        assert_eq!(wait(Some(NOW + 600_000)), 600);
        assert_eq!(wait(Some(NOW + 86_400_000)), 3_600);
        assert_eq!(wait(None), 60);
        assert_eq!(retry_after(NOW + 1, NOW), Duration::from_secs(1), "rounded up");
    }
}
