use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use event::TraceContext;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use super::*;

/// A collector: what it was sent, the status that it answers, and how long that takes.
#[derive(Clone, Default)]
struct Collector {
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    status: Arc<AtomicU16>,
    slow: Duration,
}

impl Collector {
    async fn listen(status: u16, slow: Duration) -> (Self, String) {
        let this = Self { status: Arc::new(AtomicU16::new(status)), slow, ..Self::default() };
        async fn take(State(this): State<Collector>, body: Bytes) -> StatusCode {
            tokio::time::sleep(this.slow).await;
            let status = StatusCode::from_u16(this.status.load(Ordering::Relaxed)).unwrap();
            if status.is_success() {
                this.received.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
            }
            status
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (this, url)
    }
}

fn started(url: &str) -> (Traces, Telemetry) {
    let telemetry = Telemetry::new("test").unwrap();
    let settings = Settings {
        endpoint: url.to_owned(),
        headers: vec![("x-token".to_owned(), "t".to_owned())],
        one_in: 1,
        max_per_second: 10,
        timeout: Duration::from_secs(5),
    };
    (Traces::start(settings, &telemetry, &Handle::current()).unwrap(), telemetry)
}

fn spans(telemetry: &Telemetry, outcome: &str) -> u64 {
    let text = telemetry.metrics.render().unwrap();
    let name = format!("hookline_spans_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

fn some(count: usize) -> Vec<Span> {
    let parent = TraceContext { trace_id: [7; 16], span_id: [8; 8], sampled: true };
    let at = At { topic: "hookline.raw.v1", partition: 3, offset: Some(41) };
    (0..count).map(|_| conventions::process("process", "hookline-process", at, parent)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_arrives_with_parent_attributes_and_resource_before_the_stop() {
    let (collector, url) = Collector::listen(200, Duration::ZERO).await;
    let (traces, telemetry) = started(&url);
    assert_eq!(telemetry.beats.names(), ["the sender of traces"]);
    let mut all = some(1_000);
    let insert = conventions::insert(3, "records", 9, all.iter().take(200).map(Span::context));
    all.push(insert);
    traces.publish(all);
    traces.finish().await;
    let received = collector.received.lock().unwrap().clone();
    let resources: Vec<_> = received.iter().flat_map(|request| &request.resource_spans).collect();
    let count: usize = resources.iter().map(|resource| resource.scope_spans[0].spans.len()).sum();
    assert_eq!((count, spans(&telemetry, "exported"), spans(&telemetry, "dropped")), (1_001, 1_001, 0));
    let text = format!("{resources:?}");
    for part in
        ["hookline-process", "hookline-report", "service.instance.id", "messaging.kafka.offset", "INSERT records"]
    {
        assert!(text.contains(part), "{part} is not in {}", &text[..2_000]);
    }
    let first = &resources[0].scope_spans[0].spans[0];
    assert_eq!((first.trace_id.as_slice(), first.parent_span_id.as_slice()), (&[7; 16][..], &[8; 8][..]));
    let insert =
        resources.iter().flat_map(|resource| &resource.scope_spans[0].spans).find(|span| span.name == "INSERT records");
    assert_eq!(insert.unwrap().links.len(), 128, "a span has as many links as OpenTelemetry takes");
    // After the end, nothing is taken, and that is counted.
    traces.publish(some(2));
    assert_eq!(spans(&telemetry, "dropped"), 2);
    traces.let_go(3);
    assert_eq!(spans(&telemetry, "dropped"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_slow_or_broken_costs_no_time_and_every_span_is_counted() {
    let (_broken, broken) = Collector::listen(500, Duration::ZERO).await;
    let (_slow, slow) = Collector::listen(200, Duration::from_secs(30)).await;
    let (_busy, busy) = Collector::listen(503, Duration::ZERO).await;
    for url in ["http://127.0.0.1:9", &broken, &slow, &busy] {
        let (traces, telemetry) = started(url);
        let begun = Instant::now();
        traces.publish(some(5_000));
        let published = begun.elapsed();
        tokio::time::sleep(Duration::from_millis(800)).await;
        let begun = Instant::now();
        traces.finish().await;
        let finished = begun.elapsed();
        assert!(published < Duration::from_millis(500), "{url}: {published:?}");
        assert!(finished < LAST_WORDS + Duration::from_millis(500), "{url}: {finished:?}");
        assert_eq!(spans(&telemetry, "exported"), 0, "{url}");
        let (dropped, failed) = (spans(&telemetry, "dropped"), spans(&telemetry, "failed"));
        assert!(dropped >= 5_000 - QUEUE as u64, "{url}: {dropped}");
        assert_eq!(dropped + failed, 5_000, "{url}: every span is counted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_comes_back_is_sent_to_again() {
    let (collector, url) = Collector::listen(503, Duration::ZERO).await;
    let (traces, telemetry) = started(&url);
    traces.publish(some(3));
    tokio::time::sleep(Duration::from_millis(900)).await;
    collector.status.store(200, Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(30);
    while spans(&telemetry, "exported") < 3 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((spans(&telemetry, "exported"), spans(&telemetry, "failed")), (3, 0));
}

#[test]
fn off_is_off() {
    let traces = Traces::default();
    assert!(!traces.is_on());
    assert_eq!(traces.decide(None, Duration::ZERO), None);
    traces.publish(some(1));
}
