//! `hookline up` as a whole: ready, killed, stopped.

use std::time::{Duration, Instant};

use testkit::House;
use testkit::http::client;
use traffic::dub::Generator;

use crate::harness::{Running, SOON, runs, signal, until};

/// Process ids of the engines of a data folder.
fn engines(data: &std::path::Path) -> Vec<u32> {
    let noted = |engine: &str| std::fs::read_to_string(data.join(format!("{engine}.pid"))).unwrap();
    ["kafka", "clickhouse"].map(|engine| noted(engine).split_whitespace().next().unwrap().parse().unwrap()).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_as_a_whole_it_comes_back_with_everything_and_stopped_it_leaves_nothing() {
    let mut running = Running::everything();
    let data = running.folder.path().join("data");
    let mut generator = Generator::new(4);
    let clicks: Vec<_> = (0..2_000).map(|_| generator.click()).collect();
    running.dub().deliver_all(clicks.clone(), 32).await.unwrap();

    // Everything at once, while rows are still on their way.
    let old = engines(&data);
    old.iter().for_each(|pid| signal(*pid, "-KILL").unwrap());
    running.house.program.kill().unwrap();
    until(Duration::from_secs(10), "the engines are gone", || async {
        old.iter().all(|pid| !runs(*pid)).then_some(())
    })
    .await
    .unwrap();
    let begun = Instant::now();
    running.house = House::up(&data, &[]).unwrap();
    println!("ready {:.1} s after everything was killed", begun.elapsed().as_secs_f64());

    // What was acknowledged is there, once; the same clicks again are all duplicates.
    let asker = running.asker();
    asker.until("SELECT count() FROM hookline.records WHERE outcome = 'event'", 2_000, SOON).await.unwrap();
    running.dub().deliver_all(clicks, 32).await.unwrap();
    asker.until("SELECT count() FROM hookline.records", 4_000, SOON).await.unwrap();
    let events = asker.number("SELECT count() FROM hookline.records WHERE outcome = 'event'").await.unwrap();
    assert_eq!(events, 2_000);
    testkit::oracle::verify(&asker, 2_000).await.unwrap();

    // A stop that is asked for ends in time, with exit code 0, and nothing is left.
    let engines = engines(&data);
    let begun = Instant::now();
    let status = running.house.program.stop(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", running.house.program.log());
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(engines.iter().all(|pid| !runs(*pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_say_what_runs() {
    let running = Running::everything();
    let metrics = running.house.addresses.metrics.clone().unwrap();
    let client = client(Duration::from_secs(10)).unwrap();
    let get = async |path: &str| client.get(format!("{metrics}{path}")).send().await.unwrap();
    assert!(get("/readyz").await.status().is_success());
    assert!(get("/healthz").await.status().is_success());
    running.dub().deliver_all([Generator::new(5).click()], 1).await.unwrap();
    until(SOON, "the click is counted at every stage", || async {
        let text = get("/metrics").await.text().await.unwrap();
        let said = [
            r#"hookline_requests_total{outcome="accepted",source="dub"} 1"#,
            r#"hookline_outcomes_total{outcome="event",source="dub"} 1"#,
            r#"hookline_rows_total{table="records"} 1"#,
            r#"hookline_secret_uses_total{secret_id="first",source="dub"} 1"#,
            r#"hookline_ledger_missing_records 0"#,
        ];
        said.iter().all(|line| text.lines().any(|said| said == *line)).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_ingest_says_503_and_recovers_by_itself() {
    let running = Running::everything();
    let data = running.folder.path().join("data");
    let dub = running.dub();
    let kafka = engines(&data)[0];
    let mut generator = Generator::new(6);
    dub.deliver(&generator.click()).await.unwrap();
    signal(kafka, "-STOP").unwrap();
    let begun = Instant::now();
    let (status, answer) = dub.once(&generator.click()).await.unwrap();
    assert_eq!(status.as_u16(), 503, "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5), "the answer took {:?}", begun.elapsed());
    signal(kafka, "-CONT").unwrap();
    // The retry of a platform, and the row that comes of it.
    let again = generator.click();
    dub.deliver(&again).await.unwrap();
    let key = format!("click:{}", Generator::click_id(&again));
    let sql = format!("SELECT count() FROM hookline.records WHERE event_key = '{key}' AND outcome = 'event'");
    running.asker().until(&sql, 1, SOON).await.unwrap();
}
