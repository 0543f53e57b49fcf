//! What the canary says: its figures, and a line for each event that does not come through.

use config::Canary;
use prometheus::{GaugeVec, HistogramVec, IntCounterVec};
use runtime::Metrics;

use super::Path;
use super::flight::{Arrival, Came, Reason};
use crate::{Result, clock};

/// In seconds, from the answer until it is seen. A row takes one to two when nothing is wrong.
const BUCKETS: [f64; 14] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0];

pub(super) struct Meters {
    seconds: HistogramVec,
    last_success: GaugeVec,
    measured_since: GaugeVec,
    failures: IntCounterVec,
    /// Of each path, whether it is measured, and since when it fails, in milliseconds since 1970.
    paths: [(bool, Option<i64>); Path::ALL.len()],
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Result<Self> {
        let seconds =
            "Time from the answer of ingest until the canary's event is seen as a row, or its message as delivered";
        let last = "When the canary's event last came through; 0 since the start if not yet";
        let since = "Since when the canary waits for what is to come of its events";
        let failures = "Events of the canary that did not come through, by reason";
        Ok(Self {
            seconds: metrics.histogram("canary_seconds", seconds, &["path"], &BUCKETS)?,
            last_success: metrics.gauge("canary_last_success_timestamp_seconds", last, &["path"])?,
            measured_since: metrics.gauge("canary_measured_since_timestamp_seconds", since, &["path"])?,
            failures: metrics.counter("canary_failures_total", failures, &["path", "reason"])?,
            paths: Default::default(),
        })
    }

    /// The series of what is measured by this configuration, from the beginning: one that never succeeds is seen.
    pub(super) fn expect(&mut self, canary: &Canary) {
        let wanted = [true, canary.rule.is_some()];
        for (at, path) in Path::ALL.into_iter().enumerate() {
            match (wanted[at], self.paths[at].0) {
                (true, false) => {
                    self.seconds.with_label_values(&[path.name()]);
                    self.last_success.with_label_values(&[path.name()]).set(0.0);
                    self.measured_since.with_label_values(&[path.name()]).set(clock::now().0 as f64 / 1_000.0);
                    for reason in Reason::ALL.into_iter().filter(|reason| reason.is_of(path)) {
                        self.failures.with_label_values(&[path.name(), reason.name()]);
                    }
                }
                (false, true) => self.forget_path(path),
                _ => {}
            }
            self.paths[at].0 = wanted[at];
        }
    }

    /// Nothing is measured any more: what stays behind would look dead.
    pub(super) fn forget(&mut self) {
        for path in Path::ALL {
            self.forget_path(path);
        }
        self.paths = Default::default();
    }

    fn forget_path(&self, path: Path) {
        // An error means that there is none.
        drop(self.seconds.remove_label_values(&[path.name()]));
        drop(self.last_success.remove_label_values(&[path.name()]));
        drop(self.measured_since.remove_label_values(&[path.name()]));
        for reason in Reason::ALL {
            drop(self.failures.remove_label_values(&[path.name(), reason.name()]));
        }
    }

    /// What became of an event.
    pub(super) fn note(&mut self, canary: &Canary, came: &Came) {
        let now_ms = clock::now().0;
        self.note_path(Path::Row, &came.row, now_ms);
        if canary.rule.is_some() {
            self.note_path(Path::Message, &came.message, now_ms);
        }
    }

    fn note_path(&mut self, path: Path, arrival: &Arrival, now_ms: i64) {
        let name = path.name();
        let Some((_, failing_since)) = self.paths.get_mut(path as usize) else { return };
        match arrival {
            Ok(took) => {
                self.seconds.with_label_values(&[name]).observe(took.as_secs_f64());
                self.last_success.with_label_values(&[name]).set(now_ms as f64 / 1_000.0);
                if let Some(since) = failing_since.take() {
                    let failed_for_s = (now_ms - since) / 1_000;
                    tracing::info!(path = name, failed_for_s, "the canary comes through again");
                }
            }
            Err(failure) => {
                let reason = failure.reason.name();
                self.failures.with_label_values(&[name, reason]).inc();
                let since = *failing_since.get_or_insert(now_ms);
                let failing_for_s = (now_ms - since) / 1_000;
                let why = failure.why.as_str();
                tracing::warn!(path = name, reason, failing_for_s, "the canary did not come through: {why}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runtime::Telemetry;

    use super::super::flight::{Failure, Reason};
    use super::*;

    fn canary(rule: Option<&str>) -> Canary {
        Canary {
            source: "canary".into(),
            rule: rule.map(str::to_owned),
            interval: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            ingest: None,
        }
    }

    #[test]
    fn what_never_succeeds_is_seen_and_what_is_no_longer_sent_is_not() {
        let telemetry = Telemetry::new("abc").unwrap();
        let mut meters = Meters::new(&telemetry.metrics).unwrap();
        let text = || telemetry.metrics.render().unwrap();
        assert!(!text().contains("hookline_canary"), "nothing is sent: there is nothing to be dead");
        meters.expect(&canary(Some("canary")));
        let zero = |path: &str| format!("hookline_canary_last_success_timestamp_seconds{{path=\"{path}\"}} 0\n");
        assert!(text().contains(&zero("row")) && text().contains(&zero("message")), "{}", text());
        assert!(text().contains("hookline_canary_measured_since_timestamp_seconds{path=\"message\"} 1"), "{}", text());
        let misses =
            |number| format!("hookline_canary_failures_total{{path=\"message\",reason=\"no_message\"}} {number}\n");
        // The first miss is an increase as well.
        assert!(text().contains(&misses(0)), "{}", text());

        let why = "no answer".to_owned();
        let lost = |reason| Err(Failure { reason, why: why.clone() });
        let came = Came { row: Ok(Duration::from_millis(700)), message: lost(Reason::NoMessage) };
        meters.note(&canary(Some("canary")), &came);
        assert!(text().contains("hookline_canary_seconds_bucket{path=\"row\",le=\"0.75\"} 1\n"), "{}", text());
        assert!(!text().contains(&zero("row")) && text().contains(&zero("message")), "{}", text());
        assert!(text().contains(&misses(1)));

        // Another configuration, whose canary waits for no message; then one without a canary.
        meters.expect(&canary(None));
        meters.note(&canary(None), &Came { row: lost(Reason::Unreachable), message: lost(Reason::Unreachable) });
        assert!(!text().contains(&zero("message")), "{}", text());
        assert!(!text().contains("path=\"message\",reason=\"unreachable\""), "{}", text());
        // With a message again: what failed before is not counted once more.
        meters.expect(&canary(Some("canary")));
        assert!(text().contains(&misses(0)), "{}", text());
        meters.forget();
        assert!(!text().contains("canary_last_success_timestamp_seconds{"), "{}", text());
    }
}
