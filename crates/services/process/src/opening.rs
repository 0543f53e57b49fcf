//! What a lane makes of what it finds when its fence has been taken.
//!
//! Pure decisions over positions; `lane/open.rs` asks the questions and carries the answers out, the model checker asks and
//! answers them itself. What is refused here could lose or double an event; every refusal names its reason and the way out.

use dedupe::{Restore, SeenPosition};
use event::raw::CLOCK_TRUST_MS;
/// The group that holds the positions of `process`; it never has members.
pub use kafka::groups::PROCESS as GROUP;
use kafka::lane::End;
use kafka::positions::{Committed, Range};
use runtime::HaltReason;

use crate::cuts::Open;
use crate::fuse::Fuse;
use crate::position::Carried;

/// A lane that is about to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opening {
    committed: Option<Carried>,
}

/// Which records of `seen` are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// The first offset; `None` is the start of the log.
    pub from: Option<i64>,
    /// One past the last offset. The scan is complete only when the broker has shown everything below it.
    pub to: i64,
}

/// Where a lane goes on, and how that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing was ever committed: from the first offset of `raw`.
    Fresh,
    /// The committed position, with which `seen` agrees.
    Restored(Carried),
    /// The committed position is gone, and the end of `seen` has it.
    Recovered(SeenPosition),
    /// What was given as the committed position is an earlier one of the lane's own; the end of `seen` has the last.
    Outdated(SeenPosition),
}

impl Opening {
    /// Takes the committed position, which is read after the fence was taken.
    ///
    /// # Errors
    /// When what was committed beside the offset cannot be read, or does not belong to it.
    pub fn new(committed: Option<&Committed>) -> Result<Self, End> {
        Ok(Self { committed: committed.map(carried).transpose()? })
    }

    /// Whether a store may go on from where it stands; one that does not fit is discarded, and `seen` is read from its start.
    #[must_use]
    pub fn fits(&self, store: SeenPosition, seen: Range) -> bool {
        match self.committed {
            // It has everything, whatever of `seen` is deleted by now.
            Some(Carried { seen: committed, .. }) if store == committed => true,
            Some(Carried { seen: committed, .. })
                if store.next_offset > committed.next_offset || store.raw_hi > committed.raw_hi =>
            {
                false
            }
            _ => (seen.low..=seen.end).contains(&store.next_offset),
        }
    }

    /// Whether the committed position is this one.
    #[must_use]
    pub fn is_at(&self, position: SeenPosition) -> bool {
        self.committed.is_some_and(|committed| committed.seen == position)
    }

    /// What of `seen` (which stretches over `log`) is to be read to bring a store up to its end. The end is that of the log and not that of the
    /// committed position: what lies between them tells a position that was moved back.
    #[must_use]
    pub fn scan(&self, store: Option<SeenPosition>, log: Range) -> Scan {
        let committed = self.committed.map_or(0, |committed| committed.seen.next_offset);
        // A store that has everything may stand before the start of a log whose records have expired.
        let from = store.map(|store| store.next_offset.max(log.low)).or((log.low > 0).then_some(log.low));
        Scan { from, to: committed.max(log.end) }
    }

