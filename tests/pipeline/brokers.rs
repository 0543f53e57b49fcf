//! Three local Kafka nodes (`hookline up --kafka-nodes 3`): one may die, stand still or lose its disk, and nothing is lost.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use testkit::House;

use crate::harness::{Running, SOON, engine_pid, run, runs, signal, until};

const TOPIC: &str = "brokers-test";
const NODES: [&str; 3] = ["kafka-1", "kafka-2", "kafka-3"];
/// For a node to begin, format its log and catch up, on a busy machine.
const COMES_BACK: Duration = Duration::from_secs(120);

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "200");
    config
}

/// Writes `count` messages with acks=all and waits for every acknowledgement.
async fn produce(brokers: &str, count: usize) -> anyhow::Result<()> {
    let producer: FutureProducer =
        client(brokers).set("enable.idempotence", "true").set("message.timeout.ms", "90000").create()?;
    for number in 0..count {
        let payload = format!("message {number}");
        let sent = producer.send(FutureRecord::<(), _>::to(TOPIC).payload(&payload), SOON).await;
        sent.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// How many messages the topic's partition holds, once its leader answers.
async fn messages(brokers: &str) -> anyhow::Result<i64> {
    let consumer: BaseConsumer = client(brokers).create()?;
    until(SOON, "Kafka answers", || async {
        let (low, high) = consumer.fetch_watermarks(TOPIC, 0, Duration::from_secs(1)).ok()?;
        Some(high - low)
    })
    .await
}

/// Waits until every node has a replica that is in sync.
async fn all_in_sync(brokers: &str) -> anyhow::Result<()> {
    let consumer: BaseConsumer = client(brokers).create()?;
    until(COMES_BACK, "three replicas in sync", || async {
        let metadata = consumer.fetch_metadata(Some(TOPIC), Duration::from_secs(2)).ok()?;
        let partition = metadata.topics().first()?.partitions().first()?;
        (partition.isr().len() == 3).then_some(())
    })
    .await
}

fn up(data: &Path, more: &[&str]) -> anyhow::Result<House> {
    House::up(data, &[&["--engines-only"], more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_brokers_may_die_or_lose_its_disk_and_nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut house = up(&data, &["--kafka-nodes", "3"])?;
    let brokers = house.addresses.kafka.clone();
    ensure!(brokers.split(',').count() == 3, "{brokers}");
    let admin: AdminClient<DefaultClientContext> = client(&brokers).create()?;
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(3));
    for created in admin.create_topics([&topic], &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
    }
    produce(&brokers, 50).await?;

    // Each of them once, so the leader too: the others go on meanwhile.
    for node in NODES {
        let old = engine_pid(&data, node).await?;
        signal(old, "-KILL")?;
        produce(&brokers, 20).await?;
        until(COMES_BACK, "it runs again", || async { engine_pid(&data, node).await.ok().filter(|pid| *pid != old) })
            .await?;
        all_in_sync(&brokers).await?;
    }
    ensure!(messages(&brokers).await? == 110);

    // A disk that is lost while the node runs.
    std::fs::remove_dir_all(data.join("kafka-2"))?;
    signal(engine_pid(&data, "kafka-2").await?, "-KILL")?;
    produce(&brokers, 20).await?;
    until(COMES_BACK, "its log is there again", || async {
        data.join("kafka-2/log/meta.properties").exists().then_some(())
    })
    .await?;
    all_in_sync(&brokers).await?;
    let pids =
        [engine_pid(&data, NODES[0]).await?, engine_pid(&data, NODES[1]).await?, engine_pid(&data, NODES[2]).await?];
    ensure!(house.program.stop(Duration::from_secs(60))?.success());
    ensure!(!pids.into_iter().any(runs), "nothing is left behind");

    // One that is lost while nothing runs; the number of nodes need not be said again.
    std::fs::remove_dir_all(data.join("kafka-1"))?;
    let mut house = up(&data, &[])?;
    let brokers = house.addresses.kafka.clone();
    all_in_sync(&brokers).await?;
    ensure!(messages(&brokers).await? == 130, "a node that lost its disk has copied what the others have");
    ensure!(house.program.stop(Duration::from_secs(60))?.success());

    // Two are a majority, and what only they had would be gone without a word.
    std::fs::remove_dir_all(data.join("kafka-1"))?;
    std::fs::remove_dir_all(data.join("kafka-3"))?;
    let shown = data.to_str().context("text")?;
    let (code, said) = run(&["up", "--engines-only", "--data", shown]).await?;
    ensure!(code == Some(2) && said.lines().count() == 1, "{said}");
    ensure!(said.contains("2 of 3 Kafka nodes have lost their logs (kafka-1, kafka-3"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_one_node_does_not_become_one_of_three() -> anyhow::Result<()> {
    let mut running = Running::engines();
    let data = running.folder.path().join("data");
    ensure!(running.house.program.stop(Duration::from_secs(30))?.success());
    let shown = data.to_str().context("text")?;
    let (code, said) = run(&["up", "--engines-only", "--kafka-nodes", "3", "--data", shown]).await?;
    ensure!(code == Some(2) && said.lines().count() == 1, "{said}");
    ensure!(said.contains("a Kafka of 1 node, and --kafka-nodes asks for 3"), "{said}");
    let (code, said) = run(&["up", "--engines-only", "--kafka-nodes", "2", "--data", shown]).await?;
    ensure!(code == Some(2) && said.contains("1 or 3 nodes"), "{said}");
    Ok(())
}
