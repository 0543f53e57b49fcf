//! What ClickHouse has of a rehearsal: in the test database, and what must not be in the other.

use event::{Alert, Map, Millis, Transition};
use serde::Deserialize;
use serde_json::Value;
use warehouse::{Side, Warehouse};

use crate::{Error, Result};

/// Alert ids that production is asked about.
const IDS: usize = 200;

/// What is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) rows: Vec<Row>,
    /// Alerts since an hour before the rehearsal began.
    pub(super) alerts: Vec<SeenAlert>,
    pub(super) steps: Vec<DeliveryStep>,
    /// What counts as production data of it: rows, alerts, messages.
    pub(super) production: [u64; 3],
}

/// A row of `records`, as texts.
pub(super) type Row = serde_json::Map<String, Value>;

/// An alert as it is stored.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SeenAlert {
    pub(super) alert_id: String,
    pub(super) rule: String,
    owner: String,
    pub(super) key: String,
    transition: String,
    start_ms: i64,
    pub(super) end_ms: i64,
    received_ms: i64,
    observed: u64,
    threshold: u64,
    pub(super) sample: String,
    attributes: serde_json::Map<String, Value>,
}

impl SeenAlert {
    pub(super) fn is_over(&self) -> bool {
        self.transition == Transition::Resolved.as_str()
    }

    /// As it was on its topic.
    pub(super) fn alert(&self) -> Alert<'static> {
        let mut attributes = Map::default();
        for (name, value) in &self.attributes {
            attributes.add(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        let transitions = [Transition::Each, Transition::Fired, Transition::Resolved];
        Alert {
            alert_id: self.alert_id.clone().into(),
            rule: self.rule.clone().into(),
            owner: self.owner.clone().into(),
            key: self.key.clone().into(),
            transition: transitions.into_iter().find(|one| one.as_str() == self.transition).unwrap_or_default(),
            window_start: Millis(self.start_ms),
            window_end: Millis(self.end_ms),
            received_at: Millis(self.received_ms),
            observed: self.observed,
            threshold: self.threshold,
            sample: self.sample.clone().into(),
            test: true,
            attributes,
            ..Alert::default()
        }
    }
}

/// A step of a delivery.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct DeliveryStep {
    pub(super) bundle_id: String,
    pub(super) destination: String,
    pub(super) stage: String,
    pub(super) error: String,
    pub(super) not_before_ms: i64,
    pub(super) alert_ids: Vec<String>,
}

/// Columns of rows that are compared; all of them as texts.
const COLUMNS: &str = "outcome::String AS outcome, type::String AS type, subtype::String AS subtype, counted::String AS counted, \
    utm_source::String AS utm_source, utm_medium::String AS utm_medium, utm_campaign::String AS utm_campaign, \
    utm_term, utm_content, qr_id, programme::String AS programme, placement::String AS placement, \
    destination_host::String AS destination_host, error_kind::String AS error_kind, \
    toString(redirect_status) AS redirect_status, detail";

pub(super) struct Looker {
    pub(super) warehouse: Warehouse,
    /// When the rehearsal began, in milliseconds since 1970.
    pub(super) begun: i64,
    /// What each of its event keys holds.
    pub(super) mark: String,
}

impl Looker {
    /// What is there now.
    pub(super) async fn look(&self, receipts: &[String]) -> Result<Seen> {
        let rows = self.rows(Side::Test, receipts).await?;
        let alerts = self.alerts(Side::Test).await?;
        let steps = self.steps().await?;
        let production = [self.rows(Side::Production, receipts).await?.len() as u64, 0, 0];
        Ok(Seen { rows, alerts, steps, production })
    }

    /// What counts as production data: rows, alerts, messages.
    pub(super) async fn in_production(&self, receipts: &[String], seen: &Seen) -> Result<[u64; 3]> {
        let rows = self.rows(Side::Production, receipts).await?.len() as u64;
        let of_it = |alert: &&SeenAlert| alert.sample.contains(&self.mark);
        let alerts = self.alerts(Side::Production).await?.iter().filter(of_it).count() as u64;
        let ids: Vec<&str> = seen.alerts.iter().filter(of_it).map(|alert| alert.alert_id.as_str()).take(IDS).collect();
        let since = self.begun.to_string();
        let sql = "SELECT count() AS messages FROM delivery_attempts WHERE at >= fromUnixTimestamp64Milli({since:Int64}) \
                   AND arrayExists(id -> has(splitByChar(',', {ids:String}), id), alert_ids)";
        let ids = ids.join(",");
        let parameters = [("since", since.as_str()), ("ids", &ids)];
        let messages = self.warehouse.query(Side::Production, sql, &parameters).await?;
        let messages = messages.first().and_then(|row| row.get("messages")?.as_u64()).unwrap_or(0);
        Ok([rows, alerts, messages])
    }

    /// Rows by receipt, and by what event keys hold: a request that was repeated may have been taken under a receipt
    /// that never came back.
    async fn rows(&self, side: Side, receipts: &[String]) -> Result<Vec<Row>> {
        let database = self.warehouse.database(side);
        let sql = format!(
            "SELECT event_key, {COLUMNS} FROM {database}.records WHERE received_at >= fromUnixTimestamp64Milli({{since:Int64}}) \
             AND (has(splitByChar(',', {{receipts:String}}), request_id) OR position(event_key, {{mark:String}}) > 0)"
        );
        let (since, receipts) = ((self.begun - 60_000).to_string(), receipts.join(","));
        let parameters = [("since", since.as_str()), ("receipts", &receipts), ("mark", &self.mark)];
        Ok(self.warehouse.query(side, &sql, &parameters).await?)
    }

    async fn alerts(&self, side: Side) -> Result<Vec<SeenAlert>> {
        let sql = "SELECT alert_id, rule::String AS rule, owner::String AS owner, key, transition::String AS transition, \
                   toUnixTimestamp64Milli(window_start) AS start_ms, toUnixTimestamp64Milli(window_end) AS end_ms, \
                   toUnixTimestamp64Milli(received_at) AS received_ms, observed, threshold, sample, attributes FROM alerts \
                   WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}) AND (position(sample, {mark:String}) > 0 \
                   OR {all:UInt8} = 1) ORDER BY received_at DESC LIMIT 20000";
        // In production only what is of the rehearsal is of interest.
        let all = if side == Side::Test { "1" } else { "0" };
        let since = (self.begun - 3_600_000).to_string();
        let parameters = [("since", since.as_str()), ("mark", &self.mark), ("all", all)];
        in_time(self.warehouse.query(side, sql, &parameters).await?)
    }

    async fn steps(&self) -> Result<Vec<DeliveryStep>> {
        let sql = "SELECT bundle_id, destination::String AS destination, stage::String AS stage, error, \
                   toUnixTimestamp64Milli(not_before) AS not_before_ms, alert_ids FROM delivery_attempts \
                   WHERE at >= fromUnixTimestamp64Milli({since:Int64}) ORDER BY at DESC LIMIT 20000";
        in_time(self.warehouse.query(Side::Test, sql, &[("since", &self.begun.to_string())]).await?)
    }
}

/// Rows that come newest first, so that a limit leaves out the oldest.
fn in_time<T: serde::de::DeserializeOwned>(mut rows: Vec<Row>) -> Result<Vec<T>> {
    rows.reverse();
    read(rows)
}

fn read<T: serde::de::DeserializeOwned>(rows: Vec<Row>) -> Result<Vec<T>> {
    let one = |row| serde_json::from_value(Value::Object(row)).map_err(|error| Error::Engine(Box::new(error)));
    rows.into_iter().map(one).collect()
}
