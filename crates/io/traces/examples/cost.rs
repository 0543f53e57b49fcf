//! What tracing costs an event: `cargo run --release -p hookline-traces --example cost`.
//!
//! CPU time of this thread for one event: with traces off, with traces on and not chosen, and chosen, with all the
//! spans that a service makes for it and their way into the queue; and of the whole process for a chosen event, sending
//! included.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark: it prints, and stops where something is wrong"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use event::TraceContext;
use event::raw::RawHeaders;
use hookline_traces::{At, Settings, Traces, conventions};
use runtime::Telemetry;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/traces", post(|body: axum::body::Bytes| async move { black_box(body.len()).to_string() }));
    runtime.spawn(async move { axum::serve(listener, router).await });
    let telemetry = Telemetry::new("").unwrap();
    let settings = Settings {
        endpoint,
        headers: Vec::new(),
        one_in: 1_000_000_000,
        max_per_second: u32::MAX,
        timeout: Duration::from_secs(5),
    };
    let (off, on) = (Traces::default(), Traces::start(settings, &telemetry, runtime.handle()).unwrap());
    let now = Duration::from_secs(1_795_428_000);
    println!("| one event | ns |\n|---|---|");
    each("traces off: one test", 50_000_000, || black_box(&off).is_on());
    each("ingest, on and not chosen", 20_000_000, || black_box(&on).decide(None, now).is_some());

    let plain = RawHeaders {
        source: "shop".into(),
        adapter: "canonical".into(),
        request_id: "req_1".into(),
        ..RawHeaders::default()
    };
    let plain = plain.to_headers();
    let read = |headers: &[(std::borrow::Cow<'static, str>, Vec<u8>)]| {
        RawHeaders::from_headers(headers.iter().map(|(name, value)| (name.as_ref(), value.as_slice())))
            .unwrap()
            .trace
            .is_some()
    };
    each("process, on and not chosen: the headers that it reads anyway", 5_000_000, || read(black_box(&plain)));

    let parent = TraceContext { trace_id: [7; 16], span_id: [8; 8], sampled: true };
    let at = At { topic: "hookline.raw.v1", partition: 3, offset: Some(41) };
    let spans = || {
        let request = conventions::request("shop", "POST", "req_0191", Some(parent));
        let mut send = conventions::send("ingest", at, request.context());
        conventions::sent_to(&mut send, 3, 41);
        let header = TraceContext::parse(send.context().to_header().as_bytes()).unwrap();
        let work = conventions::process("process", "hookline-process", at, header);
        let event = conventions::send("process", at, work.context());
        let row = conventions::process("report", "hookline-report", at, event.context());
        [request, send, work, event, row]
    };
    each("chosen: five spans made in three services", 300_000, || black_box(spans()).len() == 5);

    // Sent as they come, below what the queue takes.
    let (count, before, begun) = (20_000_u64, cpu(), Instant::now());
    for number in 0..count {
        on.publish(spans());
        if number % 100 == 99 {
            #[allow(clippy::disallowed_methods, reason = "a benchmark that waits on its own thread")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    runtime.block_on(on.finish());
    let spent = (cpu() - before) / count as f64 * 1e9;
    println!(
        "| chosen, all of it: five spans made, queued, sent and taken by the receiver of this process | {spent:.0} |"
    );
    let text = telemetry.metrics.render().unwrap();
    for line in text.lines().filter(|line| line.starts_with("hookline_spans_total")) {
        println!("{line}");
    }
    println!("({:.1} s)", begun.elapsed().as_secs_f64());
}

/// CPU time, since a machine that others use stretches the time on the wall.
fn each(what: &str, times: u64, mut work: impl FnMut() -> bool) {
    let (before, mut sum) = (cpu(), 0_u64);
    for _ in 0..times {
        sum += u64::from(work());
    }
    let each = (cpu() - before) / times as f64 * 1e9;
    black_box(sum);
    println!("| {what} | {each:.1} |");
}

/// CPU seconds of this process: of this thread, and of those that send and receive.
fn cpu() -> f64 {
    measure::threads_cpu().unwrap().as_secs_f64()
}
