//! What `raw` still holds, and what its records are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use event::raw::RawHeaders;
use kafka::lane::read_all_committed;
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use serde::Serialize;

use crate::reach;

/// The group that the tools ask under; it never has a position.
const GROUP: &str = "hookline-tools";
/// How long Kafka may take to say where things are.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What `raw` holds of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// From the first offset kept to one past the last.
    pub(crate) offsets: Range<u64>,
}

/// One record of `raw`, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    pub(crate) offset: u64,
    /// `?` where the record was not written by ingest.
    pub(crate) source: String,
    /// Milliseconds since 1970.
    pub(crate) received_at: i64,
    pub(crate) receipt: String,
    pub(crate) key: String,
    pub(crate) bytes: usize,
}

/// What `raw` holds, by lane.
pub(crate) async fn kept(cluster: &Cluster, lanes: u16) -> anyhow::Result<BTreeMap<u16, Kept>> {
    let cluster = cluster.clone();
    reach::blocking(move || {
        let positions = Positions::open(&cluster, GROUP, PATIENCE)?;
        (0..lanes)
            .map(|lane| {
                let range = positions.watermarks(Topic::Raw, lane)?;
                Ok((lane, Kept { offsets: range.low as u64..range.end as u64 }))
            })
            .collect()
    })
    .await
}

/// The first `most` records of these ranges of a lane. Blocking.
pub(crate) fn records(cluster: &Cluster, lane: u16, ranges: &[Range<u64>], most: usize) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for range in ranges {
        let end = range.end.min(range.start + (most - records.len()) as u64);
        let (from, to) = (Some(range.start as i64), Some(end as i64));
        read_all_committed::<std::convert::Infallible>(cluster, Topic::Raw, lane, from, to, |record| {
            let headers = RawHeaders::from_headers(record.headers().iter());
            let unknown = || "?".to_owned();
            records.push(Record {
                offset: record.offset() as u64,
                source: headers.as_ref().map_or_else(|_| unknown(), |headers| headers.source.to_string()),
                received_at: headers.as_ref().map_or(record.timestamp_ms(), |headers| headers.received_at),
                receipt: headers.as_ref().map_or_else(|_| unknown(), |headers| headers.request_id.to_string()),
                key: String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned(),
                bytes: record.payload().unwrap_or_default().len(),
            });
            Ok(())
        })?;
        if records.len() >= most {
            break;
        }
    }
    Ok(records)
}
