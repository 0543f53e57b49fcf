//! What of an erasure may still rest on disks, where no query reads.

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use crate::connect::quote;
use crate::{Side, Warehouse, WarehouseError};

/// Parts of tables that no query reads any more, and that ClickHouse has not deleted yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct Former {
    /// How many, on all replicas.
    pub parts: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// When the last of them may be deleted, milliseconds since 1970; 0 when there is none.
    pub gone_by: i64,
}

/// Parts that a person has set aside: ClickHouse reads and deletes none of them.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct Detached {
    /// The database and the table.
    pub table: String,
    /// How many.
    pub parts: u64,
}

impl Warehouse {
    /// The tables that an erasure changes.
    fn of_ours(&self) -> String {
        let databases = Side::BOTH.map(|side| quote(self.database(side))).join(", ");
        format!(
            "database IN ({databases}) AND (table IN ('records', 'alert_log', 'delivery_log') OR endsWith(table, '_closed'))"
        )
    }

    /// Parts that were rewritten by a time (milliseconds since 1970) and are still on disks: ClickHouse deletes them
    /// after `old_parts_lifetime`, eight minutes unless a server sets it otherwise.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn former_parts(&self, by_ms: i64) -> Result<Former, WarehouseError> {
        let sql = format!(
            "WITH ifNull((SELECT max(toUInt32OrZero(value)) FROM system.merge_tree_settings WHERE name = 'old_parts_lifetime'), 480) AS lifetime \
             SELECT count() AS parts, sum(bytes_on_disk) AS bytes, \
             if(parts = 0, toInt64(0), toInt64(max(toUnixTimestamp(remove_time)) + lifetime) * 1000) AS gone_by FROM {} \
             WHERE NOT active AND remove_time <= fromUnixTimestamp(intDiv({by_ms}, 1000) + 1) AND {}",
            self.system("parts"),
            self.of_ours(),
        );
        let rows: Vec<Former> = self.rows("look for parts that were rewritten", sql).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Parts of our tables that were detached.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn detached_parts(&self) -> Result<Vec<Detached>, WarehouseError> {
        let sql = format!(
            "SELECT concat(database, '.', name) AS table, parts FROM (SELECT database, table AS name, count() AS parts FROM {} WHERE {} \
             GROUP BY database, table) ORDER BY table",
            self.system("detached_parts"),
            self.of_ours(),
        );
        self.rows("look for detached parts", sql).await
    }

    /// How many mutations of our tables are under way. Without one, each active part is newer than the last erasure.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn unfinished_mutations(&self) -> Result<u64, WarehouseError> {
        Ok(self.unfinished(self.home(), "look for mutations under way", &self.of_ours()).await?.open)
    }
}
