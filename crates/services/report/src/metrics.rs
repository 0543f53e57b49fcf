//! What `report` counts.

use prometheus::{Histogram, IntCounter};
use runtime::{LaneMetrics, Telemetry};

pub(crate) struct ReportMetrics {
    pub(crate) rows: IntCounter,
    pub(crate) insert_seconds: Histogram,
    pub(crate) lanes: LaneMetrics,
}

impl ReportMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self, prometheus::Error> {
        let rows = telemetry.metrics.counter("rows_total", "Rows written to ClickHouse", &["table"])?;
        let inserts = telemetry.metrics.seconds("insert_seconds", "Time that ClickHouse takes for a block", &[])?;
        Ok(Self {
            rows: rows.with_label_values(&["records"]),
            insert_seconds: inserts.with_label_values::<&str>(&[]),
            lanes: telemetry.metrics.lanes().clone(),
        })
    }
}
