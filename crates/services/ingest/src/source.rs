//! The sources that may send, ready to verify, with what each may take.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapter::{Adapter, Dialect};
use config::Quota;
use runtime::LogLimit;
use signature::Verifier;

use crate::limits::InFlight;
use crate::metrics::{IngestMetrics, SourceMetrics};
use crate::quota::Bucket;
use crate::switches::SourceSwitch;

/// The most events of one source that may be on their way to the log: half of what the producer holds, so that one hot source
/// leaves room for the others.
pub(crate) const MAX_EVENTS_IN_FLIGHT: usize = 50_000;

/// One configured source.
pub struct SourceSettings {
    /// Its name, the last part of its URL.
    pub name: String,
    /// Who speaks.
    pub adapter: Adapter,
    /// How its payloads are read.
    pub dialect: Dialect,
    /// How its deliveries are authenticated.
    pub verifier: Verifier,
    /// The address that its sender was given, for schemes whose signature covers the URL.
    pub public_url: Option<String>,
    /// How a client without credentials is told what is needed (`WWW-Authenticate`).
    pub challenge: &'static str,
    /// The query parameter that carries the secret, if the scheme is one.
    pub secret_parameter: Option<String>,
    /// Whether a query is an event: of a GET, and of a POST or PUT without a body. The adapter must read forms.
    pub events_in_query: bool,
    /// The largest body, in bytes: on the wire, and decompressed.
    pub max_body: usize,
    /// How much it may send, on each instance of ingest.
    pub quota: Option<Quota>,
    /// Requests of it that may wait for their acknowledgement at once.
    pub in_flight: usize,
    /// After so many refusals in a row its platform switches the webhook off, where that is known.
    pub refusals_allowed: Option<u32>,
    /// Whether the trace of its sender goes on here; else it is linked to.
    pub trusts_traces: bool,
}

/// A source at work.
pub(crate) struct Source {
    pub(crate) settings: SourceSettings,
    pub(crate) metrics: SourceMetrics,
    pub(crate) switch: Arc<SourceSwitch>,
    pub(crate) in_flight: Arc<InFlight>,
    /// Bytes that its requests hold.
    pub(crate) held: Arc<AtomicUsize>,
    pub(crate) log: Arc<SourceLog>,
    bucket: Option<Arc<Mutex<Bucket>>>,
}

/// The shortest time between two log lines of one kind: senders cause them.
pub(crate) const LINES_EVERY: Duration = Duration::from_secs(10);

/// Log lines about a source, each kind limited by itself.
pub(crate) struct SourceLog {
    pub(crate) refused: LogLimit,
    pub(crate) unavailable: LogLimit,
    pub(crate) over_quota: LogLimit,
}

impl Default for SourceLog {
    fn default() -> Self {
        let limit = || LogLimit::every(LINES_EVERY);
        Self { refused: limit(), unavailable: limit(), over_quota: limit() }
    }
}

impl Source {
    /// A source by its settings; `before` is the one of that name until now, whose live state goes on.
    fn new(settings: SourceSettings, metrics: &IngestMetrics, before: Option<&Self>) -> Self {
        let fresh_bucket = |quota: Quota| Arc::new(Mutex::new(Bucket::new(quota.per_second)));
        let same_quota = before.is_some_and(|before| before.settings.quota == settings.quota);
        let same_places = before.filter(|before| before.settings.in_flight == settings.in_flight);
        Self {
            metrics: metrics.source(&settings),
            switch: before.map_or_else(|| Arc::new(SourceSwitch::unread()), |before| Arc::clone(&before.switch)),
            in_flight: same_places.map_or_else(
                || Arc::new(InFlight::new(settings.in_flight, MAX_EVENTS_IN_FLIGHT)),
                |before| Arc::clone(&before.in_flight),
            ),
            held: before.map(|before| Arc::clone(&before.held)).unwrap_or_default(),
            log: before.map(|before| Arc::clone(&before.log)).unwrap_or_default(),
            bucket: match before.filter(|_| same_quota) {
                Some(before) => before.bucket.clone(),
                None => settings.quota.map(fresh_bucket),
            },
            settings,
        }
    }

    /// Asks its quota's bucket something; none when it has no quota.
    pub(crate) fn bucket<T>(&self, ask: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        // The bucket is two numbers: whole after any panic.
        self.bucket.as_ref().map(|bucket| ask(&mut bucket.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Whether there is no room for `events` in its quota at `now`, and for how long.
    pub(crate) fn over_quota_for(&self, now: Duration, events: usize) -> Option<Duration> {
        self.bucket(|bucket| bucket.wait(now, events)).filter(|wait| *wait > Duration::ZERO)
    }
}

/// The sources by name.
pub(crate) struct Sources(HashMap<String, Arc<Source>>);

impl Sources {
    pub(crate) fn new(sources: Vec<SourceSettings>, metrics: &IngestMetrics) -> Self {
        Self::after(sources, metrics, None)
    }

    /// Sources by other settings: what is under way of those that stay, and how they are switched, goes on.
    pub(crate) fn after(sources: Vec<SourceSettings>, metrics: &IngestMetrics, before: Option<&Self>) -> Self {
        let source = |settings: SourceSettings| {
            let before = before.and_then(|before| before.0.get(&settings.name)).map(Arc::as_ref);
            (settings.name.clone(), Arc::new(Source::new(settings, metrics, before)))
        };
        Self(sources.into_iter().map(source).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.0.get(name).cloned()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.values().map(Arc::as_ref)
    }
}
