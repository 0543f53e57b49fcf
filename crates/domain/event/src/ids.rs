//! The names that things keep over retries, restarts and replays.

use std::fmt::Write;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

/// Separates the part of an event key that chooses the lane from the rest (the ASCII unit separator).
const ROUTING_END: u8 = 0x1f;

/// What every delivery of one event has in common.
///
/// A lifecycle key starts with its link, so that the events of one link share a lane and keep their order there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventKey(String);

impl EventKey {
    /// A key that is routed by all of itself.
    pub fn whole(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// A key of which only `link` chooses the lane.
    pub fn of_link(link: &str, rest: &str) -> Self {
        Self(format!("{link}{}{rest}", char::from(ROUTING_END)))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// The part of a key that chooses the lane: up to the unit separator, or all of it.
pub(crate) fn routing_part(key: &[u8]) -> &[u8] {
    key.iter().position(|byte| *byte == ROUTING_END).map_or(key, |end| &key[..end])
}

/// An alert's id: the same for the same rule, version, key, window and transition, whoever computes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AlertId(pub String);

impl AlertId {
    /// Derives the id.
    pub fn new(rule: &str, rule_version: &str, key: &str, window_start_ms: i64, transition: crate::Transition) -> Self {
        let window = window_start_ms.to_string();
        Self(keyed_hash_hex(&[rule, rule_version, key, &window, transition.as_str()]))
    }
}

/// 32 hex digits over length-prefixed parts (SipHash-2-4-128 under a fixed key).
///
/// For ids that must be the same everywhere. Its parts come from our own configuration and from links, so collisions
/// made on purpose gain nothing; the dedupe window uses a secret key instead.
pub fn keyed_hash_hex(parts: &[&str]) -> String {
    let mut hasher = SipHasher24::new_with_key(b"hookline.ids.v1.");
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part.as_bytes());
    }
    let hash = hasher.finish128().as_u128();
    let mut text = String::with_capacity(32);
    // Writing to a String cannot fail.
    let _ = write!(text, "{hash:032x}");
    text
}
