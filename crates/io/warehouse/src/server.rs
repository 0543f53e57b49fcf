//! One address of ClickHouse, and how statements run there.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use clickhouse::{Client, Row, RowOwned, RowRead};
use serde::Deserialize;

use crate::{Settings, WarehouseError};

/// How long a query may take before it counts as unanswered.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a shard may take to say that it is there.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one piece of an insert may wait for the socket.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long ClickHouse may take to answer an insert.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// Pieces of a block on their way: LZ4 sees 64 KiB back, so larger ones compress no better.
const PIECE: usize = 1 << 20;
/// What an insert depends on, pinned because ClickHouse's defaults change between versions.
const INSERT_SETTINGS: &[(&str, &str)] = &[
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_insert", "enable"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // One insert stays one part: a token speaks for all of it.
    ("max_insert_block_size", "10000000"),
    ("max_insert_block_size_bytes", "0"),
    ("min_insert_block_size_rows", "0"),
    ("min_insert_block_size_bytes", "0"),
    ("max_insert_threads", "1"),
    ("use_strict_insert_block_limits", "0"),
    ("throw_on_max_partitions_per_insert_block", "1"),
];

/// Which shard of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    /// Counted from 1, in the order of the configuration.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {}", self.number, self.of)
    }
}

/// The HTTP interface of one server, or of a shard's replicas behind one address. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    client: Client,
    url: String,
    shard: Option<Shard>,
    quorum: bool,
}

impl Server {
    pub(crate) fn new(settings: &Settings, url: &str, shard: Option<Shard>) -> Self {
        let quorum = settings.is_replicated();
        let mut client = Client::default()
            .with_url(url)
            .with_user(&settings.user)
            .with_password(&settings.password)
            .with_product_info("hookline", env!("CARGO_PKG_VERSION"));
        if quorum {
            // A read-back must see what a quorum has acknowledged.
            client = client.with_setting("select_sequential_consistency", "1");
        }
        if !settings.shards.is_empty() {
            // Half of the rows is not an answer, whatever the profile of the user says.
            client = client.with_setting("skip_unavailable_shards", "0");
        }
        Self { client, url: url.to_owned(), shard, quorum }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn shard(&self) -> Option<Shard> {
        self.shard
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
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

    /// ClickHouse's version.
    pub(crate) async fn version(&self) -> Result<String, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Version {
            version: String,
        }
        let what = "ask for the version";
        let asked = self.rows::<Version>(what, "SELECT version() AS version");
        let answer = match self.shard {
            None => asked.await,
            // One of several must not be waited for so long that the others are not asked.
            Some(_) => match tokio::time::timeout(REACH_TIMEOUT, asked).await {
                Ok(answer) => answer,
                Err(_) => Err(self.error(what, clickhouse::error::Error::TimedOut)),
            },
        };
        Ok(answer?.into_iter().map(|row| row.version).collect())
    }

    /// Sends one block of Native bytes under a deduplication token.
    pub(crate) async fn insert_native(
        &self,
        table: &str,
        names: &str,
        bytes: Bytes,
        token: &str,
    ) -> Result<(), WarehouseError> {
        let what = || match token {
            "" => format!("insert into {table}"),
            token => format!("insert block {token} into {table}"),
        };
        let mut insert = self
            .client
            .insert_formatted_with(format!("INSERT INTO {table} ({names}) FORMAT Native"))
            .with_timeouts(Some(SEND_TIMEOUT), Some(END_TIMEOUT));
        if !token.is_empty() {
            insert = insert.with_setting("insert_deduplication_token", token);
        }
        for (name, value) in INSERT_SETTINGS {
            insert = insert.with_setting(*name, *value);
        }
        if self.quorum {
            // Sequential reads need quorums one after the other.
            insert = insert.with_setting("insert_quorum", "auto").with_setting("insert_quorum_parallel", "0");
        }
        let mut left = bytes;
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(PIECE));
            insert.send(piece).await.map_err(|error| self.error(what(), error))?;
        }
        insert.end().await.map_err(|error| self.error(what(), error))
    }

    /// Sorts an error of the client, and says which shard it is of.
    pub(crate) fn error(&self, what: impl Into<String>, error: clickhouse::error::Error) -> WarehouseError {
        let what = what.into();
        let what = self.shard.map_or_else(|| what.clone(), |shard| format!("{what} ({shard})"));
        WarehouseError::from_client(error, what, &self.url)
    }

    pub(crate) async fn bounded<T>(
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
