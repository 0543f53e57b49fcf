//! How a lane moves on: what the open transaction has added, what it commits, and what it leaves if it does not.
//!
//! Pure, so that the model checker moves lanes by the same steps as production.

use event::{Cut, Millis};

use crate::cuts::{Open, Policy};
use crate::fuse::{Blown, Fuse, Limits};
use crate::position::Carried;

/// A lane's time moves on without records, this far behind the clock: whatever comes later is appended later.
pub const IDLE_WATERMARK_MS: i64 = 5_000;

/// Where a lane stands: as of its last commit, and as of the last record that it read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Advance {
    policy: Policy,
    committed: Carried,
    current: Carried,
    /// When the last record was appended that was read since the lane was opened, in milliseconds since 1970: as of the
    /// last commit, and as of now. The position does not carry it.
    committed_append_ms: Option<i64>,
    current_append_ms: Option<i64>,
}

/// What ends a transaction: the range that its marks cover, and the cut, if a block ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// The first raw offset that the transaction covers.
    pub raw_lo: u64,
    /// One past the last.
    pub raw_hi: u64,
    /// The record that ends the open block.
    pub cut: Option<Cut>,
}

impl Advance {
    /// A lane that goes on from a committed position.
    #[must_use]
    pub fn from(committed: Carried, policy: Policy) -> Self {
        Self { policy, committed, current: committed, committed_append_ms: None, current_append_ms: None }
    }

    /// As of the last commit.
    #[must_use]
    pub fn committed(&self) -> &Carried {
        &self.committed
    }

    /// As of the last record that was read.
    #[must_use]
    pub fn current(&self) -> &Carried {
        &self.current
    }

    /// The lane's time, in milliseconds since 1970.
    #[must_use]
    pub fn watermark_ms(&self) -> i64 {
        self.current.watermark_ms
    }

    /// The broker appended the next record at `appended_at` (milliseconds since 1970). The lane's time never goes back.
    pub fn saw(&mut self, appended_at: i64) {
        self.current.watermark_ms = self.current.watermark_ms.max(appended_at);
    }

    /// The next record counts for the fuse; a dead letter may be one too many.
    pub fn counts(&mut self, dead: bool, limits: Limits) -> Option<Blown> {
        self.current.fuse.saw(dead, limits)
    }

    /// Somebody lets the next record pass, whatever it is: the fuse starts afresh after it.
    pub fn passes(&mut self) {
        self.current.fuse = Fuse::default();
    }

    /// The record's event was written, `bytes` long.
    pub fn wrote(&mut self, bytes: usize, now_ms: i64) {
        self.current.open.add(bytes, now_ms);
    }

    /// Everything before `raw_hi` was read and written.
    pub fn read_to(&mut self, raw_hi: u64) {
        self.current.seen.raw_hi = raw_hi;
    }

    /// The last record that was read was appended at `appended_ms`, by the broker's clock alone.
    pub fn read_append(&mut self, appended_ms: i64) {
        self.current_append_ms = Some(appended_ms);
    }

    /// When the last record was appended that was read and committed since the lane was opened, in milliseconds since
    /// 1970.
    #[must_use]
    pub fn append_ms(&self) -> Option<i64> {
        self.committed_append_ms
    }

    /// Records are labelled by this version of the catalogue from here on.
    pub fn labels_by(&mut self, links: u64) {
        self.current.links = links;
    }

    /// The input is at its end.
    pub fn idle(&mut self, now_ms: i64) {
        self.saw(now_ms.saturating_sub(IDLE_WATERMARK_MS));
    }

    /// Whether the open block ends now.
    #[must_use]
    pub fn block_ends(&self, now_ms: i64) -> bool {
        self.policy.ends(&self.current.open, now_ms)
    }

    /// How long until the open block ends by age, in milliseconds; `None` when it holds nothing.
    #[must_use]
    pub fn block_due_in_ms(&self, now_ms: i64) -> Option<i64> {
        self.policy.due_in_ms(&self.current.open, now_ms)
    }

    /// What the transaction has to write last. Ends the open block if it is time.
    pub fn close(&mut self, now_ms: i64) -> Closing {
        let (raw_lo, raw_hi) = (self.committed.seen.raw_hi, self.current.seen.raw_hi);
        let cut = self.block_ends(now_ms).then(|| {
            self.current.open = Open::default();
            Cut { raw_hi, watermark: Millis(self.current.watermark_ms) }
        });
        Closing { raw_lo, raw_hi, cut }
    }

    /// The position to commit, now that the last record of the transaction's marks stands at `last_seen`.
    pub fn position(&mut self, last_seen: i64) -> Carried {
        self.current.seen.next_offset = last_seen.saturating_add(1);
        self.current
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        self.committed = self.current;
        self.committed_append_ms = self.current_append_ms;
    }

    /// The transaction is aborted: what it read is read again.
    pub fn abort(&mut self) {
        self.current = self.committed;
        self.current_append_ms = self.committed_append_ms;
    }
}

#[cfg(test)]
mod tests {
    use dedupe::SeenPosition;

    use super::*;

    fn lane() -> Advance {
        let seen = SeenPosition { next_offset: 4, raw_hi: 10 };
        let policy = Policy { age_ms: 1_000, rows: 3, bytes: 1_000 };
        Advance::from(
            Carried { seen, open: Open::default(), fuse: Fuse::default(), links: 0, watermark_ms: 500 },
            policy,
        )
    }

    #[test]
    fn what_is_committed_carries_on_and_what_is_aborted_leaves_no_trace() {
        let mut lane = lane();
        lane.saw(700);
        lane.read_append(710);
        lane.wrote(10, 2_000);
        assert_eq!(lane.counts(true, Limits { run: 2, percent: 0 }), None);
        lane.read_to(11);
        assert_eq!(lane.close(2_000), Closing { raw_lo: 10, raw_hi: 11, cut: None });
        let before = lane.clone();
        lane.abort();
        assert_eq!(lane.current(), lane.committed());
        lane.commit();
        assert_eq!(lane.append_ms(), None, "what was aborted was not read");
        let mut lane = before;
        assert_eq!(lane.append_ms(), None, "before the commit");
        let position = lane.position(6);
        assert_eq!(position.seen, SeenPosition { next_offset: 7, raw_hi: 11 });
        lane.commit();
        assert_eq!((*lane.committed(), lane.append_ms()), (position, Some(710)));
        // The fuse remembers what was committed, and forgets what was not, however often it blows.
        for _ in 0..2 {
            assert_eq!(lane.counts(true, Limits { run: 2, percent: 0 }), Some(Blown::Run(2)));
            lane.abort();
        }
        lane.passes();
        assert_eq!(lane.counts(true, Limits { run: 2, percent: 0 }), None);
        lane.abort();
        // The block is open over transactions, and its age ends it.
        assert_eq!(lane.close(3_000).cut, Some(Cut { raw_hi: 11, watermark: Millis(700) }));
        assert_eq!(lane.close(3_000), Closing { raw_lo: 11, raw_hi: 11, cut: None });
    }

    #[test]
    fn a_lanes_time_never_goes_back() {
        let mut lane = lane();
        lane.saw(400);
        assert_eq!(lane.watermark_ms(), 500);
        lane.idle(6_000);
        assert_eq!(lane.watermark_ms(), 1_000);
        lane.idle(i64::MIN);
        assert_eq!(lane.watermark_ms(), 1_000);
    }
}
