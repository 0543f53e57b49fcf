//! Blocks on the real engine: what goes in comes back out, once, whatever is tried again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::borrow::Cow;

use event::{Alert, Counted, Delivery, DeliveryStage, EventType, LinkEvent, Map, Millis, Outcome};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use warehouse::{LaneWatermark, Side};

use crate::warehouse_databases::{Databases, Engine, NOON, WithoutLane, block_of, event};

async fn rows(databases: &Databases, side: Side) -> i64 {
    databases.number(side, "SELECT count() FROM records").await
}

#[tokio::test]
async fn the_same_block_twice_is_there_once() {
    let databases = Databases::new("twice").await;
    let store = databases.warehouse.blocks();
    let events: Vec<_> = (0..1_000).map(|offset| LinkEvent { test: offset % 10 == 0, ..event(offset) }).collect();
    let block = block_of("inc", 3, 1_004, &events);
    store.insert(&block).await.unwrap();
    store.insert(&block).await.unwrap();
    assert_eq!((rows(&databases, Side::Production).await, rows(&databases, Side::Test).await), (900, 100));
    assert_eq!(store.max_offset("inc", 3).await.unwrap(), Some(999));
    assert_eq!(store.max_offset("inc", 2).await.unwrap(), None);
    assert_eq!(store.max_offset("another", 3).await.unwrap(), None);
    // The same offsets in another incarnation are other rows.
    store.insert(&block_of("inc2", 3, 1_004, &events)).await.unwrap();
    assert_eq!(rows(&databases, Side::Production).await, 1_800);
    databases.drop().await;
}

#[tokio::test]
async fn an_uncertain_block_is_completed_with_the_missing_rows_only() {
    let databases = Databases::new("uncertain").await;
    let store = databases.warehouse.blocks();
    let events: Vec<_> = (0..500).map(|offset| LinkEvent { test: offset % 5 == 0, ..event(offset) }).collect();
    let block = block_of("inc", 0, 77, &events);
    store.insert(&block).await.unwrap();
    // The engine remembers the block and has lost some of its rows, as after a kill between the two.
    for side in Side::BOTH {
        let table = format!("{}.records", databases.warehouse.database(side));
        databases
            .execute(&format!("ALTER TABLE {table} DELETE WHERE raw_offset % 7 = 0 SETTINGS mutations_sync = 2"))
            .await;
    }
    let lost = (0..500).filter(|offset| offset % 7 == 0).count();
    let completion = store.complete_uncertain(&block).await.unwrap();
    assert_eq!((completion.missing, completion.repairs, completion.repeated.len()), (lost, 1, 0));
    assert_eq!((rows(&databases, Side::Production).await, rows(&databases, Side::Test).await), (400, 100));
    assert_eq!(store.present("inc", 0, 0..500, None).await.unwrap(), (0..500).collect::<Vec<_>>());
    // Settled is settled.
    let again = store.complete_uncertain(&block).await.unwrap();
    assert_eq!((again.missing, again.repairs), (0, 0));
    // A loss after a repair needs a new number: the old one is absorbed.
    let table = format!("{}.records", databases.warehouse.database(Side::Production));
    databases.execute(&format!("ALTER TABLE {table} DELETE WHERE raw_offset = 7 SETTINGS mutations_sync = 2")).await;
    let third = store.complete_uncertain(&block).await.unwrap();
    assert_eq!((third.missing, third.repairs), (1, 2));
    assert_eq!(rows(&databases, Side::Production).await, 400);
    databases.drop().await;
}

#[tokio::test]
async fn a_block_over_the_turn_of_a_month_is_there_once_even_if_half_of_it_was() {
    let databases = Databases::new("month").await;
    let store = databases.warehouse.blocks();
    const TURN: i64 = 1_793_491_200_000; // 2026-11-01 00:00 UTC
    let events: Vec<_> = (0..200)
        .map(|offset| LinkEvent { received_at: Millis(TURN - 100_000 + offset as i64 * 1_000), ..event(offset) })
        .collect();
    let block = block_of("inc", 1, 5, &events);
    assert_eq!(block.received(), Some(TURN - 100_000..=TURN + 99_000));
    store.insert(&block).await.unwrap();
    let parts = "SELECT uniqExact(partition) FROM system.parts WHERE database = currentDatabase() AND table = 'records' AND active";
    assert_eq!(databases.number(Side::Production, parts).await, 2);
    let table = format!("{}.records", databases.warehouse.database(Side::Production));
    databases.execute(&format!("ALTER TABLE {table} DROP PARTITION 202611")).await;
    let completion = store.complete_uncertain(&block).await.unwrap();
    assert_eq!(rows(&databases, Side::Production).await, 200);
    assert!(completion.repeated.is_empty());
    databases.drop().await;
}

