//! What a process says of the configuration that it runs by, beside its version in `config_info`.

use prometheus::{Gauge, GaugeVec, IntCounterVec};

use crate::Metrics;

/// The figures about loading the configuration again.
pub struct ConfigurationMetrics {
    metrics: Metrics,
    loads: IntCounterVec,
    refused: Gauge,
    at_restart: GaugeVec,
}

impl ConfigurationMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken: a defect of this build.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let loads = metrics.counter(
            "config_loads_total",
            "Times that the configuration was loaded while everything ran, by outcome: taken or refused",
            &["outcome"],
        )?;
        for outcome in ["taken", "refused"] {
            loads.with_label_values(&[outcome]);
        }
        let refused = metrics.gauge(
            "config_refused",
            "1 while the file that was loaded last is refused, and the configuration before it stays in force",
            &[],
        )?;
        let at_restart = metrics.gauge(
            "config_restart_needed",
            "1 for each key that has changed since the start and is read at the start alone",
            &["key"],
        )?;
        let refused = refused.with_label_values::<&str>(&[]);
        Ok(Self { metrics: metrics.clone(), loads, refused, at_restart })
    }

    /// A file is refused: what was there before stays in force.
    pub fn refused(&self) {
        self.refused.set(1.0);
        self.loads.with_label_values(&["refused"]).inc();
    }

    /// A configuration is in force, but for these keys, which wait for a start.
    pub fn taken(&self, version: &str, at_restart: &[&str]) {
        self.at_restart.reset();
        for key in at_restart {
            self.at_restart.with_label_values(&[key]).set(1.0);
        }
        self.metrics.set_config(version);
        self.refused.set(0.0);
        self.loads.with_label_values(&["taken"]).inc();
    }
}
