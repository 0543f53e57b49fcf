//! A rule whose panes are minutes: its keys, and which of them a closed minute concerns.
//!
//! Closing walks keys that were touched, that fire, or whose time has come; never all of them.

mod closing;
mod record;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use event::Signal;

use crate::evaluator::Evaluator;
use crate::evaluator::kept::{Kept, States};
use crate::evaluator::profile::Profile;
use crate::key_table::{GONE, KeyLimit, KeyTable, Likely, Spread};
use crate::observation::FACET;
use crate::open_counts::OpenCounts;
use crate::open_minute::OpenMinute;
use crate::pane::{MOST_BYTES, Pane, Part};
use crate::sample::Sample;
use crate::told::Teller;
use crate::words::Clock;
use crate::{Expectations, Glob};

/// Length of a pane: a minute.
pub(crate) const PANE_MS: i64 = 60_000;
/// The version of a key's record, behind its kind.
const VERSION: u8 = 1;

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// Its minute was open.
    InTime,
    /// Its minute had closed.
    Late,
    /// Its key has no room for another facet: it counts with the rest, or is left out.
    NotToldApart,
    /// Its key is not known, and its rule has no room for another one: it counts for nothing.
    NoRoom,
}

/// What a rule that knows as much as it may has passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FullRule {
    /// Signals of keys that were not known, beyond [`KeyLimit`]: they count for nothing. Of a rule on delivery gaps
    /// also links without room for their counter, one for each minute in which they came: nothing is compared there.
    pub keys: u64,
    /// Events with values that may be new, beyond 10,000 values of a rule on what is first seen: they are not told.
    pub values: u64,
}

impl FullRule {
    /// Adds what was passed over besides.
    pub fn add(&mut self, more: Self) {
        self.keys = self.keys.saturating_add(more.keys);
        self.values = self.values.saturating_add(more.values);
    }
}

/// The keys of production data, or of test data.
#[derive(Default)]
struct Keys {
    table: KeyTable<Kept>,
    states: States,
    /// The event that the last alert of a key named, or the last one that came: of keys that may have something to
    /// say of it.
    samples: hashbrown::HashMap<u32, Sample, Spread>,
    /// Keys that have no profile any more, and had one in some snapshot.
    forgotten: HashSet<u32>,
    /// Minute → keys with events in it, of the minutes that have not closed, of rules that tell things apart within a
    /// key.
    open: BTreeMap<i64, OpenMinute>,
    /// The same of rules that only count.
    counted: OpenCounts,
    /// Events with values that may be new, for which there was no room, since the last question.
    values_passed_over: u64,
}

/// A rule whose panes are minutes.
pub(crate) struct LearnedRule {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What its keys have learned is kept under this: a rule that asks for more or less keeps it.
    pub(crate) memory: String,
    evaluator: Evaluator,
    teller: Teller,
    expectations: Arc<Expectations>,
    /// The end of the last minute that was evaluated, in minutes since 1970.
    closed: Option<i64>,
    keys: [Keys; 2],
    /// Profiles that were restored and wait for the rest of their key.
    profiles: HashMap<(bool, String), Profile>,
    /// Keys that were restored and wait for their profile.
    restored: Vec<(bool, String, Vec<u8>)>,
}

impl LearnedRule {
    /// The rule, if its panes are minutes.
    pub(crate) fn of(rule: &crate::Rule, expectations: &Arc<Expectations>) -> Option<Self> {
        Some(Self {
            name: rule.name().to_owned(),
            version: rule.version().to_owned(),
            memory: rule.memory(),
            evaluator: Evaluator::of(rule.trigger()?)?,
            teller: Teller::of(rule, Clock::of(expectations.zone.as_ref())),
            expectations: Arc::clone(expectations),
            closed: None,
            keys: Default::default(),
            profiles: HashMap::new(),
            restored: Vec::new(),
        })
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.teller.shadow
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.keys.iter().map(|keys| keys.table.len()).sum()
    }

    /// How many keys a snapshot would write now.
    pub(crate) fn unsaved(&self) -> usize {
        self.keys.iter().map(|keys| keys.table.unsaved()).sum()
    }

    /// Knows so many keys at most.
    pub(crate) fn limit(&mut self, limit: KeyLimit) {
        self.keys.iter_mut().for_each(|keys| keys.table.limit(limit));
    }

    /// What was passed over since the last call, for want of room.
    pub(crate) fn take_passed_over(&mut self) -> FullRule {
        let mut all = FullRule::default();
        for keys in &mut self.keys {
            let values = std::mem::take(&mut keys.values_passed_over);
            all.add(FullRule { keys: keys.table.take_passed_over(), values });
        }
        all
    }

    /// What has passed, in milliseconds, after a restart.
    pub(crate) fn closed_at(&mut self, passed: Option<i64>) {
        self.closed = passed.map(|passed| passed.div_euclid(PANE_MS));
    }

