//! Broken destination: what people open leads nowhere. Told once, and once more when it is over.
//!
//! Nowhere lead: an error event (an orphan visit is one), a visit that the redirect answered with an error, and a visit
//! of a link that has expired or was deleted by the catalogue. Where a key is one link, also a visit after the platform
//! has ended it, until an edit: of the links of a campaign the end of one says nothing of the others.

use std::borrow::Cow;

use event::{CATALOGUE_SOURCE, EventType, LinkEvent};

use crate::codec::{Reader, Writer};
use crate::pane::Pane;

const WORKS: &str = "works";
const EDITED: &str = "edited";
const ENDED: &str = "ended";
/// In front of the reason of what leads nowhere.
const BAD: &str = "bad ";
/// What leads nowhere, once its key has no room for another reason.
const OF_MANY_REASONS: &str = "bad one of many reasons";
/// What is said of a visit to a link that the platform has ended.
const OF_ENDED: &str = "the platform has ended the link";

/// What a rule on broken destinations asks for. Times are whole minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenRule {
    /// So many visits must have led nowhere within the window, at least 1.
    pub at_least: u32,
    /// And so many in a hundred of all that the rule saw in it, 1 to 100.
    pub percent: u32,
    /// The window, 1 to 60.
    pub within_minutes: i64,
    /// After so long without another one it is over, even if nothing shows that it works again; at least the window.
    pub over_after_minutes: i64,
    /// After it fired for a key it does not fire for it again for so long.
    pub quiet_for_minutes: i64,
}

/// What tells that it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenEnd {
    /// Visits arrive again.
    Works,
    /// The link was edited, and nothing led nowhere since.
    Edited,
    /// Nothing led nowhere for long.
    Quiet,
}

/// What became of a key. Times are minutes since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BrokenChange {
    /// It leads nowhere.
    Fired {
        /// The end of the window.
        at: i64,
        /// What led nowhere in the window.
        bad: u64,
        /// What arrived in it.
        works: u64,
        /// Why the last one led nowhere.
        reason: String,
    },
    /// It is over.
    Resolved {
        /// When it was seen to be.
        at: i64,
        /// What led nowhere since it fired, the window before that included.
        bad: u64,
        /// How that is known.
        end: BrokenEnd,
    },
}

/// What a rule sees in an event; none: it says nothing about a destination. `one_link`: each key is a link.
pub(crate) fn facet(event: &LinkEvent<'_>, one_link: bool) -> Option<Cow<'static, str>> {
    let bad = |reason: &str| Some(Cow::Owned(format!("{BAD}{reason}")));
    match event.r#type {
        EventType::Error => match (event.error_kind.as_ref(), event.subtype.as_ref()) {
            ("", "") => bad("an error"),
            ("", kind) | (kind, _) => bad(&words(kind)),
        },
        EventType::Click | EventType::QrScan => {
            let traced = |line: &str| event.trace.iter().any(|one| one == line);
            if traced("catalogue:expired") {
                bad("the link has expired")
            } else if traced("catalogue:deleted") {
                bad("the link was deleted")
            } else if event.redirect_status >= 400 {
                bad(&format!("the redirect answered {}", event.redirect_status))
            } else {
                Some(Cow::Borrowed(WORKS))
            }
        }
        // The end of one link, or its edit, says nothing of a key's other links. An expiry that the catalogue itself
        // tells may be put off in the list, and no event says so: visits are asked, each by the time of its making.
        EventType::Lifecycle if !one_link || event.source == CATALOGUE_SOURCE => None,
        EventType::Lifecycle => match event.subtype.as_ref() {
            "link.expired" | "link.deleted" | "link.disabled" | "link.archived" => Some(Cow::Borrowed(ENDED)),
            _ => Some(Cow::Borrowed(EDITED)),
        },
        _ => None,
    }
}

fn words(kind: &str) -> String {
    match kind {
        "destination_unavailable" => "the destination is not available".to_owned(),
        "malformed_target" => "the target is not an address".to_owned(),
        "unexpected_redirect" => "it redirects to where it should not".to_owned(),
        other => other.to_owned(),
    }
}

/// What it counts under where its key has no room for another reason.
pub(crate) fn rest(facet: &str) -> &str {
    if facet.starts_with(BAD) { OF_MANY_REASONS } else { facet }
}

