//! Whether a lane stands still, judged from looks at it and at the end of its input. Pure: time comes in.

use std::time::Duration;

use runtime::{Backoff, WaitReason};

/// A lane that waits for this long and gets nothing, though there is something, opens again; later each time that did
/// not help.
const REOPEN: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(320));
/// A lane that has not moved for this long, though there is something to read, is stalled.
const STALLED_MS: u64 = 60_000;
/// The most time that one look adds: a machine that slept, or a process that was stopped, has not waited.
const MOST_A_LOOK_MS: u64 = 3_000;

/// One look at a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Milliseconds since the look before.
    pub(super) elapsed_ms: u64,
    /// Counts the openings of the lane.
    pub(super) opening: u64,
    /// All offsets below are read or hold no record.
    pub(super) covered: i64,
    /// How often the lane has waited and got nothing, ever.
    pub(super) empty: u64,
    /// Whether it stands still for a reason of its own.
    pub(super) standing: bool,
    /// One past the last offset that may be read, as asked from outside before `covered` was looked at; none while it is not known.
    pub(super) stable: Option<i64>,
    /// One past the last offset, open transactions included.
    pub(super) end: Option<i64>,
    /// Whether leaders of other partitions have told where those end.
    pub(super) others_answer: bool,
}

/// What is to be done about a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing.
    Wait,
    /// Find out whether there is a record that the lane could have read, and tell [`Judge::found`].
    LookFor,
}

/// What is known of one lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Judge {
    opening: u64,
    covered: i64,
    empty: u64,
    /// Below this offset, and from `covered` on, there is no record: only markers and what was aborted.
    nothing_below: i64,
    /// For how long the lane has waited in vain, since it moved or was told to open again.
    starved_ms: u64,
    /// For how long it has not moved while there was something.
    still_ms: u64,
    /// For how long its leader has told nothing, while others did, and the lane has not moved.
    silent_ms: u64,
    reopened: u32,
    /// What has kept the last stable offset from moving on, and for how long: an open transaction.
    pinned: (i64, u64),
    lag: Option<u64>,
}

impl Judge {
    /// Takes a look into account.
    pub(super) fn look(&mut self, look: &Look) -> Advice {
        let elapsed = look.elapsed_ms.min(MOST_A_LOOK_MS);
        let moved = look.opening == self.opening && look.covered > self.covered;
        let waited = look.opening == self.opening && look.empty > self.empty;
        if look.opening != self.opening {
            self.starved_ms = 0;
        }
        (self.opening, self.covered, self.empty) = (look.opening, look.covered, look.empty);
        self.pin(look, elapsed);
        let Some(stable) = look.stable else {
            // Kafka does not answer: nothing is known, and nothing is held against the lane. One that reads on does not
            // stand still, whatever was said of it while Kafka answered. If other leaders answer, its own is silent.
            if moved {
                (self.starved_ms, self.still_ms, self.silent_ms, self.reopened) = (0, 0, 0, 0);
            } else if look.others_answer && !look.standing {
                self.silent_ms += elapsed;
            }
            return Advice::Wait;
        };
        self.silent_ms = 0;
        let behind = stable - self.covered.max(self.nothing_below);
        self.lag = Some(behind.max(0).unsigned_abs());
        if behind <= 0 {
            (self.starved_ms, self.still_ms, self.reopened) = (0, 0, 0);
            return Advice::Wait;
        }
        if moved {
            (self.starved_ms, self.still_ms, self.reopened) = (0, 0, 0);
            return Advice::Wait;
        }
        if look.standing {
            return Advice::Wait;
        }
        self.still_ms += elapsed;
        if waited {
            self.starved_ms += elapsed;
        }
        let stalls = self.still_ms >= STALLED_MS && self.still_ms - elapsed < STALLED_MS;
        if self.starved_ms >= self.patience_ms() || stalls { Advice::LookFor } else { Advice::Wait }
    }

