//! What was erased, as records: each erasure has its own key, which compaction keeps for good. So rows that are
//! written again from a topic or restored from a backup can be told from those that may be there.

use std::collections::BTreeMap;

use event::{Erasure, Millis, Scope};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::write::{self, SwitchError};
use crate::cluster::Cluster;
use crate::lane::read_all_committed;
use crate::topics::Topic;

/// The version of the records that this build writes and reads.
const VERSION: u32 = 1;
/// The prefix of their keys.
const PREFIX: &str = "erasure/";

/// An erasure, who asked for it, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedErasure {
    /// Which records.
    pub erasure: Erasure,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it was begun.
    pub at: Timestamp,
    /// Who was sent messages about it: known from texts that are erased.
    pub sent: Vec<SentTo>,
    /// When it was done, and how many records were erased; `None` while it is not.
    pub done: Option<(Timestamp, u64)>,
}

/// Messages about what was erased that a destination was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTo {
    /// The destination.
    pub destination: String,
    /// How many messages.
    pub messages: u64,
    /// When the last of them was planned, in milliseconds since 1970.
    pub until: i64,
}

impl NotedErasure {
    /// An erasure that begins now, with an id and a key that no other has.
    #[must_use]
    pub fn new(scope: impl FnOnce([u64; 2]) -> Scope, who: String, why: String, at: Timestamp) -> Self {
        // Version 7 is in the order of time.
        let (id, key) = (uuid::Uuid::now_v7().to_string(), rand::random::<[u64; 2]>());
        let erasure = Erasure { id, key, scope: scope(key), through: Millis(at.as_millisecond()) };
        Self { erasure, who, why, at, sent: Vec::new(), done: None }
    }

    fn record(&self) -> Result<(String, Vec<u8>), serde_json::Error> {
        let Erasure { id, key, scope, through } = &self.erasure;
        let (kind, source, hash, day) = match scope {
            Scope::Source(source) => ("source", source.as_str(), None, None),
            Scope::Link(link) => ("link", "", Some(*link), None),
            Scope::Visitor { day, visitor } => ("visitor", "", Some(*visitor), Some(*day)),
        };
        let record = Record {
            version: VERSION,
            kind: kind.to_owned(),
            source: source.to_owned(),
            key: key.map(hex).to_vec(),
            hash: hash.map(hex).unwrap_or_default(),
            day,
            through: through.0,
            who: self.who.clone(),
            why: self.why.clone(),
            at: self.at,
            sent: self.sent.clone(),
            done_at: self.done.map(|(at, _)| at),
            records: self.done.map(|(_, records)| records),
        };
        Ok((format!("{PREFIX}{id}"), serde_json::to_vec(&record)?))
    }

    /// Reads a record; `None` for one about something else.
    fn read(key: &[u8], value: &[u8]) -> Option<Result<Self, String>> {
        let id = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
        let read = || {
            let record: Record = serde_json::from_slice(value).map_err(|error| error.to_string())?;
            if record.version != VERSION {
                return Err(format!("its version is {}, this build reads {VERSION}", record.version));
            }
            let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| format!("{text:?} is not a hash"));
            let hash = || number(&record.hash);
            let scope = match (record.kind.as_str(), record.day) {
                ("source", _) => Scope::Source(record.source.clone()),
                ("link", _) => Scope::Link(hash()?),
                ("visitor", Some(day)) => Scope::Visitor { day, visitor: hash()? },
                (other, _) => return Err(format!("it is of the kind {other:?}")),
            };
            let [first, second] = record.key.as_slice() else { return Err("it has no key".to_owned()) };
            let key = [number(first)?, number(second)?];
            let erasure = Erasure { id: id.to_owned(), key, scope, through: Millis(record.through) };
            let done = record.done_at.zip(record.records);
            Ok(Self { erasure, who: record.who, why: record.why, at: record.at, sent: record.sent, done })
        };
        Some(read().map_err(|why| format!("the record {PREFIX}{id} on {} cannot be read: {why}", Topic::Control)))
    }
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// An erasure as it stands on the topic.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    source: String,
    key: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day: Option<i64>,
    through: i64,
    who: String,
    why: String,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sent: Vec<SentTo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
}

/// Every erasure, the oldest first. Blocking.
///
/// # Errors
/// When the topic cannot be read, or has an erasure that this build cannot read: what it is about must not be written
/// again.
pub fn erasures(cluster: &Cluster) -> Result<Vec<NotedErasure>, SwitchError> {
    let mut noted = BTreeMap::new();
    read_all_committed::<std::convert::Infallible>(cluster, Topic::Control, 0, None, None, |record| {
        let (key, value) = (record.key().unwrap_or_default(), record.payload().unwrap_or_default());
        if let Some(read) = NotedErasure::read(key, value) {
            noted.insert(key.to_vec(), read);
        }
        Ok(())
    })?;
    noted.into_values().collect::<Result<_, _>>().map_err(SwitchError::Erasure)
}

