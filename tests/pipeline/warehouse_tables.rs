//! Tables and views on the real engine: what reads projections, what has a comment, and how tables are migrated.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use event::{Alert, Delivery, DeliveryStage, Millis, Transition};
use warehouse::{Side, WarehouseError};

use crate::warehouse_databases::{Databases, WithoutLane, block_of};
use crate::warehouse_reports::{shift_to_recent, traffic};

#[tokio::test]
async fn live_reports_and_the_ledger_read_projections_and_predicates_reach_them() {
    let databases = Databases::new("projections").await;
    databases.warehouse.blocks().insert(&block_of("inc", 0, 1, &traffic(0, 2_000))).await.unwrap();
    for (sql, projection, key) in [
        (
            "SELECT campaign, sum(clicks) FROM campaign_channel_daily WHERE day >= '2026-10-13' AND campaign = 'spring' GROUP BY campaign",
            "by_campaign_day",
            "campaign",
        ),
        ("SELECT hour, clicks FROM link_hourly WHERE link_id = 'l_3'", "by_link_hour", "link_id"),
        ("SELECT lane, sum(missing) FROM ledger GROUP BY lane", "by_lane_bucket", ""),
        ("SELECT max(raw_offset) FROM records WHERE incarnation = 'inc' AND lane = 0", "by_lane_bucket", "lane"),
    ] {
        let plan =
            databases.warehouse.query(Side::Production, &format!("EXPLAIN indexes = 1 {sql}"), &[]).await.unwrap();
        let plan: String =
            plan.iter().flat_map(|row| row.values()).map(|line| format!("{}\n", line.as_str().unwrap())).collect();
        assert!(plan.contains(&format!("({projection})")), "{sql}\n{plan}");
        assert!(!plan.contains(".records)"), "reads the rows themselves: {sql}\n{plan}");
        let keys = plan.split("Keys:").skip(1).any(|keys| keys.contains(key));
        assert!(keys || key.is_empty(), "{sql}\n{plan}");
    }
    databases.drop().await;
}

#[tokio::test]
async fn every_view_answers_and_every_table_view_and_column_has_a_comment() {
    let databases = Databases::new("comments").await;
    let mut events = traffic(0, 300);
    shift_to_recent(&mut events);
    databases.warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    for side in Side::BOTH {
        let views = databases
            .warehouse
            .query(side, "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'", &[])
            .await
            .unwrap();
        assert!(views.len() > 15, "{views:?}");
        for view in views {
            let name = view["name"].as_str().unwrap();
            databases.warehouse.query(side, &format!("SELECT * FROM {name}"), &[]).await.unwrap();
        }
        let bare = "SELECT count() FROM system.columns WHERE database = currentDatabase() AND comment = ''";
        assert_eq!(databases.number(side, bare).await, 0);
        let bare = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND comment = ''";
        assert_eq!(databases.number(side, bare).await, 0);
    }
    let sql = "SELECT count() FROM where_is WHERE event_key = 'click:7'";
    assert_eq!(databases.number(Side::Production, sql).await, 1);
    let source = "SELECT count() FROM completeness WHERE source = 'acme' AND records = 300 AND missing = 0";
    assert_eq!(databases.number(Side::Production, source).await, 1);
    let packs = "SELECT sum(clicks) - (SELECT sum(clicks) FROM campaign_channel_daily) FROM monthly_pack";
    assert_eq!(databases.number(Side::Production, packs).await, 0);
    databases.drop().await;
}

