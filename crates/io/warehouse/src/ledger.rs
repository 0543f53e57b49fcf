//! The conservation ledger: every offset of `raw` is one row, and a hole or a repeat is named.

use std::collections::BTreeMap;
use std::ops::Range;

use clickhouse::Row;
use event::{Column, Kind, Millis, Value};
use serde::{Deserialize, Serialize};

use crate::connect::quote;
use crate::native::{Columns, Constant};
use crate::{BlockStore, Side, Warehouse, WarehouseError};

/// A lane's books, over both databases.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct LaneLedger {
    /// The incarnation of the topics.
    pub incarnation: String,
    /// The lane.
    pub lane: u16,
    /// Rows.
    pub records: u64,
    /// Offsets that must have a row.
    pub expected: u64,
    /// Offsets without one that nobody has acknowledged as lost.
    pub missing: i64,
    /// Rows beyond the first of their offset.
    pub repeated: u64,
    /// Offsets that are gone for good, acknowledged by somebody.
    pub lost: u64,
}

/// Raw offsets of a lane that break its books, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Offsets without a row, as ranges that do not touch.
    pub missing: Vec<Range<u64>>,
    /// Offsets with more than one row, and how many they have.
    pub repeated: Vec<(u64, u64)>,
    /// Whether there are further faulty buckets beyond those that were looked into.
    pub more: bool,
}

/// A range of `raw` that is gone for good, and who has acknowledged that.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct Loss {
    /// The lane.
    pub lane: u16,
    /// The first lost offset.
    pub first_offset: u64,
    /// The last one.
    pub last_offset: u64,
    /// When it was acknowledged, milliseconds since 1970.
    pub at: i64,
    /// By whom.
    pub who: String,
    /// How it came about.
    pub why: String,
}

/// A life of the topics that has rows here.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct Life {
    /// Its incarnation.
    pub incarnation: String,
    /// Its rows, over both databases.
    pub records: u64,
    /// When the last of them was received, milliseconds since 1970.
    pub until: i64,
}

/// One past the last offset there can be: a loss up to here says that a lane ended.
pub const NO_MORE: u64 = i64::MAX as u64;

/// Ascending offsets as ranges that do not touch.
pub fn ranges(offsets: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    offsets.into_iter().for_each(|offset| join(&mut ranges, offset..offset + 1));
    ranges
}

/// Adds a range that begins at or after the end of the last one.
fn join(ranges: &mut Vec<Range<u64>>, next: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == next.start => last.end = next.end,
        _ => ranges.push(next),
    }
}

/// How far a lane is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// One past the last raw offset that is settled.
    pub end: u64,
    /// All that the lane received before it is settled, in milliseconds since 1970.
    pub through_ms: i64,
}

