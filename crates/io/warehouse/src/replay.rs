//! Replays: records computed again into shadow tables, held against what is there, and brought in where something is missing.

mod days;

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use clickhouse::Row;
use event::{Kind, LinkEvent};
use serde::{Deserialize, Serialize};

use crate::connect::{quote, quoted};
use crate::erase::ERASED;
use crate::{Block, BlockStore, InsertPermit, Side, Warehouse, WarehouseError};

/// Tables like `records`, in both databases, for the time of one replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadow {
    table: String,
}

impl Shadow {
    /// The table's name, in either database.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }
}

/// What the rows of a key say.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct KeyRow {
    /// The configured source.
    pub source: String,
    /// The event key.
    pub event_key: String,
    /// The raw offset.
    pub raw_offset: u64,
    /// When it was received, milliseconds since 1970.
    pub received_at: i64,
    /// Whether it is a duplicate; else it counts.
    pub duplicate: bool,
    /// Of a duplicate: the offset that counts.
    pub first_offset: u64,
    /// Of a duplicate: milliseconds after it.
    pub duplicate_delay: i64,
}

/// A column in which rows differ from what a replay makes of their records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedColumn {
    /// The column.
    pub column: &'static str,
    /// In how many rows.
    pub rows: u64,
    /// One of them.
    pub example: u64,
    /// What stands there.
    pub is: String,
    /// What the replay has instead.
    pub would_be: String,
}

/// How rows differ from what a replay makes of their records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RowDiff {
    /// Rows that were held against each other.
    pub compared: u64,
    /// Offsets without a row.
    pub missing: Vec<u64>,
    /// Offsets with more than one row.
    pub repeated: Vec<u64>,
    /// Rows that the replay would put into the other database.
    pub moved: u64,
    /// Rows that differ in at least one column.
    pub changed: u64,
    /// In which columns.
    pub columns: Vec<ChangedColumn>,
}

impl RowDiff {
    /// Whether rows and replay agree.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.repeated.is_empty() && self.moved == 0 && self.changed == 0
    }

    /// Adds what was found in a later range.
    pub fn add(&mut self, other: RowDiff) {
        self.compared += other.compared;
        self.missing.extend(other.missing);
        self.repeated.extend(other.repeated);
        self.moved += other.moved;
        self.changed += other.changed;
        for column in other.columns {
            match self.columns.iter_mut().find(|known| known.column == column.column) {
                Some(known) => known.rows += column.rows,
                None => self.columns.push(column),
            }
        }
    }
}

/// Columns that depend on what is configured, on the catalogue or on the enrichment's data: a replay has them as of today, so
/// they differ without anything being wrong.
const OF_TODAY: &[&str] = &[
    "counted",
    "counted_by",
    "link_kind",
    "owner",
    "intent",
    "campaign",
    "channel",
    // Another name of a value is written as the value (`[naming] same_as`).
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "promo",
    "programme",
    "placement",
    "partner",
    "partner_approved",
    "launch",
    "referrer_class",
    "country",
    "region",
    "device",
    "os",
    "browser",
    "visitor",
    // Tags, contact and deal of the catalogue are among the sender's further fields.
    "extra",
    "naming_issues",
    "trace",
    "config_version",
    "catalogue_version",
    "schema_version",
];

/// The columns that a replay holds against the rows; `all` also those that depend on what is configured today.
fn compared_columns(all: bool) -> impl Iterator<Item = &'static str> {
    LinkEvent::COLUMNS
        .iter()
        .filter(|column| column.kind != Kind::Unstored && column.name != "raw_offset")
        .map(|column| column.name)
        .filter(move |name| all || !OF_TODAY.contains(name))
}

/// A name for a claim on the settled rows of a lane, which no other has.
#[must_use]
pub fn claim_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// One of the attempts to bring rows in under a claim on their lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt<'c> {
    /// Its [name](claim_name). The engine remembers the tokens of inserts, and with those of a claim before it would
    /// believe to have rows that were deleted since.
    pub claim: &'c str,
    /// Which one of this claim.
    pub number: u32,
}

impl Attempt<'_> {
    fn token(self, incarnation: &str, lane: u16, offsets: &RangeInclusive<u64>, rows: usize) -> String {
        let (first, last, Self { claim, number }) = (offsets.start(), offsets.end(), self);
        format!("{incarnation}-{lane}-mend-{claim}-{first}-{last}-{rows}-{number}")
    }
}

