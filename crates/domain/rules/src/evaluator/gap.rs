//! Delivery gap: the platform has counted more events of a link than have arrived.
//!
//! A counter is compared with itself and never with what we have counted: only by how much it grew. So it does not
//! matter from which number it starts, and a link is measured from its first event here on.

use std::borrow::Cow;

use event::LinkEvent;

use crate::codec::{Reader, Writer};
use crate::field::link_name;
use crate::is_late;
use crate::observation::Observation;

/// Between the source and the link whose counter it is.
const SEPARATOR: char = '\u{1f}';
/// Where an event says what the platform has counted, this event included.
pub const COUNTER: &str = "clicks_total";
/// A counter that is behind what it said so many minutes ago has been set back: what came in time happened after that.
const REORDERED: i64 = 15;
/// A counter that grows by more than so much, and by more than ten times all that arrived in the window, has been set
/// anew. Where it starts, the least and the most that it says may not be further apart either.
const JUMP: u64 = 1_000;
/// Such a jump is taken for what was missed if the counter has said nothing for longer.
const JUMP_MINUTES: i64 = 60;

/// What a rule on delivery gaps asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRule {
    /// The share that has not arrived, in hundredths of a percent: 500 for `5%`.
    pub share_basis_points: u32,
    /// Of what was counted in so many hours, 2 to 168. What was counted in the last hour may still be on its way.
    pub within_hours: i64,
    /// The platform has counted at least so many in them, at least 1.
    pub at_least: u64,
}

/// What became of a key. Times are minutes since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapChange {
    /// Some are missing.
    Fired {
        /// When that was seen.
        at: i64,
        /// What the platform has counted in the window.
        counted: u64,
        /// How many of them have not arrived.
        missing: u64,
    },
    /// They have arrived, or are no longer in the window.
    Resolved {
        /// When that was seen.
        at: i64,
        /// What is missing of the window now.
        missing: u64,
    },
}

/// What the counter of a link is told apart by, and what it says. A link has a counter for each source that tells of
/// it.
pub(crate) fn observe<'e>(event: &'e LinkEvent<'_>) -> Option<(Cow<'e, str>, Option<u64>)> {
    let link = link_name(event);
    if !event.r#type.is_visit() || link.is_empty() {
        return None;
    }
    let counter = event.extra.get(COUNTER).parse().ok().filter(|_| !is_late(event));
    Some((format!("{}{SEPARATOR}{link}", event.source).into(), counter))
}

/// The key of the record in which a counter is kept: no key that events count under has the separator.
pub(crate) fn counter_key(key: &str, facet: &str) -> String {
    format!("{key}{SEPARATOR}{facet}")
}

/// Whether a key is that of a counter.
pub(crate) fn is_counter(key: &str) -> bool {
    key.contains(SEPARATOR)
}

/// A platform's counter of one link, as it was last seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    top: u64,
    /// The end of the minute in which it said so; 0: never.
    at: i64,
}

impl Counter {
    /// Takes one closed minute with so many events, and what the counter said in it. How much it grew, and how many of
    /// the events are to be held against that. `arrived` is what has arrived in the window, of all links of the key.
    pub(crate) fn take(&mut self, minute: i64, events: u32, said: Option<(u64, u64)>, arrived: u64) -> (u64, u64) {
        let (end, events) = (minute + 1, u64::from(events));
        let Some((low, high)) = said else {
            return (0, if self.at == 0 { 0 } else { events });
        };
        let before = *self;
        if before.at > 0 && high < before.top && end - before.at <= REORDERED {
            // Events overtake each other: this one was counted before the one that said more.
            return (0, events);
        }
        *self = Self { top: high, at: end };
        let grown = high.saturating_sub(before.top);
        let jumped =
            grown > JUMP.max(arrived.saturating_add(events).saturating_mul(10)) && end - before.at <= JUMP_MINUTES;
        if before.at == 0 || high < before.top || jumped {
            // From here on: the event that said the least is where it starts.
            let spread = high.saturating_sub(low);
            let counted = if jumped || spread > JUMP.max(events.saturating_mul(10)) { 0 } else { spread };
            return (counted, events.saturating_sub(1));
        }
        (grown, events)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u64(self.top);
        to.i64(self.at);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { top: from.u64()?, at: from.i64()? })
    }
}

/// What is known of one key: what counters of its links have grown by, and what has arrived, hour by hour.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GapKey {
    /// Hour since 1970, counted, arrived.
    hours: Vec<(i64, u64, u64)>,
    /// It was judged up to the end of the hour before this one.
    judged: i64,
    firing: bool,
}

impl GapKey {
    /// Takes what one closed minute adds; minutes of a key come in their order, and the key was walked up to it.
    pub(crate) fn take(&mut self, rule: &GapRule, minute: i64, counted: u64, arrived: u64) {
        let hour = minute.div_euclid(60);
        self.hours.retain(|one| one.0 >= hour - rule.within_hours);
        if self.hours.is_empty() {
            self.judged = self.judged.max(hour);
        }
        match self.hours.last_mut() {
            Some(last) if last.0 == hour => {
                (last.1, last.2) = (last.1.saturating_add(counted), last.2.saturating_add(arrived));
            }
            _ => self.hours.push((hour, counted, arrived)),
        }
    }

    /// What has arrived in the window that ends with a minute.
    pub(crate) fn arrived(&self, rule: &GapRule, minute: i64) -> u64 {
        let from = minute.div_euclid(60) - rule.within_hours;
        self.hours.iter().filter(|one| one.0 >= from).map(|one| one.2).fold(0, u64::saturating_add)
    }

