//! What is really used: the event types that sources send, the fields that have values, what failed. From the rows.

use event::{Kind, LinkEvent};
use serde_json::Value;
use warehouse::{Side, Warehouse};

use super::{Block, Part};
use crate::{Installation, Result};

/// How far back is looked.
const DAYS: u32 = 30;
/// Columns that are there by themselves and say nothing of what a sender gives.
const OURS: [&str; 16] = [
    "outcome",
    "received_at",
    "event_time",
    "counted",
    "counted_by",
    "source",
    "secret_id",
    "event_key",
    "request_id",
    "trace",
    "config_version",
    "catalogue_version",
    "schema_version",
    "raw_offset",
    "first_offset",
    "duplicate_delay",
];

/// The parts, or one that says why there are none.
pub(super) async fn parts(installation: &Installation) -> Vec<Part> {
    let asked = async {
        let warehouse = installation.connect().await?;
        Ok::<_, crate::Error>((types(&warehouse).await?, fields(&warehouse).await?, failures(&warehouse).await?))
    };
    match asked.await {
        Ok((types, fields, failures)) => vec![
            Part::measured("types", "Event types that came in the last 30 days", types),
            Part::measured("fields", "The schema as it is really used", fields),
            Part::measured("failures", "Messages that failed in the last 30 days", failures),
        ],
        Err(error) => {
            vec![Part::measured("used", "Events and fields that are really used", vec![not_asked(&error.to_string())])]
        }
    }
}

pub(super) fn not_asked(why: &str) -> Block {
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    Block::Text(format!("ClickHouse was not asked{why}. With it, this part lists what came in the last {DAYS} days."))
}

async fn types(warehouse: &Warehouse) -> Result<Vec<Block>> {
    let sql = format!(
        "SELECT source, type::String || if(subtype = '' OR subtype = type, '', ' (' || subtype || ')') AS type, count() AS events, \
         toString(toDate(max(events.received_at))) AS last FROM events \
         WHERE events.received_at > now() - INTERVAL {DAYS} DAY GROUP BY source, type, subtype ORDER BY source, events DESC LIMIT 200"
    );
    let rows = cells(warehouse.query(Side::Production, &sql, &[]).await?, &["source", "type", "events", "last"]);
    Ok(match rows.is_empty() {
        true => vec![Block::Text("No event came.".into())],
        false => vec![Block::Table { head: vec!["source", "event type", "events", "last"], rows }],
    })
}

/// For each column that a sender can give: of how many events in a hundred it has a value, by source.
async fn fields(warehouse: &Warehouse) -> Result<Vec<Block>> {
    let columns: Vec<_> = LinkEvent::COLUMNS
        .iter()
        .filter(|column| column.kind != Kind::Unstored && !OURS.contains(&column.name))
        .collect();
    let share = |name: &str| {
        format!(
            "round(100 * countIf(notEmpty(toString(`{name}`)) AND toString(`{name}`) NOT IN ('0', 'false', '[]', '{{}}', '\\0\\0')) / count(), 1)"
        )
    };
    let pairs: Vec<String> =
        columns.iter().map(|column| format!("('{0}', {1})", column.name, share(column.name))).collect();
    let sql = format!(
        "SELECT source, (arrayJoin([{}]) AS used).1 AS field, used.2 AS share FROM records \
         WHERE outcome = 'event' AND received_at > now() - INTERVAL {DAYS} DAY GROUP BY source ORDER BY source, share DESC, field",
        pairs.join(", ")
    );
    let rows = warehouse.query(Side::Production, &sql, &[]).await?;
    let used: Vec<_> =
        rows.into_iter().filter(|row| row.get("share").and_then(Value::as_f64).unwrap_or(0.0) > 0.0).collect();
    let meaning = |name: &str| columns.iter().find(|column| column.name == name).map_or("", |column| column.doc);
    let mut rows = cells(used, &["source", "field", "share"]);
    for row in &mut rows {
        let doc = row.get(1).map_or("", |name| meaning(name)).to_owned();
        if let Some(share) = row.get_mut(2) {
            share.push_str(" %");
        }
        row.push(doc);
    }
    Ok(match rows.is_empty() {
        true => vec![Block::Text("No event came, so no field was used.".into())],
        false => vec![Block::Table { head: vec!["source", "field", "has a value in", "means"], rows }],
    })
}

async fn failures(warehouse: &Warehouse) -> Result<Vec<Block>> {
    let sql = format!(
        "SELECT destination, countIf(stage = 'delivered') AS delivered, countIf(stage = 'failed') AS failed, \
         argMaxIf(error, last_at, stage = 'failed') AS error FROM deliveries WHERE last_at > now() - INTERVAL {DAYS} DAY \
         GROUP BY destination ORDER BY destination"
    );
    let rows =
        cells(warehouse.query(Side::Production, &sql, &[]).await?, &["destination", "delivered", "failed", "error"]);
    Ok(match rows.is_empty() {
        true => vec![Block::Text("No message was sent.".into())],
        false => vec![Block::Table { head: vec!["destination", "delivered", "failed", "last reason"], rows }],
    })
}

fn cells(rows: Vec<serde_json::Map<String, Value>>, columns: &[&str]) -> Vec<Vec<String>> {
    let cell = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    rows.iter().map(|row| columns.iter().map(|column| cell(row.get(*column))).collect()).collect()
}
