//! The workflow record: who owns what, what is sent by whom and where it goes, how to pause. From the configuration,
//! and from the rows what is really used.
//!
//! A part that comes from the configuration has a fingerprint, which is written beside it. So a stored handbook can be
//! held against the configuration of now: [`drift`].

mod configured;
mod used;

use std::path::{Path, PathBuf};

use config::Config;
use serde::Serialize;

use crate::{Installation, Report};

/// What stands before a fingerprint in a stored handbook, in both forms.
const MARK: &str = "<!-- hookline ";

/// The workflow record.
#[derive(Debug, Clone, Serialize)]
pub struct Handbook {
    /// Whether everything that the guide asks for is there.
    pub ok: bool,
    /// The version of the configuration.
    pub config: String,
    /// Its parts, in the order in which they are read.
    pub parts: Vec<Part>,
    /// What a complete record has and this one does not.
    pub missing: Vec<String>,
}

/// A part of the record.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// A short name that stays: `sources`, `rules`, ….
    pub id: &'static str,
    /// Its heading.
    pub title: String,
    /// What it says.
    pub blocks: Vec<Block>,
    /// What it was made of, as a hash; `None` for what is measured and changes by itself.
    pub fingerprint: Option<String>,
}

/// A piece of a part.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A table: its head and its rows.
    Table {
        /// Names of the columns.
        head: Vec<&'static str>,
        /// As many cells as the head has in each row.
        rows: Vec<Vec<String>>,
    },
    /// Commands, one a line.
    Commands(Vec<String>),
}

impl Report for Handbook {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// How a stored handbook differs from the configuration of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// The file is not there or cannot be read.
    Unreadable(String),
    /// It is not a handbook of ours.
    Unmarked,
    /// These parts are of another configuration, by their titles.
    Parts(Vec<String>),
}

impl Part {
    /// A part that comes from the configuration.
    fn configured(id: &'static str, title: &str, blocks: Vec<Block>) -> Self {
        // What is hashed is the content, so that both forms and every rendering have the same fingerprint.
        let content = serde_json::to_string(&blocks).unwrap_or_default();
        let mut fingerprint = event::keyed_hash_hex(&["handbook.v1", id, &content]);
        fingerprint.truncate(12);
        Self { id, title: title.to_owned(), blocks, fingerprint: Some(fingerprint) }
    }

    /// A part that is measured.
    fn measured(id: &'static str, title: &str, blocks: Vec<Block>) -> Self {
        Self { id, title: title.to_owned(), blocks, fingerprint: None }
    }

    /// The line that a stored handbook has before the part: a comment in Markdown and in HTML.
    #[must_use]
    pub fn mark(&self) -> Option<String> {
        self.fingerprint.as_ref().map(|fingerprint| format!("{MARK}{} {fingerprint} -->", self.id))
    }
}

/// Writes the workflow record. With an installation whose ClickHouse answers, also what is really used.
pub async fn handbook(config: &Config, installation: Option<&Installation>) -> Handbook {
    let mut parts = configured::parts(config);
    match installation {
        Some(installation) => parts.extend(used::parts(installation).await),
        None => parts.push(Part::measured("used", "Events and fields that are really used", vec![used::not_asked("")])),
    }
    let missing = configured::missing(config);
    Handbook { ok: missing.is_empty(), config: config.version_hash().to_owned(), parts, missing }
}

/// What a complete record has and this configuration does not say.
pub(crate) fn missing(config: &Config) -> Vec<String> {
    configured::missing(config)
}

/// How the handbook that the configuration names differs from the configuration; `None` when it does not, or none is
/// named.
#[must_use]
pub fn drift(config: &Config) -> Option<(PathBuf, Drift)> {
    let path = config.workflow.as_ref()?.handbook.clone()?;
    drift_of(config, &path).map(|drift| (path, drift))
}

fn drift_of(config: &Config, path: &Path) -> Option<Drift> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return Some(Drift::Unreadable(error.to_string())),
    };
    if !text.contains(MARK) {
        return Some(Drift::Unmarked);
    }
    let parts = configured::parts(config);
    let differs = |part: &&Part| part.mark().is_some_and(|mark| !text.contains(&mark));
    let titles: Vec<String> = parts.iter().filter(differs).map(|part| part.title.clone()).collect();
    (!titles.is_empty()).then_some(Drift::Parts(titles))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
