//! The connection: where ClickHouse is, as whom, and which server has which rows.

use clickhouse::{RowOwned, RowRead};

use crate::WarehouseError;
use crate::server::{Server, Shard};

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
    /// A cluster's name, as ClickHouse knows it: shards are read over it, and replicated tables are made on all of it.
    pub cluster: Option<String>,
    /// The HTTP interface of each shard, in an order that never changes: the rows of lane *l* are on the shard *l*
    /// modulo their number. None: all rows are at `url`.
    pub shards: Vec<String>,
    /// Whether tables on a cluster are replicated ones: DDL runs on all of it, and inserts wait for a quorum.
    pub replicated: bool,
}

impl Settings {
    /// Whether tables are replicated.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.cluster.is_some() && self.replicated
    }
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
            shards: Vec::new(),
            replicated: true,
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
            .field("shards", &self.shards)
            .field("replicated", &self.replicated)
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
    /// Who answers questions about all rows.
    asked: Server,
    /// Where rows are, if not there.
    shards: std::sync::Arc<[Server]>,
    settings: std::sync::Arc<Settings>,
}

impl Warehouse {
    /// Connects and asks for the version, so that a wrong address or password is said at once. Of shards, one has to
    /// answer: those that do not are named in the log, and what needs them fails.
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
        if settings.cluster.is_none()
            && let Some(first) = settings.shards.first()
        {
            let advice = "shards are read over a cluster of ClickHouse: name it (cluster)";
            return Err(WarehouseError::Setting { what: "shards", value: first.clone(), advice });
        }
        let warehouse = Self::unasked(settings);
        let (mut reached, mut first) = (false, None);
        for server in warehouse.servers() {
            match server.version().await {
                Ok(version) => {
                    tracing::info!(url = server.url(), %version, "connected to ClickHouse");
                    reached = true;
                }
                Err(error) if error.is_retryable() && server.shard().is_some() => {
                    tracing::warn!("{error}");
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match first {
            Some(error) if !reached => Err(error),
            _ => Ok(warehouse),
        }
    }

    /// A connection of which nothing was asked yet.
    pub(crate) fn unasked(settings: &Settings) -> Self {
        let of = settings.shards.len();
        let shard = |(place, url): (usize, &String)| Server::new(settings, url, Some(Shard { number: place + 1, of }));
        Self {
            asked: Server::new(settings, &settings.url, None),
            shards: settings.shards.iter().enumerate().map(shard).collect(),
            settings: std::sync::Arc::new(settings.clone()),
        }
    }

    /// ClickHouse's version.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses the user.
    pub async fn version(&self) -> Result<String, WarehouseError> {
        self.asked.version().await
    }

    /// Each shard, with why it does not answer, if it does not; none where rows are not sharded.
    pub async fn shards(&self) -> Vec<(Shard, Option<WarehouseError>)> {
        let mut asking = tokio::task::JoinSet::new();
        for server in self.shards.iter() {
            let server = server.clone();
            asking.spawn(async move { (server.shard(), server.version().await.err()) });
        }
        let mut shards = Vec::with_capacity(self.shards.len());
        while let Some(asked) = asking.join_next().await {
            // A task that panicked says nothing of its shard.
            if let Ok((Some(shard), error)) = asked {
                shards.push((shard, error));
            }
        }
        shards.sort_by_key(|(shard, _)| shard.number);
        shards
    }

    /// The server that has the rows of a lane.
    pub(crate) fn of_lane(&self, lane: u16) -> &Server {
        let place = usize::from(lane).checked_rem(self.shards.len());
        place.and_then(|place| self.shards.get(place)).unwrap_or(&self.asked)
    }

    /// The server that has what is not of a lane: closed days, alerts, deliveries.
    pub(crate) fn home(&self) -> &Server {
        self.of_lane(0)
    }

    /// Every server that has rows.
    pub(crate) fn servers(&self) -> &[Server] {
        if self.shards.is_empty() { std::slice::from_ref(&self.asked) } else { &self.shards }
    }

    /// The servers that a statement has to be sent to for all of them to have it: `ON CLUSTER` passes it on.
    pub(crate) fn servers_to_tell(&self) -> &[Server] {
        let all = self.servers();
        if self.settings.is_replicated() { all.get(..1).unwrap_or(all) } else { all }
    }

    /// The table that has a server's rows, with its database. Under the plain name, shards have one that reads all of
    /// them.
    pub(crate) fn own_table(&self, side: Side, table: &str) -> String {
        format!("{}.{}", self.database(side), self.own_name(table))
    }

    /// As [`Self::own_table`], without the database.
    pub(crate) fn own_name(&self, table: &str) -> String {
        if self.shards.is_empty() { table.to_owned() } else { format!("{table}_local") }
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
        self.query_at(&self.asked, side, sql, parameters).await
    }

    /// As [`Self::query`], of one server.
    pub(crate) async fn query_at(
        &self,
        server: &Server,
        side: Side,
        sql: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, WarehouseError> {
        let client = server.client().clone().with_database(self.database(side));
        let mut query = client
            .query_raw(sql)
            .with_setting("readonly", "2")
            .with_setting("output_format_json_quote_64bit_integers", "0");
        for (name, value) in parameters {
            query = query.param(name, value);
        }
        let bytes = server
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
        let client = self.asked.client().clone().with_database(self.database(side));
        let query = client.query_raw(sql).with_setting("readonly", "2");
        let mut cursor = query.fetch_bytes(format).map_err(|error| self.asked.error("query", error))?;
        while let Some(piece) = self.asked.bounded("query", cursor.next()).await? {
            if !each(&piece) {
                break;
            }
        }
        Ok(())
    }

    /// The rows of a statement of our own, over all servers.
    pub(crate) async fn rows<T: RowOwned + RowRead>(
        &self,
        what: &str,
        sql: impl Into<String>,
    ) -> Result<Vec<T>, WarehouseError> {
        self.asked.rows(what, sql).await
    }

    /// ` ON CLUSTER name`, or nothing.
    pub(crate) fn on_cluster(&self) -> String {
        let cluster = self.settings.cluster.as_ref().filter(|_| self.settings.replicated);
        cluster.map(|name| format!(" ON CLUSTER {name}")).unwrap_or_default()
    }
}

/// Texts as literals of SQL, with commas between them.
pub(crate) fn quoted<T: AsRef<str>>(texts: &[T]) -> String {
    texts.iter().map(|text| quote(text.as_ref())).collect::<Vec<_>>().join(", ")
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

    fn sharded(shards: &[&str]) -> Warehouse {
        let settings = Settings {
            cluster: Some("main".into()),
            shards: shards.iter().map(|url| (*url).to_owned()).collect(),
            replicated: false,
            ..Settings::default()
        };
        Warehouse::unasked(&settings)
    }

    #[test]
    fn a_lane_has_its_shard_and_what_is_not_of_a_lane_is_on_the_first() {
        let three = sharded(&["http://a", "http://b", "http://c"]);
        let of = |lane| three.of_lane(lane).shard().unwrap().to_string();
        assert_eq!([of(0), of(4), of(11)], ["shard 1 of 3", "shard 2 of 3", "shard 3 of 3"]);
        assert_eq!((three.home().url(), three.servers().len()), ("http://a", 3));
        assert_eq!(three.own_table(Side::Test, "records"), "hookline_test.records_local");
        let one = sharded(&[]);
        assert_eq!((one.of_lane(7).shard(), one.servers().len()), (None, 1));
        assert_eq!(one.own_table(Side::Production, "records"), "hookline.records");
        assert_eq!(one.on_cluster(), "", "not replicated");
    }

    #[tokio::test]
    async fn shards_without_a_cluster_are_refused_and_of_shards_one_has_to_answer() {
        let mut settings = Settings { shards: vec!["http://127.0.0.1:9".into()], ..Settings::default() };
        let error = Warehouse::connect(&settings).await.unwrap_err();
        assert!(matches!(error, WarehouseError::Setting { what: "shards", .. }), "{error}");
        settings.cluster = Some("main".into());
        let error = Warehouse::connect(&settings).await.unwrap_err().to_string();
        assert!(error.contains("shard 1 of 1") && error.contains("127.0.0.1:9"), "{error}");
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_said_with_the_address_and_can_be_retried() {
        let settings = Settings { url: "http://127.0.0.1:9".into(), ..Settings::default() };
        let error = Warehouse::connect(&settings).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("127.0.0.1:9"), "{error}");
    }
}
