//! The broker: logs that are written in transactions, one owner's at a time, and the fence.

use dedupe::{Restore, changelog};
use hookline_process::position::Carried;
use kafka::positions::{Committed, Range};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Event,
    Duplicate { first: u64 },
    Dead,
}

/// A record of `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Row { raw: u64, outcome: Outcome },
    Cut { raw_hi: u64 },
}

/// One offset of a log that is written in transactions. What is pending belongs to the transaction that ends next, whichever
/// transaction it was sent in: this is how Kafka does it, where one id writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Slot<T> {
    Pending(T),
    Committed(T),
    /// An aborted record, or the marker that ends a transaction.
    Gap,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Log<T> {
    slots: Vec<Slot<T>>,
    /// The newest epoch that has written here: older ones are refused from then on.
    epoch: u8,
}

impl<T: Clone> Log<T> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), epoch: 0 }
    }

    /// Returns the record's offset, unless a newer owner has written here.
    pub(crate) fn append(&mut self, epoch: u8, record: T) -> Option<i64> {
        if epoch < self.epoch {
            return None;
        }
        self.epoch = epoch;
        self.slots.push(Slot::Pending(record));
        Some(self.slots.len() as i64 - 1)
    }

    fn end_transaction(&mut self, commit: bool) {
        if !self.slots.iter().any(|slot| matches!(slot, Slot::Pending(_))) {
            return;
        }
        for slot in &mut self.slots {
            if let Slot::Pending(record) = slot {
                *slot = if commit { Slot::Committed(record.clone()) } else { Slot::Gap };
            }
        }
        self.slots.push(Slot::Gap);
    }

    pub(crate) fn stable(&self) -> Range {
        let pending = self.slots.iter().position(|slot| matches!(slot, Slot::Pending(_)));
        Range { low: 0, end: pending.unwrap_or(self.slots.len()) as i64 }
    }

    pub(crate) fn committed(&self) -> impl Iterator<Item = (i64, &T)> {
        self.slots.iter().enumerate().filter_map(|(offset, slot)| match slot {
            Slot::Committed(record) => Some((offset as i64, record)),
            _ => None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Broker {
    /// That of the coordinator: who took the id last.
    pub(crate) epoch: u8,
    pub(crate) open: bool,
    pub(crate) events: Log<Event>,
    pub(crate) seen: Log<Vec<u8>>,
    pub(crate) position: Option<Committed>,
    /// The one before, which the coordinator may give out instead once it was killed, until the next commit.
    previous: Option<Committed>,
    pub(crate) outdated: bool,
    /// Whether that ever was: what the open block holds is then unknown to whoever begins.
    blurred: bool,
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self {
            epoch: 0,
            open: false,
            events: Log::new(),
            seen: Log::new(),
            position: None,
            previous: None,
            outdated: false,
            blurred: false,
        }
    }

    /// Ends what an owner left open and bars it. The partitions are not told.
    pub(crate) fn fence(&mut self) -> u8 {
        self.end_transaction(false);
        self.epoch += 1;
        self.epoch
    }

    pub(crate) fn commit_position(&mut self, position: Committed) {
        self.previous = self.position.replace(position);
        self.outdated = false;
    }

    /// The coordinator comes up with the position before the last.
    pub(crate) fn outdate(&mut self) {
        self.position = self.previous.clone();
        (self.outdated, self.blurred) = (true, true);
    }

    /// A transaction of the owner in every partition, aborted.
    pub(crate) fn seal(&mut self) {
        self.end_transaction(false);
        self.events.epoch = self.epoch;
        self.seen.epoch = self.epoch;
    }

    pub(crate) fn end_transaction(&mut self, commit: bool) {
        self.events.end_transaction(commit);
        self.seen.end_transaction(commit);
        self.open = false;
    }
}

pub(crate) fn rows(broker: &Broker) -> impl Iterator<Item = (u64, Outcome)> + '_ {
    broker.events.committed().filter_map(|(_, event)| match event {
        Event::Row { raw, outcome } => Some((*raw, *outcome)),
        Event::Cut { .. } => None,
    })
}

pub(crate) fn position_is_the_end(broker: &Broker) -> bool {
    let count = rows(broker).count() as u64;
    let Some(Committed { next, metadata }) = &broker.position else { return count == 0 };
    let carried: Carried = metadata.parse().unwrap();
    let open = broker
        .events
        .committed()
        .fold(0, |open, (_, event)| if matches!(event, Event::Row { .. }) { open + 1 } else { 0 });
    let mut chain = Restore::after(None);
    for (offset, value) in broker.seen.committed() {
        let record = changelog::decode(value).unwrap();
        if chain.feed(offset, &record).is_err() {
            return false;
        }
    }
    *next == count as i64 && (broker.blurred || carried.open.rows == open) && chain.agrees_with(carried.seen).is_ok()
}
