//! Reading what a partition holds now, and knowing when that was all.

use std::time::{Duration, Instant};

use rdkafka::topic_partition_list::Offset;

use super::End;
use super::reader::{Isolation, LaneReader, ReadError, Step};
use super::record::Record;
use crate::cluster::Cluster;
use crate::positions;
use crate::topics::Topic;

/// How long a scan waits for a partition that gives nothing, not even its end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a broker holds a fetch that has nothing to give: a scan is over soon, and asks twice at its end.
const IDLE_FETCH: Duration = Duration::from_millis(10);

/// What a scan has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanned {
    /// Records shown.
    pub records: u64,
    /// The offset of the last record shown.
    pub last: Option<i64>,
    /// One past the range that was read, gaps included: `to`, or the last stable offset when the scan began.
    pub end: i64,
}

/// Why a scan is not complete.
#[derive(Debug, thiserror::Error)]
pub enum ScanError<E> {
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The partition gave nothing for too long.
    #[error("{topic}/{partition} gave nothing for {waited:?} at offset {at}, before the end of the scan at {end}")]
    Stalled {
        /// Which topic.
        topic: Topic,
        /// Which partition.
        partition: u16,
        /// The next offset.
        at: i64,
        /// The end of the scan.
        end: i64,
        /// How long.
        waited: Duration,
    },
    /// The caller's own error, from the record it was shown.
    #[error("{0}")]
    Caller(E),
}

/// The first committed record at or after `from` (or at the start of the log, if that is later), as `take` sees it. `None` when
/// there is none.
///
/// # Errors
/// When reading fails or stalls.
pub fn first_committed<T>(
    cluster: &Cluster,
    topic: Topic,
    partition: u16,
    from: i64,
    take: impl Fn(&Record<'_>) -> T,
) -> Result<Option<T>, ScanError<End>> {
    let log = LaneReader::unassigned(cluster, topic, partition, Isolation::Committed, IDLE_FETCH)?;
    let range = positions::range(log.consumer(), topic, partition, PATIENCE).map_err(ReadError::from)?;
    match read_all_committed(cluster, topic, partition, Some(from.max(range.low)), None, |record| Err(take(record))) {
        Ok(_) => Ok(None),
        Err(ScanError::Caller(found)) => Ok(Some(found)),
        Err(ScanError::Read(error)) => Err(ScanError::Read(error)),
        Err(ScanError::Stalled { topic, partition, at, end, waited }) => {
            Err(ScanError::Stalled { topic, partition, at, end, waited })
        }
    }
}

/// Shows every committed record of a partition from `from` up to, but not including, `to`.
///
/// `from: None` is the start of the log (for compacted topics); an offset below the start is [`ReadError::OutOfRange`].
/// `to: None` is the last stable offset now: take the fences of those who write first, or what they have open is not shown.
/// Transaction markers and aborted records leave gaps in the offsets, at the end as well: the scan is complete only when the
/// broker says that there is nothing more below the end.
///
/// # Errors
/// When reading fails or stalls, or `each` fails.
pub fn read_all_committed<E>(
    cluster: &Cluster,
    topic: Topic,
    partition: u16,
    from: Option<i64>,
    to: Option<i64>,
    mut each: impl FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<Scanned, ScanError<E>> {
    let reader = LaneReader::unassigned(cluster, topic, partition, Isolation::Committed, IDLE_FETCH)?;
    let stable = || positions::range(reader.consumer(), topic, partition, super::PATIENCE).map_err(ReadError::from);
    let range = stable()?;
    let end = to.unwrap_or(range.end);
    let start = from.unwrap_or(range.low);
    let mut scanned = Scanned { records: 0, last: None, end };
    if start >= end && from.is_none_or(|from| from >= range.low) {
        return Ok(scanned);
    }
    reader.set_next(start);
    reader.assign(from.map_or(Offset::Beginning, Offset::Offset))?;
    let mut patience = Instant::now() + PATIENCE;
    // The end was reached, with markers or aborted records before it: said once, and again after the broker repeated that the
    // stable offset is past our end. A replica that became leader a moment ago may know less than the one before.
    let mut said_once = false;
    loop {
        match reader.step(Duration::from_millis(200))? {
            Step::Record(record) => {
                let offset = record.offset();
                if offset >= end {
                    return Ok(scanned);
                }
                each(&record).map_err(ScanError::Caller)?;
                scanned.records += 1;
                scanned.last = Some(offset);
                if offset + 1 >= end {
                    return Ok(scanned);
                }
                said_once = false;
                patience = Instant::now() + PATIENCE;
            }
            Step::End if said_once => return Ok(scanned),
            Step::End => {
                if stable()?.end >= end {
                    said_once = true;
                    reader.assign(Offset::Offset(reader.position()))?;
                }
            }
            Step::Nothing if Instant::now() >= patience => {
                return Err(ScanError::Stalled { topic, partition, at: reader.position(), end, waited: PATIENCE });
            }
            Step::Nothing => {}
        }
    }
}
