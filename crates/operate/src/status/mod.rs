//! How an installation is, on one screen: what is broken, what is lost, what to do next.
//!
//! [`read`] asks Kafka, ClickHouse and the services whose addresses are known; [`judge()`] makes the report of what
//! they said. An engine that does not answer is a finding and not an error, so the report is there when it is needed
//! most.

mod canary;
mod findings;
mod judge;
mod log;
mod rows;
pub(crate) mod services;

use jiff::Timestamp;
use serde::Serialize;

use crate::{Installation, Report};

pub use judge::judge;
pub use log::{LogFacts, PartitionFacts, STAGES, StageFacts};
pub use rows::{DestinationRow, InhibitedRow, RowFacts, SourceRow};
pub use services::{Answer, ComponentState, InstanceFacts, Sample};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing to do.
    Fine,
    /// A person should look, today.
    Attention,
    /// Something does not work now.
    Broken,
}

/// How an installation is.
#[derive(Debug, Clone, Serialize)]
pub struct StatusReport {
    /// Whether nothing is to be done.
    pub ok: bool,
    /// The worst of what was found.
    pub state: Severity,
    /// The first thing to know, in one sentence.
    pub headline: String,
    /// When it was asked.
    pub at: Timestamp,
    /// What is lost, and how that is known.
    pub lost: Lost,
    /// Kafka and ClickHouse.
    pub engines: Vec<Part>,
    /// Ingest and the stages behind it, in the order in which an event passes them.
    pub stages: Vec<Part>,
    /// Each source of the configuration.
    pub sources: Vec<SourceStatus>,
    /// Dead letters that wait for a decision; `None` when ClickHouse does not say.
    pub dead_letters_open: Option<u64>,
    /// Instances of services that were asked.
    pub instances: Vec<InstanceStatus>,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
}

/// What is lost, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// What the proof says.
    pub verdict: LostVerdict,
    /// Records that are missing or lost.
    pub records: u64,
    /// The proof, or why there is none now.
    pub proof: String,
}

/// Whether records are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LostVerdict {
    /// Proven: each settled record is one row.
    Nothing,
    /// Records have no row, and `raw` still holds them: a command brings the rows in.
    Repairable,
    /// Records have no row, and `raw` no longer holds them.
    Lost,
    /// The engine that would prove it does not answer.
    NotProven,
}

/// An engine or a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How it is; `None` when there was no way to ask.
    pub state: Option<Severity>,
    /// What it does or why it does not, in a few words.
    pub says: String,
    /// Records that wait for it, as far as Kafka says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// How old the oldest of them is, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
}

/// A source of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: String,
    /// What is done with it: accept, quarantine, pause or retired; `None` when Kafka does not say.
    pub switch: Option<kafka::control::State>,
    /// Whether all of it is test data: its rows are not looked at.
    pub test: bool,
    /// When its last record was received; `None` when there is none of the last seven days or ClickHouse does not say.
    pub last_seen: Option<Timestamp>,
}

/// An instance of a service that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    /// Its address.
    pub address: String,
    /// Whether it answered.
    pub answers: bool,
    /// The configuration that it runs on, as a hash.
    pub config: Option<String>,
    /// The version that runs.
    pub version: Option<String>,
    /// Components that are not ready, with the reason.
    pub not_ready: Vec<String>,
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What follows from it, or what is known about the cause; may be empty.
    pub why: String,
    /// What to do next: a command, or a sentence where no command helps.
    pub next: String,
    /// The page that says more.
    pub runbook: String,
}

impl Report for StatusReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Everything that was asked.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When.
    pub at: Timestamp,
    /// What Kafka said, or why it said nothing.
    pub log: Result<LogFacts, String>,
    /// What ClickHouse said, or why it said nothing.
    pub rows: Result<RowFacts, String>,
    /// The services whose addresses are known.
    pub instances: Vec<InstanceFacts>,
}

/// Asks everything that can be asked: Kafka, ClickHouse and services at the same time, each for at most half a minute.
pub async fn read(installation: &Installation, also: &[String]) -> StatusReport {
    let at = Timestamp::now();
    let instances = services::ask(installation, also);
    let log = log::ask(installation, at.as_millisecond());
    let (log, instances) = tokio::join!(log, instances);
    let rows = rows::ask(installation, log.as_ref().ok()).await;
    judge(installation, &Facts { at, log, rows, instances })
}
