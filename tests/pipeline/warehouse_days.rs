//! Days on the real engine: thinned, replaced, closed twice at once, cleared.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use event::{LinkEvent, Millis};
use warehouse::{Closed, FrozenDay, OpenDay, Report, Side};

use crate::warehouse_databases::{Databases, WithoutLane, block_of};
use crate::warehouse_reports::{DAY, day, shift_to_recent, shown, today, traffic};

#[tokio::test]
async fn a_day_that_is_thinned_stays_as_it_was_closed_and_outlives_its_events() {
    let databases = Databases::new("thinned").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let events = traffic(0, 2_000);
    warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    let report = Report::named("campaign_channel_daily").unwrap();
    let keys = ["day", "campaign", "channel"];
    let before = shown(&databases, &keys, &["clicks"], report.name).await;
    for days in -4..=0 {
        warehouse.close_day(Side::Production, layout, report, day(days)).await.unwrap();
    }
    // Each question to a report opens the parts of every closed day.
    let database = warehouse.database(Side::Production);
    let parts = format!(
        "SELECT count() FROM system.parts WHERE active AND database = '{database}' AND table = '{}_closed'",
        report.name
    );
    assert_eq!(databases.number(Side::Production, &parts).await, 5, "a day is one part");
    let table = format!("{database}.records");
    databases.execute(&format!("ALTER TABLE {table} DELETE WHERE link_id = 'l_3' SETTINGS mutations_sync = 2")).await;
    assert_eq!(shown(&databases, &keys, &["clicks"], report.name).await, before);
    let frozen = warehouse.rebuild(Side::Production, layout, report, day(-1)).await.unwrap();
    assert!(matches!(frozen, Closed::Frozen { closed, records } if closed > records), "{frozen:?}");
    // Rows of such a day are replaced: what is left of it does not give the day again.
    let thinned = [(Side::Production, day(-1))];
    let kept = warehouse.reopen_days(layout, &thinned).await.unwrap();
    assert_eq!(kept, [FrozenDay { side: Side::Production, report: report.name, day: day(-1) }]);
    warehouse.blocks().delete("inc", 0, 0..1_900).await.unwrap();
    assert_eq!(warehouse.rebuild_days(layout, &thinned, kept.clone()).await.unwrap(), kept);
    assert_eq!(shown(&databases, &keys, &["clicks"], report.name).await, before);
    databases.execute(&format!("TRUNCATE TABLE {table}")).await;
    assert_eq!(shown(&databases, &keys, &["clicks"], report.name).await, before);
    databases.drop().await;
}

#[tokio::test]
async fn a_day_whose_rows_are_replaced_is_right_wherever_the_replacement_is_cut_short() {
    let databases = Databases::new("replaced").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let events = traffic(0, 2_000);
    let store = warehouse.blocks();
    store.insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    let report = Report::named("campaign_channel_daily").unwrap();
    let keys = ["day", "campaign", "channel"];
    let days = [day(-2), day(-1)];
    for day in days {
        warehouse.close_day(Side::Production, layout, report, day).await.unwrap();
    }
    let now = || shown(&databases, &keys, &["raw_clicks"], report.name);
    let before = now().await;
    // Closed days of test data are replaced as well.
    let of_test: Vec<_> = events.iter().take(400).map(|event| LinkEvent { test: true, ..event.clone() }).collect();
    store.insert(&block_of("inc", 1, 1, &of_test)).await.unwrap();
    warehouse.close_day(Side::Test, layout, report, day(-1)).await.unwrap();
    let shadow = warehouse.shadow().await.unwrap();
    let of_lane = async |lane| warehouse.closed_days_of(&shadow, "inc", lane, 0..2_000).await.unwrap();
    let on = |side, days: &[_]| -> Vec<_> { days.iter().map(|day| (side, *day)).collect() };
    assert_eq!(of_lane(0).await, on(Side::Production, &days));
    assert_eq!(of_lane(1).await, on(Side::Test, &[day(-1)]));
    warehouse.drop_shadow(&shadow).await.unwrap();

    for (side, days) in [(Side::Production, &days[..]), (Side::Test, &[day(-1)])] {
        assert_eq!(warehouse.reopen_days(layout, &on(side, days)).await.unwrap(), [], "none of them is thinned");
        let open = warehouse.open_days(side, layout, day(-1)).await.unwrap();
        assert!(days.iter().all(|day| open.contains(&OpenDay { report: report.name, day: *day })), "{open:?}");
    }
    assert_eq!(now().await, before, "cut before the rows are deleted");
    store.delete("inc", 0, 0..2_000).await.unwrap();
    assert_eq!(now().await.len(), 0, "cut after that: what is gone is not shown as if it were there");
    // The same events, as another configuration has them: a day has as many of them as when it was closed.
    let renamed: Vec<_> = events.into_iter().map(|event| LinkEvent { campaign: "winter".into(), ..event }).collect();
    store.insert(&block_of("inc", 0, 2, &renamed)).await.unwrap();
    let after = now().await;
    assert!(after.len() > 5 && after.keys().all(|key| key[1] == "winter"), "cut before days are computed: {after:?}");
    databases.drop().await;
}

