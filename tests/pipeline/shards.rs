//! Rows on several ClickHouse servers, by lane, on nodes of ClickHouse's own code: written, read, closed and mended
//! over all of them, while one of them is killed and comes back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use event::Millis;
use kafka::positions::Positions;
use kafka::{Cluster, Topic};
use serde_json::{Value, json};
use signature::{Scheme, Secret};
use testkit::clickhouse::Asker;
use testkit::house::free_address;
use testkit::{House, Program, Sender};
use traffic::canonical::Generator;
use warehouse::{Closed, LaneWatermark, Layout, REPORTS, Settings, Side, Warehouse};

use crate::alerts::SECRET;
use crate::harness::{Running, SOON, until};
use crate::nodes::{BESIDE, Nodes, OPERATOR, OWNER, READER, RIGHTS, without};
use crate::tool::{said, tool};

/// For a lane whose ClickHouse was away: it opens again after a pause that has grown meanwhile.
const COMES_BACK: Duration = Duration::from_secs(150);
const LANES: u16 = 4;
const ROWS: &str = "SELECT count() FROM hookline.records";
const HERE: &str = "SELECT count() FROM hookline.records_local";

struct Installation {
    folder: PathBuf,
    config: PathBuf,
    brokers: String,
}

impl Installation {
    fn write(folder: &Path, brokers: &str, name: &str, clickhouse: &str) -> PathBuf {
        let (user, password) = OWNER;
        let text = format!(
            "version = 1\n[owner]\nme = {{ name = \"Me\" }}\n\
             [source.shop]\nadapter = \"canonical\"\nowner = \"me\"\nsecrets = [{{ id = \"first\", file = \"secret\" }}]\n\
             [kafka]\nbrokers = \"{brokers}\"\nlanes = {LANES}\nreplication = 1\n\
             [clickhouse]\n{clickhouse}\nuser = \"{user}\"\npassword = {{ file = \"password\" }}\n[process]\ndata = \"{}\"\n",
            folder.join("windows").display(),
        );
        std::fs::write(folder.join("secret"), SECRET).unwrap();
        std::fs::write(folder.join("password"), password).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    }

    /// Starts a service; where it serves its metrics, and where ingest listens.
    fn start(&self, service: &str) -> (Program, String, String) {
        let (metrics, listen) = (free_address().unwrap(), free_address().unwrap());
        let mut arguments = vec![service, "--config", self.config.to_str().unwrap(), "--metrics", &metrics];
        if service == "ingest" {
            arguments.extend(["--listen", &listen]);
        }
        let name = format!("{service}-{}", metrics.rsplit(':').next().unwrap());
        let program = Program::start(&name, &self.folder, &arguments, &[]).unwrap();
        (program, format!("http://{metrics}/metrics"), format!("http://{listen}"))
    }