#[tokio::test]
async fn rows_beyond_a_position_name_their_blocks() {
    let databases = Databases::new("beyond").await;
    let store = databases.warehouse.blocks();
    for (cut, offsets) in [(11, 0..10), (23, 10..20), (35, 20..30)] {
        let events: Vec<_> = offsets.map(|offset| LinkEvent { test: offset % 2 == 0, ..event(offset) }).collect();
        store.insert(&block_of("inc", 2, cut, &events)).await.unwrap();
    }
    assert_eq!(store.max_cut("inc", 2).await.unwrap(), Some(35));
    assert_eq!(store.rows_beyond("inc", 2, 24).await.unwrap(), [(35, 10)]);
    assert_eq!(store.rows_beyond("inc", 2, 12).await.unwrap(), [(23, 10), (35, 10)]);
    assert_eq!(store.rows_beyond("inc", 2, 36).await.unwrap(), []);
    assert_eq!(store.rows_beyond("other", 2, 0).await.unwrap(), []);
    assert_eq!(store.present("inc", 2, 8..13, None).await.unwrap(), [8, 9, 10, 11, 12]);
    assert_eq!(store.present("inc", 2, 0..30, Some(NOON..=NOON + 4_000)).await.unwrap(), [0, 1, 2, 3, 4]);
    databases.drop().await;
}

#[tokio::test]
async fn an_empty_block_is_nothing_to_do() {
    let databases = Databases::new("empty").await;
    let store = databases.warehouse.blocks();
    let block = block_of("inc", 0, 1, &[]);
    store.insert(&block).await.unwrap();
    assert_eq!(store.complete_uncertain(&block).await.unwrap().missing, 0);
    assert_eq!(rows(&databases, Side::Production).await, 0);
    databases.drop().await;
}

#[tokio::test]
async fn a_wide_block_travels_in_pieces_and_its_dictionaries_grow() {
    let databases = Databases::new("wide").await;
    let store = databases.warehouse.blocks();
    // Dictionaries of 3, 1,000 and 70,000 texts: keys of one, two and four bytes.
    let events: Vec<_> = (0..70_000)
        .map(|offset| LinkEvent {
            partner: format!("partner {}", offset % 1_000).into(),
            placement: format!("placement {offset}").into(),
            ..event(offset)
        })
        .collect();
    let block = block_of("inc", 0, 9, &events);
    store.insert(&block).await.unwrap();
    let sql = "SELECT countIf(campaign = ['', 'spring', 'autumn'][1 + raw_offset % 3] AND partner = concat('partner ', toString(raw_offset % 1000)) \
               AND placement = concat('placement ', toString(raw_offset))) FROM records";
    assert_eq!(databases.number(Side::Production, sql).await, 70_000);
    let parts = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'records'";
    assert_eq!(databases.number(Side::Production, parts).await, 1, "a block is one part");
    databases.drop().await;
}

