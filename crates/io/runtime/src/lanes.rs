//! Lanes as threads: each runs until it ends, and how it ended decides what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::progress::{self, LaneProgress};
use crate::{Backoff, End, Shutdown, StallReason, Telemetry, WaitReason};

/// The pauses before a lane starts again after a failure; all lanes of all instances fail with one engine. The longest
/// leaves time to open within the 15 s in which a lane has to move again once its engine is back.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(8)).jittered();
/// The same after a fence: two instances that both claim a lane must not fight over it many times a second.
const FENCED: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(300));
/// The pauses before a lane that found damage is opened anew to look again. Only damage that is still there after the last
/// one stands: a broker that has just come up after a crash can answer for seconds with a position of before, or with none,
/// until its group coordinator has settled. To look is safe: whatever restarts the process does the same.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];
/// How long a lane may take to open: a large dedupe window is read again from its log. It beats from its first turn on.
const OPENING: Duration = Duration::from_secs(900);
/// A lane that ran this long has recovered: its pause starts small again.
const RECOVERED: Duration = Duration::from_secs(60);

/// What a lane does: it gets its number, a component to call `ready` on once it is at work, and its stop.
type Run = dyn Fn(u16, &crate::Component, &Shutdown) -> Result<(), End> + Send + Sync;

/// The lane threads of one service.
pub struct LaneSet {
    service: &'static str,
    telemetry: Telemetry,
    shutdown: Shutdown,
    run: Arc<Run>,
    /// The pauses after a fence.
    fenced: Backoff,
    look_again: [Duration; 3],
    running: BTreeMap<u16, Lane>,
    /// Lanes that were told to stop and had not stopped in time.
    leaving: BTreeMap<u16, Lane>,
}

/// Lanes that come and go while their service runs.
pub trait Lanes: Send + 'static {
    /// The service whose lanes they are.
    fn service(&self) -> &'static str;

    /// Starts lanes beside those that run.
    ///
    /// # Errors
    /// When the system gives no thread.
    fn start_lanes(&mut self, lanes: &BTreeSet<u16>) -> std::io::Result<()>;

    /// Tells lanes to stop after their running transaction, and waits for them at most `patience`. Returns those that had not
    /// stopped by then. Blocking.
    fn stop_lanes(&mut self, lanes: &BTreeSet<u16>, patience: Duration) -> Vec<u16>;

    /// Waits until every lane has ended. Blocking.
    fn join(self);
}

impl Lanes for LaneSet {
    fn service(&self) -> &'static str {
        self.service
    }

    fn start_lanes(&mut self, lanes: &BTreeSet<u16>) -> std::io::Result<()> {
        LaneSet::start_lanes(self, lanes.iter().copied())
    }

    fn stop_lanes(&mut self, lanes: &BTreeSet<u16>, patience: Duration) -> Vec<u16> {
        LaneSet::stop_lanes(self, lanes.iter().copied(), patience)
    }

    fn join(self) {
        LaneSet::join(self);
    }
}

struct Lane {
    stop: Shutdown,
    thread: JoinHandle<()>,
}

