//! What the rows say for the review.

use std::collections::BTreeSet;

use event::{Kind, LinkEvent};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use warehouse::{Side, Warehouse};

use crate::{Error, Installation, Result};

/// Different values of a column that are looked at for personal data.
const VALUES: usize = 20_000;
/// Further fields that are named.
const EXTRA: usize = 20;
/// Further fields that adapters write themselves, of what their platforms send.
const OF_ADAPTERS: [&str; 5] = ["click_id", "clicks_total", "expires_at", "external_id", "invoice_id"];
/// Columns that are ours, or hold ids that no person is behind.
const NOT_SENT: [&str; 16] = [
    "outcome",
    "type",
    "time_flag",
    "counted",
    "counted_by",
    "source",
    "secret_id",
    "request_id",
    "owner",
    "config_version",
    "stage",
    "reason",
    "redrive_of",
    "domain",
    "destination_host",
    "referrer_host",
];

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Event types by source.
    pub types: Vec<TypeUse>,
    /// Source, name and number of further fields.
    pub extra: Vec<(String, String, u64)>,
    /// What became of records, by source.
    pub outcomes: Vec<Outcomes>,
    /// Secrets that signed.
    pub secrets: Vec<SecretUse>,
    /// Rules that alerted.
    pub rules: Vec<RuleUse>,
    /// Destinations that were sent to.
    pub destinations: Vec<DestinationUse>,
    /// Columns with values that look like personal data.
    pub personal: Vec<PersonalData>,
    /// How many values were looked at for it.
    pub looked_at: usize,
    /// In how many columns.
    pub columns: usize,
}

/// An event type of a source.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TypeUse {
    /// The source.
    pub source: String,
    /// The type.
    pub r#type: String,
    /// The finer kind; may be empty.
    pub subtype: String,
    /// How many events.
    pub events: u64,
}

/// What became of the records of a source.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Outcomes {
    /// The source.
    pub source: String,
    /// All records.
    pub records: u64,
    /// Later deliveries.
    pub duplicates: u64,
    /// What could not be read.
    pub dead_letters: u64,
    /// The longest time between a delivery and its duplicate, in milliseconds.
    pub longest_delay_ms: i64,
}

/// A secret that signed.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SecretUse {
    /// The source.
    pub source: String,
    /// Its id.
    pub secret_id: String,
    /// When it signed first, as far back as rows are kept, in milliseconds since 1970.
    pub first_used: i64,
}

/// What a rule did.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RuleUse {
    /// The rule.
    pub rule: String,
    /// Its alerts.
    pub alerts: u64,
    /// Messages that were planned for it.
    #[serde(default)]
    pub messages: u64,
    /// Messages that a silence held back.
    #[serde(default)]
    pub silenced: u64,
    /// Messages that were not sent since a person had acknowledged the one before.
    #[serde(default)]
    pub acknowledged: u64,
    /// Alerts that came to an end.
    #[serde(default)]
    pub ended: u64,
    /// Alerts that came to an end within ten minutes.
    #[serde(default)]
    pub ended_soon: u64,
}

/// What was sent to a destination.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct DestinationUse {
    /// The destination.
    pub destination: String,
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Why the last one failed.
    pub error: String,
}

/// Values of a column that look like personal data. The values themselves are not kept.
#[derive(Debug, Clone, Default)]
pub struct PersonalData {
    /// The column.
    pub column: String,
    /// How many of the values look like it.
    pub hits: usize,
    /// How many different values were looked at.
    pub values: usize,
    /// Of which sources.
    pub sources: String,
}

