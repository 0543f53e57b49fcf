//! Migrations: from an empty server, or an older version's tables, to what this build needs.
//!
//! A *step* creates a table and never changes: its number and the checksum of its text rest in `migrations`, and another text
//! under the same number is refused. What is *declared* (columns, retention, views, the analysts' role) follows this build: it is
//! applied again whenever it differs from what was applied last. Every statement may run twice, and by two at once.

use std::collections::BTreeMap;

use clickhouse::Row;
use serde::Deserialize;

use crate::connect::quote;
use crate::layout::Layout;
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

/// By table, by column: type and comment.
type PresentColumns = BTreeMap<String, BTreeMap<String, (String, String)>>;

#[derive(Row, Deserialize)]
struct AppliedRow {
    version: u32,
    name: String,
    checksum: String,
}

impl Warehouse {
    /// Brings both databases to what this build and this layout need, and says what was done: nothing the second time.
    ///
    /// # Errors
    /// [`WarehouseError::Checksum`] and [`WarehouseError::Newer`] before anything is changed; else ClickHouse's own.
    pub async fn migrate(&self, layout: &Layout) -> Result<Vec<Migration>, WarehouseError> {
        let mut done = Vec::new();
        for side in Side::BOTH {
            self.prepare(side).await?;
        }
        let mut plans = Vec::new();
        for side in Side::BOTH {
            plans.push((side, self.missing(side, layout).await?));
        }
        for (side, pieces) in plans {
            let database = self.database(side);
            let types = if pieces.is_empty() { BTreeMap::new() } else { self.present_columns(side).await? };
            for piece in &pieces {
                self.apply(side, piece, &types).await?;
                tracing::debug!(database, version = piece.version, name = %piece.name, "migrated");
            }
            // Recorded together: after a crash in between, statements that may run twice run twice.
            self.record(side, &pieces).await?;
            done.extend(pieces.into_iter().map(|Piece { version, name, .. }| Migration {
                database: database.to_owned(),
                version,
                name,
            }));
        }
        if let Some(analyst) = &layout.analyst {
            self.grant_analyst(analyst).await?;
        }
        Ok(done)
    }

    /// What [`Self::migrate`] would do: services refuse to start while it is not empty.
    ///
    /// # Errors
    /// As [`Self::migrate`]; nothing is changed.
    pub async fn pending(&self, layout: &Layout) -> Result<Vec<Migration>, WarehouseError> {
        let mut pending = Vec::new();
        for side in Side::BOTH {
            pending.extend(self.missing(side, layout).await?.into_iter().map(|piece| Migration {
                database: self.database(side).to_owned(),
                version: piece.version,
                name: piece.name,
            }));
        }
        Ok(pending)
    }

