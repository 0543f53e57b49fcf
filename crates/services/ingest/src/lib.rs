//! The HTTP edge: authenticate raw bytes, bound them, find the events, append them to `raw`, answer.
//!
//! It knows nothing of campaigns, rules or ClickHouse, and it says 202 only once the in-sync replicas have every event
//! of the request. A request passes, in this order: the connection's bounds (`serve`, `connections`), the body's (`body`,
//! `limits`), the signature, decompression (`encoding`), the source's quota and its places under way (`quota`, `limits`),
//! and the log (`append`). Strangers get no further than the signature.

mod answer;
mod append;
mod body;
mod encoding;
mod handshake;
mod limits;
mod metrics;
mod openapi;
mod patience;
mod proxies;
mod query;
mod quota;
mod receive;
mod serve;
mod source;
mod switches;
#[cfg(test)]
mod tests;
mod tls;
mod traced;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use kafka::edge::{EdgeOpenError, EdgeOptions, EdgeProducer};
use kafka::{Cluster, Topic};
use runtime::connections::Connections;
use runtime::{Component, Live, Shutdown, Telemetry};
use tokio::net::TcpListener;
use traces::Traces;

use crate::limits::Memory;
use crate::patience::Patience;
use crate::proxies::TrustedProxies;
use crate::serve::Server;
use crate::source::{MAX_EVENTS_IN_FLIGHT, Sources};
use crate::tls::Certificates;

pub use source::SourceSettings;
pub use tls::TlsError;

/// The name of this service in health and metrics.
pub const SERVICE: &str = "ingest";

/// How long the brokers have to acknowledge; with checking, the sender has its answer within 4 seconds of its last byte.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(3_500);
/// How often readiness and the gauges are brought up to date.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What ingest works by.
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// Partitions of `raw`.
    pub lanes: u16,
    /// `[ingest]` of the configuration: bounds, TLS, proxies.
    pub http: config::Ingest,
    /// The sources that may send.
    pub sources: Vec<SourceSettings>,
    /// Where spans of traced events go.
    pub traces: Traces,
}

