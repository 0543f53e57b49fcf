//! What ClickHouse says: whether the ledger balances, what was heard of each source, what waits for a decision.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use warehouse::{DeadLetterFilter, DeadLetterGroup, DeadLetterState, Side, Warehouse};

use super::LogFacts;
use crate::ledger::{self, LedgerReport};
use crate::{Error, Installation, Result};

/// How long ClickHouse may take for all of it.
const ALL: Duration = Duration::from_secs(30);

/// What ClickHouse says.
#[derive(Debug, Clone)]
pub struct RowFacts {
    /// Every record of `raw` against the rows.
    pub ledger: LedgerReport,
    /// Dead letters that wait for a decision.
    pub dead_letters: Vec<DeadLetterGroup>,
    /// Each source heard in the last seven days.
    pub sources: Vec<SourceRow>,
    /// Each destination that owes messages, or failed in the last 24 hours.
    pub destinations: Vec<DestinationRow>,
    /// Each rule of which starts are held back while another alert fires.
    pub inhibited: Vec<InhibitedRow>,
}

/// A source heard in the last seven days.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SourceRow {
    /// Its name.
    pub source: String,
    /// When its last record was received, in milliseconds since 1970.
    pub last_seen: i64,
    /// Everything received before this is a row, in milliseconds since 1970.
    pub complete_through: i64,
}

/// A destination that owes messages, or failed in the last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DestinationRow {
    /// Its name.
    pub destination: String,
    /// Messages that are planned and not sent.
    pub owed: u64,
    /// When the oldest of them was planned, in milliseconds since 1970; 0 when none is owed.
    pub oldest: i64,
    /// Messages that were given up in the last 24 hours.
    pub failed: u64,
    /// Why the last attempt failed.
    pub error: String,
}

/// A rule of which starts are held back while another alert fires.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InhibitedRow {
    /// The rule.
    pub rule: String,
    /// How many messages are held back.
    pub held: u64,
    /// What holds the last of them back.
    pub error: String,
}

/// Asks ClickHouse; in words why not.
pub(super) async fn ask(installation: &Installation, log: Option<&LogFacts>) -> Result<RowFacts, String> {
    match tokio::time::timeout(ALL, all(installation, log)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it did not answer all questions within {} s", ALL.as_secs())),
    }
}

async fn all(installation: &Installation, log: Option<&LogFacts>) -> Result<RowFacts> {
    let warehouse = installation.connect().await?;
    // What asks all shards fails by one of them, without its name in the configuration.
    if let Some(error) = warehouse.shards().await.into_iter().find_map(|(_, error)| error) {
        return Err(error.into());
    }
    let ledger = ledger::read_beside(installation, &warehouse, log.map(|log| (&*log.incarnation, log.lanes))).await?;
    let open = DeadLetterFilter { state: Some(DeadLetterState::Open), ..DeadLetterFilter::default() };
    let mut dead_letters = warehouse.dead_letter_groups(&open).await?;
    dead_letters.retain(|group| group.open > 0);
    let sources = "SELECT source, toUnixTimestamp64Milli(last_seen) AS last_seen, \
                   toUnixTimestamp64Milli(complete_through) AS complete_through FROM completeness ORDER BY source";
    let destinations = "SELECT destination, countIf(stage IN ('planned', 'attempted')) AS owed, \
        toUnixTimestamp64Milli(minIf(planned_at, stage IN ('planned', 'attempted'))) AS oldest, \
        countIf(stage = 'failed' AND last_at > now() - INTERVAL 1 DAY) AS failed, \
        argMaxIf(error, last_at, error != '') AS error FROM deliveries GROUP BY destination \
        HAVING owed > 0 OR failed > 0 ORDER BY destination";
    let inhibited = "SELECT one.rule::String AS rule, count() AS held, argMax(one.error, one.last_at) AS error FROM deliveries AS one \
        WHERE one.stage = 'held' AND startsWith(one.error, 'inhibit ') AND one.last_at > now() - INTERVAL 8 DAY GROUP BY rule ORDER BY rule";
    Ok(RowFacts {
        ledger,
        dead_letters,
        sources: rows(&warehouse, sources).await?,
        destinations: rows(&warehouse, destinations).await?,
        inhibited: rows(&warehouse, inhibited).await?,
    })
}

async fn rows<T: DeserializeOwned>(warehouse: &Warehouse, sql: &str) -> Result<Vec<T>> {
    let rows = warehouse.query(Side::Production, sql, &[]).await?;
    let read = |row| serde_json::from_value(Value::Object(row)).map_err(|error| Error::Engine(Box::new(error)));
    rows.into_iter().map(read).collect()
}

/// Milliseconds since 1970 as a time; `None` for 0.
pub(super) fn time(millis: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok().filter(|_| millis != 0)
}
