//! Kafka's brokers asked on their own protocol, by a client that has nothing in common with the one that the services use.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one question and its answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// No answer here is longer, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;
const METADATA: i16 = 3;
const LIST_OFFSETS: i16 = 2;
const OFFSET_FETCH: i16 = 9;
const FIND_COORDINATOR: i16 = 10;
const DESCRIBE_QUORUM: i16 = 55;

/// A partition as a broker sees it.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    pub(crate) leader: i32,
    pub(crate) replicas: usize,
    pub(crate) in_sync: usize,
}

/// What one broker knows of all.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// Addresses by broker id.
    pub(crate) brokers: BTreeMap<i32, String>,
    pub(crate) topics: BTreeMap<String, BTreeMap<i32, Partition>>,
    /// Whose knowledge this is.
    asked: String,
    /// Where to ask instead of the addresses that brokers tell of themselves.
    directory: BTreeMap<String, String>,
}

impl Cluster {
    /// As the first broker of the list that answers sees it.
    pub(crate) async fn seen_by(brokers: &str) -> anyhow::Result<Self> {
        let mut last = None;
        for address in brokers.split(',') {
            match Self::metadata(address).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no broker is named")?)
    }

    /// As the broker at `address` sees it. Brokers are asked at what `directory` has for the addresses that they tell.
    pub(crate) async fn seen_past_proxies(address: &str, directory: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let mut cluster = Self::metadata(address).await?;
        cluster.brokers.values_mut().for_each(|told| {
            if let Some(direct) = directory.get(told) {
                told.clone_from(direct);
            }
        });
        cluster.directory.clone_from(directory);
        Ok(cluster)
    }

    async fn metadata(address: &str) -> anyhow::Result<Self> {
        // Version 1; −1: all topics.
        let answer = ask(address, METADATA, 1, &(-1_i32).to_be_bytes()).await?;
        let mut rest = Rest(&answer);
        let mut cluster = Self { asked: address.to_owned(), ..Self::default() };
        for _ in 0..rest.i32()? {
            let (id, host, port) = (rest.i32()?, rest.text()?, rest.i32()?);
            rest.text()?; // its rack
            cluster.brokers.insert(id, format!("{host}:{port}"));
        }
        rest.i32()?; // the controller
        for _ in 0..rest.i32()? {
            rest.take(2)?; // what is wrong with the topic
            let name = rest.text()?;
            rest.take(1)?; // whether it is internal
            let mut partitions = BTreeMap::new();
            for _ in 0..rest.i32()? {
                rest.take(2)?;
                let (id, leader) = (rest.i32()?, rest.i32()?);
                let (replicas, in_sync) = (rest.ids()?, rest.ids()?);
                partitions.insert(id, Partition { leader, replicas, in_sync });
            }
            cluster.topics.insert(name, partitions);
        }
        Ok(cluster)
    }

    /// Whether all brokers are there, and every partition has a leader and all of its replicas in sync.
    pub(crate) fn is_whole(&self, brokers: usize) -> bool {
        let mut partitions = self.topics.values().flat_map(BTreeMap::values);
        self.brokers.len() == brokers && partitions.all(|one| one.leader >= 0 && one.in_sync == one.replicas)
    }

    /// One past the last record of each partition of a topic, pending transactions included.
    pub(crate) async fn ends(&self, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        let partitions = self.topics.get(topic).with_context(|| format!("{topic} is not there"))?;
        let mut ends = BTreeMap::new();
        for (id, Partition { leader, .. }) in partitions {
            let address = self.brokers.get(leader).with_context(|| format!("{topic}/{id} has no leader"))?;
            let mut body = Vec::new();
            body.extend((-1_i32).to_be_bytes()); // no replica asks
            body.extend(1_i32.to_be_bytes());
            put_text(&mut body, topic);
            body.extend(1_i32.to_be_bytes());
            body.extend(id.to_be_bytes());
            body.extend((-1_i64).to_be_bytes()); // the latest
            let answer = ask(address, LIST_OFFSETS, 1, &body).await?;
            let mut rest = Rest(&answer);
            rest.i32()?;
            rest.text()?;
            rest.i32()?;
            rest.i32()?;
            let error = rest.i16()?;
            ensure!(error == 0, "{topic}/{id} has no end: error {error}");
            rest.i64()?;
            ends.insert(*id, rest.i64()?);
        }
        Ok(ends)
    }

    /// The last stable offset of each partition of these topics, as far as their leaders answer: one question a leader.
    pub(crate) async fn stable(&self, topics: &[&str]) -> BTreeMap<(String, i32), i64> {
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for topic in topics {
            for (id, partition) in self.topics.get(*topic).into_iter().flatten() {
                by_leader.entry(partition.leader).or_default().entry(*topic).or_default().push(*id);
            }
        }
        let mut stable = BTreeMap::new();
        for (leader, partitions) in by_leader {
            if let Some(address) = self.brokers.get(&leader) {
                // A leader that does not answer tells nothing.
                stable.extend(stable_at(address, &partitions).await.unwrap_or_default());
            }
        }
        stable
    }

    /// The node that is the active controller.
    pub(crate) async fn controller(&self) -> anyhow::Result<i32> {
        // The header's and the body's ends of tagged fields; one topic with one partition.
        let mut body = vec![0, 2];
        put_compact(&mut body, "__cluster_metadata");
        body.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        let answer = ask(&self.asked, DESCRIBE_QUORUM, 0, &body).await?;
        let mut rest = Rest(&answer);
        rest.take(1)?; // the header's tagged fields
        let error = rest.i16()?;
        ensure!(error == 0, "the quorum is not described: error {error}");
        rest.take(1)?; // one topic
        let name = rest.take(1)?.first().copied().unwrap_or(1);
        rest.take(usize::from(name).saturating_sub(1))?;
        rest.take(1)?; // one partition
        rest.i32()?;
        let error = rest.i16()?;
        ensure!(error == 0, "the quorum has no leader: error {error}");
        rest.i32()
    }

    /// The position of each partition of a topic that a group has committed last, pending transactions left out.
    pub(crate) async fn committed(&self, group: &str, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        let partitions = self.topics.get(topic).with_context(|| format!("{topic} is not there"))?;
        let mut body = Vec::new();
        put_text(&mut body, group);
        let answer = ask(&self.asked, FIND_COORDINATOR, 0, &body).await?;
        let mut rest = Rest(&answer);
        let error = rest.i16()?;
        ensure!(error == 0, "the group {group} has no coordinator: error {error}");
        rest.i32()?;
        let coordinator = format!("{}:{}", rest.text()?, rest.i32()?);
        let coordinator = self.directory.get(&coordinator).unwrap_or(&coordinator);
        let mut body = Vec::new();
        put_text(&mut body, group);
        body.extend(1_i32.to_be_bytes());
        put_text(&mut body, topic);
        body.extend(i32::try_from(partitions.len())?.to_be_bytes());
        partitions.keys().for_each(|id| body.extend(id.to_be_bytes()));
        let answer = ask(coordinator, OFFSET_FETCH, 1, &body).await?;
        let mut rest = Rest(&answer);
        let mut committed = BTreeMap::new();
        for _ in 0..rest.i32()? {
            rest.text()?;
            for _ in 0..rest.i32()? {
                let (id, offset) = (rest.i32()?, rest.i64()?);
                rest.text()?; // what was noted with it
                let error = rest.i16()?;
                ensure!(error == 0, "{group} on {topic}/{id}: error {error}");
                committed.insert(id, offset.max(0));
            }
        }
        Ok(committed)
    }
}

async fn stable_at(address: &str, topics: &BTreeMap<&str, Vec<i32>>) -> anyhow::Result<BTreeMap<(String, i32), i64>> {
    let mut body = Vec::new();
    body.extend((-1_i32).to_be_bytes()); // no replica asks
    body.push(1); // committed records only
    body.extend(i32::try_from(topics.len())?.to_be_bytes());
    for (topic, partitions) in topics {
        put_text(&mut body, topic);
        body.extend(i32::try_from(partitions.len())?.to_be_bytes());
        for id in partitions {
            body.extend(id.to_be_bytes());
            body.extend((-1_i64).to_be_bytes()); // the latest
        }
    }
    let answer = ask(address, LIST_OFFSETS, 2, &body).await?;
    let mut rest = Rest(&answer);
    rest.i32()?; // for how long it throttles
    let mut stable = BTreeMap::new();
    for _ in 0..rest.i32()? {
        let topic = rest.text()?;
        for _ in 0..rest.i32()? {
            let (id, error) = (rest.i32()?, rest.i16()?);
            rest.i64()?;
            let offset = rest.i64()?;
            if error == 0 {
                stable.insert((topic.clone(), id), offset);
            }
        }
    }
    Ok(stable)
}

async fn ask(address: &str, key: i16, version: i16, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(7_i32.to_be_bytes());
        request.extend((-1_i16).to_be_bytes()); // no client id
        request.extend(body);
        stream.write_all(&i32::try_from(request.len())?.to_be_bytes()).await?;
        stream.write_all(&request).await?;
        let size = usize::try_from(stream.read_i32().await?)?;
        ensure!((4..LONGEST_ANSWER).contains(&size), "an answer of {size} bytes");
        let mut answer = vec![0; size];
        stream.read_exact(&mut answer).await?;
        Ok(answer.split_off(4)) // behind the correlation id
    };
    match timeout(ANSWERS_WITHIN, asked).await {
        Ok(answer) => answer.with_context(|| format!("the broker at {address}")),
        Err(_) => bail!("the broker at {address} does not answer within {ANSWERS_WITHIN:?}"),
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}

/// A text of the later protocol: its size and one in a byte, for texts of less than 127 bytes.
fn put_compact(body: &mut Vec<u8>, text: &str) {
    body.push(text.len() as u8 + 1);
    body.extend(text.as_bytes());
}

/// What of an answer has not been read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, size: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(size).context("a cut answer")?;
        self.0 = left;
        Ok(taken)
    }

    fn i16(&mut self) -> anyhow::Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn i32(&mut self) -> anyhow::Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn i64(&mut self) -> anyhow::Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// A text; no text at all is an empty one.
    fn text(&mut self) -> anyhow::Result<String> {
        let size = usize::try_from(self.i16()?.max(0))?;
        Ok(String::from_utf8_lossy(self.take(size)?).into_owned())
    }

    /// How many ids a list has.
    fn ids(&mut self) -> anyhow::Result<usize> {
        let count = usize::try_from(self.i32()?.max(0))?;
        self.take(count * 4)?;
        Ok(count)
    }
}
