//! Alerts and the texts of messages made of them. An alert that is erased stays as a stub: its id, its rule and when it
//! was raised, so that a message which is planned later is known by it.

use std::collections::HashSet;

use clickhouse::Row;
use event::{Alert, Delivery, Erasure, Map, Scope};
use serde::Deserialize;

use super::{AT_ONCE, Condition};
use crate::connect::{quote, quoted};
use crate::{Side, Warehouse, WarehouseError};

/// The attribute of the stub of an alert: the id of the erasure. No alert that is raised has one of this name.
pub(crate) const NOTE: &str = "erasure";
/// How long after its time a message may be planned, in hours: of a start that another alert held back, it never is.
const PLANNED_WITHIN: u32 = 1;

/// An alert that was erased: that it was there, and no more.
#[must_use]
pub fn alert_stub(alert: &Alert<'_>, erasure: &str) -> Alert<'static> {
    let owned = |text: &str| text.to_owned().into();
    let mut attributes = Map::default();
    attributes.add(NOTE, erasure.to_owned());
    Alert {
        alert_id: owned(&alert.alert_id),
        rule: owned(&alert.rule),
        rule_version: owned(&alert.rule_version),
        owner: owned(&alert.owner),
        transition: alert.transition,
        window_start: alert.window_start,
        window_end: alert.window_end,
        received_at: alert.received_at,
        test: alert.test,
        attributes,
        ..Alert::default()
    }
}

/// A step of a message whose text was erased: that it was taken, and no more.
pub fn without_text(step: &mut Delivery<'_>) {
    (step.body, step.group, step.error) = Default::default();
}

#[derive(Row, Deserialize)]
struct Id {
    id: String,
}

impl Condition<'_> {
    /// Alerts of the erasure that are stubs.
    fn alert_stubs(&self) -> String {
        format!("attributes['{NOTE}'] = {}", quote(&self.0.id))
    }

    /// Bundles about what is erased: those with an alert of it, whenever they were planned, and those of its link.
    fn bundles(&self, database: &str) -> String {
        let of_group = match &self.0.scope {
            Scope::Link(link) => format!(
                " OR `group` != '' AND {} = toUInt64({link}) AND at <= fromUnixTimestamp64Milli({}, 'UTC')",
                self.hash("`group`"),
                self.0.through.0
            ),
            _ => String::new(),
        };
        format!(
            "SELECT bundle_id FROM {database}.delivery_log WHERE hasAny(alert_ids, (SELECT groupArray(alert_id) FROM {database}.alert_log \
             WHERE ({}) OR {})){of_group}",
            self.alerts(database),
            self.alert_stubs(),
        )
    }
}

impl Warehouse {
    /// Bundles whose text tells of what is erased.
    pub(super) async fn texts(&self, side: Side, erasure: &Erasure) -> Result<Vec<String>, WarehouseError> {
        let database = self.database(side);
        let sql = format!(
            "SELECT bundle_id AS id FROM {database}.delivery_log WHERE bundle_id IN ({}) \
             GROUP BY bundle_id HAVING max(length(body) + length(`group`) + length(error)) > 0 ORDER BY bundle_id",
            Condition(erasure).bundles(database),
        );
        let rows: Vec<Id> = self.rows("look for texts of messages", sql).await?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// How many messages hold an alert of what is erased and are not planned yet: they may still tell of it.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn unplanned_messages(&self, erasure: &Erasure) -> Result<u64, WarehouseError> {
        let mut number = 0;
        for side in Side::BOTH {
            let database = self.database(side);
            let sql = format!(
                "SELECT count() AS number FROM (SELECT bundle_id, destination, argMax(stage::String, (at, attempt)) AS last, \
                 max(not_before) AS due FROM {database}.delivery_log WHERE bundle_id IN ({}) GROUP BY bundle_id, destination \
                 HAVING last = 'held' AND due > now64(3) - INTERVAL {PLANNED_WITHIN} HOUR)",
                Condition(erasure).bundles(database),
            );
            number += self.one_number("look for messages that wait for their time", sql).await?;
        }
        Ok(number)
    }

    /// Erases texts of messages, and makes stubs of alerts: the texts first, which are found by the alerts.
    pub(super) async fn erase_messages(&self, side: Side, erasure: &Erasure) -> Result<(), WarehouseError> {
        let (database, is) = (self.database(side), Condition(erasure));
        for bundles in self.texts(side, erasure).await?.chunks(AT_ONCE) {
            let change = format!("UPDATE body = '', `group` = '', error = '' WHERE bundle_id IN ({})", quoted(bundles));
            self.rewrite(side, "delivery_log", &change).await?;
        }
        let (alerts, id) = (is.alerts(database), quote(&erasure.id));
        let there = format!("SELECT count() AS number FROM {database}.alert_log WHERE {alerts}");
        if self.one_number("look for alerts to erase", there).await? > 0 {
            let change = format!(
                "UPDATE key = '', sample = '', observed = 0, threshold = 0, attributes = map('{NOTE}', {id}) WHERE {alerts}"
            );
            self.rewrite(side, "alert_log", &change).await?;
        }
        Ok(())
    }

    /// Which of these alerts are stubs.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn erased_alerts(&self, ids: &[String]) -> Result<HashSet<String>, WarehouseError> {
        let mut erased = HashSet::new();
        for ids in ids.chunks(AT_ONCE) {
            let of = |side| {
                format!(
                    "SELECT alert_id AS id FROM {}.alert_log WHERE attributes['{NOTE}'] != '' AND alert_id IN ({})",
                    self.database(side),
                    quoted(ids)
                )
            };
            let sql = format!("{} UNION ALL {}", of(Side::Production), of(Side::Test));
            let rows: Vec<Id> = self.rows("look for alerts that were erased", sql).await?;
            erased.extend(rows.into_iter().map(|row| row.id));
        }
        Ok(erased)
    }
}
