//! Migrations: from an empty server, or an older version's tables, to what this build needs.
//!
//! A *step* creates a table and never changes: its number and the checksum of its text rest in `migrations`, and another text
//! under the same number is refused. What is *declared* (columns, retention, views, the analysts' role) follows this build: it is
//! applied again whenever it differs from what was applied last. Every statement may run twice, and by two at once.

mod statements;

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
use crate::layout::Layout;
use crate::server::{Server, Shard};
use crate::tables::{Table, retention, tables};
use crate::views::{View, views};
use crate::{Side, Warehouse, WarehouseError};

/// Something that was applied, or is still to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The database.
    pub database: String,
    /// The step's number, 0 for what is declared.
    pub version: u32,
    /// Its name, such as `records` or `view events`.
    pub name: String,
    /// On which shard, where rows are sharded.
    pub shard: Option<Shard>,
}

/// A piece of the plan: applied when its checksum is not the one applied last.
struct Piece {
    version: u32,
    name: String,
    checksum: String,
    work: Work,
}

enum Work {
    Statements(Vec<String>),
    Columns(Table),
}

/// By number and name: the checksum that was applied last.
type Applied = BTreeMap<(u32, String), String>;

/// The piece that says which shard a server is.
const SHARD: &str = "shard";

/// By table, by column: type and comment.
type PresentColumns = BTreeMap<String, BTreeMap<String, (String, String)>>;

#[derive(Row, Deserialize)]
struct AppliedRow {
    version: u32,
    name: String,
    checksum: String,
}

impl Warehouse {
    /// Brings both databases of every server to what this build and this layout need, and says what was done: nothing
    /// the second time.
    ///
    /// # Errors
    /// [`WarehouseError::Checksum`], [`WarehouseError::Newer`] and [`WarehouseError::OtherShard`] before anything is
    /// changed; else ClickHouse's own.
    pub async fn migrate(&self, layout: &Layout) -> Result<Vec<Migration>, WarehouseError> {
        self.migrate_servers(self.servers(), layout).await
    }

    /// As [`Self::migrate`], on the shards that answer: a service may start for their lanes. Of each other shard it is
    /// said why not.
    ///
    /// # Errors
    /// As [`Self::migrate`], and when no shard answers.
    pub async fn migrate_reached(
        &self,
        layout: &Layout,
    ) -> Result<(Vec<Migration>, Vec<WarehouseError>), WarehouseError> {
        let (mut reached, mut away) = (Vec::new(), Vec::new());
        for server in self.servers() {
            match server.version().await {
                Ok(_) => reached.push(server.clone()),
                Err(error) if error.is_retryable() && server.shard().is_some() => away.push(error),
                Err(error) => return Err(error),
            }
        }
        if reached.is_empty()
            && let Some(error) = away.pop()
        {
            return Err(error);
        }
        Ok((self.migrate_servers(&reached, layout).await?, away))
    }

    async fn migrate_servers(&self, servers: &[Server], layout: &Layout) -> Result<Vec<Migration>, WarehouseError> {
        let mut plans = Vec::new();
        for server in servers {
            for side in Side::BOTH {
                plans.push((server, side, self.missing(server, side, layout).await?));
            }
        }
        // Both databases of a server before the rest: views of one read the other.
        for (server, side, _) in &plans {
            self.prepare(server, *side).await?;
        }
        let mut done = Vec::new();
        for (server, side, pieces) in plans {
            let types = if pieces.is_empty() { BTreeMap::new() } else { self.present_columns(server, side).await? };
            for piece in &pieces {
                self.apply(server, side, piece, &types).await?;
                tracing::debug!(
                    database = self.database(side), version = piece.version, name = %piece.name, url = server.url(), "migrated"
                );
            }
            // Recorded together: after a crash in between, statements that may run twice run twice.
            self.record(server, side, &pieces).await?;
            done.extend(pieces.into_iter().map(|piece| self.migration(server, side, piece)));
        }
        if let Some(analyst) = &layout.analyst {
            for server in servers {
                self.grant_analyst(server, analyst).await?;
            }
        }
        Ok(done)
    }

    /// What [`Self::migrate`] would do: services refuse to start while it is not empty.
    ///
    /// # Errors
    /// As [`Self::migrate`]; nothing is changed.
    pub async fn pending(&self, layout: &Layout) -> Result<Vec<Migration>, WarehouseError> {
        let mut pending = Vec::new();
        for server in self.servers() {
            for side in Side::BOTH {
                let missing = self.missing(server, side, layout).await?;
                pending.extend(missing.into_iter().map(|piece| self.migration(server, side, piece)));
            }
        }
        Ok(pending)
    }

