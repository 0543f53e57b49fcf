//! Where the records of an erasure stood on topics, and who was sent what of them.

use clickhouse::Row;
use event::Erasure;
use serde::{Deserialize, Serialize};

use super::{Condition, ERASED};
use crate::{Side, Warehouse, WarehouseError};

/// Records of a lane that an erasure is about.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct LaneRest {
    /// The life of the topics.
    pub incarnation: String,
    /// The lane.
    pub lane: u16,
    /// How many.
    pub records: u64,
    /// Those of them that are dead letters.
    pub dead_letters: u64,
    /// The first raw offset.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// When the last of them was received, milliseconds since 1970.
    pub until: i64,
}

/// Messages that were sent to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize, Serialize)]
pub struct Sent {
    /// The destination.
    pub destination: String,
    /// How many messages.
    pub messages: u64,
    /// When the last of them was planned, milliseconds since 1970.
    pub until: i64,
}

impl Warehouse {
    /// The places in `raw` of the records of an erasure, whether erased or not, received at `since` or later.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn erased_places(&self, erasure: &Erasure, since_ms: i64) -> Result<Vec<LaneRest>, WarehouseError> {
        let is = Condition(erasure);
        let of = |side| {
            format!(
                "SELECT incarnation, lane, raw_offset, outcome = 'dead_letter' OR reason = 'dead_letter' AND outcome = '{ERASED}' AS dead, \
                 received_at FROM {}.records WHERE (({}) OR ({})) AND received_at >= fromUnixTimestamp64Milli({since_ms}, 'UTC')",
                self.database(side),
                is.stubs(),
                is.records(),
            )
        };
        let sql = format!(
            "SELECT incarnation::String AS incarnation, lane, uniqExact(raw_offset) AS records, uniqExactIf(raw_offset, dead) AS dead_letters, \
             min(raw_offset) AS first, max(raw_offset) AS last, toUnixTimestamp64Milli(max(received_at)) AS until \
             FROM ({} UNION ALL {}) GROUP BY incarnation, lane ORDER BY incarnation, lane",
            of(Side::Production),
            of(Side::Test),
        );
        self.rows("look where erased records stood", sql).await
    }

    /// How many messages with texts about what is to be erased were sent, by destination. Their texts are needed to
    /// tell.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn sent_about(&self, erasure: &Erasure) -> Result<Vec<Sent>, WarehouseError> {
        let mut sent: Vec<Sent> = Vec::new();
        for side in Side::BOTH {
            let database = self.database(side);
            for bundles in self.texts(side, erasure).await?.chunks(super::AT_ONCE) {
                let list = crate::connect::quoted(bundles);
                let sql = format!(
                    "SELECT log.destination::String AS destination, uniqExact(log.bundle_id) AS messages, \
                     toUnixTimestamp64Milli(max(log.at)) AS until FROM {database}.delivery_log AS log \
                     WHERE log.bundle_id IN ({list}) AND log.stage IN ('attempted', 'delivered') GROUP BY destination ORDER BY destination"
                );
                for row in self.rows::<Sent>("look for messages that were sent", sql).await? {
                    match sent.iter_mut().find(|known| known.destination == row.destination) {
                        Some(known) => {
                            known.messages += row.messages;
                            known.until = known.until.max(row.until);
                        }
                        None => sent.push(row),
                    }
                }
            }
        }
        Ok(sent)
    }

    /// Other names of the link of an erasure, as rows have them: the platform's ids and each `domain/slug`.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses.
    pub async fn names_of_erased(&self, erasure: &Erasure) -> Result<Vec<String>, WarehouseError> {
        #[derive(Row, Deserialize)]
        struct Named {
            name: String,
        }
        let is = Condition(erasure);
        let of = |side| {
            format!(
                "SELECT arrayJoin([link_id, if(slug = '', '', concat(domain::String, '/', slug))]) AS name FROM {}.records WHERE {}",
                self.database(side),
                is.records(),
            )
        };
        let sql = format!(
            "SELECT DISTINCT name FROM ({} UNION ALL {}) WHERE name != '' ORDER BY name LIMIT 1000",
            of(Side::Production),
            of(Side::Test),
        );
        let rows: Vec<Named> = self.rows("look for other names of a link", sql).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }
}
