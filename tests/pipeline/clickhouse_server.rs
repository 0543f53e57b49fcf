//! `hookline up` on a ClickHouse server of the user's (`HOOKLINE_CLICKHOUSE_BIN`), in place of the engine that it
//! fetches.
//!
//! No registry has a server's binary. What runs here is ClickHouse's own listener, accounts and tables, from the
//! library, behind the arguments of a server: `tests/clickhouse_stand_in.py` says what is the same and what is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testkit::House;
use testkit::clickhouse::Asker;
use traffic::dub::Generator;

use crate::harness::{ROOT, SOON, Up, engine_pid, run_with, runs, signal, until};

const VARIABLE: &str = "HOOKLINE_CLICKHOUSE_BIN";
const PASSWORD: &str = "s3cret-of-a-test";

fn stand_in() -> String {
    format!("{ROOT}/tests/clickhouse_stand_in.py")
}

/// What `up` says in one line when it refuses to start on a data folder with this binary.
async fn refusal(data: &Path, binary: &str) -> String {
    // Brokers that are given: Kafka is not what is tried.
    let arguments = ["up", "--engines-only", "--brokers", "127.0.0.1:9", "--clickhouse-port", "0", "--data"];
    let arguments = [&arguments[..], &[data.to_str().unwrap()]].concat();
    let (code, said) = run_with(&arguments, &[(VARIABLE, binary)]).await.unwrap();
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("hookline: ")).collect();
    assert_eq!((code, lines.len()), (Some(2), 1), "{binary}: {said}");
    lines[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_the_place_of_our_engine_and_what_cannot_is_one_clear_line() {
    // In this order: the first fetches the library, which the stand-in needs.
    what_cannot_be_used_and_a_folder_of_the_other_kind_are_one_clear_line_each().await;
    rows_are_there_once_after_kills_and_accounts_hold().await;
}

async fn what_cannot_be_used_and_a_folder_of_the_other_kind_are_one_clear_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let up =
        House::up_with(&folder.path().join("data"), &["--engines-only", "--brokers", "127.0.0.1:9"], &[(VARIABLE, "")]);
    let mut up = up.unwrap();
    let is = up.addresses.clickhouse_is.clone().unwrap();
    assert!(is.starts_with("26.") && is.ends_with(", Hookline's own engine"), "{is}");
    assert_eq!(up.program.stop(SOON).unwrap().code(), Some(0));
    let said = refusal(&folder.path().join("data"), &stand_in()).await;
    assert!(said.contains("were written by Hookline's own ClickHouse engine") && said.contains("--data DIR"), "{said}");

    let fresh = folder.path().join("fresh");
    let said = refusal(&fresh, "/nonexistent/clickhouse").await;
    assert!(
        said.contains("HOOKLINE_CLICKHOUSE_BIN cannot be used: /nonexistent/clickhouse cannot be started"),
        "{said}"
    );
    let said = refusal(&fresh, "ls").await;
    assert!(said.contains("/ls is not a ClickHouse server of version 26.4 or later: asked for its version"), "{said}");
    let old = folder.path().join("clickhouse-server");
    std::fs::write(&old, "#!/bin/sh\necho 'ClickHouse server version 18.16.1.'\n").unwrap();
    std::fs::set_permissions(&old, PermissionsExt::from_mode(0o755)).unwrap();
    let said = refusal(&fresh, old.to_str().unwrap()).await;
    assert!(said.contains("is ClickHouse 18.16.1, and Hookline's tables need 26.4 or later"), "{said}");
    assert!(!fresh.join("clickhouse/kind").exists(), "a refusal decides nothing about a folder");
}

