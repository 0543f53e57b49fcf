//! Telling a receiver that what it has open is taken care of: where a person acknowledged it here, and the receiver
//! knows that state.

use std::collections::BTreeMap;

use event::{Delivery, DeliveryStage, keyed_hash_hex};

use super::{Group, Planner, State};
use crate::message::{Message, MessageKind, Window, instant};

/// Whether a record says that alerts are not told since a person had acknowledged what they follow.
pub fn is_acknowledged(record: &Delivery<'_>) -> bool {
    record.stage == DeliveryStage::Silenced && record.error.starts_with("acknowledged by ")
}

impl Planner {
    /// What a person said who acknowledged what a group has open, where its destination is still to be told.
    fn to_be_told(&self, group: &Group, state: &State, now_ms: i64) -> Option<String> {
        let open = state.open.as_ref().filter(|open| !open.acknowledged)?;
        // What is over is not open, though it was not looked at since.
        if state.waiting.is_none() && !self.is_known(group, state, now_ms) {
            return None;
        }
        if group.test || !self.routing.is_acknowledging(&group.destination) {
            return None;
        }
        [&open.first, &open.last].into_iter().find_map(|id| self.live.acknowledged(id, now_ms))
    }

    /// Whether a destination is to be told of an acknowledgement.
    pub(super) fn has_acknowledgement(&self, now_ms: i64) -> bool {
        self.groups.iter().any(|(group, state)| self.to_be_told(group, state, now_ms).is_some())
    }

    /// The messages that tell destinations of acknowledgements, each once.
    pub(super) fn acknowledgements(&mut self, now_ms: i64) -> Vec<Delivery<'static>> {
        let told: Vec<(Group, String)> = self
            .groups
            .iter()
            .filter_map(|(group, state)| Some((group.clone(), self.to_be_told(group, state, now_ms)?)))
            .collect();
        told.into_iter().filter_map(|(group, why)| self.acknowledgement(&group, why, now_ms)).collect()
    }

    fn acknowledgement(&mut self, group: &Group, why: String, now_ms: i64) -> Option<Delivery<'static>> {
        let rule = self.routing.rule(&group.rule)?.clone();
        let key = self.thread_key(group);
        let open = self.groups.get_mut(group)?.open.as_mut()?;
        open.acknowledged = true;
        let id = keyed_hash_hex(&["acknowledge.v1", &open.first]);
        let thread = open.thread(key);
        let at = instant(now_ms);
        let message = Message {
            id: id.clone(),
            kind: MessageKind::Acknowledged,
            rule: rule.name,
            owner: rule.owner,
            mention: None,
            instruction: None,
            title: thread.title.clone(),
            text: format!("{}\n{why}", thread.title),
            count: 0,
            alerts: 0,
            over: 0,
            links: Vec::new(),
            sample_event_keys: Vec::new(),
            attributes: BTreeMap::new(),
            window: Window { start: at.clone(), end: at },
            alert_ids: Vec::new(),
            test: false,
            digest: Vec::new(),
            thread: Some(thread),
            attachment: None,
        };
        let mut record = self.record(group, id, DeliveryStage::Planned, now_ms);
        record.first_received_at = record.at;
        record.body = message.frozen().into();
        Some(record)
    }

    /// Takes a committed record that told of an acknowledgement.
    pub(super) fn restore_acknowledgement(&mut self, group: &Group) {
        if let Some(open) = self.groups.get_mut(group).and_then(|state| state.open.as_mut()) {
            open.acknowledged = true;
        }
    }
}
