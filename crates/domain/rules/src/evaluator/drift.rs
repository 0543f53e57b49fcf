//! Destination drift: a link leads to another registrable domain than the list of links expects or than it did before,
//! or its redirect has another status. Seen from visits alone. An edit of the link explains what it changes.

use std::borrow::Cow;
use std::fmt;

use event::{EventType, LinkEvent};

use crate::codec::{Reader, Writer};
use crate::pane::Pane;

/// Between the parts of what a visit shows.
const SEPARATOR: char = '\u{1f}';
const EDIT: &str = "edit";
const VISIT: &str = "visit";
/// What is new is told after so many minutes: the event of an edit that explains it may come a little later.
const PATIENCE: i64 = 5;
/// An edit explains what shows for so long after it, where it does not say where the link leads from then on.
const EXPLAINED: i64 = 1_440;
/// What a link shows in its first day is its own.
const YOUNG: i64 = 1_440;
/// It is back when it has shown nothing of the drift for so long.
const BACK: i64 = 60;
/// What has shown for so long is taken as usual.
const ACCEPTED: i64 = 7 * 1_440;
/// Places and statuses that are known of a link.
const MARKS: usize = 16;

/// What a rule on drift asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftRule {
    /// So many visits must have shown it, at least 1.
    pub at_least: u32,
    /// After it fired for a link it does not fire for it again for so many minutes.
    pub quiet_for_minutes: i64,
}

/// What a visit shows of where its link leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DriftMark {
    /// The registrable domain that it leads to.
    Site(String),
    /// The HTTP status of the redirect.
    Status(u16),
    /// It leads to another site than the list of links expects.
    Unexpected {
        /// The host that is expected.
        expected: String,
        /// The registrable domain that it leads to.
        site: String,
    },
}

/// What tells that it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriftEnd {
    /// It shows what it did before.
    Back,
    /// An edit of the link explains it.
    Edited,
    /// It has shown for a week, and is usual now.
    Usual,
}

/// What became of a link. Times are minutes since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DriftChange {
    /// It has drifted.
    Fired {
        /// When it was told.
        at: i64,
        /// The end of the minute that showed it first.
        since: i64,
        /// Visits that showed it.
        visits: u64,
        /// What is new, with what showed last of the same kind before.
        marks: Vec<(DriftMark, Option<DriftMark>)>,
    },
    /// It is over.
    Resolved {
        /// When it was seen to be.
        at: i64,
        /// Visits that showed it.
        visits: u64,
        /// How that is known.
        end: DriftEnd,
    },
}

impl fmt::Display for DriftMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(site) | Self::Unexpected { site, .. } => f.write_str(site),
            Self::Status(status) => write!(f, "{status}"),
        }
    }
}

impl DriftMark {
    fn is_of_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::Site(site) => {
                to.byte(0);
                to.text(site);
            }
            Self::Status(status) => {
                to.byte(1);
                to.u32(u32::from(*status));
            }
            Self::Unexpected { expected, site } => {
                to.byte(2);
                to.text(expected);
                to.text(site);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.byte()? {
            0 => Self::Site(from.text()?.to_owned()),
            1 => Self::Status(u16::try_from(from.u32()?).ok()?),
            2 => Self::Unexpected { expected: from.text()?.to_owned(), site: from.text()?.to_owned() },
            _ => return None,
        })
    }
}

/// The registrable domain of a host, by the public suffix list with its private part; the host itself where it has
/// none.
pub fn site(host: &str) -> &str {
    let host = host.trim_end_matches('.');
    let is_address = host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_address { host } else { psl::domain_str(host).unwrap_or(host) }
}

