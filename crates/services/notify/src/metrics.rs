//! What the notifier counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::{Delivery, DeliveryStage};
use prometheus::{Gauge, GaugeVec, HistogramVec, IntCounterVec};
use runtime::{LaneMetrics, LogLimit, Telemetry};

use crate::{SERVICE, Settings};

/// How often alerts of unknown rules are said.
const UNKNOWN_EVERY: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct NotifyMetrics {
    deliveries: IntCounterVec,
    seconds: HistogramVec,
    oldest: GaugeVec,
    circuits: GaugeVec,
    /// What people have paused.
    pub(crate) held_back: GaugeVec,
    noise: IntCounterVec,
    inhibited: GaugeVec,
    reports: IntCounterVec,
    unknown_rules: IntCounterVec,
    /// When an alert of a rule that is not known was said last.
    unknown_lines: Arc<LogLimit>,
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
                "Messages by the rule that speaks: planned, inhibited (a start held back while another alert fires, for each destination, and \
                 again when another one takes over), acknowledged (not sent since a person had taken care of the one before), and held back \
                 by a silence or a pause",
                &["rule", "outcome"],
            )?,
            inhibited: metrics.gauge(
                "inhibited_starts",
                "Starts of a rule that are held back now, since another alert fires",
                &["rule"],
            )?,
            reports: metrics.counter(
                "notify_reports_total",
                "Reports by the calendar for one destination each: planned, or given_up since they were too late",
                &["outcome"],
            )?,
            unknown_rules: metrics.counter(
                "notify_unknown_rule_alerts_total",
                "Alerts that go nowhere, since the configuration of notify has no rule of their name",
                &[],
            )?,
            unknown_lines: Arc::new(LogLimit::every(UNKNOWN_EVERY)),
            by_partition: Arc::default(),
            lanes: metrics.lanes().clone(),
        };
        for outcome in ["planned", "given_up"] {
            this.reports.with_label_values(&[outcome]);
        }
        this.unknown_rules.with_label_values::<&str>(&[]);
        for destination in &settings.destinations {
            this.circuits.with_label_values(&[&destination.name]).set(0.0);
            this.oldest.with_label_values(&[&destination.name]).set(0.0);
        }
        Ok(this)
    }

    /// Counts a record that is committed.
    pub(crate) fn count(&self, record: &Delivery<'_>) {
        // What fires and holds others back is told by its own messages.
        if notification::is_inhibitor(record) {
            return;
        }
        let noise = |outcome: &str| self.noise.with_label_values(&[record.rule.as_ref(), outcome]).inc();
        if notification::is_report(record) {
            self.reports.with_label_values(&["planned"]).inc();
        }
        match record.stage {
            DeliveryStage::Planned => noise("planned"),
            DeliveryStage::Silenced if notification::is_acknowledged(record) => noise("acknowledged"),
            DeliveryStage::Silenced => noise("held_back"),
            DeliveryStage::Held if notification::is_inhibited(record) => noise("inhibited"),
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

    /// Shows how many starts of each rule a lane holds back now. A rule's alerts are all in one lane.
    pub(crate) fn inhibited(&self, shown: &mut BTreeMap<String, usize>, now: BTreeMap<&str, usize>) {
        for (rule, count) in shown.iter_mut() {
            *count = now.get(rule.as_str()).copied().unwrap_or(0);
        }
        shown.extend(now.iter().map(|(rule, count)| ((*rule).to_owned(), *count)));
        shown.iter().for_each(|(rule, count)| self.inhibited.with_label_values(&[rule]).set(*count as f64));
    }

    /// A lane is over here: what it showed is not so any more, and the instance that has it now shows its own.
    pub(crate) fn lane_is_over(&self, partition: u16, shown: &mut BTreeMap<String, usize>) {
        self.inhibited(shown, BTreeMap::new());
        let known = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.keys().filter(|(_, own)| *own == partition).map(|(destination, _)| destination.clone());
        let own: Vec<String> = own.collect();
        drop(known);
        own.iter().for_each(|destination| self.oldest(partition, destination, 0.0));
    }

    /// Counts a report that was not sent as long as it was due.
    pub(crate) fn report_given_up(&self) {
        self.reports.with_label_values(&["given_up"]).inc();
    }

    /// Counts an alert of a rule that the configuration does not have, and says so once a minute at most.
    pub(crate) fn unknown_rule(&self, rule: &str) {
        self.unknown_rules.with_label_values::<&str>(&[]).inc();
        if let Some(left_out) = self.unknown_lines.due() {
            tracing::warn!(
                service = SERVICE,
                rule,
                left_out,
                "alerts of a rule that the configuration here does not have go nowhere: give notify the file that detect \
                 has, before detect has it (hookline_notify_unknown_rule_alerts_total)"
            );
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_is_over_shows_nothing_and_others_go_on() {
        let telemetry = Telemetry::new("").unwrap();
        let metrics = NotifyMetrics::new(&telemetry, &Settings::nothing()).unwrap();
        let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
        metrics.inhibited(&mut first, BTreeMap::from([("link-quiet", 3), ("qr-quiet", 2)]));
        metrics.inhibited(&mut second, BTreeMap::from([("each", 1)]));
        metrics.oldest(0, "chat", 700.0);
        metrics.oldest(1, "chat", 20.0);
        metrics.oldest(0, "log", 30.0);
        metrics.lane_is_over(0, &mut first);
        let held = |rule: &str| metrics.inhibited.with_label_values(&[rule]).get();
        let oldest = |destination: &str| metrics.oldest.with_label_values(&[destination]).get();
        assert_eq!([held("link-quiet"), held("qr-quiet"), held("each")], [0.0, 0.0, 1.0]);
        assert_eq!([oldest("chat"), oldest("log")], [20.0, 0.0]);
        metrics.lane_is_over(1, &mut second);
        assert_eq!([held("each"), oldest("chat")], [0.0, 0.0]);
    }
}
