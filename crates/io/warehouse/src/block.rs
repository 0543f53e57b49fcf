//! A block: the rows between two cuts of a lane, as they go to ClickHouse.

use std::fmt;
use std::ops::RangeInclusive;

use event::{Erasure, LinkEvent, Value};

use crate::erase::{ERASED, stub};
use crate::native::{Columns, Constant};
use crate::{Side, WarehouseError};

/// What a block is known by, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlockId {
    /// The incarnation of the topics.
    pub incarnation: String,
    /// The lane.
    pub lane: u16,
    /// The offset on `events` of the cut that ends the block.
    pub cut: u64,
}

impl fmt::Display for BlockId {
    /// The deduplication token: `<incarnation>-<lane>-<cut>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.incarnation, self.lane, self.cut)
    }
}

/// The rows of one block that go to one database.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    columns: Columns,
    offsets: Vec<u64>,
    received: Option<(i64, i64)>,
}

impl Rows {
    fn new() -> Self {
        Self { columns: Columns::new(LinkEvent::COLUMNS), offsets: Vec::new(), received: None }
    }

    fn push(&mut self, event: &LinkEvent<'_>) -> Result<(), WarehouseError> {
        let mut row = self.columns.row();
        event.visit(|value| row.push(value));
        row.finish()?;
        self.note(event);
        Ok(())
    }

    /// Adds the stub of an event that was erased.
    fn push_stub(&mut self, stub: &LinkEvent<'_>) -> Result<(), WarehouseError> {
        let mut row = self.columns.row();
        // An outcome that no record of a topic has, in the first column.
        let mut outcome = Some(Value::Text(ERASED));
        stub.visit(|value| row.push(outcome.take().unwrap_or(value)));
        row.finish()?;
        self.note(stub);
        Ok(())
    }

    fn note(&mut self, event: &LinkEvent<'_>) {
        self.offsets.push(event.raw_offset);
        let at = event.received_at.0;
        self.received = Some(self.received.map_or((at, at), |(low, high)| (low.min(at), high.max(at))));
    }

    /// The raw offsets, one a row.
    pub(crate) fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// The names of the columns and the bytes of the block.
    pub(crate) fn native(&self, id: &BlockId) -> Result<(String, Vec<u8>), WarehouseError> {
        let constants = [
            Constant { name: "incarnation", value: Value::Text(&id.incarnation) },
            Constant { name: "lane", value: Value::Short(id.lane) },
            Constant { name: "cut", value: Value::Unsigned(id.cut) },
        ];
        Ok((self.columns.names(&constants), self.columns.native(&constants)?))
    }

    /// Only the rows with these raw offsets.
    pub(crate) fn only(&self, mut wanted: impl FnMut(u64) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.offsets.len()).filter(|row| wanted(self.offsets[*row])).collect();
        Self {
            columns: self.columns.take(&rows),
            offsets: rows.iter().map(|row| self.offsets[*row]).collect(),
            received: self.received,
        }
    }
}

/// Collects the events of a lane until a cut ends the block.
#[derive(Debug)]
pub struct BlockBuilder {
    incarnation: String,
    lane: u16,
    production: Rows,
    test: Rows,
    erasures: Vec<Erasure>,
}

impl BlockBuilder {
    /// An empty block of a lane.
    pub fn new(incarnation: impl Into<String>, lane: u16) -> Self {
        let (production, test) = (Rows::new(), Rows::new());
        Self { incarnation: incarnation.into(), lane, production, test, erasures: Vec::new() }
    }

    /// From now on, what these erasures are about becomes a stub.
    pub fn without(&mut self, erasures: Vec<Erasure>) {
        self.erasures = erasures;
    }

    /// Adds an event; test data is kept apart.
    ///
    /// # Errors
    /// [`WarehouseError::ColumnShape`] when the event's declaration does not fit its columns; the block is then of no use.
    #[inline]
    pub fn push(&mut self, event: &LinkEvent<'_>) -> Result<(), WarehouseError> {
        if let Some(erasure) = self.erasures.iter().find(|erasure| erasure.covers(event)) {
            return self.push_stub(&stub(event, &erasure.id));
        }
        if event.test { self.test.push(event) } else { self.production.push(event) }
    }

    #[cold]
    fn push_stub(&mut self, stub: &LinkEvent<'_>) -> Result<(), WarehouseError> {
        if stub.test { self.test.push_stub(stub) } else { self.production.push_stub(stub) }
    }