impl Warehouse {
    /// Makes empty shadow tables.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn shadow(&self) -> Result<Shadow, WarehouseError> {
        let shadow = Shadow { table: format!("records_replay_{}", uuid::Uuid::new_v4().simple()) };
        for side in Side::BOTH {
            let (database, on_cluster) = (self.database(side), self.on_cluster());
            let (table, records) = (&shadow.table, self.own_table(side, "records"));
            let sql = format!("CREATE TABLE {database}.{table}{on_cluster} AS {records}");
            for server in self.servers_to_tell() {
                server.execute("make a shadow table", &sql).await?;
            }
        }
        Ok(shadow)
    }

    /// Drops shadow tables.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: [`Warehouse::tidy`] drops them a day later.
    pub async fn drop_shadow(&self, shadow: &Shadow) -> Result<(), WarehouseError> {
        for side in Side::BOTH {
            let (database, on_cluster) = (self.database(side), self.on_cluster());
            let sql = format!("DROP TABLE IF EXISTS {database}.{}{on_cluster} SYNC", shadow.table);
            for server in self.servers_to_tell() {
                server.execute("drop a shadow table", &sql).await?;
            }
        }
        Ok(())
    }

    /// The events and duplicates of these keys in a lane, in either database, received within `received` (milliseconds since 1970).
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn rows_of_keys(
        &self,
        incarnation: &str,
        lane: u16,
        keys: &[&str],
        received: RangeInclusive<i64>,
    ) -> Result<Vec<KeyRow>, WarehouseError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let list = quoted(keys);
        let of = |side| {
            format!(
                "SELECT source::String AS source, event_key, raw_offset, toUnixTimestamp64Milli(rows_of_key.received_at) AS received_at, \
                 outcome = 'duplicate' AS duplicate, first_offset, duplicate_delay FROM {} AS rows_of_key \
                 WHERE incarnation = {} AND lane = {lane} AND outcome IN ('event', 'duplicate') AND event_key IN ({list}) \
                 AND rows_of_key.received_at BETWEEN fromUnixTimestamp64Milli({}) AND fromUnixTimestamp64Milli({})",
                self.own_table(side, "records"),
                quote(incarnation),
                received.start(),
                received.end(),
            )
        };
        let sql = format!("{} UNION ALL {}", of(Side::Production), of(Side::Test));
        self.of_lane(lane).rows("look for the rows of keys", sql).await
    }

    /// Holds the rows of a range of a lane against its shadow. `all` compares also what depends on today's configuration.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn diff(
        &self,
        shadow: &Shadow,
        incarnation: &str,
        lane: u16,
        offsets: Range<u64>,
        all: bool,
    ) -> Result<RowDiff, WarehouseError> {
        let present = self.blocks().read_back(incarnation, lane, offsets.clone(), None).await?;
        let columns: Vec<&'static str> = compared_columns(all).collect();
        let names = columns.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let rows_of = |table: &str| {
            let of = |side: Side| {
                format!(
                    "SELECT raw_offset, {names}, '{side:?}' AS side FROM {}.{table} WHERE incarnation = {} AND lane = {lane} \
                     AND raw_offset >= {} AND raw_offset < {} AND outcome != '{ERASED}'",
                    self.database(side),
                    quote(incarnation),
                    offsets.start,
                    offsets.end,
                )
            };
            format!("SELECT * FROM ({} UNION ALL {}) LIMIT 1 BY raw_offset", of(Side::Production), of(Side::Test))
        };
        // As texts where a type has no comparison of its own.
        let maps: Vec<&str> =
            LinkEvent::COLUMNS.iter().filter(|column| column.kind == Kind::Pairs).map(|column| column.name).collect();
        let differs = |name: &str| match maps.contains(&name) {
            true => format!("toString(is.`{name}`) != toString(would_be.`{name}`)"),
            false => format!("is.`{name}` != would_be.`{name}`"),
        };
        let of_column = |name: &&str| {
            format!(
                "countIf({0}) AS `rows {name}`, anyIf(raw_offset, {0}) AS `example {name}`, \
                 anyIf(toString(is.`{name}`), {0}) AS `is {name}`, anyIf(toString(would_be.`{name}`), {0}) AS `would {name}`",
                differs(name)
            )
        };
        let sql = format!(
            "SELECT count() AS compared, countIf(is.side != would_be.side) AS moved, countIf({}) AS changed, {} \
             FROM ({}) AS is INNER JOIN ({}) AS would_be USING (raw_offset)",
            columns.iter().map(|name| differs(name)).collect::<Vec<_>>().join(" OR "),
            columns.iter().map(of_column).collect::<Vec<_>>().join(", "),
            rows_of(&self.own_name("records")),
            rows_of(&shadow.table),
        );
        let answer = self.query_at(self.of_lane(lane), Side::Production, &sql, &[]).await?;
        let row = answer.into_iter().next().unwrap_or_default();
        let number = |name: &str| row.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let text = |name: &str| row.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let changed = columns.iter().filter(|name| number(&format!("rows {name}")) > 0).map(|name| ChangedColumn {
            column: name,
            rows: number(&format!("rows {name}")),
            example: number(&format!("example {name}")),
            is: text(&format!("is {name}")),
            would_be: text(&format!("would {name}")),
        });
        Ok(RowDiff {
            compared: number("compared"),
            missing: offsets.filter(|offset| !present.contains_key(offset)).collect(),
            repeated: present.iter().filter(|(_, count)| **count > 1).map(|(offset, _)| *offset).collect(),
            moved: number("moved"),
            changed: number("changed"),
            columns: changed.collect(),
        })
    }

    /// Inserts into `records` that are running and began more than `ago` before now. Whoever must know that none is under way asks
    /// until there is none.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn inserts_running(&self, ago: Duration) -> Result<u64, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Running {
            number: u64,
        }
        let processes = self.system("processes");
        let sql = format!(
            "SELECT count() AS number FROM {processes} WHERE query_kind = 'Insert' AND query LIKE 'INSERT INTO %.{} (%' \
             AND elapsed >= {:.3}",
            self.own_name("records"),
            ago.as_secs_f64()
        );
        let mut running = 0;
        for server in self.servers_to_tell() {
            let rows: Vec<Running> = server.rows("look for inserts under way", &sql).await?;
            running += rows.first().map_or(0, |row| row.number);
        }
        Ok(running)
    }
}