#[tokio::test]
async fn alerts_and_deliveries_are_shown_once_however_often_they_are_written() {
    let databases = Databases::new("logs").await;
    let warehouse = &databases.warehouse;
    let alert = |id: &'static str, test| Alert {
        alert_id: id.into(),
        rule: "spike".into(),
        received_at: Millis(NOON),
        window_start: Millis(NOON - 60_000),
        observed: 40,
        test,
        attributes: Map(vec![("link".into(), "l_1".into()), ("owner".into(), "ann".into())]),
        ..Alert::default()
    };
    for token in ["a", "a", "b"] {
        warehouse.insert_alerts(&[alert("1", false), alert("2", false), alert("3", true)], token).await.unwrap();
    }
    assert_eq!(databases.number(Side::Production, "SELECT count() FROM alerts").await, 2);
    assert_eq!(databases.number(Side::Test, "SELECT count() FROM alerts").await, 1);
    let owner = "SELECT countIf(attributes['owner'] = 'ann' AND observed = 40) FROM alerts";
    assert_eq!(databases.number(Side::Production, owner).await, 2);

    let step = |stage, at, attempt, status| Delivery {
        bundle_id: "b1".into(),
        destination: "chat".into(),
        group: "l_1".into(),
        stage,
        at: Millis(at),
        attempt,
        status,
        alert_ids: if attempt == 0 { vec!["1".into(), "2".into()] } else { Vec::new() },
        ..Delivery::default()
    };
    let steps = [
        step(DeliveryStage::Planned, NOON, 0, 0),
        step(DeliveryStage::Attempted, NOON + 10, 1, 503),
        step(DeliveryStage::Delivered, NOON + 20, 2, 200),
    ];
    for token in ["x", "y"] {
        warehouse.insert_deliveries(&steps, token).await.unwrap();
    }
    assert_eq!(databases.number(Side::Production, "SELECT count() FROM delivery_attempts").await, 3);
    let now = "SELECT count() FROM deliveries WHERE stage = 'delivered' AND attempts = 2 AND status = 200 AND alerts = 2 AND `group` = 'l_1'";
    assert_eq!(databases.number(Side::Production, now).await, 1);
    databases.drop().await;
}

