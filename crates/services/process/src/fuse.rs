//! The fuse of a lane: a sudden run of dead letters stops it, instead of draining a topic into the dead letters.
//!
//! Pure. What it has seen is committed with the position, so whoever goes on with the lane decides at the same record. Two
//! ways to blow: so many dead letters in a row, or a share of the records last seen. The share is taken over two *spans*: the
//! one that fills, and the one before.

use std::fmt;

/// Records of a span. The share is taken over one to two spans, and not before one is full: a lane that has seen few records
/// knows nothing of shares.
pub const SPAN: u32 = 1_000;

/// When a fuse blows; 0 switches either way off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many dead letters in a row.
    pub run: u32,
    /// So many percent of the records last seen.
    pub percent: u8,
}

/// Why a fuse has blown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blown {
    /// So many dead letters in a row.
    Run(u32),
    /// Too large a share.
    Share {
        /// Dead letters.
        dead: u32,
        /// Of so many records.
        of: u32,
    },
}

impl fmt::Display for Blown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "{run} records in a row are dead letters"),
            Self::Share { dead, of } => write!(f, "{dead} of the last {of} records are dead letters"),
        }
    }
}

/// Records of one span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) records: u32,
    pub(crate) dead: u32,
}

/// What a lane has seen: part of what it commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fuse {
    /// Dead letters since the last record that could be read.
    pub(crate) run: u32,
    /// The span that is full.
    pub(crate) last: Span,
    /// The span that fills.
    pub(crate) current: Span,
}

impl Fuse {
    /// Counts a record, and says so if it is one dead letter too many. It can only blow at a dead letter: what is mended ends
    /// the run with its first record, and the lane goes on.
    pub fn saw(&mut self, dead: bool, limits: Limits) -> Option<Blown> {
        if self.current.records >= SPAN {
            self.last = std::mem::take(&mut self.current);
        }
        self.current.records += 1;
        if !dead {
            self.run = 0;
            return None;
        }
        self.current.dead += 1;
        self.run = self.run.saturating_add(1);
        if limits.run > 0 && self.run >= limits.run {
            return Some(Blown::Run(self.run));
        }
        let (dead, of) = (self.last.dead + self.current.dead, self.last.records + self.current.records);
        let too_many = u64::from(dead) * 100 >= u64::from(of) * u64::from(limits.percent);
        (limits.percent > 0 && of >= SPAN && too_many).then_some(Blown::Share { dead, of })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one record may be: mostly runs of the same kind, since single ones blow nothing.
    fn traffic() -> impl Strategy<Value = Vec<bool>> {
        let stretch = prop_oneof![
            (any::<bool>(), 1..1_500usize).prop_map(|(dead, length)| vec![dead; length]),
            proptest::collection::vec(proptest::bool::weighted(0.3), 1..2_000),
        ];
        proptest::collection::vec(stretch, 1..6).prop_map(|stretches| stretches.concat())
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (0..1_500u32, 0..=100u8).prop_map(|(run, percent)| Limits { run, percent })
    }

    /// Where the fuse blows, if it does.
    fn blows(mut fuse: Fuse, traffic: &[bool], limits: Limits) -> Option<(usize, Blown)> {
        traffic.iter().enumerate().find_map(|(at, dead)| fuse.saw(*dead, limits).map(|blown| (at, blown)))
    }

    /// The same by brute force: every record is asked about the whole past.
    fn expected(traffic: &[bool], limits: Limits) -> Option<(usize, Blown)> {
        let span = SPAN as usize;
        (0..traffic.len()).filter(|at| traffic[*at]).find_map(|at| {
            let seen = &traffic[..=at];
            let run = seen.iter().rev().take_while(|dead| **dead).count() as u32;
            if limits.run > 0 && run >= limits.run {
                return Some((at, Blown::Run(run)));
            }
            let window = &seen[(at / span).saturating_sub(1) * span..];
            let (dead, of) = (window.iter().filter(|dead| **dead).count(), window.len());
            let too_many = limits.percent > 0 && of >= span && dead * 100 >= of * usize::from(limits.percent);
            too_many.then_some((at, Blown::Share { dead: dead as u32, of: of as u32 }))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn it_blows_at_the_record_at_which_the_definition_says(traffic in traffic(), limits in limits()) {
            prop_assert_eq!(blows(Fuse::default(), &traffic, limits), expected(&traffic, limits));
        }

        #[test]
        fn whoever_goes_on_from_what_was_committed_decides_at_the_same_record(
            traffic in traffic(), limits in limits(), committed in any::<prop::sample::Index>(),
        ) {
            let whole = blows(Fuse::default(), &traffic, limits);
            let end = whole.map_or(traffic.len(), |(at, _)| at);
            let committed = if end == 0 { 0 } else { committed.index(end) };
            let mut fuse = Fuse::default();
            for dead in &traffic[..committed] {
                prop_assert_eq!(fuse.saw(*dead, limits), None);
            }
            let again = blows(fuse, &traffic[committed..], limits);
            prop_assert_eq!(again.map(|(at, blown)| (at + committed, blown)), whole);
        }

        #[test]
        fn dead_letters_alone_never_get_past_the_run_whatever_came_before(traffic in traffic(), run in 1..500u32) {
            let limits = Limits { run, percent: 0 };
            let mut fuse = Fuse::default();
            for dead in traffic {
                if fuse.saw(dead, limits).is_some() {
                    return Ok(());
                }
            }
            let more = (1..=run).find(|_| fuse.saw(true, limits).is_some());
            prop_assert!(more.is_some());
        }

        #[test]
        fn readable_records_blow_nothing_and_make_it_forget(traffic in traffic(), limits in limits()) {
            let mut fuse = Fuse::default();
            traffic.iter().find(|dead| fuse.saw(**dead, limits).is_some());
            for _ in 0..2 * SPAN {
                prop_assert_eq!(fuse.saw(false, limits), None);
            }
            prop_assert_eq!((fuse.run, fuse.last.dead), (0, 0));
        }
    }

    #[test]
    fn zero_switches_it_off() {
        assert_eq!(blows(Fuse::default(), &[true; 10_000], Limits { run: 0, percent: 0 }), None);
    }
}
