//! Platforms that are described by configuration alone, authenticated by an HMAC that is described there too.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use reqwest::StatusCode;
use serde_json::{Value, json};
use signature::{Algorithm, Encoding, HeaderPart, HmacScheme, Scheme, Secret, SignedTime};
use testkit::clickhouse::Asker;
use testkit::{House, Sender};

use crate::harness::SOON;

/// The maps of `docs/mapping.md`, and a batch of tiny.cc's in an envelope.
const CONFIG: &str = r#"version = 1
timezone = "Asia/Tokyo"
[owner]
me = { name = "Me" }
[source.text-messages]
adapter = "mapping"
owner = "me"
scheme = { hmac = "sha256", header = "X-Partner-Signature", encoding = "hex", prefix = "v1=", signed = "{header:X-Partner-Time}.{body}", timestamp = "header:X-Partner-Time", tolerance = "5m" }
secrets = [{ id = "a", file = "secret" }]
map = { event_key = "payload.eventId", type = { path = "eventType", click = "short_url_clicked" }, event_time = "payload.occurredAt", short_url = "payload.shortUrl", destination_url = "payload.targetUrl", channel = { default = "sms" } }
[source.tinycc]
adapter = "mapping"
owner = "me"
zone = "America/New_York"
scheme = { hmac = "sha256", header = "X-Partner-Signature", encoding = "hex", prefix = "v1=", signed = "{header:X-Partner-Time}.{body}", timestamp = "header:X-Partner-Time", tolerance = "5m" }
secrets = [{ id = "a", file = "secret" }]
[source.tinycc.map]
items = "clicks"
type = "event"
event_time = { path = "time", format = "%Y-%m-%d %H:%M:%S" }
domain = "data.domain"
slug = "data.hash"
destination_url = "data.redirect_url"
ip = "data.remote_addr"
user_agent = "data.user_agent"
referrer = "data.referrer"
"#;

/// What no row may hold: it stands in the payloads below.
const PERSONAL: [&str; 3] = ["+12025550293", "198.51.100.7", "Secret/1.0"];

fn scheme() -> Scheme {
    Scheme::Hmac(HmacScheme {
        algorithm: Algorithm::Sha256,
        header: "X-Partner-Signature".into(),
        encoding: Encoding::Hex,
        prefix: "v1=".into(),
        signed: "{header:X-Partner-Time}.{body}".into(),
        timestamp: Some(SignedTime { part: HeaderPart::whole("X-Partner-Time"), tolerance_seconds: 300 }),
        delivery_id: None,
    })
}

fn text_message(id: &str, at: Timestamp) -> Value {
    json!({
        "namespace": "SMS", "eventType": "short_url_clicked", "description": "Short URL from SMS clicked",
        "payload": {
            "eventId": id, "occurredAt": at, "umid": "9e09ac86", "destination": "+12025550293",
            "shortUrl": "https://2g.to/abc123/abc", "targetUrl": "https://shop.example.com/landing?to=%2B12025550293",
        },
    })
}

fn tinycc(slug: &str, at: Timestamp) -> Value {
    let local = at.to_zoned_datetime(TimeZone::get("America/New_York").unwrap());
    json!({
        "event": "click", "time": local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        "data": {
            "hash": slug, "domain": "Custom.example", "redirect_url": "http://example.com/target.html",
            "remote_addr": "198.51.100.7", "user_agent": "Secret/1.0", "referrer": "https://www.google.com/",
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_is_heard_by_configuration_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hookline.toml");
    std::fs::write(folder.path().join("secret"), "s3cret").unwrap();
    std::fs::write(&config, CONFIG).unwrap();
    let house = House::up(&folder.path().join("data"), &["--config", config.to_str().unwrap()]).unwrap();
    let ingest = house.addresses.ingest.clone().unwrap();
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let send = async |source: &str, body: &Value, forged: bool| {
        let sender = Sender::new(&ingest, source, scheme(), Secret::new("a", "s3cret")).unwrap();
        let body = body.to_string();
        let headers = sender.headers(body.as_bytes()).unwrap();
        let body = if forged { body + " " } else { body };
        let (status, answer) = sender.post(body.as_bytes(), &headers).await.unwrap();
        (status, serde_json::from_str::<Value>(&answer).unwrap())
    };
    let at = Timestamp::from_second(Timestamp::now().as_second() - 60).unwrap();

    let (status, answer) = send("text-messages", &text_message("e-1", at), false).await;
    assert_eq!((status, &answer["status"]), (StatusCode::ACCEPTED, &json!("accepted")), "{answer}");
    send("text-messages", &text_message("e-1", at), false).await;
    let (status, _) = send("text-messages", &text_message("e-2", at), true).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let mut other = text_message("e-3", at);
    other["eventType"] = json!("inbound_message_received");
    let (status, answer) = send("text-messages", &other, false).await;
    assert_eq!((status, &answer["status"]), (StatusCode::ACCEPTED, &json!("quarantined")), "{answer}");
    let batch = json!({ "account": "jane", "clicks": [tinycc("a", at), tinycc("b", at), { "event": "click" }] });
    let (status, answer) = send("tinycc", &batch, false).await;
    assert_eq!(
        (status, &answer["events"], &answer["quarantined"]),
        (StatusCode::ACCEPTED, &json!(3), &json!(1)),
        "{answer}"
    );

    asker.until("SELECT count() FROM hookline.records", 6, SOON).await.unwrap();
    let sql = "SELECT source, outcome, type, link_id, channel, destination_host, toUnixTimestamp(event_time) AS at, reason \
               FROM hookline.records ORDER BY source, outcome DESC, link_id";
    let rows: Vec<Value> = asker.rows(sql).await.unwrap();
    let at = at.as_second();
    let expected = [
        ("text-messages", "event", "2g.to/abc123/abc", "sms", "shop.example.com", ""),
        ("text-messages", "duplicate", "2g.to/abc123/abc", "sms", "shop.example.com", ""),
        ("text-messages", "dead_letter", "", "", "", "unknown_event_type"),
        ("tinycc", "event", "custom.example/a", "search", "example.com", ""),
        ("tinycc", "event", "custom.example/b", "search", "example.com", ""),
        ("tinycc", "dead_letter", "", "", "", "missing_field"),
    ];
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, (source, outcome, link, channel, host, reason)) in rows.iter().zip(expected) {
        let dead = outcome == "dead_letter";
        assert_eq!((&row["source"], &row["outcome"]), (&json!(source), &json!(outcome)), "{row}");
        assert_eq!(row["type"], json!(if dead { "" } else { "click" }), "{row}");
        assert_eq!((&row["link_id"], &row["channel"]), (&json!(link), &json!(channel)), "{row}");
        assert_eq!((&row["destination_host"], &row["reason"]), (&json!(host), &json!(reason)), "{row}");
        assert!(dead || row["at"] == json!(at), "in the zone of its source: {row}");
    }
    let whole = asker.rows("SELECT * FROM hookline.records").await.unwrap();
    let whole = whole.iter().map(Value::to_string).collect::<String>();
    for personal in PERSONAL {
        assert!(!whole.contains(personal), "{personal} rests in {whole}");
    }
}
