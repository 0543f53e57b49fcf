//! What a group has opened at its destination, and what a message does to it.

use std::collections::BTreeSet;

use event::{Delivery, DeliveryStage, keyed_hash_hex};

use super::{Group, Planner, State};
use crate::group::{AlertGroup, MAX_KEYS};
use crate::message::{Message, MessageKind, Thread};

/// What is open at a destination for so long after its last message is forgotten, in milliseconds.
const OPEN_MS: i64 = 7 * 86_400_000;

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
    /// Whether the receiver was told that a person takes care of it.
    pub(super) acknowledged: bool,
    /// It is forgotten then.
    pub(super) until: i64,
}

impl OpenThread {
    pub(super) fn of(thread: Thread, bundle_id: &str, at: i64) -> Self {
        let Thread { first, title, count, receipt, firing, acknowledged, .. } = thread;
        let firing = firing.into_iter().collect();
        Self { first, last: bundle_id.to_owned(), title, count, receipt, firing, acknowledged, until: at + OPEN_MS }
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
            acknowledged: self.acknowledged,
        }
    }
}

impl Planner {
    /// Takes a committed record that says by what a receiver knows a message.
    pub fn delivered(&mut self, record: &Delivery<'_>) {
        if record.stage != DeliveryStage::Delivered || record.body.is_empty() {
            return;
        }
        let group = Group {
            rule: record.rule.clone().into_owned(),
            destination: record.destination.clone().into_owned(),
            about: record.group.clone().into_owned(),
            test: record.test,
        };
        if let Some(open) = self.groups.get_mut(&group).and_then(|state| state.open.as_mut())
            && (open.first == record.bundle_id || open.last == record.bundle_id)
        {
            open.receipt = record.body.clone().into_owned();
        }
    }

    /// Whether what a group has opened is still to be known when nothing is said about it for a while.
    pub(super) fn stays_open(&self, group: &Group, state: &State, now_ms: i64) -> bool {
        let keyed = self.routing.rule(&group.rule).is_some_and(|rule| self.routing.keyed(rule, &group.destination));
        state.open.as_ref().is_some_and(|open| open.until > now_ms && (keyed || !open.firing.is_empty()))
    }

    /// By what the messages of a group belong together at its destination.
    pub(super) fn thread_key(&self, group: &Group) -> String {
        let keyed = self.routing.rule(&group.rule).is_some_and(|rule| self.routing.keyed(rule, &group.destination));
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
        message: &Message,
        alerts: &AlertGroup,
        now_ms: i64,
    ) -> Thread {
        let key = self.thread_key(group);
        // What follows is due when the quiet ends, so it finds what was opened though nothing fires.
        let follows = message.kind == MessageKind::Summary;
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
            acknowledged: false,
            until: now_ms,
        });
        open.count += message.count;
        for (key, firing) in &alerts.firing {
            match firing {
                true if open.firing.len() < MAX_KEYS => drop(open.firing.insert(key.clone())),
                true => {}
                false => drop(open.firing.remove(key)),
            }
        }
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
            acknowledged: open.acknowledged,
        };
        state.open = (!ends).then(|| OpenThread::of(thread.clone(), &message.id, now_ms));
        thread
    }
}
