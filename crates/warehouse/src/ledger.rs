//! The conservation ledger: every offset of `raw` is one row, and a hole or a repeat is named.

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
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
    /// Offsets without one.
    pub missing: i64,
    /// Rows beyond the first of their offset.
    pub repeated: u64,
}

/// Raw offsets of a lane that break its books, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Offsets without a row.
    pub missing: Vec<u64>,
    /// Offsets with more than one.
    pub repeated: Vec<u64>,
}

impl Warehouse {
    /// The books of every lane. Right when `missing` and `repeated` are 0 everywhere.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn ledger(&self) -> Result<Vec<LaneLedger>, WarehouseError> {
        let sql = format!(
            "SELECT incarnation::String AS incarnation, lane, sum(ledger.records) AS records, sum(ledger.expected) AS expected, \
             sum(ledger.missing) AS missing, sum(ledger.repeated) AS repeated FROM {}.ledger AS ledger \
             GROUP BY incarnation, lane ORDER BY incarnation, lane",
            self.database(Side::Production),
        );
        self.rows("read the ledger", sql).await
    }
}

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
             AND (missing != 0 OR repeated != 0) ORDER BY bucket LIMIT {buckets}",
            self.warehouse.database(Side::Production),
            quote(incarnation),
        );
        let mut faults = Faults::default();
        for Bucket { first_offset, last_offset } in self.warehouse.rows::<Bucket>("look for faults", sql).await? {
            let present = self.read_back(incarnation, lane, first_offset..last_offset + 1, None).await?;
            faults.missing.extend((first_offset..=last_offset).filter(|offset| !present.contains_key(offset)));
            faults.repeated.extend(present.iter().filter(|(_, count)| **count > 1).map(|(offset, _)| *offset));
        }
        Ok(faults)
    }
}
