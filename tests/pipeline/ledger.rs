//! The ledger names what is missing, and a replay brings it back, on the real engines.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testkit::clickhouse::Asker;

use crate::harness::{Running, SOON, until};
use crate::tool::{said, tool};

/// A click of three days ago, so that its day closes.
fn click(id: u64, at: Timestamp) -> String {
    json!({
        "id": format!("c{id}"), "type": "click", "time": at.to_string(), "campaign": "2026q4-de-ledger", "channel": "email",
        "link": { "id": format!("l_{}", id % 3), "domain": "go.acme.example", "slug": "spring" },
    })
    .to_string()
}

async fn execute(running: &Running, sql: &str) {
    let owner = Asker::new(&running.house.addresses.clickhouse, "hookline", "").unwrap();
    owner.rows(sql).await.unwrap();
}

/// Lane and offset of the row with this condition.
async fn place(asker: &Asker, condition: &str) -> (u64, u64) {
    let sql = format!("SELECT lane, raw_offset FROM hookline.records WHERE {condition} LIMIT 1");
    let rows = asker.rows(&sql).await.unwrap();
    (rows[0]["lane"].as_u64().unwrap(), rows[0]["raw_offset"].as_u64().unwrap())
}

fn of_lane(ledger: &Value, lane: u64) -> &Value {
    ledger["lanes"].as_array().unwrap().iter().find(|books| books["lane"] == lane).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_removed_by_hand_is_named_and_brought_back_and_its_day_is_closed_again() {
    let running = Running::everything();
    let (asker, sender) = (running.asker(), running.canonical());
    let config = running.folder.path().join("data/hookline.toml");
    let at = Timestamp::now() - SignedDuration::from_hours(72);
    let day = at.to_string()[..10].to_owned();
    for id in 0..30 {
        sender.deliver(click(id, at).as_bytes()).await.unwrap();
    }
    // A repeat: its verdict, too, has to be found again.
    sender.deliver(click(7, at).as_bytes()).await.unwrap();
    asker.until("SELECT count() FROM hookline.records", 31, SOON).await.unwrap();
    let whole = async || {
        let (code, ledger) = tool(&config, &["ledger"]).await.unwrap();
        (code == 0 && ledger["ok"] == true).then_some(())
    };
    until(SOON, "the ledger balances", whole).await.unwrap();

    // One row is gone, before its day is closed: the ledger says which one, and what it was.
    let everything = "SELECT toUInt64(sum(cityHash64(* EXCEPT (cut)))) FROM hookline.records";
    let before = asker.number(everything).await.unwrap();
    let (lane, first) = place(&asker, "event_key LIKE '%c7' AND outcome = 'event'").await;
    let delete = |condition: String| {
        format!("ALTER TABLE hookline.records DELETE WHERE {condition} SETTINGS mutations_sync = 2")
    };
    execute(&running, &delete(format!("lane = {lane} AND raw_offset = {first}"))).await;
    let closed = format!(
        "SELECT toUInt64(sum(records)) FROM hookline.closed_days WHERE day = '{day}' AND report = 'campaign_channel_daily'"
    );
    let clicks = format!("SELECT toUInt64(sum(clicks)) FROM hookline.campaign_channel_daily WHERE day = '{day}'");
    asker.until(&closed, 29, Duration::from_secs(180)).await.unwrap();
    let (code, ledger) = tool(&config, &["ledger"]).await.unwrap();
    let books = of_lane(&ledger, lane);
    assert_eq!(
        (code, &books["missing"], &books["missing_offsets"]),
        (1, &json!(1), &json!([{ "first": first, "last": first }]))
    );
    let detail = &books["details"][0];
    assert_eq!((&detail["offset"], &detail["source"]), (&json!(first), &json!("canonical")));
    assert!(detail["key"].as_str().unwrap().ends_with("c7") && detail["receipt"].as_str().unwrap().starts_with("req_"));
    let (_, text, _) = said(&config, &["ledger"]).await.unwrap();
    assert!(
        text.contains(&format!("MISSING   lane {lane}: {first}")) && text.contains("Next: hookline replay"),
        "{text}"
    );

    // A replay shows it first, and changes nothing.
    let offset = format!("{lane}:{first}");
    let (code, shown) = tool(&config, &["replay", "--offset", &offset]).await.unwrap();
    assert_eq!((code, &shown["lanes"][0]["diff"]["missing"]), (1, &json!(1)), "{shown}");
    assert_eq!(asker.number("SELECT count() FROM hookline.records").await.unwrap(), 30);

    // Applied, the row is what it was, and the day is closed again with it.
    let (code, applied) = tool(&config, &["replay", "--offset", &offset, "--apply"]).await.unwrap();
    assert_eq!((code, &applied["lanes"][0]["written"]), (0, &json!(1)), "{applied}");
    assert_eq!(asker.number(everything).await.unwrap(), before);
    assert_eq!(asker.number(&clicks).await.unwrap(), 30, "served live at once");
    asker.until(&closed, 30, Duration::from_secs(180)).await.unwrap();
    assert_eq!(asker.number(&clicks).await.unwrap(), 30);

    // The same row deleted once more: the engine remembers the insert, and it comes back all the same. With it the repeat, whose
    // verdict is found by the first one, and a second apply has nothing to do.
    let (_, second) = place(&asker, "event_key LIKE '%c7' AND outcome = 'duplicate'").await;
    execute(&running, &delete(format!("lane = {lane} AND raw_offset IN ({first}, {second})"))).await;
    let range = ["--lane".to_owned(), lane.to_string(), "--from".into(), "0".into(), "--to".into(), second.to_string()];
    let range: Vec<&str> = range.iter().map(String::as_str).collect();
    for written in [2, 0] {
        let (code, applied) = tool(&config, &[&["replay"], &range[..], &["--apply"]].concat()).await.unwrap();
        assert_eq!((code, &applied["lanes"][0]["written"]), (0, &json!(written)), "{applied}");
    }
    assert_eq!(asker.number(everything).await.unwrap(), before);

    // A doubled row is named, and the range written anew in its place; a day that was closed over it is right again.
    execute(
        &running,
        &format!(
            "INSERT INTO hookline.records SELECT * FROM hookline.records WHERE lane = {lane} AND raw_offset = {first}"
        ),
    )
    .await;
    asker.until(&closed, 31, Duration::from_secs(180)).await.unwrap();
    let (code, ledger) = tool(&config, &["ledger"]).await.unwrap();
    assert_eq!((code, &of_lane(&ledger, lane)["repeated_offsets"]), (1, &json!([{ "offset": first, "rows": 2 }])));
    let (code, replaced) = tool(&config, &["replay", "--offset", &offset, "--apply", "--replace"]).await.unwrap();
    assert_eq!((code, &replaced["lanes"][0]["written"]), (0, &json!(1)), "{replaced}");
    assert_eq!(asker.number(everything).await.unwrap(), before);
    assert_eq!((asker.number(&clicks).await.unwrap(), asker.number(&closed).await.unwrap()), (30, 30));
    until(SOON, "the ledger balances", whole).await.unwrap();

    // No shadow is left, nobody was alerted, and what cannot be replayed says why.
    assert_eq!(asker.number("SELECT count() FROM system.tables WHERE name LIKE 'records_replay_%'").await.unwrap(), 0);
    let (code, _, refusal) = said(&config, &["replay", "--offset", &format!("{lane}:999999")]).await.unwrap();
    assert!(code == 2 && refusal.contains("is settled up to"), "{refusal}");
}
