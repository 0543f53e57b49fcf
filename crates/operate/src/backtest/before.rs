//! What the rules said when they ran, as ClickHouse has it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};
use warehouse::{Side, Warehouse};

use super::Fired;
use crate::Result;

/// Alerts and messages of a span.
#[derive(Debug, Default)]
pub(super) struct Before {
    alerts: BTreeMap<String, Vec<Fired>>,
    versions: BTreeMap<String, BTreeSet<String>>,
    messages: BTreeMap<String, u64>,
}

impl Before {
    /// Reads what was said in a span of milliseconds since 1970.
    pub(super) async fn read(warehouse: &Warehouse, span: Range<i64>) -> Result<Self> {
        let within = |column: &str| {
            format!(
                "{column} >= fromUnixTimestamp64Milli({}) AND {column} < fromUnixTimestamp64Milli({})",
                span.start, span.end
            )
        };
        let mut before = Self::default();
        let alerts = format!(
            "SELECT toString(rule) AS rule, toString(rule_version) AS version, key, toUnixTimestamp64Milli(a.received_at) AS at, \
             attributes['why'] AS why FROM alerts AS a WHERE transition != 'resolved' AND {} ORDER BY at, key",
            within("a.received_at")
        );
        for row in warehouse.query(Side::Production, &alerts, &[]).await? {
            let rule = text(&row, "rule");
            before.versions.entry(rule.clone()).or_default().insert(text(&row, "version"));
            let fired = Fired { at: number(&row, "at"), key: text(&row, "key"), why: text(&row, "why") };
            before.alerts.entry(rule).or_default().push(fired);
        }
        let messages = format!(
            "SELECT toString(rule) AS rule, count() AS messages FROM deliveries WHERE stage IN ('planned', 'attempted', 'delivered', 'failed') \
             AND {} GROUP BY rule",
            within("planned_at")
        );
        for row in warehouse.query(Side::Production, &messages, &[]).await? {
            before.messages.insert(text(&row, "rule"), number(&row, "messages").try_into().unwrap_or(0));
        }
        Ok(before)
    }

    /// The alerts of a rule, without ends.
    pub(super) fn alerts(&self, rule: &str) -> &[Fired] {
        self.alerts.get(rule).map_or(&[], Vec::as_slice)
    }

    /// The versions of a rule that fired.
    pub(super) fn versions(&self, rule: &str) -> impl Iterator<Item = &str> {
        self.versions.get(rule).into_iter().flatten().map(String::as_str)
    }

    /// Messages of a rule.
    pub(super) fn messages(&self, rule: &str) -> u64 {
        self.messages.get(rule).copied().unwrap_or(0)
    }
}

fn text(row: &Map<String, Value>, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(row: &Map<String, Value>, name: &str) -> i64 {
    row.get(name).and_then(Value::as_i64).unwrap_or(0)
}