#[tokio::test]
async fn the_ledger_names_holes_and_repeats_over_both_databases() {
    let databases = Databases::new("ledger").await;
    let store = databases.warehouse.blocks();
    let event = |offset: u64| LinkEvent {
        test: offset.is_multiple_of(3),
        received_at: Millis(NOON + offset as i64),
        ..event(offset)
    };
    let events: Vec<_> = (0..140_000).filter(|offset| *offset != 70_000 && *offset != 70_001).map(event).collect();
    store.insert(&block_of("inc", 4, 1, &events)).await.unwrap();
    store.insert(&block_of("inc", 4, 2, &[event(5)])).await.unwrap();
    let lanes = [LaneWatermark { lane: 4, raw_hi: 140_010, watermark: Millis(NOON + 140_010) }];
    databases.warehouse.save_watermarks("inc", &lanes).await.unwrap();
    // A sleeper that wakes says an older thing: the newest stays, and one row a lane.
    let older = [LaneWatermark { raw_hi: 9, watermark: Millis(NOON), ..lanes[0] }];
    databases.warehouse.save_watermarks("inc", &older).await.unwrap();
    let newest = "SELECT sum(raw_hi) FROM lane_watermarks FINAL";
    assert_eq!(databases.number(Side::Production, newest).await, 140_010);
    let sql =
        "SELECT bucket, first_offset, last_offset, records, expected, missing, repeated FROM ledger ORDER BY bucket";
    for side in Side::BOTH {
        let rows = databases.warehouse.query(side, sql, &[]).await.unwrap();
        let names = ["bucket", "first_offset", "last_offset", "records", "expected", "missing", "repeated"];
        let rows: Vec<Vec<i64>> =
            rows.iter().map(|row| names.iter().map(|name| row[*name].as_i64().unwrap()).collect()).collect();
        let expected: [[i64; 7]; 3] = [
            [0, 0, 65_535, 65_537, 65_536, 0, 1],
            [1, 65_536, 131_071, 65_534, 65_536, 2, 0],
            [2, 131_072, 140_009, 8_928, 8_938, 10, 0],
        ];
        assert_eq!(rows, expected);
    }
    let books = databases.warehouse.ledger().await.unwrap();
    assert_eq!(books.len(), 1);
    let lane = &books[0];
    assert_eq!((lane.records, lane.expected, lane.missing, lane.repeated), (139_999, 140_010, 12, 1));
    let faults = store.faults("inc", 4, 10).await.unwrap();
    assert_eq!(faults.missing, [70_000..70_002, 140_000..140_010]);
    assert_eq!((faults.repeated, faults.more), (vec![(5, 2)], false));

    // A loss that somebody has acknowledged is lost, and missing no longer; said twice, it is one loss.
    for _ in 0..2 {
        let lost = [70_000..70_001, 140_000..140_010];
        databases.warehouse.acknowledge_loss("inc", 4, &lost, Millis(NOON), "ana", "disk").await.unwrap();
    }
    let books = databases.warehouse.ledger().await.unwrap();
    assert_eq!((books[0].missing, books[0].lost), (1, 11));
    assert_eq!(store.faults("inc", 4, 10).await.unwrap().missing, warehouse::ranges([70_001]));
    assert_eq!(databases.warehouse.losses("inc").await.unwrap().len(), 2);
    // Nor is it two where ranges overlap, or one is within another.
    let overlapping = [140_003..140_009, 140_005..140_010, 140_004..140_006, 70_000..70_001];
    databases.warehouse.acknowledge_loss("inc", 4, &overlapping, Millis(NOON), "ben", "the same disk").await.unwrap();
    let books = databases.warehouse.ledger().await.unwrap();
    assert_eq!((books[0].missing, books[0].lost), (1, 11));

    // A lane that was settled and has no row any more is all missing, not forgotten.
    for side in Side::BOTH {
        databases.execute(&format!("TRUNCATE TABLE {}.records SYNC", databases.warehouse.database(side))).await;
    }
    let books = databases.warehouse.ledger().await.unwrap();
    assert_eq!((books[0].records, books[0].expected, books[0].missing, books[0].lost), (0, 140_010, 139_999, 11));

    // Nor is it once it goes on: a head that retention cannot have taken yet is missing, and one that it can have taken is not.
    const DAY: i64 = 86_400_000;
    let now = jiff::Timestamp::now().as_millisecond();
    let at = |offset, received_at| LinkEvent { received_at: Millis(received_at), ..event(offset) };
    store.insert(&block_of("inc", 4, 3, &[at(131_100, now)])).await.unwrap();
    store.insert(&block_of("inc", 5, 4, &[at(140_002, now - 300 * DAY)])).await.unwrap();
    let books = databases.warehouse.ledger().await.unwrap();
    let books: Vec<_> = books.iter().map(|books| (books.lane, books.records, books.expected, books.missing)).collect();
    assert_eq!(books, [(4, 1, 140_010, 139_998), (5, 1, 1, 0)]);
    databases.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_is_there_once_however_often_the_engine_is_killed() {
    const BLOCKS: u64 = 14;
    const ROWS: u64 = 3_000;
    let engine = tokio::task::spawn_blocking(Engine::own).await.unwrap();
    let databases = Databases::on("killed", engine.clone()).await;
    databases.warehouse.migrate(&databases.layout).await.unwrap();
    let store = databases.warehouse.blocks();
    let mut uncertain = 0;
    for number in 0..BLOCKS {
        let events: Vec<_> = (number * ROWS..(number + 1) * ROWS)
            .map(|offset| LinkEvent {
                // Every block is over the turn of a month: two parts, and test data beside them.
                received_at: Millis(1_793_491_200_000 + if offset % 2 == 0 { -1_000 } else { 1_000 }),
                test: offset.is_multiple_of(5),
                ..event(offset)
            })
            .collect();
        let block = block_of("inc", 0, number, &events);
        // Each time a little later in the life of an insert.
        let killer = (number % 2 == 1).then(|| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                let begun = std::time::Instant::now();
                while begun.elapsed().as_millis() < u128::from(number) * 12 {
                    std::hint::spin_loop();
                }
                engine.kill();
            })
        });
        let mut outcome = store.insert(&block).await.map(drop);
        let killed = killer.map(|killer| killer.join().unwrap()).is_some();
        let begun = std::time::Instant::now();
        while let Err(error) = outcome {
            assert!(error.is_retryable() && begun.elapsed().as_secs() < 60, "{error}");
            uncertain += 1;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            outcome = store.complete_uncertain(&block).await.map(drop);
        }
        if killed {
            // The supervisor gives an engine up that dies within three seconds again and again.
            tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        }
    }
    assert!(uncertain > 0, "no kill hit an insert");
    let books = databases.warehouse.ledger().await.unwrap();
    assert_eq!(books.len(), 1);
    assert_eq!((books[0].records, books[0].expected), (BLOCKS * ROWS, BLOCKS * ROWS));
    assert_eq!((books[0].missing, books[0].repeated), (0, 0));
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![
        Just(String::new()),
        "[a-c]{1,2}",
        // Quotes, controls, zero bytes, and everything that Unicode has.
        any::<String>(),
        proptest::collection::vec(any::<char>(), 120..300).prop_map(|chars| chars.into_iter().collect()),
    ]
    .prop_map(Cow::Owned)
}

