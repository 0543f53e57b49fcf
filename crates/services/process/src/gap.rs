//! Going on after records of `raw` that were deleted before they were processed.
//!
//! For the operator's `hookline ledger recover`, once somebody has said that they are lost: no lane does this by itself. The gap becomes
//! part of the chain of `seen` (a range without marks) in the same transaction as the position, so every later owner finds the two in
//! agreement.

use std::ops::Range;

use dedupe::changelog;
use kafka::lane::{End, Fence, NO_HEADERS, PATIENCE, Position, TRANSACTION_TIMEOUT, Writes, read_all_committed};
use kafka::positions::{self, Committed, Positions};
use kafka::{Cluster, Topic};
use runtime::HaltReason;

use crate::SERVICE;
use crate::opening::GROUP;
use crate::position::Carried;

/// How far a lane was processed, and what of `raw` was deleted before it got there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The committed position, with what it carries; `None` when there is none that this version reads.
    pub carried: Option<Carried>,
    /// The raw offsets that the lane will never see, if there are any.
    pub gap: Option<Range<u64>>,
    /// What `raw` keeps.
    pub raw: positions::Range,
}

/// Looks at a lane. Blocking.
///
/// # Errors
/// When the broker does not answer.
pub fn find(cluster: &Cluster, lane: u16) -> Result<Found, End> {
    let positions = Positions::open(cluster, GROUP, PATIENCE)?;
    let committed = positions.last_committed(Topic::Raw, lane)?;
    Ok(found(committed.as_ref(), positions.watermarks(Topic::Raw, lane)?))
}

fn found(committed: Option<&Committed>, raw: positions::Range) -> Found {
    let carried = committed.and_then(|committed| committed.metadata.parse::<Carried>().ok());
    // A lane without a position begins at 0, or finds its position in `seen`.
    let next = match committed {
        Some(_) => carried.map(|carried| carried.seen.raw_hi),
        None => Some(0).filter(|_| raw.low > 0),
    };
    let low = raw.low.unsigned_abs();
    Found { carried, gap: next.filter(|next| *next < low).map(|next| next..low), raw }
}

/// Takes the lane's fence (a running owner ends, and opens the lane again after the gap), and moves its position to the first record that
/// `raw` still has. Returns the offsets that were passed over, if there were any. Blocking.
///
/// # Errors
/// When position and `seen` do not agree: the lane says more itself when it is opened. When the transaction fails: the same can be done again.
pub fn bridge(cluster: &Cluster, lane: u16) -> Result<Option<Range<u64>>, End> {
    let writes = Writes::records([(Topic::Events, lane), (Topic::Seen, lane)]).positions(GROUP);
    let mut producer = Fence::open(cluster, SERVICE, lane, TRANSACTION_TIMEOUT, writes)?;
    let positions = Positions::open(cluster, GROUP, PATIENCE)?;
    let committed = positions.committed_behind_fence(Topic::Raw, lane)?;
    let found = found(committed.as_ref(), positions.watermarks(Topic::Raw, lane)?);
    let (Some(carried), Some(gap)) = (found.carried, found.gap) else { return Ok(None) };
    let seen = positions.stable(Topic::Seen, lane)?;
    let from = carried.seen.next_offset.max(seen.low);
    let beyond = read_all_committed::<End>(cluster, Topic::Seen, lane, Some(from), Some(seen.end), |_| Ok(()))?;
    if beyond.records > 0 {
        let message =
            "seen goes on past the committed position: somebody moved it; open the lane first, it says what to do";
        return Err(End::halt(HaltReason::Rewound, message));
    }
    let marks = changelog::encode(gap.start, gap.end, &[])
        .map_err(|error| End::halt(HaltReason::SeenBroken, error.to_string()))?;
    producer.begin()?;
    for record in &marks {
        producer.send(Topic::Seen, lane, None, Some(record), NO_HEADERS)?;
    }
    let written = producer.flush()?;
    let Some(last_seen) = written.last(Topic::Seen, lane) else {
        return Err(End::Retry("the broker did not say where seen ends".into()));
    };
    let carried = after(carried, &gap, last_seen);
    let next = carried.seen.raw_hi as i64;
    producer.commit(GROUP, &[Position { topic: Topic::Raw, partition: lane, next, metadata: carried.to_string() }])?;
    Ok(Some(gap))
}

/// The position behind a gap whose range stands on `seen` at `last_seen`.
fn after(mut carried: Carried, gap: &Range<u64>, last_seen: i64) -> Carried {
    carried.seen.raw_hi = gap.end;
    carried.seen.next_offset = last_seen.saturating_add(1);
    carried
}

#[cfg(test)]
mod tests {
    use dedupe::{Restore, SeenPosition};
    use kafka::positions::Range as Kept;

    use super::*;
    use crate::cuts::Open;
    use crate::fuse::Fuse;
    use crate::opening::{Opening, Start};

    fn carried(next_offset: i64, raw_hi: u64) -> Carried {
        Carried {
            seen: SeenPosition { next_offset, raw_hi },
            open: Open { rows: 3, bytes: 9, since_ms: 1 },
            links: 0,
            fuse: Fuse::default(),
            watermark_ms: 5,
        }
    }

    fn committed(carried: Carried) -> Committed {
        Committed { next: carried.seen.raw_hi as i64, metadata: carried.to_string() }
    }

    #[test]
    fn a_gap_is_what_raw_has_deleted_from_the_position_on() {
        let gap = |raw_hi, low| found(Some(&committed(carried(4, raw_hi))), Kept { low, end: 90 }).gap;
        assert_eq!((gap(10, 25), gap(25, 25), gap(30, 25)), (Some(10..25), None, None));
        assert_eq!(found(None, Kept { low: 25, end: 90 }).gap, Some(0..25));
        assert_eq!(found(None, Kept { low: 0, end: 90 }).gap, None);
    }

    #[test]
    fn the_next_owner_finds_position_and_chain_in_agreement_behind_the_gap() {
        let before = carried(4, 10);
        let gap = 10..25;
        let mut chain = Restore::after(Some(before.seen));
        let values = changelog::encode(gap.start, gap.end, &[]).unwrap();
        for (offset, value) in (7..).zip(&values) {
            chain.feed(offset, &changelog::decode(value).unwrap()).unwrap();
        }
        let behind = after(before, &gap, 7);
        assert_eq!((behind.open, behind.watermark_ms), (before.open, 5), "the block stays open");
        let opening = Opening::new(Some(&committed(behind))).unwrap();
        let start = opening.start(&chain, Kept { low: 0, end: 9 }, true, || Ok::<_, End>(true));
        assert_eq!(start.unwrap(), Start::Restored(behind));
    }
}
