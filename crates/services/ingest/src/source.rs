//! The sources that may send, ready to verify, with what each may take.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use adapter::{Adapter, Dialect};
use config::Quota;
use signature::Verifier;

use crate::limits::InFlight;
use crate::logs::Sparingly;
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
    pub(crate) switch: SourceSwitch,
    pub(crate) in_flight: InFlight,
    /// Bytes that its requests hold.
    pub(crate) held: AtomicUsize,
    pub(crate) log: SourceLog,
    bucket: Option<Mutex<Bucket>>,
}

/// Log lines about a source, each kind sparingly.
#[derive(Default)]
pub(crate) struct SourceLog {
    pub(crate) refused: Sparingly,
    pub(crate) unavailable: Sparingly,
    pub(crate) over_quota: Sparingly,
}

impl Source {
    fn new(settings: SourceSettings, metrics: &IngestMetrics) -> Self {
        Self {
            metrics: metrics.source(&settings),
            switch: SourceSwitch::unread(),
            in_flight: InFlight::new(settings.in_flight, MAX_EVENTS_IN_FLIGHT),
            held: AtomicUsize::new(0),
            log: SourceLog::default(),
            bucket: settings.quota.map(|quota| Mutex::new(Bucket::new(quota.per_second))),
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
pub(crate) struct Sources(HashMap<String, Source>);

impl Sources {
    pub(crate) fn new(sources: Vec<SourceSettings>, metrics: &IngestMetrics) -> Self {
        let source = |settings: SourceSettings| (settings.name.clone(), Source::new(settings, metrics));
        Self(sources.into_iter().map(source).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Source> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.values()
    }
}