/// What came for a key in one minute.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BrokenMinute {
    bad: u32,
    works: u32,
    /// Of `works`, those that came late: they show what was.
    late: u32,
    edited: bool,
    ended: bool,
    reason: String,
}

impl BrokenMinute {
    /// The parts of a pane; with the position of the part that a message names.
    pub(crate) fn of(pane: &Pane, one_link: bool) -> (Self, usize) {
        let (mut minute, mut named) = (Self::default(), 0);
        for (at, part) in pane.parts().enumerate() {
            if minute.add(&part.facet, part.count, part.late) {
                named = at;
            }
        }
        // An older version of `process` sends ends and edits of other keys as well.
        (minute.ended, minute.edited) = (minute.ended && one_link, minute.edited && one_link);
        (minute, named)
    }

    /// Adds events that show the same. Whether they led nowhere.
    fn add(&mut self, facet: &str, count: u32, late: u32) -> bool {
        match facet {
            WORKS => {
                self.works = self.works.saturating_add(count);
                self.late = self.late.saturating_add(late);
            }
            EDITED => self.edited = true,
            ENDED => self.ended = true,
            bad => {
                self.bad = self.bad.saturating_add(count);
                self.reason = bad.strip_prefix(BAD).unwrap_or(bad).to_owned();
                return true;
            }
        }
        false
    }

    /// How many led nowhere, and how many arrived, of a link that the platform `has_ended` before the minute or not;
    /// that is then as of its end. What comes late to a link that has ended may be of before: it counts as neither.
    fn counts(&self, has_ended: &mut bool) -> (u32, u32) {
        // Which came first within the minute is not known: an edit is believed, or the link would stay ended for ever.
        let was_ended = *has_ended && !self.edited;
        *has_ended = was_ended || (self.ended && !self.edited);
        if was_ended { (self.bad.saturating_add(self.in_time()), 0) } else { (self.bad, self.works) }
    }

    /// The visits that show that the link works now.
    fn in_time(&self) -> u32 {
        self.works.saturating_sub(self.late)
    }
}

/// What leads nowhere, minute after minute: a link that the platform has ended does, until it is edited.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nowhere {
    ended: bool,
}

impl Nowhere {
    /// Takes what came in one minute, each facet with its count and how many of them came late: how many led nowhere,
    /// and how many arrived.
    pub(crate) fn take<'f>(&mut self, parts: impl Iterator<Item = (&'f str, u64, u64)>) -> (u64, u64) {
        let mut minute = BrokenMinute::default();
        for (facet, count, late) in parts {
            let [count, late] = [count, late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            minute.add(facet, count, late);
        }
        let (bad, works) = minute.counts(&mut self.ended);
        (u64::from(bad), u64::from(works))
    }
}

/// What is known of one key. A key that works, and has not fired lately, is forgotten.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct BrokenKey {
    /// Minutes of the window with what led nowhere and what arrived.
    minutes: Vec<(i64, u32, u32)>,
    /// The end of the last minute in which something led nowhere; 0: none.
    last_bad: i64,
    /// Visits that arrived since; while it fires, without those that came late.
    works: u32,
    /// Edited since.
    edited: bool,
    /// The platform has ended the link.
    ended: bool,
    firing: bool,
    /// When it fired last; 0: never.
    fired_at: i64,
    /// What led nowhere since.
    told: u64,
    reason: String,
}

impl BrokenKey {
    /// Takes what came in one closed minute; minutes of a key come in their order.
    pub(crate) fn take(
        &mut self,
        rule: &BrokenRule,
        minute: i64,
        seen: BrokenMinute,
        tell: &mut impl FnMut(BrokenChange),
    ) {
        self.walk(rule, minute, tell);
        let end = minute + 1;
        let (bad, works) = seen.counts(&mut self.ended);
        if bad > 0 {
            (self.last_bad, self.works, self.edited) = (end, 0, seen.edited);
            self.reason = if seen.bad > 0 { seen.reason } else { OF_ENDED.to_owned() };
        } else {
            // What comes late does not show that it works again.
            self.works = self.works.saturating_add(if self.firing { seen.in_time() } else { works });
            self.edited |= seen.edited;
        }
        if bad > 0 || works > 0 {
            self.minutes.push((minute, bad, works));
        }
        self.minutes.retain(|(at, ..)| *at >= end - rule.within_minutes);
        if self.firing {
            self.told += u64::from(bad);
            self.end(rule, end, tell);
            return;
        }
        let sum = |of: fn(&(i64, u32, u32)) -> u32| self.minutes.iter().map(|one| u64::from(of(one))).sum::<u64>();
        let (bad, works) = (sum(|one| one.1), sum(|one| one.2));
        let quiet = self.fired_at > 0 && end - self.fired_at < rule.quiet_for_minutes;
        let many = bad >= u64::from(rule.at_least.max(1)) && bad * 100 >= u64::from(rule.percent) * (bad + works);
        if many && !quiet {
            (self.firing, self.fired_at, self.told) = (true, end, bad);
            tell(BrokenChange::Fired { at: end, bad, works, reason: self.reason.clone() });
        }
    }

