//! When the clients that ask where partitions end are replaced. Pure: time comes in.

use std::time::{Duration, Instant};

use runtime::Backoff;

/// Clients that get no answer at all for this long are replaced, since they may be the ones that have lost their way.
const NONE: Duration = Duration::from_secs(10);
/// While some partitions answer and others do not, either those have no leader, or the clients have lost only them:
/// replaced as well, later each time that did not help.
const SOME: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(320));

/// Which answers came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// Each partition that was asked about, or none was.
    All,
    /// Some.
    Some,
    /// None.
    None,
}

impl Came {
    pub(super) fn of(mut known: impl Iterator<Item = bool>) -> Self {
        let Some(first) = known.next() else { return Self::All };
        match (first, known.any(|one| one != first)) {
            (true, false) => Self::All,
            (false, false) => Self::None,
            (_, true) => Self::Some,
        }
    }
}

/// Since when answers are missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    /// When one came last, or the clients were made.
    any: Instant,
    /// When all came last, some came after none did, or the clients were made.
    all: Instant,
    /// How often they were replaced since `all`, for what some did not answer.
    in_vain: u32,
    before: Came,
}

impl Answers {
    /// Clients that were just made.
    pub(super) fn new(now: Instant) -> Self {
        Self { any: now, all: now, in_vain: 0, before: Came::All }
    }

    /// Takes note of a turn. Whether new clients are to ask from now on.
    pub(super) fn replace(&mut self, came: Came, now: Instant) -> bool {
        let before = std::mem::replace(&mut self.before, came);
        match came {
            Came::All => (self.any, self.all, self.in_vain) = (now, now, 0),
            // What was asked in vain while nothing answered says nothing of a partition that is left over.
            Came::Some if before == Came::None => (self.any, self.all, self.in_vain) = (now, now, 0),
            Came::Some => {
                self.any = now;
                if now.saturating_duration_since(self.all) >= SOME.ceiling(self.in_vain.saturating_add(1)) {
                    (self.all, self.in_vain) = (now, self.in_vain.saturating_add(1));
                    return true;
                }
            }
            Came::None => {
                if now.saturating_duration_since(self.any) >= NONE {
                    self.any = now;
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds of twenty minutes at which clients are replaced.
    fn replaced(came: impl Fn(u64) -> Came) -> Vec<u64> {
        let begun = Instant::now();
        let mut answers = Answers::new(begun);
        (1..=1_200).filter(|second| answers.replace(came(*second), begun + Duration::from_secs(*second))).collect()
    }

    #[test]
    fn clients_that_no_partition_answers_are_replaced_every_ten_seconds() {
        assert_eq!(replaced(|_| Came::None)[..3], [10, 20, 30]);
    }

    #[test]
    fn clients_that_one_partition_does_not_answer_are_replaced_ever_later() {
        assert_eq!(replaced(|_| Came::Some)[..6], [10, 30, 70, 150, 310, 630]);
    }

    #[test]
    fn patience_begins_anew_once_all_have_answered() {
        let came = |second| if second % 40 == 0 { Came::All } else { Came::Some };
        assert_eq!(replaced(came)[..4], [10, 30, 50, 70]);
        assert!(replaced(|_| Came::All).is_empty());
    }

    #[test]
    fn after_an_outage_a_partition_that_is_left_over_is_not_waited_for_long_and_a_moment_without_answers_is_no_outage()
    {
        let outage = |second| if second <= 60 { Came::None } else { Came::Some };
        assert_eq!(replaced(outage)[5..8], [60, 71, 91]);
        let moment = |second| if second == 25 { Came::None } else { Came::Some };
        assert_eq!(replaced(moment)[..2], [10, 36]);
    }

    #[test]
    fn all_some_and_none_are_told_apart() {
        let of = |known: &[bool]| Came::of(known.iter().copied());
        assert_eq!([of(&[]), of(&[true, true]), of(&[false])], [Came::All, Came::All, Came::None]);
        assert_eq!([of(&[true, false]), of(&[false, false, true])], [Came::Some, Came::Some]);
    }
}
