//! Rewriting tables: a mutation is asked for, and then looked at until it is done, however long that takes. ClickHouse
//! goes on with it whether or not the one who asked still waits.

use std::time::{Duration, Instant};

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
use crate::server::Server;
use crate::{Side, Warehouse, WarehouseError};

/// How often is looked whether a mutation is done.
pub(crate) const LOOK: Duration = Duration::from_millis(300);
/// For how long ClickHouse may fail to rewrite a part before that is told: it tries again by itself, as when memory or
/// disk is short.
const FAILS_FOR: Duration = Duration::from_secs(120);

/// Mutations that are not done: how many, and why the last of them failed, if one did.
#[derive(Row, Deserialize)]
pub(crate) struct Standing {
    pub(crate) open: u64,
    why: String,
}

impl Warehouse {
    /// Rewrites a table of a server, and waits until that is done on all replicas. `table` is the name that the server
    /// has for it.
    pub(crate) async fn mutate(
        &self,
        server: &Server,
        side: Side,
        table: &str,
        what: &str,
        change: &str,
    ) -> Result<(), WarehouseError> {
        let database = self.database(side);
        let sql = format!(
            "ALTER TABLE {database}.{table}{} {change} SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1",
            self.on_cluster()
        );
        server.execute(what, sql).await?;
        let of_table = format!("database = {} AND table = {}", quote(database), quote(table));
        let mut failing = None::<Instant>;
        loop {
            match self.unfinished(server, what, &of_table).await? {
                Standing { open: 0, .. } => return Ok(()),
                Standing { why, .. } if why.is_empty() => failing = None,
                Standing { why, .. } => {
                    if failing.get_or_insert_with(Instant::now).elapsed() >= FAILS_FOR {
                        let detail = format!(
                            "ClickHouse has failed to rewrite a part for {} s, and goes on trying: {why}; mend that, and do the same again \
                             once system.mutations has nothing unfinished",
                            FAILS_FOR.as_secs()
                        );
                        return Err(WarehouseError::Answer { what: what.to_owned(), detail });
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many mutations are under way on all servers that delete rows of `records`, and why the last of them failed,
    /// if one did. Rows that one of them has not reached yet may be gone a moment later.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn rewrites_of_records(&self) -> Result<(u64, String), WarehouseError> {
        let databases = Side::BOTH.map(|side| quote(self.database(side))).join(", ");
        let of_records = format!(
            "database IN ({databases}) AND table = {} AND command LIKE '%DELETE WHERE%'",
            quote(&self.own_name("records"))
        );
        let (mut number, mut last) = (0, String::new());
        for server in self.servers_to_tell() {
            let Standing { open, why } = self.unfinished(server, "look for mutations of records", &of_records).await?;
            number += open;
            if !why.is_empty() {
                last = why;
            }
        }
        Ok((number, last))
    }

    /// Those that meet a condition on `system.mutations`.
    pub(crate) async fn unfinished(
        &self,
        server: &Server,
        what: &str,
        which: &str,
    ) -> Result<Standing, WarehouseError> {
        let sql = format!(
            "SELECT count() AS open, max(latest_fail_reason) AS why FROM {} WHERE NOT is_done AND {which}",
            self.system("mutations")
        );
        let rows: Vec<Standing> = server.rows(what, sql).await?;
        Ok(rows.into_iter().next().unwrap_or(Standing { open: 0, why: String::new() }))
    }

    /// A table of `system`, of all replicas.
    pub(crate) fn system(&self, table: &str) -> String {
        match &self.settings().cluster {
            Some(cluster) if self.settings().is_replicated() => {
                format!("clusterAllReplicas({}, system.{table})", quote(cluster))
            }
            _ => format!("system.{table}"),
        }
    }
}
