//! One lane: restore, then transactions until something ends it.

mod open;
mod transaction;

use std::time::{Duration, Instant};

use kafka::lane::{End, Lane, LaneProducer, Stage, TxnError};
use runtime::clock::now_ms;
use runtime::{Component, HaltReason, Shutdown};

use crate::metrics::ProcessMetrics;
use crate::{SERVICE, Settings};
use open::OpenLane;

/// How long records are gathered into one transaction: a transaction costs the broker about 6 ms, so fewer, larger ones.
const CADENCE: Duration = Duration::from_millis(100);
/// Records after which a transaction is committed before its time.
const MAX_RECORDS: u64 = 5_000;
/// Records taken from the reader at once.
const CHUNK: usize = 1_000;

/// Runs a lane until the stop is given or it cannot go on.
pub(crate) fn run(
    settings: &Settings,
    lane: u16,
    metrics: &ProcessMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    let writes = open::written_to(settings, lane);
    let at = Lane { cluster: &settings.cluster, stage: SERVICE, number: lane, writes };
    let open = |_: &LaneProducer| OpenLane::open(settings, lane, metrics, shutdown);
    kafka::lane::run(at, component, || shutdown.is_stopping(), open)
}

impl Stage for OpenLane<'_> {
    /// Its watermark moves on with it.
    const IDLE_COMMIT: Duration = Duration::from_secs(10);

    fn position(&self) -> i64 {
        self.advance.committed().seen.raw_hi as i64
    }

    fn turn(&mut self, producer: &mut LaneProducer, _last_commit: Instant) -> Result<bool, End> {
        self.follow_decisions();
        if self.lane == 0 {
            self.settings.links.claim();
        }
        let wait = self.next_deadline(now_ms()).min(Duration::from_millis(200));
        // The first transaction is there to hear the broker's time.
        let due = self.gather(producer, wait, CADENCE, MAX_RECORDS, CHUNK)?
            || self.is_due(now_ms())
            || !self.clock.is_heard();
        if due {
            self.commit(producer)?;
        }
        Ok(due)
    }

    fn commit(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        self.commit_transaction(producer)
    }

    fn abort(&mut self, producer: &mut LaneProducer) -> Result<(), TxnError> {
        self.abort_transaction(producer)
    }

    fn halting(&mut self, producer: &mut LaneProducer, reason: HaltReason, is_over: impl Fn() -> bool) {
        if reason == HaltReason::Fuse
            && let Err(error) = self.end_block(producer, is_over)
        {
            let lane = self.lane;
            tracing::warn!(service = SERVICE, lane, %error, "the rows since the last cut wait for the next start");
        }
    }

    fn ended(&mut self, end: &Result<(), End>) {
        if self.lane == 0 && matches!(end, Ok(()) | Err(End::Fenced)) {
            self.settings.links.release();
        }
    }
}
