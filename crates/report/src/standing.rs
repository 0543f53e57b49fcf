//! Where a lane of `report` stands, and what it may do there.
//!
//! Pure decisions; `lane.rs` asks the questions and carries the answers out, the model checker asks and answers them itself. What is
//! refused here could lose or double a row; every refusal names its reason and the way out.

use event::{Cut, Progress};
use kafka::lane::End;
use kafka::positions::Committed;
use warehouse::Settling;

/// The group that holds the positions of `report`; it never has members.
pub const GROUP: &str = "hookline-report";

/// An insert is made under a proof of the fence that is no older than this, in milliseconds.
const PROOF_MS: i64 = 10_000;

/// A fence that was held for longer than this has no earlier owner whose inserts could still arrive, in milliseconds: the life
/// of a proof, and many times what an insert may take.
const QUIET_MS: i64 = 300_000;

const RUNBOOK: &str = "docs/runbooks/lane-stalled.md says how to go on";

/// A moment, by two clocks: the one that never goes back stands still while a machine sleeps, the other one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The monotonic clock, in milliseconds since a point of its own.
    pub monotonic_ms: i64,
    /// The wall clock, in milliseconds since 1970.
    pub wall_ms: i64,
}

/// What stands on `events` right before a committed position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing is kept there: the position is the start of the log, or of what is left of it.
    Nothing,
    /// A cut.
    Cut(Cut),
    /// A record that is no cut.
    Other,
}

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// One past the last committed cut, on `events`.
    position: i64,
    /// One past the last raw offset before it, and the lane's time there.
    raw_hi: u64,
    watermark_ms: i64,
    /// Whether no block was settled since the lane was opened.
    first: bool,
    /// A moment at which every earlier owner was fenced.
    held: Moment,
    /// The last moment at which the fence was certainly ours.
    proven: Moment,
}

impl Standing {
    /// Takes the committed position, read after the fence was taken between `asked` and `held`. `before` tells what stands before
    /// the position, and is asked only if there is one to hold it against.
    ///
    /// # Errors
    /// When what was committed beside the offset cannot be read, or the position is not one past the cut that it names.
    pub fn open<E: From<End>>(
        committed: Option<&Committed>,
        (asked, held): (Moment, Moment),
        before: impl FnOnce(i64) -> Result<Before, E>,
    ) -> Result<Self, E> {
        let (position, progress) = match committed {
            None => (0, Progress::default()),
            Some(Committed { next, metadata }) => (*next, progress(metadata)?),
        };
        let Progress { raw_hi, watermark } = progress;
        // A position that says nothing of raw was set by hand, to the start of what is kept.
        if position > 0 && raw_hi > 0 {
            match before(position)? {
                Before::Cut(cut) if cut.raw_hi == raw_hi => {}
                Before::Nothing => {}
                Before::Cut(_) | Before::Other => return Err(moved(position, raw_hi).into()),
            }
        }
        Ok(Self { position, raw_hi, watermark_ms: watermark.0, first: true, held, proven: asked })
    }

    /// One past the last committed cut, on `events`.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// What is committed beside the position.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { raw_hi: self.raw_hi, watermark: event::Millis(self.watermark_ms) }
    }

    /// Whether the next block is the first since the lane was opened: rows beyond the position are then to be
    /// [explained](Self::explain) before it is settled.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.first
    }

    /// Whether an insert may be made now. If not, the fence is to be proven first: a sleeper that wakes does not insert.
    #[must_use]
    pub fn may_insert(&self, now: Moment) -> bool {
        let by = |then: i64, now: i64| (0..=PROOF_MS).contains(&now.saturating_sub(then));
        by(self.proven.monotonic_ms, now.monotonic_ms) && by(self.proven.wall_ms, now.wall_ms)
    }

    /// The fence was proven by something that began at `begun`: what was true then need not be true when the answer is read.
    pub fn prove(&mut self, begun: Moment) {
        self.proven = begun;
    }

    /// How the next block, which has these raw offsets by database, is to be brought in. The first one may be there, whole or in
    /// part. So may others, as long as somebody who was fenced a moment ago can still insert under the proof that he had: what he
    /// sent an engine that then died, the engine may believe to have, and acknowledge to us.
    #[must_use]
    pub fn settling(&self, rows: [Vec<u64>; 2], now: Moment) -> Settling {
        let quiet = |then: i64, now: i64| now.saturating_sub(then) > QUIET_MS;
        let quiet = quiet(self.held.monotonic_ms, now.monotonic_ms) && quiet(self.held.wall_ms, now.wall_ms);
        if self.first || !quiet { Settling::uncertain(rows) } else { Settling::certain(rows) }
    }

    /// Holds the rows that ClickHouse has beyond the position (cuts, and the number of rows of each) against the block that
    /// the cut at `open` ends: only that one can be there.
    ///
    /// # Errors
    /// When there are others: the position was moved back or lost, or the topics are not the ones that they came from.
    pub fn explain(&self, lane: u16, open: u64, beyond: &[(u64, u64)]) -> Result<(), End> {
        let unexplained = beyond.iter().filter(|(cut, _)| *cut != open);
        let (blocks, rows, last) =
            unexplained.fold((0, 0, 0), |(blocks, rows, last), (cut, of)| (blocks + 1, rows + of, (*cut).max(last)));
        if blocks == 0 {
            return Ok(());
        }
        Err(End::halt(
            "rows_beyond_position",
            format!(
                "ClickHouse has {rows} rows of lane {lane} in {blocks} blocks (up to cut {last}) beyond the committed position {}: \
                 the position of {GROUP} was moved back or lost. Nothing was written, since it might double rows; {RUNBOOK}",
                self.position
            ),
        ))
    }

    /// The block was settled.
    pub fn settled(&mut self) {
        self.first = false;
    }

    /// The position is to move on past the cut that stands at `offset`.
    pub fn pass(&mut self, cut: &Cut, offset: i64) {
        self.position = offset.saturating_add(1);
        self.raw_hi = cut.raw_hi;
        self.watermark_ms = cut.watermark.0;
    }
}

