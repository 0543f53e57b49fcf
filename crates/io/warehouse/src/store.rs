//! Blocks into ClickHouse, each row exactly once.
//!
//! A block's token makes ClickHouse drop a repeat; the read-back by raw offset is the proof, and completes what an engine that
//! was killed in the middle believes it has. Rows never go in under another token while an insert of theirs may still be under way.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use clickhouse::Row;
use serde::Deserialize;

use crate::block::Rows;
use crate::connect::quote;
use crate::{Block, BlockId, Insert, Part, Side, Warehouse, WarehouseError};

/// The way of a lane's blocks into `records` of both databases, and back out.
#[derive(Debug, Clone)]
pub struct BlockStore {
    pub(crate) warehouse: Warehouse,
}

impl Warehouse {
    /// The store of blocks.
    pub fn blocks(&self) -> BlockStore {
        BlockStore { warehouse: self.clone() }
    }
}

/// The right to make one insert of a lane's rows now: what gives one has looked at a proof of the lane's fence a
/// moment ago. A sleeper that wakes has none, and does not insert.
///
/// Few implement it, and tests/pipeline/architecture.rs names them.
pub trait InsertPermit {}

impl BlockStore {
    /// Makes one insert of a block, as a [`Settling`](crate::Settling) names it: one for each permit.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses; whether the rows went in is then unknown.
    pub async fn send(&self, block: &Block, insert: &Insert, _permit: impl InsertPermit) -> Result<(), WarehouseError> {
        let rows = block.side(insert.side);
        match &insert.part {
            Part::Whole => self.insert_rows(block.id(), insert.side, rows, &block.id().to_string()).await,
            Part::Repair { number, offsets } => {
                tracing::warn!(
                    block = %block.id(), missing = offsets.len(), first = offsets.first(), repair = number,
                    "ClickHouse acknowledged a block whose rows are not all there"
                );
                let rows = rows.only(|offset| offsets.binary_search(&offset).is_ok());
                self.insert_rows(block.id(), insert.side, &rows, &format!("{}-r{number}", block.id())).await
            }
        }
    }

