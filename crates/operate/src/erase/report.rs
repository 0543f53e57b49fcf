//! What an erasure found, did and proved.

use jiff::Timestamp;
use kafka::control::NotedErasure;
use serde::Serialize;
use warehouse::{Detached, Former, Recomputed, Resting, Sent};

use super::{Erase, What, is_nothing, words_of};
use crate::{Installation, Report};

/// What an erasure found, did and proved.
#[derive(Debug, Clone, Serialize)]
pub struct EraseReport {
    /// Of a look: that it could be told. Of an erasure: that nothing of it rests in ClickHouse, on disks either.
    pub ok: bool,
    /// Whether it was to be erased.
    pub applied: bool,
    /// Each erasure that is meant.
    pub erasures: Vec<OneErasure>,
    /// Records that were accepted before and are not rows yet.
    pub waiting: u64,
    /// Messages with an alert about it that are not planned yet.
    pub unplanned_messages: u64,
    /// Mutations of our tables that are under way.
    pub unfinished_mutations: u64,
    /// Parts that were rewritten and are still on disks.
    pub former_parts: Former,
    /// Parts that a person or a crash has set aside: what is in them is not known.
    pub detached_parts: Vec<Detached>,
    /// The source that still sends what is erased, if so.
    pub still_sends: Option<String>,
}

/// What may still tell of what is erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Records that were accepted before and are not rows yet.
    pub records: u64,
    /// Messages with an alert about it that are not planned yet.
    pub messages: u64,
}

impl Waiting {
    /// Whether nothing may.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One erasure.
#[derive(Debug, Clone, Serialize)]
pub struct OneErasure {
    /// Its id, once it was noted.
    pub id: Option<String>,
    /// What is erased, for people.
    pub what: String,
    /// Received up to this time, in milliseconds since 1970.
    pub through: i64,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it was begun.
    pub at: Timestamp,
    /// When it was done first.
    pub done_at: Option<Timestamp>,
    /// How many records were erased.
    pub records: u64,
    /// Rows that were there.
    pub before: Vec<Resting>,
    /// Rows that are there after it, read again; `None` of a look.
    pub after: Option<Vec<Resting>>,
    /// Reports of days that were computed again.
    pub days: Vec<DayAgain>,
    /// Other names that its rows have for the link.
    pub also_named: Vec<String>,
    /// Keys of the topic `links` that speak of the link.
    pub catalogue: Vec<String>,
    /// Messages about it that were sent: their receivers have them.
    pub sent: Vec<Sent>,
    /// What rests on topics.
    pub topics: Vec<TopicRest>,
}

/// A report of a day that was computed again.
#[derive(Debug, Clone, Serialize)]
pub struct DayAgain {
    /// The database.
    pub database: String,
    /// Which, and what came of it.
    #[serde(flatten)]
    pub day: Recomputed,
}

/// What rests on a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicRest {
    /// The topic.
    pub topic: &'static str,
    /// What of it.
    pub what: &'static str,
    /// How many records, where that is known.
    pub records: Option<u64>,
    /// Between which offsets, by lane.
    pub lanes: Vec<LanePlaces>,
    /// When retention has taken the last of them, in milliseconds since 1970; `None` of a compacted topic.
    pub gone_by: Option<i64>,
}

/// Between which offsets of a lane records stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LanePlaces {
    /// The lane.
    pub lane: u16,
    /// How many records.
    pub records: u64,
    /// The first raw offset.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

/// An erasure as the ledger names it.
#[derive(Debug, Clone, Serialize)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// What was erased, as far as its note tells.
    pub what: String,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
    /// When it was begun.
    pub at: Timestamp,
    /// When it was done; `None` while it is not.
    pub done_at: Option<Timestamp>,
    /// How many records were erased.
    pub records: u64,
}

impl Named {
    /// As it was noted.
    pub(crate) fn of(noted: &NotedErasure) -> Self {
        Self {
            id: noted.erasure.id.clone(),
            what: words_of(&noted.erasure.scope),
            who: noted.who.clone(),
            why: noted.why.clone(),
            at: noted.at,
            done_at: noted.done.map(|(at, _)| at),
            records: noted.done.map_or(0, |(_, records)| records),
        }
    }
}

impl EraseReport {
    pub(super) fn new(
        installation: &Installation,
        request: &Erase,
        erasures: Vec<OneErasure>,
        waiting: Waiting,
        unfinished_mutations: u64,
        former_parts: Former,
        detached_parts: Vec<Detached>,
    ) -> Self {
        let still_sends = match &request.what {
            What::Source(name) => installation.config.source(name).map(|source| source.name.clone()),
            _ => None,
        };
        let nothing = erasures.iter().all(|one| one.after.as_deref().is_none_or(is_nothing));
        let applied = request.word.is_some();
        let at_rest =
            waiting.is_nothing() && unfinished_mutations == 0 && former_parts.parts == 0 && detached_parts.is_empty();
        Self {
            ok: nothing && (at_rest || !applied),
            applied,
            erasures,
            waiting: waiting.records,
            unplanned_messages: waiting.messages,
            unfinished_mutations,
            former_parts,
            detached_parts,
            still_sends,
        }
    }
}

impl Report for EraseReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}