    /// Looks the key of a signal up, to be added soon.
    pub(crate) fn likely(&self, signal: &Signal<'_>) -> Likely {
        self.keys[usize::from(signal.test)].table.likely(signal.key.as_ref())
    }

    /// Adds a signal.
    pub(crate) fn add(&mut self, likely: Likely, lane: u16, signal: &Signal<'_>) -> Added {
        let minute = signal.pane.0.max(0) / PANE_MS;
        let in_time = self.closed.is_none_or(|closed| minute >= closed);
        let minute = match self.closed {
            // A lane that was left out still proves that a key speaks.
            Some(closed) if self.evaluator.takes_late_minutes() => minute.max(closed),
            _ if !in_time => return Added::Late,
            _ => minute,
        };
        let Keys { table, counted, .. } = &mut self.keys[usize::from(signal.test)];
        let told_apart = if self.evaluator.only_counts() {
            counted.add(table, likely, minute, lane, signal).then_some(true)
        } else {
            self.add_apart(likely, minute, lane, signal)
        };
        match (told_apart, in_time) {
            (None, _) => Added::NoRoom,
            (Some(false), _) => Added::NotToldApart,
            (Some(true), true) => Added::InTime,
            (Some(true), false) => Added::Late,
        }
    }

    /// Adds a signal to a minute whose events are told apart. Whether it was; none if its key has no room.
    fn add_apart(&mut self, likely: Likely, minute: i64, lane: u16, signal: &Signal<'_>) -> Option<bool> {
        let keys = &mut self.keys[usize::from(signal.test)];
        let id = keys.table.found(likely, signal.key.as_ref())?.id;
        keys.table.touch(id);
        let room = MOST_BYTES.saturating_sub(keys.open_bytes(id));
        let rest = self.evaluator.rest(signal.attributes.get(FACET));
        let of_minute = keys.open.entry(minute).or_default();
        if let Some(pane) = of_minute.get_mut(id) {
            return Some(pane.add(lane, signal, room, rest));
        }
        let pane = Some(Pane::new(Part::of(lane, signal))).filter(|pane| pane.bytes() <= room);
        let fits = pane.is_some();
        if let Some(pane) = pane.or_else(|| Pane::of_rest(lane, signal, rest)) {
            of_minute.insert(id, pane);
        }
        Some(fits)
    }
}

/// The end of a minute, since 1970, as the time of a timer; none for what no minute that comes will reach.
fn timer(minute: i64) -> Option<u32> {
    u32::try_from(minute.max(1)).ok()
}

impl Keys {
    /// Forgets a key.
    fn remove(&mut self, id: u32) {
        if let Some(kept) = self.table.get_mut(id) {
            self.states.forget(*kept);
        }
        self.samples.remove(&id);
        self.table.remove(id);
    }

    /// Gives the memory of keys that are gone back, once there are many.
    fn pack(&mut self) {
        let Some(ids) = self.table.pack() else { return };
        let new = |id: &u32| ids.get(*id as usize).copied().filter(|id| *id != GONE);
        self.samples = self.samples.drain().filter_map(|(id, sample)| Some((new(&id)?, sample))).collect();
        self.forgotten = self.forgotten.iter().filter_map(new).collect();
        self.open.values_mut().for_each(|minute| minute.renumber(&ids));
        self.counted.renumber(&ids);
        self.states.pack(self.table.states_mut());
    }

    /// Whether each part of these minutes may be the counter of a link that is not known yet.
    fn has_room_for_counters(&self, panes: &[(u32, Pane)]) -> bool {
        let (mut counters, mut bytes) = (0_usize, 0_usize);
        for (id, pane) in panes {
            let key = self.table.name(*id).len();
            for part in pane.parts() {
                counters += 1;
                bytes = bytes.saturating_add(key + part.facet.len());
            }
        }
        self.table.has_room_beside(counters, bytes)
    }

    /// What the minutes of a key that have not closed take in its record, in bytes.
    fn open_bytes(&self, id: u32) -> usize {
        self.open.values().filter_map(|panes| panes.get(id)).map(Pane::bytes).sum()
    }

    /// Whether a minute that has not closed has events of a key.
    fn is_open(&self, id: u32) -> bool {
        self.open.values().any(|panes| panes.get(id).is_some())
    }
}

impl Expectations {
    /// The planned launches of a link, as half-open ranges of minutes.
    fn planned(&self, key: &str) -> Vec<(i64, i64)> {
        let of_link = self.launches.iter().filter(|launch| launch.links.iter().any(|link: &Glob| link.matches(key)));
        of_link.map(|launch| (launch.from_ms.div_euclid(PANE_MS), -(-launch.until_ms).div_euclid(PANE_MS))).collect()
    }

    /// After how many minutes a source is too quiet, where its configuration says it.
    pub(crate) fn quiet_after(&self, source: &str) -> Option<i64> {
        self.quiet_after_minutes.get(source).copied()
    }
}