    /// Decides where the lane goes on. `chain` has read what [`Self::scan`] said of the log `seen`, and `passed` tells whether it went through
    /// the committed position ([`Self::is_at`]); `written` tells whether the lane's `events` ever held a committed record, and is asked
    /// only where nothing else is known.
    ///
    /// A position and its record of `seen` are committed in one transaction. So where `seen` goes on from a position that was once right, the
    /// position is only an old one: a broker that was killed can give such out once it is up again (seen on Kafka 4.3.1: its group
    /// coordinator loads the positions twice at once), or somebody moved it back. It is not obeyed, since what lies between would count twice.
    ///
    /// # Errors
    /// When the position and `seen` do not agree, or when it is not known what was processed before.
    pub fn start<E: From<End>>(
        &self,
        chain: &Restore,
        seen: Range,
        passed: bool,
        written: impl FnOnce() -> Result<bool, E>,
    ) -> Result<Start, E> {
        match (self.committed, chain.position()) {
            (Some(committed), Some(reached)) if reached == committed.seen => Ok(Start::Restored(committed)),
            // All of the chain is deleted: its marks are older than the longest window and six hours.
            (Some(committed), None) if seen.low >= committed.seen.next_offset => Ok(Start::Restored(committed)),
            (Some(Carried { seen: committed, .. }), Some(reached)) if reached.next_offset > committed.next_offset => {
                if passed {
                    Ok(Start::Outdated(reached))
                } else {
                    Err(rewound(committed, reached).into())
                }
            }
            (Some(committed), _) => match chain.agrees_with(committed.seen) {
                Ok(()) => Ok(Start::Restored(committed)),
                Err(error) => Err(broken(error.to_string()).into()),
            },
            (None, Some(reached)) => Ok(Start::Recovered(reached)),
            (None, None) if seen.low == 0 && !written()? => Ok(Start::Fresh),
            (None, None) => Err(unknown().into()),
        }
    }
}

impl Start {
    /// The state that the lane goes on from.
    #[must_use]
    pub fn carried(self, now_ms: i64) -> Carried {
        let nothing = SeenPosition { next_offset: 0, raw_hi: 0 };
        match self {
            Start::Fresh => {
                Carried { seen: nothing, open: Open::default(), fuse: Fuse::default(), links: 0, watermark_ms: 0 }
            }
            Start::Restored(carried) => carried,
            // What the open block holds is unknown: one row more than none makes the next cut come in time.
            Start::Recovered(seen) | Start::Outdated(seen) => {
                let open = Open { rows: 1, bytes: 0, since_ms: now_ms };
                Carried { seen, open, fuse: Fuse::default(), links: 0, watermark_ms: 0 }
            }
        }
    }
}

/// Holds `raw` as it is now against the position `next` of a lane: it is the topic that the position was taken on only if it reaches up to
/// there, and if what stands right before it (appended at `before`, if it is kept) was appended by the lane's time of then.
///
/// # Errors
/// When it is another one: it was deleted and made again, and its records would be taken for others that were processed before.
pub fn same_raw(lane: u16, next: u64, raw: Range, before: Option<i64>, watermark_ms: i64) -> Result<(), End> {
    let short = i64::try_from(next).map_or(true, |next| next > raw.end);
    let younger = watermark_ms > 0 && before.is_some_and(|at| at > watermark_ms);
    if !short && !younger {
        return Ok(());
    }
    let how = if short {
        format!("it ends at offset {}", raw.end)
    } else {
        "the record before that was appended after the lane had got there".to_owned()
    };
    Err(End::halt(
        HaltReason::RawReplaced,
        format!(
            "{}/{lane} is not the topic that this lane was processed from: the committed position is {next}, and {how}. It was deleted and \
             made again, and its records cannot be told from the ones before. Nothing was passed over; `hookline ledger start-anew` says \
             what is lost and begins a new life of the topics",
            kafka::Topic::Raw
        ),
    ))
}

/// Whether marks that `seen` no longer holds can be missed, so that the window is provably whole.
///
/// `lost_at` is the broker's append time of the last raw record whose mark is gone, `watermark_ms` that of the last record
/// processed; both in milliseconds since 1970. No later record was received more than [`CLOCK_TRUST_MS`] before the watermark.
#[must_use]
pub fn window_is_whole(lost_at: i64, watermark_ms: i64, longest_window_ms: i64) -> bool {
    lost_at.saturating_add(longest_window_ms) < watermark_ms.saturating_sub(CLOCK_TRUST_MS)
}

