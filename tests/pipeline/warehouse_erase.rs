//! Erasing on the real engine: what is left is what a count by hand says, wherever it was cut short.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use event::{Alert, Delivery, DeliveryStage, Erasure, LinkEvent, Map, Millis, Outcome, Scope};
use warehouse::{REPORTS, Side};

use crate::warehouse_databases::{Databases, WithoutLane, block_of};
use crate::warehouse_reports::{check, shift_to_recent, today, traffic};

const DAY: i64 = 86_400_000;
const KEY: [u64; 2] = [3, 1_u64 << 63];

fn erasure(id: &str, scope: Scope) -> Erasure {
    let tomorrow = jiff::Timestamp::now().as_millisecond() + 2 * DAY;
    Erasure { id: id.to_owned(), key: KEY, scope, through: Millis(tomorrow) }
}

/// The steps of an erasure, up to `most` of them: each may be the last before a crash.
async fn steps(databases: &Databases, erasure: &Erasure, most: usize) {
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    for step in 0..most {
        match step {
            0 => warehouse.erase_beside(erasure).await.unwrap(),
            1 => drop(warehouse.put_stubs(erasure).await.unwrap()),
            2 => warehouse.delete_erased(erasure).await.unwrap(),
            _ => drop(warehouse.recompute_erased(layout, erasure).await.unwrap()),
        }
    }
}

async fn rests(databases: &Databases, erasure: &Erasure) -> u64 {
    databases.warehouse.resting(erasure).await.unwrap().iter().map(|resting| resting.rows).sum()
}

fn alert(id: &'static str, link: &'static str) -> Alert<'static> {
    let mut attributes = Map::default();
    attributes.add("link_id", link);
    Alert {
        alert_id: id.into(),
        rule: "spike".into(),
        key: "spring".into(),
        received_at: Millis(jiff::Timestamp::now().as_millisecond()),
        attributes,
        ..Alert::default()
    }
}

fn step(bundle: &'static str, stage: DeliveryStage, alerts: &[&'static str], body: &'static str) -> Delivery<'static> {
    Delivery {
        bundle_id: bundle.into(),
        destination: "growth".into(),
        rule: "spike".into(),
        group: "about a link".into(),
        stage,
        at: Millis(jiff::Timestamp::now().as_millisecond()),
        alert_ids: alerts.iter().map(|alert| (*alert).into()).collect(),
        body: body.into(),
        ..Delivery::default()
    }
}