    /// How long the lane may wait for nothing before it opens again.
    fn patience_ms(&self) -> u64 {
        u64::try_from(REOPEN.ceiling(self.reopened.saturating_add(1)).as_millis()).unwrap_or(u64::MAX)
    }

    fn pin(&mut self, look: &Look, elapsed: u64) {
        match (look.stable, look.end) {
            (Some(stable), Some(end)) if stable < end && stable == self.pinned.0 => self.pinned.1 += elapsed,
            (Some(stable), Some(_)) => self.pinned = (stable, 0),
            _ => {}
        }
    }

    /// Whether there is a record that the lane could have read; `stable` is as in the look before. Whether it is to open again.
    pub(super) fn found(&mut self, record: bool, stable: i64) -> bool {
        if !record {
            self.nothing_below = stable;
            (self.starved_ms, self.still_ms, self.lag) = (0, 0, Some(0));
            return false;
        }
        let reopen = self.starved_ms >= self.patience_ms();
        if reopen {
            self.starved_ms = 0;
            self.reopened += 1;
        }
        reopen
    }

    /// How many offsets the lane is behind; none before the first answer.
    pub(super) fn lag(&self) -> Option<u64> {
        self.lag
    }

    /// For how many milliseconds the lane has not moved while there was something to read.
    pub(super) fn still_ms(&self) -> u64 {
        self.still_ms
    }