fn carried(committed: &Committed) -> Result<Carried, End> {
    let carried: Carried = committed.metadata.parse().map_err(|error| {
        End::halt(
            HaltReason::Position,
            format!(
                "{error}; run the version that wrote it, or if somebody set it by hand: stop process, `deploy/positions.py \
                 BROKERS forget-process`, start it, and it finds its position in seen"
            ),
        )
    })?;
    if i64::try_from(carried.seen.raw_hi) != Ok(committed.next) {
        return Err(End::halt(
            HaltReason::Position,
            format!(
                "the committed position of {GROUP} is {}, but what was committed with it says {}: somebody moved it; stop \
                 process, `deploy/positions.py BROKERS forget-process`, start it, and it finds its position in seen",
                committed.next, carried.seen.raw_hi
            ),
        ));
    }
    Ok(carried)
}

fn rewound(committed: SeenPosition, reached: SeenPosition) -> End {
    End::halt(
        HaltReason::Rewound,
        format!(
            "the committed position of {GROUP} is {}, but seen goes on to {} and never was there: the position was moved, and what lies \
             between would count twice; stop process, `deploy/positions.py BROKERS forget-process`, start it, and it finds its \
             position in seen",
            committed.raw_hi, reached.raw_hi
        ),
    )
}

/// `seen` cannot be followed.
pub(crate) fn broken(message: String) -> End {
    End::halt(
        HaltReason::SeenBroken,
        format!(
            "{message}; the dedupe window cannot be proven. Look at the retention and the disk of hookline.seen.v1; \
             docs/runbooks/lane-stalled.md says how to go on"
        ),
    )
}