    /// How often each raw offset of a block rests, over both databases; offsets that do not are left out.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn read(&self, block: &Block) -> Result<BTreeMap<u64, u64>, WarehouseError> {
        match block.received() {
            Some(received) => self.counts(block, received).await,
            None => Ok(BTreeMap::new()),
        }
    }

    /// Which of these raw offsets of a lane rest in ClickHouse, in ascending order, in either database.
    ///
    /// `received` (milliseconds since 1970) bounds the search to the parts of that time: without it, a read of the whole lane.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn present(
        &self,
        incarnation: &str,
        lane: u16,
        offsets: Range<u64>,
        received: Option<RangeInclusive<i64>>,
    ) -> Result<Vec<u64>, WarehouseError> {
        Ok(self.read_back(incarnation, lane, offsets, received).await?.into_keys().collect())
    }

    /// The largest raw offset of a lane in either database. `None` when it has no row of this incarnation.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn max_offset(&self, incarnation: &str, lane: u16) -> Result<Option<u64>, WarehouseError> {
        Ok(self.highest(incarnation, lane).await?.map(|highest| highest.raw_offset))
    }

    /// The largest cut (an offset on `events`) of a lane's blocks in either database.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn max_cut(&self, incarnation: &str, lane: u16) -> Result<Option<u64>, WarehouseError> {
        Ok(self.highest(incarnation, lane).await?.map(|highest| highest.cut))
    }

    /// Blocks of a lane whose cut is at or beyond a position on `events`, with their numbers of rows, by ascending cut.
    ///
    /// At start, everything from the committed position on must be explained by the open block.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn rows_beyond(
        &self,
        incarnation: &str,
        lane: u16,
        position: u64,
    ) -> Result<Vec<(u64, u64)>, WarehouseError> {
        // The projection by lane answers the usual case (nothing beyond) without a read of the rows.
        if self.max_cut(incarnation, lane).await?.is_none_or(|cut| cut < position) {
            return Ok(Vec::new());
        }
        #[derive(Row, Deserialize)]
        struct Cut {
            cut: u64,
            number: u64,
        }
        let of = |side| {
            format!(
                "SELECT cut FROM {} WHERE incarnation = {} AND lane = {lane} AND cut >= {position}",
                self.warehouse.own_table(side, "records"),
                quote(incarnation),
            )
        };
        let sql = format!(
            "SELECT cut, count() AS number FROM ({} UNION ALL {}) GROUP BY cut ORDER BY cut",
            of(Side::Production),
            of(Side::Test),
        );
        let rows: Vec<Cut> = self.warehouse.of_lane(lane).rows("look for blocks beyond the position", sql).await?;
        Ok(rows.into_iter().map(|row| (row.cut, row.number)).collect())
    }

    async fn highest(&self, incarnation: &str, lane: u16) -> Result<Option<Highest>, WarehouseError> {
        let of = |side| {
            format!(
                "SELECT count() AS number, max(raw_offset) AS raw_offset, max(cut) AS cut FROM {} \
                 WHERE incarnation = {} AND lane = {lane}",
                self.warehouse.own_table(side, "records"),
                quote(incarnation),
            )
        };
        let sql = format!(
            "SELECT sum(number) AS number, max(raw_offset) AS raw_offset, max(cut) AS cut FROM ({} UNION ALL {})",
            of(Side::Production),
            of(Side::Test),
        );
        let rows: Vec<Highest> = self.warehouse.of_lane(lane).rows("look up the end of a lane", sql).await?;
        Ok(rows.into_iter().find(|row| row.number > 0))
    }

    async fn counts(&self, block: &Block, received: RangeInclusive<i64>) -> Result<BTreeMap<u64, u64>, WarehouseError> {
        let offsets = block.offsets();
        let range = match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) => *first..last + 1,
            _ => 0..0,
        };
        let BlockId { incarnation, lane, .. } = block.id();
        self.read_back(incarnation, *lane, range, Some(received)).await
    }

    /// How often each of these raw offsets of a lane rests, over both databases.
    pub(crate) async fn read_back(
        &self,
        incarnation: &str,
        lane: u16,
        offsets: Range<u64>,
        received: Option<RangeInclusive<i64>>,
    ) -> Result<BTreeMap<u64, u64>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Present {
            raw_offset: u64,
            number: u64,
        }
        let bounds = received.map_or_else(String::new, |received| {
            format!(
                " AND received_at BETWEEN fromUnixTimestamp64Milli({}) AND fromUnixTimestamp64Milli({})",
                received.start(),
                received.end(),
            )
        });
        let of = |side| {
            format!(
                "SELECT raw_offset FROM {} WHERE incarnation = {} AND lane = {lane} \
                 AND raw_offset >= {} AND raw_offset < {}{bounds}",
                self.warehouse.own_table(side, "records"),
                quote(incarnation),
                offsets.start,
                offsets.end,
            )
        };
        let sql = format!(
            "SELECT raw_offset, count() AS number FROM ({} UNION ALL {}) GROUP BY raw_offset",
            of(Side::Production),
            of(Side::Test),
        );
        let rows: Vec<Present> = self.warehouse.of_lane(lane).rows("read a block back", sql).await?;
        Ok(rows.into_iter().map(|row| (row.raw_offset, row.number)).collect())
    }

    pub(crate) async fn insert_rows(
        &self,
        id: &BlockId,
        side: Side,
        rows: &Rows,
        token: &str,
    ) -> Result<(), WarehouseError> {
        if rows.offsets().is_empty() {
            return Ok(());
        }
        let (names, bytes) = rows.native(id)?;
        let table = self.warehouse.own_table(side, "records");
        self.warehouse.of_lane(id.lane).insert_native(&table, &names, bytes.into(), token).await
    }
}

#[derive(Row, Deserialize)]
struct Highest {
    number: u64,
    raw_offset: u64,
    cut: u64,
}