#[tokio::test]
async fn migrations_are_applied_once_by_two_at_once_and_a_changed_text_is_refused() {
    let databases = Databases::unmigrated("migrate").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let pending = warehouse.pending(layout).await.unwrap();
    assert!(pending.iter().any(|migration| migration.name == "records" && migration.version == 1), "{pending:?}");
    let (one, two) = tokio::join!(warehouse.migrate(layout), warehouse.migrate(layout));
    assert!(one.unwrap().len() + two.unwrap().len() >= pending.len());
    assert_eq!(warehouse.pending(layout).await.unwrap(), []);
    assert_eq!(warehouse.migrate(layout).await.unwrap(), []);

    // Another retention, and a column that an older version did not have.
    let database = warehouse.database(Side::Production).to_owned();
    let longer = warehouse::Layout { events_days: 700, ..layout.clone() };
    let applied = warehouse.migrate(&longer).await.unwrap();
    let follows_retention = ["retention of records", "retention of dead_letter_decisions", "view ledger"];
    assert!(applied.iter().all(|migration| follows_retention.contains(&migration.name.as_str())), "{applied:?}");
    let ttl = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'records' AND engine_full LIKE '%toIntervalDay(700)%'";
    assert_eq!(databases.number(Side::Production, ttl).await, 1);

    databases.execute(&format!("ALTER TABLE {database}.records DROP COLUMN promo")).await;
    let forget = "INSERT INTO {}.migrations (version, name, checksum) VALUES (0, 'columns of records', 'older')";
    databases.execute(&forget.replace("{}", &database)).await;
    let applied = warehouse.migrate(&longer).await.unwrap();
    assert_eq!(applied.len(), 1);
    let order = "SELECT position FROM system.columns WHERE database = currentDatabase() AND table = 'records' AND name IN ('utm_content', 'promo') ORDER BY name DESC";
    let rows = warehouse.query(Side::Production, order, &[]).await.unwrap();
    let position = |row: usize| rows[row]["position"].as_i64().unwrap();
    assert_eq!(position(1), position(0) + 1, "promo follows utm_content again");

    let newer =
        format!("INSERT INTO {database}.migrations (version, name, checksum) VALUES (9000, 'from_the_future', 'x')");
    databases.execute(&newer).await;
    assert!(matches!(warehouse.migrate(layout).await, Err(WarehouseError::Newer { version: 9000, .. })));
    databases
        .execute(&format!("ALTER TABLE {database}.migrations DELETE WHERE version = 9000 SETTINGS mutations_sync = 2"))
        .await;
    let changed = format!("INSERT INTO {database}.migrations (version, name, checksum) VALUES (1, 'records', 'x')");
    databases.execute(&changed).await;
    assert!(matches!(warehouse.pending(layout).await, Err(WarehouseError::Checksum { version: 1, .. })));
    databases.drop().await;
}

