//! Destinations as a receiver sees them.

mod bad;
mod refusing;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use notification::destination::{Value, Values};
use notification::{LinkCount, Message, MessageKind, Thread, Window};
use runtime::Telemetry;
use standardwebhooks::Webhook as Verifier;

use super::*;
use crate::Settings;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a receiver got.
#[derive(Clone)]
struct Got {
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
    path: String,
}

/// A receiver on this machine, and what it got.
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    /// `answer` gets the number of the request, from 0.
    async fn start(answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static) -> Self {
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let seen = Arc::clone(&got);
        let handler = move |uri: axum::http::Uri, headers: HeaderMap, body: Bytes| {
            let mut seen = seen.lock().unwrap();
            seen.push(Got { headers, body, at: Instant::now(), path: uri.path().to_owned() });
            let answer = answer(seen.len() - 1);
            async move { answer }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(any(handler));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, got }
    }

    fn url(&self) -> String {
        format!("http://{}/hook?token=t", self.address)
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

fn destination(name: &str, kind: &str, values: Values) -> Destination {
    Destination {
        name: name.to_owned(),
        owner: "data".to_owned(),
        fields: None,
        kind: notification::destination::kind(kind).unwrap(),
        values,
        allow_private: true,
        proxy: None,
        max: None,
        open: None,
    }
}

fn webhook(name: &str, url: String, allow_private: bool) -> Destination {
    let values = Values::default().with("url", &url).with("secret", SECRET);
    Destination { allow_private, ..destination(name, "webhook", values) }
}

fn file(name: &str, path: &Path) -> Destination {
    let mut values = Values::default();
    values.set("path", Value::Path(path.to_owned()));
    destination(name, "csv", values)
}

/// The tasks of some destinations, and what they tell.
struct Running {
    workers: Workers,
    switches: Arc<LiveSwitches>,
    outcomes: mpsc::Receiver<Outcome>,
    telemetry: Telemetry,
}

impl Running {
    fn start(destinations: Vec<Destination>) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let telemetry = Telemetry::new("").unwrap();
        let settings = Settings { destinations, ..Settings::nothing() };
        let metrics = NotifyMetrics::new(&telemetry, &settings).unwrap();
        let (tell, outcomes) = mpsc::channel();
        let switches = Arc::new(LiveSwitches::default());
        switches.set(notification::Live::default());
        let workers = Workers::start(&settings, &Handle::current(), &tell, &metrics, &switches);
        Self { workers, switches, outcomes, telemetry }
    }

    async fn outcome(&self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.outcomes.try_recv() {
                Ok(outcome) => return outcome,
                Err(_) => assert!(Instant::now() < deadline, "nothing was told"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn circuit(&self, destination: &str) -> bool {
        let line = format!("hookline_circuit_open{{destination=\"{destination}\"}} 1");
        self.telemetry.metrics.render().unwrap().contains(&line)
    }
}

fn owed(destination: &str, bundle_id: &str) -> PendingDelivery {
    let now = now_ms();
    PendingDelivery {
        bundle_id: bundle_id.to_owned(),
        destination: destination.to_owned(),
        owner: "data".to_owned(),
        rule: "at-once".to_owned(),
        group: String::new(),
        test: false,
        planned_at: now,
        not_before: now,
        decided_at: now,
        first_received_at: now,
        attempt: 0,
        message: Ok(message(bundle_id)),
        receipt: String::new(),
        trace: None,
    }
}

fn message(bundle_id: &str) -> Message {
    Message {
        id: bundle_id.to_owned(),
        kind: MessageKind::Alert,
        rule: "at-once".to_owned(),
        owner: "growth".to_owned(),
        mention: None,
        instruction: None,
        title: "=1+1\nnext".to_owned(),
        text: "=1+1".to_owned(),
        count: 2,
        alerts: 2,
        over: 0,
        links: vec![LinkCount { link: "a/b".to_owned(), count: 2 }],
        sample_event_keys: Vec::new(),
        attributes: BTreeMap::new(),
        window: Window { start: String::new(), end: String::new() },
        alert_ids: vec!["x".to_owned(), "y".to_owned()],
        test: false,
        digest: Vec::new(),
        thread: None,
        attachment: None,
    }
}

/// A message of the thread that `first` opened.
fn of_thread(destination: &str, bundle_id: &str, first: &str, ends: bool) -> PendingDelivery {
    let thread = Thread {
        key: "k1".to_owned(),
        opens: bundle_id == first,
        ends,
        first: first.to_owned(),
        title: "promo: 3 events".to_owned(),
        count: 3,
        receipt: String::new(),
        acknowledged: false,
        firing: Vec::new(),
        told: Vec::new(),
        later: Vec::new(),
    };
    let kind = if ends { MessageKind::Resolved } else { MessageKind::Alert };
    PendingDelivery {
        message: Ok(Message { kind, thread: Some(thread), ..message(bundle_id) }),
        ..owed(destination, bundle_id)
    }
}

#[tokio::test]
async fn a_webhook_is_signed_and_keeps_its_id_and_bytes_over_retries() {
    let receiver = Receiver::start(|number| match number {
        0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    })
    .await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    assert!(running.workers.give(owed("hook", "b1")));
    let told = [running.outcome().await, running.outcome().await, running.outcome().await];
    let steps: Vec<_> = told.iter().map(|one| (one.stage, one.status, one.attempt)).collect();
    let attempted = DeliveryStage::Attempted;
    assert_eq!(steps, [(attempted, 500, 1), (attempted, 503, 2), (DeliveryStage::Delivered, 204, 3)]);
    let got = receiver.got();
    let verifier = Verifier::new(SECRET).unwrap();
    for one in &got {
        verifier.verify(&one.body, &one.headers).unwrap();
        assert_eq!(
            (one.headers["webhook-id"].as_bytes(), one.body.as_ref()),
            (&b"b1"[..], message("b1").to_json().as_bytes())
        );
        assert_eq!(one.headers["content-type"], "application/json");
    }
    assert!(got[2].at - got[1].at >= Duration::from_millis(990), "Retry-After is honoured");
    assert!(!running.circuit("hook"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let receiver =
        Receiver::start(|_| (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response()).await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    running.workers.give(owed("hook", "b1"));
    let told = running.outcome().await;
    assert_eq!((told.stage, told.status), (DeliveryStage::Attempted, 307));
    assert!(receiver.got().iter().all(|one| one.path == "/hook"));
}

#[tokio::test]
async fn a_destination_that_is_gone_gets_nothing_more_and_its_messages_stay_owed() {
    let receiver = Receiver::start(|_| StatusCode::GONE.into_response()).await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    running.workers.give(owed("hook", "b1"));
    running.workers.give(owed("hook", "b2"));
    let told = running.outcome().await;
    assert_eq!((told.stage, told.status, told.attempt), (DeliveryStage::Attempted, 410, 1));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.got().len(), 1);
    assert!(running.circuit("hook"));
    // A message that waited for a day is given up.
    let old = PendingDelivery { planned_at: now_ms() - 25 * 3_600_000, ..owed("hook", "b3") };
    running.workers.give(old);
    let told = running.outcome().await;
    assert_eq!((told.bundle_id.as_str(), told.stage), ("b3", DeliveryStage::Failed));
}

#[tokio::test]
async fn after_five_failures_in_a_row_a_destination_is_left_alone_and_found_again() {
    let receiver = Receiver::start(|number| {
        if number < 6 { StatusCode::BAD_GATEWAY.into_response() } else { StatusCode::OK.into_response() }
    })
    .await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    for number in 0..5 {
        running.workers.give(owed("hook", &format!("b{number}")));
    }
    let mut delivered = 0;
    let mut opened = false;
    while delivered < 5 {
        delivered += usize::from(running.outcome().await.stage == DeliveryStage::Delivered);
        opened |= running.circuit("hook");
    }
    assert!(opened && !running.circuit("hook"));
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let receiver = Receiver::start(|_| StatusCode::OK.into_response()).await;
    let port = receiver.address.port();
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://localhost:{port}/"),
    ];
    for url in urls {
        let running = Running::start(vec![webhook("hook", url.clone(), false)]);
        running.workers.give(owed("hook", "b1"));
        let told = running.outcome().await;
        assert_eq!((told.stage, told.status), (DeliveryStage::Attempted, 0), "{url}");
        assert!(told.error.contains("allow_private"), "{url}: {}", told.error);
    }
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn what_is_told_of_a_failure_does_not_show_the_address() {
    let running = Running::start(vec![webhook("hook", "http://127.0.0.1:1/hook?token=secret".to_owned(), true)]);
    running.workers.give(owed("hook", "b1"));
    let told = running.outcome().await;
    assert!(!told.error.is_empty() && !told.error.contains("token"), "{}", told.error);
}

#[tokio::test]
async fn a_file_gets_a_row_a_message_once_whatever_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.csv");
    let running = Running::start(vec![file("log", &path)]);
    for (step, bundle_id) in ["b1", "b2", "b1"].into_iter().enumerate() {
        running.workers.give(owed("log", bundle_id));
        assert_eq!(running.outcome().await.stage, DeliveryStage::Delivered, "step {step}");
    }
    // A crash in the middle of a row, which is then written again.
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}b3,2026-0")).unwrap();
    running.workers.give(owed("log", "b3"));
    running.outcome().await;
    let mut rows = csv::Reader::from_path(&path).unwrap();
    assert_eq!(rows.headers().unwrap().iter().next(), Some("bundle_id"));
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let ids: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(ids, ["b1", "b2", "b3"]);
    assert_eq!((&rows[0][6], &rows[0][8], &rows[0][11]), ("'=1+1 next", "a/b=2", "x y"));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later").join("alerts.csv");
    let running = Running::start(vec![file("log", &path)]);
    running.workers.give(owed("log", "b1"));
    assert_eq!(running.outcome().await.stage, DeliveryStage::Attempted);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    while running.outcome().await.stage != DeliveryStage::Delivered {}
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_clock_that_was_ahead_holds_no_message_back_and_what_a_receiver_asked_for_stays() {
    const DAY: i64 = 86_400_000;
    let receiver = Receiver::start(|_| StatusCode::OK.into_response()).await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    let ahead = now_ms() + DAY;
    let waits = |bundle_id: &str, decided_at: i64, wait_ms: i64| PendingDelivery {
        planned_at: decided_at,
        not_before: decided_at + wait_ms,
        decided_at,
        ..owed("hook", bundle_id)
    };
    // As the lane reads them back: tried once a day from now, and planned then.
    let begun = Instant::now();
    running.workers.give(waits("asked", now_ms(), DAY));
    running.workers.give(waits("tried", ahead, 1_500));
    running.workers.give(waits("planned", ahead, 0));
    assert_eq!(running.outcome().await.bundle_id, "planned");
    assert_eq!(running.outcome().await.bundle_id, "tried");
    assert!(begun.elapsed() >= Duration::from_millis(1_450), "its own pause stays");
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn an_end_waits_for_its_start_and_finds_what_slack_calls_it() {
    let receiver = Receiver::start(|number| match number {
        0 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => (StatusCode::OK, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#).into_response(),
    })
    .await;
    let values = Values::default().with("token", "xoxb-1").with("channel", "C0123ABCD");
    let values = values.with("api", &format!("http://{}", receiver.address));
    let running = Running::start(vec![destination("chat", "slack", values)]);
    running.workers.give(of_thread("chat", "b1", "b1", false));
    running.workers.give(of_thread("chat", "b2", "b1", true));
    let told = [running.outcome().await, running.outcome().await, running.outcome().await];
    let steps: Vec<_> = told.iter().map(|one| (one.bundle_id.as_str(), one.stage, one.receipt.as_str())).collect();
    let receipt = r#"{"channel":"C1","ts":"1.2"}"#;
    let delivered = DeliveryStage::Delivered;
    assert_eq!(steps, [("b1", DeliveryStage::Attempted, ""), ("b1", delivered, receipt), ("b2", delivered, receipt)]);
    let got = receiver.got();
    let paths: Vec<&str> = got.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["/chat.postMessage", "/chat.postMessage", "/chat.update", "/chat.postMessage"]);
    assert!(String::from_utf8_lossy(&got[3].body).contains(r#""thread_ts":"1.2""#));
    assert_eq!(got[0].headers["authorization"], "Bearer xoxb-1");
    // Slack takes one message a second.
    assert!(got.windows(2).all(|two| two[1].at - two[0].at >= Duration::from_millis(900)));
}

#[tokio::test]
async fn a_paused_destination_gets_nothing_until_it_goes_on() {
    let receiver = Receiver::start(|_| StatusCode::OK.into_response()).await;
    let running = Running::start(vec![webhook("hook", receiver.url(), true)]);
    let mut live = notification::Live::default();
    let held = notification::Held { who: "ana".to_owned(), why: "launch".to_owned(), until_ms: None };
    live.destinations.insert("hook".to_owned(), held);
    running.switches.set(live);
    running.workers.give(owed("hook", "b1"));
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(receiver.got().is_empty());
    running.switches.set(notification::Live::default());
    assert_eq!(running.outcome().await.stage, DeliveryStage::Delivered);
}

#[tokio::test]
async fn what_a_proxy_is_sent_goes_through_it() {
    let proxy = Receiver::start(|_| StatusCode::OK.into_response()).await;
    let through = Destination {
        proxy: Some(notification::destination::SecretText::new(format!("http://{}", proxy.address))),
        ..webhook("hook", "http://hooks.example.invalid/in".to_owned(), false)
    };
    let running = Running::start(vec![through]);
    running.workers.give(owed("hook", "b1"));
    assert_eq!(running.outcome().await.stage, DeliveryStage::Delivered);
    assert_eq!(proxy.got()[0].headers["host"], "hooks.example.invalid");
}
