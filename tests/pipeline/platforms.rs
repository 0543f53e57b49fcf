//! Each platform is heard in its own words, authenticated in its own way.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::clickhouse::Asker;
use testkit::{House, Sender};

use crate::harness::SOON;

/// A source of each platform, with the way in which it proves itself.
const CONFIG: &str = r#"version = 1
[owner]
me = { name = "Me" }
[source.bitly]
adapter = "bitly"
owner = "me"
scheme = { query = "key" }
secrets = [{ id = "a", file = "secret" }]
[source.bitly-basic]
adapter = "bitly"
owner = "me"
scheme = "basic"
secrets = [{ id = "a", file = "user" }]
[source.rebrandly]
adapter = "rebrandly"
owner = "me"
secrets = [{ id = "a", file = "secret" }]
[source.shortio]
adapter = "shortio"
owner = "me"
scheme = { query = "key" }
secrets = [{ id = "a", file = "secret" }]
[source.shlink]
adapter = "shlink"
owner = "me"
scheme = "bearer"
secrets = [{ id = "a", file = "secret" }]
[source.twilio]
adapter = "twilio"
owner = "me"
secrets = [{ id = "a", file = "secret" }]
public_url = "https://hooks.example.com/v1/webhooks/twilio"
"#;

/// What no row may hold: it stands in the payloads below.
const PERSONAL: [&str; 6] = ["198.51.100.7", "Secret/1.0", "jane", "+15005550006", "userId_7", "SM0001"];

fn bitly(id: &str, at: Timestamp) -> Value {
    json!({
        "event_id": id, "datetime": at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(), "url": "https://acme.example/?to=jane",
        "bitlink": "go.acme.example/bitly", "passed_params": "who=jane", "country": "US", "referrer": "direct",
        "device_type": "Desktop",
    })
}

fn rebrandly(at: Timestamp) -> Value {
    let click = json!({
        "timestamp": at, "client": { "agent": { "type": "human" }, "location": { "country": "br" } },
        "route": { "id": "r1", "slashtag": "x", "domain": { "raw": "go.acme.example" }, "creator": { "id": "jane" } },
    });
    json!({ "data": [click, click], "key": "userId_7" })
}

fn shlink(at: Timestamp) -> Value {
    let date = at
        .to_zoned_datetime(jiff::tz::TimeZone::fixed(jiff::tz::offset(1)))
        .strftime("%Y-%m-%dT%H:%M:%S%:z")
        .to_string();
    let visit = json!({
        "date": date, "userAgent": "Secret/1.0", "visitLocation": { "countryCode": "FR" }, "referer": "", "potentialBot": false,
        "visitedUrl": "https://s.acme.example/gone", "redirectUrl": null, "type": "invalid_short_url",
    });
    json!({ "visit": visit })
}

fn twilio(at: Timestamp) -> Value {
    json!([{
        "specversion": "1.0", "type": "com.twilio.daptbt.link-shortening.link-clicked", "source": "AB1", "id": "EZ1",
        "data": {
            "to": "+15005550006", "message_sid": "SM0001", "link": "https://acme.example/offer", "click_time": at,
            "shortened_link": "https://go.acme.example/0000000001", "user_agent": "Secret/1.0",
        },
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_platform_is_heard_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("hookline.toml");
    std::fs::write(folder.path().join("secret"), "s3cret").unwrap();
    std::fs::write(folder.path().join("user"), "acme:s3cret").unwrap();
    std::fs::write(&config, CONFIG).unwrap();
    let house = House::up(&folder.path().join("data"), &["--config", config.to_str().unwrap()]).unwrap();
    let ingest = house.addresses.ingest.clone().unwrap();
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let client: Client = testkit::http::client(Duration::from_secs(30)).unwrap();
    let request = |method: Method, source: &str| client.request(method, format!("{ingest}/v1/webhooks/{source}"));
    let post = |source: &str| request(Method::POST, source);
    let accepted = async |request: RequestBuilder| {
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::ACCEPTED, "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["status"], "accepted", "{text}");
    };
    let at = Timestamp::from_second(Timestamp::now().as_second() - 60).unwrap();

    accepted(post("bitly?key=s3cret").json(&bitly("e-1", at))).await;
    accepted(post("bitly-basic").basic_auth("acme", Some("s3cret")).json(&bitly("e-2", at))).await;
    let refused = post("bitly?key=other").json(&bitly("e-3", at)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    // The same batch by both methods: two equal clicks of one batch are two, and the second batch is a repeat.
    for method in [Method::POST, Method::PUT] {
        let batch = request(method, "rebrandly").header("X-Rebrandly-Secret", "s3cret").json(&rebrandly(at));
        accepted(batch).await;
    }
    let date = at.to_string();
    let form = [
        ("Host", "198.51.100.7"),
        ("Date", &date),
        ("Origin", "go.acme.example"),
        ("Path", "/short"),
        ("Referrer", "null"),
        ("User-agent", "Secret/1.0"),
        ("utm_campaign", "2026q4-de-spring"),
        ("utm_content", "jane@example.com"),
    ];
    let form = form.iter().map(|(name, value)| format!("{name}={}", value.replace('@', "%40"))).collect::<Vec<_>>();
    let form =
        post("shortio?key=s3cret").header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.join("&"));
    accepted(form).await;
    accepted(post("shlink").bearer_auth("s3cret").json(&shlink(at))).await;
    // Signed for the address that Twilio was given, with the hash of the body in it.
    let signer = Sender::new(&ingest, "twilio", Scheme::Twilio, Secret::new("a", "s3cret")).unwrap();
    let signer = signer.signing_for("https://hooks.example.com/v1/webhooks/twilio");
    let (status, answer) = signer.once(twilio(at).to_string().as_bytes()).await.unwrap();
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");

    asker.until("SELECT count() FROM hookline.records", 9, SOON).await.unwrap();
    let sql = "SELECT source, outcome, type, link_id, toStringCutToZero(country) AS country, toUnixTimestamp(event_time) AS at \
               FROM hookline.records ORDER BY source, outcome DESC";
    let rows: Vec<Value> = asker.rows(sql).await.unwrap();
    let expected = [
        ("bitly", "event", "click", "go.acme.example/bitly", "US"),
        ("bitly-basic", "event", "click", "go.acme.example/bitly", "US"),
        ("rebrandly", "event", "click", "r1", "BR"),
        ("rebrandly", "event", "click", "r1", "BR"),
        ("rebrandly", "duplicate", "click", "r1", "BR"),
        ("rebrandly", "duplicate", "click", "r1", "BR"),
        ("shlink", "event", "error", "s.acme.example/gone", "FR"),
        ("shortio", "event", "click", "go.acme.example/short", ""),
        ("twilio", "event", "click", "go.acme.example/0000000001", ""),
    ];
    let expected = expected.map(|(source, outcome, kind, link, country)| {
        json!({ "source": source, "outcome": outcome, "type": kind, "link_id": link, "country": country, "at": at.as_second() })
    });
    assert_eq!(rows, expected, "{rows:#?}");

    let whole = asker.rows("SELECT * FROM hookline.records").await.unwrap();
    let whole = whole.iter().map(Value::to_string).collect::<String>();
    for personal in PERSONAL {
        assert!(!whole.contains(personal), "{personal} rests in {whole}");
    }
}
