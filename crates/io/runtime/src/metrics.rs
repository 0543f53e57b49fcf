//! The Prometheus side of a process: one registry, the lane gauges that all services share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use crate::StallReason;

/// Buckets in seconds for acknowledgements, transactions, inserts and messages.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Where metrics are registered; every name gets the prefix `hookline_`. Clones share the registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// CPU, memory and file descriptors under their customary names, without our prefix.
    process: Registry,
    lanes: LaneMetrics,
    config: GaugeVec,
}

impl Metrics {
    /// A registry with the process's own figures, the build and the configuration in use.
    pub(crate) fn new(config_hash: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("hookline".into()), None)?;
        let lanes = LaneMetrics::new(&registry)?;
        let config = GaugeVec::new(Opts::new("config_info", "The configuration in use"), &["hash"])?;
        registry.register(Box::new(config.clone()))?;
        let this = Self { registry, process: Registry::new(), lanes, config };
        this.gauge("build_info", "The version that runs", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        this.set_config(config_hash);
        this.process.register(Box::new(ProcessCollector::for_self()))?;
        Ok(this)
    }

    /// Says which configuration is in use from now on.
    pub(crate) fn set_config(&self, hash: &str) {
        self.config.reset();
        self.config.with_label_values(&[hash]).set(1.0);
    }

    /// A family of counters.
    ///
    /// # Errors
    /// When the name is taken or malformed: a defect of this build.
    pub fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A family of gauges.
    ///
    /// # Errors
    /// When the name is taken or malformed: a defect of this build.
    pub fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A family of histograms of seconds, from a millisecond to a minute.
    ///
    /// # Errors
    /// When the name is taken or malformed: a defect of this build.
    pub fn seconds(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        self.histogram(name, help, labels, &SECONDS)
    }

    /// A family of histograms with buckets of its own.
    ///
    /// # Errors
    /// When the name is taken or malformed: a defect of this build.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    /// The gauges of lanes.
    pub fn lanes(&self) -> &LaneMetrics {
        &self.lanes
    }

