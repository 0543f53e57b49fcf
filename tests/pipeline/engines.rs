//! The local engines as `hookline up --engines-only` runs them: killed in every way, they lose nothing and leave nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::harness::{Up, run, runs, until};

const TOPIC: &str = "engine-test";

fn client(up: &Up) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &up.addresses.kafka).set("reconnect.backoff.max.ms", "200");
    config
}

async fn create_topic(up: &Up) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(up).create()?;
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
    for created in admin.create_topics([&topic], &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    Ok(())
}

/// Writes `count` messages with acks=all and waits for every acknowledgement.
async fn produce(up: &Up, count: usize) -> anyhow::Result<()> {
    let producer: FutureProducer =
        client(up).set("enable.idempotence", "true").set("message.timeout.ms", "30000").create()?;
    let sent = (0..count).map(|i| {
        let producer = producer.clone();
        async move {
            let payload = format!("message {i}");
            producer.send(FutureRecord::<(), _>::to(TOPIC).payload(&payload), Duration::from_secs(30)).await
        }
    });
    for sent in sent {
        sent.await.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// How many messages the topic holds, once its broker answers.
async fn messages(up: &Up) -> anyhow::Result<i64> {
    let consumer: BaseConsumer = client(up).create()?;
    until(Duration::from_secs(30), "Kafka answers", || async {
        let (low, high) = consumer.fetch_watermarks(TOPIC, 0, Duration::from_secs(1)).ok()?;
        Some(high - low)
    })
    .await
}

/// Sends a statement and returns the answer.
async fn sql(up: &Up, statement: &str) -> anyhow::Result<String> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client.post(&up.addresses.clickhouse).header("X-ClickHouse-User", "hookline");
    let answer = request.body(statement.to_owned()).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "{statement}: {status}: {text}");
    Ok(text.trim().to_owned())
}

async fn insert_rows(up: &Up, count: u32) -> anyhow::Result<()> {
    sql(up, &format!("INSERT INTO engine_test SELECT number FROM numbers({count})")).await.map(drop)
}

/// How many rows the table holds, once the engine answers.
async fn rows(up: &Up) -> anyhow::Result<String> {
    until(Duration::from_secs(30), "ClickHouse answers", || async {
        sql(up, "SELECT count() FROM engine_test").await.ok()
    })
    .await
}

fn install_tls_provider() {
    // Already installed by another test of this process: just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_engines_come_back_with_their_data_at_the_same_addresses() -> anyhow::Result<()> {
    install_tls_provider();
    let data = tempfile::tempdir()?;
    let up = Up::engines(data.path()).await?;
    create_topic(&up).await?;
    produce(&up, 200).await?;
    sql(&up, "CREATE TABLE engine_test (n UInt32) ENGINE = MergeTree ORDER BY n").await?;
    insert_rows(&up, 1000).await?;

    let killed = Instant::now();
    up.kill_engine("kafka").await?;
    ensure!(messages(&up).await? == 200, "acknowledged messages survive");
    println!("Kafka answered {:.1?} after it was killed", killed.elapsed());
    produce(&up, 50).await?;

    let killed = Instant::now();
    up.kill_engine("clickhouse").await?;
    ensure!(rows(&up).await? == "1000", "inserted rows survive");
    println!("ClickHouse answered {:.1?} after it was killed", killed.elapsed());

    let (kafka, clickhouse) = tokio::join!(up.kill_engine("kafka"), up.kill_engine("clickhouse"));
    let (kafka, clickhouse) = (kafka?, clickhouse?);
    ensure!(messages(&up).await? == 250 && rows(&up).await? == "1000", "both at once lose nothing either");

    ensure!(up.stop().await? == Some(0), "a stop that was asked for is no failure");
    ensure!(!runs(kafka) && !runs(clickhouse), "nothing is left behind");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_die_with_a_killed_parent_and_the_next_one_finds_everything_on_other_ports() -> anyhow::Result<()> {
    install_tls_provider();
    let data = tempfile::tempdir()?;
    let up = Up::engines(data.path()).await?;
    create_topic(&up).await?;
    produce(&up, 100).await?;
    sql(&up, "CREATE TABLE engine_test (n UInt32) ENGINE = MergeTree ORDER BY n").await?;
    insert_rows(&up, 500).await?;
    let before = up.addresses.clone();
    let engines = [up.engine_pid("kafka").await?, up.engine_pid("clickhouse").await?];
    ensure!(engines.iter().all(|pid| runs(*pid)));

    up.kill().await?;
    until(Duration::from_secs(10), "both engines are gone", || async {
        engines.iter().all(|pid| !runs(*pid)).then_some(())
    })
    .await?;

    let up = Up::engines(data.path()).await?;
    ensure!(up.addresses != before, "free ports were picked anew");
    ensure!(messages(&up).await? == 100 && rows(&up).await? == "500", "a killed parent loses nothing");
    ensure!(up.stop().await? == Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_folder_and_a_taken_port_are_one_clear_line_each() -> anyhow::Result<()> {
    let (data, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let up = Up::engines(data.path()).await?;
    let data = data.path().join("data");
    let (data, other) = (data.to_str().context("a UTF-8 path")?, other.path().to_str().context("a UTF-8 path")?);

    let (code, said) = run(&["up", "--engines-only", "--data", data]).await?;
    ensure!(code == Some(2) && said.lines().count() == 1, "{said}");
    ensure!(said.starts_with("hookline: ") && said.contains(&format!("process id {}", up.pid()?)), "{said}");

    let port = up.addresses.kafka.rsplit(':').next().context("an address has a port")?;
    let (code, said) =
        run(&["up", "--engines-only", "--data", other, "--kafka-port", port, "--clickhouse-port", "0"]).await?;
    ensure!(code == Some(2) && said.lines().count() == 1, "{said}");
    ensure!(said.contains(&format!("port {port}")) && said.contains("--kafka-port"), "{said}");

    ensure!(up.stop().await? == Some(0));
    Ok(())
}
