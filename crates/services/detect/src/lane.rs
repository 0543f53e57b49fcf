//! One partition of `signals`: fence, restore, then read, and commit what there is to say.

mod open;
pub(crate) mod taught;

use std::time::{Duration, Instant};

use kafka::lane::End;
use runtime::clock::now_ms;
use runtime::lanes::LaneEnd;
use runtime::{Component, Live, Shutdown};

use crate::metrics::DetectMetrics;
use crate::{SERVICE, Settings};
use open::OpenLane;

/// How often progress without an alert is committed: what a takeover has to read again.
const CHECKPOINT: Duration = Duration::from_secs(10);
/// Changed keys after which it is committed before that, so that a transaction stays small.
const MAX_UNSAVED: usize = 20_000;
/// An idle lane commits at least this often, so that its position never expires.
const IDLE_COMMIT: Duration = Duration::from_secs(3_600);
/// Records taken from the reader at once.
const CHUNK: usize = 1_000;

/// How long a lane may take to open anew by other rules: its state is read again.
const OPENING: Duration = Duration::from_secs(900);

/// Runs a lane until the stop is given or it cannot go on; by other rules from the moment when there are some.
pub(crate) fn run(
    settings: &Live<Settings>,
    partition: u16,
    metrics: &DetectMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> LaneEnd {
    loop {
        let current = settings.current();
        let over = || shutdown.is_stopping() || settings.newer(&current).is_some();
        let end = run_by(&current, partition, metrics, component, over);
        if !matches!(end, LaneEnd::Stopped) || shutdown.is_stopping() {
            return end;
        }
        tracing::info!(service = SERVICE, partition, "the lane goes on by another configuration");
        component.allow(OPENING);
    }
}

fn run_by(
    settings: &Settings,
    partition: u16,
    metrics: &DetectMetrics,
    component: &Component,
    over: impl Fn() -> bool,
) -> LaneEnd {
    let mut open = match OpenLane::open(settings, partition, metrics) {
        Ok(open) => open,
        Err(end) => return end.into(),
    };
    component.ready();
    match work(&mut open, component, over) {
        Ok(()) => {
            tracing::info!(service = SERVICE, partition, position = open.position(), "the lane has stopped");
            LaneEnd::Stopped
        }
        Err(end) => {
            // What the open transaction wrote must not wait for its timeout. A producer that is fenced or broken, or has no
            // transaction open, says so here, which changes nothing.
            if let (End::Retry(_) | End::Halt { .. }, Err(error)) = (&end, open.abort()) {
                tracing::debug!(service = SERVICE, partition, %error, "nothing to abort");
            }
            open.confirm(end).into()
        }
    }
}

fn work(open: &mut OpenLane<'_>, component: &Component, over: impl Fn() -> bool) -> Result<(), End> {
    let mut last_commit = Instant::now();
    while !over() {
        component.beat();
        open.take(CHUNK, Duration::from_millis(200))?;
        let progress = open.has_progress() && (last_commit.elapsed() >= CHECKPOINT || open.unsaved() >= MAX_UNSAVED);
        if open.has_findings() || progress || last_commit.elapsed() >= IDLE_COMMIT {
            open.commit()?;
            last_commit = Instant::now();
        }
        open.report(now_ms());
    }
    if open.has_progress() { open.commit() } else { Ok(()) }
}
