//! The HTTP edge: authenticate raw bytes, bound them, find the events, append them to `raw`, answer.
//!
//! It knows nothing of campaigns, rules or ClickHouse, and it says 202 only once the in-sync replicas have every event
//! of the request.

mod answer;
mod metrics;
mod receive;
mod source;
mod switches;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use kafka::edge::{EdgeOpenError, EdgeOptions, EdgeProducer};
use kafka::{Cluster, Topic};
use runtime::{Component, Shutdown, Telemetry};
use tokio::net::TcpListener;

pub use source::SourceSettings;

/// The name of this service in health and metrics.
pub const SERVICE: &str = "ingest";

/// How long the brokers have to acknowledge; with reading and checking, the sender has its answer within 4 seconds.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(3_500);

/// What ingest works by.
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// Partitions of `raw`.
    pub lanes: u16,
    /// The sources that may send.
    pub sources: Vec<SourceSettings>,
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
}

/// Everything a request needs.
pub(crate) struct Edge {
    pub(crate) lanes: u16,
    pub(crate) sources: source::Sources,
    pub(crate) producer: EdgeProducer,
    pub(crate) metrics: metrics::IngestMetrics,
}

/// A service that is ready to serve.
pub struct Ingest {
    edge: Arc<Edge>,
    cluster: Cluster,
    component: Component,
}

impl Ingest {
    /// Prepares the producer and the sources.
    ///
    /// # Errors
    /// When the producer's settings are refused.
    pub fn new(settings: Settings, telemetry: &Telemetry) -> Result<Self, StartError> {
        let options = EdgeOptions { delivery_timeout: ACKNOWLEDGE_WITHIN, ..EdgeOptions::default() };
        let metrics = metrics::IngestMetrics::new(telemetry)?;
        let sources = source::Sources::new(settings.sources, &metrics);
        let producer = EdgeProducer::open(&settings.cluster, options)?;
        let component = telemetry.health.component(SERVICE);
        let edge = Arc::new(Edge { lanes: settings.lanes, sources, producer, metrics });
        Ok(Self { edge, cluster: settings.cluster, component })
    }

    /// Serves until the stop is given, then lets the requests under way end and the producer drain.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener, telemetry: Telemetry, shutdown: Shutdown) -> std::io::Result<()> {
        let Self { edge, cluster, component } = self;
        switches::follow(cluster, Arc::clone(&edge), &telemetry, shutdown.clone())?;
        let watch = tokio::spawn(watch(Arc::clone(&edge), component, shutdown.clone()));
        let app = Router::new()
            .route("/v1/webhooks/{source}", post(receive::receive).put(receive::receive))
            .layer(DefaultBodyLimit::disable()) // Each source has a limit of its own, kept while the body streams in.
            .with_state(Arc::clone(&edge))
            .merge(runtime::listen::routes(telemetry))
            .fallback(answer::not_found);
        let stop = shutdown.clone();
        axum::serve(listener, app).with_graceful_shutdown(async move { stop.given().await }).await?;
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

/// Keeps readiness in step with the brokers.
async fn watch(edge: Arc<Edge>, component: Component, shutdown: Shutdown) {
    let mut was_up = None;
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
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
