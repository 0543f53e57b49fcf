//! What is lost is said, and the way out that is said leads back to books that balance: on the real engines.

use std::path::Path;
use std::time::Duration;

use rdkafka::admin::AdminOptions;
use serde_json::Value;
use testkit::oracle::{Fleet, every_offset_is_one_row};

use crate::harness::{Up, until};
use crate::installation::{Installation, LANES, PATIENCE, ROWS, data, lanes};
use crate::tool::{said, tool};

/// A link that was erased.
struct Gone {
    link: String,
    /// How many rows it had.
    rows: u64,
    /// What came after it is another record, in milliseconds since 1970.
    through: i64,
}

impl Installation {
    /// Tells ClickHouse to do something.
    async fn statement(&self, sql: &str) {
        self.asker().rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    }

    /// Erases the link that has most rows, as a person does.
    async fn one_link_is_erased(&self) -> Gone {
        let most = "SELECT link_id, toUInt32(count()) AS rows FROM hookline.records WHERE link_id != '' GROUP BY link_id ORDER BY rows DESC, link_id LIMIT 1";
        let found = self.asker().rows(most).await.unwrap().remove(0);
        let (link, rows) = (found["link_id"].as_str().unwrap().to_owned(), found["rows"].as_u64().unwrap());
        let counted = |answer: &Value, when: &str| -> u64 {
            answer["erasures"][0][when].as_array().unwrap().iter().map(|rest| rest["rows"].as_u64().unwrap()).sum()
        };
        let look = self.does(&["erase", "--link", &link]).await;
        assert!(counted(&look, "before") >= rows && look["erasures"][0]["id"].is_null(), "{look}");
        let mut gone = Gone { link: link.clone(), rows, through: i64::MAX / 1_000 };
        self.stays(&gone, rows, 0).await;
        let erase = ["erase", "--link", &link, "--apply", "--who", "ana", "--why", "request 7"];
        let (code, done) = tool(&self.config(), &erase).await.unwrap();
        // The rewritten parts are on disk for eight minutes: that is said, and is not proof yet.
        assert_eq!((code, &done["waiting"], counted(&done, "after")), (1, &Value::from(0), 0), "{done}");
        assert!(done["former_parts"]["parts"].as_u64().unwrap() > 0, "{done}");
        assert_eq!(done["erasures"][0]["records"], rows, "{done}");
        let raw = &done["erasures"][0]["topics"][0];
        assert_eq!((&raw["topic"], &raw["records"]), (&Value::from("hookline.raw.v1"), &Value::from(rows)), "{done}");
        // Once more: it is known, and nothing is done twice.
        let again = tool(&self.config(), &erase).await.unwrap().1;
        assert_eq!(again["erasures"][0]["id"], done["erasures"][0]["id"], "{again}");
        assert_eq!(again["erasures"][0]["done_at"], done["erasures"][0]["done_at"], "{again}");
        // Neither what fills holes nor what writes a range anew brings it back.
        let replayed = self.does(&["replay", "--since", "1h", "--apply", "--replace"]).await;
        assert_eq!(replayed["ok"], true, "{replayed}");
        gone.through = done["erasures"][0]["through"].as_i64().unwrap();
        self.stays_erased(&gone).await;
        gone
    }

    /// Holds that no row of then names the link, that each of them is a stub, and that the books say so.
    async fn stays_erased(&self, gone: &Gone) {
        self.stays(gone, 0, gone.rows).await;
        let ledger = self.balances().await;
        let erased = &ledger["erasures"][0];
        assert_eq!((&erased["records"], erased["who"].as_str()), (&Value::from(gone.rows), Some("ana")), "{ledger}");
        assert!(!ledger.to_string().contains(&gone.link), "the note of an erasure does not name what was erased");
    }