    fn migration(&self, server: &Server, side: Side, Piece { version, name, .. }: Piece) -> Migration {
        Migration { database: self.database(side).to_owned(), version, name, shard: server.shard() }
    }

    async fn prepare(&self, server: &Server, side: Side) -> Result<(), WarehouseError> {
        let (database, on_cluster) = (self.database(side), self.on_cluster());
        let comment = match side {
            Side::Production => "Hookline: link events and the reports over them",
            Side::Test => "Hookline: test data, under the same names as in production",
        };
        let created = format!("CREATE DATABASE IF NOT EXISTS {database}{on_cluster} COMMENT {}", quote(comment));
        server.execute("create the database", created).await?;
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {database}.migrations{on_cluster} (\
             version UInt32 COMMENT 'number of the step, 0 for what is declared', \
             name String COMMENT 'what was applied', \
             checksum String COMMENT 'hash of its text', \
             applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when') \
             ENGINE = {} ORDER BY (version, name, applied_at) COMMENT 'What was applied to this database, in order'",
            self.engine("MergeTree"),
        );
        server.execute("create the table of migrations", table).await
    }

    /// The pieces that are not applied yet, in order.
    async fn missing(&self, server: &Server, side: Side, layout: &Layout) -> Result<Vec<Piece>, WarehouseError> {
        let plan = self.plan(server, side, layout);
        let applied = self.applied(server, side).await?;
        self.check_shard(server, side, &applied)?;
        for (version, name) in applied.keys().filter(|(version, _)| *version > 0) {
            let database = self.database(side).to_owned();
            let Some(piece) = plan.iter().find(|piece| piece.version == *version) else {
                return Err(WarehouseError::Newer { database, version: *version, name: name.clone() });
            };
            let checksum = &applied[&(*version, name.clone())];
            if *checksum != piece.checksum || *name != piece.name {
                return Err(WarehouseError::Checksum {
                    database,
                    version: *version,
                    name: name.clone(),
                    applied: checksum.clone(),
                    expected: piece.checksum.clone(),
                });
            }
        }
        Ok(plan
            .into_iter()
            .filter(|piece| applied.get(&(piece.version, piece.name.clone())) != Some(&piece.checksum))
            .collect())
    }

    /// A lane's rows are looked for on its shard alone: what was one shard must not become another.
    fn check_shard(&self, server: &Server, side: Side, applied: &Applied) -> Result<(), WarehouseError> {
        let found = applied.get(&(0, SHARD.to_owned())).map_or("not sharded", String::as_str);
        let expected = server.shard().map_or_else(|| "not sharded".to_owned(), |shard| shard.to_string());
        if applied.is_empty() || found == expected {
            return Ok(());
        }
        let (database, url) = (self.database(side).to_owned(), server.url().to_owned());
        Err(WarehouseError::OtherShard { database, url, found: found.to_owned(), expected })
    }