/// What a rule sees in an event; none: it shows nothing of where its link leads.
pub(crate) fn facet(event: &LinkEvent<'_>) -> Option<Cow<'static, str>> {
    let site = site(&event.destination_host);
    match event.r#type {
        EventType::Click | EventType::QrScan => {
            let expected = event.trace.iter().find_map(|line| line.strip_prefix("catalogue:expected_host:"));
            // Another host of the same site is the same place.
            let expected = expected.filter(|host| self::site(host) != site).unwrap_or_default();
            let shows = !site.is_empty() || event.redirect_status > 0;
            let status = event.redirect_status;
            shows.then(|| format!("{VISIT}{SEPARATOR}{site}{SEPARATOR}{status}{SEPARATOR}{expected}").into())
        }
        EventType::Lifecycle => Some(format!("{EDIT}{SEPARATOR}{site}").into()),
        _ => None,
    }
}

/// What came for a link in one minute.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DriftMinute {
    edited: bool,
    /// Where edits say that it leads from now on.
    sites: Vec<String>,
    /// What visits show, and how many show the same.
    visits: Vec<(Vec<DriftMark>, u32)>,
}

/// What it counts under where its link has no room for another facet; none: it is left out.
pub(crate) fn rest(facet: &str) -> Option<&str> {
    facet.starts_with(EDIT).then_some(EDIT)
}

impl DriftMinute {
    /// The parts of a pane. What came late shows what was.
    pub(crate) fn of(pane: &Pane) -> Self {
        let mut minute = Self::default();
        for part in pane.parts() {
            let mut fields = part.facet.split(SEPARATOR);
            let (kind, site) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            if kind == EDIT {
                minute.edited = true;
                minute.sites.extend((!site.is_empty()).then(|| site.to_owned()));
                continue;
            }
            let count = part.count.saturating_sub(part.late);
            if count > 0 {
                minute.visits.push((marks(&part.facet), count));
            }
        }
        minute
    }
}

/// Whether a facet is that of a visit which shows one of these sites or statuses.
pub(crate) fn shows(facet: &str, of: &[&str]) -> bool {
    facet.starts_with(VISIT) && marks(facet).iter().any(|mark| of.contains(&mark.to_string().as_str()))
}

/// What the facet of a visit shows.
fn marks(facet: &str) -> Vec<DriftMark> {
    let mut fields = facet.split(SEPARATOR).skip(1);
    let [site, status, expected] = [(); 3].map(|()| fields.next().unwrap_or_default());
    let mut marks = Vec::new();
    if !site.is_empty() {
        marks.push(DriftMark::Site(site.to_owned()));
        if !expected.is_empty() {
            marks.push(DriftMark::Unexpected { expected: expected.to_owned(), site: site.to_owned() });
        }
    }
    let status = status.parse().unwrap_or(0);
    if status > 0 {
        marks.push(DriftMark::Status(status));
    }
    marks
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Known,
    New,
    Told,
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    mark: DriftMark,
    state: State,
    /// The ends of the minutes that showed it first and last.
    first: i64,
    last: i64,
    visits: u32,
}

/// What is known of one link.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DriftKey {
    /// The end of the minute of its first visit; 0: none.
    born: i64,
    /// An edit explains other sites, and other statuses, up to here.
    sites_until: i64,
    statuses_until: i64,
    seen: Vec<Seen>,
    /// The last minute with a visit that showed nothing new.
    usual_at: i64,
    firing: bool,
    fired_at: i64,
}

impl DriftKey {
    /// Takes what came in one closed minute. Whether a visit shows something that is not known.
    pub(crate) fn take(
        &mut self,
        rule: &DriftRule,
        minute: i64,
        came: &DriftMinute,
        tell: &mut impl FnMut(DriftChange),
    ) {
        self.walk(rule, minute, tell);
        let end = minute + 1;
        if came.edited {
            self.edit(end, &came.sites);
        }
        for (marks, visits) in &came.visits {
            if self.born == 0 {
                self.born = end;
            }
            let mut usual = true;
            for mark in marks {
                let seen = self.find(mark, end);
                seen.last = end;
                seen.visits = seen.visits.saturating_add(*visits);
                usual &= seen.state == State::Known;
            }
            if usual {
                self.usual_at = end;
            }
        }
        while self.seen.len() > MARKS {
            let order = |one: &Seen| (one.state == State::Told, one.state == State::Known, one.last, one.mark.clone());
            let least = self.seen.iter().enumerate().min_by_key(|(_, one)| order(one)).map(|(at, _)| at);
            self.seen.remove(least.unwrap_or_default());
        }
        self.decide(rule, end, tell);
    }