fn progress(metadata: &str) -> Result<Progress, End> {
    metadata.parse().map_err(|error: event::UnreadableProgress| {
        End::halt(
            "position",
            format!(
                "{error}; run the version that wrote it, or if somebody set the position of {GROUP} by hand: {RUNBOOK}"
            ),
        )
    })
}

fn moved(position: i64, raw_hi: u64) -> End {
    End::halt(
        "position",
        format!(
            "the committed position {position} of {GROUP} is not one past the cut that ends raw offset {raw_hi}, as was committed \
             with it: somebody moved it, or events is not the topic that it was taken on; {RUNBOOK}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use event::Millis;

    use super::*;

    const NOW: Moment = Moment { monotonic_ms: 1_000, wall_ms: 1_764_000_000_000 };

    fn later(monotonic: i64, wall: i64) -> Moment {
        Moment { monotonic_ms: NOW.monotonic_ms + monotonic, wall_ms: NOW.wall_ms + wall }
    }

    fn open(next: i64, metadata: &str, before: Before) -> Result<Standing, String> {
        let committed = Committed { next, metadata: metadata.to_owned() };
        Standing::open(Some(&committed), (NOW, NOW), |_| Ok::<_, End>(before)).map_err(|end| match end {
            End::Halt { reason: "position", message } => {
                assert!(message.contains("runbooks"), "no way out: {message}");
                message
            }
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_position_is_one_past_the_cut_that_was_committed_with_it() {
        let cut = |raw_hi| Before::Cut(Cut { raw_hi, watermark: Millis(7) });
        let standing = open(9, "raw=4 watermark=7", cut(4)).unwrap();
        assert_eq!((standing.position(), standing.progress().raw_hi), (9, 4));
        assert!(open(9, "raw=4 watermark=7", Before::Nothing).is_ok(), "the cut is deleted by now");
        assert!(open(9, "raw=0 watermark=0", Before::Other).is_ok(), "set by hand to the start of what is kept");
        for before in [cut(5), Before::Other] {
            assert!(open(9, "raw=4 watermark=7", before).unwrap_err().contains("moved"));
        }
        assert!(open(9, "", Before::Nothing).is_err());
        let fresh = Standing::open(None, (NOW, NOW), |_| Err(End::Fenced)).unwrap();
        assert_eq!((fresh.position(), fresh.is_first()), (0, true));
    }

    #[test]
    fn a_proof_ages_by_either_clock_and_a_clock_that_was_set_back_proves_nothing() {
        let standing = Standing::open(None, (NOW, NOW), |_| Err(End::Fenced)).unwrap();
        assert!(standing.may_insert(NOW) && standing.may_insert(later(10_000, 10_000)));
        assert!(!standing.may_insert(later(10_001, 10_001)));
        assert!(!standing.may_insert(later(5, 3_600_000)), "the machine slept");
        assert!(!standing.may_insert(later(10_001, 5)));
        assert!(!standing.may_insert(later(5, -1)));
    }

    #[test]
    fn a_block_is_certain_only_after_the_first_and_when_no_earlier_owner_can_have_sent_it() {
        let mut standing = Standing::open(None, (NOW, NOW), |_| Err(End::Fenced)).unwrap();
        let rows = || [vec![1], vec![]];
        let certain = |standing: &Standing, now| standing.settling(rows(), now) == Settling::certain(rows());
        assert!(!certain(&standing, later(300_001, 300_001)), "the first");
        standing.settled();
        assert!(certain(&standing, later(300_001, 300_001)));
        for early in [later(300_000, 300_001), later(300_001, 300_000), later(300_001, -1)] {
            assert!(!certain(&standing, early));
        }
    }

    #[test]
    fn rows_of_another_block_than_the_open_one_are_refused_with_their_numbers() {
        let mut standing = Standing::open(None, (NOW, NOW), |_| Err(End::Fenced)).unwrap();
        standing.pass(&Cut { raw_hi: 2, watermark: Millis(1) }, 11);
        assert!(standing.explain(3, 20, &[]).is_ok() && standing.explain(3, 20, &[(20, 5)]).is_ok());
        let End::Halt { reason, message } = standing.explain(3, 20, &[(20, 5), (30, 7), (40, 1)]).unwrap_err() else {
            panic!()
        };
        assert_eq!(reason, "rows_beyond_position");
        assert!(
            message.contains("8 rows of lane 3 in 2 blocks (up to cut 40) beyond the committed position 12"),
            "{message}"
        );
    }
}
