//! What comes of a redrive, counted.

use std::collections::BTreeMap;

use super::redrive::{Redrive, RedriveReport};

/// Reasons that are told apart: those after them are counted as others.
const MOST_REASONS: usize = 100;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Dead letters looked at.
    pub(super) seen: u64,
    /// Dead letters that were redriven, or would be.
    pub(super) redriven: u64,
    /// Records that were appended for them, or would be.
    pub(super) appended: u64,
    /// Among those, records that will be dead letters again.
    pub(super) unreadable: u64,
    /// Not redriven, by why.
    skipped: BTreeMap<String, u64>,
    /// By why, what was found in the first.
    examples: BTreeMap<String, String>,
}

/// Why a letter stays as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stays {
    /// The same text for all that stay for the same reason.
    pub(super) why: String,
    /// What was found in this one, or empty.
    pub(super) detail: String,
}

impl From<&str> for Stays {
    fn from(why: &str) -> Self {
        Self { why: why.to_owned(), detail: String::new() }
    }
}

impl Tally {
    /// Dead letters that stay as they are.
    pub(super) fn left(&self) -> u64 {
        self.skipped.values().sum()
    }

    pub(super) fn report(&self, request: &Redrive, cancelled: bool) -> RedriveReport {
        let left = self.left();
        RedriveReport {
            ok: left == 0 && self.seen > 0 && !cancelled,
            dry_run: request.dry_run,
            seen: self.seen,
            redriven: self.redriven,
            appended: self.appended,
            unreadable: self.unreadable,
            left,
            skipped: self.skipped.clone(),
            examples: self.examples.clone(),
            cancelled,
            force: request.force,
        }
    }

    pub(super) fn skip(&mut self, stays: impl Into<Stays>) {
        let Stays { mut why, detail } = stays.into();
        if self.skipped.len() >= MOST_REASONS && !self.skipped.contains_key(&why) {
            why = "other reasons".to_owned();
        }
        if !detail.is_empty() {
            self.examples.entry(why.clone()).or_insert(detail);
        }
        *self.skipped.entry(why).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_stay_are_told_apart_by_reason_and_not_by_what_was_found_in_each() {
        let mut tally = Tally::default();
        for line in 0..1_000 {
            tally.skip(Stays { why: "would be a dead letter again (not_json)".into(), detail: format!("line {line}") });
        }
        assert_eq!(tally.skipped, BTreeMap::from([("would be a dead letter again (not_json)".to_owned(), 1_000)]));
        assert_eq!(tally.examples.values().collect::<Vec<_>>(), ["line 0"]);
        (0..1_000).for_each(|number| tally.skip(format!("reason {number}").as_str()));
        assert_eq!((tally.skipped.len(), tally.left()), (MOST_REASONS + 1, 2_000));
    }
}