fn unknown() -> End {
    End::halt(
        HaltReason::PositionUnknown,
        format!(
            "the position of {GROUP} is gone and seen no longer has it, but the lane was processed before: nothing says how far, \
             and starting over would count events twice; `hookline ledger start-anew` begins a new life of the topics, \
             docs/runbooks/lane-stalled.md says what that means"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Range = Range { low: 0, end: 20 };

    fn at(next_offset: i64, raw_hi: u64) -> SeenPosition {
        SeenPosition { next_offset, raw_hi }
    }

    fn opening(seen: SeenPosition) -> Opening {
        Opening {
            committed: Some(Carried { seen, open: Open::default(), fuse: Fuse::default(), links: 0, watermark_ms: 5 }),
        }
    }

    fn start(opening: Opening, reached: Option<SeenPosition>, seen: Range, written: bool) -> Result<Start, String> {
        start_from(opening, reached, seen, false, written)
    }

    fn start_from(
        opening: Opening,
        reached: Option<SeenPosition>,
        seen: Range,
        passed: bool,
        written: bool,
    ) -> Result<Start, String> {
        opening.start(&Restore::after(reached), seen, passed, || Ok::<_, End>(written)).map_err(|end| match end {
            End::Halt { reason, message } => {
                assert!(message.contains("positions.py") || message.contains("runbooks"), "no way out: {message}");
                reason.name().to_owned()
            }
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_position_counts_only_with_what_was_committed_beside_it() {
        let whole =
            Carried { seen: at(12, 34), open: Open::default(), fuse: Fuse::default(), links: 0, watermark_ms: 5 };
        let committed = |next, metadata: String| Opening::new(Some(&Committed { next, metadata }));
        assert_eq!(committed(34, whole.to_string()).unwrap(), Opening { committed: Some(whole) });
        for (next, metadata) in [(33, whole.to_string()), (-1, whole.to_string()), (34, String::new())] {
            let refused = committed(next, metadata).unwrap_err();
            assert!(
                matches!(&refused, End::Halt { reason: HaltReason::Position, message } if message.contains("positions.py"))
            );
        }
        assert_eq!(Opening::new(None).unwrap(), Opening { committed: None });
    }

    #[test]
    fn a_store_goes_on_only_from_within_the_log_and_never_from_ahead_of_the_position() {
        let opening = opening(at(12, 34));
        assert!(opening.fits(at(12, 34), LOG) && opening.fits(at(3, 30), LOG));
        assert!(opening.fits(at(12, 34), Range { low: 50, end: 60 }), "it has everything");
        assert!(!opening.fits(at(12, 33), Range { low: 13, end: 60 }), "the records after it are deleted");
        assert!(!opening.fits(at(13, 34), LOG) && !opening.fits(at(12, 35), LOG));
        let lost = Opening { committed: None };
        assert!(lost.fits(at(20, 99), LOG) && !lost.fits(at(21, 99), LOG));
    }

    #[test]
    fn the_scan_goes_to_the_end_of_the_log_so_that_a_position_moved_back_is_seen() {
        let opening = opening(at(12, 34));
        assert_eq!(opening.scan(None, LOG), Scan { from: None, to: 20 });
        assert_eq!(opening.scan(Some(at(3, 30)), LOG), Scan { from: Some(3), to: 20 });
        assert_eq!(opening.scan(None, Range { low: 4, end: 9 }), Scan { from: Some(4), to: 12 });
        assert_eq!(start(opening, Some(at(15, 40)), LOG, true), Err("rewound".to_owned()));
        assert_eq!(start(opening, Some(at(15, 34)), LOG, true), Err("rewound".to_owned()));
        assert!(opening.is_at(at(12, 34)) && !opening.is_at(at(12, 35)));
    }

    #[test]
    fn a_position_that_was_once_right_is_not_obeyed_and_the_end_of_seen_is() {
        let old = opening(at(12, 34));
        assert_eq!(start_from(old, Some(at(15, 40)), LOG, true, true), Ok(Start::Outdated(at(15, 40))));
        assert_eq!(start_from(old, Some(at(11, 33)), LOG, true, true), Err("seen_broken".to_owned()));
        let carried = Start::Outdated(at(15, 40)).carried(7);
        assert_eq!((carried.seen, carried.open.rows, carried.open.since_ms), (at(15, 40), 1, 7));
    }

    #[test]
    fn a_lane_starts_where_position_and_seen_agree_and_is_fresh_only_if_nothing_was_ever_written() {
        let Opening { committed: Some(carried) } = opening(at(12, 34)) else { panic!() };
        let known = opening(at(12, 34));
        assert_eq!(start(known, Some(at(12, 34)), LOG, true), Ok(Start::Restored(carried)));
        assert_eq!(start(known, Some(at(11, 33)), LOG, true), Err("seen_broken".to_owned()));
        assert_eq!(start(known, None, LOG, true), Err("seen_broken".to_owned()));
        assert_eq!(start(known, None, Range { low: 12, end: 12 }, true), Ok(Start::Restored(carried)), "expired");
        let lost = Opening { committed: None };
        assert_eq!(start(lost, Some(at(12, 34)), LOG, true), Ok(Start::Recovered(at(12, 34))));
        assert_eq!(start(lost, None, LOG, false), Ok(Start::Fresh));
        assert_eq!(start(lost, None, LOG, true), Err("position_unknown".to_owned()));
        assert_eq!(start(lost, None, Range { low: 7, end: 7 }, false), Err("position_unknown".to_owned()));
    }

    #[test]
    fn a_raw_that_was_made_again_is_told_by_its_end_or_by_its_time() {
        let raw = Range { low: 0, end: 20 };
        assert!(same_raw(3, 20, raw, Some(700), 700).is_ok() && same_raw(3, 0, raw, None, 0).is_ok());
        assert!(same_raw(3, 5, Range { low: 5, end: 20 }, None, 700).is_ok(), "what was before it is deleted");
        for (next, before, watermark) in [(21, None, 0), (21, Some(1), 700), (20, Some(701), 700), (u64::MAX, None, 0)]
        {
            let refused = same_raw(3, next, raw, before, watermark).unwrap_err();
            assert!(
                matches!(&refused, End::Halt { reason: HaltReason::RawReplaced, message } if message.contains("start-anew"))
            );
        }
    }

    #[test]
    fn lost_marks_matter_only_while_a_later_record_could_be_their_duplicate() {
        let hour = 3_600_000;
        assert!(window_is_whole(0, 73 * hour, 72 * hour));
        assert!(!window_is_whole(0, 72 * hour + CLOCK_TRUST_MS, 72 * hour));
        assert!(!window_is_whole(i64::MAX, 0, 72 * hour));
    }
}
