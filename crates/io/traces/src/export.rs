//! The task that sends: batches, one request at a time, a growing pause while the collector does not take them.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, redirect};
use runtime::{Backoff, with_causes};

use crate::otlp::messages::Answer;
use crate::span::Span;
use crate::{Metrics, Queue, Settings, StartError, otlp};

/// Spans of one request.
const BATCH: usize = 512;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_millis(500);
/// The pauses after a failure.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).jittered();
/// So often a batch is sent before it is given up: newer spans say more than old ones.
const ATTEMPTS: u32 = 3;
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1_024;

/// Why a batch was not taken.
enum NotTaken {
    /// It may be taken later.
    Later(String),
    /// It never will.
    Never(String),
}

pub(crate) struct Export {
    queue: Arc<Queue>,
    metrics: Metrics,
    client: Client,
    url: String,
    headers: HeaderMap,
    instance: String,
    /// Whether the last request failed: it was said then, and is not again.
    failing: bool,
    pauses: Backoff,
}

impl Export {
    pub(crate) fn new(settings: Settings, queue: Arc<Queue>, metrics: Metrics) -> Result<Self, StartError> {
        // An error means that a provider is installed already, which is all that is needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &settings.headers {
            match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                _ => return Err(StartError::Header(name.clone())),
            }
        }
        let client = Client::builder()
            .user_agent(concat!("hookline/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none()) // the headers are for this address
            .timeout(settings.timeout)
            .build()
            .map_err(|error| StartError::Client(with_causes(&error)))?;
        Ok(Self {
            queue,
            metrics,
            client,
            url: format!("{}/v1/traces", settings.endpoint.trim_end_matches('/')),
            headers,
            instance: format!("{:032x}", rand::random::<u128>()),
            failing: false,
            pauses: PAUSES,
        })
    }

    /// Sends until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        loop {
            let (batch, closed) = self.next().await;
            if batch.is_empty() {
                return;
            }
            if closed && self.failing {
                // The stop waits for no collector that did not take the last.
                return;
            }
            self.send(batch).await;
            self.queue.lock().under_way = 0;
        }
    }

    /// The next spans, and whether no more will come; none at the end.
    async fn next(&self) -> (Vec<Span>, bool) {
        loop {
            let (waiting, closed) = self.queue.state();
            if waiting == 0 && !closed {
                self.queue.news.notified().await;
                continue;
            }
            if waiting < BATCH && !closed {
                // More will come in a moment, unless this is the end.
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = self.worth_a_batch() => {}
                }
            }
            let mut waiting = self.queue.lock();
            let count = waiting.spans.len().min(BATCH);
            waiting.under_way = count as u64;
            return (waiting.spans.drain(..count).collect(), waiting.closed);
        }
    }

    /// Returns once a batch is full or the queue is closed.
    async fn worth_a_batch(&self) {
        loop {
            self.queue.news.notified().await;
            let (waiting, closed) = self.queue.state();
            if closed || waiting >= BATCH {
                return;
            }
        }
    }

    async fn send(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let body = otlp::request(batch, &self.instance).encode_to_vec();
        for attempt in 1..=ATTEMPTS {
            match self.post(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.count("rejected", rejected);
                    self.count("exported", count - rejected);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the collector takes spans again");
                    }
                    self.pauses.reset();
                    return;
                }
                Err(why) => {
                    let (NotTaken::Later(text) | NotTaken::Never(text)) = &why;
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            "the collector of [traces] does not take spans: {text}; events go on, spans are dropped and counted \
                             (hookline_spans_total)"
                        );
                    }
                    if matches!(why, NotTaken::Never(_)) || self.queue.state().1 {
                        break;
                    }
                    let pause = self.pauses.pause();
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.until_closed() => break,
                    }
                    if attempt == ATTEMPTS {
                        break;
                    }
                }
            }
        }
        self.count("failed", count);
    }

    async fn until_closed(&self) {
        while !self.queue.state().1 {
            self.queue.news.notified().await;
        }
    }

    /// Sends a batch; returns how many of its spans the collector rejects.
    async fn post(&self, body: Vec<u8>) -> Result<u64, NotTaken> {
        let later = |error: reqwest::Error| NotTaken::Later(with_causes(&error.without_url()));
        let request = self.client.post(&self.url).headers(self.headers.clone()).body(body);
        let mut response = request.send().await.map_err(later)?;
        let status = response.status();
        if !status.is_success() {
            let text = format!("it answers {status}");
            // As OTLP has it: these may be sent again, others may not.
            let again = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            return Err(if again { NotTaken::Later(text) } else { NotTaken::Never(text) });
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(later)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > MAX_ANSWER {
                return Ok(0);
            }
        }
        let answer = Answer::decode(answer.as_slice()).unwrap_or_default();
        Ok(answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0)))
    }

    fn count(&self, outcome: &str, spans: u64) {
        if spans > 0 {
            self.metrics.spans.with_label_values(&[outcome]).inc_by(spans);
        }
    }
}
