//! Closed days, as an analyst sees them: right before, while and after a day is closed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use testkit::clickhouse::Asker;

use crate::harness::{Running, SOON};
use crate::tool::tool;

#[tokio::test(flavor = "multi_thread")]
async fn a_past_day_is_closed_by_itself_and_a_late_event_shows_at_once() {
    let running = Running::everything();
    let (asker, sender) = (running.asker(), running.canonical());
    let at = Timestamp::now() - SignedDuration::from_hours(72);
    let day = at.to_string()[..10].to_owned();
    let send = async |id: &str| {
        let click = json!({
            "id": id, "type": "click", "time": at.to_string(), "campaign": "2026q4-de-late", "channel": "email",
            "link": { "id": "l_late", "domain": "go.acme.example", "slug": "late" },
        });
        sender.deliver(click.to_string().as_bytes()).await.unwrap();
    };
    let clicks = format!("SELECT toUInt64(sum(clicks)) FROM hookline.campaign_channel_daily WHERE day = '{day}'");
    let closed = format!(
        "SELECT toUInt64(sum(records)) FROM hookline.closed_days WHERE day = '{day}' AND report = 'campaign_channel_daily'"
    );

    for number in 0..20 {
        send(&format!("late-{number}")).await;
    }
    asker.until(&clicks, 20, SOON).await.unwrap();
    asker.until(&closed, 20, Duration::from_secs(120)).await.unwrap();
    assert_eq!(asker.number(&clicks).await.unwrap(), 20);

    // A kept day that was damaged is told, and computed again from its rows.
    let owner = Asker::new(&running.house.addresses.clickhouse, "hookline", "").unwrap();
    let damage = format!(
        "ALTER TABLE hookline.campaign_channel_daily_closed DELETE WHERE day = '{day}' AND clicks > 0 SETTINGS mutations_sync = 2"
    );
    owner.rows(&damage).await.unwrap();
    assert_eq!(asker.number(&clicks).await.unwrap(), 0);
    let config = running.folder.path().join("data/hookline.toml");
    let (code, found) = tool(&config, &["rebuild", "--day", &day]).await.unwrap();
    assert_eq!((code, &found["ok"]), (1, &json!(false)), "{found}");
    let (code, done) = tool(&config, &["rebuild", "--day", &day, "--apply"]).await.unwrap();
    let report = done["reports"].as_array().unwrap().iter().find(|one| !one["after"].is_null()).unwrap();
    assert_eq!((code, &report["report"]), (0, &json!("campaign_channel_daily")), "{done}");
    assert_eq!((&report["before"]["only_live"], &report["after"]["only_live"]), (&json!(1), &json!(0)), "{done}");
    assert_eq!(asker.number(&clicks).await.unwrap(), 20);

    // The closed day is served live again as soon as its rows have changed, and then closed anew.
    send("late-20").await;
    asker.until(&clicks, 21, SOON).await.unwrap();
    asker.until(&closed, 21, Duration::from_secs(120)).await.unwrap();
    assert_eq!(asker.number(&clicks).await.unwrap(), 21);
}
