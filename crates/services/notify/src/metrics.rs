//! What the notifier counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use event::{Delivery, DeliveryStage};
use prometheus::{Gauge, GaugeVec, HistogramVec, IntCounterVec};
use runtime::{LaneMetrics, Telemetry};

use crate::Settings;

#[derive(Clone)]
pub(crate) struct NotifyMetrics {
    deliveries: IntCounterVec,
    seconds: HistogramVec,
    oldest: GaugeVec,
    circuits: GaugeVec,
    /// What people have paused.
    pub(crate) held_back: GaugeVec,
    noise: IntCounterVec,
    by_partition: Arc<Mutex<BTreeMap<(String, u16), f64>>>,
    pub(crate) lanes: LaneMetrics,
}

impl NotifyMetrics {
    pub(crate) fn new(telemetry: &Telemetry, settings: &Settings) -> Result<Self, prometheus::Error> {
        let metrics = &telemetry.metrics;
        let this = Self {
            deliveries: metrics.counter(
                "deliveries_total",
                "Messages by what became of them: delivered, failed, retried (one attempt), silenced",
                &["destination", "outcome"],
            )?,
            seconds: metrics.seconds(
                "delivery_seconds",
                "From the receipt of a message's first event to its delivery, waits included",
                &["destination"],
            )?,
            oldest: metrics.gauge(
                "oldest_pending_seconds",
                "Age of the oldest message that is owed",
                &["destination"],
            )?,
            circuits: metrics.gauge(
                "circuit_open",
                "Whether a destination is left alone for now, or has refused for good",
                &["destination"],
            )?,
            held_back: metrics.gauge(
                "messages_paused",
                "1 while a person has paused a rule or a destination",
                &["kind", "id"],
            )?,
            noise: metrics.counter(
                "rule_messages_total",
                "Messages by the rule that speaks: planned, and held back by a silence, a pause or an acknowledgement",
                &["rule", "outcome"],
            )?,
            by_partition: Arc::default(),
            lanes: metrics.lanes().clone(),
        };
        for destination in &settings.destinations {
            this.circuits.with_label_values(&[&destination.name]).set(0.0);
            this.oldest.with_label_values(&[&destination.name]).set(0.0);
        }
        Ok(this)
    }

    /// Counts a record that is committed.
    pub(crate) fn count(&self, record: &Delivery<'_>) {
        let noise = |outcome: &str| self.noise.with_label_values(&[record.rule.as_ref(), outcome]).inc();
        match record.stage {
            DeliveryStage::Planned => noise("planned"),
            DeliveryStage::Silenced => noise("held_back"),
            _ => {}
        }
        let outcome = match record.stage {
            DeliveryStage::Held | DeliveryStage::Planned => return,
            DeliveryStage::Attempted => "retried",
            DeliveryStage::Delivered => "delivered",
            DeliveryStage::Failed => "failed",
            DeliveryStage::Silenced => "silenced",
        };
        self.deliveries.with_label_values(&[record.destination.as_ref(), outcome]).inc();
        if record.stage == DeliveryStage::Delivered {
            let seconds = (record.at.0 - record.first_received_at.0).max(0) as f64 / 1_000.0;
            self.seconds.with_label_values(&[record.destination.as_ref()]).observe(seconds);
        }
    }

    /// Publishes the age of the oldest message that a destination is owed, the worst of all partitions.
    pub(crate) fn oldest(&self, partition: u16, destination: &str, seconds: f64) {
        let mut known = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((destination.to_owned(), partition), seconds);
        let own = known.iter().filter(|((name, _), _)| name == destination).map(|(_, seconds)| *seconds);
        self.oldest.with_label_values(&[destination]).set(own.fold(0.0, f64::max));
    }

    pub(crate) fn circuit(&self, destination: &str) -> Circuit {
        Circuit { gauge: self.circuits.with_label_values(&[destination]), open: false }
    }
}

/// One task's part in the gauge of a destination's circuit; closed when it is dropped.
pub(crate) struct Circuit {
    gauge: Gauge,
    open: bool,
}

impl Circuit {
    /// Whether that changed anything.
    pub(crate) fn set(&mut self, open: bool) -> bool {
        let changed = std::mem::replace(&mut self.open, open) != open;
        match (changed, open) {
            (true, true) => self.gauge.inc(),
            (true, false) => self.gauge.dec(),
            (false, _) => {}
        }
        changed
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        self.set(false);
    }
}
