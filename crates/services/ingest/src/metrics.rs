//! What ingest counts, resolved per source at the start so that nothing is formatted per event.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use config::WhenOver;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec};
use runtime::Telemetry;
use signature::Refusal;

use crate::source::SourceSettings;

/// Seconds by which a sender's clock may differ from ours; the outer bounds are where signatures are refused.
const SKEWS: [f64; 11] = [-300.0, -60.0, -10.0, -2.0, -0.5, 0.0, 0.5, 2.0, 10.0, 60.0, 300.0];
/// Bytes of a body: from a small event to the largest limit that can be configured.
const SIZES: [f64; 9] = [256.0, 1_024.0, 2_048.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 16_777_216.0];
/// So many sources have labels of their own; the others share `other`.
const MAX_NAMES: usize = 200;

/// What a request ended as: the `outcome` label of `hookline_requests_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    Accepted,
    Quarantined,
    Unauthenticated,
    TooLarge,
    WrongType,
    OverQuota,
    Unavailable,
    Paused,
    Retired,
    Unreadable,
    TooSlow,
    /// An authentic request that asked what would happen.
    DryRun,
    /// `GET`, `HEAD` or `OPTIONS` without an event.
    Probe,
    /// A method that webhooks do not have, or a `GET` with a query that is no event.
    WrongMethod,
}

impl RequestOutcome {
    const ALL: [Self; 14] = [
        Self::Accepted,
        Self::Quarantined,
        Self::Unauthenticated,
        Self::TooLarge,
        Self::WrongType,
        Self::OverQuota,
        Self::Unavailable,
        Self::Paused,
        Self::Retired,
        Self::Unreadable,
        Self::TooSlow,
        Self::DryRun,
        Self::Probe,
        Self::WrongMethod,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Quarantined => "quarantined",
            Self::Unauthenticated => "unauthenticated",
            Self::TooLarge => "too_large",
            Self::WrongType => "wrong_type",
            Self::OverQuota => "over_quota",
            Self::Unavailable => "unavailable",
            Self::Paused => "paused",
            Self::Retired => "retired",
            Self::Unreadable => "unreadable",
            Self::TooSlow => "too_slow",
            Self::DryRun => "dry_run",
            Self::Probe => "probe",
            Self::WrongMethod => "wrong_method",
        }
    }

    /// What it does to the run of refusals after which a platform switches us off. Only what is certain to come from the platform
    /// counts, or what is our own failure: a stranger must neither page somebody at night nor end a run. A retirement does not count: to
    /// be switched off is what it is for. A pause does: the platform counts it all the same.
    fn strike(self, authentic: bool) -> Strike {
        match self {
            Self::Accepted | Self::Quarantined => Strike::Over,
            Self::Unavailable | Self::Paused => Strike::Another,
            Self::DryRun | Self::Probe | Self::Retired => Strike::None,
            _ if authentic => Strike::Another,
            _ => Strike::None,
        }
    }
}

enum Strike {
    Another,
    Over,
    None,
}

pub(crate) struct IngestMetrics {
    requests: IntCounterVec,
    events: IntCounterVec,
    over_quota_events: IntCounterVec,
    auth_failures: IntCounterVec,
    secret_uses: IntCounterVec,
    secret_expires: GaugeVec,
    certificate_expires: GaugeVec,
    refusals: GaugeVec,
    refusals_allowed: GaugeVec,
    quota: GaugeVec,
    in_flight: GaugeVec,
    skew: HistogramVec,
    sizes: HistogramVec,
    last_event: GaugeVec,
    /// Sources that have labels of their own.
    named: Mutex<HashSet<String>>,
    pub(crate) ack_seconds: Histogram,
    pub(crate) unknown_source: IntCounter,
    pub(crate) paused: GaugeVec,
    pub(crate) open_connections: Gauge,
    pub(crate) refused_connections: IntCounterVec,
    pub(crate) buffered_bytes: Gauge,
    pub(crate) silent_partitions: Gauge,
    pub(crate) waiting_records: Gauge,
    pub(crate) waiting_bytes: Gauge,
}