impl BlockStore {
    /// Writes a block into shadow tables.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: begin with new shadow tables.
    pub async fn insert_shadow(&self, shadow: &Shadow, block: &Block) -> Result<(), WarehouseError> {
        for side in Side::BOTH {
            let rows = block.side(side);
            if rows.offsets().is_empty() {
                continue;
            }
            let (names, bytes) = rows.native(block.id())?;
            let table = format!("{}.{}", self.warehouse.database(side), shadow.table);
            self.warehouse.of_lane(block.id().lane).insert_native(&table, &names, bytes.into(), "").await?;
        }
        Ok(())
    }

    /// Brings in those rows of a block that are not there, once. Returns how many there were: call again, with the next number, until
    /// there are none, since an engine that is asked to do the same again after the rows were deleted believes to have them.
    ///
    /// Only for offsets whose own inserts are over for certain, and by one caller at a time: this goes by what can be read.
    ///
    /// # Errors
    /// A retryable error leaves it uncertain what went in: call again with the same number, and what is there is not sent twice.
    pub async fn mend(
        &self,
        block: &Block,
        attempt: Attempt<'_>,
        _permit: impl InsertPermit,
    ) -> Result<usize, WarehouseError> {
        let Some(received) = block.received() else { return Ok(0) };
        let offsets = block.offsets();
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return Ok(0) };
        let id = block.id();
        let present: BTreeMap<u64, u64> =
            self.read_back(&id.incarnation, id.lane, *first..last + 1, Some(received)).await?;
        let missing: Vec<u64> = offsets.into_iter().filter(|offset| !present.contains_key(offset)).collect();
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else { return Ok(0) };
        // One insert of these very rows has this token, however often this claim sends it.
        let token = attempt.token(&id.incarnation, id.lane, &(*first..=*last), missing.len());
        for side in Side::BOTH {
            let rows = block.side(side).only(|offset| missing.binary_search(&offset).is_ok());
            self.insert_rows(id, side, &rows, &token).await?;
        }
        Ok(missing.len())
    }

    /// Deletes the rows of a range of a lane from both databases, to be written anew. Stubs of what was erased stay,
    /// so that nothing is written in their place.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: some of them may be deleted, and the ledger misses those. More may
    /// be deleted later, until [`Warehouse::rewrites_of_records`] has none.
    pub async fn delete(&self, incarnation: &str, lane: u16, offsets: Range<u64>) -> Result<(), WarehouseError> {
        for side in Side::BOTH {
            let change = format!(
                "DELETE WHERE incarnation = {} AND lane = {lane} AND raw_offset >= {} AND raw_offset < {} AND outcome != '{ERASED}'",
                quote(incarnation),
                offsets.start,
                offsets.end,
            );
            let (warehouse, table) = (&self.warehouse, self.warehouse.own_name("records"));
            warehouse.mutate(warehouse.of_lane(lane), side, &table, "delete rows to be replaced", &change).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_left_out_of_a_diff_is_one_of_the_event() {
        let all: Vec<&str> = compared_columns(true).collect();
        assert!(OF_TODAY.iter().all(|name| all.contains(name)));
        assert_eq!(compared_columns(false).count(), all.len() - OF_TODAY.len());
        assert!(compared_columns(false).any(|name| name == "outcome") && !all.contains(&"raw_offset"));
    }

    #[test]
    fn no_claim_sends_rows_with_the_token_of_another() {
        let token = |claim, number| Attempt { claim, number }.token("inc", 3, &(5..=9), 4);
        assert_eq!(token("a1", 1), token("a1", 1), "the same insert, sent again");
        let all: std::collections::BTreeSet<String> =
            ["a1", "b2"].into_iter().flat_map(|claim| (1..=20).map(move |number| token(claim, number))).collect();
        assert_eq!(all.len(), 40, "the same rows, replaced again");
    }

    #[test]
    fn differences_of_ranges_add_up() {
        let column = |rows| ChangedColumn { column: "slug", rows, example: 3, is: "a".into(), would_be: "b".into() };
        let mut diff =
            RowDiff { compared: 5, missing: vec![1], columns: vec![column(2)], changed: 2, ..RowDiff::default() };
        diff.add(RowDiff { compared: 4, missing: vec![9], columns: vec![column(1)], changed: 1, ..RowDiff::default() });
        assert_eq!((diff.compared, diff.missing, diff.changed), (9, vec![1, 9], 3));
        assert_eq!(diff.columns, [column(3)]);
        assert!(RowDiff { compared: 7, ..RowDiff::default() }.is_none());
    }
}