    /// How many rows wait, of both kinds.
    pub fn rows(&self) -> usize {
        self.production.offsets.len() + self.test.offsets.len()
    }

    /// About how many bytes the rows take.
    pub fn bytes(&self) -> usize {
        self.production.columns.bytes() + self.test.columns.bytes()
    }

    /// Ends the block at the cut with this offset on `events`, and starts the next one.
    pub fn finish(&mut self, cut: u64) -> Block {
        Block {
            id: BlockId { incarnation: self.incarnation.clone(), lane: self.lane, cut },
            production: std::mem::replace(&mut self.production, Rows::new()),
            test: std::mem::replace(&mut self.test, Rows::new()),
        }
    }

    /// Forgets what was collected, as after a rewind to the last cut.
    pub fn clear(&mut self) {
        self.production = Rows::new();
        self.test = Rows::new();
    }
}

/// The rows between two cuts of a lane: one INSERT, or two if some are test data.
#[derive(Debug, Clone)]
pub struct Block {
    id: BlockId,
    production: Rows,
    test: Rows,
}

impl Block {
    /// What the block is known by.
    pub fn id(&self) -> &BlockId {
        &self.id
    }

    /// How many rows it has, of both kinds.
    pub fn rows(&self) -> usize {
        self.production.offsets.len() + self.test.offsets.len()
    }

    /// How many rows go to one of the databases.
    pub fn rows_of(&self, side: Side) -> usize {
        self.side(side).offsets.len()
    }

    /// The raw offsets of its rows, in ascending order.
    pub fn offsets(&self) -> Vec<u64> {
        let mut offsets = [self.production.offsets(), self.test.offsets()].concat();
        offsets.sort_unstable();
        offsets
    }

    /// The raw offsets of its rows by database, ascending, as a [`Settling`](crate::Settling) takes them.
    pub fn by_side(&self) -> [Vec<u64>; 2] {
        [&self.production, &self.test].map(|rows| rows.offsets.clone())
    }

    /// The smallest and the largest received time of its rows, in milliseconds since 1970.
    pub fn received(&self) -> Option<RangeInclusive<i64>> {
        let (low, high) = [self.production.received, self.test.received]
            .into_iter()
            .flatten()
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))?;
        Some(low..=high)
    }

    pub(crate) fn side(&self, side: Side) -> &Rows {
        match side {
            Side::Production => &self.production,
            Side::Test => &self.test,
        }
    }
}

#[cfg(test)]
mod tests {
    use event::{Millis, Scope};

    use super::*;

    #[test]
    fn what_was_erased_becomes_stubs_and_all_else_the_rows_of_its_events_in_any_order() {
        let through = 1_795_428_001_000;
        let event = |source: &'static str, after: i64, test| LinkEvent {
            source: source.into(),
            received_at: Millis(through + after),
            raw_offset: after.unsigned_abs(),
            test,
            ..LinkEvent::default()
        };
        // The first came while a clock was four days ahead; what was erased comes after it all the same.
        let events = [
            event("dub", 4 * 86_400_000, false),
            event("bitly", -5, false),
            event("dub", 7, true),
            event("dub", -1, false),
            event("dub", -2, true),
            event("dub", 0, true),
        ];
        let erasure = Erasure { id: "e-1".into(), key: [1, 2], scope: Scope::source("dub"), through: Millis(through) };
        let (mut knows, mut by_hand) = (BlockBuilder::new("i", 0), BlockBuilder::new("i", 0));
        knows.without(vec![erasure.clone()]);
        let mut stubs = 0;
        for event in &events {
            knows.push(event).expect("a row");
            if event.source == "dub" && event.received_at.0 <= through {
                by_hand.push_stub(&stub(event, "e-1")).expect("a row");
                stubs += 1;
            } else {
                by_hand.push(event).expect("a row");
            }
        }
        assert_eq!(stubs, 3);
        let (knows, by_hand) = (knows.finish(9), by_hand.finish(9));
        for side in Side::BOTH {
            let native = |block: &Block| block.side(side).native(block.id()).expect("a block");
            assert_eq!(native(&knows), native(&by_hand));
        }
        assert_eq!((knows.by_side(), knows.received()), (by_hand.by_side(), by_hand.received()));
    }
}
