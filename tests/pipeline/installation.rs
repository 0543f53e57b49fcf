//! Engines that may be harmed, and the services on them, one process each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Fresh;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use tempfile::TempDir;
use testkit::Sender;
use testkit::clickhouse::Asker;
use testkit::clock::Clock;
use testkit::oracle::Fleet;
use traffic::dub::Generator;

use crate::harness::{Up, dub, until};
use crate::tool::tool;

pub const LANES: i32 = 4;
/// How long a step may take on a busy machine: engines die and start here.
pub const PATIENCE: Duration = Duration::from_secs(180);
pub const ROWS: &str = "SELECT count() FROM hookline.records";

/// Engines that may be harmed, and the services on them, one process each.
pub struct Installation {
    pub folder: TempDir,
    pub up: Up,
    pub fleet: Fleet,
    pub clicks: Generator,
}

impl Installation {
    pub async fn start() -> Self {
        Self::of(&["ingest", "process", "report"]).await
    }

    pub async fn of(services: &[&str]) -> Self {
        Self::with(services, "", |_| HashMap::new()).await
    }

    /// As [`Self::of`], with more lines in the configuration, and with clocks that can be set: of services by their
    /// name, and of the `broker`.
    pub async fn with(services: &[&str], more: &str, clocks: impl FnOnce(&Path) -> HashMap<String, Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clocks = clocks(folder.path());
        let of_broker = clocks.get("broker").map(Clock::variables).unwrap_or_default();
        let up = Up::engines_with(folder.path(), &of_broker).await.unwrap();
        let config = Fresh::new([9; 96]).write(&data(&folder)).unwrap();
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + more).unwrap();
        let fleet = Fleet::with_clocks(folder.path(), &config, &up.addresses, services, clocks).unwrap();
        Self { folder, up, fleet, clicks: Generator::new(5) }
    }

    pub fn config(&self) -> PathBuf {
        data(&self.folder).join("hookline.toml")
    }

    pub fn sender(&self) -> Sender {
        dub(&self.fleet.ingest(), &data(&self.folder))
    }

    pub fn asker(&self) -> Asker {
        Asker::new(&self.up.addresses.clickhouse, "hookline", "").unwrap()
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        rdkafka::ClientConfig::new().set("bootstrap.servers", &self.up.addresses.kafka).create().unwrap()
    }

    /// Sends so many different clicks, each taken.
    pub async fn send(&mut self, number: usize) {
        let bodies: Vec<Vec<u8>> = (0..number).map(|_| self.clicks.click()).collect();
        let sent = self.sender().deliver_all(bodies, 8).await;
        let sent = sent.unwrap_or_else(|error| panic!("{error:#}\n{}", self.fleet.logs()));
        assert_eq!(sent.accepted, number as u64);
    }

    /// Sends clicks, and waits until they are rows: `rows` in all.
    pub async fn send_and_see(&mut self, number: usize, rows: u64) {
        self.send(number).await;
        self.rows(rows).await;
    }

    pub async fn rows(&self, number: u64) {
        let there = self.asker().until(ROWS, number, PATIENCE).await;
        there.unwrap_or_else(|error| panic!("{error:#}\n{}", self.fleet.logs()));
    }

    /// A service as it is started again after a crash.
    pub fn restart(&self, service: &str) {
        self.fleet.kill(service).unwrap();
        self.fleet.restart(service).unwrap();
    }

    /// Waits until lanes of a service stand still for a reason.
    pub async fn stands_still(&self, service: &str, reason: &str) {
        let url = format!("{}/metrics", self.fleet.metrics(service).unwrap());
        let line = format!("hookline_stalled{{reason=\"{reason}\",service=\"{service}\"}}");
        let standing = async || {
            let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
            let value: f64 = text.lines().find_map(|found| found.strip_prefix(&line))?.trim().parse().ok()?;
            (value > 0.0).then_some(())
        };
        let found = until(PATIENCE, &line, standing).await;
        found.unwrap_or_else(|error| panic!("{error:#}\n{}", self.fleet.logs()));
    }

    /// Waits until the log of a service says something, and returns all of it.
    pub async fn says(&self, service: &str, what: &str) -> String {
        let path = self.folder.path().join(format!("{service}.log"));
        let said = async || std::fs::read_to_string(&path).ok().filter(|log| log.contains(what));
        let said = until(PATIENCE, &format!("{service} says: {what}"), said).await;
        said.unwrap_or_else(|error| panic!("{error:#}\n{}", self.fleet.logs()))
    }

    /// Runs a tool that must go well.
    pub async fn does(&self, arguments: &[&str]) -> Value {
        let (code, answer) = tool(&self.config(), arguments).await.unwrap();
        assert_eq!(code, 0, "{arguments:?}: {answer}\n{}", self.fleet.logs());
        answer
    }

    /// Waits until the books balance, and returns them.
    pub async fn balances(&self) -> Value {
        let whole = async || {
            let (code, ledger) = tool(&self.config(), &["ledger"]).await.ok()?;
            (code == 0 && ledger["ok"] == true).then_some(ledger)
        };
        match until(PATIENCE, "the ledger balances", whole).await {
            Ok(ledger) => ledger,
            Err(error) => panic!("{error:#}: {:?}\n{}", tool(&self.config(), &["ledger"]).await, self.fleet.logs()),
        }
    }

    /// Deletes what all lanes of a topic hold now, as retention does. Returns how many offsets that were.
    pub async fn retention_takes(&self, topic: &str) {
        let mut ends = TopicPartitionList::new();
        for lane in 0..LANES {
            ends.add_partition_offset(topic, lane, Offset::End).unwrap();
        }
        self.admin().delete_records(&ends, &AdminOptions::new()).await.unwrap();
    }
}

pub fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

pub fn lanes(answer: &Value) -> &Vec<Value> {
    answer["lanes"].as_array().unwrap()
}
