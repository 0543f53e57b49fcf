//! The detector's state as bytes, a record a key: what rests on the compacted topic `detector-state`. What stands under
//! a key is written by its evaluator, with its kind and a version in front.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evaluator::stored;
use crate::watermark::WatermarkTracker;

/// The version of the form below.
const VERSION: u32 = 1;

/// A key of the snapshot that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Rule, version, key and whether it is test data, separated by zero bytes.
    pub key: Vec<u8>,
    /// Its state; none when there is nothing left to know.
    pub value: Option<Vec<u8>>,
}

/// A record of the state is not what this version writes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the detector's state under {key:?} cannot be read: {reason}; start the version that wrote it, or a newer one")]
pub struct UnreadableState {
    key: String,
    reason: String,
}

/// A snapshot's key, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateKey<'a> {
    pub(crate) rule: &'a str,
    pub(crate) version: &'a str,
    pub(crate) key: &'a str,
    pub(crate) test: bool,
    pub(crate) part: StatePart,
}

/// A key that learns has two records, since most of it changes once an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatePart {
    /// All there is, or all but the profile.
    Present,
    /// The profile.
    Profile,
}

impl<'a> StateKey<'a> {
    pub(crate) fn of(rule: &'a str, version: &'a str, key: &'a str, test: bool) -> Self {
        Self { rule, version, key, test, part: StatePart::Present }
    }

    pub(crate) fn part(self, part: StatePart) -> Self {
        Self { part, ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { rule, version, key, test, part } = self;
        let last = match (test, part) {
            (false, StatePart::Present) => "",
            (true, StatePart::Present) => "test",
            (false, StatePart::Profile) => "profile",
            (true, StatePart::Profile) => "test-profile",
        };
        [rule, version, key, last].join("\0").into_bytes()
    }

    /// Rule and version hold no zero byte, so whatever the key holds, it is what stands between them and the last one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, UnreadableState> {
        let read = || {
            let (rule, rest) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
            let (version, rest) = rest.split_once('\0')?;
            let (key, test) = rest.rsplit_once('\0')?;
            let (test, part) = match test {
                "" => (false, StatePart::Present),
                "test" => (true, StatePart::Present),
                "profile" => (false, StatePart::Profile),
                "test-profile" => (true, StatePart::Profile),
                _ => return None,
            };
            Some(Self { rule, version, key, test, part })
        };
        read().ok_or_else(|| UnreadableState {
            key: String::from_utf8_lossy(bytes).into_owned(),
            reason: "it is no rule, version, key and namespace".to_owned(),
        })
    }
}

/// A record of the state of a key that learns, as far as others may look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedRecord {
    /// The rule.
    pub rule: String,
    /// Under what it keeps what its keys have learned: another memory is another rule.
    pub memory: String,
    /// The key.
    pub key: String,
    /// Whether it is test data.
    pub test: bool,
    /// The hour since 1970 since which it has learned, if this is the record of its profile.
    pub since_hour: Option<i64>,
    /// Whether its rule fires for it, as far as this record says so: the one beside its profile does.
    pub firing: bool,
}

impl LearnedRecord {
    /// Reads a record of the snapshot; none for what is not the state of a key, or is test data's or a count's.
    pub fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let StateKey { rule, version, key, test, part } = StateKey::decode(key).ok()?;
        // Kind and version, then the profile, whose first field is the hour in which the key first spoke.
        let hour = || value.get(2..10).and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
        let since_hour = if part == StatePart::Profile { Some(hour()?) } else { None };
        let firing = part == StatePart::Present && stored::is_firing(value).unwrap_or_default();
        Some(Self { rule: rule.to_owned(), memory: version.to_owned(), key: key.to_owned(), test, since_hour, firing })
    }
}

/// What stands under a key.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    v: u32,
    state: T,
}

#[allow(
    clippy::expect_used,
    reason = "JSON takes numbers, texts, and maps of them under numbers; memory does not fail"
)]
fn encode<T: Serialize>(state: &T) -> Vec<u8> {
    serde_json::to_vec(&Stored { v: VERSION, state }).expect("a state is made of numbers and texts")
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, UnreadableState> {
    let unreadable = |reason: String| UnreadableState { key: what.to_owned(), reason };
    let stored: Stored<serde_json::Value> =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    if stored.v != VERSION {
        return Err(unreadable(format!("its version is {}, this is {VERSION}", stored.v)));
    }
    serde_json::from_value(stored.state).map_err(|error| unreadable(error.to_string()))
}

impl UnreadableState {
    pub(crate) fn of_key(key: &str) -> Self {
        let reason = "it is not what this version writes for such a rule, or its profile is missing".to_owned();
        Self { key: key.to_owned(), reason }
    }
}

impl WatermarkTracker {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8], lanes: usize) -> Result<Self, UnreadableState> {
        let read: Self = decode("the lanes", bytes)?;
        if read.count() == lanes {
            Ok(read)
        } else {
            let reason = format!("it knows {} lanes, there are {lanes}", read.count());
            Err(UnreadableState { key: "the lanes".to_owned(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_key_reads_back_whatever_the_key_holds() {
        for key in ["", "go.example.com/a", "a\0b", "\0test", "test"] {
            for test in [false, true] {
                let state_key = StateKey::of("promo", "0123456789ab", key, test);
                assert_eq!(StateKey::decode(&state_key.encode()), Ok(state_key));
                let profile = state_key.part(StatePart::Profile);
                assert_eq!(StateKey::decode(&profile.encode()), Ok(profile));
            }
        }
        assert!(StateKey::decode(b"promo\0v").is_err());
        assert!(StateKey::decode(b"promo\0v\0k\0other").is_err());
    }

    #[test]
    fn a_state_of_another_version_is_not_guessed_at() {
        let newer = br#"{"v":2,"state":{"heard":[null],"first":null,"passed":null}}"#;
        assert!(WatermarkTracker::decode(newer, 1).is_err());
        assert!(WatermarkTracker::decode(b"", 1).is_err());
        let tracker = WatermarkTracker::new(1);
        assert_eq!(WatermarkTracker::decode(&tracker.encode(), 1), Ok(tracker));
    }
}
