//! Lanes as threads: each runs until it ends, and how it ended decides what happens next.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Shutdown, Telemetry};

/// How a lane ended.
#[derive(Debug)]
pub enum LaneEnd {
    /// The stop was given, and everything is committed or left to the next owner.
    Stopped,
    /// Another instance took the lane over, or the broker timed its transaction out.
    Fenced,
    /// An engine failed or a transaction was aborted: the lane starts again.
    Retry(String),
    /// Going on could lose or double an event: if that is found again by further looks, the lane stands still until somebody
    /// has looked.
    Halted {
        /// Why, as a fixed label (`hookline_stalled`).
        reason: &'static str,
        /// Why, and the way out, in words.
        message: String,
    },
}

/// The first and the longest pause before a lane starts again after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// The same after a fence: two instances that both claim a lane must not fight over it many times a second.
const FENCED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// The pauses before a lane that found damage is opened anew to look again. Only damage that is still there after the last
/// one stands: a broker that has just come up after a crash can answer for seconds with a position of before, or with none,
/// until its group coordinator has settled. To look is safe: whatever restarts the process does the same.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];
/// A lane that ran this long has recovered: its pause starts small again.
const RECOVERED: Duration = Duration::from_secs(60);

/// The lane threads of one service.
pub struct LaneSet {
    service: &'static str,
    threads: Vec<JoinHandle<()>>,
}

impl LaneSet {
    /// Starts a thread for each lane. `run` gets the lane and a component to call `ready` on once it is at work.
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
        F: Fn(u16, &crate::Component) -> LaneEnd + Send + Sync + 'static,
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
        F: Fn(u16, &crate::Component) -> LaneEnd + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        let mut threads = Vec::new();
        for lane in lanes {
            let watched = Watched {
                service,
                lane,
                component: telemetry.health.component(format!("{service} lane {lane}")),
                telemetry: telemetry.clone(),
                shutdown: shutdown.clone(),
                look_again,
            };
            let run = Arc::clone(&run);
            let thread = std::thread::Builder::new()
                .name(format!("{service}-{lane}"))
                .spawn(move || watched.keep(|component| run(lane, component)))?;
            threads.push(thread);
        }
        Ok(Self { service, threads })
    }

    /// Waits until every lane has ended. Blocking: call it off the async workers.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!(service = self.service, "a lane's thread panicked outside its watch");
            }
        }
    }
}

struct Watched {
    service: &'static str,
    lane: u16,
    component: crate::Component,
    telemetry: Telemetry,
    shutdown: Shutdown,
    look_again: [Duration; 3],
}

impl Watched {
    fn keep(&self, run: impl Fn(&crate::Component) -> LaneEnd) {
        let (mut retry, mut fenced) = (RETRY.0, FENCED.0);
        let mut looks = self.look_again.iter();
        while !self.shutdown.is_stopping() {
            let started = Instant::now();
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&self.component)))
                .unwrap_or_else(|_| LaneEnd::Retry("the lane panicked; the panic is in the log above".into()));
            if started.elapsed() > RECOVERED {
                (retry, fenced) = (RETRY.0, FENCED.0);
                looks = self.look_again.iter();
            }
            let Self { service, lane, .. } = self;
            match end {
                LaneEnd::Stopped => return,
                LaneEnd::Fenced => {
                    tracing::warn!(service, lane, wait_s = fenced.as_secs_f64(), "fenced: another owner has the lane");
                    self.component.failing("fenced: another owner has the lane");
                    self.stand("fenced", fenced);
                    fenced = (fenced * 2).min(FENCED.1);
                }
                LaneEnd::Retry(why) => {
                    tracing::warn!(service, lane, wait_s = retry.as_secs_f64(), "the lane starts again: {why}");
                    self.component.failing(why);
                    self.stand("retry", retry);
                    retry = (retry * 2).min(RETRY.1);
                }
                LaneEnd::Halted { reason, message } if let Some(pause) = looks.next() => {
                    tracing::warn!(
                        service,
                        lane,
                        reason,
                        wait_s = pause.as_secs_f64(),
                        "looking again before the lane stands still: {message}"
                    );
                    self.component.failing(message);
                    self.stand("retry", *pause);
                }
                LaneEnd::Halted { reason, message } => {
                    tracing::error!(service, lane, reason, "the lane stands still: {message}");
                    self.component.halted(message);
                    self.stand(reason, Duration::MAX);
                    return;
                }
            }
        }
    }

    /// Waits, visibly, until `pause` is over or the stop is given.
    fn stand(&self, reason: &'static str, pause: Duration) {
        let lanes = self.telemetry.metrics.lanes();
        lanes.stalled(self.service, reason, 1.0);
        let begun = Instant::now();
        while begun.elapsed() < pause && !self.shutdown.is_stopping() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        lanes.stalled(self.service, reason, -1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_failing_lane_starts_again_and_a_halted_one_stands_still_and_says_why() {
        let telemetry = Telemetry::new("").unwrap();
        let shutdown = Shutdown::default();
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let soon = [Duration::from_millis(20); 3];
        let lanes = LaneSet::start_looking("process", [7], &telemetry, &shutdown, soon, move |_, _| {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => LaneEnd::Retry("Kafka is away".into()),
                1 => panic!("a defect"),
                _ => LaneEnd::Halted { reason: "rewound", message: "the input was rewound".into() },
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
        let lanes = LaneSet::start_looking("report", [7], &telemetry, &shutdown, soon, move |_, component| {
            if counted.fetch_add(1, Ordering::SeqCst) < 2 {
                return LaneEnd::Halted { reason: "rows_beyond_position", message: "the position is lost".into() };
            }
            component.ready();
            stop.stop();
            LaneEnd::Stopped
        })
        .unwrap();
        lanes.join();
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert!(telemetry.health.is_alive());
        assert!(!telemetry.metrics.render().unwrap().contains("rows_beyond_position"));
    }
}
