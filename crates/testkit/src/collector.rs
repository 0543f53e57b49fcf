//! A receiver of traces (OTLP over HTTP) that reads what comes with the generated messages of OpenTelemetry, can be
//! slow or broken on purpose, and hands everything on to a real OpenTelemetry Collector where one was built.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

/// A span as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The trace, in hex.
    pub trace: String,
    /// The span, in hex.
    pub span: String,
    /// The span that it is a part of, in hex; empty for the first of a trace.
    pub parent: String,
    /// Names and values of its attributes.
    pub attributes: Vec<(String, String)>,
    /// Traces and spans that it is linked to.
    pub links: Vec<(String, String)>,
    /// From its start to its end.
    pub took: Duration,
    /// Why it failed; empty if it did not.
    pub error: String,
}

impl Seen {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// 200, or what the real collector says.
    #[default]
    Well,
    /// 200, after half a minute.
    Slow,
    /// 500.
    Broken,
    /// The connection ends without an answer.
    Gone,
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    requests: usize,
    mood: Mood,
}

/// The receiver, and behind it the real collector if there is one.
#[derive(Clone)]
pub struct Collector {
    inner: Arc<Mutex<Inner>>,
    real: Option<Arc<RealCollector>>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Collector {
    /// Starts the receiver, and the real collector behind it if it was built: see `tests/otel-collector`. Its files go
    /// to `folder`.
    ///
    /// # Errors
    /// When a port cannot be had, or the real collector does not start.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let real = match RealCollector::find() {
            Some(program) => Some(Arc::new(RealCollector::start(&program, folder).await?)),
            None => None,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let this = Self { inner: Arc::default(), real, address: listener.local_addr()? };
        let router = Router::new().route("/v1/traces", post(take)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(this)
    }

    /// Whether a real collector has its word in each answer.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.real.is_some()
    }

    /// Answers in another way from now on.
    pub fn behave(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    /// Every span that was taken, in the order of arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// Requests that came, however they were answered.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.lock().requests
    }

    /// What the real collector has written of a trace: its lines with the trace's id.
    #[must_use]
    pub fn said_of(&self, trace: &str) -> Option<usize> {
        let text = std::fs::read_to_string(&self.real.as_ref()?.log).unwrap_or_default();
        Some(text.lines().filter(|line| line.trim_start().starts_with("Trace ID") && line.contains(trace)).count())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(State(this): State<Collector>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let mood = {
        let mut inner = this.lock();
        inner.requests += 1;
        inner.mood
    };
    match mood {
        Mood::Broken => return (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
        Mood::Slow => tokio::time::sleep(Duration::from_secs(30)).await,
        // Longer than any client waits.
        Mood::Gone => tokio::time::sleep(Duration::from_secs(3_600)).await,
        Mood::Well => {}
    }
    let right_type = headers.get("content-type").is_some_and(|value| value == "application/x-protobuf");
    let Ok(request) = ExportTraceServiceRequest::decode(body.clone()) else {
        return (StatusCode::BAD_REQUEST, Vec::new());
    };
    if !right_type {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Vec::new());
    }
    if let Some(real) = &this.real {
        match real.take(body).await {
            Ok((status, answer)) if status.is_success() => {
                this.lock().seen.extend(spans(request));
                return (status, answer);
            }
            Ok(refused) => return refused,
            Err(_) => return (StatusCode::BAD_GATEWAY, Vec::new()),
        }
    }
    this.lock().seen.extend(spans(request));
    (StatusCode::OK, Vec::new())
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Seen> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut seen = Vec::new();
    for resource in request.resource_spans {
        let own = resource.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let service = own.into_iter().find(|(name, _)| name == "service.name").map(|(_, value)| value);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            seen.push(Seen {
                service: service.clone().unwrap_or_default(),
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                took: Duration::from_nanos(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano)),
                error: span.status.map(|status| status.message).unwrap_or_default(),
                attributes: attributes(span.attributes),
                name: span.name,
            });
        }
    }
    seen
}

fn attributes(pairs: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |pair: KeyValue| {
        let value = match pair.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key, value)
    };
    pairs.into_iter().map(text).collect()
}

/// A running OpenTelemetry Collector that writes each span to its log.
struct RealCollector {
    child: Mutex<Child>,
    url: String,
    log: PathBuf,
    client: reqwest::Client,
}

impl RealCollector {
    /// `HOOKLINE_TEST_OTELCOL`, or where `tests/otel-collector` puts it.
    fn find() -> Option<PathBuf> {
        let given = std::env::var_os("HOOKLINE_TEST_OTELCOL").map(PathBuf::from);
        let cache = std::env::var_os("HOOKLINE_CACHE").map(PathBuf::from);
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/hookline"));
        let built = cache.or(home).map(|cache| cache.join("otelcol-0.165.0/otelcol-hookline"));
        given.or(built).filter(|program| program.exists())
    }

    async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let address = crate::house::free_address()?;
        let (config, log) = (folder.join("otelcol.yaml"), folder.join("otelcol.log"));
        let text = format!(
            "receivers: {{otlp: {{protocols: {{http: {{endpoint: \"{address}\"}}}}}}}}\n\
             exporters: {{debug: {{verbosity: detailed}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}\n"
        );
        std::fs::write(&config, text)?;
        let output = std::fs::File::create(&log)?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let this = Self {
            child: Mutex::new(child),
            url: format!("http://{address}/v1/traces"),
            log,
            client: crate::http::client(Duration::from_secs(10))?,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while this.take(Bytes::new()).await.is_err() {
            let said = || std::fs::read_to_string(&this.log).unwrap_or_default();
            ensure!(Instant::now() < deadline, "the collector does not listen; it said:\n{}", said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(this)
    }

    async fn take(&self, body: Bytes) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let request = self.client.post(&self.url).header("content-type", "application/x-protobuf").body(body);
        let answer = request.send().await?;
        let status = StatusCode::from_u16(answer.status().as_u16())?;
        Ok((status, answer.bytes().await?.to_vec()))
    }
}

impl Drop for RealCollector {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}