    /// The same, until it is ready: one that finds no Kafka in time ends, and what supervises it starts it again.
    async fn start_steadily(&self, service: &str) -> (Program, String, String) {
        for _ in 0..5 {
            let (mut program, metrics, listen) = self.start(service);
            let ready = metrics.replace("/metrics", "/readyz");
            for _ in 0..300 {
                if program.ended().unwrap().is_some() {
                    break;
                }
                if reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
                    return (program, metrics, listen);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            println!("{service} is not ready:\n{}", program.log());
        }
        panic!("{service} does not get ready");
    }

    /// How many records `raw` has in the lanes of a shard.
    async fn accepted(&self, shard: u16) -> u64 {
        let cluster = Cluster::new(self.brokers.as_str());
        let ends = tokio::task::spawn_blocking(move || {
            let positions = Positions::open(&cluster, "hookline-test-shards", SOON).unwrap();
            let lanes = (0..LANES).filter(|lane| lane % 2 == shard);
            lanes.map(|lane| positions.watermarks(Topic::Raw, lane).unwrap().end as u64).sum()
        });
        ends.await.unwrap()
    }
}

async fn send(ingest: &str, bodies: Vec<Vec<u8>>) {
    let secret = Secret::new("first", SECRET);
    let sender = Sender::new(ingest, "shop", Scheme::StandardWebhooks, secret).unwrap();
    sender.deliver_all(bodies, 8).await.unwrap();
}

/// The value of the gauge of a shard.
async fn is_reached(metrics: &str, shard: usize) -> Option<bool> {
    let text = testkit::http::client(SOON).unwrap().get(metrics).send().await.ok()?.text().await.ok()?;
    let name = format!("hookline_clickhouse_shard_reached{{shard=\"{shard}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&name)).map(|value| value == "1")
}

async fn refusal(asker: &Asker, sql: &str) -> String {
    match asker.rows(sql).await {
        Ok(rows) => panic!("{sql} gave {rows:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_and_its_report_are_right_on_shards_of_which_one_is_killed_and_lanes_of_the_other_go_on() {
    // The brokers. Its ClickHouse is not asked; with it `up` has fetched the library that the nodes run.
    let Running { house, folder } = Running::engines();
    let mut nodes = Nodes::start(folder.path(), 2).await;
    let urls = nodes.urls();
    let sharded = |first: &str, second: &str| {
        format!("shards = [\"{first}\", \"{second}\"]\ncluster = \"main\"\nreplicated = false")
    };
    let brokers = house.addresses.kafka.clone();
    let installation = Installation {
        folder: folder.path().to_owned(),
        config: Installation::write(folder.path(), &brokers, "hookline.toml", &sharded(&urls[0], &urls[1])),
        brokers: brokers.clone(),
    };

    // Tables on both; a server is the shard that it was made as.
    let (code, done, errors) = said(&installation.config, &["migrate"]).await.unwrap();
    assert!(code == 0 && done.contains("records  on shard 2"), "{done}{errors}");
    let (code, done) = tool(&installation.config, &["migrate", "--dry-run"]).await.unwrap();
    assert_eq!((code, &done["migrations"]), (0, &json!([])));
    for (name, clickhouse, line) in [
        (
            "swapped.toml",
            sharded(&urls[1], &urls[0]),
            "is shard 2 of 2, and by [clickhouse] shards it would be shard 1 of 2",
        ),
        (
            "alone.toml",
            format!("url = \"{}\"", urls[0]),
            "is shard 1 of 2, and by [clickhouse] shards it would be not sharded",
        ),
    ] {
        let other = Installation::write(folder.path(), &brokers, name, &clickhouse);
        let (code, _, errors) = said(&other, &["migrate"]).await.unwrap();
        assert!(code == 2 && errors.contains(line), "{errors}");
    }

    let (_process, ..) = installation.start_steadily("process").await;
    let (report, metrics, _) = installation.start_steadily("report").await;
    let (_ingest, _, ingest) = installation.start_steadily("ingest").await;
    let [first, second] = [1, 2].map(|number| nodes.asked_by(number, READER));
    let mut events = Generator::new(5);
    let mut bodies = |count: usize| -> Vec<Vec<u8>> { (0..count).map(|_| events.visit()).collect() };

    // A lane's rows are on its shard, a question to either sees all of them, and no row goes in past the lanes.
    send(&ingest, bodies(200)).await;
    for asker in [&first, &second] {
        asker.until(ROWS, 200, SOON).await.unwrap();
    }
    for (shard, asker) in [&first, &second].into_iter().enumerate() {
        let lanes = asker.rows("SELECT DISTINCT lane % 2 AS shard FROM hookline.records_local").await.unwrap();
        assert_eq!(lanes, [json!({ "shard": shard })]);
    }
    let past = "INSERT INTO hookline.records (lane) VALUES (1)";
    let refused = refusal(&nodes.asked_by(1, OPERATOR), past).await;
    assert!(refused.contains("Code: 55"), "{refused}");
    until(SOON, "both shards are reached", || async {
        (is_reached(&metrics, 1).await? && is_reached(&metrics, 2).await?).then_some(())
    })
    .await
    .unwrap();

    // The second is killed while rows come in: senders notice nothing, and lanes of the first go on.
    let killing = async {
        first
            .until(&format!("SELECT toUInt64(count() > 220) FROM ({})", "SELECT 1 FROM hookline.records"), 1, SOON)
            .await
            .unwrap();
        nodes.kill(2);
    };
    tokio::join!(send(&ingest, bodies(300)), killing);
    send(&ingest, bodies(100)).await;
    let of_first = installation.accepted(0).await;
    first.until(HERE, of_first, COMES_BACK).await.unwrap();
    until(SOON, "the second is said to be away", || async { (!is_reached(&metrics, 2).await?).then_some(()) })
        .await
        .unwrap();
    assert_eq!(is_reached(&metrics, 1).await, Some(true));
    // A lane of it, and the ledger, say where they wait.
    for said in ["the lane starts again", "progress, ledger or closing of days"] {
        let line = || async {
            let log = report.log();
            log.lines()
                .any(|line| line.contains(said) && line.contains("(shard 2 of 2)") && line.contains(&urls[1]))
                .then_some(())
        };
        until(SOON, said, line).await.unwrap();
    }
    // Half of the rows is not an answer.
    for sql in [ROWS, "SELECT * FROM hookline.campaign_channel_daily", "SELECT * FROM hookline.completeness"] {
        let refused = refusal(&first, sql).await;
        assert!(refused.contains("Code: 279") || refused.contains("Code: 210"), "{refused}");
    }
    let (code, status, _) = said(&installation.config, &["status"]).await.unwrap();
    assert!(code != 0 && status.contains("shard 2 of 2"), "{status}");

    // So does a report that starts now.
    drop(report);
    let (report, metrics, _) = installation.start("report");
    send(&ingest, bodies(100)).await;
    let of_first = installation.accepted(0).await;
    first.until(HERE, of_first, COMES_BACK).await.unwrap();

    // It is back: nothing is lost, nothing doubled, every report equals its rows.
    nodes.start_again(2).await;
    first.until(ROWS, 700, COMES_BACK).await.unwrap();
    let whole = || async {
        let (_, ledger) = tool(&installation.config, &["ledger"]).await.ok()?;
        (ledger["ok"] == true).then_some(())
    };
    until(COMES_BACK, "the ledger balances", whole).await.unwrap();
    for asker in [&first, &second] {
        testkit::oracle::verify(asker, 700).await.unwrap();
        assert_eq!(asker.number("SELECT toUInt64(sum(missing)) FROM hookline.completeness").await.unwrap(), 0);
    }
    until(SOON, "both are reached", || async { is_reached(&metrics, 2).await?.then_some(()) }).await.unwrap();

    days_close_over_all_shards(&urls, &first, &second).await;

    assert!(!report.log().contains("does not balance"), "{}", report.log());
    // Rows that are gone from a shard are named, and come back there.
    let delete =
        "ALTER TABLE hookline.records_local DELETE WHERE lane = 3 AND raw_offset IN (2, 3) SETTINGS mutations_sync = 2";
    nodes.asked_by(2, OPERATOR).rows(delete).await.unwrap();
    let (code, ledger) = tool(&installation.config, &["ledger"]).await.unwrap();
    let lane = ledger["lanes"].as_array().unwrap().iter().find(|lane| lane["lane"] == 3).unwrap();
    assert_eq!((code, &lane["missing_offsets"]), (1, &json!([{ "first": 2, "last": 3 }])));
    // A Kafka that is busy may not answer in time: it may run twice.
    let range = ["replay", "--lane", "3", "--from", "0", "--to", "9", "--apply"];
    let replayed = || async {
        let told = tool(&installation.config, &range).await;
        told.ok().filter(|(_, told)| told["lanes"][0]["after"]["missing"] == 0)
    };
    until(COMES_BACK, "rows are brought back", replayed).await.unwrap();
    testkit::oracle::verify(&second, 700).await.unwrap();
    assert_eq!(installation.accepted(1).await, second.number(HERE).await.unwrap());
    for asker in [&first, &second] {
        let left = "SELECT count() FROM system.tables WHERE name LIKE 'records_replay_%' OR name LIKE '%_staging_%'";
        assert_eq!(asker.number(left).await.unwrap(), 0);
    }
}

fn settings(urls: &[String], user: &str) -> Settings {
    Settings {
        url: urls[0].clone(),
        user: user.to_owned(),
        password: OWNER.1.to_owned(),
        cluster: Some("main".to_owned()),
        shards: urls.to_vec(),
        replicated: false,
        ..Settings::default()
    }
}

/// Today, closed before it is over: numbers that are kept, of rows of both shards.
async fn days_close_over_all_shards(urls: &[String], first: &Asker, second: &Asker) {
    let warehouse = Warehouse::connect(&settings(urls, OWNER.0)).await.unwrap();
    let layout = Layout::default();
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    let reports = async |asker: &Asker| -> Vec<Vec<Value>> {
        let mut all = Vec::new();
        for report in REPORTS {
            all.push(asker.rows(&format!("SELECT * FROM hookline.{} ORDER BY ALL", report.name)).await.unwrap());
        }
        all
    };
    let before = reports(first).await;
    let mut closed = 0;
    for open in warehouse.open_days(Side::Production, &layout, today).await.unwrap() {
        let report = REPORTS.iter().find(|report| report.name == open.report).unwrap();
        let done = warehouse.close_day(Side::Production, &layout, report, open.day).await.unwrap();
        assert!(matches!(done, Closed::Written { records: 1.. }), "{open:?} {done:?}");
        closed += 1;
    }
    assert!(closed >= REPORTS.len(), "{closed}");
    assert_eq!(warehouse.open_days(Side::Production, &layout, today).await.unwrap(), []);
    for asker in [first, second] {
        assert_eq!(reports(asker).await, before);
        assert_eq!(asker.number("SELECT count() FROM hookline.closed_days").await.unwrap(), closed as u64);
    }
}

/// The user of the test above has these rights and no other. Without one of them what it is for is refused, and
/// ClickHouse's own words in the line name the right.
#[tokio::test(flavor = "multi_thread")]
async fn with_one_right_of_clickhouse_less_one_line_names_it() {
    let folder = tempfile::tempdir().unwrap();
    // With our own engine `up` fetches the library that the nodes run.
    drop(House::up(&folder.path().join("data"), &["--engines-only", "--brokers", "127.0.0.1:1"]).unwrap());
    let nodes = Nodes::start(folder.path(), 2).await;
    let (urls, operator) = (nodes.urls(), nodes.asked_by(1, OPERATOR));
    let usual = Layout::default();
    Warehouse::connect(&settings(&urls, OWNER.0)).await.unwrap().migrate(&usual).await.unwrap();
    for right in RIGHTS.into_iter().chain(BESIDE) {
        let mut settings = settings(&urls, &without(right));
        if ["ALTER ADD INDEX", "TABLE ENGINE ON ReplacingMergeTree", "TABLE ENGINE ON Distributed"].contains(&right) {
            // Needed once, when the tables are made.
            (settings.database, settings.test_database) = ("fresh".to_owned(), "fresh_test".to_owned());
        }
        let warehouse = Warehouse::connect(&settings).await.unwrap();
        let refused = match right {
            "ALTER TTL" | "ALTER MODIFY COLUMN" => {
                warehouse.migrate(&Layout { events_days: 500, ..usual.clone() }).await.err()
            }
            "ALTER ADD COLUMN" | "ALTER COMMENT COLUMN" => {
                // As an older version would have left the table.
                let change = match right {
                    "ALTER ADD COLUMN" => "DROP COLUMN why",
                    _ => "COMMENT COLUMN who 'of an older version'",
                };
                let older = [
                    format!("ALTER TABLE hookline.lost_records_local {change}"),
                    "INSERT INTO hookline.migrations (version, name, checksum) VALUES (0, 'columns of lost_records', 'older')".into(),
                ];
                for sql in older {
                    operator.rows(&sql).await.unwrap();
                }
                let refused = warehouse.migrate(&usual).await.err();
                let owner = Warehouse::connect(&self::settings(&urls, OWNER.0)).await.unwrap();
                owner.migrate(&usual).await.unwrap();
                refused
            }
            "SELECT" => warehouse.ledger().await.err(),
            "INSERT" => {
                let lane = LaneWatermark { lane: 0, raw_hi: 0, watermark: Millis(0) };
                warehouse.save_watermarks("rights", &[lane]).await.err()
            }
            "DROP TABLE" => {
                let shadow = warehouse.shadow().await.unwrap();
                warehouse.drop_shadow(&shadow).await.err()
            }
            "ALTER DELETE" => warehouse.blocks().delete("rights", 0, 0..1).await.err(),
            "ALTER CLEAR COLUMN" => {
                let old = "INSERT INTO hookline_test.records_local (incarnation, received_at, request_id) \
                           VALUES ('rights', now() - INTERVAL 90 DAY, 'old')";
                operator.rows(old).await.unwrap();
                warehouse.tidy(Side::Test, &usual).await.err()
            }
            "SELECT ON system.processes" => warehouse.inserts_running(Duration::ZERO).await.err(),
            "SELECT ON system.mutations" => warehouse.rewrites_of_records().await.err(),
            "SELECT ON system.parts_columns" => warehouse.tidy(Side::Test, &usual).await.err(),
            "SELECT ON system.merge_tree_settings" => warehouse.check_tokens().await.err(),
            _ => warehouse.migrate(&usual).await.err(),
        };
        let line = refused.unwrap_or_else(|| panic!("{right} is not needed")).to_string();
        println!("without {right}: {line}");
        assert!(line.contains("code 497") && !line.contains('\n'), "{right}: {line}");
        // A question about all rows is not a shard's.
        assert!(line.contains("shard 1 of 2") || right == "SELECT", "{right}: {line}");
        // Of a table engine its name, of a column's right the words; `SELECT` and `INSERT` name columns in between.
        let named = right.split(" ON ").next().unwrap();
        assert!(line.contains(named), "{right}: {line}");
    }
}
