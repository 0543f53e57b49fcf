//! Where a lane of `report` stands, and what it may do there.
//!
//! Pure decisions; `lane.rs` asks the questions and carries the answers out, the model checker asks and answers them itself. What is
//! refused here could lose or double a row; every refusal names its reason and the way out.

use std::ops::Range;

use event::{Cut, Progress};
use kafka::lane::{End, Proof};
use kafka::positions::Committed;
use runtime::HaltReason;
pub use runtime::clock::Moment;
use warehouse::{InsertPermit, Life, NO_MORE, Settling};

/// The group that holds the positions of `report`; it never has members.
pub use kafka::groups::REPORT as GROUP;

/// An insert is made under a proof of the fence that is no older than this, in milliseconds.
const PROOF_MS: i64 = 10_000;

/// A fence that was held for longer than this has no earlier owner whose inserts could still arrive, in milliseconds: the life
/// of a proof, and many times what an insert may take.
const QUIET_MS: i64 = 300_000;

const RUNBOOK: &str = "docs/runbooks/lane-stalled.md says how to go on";
const FINDS: &str = "`hookline ledger recover` finds it again, by the rows";

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

/// What ClickHouse holds of a lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// One past the highest raw offset that has a row; 0 if none has.
    pub raw_end: u64,
    /// Ranges of raw offsets that somebody has acknowledged as lost.
    pub lost: Vec<Range<u64>>,
    /// Other lives of the topics that have rows and of which nobody has said that they are over, while this one has none in any lane.
    pub others: Vec<Life>,
}

impl Held {
    /// Whether it was written down that the life of these topics is over: all that may still come is lost.
    fn is_over(&self) -> bool {
        self.lost.iter().any(|range| range.end == NO_MORE)
    }

    /// One past the last raw offset up to which something is there or is known to be lost.
    #[must_use]
    pub fn accounted_for(&self) -> u64 {
        let mut end = self.raw_end;
        while let Some(range) = self.lost.iter().find(|range| range.contains(&end)) {
            end = range.end;
        }
        end
    }
}

/// The right of a lane to make one insert: its fence was proven a moment ago.
#[derive(Debug)]
pub struct Permit(());

impl InsertPermit for Permit {}

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// One past the last committed cut, on `events`.
    position: i64,
    /// One past the last raw offset before it, and the lane's time there.
    raw_hi: u64,
    watermark_ms: i64,
    /// Whether the cut before the position is still kept.
    kept_before: bool,
    /// Whether no block was settled since the lane was opened.
    first: bool,
    /// The last cut on `events` of which ClickHouse had rows when the lane looked: blocks up to there may be in it.
    there_to: i64,
    /// Whether it was looked when no insert of an earlier owner could still arrive: there is nothing later then.
    looked: bool,
    /// A moment at which every earlier owner was fenced.
    held: Moment,
    /// The last moment at which the fence was certainly ours.
    proven: Moment,
}

impl Standing {
    /// Takes the committed position, read under the fence of which there is a proof, and which was held at `held`.
    /// `before` tells what stands before the position, and is asked only if there is one to hold it against.
    ///
    /// # Errors
    /// When what was committed beside the offset cannot be read, or the position is not one past the cut that it names.
    pub fn open<E: From<End>>(
        committed: Option<&Committed>,
        (proof, held): (Proof, Moment),
        before: impl FnOnce(i64) -> Result<Before, E>,
    ) -> Result<Self, E> {
        let (position, progress) = match committed {
            None => (0, Progress::default()),
            Some(Committed { next, metadata }) => (*next, progress(metadata)?),
        };
        let Progress { raw_hi, watermark } = progress;
        let mut kept_before = false;
        // A position that says nothing of raw was set by hand, to the start of what is kept.
        if position > 0 && raw_hi > 0 {
            match before(position)? {
                Before::Cut(cut) if cut.raw_hi == raw_hi => kept_before = true,
                Before::Nothing => {}
                Before::Cut(_) | Before::Other => return Err(moved(position, raw_hi).into()),
            }
        }
        Ok(Self {
            position,
            raw_hi,
            watermark_ms: watermark.0,
            kept_before,
            first: true,
            there_to: -1,
            looked: false,
            held,
            proven: proof.begun(),
        })
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

    /// Whether no block was settled since the lane was opened.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.first
    }

