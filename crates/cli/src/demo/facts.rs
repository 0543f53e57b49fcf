//! What ClickHouse says about a running demo: the questions that anyone may ask, with their answers.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::{Map, Value};
use warehouse::{Side, Warehouse, WarehouseError};

/// How many busy links are asked for.
pub(super) const LINKS: usize = 5;

/// Everything since the demo began, as the tables have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Rows by outcome.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Events by who they count as.
    pub(super) counted: BTreeMap<String, u64>,
    /// Alerts by transition (`each`, `fired`, `resolved`).
    pub(super) alerts: BTreeMap<String, u64>,
    /// The last alert: its rule, what it is about.
    pub(super) last_alert: Option<(String, String)>,
    /// Messages by where they stand (`planned`, `attempted`, `delivered`, `failed`).
    pub(super) messages: BTreeMap<String, u64>,
    /// The busiest links of the last five minutes.
    pub(super) links: Vec<BusyLink>,
    /// Everything received before it is in the tables; empty when unknown.
    pub(super) complete_through: String,
    /// Records without a row, or with two.
    pub(super) off_balance: u64,
}

/// A link that is busy.
#[derive(Debug, Clone, Default)]
pub(super) struct BusyLink {
    pub(super) link: String,
    pub(super) visits: u64,
    pub(super) scans: u64,
    pub(super) bots: u64,
}

impl Facts {
    /// Asks everything, for what was received since `begun`.
    pub(super) async fn ask(warehouse: &Warehouse, begun: Timestamp) -> anyhow::Result<Self> {
        let begun = begun.as_millisecond();
        let since = |column: &str| format!("{column} >= fromUnixTimestamp64Milli({begun})");
        let mut facts = Self::default();
        let records = format!(
            "SELECT outcome, counted, count() AS n FROM hookline.records WHERE {} GROUP BY outcome, counted",
            since("received_at")
        );
        for row in rows(warehouse, &records).await? {
            *facts.outcomes.entry(text(&row, "outcome")).or_default() += number(&row, "n");
            if row["outcome"] == "event" {
                *facts.counted.entry(text(&row, "counted")).or_default() += number(&row, "n");
            }
        }
        let alerts = format!(
            "SELECT transition, count() AS n, max(received_at) AS at, argMax(rule, received_at) AS rule, \
             argMax(if(attributes['slug'] = '', key, concat(attributes['domain'], '/', attributes['slug'])), received_at) \
             AS about FROM hookline.alerts WHERE {} GROUP BY transition ORDER BY at",
            since("received_at")
        );
        for row in rows(warehouse, &alerts).await? {
            facts.alerts.insert(text(&row, "transition"), number(&row, "n"));
            facts.last_alert = Some((text(&row, "rule"), text(&row, "about")));
        }
        let messages =
            format!("SELECT stage, count() AS n FROM hookline.deliveries WHERE {} GROUP BY stage", since("planned_at"));
        for row in rows(warehouse, &messages).await? {
            facts.messages.insert(text(&row, "stage"), number(&row, "n"));
        }
        let links = format!(
            "SELECT concat(domain, '/', slug) AS link, countIf(counted = 'human') AS visits, \
             countIf(counted = 'human' AND type = 'qr_scan') AS scans, countIf(counted = 'bot') AS bots \
             FROM hookline.events WHERE received_at >= now64() - INTERVAL 5 MINUTE AND type IN ('click', 'qr_scan') \
             GROUP BY link ORDER BY visits DESC, link LIMIT {LINKS}"
        );
        for row in rows(warehouse, &links).await? {
            facts.links.push(BusyLink {
                link: text(&row, "link"),
                visits: number(&row, "visits"),
                scans: number(&row, "scans"),
                bots: number(&row, "bots"),
            });
        }
        let through =
            "SELECT formatDateTime(min(complete_through), '%T') AS through, count() AS n FROM hookline.completeness";
        for row in rows(warehouse, through).await?.iter().filter(|row| number(row, "n") > 0) {
            facts.complete_through = text(row, "through");
        }
        let balance = "SELECT toUInt64(sum(abs(missing)) + sum(repeated)) FROM hookline.ledger";
        facts.off_balance = only_number(warehouse, balance).await?;
        Ok(facts)
    }

    /// Rows of any outcome.
    pub(super) fn rows(&self) -> u64 {
        self.outcomes.values().sum()
    }
}

type Row = Map<String, Value>;

async fn rows(warehouse: &Warehouse, sql: &str) -> Result<Vec<Row>, WarehouseError> {
    warehouse.query(Side::Production, sql, &[]).await
}

/// The number of a query that answers with one.
pub(super) async fn only_number(warehouse: &Warehouse, sql: &str) -> anyhow::Result<u64> {
    let rows = rows(warehouse, sql).await?;
    let number = rows.first().and_then(|row| row.values().next()).and_then(Value::as_u64);
    number.with_context(|| format!("ClickHouse answered {sql} with {rows:?} and not with a number"))
}

fn text(row: &Row, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Row, column: &str) -> u64 {
    row.get(column).and_then(Value::as_u64).unwrap_or_default()
}