    /// The last checksum of everything that was applied.
    async fn applied(&self, server: &Server, side: Side) -> Result<Applied, WarehouseError> {
        let database = self.database(side);
        let sql = format!(
            "SELECT version, name, argMax(checksum, applied_at) AS checksum FROM {database}.migrations \
             GROUP BY version, name"
        );
        match server.rows::<AppliedRow>("read the applied migrations", sql).await {
            Ok(rows) => Ok(rows.into_iter().map(|row| ((row.version, row.name), row.checksum)).collect()),
            // No database, no table: nothing was applied.
            Err(WarehouseError::Refused { code: 60 | 81, .. }) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    fn plan(&self, server: &Server, side: Side, layout: &Layout) -> Vec<Piece> {
        let mut plan = Vec::new();
        if let Some(shard) = server.shard() {
            let work = Work::Statements(Vec::new());
            plan.push(Piece { version: 0, name: SHARD.to_owned(), checksum: shard.to_string(), work });
        }
        for table in tables() {
            let checksum = event::keyed_hash_hex(&[table.sql]);
            let create = self.create_table(side, &table);
            plan.push(Piece {
                version: table.version,
                name: table.name.clone(),
                checksum,
                work: Work::Statements(vec![create]),
            });
        }
        for table in tables() {
            let statements: Vec<String> = retention(&table, layout)
                .map(|change| {
                    format!("ALTER TABLE {}{} {change}", self.own_table(side, &table.name), self.on_cluster())
                })
                .into_iter()
                .collect();
            let name = table.name.clone();
            let columns: Vec<String> = table.columns.iter().map(|column| column.sql()).collect();
            plan.push(Piece {
                version: 0,
                name: format!("columns of {name}"),
                checksum: event::keyed_hash_hex(&columns.iter().map(String::as_str).collect::<Vec<_>>()),
                work: Work::Columns(table),
            });
            if !statements.is_empty() {
                plan.push(declared(format!("retention of {name}"), statements));
            }
        }
        // Redrives are few among very many rows, and the view dead_letters asks for all of them.
        plan.push(declared(
            "index redrive_of of records".to_owned(),
            vec![format!(
                "ALTER TABLE {}{} ADD INDEX IF NOT EXISTS redrive_of redrive_of TYPE minmax GRANULARITY 1",
                self.own_table(side, "records"),
                self.on_cluster()
            )],
        ));
        if let (Some(cluster), Some(_)) = (&self.settings().cluster, server.shard()) {
            for table in tables() {
                let sql = self.over_shards(side, cluster, &table);
                plan.push(declared(format!("{} over all shards", table.name), vec![sql]));
            }
        }
        for view in views(self, side, layout) {
            let View { name, sql } = view;
            plan.push(declared(format!("view {name}"), vec![sql]));
        }
        plan
    }

    async fn apply(
        &self,
        server: &Server,
        side: Side,
        piece: &Piece,
        present: &PresentColumns,
    ) -> Result<(), WarehouseError> {
        let what = format!("migrate {}: {}", self.database(side), piece.name);
        match &piece.work {
            Work::Statements(statements) => {
                for sql in statements {
                    execute_beside_others(server, &what, sql).await?;
                }
                Ok(())
            }
            // A table that was not there a moment ago was created with these very columns.
            Work::Columns(table) => match present.get(&self.own_name(&table.name)) {
                Some(present) => self.add_columns(server, side, table, present, &what).await,
                None => Ok(()),
            },
        }
    }

    async fn record(&self, server: &Server, side: Side, pieces: &[Piece]) -> Result<(), WarehouseError> {
        if pieces.is_empty() {
            return Ok(());
        }
        let row = |piece: &Piece| format!("({}, {}, {})", piece.version, quote(&piece.name), quote(&piece.checksum));
        let rows: Vec<String> = pieces.iter().map(row).collect();
        let database = self.database(side);
        let sql = format!("INSERT INTO {database}.migrations (version, name, checksum) VALUES {}", rows.join(", "));
        server.execute("record the migrations", sql).await
    }

    /// The columns of every table of a database: type and comment by name.
    async fn present_columns(&self, server: &Server, side: Side) -> Result<PresentColumns, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Present {
            table: String,
            name: String,
            #[serde(rename = "type")]
            type_name: String,
            comment: String,
        }
        let sql = format!(
            "SELECT table, name, type, comment FROM system.columns WHERE database = {}",
            quote(self.database(side)),
        );
        let mut tables = PresentColumns::new();
        for Present { table, name, type_name, comment } in server.rows::<Present>("read the columns", sql).await? {
            tables.entry(table).or_default().insert(name, (type_name, comment));
        }
        Ok(tables)
    }

    /// Adds the columns that this build knows and the table does not, and brings the comments up to date.
    async fn add_columns(
        &self,
        server: &Server,
        side: Side,
        table: &Table,
        present: &BTreeMap<String, (String, String)>,
        what: &str,
    ) -> Result<(), WarehouseError> {
        let (own, on_cluster) = (self.own_table(side, &table.name), self.on_cluster());
        let mut after = "FIRST".to_owned();
        for column in &table.columns {
            let head = format!("ALTER TABLE {own}{on_cluster}");
            match present.get(column.name) {
                None => {
                    let sql = format!("{head} ADD COLUMN IF NOT EXISTS {} {after}", column.sql());
                    execute_beside_others(server, what, &sql).await?;
                }
                Some((type_name, _)) if type_name != column.type_name => {
                    return Err(WarehouseError::Answer {
                        what: what.to_owned(),
                        detail: format!(
                            "column {} of {own} is {}, and this build needs {}: types are never changed in place",
                            column.name, type_name, column.type_name,
                        ),
                    });
                }
                Some((_, comment)) if comment != column.doc => {
                    let sql = format!("{head} COMMENT COLUMN `{}` {}", column.name, quote(column.doc));
                    execute_beside_others(server, what, &sql).await?;
                }
                Some(_) => {}
            }
            after = format!("AFTER `{}`", column.name);
        }
        Ok(())
    }

    /// A role that reads both databases and may choose its own time limit, as BI tools and Grafana do.
    async fn grant_analyst(&self, server: &Server, analyst: &crate::layout::Analyst) -> Result<(), WarehouseError> {
        let on_cluster = self.on_cluster();
        let (user, password) = (&analyst.user, quote(&analyst.password));
        if user.is_empty() || !user.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let advice = "use letters, digits and underscores";
            return Err(WarehouseError::Setting { what: "the analysts' user", value: user.clone(), advice });
        }
        let limits =
            "readonly = 1, max_execution_time = 60 MAX 600 CHANGEABLE_IN_READONLY, max_memory_usage = 8000000000";
        for sql in [
            format!("CREATE SETTINGS PROFILE IF NOT EXISTS hookline_analyst{on_cluster} SETTINGS {limits}"),
            format!("CREATE ROLE IF NOT EXISTS hookline_analyst{on_cluster} SETTINGS PROFILE 'hookline_analyst'"),
            format!("GRANT{on_cluster} SELECT ON {}.* TO hookline_analyst", self.database(Side::Production)),
            format!("GRANT{on_cluster} SELECT ON {}.* TO hookline_analyst", self.database(Side::Test)),
            format!(
                "CREATE USER IF NOT EXISTS {user}{on_cluster} IDENTIFIED BY {password} DEFAULT ROLE hookline_analyst"
            ),
            format!("GRANT{on_cluster} hookline_analyst TO {user}"),
        ] {
            server.execute("set up the analysts' user", sql).await?;
        }
        Ok(())
    }
}

