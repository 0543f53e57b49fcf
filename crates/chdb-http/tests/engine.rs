//! The real engine in a process of its own, used as any program would use a ClickHouse server.
//!
//! The library (178 MB) is fetched into the user's cache by the first run.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "what the tests stand on: a failure there is a failed test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use clickhouse::{Client, Compression, Row};
use hookline_chdb_http::{Access, Account, ServeOptions, serve};
use local::Progress;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

const LIBRARY: &str = "HOOKLINE_TEST_LIBRARY";
const DATA: &str = "HOOKLINE_TEST_DATA";

/// Not a test: the engine's process. The tests start this very binary again with this name and the two variables set.
#[test]
fn engine_process() {
    let (Some(library), Some(data)) = (std::env::var_os(LIBRARY), std::env::var_os(DATA)) else { return };
    let account = |name: &str, password: &str, access| Account { name: name.into(), password: password.into(), access };
    serve(ServeOptions {
        library: library.into(),
        data: data.into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        accounts: vec![account("hookline", "secret", Access::Full), account("analyst", "look", Access::ReadOnly)],
        memory_limit: ServeOptions::DEFAULT_MEMORY_LIMIT,
        parent: Some(std::os::unix::process::parent_id()),
    })
    .unwrap();
}

/// A running engine; killed when dropped.
struct Engine {
    process: Child,
    address: String,
}

