//! One partition of `alerts`: fence, restore, then take alerts and tell what becomes of them.

mod open;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::lane::End;
use runtime::clock::now_ms;
use runtime::lanes::LaneEnd;
use runtime::{Component, Live, Shutdown};
use tokio::runtime::Handle;

use crate::live::LiveSwitches;
use crate::metrics::NotifyMetrics;
use crate::{SERVICE, Settings};
use open::OpenLane;

/// How long the lane waits for alerts before it looks at outcomes and the clock.
const TURN: Duration = Duration::from_millis(100);
/// How long alerts that wait for a later message may stay uncommitted: they are cheaper to write together.
const HOLD: Duration = Duration::from_secs(1);
/// Alerts after which they are committed before that, so that what is held of them fits a record.
const MAX_UNSAVED: usize = 2_500;
/// Alerts taken at once.
const CHUNK: usize = 2_500;
/// An idle lane commits at least this often, so that its position never expires.
const IDLE_COMMIT: Duration = Duration::from_secs(3_600);
/// How long a stop waits for answers of destinations; what has none then is sent again by the next owner.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a lane until the stop is given or it cannot go on.
pub(crate) fn run(
    settings: &Live<Settings>,
    partition: u16,
    handle: &Handle,
    metrics: &NotifyMetrics,
    switches: &Arc<LiveSwitches>,
    component: &Component,
    shutdown: &Shutdown,
) -> LaneEnd {
    let mut open = match OpenLane::open(settings, partition, handle, metrics, switches) {
        Ok(open) => open,
        Err(end) => return end.into(),
    };
    component.ready();
    match work(&mut open, component, shutdown) {
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

fn work(open: &mut OpenLane<'_>, component: &Component, shutdown: &Shutdown) -> Result<(), End> {
    let mut last_commit = Instant::now();
    while !shutdown.is_stopping() {
        component.beat();
        open.follow_switches();
        open.follow_settings();
        open.follow_calendar(now_ms());
        open.take(CHUNK, TURN, now_ms())?;
        open.collect()?;
        let saved = last_commit.elapsed();
        let waited = (open.has_news() && saved >= HOLD) || open.unsaved() >= MAX_UNSAVED;
        if open.is_due(now_ms()) || waited || (open.has_progress() && saved >= HOLD * 10) || saved >= IDLE_COMMIT {
            open.commit(now_ms())?;
            last_commit = Instant::now();
        }
        open.report(now_ms());
    }
    let deadline = Instant::now() + GRACE;
    open.close();
    while !open.is_quiet() && Instant::now() < deadline {
        kafka::lane::pause("the answers of destinations", Duration::from_millis(10));
    }
    open.collect()?;
    open.commit(now_ms())
}
