//! An event as its row: the columns as JSON, from the event and from ClickHouse, so that the two can be held against
//! each other.

use std::collections::BTreeMap;

use event::{Kind, LinkEvent, Value as Stored};
use serde::Serialize;
use serde_json::{Map, Value, json};
use warehouse::{Side, Warehouse};

use crate::Result;

/// Columns that say under which versions was decided, not what.
const VERSIONS: [&str; 3] = ["config_version", "catalogue_version", "schema_version"];
/// Columns that the catalogue fills. Where it says another thing of the link by now, they tell nothing of the
/// configuration.
const OF_CATALOGUE: [&str; 13] = [
    "link_kind",
    "owner",
    "intent",
    "campaign",
    "programme",
    "placement",
    "partner",
    "partner_approved",
    "launch",
    "extra",
    "naming_issues",
    "trace",
    "database",
];
/// Columns that ClickHouse forgets before the row: an empty one says nothing.
const FORGOTTEN: [&str; 2] = ["request_id", "visitor"];

/// A column that would be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The column; `database` says whether it is test data.
    pub column: String,
    /// As it is stored.
    pub stored: Value,
    /// As the configuration of now says.
    pub now: Value,
}

/// The columns of a row; `database` is among them.
pub(super) type Columns = Map<String, Value>;

/// The row that an event becomes.
pub(super) fn of_event(event: &LinkEvent<'_>, warehouse: &warehouse::Settings) -> Columns {
    let mut names = LinkEvent::COLUMNS.iter().filter(|column| column.kind != Kind::Unstored);
    let mut columns = Map::new();
    event.visit(|value| {
        if let Some(column) = names.next() {
            columns.insert(column.name.to_owned(), json_of(value));
        }
    });
    let database = if event.test { &warehouse.test_database } else { &warehouse.database };
    columns.insert("database".to_owned(), json!(database));
    columns
}

fn json_of(value: Stored<'_>) -> Value {
    match value {
        Stored::Text(text) => json!(text),
        Stored::Time(millis) | Stored::Signed(millis) => json!(millis),
        Stored::Unsigned(number) => json!(number),
        Stored::Short(number) => json!(number),
        Stored::Flag(flag) => json!(flag),
        Stored::Pairs(pairs) => pairs.iter().map(|(name, value)| (name.to_string(), json!(value))).collect(),
        Stored::Names(names) => json!(names),
        Stored::Unstored => Value::Null,
    }
}

/// The rows of some records of a lane, by offset; of records with two rows, one.
pub(super) async fn stored(
    warehouse: &Warehouse,
    incarnation: &str,
    lane: u16,
    offsets: std::ops::Range<u64>,
) -> Result<BTreeMap<u64, Columns>> {
    let columns = LinkEvent::COLUMNS.iter().filter(|column| column.kind != Kind::Unstored);
    let list: Vec<String> = columns
        .map(|column| match column.kind {
            Kind::Time => format!("toUnixTimestamp64Milli(r.`{0}`) AS `{0}`", column.name),
            Kind::Country => format!("replaceAll(toString(r.`{0}`), '\\0', '') AS `{0}`", column.name),
            _ => format!("r.`{0}` AS `{0}`", column.name),
        })
        .collect();
    let of = |side| {
        let database = warehouse.database(side);
        format!(
            "SELECT {}, '{database}' AS database FROM {database}.records AS r WHERE r.incarnation = {{incarnation:String}} \
             AND r.lane = {{lane:UInt16}} AND r.raw_offset >= {{low:UInt64}} AND r.raw_offset < {{high:UInt64}}",
            list.join(", ")
        )
    };
    let sql = format!("{} UNION ALL {}", of(Side::Production), of(Side::Test));
    let (lane, low, high) = (lane.to_string(), offsets.start.to_string(), offsets.end.to_string());
    let parameters = [("incarnation", incarnation), ("lane", &lane), ("low", &low), ("high", &high)];
    let rows = warehouse.query(Side::Production, &sql, &parameters).await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.get("raw_offset")?.as_u64()?, row))).collect())
}

/// In which columns a stored row and what would be now differ.
pub(super) fn differences(stored: &Columns, now: &Columns) -> Vec<Difference> {
    let says_nothing =
        |name: &str, value: &Value| FORGOTTEN.contains(&name) && (*value == json!("") || *value == json!(0));
    let other_catalogue = number(stored, "catalogue_version") != number(now, "catalogue_version");
    let differs = |name: &str, before: &Value| {
        let now = now.get(name).unwrap_or(&Value::Null);
        let left_out = VERSIONS.contains(&name) || (other_catalogue && OF_CATALOGUE.contains(&name));
        *before != *now && !left_out && !says_nothing(name, before)
    };
    let different = stored.iter().filter(|(name, before)| differs(name, before));
    different
        .map(|(name, before)| Difference {
            column: name.clone(),
            stored: before.clone(),
            now: now.get(name).cloned().unwrap_or_default(),
        })
        .collect()
}

/// A column as text.
pub(super) fn text<'c>(columns: &'c Columns, name: &str) -> &'c str {
    columns.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A column as a number.
pub(super) fn number(columns: &Columns, name: &str) -> i64 {
    columns.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// A column as a list of texts.
pub(super) fn texts<'c>(columns: &'c Columns, name: &str) -> impl Iterator<Item = &'c str> {
    columns.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