    /// Why the lane is stalled; none while it is not.
    pub(super) fn stalled(&self) -> Option<WaitReason> {
        if self.still_ms >= STALLED_MS {
            return Some(WaitReason::NoProgress);
        }
        if self.pinned.1 >= STALLED_MS {
            return Some(WaitReason::OpenTransaction);
        }
        (self.silent_ms >= STALLED_MS).then_some(WaitReason::LeaderSilent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn look(covered: i64, empty: u64, end: i64) -> Look {
        let (stable, end) = (Some(end), Some(end));
        Look { elapsed_ms: 1_000, opening: 1, covered, empty, standing: false, stable, end, others_answer: true }
    }

    /// A lane that gets nothing though there is something: how many seconds until it is told to open again, and then again.
    fn reopened_after(judge: &mut Judge, from: u64) -> u64 {
        for second in 1.. {
            let seen = look(5, from + second, 9);
            if judge.look(&seen) == Advice::LookFor && judge.found(true, 9) {
                return second;
            }
        }
        0
    }

    #[test]
    fn a_lane_that_gets_nothing_though_there_is_something_opens_again_after_ten_seconds_then_ever_later() {
        let mut judge = Judge::default();
        judge.look(&look(5, 0, 9));
        assert_eq!(reopened_after(&mut judge, 0), 10);
        assert_eq!(judge.stalled(), None);
        assert_eq!(reopened_after(&mut judge, 100), 20);
        assert_eq!(reopened_after(&mut judge, 200), 40);
        assert_eq!(judge.stalled(), Some(WaitReason::NoProgress), "after a minute");
        judge.look(&look(6, 300, 9));
        assert_eq!(judge.stalled(), None, "it moves");
        assert_eq!(reopened_after(&mut Judge { covered: 5, ..judge }, 300), 10, "patience is short again");
    }

    #[test]
    fn a_lane_that_opens_again_and_still_reads_nothing_is_stalled_after_a_minute() {
        let mut judge = Judge::default();
        for second in 0..60 {
            assert_eq!(judge.stalled(), None, "{second}");
            // A new opening every five seconds; an earlier position is no progress.
            let covered = if second % 10 < 5 { 5 } else { 3 };
            judge.look(&Look { opening: 1 + second / 5, ..look(covered, second, 9) });
        }
        assert_eq!(judge.stalled(), Some(WaitReason::NoProgress));
    }

    #[test]
    fn a_lane_that_works_long_on_what_it_has_read_is_not_told_to_open_again() {
        let mut judge = Judge::default();
        for _ in 0..59 {
            assert_eq!(judge.look(&look(5, 7, 900)), Advice::Wait);
        }
        assert_eq!(judge.lag(), Some(895));
    }

    #[test]
    fn markers_and_aborted_records_are_no_lag_once_somebody_has_looked() {
        let mut judge = Judge::default();
        judge.look(&look(5, 0, 9));
        let mut asked = 0;
        for second in 1..600 {
            if judge.look(&look(5, second, 9)) == Advice::LookFor {
                asked += 1;
                assert!(!judge.found(false, 9));
            }
        }
        assert_eq!((asked, judge.lag(), judge.stalled()), (1, Some(0), None));
        judge.look(&look(5, 601, 10));
        assert_eq!(judge.lag(), Some(1));
    }

    #[test]
    fn a_lane_that_reads_on_is_no_longer_stalled_though_its_end_is_not_told() {
        let mut judge = Judge::default();
        for second in 0..=60 {
            judge.look(&look(5, second, 9));
        }
        assert_eq!(judge.stalled(), Some(WaitReason::NoProgress));
        let silent = |covered, empty| Look { stable: None, end: None, others_answer: false, ..look(covered, empty, 0) };
        judge.look(&silent(5, 61));
        assert_eq!(judge.stalled(), Some(WaitReason::NoProgress), "that Kafka is silent says nothing of the lane");
        judge.look(&silent(7, 62));
        assert_eq!(judge.stalled(), None);
    }

    #[test]
    fn a_lane_whose_leader_alone_is_silent_for_a_minute_is_said_to_stand_still() {
        let silent = |covered, empty| Look { stable: None, end: None, ..look(covered, empty, 0) };
        let mut judge = Judge::default();
        judge.look(&look(5, 0, 5));
        // While no leader answers, Kafka is away, and that is said once for all lanes.
        for second in 0..600 {
            judge.look(&Look { others_answer: false, ..silent(5, second) });
        }
        for second in 0..60 {
            assert_eq!(judge.stalled(), None, "{second}");
            judge.look(&silent(5, 600 + second));
        }
        assert_eq!(judge.stalled(), Some(WaitReason::LeaderSilent));
        let mut reads = judge.clone();
        reads.look(&silent(6, 661));
        assert_eq!(reads.stalled(), None, "it reads on, so its leader is there");
        judge.look(&look(5, 661, 5));
        assert_eq!(judge.stalled(), None, "the leader tells that there is nothing to read");
    }

    #[test]
    fn a_transaction_that_stays_open_for_a_minute_is_said() {
        let mut judge = Judge::default();
        for second in 0..=60 {
            assert_eq!(judge.stalled(), None);
            judge.look(&Look { end: Some(20), ..look(9, second, 9) });
        }
        assert_eq!(judge.stalled(), Some(WaitReason::OpenTransaction));
        judge.look(&Look { end: Some(21), ..look(9, 61, 10) });
        assert_eq!(judge.stalled(), None);
    }

    proptest! {
        #[test]
        fn a_lane_is_left_alone_while_it_moves_stands_for_its_own_reason_or_kafka_does_not_answer(
            kinds in proptest::collection::vec(0..3u8, 1..400), elapsed_ms in 0..10_000u64,
        ) {
            let mut judge = Judge::default();
            let mut covered = 0;
            for (at, kind) in kinds.into_iter().enumerate() {
                let seen = look(covered, at as u64, 1_000_000);
                let seen = match kind {
                    0 => Look { standing: true, ..seen },
                    1 => Look { stable: None, end: None, others_answer: false, ..seen },
                    _ => { covered += 1; Look { covered, ..seen } }
                };
                // The very first look cannot know whether the lane has moved.
                let advice = judge.look(&Look { elapsed_ms, ..seen });
                prop_assert_eq!((advice, judge.stalled()), (Advice::Wait, None));
            }
        }
    }
}
