//! What a message says: frozen once, when its bundle is planned, and rendered by each destination as it can show it.

mod compose;
mod words;

use std::collections::BTreeMap;

use event::keyed_hash_hex;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::routing::{Destination, Rule};
use crate::template::Template;
pub(crate) use compose::{compose, compose_digest, digest_line};

/// A message, as it stands frozen in `deliveries`. Without its thread, it is the body of a signed webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The bundle: the same over every retry and crash.
    pub id: String,
    /// Whether it is the first, follows, or says that something is over.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// The rule that speaks.
    pub rule: String,
    /// Whose rule it is (an owner's id).
    pub owner: String,
    /// The owner of the links, where the rule mentions them (an owner's id).
    pub mention: Option<String>,
    /// What the people who get it should do.
    #[serde(rename = "do")]
    pub instruction: Option<String>,
    /// One line.
    pub title: String,
    /// A few lines for people, the title first.
    pub text: String,
    /// Events behind the alerts.
    pub count: u64,
    /// Alerts.
    pub alerts: u64,
    /// Alerts that say that something is over.
    pub over: u64,
    /// The links with the most events.
    pub links: Vec<LinkCount>,
    /// Keys of some events behind it.
    pub sample_event_keys: Vec<String>,
    /// What is known about the first event.
    pub attributes: BTreeMap<String, String>,
    /// From the first event to the last.
    pub window: Window,
    /// The first alerts in it.
    pub alert_ids: Vec<String>,
    /// Whether it is about test data.
    pub test: bool,
    /// What a digest stands for; empty in all other messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digest: Vec<Digested>,
    /// What it belongs to at its destination; none in messages of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Thread>,
    /// The same as a file, for destinations that take one; reports have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
}

/// A file beside a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its contents: CSV.
    pub csv: String,
}

/// What a message is in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// The first.
    Alert,
    /// One that follows.
    Summary,
    /// What it is about is over. It may also have begun since the last message.
    Resolved,
    /// What its destination did not take when it was due.
    Digest,
    /// A person takes care of it: for receivers that know such a state.
    Acknowledged,
    /// What is sent by the calendar.
    Report,
}

impl MessageKind {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Summary => "summary",
            Self::Resolved => "resolved",
            Self::Digest => "digest",
            Self::Acknowledged => "acknowledged",
            Self::Report => "report",
        }
    }
}

/// A message that a digest stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digested {
    /// The rule that speaks.
    pub rule: String,
    /// What it is about: a key, or the owner of the links.
    pub group: String,
    /// The id under which it waited.
    pub bundle_id: String,
    /// What it would have said, in one line.
    pub title: String,
}

/// A link and its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCount {
    /// What people know it by.
    pub link: String,
    /// Events.
    pub count: u64,
}

/// From when until when, as ISO 8601 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The start.
    pub start: String,
    /// The end.
    pub end: String,
}

/// What was opened at a destination, and what a message does to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Of a ticket or incident: the hash of the rule and the alert's key, the same for ever. Else of the group.
    pub key: String,
    /// Whether the message opens it.
    pub opens: bool,
    /// Whether the message ends it.
    pub ends: bool,
    /// The bundle that opened it.
    pub first: String,
    /// The title of the message that opened it.
    pub title: String,
    /// Events since it was opened, those of this message included.
    pub count: u64,
    /// By what the receiver knows it, if that was known when the message was planned.
    pub receipt: String,
    /// The keys whose condition holds after this message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub firing: Vec<String>,
    /// Of rules that fire on every event, without a key: the links that were told of, the first of them, hashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// Those of both that the message which opened it did not name: who acknowledged that one does not know of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<String>,
    /// Whether the receiver was told that a person takes care of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledged: bool,
}

impl Message {
    /// The body of a signed webhook: JSON, the same bytes on every attempt.
    #[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
    pub fn to_json(&self) -> String {
        let body = match &self.thread {
            None => serde_json::to_string(self),
            Some(_) => serde_json::to_string(&Message { thread: None, ..self.clone() }),
        };
        body.expect("a message is made of texts and numbers")
    }

    /// As it is frozen in `deliveries`.
    #[allow(clippy::expect_used, reason = "JSON takes texts, numbers and maps under texts; memory does not fail")]
    pub fn frozen(&self) -> String {
        serde_json::to_string(self).expect("a message is made of texts and numbers")
    }

    /// Reads what [`Message::frozen`] wrote, in this version or an earlier one.
    ///
    /// # Errors
    /// What is wrong, where it is not a message.
    pub fn thawed(body: &str) -> Result<Self, String> {
        serde_json::from_str(body).map_err(|error| error.to_string())
    }

    /// Whether it may ping: the first message does, no later one.
    pub fn pings(&self) -> bool {
        self.kind == MessageKind::Alert && self.thread.as_ref().is_none_or(|thread| thread.opens)
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageContext<'m> {
    pub(crate) bundle_id: &'m str,
    pub(crate) rule: &'m Rule,
    /// None for the capture sink, which keeps everything.
    pub(crate) destination: Option<&'m Destination>,
    /// The owner of the links, where the rule mentions them.
    pub(crate) mention: &'m str,
    pub(crate) test: bool,
    /// Whether it follows another message of its group.
    pub(crate) follows: bool,
    /// What it says instead of our own words.
    pub(crate) template: Option<&'m Template>,
}

/// The id of the bundle of a group that starts with this alert.
pub(crate) fn bundle_id(destination: &str, rule: &str, group: &str, test: bool, first_alert: &str) -> String {
    keyed_hash_hex(&["bundle.v1", destination, rule, group, if test { "test" } else { "" }, first_alert])
}

/// A time in ISO 8601 and UTC, as people read it.
pub(crate) fn readable(instant: &str) -> String {
    instant.parse::<Timestamp>().map_or_else(|_| instant.to_owned(), |at| at.strftime("%F %T UTC").to_string())
}

/// A time as ISO 8601 in UTC; one that is beyond the calendar stands as its number.
pub(crate) fn instant(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| at.to_string())
}