async fn rows_are_there_once_after_kills_and_accounts_hold() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let binary = stand_in();
    let variables = [(VARIABLE, binary.as_str()), ("HOOKLINE_CLICKHOUSE_PASSWORD", PASSWORD)];
    let mut house = House::up_with(&data, &[], &variables).unwrap();
    let is = house.addresses.clickhouse_is.clone().unwrap();
    assert!(is.starts_with("26.") && is.contains(", the server ") && is.ends_with("stand_in.py"), "{is}");

    // The server is killed again and again while events come in.
    let mut generator = Generator::new(7);
    let dub = crate::harness::dub(house.addresses.ingest.as_deref().unwrap(), &data);
    let clicks: Vec<_> = (0..2_000).map(|_| generator.click()).collect();
    let asker = Asker::new(&house.addresses.clickhouse, "analyst", "").unwrap();
    let rows = "SELECT count() FROM hookline.records WHERE outcome = 'event'";
    for (round, part) in clicks.chunks(1_000).enumerate() {
        let killed = engine_pid(&data, "clickhouse").await.unwrap();
        let kill = async {
            // Once rows of this round are there: more of them are on their way.
            until(SOON, "rows come in", || async {
                asker.number(rows).await.ok().filter(|count| *count > 1_000 * round as u64)
            })
            .await?;
            signal(killed, "-KILL")
        };
        let (sent, killing) = tokio::join!(dub.deliver_all(part.to_vec(), 8), kill);
        sent.unwrap();
        killing.unwrap();
        until(SOON, "another one runs", || async {
            engine_pid(&data, "clickhouse").await.ok().filter(|pid| *pid != killed)
        })
        .await
        .unwrap();
    }
    asker.until(rows, 2_000, SOON).await.unwrap();
    testkit::oracle::verify(&asker, 2_000).await.unwrap();

    // Accounts are the server's: the owner needs the password, readers read, and those without a name are readers.
    let url = &house.addresses.clickhouse;
    let refused = async |user: &str, password: &str, sql: &str| {
        let asker = Asker::new(url, user, password).unwrap();
        match asker.rows(sql).await {
            Ok(rows) => panic!("{user} was given {rows:?} for {sql}"),
            Err(error) => error.to_string(),
        }
    };
    let owner = Asker::new(url, "hookline", PASSWORD).unwrap();
    assert_eq!(
        owner.number("SELECT toUInt64(count() > 0) FROM system.tables WHERE database = 'hookline'").await.unwrap(),
        1
    );
    for password in ["", "guess"] {
        let said = refused("hookline", password, "SELECT 1").await;
        assert!(said.starts_with("403") && said.contains("Code: 516"), "{said}");
    }
    for (sql, code) in [
        ("INSERT INTO hookline.migrations (name) VALUES ('x')", 497),
        ("DROP TABLE hookline.records", 497),
        ("CREATE TABLE hookline.mine (k UInt8) ENGINE = Memory", 497),
        ("SET readonly = 0", 164),
        ("SELECT * FROM file('/etc/passwd', 'LineAsString')", 497),
        ("SELECT * FROM url('http://127.0.0.1/', 'CSV', 'a String')", 497),
    ] {
        let said = refused("analyst", "", sql).await;
        assert!(said.contains(&format!("Code: {code}")), "{sql}: {said}");
    }
    let client = testkit::http::client(SOON).unwrap();
    let nameless = async |sql: &str| {
        let answer = client.post(url.as_str()).body(sql.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(nameless(rows).await, (200, "2000\n".to_owned()));
    let (status, said) = nameless("DROP TABLE hookline.records").await;
    assert!(status != 200 && said.contains("Code: 497"), "{status} {said}");
    for file in ["server.xml", "server-users.xml"] {
        let file = data.join("clickhouse").join(file);
        assert!(!std::fs::read_to_string(&file).unwrap().contains(PASSWORD));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }

    // It stops as asked, and the rows are there at the next start; our own engine does not open its folder.
    let server = engine_pid(&data, "clickhouse").await.unwrap();
    assert_eq!(house.program.stop(Duration::from_secs(60)).unwrap().code(), Some(0), "{}", house.program.log());
    assert!(!house.program.log().contains("did not stop within"), "{}", house.program.log());
    assert!(!runs(server));
    let said = refusal(&data, "").await;
    assert!(said.contains("were written by a ClickHouse server") && said.contains(VARIABLE), "{said}");
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let up = Up::engines_with(folder.path(), &variables).await.unwrap();
    let asker = Asker::new(&up.addresses.clickhouse, "analyst", "").unwrap();
    assert_eq!(asker.number(rows).await.unwrap(), 2_000);
    assert_eq!(up.stop().await.unwrap(), Some(0));
}
