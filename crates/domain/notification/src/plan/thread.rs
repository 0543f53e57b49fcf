//! What a group has opened at its destination, and what a message does to it.

use std::collections::BTreeSet;

use event::{Delivery, DeliveryStage, keyed_hash_hex};

use super::{Group, Planner, State, Waiting};
use crate::calm::Live;
use crate::group::{AlertGroup, MAX_KEYS};
use crate::message::{Message, Thread};

/// What is open at a destination for so long after its last message is forgotten, in milliseconds.
pub(super) const OPEN_MS: i64 = 7 * 86_400_000;
/// Links without a key that are known to be told of.
const MAX_TOLD: usize = 100;

/// What a group has opened at its destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenThread {
    /// The bundle that opened it.
    pub(super) first: String,
    /// The last bundle that was planned for it.
    pub(super) last: String,
    pub(super) title: String,
    /// Events so far.
    pub(super) count: u64,
    /// By what the receiver knows it; empty until it has said so.
    pub(super) receipt: String,
    /// The keys whose condition holds.
    pub(super) firing: BTreeSet<String>,
    /// Of rules that fire on every event, without a key: the links that were told of, the first of them, hashed.
    told: BTreeSet<String>,
    /// Those of `firing` and `told` that the opening message did not name.
    later: BTreeSet<String>,
    /// Whether the receiver was told that a person takes care of it.
    pub(super) acknowledged: bool,
    /// It is forgotten then.
    pub(super) until: i64,
}

impl OpenThread {
    pub(super) fn of(thread: Thread, bundle_id: &str, at: i64) -> Self {
        let Thread { first, title, count, receipt, firing, told, later, acknowledged, .. } = thread;
        Self {
            first,
            last: bundle_id.to_owned(),
            title,
            count,
            receipt,
            firing: firing.into_iter().collect(),
            told: told.into_iter().collect(),
            later: later.into_iter().collect(),
            acknowledged,
            until: at + OPEN_MS,
        }
    }

    /// Whether a key or link was told of, up to the message that opened it or up to the last one.
    fn has_told(&self, about: &str, at_first: bool) -> bool {
        (self.firing.contains(about) || self.told.contains(about)) && !(at_first && self.later.contains(about))
    }

    /// Takes notice of what a message tells of; `opens` if it is the first.
    fn note(&mut self, alerts: &AlertGroup, keyed: bool, opens: bool) {
        for (key, firing) in &alerts.firing {
            match firing {
                true if self.firing.len() < MAX_KEYS => {
                    if self.firing.insert(key.clone()) && !opens {
                        self.later.insert(key.clone());
                    }
                }
                true => {}
                false => {
                    self.firing.remove(key);
                    self.later.remove(key);
                }
            }
        }
        if !keyed && alerts.firing.is_empty() {
            for link in alerts.links.keys() {
                if self.told.len() < MAX_TOLD && self.told.insert(hashed(link)) && !opens {
                    self.later.insert(hashed(link));
                }
            }
        }
    }

    /// As a message stands in it that neither opens nor ends it.
    pub(super) fn thread(&self, key: String) -> Thread {
        Thread {
            key,
            opens: false,
            ends: false,
            first: self.first.clone(),
            title: self.title.clone(),
            count: self.count,
            receipt: self.receipt.clone(),
            firing: self.firing.iter().cloned().collect(),
            told: self.told.iter().cloned().collect(),
            later: self.later.iter().cloned().collect(),
            acknowledged: self.acknowledged,
        }
    }
}

/// A link as threads know it: its name may be one that does not leave.
fn hashed(link: &str) -> String {
    keyed_hash_hex(&["told.v1", link])
}

impl State {
    /// Why what waits is not told: a person takes care of what is open, and it is about nothing else. What the message
    /// that was acknowledged did not name is told.
    pub(super) fn is_taken_care_of(&self, keyed: bool, waiting: &Waiting, live: &Live, now_ms: i64) -> Option<String> {
        let open = self.open.as_ref()?;
        [(&open.last, false), (&open.first, true)].into_iter().find_map(|(id, at_first)| {
            let why = live.acknowledged(id, now_ms)?;
            // Each key has its own message.
            (keyed || waiting.is_about(|about| open.has_told(about, at_first))).then_some(why)
        })
    }
}

