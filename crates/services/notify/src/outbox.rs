//! What is planned and has no outcome yet.

use std::collections::HashMap;

use event::{Delivery, DeliveryStage, Millis, TraceContext};
use notification::Message;

/// A bundle that a destination is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingDelivery {
    pub(crate) bundle_id: String,
    pub(crate) destination: String,
    pub(crate) owner: String,
    pub(crate) rule: String,
    pub(crate) group: String,
    pub(crate) test: bool,
    /// When it was planned, in milliseconds since 1970.
    pub(crate) planned_at: i64,
    /// When it may be tried next.
    pub(crate) not_before: i64,
    pub(crate) first_received_at: i64,
    /// Attempts so far.
    pub(crate) attempt: u16,
    /// What to say; why it cannot be read, where a record is not what this version or an earlier one wrote.
    pub(crate) message: Result<Message, String>,
    /// By what the receiver knows what the message belongs to; empty where that is not known.
    pub(crate) receipt: String,
    /// What it is a part of, if it tells of a traced event.
    pub(crate) trace: Option<TraceContext>,
}

/// What came of an attempt, or of giving up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) bundle_id: String,
    /// Attempted, delivered or failed.
    pub(crate) stage: DeliveryStage,
    pub(crate) at: i64,
    pub(crate) not_before: i64,
    pub(crate) attempt: u16,
    /// The HTTP status, 0 if there was none.
    pub(crate) status: u16,
    pub(crate) error: String,
    /// Delivered: by what the receiver knows it; empty where it does not say.
    pub(crate) receipt: String,
}

impl PendingDelivery {
    fn of(planned: &Delivery<'_>) -> Self {
        let message = Message::thawed(&planned.body);
        let thread = message.as_ref().ok().and_then(|message| message.thread.as_ref());
        let receipt = thread.map(|thread| thread.receipt.clone()).unwrap_or_default();
        Self {
            bundle_id: planned.bundle_id.clone().into_owned(),
            destination: planned.destination.clone().into_owned(),
            owner: planned.owner.clone().into_owned(),
            rule: planned.rule.clone().into_owned(),
            group: planned.group.clone().into_owned(),
            test: planned.test,
            planned_at: planned.at.0,
            not_before: planned.not_before.0,
            first_received_at: planned.first_received_at.0,
            attempt: planned.attempt,
            message,
            receipt,
            trace: None,
        }
    }

    /// The bundle that opened what the message belongs to, where it is another.
    pub(crate) fn opener(&self) -> Option<&str> {
        let thread = self.message.as_ref().ok()?.thread.as_ref()?;
        (thread.first != self.bundle_id).then_some(thread.first.as_str())
    }

    /// The record that tells an outcome.
    pub(crate) fn record(&self, outcome: &Outcome) -> Delivery<'static> {
        Delivery {
            bundle_id: self.bundle_id.clone().into(),
            destination: self.destination.clone().into(),
            owner: self.owner.clone().into(),
            rule: self.rule.clone().into(),
            group: self.group.clone().into(),
            stage: outcome.stage,
            at: Millis(outcome.at),
            not_before: Millis(outcome.not_before),
            first_received_at: Millis(self.first_received_at),
            attempt: outcome.attempt,
            status: outcome.status,
            error: outcome.error.clone().into(),
            body: outcome.receipt.clone().into(),
            test: self.test,
            ..Delivery::default()
        }
    }
}

/// Everything that is owed, and where it was planned.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    by_bundle: HashMap<String, (i64, PendingDelivery)>,
}

impl Outbox {
    /// Takes a committed record of `deliveries`. What it newly says to be owed, if it does.
    pub(crate) fn apply(&mut self, record: &Delivery<'_>, offset: i64) -> Option<&PendingDelivery> {
        match record.stage {
            DeliveryStage::Planned => {
                let entry = self.by_bundle.entry(record.bundle_id.clone().into_owned());
                return Some(&entry.insert_entry((offset, PendingDelivery::of(record))).into_mut().1);
            }
            DeliveryStage::Attempted => {
                if let Some((_, owed)) = self.by_bundle.get_mut(record.bundle_id.as_ref()) {
                    (owed.attempt, owed.not_before) = (record.attempt, record.not_before.0);
                }
            }
            DeliveryStage::Delivered | DeliveryStage::Failed => {
                self.by_bundle.remove(record.bundle_id.as_ref());
                if !record.body.is_empty() {
                    let same = |owed: &&mut PendingDelivery| {
                        owed.destination == record.destination && owed.opener() == Some(record.bundle_id.as_ref())
                    };
                    let waiting = self.by_bundle.values_mut().map(|(_, owed)| owed);
                    waiting.filter(same).for_each(|owed| owed.receipt = record.body.clone().into_owned());
                }
            }
            DeliveryStage::Held | DeliveryStage::Silenced => {}
        }
        None
    }

    /// What is owed tells of a traced event.
    pub(crate) fn is_part_of(&mut self, bundle_id: &str, trace: TraceContext) {
        if let Some((_, owed)) = self.by_bundle.get_mut(bundle_id) {
            owed.trace = Some(trace);
        }
    }

    pub(crate) fn get(&self, bundle_id: &str) -> Option<&PendingDelivery> {
        self.by_bundle.get(bundle_id).map(|(_, owed)| owed)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PendingDelivery> {
        self.by_bundle.values().map(|(_, owed)| owed)
    }

    /// The offset of `deliveries` from which what is owed was planned; none if nothing is owed.
    pub(crate) fn mark(&self) -> Option<i64> {
        self.by_bundle.values().map(|(offset, _)| *offset).min()
    }
}
