//! The verdict on a record whose row is gone, from the rows of its key that are left.
//!
//! A replay cannot ask the window: it has moved on. What it has is the rows. As long as one row is missing among those of its key, they
//! tell exactly what was decided; where several are missing, the key still counts once, if not always at its first offset. A row has one
//! received time; where two clocks disagreed about it, the window's mark may have lasted longer than the row says.

use crate::decision::{Candidate, Verdict};

/// What a row says about a record of the same source and key, in the same lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Offset of the record in its lane of `raw`.
    pub offset: u64,
    /// When it was received, Unix milliseconds.
    pub received_at: i64,
    /// What was decided about it.
    pub fate: Fate,
}

/// What was decided about a record that a row is left of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It counts.
    Counted,
    /// It is a duplicate.
    Duplicate {
        /// The offset that counted.
        first_offset: u64,
        /// Received this much after the first, milliseconds.
        delay_ms: i64,
    },
}

/// What was decided about `candidate`, or what has to be for its key to count once. Never [`Verdict::Rewound`].
///
/// `witnesses` are rows of the candidate's source and key, in any order; its own row may be among them.
#[must_use]
pub fn hindsight(candidate: &Candidate, witnesses: &[Witness]) -> Verdict {
    let duplicate_of = |first_offset: u64, received_at: i64| Verdict::Duplicate {
        first_offset,
        delay_ms: candidate.received_at.saturating_sub(received_at),
    };
    if let Some(own) = witnesses.iter().find(|witness| witness.offset == candidate.offset) {
        return match own.fate {
            Fate::Counted => Verdict::First,
            Fate::Duplicate { first_offset, delay_ms } => Verdict::Duplicate { first_offset, delay_ms },
        };
    }
    // Everything that counts: as a row, or as the first that a duplicate names.
    let firsts = || {
        witnesses.iter().map(|witness| match witness.fate {
            Fate::Counted => (witness.offset, witness.received_at),
            Fate::Duplicate { first_offset, delay_ms } => (first_offset, witness.received_at.saturating_sub(delay_ms)),
        })
    };
    if firsts().any(|(offset, _)| offset == candidate.offset) {
        return Verdict::First;
    }
    let (earliest, latest) = candidate.between;
    let before = firsts().filter(|(offset, _)| *offset < candidate.offset).max_by_key(|(offset, _)| *offset);
    if let Some((offset, received_at)) = before
        && Candidate::is_within(candidate.window_ms, received_at, earliest)
    {
        return duplicate_of(offset, received_at);
    }
    // Had it counted, one that counts later would be its duplicate: so it did not, and must not now.
    let after = firsts().filter(|(offset, received_at)| {
        *offset > candidate.offset && Candidate::is_within(candidate.window_ms, latest, *received_at)
    });
    match after.min_by_key(|(offset, _)| *offset) {
        Some((offset, received_at)) => duplicate_of(offset, received_at),
        None => Verdict::First,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Id128, MemoryStore, Window};

    const WINDOW: u64 = 100;

    fn candidate(offset: u64, received_at: i64) -> Candidate {
        Candidate::new(Id128(7), offset, received_at, WINDOW)
    }

    fn witness(candidate: &Candidate, verdict: Verdict) -> Witness {
        let fate = match verdict {
            Verdict::Duplicate { first_offset, delay_ms } => Fate::Duplicate { first_offset, delay_ms },
            _ => Fate::Counted,
        };
        Witness { offset: candidate.offset, received_at: candidate.received_at, fate }
    }

    /// One key's records, received in the order of their offsets, with what the window said of each.
    fn decided(gaps: &[i64]) -> Vec<(Candidate, Verdict)> {
        let mut at = 0;
        let candidates: Vec<Candidate> = gaps
            .iter()
            .enumerate()
            .map(|(offset, gap)| {
                at += gap;
                candidate(offset as u64 * 3, at)
            })
            .collect();
        let mut verdicts = Vec::new();
        Window::new(MemoryStore::default()).decide_batch(&candidates, &mut verdicts).unwrap();
        candidates.into_iter().zip(verdicts).collect()
    }

    proptest! {
        #[test]
        fn one_missing_row_is_told_exactly_by_the_others(
            gaps in proptest::collection::vec(0_i64..80, 1..12), missing in any::<prop::sample::Index>(),
        ) {
            let all = decided(&gaps);
            let (gone, verdict) = all[missing.index(all.len())];
            let left: Vec<Witness> =
                all.iter().filter(|(one, _)| one.offset != gone.offset).map(|(one, verdict)| witness(one, *verdict)).collect();
            prop_assert_eq!(hindsight(&gone, &left), verdict);
        }

        #[test]
        fn whatever_is_missing_and_in_whatever_order_it_comes_back_the_key_counts_once(
            gaps in proptest::collection::vec(0_i64..8, 1..12), missing in proptest::collection::vec(any::<bool>(), 12),
            order in any::<u64>(),
        ) {
            // All within one window: the key counts once.
            let all = decided(&gaps);
            let (gone, left): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(place, _)| missing[*place]);
            let mut rows: Vec<Witness> = left.iter().map(|(_, (one, verdict))| witness(one, *verdict)).collect();
            let mut gone: Vec<Candidate> = gone.into_iter().map(|(_, (one, _))| *one).collect();
            gone.sort_by_key(|one| (one.offset + 1).wrapping_mul(order | 1));
            for one in gone {
                let verdict = hindsight(&one, &rows);
                rows.push(witness(&one, verdict));
            }
            prop_assert_eq!(rows.iter().filter(|row| row.fate == Fate::Counted).count(), 1);
        }
    }

    #[test]
    fn a_record_that_was_no_event_then_and_is_one_now_does_not_count_beside_its_repeat() {
        let again = candidate(9, 50);
        let rows = [witness(&again, Verdict::First)];
        let verdict = hindsight(&candidate(3, 0), &rows);
        assert_eq!(verdict, Verdict::Duplicate { first_offset: 9, delay_ms: -50 });
        assert_eq!(hindsight(&candidate(3, -100), &rows), Verdict::First);
    }
}
