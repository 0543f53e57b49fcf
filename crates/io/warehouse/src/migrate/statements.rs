//! The statements that make tables: plain, replicated, and those over shards.

use crate::connect::quote;
use crate::tables::{Definition, Table};
use crate::{Side, Warehouse};

impl Warehouse {
    pub(super) fn create_table(&self, side: Side, table: &Table) -> String {
        let columns: Vec<String> = table.columns.iter().map(|column| format!("    {}", column.sql())).collect();
        let window = match self.settings().is_replicated() {
            true => "replicated_deduplication_window",
            false => "non_replicated_deduplication_window",
        };
        let named = table.sql.replace("{table}", &table.name);
        named
            .replace(
                &format!("{{database}}.{}{{on_cluster}}", table.name),
                &format!("{}{{on_cluster}}", self.own_table(side, &table.name)),
            )
            .replace("{database}", self.database(side))
            .replace("{on_cluster}", &self.on_cluster())
            .replace("{columns}", &columns.join(",\n"))
            .replace("{engine}", &self.engine("MergeTree"))
            .replace("{replacing_engine}", &self.engine("ReplacingMergeTree"))
            .replace("{window}", window)
            .replace("{key}", table.report.map_or("", |report| report.key))
            .replace("{report}", table.report.map_or("", |report| report.name))
    }

    /// The table that reads a table's rows of all shards. It has no sharding key, so ClickHouse refuses rows that are
    /// written to it.
    pub(super) fn over_shards(&self, side: Side, cluster: &str, table: &Table) -> String {
        let column =
            |column: &Definition| format!("    `{}` {} COMMENT {}", column.name, column.type_name, quote(column.doc));
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        let (database, own) = (self.database(side), self.own_name(&table.name));
        format!(
            "CREATE OR REPLACE TABLE {database}.{}{}\n(\n{}\n)\nENGINE = Distributed({cluster}, {database}, {own})\nCOMMENT {}",
            table.name,
            self.on_cluster(),
            columns.join(",\n"),
            quote(&format!("The rows of {own} on all shards")),
        )
    }

    /// The engine's name, replicated on a cluster (paths come from the server's `default_replica_path`).
    pub(crate) fn engine(&self, engine: &str) -> String {
        if self.settings().is_replicated() { format!("Replicated{engine}") } else { engine.to_owned() }
    }
}
