//! The tables, created or upgraded.

use serde::Serialize;

use crate::{Installation, Report, Result};

/// What was done to the tables, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrateReport {
    /// Whether it was done.
    pub applied: bool,
    /// In this order.
    pub migrations: Vec<Migration>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// The database.
    pub database: String,
    /// The step's number, 0 for what is declared.
    pub version: u32,
    /// Its name, such as `records` or `view events`.
    pub name: String,
    /// On which shard, counted from 1; left out where rows are not sharded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<usize>,
}

impl Report for MigrateReport {
    fn needs_attention(&self) -> bool {
        !self.applied && !self.migrations.is_empty()
    }
}

/// Creates or upgrades the tables; with `dry_run`, only says what would be done.
///
/// # Errors
/// When ClickHouse does not answer, or refuses.
pub async fn migrate(installation: &Installation, dry_run: bool) -> Result<MigrateReport> {
    let (warehouse, layout) = (installation.connect().await?, installation.layout());
    let migrations = if dry_run { warehouse.pending(&layout).await? } else { warehouse.migrate(&layout).await? };
    let step = |warehouse::Migration { database, version, name, shard }: warehouse::Migration| Migration {
        database,
        version,
        name,
        shard: shard.map(|shard| shard.number),
    };
    Ok(MigrateReport { applied: !dry_run, migrations: migrations.into_iter().map(step).collect() })
}