    /// Whether the next block may be in ClickHouse already: rows beyond the position are then to be [explained](Self::explain) before it is
    /// settled. So it is for the first block since the lane was opened, for as long as an insert of an earlier owner may arrive (of which
    /// block nobody knows, where the position is an old one), and up to the last block that was seen there.
    #[must_use]
    pub fn may_be_there(&self) -> bool {
        self.first || !self.looked || self.position <= self.there_to
    }

    /// Whether no earlier owner's insert can still arrive.
    fn is_quiet(&self, now: Moment) -> bool {
        let quiet = |then: i64, now: i64| now.saturating_sub(then) > QUIET_MS;
        quiet(self.held.monotonic_ms, now.monotonic_ms) && quiet(self.held.wall_ms, now.wall_ms)
    }

    /// The right to make one insert now; none if the fence is to be proven first: a sleeper that wakes does not insert.
    #[must_use]
    pub fn permit(&self, now: Moment) -> Option<Permit> {
        let by = |then: i64, now: i64| (0..=PROOF_MS).contains(&now.saturating_sub(then));
        let fresh = by(self.proven.monotonic_ms, now.monotonic_ms) && by(self.proven.wall_ms, now.wall_ms);
        fresh.then_some(Permit(()))
    }

    /// The fence was proven again.
    pub fn prove(&mut self, proof: Proof) {
        self.proven = proof.begun();
    }

    /// How the next block, which has these raw offsets by database, is to be brought in. The first one may be there, whole or in
    /// part. So may others, as long as somebody who was fenced a moment ago can still insert under the proof that he had: what he
    /// sent an engine that then died, the engine may believe to have, and acknowledge to us.
    #[must_use]
    pub fn settling(&self, rows: [Vec<u64>; 2], now: Moment) -> Settling {
        if self.may_be_there() || !self.is_quiet(now) { Settling::uncertain(rows) } else { Settling::certain(rows) }
    }

    /// Holds the end of what ClickHouse has of the lane against the position: everything below it was once there. Rows that were received
    /// before `kept_since_ms` (milliseconds since 1970) may be gone by their retention.
    ///
    /// Where `events` keeps nothing before the position either, the lane could bring nothing back: it goes on, and the ledger names the hole.
    ///
    /// # Errors
    /// When rows are gone that `events` still holds, so that what comes next would hide it; or when this is the beginning of a new life of
    /// the topics and nobody has said that the one before is over.
    pub fn hold_against(&self, lane: u16, held: &Held, kept_since_ms: i64) -> Result<(), End> {
        if held.is_over() {
            return Err(over());
        }
        if self.raw_hi == 0
            && held.raw_end == 0
            && let Some(other) = held.others.first()
        {
            return Err(another_life(other));
        }
        let end = held.accounted_for();
        if end >= self.raw_hi || !self.kept_before || self.watermark_ms < kept_since_ms {
            return Ok(());
        }
        Err(End::halt(
            HaltReason::RowsVanished,
            format!(
                "ClickHouse holds lane {lane} up to raw offset {end} (not included), but by the committed position of {GROUP} \
                 everything below {} was there: its tables were emptied or come from an older backup. Nothing was written. \
                 `hookline ledger recover --lane {lane} --apply` goes back to what events still holds and writes it again; what is no \
                 longer in events and still in raw comes by `hookline replay`, and the rest is written down with `hookline ledger \
                 accept-loss`; then restart report",
                self.raw_hi
            ),
        ))
    }

