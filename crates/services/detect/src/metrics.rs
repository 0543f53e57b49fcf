//! What the detector counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::Alert;
use prometheus::{GaugeVec, IntCounterVec};
use rules::{FullRule, Rule, Trigger};
use runtime::{LaneMetrics, LogLimits, Telemetry};

use crate::SERVICE;

/// How often the log says of a rule that it knows as much as it may.
const FULL_EVERY: Duration = Duration::from_secs(600);

#[derive(Clone)]
pub(crate) struct DetectMetrics {
    alerts: IntCounterVec,
    passed_over: IntCounterVec,
    full: IntCounterVec,
    full_lines: Arc<LogLimits>,
    watermark_delay: GaugeVec,
    left_out: GaugeVec,
    by_partition: Arc<Mutex<BTreeMap<u16, (f64, usize)>>>,
    pub(crate) lanes: LaneMetrics,
}

impl DetectMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self, prometheus::Error> {
        let metrics = &telemetry.metrics;
        Ok(Self {
            alerts: metrics.counter("alerts_total", "Alerts of rules that count", &["rule", "transition"])?,
            passed_over: metrics.counter(
                "signals_passed_over_total",
                "Signals that count for nothing, too late, or without their facet: of unknown rules and versions, of lanes that \
                 were left out, of keys with too many facets",
                &["reason"],
            )?,
            full: metrics.counter(
                "rule_passed_over_total",
                "What a rule passed over, because it knows as much as it may: signals of new keys, or events with values that may be new",
                &["rule", "reason"],
            )?,
            full_lines: Arc::new(LogLimits::every(FULL_EVERY)),
            watermark_delay: metrics.gauge(
                "watermark_delay_seconds",
                "How far the received time up to which rules are evaluated is behind the clock",
                &[],
            )?,
            left_out: metrics.gauge("lanes_left_out", "Lanes that rules do not wait for: 10 minutes behind", &[])?,
            by_partition: Arc::default(),
            lanes: metrics.lanes().clone(),
        })
    }

    pub(crate) fn alert(&self, alert: &Alert<'_>) {
        self.alerts.with_label_values(&[alert.rule.as_ref(), alert.transition.as_str()]).inc();
    }

    pub(crate) fn passed_over(&self, reason: &str, signals: u64) {
        if signals > 0 {
            self.passed_over.with_label_values(&[reason]).inc_by(signals);
        }
    }

    /// Begins the series of these rules at 0: how much one grew by cannot be seen of one that begins with a burst.
    pub(crate) fn know(&self, rules: &[Rule]) {
        for rule in rules {
            let reasons: &[&str] = match rule.trigger() {
                None | Some(Trigger::Each) => &[],
                Some(Trigger::FirstSeen(_)) => &["keys", "values"],
                Some(_) => &["keys"],
            };
            reasons.iter().for_each(|reason| self.full.with_label_values(&[rule.name(), *reason]).inc_by(0));
        }
    }

    /// Counts and tells what rules passed over that know as much as they may.
    pub(crate) fn full_rules(&self, partition: u16, full: &BTreeMap<String, FullRule>) {
        for (rule, FullRule { keys, values }) in full {
            for (reason, signals) in [("keys", *keys), ("values", *values)].into_iter().filter(|one| one.1 > 0) {
                self.full.with_label_values(&[rule.as_str(), reason]).inc_by(signals);
            }
            if self.full_lines.due(&format!("{rule}/{partition}")).is_some() {
                tracing::warn!(
                    service = SERVICE,
                    partition,
                    rule,
                    keys_of_this_batch = keys,
                    values_of_this_batch = values,
                    "the rule knows as much as it may: it passes over what comes of new keys, or values that may be new. What it knows is \
                     evaluated as before; what to do stands in docs/runbooks/rule-full.md"
                );
            }
        }
    }

    /// Publishes the worst of all partitions.
    pub(crate) fn delay(&self, partition: u16, seconds: f64, left_out: usize) {
        let mut known = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(partition, (seconds, left_out));
        self.publish(&known);
    }

    /// The partition is another instance's now, or has none: what it was behind by is not ours to tell.
    pub(crate) fn forget(&self, partition: u16) {
        let mut known = self.by_partition.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&partition);
        self.publish(&known);
    }

    fn publish(&self, known: &BTreeMap<u16, (f64, usize)>) {
        self.watermark_delay.with_label_values::<&str>(&[]).set(known.values().map(|one| one.0).fold(0.0, f64::max));
        self.left_out.with_label_values::<&str>(&[]).set(known.values().map(|one| one.1).max().unwrap_or(0) as f64);
    }
}

#[cfg(test)]
mod tests {
    use rules::{Per, When};

    use super::*;

    #[test]
    fn what_a_full_rule_passes_over_is_counted_by_rule_and_reason() {
        let telemetry = Telemetry::new("").expect("metrics");
        let metrics = DetectMetrics::new(&telemetry).expect("metrics");
        let full = |name: &str, keys, values| (name.to_owned(), FullRule { keys, values });
        let rule = |name: &str, trigger| Rule::new(name, "growth", When::new(vec![], vec![]), Some(trigger));
        metrics.know(&[
            rule("links", Trigger::count(2, Per::Link, 300_000, 600_000).expect("a trigger")),
            rule("quiet", Trigger::count(2, Per::Link, 300_000, 600_000).expect("a trigger")),
            rule("each", Trigger::Each),
        ]);
        metrics.full_rules(0, &[full("links", 7, 0), full("news", 0, 3)].into());
        metrics.full_rules(1, &[full("links", 2, 0)].into());
        let text = telemetry.metrics.render().expect("metrics");
        let lines: Vec<&str> =
            text.lines().filter(|line| line.starts_with("hookline_rule_passed_over_total{")).collect();
        assert_eq!(
            lines,
            [
                r#"hookline_rule_passed_over_total{reason="keys",rule="links"} 9"#,
                r#"hookline_rule_passed_over_total{reason="keys",rule="quiet"} 0"#,
                r#"hookline_rule_passed_over_total{reason="values",rule="news"} 3"#
            ]
        );
    }

    #[test]
    fn what_a_partition_was_behind_by_goes_with_it() {
        let telemetry = Telemetry::new("").expect("metrics");
        let metrics = DetectMetrics::new(&telemetry).expect("metrics");
        metrics.delay(0, 1.0, 0);
        metrics.delay(1, 700.0, 1);
        let told = || {
            let text = telemetry.metrics.render().expect("metrics");
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            let of = |name: &str| lines.clone().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            [of("hookline_watermark_delay_seconds "), of("hookline_lanes_left_out ")]
        };
        assert_eq!(told().map(Option::unwrap_or_default), ["700", "1"]);
        metrics.forget(1);
        assert_eq!(told().map(Option::unwrap_or_default), ["1", "0"]);
    }
}