impl IngestMetrics {
    #[allow(clippy::too_many_lines, reason = "a list of metrics, each with its words")]
    pub(crate) fn new(telemetry: &Telemetry) -> Result<Self, prometheus::Error> {
        let metrics = &telemetry.metrics;
        let source: &[&str] = &["source"];
        let single = |gauge: GaugeVec| gauge.with_label_values::<&str>(&[]);
        let requests =
            metrics.counter("requests_total", "Webhook requests by what they were answered", &["source", "outcome"])?;
        let unknown_source = requests.with_label_values(&["unknown", "unknown_source"]);
        let ack = metrics.seconds("ack_seconds", "Time from the request's arrival to its 202", &[])?;
        let refused_connections = metrics.counter(
            "connections_refused_total",
            "Connections that were closed at once, by reason",
            &["reason"],
        )?;
        for reason in ["limit", "address", "tls"] {
            refused_connections.with_label_values(&[reason]);
        }
        Ok(Self {
            requests,
            events: metrics.counter("events_total", "Events acknowledged by the log", source)?,
            over_quota_events: metrics.counter(
                "over_quota_events_total",
                "Events beyond their source's quota, by what became of them: accepted or refused",
                &["source", "answer"],
            )?,
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
            secret_expires: metrics.gauge(
                "secret_expires_timestamp_seconds",
                "When a secret that has an end stops being taken, in Unix seconds",
                &["source", "secret_id"],
            )?,
            certificate_expires: metrics.gauge(
                "certificate_expires_timestamp_seconds",
                "When the certificate of [ingest] tls ends, or another one of its chain that ends before, in Unix seconds",
                &[],
            )?,
            refusals: metrics.gauge(
                "refusals_in_a_row",
                "Authentic requests that were refused, and requests that were not acknowledged, since the last 202",
                source,
            )?,
            refusals_allowed: metrics.gauge(
                "refusals_allowed",
                "Refusals in a row after which the platform switches the webhook off, where that is known",
                source,
            )?,
            quota: metrics.gauge(
                "quota_events_per_second",
                "Events a second that the source may send to each instance",
                source,
            )?,
            in_flight: metrics.gauge("in_flight_requests", "Requests that wait for their acknowledgement", source)?,
            skew: metrics.histogram("clock_skew_seconds", "The sender's signed clock minus ours", source, &SKEWS)?,
            sizes: metrics.histogram("body_bytes", "Size of authentic bodies, decompressed", source, &SIZES)?,
            last_event: metrics.gauge(
                "last_event_timestamp_seconds",
                "When the source was last heard, in Unix seconds",
                source,
            )?,
            named: Mutex::default(),
            ack_seconds: ack.with_label_values::<&str>(&[]),
            unknown_source,
            paused: crate::switches::paused_gauge(telemetry)?,
            open_connections: single(metrics.gauge("open_connections", "Connections of senders", &[])?),
            refused_connections,
            buffered_bytes: single(metrics.gauge("buffered_bytes", "Memory that requests hold", &[])?),
            silent_partitions: single(metrics.gauge(
                "silent_partitions",
                "Partitions of raw that do not acknowledge now: requests for them are answered 503.",
                &[],
            )?),
            waiting_records: single(metrics.gauge(
                "waiting_records",
                "Records that wait for the log's acknowledgement",
                &[],
            )?),
            waiting_bytes: single(metrics.gauge(
                "waiting_bytes",
                "Bytes of the records that wait for the log's acknowledgement",
                &[],
            )?),
        })
    }

    /// Of a service that speaks TLS; others have none.
    pub(crate) fn certificate_expires(&self) -> Gauge {
        self.certificate_expires.with_label_values::<&str>(&[])
    }

