//! How many tokens of blocks ClickHouse remembers: what makes a repeated insert no second row.

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
use crate::server::Server;
use crate::{Side, Warehouse, WarehouseError};

/// Blocks that may be in doubt at once: about four a second over all lanes ([the cuts](../../process/src/cuts.rs) see to that), for
/// the five minutes after a takeover in which an earlier owner's insert may still arrive, and five repairs of each.
const IN_DOUBT: u64 = 4 * 300 * (1 + 5);
/// The same as a time, for tables that forget by age as well: those five minutes, and as many for a clock or a replica that lags.
const IN_DOUBT_SECONDS: u64 = 600;

/// Settings by which tables remember tokens: those of a single server, and those of a cluster.
const ALONE: [(&str, u64); 1] = [("non_replicated_deduplication_window", IN_DOUBT)];
const REPLICATED: [(&str, u64); 2] =
    [("replicated_deduplication_window", IN_DOUBT), ("replicated_deduplication_window_seconds", IN_DOUBT_SECONDS)];

impl Warehouse {
    /// Checks that `records` of both databases remember the tokens of all blocks that may be in doubt at once. With fewer, a block
    /// that is sent again could become rows a second time.
    ///
    /// # Errors
    /// [`WarehouseError::TokensForgotten`] when they do not; else ClickHouse's own.
    pub async fn check_tokens(&self) -> Result<(), WarehouseError> {
        for server in self.servers() {
            match self.check_tokens_of(server).await {
                // A shard that does not answer takes no rows either.
                Err(error) if error.is_retryable() && server.shard().is_some() => tracing::warn!("{error}"),
                checked => checked?,
            }
        }
        Ok(())
    }

    async fn check_tokens_of(&self, server: &Server) -> Result<(), WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Table {
            engine_full: String,
        }
        #[derive(Row, Deserialize)]
        struct Default {
            name: String,
            value: String,
        }
        let (settings, needed): (_, &[(&'static str, u64)]) = match self.settings().is_replicated() {
            true => ("system.replicated_merge_tree_settings", &REPLICATED),
            false => ("system.merge_tree_settings", &ALONE),
        };
        let names: Vec<String> = needed.iter().map(|(name, _)| quote(name)).collect();
        let sql = format!("SELECT name, value FROM {settings} WHERE name IN ({})", names.join(", "));
        let defaults: Vec<Default> = server.rows("read the settings of tables", sql).await?;
        for side in Side::BOTH {
            let sql = format!(
                "SELECT engine_full FROM system.tables WHERE database = {} AND name = '{}'",
                quote(self.database(side)),
                self.own_name("records"),
            );
            let tables: Vec<Table> = server.rows("read the settings of records", sql).await?;
            for Table { engine_full } in tables {
                for (name, needed) in needed {
                    let default = defaults.iter().find(|default| default.name == *name);
                    let found = of_table(&engine_full, name).or_else(|| default?.value.parse().ok()).unwrap_or(0);
                    if found < *needed {
                        let table = format!("{}{}", self.own_table(side, "records"), self.on_cluster());
                        return Err(WarehouseError::TokensForgotten { table, setting: name, found, needed: *needed });
                    }
                }
            }
        }
        Ok(())
    }
}

/// The value of a setting in the text of a table's engine: `MergeTree … SETTINGS one = 1, other = 2`.
fn of_table(engine_full: &str, name: &str) -> Option<u64> {
    let (_, settings) = engine_full.rsplit_once("SETTINGS ")?;
    settings
        .split(", ")
        .filter_map(|setting| setting.split_once(" = "))
        .find_map(|(known, value)| (known == name).then(|| value.trim_matches('\'').parse().ok()).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_from_the_text_of_the_engine_and_one_of_a_longer_name_is_not_taken_for_it() {
        let text = "ReplicatedMergeTree ORDER BY a SETTINGS replicated_deduplication_window_seconds = 700, \
                    replicated_deduplication_window = 60000, index_granularity = 8192";
        assert_eq!(of_table(text, "replicated_deduplication_window"), Some(60_000));
        assert_eq!(of_table(text, "replicated_deduplication_window_seconds"), Some(700));
        assert_eq!(of_table(text, "non_replicated_deduplication_window"), None);
        assert_eq!(of_table("MergeTree ORDER BY a", "index_granularity"), None);
    }

    #[test]
    fn new_tables_remember_more_than_is_needed() {
        let sql = include_str!("migrations/0001_records.sql");
        assert_eq!(of_table(&sql.replace('\n', ", "), "{window}"), Some(60_000));
        const { assert!(60_000 >= IN_DOUBT) };
    }
}