#[tokio::test]
async fn those_who_close_a_day_at_once_leave_one_right_day() {
    let databases = Databases::new("closers").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let events = traffic(0, 2_000);
    warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    let report = Report::named("campaign_channel_daily").unwrap();
    let keys = ["day", "campaign", "channel"];
    let before = shown(&databases, &keys, &["clicks", "raw_clicks"], report.name).await;
    let close = |_| warehouse.rebuild(Side::Production, layout, report, day(-2));
    for round in 0..20 {
        for closed in futures::future::join_all((0..6).map(close)).await {
            assert!(matches!(closed.unwrap(), Closed::Written { .. }));
        }
        let now = shown(&databases, &keys, &["clicks", "raw_clicks"], report.name).await;
        assert_eq!(now, before, "round {round}");
    }
    assert_eq!(databases.number(Side::Production, "SELECT count() FROM closed_days").await, 1);
    // Two that were both killed before they looked: the day is open, and closing it leaves one.
    let table = format!("{}.{}_closed", warehouse.database(Side::Production), report.name);
    databases.execute(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE day = '{}'", day(-2))).await;
    let open = warehouse.open_days(Side::Production, layout, day(-2)).await.unwrap();
    assert!(open.contains(&OpenDay { report: report.name, day: day(-2) }), "{open:?}");
    let closed = warehouse.close_day(Side::Production, layout, report, day(-2)).await.unwrap();
    assert!(matches!(closed, Closed::Written { .. }), "{closed:?}");
    let now = shown(&databases, &keys, &["clicks", "raw_clicks"], report.name).await;
    assert_eq!(now, before, "closed twice at a kill");
    databases.drop().await;
}

#[tokio::test]
async fn what_visitors_are_needed_for_is_frozen_once_they_are_cleared() {
    let databases = Databases::new("cleared").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let mut events = traffic(0, 500);
    shift_to_recent(&mut events);
    for event in &mut events {
        event.event_time.0 -= 33 * DAY;
    }
    warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    let report = Report::named("daily_visitors").unwrap();
    let old = today().checked_sub(jiff::Span::new().days(34)).unwrap();
    let closed = warehouse.close_day(Side::Production, layout, report, old).await.unwrap();
    assert!(matches!(closed, Closed::Frozen { closed: 0, records } if records > 0), "{closed:?}");
    databases.drop().await;
}

#[tokio::test]
async fn old_months_lose_their_identifiers_and_nothing_else() {
    let databases = Databases::new("tidy").await;
    let (warehouse, layout) = (&databases.warehouse, &databases.layout);
    let mut events = traffic(0, 600);
    shift_to_recent(&mut events);
    let old = |event: &LinkEvent<'static>| LinkEvent {
        event_time: Millis(event.event_time.0 - 100 * DAY),
        received_at: Millis(event.received_at.0 - 100 * DAY),
        raw_offset: event.raw_offset + 600,
        ..event.clone()
    };
    events.extend(events.iter().map(old).collect::<Vec<_>>());
    warehouse.blocks().insert(&block_of("inc", 0, 1, &events)).await.unwrap();
    let young = "SELECT countIf(request_id != '') FROM records";
    assert_eq!(databases.number(Side::Production, young).await, 1_200);
    let done = warehouse.tidy(Side::Production, layout).await.unwrap();
    assert!(!done.is_empty());
    assert_eq!(databases.number(Side::Production, young).await, 600);
    let kept = "SELECT countIf(visitor = 0 AND event_key != '') FROM records WHERE raw_offset >= 600";
    assert_eq!(databases.number(Side::Production, kept).await, 600);
    assert_eq!(databases.number(Side::Production, "SELECT sum(records) FROM ledger").await, 1_200);
    assert_eq!(warehouse.tidy(Side::Production, layout).await.unwrap(), Vec::<String>::new());
    databases.drop().await;
}