    async fn prepare(&self, side: Side) -> Result<(), WarehouseError> {
        let (database, on_cluster) = (self.database(side), self.on_cluster());
        let comment = match side {
            Side::Production => "Hookline: link events and the reports over them",
            Side::Test => "Hookline: test data, under the same names as in production",
        };
        self.execute(
            "create the database",
            format!("CREATE DATABASE IF NOT EXISTS {database}{on_cluster} COMMENT {}", quote(comment)),
        )
        .await?;
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {database}.migrations{on_cluster} (\
             version UInt32 COMMENT 'number of the step, 0 for what is declared', \
             name String COMMENT 'what was applied', \
             checksum String COMMENT 'hash of its text', \
             applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'when') \
             ENGINE = {} ORDER BY (version, name, applied_at) COMMENT 'What was applied to this database, in order'",
            self.engine("MergeTree"),
        );
        self.execute("create the table of migrations", table).await
    }

    /// The pieces that are not applied yet, in order.
    async fn missing(&self, side: Side, layout: &Layout) -> Result<Vec<Piece>, WarehouseError> {
        let plan = self.plan(side, layout);
        let applied = self.applied(side).await?;
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

    /// The last checksum of everything that was applied.
    async fn applied(&self, side: Side) -> Result<BTreeMap<(u32, String), String>, WarehouseError> {
        let database = self.database(side);
        let sql = format!(
            "SELECT version, name, argMax(checksum, applied_at) AS checksum FROM {database}.migrations \
             GROUP BY version, name"
        );
        match self.rows::<AppliedRow>("read the applied migrations", sql).await {
            Ok(rows) => Ok(rows.into_iter().map(|row| ((row.version, row.name), row.checksum)).collect()),
            // No database, no table: nothing was applied.
            Err(WarehouseError::Refused { code: 60 | 81, .. }) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    fn plan(&self, side: Side, layout: &Layout) -> Vec<Piece> {
        let database = self.database(side);
        let mut plan = Vec::new();
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
                .map(|change| format!("ALTER TABLE {database}.{}{} {change}", table.name, self.on_cluster()))
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
                "ALTER TABLE {database}.records{} ADD INDEX IF NOT EXISTS redrive_of redrive_of TYPE minmax GRANULARITY 1",
                self.on_cluster()
            )],
        ));
        for view in views(self, side, layout) {
            let View { name, sql } = view;
            plan.push(declared(format!("view {name}"), vec![sql]));
        }
        plan
    }

    async fn apply(&self, side: Side, piece: &Piece, present: &PresentColumns) -> Result<(), WarehouseError> {
        let what = format!("migrate {}: {}", self.database(side), piece.name);
        match &piece.work {
            Work::Statements(statements) => {
                for sql in statements {
                    self.execute_beside_others(&what, sql).await?;
                }
                Ok(())
            }
            // A table that was not there a moment ago was created with these very columns.
            Work::Columns(table) => match present.get(&table.name) {
                Some(present) => self.add_columns(side, table, present, &what).await,
                None => Ok(()),
            },
        }
    }

    async fn record(&self, side: Side, pieces: &[Piece]) -> Result<(), WarehouseError> {
        if pieces.is_empty() {
            return Ok(());
        }
        let row = |piece: &Piece| format!("({}, {}, {})", piece.version, quote(&piece.name), quote(&piece.checksum));
        let rows: Vec<String> = pieces.iter().map(row).collect();
        let database = self.database(side);
        let sql = format!("INSERT INTO {database}.migrations (version, name, checksum) VALUES {}", rows.join(", "));
        self.execute("record the migrations", sql).await
    }

    /// Another migration may run the same statement at the same moment: the loser of such a race tries once more.
    async fn execute_beside_others(&self, what: &str, sql: &str) -> Result<(), WarehouseError> {
        match self.execute(what, sql).await {
            // A table or view that came, went or changed in between (Atomic databases swap views by name).
            Err(WarehouseError::Refused { code: 57 | 60 | 517, .. }) => self.execute(what, sql).await,
            other => other,
        }
    }

    fn create_table(&self, side: Side, table: &Table) -> String {
        let columns: Vec<String> = table.columns.iter().map(|column| format!("    {}", column.sql())).collect();
        let window = match self.settings().cluster {
            Some(_) => "replicated_deduplication_window",
            None => "non_replicated_deduplication_window",
        };
        table
            .sql
            .replace("{database}", self.database(side))
            .replace("{on_cluster}", &self.on_cluster())
            .replace("{table}", &table.name)
            .replace("{columns}", &columns.join(",\n"))
            .replace("{engine}", &self.engine("MergeTree"))
            .replace("{replacing_engine}", &self.engine("ReplacingMergeTree"))
            .replace("{window}", window)
            .replace("{key}", table.report.map_or("", |report| report.key))
            .replace("{report}", table.report.map_or("", |report| report.name))
    }

    /// The engine's name, replicated on a cluster (paths come from the server's `default_replica_path`).
    pub(crate) fn engine(&self, engine: &str) -> String {
        if self.settings().cluster.is_some() { format!("Replicated{engine}") } else { engine.to_owned() }
    }

    /// The columns of every table of a database: type and comment by name.
    async fn present_columns(&self, side: Side) -> Result<PresentColumns, WarehouseError> {
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
        for Present { table, name, type_name, comment } in self.rows::<Present>("read the columns", sql).await? {
            tables.entry(table).or_default().insert(name, (type_name, comment));
        }
        Ok(tables)
    }

    /// Adds the columns that this build knows and the table does not, and brings the comments up to date.
    async fn add_columns(
        &self,
        side: Side,
        table: &Table,
        present: &BTreeMap<String, (String, String)>,
        what: &str,
    ) -> Result<(), WarehouseError> {
        let (database, on_cluster) = (self.database(side), self.on_cluster());
        let mut after = "FIRST".to_owned();
        for column in &table.columns {
            let head = format!("ALTER TABLE {database}.{}{on_cluster}", table.name);
            match present.get(column.name) {
                None => {
                    let sql = format!("{head} ADD COLUMN IF NOT EXISTS {} {after}", column.sql());
                    self.execute_beside_others(what, &sql).await?;
                }
                Some((type_name, _)) if type_name != column.type_name => {
                    return Err(WarehouseError::Answer {
                        what: what.to_owned(),
                        detail: format!(
                            "column {} of {database}.{} is {}, and this build needs {}: types are never changed in place",
                            column.name, table.name, type_name, column.type_name,
                        ),
                    });
                }
                Some((_, comment)) if comment != column.doc => {
                    let sql = format!("{head} COMMENT COLUMN `{}` {}", column.name, quote(column.doc));
                    self.execute_beside_others(what, &sql).await?;
                }
                Some(_) => {}
            }
            after = format!("AFTER `{}`", column.name);
        }
        Ok(())
    }

    /// A role that reads both databases and may choose its own time limit, as BI tools and Grafana do.
    async fn grant_analyst(&self, analyst: &crate::layout::Analyst) -> Result<(), WarehouseError> {
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
            self.execute("set up the analysts' user", sql).await?;
        }
        Ok(())
    }
}

fn declared(name: String, statements: Vec<String>) -> Piece {
    let checksum = event::keyed_hash_hex(&statements.iter().map(String::as_str).collect::<Vec<_>>());
    Piece { version: 0, name, checksum, work: Work::Statements(statements) }
}