    /// The text that `/metrics` answers.
    ///
    /// # Errors
    /// When a family cannot be written: a defect of this build.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        let encoder = TextEncoder::new();
        encoder.encode(&self.registry.gather(), &mut text)?;
        encoder.encode(&self.process.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

/// The gauges that every lane of every service keeps: sums and maxima over lanes, so that no label grows with them.
#[derive(Clone)]
pub struct LaneMetrics {
    lag_records: GaugeVec,
    lag_seconds: GaugeVec,
    headroom_seconds: GaugeVec,
    stalled: GaugeVec,
    owned: GaugeVec,
    group_member: GaugeVec,
    disagreements: IntCounterVec,
    transactions: HistogramVec,
    by_lane: Arc<Mutex<Lags>>,
}

/// The lag of each lane of each service, and the topic that it reads.
type Lags = BTreeMap<(&'static str, u16), (String, Lag)>;

/// How far a lane is behind its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// Records not yet read.
    pub records: u64,
    /// Age of the oldest record not yet read, in seconds; 0 when none waits.
    pub seconds: f64,
    /// Seconds until the broker deletes the oldest record not yet read; infinite when none waits.
    pub headroom_seconds: f64,
}

impl LaneMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help, labels: &[&str]| {
            let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let transactions = HistogramVec::new(
            HistogramOpts::new("transaction_seconds", "Time from begin to commit of a lane's transaction")
                .buckets(SECONDS.to_vec()),
            &["service"],
        )?;
        registry.register(Box::new(transactions.clone()))?;
        let disagreements = IntCounterVec::new(
            Opts::new(
                "position_disagreements_total",
                "Times that a committed position was missing or older than what the lane had written with it, and was not obeyed",
            ),
            &["service"],
        )?;
        registry.register(Box::new(disagreements.clone()))?;
        Ok(Self {
            lag_records: gauge(
                "lag_records",
                "Records that the service has not read yet, over its lanes",
                &["service", "topic"],
            )?,
            lag_seconds: gauge(
                "lag_seconds",
                "Age of the record that the service read last while more wait, at its worst lane; 0 when none waits",
                &["service", "topic"],
            )?,
            headroom_seconds: gauge(
                "retention_headroom_seconds",
                "Time until the broker deletes a record that the service has not read yet",
                &["service", "topic"],
            )?,
            owned: gauge("lanes_owned", "Lanes of the service that this instance runs", &["service"])?,
            group_member: gauge(
                "group_member",
                "1 while the instance is a member of the group that shares its lanes, 0 while the group is out of reach",
                &["service"],
            )?,
            stalled: gauge("stalled", "Lanes of the service that stand still, by reason", &["service", "reason"])?,
            disagreements,
            transactions,
            by_lane: Arc::default(),
        })
    }

    /// Records how far a lane is behind, and publishes the service's sum and worst.
    pub fn set_lag(&self, service: &'static str, topic: &str, lane: u16, lag: Lag) {
        let mut lanes = self.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.insert((service, lane), (topic.to_owned(), lag));
        self.publish_lag(&lanes, service, topic);
    }

    /// The lane is somebody else's now: it no longer counts.
    pub(crate) fn forget(&self, service: &'static str, lane: u16) {
        let mut lanes = self.by_lane.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((topic, _)) = lanes.remove(&(service, lane)) {
            self.publish_lag(&lanes, service, &topic);
        }
    }

    fn publish_lag(&self, lanes: &Lags, service: &'static str, topic: &str) {
        let own = lanes.range((service, 0)..=(service, u16::MAX));
        let (mut records, mut seconds, mut headroom) = (0, 0f64, f64::INFINITY);
        for (_, (_, lag)) in own {
            records += lag.records;
            seconds = seconds.max(lag.seconds);
            headroom = headroom.min(lag.headroom_seconds);
        }
        self.lag_records.with_label_values(&[service, topic]).set(records as f64);
        self.lag_seconds.with_label_values(&[service, topic]).set(seconds);
        self.headroom_seconds.with_label_values(&[service, topic]).set(headroom);
    }

    /// Publishes how many lanes of the service this instance runs.
    pub(crate) fn set_owned(&self, service: &str, lanes: usize) {
        self.owned.with_label_values(&[service]).set(lanes as f64);
    }

    /// Publishes whether the group that shares the lanes of the service counts this instance among its members.
    pub fn set_group_member(&self, service: &str, member: bool) {
        self.group_member.with_label_values(&[service]).set(f64::from(u8::from(member)));
    }

    /// Adds `change` to the number of lanes that stand still for `reason`.
    pub fn stalled(&self, service: &str, reason: impl Into<StallReason>, change: f64) {
        self.stalled.with_label_values(&[service, reason.into().name()]).add(change);
    }

    /// Counts a committed position that was missing or outdated, and that the lane's own log has corrected.
    pub fn position_disagrees(&self, service: &str) {
        self.disagreements.with_label_values(&[service]).inc();
    }

    /// Records how long a transaction took, in seconds.
    pub fn transaction(&self, service: &str, seconds: f64) {
        self.transactions.with_label_values(&[service]).observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_sum_of_records_and_the_worst_of_ages_over_lanes() {
        let metrics = Metrics::new("abc").unwrap();
        metrics.lanes().set_lag("process", "raw", 0, Lag { records: 3, seconds: 1.5, headroom_seconds: 100.0 });
        metrics.lanes().set_lag("process", "raw", 1, Lag { records: 4, seconds: 0.5, headroom_seconds: 50.0 });
        metrics.lanes().set_lag("report", "events", 0, Lag { records: 9, seconds: 9.0, headroom_seconds: 9.0 });
        let text = metrics.render().unwrap();
        for line in [
            r#"hookline_lag_records{service="process",topic="raw"} 7"#,
            r#"hookline_lag_seconds{service="process",topic="raw"} 1.5"#,
            r#"hookline_retention_headroom_seconds{service="process",topic="raw"} 50"#,
            r#"hookline_config_info{hash="abc"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.lanes().forget("process", 1);
        let text = metrics.render().unwrap();
        let line = r#"hookline_retention_headroom_seconds{service="process",topic="raw"} 100"#;
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