    async fn stays(&self, Gone { link, through, .. }: &Gone, rows: u64, stubs: u64) {
        let of_link = format!(
            "SELECT count() FROM hookline.records WHERE link_id = '{link}' AND toUnixTimestamp64Milli(received_at) <= {through}"
        );
        assert_eq!(self.asker().number(&of_link).await.unwrap(), rows);
        let erased = "SELECT count() FROM hookline.records WHERE outcome = 'erased'";
        assert_eq!(self.asker().number(erased).await.unwrap(), stubs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_emptied_under_a_full_kafka_is_refused_and_written_again_by_either_way() {
    let mut it = Installation::start().await;
    for round in 1..=3 {
        it.send_and_see(60, round * 60).await;
    }
    it.balances().await;
    it.statement("BACKUP DATABASE hookline, DATABASE hookline_test TO File('before')").await;
    let gone = it.one_link_is_erased().await;

    // Emptied while report is down: it writes nothing more, and says so.
    it.fleet.kill("report").unwrap();
    it.asker().rows("TRUNCATE TABLE hookline.records").await.unwrap();
    it.fleet.restart("report").unwrap();
    it.stands_still("report", "rows_vanished").await;
    it.send(20).await;
    assert_eq!(it.asker().number(ROWS).await.unwrap(), 0);
    let (code, ledger) = tool(&it.config(), &["ledger"]).await.unwrap();
    let missing: u64 = lanes(&ledger).iter().map(|lane| lane["missing"].as_u64().unwrap()).sum();
    assert_eq!((code, missing), (1, 180), "{ledger}");

    // One way: back to what events holds.
    let (code, found) = tool(&it.config(), &["ledger", "recover"]).await.unwrap();
    assert_eq!((code, lanes(&found).len()), (1, 4), "{found}");
    assert!(
        lanes(&found).iter().all(|lane| lane["report"]["fault"].as_str().unwrap().contains("gone from ClickHouse"))
    );
    it.does(&["ledger", "recover", "--apply"]).await;
    it.restart("report");
    it.rows(200).await;
    it.balances().await;
    it.stays_erased(&gone).await;

    // The other: by a replay of raw, while the lanes stand still where they are.
    it.fleet.kill("report").unwrap();
    it.asker().rows("TRUNCATE TABLE hookline.records").await.unwrap();
    it.fleet.restart("report").unwrap();
    it.stands_still("report", "rows_vanished").await;
    let replayed = it.does(&["replay", "--since", "1h", "--apply"]).await;
    let written: u64 = lanes(&replayed).iter().map(|lane| lane["written"].as_u64().unwrap()).sum();
    assert_eq!(written, 200);
    it.restart("report");
    it.send_and_see(20, 220).await;
    it.balances().await;
    it.stays_erased(&gone).await;

    // The third: a backup that was made before the link was erased; what came since, from events.
    it.fleet.kill("report").unwrap();
    for database in ["hookline", "hookline_test"] {
        it.statement(&format!("DROP DATABASE {database} SYNC")).await;
    }
    it.statement("RESTORE DATABASE hookline, DATABASE hookline_test FROM File('before')").await;
    it.does(&["migrate"]).await;
    it.stays(&gone, gone.rows, 0).await;
    let again = ["erase", "--again", "--apply", "--who", "ana", "--why", "restored"];
    let (code, again) = tool(&it.config(), &again).await.unwrap();
    assert!(code < 2 && again["erasures"].as_array().unwrap().len() == 1, "{again}");
    it.stays(&gone, 0, gone.rows).await;
    it.does(&["ledger", "recover", "--apply"]).await;
    it.fleet.restart("report").unwrap();
    it.rows(220).await;
    it.balances().await;
    it.stays_erased(&gone).await;
    every_offset_is_one_row(&it.asker()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_report_that_is_lost_is_found_again_by_the_rows_and_few_tokens_are_refused() {
    let mut it = Installation::start().await;
    for round in 1..=4 {
        it.send_and_see(60, round * 60).await;
    }
    it.fleet.kill("report").unwrap();
    it.admin().delete_groups(&["hookline-report"], &AdminOptions::new()).await.unwrap();
    it.fleet.restart("report").unwrap();
    it.stands_still("report", "rows_beyond_position").await;
    let found = it.does(&["ledger", "recover", "--apply"]).await;
    for lane in lanes(&found) {
        assert!(lane["report"]["fault"].as_str().unwrap().contains("position is lost"), "{lane}");
        assert!(lane["report"]["to"].as_i64().unwrap() > 0, "not from the start again: {lane}");
    }
    it.restart("report");
    it.send_and_see(60, 300).await;
    it.balances().await;
    every_offset_is_one_row(&it.asker()).await.unwrap();
    let (code, answer) = tool(&it.config(), &["ledger", "recover"]).await.unwrap();
    assert_eq!((code, &answer["ok"]), (0, &Value::Bool(true)), "{answer}");

    // A table that forgets tokens while blocks may be in doubt: report does not start on it.
    it.fleet.kill("report").unwrap();
    let forget = |tokens: u32| {
        format!("ALTER TABLE hookline.records MODIFY SETTING non_replicated_deduplication_window = {tokens}")
    };
    it.asker().rows(&forget(100)).await.unwrap();
    it.fleet.restart("report").unwrap();
    let log = it.says("report", "non_replicated_deduplication_window = 100").await;
    assert!(log.contains("MODIFY SETTING non_replicated_deduplication_window = 60000"), "{log}");
    it.asker().rows(&forget(60_000)).await.unwrap();
    it.restart("report");
    it.send_and_see(20, 320).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_wiped_under_a_full_clickhouse_is_refused_until_somebody_knows() {
    let mut it = Installation::start().await;
    it.send_and_see(60, 60).await;
    let life = it.asker().one("SELECT DISTINCT incarnation FROM hookline.records").await.unwrap();
    let life = life.as_str().unwrap().to_owned();
    let Installation { folder, up, fleet, clicks } = it;
    drop(fleet);
    up.stop().await.unwrap();
    std::fs::remove_dir_all(data(&folder).join("kafka")).unwrap();
    let up = Up::engines(folder.path()).await.unwrap();
    let config = data(&folder).join("hookline.toml");
    let fleet = Fleet::start(folder.path(), &config, &up.addresses, &["ingest", "process", "report"]).unwrap();
    let mut it = Installation { folder, up, fleet, clicks };

    // What comes is taken and waits; nothing is written before somebody has said that the old life is over.
    it.send(40).await;
    it.stands_still("report", "another_life").await;
    assert_eq!(it.asker().number(ROWS).await.unwrap(), 60);
    let unknown = ["ledger", "accept-loss", "--life", "nobody", "--who", "ana", "--why", "x"];
    let (code, _, error) = said(&it.config(), &unknown).await.unwrap();
    assert!(code == 2 && error.contains("no row of a life nobody"), "{error}");
    it.does(&["ledger", "accept-loss", "--life", &life, "--who", "ana", "--why", "the broker's disk"]).await;
    it.restart("report");
    it.rows(100).await;
    let ledger = it.balances().await;
    let losses = ledger["losses"].as_array().unwrap();
    assert!(!losses.is_empty() && losses.iter().all(|loss| loss["why"] == "the broker's disk"), "{ledger}");
    it.send_and_see(20, 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_that_was_deleted_while_process_was_down_is_not_made_again_in_silence() {
    let mut it = Installation::start().await;
    it.send_and_see(60, 60).await;
    it.fleet.kill("process").unwrap();
    it.send(30).await;
    it.admin().delete_topics(&["hookline.raw.v1"], &AdminOptions::new()).await.unwrap();
    it.fleet.restart("process").unwrap();
    let log = it.says("process", "hookline.raw.v1 is gone from Kafka").await;
    assert!(log.contains("hookline ledger start-anew"), "{log}");
    // Nobody else makes it either.
    it.restart("ingest");
    it.says("ingest", "hookline.raw.v1 is gone from Kafka").await;

    for service in ["ingest", "process", "report"] {
        it.fleet.kill(service).unwrap();
    }
    let (code, shown) = tool(&it.config(), &["ledger", "start-anew"]).await.unwrap();
    let settled: u64 = lanes(&shown).iter().map(|lane| lane["settled"].as_u64().unwrap()).sum();
    assert_eq!((code, settled, &shown["deleted"]), (1, 60, &serde_json::json!([])), "{shown}");
    let done = it.does(&["ledger", "start-anew", "--apply", "--who", "ana", "--why", "deleted by mistake"]).await;
    assert_eq!(done["deleted"].as_array().unwrap().len(), 10, "{done}");
    for service in ["ingest", "process", "report"] {
        it.fleet.restart(service).unwrap();
    }
    it.send_and_see(40, 100).await;
    let ledger = it.balances().await;
    assert!(ledger["losses"].as_array().unwrap().iter().all(|loss| loss["why"] == "deleted by mistake"), "{ledger}");
    let lives = it.asker().number("SELECT uniqExact(incarnation) FROM hookline.records").await.unwrap();
    assert_eq!(lives, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_overtakes_process_or_report_is_a_gap_that_somebody_has_to_accept_or_to_fill() {
    let mut it = Installation::start().await;
    it.send_and_see(60, 60).await;

    // raw is deleted before process has read it.
    it.fleet.kill("process").unwrap();
    it.send(50).await;
    it.retention_takes("hookline.raw.v1").await;
    it.fleet.restart("process").unwrap();
    it.send(30).await;
    it.stands_still("process", "records_missing").await;
    let (code, found) = tool(&it.config(), &["ledger", "recover"]).await.unwrap();
    let gaps = lanes(&found).iter().map(|lane| lane["process"]["lost"][0].clone());
    let lost: u64 = gaps.map(|gap| gap["last"].as_u64().unwrap() - gap["first"].as_u64().unwrap() + 1).sum();
    assert_eq!((code, lost), (1, 50), "{found}");
    let (code, _, error) = said(&it.config(), &["ledger", "recover", "--apply", "--who", "ana"]).await.unwrap();
    assert!(code == 2 && error.contains("--why"), "{error}");
    it.does(&["ledger", "recover", "--apply", "--who", "ana", "--why", "down for a week"]).await;
    it.restart("process");
    it.rows(90).await;
    let ledger = it.balances().await;
    let lost: u64 = lanes(&ledger).iter().map(|lane| lane["lost"].as_u64().unwrap()).sum();
    assert_eq!(lost, 50, "{ledger}");
    assert!(ledger["losses"].as_array().unwrap().iter().all(|loss| loss["why"] == "down for a week"));

    // events is deleted before report has read it; raw still has the records.
    it.fleet.kill("report").unwrap();
    it.send(40).await;
    until(PATIENCE, "process has them", async || (processed(&it.config()).await >= 180).then_some(())).await.unwrap();
    it.retention_takes("hookline.events.v1").await;
    it.fleet.restart("report").unwrap();
    it.send(20).await;
    it.stands_still("report", "records_missing").await;
    let recovered = it.does(&["ledger", "recover", "--apply"]).await;
    it.restart("report");
    it.rows(110).await;
    for lane in lanes(&recovered) {
        for range in lane["report"]["to_replay"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.to_string();
            let (lane, first, last) = (text(&lane["lane"]), text(&range["first"]), text(&range["last"]));
            it.does(&["replay", "--lane", &lane, "--from", &first, "--to", &last, "--apply"]).await;
        }
    }
    it.rows(150).await;
    it.balances().await;
    // The window has seen all of it: nothing counts again, and nothing was passed over besides.
    it.send_and_see(10, 160).await;
}

/// How many raw offsets `process` is done with, over all lanes.
async fn processed(config: &Path) -> u64 {
    let running: Value =
        serde_json::from_slice(&std::fs::read(config.with_file_name("addresses.json")).unwrap()).unwrap();
    let cluster = kafka::Cluster::new(running["kafka"].as_str().unwrap());
    let ask = move || -> anyhow::Result<u64> {
        let positions = kafka::positions::Positions::open(&cluster, "hookline-process", Duration::from_secs(10))?;
        let mut sum = 0;
        for lane in 0..LANES as u16 {
            sum +=
                positions.last_committed(kafka::Topic::Raw, lane)?.map_or(0, |committed| committed.next.unsigned_abs());
        }
        Ok(sum)
    };
    tokio::task::spawn_blocking(ask).await.unwrap().unwrap_or(0)
}
