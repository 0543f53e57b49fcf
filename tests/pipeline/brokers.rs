//! Three local Kafka nodes (`hookline up --kafka-nodes 3`): one may die, stand still or lose its disk, and nothing is
//! lost.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kafka::lane::{End, Fence, NO_HEADERS, Position, Writes, pause, read_all_committed};
use kafka::positions::Positions;
use kafka::topics::{Plan, ensure as ensure_topics};
use kafka::{Cluster, Topic};
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

/// A lane that commits one transaction after the other, as a stage does: what ends one ends its owner, and the next
/// begins with the fence and the committed position.
struct Lane {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Vec<String>>,
}

impl Lane {
    fn start(brokers: &str) -> anyhow::Result<Self> {
        let cluster = Cluster::new(brokers);
        let plan = Plan { patience: COMES_BACK, ..Plan::new(2, 3) };
        let prepared = cluster.clone();
        std::thread::spawn(move || ensure_topics(&prepared, &plan).map(|_| ()))
            .join()
            .map_err(|_| anyhow::anyhow!("the topics could not be prepared"))??;
        let (stop, committed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (told, counted) = (Arc::clone(&stop), Arc::clone(&committed));
        let thread = std::thread::spawn(move || {
            let mut ends = Vec::new();
            while !told.load(Ordering::Relaxed) {
                match transactions(&cluster, &told, &counted) {
                    Ok(()) => {}
                    // What a stage pages for.
                    Err(End::Halt { reason, message }) => return vec![format!("HALT {reason}: {message}")],
                    Err(end) => ends.push(end.to_string()),
                }
                pause("the next owner", Duration::from_millis(100));
            }
            ends
        });
        Ok(Self { stop, committed, thread })
    }

    /// Waits for further transactions.
    async fn goes_on(&self, transactions: u64) -> anyhow::Result<()> {
        let from = self.committed.load(Ordering::Relaxed);
        let committed = || async { (self.committed.load(Ordering::Relaxed) >= from + transactions).then_some(()) };
        until(COMES_BACK, "the lane commits", committed).await
    }

    /// Stops it: each record that it committed is there once and in order, and nothing else is.
    async fn ends_whole(self, brokers: &str) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let (thread, cluster) = (self.thread, Cluster::new(brokers));
        tokio::task::spawn_blocking(move || {
            let ends = thread.join().map_err(|_| anyhow::anyhow!("the lane panicked"))?;
            println!("three brokers killed under a lane ended {} of its owners: {ends:#?}", ends.len());
            ensure!(
                !ends.iter().any(|end| end.starts_with("HALT")),
                "a broker that dies is nothing to page for: {ends:?}"
            );
            let position = Positions::open(&cluster, "hookline-brokers-test", SOON)?;
            let next = position.committed(Topic::Raw, 0)?.context("it has committed")?.next;
            let mut found = Vec::new();
            read_all_committed::<Infallible>(&cluster, Topic::Events, 0, None, None, |record| {
                let text = record.payload().map(|payload| String::from_utf8_lossy(payload).into_owned());
                found.extend(text.and_then(|text| text.parse::<i64>().ok()));
                Ok(())
            })?;
            ensure!(found.iter().copied().eq(0..next), "{next} were committed, and there are {} of them", found.len());
            Ok(())
        })
        .await?
    }
}

/// One owner: transactions of one record and the position after it, until something ends them.
fn transactions(cluster: &Cluster, stop: &AtomicBool, committed: &AtomicU64) -> Result<(), End> {
    const GROUP: &str = "hookline-brokers-test";
    let writes = Writes::records([(Topic::Events, 0)]).positions(GROUP);
    let mut producer = Fence::open(cluster, "brokers-test", 0, Duration::from_secs(10), writes)?;
    let positions = Positions::open(cluster, GROUP, Duration::from_secs(10))?;
    let mut next = positions.committed_behind_fence(Topic::Raw, 0)?.map_or(0, |committed| committed.next);
    while !stop.load(Ordering::Relaxed) {
        producer.begin()?;
        producer.send(Topic::Events, 0, Some(b"key"), Some(next.to_string().as_bytes()), NO_HEADERS)?;
        let position = Position { topic: Topic::Raw, partition: 0, next: next + 1, metadata: String::new() };
        producer.commit(GROUP, &[position])?;
        next += 1;
        committed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
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
    let lane = Lane::start(&brokers)?;

    // Each of them once, so the leader too: the others go on meanwhile.
    for node in NODES {
        let old = engine_pid(&data, node).await?;
        lane.goes_on(3).await?;
        signal(old, "-KILL")?;
        let (killed, _) = (Instant::now(), lane.goes_on(3).await?);
        println!("{node} killed under transactions: the lane commits again after {:?}", killed.elapsed());
        produce(&brokers, 20).await?;
        until(COMES_BACK, "it runs again", || async { engine_pid(&data, node).await.ok().filter(|pid| *pid != old) })
            .await?;
        all_in_sync(&brokers).await?;
    }
    ensure!(messages(&brokers).await? == 110);
    lane.ends_whole(&brokers).await?;

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