impl Warehouse {
    /// The books of every lane. Right when `missing` and `repeated` are 0 everywhere.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn ledger(&self) -> Result<Vec<LaneLedger>, WarehouseError> {
        let sql = format!(
            "SELECT incarnation::String AS incarnation, lane, sum(ledger.records) AS records, sum(ledger.expected) AS expected, \
             sum(ledger.missing) AS missing, sum(ledger.repeated) AS repeated, sum(ledger.lost) AS lost FROM {}.ledger AS ledger \
             GROUP BY incarnation, lane ORDER BY incarnation, lane",
            self.database(Side::Production),
        );
        self.rows("read the ledger", sql).await
    }

    /// How far each lane is settled, as `report` said last.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn settled(&self, incarnation: &str) -> Result<BTreeMap<u16, Settled>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Lane {
            lane: u16,
            raw_hi: u64,
            through_ms: i64,
        }
        let sql = format!(
            "SELECT lane, max(raw_hi) AS raw_hi, toUnixTimestamp64Milli(max(watermark)) AS through_ms FROM {}.lane_watermarks WHERE incarnation = {} GROUP BY lane",
            self.database(Side::Production),
            quote(incarnation),
        );
        let rows: Vec<Lane> = self.rows("read how far lanes are settled", sql).await?;
        Ok(rows.into_iter().map(|row| (row.lane, Settled { end: row.raw_hi, through_ms: row.through_ms })).collect())
    }

    /// What was acknowledged as lost, by lane and offset.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn losses(&self, incarnation: &str) -> Result<Vec<Loss>, WarehouseError> {
        let sql = format!(
            "SELECT lane, first_offset, last_offset, toUnixTimestamp64Milli(min(lost.at)) AS at, any(lost.who) AS who, any(lost.why) AS why \
             FROM {}.lost_records AS lost WHERE incarnation = {} GROUP BY lane, first_offset, last_offset ORDER BY lane, first_offset",
            self.database(Side::Production),
            quote(incarnation),
        );
        self.rows("read the acknowledged losses", sql).await
    }

    /// What of a lane was acknowledged as lost, from the server that has its rows.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn losses_of(&self, incarnation: &str, lane: u16) -> Result<Vec<Range<u64>>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Lost {
            first_offset: u64,
            last_offset: u64,
        }
        let sql = format!(
            "SELECT DISTINCT first_offset, last_offset FROM {} WHERE incarnation = {} AND lane = {lane} ORDER BY first_offset",
            self.own_table(Side::Production, "lost_records"),
            quote(incarnation),
        );
        let lost: Vec<Lost> = self.of_lane(lane).rows("read the acknowledged losses of a lane", sql).await?;
        Ok(lost.into_iter().map(|lost| lost.first_offset..lost.last_offset + 1).collect())
    }

    /// Writes down that somebody acknowledges these ranges of a lane as lost: the ledger no longer misses them.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: write the same again.
    pub async fn acknowledge_loss(
        &self,
        incarnation: &str,
        lane: u16,
        lost: &[Range<u64>],
        at: Millis,
        who: &str,
        why: &str,
    ) -> Result<(), WarehouseError> {
        let mut columns = Columns::new(&LOSS_COLUMNS);
        for range in lost.iter().filter(|range| !range.is_empty()) {
            let mut row = columns.row();
            row.push(Value::Short(lane));
            row.push(Value::Unsigned(range.start));
            row.push(Value::Unsigned(range.end - 1));
            row.push(Value::Time(at.0));
            row.push(Value::Text(who));
            row.push(Value::Text(why));
            row.finish()?;
        }
        let incarnation = [Constant { name: "incarnation", value: Value::Text(incarnation) }];
        // No token: the same range twice is one loss to the ledger.
        self.insert_log(self.of_lane(lane), Side::Production, "lost_records", &columns, &incarnation, "").await
    }
}

