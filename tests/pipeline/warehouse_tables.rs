//! Tables and views on the real engine: what reads projections, what has a comment, and how tables are migrated.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use warehouse::{Side, WarehouseError};

use crate::warehouse_databases::{Databases, block_of};
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