#[tokio::test]
async fn the_noise_of_a_rule_is_what_it_raised_what_was_sent_and_what_was_over_soon() {
    let databases = Databases::new("noise").await;
    // A Wednesday, and the Wednesday after it.
    let (first, next) = (1_792_584_000_000, 1_792_584_000_000 + 7 * 86_400_000);
    let alert = |id: &'static str, key: &'static str, transition, at: i64| Alert {
        alert_id: id.into(),
        rule: "spike".into(),
        key: key.into(),
        transition,
        received_at: Millis(at),
        window_end: Millis(at),
        ..Alert::default()
    };
    let minutes = |minutes: i64| first + minutes * 60_000;
    let alerts = [
        alert("1", "a", Transition::Fired, first),
        alert("2", "a", Transition::Resolved, minutes(9)),
        alert("3", "b", Transition::Fired, first),
        alert("4", "b", Transition::Resolved, minutes(11)),
        alert("5", "a", Transition::Fired, minutes(20)),
        alert("6", "c", Transition::Fired, next),
        alert("7", "d", Transition::Each, next),
    ];
    let step = |id: &'static str, stage, error: &'static str, kind: &str, at: i64| Delivery {
        bundle_id: id.into(),
        destination: "chat".into(),
        rule: "spike".into(),
        stage,
        at: Millis(at),
        error: error.into(),
        body: format!("{{\"type\":\"{kind}\"}}").into(),
        ..Delivery::default()
    };
    let report = Delivery { group: "(report)".into(), ..step("5", DeliveryStage::Planned, "", "report", first) };
    let inhibits = Delivery { destination: "(inhibits)".into(), ..step("6", DeliveryStage::Held, "", "", first) };
    let steps = [
        step("1", DeliveryStage::Planned, "", "alert", first),
        step("1", DeliveryStage::Delivered, "", "", first),
        step("2", DeliveryStage::Silenced, "acknowledged by ann: on it", "", first),
        step("3", DeliveryStage::Silenced, "mute nights", "", first),
        step("4", DeliveryStage::Planned, "", "acknowledged", first),
        report,
        inhibits,
        step("7", DeliveryStage::Planned, "", "alert", next),
        step("7", DeliveryStage::Failed, "rejected", "", next),
    ];
    for token in ["a", "b"] {
        databases.warehouse.insert_alerts(&alerts, token).await.unwrap();
        databases.warehouse.insert_deliveries(&steps, token).await.unwrap();
    }
    let sql = "SELECT toString(week) AS week, alerts, messages, held_back, acknowledged, failed, ended, ended_soon, \
               toUInt64(100 * ended_soon_share) AS per_cent \
               FROM rule_noise WHERE rule = 'spike' ORDER BY week";
    let rows = databases.warehouse.query(Side::Production, sql, &[]).await.unwrap();
    let found: Vec<String> = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    let week = |day: &str, counts: [u64; 8]| {
        let [alerts, messages, held_back, acknowledged, failed, ended, ended_soon, per_cent] = counts;
        serde_json::json!({ "week": day, "alerts": alerts, "messages": messages, "held_back": held_back, "acknowledged": acknowledged,
            "failed": failed, "ended": ended, "ended_soon": ended_soon, "per_cent": per_cent })
    };
    let read: Vec<serde_json::Value> = found.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert_eq!(
        read,
        [week("2026-10-19", [3, 1, 1, 1, 0, 2, 1, 50]), week("2026-10-26", [2, 1, 0, 0, 1, 0, 0, 0])],
        "{found:?}"
    );
    let shown = "SELECT count() FROM deliveries WHERE destination = '(inhibits)'";
    assert_eq!(databases.number(Side::Production, shown).await, 0, "what holds others back is not a message");
    messages_stand_where_their_last_step_says(&databases, first).await;
    databases.drop().await;
}

/// Steps of one millisecond are read in the order in which they are written, and a start that was let go into another
/// bundle is not held any more.
async fn messages_stand_where_their_last_step_says(databases: &Databases, at: i64) {
    let step = |id: &'static str, stage, kept: &str, at: i64| Delivery {
        bundle_id: id.into(),
        destination: "mail".into(),
        rule: "link-quiet".into(),
        stage,
        at: Millis(at),
        error: if kept == "back" { "inhibit silent-source: source-quiet fires for dub".into() } else { "".into() },
        body: match (stage, kept) {
            (Held, "") => "{\"follows\":false}".into(),
            (Held, kept) => format!("{{\"follows\":false,\"kept\":\"{kept}\"}}").into(),
            _ => "".into(),
        },
        ..Delivery::default()
    };
    use DeliveryStage::{Attempted, Delivered, Held, Planned, Silenced};
    let steps = [
        step("back", Held, "back", at),
        step("elsewhere", Held, "back", at),
        step("elsewhere", Held, "freed", at + 1),
        step("at-once", Held, "back", at),
        step("at-once", Held, "freed", at),
        step("waits", Held, "back", at),
        step("waits", Held, "freed", at + 1),
        step("waits", Held, "", at + 1),
        step("told", Held, "back", at),
        step("told", Held, "freed", at + 1),
        step("told", Planned, "", at + 1),
        step("over", Held, "back", at),
        step("over", Silenced, "", at),
        step("sent", Held, "", at),
        step("sent", Planned, "", at),
        step("sent", Attempted, "", at),
        step("sent", Delivered, "", at),
    ];
    databases.warehouse.insert_deliveries(&steps, "last-steps").await.unwrap();
    let sql = "SELECT concat(bundle_id, ' ', stage, ' ', substring(error, 1, 7)) AS line FROM deliveries WHERE destination = 'mail' ORDER BY line";
    let rows = databases.warehouse.query(Side::Production, sql, &[]).await.unwrap();
    let lines: Vec<&str> = rows.iter().map(|row| row["line"].as_str().unwrap().trim()).collect();
    assert_eq!(lines, ["back held inhibit", "over silenced", "sent delivered", "told planned", "waits held"]);
}
