//! One lane: fence, restore, then transactions until something ends it.

mod open;
mod tally;
mod traced;
mod transaction;

use std::time::{Duration, Instant};

use kafka::lane::End;
use runtime::clock::{monotonic_ms, now_ms};
use runtime::lanes::LaneEnd;
use runtime::{Component, HaltReason, Shutdown};

use crate::clock::Reading;
use crate::metrics::ProcessMetrics;
use crate::{SERVICE, Settings};
use open::OpenLane;

/// How long records are gathered into one transaction: a transaction costs the broker about 6 ms, so fewer, larger ones.
const CADENCE: Duration = Duration::from_millis(100);
/// Records after which a transaction is committed before its time.
const MAX_RECORDS: u64 = 5_000;
/// Records taken from the reader at once.
const CHUNK: usize = 1_000;
/// An idle lane commits at least this often: its watermark moves on, and its position never expires.
const IDLE_COMMIT: Duration = Duration::from_secs(10);

/// Runs a lane until the stop is given or it cannot go on.
pub(crate) fn run(
    settings: &Settings,
    lane: u16,
    metrics: &ProcessMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> LaneEnd {
    let mut open = match OpenLane::open(settings, lane, metrics, shutdown) {
        Ok(open) => open,
        Err(end) => return end.into(),
    };
    component.ready();
    let ended = at_work(&mut open, component, shutdown);
    if lane == 0 && matches!(ended, LaneEnd::Stopped | LaneEnd::Fenced) {
        settings.links.release();
    }
    ended
}

fn at_work(open: &mut OpenLane<'_>, component: &Component, shutdown: &Shutdown) -> LaneEnd {
    let lane = open.lane;
    match work(open, component, shutdown) {
        Ok(()) => {
            tracing::info!(service = SERVICE, lane, position = open.position(), "the lane has stopped");
            LaneEnd::Stopped
        }
        Err(end) => {
            // What was gathered must not wait for the transaction's timeout. One that failed while it was committed is left
            // to the next fence, which ends it. A producer that is fenced or broken says so again, which changes nothing.
            if let (End::Retry(_) | End::Halt { .. }, Err(error)) = (&end, open.abort()) {
                tracing::debug!(service = SERVICE, lane, %error, "nothing to abort");
            }
            if let End::Halt { reason: HaltReason::Fuse, .. } = &end
                && let Err(error) = open.end_block(shutdown)
            {
                tracing::warn!(service = SERVICE, lane, %error, "the rows since the last cut wait for the next start");
            }
            open.producer.confirm(end).into()
        }
    }
}

fn work(open: &mut OpenLane<'_>, component: &Component, shutdown: &Shutdown) -> Result<(), End> {
    // The first transaction is there to hear the broker's time.
    let mut last_commit = None::<Instant>;
    while !shutdown.is_stopping() {
        component.beat();
        open.follow_decisions();
        if open.lane == 0 {
            open.settings.links.claim();
        }
        let wait = open.next_deadline(now_ms()).min(Duration::from_millis(200));
        if open.gather(wait, CADENCE, MAX_RECORDS, CHUNK)?
            || open.is_due(now_ms())
            || last_commit.is_none_or(|last| last.elapsed() > IDLE_COMMIT)
        {
            open.commit()?;
            last_commit = Some(Instant::now());
        }
    }
    Ok(())
}

/// Both clocks, for what must not follow one that jumps.
fn reading() -> Reading {
    Reading { wall_ms: now_ms(), monotonic_ms: monotonic_ms() }
}
