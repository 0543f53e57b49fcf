//! The guide's controlled scenarios, on the real engines, seen from outside.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::Sender;
use traffic::dub::Generator;

use crate::harness::{Running, SOON};

/// What is asked of one event's row.
const ROW: &str = "SELECT outcome, type, subtype, campaign, channel, utm_source, utm_medium, utm_campaign, domain, slug, \
                   destination_host, destination_path, country, counted, counted_by, source, secret_id, link_id, error_kind, \
                   first_offset, reason, stage, request_id FROM hookline.records";

fn receipt(answer: &str) -> String {
    let answer: Value = serde_json::from_str(answer).unwrap();
    answer["receipt"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_of_each_kind_becomes_one_row_that_says_what_it_was() {
    let running = Running::everything();
    let (asker, dub, canonical) = (running.asker(), running.dub(), running.canonical());
    let mut generator = Generator::new(1);
    let row = async |receipt: &str| -> Value {
        let of = format!("WHERE request_id = '{receipt}'");
        asker.until(&format!("SELECT count() FROM hookline.records {of}"), 1, SOON).await.unwrap();
        asker.rows(&format!("{ROW} {of}")).await.unwrap().remove(0)
    };

    // A normal click, with UTM parameters.
    let click = generator.click_with(&json!({
        "click": { "qr": false, "bot": false, "ua": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0", "country": "DE" },
    }));
    let (status, answer) = dub.once(&click).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let clicked = row(&receipt(&answer)).await;
    for (column, expected) in [
        ("outcome", "event"),
        ("type", "click"),
        ("campaign", "2026q4-de-spring"),
        ("utm_source", "newsletter"),
        ("utm_medium", "email"),
        ("utm_campaign", "2026q4-de-spring"),
        ("channel", "email"),
        ("domain", "go.acme.example"),
        ("slug", "spring"),
        ("destination_host", "acme.example"),
        ("country", "DE"),
        ("counted", "human"),
        ("source", "dub"),
        ("secret_id", "first"),
        ("link_id", "link_spring"),
    ] {
        assert_eq!(clicked[column], expected, "{column} of {clicked}");
    }

    // A QR scan.
    let scan = generator.click_with(&json!({ "click": { "qr": true } }));
    let (_, answer) = dub.once(&scan).await.unwrap();
    assert_eq!(row(&receipt(&answer)).await["type"], "qr_scan");

    // A bot's click is kept, and said to be one.
    let bot = generator.click_with(
        &json!({ "click": { "ua": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)" } }),
    );
    let (_, answer) = dub.once(&bot).await.unwrap();
    assert_eq!(row(&receipt(&answer)).await["counted"], "bot");

    // An error event of the canonical format.
    let error = json!({
        "id": "e-1", "type": "error", "time": "2026-11-23T10:00:00.000Z",
        "link": { "id": "l_9", "domain": "go.acme.example", "slug": "gone" },
        "error": { "kind": "destination_unavailable", "detail": "HTTP 503" },
    });
    let (status, answer) = canonical.once(error.to_string().as_bytes()).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let broken = row(&receipt(&answer)).await;
    assert_eq!((&broken["type"], &broken["error_kind"]), (&json!("error"), &json!("destination_unavailable")));

    // The same click, delivered again under a new envelope.
    let (_, answer) = dub.once(&generator.again(&click)).await.unwrap();
    let duplicate = row(&receipt(&answer)).await;
    assert_eq!(duplicate["outcome"], "duplicate");

    // Authentic, but not an event: taken, set aside, and in the ledger.
    let (status, answer) = dub.once(b"{\"id\":\"evt_1\",\"event\":\"link.clicked\",\"data\":{}").await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["status"], "quarantined");
    let dead = row(&receipt(&answer)).await;
    assert_eq!(
        (&dead["outcome"], &dead["reason"], &dead["stage"]),
        (&json!("dead_letter"), &json!("not_json"), &json!("ingest"))
    );

    // Forged: nothing is stored.
    let before = asker.number("SELECT count() FROM hookline.records").await.unwrap();
    let mut forged = dub.headers(&click).unwrap();
    forged.iter_mut().for_each(|(_, signature)| *signature = "0".repeat(64));
    assert_eq!(dub.post(&click, &forged).await.unwrap().0, StatusCode::UNAUTHORIZED);
    let stranger = Sender::new(
        running.house.addresses.ingest.as_deref().unwrap(),
        "dub",
        Scheme::Dub,
        Secret::new("x", "whsec_other"),
    )
    .unwrap();
    assert_eq!(stranger.once(&click).await.unwrap().0, StatusCode::UNAUTHORIZED);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(asker.number("SELECT count() FROM hookline.records").await.unwrap(), before);

    // Test data rests apart.
    let test = generator.click_with(&json!({ "link": { "key": "test-qa" } }));
    let (_, answer) = dub.once(&test).await.unwrap();
    let of = format!("FROM hookline_test.records WHERE request_id = '{}'", receipt(&answer));
    asker.until(&format!("SELECT count() {of}"), 1, SOON).await.unwrap();

    // The ledger balances, and every report agrees with the rows.
    asker.until("SELECT toUInt64(sum(missing) + sum(repeated)) FROM hookline.ledger", 0, SOON).await.unwrap();
    let clicks = asker.number("SELECT toUInt64(sum(clicks)) FROM hookline.campaign_channel_daily").await.unwrap();
    assert_eq!(clicks, asker.number("SELECT count() FROM hookline.clicks").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_20000_arrives_whole() {
    let running = Running::everything();
    let mut generator = Generator::new(2);
    let bodies: Vec<_> = (0..20_000).map(|_| generator.click()).collect();
    let sent = running.dub().deliver_all(bodies, 64).await.unwrap();
    assert_eq!(sent.accepted, 20_000);
    let asker = running.asker();
    asker.until("SELECT count() FROM hookline.records WHERE outcome = 'event'", 20_000, SOON).await.unwrap();
    assert_eq!(asker.number("SELECT uniqExact(event_key) FROM hookline.records").await.unwrap(), 20_000);
    // A resend after 503 may have made duplicates; nothing else.
    let rest = asker.number("SELECT count() FROM hookline.records WHERE outcome != 'event'").await.unwrap();
    assert!(rest <= sent.repeated, "{rest} rows beside the events, after {} repeats", sent.repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_event_becomes_a_row_in_structured_and_in_binary_mode() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hookline.toml");
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    std::fs::write(folder.path().join("secret"), secret).unwrap();
    let text = "version = 1\n[owner]\nme = { name = \"Me\" }\n[source.cloud]\nadapter = \"cloudevents\"\nowner = \"me\"\n\
                scheme = \"standard-webhooks\"\nsecrets = [{ id = \"a\", file = \"secret\" }]\nunsigned_attributes = \"accept\"\n";
    std::fs::write(&config, text).unwrap();
    let house = testkit::House::up(&folder.path().join("data"), &["--config", config.to_str().unwrap()]).unwrap();
    let ingest = house.addresses.ingest.clone().unwrap();
    let asker = testkit::clickhouse::Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let sender = Sender::new(&ingest, "cloud", Scheme::StandardWebhooks, Secret::new("a", secret)).unwrap();
    let data = json!({ "link": { "id": "l_1", "domain": "go.acme.example", "slug": "x" } });

    let structured = json!({
        "specversion": "1.0", "id": "1", "source": "/acme", "type": "com.acme.click", "time": "2026-11-23T10:00:00Z", "data": data,
    });
    let sender = sender.content_type("application/cloudevents+json");
    assert_eq!(sender.once(structured.to_string().as_bytes()).await.unwrap().0, StatusCode::ACCEPTED);

    let body = data.to_string();
    let sender = sender.content_type("application/json");
    let mut headers = sender.headers(body.as_bytes()).unwrap();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "2"),
        ("source", "/acme"),
        ("type", "com.acme.click"),
        ("time", "2026-11-23T10:00:00Z"),
    ] {
        headers.push((format!("ce-{name}"), value.to_owned()));
    }
    assert_eq!(sender.post(body.as_bytes(), &headers).await.unwrap().0, StatusCode::ACCEPTED);

    let sql = "SELECT count() FROM hookline.records WHERE outcome = 'event' AND type = 'click' AND link_id = 'l_1' \
               AND event_key IN ('/acme 1', '/acme 2')";
    asker.until(sql, 2, SOON).await.unwrap();
}
