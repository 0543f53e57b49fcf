//! What ingest counts, resolved per source at the start so that nothing is formatted per event.

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec};
use runtime::Telemetry;
use signature::Refusal;

/// Seconds by which a sender's clock may differ from ours; the outer bounds are where signatures are refused.
const SKEWS: [f64; 11] = [-300.0, -60.0, -10.0, -2.0, -0.5, 0.0, 0.5, 2.0, 10.0, 60.0, 300.0];

/// What a request ended as: the `outcome` label of `hookline_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Accepted,
    Quarantined,
    Unauthenticated,
    TooLarge,
    WrongType,
    Unavailable,
    Unreadable,
    Paused,
    Retired,
}

impl RequestOutcome {
    const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Quarantined,
        Self::Unauthenticated,
        Self::TooLarge,
        Self::WrongType,
        Self::Unavailable,
        Self::Unreadable,
        Self::Paused,
        Self::Retired,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Quarantined => "quarantined",
            Self::Unauthenticated => "unauthenticated",
            Self::TooLarge => "too_large",
            Self::WrongType => "wrong_type",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
            Self::Paused => "paused",
            Self::Retired => "retired",
        }
    }

    fn is_success(self) -> bool {
        matches!(self, Self::Accepted | Self::Quarantined)
    }

    /// Whether it brings a platform nearer to switching us off. What is not authentic may be anybody's, so it does not:
    /// a stranger could page somebody at night. Nor does a retirement: to be switched off is what it is for. A pause does:
    /// the platform counts it all the same.
    fn is_a_strike(self) -> bool {
        !self.is_success() && !matches!(self, Self::Unauthenticated | Self::Retired)
    }
}

pub(crate) struct IngestMetrics {
    requests: IntCounterVec,
    events: IntCounterVec,
    auth_failures: IntCounterVec,
    secret_uses: IntCounterVec,
    refusals: GaugeVec,
    skew: HistogramVec,
    last_event: GaugeVec,
    pub(crate) ack_seconds: Histogram,
    pub(crate) unknown_source: IntCounter,
    pub(crate) paused: GaugeVec,
}

impl IngestMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self, prometheus::Error> {
        let metrics = &telemetry.metrics;
        let requests =
            metrics.counter("requests_total", "Webhook requests by what they were answered", &["source", "outcome"])?;
        let unknown_source = requests.with_label_values(&["unknown", "unknown_source"]);
        let ack = metrics.seconds("ack_seconds", "Time from the request's arrival to its 202", &[])?;
        Ok(Self {
            requests,
            events: metrics.counter("events_total", "Events acknowledged by the log", &["source"])?,
            auth_failures: metrics.counter(
                "auth_failures_total",
                "Requests that were not authentic, by reason",
                &["source", "reason"],
            )?,
            secret_uses: metrics.counter(
                "secret_uses_total",
                "Authentic requests by the secret that signed them",
                &["source", "secret_id"],
            )?,
            refusals: metrics.gauge(
                "refusals_in_a_row",
                "Requests that were refused or not acknowledged since the last one that was answered 202; forgeries left out",
                &["source"],
            )?,
            skew: metrics.histogram(
                "clock_skew_seconds",
                "The sender's signed clock minus ours",
                &["source"],
                &SKEWS,
            )?,
            last_event: metrics.gauge(
                "last_event_timestamp_seconds",
                "When the source was last heard, in Unix seconds",
                &["source"],
            )?,
            ack_seconds: ack.with_label_values::<&str>(&[]),
            unknown_source,
            paused: crate::switches::paused_gauge(telemetry)?,
        })
    }

    pub(crate) fn source(&self, name: &str) -> SourceMetrics {
        SourceMetrics {
            requests: RequestOutcome::ALL.map(|outcome| self.requests.with_label_values(&[name, outcome.label()])),
            events: self.events.with_label_values(&[name]),
            auth_failures: Refusal::LABELS
                .map(|reason| (reason, self.auth_failures.with_label_values(&[name, reason]))),
            secret_uses: self.secret_uses.clone(),
            refusals: self.refusals.with_label_values(&[name]),
            skew: self.skew.with_label_values(&[name]),
            last_event: self.last_event.with_label_values(&[name]),
            name: name.to_owned(),
        }
    }
}

/// The counters of one source.
pub(crate) struct SourceMetrics {
    requests: [IntCounter; RequestOutcome::ALL.len()],
    pub(crate) events: IntCounter,
    auth_failures: [(&'static str, IntCounter); Refusal::LABELS.len()],
    secret_uses: IntCounterVec,
    refusals: Gauge,
    pub(crate) skew: Histogram,
    pub(crate) last_event: Gauge,
    name: String,
}

impl SourceMetrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, outcome: RequestOutcome) {
        self.requests[outcome as usize].inc();
        if outcome.is_success() {
            self.refusals.set(0.0);
        } else if outcome.is_a_strike() {
            self.refusals.inc();
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        if let Some((_, counter)) = self.auth_failures.iter().find(|(reason, _)| *reason == refusal.label()) {
            counter.inc();
        }
    }

    pub(crate) fn secret_used(&self, secret_id: &str) {
        self.secret_uses.with_label_values(&[self.name.as_str(), secret_id]).inc();
    }
}