    /// Holds the rows that ClickHouse has beyond the position (cuts, and the number of rows of each) against the block that
    /// the cut at `open` ends: only that one can be there. They were asked for after `asked`. Whether the position turned out to be an old one.
    ///
    /// Later blocks can be there too, where the position is an earlier one of the lane's own: `events` still has the cut that it stands
    /// behind, and a broker that was killed can give such out once it is up again (seen on Kafka 4.3.1). Then each of them is read back when its
    /// turn comes, and each must have its cut on `events`.
    ///
    /// # Errors
    /// When there are blocks that this does not explain: the position was lost or set by hand, or the topics are not the ones that the
    /// rows came from.
    pub fn explain(&mut self, lane: u16, open: u64, beyond: &[(u64, u64)], asked: Moment) -> Result<bool, End> {
        let last = beyond.iter().map(|(cut, _)| i64::try_from(*cut).unwrap_or(i64::MAX)).max().unwrap_or(-1);
        let is_old = last > open.try_into().unwrap_or(i64::MAX);
        let is_known = self.kept_before || last <= self.there_to;
        if is_known && beyond.iter().all(|(cut, _)| *cut >= open) {
            let is_news = is_old && last > self.there_to;
            self.there_to = self.there_to.max(last);
            self.looked |= self.is_quiet(asked);
            return Ok(is_news);
        }
        let unexplained = beyond.iter().filter(|(cut, _)| *cut != open);
        let (blocks, rows, last) =
            unexplained.fold((0, 0, 0), |(blocks, rows, last), (cut, of)| (blocks + 1, rows + of, (*cut).max(last)));
        if blocks == 0 {
            return Ok(false);
        }
        Err(End::halt(
            HaltReason::RowsBeyondPosition,
            format!(
                "ClickHouse has {rows} rows of lane {lane} in {blocks} blocks (up to cut {last}) beyond the committed position {}: \
                 the position of {GROUP} was moved back or lost. Nothing was written, since it might double rows. `hookline ledger \
                 recover --lane {lane} --apply` finds the position again, by the rows; then restart report",
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

/// The ledger expects no row of a life that is over: what it lost from then on would be hidden.
fn over() -> End {
    End::halt(
        HaltReason::AnotherLife,
        "it was written down that the life of these topics is over, and they are still there: a `hookline ledger start-anew --apply` \
         could not delete them, or they come from a backup. Nothing was written. Stop all services, and `hookline ledger start-anew \
         --apply --why …` deletes them",
    )
}

fn another_life(Life { incarnation, records, until }: &Life) -> End {
    let until = jiff::Timestamp::from_millisecond(*until).map_or_else(|_| until.to_string(), |until| until.to_string());
    End::halt(
        HaltReason::AnotherLife,
        format!(
            "the topics of this Kafka have no row in ClickHouse, which holds {records} rows of another life of the topics \
             ({incarnation}), the last received at {until}: Kafka was wiped, or this is another Kafka or another ClickHouse than before. \
             Nothing was written. If [kafka] and [clickhouse] are right, what the other life had accepted beyond its rows is lost, and \
             `hookline ledger accept-loss --life {incarnation} --why …` writes that down; then restart report"
        ),
    )
}

fn progress(metadata: &str) -> Result<Progress, End> {
    metadata.parse().map_err(|error: event::UnreadableProgress| {
        End::halt(
            HaltReason::Position,
            format!(
                "{error}; run the version that wrote it, or if somebody set the position of {GROUP} by hand: {FINDS}; {RUNBOOK}"
            ),
        )
    })
}

fn moved(position: i64, raw_hi: u64) -> End {
    End::halt(
        HaltReason::Position,
        format!(
            "the committed position {position} of {GROUP} is not one past the cut that ends raw offset {raw_hi}, as was committed \
             with it: somebody moved it, or events is not the topic that it was taken on; {FINDS}; {RUNBOOK}"
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

    fn may_insert(standing: &Standing, now: Moment) -> bool {
        standing.permit(now).is_some()
    }

    fn open(next: i64, metadata: &str, before: Before) -> Result<Standing, String> {
        let committed = Committed { next, metadata: metadata.to_owned() };
        Standing::open(Some(&committed), (Proof::in_model(NOW), NOW), |_| Ok::<_, End>(before)).map_err(|end| match end
        {
            End::Halt { reason: HaltReason::Position, message } => {
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
        let fresh = Standing::open(None, (Proof::in_model(NOW), NOW), |_| Err(End::Fenced)).unwrap();
        assert_eq!((fresh.position(), fresh.may_be_there()), (0, true));
    }

    #[test]
    fn a_proof_ages_by_either_clock_and_a_clock_that_was_set_back_proves_nothing() {
        let standing = Standing::open(None, (Proof::in_model(NOW), NOW), |_| Err(End::Fenced)).unwrap();
        assert!(may_insert(&standing, NOW) && may_insert(&standing, later(10_000, 10_000)));
        assert!(!may_insert(&standing, later(10_001, 10_001)));
        assert!(!may_insert(&standing, later(5, 3_600_000)), "the machine slept");
        assert!(!may_insert(&standing, later(10_001, 5)));
        assert!(!may_insert(&standing, later(5, -1)));
    }

    #[test]
    fn a_block_is_certain_only_after_the_first_and_when_no_earlier_owner_can_have_sent_it() {
        let mut standing = Standing::open(None, (Proof::in_model(NOW), NOW), |_| Err(End::Fenced)).unwrap();
        let rows = || [vec![1], vec![]];
        let certain = |standing: &Standing, now| standing.settling(rows(), now) == Settling::certain(rows());
        assert!(!certain(&standing, later(300_001, 300_001)), "the first");
        standing.settled();
        assert!(!standing.explain(3, 20, &[], later(300_000, 300_001)).unwrap());
        assert!(!certain(&standing, later(300_001, 300_001)), "looked too soon: an insert may have come since");
        assert!(!standing.explain(3, 20, &[], later(300_001, 300_001)).unwrap());
        assert!(certain(&standing, later(300_001, 300_001)));
        for early in [later(300_000, 300_001), later(300_001, 300_000), later(300_001, -1)] {
            assert!(!certain(&standing, early));
        }
    }

    fn held(raw_end: u64, lost: Vec<Range<u64>>) -> Held {
        Held { raw_end, lost, ..Held::default() }
    }

    fn refused(standing: &Standing, held: &Held, kept_since_ms: i64) -> Option<(HaltReason, String)> {
        match standing.hold_against(3, held, kept_since_ms) {
            Ok(()) => None,
            Err(End::Halt { reason, message }) => Some((reason, message)),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn rows_that_are_gone_below_the_position_are_refused_unless_retention_or_somebody_knows_of_them() {
        let standing =
            open(9, "raw=40 watermark=700", Before::Cut(Cut { raw_hi: 40, watermark: Millis(700) })).unwrap();
        assert_eq!(refused(&standing, &held(40, vec![]), 0), None);
        assert_eq!(refused(&standing, &held(90, vec![]), 0), None, "an open block");
        for end in [0, 12, 39] {
            let (reason, message) = refused(&standing, &held(end, vec![]), 0).unwrap();
            assert_eq!(reason, HaltReason::RowsVanished);
            assert!(
                message.contains("hookline ledger recover --lane 3") && message.contains(&end.to_string()),
                "{message}"
            );
            assert_eq!(refused(&standing, &held(end, vec![]), 701), None, "older than what is kept");
        }
        assert_eq!(refused(&standing, &held(12, vec![20..40, 12..20]), 0), None);
        assert!(refused(&standing, &held(12, vec![12..20, 21..40]), 0).unwrap().1.contains("offset 20 (not included)"));
        let expired = open(9, "raw=40 watermark=700", Before::Nothing).unwrap();
        assert_eq!(refused(&expired, &held(0, vec![]), 0), None, "nothing to go back to: the ledger says it");
    }

    #[test]
    fn a_new_life_of_the_topics_begins_only_once_the_one_before_is_known_to_be_over() {
        let other = Life { incarnation: "old".into(), records: 7, until: NOW.wall_ms };
        let found = Held { others: vec![other], ..Held::default() };
        let fresh = Standing::open(None, (Proof::in_model(NOW), NOW), |_| Err(End::Fenced)).unwrap();
        let (reason, message) = refused(&fresh, &found, 0).unwrap();
        assert_eq!(reason, HaltReason::AnotherLife);
        assert!(message.contains("accept-loss --life old") && message.contains("7 rows"), "{message}");
        assert_eq!(refused(&fresh, &Held::default(), 0), None);
    }

    #[test]
    fn topics_whose_life_was_declared_over_are_not_reported() {
        let whole_life = 40..NO_MORE;
        let over = held(40, vec![whole_life]);
        let fresh = Standing::open(None, (Proof::in_model(NOW), NOW), |_| Err(End::Fenced)).unwrap();
        let running = open(9, "raw=40 watermark=700", Before::Nothing).unwrap();
        for standing in [fresh, running] {
            let (reason, message) = refused(&standing, &over, 0).unwrap();
            assert_eq!(reason, HaltReason::AnotherLife);
            assert!(message.contains("start-anew --apply"), "{message}");
            assert_eq!(refused(&standing, &held(40, vec![]), 0), None);
        }
    }

    proptest::proptest! {
        /// Whatever of a lane's rows is gone at its end, it is refused, or every offset of it is known to be lost.
        #[test]
        fn no_end_of_a_lane_is_gone_in_silence(
            raw_hi in 1_u64..60, end in 0_u64..60, lost in proptest::collection::vec((0_u64..60, 1_u64..20), 0..5)
        ) {
            let lost: Vec<Range<u64>> = lost.into_iter().map(|(from, length)| from..from + length).collect();
            let cut = Cut { raw_hi, watermark: Millis(700) };
            let standing = open(9, &format!("raw={raw_hi} watermark=700"), Before::Cut(cut)).unwrap();
            let known = (end..raw_hi).all(|offset| lost.iter().any(|range| range.contains(&offset)));
            proptest::prop_assert_eq!(refused(&standing, &held(end, lost), 0).is_none(), known);
        }
    }

    #[test]
    fn rows_of_another_block_than_the_open_one_are_refused_with_their_numbers() {
        let late = later(300_001, 300_001);
        let mut standing = Standing::open(None, (Proof::in_model(NOW), NOW), |_| Err(End::Fenced)).unwrap();
        standing.pass(&Cut { raw_hi: 2, watermark: Millis(1) }, 11);
        assert!(!standing.explain(3, 20, &[], late).unwrap() && !standing.explain(3, 20, &[(20, 5)], late).unwrap());
        let End::Halt { reason, message } = standing.explain(3, 20, &[(20, 5), (30, 7), (40, 1)], late).unwrap_err()
        else {
            panic!()
        };
        assert_eq!(reason, HaltReason::RowsBeyondPosition);
        assert!(
            message.contains("8 rows of lane 3 in 2 blocks (up to cut 40) beyond the committed position 12"),
            "{message}"
        );
    }

    #[test]
    fn an_earlier_position_of_its_own_is_gone_on_from_and_later_blocks_are_read_back_in_their_turn() {
        let late = later(300_001, 300_001);
        let mut standing = open(12, "raw=2 watermark=7", Before::Cut(Cut { raw_hi: 2, watermark: Millis(7) })).unwrap();
        assert!(standing.explain(3, 20, &[(20, 5), (30, 7), (40, 1)], late).unwrap(), "it is an old one");
        let rows = || [vec![1], vec![]];
        for (open, cut, beyond) in [(20, 30, vec![(30, 7), (40, 1)]), (30, 40, vec![(40, 1)])] {
            standing.settled();
            standing.pass(&Cut { raw_hi: open, watermark: Millis(8) }, open as i64);
            assert!(standing.may_be_there());
            assert_eq!(standing.settling(rows(), later(300_001, 300_001)), Settling::uncertain(rows()));
            assert!(!standing.explain(3, cut, &beyond, late).unwrap(), "told once");
        }
        standing.settled();
        standing.pass(&Cut { raw_hi: 40, watermark: Millis(9) }, 40);
        assert!(!standing.may_be_there());
        // A block without a cut of its own on events: another topic.
        let mut standing = open(12, "raw=2 watermark=7", Before::Cut(Cut { raw_hi: 2, watermark: Millis(7) })).unwrap();
        assert!(standing.explain(3, 20, &[(17, 5), (20, 7)], late).is_err());
        assert!(standing.explain(3, 20, &[(20, 5), (30, 7)], late).unwrap());
        standing.settled();
        standing.pass(&Cut { raw_hi: 20, watermark: Millis(8) }, 20);
        assert!(standing.explain(3, 33, &[(30, 7)], late).is_err());
        // What stood before the position is not kept: nothing proves that it ever was one.
        let mut standing = open(12, "raw=2 watermark=7", Before::Nothing).unwrap();
        assert!(standing.explain(3, 20, &[(20, 5), (30, 7)], late).is_err());
    }
}