pub(super) async fn measure(installation: &Installation, days: u16) -> Result<Measured> {
    let warehouse = installation.connect().await?;
    let since = format!("> now() - INTERVAL {days} DAY");
    let of = |sql: &str| sql.replace("{since}", &since);
    let types = of(
        "SELECT source, type, if(subtype = type, '', subtype::String) AS subtype, count() AS events FROM records \
                    WHERE outcome = 'event' AND received_at {since} GROUP BY source, type, subtype ORDER BY source, events DESC",
    );
    let outcomes = of("SELECT source, count() AS records, countIf(outcome = 'duplicate') AS duplicates, \
                       countIf(outcome = 'dead_letter') AS dead_letters, max(duplicate_delay) AS longest_delay_ms FROM records \
                       WHERE outcome != 'erased' AND received_at {since} GROUP BY source ORDER BY source");
    // As far back as there are rows: a secret's age does not begin with the review.
    let secrets = "SELECT source, secret_id, toUnixTimestamp64Milli(min(received_at)) AS first_used FROM records \
                   WHERE secret_id != '' GROUP BY source, secret_id ORDER BY source, secret_id";
    // By whole weeks: the one in which the time begins is among them.
    let rules = format!(
        "SELECT rule::String AS rule, sum(noise.alerts) AS alerts, sum(noise.messages) + sum(noise.held_back) + sum(noise.acknowledged) AS messages, \
         sum(noise.held_back) AS silenced, sum(noise.acknowledged) AS acknowledged, sum(noise.ended) AS ended, \
         sum(noise.ended_soon) AS ended_soon FROM rule_noise AS noise WHERE week >= toMonday(now() - INTERVAL {days} DAY) \
         GROUP BY rule ORDER BY rule"
    );
    let destinations =
        of("SELECT destination, countIf(stage = 'delivered') AS delivered, countIf(stage = 'failed') AS failed, \
                           argMaxIf(error, last_at, stage = 'failed') AS error FROM deliveries WHERE last_at {since} \
                           GROUP BY destination ORDER BY destination");
    let mut measured = Measured {
        types: rows(&warehouse, &types).await?,
        outcomes: rows(&warehouse, &outcomes).await?,
        secrets: rows(&warehouse, secrets).await?,
        rules: rows(&warehouse, &rules).await?,
        destinations: rows(&warehouse, &destinations).await?,
        extra: extra(&warehouse, &since).await?,
        ..Measured::default()
    };
    let looked_into = LinkEvent::COLUMNS.iter().filter(|column| {
        matches!(column.kind, Kind::Low | Kind::Text | Kind::Pairs) && !NOT_SENT.contains(&column.name)
    });
    for column in looked_into {
        measured.columns += 1;
        look_for_personal_data(&warehouse, column.name, column.kind, &since, &mut measured).await?;
    }
    Ok(measured)
}

async fn rows<T: DeserializeOwned>(warehouse: &Warehouse, sql: &str) -> Result<Vec<T>> {
    let rows = warehouse.query(Side::Production, sql, &[]).await?;
    let read = |row| serde_json::from_value(Value::Object(row)).map_err(|error| Error::Engine(Box::new(error)));
    rows.into_iter().map(read).collect()
}

async fn extra(warehouse: &Warehouse, since: &str) -> Result<Vec<(String, String, u64)>> {
    #[derive(Deserialize)]
    struct Extra {
        source: String,
        name: String,
        events: u64,
    }
    let sql = format!(
        "SELECT source, arrayJoin(mapKeys(extra))::String AS name, count() AS events FROM records \
         WHERE outcome = 'event' AND received_at {since} AND notEmpty(extra) AND name NOT IN ({}) GROUP BY source, name ORDER BY events DESC, name LIMIT {EXTRA}",
        OF_ADAPTERS.map(|name| format!("'{name}'")).join(", ")
    );
    let found: Vec<Extra> = rows(warehouse, &sql).await?;
    Ok(found.into_iter().map(|Extra { source, name, events }| (source, name, events)).collect())
}

/// Looks at the different values of a column; keeps how many look like personal data, and none of them.
async fn look_for_personal_data(
    warehouse: &Warehouse,
    column: &str,
    kind: Kind,
    since: &str,
    measured: &mut Measured,
) -> Result<()> {
    #[derive(Deserialize)]
    struct One {
        value: String,
        source: String,
    }
    let value =
        if kind == Kind::Pairs { format!("arrayJoin(mapValues(`{column}`))") } else { format!("`{column}`::String") };
    let sql = format!(
        "SELECT value, any(source)::String AS source FROM (SELECT {value} AS value, source FROM records WHERE outcome = 'event' \
         AND received_at {since}) WHERE value != '' GROUP BY value LIMIT {VALUES}"
    );
    let values: Vec<One> = rows(warehouse, &sql).await?;
    measured.looked_at += values.len();
    let hits: Vec<&One> = values.iter().filter(|one| event::personal::find(&one.value).is_some()).collect();
    if !hits.is_empty() {
        let sources: BTreeSet<&str> = hits.iter().map(|one| one.source.as_str()).collect();
        measured.personal.push(PersonalData {
            column: column.to_owned(),
            hits: hits.len(),
            values: values.len(),
            sources: sources.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    Ok(())
}
