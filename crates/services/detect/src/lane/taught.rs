//! What rules have learned elsewhere, put into the state of a lane.
//!
//! The state that a lane restores is where it goes: under the lane's fence, so that a detector that runs is out, and
//! takes its lane back with what it was taught. Position and lanes stay as they were: only what keys have learned is
//! written.

use std::collections::HashMap;

use kafka::Topic;
use kafka::lane::{End, Fence, NO_HEADERS, Position, Writes, read_all_committed};
use kafka::positions::Positions;
use rules::{Change, Detector};

use super::open::{GROUP, PATIENCE, PROGRESS, TRANSACTION_TIMEOUT, broken, progress_of};
use crate::{SERVICE, Settings};

/// Records of one transaction.
const AT_ONCE: usize = 20_000;

/// What a lane has in its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Up to when its rules are evaluated, in milliseconds since 1970; none before all lanes have spoken.
    pub watermark: Option<i64>,
    /// The last value under each key.
    pub records: HashMap<Vec<u8>, Vec<u8>>,
}

/// Reads the state of a partition of `signals` without a fence; none if its detector has never committed any.
///
/// # Errors
/// When Kafka does not answer, or the state cannot be read.
pub fn known(settings: &Settings, partition: u16) -> Result<Option<Known>, End> {
    Ok(read(settings, partition)?.map(|(_, _, known)| known))
}

/// Writes records of rules that learn into the state of a partition, in fenced transactions.
///
/// # Errors
/// When Kafka does not answer, the lane has no state yet, or its detector has taken it back in between: then nothing
/// of the last transaction is written, and it can be done again.
pub fn teach(settings: &Settings, partition: u16, records: &[Change]) -> Result<(), End> {
    let writes = Writes::records([(Topic::DetectorState, partition)]).positions(GROUP);
    let mut producer = Fence::open(&settings.cluster, SERVICE, partition, TRANSACTION_TIMEOUT, writes)?;
    let positions = Positions::open(&settings.cluster, GROUP, PATIENCE)?;
    let Some((signals, lanes, _)) = read(settings, partition)? else {
        return Err(End::Retry(format!("partition {partition} of {} holds no state yet", Topic::DetectorState)));
    };
    let committed = positions.committed_behind_fence(Topic::Signals, partition)?.map(|committed| committed.next);
    // Where the two disagree, the lane itself decides when it opens. It must find them as they are.
    let next = committed.unwrap_or(signals);
    for records in records.chunks(AT_ONCE) {
        producer.begin()?;
        for Change { key, value } in records {
            producer.send(Topic::DetectorState, partition, Some(key), value.as_deref(), NO_HEADERS)?;
        }
        let header = [("signals", signals.to_string())];
        producer.send(Topic::DetectorState, partition, Some(PROGRESS), Some(&lanes), &header)?;
        producer.commit(GROUP, &[Position { topic: Topic::Signals, partition, next, metadata: String::new() }])?;
    }
    Ok(())
}

/// The position that the state includes, how far the lanes had come, and the rest.
fn read(settings: &Settings, partition: u16) -> Result<Option<(i64, Vec<u8>, Known)>, End> {
    let mut known = Known::default();
    let mut progress = None;
    read_all_committed(&settings.cluster, Topic::DetectorState, partition, None, None, |record| {
        let key = record.key().unwrap_or_default();
        match record.payload() {
            Some(lanes) if key == PROGRESS => progress = Some((progress_of(record)?, lanes.to_vec())),
            Some(value) => drop(known.records.insert(key.to_vec(), value.to_vec())),
            None => drop(known.records.remove(key)),
        }
        Ok(())
    })?;
    let Some((signals, lanes)) = progress else { return Ok(None) };
    let mut empty = Detector::new(&[], settings.plan.lanes);
    empty.restore_lanes(&lanes).map_err(|error| broken(error.to_string()))?;
    known.watermark = empty.watermark();
    Ok(Some((signals, lanes, known)))
}
