//! What brings a block in exactly once, step by step.
//!
//! Pure: whoever drives it makes the inserts and the read-backs ([`BlockStore::send`](crate::BlockStore::send),
//! [`BlockStore::read`](crate::BlockStore::read)) and tells what came of them. It rests on this:
//! - A token absorbs a repeat of what went in under it, even one that arrives late, as long as the deduplication window
//!   remembers it. So rows that are missing go in under the block's own token first, whose insert may still be under way.
//! - The window forgets, if hours pass. So what may be old is read back before it is sent: rows that are there are not sent.
//! - An engine that was killed inside an insert may believe that it has a block. So what was sent is read back, and only what
//!   is still missing then goes in under a repair's number. The next number is taken only after the insert before it was
//!   acknowledged; after a crash the count starts again at 1, and repairs that are there already are absorbed.

use std::collections::{BTreeMap, VecDeque};

use crate::Side;

/// Acknowledged repairs after which the lane stops: each heals one crash inside an insert.
const MAX_REPAIRS: u32 = 5;

/// What came of settling a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Rows that were missing after the block went in whole under its own token.
    pub missing: usize,
    /// Repairs that ClickHouse acknowledged.
    pub repairs: u32,
    /// Raw offsets that rest more than once: nothing here makes them, so somebody should look.
    pub repeated: Vec<u64>,
}

/// One INSERT: rows of a block into one database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Insert {
    /// Which database.
    pub side: Side,
    /// Which rows, and under which token.
    pub part: Part,
}

/// Which rows of a block go into a database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of them, under the block's own token.
    Whole,
    /// Those at these raw offsets, under the token `<block>-r<number>`.
    Repair {
        /// Counted from 1.
        number: u32,
        /// Ascending.
        offsets: Vec<u64>,
    },
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Make this insert, under a fence that is proven; tell [`Settling::inserted`] when it was acknowledged.
    Insert(Insert),
    /// Read the block back from both databases; tell [`Settling::read`] how often each raw offset rests.
    Read,
    /// Nothing: every row is there.
    Done(Completion),
    /// Nothing: ClickHouse acknowledges rows and does not have them.
    StillMissing {
        /// How many rows.
        missing: usize,
        /// The first of them.
        first: u64,
        /// After how many repairs.
        repairs: u32,
    },
}

/// A block on its way. An insert or a read-back that fails leaves the block uncertain: start anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settling {
    /// The raw offsets of each side, ascending.
    rows: [Vec<u64>; 2],
    inserts: VecDeque<Insert>,
    stage: Stage,
    /// Rows that were missing after the whole block was sent.
    at_first: Option<usize>,
    repairs: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// Sent by nobody before, by the fence: done when its inserts are acknowledged.
    Certain,
    /// What is there already?
    Look,
    /// What is there now?
    Check,
    Done {
        repeated: Vec<u64>,
    },
    StillMissing {
        missing: Vec<u64>,
    },
}

impl Settling {
    /// A block that nobody can have sent before, but for somebody who was fenced a moment ago: it follows one that this owner of
    /// the lane settled.
    #[must_use]
    pub fn certain(rows: [Vec<u64>; 2]) -> Self {
        let inserts = whole(&rows, |_| true);
        Self { rows, inserts, stage: Stage::Certain, at_first: None, repairs: 0 }
    }

    /// A block of which it is not known how much went in.
    #[must_use]
    pub fn uncertain(rows: [Vec<u64>; 2]) -> Self {
        let stage = if rows.iter().all(Vec::is_empty) { Stage::Certain } else { Stage::Look };
        Self { rows, inserts: VecDeque::new(), stage, at_first: None, repairs: 0 }
    }

    /// What is to be done next. The same again until it is told what came of it.
    #[must_use]
    pub fn next(&self) -> Next {
        if let Some(insert) = self.inserts.front() {
            return Next::Insert(insert.clone());
        }
        let done = |repeated: &[u64]| Completion {
            missing: self.at_first.unwrap_or(0),
            repairs: self.repairs,
            repeated: repeated.to_vec(),
        };
        match &self.stage {
            Stage::Certain => Next::Done(done(&[])),
            Stage::Look | Stage::Check => Next::Read,
            Stage::Done { repeated } => Next::Done(done(repeated)),
            Stage::StillMissing { missing } => Next::StillMissing {
                missing: missing.len(),
                first: missing.first().copied().unwrap_or_default(),
                repairs: self.repairs,
            },
        }
    }

    /// Time has passed: the fence had to be proven again before the next insert. An insert of an earlier owner may have arrived
    /// since, and its token may be forgotten by now. So what was read back is too old to insert by, and a block that nobody could
    /// have sent may have been sent by somebody who was fenced a moment before: the block is looked at (again).
    pub fn aged(&mut self) {
        *self = Self::uncertain(std::mem::take(&mut self.rows));
    }

    /// The insert that [`Self::next`] named was acknowledged.
    pub fn inserted(&mut self) {
        self.inserts.pop_front();
    }

