//! Switches as records: what stands on the topic, and what all of it together says. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::topics::Topic;

/// The version of the records that this build writes and reads.
const VERSION: u32 = 1;
/// The prefix of the keys of audit records.
const AUDIT: &str = "audit/";

/// What kinds of objects can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A source: who may send.
    Source,
    /// A rule: it says nothing new while it is paused.
    Rule,
    /// A destination: what is for it waits while it is paused.
    Destination,
    /// A silence, `RULE` or `RULE/KEY`: it holds while it is paused.
    Silence,
    /// A message by its id: nothing but its end follows while it is paused, that is acknowledged.
    Message,
    /// A configuration by its version: not switched, but asked for. Every process loads its file again when one is.
    Configuration,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Source, Self::Rule, Self::Destination, Self::Silence, Self::Message, Self::Configuration];

    /// Its name, as in keys, metrics and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Rule => "rule",
            Self::Destination => "destination",
            Self::Silence => "silence",
            Self::Message => "message",
            Self::Configuration => "configuration",
        }
    }
}

/// Something that can be switched: `source/dub-main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// Its name in the configuration.
    pub id: String,
}

impl Object {
    /// A source.
    #[must_use]
    pub fn source(name: impl Into<String>) -> Self {
        Self::new(Kind::Source, name)
    }

    /// An object of a kind.
    #[must_use]
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.id)
    }
}

impl FromStr for Object {
    type Err = String;

    /// Reads `source/NAME`, `rule/NAME` and so on.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (kind, id) = text.split_once('/')?;
            let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
            (!id.is_empty()).then(|| Self { kind, id: id.to_owned() })
        };
        read().ok_or_else(|| {
            format!("{text:?} names nothing that can be switched: write source/NAME, rule/NAME or destination/NAME")
        })
    }
}

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As usual.
    Accept,
    /// Authentic deliveries are taken and set aside as dead letters, to be redriven later.
    Quarantine,
    /// Deliveries are answered 503, so that the sender keeps them for its retries.
    Pause,
    /// Deliveries are answered 410: the sender shall stop.
    Retired,
}

impl State {
    /// Its name, as on the topic.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Quarantine => "quarantine",
            Self::Pause => "pause",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A state with its circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// What is done with the object.
    pub state: State,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it ends by itself; the object is then accepted again.
    pub until: Option<Timestamp>,
    /// When it was said.
    pub at: Timestamp,
}

impl Switch {
    /// What is done with the object at `now`.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        if self.until.is_some_and(|until| until <= now) { State::Accept } else { self.state }
    }
}

/// One switching, as the audit keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was switched.
    pub object: Object,
    /// What was done with it before.
    pub was: State,
    /// What is done with it since.
    pub switch: Switch,
}

/// A record that this build cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the record {key:?} on {} is not readable by this version: {reason}; use the version that wrote it, or a newer one, or write it \
     anew with `hookline resume` or `hookline pause` of this one",
    Topic::Control
)]
pub struct UnreadableSwitch {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A switch as it stands on the topic, under the name of its object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchRecord {
    version: u32,
    state: State,
    who: String,
    why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    at: Timestamp,
}

/// A change as it stands on the topic, under a key of its own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditRecord {
    version: u32,
    object: String,
    was: State,
    state: State,
    who: String,
    why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    at: Timestamp,
}

/// The part of a record that says whether the rest can be read.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Reads the version first: the shape of another one is nobody's guess.
fn decode<'j, R: Deserialize<'j>>(key: &str, json: &'j [u8]) -> Result<R, UnreadableSwitch> {
    let unreadable = |reason: String| UnreadableSwitch { key: key.to_owned(), reason };
    let Versioned { version } = serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))?;
    if version != VERSION {
        return Err(unreadable(format!("its version is {version}, this build reads {VERSION}")));
    }
    serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))
}

impl Change {
    /// Key and value of the record that says what holds now, and of the one that stays as evidence. `unique` sorts by time.
    pub(super) fn records(&self, unique: &str) -> Result<[(String, Vec<u8>); 2], serde_json::Error> {
        let Switch { state, who, why, until, at } = self.switch.clone();
        let object = self.object.to_string();
        let audit = AuditRecord {
            version: VERSION,
            object: object.clone(),
            was: self.was,
            state,
            who: who.clone(),
            why: why.clone(),
            until,
            at,
        };
        let now = SwitchRecord { version: VERSION, state, who, why, until, at };
        Ok([(object, serde_json::to_vec(&now)?), (format!("{AUDIT}{unique}"), serde_json::to_vec(&audit)?)])
    }

    /// Reads an audit record; `None` for any other.
    pub(super) fn read(key: &[u8], value: Option<&[u8]>) -> Option<Result<Self, UnreadableSwitch>> {
        let key = std::str::from_utf8(key).ok().filter(|key| key.starts_with(AUDIT))?;
        let read = || {
            let AuditRecord { object, was, state, who, why, until, at, .. } = decode(key, value.unwrap_or_default())?;
            let object = object.parse().map_err(|reason| UnreadableSwitch { key: key.to_owned(), reason })?;
            Ok(Self { object, was, switch: Switch { state, who, why, until, at } })
        };
        Some(read())
    }
}

/// What all records about one kind of object say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    kind: Kind,
    by_id: BTreeMap<String, Entry>,
}

/// What is known of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    /// By the newest record that could be read.
    switch: Option<Switch>,
    /// Why the newest record could not be read, if so.
    unreadable: Option<UnreadableSwitch>,
}

impl Switches {
    /// Nothing is switched.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, by_id: BTreeMap::new() }
    }

    /// The kind of objects that it is about.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Takes a record of the topic in. Records about something else are passed over. Returns whether it was about this kind.
    ///
    /// One that cannot be read leaves its object as it was, and is told by [`Switches::unreadable`].
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let Ok(key) = std::str::from_utf8(key) else { return false };
        let Some(id) = key.strip_prefix(self.kind.name()).and_then(|rest| rest.strip_prefix('/')) else { return false };
        // Nobody writes a null; if somebody deletes a record by hand, the object is as if it had never been switched.
        let Some(value) = value else { return self.by_id.remove(id).is_some() };
        let entry = self.by_id.entry(id.to_owned()).or_default();
        match decode(key, value) {
            Ok(SwitchRecord { state, who, why, until, at, .. }) => {
                *entry = Entry { switch: Some(Switch { state, who, why, until, at }), unreadable: None };
            }
            Err(why) => entry.unreadable = Some(why),
        }
        true
    }

    /// How an object was switched last, whether that has ended or not; `None` if it never was.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Switch> {
        self.by_id.get(id)?.switch.as_ref()
    }

    /// What is done with an object at `now`.
    #[must_use]
    pub fn state_at(&self, id: &str, now: Timestamp) -> State {
        self.get(id).map_or(State::Accept, |switch| switch.state_at(now))
    }

    /// Every object that was ever switched, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Switch)> {
        self.by_id.iter().filter_map(|(id, entry)| Some((id.as_str(), entry.switch.as_ref()?)))
    }

    /// The newest records of objects that could not be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &UnreadableSwitch> {
        self.by_id.values().filter_map(|entry| entry.unreadable.as_ref())
    }
}

#[cfg(test)]
#[path = "switches_tests.rs"]
mod tests;
