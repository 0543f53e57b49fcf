//! What the rules said when they ran, as ClickHouse has it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};
use warehouse::{Side, Warehouse};

use super::{Fired, KEPT};
use crate::Result;

/// Alerts and messages of a span.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// The first of them, by rule.
    alerts: BTreeMap<String, Vec<Fired>>,
    /// How many there are, by rule.
    numbers: BTreeMap<String, u64>,
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
        let numbers = format!(
            "SELECT toString(rule) AS name, toString(rule_version) AS version, count() AS alerts FROM alerts AS a \
             WHERE transition != 'resolved' AND {} GROUP BY name, version",
            within("a.received_at")
        );
        for row in warehouse.query(Side::Production, &numbers, &[]).await? {
            let rule = text(&row, "name");
            before.versions.entry(rule.clone()).or_default().insert(text(&row, "version"));
            *before.numbers.entry(rule).or_default() += u64::try_from(number(&row, "alerts")).unwrap_or(0);
        }
        let alerts = format!(
            "SELECT toString(rule) AS name, key, toUnixTimestamp64Milli(a.received_at) AS at, attributes['why'] AS why \
             FROM alerts AS a WHERE transition != 'resolved' AND {} ORDER BY at, key LIMIT {KEPT} BY name",
            within("a.received_at")
        );
        for row in warehouse.query(Side::Production, &alerts, &[]).await? {
            let rule = text(&row, "name");
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

    /// How many alerts of a rule there are, without ends.
    pub(super) fn number(&self, rule: &str) -> u64 {
        self.numbers.get(rule).copied().unwrap_or(0)
    }

    /// The first alerts of a rule, without ends, by time.
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
