//! Alerts, deliveries and lane watermarks: small logs, written at least once and shown once.

use event::{Alert, Delivery, Millis, Value};

use crate::native::{Columns, Constant};
use crate::server::Server;
use crate::{Side, Warehouse, WarehouseError};

/// How far a lane is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneWatermark {
    /// The lane.
    pub lane: u16,
    /// One past the last raw offset whose row is in ClickHouse.
    pub raw_hi: u64,
    /// No later record of the lane was received before it.
    pub watermark: Millis,
}

impl Warehouse {
    /// Writes alerts, those about test data into the test database. Repeats are shown once, whatever the token.
    ///
    /// `token` names the batch (topic, partition and offsets): a retry with the same alerts is absorbed.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: write the same alerts again.
    pub async fn insert_alerts(&self, alerts: &[Alert<'_>], token: &str) -> Result<(), WarehouseError> {
        for side in Side::BOTH {
            let mut columns = Columns::new(Alert::COLUMNS);
            for alert in alerts.iter().filter(|alert| alert.test == (side == Side::Test)) {
                let mut row = columns.row();
                alert.visit(|value| row.push(value));
                row.finish()?;
            }
            self.insert_log(self.home(), side, "alert_log", &columns, &[], token).await?;
        }
        Ok(())
    }

    /// Writes steps of deliveries, as [`Self::insert_alerts`].
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: write the same steps again.
    pub async fn insert_deliveries(&self, deliveries: &[Delivery<'_>], token: &str) -> Result<(), WarehouseError> {
        for side in Side::BOTH {
            let mut columns = Columns::new(Delivery::COLUMNS);
            for delivery in deliveries.iter().filter(|delivery| delivery.test == (side == Side::Test)) {
                let mut row = columns.row();
                delivery.visit(|value| row.push(value));
                row.finish()?;
            }
            self.insert_log(self.home(), side, "delivery_log", &columns, &[], token).await?;
        }
        Ok(())
    }

    /// Says how far lanes are settled, idle ones too: `completeness` is as old as the oldest of them. Every few seconds is enough.
    /// It is said to every shard that answers.
    ///
    /// # Errors
    /// When ClickHouse does not answer or refuses: the next call says it all again.
    pub async fn save_watermarks(&self, incarnation: &str, lanes: &[LaneWatermark]) -> Result<(), WarehouseError> {
        let incarnation = [Constant { name: "incarnation", value: Value::Text(incarnation) }];
        let mut first = Ok(());
        for server in self.servers() {
            let mut columns = Columns::new(&WATERMARK_COLUMNS);
            for lane in lanes.iter().filter(|lane| self.of_lane(lane.lane).shard() == server.shard()) {
                let mut row = columns.row();
                row.push(Value::Short(lane.lane));
                row.push(Value::Unsigned(lane.raw_hi));
                row.push(Value::Time(lane.watermark.0));
                row.finish()?;
            }
            // No token: a repeat changes nothing, and a lane may well be where it was.
            let saved = self.insert_log(server, Side::Production, "lane_watermarks", &columns, &incarnation, "").await;
            first = first.and(saved);
        }
        first
    }

    pub(crate) async fn insert_log(
        &self,
        server: &Server,
        side: Side,
        table: &str,
        columns: &Columns,
        constants: &[Constant<'_>],
        token: &str,
    ) -> Result<(), WarehouseError> {
        if columns.rows() == 0 {
            return Ok(());
        }
        let table = self.own_table(side, table);
        server.insert_native(&table, &columns.names(constants), columns.native(constants)?.into(), token).await
    }
}

static WATERMARK_COLUMNS: [event::Column; 3] = [
    event::Column { name: "lane", kind: event::Kind::Short, doc: "" },
    event::Column { name: "raw_hi", kind: event::Kind::Unsigned, doc: "" },
    event::Column { name: "watermark", kind: event::Kind::Time, doc: "" },
];
