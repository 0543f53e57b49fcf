//! The records that are meant: by receipt, by event key, or by their place.

use std::convert::Infallible;
use std::fmt;

use event::raw::RawHeaders;
use kafka::Topic;
use kafka::lane::read_all_committed;
use serde_json::Value;
use warehouse::Side;

use super::columns::{self, Columns};
use super::{Explained, Explainer};
use crate::ledger::raw;
use crate::{Result, blocking};

/// Events that are explained at once.
const MOST: usize = 50;
/// Records without a row that are looked through for a receipt or a key, in each lane.
const LOOKED_THROUGH: u64 = 100_000;

/// Which stored events are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// A receipt (`request_id`) or an event key.
    Id(String),
    /// A record of `raw`.
    Record(u16, u64),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => f.write_str(id),
            Self::Record(lane, offset) => write!(f, "{lane}:{offset}"),
        }
    }
}

/// The events, explained, and what to do next.
pub(super) async fn explain(explainer: &Explainer, selector: &Selector) -> Result<(Vec<Explained>, Vec<String>)> {
    let mut places: Vec<(String, u16, u64)> = match selector {
        Selector::Record(lane, offset) => vec![(explainer.control.incarnation.clone(), *lane, *offset)],
        Selector::Id(id) => by_id(explainer, id).await?,
    };
    let flag = explainer.installation.flag();
    let mut next = Vec::new();
    if let (true, Selector::Id(id)) = (places.is_empty(), selector) {
        places = unsettled(explainer, id).await?;
        if places.is_empty() {
            next.push(format!(
                "no row and no waiting record has this receipt or event key (receipts are kept for 30 days). Was it answered 202? \
                 hookline verify says why a request is refused: hookline verify --request FILE {flag}"
            ));
        }
    }
    if places.len() > MOST {
        next.push(format!("{} events have it; the first {MOST} are explained", places.len()));
        places.truncate(MOST);
    }
    let kept = raw::kept(&explainer.installation.cluster, explainer.control.lanes).await?;
    let mut events = Vec::new();
    for (incarnation, lane, offset) in places {
        let is_kept = kept.get(&lane).is_some_and(|kept| (kept.from..kept.to).contains(&offset));
        if is_kept && incarnation == explainer.control.incarnation {
            events.extend(explainer.range(lane, offset..offset + 1).await?);
            continue;
        }
        let rows = columns::stored(&explainer.warehouse, &incarnation, lane, offset..offset + 1).await?;
        let gone: Vec<&Columns> = rows.values().collect();
        if gone.is_empty() {
            next.push(format!("lane {lane} has no record at offset {offset} and no row of it: hookline ledger {flag}"));
        }
        events.extend(gone.into_iter().map(|row| explainer.of_row(lane, row)));
    }
    Ok((events, next))
}

async fn by_id(explainer: &Explainer, id: &str) -> Result<Vec<(String, u16, u64)>> {
    let sql = "SELECT incarnation::String AS incarnation, lane, raw_offset FROM where_is \
               WHERE event_key = {id:String} OR request_id = {id:String} ORDER BY where_is.received_at, raw_offset LIMIT 1000";
    let rows = explainer.warehouse.query(Side::Production, sql, &[("id", id)]).await?;
    let place = |row: Columns| {
        let incarnation = row.get("incarnation")?.as_str()?.to_owned();
        let lane = row.get("lane").and_then(Value::as_u64)?;
        Some((incarnation, lane.try_into().ok()?, row.get("raw_offset")?.as_u64()?))
    };
    Ok(rows.into_iter().filter_map(place).collect())
}

/// Records that have no row yet.
async fn unsettled(explainer: &Explainer, id: &str) -> Result<Vec<(String, u16, u64)>> {
    let incarnation = explainer.control.incarnation.clone();
    let settled = explainer.warehouse.settled(&incarnation).await?;
    let kept = raw::kept(&explainer.installation.cluster, explainer.control.lanes).await?;
    let (cluster, id) = (explainer.installation.cluster.clone(), id.to_owned());
    blocking(move || {
        let mut found = Vec::new();
        for (lane, kept) in kept {
            let from = settled.get(&lane).map_or(0, |lane| lane.end).clamp(kept.from, kept.to);
            let to = kept.to.min(from + LOOKED_THROUGH);
            read_all_committed::<Infallible>(
                &cluster,
                Topic::Raw,
                lane,
                Some(from as i64),
                Some(to as i64),
                |record| {
                    let headers = RawHeaders::from_headers(record.headers().iter());
                    let has_receipt = headers.is_ok_and(|headers| headers.request_id == id);
                    if has_receipt || record.key() == Some(id.as_bytes()) {
                        found.push((incarnation.clone(), lane, record.offset() as u64));
                    }
                    Ok(())
                },
            )?;
        }
        Ok(found)
    })
    .await
}