    /// Walks the key up to the end `to` of a minute: nothing came since the last one.
    pub(crate) fn walk(&mut self, rule: &BrokenRule, to: i64, tell: &mut impl FnMut(BrokenChange)) {
        while let Some(at) = self.wakes(rule).filter(|at| *at <= to) {
            if self.firing {
                self.end(rule, at, tell);
            } else {
                *self = Self { ended: self.ended, ..Self::default() };
            }
        }
    }

    /// When the key must be walked even if nothing comes.
    pub(crate) fn wakes(&self, rule: &BrokenRule) -> Option<i64> {
        if self.firing {
            let shown = (self.works > 0 || self.edited).then_some(rule.within_minutes);
            return Some(self.last_bad + shown.unwrap_or(rule.over_after_minutes).min(rule.over_after_minutes));
        }
        let window = self.minutes.last().map(|(minute, ..)| minute + 1 + rule.within_minutes);
        let quiet = (self.fired_at > 0).then(|| self.fired_at + rule.quiet_for_minutes);
        window.max(quiet)
    }

    /// Whether nothing is left to know.
    pub(crate) fn is_over(&self) -> bool {
        self.minutes.is_empty() && self.fired_at == 0 && !self.ended
    }

    fn end(&mut self, rule: &BrokenRule, at: i64, tell: &mut impl FnMut(BrokenChange)) {
        let since = at - self.last_bad;
        let end = if since >= rule.within_minutes && self.works > 0 {
            BrokenEnd::Works
        } else if since >= rule.within_minutes && self.edited {
            BrokenEnd::Edited
        } else if since >= rule.over_after_minutes {
            BrokenEnd::Quiet
        } else {
            return;
        };
        self.firing = false;
        tell(BrokenChange::Resolved { at, bad: self.told, end });
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u32(u32::try_from(self.minutes.len()).unwrap_or(u32::MAX));
        for (minute, bad, works) in &self.minutes {
            to.i64(*minute);
            to.u32(*bad);
            to.u32(*works);
        }
        to.i64(self.last_bad);
        to.u32(self.works);
        to.flags([self.edited, self.ended, self.firing]);
        to.i64(self.fired_at);
        to.u64(self.told);
        to.text(&self.reason);
    }

    /// What [`BrokenKey::write`] wrote. An older version kept the end of a link for keys that are not one link, too.
    pub(crate) fn read(from: &mut Reader<'_>, one_link: bool) -> Option<Self> {
        let mut key = Self::default();
        for _ in 0..from.u32()? {
            key.minutes.push((from.i64()?, from.u32()?, from.u32()?));
        }
        (key.last_bad, key.works) = (from.i64()?, from.u32()?);
        [key.edited, key.ended, key.firing] = from.flags()?;
        key.ended &= one_link;
        (key.fired_at, key.told) = (from.i64()?, from.u64()?);
        key.reason = from.text()?.to_owned();
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_ended_and_was_edited_within_a_minute_has_not_ended() {
        let rule =
            BrokenRule { at_least: 3, percent: 10, within_minutes: 10, over_after_minutes: 60, quiet_for_minutes: 60 };
        let lifecycle = BrokenMinute { ended: true, edited: true, ..BrokenMinute::default() };
        let visits = BrokenMinute { works: 5, ..BrokenMinute::default() };
        let told = |first: BrokenMinute| {
            let (mut key, mut told) = (BrokenKey::default(), Vec::new());
            key.take(&rule, 100, first, &mut |change| told.push(change));
            key.take(&rule, 101, visits.clone(), &mut |change| told.push(change));
            told.len()
        };
        assert_eq!(told(lifecycle.clone()), 0);
        assert_eq!(told(BrokenMinute { edited: false, ..lifecycle }), 1);
    }
}