impl Warehouse {
    /// The lives of the topics that have rows, newest first.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn lives(&self) -> Result<Vec<Life>, WarehouseError> {
        let of = |side| {
            format!(
                "SELECT incarnation, count() AS n, max(received_at) AS at FROM {}.records GROUP BY incarnation",
                self.database(side)
            )
        };
        let sql = format!(
            "SELECT incarnation::String AS incarnation, sum(n) AS records, toUnixTimestamp64Milli(max(at)) AS until \
             FROM ({} UNION ALL {}) GROUP BY incarnation ORDER BY until DESC",
            of(Side::Production),
            of(Side::Test),
        );
        self.rows("look for lives of the topics", sql).await
    }

    /// The lives of which somebody has said that they are over.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn ended_lives(&self) -> Result<Vec<String>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Ended {
            incarnation: String,
        }
        let sql = format!(
            "SELECT DISTINCT incarnation::String AS incarnation FROM {}.lost_records WHERE last_offset = {}",
            self.database(Side::Production),
            NO_MORE - 1,
        );
        let rows: Vec<Ended> = self.rows("look for lives that have ended", sql).await?;
        Ok(rows.into_iter().map(|row| row.incarnation).collect())
    }

    /// Writes down that a life of the topics is over, and that somebody knows: what it had accepted beyond its rows is lost.
    /// Returns how far each lane had come.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: write the same again.
    pub async fn end_life(
        &self,
        incarnation: &str,
        at: Millis,
        who: &str,
        why: &str,
    ) -> Result<BTreeMap<u16, u64>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct End {
            lane: u16,
            raw_hi: u64,
        }
        let quoted = quote(incarnation);
        let rows = |side| {
            format!(
                "SELECT lane, max(raw_offset) + 1 AS raw_hi FROM {}.records WHERE incarnation = {quoted} GROUP BY lane",
                self.database(side)
            )
        };
        let sql = format!(
            "SELECT lane, max(raw_hi) AS raw_hi FROM ({} UNION ALL {} UNION ALL \
             SELECT lane, max(raw_hi) AS raw_hi FROM {}.lane_watermarks WHERE incarnation = {quoted} GROUP BY lane) GROUP BY lane",
            rows(Side::Production),
            rows(Side::Test),
            self.database(Side::Production),
        );
        let ends: Vec<End> = self.rows("look up how far lanes had come", sql).await?;
        for End { lane, raw_hi } in &ends {
            let rest = *raw_hi..NO_MORE;
            self.acknowledge_loss(incarnation, *lane, std::slice::from_ref(&rest), at, who, why).await?;
        }
        Ok(ends.into_iter().map(|end| (end.lane, end.raw_hi)).collect())
    }
}

static LOSS_COLUMNS: [Column; 6] = [
    Column { name: "lane", kind: Kind::Short, doc: "" },
    Column { name: "first_offset", kind: Kind::Unsigned, doc: "" },
    Column { name: "last_offset", kind: Kind::Unsigned, doc: "" },
    Column { name: "at", kind: Kind::Time, doc: "" },
    Column { name: "who", kind: Kind::Text, doc: "" },
    Column { name: "why", kind: Kind::Text, doc: "" },
];

impl BlockStore {
    /// Names the offsets behind a lane's `missing` and `repeated`, out of its first `buckets` faulty buckets of 65,536 offsets.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn faults(&self, incarnation: &str, lane: u16, buckets: usize) -> Result<Faults, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Bucket {
            first_offset: u64,
            last_offset: u64,
        }
        let sql = format!(
            "SELECT first_offset, last_offset FROM {}.ledger WHERE incarnation = {} AND lane = {lane} \
             AND (missing != 0 OR repeated != 0) ORDER BY bucket LIMIT {}",
            self.warehouse.database(Side::Production),
            quote(incarnation),
            buckets + 1,
        );
        let found = self.warehouse.rows::<Bucket>("look for faults", sql).await?;
        let lost = self.warehouse.losses_of(incarnation, lane).await?;
        let mut faults = Faults { more: found.len() > buckets, ..Faults::default() };
        for Bucket { first_offset, last_offset } in found.into_iter().take(buckets) {
            let present = self.read_back(incarnation, lane, first_offset..last_offset + 1, None).await?;
            let acknowledged = |offset: u64| lost.iter().any(|range| range.contains(&offset));
            let missing =
                (first_offset..=last_offset).filter(|offset| !present.contains_key(offset) && !acknowledged(*offset));
            ranges(missing).into_iter().for_each(|range| join(&mut faults.missing, range));
            faults
                .repeated
                .extend(present.iter().filter(|(_, count)| **count > 1).map(|(offset, count)| (*offset, *count)));
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_the_offsets_that_they_were_made_of_and_no_other(offsets in proptest::collection::btree_set(0_u64..200, 0..120)) {
            let ranges = ranges(offsets.iter().copied());
            prop_assert_eq!(ranges.iter().cloned().flatten().collect::<Vec<_>>(), offsets.into_iter().collect::<Vec<_>>());
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
