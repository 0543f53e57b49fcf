//! Dead letters: seen, redriven once, given up, on the real engines.

use std::time::{Duration, Instant};

use adapter::{Adapter, Dialect};
use event::Millis;
use event::lane;
use event::raw::RawHeaders;
use kafka::edge::{EdgeOptions, EdgeProducer, EdgeRecord};
use kafka::{Cluster, Topic};
use serde_json::json;
use testkit::clickhouse::Asker;
use warehouse::{Decided, Decision, Settings, Warehouse};

use crate::harness::{Running, SOON, until};
use crate::tool::{said, tool};

fn click(id: &str) -> String {
    json!({
        "id": id, "type": "click", "time": jiff::Timestamp::now().to_string(),
        "link": { "id": "l_1", "domain": "go.acme.example", "slug": "spring" },
    })
    .to_string()
}

/// What ingest appends while the source is switched to quarantine.
async fn set_aside(kafka: &str, ids: &[&str]) {
    let of = |id: &&str| ((*id).to_owned(), click(id), headers(id));
    append(kafka, ids.iter().map(of)).await;
}

fn headers(id: &str) -> RawHeaders<'static> {
    RawHeaders {
        source: "canonical".into(),
        adapter: "canonical".into(),
        received_at: jiff::Timestamp::now().as_millisecond(),
        request_id: format!("req_{id}").into(),
        content_type: "application/json".into(),
        quarantine: Some("switched_to_quarantine".into()),
        ..RawHeaders::default()
    }
}