    /// Whether a mark of this visit is not known.
    pub(crate) fn is_new(&self, facet: &str) -> bool {
        marks(facet).iter().any(|mark| self.seen.iter().any(|seen| seen.mark == *mark && seen.state != State::Known))
    }

    /// Walks the link up to the end `to` of a minute: nothing came since the last one.
    pub(crate) fn walk(&mut self, rule: &DriftRule, to: i64, tell: &mut impl FnMut(DriftChange)) {
        while let Some(at) = self.wakes(rule).filter(|at| *at <= to) {
            self.decide(rule, at, tell);
        }
    }

    /// When the link must be walked even if nothing comes.
    pub(crate) fn wakes(&self, rule: &DriftRule) -> Option<i64> {
        let quiet = if self.firing || self.fired_at == 0 { 0 } else { self.fired_at + rule.quiet_for_minutes };
        let new = self.seen.iter().filter(|seen| seen.state == State::New && seen.visits >= rule.at_least);
        let told = new.map(|seen| (seen.first + PATIENCE).max(quiet)).min();
        if !self.firing {
            return told;
        }
        let last = self.told_at();
        let back = (self.usual_at > last).then_some(last + BACK);
        [told, back, Some(self.fired_at + ACCEPTED)].into_iter().flatten().min()
    }

    /// When something that was told showed last.
    fn told_at(&self) -> i64 {
        self.seen.iter().filter(|seen| seen.state == State::Told).map(|seen| seen.last).max().unwrap_or(0)
    }

    fn edit(&mut self, end: i64, sites: &[String]) {
        self.statuses_until = end + EXPLAINED;
        if sites.is_empty() {
            self.sites_until = end + EXPLAINED;
        }
        for seen in &mut self.seen {
            let explained = match &seen.mark {
                DriftMark::Site(site) => sites.is_empty() || sites.contains(site),
                DriftMark::Status(_) => true,
                // The list is the operator's word; an edit does not change it.
                DriftMark::Unexpected { .. } => false,
            };
            if explained {
                seen.state = State::Known;
            }
        }
        for site in sites {
            let seen = self.find(&DriftMark::Site(site.clone()), end);
            (seen.state, seen.last) = (State::Known, end);
        }
    }

    fn find(&mut self, mark: &DriftMark, end: i64) -> &mut Seen {
        let at = self.seen.iter().position(|seen| seen.mark == *mark).unwrap_or_else(|| {
            let first = !self.seen.iter().any(|seen| seen.state == State::Known && seen.mark.is_of_kind(mark));
            let explained = match mark {
                DriftMark::Site(_) => end <= self.sites_until,
                DriftMark::Status(_) => end <= self.statuses_until,
                DriftMark::Unexpected { .. } => false,
            };
            let own = !matches!(mark, DriftMark::Unexpected { .. })
                && (first || explained || self.born > 0 && end - self.born < YOUNG);
            let state = if own { State::Known } else { State::New };
            self.seen.push(Seen { mark: mark.clone(), state, first: end, last: end, visits: 0 });
            self.seen.len() - 1
        });
        &mut self.seen[at]
    }