/// Why ingest does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of ingest cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The producer's settings are refused.
    #[error("the Kafka producer does not start: {0}")]
    Producer(#[from] EdgeOpenError),
    /// No thread.
    #[error("a thread of ingest could not be started: {0}")]
    Thread(#[source] std::io::Error),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Everything a request needs.
pub(crate) struct Edge {
    pub(crate) lanes: u16,
    pub(crate) sources: Live<Sources>,
    pub(crate) producer: EdgeProducer,
    pub(crate) metrics: metrics::IngestMetrics,
    pub(crate) memory: Memory,
    pub(crate) connections: Arc<Connections>,
    pub(crate) patience: Patience,
    /// How long a body may take.
    pub(crate) body_within: Duration,
    pub(crate) proxies: TrustedProxies,
    pub(crate) traces: Traces,
    /// Where the clock of quotas and log lines starts.
    pub(crate) begun: Instant,
}

/// A service that is ready to serve.
pub struct Ingest {
    edge: Arc<Edge>,
    cluster: Cluster,
    certificates: Option<Arc<Certificates>>,
    component: Component,
}

impl Ingest {
    /// Prepares the producer, the sources and the certificate.
    ///
    /// # Errors
    /// When the producer's settings are refused, or the certificate cannot be used.
    pub fn new(settings: Settings, telemetry: &Telemetry) -> Result<Self, StartError> {
        let Settings { cluster, lanes, http, sources, traces } = settings;
        let metrics = metrics::IngestMetrics::new(telemetry)?;
        let load = |files| Certificates::load(files, metrics.certificate_expires());
        let certificates = http.tls.map(load).transpose()?;
        // Half for bodies, half for the records that wait for Kafka.
        let half = usize::try_from(http.memory / 2).unwrap_or(usize::MAX);
        let options = EdgeOptions {
            delivery_timeout: ACKNOWLEDGE_WITHIN,
            max_bytes: half,
            max_records: 2 * MAX_EVENTS_IN_FLIGHT,
            beats: telemetry.beats.clone(),
            ..EdgeOptions::default()
        };
        let edge = Edge {
            lanes,
            sources: Live::new(Sources::new(sources, &metrics)),
            producer: EdgeProducer::open(&cluster, options)?,
            metrics,
            memory: Memory::new(half),
            connections: Connections::new(serve::room_for_connections(http.max_connections as usize)),
            patience: Patience { head: http.header_timeout, idle: http.idle_timeout },
            body_within: http.body_timeout,
            proxies: TrustedProxies::new(http.trusted_proxies),
            traces,
            begun: Instant::now(),
        };
        let component = telemetry.health.component(SERVICE);
        Ok(Self { edge: Arc::new(edge), cluster, certificates, component })
    }

    /// By which the sources are changed while it serves.
    pub fn live(&self) -> LiveIngest {
        LiveIngest(Arc::clone(&self.edge))
    }

    /// Serves until the stop is given, then lets the requests under way end and the producer drain.
    ///
    /// # Errors
    /// When TLS cannot be set up, or a thread cannot be started.
    pub async fn serve(
        self,
        listener: TcpListener,
        telemetry: Telemetry,
        shutdown: Shutdown,
    ) -> Result<(), StartError> {
        let Self { edge, cluster, certificates, component } = self;
        let tls = certificates.as_ref().map(Certificates::acceptor).transpose()?;
        switches::follow(cluster, Arc::clone(&edge), &telemetry, shutdown.clone()).map_err(StartError::Thread)?;
        let beat = |name| telemetry.beats.register("ingest", name);
        let watched = watch(Arc::clone(&edge), component, shutdown.clone());
        let watch = tokio::spawn(beat("ingest readiness").alongside(watched));
        if let Some(certificates) = certificates {
            let kept = certificates.keep_current(shutdown.clone());
            tokio::spawn(beat("ingest certificate").alongside(kept));
        }
        let listens = beat("the listener of webhooks");
        let router = Router::new()
            .merge(runtime::listen::health_routes(telemetry))
            .route("/openapi.json", get(openapi::description))
            .method_not_allowed_fallback(answer::wrong_method)
            .fallback(answer::not_found);
        listens.alongside(Server { edge: Arc::clone(&edge), router, tls }.run(listener, shutdown.clone())).await;
        shutdown.stop();
        let left = edge.producer.flush(ACKNOWLEDGE_WITHIN).await;
        if left > 0 {
            tracing::warn!(
                service = SERVICE,
                left,
                "records were not acknowledged before the stop; their senders were told 503"
            );
        }
        watch.abort();
        Ok(())
    }
}

/// The sources of an ingest that serves.
#[derive(Clone)]
pub struct LiveIngest(Arc<Edge>);

impl LiveIngest {
    /// Takes other sources. A request is answered by the settings that it met; one of a source that was not there
    /// before is taken once it is known how that is switched, within half a second.
    pub fn replace_sources(&self, sources: Vec<SourceSettings>) {
        let Edge { sources: live, metrics, .. } = &*self.0;
        let before = live.current();
        before.iter().for_each(|source| metrics.forget_settings(&source.settings));
        let after = Sources::after(sources, metrics, Some(&before));
        for gone in before.iter().filter(|source| after.get(&source.settings.name).is_none()) {
            metrics.forget(&gone.settings);
        }
        live.replace(after);
    }
}

/// Keeps readiness in step with the brokers, and the gauges in step with what is held.
async fn watch(edge: Arc<Edge>, component: Component, shutdown: Shutdown) {
    let (mut was_up, mut was_silent) = (None, Vec::new());
    while !shutdown.is_stopping() {
        let up = edge.producer.is_up();
        if was_up != Some(up) {
            match up {
                true => {
                    tracing::info!(
                        service = SERVICE,
                        topic = Topic::Raw.name(),
                        "Kafka acknowledges; requests are taken"
                    );
                    component.ready();
                }
                false if was_up.is_some() => {
                    tracing::warn!(
                        service = SERVICE,
                        "Kafka is not reachable; requests are answered 503 until it is back"
                    );
                    component.failing("Kafka is not reachable");
                }
                false => {}
            }
            was_up = Some(up);
        }
        let (metrics, (records, bytes)) = (&edge.metrics, edge.producer.waiting());
        metrics.open_connections.set(edge.connections.open() as f64);
        metrics.buffered_bytes.set(edge.memory.used() as f64);
        let silent = edge.producer.silent();
        if silent.is_empty() != was_silent.is_empty() {
            match silent.is_empty() {
                true => tracing::info!(service = SERVICE, "every partition of raw acknowledges again"),
                false => tracing::warn!(
                    service = SERVICE,
                    partitions = ?silent,
                    "partitions of raw do not acknowledge; requests for them are answered 503, others are taken"
                ),
            }
        }
        metrics.silent_partitions.set(silent.len() as f64);
        was_silent = silent;
        metrics.waiting_records.set(records as f64);
        metrics.waiting_bytes.set(bytes as f64);
        for source in edge.sources.current().iter() {
            source.metrics.in_flight.set(source.in_flight.requests() as f64);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