    /// Walks the key up to the end `to` of a minute.
    pub(crate) fn walk(&mut self, rule: &GapRule, to: i64, tell: &mut impl FnMut(GapChange)) {
        while let Some(at) = self.wakes(rule).filter(|at| *at <= to) {
            self.judge(rule, at / 60, tell);
        }
        // Ends of hours at which nothing changes are passed over.
        self.judged = self.judged.max(to.div_euclid(60));
    }

    /// The end of the next hour at which something changes even if nothing more comes.
    pub(crate) fn wakes(&self, rule: &GapRule) -> Option<i64> {
        let last = self.hours.last()?.0;
        let gone = last + rule.within_hours + 2;
        let changes = |hour: &i64| {
            let (counted, missing) = self.window(rule, *hour);
            if self.firing { is_over(rule, counted, missing) } else { is_gap(rule, counted, missing) }
        };
        let next = (self.judged + 1..gone).find(changes).unwrap_or(gone.max(self.judged + 1));
        Some(next * 60)
    }

    /// Whether nothing is left to know.
    pub(crate) fn is_over(&self) -> bool {
        self.hours.is_empty() && !self.firing
    }

    /// What was counted in the window, and what is missing of it, at the end of the hour before `hour`. What arrived
    /// counts from an hour before the window on: a counter may say a little less than there is.
    pub(crate) fn window(&self, rule: &GapRule, hour: i64) -> (u64, u64) {
        let from = |hour: i64| self.hours.partition_point(|one| one.0 < hour);
        let (first, end) = (hour - rule.within_hours, from(hour));
        let counted = self.hours[from(first)..from(hour - 1)].iter().map(|one| one.1).fold(0, u64::saturating_add);
        let arrived = self.hours[from(first - 1)..end].iter().map(|one| one.2).fold(0, u64::saturating_add);
        (counted, counted.saturating_sub(arrived))
    }

    fn judge(&mut self, rule: &GapRule, hour: i64, tell: &mut impl FnMut(GapChange)) {
        self.judged = hour;
        let (counted, missing) = self.window(rule, hour);
        let at = hour * 60;
        if self.firing && is_over(rule, counted, missing) {
            self.firing = false;
            tell(GapChange::Resolved { at, missing });
        } else if !self.firing && is_gap(rule, counted, missing) {
            self.firing = true;
            tell(GapChange::Fired { at, counted, missing });
        }
        self.hours.retain(|one| one.0 >= hour - rule.within_hours);
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.hours.len()).unwrap_or(u32::MAX));
        for (hour, counted, arrived) in &self.hours {
            to.i64(*hour);
            to.u64(*counted);
            to.u64(*arrived);
        }
        to.i64(self.judged);
        to.flags([self.firing]);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut key = Self::default();
        for _ in 0..from.u32()? {
            key.hours.push((from.i64()?, from.u64()?, from.u64()?));
        }
        key.judged = from.i64()?;
        [key.firing] = from.flags()?;
        Some(key)
    }
}

/// How many must be missing of so many.
pub(crate) fn least_missing(rule: &GapRule, counted: u64) -> u64 {
    (u128::from(counted) * u128::from(rule.share_basis_points)).div_ceil(10_000).max(1) as u64
}

fn is_gap(rule: &GapRule, counted: u64, missing: u64) -> bool {
    counted >= rule.at_least && missing >= least_missing(rule, counted)
}

/// Less than half of what the rule asks for is missing.
fn is_over(rule: &GapRule, counted: u64, missing: u64) -> bool {
    missing.saturating_mul(2) < least_missing(rule, counted)
}

impl<'e> Observation<'e> {
    /// An event of a rule on delivery gaps.
    pub(crate) fn of_counter(key: Cow<'e, str>, pane: i64, event: &'e LinkEvent<'_>) -> Option<Self> {
        let (facet, counter) = observe(event)?;
        Some(Self { key, pane, facet, counter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: GapRule = GapRule { share_basis_points: 500, within_hours: 24, at_least: 50 };

    #[test]
    fn a_counter_that_says_anything_makes_no_gap_in_its_first_minute() {
        for said in [(0, u64::MAX), (7, 5_000_000)] {
            assert_eq!(Counter::default().take(100, 2, Some(said), 0), (0, 1), "{said:?}");
        }
        assert_eq!(Counter::default().take(100, 2, Some((7, 107)), 0), (100, 1), "what may well have been missed");
        assert_eq!(Counter::default().take(100, 500, Some((0, 4_000)), 0), (4_000, 499));
    }

    #[test]
    fn sums_of_whatever_counters_say_stay_numbers() {
        let mut key = GapKey::default();
        for minute in [0, 60, 120, 180] {
            key.take(&RULE, 600_000 + minute, u64::MAX, u64::MAX / 2);
            key.take(&RULE, 600_001 + minute, u64::MAX, u64::MAX / 2);
        }
        assert_eq!(key.arrived(&RULE, 600_181), u64::MAX);
        let mut changes = Vec::new();
        key.walk(&RULE, 600_000 + 600, &mut |change| changes.push(change));
        assert!(changes.iter().all(|change| matches!(change, GapChange::Resolved { .. })), "{changes:?}");
        // After an hour without a word, a jump is taken for what was missed.
        let mut counter = Counter::default();
        counter.take(100, 2, Some((0, 0)), u64::MAX);
        assert_eq!(counter.take(200, 2, Some((u64::MAX, u64::MAX)), u64::MAX), (u64::MAX, 2));
    }
}