    /// Other settings come for the source: what its section says is told anew.
    pub(crate) fn forget_settings(&self, settings: &SourceSettings) {
        let name = settings.name.as_str();
        for family in [&self.refusals_allowed, &self.quota] {
            drop(family.remove_label_values(&[name]));
        }
        for secret in settings.verifier.secrets() {
            drop(self.secret_expires.remove_label_values(&[name, secret.id()]));
        }
    }

    /// The source is not configured any more: how it stands is told no longer; what was counted stays.
    pub(crate) fn forget(&self, settings: &SourceSettings) {
        let name = settings.name.as_str();
        for family in [&self.refusals, &self.in_flight, &self.last_event] {
            drop(family.remove_label_values(&[name]));
        }
        drop(self.paused.remove_label_values(&["source", name]));
    }

    pub(crate) fn source(&self, settings: &SourceSettings) -> SourceMetrics {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let own = named.contains(&settings.name) || named.len() < MAX_NAMES;
        if own {
            named.insert(settings.name.clone());
        }
        drop(named);
        let name = if own { settings.name.as_str() } else { "other" };
        let secrets = settings.verifier.secrets().map(|secret| {
            let labels = [name, if own { secret.id() } else { "other" }];
            if let (Some(until), true) = (secret.ends(), own) {
                self.secret_expires.with_label_values(&labels).set(until as f64);
            }
            (secret.id().to_owned(), self.secret_uses.with_label_values(&labels))
        });
        if let Some(allowed) = settings.refusals_allowed.filter(|_| own) {
            self.refusals_allowed.with_label_values(&[name]).set(f64::from(allowed));
        }
        let over_quota_events = settings.quota.map(|quota| {
            if own {
                self.quota.with_label_values(&[name]).set(f64::from(quota.per_second));
            }
            let answer = if quota.when_over == WhenOver::Refuse { "refused" } else { "accepted" };
            self.over_quota_events.with_label_values(&[name, answer])
        });
        SourceMetrics {
            requests: RequestOutcome::ALL.map(|outcome| self.requests.with_label_values(&[name, outcome.label()])),
            events: self.events.with_label_values(&[name]),
            auth_failures: Refusal::LABELS
                .map(|reason| (reason, self.auth_failures.with_label_values(&[name, reason]))),
            secrets: secrets.collect(),
            over_quota_events,
            refusals: self.refusals.with_label_values(&[name]),
            in_flight: self.in_flight.with_label_values(&[name]),
            skew: self.skew.with_label_values(&[name]),
            sizes: self.sizes.with_label_values(&[name]),
            last_event: self.last_event.with_label_values(&[name]),
        }
    }
}

/// The counters of one source.
pub(crate) struct SourceMetrics {
    requests: [IntCounter; RequestOutcome::ALL.len()],
    pub(crate) events: IntCounter,
    auth_failures: [(&'static str, IntCounter); Refusal::LABELS.len()],
    secrets: Vec<(String, IntCounter)>,
    over_quota_events: Option<IntCounter>,
    refusals: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) skew: Histogram,
    pub(crate) sizes: Histogram,
    pub(crate) last_event: Gauge,
}

impl SourceMetrics {
    /// Counts an answer; `authentic`: whether it is certain that the platform was answered.
    pub(crate) fn answered(&self, outcome: RequestOutcome, authentic: bool) {
        self.requests[outcome as usize].inc();
        match outcome.strike(authentic) {
            Strike::Another => self.refusals.inc(),
            Strike::Over => self.refusals.set(0.0),
            Strike::None => {}
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        if let Some((_, counter)) = self.auth_failures.iter().find(|(reason, _)| *reason == refusal.label()) {
            counter.inc();
        }
    }

    /// The secret of that id: its own copy of the id, and the counter of its uses.
    pub(crate) fn secret(&self, id: &str) -> Option<&(String, IntCounter)> {
        self.secrets.iter().find(|(own, _)| own == id)
    }

    pub(crate) fn over_quota(&self, events: usize) {
        if let Some(counter) = &self.over_quota_events {
            counter.inc_by(events as u64);
        }
    }
}