/// Appends records of a key, a body and headers to `raw`.
async fn append(kafka: &str, records: impl Iterator<Item = (String, String, RawHeaders<'static>)>) {
    let producer = EdgeProducer::open(&Cluster::new(kafka), EdgeOptions::default()).unwrap();
    until(SOON, "Kafka is reached", || async { producer.is_up().then_some(()) }).await.unwrap();
    for (key, body, headers) in records {
        let headers = headers.to_headers();
        let record = EdgeRecord {
            topic: Topic::Raw,
            partition: lane::of_key(key.as_bytes(), 4),
            key: key.as_bytes(),
            payload: body.as_bytes(),
            headers: &headers,
        };
        let delivery = producer.send(&[record]).unwrap();
        for report in delivery.wait(Instant::now() + Duration::from_secs(30)).await {
            report.unwrap();
        }
    }
}

async fn outcomes(asker: &Asker, outcome: &str, number: u64) {
    let sql = format!("SELECT count() FROM hookline.where_is WHERE outcome = '{outcome}'");
    asker.until(&sql, number, SOON).await.unwrap();
}

/// A redrive of a letter with two events in it that ends between them is done by the next one; each event counts once.
async fn cut_in_the_middle(running: &Running, config: &std::path::Path) {
    let (asker, kafka) = (running.asker(), &running.house.addresses.kafka);
    let body = format!("[{},{}]", click("d"), click("e"));
    let key = adapter::fallback_key(body.as_bytes()).as_str().to_owned();
    let elements = Adapter::Canonical.split(&Dialect::PLAIN, body.as_bytes(), "application/json", &|_| None).unwrap();
    let first_key = elements[0].key.as_str().to_owned();
    let first_body = String::from_utf8(elements[0].bytes.to_vec()).unwrap();
    append(kafka, std::iter::once((key, body.clone(), headers("batch")))).await;
    outcomes(&asker, "dead_letter", 5).await;
    let place = "SELECT concat(incarnation, ' ', toString(lane), ' ', toString(raw_offset)) FROM hookline.dead_letters WHERE request_id = 'req_batch'";
    let place = asker.one(place).await.unwrap();
    let [incarnation, lane, raw_offset] = place.as_str().unwrap().split(' ').collect::<Vec<_>>()[..] else {
        panic!("{place}")
    };

    // As a run leaves it that ends after its first record: what it was about to do is noted, and one of two records is
    // there.
    let settings = Settings { url: running.house.addresses.clickhouse.clone(), ..Settings::default() };
    let warehouse = Warehouse::connect(&settings).await.unwrap();
    let begun = Decision {
        lane: lane.parse().unwrap(),
        raw_offset: raw_offset.parse().unwrap(),
        decided: Decided::Redriving,
        at: Millis(jiff::Timestamp::now().as_millisecond()),
        who: "ana".into(),
        why: "cut".into(),
    };
    warehouse.decide(incarnation, &[begun]).await.unwrap();
    let first =
        RawHeaders { quarantine: None, redrive_of: Some(format!("{lane}/{raw_offset}").into()), ..headers("batch") };
    let before = asker.number("SELECT count() FROM hookline.where_is WHERE outcome = 'event'").await.unwrap();
    append(kafka, std::iter::once((first_key, first_body, first))).await;
    outcomes(&asker, "event", before + 1).await;

    let (code, list) = tool(config, &["dlq", "show", "--receipt", "req_batch"]).await.unwrap();
    assert_eq!(
        (code, &list["letters"][0]["row"]["state"], &list["letters"][0]["row"]["decided_by"]),
        (0, &json!("open"), &json!("ana"))
    );
    let (code, rest) = tool(config, &["dlq", "redrive", "--who", "ana", "--receipt", "req_batch"]).await.unwrap();
    assert_eq!((code, &rest["redriven"], &rest["appended"]), (0, &json!(1), &json!(1)), "{rest}");
    outcomes(&asker, "event", before + 2).await;
    let (code, again) = tool(config, &["dlq", "show", "--receipt", "req_batch"]).await.unwrap();
    assert_eq!((code, &again["letters"][0]["row"]["state"]), (0, &json!("redriven")), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_redriven_once_and_discarded() {
    let running = Running::everything();
    let (asker, sender) = (running.asker(), running.canonical());
    let config = running.folder.path().join("data/hookline.toml");

    set_aside(&running.house.addresses.kafka, &["a", "b", "c"]).await;
    sender.deliver(br#"{"id":"torn"}"#).await.unwrap();
    outcomes(&asker, "dead_letter", 4).await;
    // The one event came in another way in the meantime.
    sender.deliver(click("c").as_bytes()).await.unwrap();
    outcomes(&asker, "event", 1).await;

    let (code, list) = tool(&config, &["dlq", "list"]).await.unwrap();
    assert_eq!((code, &list["open"]), (1, &json!(4)));
    let group = &list["groups"][0];
    assert_eq!(
        (&group["source"], &group["stage"], &group["reason"], &group["open"]),
        (&json!("canonical"), &json!("ingest"), &json!("switched_to_quarantine"), &json!(3))
    );

    // The bytes as they came, with a warning beside them.
    let (code, bytes, warning) = said(&config, &["dlq", "show", "--receipt", "req_a"]).await.unwrap();
    assert!(code == 0 && bytes.contains(r#""id":"a""#) && warning.contains("personal data"), "{bytes}{warning}");

    // A dry run says what would be and changes nothing; without a filter nothing is done at all.
    let switched = ["dlq", "redrive", "--who", "ana", "--reason", "switched_to_quarantine"];
    let (_, dry) = tool(&config, &[&switched[..], &["--dry-run"]].concat()).await.unwrap();
    assert_eq!((&dry["redriven"], &dry["left"]), (&json!(2), &json!(1)), "{dry}");
    let (code, _, refusal) = said(&config, &["dlq", "redrive"]).await.unwrap();
    assert!(code == 2 && refusal.contains("--all"), "{refusal}");

    // What was set aside becomes ordinary events; what counts already stays.
    let (code, done) = tool(&config, &switched).await.unwrap();
    assert_eq!((code, &done["redriven"], &done["appended"], &done["left"]), (1, &json!(2), &json!(2), &json!(1)));
    outcomes(&asker, "event", 3).await;
    let origin = "SELECT concat(toString(lane), ':', toString(raw_offset)) FROM hookline.dead_letters WHERE request_id = 'req_a'";
    let origin = asker.one(origin).await.unwrap();
    let origin = origin.as_str().unwrap();
    let redriven = format!(
        "SELECT count() FROM hookline.events WHERE redrive_of = '{}' AND request_id = 'req_a'",
        origin.replace(':', "/")
    );
    assert_eq!(asker.number(&redriven).await.unwrap(), 1);

    // A second redrive is refused; forced, it is a duplicate.
    let (code, again) = tool(&config, &["dlq", "redrive", "--who", "ana", "--offset", origin]).await.unwrap();
    assert_eq!((code, &again["redriven"]), (1, &json!(0)));
    assert!(again["skipped"].to_string().contains("redriven before"), "{again}");
    let (code, forced) =
        tool(&config, &["dlq", "redrive", "--who", "ana", "--offset", origin, "--force"]).await.unwrap();
    assert_eq!((code, &forced["appended"]), (0, &json!(1)));
    outcomes(&asker, "duplicate", 1).await;
    outcomes(&asker, "event", 3).await;

    cut_in_the_middle(&running, &config).await;

    // What cannot be read today either is left alone, and says why.
    let (code, torn) = tool(&config, &["dlq", "redrive", "--who", "ana", "--reason", "missing_field"]).await.unwrap();
    assert!(code == 1 && torn["skipped"].to_string().contains("missing_field"), "{torn}");

    // The metric counts what is open: the torn one, and the one that counts already.
    let metrics = running.house.addresses.metrics.clone().unwrap();
    let line = r#"hookline_dead_letters_open{source="canonical",stage="ingest"} 2"#;
    until(Duration::from_secs(120), "the metric says 2", || async {
        let text = reqwest::get(format!("{metrics}/metrics")).await.ok()?.text().await.ok()?;
        text.contains(line).then_some(())
    })
    .await
    .unwrap();

    let discard = ["dlq", "discard", "--all", "--why", "a test of the platform", "--who", "ana"];
    let (code, discarded) = tool(&config, &discard).await.unwrap();
    assert_eq!((code, &discarded["discarded"]), (0, &json!(2)));
    let (code, list) = tool(&config, &["dlq", "list"]).await.unwrap();
    assert_eq!((code, &list["open"]), (0, &json!(0)), "{list}");
    let said = "SELECT count() FROM hookline.dead_letters WHERE state = 'discarded' AND decided_by = 'ana' AND decided_why = 'a test of the platform'";
    assert_eq!(asker.number(said).await.unwrap(), 2);
    assert_eq!(asker.number("SELECT count() FROM hookline.dead_letters WHERE state = 'redriven'").await.unwrap(), 3);
}
