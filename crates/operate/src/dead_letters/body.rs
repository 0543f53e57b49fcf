//! The bytes of dead letters, from their topic.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use event::{DeadLetter, lane};
use kafka::lane::{ScanError, read_all_committed};
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use warehouse::DeadLetterRow;

use crate::{Error, GROUP, Installation, KAFKA_TIMEOUT, Result, blocking};

/// A dead letter is written after its record was received, by a clock that may differ from the receiver's.
const SLACK_MS: i64 = 3_600_000;

/// A record of `dead-letters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterBody {
    /// Those of the raw record, and where and why it was set aside.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The bytes as they came.
    pub body: Vec<u8>,
}

impl DeadLetterBody {
    /// The headers as the readers of records want them.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// When the letters of records that were received from `first` to `last` were written: at once, or as late as `raw` was
/// read. Twice its retention, since Kafka deletes whole segments, and those later than they are due.
fn written((first, last): (i64, i64), raw_kept: Duration) -> Range<i64> {
    let latest = i64::try_from(raw_kept.as_millis()).unwrap_or(i64::MAX).saturating_mul(2);
    first.saturating_sub(SLACK_MS)..last.saturating_add(latest).saturating_add(SLACK_MS)
}

/// The letters of these rows, by lane and offset; those that the topic no longer holds are left out.
pub(super) async fn fetch(
    installation: &Installation,
    rows: &[DeadLetterRow],
) -> Result<HashMap<(u16, u64), DeadLetterBody>> {
    let partitions = installation.plan.partitions(Topic::DeadLetters);
    let mut wanted = BTreeMap::<u16, ((i64, i64), HashSet<(u16, u64)>)>::new();
    for row in rows {
        let partition = lane::of_name(&row.source, partitions);
        let ((first, last), letters) = wanted.entry(partition).or_insert(((i64::MAX, i64::MIN), HashSet::new()));
        (*first, *last) = ((*first).min(row.received_at), (*last).max(row.received_at));
        letters.insert((row.lane, row.raw_offset));
    }
    let (cluster, raw_kept) = (installation.cluster.clone(), installation.plan.raw_retention);
    blocking(move || {
        let positions = Positions::open(&cluster, GROUP, KAFKA_TIMEOUT)?;
        let mut found = HashMap::new();
        for (partition, (received, letters)) in wanted {
            let written = written(received, raw_kept);
            let at = |time| positions.offset_at(Topic::DeadLetters, partition, time);
            let Some(from) = at(written.start)? else { continue };
            // Where letters are older than the topic, both ends are its first record: there is nothing to be read.
            let to = at(written.end)?;
            if to.is_none_or(|to| from < to) {
                scan(&cluster, partition, (from, to), letters, &mut found)?;
            }
        }
        Ok(found)
    })
    .await
}

/// Everything that was wanted has been found.
#[derive(Debug)]
struct Found;

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("everything was found")
    }
}

fn scan(
    cluster: &Cluster,
    partition: u16,
    (from, to): (i64, Option<i64>),
    mut wanted: HashSet<(u16, u64)>,
    found: &mut HashMap<(u16, u64), DeadLetterBody>,
) -> Result<()> {
    let scanned = read_all_committed(cluster, Topic::DeadLetters, partition, Some(from), to, |record| {
        let Some(place) = DeadLetter::from_headers(record.headers().iter()) else { return Ok(()) };
        let place = (place.lane, place.offset);
        if wanted.remove(&place) {
            let headers = record.headers().iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
            found.insert(place, DeadLetterBody { headers, body: record.payload().unwrap_or_default().to_vec() });
        }
        if wanted.is_empty() { Err(Found) } else { Ok(()) }
    });
    match scanned {
        Ok(_) | Err(ScanError::Caller(Found)) => Ok(()),
        Err(error) => Err(Error::Engine(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_looked_for_where_they_can_have_been_written() {
        const DAY: i64 = 86_400_000;
        let kept = Duration::from_secs(7 * 86_400);
        let written = written((100 * DAY, 101 * DAY), kept);
        assert!(written.contains(&(100 * DAY - 60_000)), "by a clock that is behind");
        assert!(
            written.contains(&(101 * DAY + 8 * DAY)),
            "of a lane that stood still, from a segment that was deleted late"
        );
        // A topic that begins thirty days later has none of them, and none of it is read.
        assert!(written.end < 131 * DAY);
        assert_eq!(super::written((i64::MIN, i64::MAX), Duration::MAX), i64::MIN..i64::MAX, "whatever a row says");
    }
}