impl Engine {
    async fn start(data: &Path) -> Self {
        let process = spawn(data).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        let address = loop {
            match std::fs::read_to_string(data.join("address")) {
                Ok(address) if !address.is_empty() => break address,
                _ => assert!(Instant::now() < deadline, "the engine is not ready after 20 s"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self { process, address }
    }

    fn client(&self) -> Client {
        self.client_of("hookline", "secret")
    }

    fn client_of(&self, user: &str, password: &str) -> Client {
        Client::default()
            .with_url(format!("http://{}", self.address))
            .with_user(user)
            .with_password(password)
            .with_compression(Compression::Lz4)
    }

    /// Sends a request as it is and answers what comes back until the connection closes.
    fn raw(&self, request_line_and_headers: &str, body: &[u8]) -> String {
        self.send(&format!("{request_line_and_headers}\r\nConnection: close"), body, false)
    }

    /// Sends the beginning of a request and closes the sending side.
    fn cut_off(&self, request_line_and_headers: &str, body: &[u8]) -> String {
        self.send(request_line_and_headers, body, true)
    }

    fn send(&self, request_line_and_headers: &str, body: &[u8], cut_off: bool) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let login = base64::engine::general_purpose::STANDARD.encode("hookline:secret");
        let head = format!("{request_line_and_headers}\r\nHost: x\r\nAuthorization: Basic {login}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        if cut_off {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn kill_9(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn spawn(data: &Path) -> Child {
    let library = local::fetch::clickhouse_library(&Progress::Silent).await.unwrap();
    let _ = std::fs::remove_file(data.join("address"));
    Command::new(std::env::current_exe().unwrap())
        .args(["engine_process", "--exact", "--nocapture"])
        .env(LIBRARY, library)
        .env(DATA, data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn run(client: &Client, sql: &str) {
    client.query(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn number(client: &Client, sql: &str) -> u64 {
    client.query(sql).fetch_one().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

async fn refusal(client: &Client, sql: &str) -> String {
    match client.query(sql).execute().await {
        Ok(()) => panic!("{sql} was done"),
        Err(error) => error.to_string(),
    }
}

async fn insert_csv(client: &Client, into: &str, token: &str, rows: &str) {
    let insert = client.insert_formatted_with(format!("INSERT INTO {into} FORMAT CSV"));
    let mut insert = insert.with_setting("insert_deduplication_token", token);
    insert.send(rows.to_owned().into()).await.unwrap();
    insert.end().await.unwrap();
}

const TABLE: &str = "CREATE TABLE default.t
    (k UInt64, s LowCardinality(String), at DateTime64(3, 'UTC'), tags Array(String))
    ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY k SETTINGS non_replicated_deduplication_window = 100";

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Record {
    k: u64,
    s: String,
    at: i64,
    tags: Vec<String>,
}

fn record(k: u64) -> Record {
    Record { k, s: format!("s{}", k % 7), at: 1_784_000_000_000 + k as i64, tags: vec!["a'b".into(), "\\".into()] }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clickhouse_crate_reads_and_writes_with_validation_and_compression() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    for client in [engine.client(), engine.client().with_compression(Compression::None)] {
        run(&client, "DROP TABLE IF EXISTS default.t").await;
        run(&client, TABLE).await;
        let mut insert = client.insert::<Record>("t").await.unwrap();
        for k in 0..100_000 {
            insert.write(&record(k)).await.unwrap();
        }
        insert.end().await.unwrap();

        let rows: Vec<Record> = client
            .query("SELECT ?fields FROM t WHERE k >= ? AND has(tags, ?) ORDER BY k")
            .bind(99_000)
            .bind("a'b")
            .fetch_all()
            .await
            .unwrap();
        assert_eq!(rows, (99_000..100_000).map(record).collect::<Vec<_>>());
        let with_value = client.query("SELECT count() FROM t WHERE s = {name:String} AND k < {below:UInt64}");
        let count: u64 = with_value.param("name", "s3").param("below", 70).fetch_one().await.unwrap();
        assert_eq!(count, 10);
        // Many pieces, each with the same header, are one answer.
        let all: Vec<Record> = client.query("SELECT ?fields FROM t ORDER BY k").fetch_all().await.unwrap();
        assert_eq!((all.len(), &all[54_321]), (100_000, &record(54_321)));
        let none: Option<Record> = client.query("SELECT ?fields FROM t WHERE 0").fetch_optional().await.unwrap();
        assert_eq!(none, None);
    }
    let wrong = refusal(&engine.client(), "SELECT nope FROM t").await;
    assert!(wrong.contains("Code: 47"), "{wrong}");
    let wrong = refusal(&engine.client_of("hookline", "guess"), "SELECT 1").await;
    assert!(wrong.contains("Code: 516"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_insert_under_one_token_is_absorbed_in_every_format() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    let client = engine.client();
    for format in ["Native", "RowBinary", "RowBinaryWithNamesAndTypes", "JSONEachRow", "CSV"] {
        run(&client, "DROP TABLE IF EXISTS default.t").await;
        run(&client, TABLE).await;
        let rows = "SELECT toUInt64(number) AS k, toLowCardinality('x') AS s,
            toDateTime64('2026-07-01', 3, 'UTC') AS at, ['t'] AS tags FROM numbers(100)";
        let bytes = client.query(rows).fetch_bytes(format).unwrap().collect().await.unwrap();
        for (token, expected) in [("one", 100), ("one", 100), ("two", 200), ("one", 200)] {
            let mut insert = client
                .insert_formatted_with(format!("INSERT INTO t FORMAT {format}"))
                .with_setting("insert_deduplication_token", token)
                .with_setting("insert_deduplicate", "1")
                .with_setting("async_insert", "0")
                .with_setting("deduplicate_blocks_in_dependent_materialized_views", "1")
                .with_setting("max_insert_block_size", "1000000")
                .with_setting("min_insert_block_size_rows", "0")
                .with_setting("min_insert_block_size_bytes", "0")
                .buffered();
            // In pieces that do not end where rows or blocks do.
            for piece in bytes.chunks(777) {
                insert.write_buffered(piece);
                insert.flush().await.unwrap();
            }
            insert.end().await.unwrap();
            assert_eq!(number(&client, "SELECT count() FROM t").await, expected, "{format}, token {token}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_whose_body_stops_before_its_end_leaves_no_row() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    let client = engine.client();
    run(&client, "CREATE TABLE default.c (k UInt64) ENGINE = MergeTree ORDER BY k").await;
    let post = "POST /?query=INSERT+INTO+default.c+FORMAT+CSV HTTP/1.1";
    for rows in [1, 1000, 200_000] {
        let body: Vec<u8> = (0..rows).flat_map(|k| format!("{k}\n").into_bytes()).collect();
        let short = engine.cut_off(&format!("{post}\r\nContent-Length: {}", body.len() + 1), &body);
        assert!(!short.starts_with("HTTP/1.1 200"), "{short}");
        let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
        let cut = engine.cut_off(&format!("{post}\r\nTransfer-Encoding: chunked"), &chunk);
        assert!(!cut.starts_with("HTTP/1.1 200"), "{cut}");
    }
    // The crate gives up in the middle.
    let mut insert = client.insert_formatted_with("INSERT INTO c FORMAT CSV").buffered();
    insert.write_buffered(&b"1\n".repeat(100_000));
    insert.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(insert);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(number(&client, "SELECT count() FROM c").await, 0);

    let whole = engine.raw(&format!("{post}\r\nContent-Length: 4"), b"1\n2\n");
    assert!(whole.starts_with("HTTP/1.1 200"), "{whole}");
    assert!(whole.contains("\"written_rows\":\"2\""), "{whole}");
    assert_eq!(number(&client, "SELECT count() FROM c").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_kill_9_and_the_folder_serves_one_engine_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    run(&engine.client(), TABLE).await;
    let mut insert = engine.client().insert::<Record>("t").await.unwrap();
    insert.write(&record(1)).await.unwrap();
    insert.end().await.unwrap();

    let second = spawn(data.path()).await.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(said.contains(&format!("in use by process {}", engine.process.id())), "{said}");

    engine.kill_9();
    let engine = Engine::start(data.path()).await;
    let rows: Vec<Record> = engine.client().query("SELECT ?fields FROM t").fetch_all().await.unwrap();
    assert_eq!(rows, [record(1)]);
}

/// The folders of parts of unpartitioned tables, in order.
fn parts_of(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data.join("engine/store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("all_")) {
                found.push(path);
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deduplication_record_without_its_part_does_not_swallow_the_repetition() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    let sql = "CREATE TABLE default.d (k UInt64) ENGINE = MergeTree ORDER BY k
        SETTINGS non_replicated_deduplication_window = 100";
    run(&engine.client(), sql).await;
    insert_csv(&engine.client(), "d", "kept", "1\n2\n").await;
    insert_csv(&engine.client(), "d", "lost", "3\n4\n5\n").await;
    engine.kill_9();
    // As after a kill between the record and the rename: the record is there, the part is not.
    let parts = parts_of(data.path());
    assert_eq!(parts.len(), 2, "{parts:?}");
    std::fs::remove_dir_all(&parts[1]).unwrap();

    let engine = Engine::start(data.path()).await;
    let client = engine.client();
    assert_eq!(number(&client, "SELECT count() FROM d").await, 2);
    insert_csv(&client, "d", "kept", "1\n2\n").await;
    assert_eq!(number(&client, "SELECT count() FROM d").await, 2, "what is there is still absorbed");
    insert_csv(&client, "d", "lost", "3\n4\n5\n").await;
    assert_eq!(number(&client, "SELECT count() FROM d").await, 5, "what was lost is taken");
    insert_csv(&client, "d", "lost", "3\n4\n5\n").await;
    assert_eq!(number(&client, "SELECT count() FROM d").await, 5, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_only_account_reads_and_does_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    run(&engine.client(), TABLE).await;
    run(&engine.client(), "INSERT INTO t VALUES (1, 'a', '2026-07-01', [])").await;
    let analyst = engine.client_of("analyst", "look");
    assert_eq!(number(&analyst, "SELECT k FROM t SETTINGS max_execution_time = 5").await, 1);
    let bounded = analyst.clone().with_setting("max_execution_time", "5");
    assert_eq!(number(&bounded, "SELECT toUInt64(getSetting('max_execution_time'))").await, 5);
    for (sql, code) in [
        ("INSERT INTO t VALUES (2, 'b', '2026-07-01', [])", 164),
        ("INSERT INTO t SELECT * FROM t", 164),
        ("DROP TABLE t", 164),
        ("TRUNCATE TABLE t", 164),
        ("ALTER TABLE t DELETE WHERE 1", 164),
        ("CREATE TABLE default.u (k UInt8) ENGINE = Memory", 164),
        ("CREATE TEMPORARY TABLE u (k UInt8) ENGINE = Memory", 164),
        ("SYSTEM STOP MERGES", 164),
        ("SET readonly = 0", 164),
        ("SELECT 1 SETTINGS readonly = 0", 164),
        ("SELECT 1; SET readonly = 0", 62),
        ("SELECT * FROM file('/etc/passwd', 'LineAsString')", 497),
        ("SELECT * FROM `url`('http://127.0.0.1/', 'CSV', 'a String')", 497),
        ("SELECT * FROM \"/etc/passwd\"", 497),
        ("SELECT 1 INTO OUTFILE '/tmp/hookline-outfile'", 48),
    ] {
        let said = refusal(&analyst, sql).await;
        assert!(said.contains(&format!("Code: {code}")), "{sql}: {said}");
    }
    let said = refusal(&analyst.clone().with_setting("readonly", "0"), "DROP TABLE t").await;
    assert!(said.contains("Code: 164"), "{said}");
    let mut insert = analyst.insert_formatted_with("INSERT INTO t FORMAT CSV");
    let sent = insert.send("9,z,2026-07-01,[]\n".into()).await;
    let ended = insert.end().await;
    assert!(sent.and(ended).is_err(), "a read-only account cannot insert");
    assert_eq!(number(&engine.client(), "SELECT count() FROM t").await, 1);
    // GET reads only, whoever asks.
    let got = engine.raw("GET /?query=DROP+TABLE+default.t HTTP/1.1", b"");
    assert!(got.contains("Code: 164"), "{got}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_hold_for_a_request_sessions_keep_what_they_set_and_unknown_ones_are_errors() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    let client = engine.client();
    let threads = "SELECT toUInt64(getSetting('max_threads'))";
    let default = number(&client, threads).await;
    assert_ne!(default, 7);
    assert_eq!(number(&client.clone().with_setting("max_threads", "7"), threads).await, 7);
    let said = refusal(&client.clone().with_setting("max_treads", "7"), "SELECT 1").await;
    assert!(said.contains("Code: 115"), "{said}");

    let session = client.clone().with_setting("session_id", "a");
    run(&session, "CREATE TEMPORARY TABLE mine (k UInt64)").await;
    run(&session, "INSERT INTO mine VALUES (1), (2)").await;
    run(&session, "SET max_block_size = 1234").await;
    run(&session, r"SET log_comment = 'it\'s \\ 1'").await;
    assert_eq!(number(&session.clone().with_setting("max_threads", "7"), threads).await, 7);
    let both = session.clone().with_setting("max_block_size", "99");
    assert_eq!(number(&both, "SELECT toUInt64(getSetting('max_block_size'))").await, 99);
    assert_eq!(number(&session, threads).await, default, "the URL's setting is gone");
    assert_eq!(number(&session, "SELECT toUInt64(getSetting('max_block_size'))").await, 1234, "SET stays");
    assert_eq!(number(&session, "SELECT count() FROM mine").await, 2);
    let commented = session.clone().with_setting("log_comment", "'; SET max_threads = 7");
    let comment: String = commented.query("SELECT getSetting('log_comment')").fetch_one().await.unwrap();
    assert_eq!(comment, "'; SET max_threads = 7");
    let comment: String = session.query("SELECT getSetting('log_comment')").fetch_one().await.unwrap();
    assert_eq!(comment, r"it's \ 1");
    let elsewhere = session.clone().with_database("system");
    let database: String = elsewhere.query("SELECT currentDatabase()").fetch_one().await.unwrap();
    assert_eq!(database, "system");
    let database: String = session.query("SELECT currentDatabase()").fetch_one().await.unwrap();
    assert_eq!(database, "default", "the URL's database is gone");
    let said = refusal(&client, "SELECT count() FROM mine").await;
    assert!(said.contains("Code: 60"), "{said}");
    let other_user = engine.client_of("analyst", "look").with_setting("session_id", "a");
    let said = refusal(&other_user, "SELECT count() FROM mine").await;
    assert!(said.contains("Code: 60"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_of_an_answer_is_an_error_for_the_reader() {
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::start(data.path()).await;
    let sql = "SELECT number + throwIf(number = 3000000) FROM numbers(10000000) SETTINGS max_threads = 1";
    for client in [engine.client(), engine.client().with_compression(Compression::None)] {
        let mut rows = client.query(sql).fetch::<u64>().unwrap();
        let mut seen = 0;
        let error = loop {
            match rows.next().await {
                Ok(Some(_)) => seen += 1,
                Ok(None) => panic!("the answer ended as if it were whole, after {seen} rows"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(seen > 1_000_000, "the answer had begun: {seen}");
        assert!(error.contains("Code: 395"), "{error}");
    }
    // Held back to its end, the same answer has a status of its own.
    let held = engine.client().with_setting("wait_end_of_query", "1");
    assert!(refusal(&held, sql).await.contains("Code: 395"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_query_finish() {
    let data = tempfile::tempdir().unwrap();
    let mut engine = Engine::start(data.path()).await;
    let client = engine.client();
    let running = tokio::spawn(async move {
        client.query("SELECT toUInt64(sum(sleepEachRow(0.5))) FROM numbers(3)").fetch_one::<u64>().await
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    kill_process(Pid::from_child(&engine.process), Signal::TERM).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), 0);
    let status = engine.process.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(!data.path().join("address").exists());
}