prop_compose! {
    fn odd_event()(
        (outcome, kind, counted) in (0..Outcome::ALL.len(), 0..EventType::ALL.len(), 0..Counted::ALL.len()),
        // What the engine's DateTime64 holds: years 1900 to 2299.
        event_time in -2_208_988_800_000i64..10_413_791_999_999,
        received in 0i64..100_000_000,
        (key, slug, campaign, detail) in (text(), text(), text(), text()),
        (visitor, value, delay, status) in (any::<u64>(), any::<i64>(), any::<i64>(), any::<u16>()),
        country in prop_oneof![Just(""), Just("DE"), Just("USA"), Just("é")],
        extra in proptest::collection::vec((text(), text()), 0..4),
        (issues, trace) in (proptest::collection::vec(text(), 0..4), proptest::collection::vec(text(), 0..4)),
        (approved, test) in (any::<bool>(), any::<bool>()),
    ) -> LinkEvent<'static> {
        LinkEvent {
            outcome: Outcome::ALL[outcome], r#type: EventType::ALL[kind], counted: Counted::ALL[counted],
            event_time: Millis(event_time), received_at: Millis(NOON + received),
            event_key: key, slug, campaign, detail,
            visitor, value_minor: value, duplicate_delay: delay, redirect_status: status,
            country: country.into(), extra: Map(extra), naming_issues: issues, trace, partner_approved: approved, test,
            ..LinkEvent::default()
        }
    }
}

/// What the engine shows of an event as JSON, derived without the block writer.
fn shown(event: &LinkEvent<'_>) -> serde_json::Value {
    let texts = |list: &[Cow<'_, str>]| list.iter().map(|text| text.clone().into_owned()).collect::<Vec<_>>();
    let extra: Vec<_> =
        event.extra.0.iter().map(|(name, value)| [name.clone().into_owned(), value.clone().into_owned()]).collect();
    serde_json::json!({
        "outcome": event.outcome.as_str(), "type": event.r#type.as_str(), "counted": event.counted.as_str(),
        "event_time": event.event_time.0, "received_at": event.received_at.0,
        "event_key": event.event_key, "slug": event.slug, "campaign": event.campaign, "detail": event.detail,
        "visitor": event.visitor, "value_minor": event.value_minor, "duplicate_delay": event.duplicate_delay,
        "redirect_status": event.redirect_status, "country": if event.country.len() == 2 && event.country.is_ascii() { &event.country } else { "" },
        "names": extra.iter().map(|pair| &pair[0]).collect::<Vec<_>>(),
        "values": extra.iter().map(|pair| &pair[1]).collect::<Vec<_>>(),
        "naming_issues": texts(&event.naming_issues), "trace": texts(&event.trace),
        "partner_approved": event.partner_approved, "raw_offset": event.raw_offset,
        "incarnation": "odd", "lane": 7, "cut": 99,
    })
}

#[tokio::test]
async fn whatever_goes_into_a_native_block_comes_back_out() {
    const SHOWN: &str = "SELECT outcome, type, counted, toUnixTimestamp64Milli(event_time) AS event_time, \
        toUnixTimestamp64Milli(received_at) AS received_at, event_key, slug, campaign, detail, visitor, value_minor, \
        duplicate_delay, redirect_status, toStringCutToZero(country) AS country, mapKeys(extra) AS names, mapValues(extra) AS `values`, \
        naming_issues, trace, partner_approved, raw_offset, incarnation, lane, cut FROM records AS r ORDER BY raw_offset";
    let databases = Databases::new("odd").await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for round in 0..12 {
        let strategy = proptest::collection::vec(odd_event(), 1..60);
        let mut events = strategy.new_tree(&mut runner).unwrap().current();
        events.iter_mut().zip(round * 1_000..).for_each(|(event, offset)| event.raw_offset = offset);
        databases.warehouse.blocks().insert(&block_of("odd", 7, 99, &events)).await.unwrap();
        for side in Side::BOTH {
            let rows = databases.warehouse.query(side, SHOWN, &[]).await.unwrap();
            let expected: Vec<_> =
                events.iter().filter(|event| event.test == (side == Side::Test)).map(shown).collect();
            assert_eq!(rows.len(), expected.len());
            for (row, expected) in rows.iter().zip(&expected) {
                for (name, value) in expected.as_object().unwrap() {
                    assert_eq!(&row[name], value, "{name} in round {round}");
                }
            }
            databases.execute(&format!("TRUNCATE TABLE {}.records", databases.warehouse.database(side))).await;
        }
    }
    databases.drop().await;
}