    fn decide(&mut self, rule: &DriftRule, at: i64, tell: &mut impl FnMut(DriftChange)) {
        if self.firing {
            let told = self.seen.iter().filter(|seen| seen.state == State::Told);
            let (visits, last) = (told.map(|seen| u64::from(seen.visits)).max(), self.told_at());
            let end = match visits {
                None => Some(DriftEnd::Edited),
                Some(_) if self.usual_at > last && at - last >= BACK => Some(DriftEnd::Back),
                Some(_) if at - self.fired_at >= ACCEPTED => Some(DriftEnd::Usual),
                Some(_) => None,
            };
            match end {
                Some(DriftEnd::Back) => self.seen.retain(|seen| seen.state != State::Told),
                Some(DriftEnd::Usual) => self.all_told_are(State::Known),
                _ => {}
            }
            if let Some(end) = end {
                self.firing = false;
                tell(DriftChange::Resolved { at, visits: visits.unwrap_or(0), end });
            }
        }
        let is_due =
            |seen: &Seen| seen.state == State::New && seen.visits >= rule.at_least && at - seen.first >= PATIENCE;
        if !self.seen.iter().any(is_due) {
            return;
        }
        if !self.firing && self.fired_at > 0 && at - self.fired_at < rule.quiet_for_minutes {
            return;
        }
        let mut due: Vec<&Seen> = self.seen.iter().filter(|seen| is_due(seen)).collect();
        due.sort_by(|left, right| left.mark.cmp(&right.mark));
        let change = DriftChange::Fired {
            at,
            since: due.iter().map(|seen| seen.first).min().unwrap_or(at),
            visits: due.iter().map(|seen| u64::from(seen.visits)).max().unwrap_or(0),
            marks: due.iter().map(|seen| (seen.mark.clone(), self.before(&seen.mark))).collect(),
        };
        for seen in self.seen.iter_mut().filter(|seen| is_due(seen)) {
            seen.state = State::Told;
        }
        // What is new while it drifts belongs to what was told.
        if !std::mem::replace(&mut self.firing, true) {
            self.fired_at = at;
            tell(change);
        }
    }

    fn all_told_are(&mut self, state: State) {
        self.seen.iter_mut().filter(|seen| seen.state == State::Told).for_each(|seen| seen.state = state);
    }

    /// What is known of the same kind, and showed last.
    fn before(&self, mark: &DriftMark) -> Option<DriftMark> {
        let known = self.seen.iter().filter(|seen| seen.state == State::Known && seen.mark.is_of_kind(mark));
        known
            .max_by(|left, right| (left.last, &left.mark).cmp(&(right.last, &right.mark)))
            .map(|seen| seen.mark.clone())
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        [self.born, self.sites_until, self.statuses_until, self.usual_at, self.fired_at]
            .into_iter()
            .for_each(|at| to.i64(at));
        to.flags([self.firing]);
        to.u32(u32::try_from(self.seen.len()).unwrap_or(u32::MAX));
        for seen in &self.seen {
            seen.mark.write(to);
            to.byte(seen.state as u8);
            to.i64(seen.first);
            to.i64(seen.last);
            to.u32(seen.visits);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut key =
            Self { born: from.i64()?, sites_until: from.i64()?, statuses_until: from.i64()?, ..Self::default() };
        (key.usual_at, key.fired_at) = (from.i64()?, from.i64()?);
        [key.firing] = from.flags()?;
        for _ in 0..from.u32()? {
            let mark = DriftMark::read(from)?;
            let state = match from.byte()? {
                0 => State::Known,
                1 => State::New,
                2 => State::Told,
                _ => return None,
            };
            key.seen.push(Seen { mark, state, first: from.i64()?, last: from.i64()?, visits: from.u32()? });
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::site;

    #[test]
    fn a_site_is_the_registrable_domain_of_a_host() {
        for (host, expected) in [
            ("www.shop.example.co.uk", "example.co.uk"),
            ("shop.example.com", "example.com"),
            ("acme.github.io", "acme.github.io"),
            ("github.io", "github.io"),
            ("localhost", "localhost"),
            ("203.0.113.9", "203.0.113.9"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(site(host), expected, "{host}");
        }
    }
}