/// What was erased, as of the last time that the topic was read. It is read again only once it has grown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownErasures {
    /// One past the last record of the topic, before it was read last.
    end: Option<i64>,
    known: Vec<Erasure>,
}

impl KnownErasures {
    /// Reads the erasures if the topic goes on beyond what was read; `end` is one past its last record, asked for now.
    /// Returns them at the first call, and whenever they are others than at the call before. Blocking.
    ///
    /// # Errors
    /// As [`erasures`]; the next call reads again.
    pub fn follow(&mut self, cluster: &Cluster, end: i64) -> Result<Option<&[Erasure]>, SwitchError> {
        self.follow_by(end, || Ok(erasures(cluster)?.into_iter().map(|noted| noted.erasure).collect()))
    }

    fn follow_by<E>(
        &mut self,
        end: i64,
        read: impl FnOnce() -> Result<Vec<Erasure>, E>,
    ) -> Result<Option<&[Erasure]>, E> {
        if self.end == Some(end) {
            return Ok(None);
        }
        let now = read()?;
        let is_news = self.end.replace(end).is_none() || self.known != now;
        self.known = now;
        Ok(is_news.then_some(self.known.as_slice()))
    }

    /// What was erased, as of the last call of [`Self::follow`].
    #[must_use]
    pub fn known(&self) -> &[Erasure] {
        &self.known
    }
}

/// Writes an erasure down, or how far it came. Blocking.
///
/// # Errors
/// When a pipeline is not there, or the topic cannot be written: write the same again.
pub fn note_erasure(cluster: &Cluster, noted: &NotedErasure) -> Result<(), SwitchError> {
    write::write(cluster, || Ok(((), vec![noted.record()?])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_is_read_as_it_was_written_and_one_that_is_not_known_is_said() {
        let at = Timestamp::from_millisecond(1_764_072_000_123).unwrap();
        let scopes: [fn([u64; 2]) -> Scope; 3] = [
            |_| Scope::source("dub"),
            |key| Scope::link(key, "go.acme.example/spring"),
            |key| Scope::visitor(key, 20_000, u64::MAX),
        ];
        for scope in scopes {
            let mut noted = NotedErasure::new(scope, "ana".into(), "request 7".into(), at);
            let sent = vec![SentTo { destination: "growth".into(), messages: 3, until: 1_764_072_000_000 }];
            // One that was sent to no destination, as those before have it, is read as well.
            for (done, sent) in [(None, Vec::new()), (None, sent.clone()), (Some((at, 12)), sent)] {
                (noted.done, noted.sent) = (done, sent);
                let (key, value) = noted.record().unwrap();
                assert_eq!(NotedErasure::read(key.as_bytes(), &value), Some(Ok(noted.clone())));
                assert!(!String::from_utf8(value.clone()).unwrap().contains("spring"));
                let newer = String::from_utf8(value).unwrap().replace("\"version\":1", "\"version\":2");
                let said = NotedErasure::read(key.as_bytes(), newer.as_bytes()).unwrap().unwrap_err();
                assert!(said.contains("version is 2"), "{said}");
            }
        }
        assert_eq!(NotedErasure::read(b"source/dub", b"{}"), None);
        let (one, other) = (
            NotedErasure::new(|key| Scope::link(key, "x"), String::new(), String::new(), at),
            NotedErasure::new(|key| Scope::link(key, "x"), String::new(), String::new(), at),
        );
        assert_ne!(one.erasure.scope, other.erasure.scope, "hashes of two erasures cannot be held against each other");
    }

    #[test]
    fn an_erasure_that_is_noted_later_is_known_once_the_topic_has_grown_and_nothing_is_read_before() {
        let at = Timestamp::from_millisecond(1_764_072_000_123).unwrap();
        let noted = NotedErasure::new(|_| Scope::source("dub"), "ana".into(), "request 7".into(), at).erasure;
        let longer = Erasure { through: Millis(noted.through.0 + 1), ..noted.clone() };
        let mut known = KnownErasures::default();
        let none = || Ok::<_, String>(Vec::new());
        let not_read = || panic!("it is not read where nothing has come");
        assert_eq!(
            known.follow_by(7, none),
            Ok(Some(&[][..])),
            "the first time, they are told also where there are none"
        );
        assert_eq!(known.follow_by::<String>(7, not_read), Ok(None));
        assert_eq!(known.follow_by(8, none), Ok(None), "a switch");
        assert_eq!(known.follow_by(10, || Err("away".to_owned())), Err("away".to_owned()));
        assert_eq!(known.follow_by(10, || Ok::<_, String>(vec![noted.clone()])), Ok(Some(&[noted.clone()][..])));
        assert_eq!(known.follow_by(12, || Ok::<_, String>(vec![noted.clone()])), Ok(None), "it is done, and the same");
        assert_eq!(known.follow_by(14, || Ok::<_, String>(vec![longer.clone()])), Ok(Some(&[longer.clone()][..])));
        assert_eq!(known.known(), [longer]);
    }
}
