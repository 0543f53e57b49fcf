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
    /// When that was decided, by the same clock.
    pub(crate) decided_at: i64,
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
            decided_at: planned.at.0,
            first_received_at: planned.first_received_at.0,
            attempt: planned.attempt,
            message,
            receipt,
            trace: None,
        }
    }

    /// How long it still waits, in milliseconds: never longer than was decided, though the clock was set back since.
    pub(crate) fn wait_ms(&self, now_ms: i64) -> i64 {
        let decided = self.not_before.saturating_sub(self.decided_at).max(0);
        self.not_before.saturating_sub(now_ms).clamp(0, decided)
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
    by_bundle: HashMap<String, Owed>,
    /// Bundles that were planned so far.
    planned: u64,
}

#[derive(Debug)]
struct Owed {
    /// No later than the offset of the record that planned it.
    offset: i64,
    /// Its place among all that was planned, in the order of the log.
    place: u64,
    delivery: PendingDelivery,
}

impl Outbox {
    /// Takes a committed record of `deliveries`. What it newly says to be owed, if it does.
    pub(crate) fn apply(&mut self, record: &Delivery<'_>, offset: i64) -> Option<&PendingDelivery> {
        match record.stage {
            DeliveryStage::Planned => {
                self.planned += 1;
                let owed = Owed { offset, place: self.planned, delivery: PendingDelivery::of(record) };
                let entry = self.by_bundle.entry(record.bundle_id.clone().into_owned());
                return Some(&entry.insert_entry(owed).into_mut().delivery);
            }
            DeliveryStage::Attempted => {
                if let Some(Owed { delivery, .. }) = self.by_bundle.get_mut(record.bundle_id.as_ref()) {
                    delivery.attempt = record.attempt;
                    (delivery.not_before, delivery.decided_at) = (record.not_before.0, record.at.0);
                }
            }
            DeliveryStage::Delivered | DeliveryStage::Failed => {
                self.by_bundle.remove(record.bundle_id.as_ref());
                if !record.body.is_empty() {
                    let same = |owed: &&mut PendingDelivery| {
                        owed.destination == record.destination && owed.opener() == Some(record.bundle_id.as_ref())
                    };
                    let waiting = self.by_bundle.values_mut().map(|owed| &mut owed.delivery);
                    waiting.filter(same).for_each(|owed| owed.receipt = record.body.clone().into_owned());
                }
            }
            DeliveryStage::Held | DeliveryStage::Silenced => {}
        }
        None
    }

    /// What is owed tells of a traced event.
    pub(crate) fn is_part_of(&mut self, bundle_id: &str, trace: TraceContext) {
        if let Some(owed) = self.by_bundle.get_mut(bundle_id) {
            owed.delivery.trace = Some(trace);
        }
    }

    pub(crate) fn get(&self, bundle_id: &str) -> Option<&PendingDelivery> {
        self.by_bundle.get(bundle_id).map(|owed| &owed.delivery)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PendingDelivery> {
        self.by_bundle.values().map(|owed| &owed.delivery)
    }

    /// What is owed in the order in which the log says that it was planned: an end is not sent before its start, though
    /// the clock was set back between them.
    pub(crate) fn in_order(&self) -> Vec<&PendingDelivery> {
        let mut all: Vec<&Owed> = self.by_bundle.values().collect();
        all.sort_unstable_by_key(|owed| owed.place);
        all.into_iter().map(|owed| &owed.delivery).collect()
    }

    /// The offset of `deliveries` from which what is owed was planned; none if nothing is owed.
    pub(crate) fn mark(&self) -> Option<i64> {
        self.by_bundle.values().map(|owed| owed.offset).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bundle_id: &str, stage: DeliveryStage, at: i64, not_before: i64) -> Delivery<'static> {
        let (at, not_before) = (Millis(at), Millis(not_before));
        Delivery { bundle_id: bundle_id.to_owned().into(), stage, at, not_before, ..Delivery::default() }
    }

    fn ids(outbox: &Outbox) -> Vec<&str> {
        outbox.in_order().into_iter().map(|owed| owed.bundle_id.as_str()).collect()
    }

    #[test]
    fn what_is_owed_goes_out_in_the_order_of_the_log_though_the_clock_was_set_back() {
        let (mut live, mut restored) = (Outbox::default(), Outbox::default());
        // Two transactions: live, all records of one have the offset at which it began.
        let planned = [("start", 9_000, 7, 7), ("other", 9_000, 7, 8), ("end", 3_000, 9, 9), ("again", 3_000, 9, 10)];
        for (bundle_id, at, begun, offset) in planned {
            live.apply(&record(bundle_id, DeliveryStage::Planned, at, at), begun);
            restored.apply(&record(bundle_id, DeliveryStage::Planned, at, at), offset);
        }
        for outbox in [&mut live, &mut restored] {
            assert_eq!(ids(outbox), ["start", "other", "end", "again"]);
            outbox.apply(&record("start", DeliveryStage::Attempted, 3_500, 4_500), 11);
            outbox.apply(&record("other", DeliveryStage::Delivered, 3_500, 3_500), 12);
            assert_eq!((ids(outbox), outbox.mark()), (vec!["start", "end", "again"], Some(7)));
        }
    }

    #[test]
    fn no_message_waits_longer_than_was_decided() {
        let mut outbox = Outbox::default();
        outbox.apply(&record("b", DeliveryStage::Planned, 90_000, 90_000), 1);
        let wait_ms = |outbox: &Outbox, now_ms| outbox.get("b").map(|owed| owed.wait_ms(now_ms));
        assert_eq!(wait_ms(&outbox, 10), Some(0), "it was planned by a clock that was ahead");
        outbox.apply(&record("b", DeliveryStage::Attempted, 90_000, 92_000), 2);
        let waits = [10, 90_500, 92_000, 99_000].map(|now_ms| wait_ms(&outbox, now_ms));
        assert_eq!(waits, [Some(2_000), Some(1_500), Some(0), Some(0)]);
    }
}
