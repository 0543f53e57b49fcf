//! What `raw` still holds, and what its records are.

use std::collections::BTreeMap;
use std::convert::Infallible;

use event::raw::RawHeaders;
use kafka::lane::read_all_committed;
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use serde::Serialize;

use crate::{GROUP, KAFKA_TIMEOUT, OffsetRange, Result, blocking};

/// What `raw` holds of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The first offset kept.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

/// One record of `raw`, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its offset.
    pub offset: u64,
    /// Its source; `?` where the record was not written by ingest.
    pub source: String,
    /// When it was received, in milliseconds since 1970.
    pub received_at: i64,
    /// The receipt that its sender was given; `?` where the record was not written by ingest.
    pub receipt: String,
    /// Its event key.
    pub key: String,
    /// How many bytes it has.
    pub bytes: usize,
}

/// What `raw` holds, by lane.
pub(crate) async fn kept(cluster: &Cluster, lanes: u16) -> Result<BTreeMap<u16, Kept>> {
    let cluster = cluster.clone();
    blocking(move || {
        let positions = Positions::open(&cluster, GROUP, KAFKA_TIMEOUT)?;
        (0..lanes)
            .map(|lane| {
                let range = positions.watermarks(Topic::Raw, lane)?;
                Ok((lane, Kept { from: range.low as u64, to: range.end as u64 }))
            })
            .collect()
    })
    .await
}

/// The first `most` records of these ranges of a lane. Blocking.
pub(super) fn records(cluster: &Cluster, lane: u16, ranges: &[OffsetRange], most: usize) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for OffsetRange(range) in ranges {
        let end = range.end.min(range.start + (most - records.len()) as u64);
        let (from, to) = (Some(range.start as i64), Some(end as i64));
        read_all_committed::<Infallible>(cluster, Topic::Raw, lane, from, to, |record| {
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
