//! The bytes of dead letters, from their topic.

use std::collections::{BTreeMap, HashMap, HashSet};

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

/// The letters of these rows, by lane and offset; those that the topic no longer holds are left out.
pub(super) async fn fetch(
    installation: &Installation,
    rows: &[DeadLetterRow],
) -> Result<HashMap<(u16, u64), DeadLetterBody>> {
    let partitions = installation.plan.partitions(Topic::DeadLetters);
    let mut wanted = BTreeMap::<u16, (i64, HashSet<(u16, u64)>)>::new();
    for row in rows {
        let partition = lane::of_name(&row.source, partitions);
        let (since, letters) = wanted.entry(partition).or_insert((i64::MAX, HashSet::new()));
        *since = (*since).min(row.received_at);
        letters.insert((row.lane, row.raw_offset));
    }
    let cluster = installation.cluster.clone();
    blocking(move || {
        let positions = Positions::open(&cluster, GROUP, KAFKA_TIMEOUT)?;
        let mut found = HashMap::new();
        for (partition, (since, letters)) in wanted {
            if let Some(from) = positions.offset_at(Topic::DeadLetters, partition, since - SLACK_MS)? {
                scan(&cluster, partition, from, letters, &mut found)?;
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
    from: i64,
    mut wanted: HashSet<(u16, u64)>,
    found: &mut HashMap<(u16, u64), DeadLetterBody>,
) -> Result<()> {
    let scanned = read_all_committed(cluster, Topic::DeadLetters, partition, Some(from), None, |record| {
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
