//! The model of a window store: a map in memory, nothing else.
//!
//! Public because tests of other rooms and the model checker run the production decision logic over it. It survives
//! nothing and its memory is unbounded; production uses the log store.

use std::collections::BTreeMap;

use super::{Entry, Hit, SeenPosition, StoreError, WindowStore, check_order};
use crate::key::Id128;

/// A window store in memory. Ordered, so that equal stores hash equally in a model checker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryStore {
    marks: BTreeMap<Id128, Hit>,
    position: Option<SeenPosition>,
}

impl MemoryStore {
    /// An empty store without a position.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl WindowStore for MemoryStore {
    fn lookup(&mut self, ids: &[Id128], out: &mut Vec<Option<Hit>>) -> Result<(), StoreError> {
        out.clear();
        out.extend(ids.iter().map(|id| self.marks.get(id).copied()));
        Ok(())
    }

    fn apply(&mut self, entries: &[Entry], position: SeenPosition) -> Result<(), StoreError> {
        check_order(self.position, entries, position)?;
        for entry in entries {
            self.marks.insert(entry.id, Hit { offset: entry.offset, received_at: entry.received_at });
        }
        self.position = Some(position);
        Ok(())
    }

    fn position(&self) -> Option<SeenPosition> {
        self.position
    }

    fn expire(&mut self, before_ms: i64) -> Result<(), StoreError> {
        self.marks.retain(|_, hit| hit.received_at >= before_ms);
        Ok(())
    }

    fn ids_held(&self) -> u64 {
        self.marks.len() as u64
    }
}