#[tokio::test]
async fn what_is_erased_leaves_stubs_alone_and_reports_of_the_rest_wherever_it_is_cut() {
    let databases = Databases::new("erase").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let today_ms = jiff::Timestamp::now().as_millisecond().div_euclid(DAY) * DAY;
    let mut events = traffic(0, 3_000);
    shift_to_recent(&mut events);
    for event in &mut events {
        event.test = event.raw_offset % 50 == 0;
        // A source that alone has events on a day.
        if event.raw_offset % 97 == 0 {
            event.source = "solo".into();
            event.event_time.0 = today_ms - 9 * DAY + event.event_time.0.rem_euclid(DAY);
        }
    }
    let mut offset = 0;
    for block in events.chunks(500) {
        offset += 1;
        warehouse.blocks().insert(&block_of("inc", 0, offset, block)).await.unwrap();
    }
    let alerts = [alert("a_0", "l_0"), alert("a_8", "l_8")];
    warehouse.insert_alerts(&alerts, "alerts").await.unwrap();
    let sent = [
        step("b_both", DeliveryStage::Planned, &["a_0", "a_8"], "two links"),
        step("b_both", DeliveryStage::Delivered, &[], "receipt"),
        step("b_8", DeliveryStage::Planned, &["a_8"], "one link"),
    ];
    warehouse.insert_deliveries(&sent, "deliveries").await.unwrap();
    for days in [1, 2, 3, 4, 9] {
        let day = today().checked_sub(jiff::Span::new().days(days)).unwrap();
        for report in REPORTS {
            warehouse.close_day(Side::Production, layout, report, day).await.unwrap();
        }
    }
    let production = |events: &[LinkEvent<'static>]| -> Vec<LinkEvent<'static>> {
        events.iter().filter(|event| !event.test).cloned().collect()
    };
    check(&databases, &production(&events)).await;

    let of_link_0 = erasure("links-0", Scope::link(KEY, "l_0"));
    let names = warehouse.names_of_erased(&of_link_0).await.unwrap();
    assert!(names.contains(&"l_0".to_owned()) && names.contains(&"go.acme.example/s1".to_owned()), "{names:?}");
    let told = warehouse.sent_about(&of_link_0).await.unwrap();
    assert_eq!((told.len(), told[0].destination.as_str(), told[0].messages), (1, "growth", 1));

    // Each is cut short after another step: two links, a visitor's day, and the source that alone had a day.
    let of_day = events.iter().find(|event| event.visitor != 0 && event.outcome == Outcome::Event && !event.test);
    let (day, visitor) = of_day.map(|event| (event.event_time.0.div_euclid(DAY), event.visitor)).unwrap();
    let link = |number: usize| Scope::link(KEY, &format!("l_{number}"));
    let scopes = [link(0), link(1), Scope::visitor(KEY, day, visitor), Scope::source("solo")];
    let mut erased = 0;
    for (number, scope) in (1..).zip(scopes) {
        let erasure = erasure(&format!("links-{number}"), scope);
        let mut left = Vec::new();
        for event in events {
            if erasure.covers(&event) { erased += 1 } else { left.push(event) }
        }
        events = left;
        assert!(rests(&databases, &erasure).await > 0);
        steps(&databases, &erasure, number).await;
        // A statement that ran on after its client was gone has written the stubs once more, also of erasures before.
        for side in Side::BOTH {
            let records = format!("{}.records", warehouse.database(side));
            let twice = format!(
                "INSERT INTO {records} SELECT * FROM {records} WHERE outcome = 'erased' SETTINGS insert_deduplicate = 0"
            );
            databases.execute(&twice).await;
        }
        steps(&databases, &erasure, 4).await;
        assert_eq!(rests(&databases, &erasure).await, 0);
        check(&databases, &production(&events)).await;
        let books = warehouse.ledger().await.unwrap();
        assert_eq!((books.len(), books[0].records, books[0].missing, books[0].repeated), (1, 3_000, 0, 0), "{books:?}");
    }
    let stubs = "SELECT toUInt64(count()) FROM where_is WHERE outcome = 'erased' AND event_key = '' AND link_id = '' AND source = ''";
    assert_eq!(databases.number(Side::Production, stubs).await, erased);
    let closed = "SELECT count() FROM closed_days WHERE day = toDate(now('UTC')) - ";
    for (days, reports) in [("9", 0), ("4", REPORTS.len())] {
        let closed = databases.number(Side::Production, &format!("{closed}{days}")).await;
        assert_eq!(usize::try_from(closed).unwrap(), reports, "a day that nothing is left of is not closed");
    }

    // The alert of the erased link is gone with the text of each message that told of it; the other ones stay.
    for (sql, number) in [
        ("SELECT toUInt64(sum(alert_id = 'a_8')) - sum(alert_id = 'a_0') FROM alerts", 1),
        ("SELECT count() FROM delivery_attempts WHERE bundle_id = 'b_both' AND body = '' AND `group` = ''", 2),
        ("SELECT count() FROM deliveries WHERE bundle_id = 'b_both' AND stage = 'delivered'", 1),
        ("SELECT count() FROM delivery_attempts WHERE bundle_id = 'b_8' AND body = 'one link'", 1),
    ] {
        assert_eq!(databases.number(Side::Production, sql).await, number, "{sql}");
    }
    // A summary that waited for its time is planned after the erasure, and names the link: it is found by its alert.
    let of_link_0 = erasure("links-1", Scope::link(KEY, "l_0"));
    let (late, tomorrow) = (Millis(of_link_0.through.0 + DAY), Millis(jiff::Timestamp::now().as_millisecond() + DAY));
    let held = Delivery { not_before: tomorrow, ..step("b_late", DeliveryStage::Held, &["a_0"], "what is held") };
    let planned = Delivery { at: late, ..step("b_late", DeliveryStage::Planned, &["a_0"], "l_0: 3 clicks") };
    warehouse.insert_deliveries(&[held], "held").await.unwrap();
    assert_eq!((rests(&databases, &of_link_0).await, warehouse.unplanned_messages(&of_link_0).await.unwrap()), (1, 1));
    warehouse.erase_beside(&of_link_0).await.unwrap();
    assert_eq!(warehouse.unplanned_messages(&of_link_0).await.unwrap(), 1, "it is still to be planned");
    warehouse.insert_deliveries(&[planned], "planned").await.unwrap();
    assert_eq!((rests(&databases, &of_link_0).await, warehouse.unplanned_messages(&of_link_0).await.unwrap()), (1, 0));
    warehouse.erase_beside(&of_link_0).await.unwrap();
    assert_eq!(rests(&databases, &of_link_0).await, 0);
    // Alerts that are copied again from their topic are known by what they say, and their messages by them.
    assert!(of_link_0.covers_alert(&alerts[0]) && !of_link_0.covers_alert(&alerts[1]));
    let ids = ["a_0".to_owned(), "a_8".to_owned()];
    assert_eq!(warehouse.erased_alerts(&ids).await.unwrap().into_iter().collect::<Vec<_>>(), ["a_0"]);
    warehouse.insert_alerts(&[warehouse::alert_stub(&alerts[0], "links-1")], "again").await.unwrap();
    assert_eq!(databases.number(Side::Production, "SELECT count() FROM alerts").await, 1);

    // ClickHouse keeps the text of what it did to a table, and no name is in it.
    let named =
        "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND match(command, 'l_[01]\\\\b')";
    assert_eq!(databases.number(Side::Production, named).await, 0);
    assert_eq!(warehouse.unfinished_mutations().await.unwrap(), 0);

    // A replay that writes a range anew leaves stubs as they are.
    warehouse.blocks().delete("inc", 0, 0..3_000).await.unwrap();
    let left = "SELECT countIf(outcome = 'erased') * 10 + countIf(outcome != 'erased') FROM records";
    let stubs_alone = databases.number(Side::Production, left).await + databases.number(Side::Test, left).await;
    assert_eq!(stubs_alone, erased * 10);

    // The rows are on disk in parts that no query reads, until ClickHouse deletes them.
    let by_ms = jiff::Timestamp::now().as_millisecond();
    let former = warehouse.former_parts(by_ms).await.unwrap();
    assert!(former.parts > 0 && former.bytes > 0 && former.gone_by > by_ms - DAY, "{former:?}");
    assert_eq!(warehouse.detached_parts().await.unwrap(), []);
    databases.drop().await;
}
