//! The shell of a lane: what all stages do alike, whatever they read and write.
//!
//! It takes the fence and puts it where the stage writes, lets the stage read what its predecessor left, works turn by
//! turn until the stop, commits an idle lane now and then, aborts what an error leaves open, and lets only the proven
//! owner of a lane halt it. What comes after an end is the watch's ([`runtime::LaneSet`]): the pauses, and standing
//! still. A [`Stage`] supplies what differs.

use std::time::{Duration, Instant};

use runtime::{Component, End, HaltReason};

use super::{Fence, LaneProducer, TxnError, Writes};
use crate::cluster::Cluster;

/// A transaction that takes longer is aborted by the broker, and its lane fenced.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker is asked for positions.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// An idle lane commits at least this often, so that its position never expires.
const IDLE_COMMIT: Duration = Duration::from_secs(3_600);

/// Which lane of which stage is to run, and where it writes.
#[derive(Debug)]
pub struct Lane<'a> {
    /// The Kafka that the lane is on.
    pub cluster: &'a Cluster,
    /// The stage's name: in the fence's id, in health, in the log.
    pub stage: &'static str,
    /// The lane, or the partition.
    pub number: u16,
    /// All that it writes.
    pub writes: Writes,
}

/// A lane at work: what one stage does with it.
pub trait Stage {
    /// An idle lane commits at least this often.
    const IDLE_COMMIT: Duration = IDLE_COMMIT;

    /// One past the last record of the input that is committed.
    fn position(&self) -> i64;

    /// Takes what has come, waits a moment for it, and commits if something is due. Whether it committed.
    /// `last_commit` is when it last did, or was opened.
    ///
    /// # Errors
    /// What ends the lane.
    fn turn(&mut self, producer: &mut LaneProducer, last_commit: Instant) -> Result<bool, End>;

    /// Commits, whether there is something to say or not.
    ///
    /// # Errors
    /// What ends the lane.
    fn commit(&mut self, producer: &mut LaneProducer) -> Result<(), End>;

    /// The stop is given: commits what must not wait for the next owner.
    ///
    /// # Errors
    /// What ends the lane.
    fn finish(&mut self, _producer: &mut LaneProducer) -> Result<(), End> {
        Ok(())
    }

    /// Ends the open transaction without a trace, after an error that was not a fence.
    ///
    /// # Errors
    /// When the producer is fenced or broken, or has no transaction open: which changes nothing, unless it is fenced.
    fn abort(&mut self, producer: &mut LaneProducer) -> Result<(), TxnError> {
        producer.abort()
    }

    /// The lane is about to halt, and its transaction is aborted: what must not wait until an operator has looked.
    /// `is_over` says whether the stop is given meanwhile.
    fn halting(&mut self, _producer: &mut LaneProducer, _reason: HaltReason, _is_over: impl Fn() -> bool) {}

    /// The lane has ended like this, and what it holds is let go.
    fn ended(&mut self, _end: &Result<(), End>) {}
}

/// Runs a lane until `is_over`, or until it cannot go on. `open` is called once the fence is taken, and reads what the
/// predecessor left.
///
/// # Errors
/// Why the lane ended before it was over.
pub fn run<S: Stage>(
    lane: Lane<'_>,
    component: &Component,
    is_over: impl Fn() -> bool,
    open: impl FnOnce(&LaneProducer) -> Result<S, End>,
) -> Result<(), End> {
    let Lane { cluster, stage: service, number: lane, writes } = lane;
    let mut producer = Fence::open(cluster, service, lane, TRANSACTION_TIMEOUT, writes)?;
    let mut stage = open(&producer).map_err(|end| producer.confirm(end))?;
    component.ready();
    let ended = match work(&mut stage, &mut producer, component, &is_over) {
        Ok(()) => {
            tracing::info!(service, lane, position = stage.position(), "the lane has stopped");
            Ok(())
        }
        Err(end) => Err(give_up(&mut stage, &mut producer, (service, lane), &is_over, end)),
    };
    stage.ended(&ended);
    ended
}

fn work<S: Stage>(
    stage: &mut S,
    producer: &mut LaneProducer,
    component: &Component,
    is_over: impl Fn() -> bool,
) -> Result<(), End> {
    let mut last_commit = Instant::now();
    while !is_over() {
        component.beat();
        let mut committed = stage.turn(producer, last_commit)?;
        if !committed && last_commit.elapsed() > S::IDLE_COMMIT {
            stage.commit(producer)?;
            committed = true;
        }
        if committed {
            last_commit = Instant::now();
        }
    }
    stage.finish(producer)
}

/// What becomes of a lane that met an end.
fn give_up<S: Stage>(
    stage: &mut S,
    producer: &mut LaneProducer,
    (service, lane): (&str, u16),
    is_over: impl Fn() -> bool,
    end: End,
) -> End {
    if matches!(end, End::Fenced) {
        return end;
    }
    // What the open transaction wrote must not wait for its timeout. A producer that is fenced or broken, or has no
    // transaction open, says so here.
    match stage.abort(producer) {
        Ok(()) => {}
        Err(TxnError::Fenced { .. }) => return End::Fenced,
        Err(error) => tracing::debug!(service, lane, %error, "nothing to abort"),
    }
    if let End::Halt { reason, .. } = &end {
        stage.halting(producer, *reason, is_over);
    }
    producer.confirm(end)
}
