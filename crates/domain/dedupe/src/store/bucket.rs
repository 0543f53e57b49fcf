//! A bucket of the window: a file of the log, and what finds the cell of an id in it.

use std::fs;
use std::sync::Arc;

use super::beside::retire;
use super::seal::{self, Seal};
use super::segment::Segment;
use super::sieve::{Tags, tag_of};
use super::table::Table;
use super::{Entry, StoreError};
use crate::key::Id128;

/// The bucket that is written to.
pub(super) struct Current {
    pub(super) segment: Arc<Segment>,
    /// The newest received time of its marks, Unix milliseconds.
    pub(super) newest: Option<i64>,
    pub(super) table: Table,
}

/// A bucket that is not written to any more.
pub(super) struct Closed {
    pub(super) segment: Arc<Segment>,
    pub(super) newest: Option<i64>,
    pub(super) index: Index,
}

pub(super) enum Index {
    /// As it was written, until it is sealed and its marks are in the sieve.
    Table(Table, Option<Seal>),
    Seal(Seal),
}

impl From<Current> for Closed {
    fn from(current: Current) -> Self {
        Self { segment: current.segment, newest: current.newest, index: Index::Table(current.table, None) }
    }
}

impl Closed {
    /// The latest mark of an id that may be in buckets of these tags, by the sieve.
    pub(super) fn lookup(&self, id: Id128, tags: Tags) -> Result<Option<Entry>, StoreError> {
        match &self.index {
            Index::Table(table, _) if table.may_have(id) => table.lookup(&self.segment, id),
            Index::Seal(seal) if tags >> tag_of(self.segment.number) & 1 == 1 => seal.lookup(&self.segment, id),
            Index::Table(..) | Index::Seal(_) => Ok(None),
        }
    }

    /// Its table, as long as the sieve does not know its marks.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.index {
            Index::Table(table, _) => Some(table),
            Index::Seal(_) => None,
        }
    }

    /// The sieve has its marks: if it is sealed, it needs no table any more. That is given back beside the lane.
    pub(super) fn give_table_up(&mut self) {
        if let Index::Table(_, seal) = &mut self.index
            && let Some(seal) = seal.take()
        {
            retire(std::mem::replace(&mut self.index, Index::Seal(seal)));
        }
    }

    pub(super) fn marks(&self) -> u64 {
        match &self.index {
            Index::Table(table, _) => table.len(),
            Index::Seal(seal) => seal.marks(),
        }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.table().map_or(0, Table::memory_bytes)
    }

    /// Deletes its files.
    pub(super) fn delete(&self) -> Result<(), StoreError> {
        let path = &self.segment.path;
        seal::remove(path)?;
        fs::remove_file(path).map_err(StoreError::io("delete", path))
    }
}

/// How many buckets at the front have expired, by the newest received time of each; never the last, which holds the
/// position.
///
/// A bucket is as old as the oldest of its own newest mark and those of the buckets begun after it: marks from a clock
/// that was ahead expire with what was written after the clock was set right. A closed bucket without marks goes at once.
pub(super) fn expired(newest: &[Option<i64>], before_ms: i64) -> usize {
    let mut age = i64::MAX;
    let mut expired: Vec<bool> = newest
        .iter()
        .rev()
        .map(|newest| {
            age = age.min(newest.unwrap_or(i64::MAX));
            newest.is_none() || age < before_ms
        })
        .collect();
    expired.reverse();
    let closed = newest.len().saturating_sub(1);
    expired.iter().take(closed).take_while(|&&expired| expired).count()
}

#[cfg(test)]
mod tests {
    use super::expired;

    #[test]
    fn buckets_expire_from_the_front_and_the_last_never() {
        assert_eq!(expired(&[], 100), 0);
        assert_eq!(expired(&[Some(1)], 100), 0);
        assert_eq!(expired(&[Some(1), Some(2), Some(3)], 100), 2);
        assert_eq!(expired(&[Some(1), Some(2), Some(3)], 2), 1);
        assert_eq!(expired(&[Some(1), Some(2), Some(3)], 1), 0);
    }

    #[test]
    fn a_bucket_without_marks_does_not_hold_others_up() {
        assert_eq!(expired(&[None, Some(5)], 0), 1);
        assert_eq!(expired(&[Some(1), None, Some(5)], 2), 2);
        assert_eq!(expired(&[Some(3), None, Some(5)], 2), 0);
        assert_eq!(expired(&[Some(1), None], 2), 1);
    }

    #[test]
    fn what_a_clock_wrote_that_was_ahead_expires_with_what_came_after() {
        let newest = [Some(10), Some(1_000_000), Some(20), Some(30), Some(40)];
        assert_eq!(expired(&newest, 20), 1);
        assert_eq!(expired(&newest, 21), 3);
    }
}