/// Another migration may run the same statement at the same moment: the loser of such a race tries once more.
async fn execute_beside_others(server: &Server, what: &str, sql: &str) -> Result<(), WarehouseError> {
    match server.execute(what, sql).await {
        // A table or view that came, went or changed in between (Atomic databases swap views by name).
        Err(WarehouseError::Refused { code: 57 | 60 | 517, .. }) => server.execute(what, sql).await,
        other => other,
    }
}

fn declared(name: String, statements: Vec<String>) -> Piece {
    let checksum = event::keyed_hash_hex(&statements.iter().map(String::as_str).collect::<Vec<_>>());
    Piece { version: 0, name, checksum, work: Work::Statements(statements) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    /// All statements of a server's plan, for both databases.
    fn statements(settings: &Settings) -> Vec<String> {
        let warehouse = Warehouse::unasked(settings);
        let mut all = Vec::new();
        for side in Side::BOTH {
            for piece in warehouse.plan(&warehouse.servers()[0], side, &Layout::default()) {
                if let Work::Statements(statements) = piece.work {
                    all.extend(statements);
                }
            }
        }
        assert!(all.iter().all(|sql| !sql.contains('{') || sql.contains("AS {") || sql.contains("SELECT")), "{all:#?}");
        all
    }

    #[test]
    fn replicated_tables_are_made_on_the_cluster_with_engines_and_windows_of_replicated_ones() {
        let all = statements(&Settings { cluster: Some("main".into()), ..Settings::default() });
        for sql in &all {
            assert!(sql.contains(" ON CLUSTER main"), "{sql}");
            assert!(!sql.contains("non_replicated_deduplication_window"), "{sql}");
        }
        let tables: Vec<&String> = all.iter().filter(|sql| sql.starts_with("CREATE TABLE")).collect();
        assert_eq!(tables.len(), 2 * tables_of_one_database());
        for sql in tables {
            assert!(sql.contains("\nENGINE = Replicated"), "{sql}");
        }
    }

    #[test]
    fn shards_have_tables_of_their_own_and_tables_that_read_all_of_them_replicated_or_not() {
        for replicated in [true, false] {
            let shards = vec!["http://a".into(), "http://b".into()];
            let all = statements(&Settings { cluster: Some("main".into()), shards, replicated, ..Settings::default() });
            let over: Vec<&String> = all.iter().filter(|sql| sql.starts_with("CREATE OR REPLACE TABLE")).collect();
            assert_eq!(over.len(), 2 * tables_of_one_database());
            for sql in &all {
                assert_eq!(sql.contains("ON CLUSTER main"), replicated, "{sql}");
                let own = sql.split('\n').next().is_some_and(|head| head.contains("_local"));
                assert_eq!(own, sql.starts_with("CREATE TABLE") || sql.starts_with("ALTER TABLE"), "{sql}");
                assert_eq!(sql.contains("ENGINE = Replicated"), replicated && sql.starts_with("CREATE TABLE"), "{sql}");
            }
            let records = "ENGINE = Distributed(main, hookline_test, records_local)";
            assert_eq!(over.iter().filter(|sql| sql.contains(records)).count(), 1);
        }
    }

    #[test]
    fn one_server_has_plain_tables_and_none_over_others() {
        for sql in statements(&Settings::default()) {
            assert!(!sql.contains("_local") && !sql.contains("ON CLUSTER") && !sql.contains("Distributed"), "{sql}");
        }
    }

    fn tables_of_one_database() -> usize {
        tables().len()
    }
}
