//! What is answered to what.

use std::io::Write;

use config::{Ingest as Http, Quota, WhenOver};
use kafka::control::{State, Switch};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use signature::{Message, Scheme, Secret, Signer};

use super::door::{Door, SECRET, click, dubs, source, with_quota};
use crate::SourceSettings;

/// Checks the form of a problem and returns its type.
async fn problem(response: Response) -> String {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let receipt = response.headers().get("hookline-receipt").map(|id| id.to_str().unwrap().to_owned());
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["receipt"].as_str(), receipt.as_deref());
    assert!(!body["title"].as_str().unwrap().is_empty() && body["detail"].as_str().unwrap().ends_with('.'));
    body["type"].as_str().unwrap().strip_prefix("urn:hookline:problem:").unwrap().to_owned()
}

#[tokio::test]
async fn every_refusal_is_a_problem_that_says_what_to_do() {
    let door = Door::with_defaults().await;
    for path in ["/", "/v1/webhooks", "/v1/webhooks/", "/v1/webhooks/nobody", "/v1/webhooks/dub/", "/metrics"] {
        let response = door.ask(Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let expected = if path.starts_with("/v1/webhooks/") { "unknown-source" } else { "unknown-path" };
        assert_eq!(problem(response).await, expected, "{path}");
    }
    let response = door.ask(Method::DELETE, "/v1/webhooks/dub").await;
    assert_eq!(
        (response.status(), &response.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD, OPTIONS, POST, PUT".parse().unwrap())
    );
    assert_eq!(problem(response).await, "wrong-method");
    let response = door.ask(Method::POST, "/readyz").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(problem(response).await, "wrong-method");

    let response = door.post("dub", &click("a"), b"other", &[]).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers().contains_key("www-authenticate"));
    assert_eq!(problem(response).await, "unauthenticated");

    let large = vec![b' '; (256 << 10) + 1];
    let response = door.post("dub", &large, &large, &[]).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(problem(response).await, "too-large");

    let response = door.post("dub", &click("a"), &click("a"), &[("content-type", "text/csv")]).await;
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(problem(response).await, "wrong-type");

    let response = door.post("dub", &click("a"), &click("a"), &[("content-encoding", "br")]).await;
    assert_eq!(
        (response.status(), &response.headers()["accept-encoding"]),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, &"gzip, zstd".parse().unwrap())
    );
    assert_eq!(problem(response).await, "wrong-encoding");

    let response = door.post("dub", &click("a"), &click("a"), &[]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((4..=8).contains(&wait), "{wait}");
    assert_eq!(problem(response).await, "unavailable");

    for (outcome, count) in
        [("unauthenticated", 1.0), ("too_large", 1.0), ("wrong_type", 2.0), ("unavailable", 1.0), ("wrong_method", 1.0)]
    {
        let sample = format!(r#"hookline_requests_total{{outcome="{outcome}",source="dub"}}"#);
        assert_eq!(door.metric(&sample), Some(count), "{outcome}");
    }
    // Of these, only what the platform itself was refused, and what we failed at, brings it nearer to giving up.
    assert_eq!(door.metric(r#"hookline_refusals_in_a_row{source="dub"}"#), Some(3.0));
    assert_eq!(door.metric(r#"hookline_refusals_allowed{source="dub"}"#), Some(20.0));
}

#[tokio::test]
async fn who_only_looks_is_told_that_somebody_is_there() {
    let door = Door::with_defaults().await;
    for method in [Method::GET, Method::HEAD] {
        let response = door.ask(method, "/v1/webhooks/dub").await;
        assert_eq!(response.status(), StatusCode::OK);
    }
    let response = door.ask(Method::OPTIONS, "/v1/webhooks/dub").await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(response.headers().contains_key("allow") && !response.headers().contains_key("webhook-allowed-origin"));
    assert_eq!(door.ask(Method::OPTIONS, "/v1/webhooks/nobody").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(door.ask(Method::GET, "/healthz").await.status(), StatusCode::OK);
}

/// A tracker that sends events by GET takes a 200 for a receipt.
#[tokio::test]
async fn a_get_with_a_query_is_an_event_or_a_refusal_and_never_a_silent_200() {
    let plan = adapter::mapping::MappingPlan {
        event_type: adapter::mapping::TypeFrom {
            paths: vec![adapter::mapping::PayloadPath::parse("type").unwrap()],
            ..Default::default()
        },
        fields: vec![(
            adapter::mapping::Field::LinkId,
            adapter::mapping::TextFrom {
                paths: vec![adapter::mapping::PayloadPath::parse("link").unwrap()],
                ..Default::default()
            },
        )],
        ..Default::default()
    };
    let mapped = |name: &str, scheme: Scheme, secret_parameter: Option<&str>, events_in_query| SourceSettings {
        adapter: adapter::Adapter::Mapping,
        dialect: adapter::Dialect {
            mapping: Some(adapter::mapping::Mapping::new(plan.clone())),
            ..adapter::Dialect::PLAIN
        },
        secret_parameter: secret_parameter.map(str::to_owned),
        events_in_query,
        ..source(name, scheme, "s3cret")
    };
    let query = || Scheme::Query { key: "key".into() };
    let header = || Scheme::Header { name: "X-Secret".into() };
    let sources = vec![
        mapped("shut", query(), Some("key"), false),
        mapped("open", query(), Some("key"), true),
        mapped("headed", header(), None, true),
    ];
    let door = Door::open(sources, Default::default()).await;
    let ask = async |method: Method, target: &str, body: &str| {
        let url = format!("http://{}/v1/webhooks/{target}", door.address);
        door.client.request(method, url).header("X-Secret", "s3cret").body(body.to_owned()).send().await.unwrap()
    };

    // Without the opt-in: a look is answered, an event is refused.
    for look in ["shut", "shut?", "shut?key=s3cret", "shut?key=wrong", "shut?dry_run=1"] {
        assert_eq!(ask(Method::GET, look, "").await.status(), StatusCode::OK, "{look}");
    }
    for (method, event) in [
        (Method::GET, "shut?type=click&link=l"),
        (Method::GET, "shut?key=s3cret&type=click"),
        (Method::HEAD, "shut?type=click"),
        (Method::GET, "shut?click"),
    ] {
        let response = ask(method.clone(), event, "").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {event}");
        assert_eq!(response.headers()["allow"], "OPTIONS, POST, PUT");
        if method == Method::GET {
            assert_eq!(problem(response).await, "wrong-method");
        }
    }
    assert_eq!(door.metric(r#"hookline_requests_total{outcome="wrong_method",source="shut"}"#), Some(4.0));

    // With it: read as a form by the map, once authenticated. No Kafka is here, so what would be stored is asked for.
    for (method, event, status, events) in [
        (Method::GET, "open?key=s3cret&type=click&link=a+b&dry_run=1", "accepted", 1),
        (Method::GET, "headed?type=click&link=l&dry_run=1", "accepted", 1),
        (Method::POST, "headed?type=click&link=l&dry_run=1", "accepted", 1),
        (Method::GET, "headed?type=other&link=l&dry_run=1", "quarantined", 1),
        (Method::GET, "headed?type=click&dry_run=1", "quarantined", 1),
    ] {
        let response = ask(method, event, "").await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{event}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!((answer["status"].as_str(), answer["events"].as_i64()), (Some(status), Some(events)), "{answer}");
    }
    for (method, target, body, status) in [
        (Method::GET, "open?type=click&link=l", "", StatusCode::UNAUTHORIZED),
        (Method::GET, "open?key=wrong&type=click&link=l", "", StatusCode::UNAUTHORIZED),
        (Method::GET, "headed?type=click&link=l", "type=sale", StatusCode::METHOD_NOT_ALLOWED),
        // Only Kafka is missing for these to be stored.
        (Method::GET, "open?key=s3cret&type=click&link=l", "", StatusCode::SERVICE_UNAVAILABLE),
        (Method::GET, "open?key=s3cret", "", StatusCode::OK),
        (Method::HEAD, "open?key=s3cret&type=click&link=l", "", StatusCode::OK),
    ] {
        assert_eq!(ask(method.clone(), target, body).await.status(), status, "{method} {target}");
    }
}

#[tokio::test]
async fn the_cloudevents_handshake_grants_the_rate_of_the_quota() {
    let ask = async |door: &Door| {
        let request = door.client.request(Method::OPTIONS, format!("http://{}/v1/webhooks/dub", door.address));
        let request =
            request.header("WebHook-Request-Origin", "events.example.com").header("WebHook-Request-Rate", "120");
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["webhook-allowed-origin"]),
            (StatusCode::OK, &"events.example.com".parse().unwrap())
        );
        response.headers()["webhook-allowed-rate"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask(&Door::with_defaults().await).await, "*");
    let quota = Quota { per_second: 5, when_over: WhenOver::Refuse };
    assert_eq!(ask(&Door::open(with_quota(quota), Http::default()).await).await, "300");
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_counts_as_nothing() {
    let quota = Quota { per_second: 3, when_over: WhenOver::Refuse };
    let door = Door::open(with_quota(quota), Http::default()).await;
    for _ in 0..5 {
        let response = door.dry("dub", &click("a")).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["status"], &body["events"], &body["dry_run"]), (&json!("accepted"), &json!(1), &json!(true)));
        assert_eq!(
            body["would"],
            json!({
                "answer": 503,
                "why": "the event log does not answer",
                "quota": { "per_second": 3, "room": 3, "when_over": "refuse" }
            })
        );
    }
    let body: Value = door.dry("dub", b"[").await.json().await.unwrap();
    assert_eq!((&body["status"], &body["quarantined"]), (&json!("quarantined"), &json!(1)));
    assert_eq!(door.post("dub?dry_run=1", b"{}", b"other", &[]).await.status(), StatusCode::UNAUTHORIZED);
    for (sample, expected) in [
        (r#"hookline_requests_total{outcome="dry_run",source="dub"}"#, 6.0),
        (r#"hookline_requests_total{outcome="accepted",source="dub"}"#, 0.0),
        (r#"hookline_events_total{source="dub"}"#, 0.0),
        (r#"hookline_secret_uses_total{secret_id="first",source="dub"}"#, 0.0),
        (r#"hookline_refusals_in_a_row{source="dub"}"#, 0.0),
        (r#"hookline_quota_events_per_second{source="dub"}"#, 3.0),
    ] {
        assert_eq!(door.metric(sample), Some(expected), "{sample}");
    }
}

#[tokio::test]
async fn put_is_as_good_as_post() {
    let door = Door::with_defaults().await;
    let body = click("a");
    let mut request = door.client.put(format!("http://{}/v1/webhooks/dub?dry_run=1", door.address)).body(body.clone());
    for (name, value) in super::door::signature(&body) {
        request = request.header(name, value);
    }
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_compressed_body_may_be_signed_before_or_after_it_is_compressed() {
    let door = Door::with_defaults().await;
    let content = click("a");
    for (name, wire) in [("gzip", gzip(&content)), ("zstd", zstd::stream::encode_all(&content[..], 3).unwrap())] {
        for signed in [&wire, &content] {
            let response = door.post("dub?dry_run=1", &wire, signed, &[("content-encoding", name)]).await;
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["status"], "accepted", "{name}: {body}");
        }
        let response = door.post("dub?dry_run=1", &wire, b"neither", &[("content-encoding", name)]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn an_authentic_body_that_is_not_what_its_encoding_says_is_quarantined_and_not_refused() {
    let door = Door::with_defaults().await;
    let response = door.post("dub?dry_run=1", b"no gzip", b"no gzip", &[("content-encoding", "gzip")]).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let body: Value = response.json().await.unwrap();
    assert_eq!((&body["status"], &body["results"][0]["reason"]), (&json!("quarantined"), &json!("bad_encoding")));
}

#[tokio::test]
async fn a_bomb_is_refused_whoever_signed_it() {
    let door = Door::with_defaults().await;
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 256 << 10);
    for signed in [&bomb[..], b"other"] {
        let response = door.post("dub", &bomb, signed, &[("content-encoding", "gzip")]).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    door.until("hookline_buffered_bytes", |bytes| bytes == 0.0).await;
}

/// Twilio signs the URL that it was given, which is not the one that arrives behind a proxy.
#[tokio::test]
async fn a_sender_that_signs_its_url_is_checked_against_the_address_that_it_was_given() {
    let public_url = Some("https://hooks.example.com/v1/webhooks/twilio".to_owned());
    let twilio = SourceSettings { public_url, ..source("twilio", Scheme::Twilio, SECRET) };
    let door = Door::open(vec![twilio], Http::default()).await;
    let signer = Signer::new(&Scheme::Twilio, &Secret::new("first", SECRET)).unwrap();
    let body = click("a");
    for (address, expected) in [
        ("https://hooks.example.com/v1/webhooks/twilio?dry_run=1", StatusCode::ACCEPTED),
        ("https://elsewhere.example.com/v1/webhooks/twilio?dry_run=1", StatusCode::UNAUTHORIZED),
    ] {
        let message = Message {
            method: "POST",
            url: address,
            content_type: "application/json",
            id: "",
            timestamp: 0,
            body: &body,
        };
        let signed = signer.sign(&message).unwrap();
        let query = signed.url.split_once('?').unwrap().1;
        let mut request =
            door.client.post(format!("http://{}/v1/webhooks/twilio?{query}", door.address)).body(body.clone());
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), expected, "{address}");
    }
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_result() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let canonical =
        SourceSettings { adapter: adapter::Adapter::Canonical, ..source("own", Scheme::StandardWebhooks, secret) };
    let door = Door::open(vec![canonical], Http::default()).await;
    let good = r#"{"id":"1","type":"click","time":"2026-11-23T10:00:00Z","link":{"id":"l"}}"#;
    let body = format!("[{good},{{\"id\":\"2\"}},{good}]");
    let now = jiff::Timestamp::now().as_second();
    let secret = Secret::new("first", secret);
    let headers = signature::sign(&Scheme::StandardWebhooks, &secret, "msg_1", now, body.as_bytes()).unwrap();
    let mut request = door.client.post(format!("http://{}/v1/webhooks/own?dry_run=1", door.address)).body(body);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&answer["status"], &answer["events"], &answer["quarantined"]),
        (&json!("accepted"), &json!(3), &json!(1))
    );
    let results: Vec<_> = answer["results"].as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(results, ["accepted", "quarantined", "accepted"]);
}

#[tokio::test]
async fn sources_beyond_the_two_hundredth_share_a_label() {
    let sources = (0..205).map(|n| source(&format!("s{n}"), Scheme::Dub, SECRET)).chain(dubs()).collect();
    let door = Door::open(sources, Http::default()).await;
    door.post("dub", b"{}", b"other", &[]).await;
    assert_eq!(door.metric(r#"hookline_requests_total{outcome="unauthenticated",source="other"}"#), Some(1.0));
    assert_eq!(door.metric(r#"hookline_requests_total{outcome="unauthenticated",source="dub"}"#), None);
}

#[tokio::test]
async fn a_source_that_is_switched_off_says_so_and_a_dry_run_goes_on() {
    let door = Door::with_defaults().await;
    let switched = |state| {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let switch = Switch { state, who: "ana".into(), why: "test".into(), until: None, at };
        door.edge.sources.current().get("dub").unwrap().switch.set(Some(&switch));
    };
    let would = async || {
        let body: Value = door.dry("dub", &click("a")).await.json().await.unwrap();
        (body["status"].clone(), body["would"]["switch"].clone(), body["would"]["answer"].clone())
    };
    switched(State::Pause);
    let response = door.post("dub", &click("a"), &click("a"), &[]).await;
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(problem(response).await, "paused");
    assert_eq!(would().await, (json!("accepted"), json!("pause"), json!(503)));
    assert_eq!(door.ask(Method::GET, "/v1/webhooks/dub").await.status(), StatusCode::OK);
    switched(State::Retired);
    for method in [Method::POST, Method::GET, Method::OPTIONS] {
        let response = door.ask(method, "/v1/webhooks/dub").await;
        assert_eq!(response.status(), StatusCode::GONE);
        assert_eq!(problem(response).await, "retired");
    }
    assert_eq!(would().await, (json!("accepted"), json!("retired"), json!(410)));
    assert_eq!(door.metric(r#"hookline_refusals_in_a_row{source="dub"}"#), Some(1.0), "the pause, not the retirement");
    switched(State::Quarantine);
    assert_eq!(would().await, (json!("quarantined"), json!("quarantine"), json!(503)));
    assert_eq!(door.dry("other", &click("a")).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn sources_are_changed_while_it_serves_and_those_that_stay_keep_what_they_knew() {
    let door = Door::open(dubs(), Http::default()).await;
    assert_eq!(door.dry("dub", &click("a")).await.status(), StatusCode::ACCEPTED);
    assert_eq!(door.dry("new", &click("a")).await.status(), StatusCode::NOT_FOUND);
    let paused =
        Switch { state: State::Pause, who: "a".into(), why: "b".into(), until: None, at: jiff::Timestamp::UNIX_EPOCH };
    door.edge.sources.current().get("dub").unwrap().switch.set(Some(&paused));
    let rotated = SourceSettings {
        verifier: signature::Verifier::new(
            Scheme::Dub,
            vec![Secret::new("second", "another"), Secret::new("first", SECRET)],
        )
        .unwrap(),
        ..source("dub", Scheme::Dub, SECRET)
    };
    door.live.replace_sources(vec![rotated, source("new", Scheme::Dub, SECRET)]);
    let sources = door.edge.sources.current();
    let gate = |name: &str| sources.get(name).unwrap().switch.gate();
    assert!(matches!(gate("dub"), crate::switches::Gate::Paused { .. }), "how it is switched goes on");
    assert_eq!(gate("new"), crate::switches::Gate::NotRead, "how it is switched is not known yet");
    assert_eq!(door.dry("other", &click("a")).await.status(), StatusCode::NOT_FOUND);
    sources.iter().for_each(|source| _ = source.switch.set(None));
    for name in ["dub", "new"] {
        assert_eq!(door.dry(name, &click("a")).await.status(), StatusCode::ACCEPTED, "{name}");
    }
}