impl Waiting {
    /// Whether all that fires in it is this, or, of rules that fire on every event, all its links are.
    fn is_about(&self, known: impl Fn(&str) -> bool) -> bool {
        let both = [&self.new, &self.held];
        if both.iter().all(|alerts| alerts.firing.is_empty()) {
            // What is first seen is another thing at the same link, and what has no link is known by nothing.
            if both.iter().any(|alerts| !alerts.usual.is_empty() || (alerts.alerts > 0 && alerts.links.is_empty())) {
                return false;
            }
            let mut links = both.iter().flat_map(|alerts| alerts.links.keys());
            return both.iter().all(|alerts| alerts.other_links == 0) && links.all(|link| known(&hashed(link)));
        }
        let older = self.held.firing.iter().filter(|(key, _)| !self.new.firing.contains_key(*key));
        let mut firing = self.new.firing.iter().chain(older).filter(|(_, fires)| **fires);
        both.iter().all(|alerts| alerts.firing.len() < MAX_KEYS) && firing.all(|(key, _)| known(key))
    }
}

impl Planner {
    /// Takes a committed record that says by what a receiver knows a message.
    pub fn delivered(&mut self, record: &Delivery<'_>) {
        if record.stage != DeliveryStage::Delivered || record.body.is_empty() {
            return;
        }
        let group = Group::of(record);
        if let Some(open) = self.groups.get_mut(&group).and_then(|state| state.open.as_mut())
            && (open.first == record.bundle_id || open.last == record.bundle_id)
        {
            open.receipt = record.body.clone().into_owned();
        }
    }

    /// Whether what a group has opened is still to be known when nothing is said about it for a while.
    pub(super) fn stays_open(&self, group: &Group, state: &State, now_ms: i64) -> bool {
        let keyed = self.is_keyed(group);
        state.open.as_ref().is_some_and(|open| open.until > now_ms && (keyed || !open.firing.is_empty()))
    }

    /// Whether a group is about one key.
    pub(super) fn is_keyed(&self, group: &Group) -> bool {
        self.routing.rule(&group.rule).is_some_and(|rule| self.routing.keyed(rule, &group.destination))
    }

    /// By what the messages of a group belong together at its destination.
    pub(super) fn thread_key(&self, group: &Group) -> String {
        let keyed = self.is_keyed(group);
        let test = if group.test { "test" } else { "" };
        match keyed {
            // The same at every destination and for ever, so that an end finds its start.
            true => keyed_hash_hex(&["thread.v1", &group.rule, &group.about, test]),
            false => keyed_hash_hex(&["thread.v1", &group.rule, &group.about, test, &group.destination]),
        }
    }

    /// What a message does to what its group has opened.
    pub(super) fn thread(
        &self,
        group: &Group,
        state: &mut State,
        (message, follows): (&Message, bool),
        alerts: &AlertGroup,
        now_ms: i64,
    ) -> Thread {
        let key = self.thread_key(group);
        // What follows is due when the quiet ends, so it finds what was opened though nothing fires.
        let follows = follows && alerts.over < alerts.alerts;
        let known = match follows || self.is_known(group, state, now_ms) {
            true => state.open.take(),
            false => None,
        };
        let unknown = known.is_none();
        let mut open = known.unwrap_or_else(|| OpenThread {
            first: message.id.clone(),
            last: message.id.clone(),
            title: message.title.clone(),
            count: 0,
            receipt: String::new(),
            firing: BTreeSet::new(),
            told: BTreeSet::new(),
            later: BTreeSet::new(),
            acknowledged: false,
            until: now_ms,
        });
        open.count += message.count;
        open.note(alerts, self.is_keyed(group), unknown);
        let ends = open.firing.is_empty() && alerts.firing.values().any(|firing| !firing);
        // An end of what nothing is known about opens nothing.
        let opens = unknown && alerts.over < alerts.alerts;
        let thread = Thread {
            key,
            opens,
            ends,
            first: open.first,
            title: open.title,
            count: open.count,
            receipt: open.receipt,
            firing: open.firing.into_iter().collect(),
            told: open.told.into_iter().collect(),
            later: open.later.into_iter().collect(),
            acknowledged: open.acknowledged,
        };
        state.open = (!ends).then(|| OpenThread::of(thread.clone(), &message.id, now_ms));
        thread
    }
}