    /// The block was read back: how often each raw offset rests, over both databases.
    pub fn read(&mut self, present: &BTreeMap<u64, u64>) {
        let missing = |offset: &u64| !present.contains_key(offset);
        let all: Vec<u64> = self.rows.iter().flatten().copied().filter(missing).collect();
        match self.stage {
            Stage::Look if !all.is_empty() => {
                // A side that is there as a whole is not sent again: its token may be forgotten.
                self.inserts = whole(&self.rows, |rows| rows.iter().any(missing));
                self.stage = Stage::Check;
                return;
            }
            Stage::Check => {
                self.at_first.get_or_insert(all.len());
            }
            _ => {}
        }
        self.stage = if all.is_empty() {
            let repeated = present.iter().filter(|(_, times)| **times > 1).map(|(offset, _)| *offset).collect();
            Stage::Done { repeated }
        } else if self.repairs == MAX_REPAIRS {
            let mut missing = all;
            missing.sort_unstable();
            Stage::StillMissing { missing }
        } else {
            self.repairs += 1;
            let number = self.repairs;
            let of = |side: Side| {
                let offsets: Vec<u64> = self.rows[side as usize].iter().copied().filter(missing).collect();
                (!offsets.is_empty()).then_some(Insert { side, part: Part::Repair { number, offsets } })
            };
            self.inserts = Side::BOTH.into_iter().filter_map(of).collect();
            Stage::Check
        };
    }
}

/// The sides that have rows and are wanted, whole.
fn whole(rows: &[Vec<u64>; 2], wanted: impl Fn(&[u64]) -> bool) -> VecDeque<Insert> {
    let sides = Side::BOTH.into_iter().filter(|side| {
        let rows = &rows[*side as usize];
        !rows.is_empty() && wanted(rows)
    });
    sides.map(|side| Insert { side, part: Part::Whole }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> [Vec<u64>; 2] {
        [vec![1, 3], vec![2]]
    }

    fn whole_of(side: Side) -> Next {
        Next::Insert(Insert { side, part: Part::Whole })
    }

    fn there(offsets: &[u64]) -> BTreeMap<u64, u64> {
        offsets.iter().map(|offset| (*offset, 1)).collect()
    }

    #[test]
    fn a_certain_block_is_two_inserts_and_no_question() {
        let mut block = Settling::certain(rows());
        assert_eq!(block.next(), whole_of(Side::Production));
        block.inserted();
        assert_eq!(block.next(), whole_of(Side::Test));
        block.inserted();
        assert_eq!(block.next(), Next::Done(Completion { missing: 0, repairs: 0, repeated: vec![] }));
    }

    #[test]
    fn an_uncertain_block_that_is_there_is_not_sent_again_not_even_a_side_of_it() {
        let mut block = Settling::uncertain(rows());
        assert_eq!(block.next(), Next::Read);
        block.read(&there(&[1, 2, 3]));
        assert_eq!(block.next(), Next::Done(Completion { missing: 0, repairs: 0, repeated: vec![] }));
        let mut half = Settling::uncertain(rows());
        half.read(&there(&[1, 3]));
        assert_eq!(half.next(), whole_of(Side::Test));
        half.inserted();
        assert_eq!(half.next(), Next::Read);
    }

    #[test]
    fn rows_go_in_under_the_blocks_own_token_before_a_repair_and_repairs_are_counted() {
        let mut block = Settling::uncertain(rows());
        block.read(&there(&[3]));
        for side in Side::BOTH {
            assert_eq!(block.next(), whole_of(side));
            block.inserted();
        }
        block.read(&there(&[3]));
        let repair = |side, number, offsets: &[u64]| {
            Next::Insert(Insert { side, part: Part::Repair { number, offsets: offsets.to_vec() } })
        };
        assert_eq!(block.next(), repair(Side::Production, 1, &[1]));
        block.inserted();
        assert_eq!(block.next(), repair(Side::Test, 1, &[2]));
        block.inserted();
        block.read(&there(&[2, 3]));
        assert_eq!(block.next(), repair(Side::Production, 2, &[1]));
        block.inserted();
        block.read(&BTreeMap::from([(1, 1), (2, 2), (3, 1)]));
        assert_eq!(block.next(), Next::Done(Completion { missing: 2, repairs: 2, repeated: vec![2] }));
    }

    #[test]
    fn what_was_read_back_before_a_pause_is_read_again_after_it() {
        let mut block = Settling::uncertain(rows());
        block.read(&there(&[]));
        block.aged();
        assert_eq!(block.next(), Next::Read);
        block.read(&there(&[1, 2, 3]));
        assert!(matches!(block.next(), Next::Done(_)));
        let mut certain = Settling::certain(rows());
        certain.aged();
        assert_eq!(certain.next(), Next::Read);
    }

    #[test]
    fn a_clickhouse_that_acknowledges_and_forgets_is_given_up() {
        let mut block = Settling::uncertain(rows());
        let mut inserts = 0;
        let refused = loop {
            match block.next() {
                Next::Read => block.read(&there(&[1])),
                Next::Insert(_) => {
                    inserts += 1;
                    block.inserted();
                }
                other => break other,
            }
        };
        assert_eq!(refused, Next::StillMissing { missing: 2, first: 2, repairs: MAX_REPAIRS });
        assert_eq!(inserts, 2 + 2 * MAX_REPAIRS);
    }

    #[test]
    fn an_empty_block_is_nothing_to_do() {
        let nothing = Next::Done(Completion { missing: 0, repairs: 0, repeated: vec![] });
        assert_eq!(Settling::uncertain([vec![], vec![]]).next(), nothing);
        assert_eq!(Settling::certain([vec![], vec![]]).next(), nothing);
    }
}
