//! The engine, the broker and the instances of a lane, and what can happen next.

use std::collections::{BTreeMap, BTreeSet};

use event::{Cut, Millis};
use hookline_report::standing::{Moment, Standing};
use kafka::positions::Committed;
use runtime::HaltReason;
use warehouse::Settling;

/// A block of `events`: the rows of each database, and the offset of its cut.
pub(crate) struct Block {
    pub(crate) rows: [&'static [u64]; 2],
    pub(crate) cut: i64,
}

pub(crate) const BLOCKS: [Block; 3] =
    [Block { rows: [&[0, 2], &[1]], cut: 3 }, Block { rows: [&[3], &[]], cut: 6 }, Block { rows: [&[], &[4]], cut: 9 }];

/// Longer than a proof of the fence counts, shorter than an insert may be late.
pub(crate) const PAUSE_MS: i64 = 10_001;
/// Longer than any insert, and than ClickHouse remembers tokens.
pub(crate) const HOURS_MS: i64 = 10_000_000;

pub(crate) fn hours_after(Moment { monotonic_ms, wall_ms }: Moment) -> Moment {
    Moment { monotonic_ms: monotonic_ms + HOURS_MS, wall_ms: wall_ms + HOURS_MS }
}

pub(crate) fn cut(block: usize) -> Cut {
    let raw_hi =
        BLOCKS[..=block].iter().map(|block| block.rows.iter().map(|rows| rows.len()).sum::<usize>()).sum::<usize>();
    Cut { raw_hi: raw_hi as u64, watermark: Millis(0) }
}

/// Under which token rows go in: the cut of their block, their database, the number of the repair. And whose it is, which only a
/// mutant looks at.
pub(crate) type Token = (i64, u8, u32, u8);

/// An insert under way: its token and rows, who waits for the answer, and the epoch under which it was sent.
pub(crate) type Flying = (Token, Vec<u64>, usize, u8);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Engine {
    pub(crate) rows: BTreeMap<u64, u8>,
    /// Tokens that are remembered, whether their part is there or not.
    pub(crate) tokens: BTreeSet<Token>,
    pub(crate) flying: BTreeSet<Flying>,
}

impl Engine {
    pub(crate) fn take(&mut self, token: Token, rows: &[u64]) {
        if !self.tokens.insert(token) {
            return;
        }
        for row in rows {
            *self.rows.entry(*row).or_default() += 1;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Down,
    Fenced {
        epoch: u8,
        taken: Moment,
    },
    /// Has its position; the next block is not begun.
    Open {
        epoch: u8,
        standing: Standing,
    },
    /// Rows beyond the position are explained.
    Settling {
        epoch: u8,
        standing: Standing,
        settling: Settling,
    },
    /// An insert is on its way.
    Waiting {
        epoch: u8,
        standing: Standing,
        settling: Settling,
    },
    /// A proof of the fence was asked for, and the broker has answered.
    Proving {
        epoch: u8,
        standing: Standing,
        settling: Settling,
        asked: Moment,
    },
    /// The position is committed; the answer is not read.
    Committed {
        epoch: u8,
        standing: Standing,
        asked: Moment,
    },
    Halted {
        reason: HaltReason,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) epoch: u8,
    pub(crate) position: Option<Committed>,
    /// The first position ever, which the broker may give out again once it was killed.
    pub(crate) first: Option<Committed>,
    pub(crate) engine: Engine,
    pub(crate) instances: [Phase; 2],
    pub(crate) now: Moment,
    pub(crate) starts: u8,
    pub(crate) pauses: u8,
    pub(crate) ages: u8,
    pub(crate) kills: u8,
    pub(crate) outdates: u8,
}

impl World {
    pub(crate) fn commit(&mut self, standing: &Standing) {
        let position = Committed { next: standing.position(), metadata: standing.progress().to_string() };
        self.first.get_or_insert_with(|| position.clone());
        self.position = Some(position);
    }
}

/// What happens next. A crash is not among it: an instance that is never heard of again has crashed, one that starts from
/// whatever it was doing was killed there, and one that goes on after another has started is a zombie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Start(usize),
    Locate(usize),
    /// Looks at rows beyond the position, and begins the next block.
    Begin(usize),
    /// The next step of settling: an insert is handed to the network, a proof is asked for, rows are read back, the position is
    /// committed.
    Step(usize),
    /// The answer that the broker gave is read.
    Hear(usize),
    /// An insert reaches the engine and is answered.
    Arrive(Flying),
    /// An insert goes in, and the engine dies before it answers.
    ArriveUnheard(Flying),
    /// The engine dies inside an insert: it believes that it has the block, and has not.
    ArriveTorn(Flying),
    /// The engine dies inside an insert, and forgets that there was one (the local engine does, when it starts again).
    ArriveLost,
    /// Longer than a proof counts.
    Pause,
    /// The broker is killed, and comes up with an early position.
    Outdate,
    /// Hours: nothing is under way any more, and the engine has forgotten all tokens.
    Age,
}
