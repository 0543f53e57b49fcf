//! The connection: where ClickHouse is, as whom, and how statements run.

use std::future::Future;
use std::time::Duration;

use clickhouse::{Client, Row, RowOwned, RowRead};
use serde::Deserialize;

use crate::WarehouseError;

/// How long a query may take before it counts as unanswered.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Where ClickHouse is and what is ours in it.
#[derive(Clone)]
pub struct Settings {
    /// The HTTP interface, such as `http://127.0.0.1:8123`.
    pub url: String,
    /// The user that owns the databases.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The production database.
    pub database: String,
    /// The database of test data, with the same names in it.
    pub test_database: String,
    /// A cluster's name: DDL runs on all of it, tables are replicated, inserts wait for a quorum.
    pub cluster: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".into(),
            user: "hookline".into(),
            password: String::new(),
            database: "hookline".into(),
            test_database: "hookline_test".into(),
            cluster: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("test_database", &self.test_database)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Which of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What counts.
    Production,
    /// Test data.
    Test,
}

impl Side {
    /// Both.
    pub const BOTH: [Side; 2] = [Side::Production, Side::Test];
}

/// A connection to ClickHouse. Cheap to clone; clones share the HTTP connections.
#[derive(Debug, Clone)]
pub struct Warehouse {
    client: Client,
    settings: std::sync::Arc<Settings>,
}

impl Warehouse {
    /// Connects and asks for the version, so that a wrong address or password is said at once.
    ///
    /// # Errors
    /// When the settings make no sense, ClickHouse does not answer, or it refuses the user.
    pub async fn connect(settings: &Settings) -> Result<Self, WarehouseError> {
        let names = [("database", &settings.database), ("test_database", &settings.test_database)];
        for (what, name) in names.into_iter().chain(settings.cluster.iter().map(|name| ("cluster", name))) {
            // These names stand in statements as they are.
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                let advice = "use letters, digits and underscores";
                return Err(WarehouseError::Setting { what, value: name.clone(), advice });
            }
        }
        let mut client = Client::default()
            .with_url(&settings.url)
            .with_user(&settings.user)
            .with_password(&settings.password)
            .with_product_info("hookline", env!("CARGO_PKG_VERSION"));
        if settings.cluster.is_some() {
            // A read-back must see what a quorum has acknowledged.
            client = client.with_setting("select_sequential_consistency", "1");
        }
        let warehouse = Self { client, settings: std::sync::Arc::new(settings.clone()) };
        let version = warehouse.version().await?;
        tracing::info!(url = %settings.url, %version, "connected to ClickHouse");
        Ok(warehouse)
    }

    /// ClickHouse's version.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses the user.
    pub async fn version(&self) -> Result<String, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Version {
            version: String,
        }
        let rows: Vec<Version> = self.rows("ask for the version", "SELECT version() AS version").await?;
        Ok(rows.into_iter().map(|row| row.version).collect())
    }

    /// What the connection was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The name of one of the databases.
    pub fn database(&self, side: Side) -> &str {
        match side {
            Side::Production => &self.settings.database,
            Side::Test => &self.settings.test_database,
        }
    }

    /// Answers a read-only query as one JSON object a row (ClickHouse's `JSONEachRow`; 64-bit numbers are numbers).
    ///
    /// `sql` may name tables without a database: they are those of `side`. `parameters` fill `{name:Type}` places.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn query(
        &self,
        side: Side,
        sql: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, WarehouseError> {
        let mut query = self
            .client
            .clone()
            .with_database(self.database(side))
            .query_raw(sql)
            .with_setting("readonly", "2")
            .with_setting("output_format_json_quote_64bit_integers", "0");
        for (name, value) in parameters {
            query = query.param(name, value);
        }
        let bytes = self
            .bounded("query", async move {
                let mut cursor = query.fetch_bytes("JSONEachRow")?;
                cursor.collect().await
            })
            .await?;
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line)
                    .map_err(|error| WarehouseError::Answer { what: "query".into(), detail: error.to_string() })
            })
            .collect()
    }

    /// Answers a read-only query in a format of ClickHouse, a piece at a time as it comes: for answers that are not to
    /// be held whole. `each` says whether it wants more.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses. Pieces may have come before.
    pub async fn stream(
        &self,
        side: Side,
        sql: &str,
        format: &str,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), WarehouseError> {
        let client = self.client.clone().with_database(self.database(side));
        let query = client.query_raw(sql).with_setting("readonly", "2");
        let mut cursor = query.fetch_bytes(format).map_err(|error| self.error("query", error))?;
        while let Some(piece) = self.bounded("query", cursor.next()).await? {
            if !each(&piece) {
                break;
            }
        }
        Ok(())
    }

    /// The rows of a statement of our own.
    pub(crate) async fn rows<T: RowOwned + RowRead>(
        &self,
        what: &str,
        sql: impl Into<String>,
    ) -> Result<Vec<T>, WarehouseError> {
        let query = self.client.query_raw(&sql.into());
        self.bounded(what, query.fetch_all()).await
    }

    /// Runs a statement that answers nothing.
    pub(crate) async fn execute(&self, what: &str, sql: impl Into<String>) -> Result<(), WarehouseError> {
        let query = self.client.query_raw(&sql.into());
        self.bounded(what, query.execute()).await
    }

    /// The client, for inserts.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sorts an error of the client.
    pub(crate) fn error(&self, what: impl Into<String>, error: clickhouse::error::Error) -> WarehouseError {
        WarehouseError::from_client(error, what, &self.settings.url)
    }

    /// ` ON CLUSTER name`, or nothing.
    pub(crate) fn on_cluster(&self) -> String {
        self.settings.cluster.as_ref().map(|name| format!(" ON CLUSTER {name}")).unwrap_or_default()
    }

    async fn bounded<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, WarehouseError> {
        match tokio::time::timeout(QUERY_TIMEOUT, call).await {
            Ok(answer) => answer.map_err(|error| self.error(what, error)),
            Err(_) => Err(self.error(what, clickhouse::error::Error::TimedOut)),
        }
    }
}

/// A text as a literal of SQL.
pub fn quote(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_stay_inside_the_literal() {
        assert_eq!(quote(r"a'b\c"), r"'a\'b\\c'");
    }

    #[tokio::test]
    async fn a_database_name_that_could_break_out_of_a_statement_is_refused() {
        let settings = Settings { database: "x; DROP DATABASE y".into(), ..Settings::default() };
        let error = Warehouse::connect(&settings).await.unwrap_err();
        assert!(matches!(error, WarehouseError::Setting { what: "database", .. }), "{error}");
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_said_with_the_address_and_can_be_retried() {
        let settings = Settings { url: "http://127.0.0.1:9".into(), ..Settings::default() };
        let error = Warehouse::connect(&settings).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("127.0.0.1:9"), "{error}");
    }
}