impl LaneSet {
    /// Starts a thread for each lane.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<F>(
        service: &'static str,
        lanes: impl IntoIterator<Item = u16>,
        telemetry: &Telemetry,
        shutdown: &Shutdown,
        run: F,
    ) -> std::io::Result<Self>
    where
        F: Fn(u16, &crate::Component, &Shutdown) -> Result<(), End> + Send + Sync + 'static,
    {
        Self::start_looking(service, lanes, telemetry, shutdown, LOOK_AGAIN, run)
    }

    fn start_looking<F>(
        service: &'static str,
        lanes: impl IntoIterator<Item = u16>,
        telemetry: &Telemetry,
        shutdown: &Shutdown,
        look_again: [Duration; 3],
        run: F,
    ) -> std::io::Result<Self>
    where
        F: Fn(u16, &crate::Component, &Shutdown) -> Result<(), End> + Send + Sync + 'static,
    {
        let (telemetry, shutdown, run) = (telemetry.clone(), shutdown.clone(), Arc::new(run));
        let (fenced, running, leaving) = (FENCED, BTreeMap::new(), BTreeMap::new());
        let mut this = Self { service, telemetry, shutdown, run, fenced, look_again, running, leaving };
        this.start_lanes(lanes)?;
        Ok(this)
    }

    /// For lanes that a group hands around: one that was fenced and is ours all the same goes on soon.
    pub fn expect_takeovers(&mut self) {
        self.fenced = FENCED.up_to(FENCED.ceiling(1));
    }

    /// Starts lanes beside those that run; one that runs already goes on.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_lanes(&mut self, lanes: impl IntoIterator<Item = u16>) -> std::io::Result<()> {
        for lane in lanes {
            if self.running.contains_key(&lane) {
                continue;
            }
            // It comes back before it had ended: two threads must not fight over one lane.
            if let Some(before) = self.leaving.remove(&lane) {
                self.join_lane(before);
            }
            let stop = self.shutdown.child();
            let watched = Watched {
                service: self.service,
                lane,
                component: self
                    .telemetry
                    .health
                    .component(format!("{} lane {lane}", self.service))
                    .beating(self.telemetry.beats.register("lane", format!("{} lane {lane}", self.service))),
                telemetry: self.telemetry.clone(),
                progress: self.telemetry.board.add((self.service, lane)),
                service_stop: self.shutdown.clone(),
                shutdown: stop.clone(),
                fenced: self.fenced,
                look_again: self.look_again,
            };
            let run = Arc::clone(&self.run);
            let thread = std::thread::Builder::new()
                .name(format!("{}-{lane}", self.service))
                .spawn(move || watched.keep(|component, stop| run(lane, component, stop)))?;
            self.running.insert(lane, Lane { stop, thread });
        }
        self.publish();
        Ok(())
    }

    /// Tells lanes to stop after their running transaction, and waits for them at most `patience`. Returns those that had not
    /// stopped by then: they will, and whoever takes them over fences them. Blocking.
    pub fn stop_lanes(&mut self, lanes: impl IntoIterator<Item = u16>, patience: Duration) -> Vec<u16> {
        let mut stopping = BTreeMap::new();
        for lane in lanes {
            if let Some(running) = self.running.remove(&lane) {
                running.stop.stop();
                stopping.insert(lane, running);
            }
        }
        self.publish();
        let deadline = Instant::now() + patience;
        while stopping.values().any(|lane| !lane.thread.is_finished()) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let mut late = Vec::new();
        for (lane, stopped) in stopping {
            if stopped.thread.is_finished() {
                self.join_lane(stopped);
            } else {
                late.push(lane);
                self.leaving.insert(lane, stopped);
            }
        }
        late
    }

    /// Tells every lane to stop, as [`Self::stop_lanes`] does, and waits for none.
    pub fn stop_all(&mut self) {
        let all: Vec<u16> = self.running.keys().copied().collect();
        self.stop_lanes(all, Duration::ZERO);
    }

    /// Waits until every lane has ended. Blocking: call it off the async workers.
    pub fn join(mut self) {
        let all =
            std::mem::take(&mut self.running).into_values().chain(std::mem::take(&mut self.leaving).into_values());
        for lane in all {
            self.join_lane(lane);
        }
        self.publish();
    }

    fn join_lane(&self, lane: Lane) {
        if lane.thread.join().is_err() {
            tracing::error!(service = self.service, "a lane's thread panicked outside its watch");
        }
    }

    fn publish(&self) {
        self.telemetry.metrics.lanes().set_owned(self.service, self.running.len());
    }
}

struct Watched {
    service: &'static str,
    lane: u16,
    component: crate::Component,
    telemetry: Telemetry,
    progress: Arc<LaneProgress>,
    /// The stop of the whole service.
    service_stop: Shutdown,
    /// The stop of this lane.
    shutdown: Shutdown,
    fenced: Backoff,
    look_again: [Duration; 3],
}

impl Watched {
    /// Runs the lane again and again until it is told to stop. One that is given away leaves neither health nor lag behind.
    fn keep(&self, run: impl Fn(&crate::Component, &Shutdown) -> Result<(), End>) {
        progress::set_for_this_thread(Arc::clone(&self.progress));
        self.run_on(run);
        self.telemetry.board.remove((self.service, self.lane));
        if !self.service_stop.is_stopping() && self.shutdown.is_stopping() {
            self.component.gone();
            self.telemetry.metrics.lanes().forget(self.service, self.lane);
        }
    }

