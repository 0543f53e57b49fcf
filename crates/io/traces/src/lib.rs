//! Traces of sampled events, sent to an OpenTelemetry collector as OTLP over HTTP (protobuf).
//!
//! Which events are traced is decided once, at the edge ([`Head`]); from there on the header `traceparent` on a record
//! says so. A span is plain data ([`Span`]), and is published once what it tells of has happened: after the commit,
//! like a count in a metric. Publishing never waits and never fails: what does not fit into the queue is dropped and
//! counted. With no `[traces]` in the configuration, [`Traces::is_on`] is false, and that is all that an event pays.
//!
//! The SDK of OpenTelemetry is not used: its batch processor drops silently, panics in a thread without a reactor, and
//! costs an unsampled event fifty times what a look at a header costs. The messages are those of its generated
//! protocol.

pub mod conventions;
mod export;
mod head;
mod otlp;
mod span;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounterVec;
use runtime::Telemetry;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub use conventions::At;
pub use head::{Decision, Head, Why};
pub use span::{Kind, Span, Value};

/// Spans that wait for the collector.
const QUEUE: usize = 2_048;
/// How long the stop of a process waits for the collector to take what is left.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where spans go, and which events have any.
pub struct Settings {
    /// The base address of the collector, such as `http://collector:4318`.
    pub endpoint: String,
    /// Headers of each request, such as a token: names and values.
    pub headers: Vec<(String, String)>,
    /// One event in so many is traced; 0: only those that trusted senders record.
    pub one_in: u32,
    /// So many events a second are traced at most, on each instance of ingest.
    pub max_per_second: u32,
    /// How long the collector may take to answer.
    pub timeout: Duration,
}

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of traces cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A header cannot be sent.
    #[error("the header {0:?} of [traces] cannot be sent over HTTP")]
    Header(String),
    /// No HTTP client.
    #[error("no HTTP client for [traces] could be made: {0}")]
    Client(String),
}

/// The way to the collector. Cheap to clone; off by default.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    head: Head,
    queue: Arc<Queue>,
    metrics: Metrics,
    sender: Mutex<Option<JoinHandle<()>>>,
}

/// What waits, bounded.
struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    spans: VecDeque<Span>,
    /// How many were taken out and are not settled yet.
    under_way: u64,
    closed: bool,
}

#[derive(Clone)]
struct Metrics {
    /// By what became of them: `exported`, `rejected`, `failed`, `dropped`.
    spans: IntCounterVec,
    /// By why they are traced: `ratio`, `sender`; `capped` for those that are not.
    events: IntCounterVec,
}

impl Traces {
    /// Starts to send on `handle`, which has to outlive it.
    ///
    /// # Errors
    /// When a header cannot be sent or no client can be made; a collector that is away is not an error.
    pub fn start(settings: Settings, telemetry: &Telemetry, handle: &Handle) -> Result<Self, StartError> {
        let metrics = Metrics {
            spans: telemetry.metrics.counter(
                "spans_total",
                "Spans of traced events by what became of them: exported, rejected by the collector, failed, dropped",
                &["outcome"],
            )?,
            events: telemetry.metrics.counter(
                "traced_events_total",
                "Events that are traced, by why: ratio, sender; and those that are not since too many were: capped",
                &["why"],
            )?,
        };
        for outcome in ["exported", "rejected", "failed", "dropped"] {
            metrics.spans.with_label_values(&[outcome]);
        }
        let queue = Arc::new(Queue { waiting: Mutex::default(), news: Notify::new() });
        let head = Head::new(settings.one_in, settings.max_per_second);
        let export = export::Export::new(settings, Arc::clone(&queue), metrics.clone())?;
        let beat = telemetry.beats.register("traces", "the sender of traces");
        let sender = Mutex::new(Some(handle.spawn(beat.alongside(export.run()))));
        Ok(Self(Some(Arc::new(Inner { head, queue, metrics, sender }))))
    }

    /// Whether anything is traced: the one thing that an event asks when nothing is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Decides about one event at the edge: see [`Head::decide`].
    #[must_use]
    pub fn decide(&self, sender: Option<&event::TraceContext>, now: Duration) -> Option<Why> {
        let inner = self.0.as_ref()?;
        let (why, label) = match inner.head.decide(sender, rand::random(), now) {
            Decision::No => return None,
            Decision::Yes(why @ Why::Ratio) => (Some(why), "ratio"),
            Decision::Yes(why @ Why::Sender) => (Some(why), "sender"),
            Decision::Capped => (None, "capped"),
        };
        inner.metrics.events.with_label_values(&[label]).inc();
        why
    }

    /// Hands spans over. Never waits: what does not fit is dropped and counted.
    pub fn publish(&self, spans: impl IntoIterator<Item = Span>) {
        let Some(inner) = &self.0 else { return };
        let mut dropped = 0;
        let mut waiting = inner.queue.lock();
        for span in spans {
            if waiting.closed || waiting.spans.len() >= QUEUE {
                dropped += 1;
            } else {
                waiting.spans.push_back(span);
            }
        }
        drop(waiting);
        inner.queue.news.notify_one();
        if dropped > 0 {
            inner.metrics.spans.with_label_values(&["dropped"]).inc_by(dropped);
        }
    }

    /// Counts spans as dropped that were never handed over, since too many waited for their end.
    pub fn let_go(&self, spans: u64) {
        if let Some(inner) = &self.0 {
            inner.metrics.spans.with_label_values(&["dropped"]).inc_by(spans);
        }
    }

    /// Has the collector take what waits, for at most [`LAST_WORDS`]; nothing is waited for where it did not take the
    /// last.
    pub async fn finish(&self) {
        let Some(inner) = &self.0 else { return };
        inner.queue.lock().closed = true;
        inner.queue.news.notify_one();
        let sender = inner.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut sender) = sender
            && tokio::time::timeout(LAST_WORDS, &mut sender).await.is_err()
        {
            sender.abort();
        }
        let mut waiting = inner.queue.lock();
        let left = waiting.spans.drain(..).count() as u64 + std::mem::take(&mut waiting.under_way);
        inner.metrics.spans.with_label_values(&["dropped"]).inc_by(left);
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait, and whether no more will come.
    fn state(&self) -> (usize, bool) {
        let waiting = self.lock();
        (waiting.spans.len(), waiting.closed)
    }
}