    fn run_on(&self, run: impl Fn(&crate::Component, &Shutdown) -> Result<(), End>) {
        let (mut retry, mut fenced) = (RETRY, self.fenced);
        let mut looks = self.look_again.iter();
        while !self.shutdown.is_stopping() {
            let started = Instant::now();
            self.component.allow(OPENING);
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&self.component, &self.shutdown)))
                .unwrap_or_else(|_| Err(End::Retry("the lane panicked; the panic is in the log above".into())));
            self.progress.closed();
            if started.elapsed() > RECOVERED {
                retry.reset();
                fenced.reset();
                looks = self.look_again.iter();
            }
            let Self { service, lane, .. } = self;
            match end {
                Ok(()) => return,
                Err(End::Fenced) => {
                    let pause = fenced.pause();
                    tracing::warn!(service, lane, wait_s = pause.as_secs_f64(), "fenced: another owner has the lane");
                    self.component.failing("fenced: another owner has the lane");
                    self.stand(WaitReason::Fenced, pause);
                }
                Err(End::Retry(why)) => {
                    let pause = retry.pause();
                    tracing::warn!(service, lane, wait_s = pause.as_secs_f64(), "the lane starts again: {why}");
                    self.component.failing(why);
                    self.stand(WaitReason::Retry, pause);
                }
                Err(End::Halt { reason, message }) if let Some(pause) = looks.next() => {
                    tracing::warn!(
                        service,
                        lane,
                        reason = reason.name(),
                        wait_s = pause.as_secs_f64(),
                        "looking again before the lane stands still: {message}"
                    );
                    self.component.failing(message);
                    self.stand(WaitReason::Retry, *pause);
                }
                Err(End::Halt { reason, message }) => {
                    tracing::error!(service, lane, reason = reason.name(), "the lane stands still: {message}");
                    self.component.halted(message);
                    self.stand(reason, Duration::MAX);
                    return;
                }
            }
        }
    }

    /// Waits, visibly, until `pause` is over or the stop is given.
    fn stand(&self, reason: impl Into<StallReason>, pause: Duration) {
        let reason = reason.into();
        let lanes = self.telemetry.metrics.lanes();
        lanes.stalled(self.service, reason, 1.0);
        self.progress.stands(true);
        let begun = Instant::now();
        while begun.elapsed() < pause && !self.shutdown.is_stopping() {
            self.component.beat();
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.progress.stands(false);
        lanes.stalled(self.service, reason, -1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;
    use crate::HaltReason;

    #[test]
    fn a_failing_lane_starts_again_and_a_halted_one_stands_still_and_says_why() {
        let telemetry = Telemetry::new("").unwrap();
        let shutdown = Shutdown::default();
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let soon = [Duration::from_millis(20); 3];
        let lanes = LaneSet::start_looking("process", [7], &telemetry, &shutdown, soon, move |_, _, _| {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Err(End::Retry("Kafka is away".into())),
                1 => panic!("a defect"),
                _ => Err(End::halt(HaltReason::Rewound, "the input was rewound")),
            }
        })
        .unwrap();
        let line = r#"hookline_stalled{reason="rewound",service="process"} 1"#;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !telemetry.metrics.render().unwrap().contains(line) {
            assert!(Instant::now() < deadline, "the lane never stood still");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        // The first look, and three more.
        assert_eq!(runs.load(Ordering::SeqCst), 2 + 4);
        assert!(!telemetry.health.is_alive());
        shutdown.stop();
        lanes.join();
    }

    #[test]
    fn damage_that_a_further_look_does_not_find_again_was_none() {
        let telemetry = Telemetry::new("").unwrap();
        let shutdown = Shutdown::default();
        let runs = Arc::new(AtomicU32::new(0));
        let (counted, stop) = (Arc::clone(&runs), shutdown.clone());
        let soon = [Duration::from_millis(20); 3];
        // A broker that says for a moment that nothing was ever committed.
        let lanes = LaneSet::start_looking("report", [7], &telemetry, &shutdown, soon, move |_, component, _| {
            if counted.fetch_add(1, Ordering::SeqCst) < 2 {
                return Err(End::halt(HaltReason::RowsBeyondPosition, "the position is lost"));
            }
            component.ready();
            stop.stop();
            Ok(())
        })
        .unwrap();
        lanes.join();
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert!(telemetry.health.is_alive());
        assert!(!telemetry.metrics.render().unwrap().contains("rows_beyond_position"));
    }

    #[test]
    fn a_lane_that_is_given_away_stops_alone_and_leaves_nothing_behind() {
        let telemetry = Telemetry::new("").unwrap();
        let shutdown = Shutdown::default();
        let (runs, holds) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
        let (counted, held) = (Arc::clone(&runs), Arc::clone(&holds));
        let work = move |lane: u16, component: &crate::Component, stop: &Shutdown| {
            counted.fetch_add(1, Ordering::SeqCst);
            component.ready();
            while !stop.is_stopping() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            while lane == 2 && held.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Ok(())
        };
        let mut lanes = LaneSet::start("process", [], &telemetry, &shutdown, work).unwrap();
        let owned = |count: u32| format!(r#"hookline_lanes_owned{{service="process"}} {count}"#);
        assert!(telemetry.metrics.render().unwrap().contains(&owned(0)));
        lanes.start_lanes([1, 2, 3]).unwrap();
        lanes.start_lanes([3]).unwrap();
        let ran = |times: u32| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while runs.load(Ordering::SeqCst) < times || !telemetry.health.is_ready() {
                assert!(Instant::now() < deadline, "the lanes never were ready");
                std::thread::park_timeout(Duration::from_millis(10));
            }
        };
        ran(3);
        assert_eq!(lanes.stop_lanes([1, 7], Duration::from_secs(20)), [0u16; 0]);
        assert_eq!(lanes.stop_lanes([2], Duration::from_millis(50)), [2]);
        assert!(telemetry.metrics.render().unwrap().contains(&owned(1)));
        assert!(!telemetry.health.states().contains_key("process lane 1"));
        // It comes back while it is leaving: it ends first, and then runs again.
        holds.store(false, Ordering::SeqCst);
        lanes.start_lanes([2]).unwrap();
        ran(4);
        shutdown.stop();
        lanes.join();
        assert_eq!(runs.load(Ordering::SeqCst), 4);
        assert!(telemetry.metrics.render().unwrap().contains(&owned(0)));
    }
}
