//! Silence: a key that normally speaks has gone quiet. The formulas are in docs/detection.md.
//!
//! A minute without events costs nothing. What was due is a closed form between the points at which it is added up: an
//! event, and the end of an hour. So it does not matter how often a key is walked.

use super::profile::{EndedHour, Profile, Usual};
use super::spike::SPEAKS;

/// A key is watched from so many hours after it spoke.
const KNOWN_HOURS: i64 = 336;
/// A pause is learned as its own from so many hours after it spoke.
const PAUSES_FROM_HOURS: i64 = 168;
/// So many events must have been due: by chance they would all be missing once in a million times.
const NEED: f64 = 14.0;
/// Half-life of the level: 24 hours.
const KEEP_LEVEL: f64 = 0.971_531_941;
/// Half-life of the longest pause: 14 days.
const KEEP_PAUSE: f64 = 0.997_939_203;
/// What was due and what came is remembered for 3 hours.
const KEEP_RECENT: f64 = 0.716_531_311;
/// A key without an event for eight weeks is forgotten.
const FORGOTTEN_MINUTES: i64 = 8 * 7 * 24 * 60;

/// What a silence rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SilenceRule {
    /// Quiet for so many minutes is too quiet; none: what is too quiet is learned.
    pub quiet_after_minutes: Option<i64>,
    /// A learned silence lasts at least so many minutes.
    pub least_minutes: i64,
}

/// What became of a key. Times are minutes since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SilenceChange {
    /// It has gone quiet.
    Fired {
        /// When it was seen to have.
        at: i64,
        /// The end of the last minute with events.
        since: i64,
        /// Events since then; in a trickle, of the last hours.
        observed: u64,
        /// Events that were due at least; 0 where the rule has a fixed time.
        due: f64,
        /// The least and the most that is usual in this hour; none where the rule has a fixed time.
        usual: Option<(f64, f64)>,
        /// Something comes, but less than a twentieth of what is due.
        trickle: bool,
    },
    /// It speaks again.
    Resolved {
        /// When it was seen to.
        at: i64,
        /// Events that came since.
        observed: u64,
        /// Nothing came for eight weeks: it is no longer missed.
        forgotten: bool,
    },
}

/// What is known of one key. 24 bytes and, once it speaks, 1 KB more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SilenceKey {
    /// The last minute with events, and one more; 0: none came.
    pub(super) last: u32,
    /// Events in the hour of `last`, while it does not speak.
    pub(super) in_hour: u32,
    /// Fires by a fixed time.
    pub(super) quiet: bool,
    pub(super) speaking: Option<Box<Speaking>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Speaking {
    pub(super) profile: Profile,
    pub(super) hour: i64,
    pub(super) usual: Usual,
    /// Events an hour that come at least, in this hour.
    pub(super) low: f64,
    /// Events of this hour, by five minutes.
    pub(super) fives: [u32; 12],
    /// What was due up to `since`, and from when on more is due.
    pub(super) due: f64,
    pub(super) since: i64,
    /// The largest due that ended by itself.
    pub(super) longest: f64,
    /// Decayed events and decayed profile: their ratio is the level.
    pub(super) events: f64,
    pub(super) profiled: f64,
    /// The share of the expected events that one hour in fifty stays under.
    pub(super) tide: f64,
    /// Hours without an event up to this one: they teach if an event ends them, and nothing if they become a silence.
    pub(super) pending: u32,
    /// What was due in the last hours up to `recent_since`, and what came in them and after.
    pub(super) recent_due: f64,
    pub(super) recent_since: i64,
    pub(super) recent_came: f64,
    pub(super) firing: bool,
    pub(super) trickle: bool,
    /// It was firing in this hour.
    pub(super) fired: bool,
}

impl SilenceKey {
    /// Takes the events of one closed minute, at least one; minutes of a key come in their order.
    pub fn take(&mut self, rule: &SilenceRule, minute: i64, count: u32, tell: &mut impl FnMut(SilenceChange)) {
        self.walk(rule, minute, tell);
        let last = i64::from(self.last) - 1;
        self.last = u32::try_from(minute + 1).unwrap_or(u32::MAX);
        // Also of a rule that learns: the time may have been fixed when it fired.
        if std::mem::take(&mut self.quiet) {
            tell(SilenceChange::Resolved { at: minute + 1, observed: u64::from(count), forgotten: false });
        }
        if rule.quiet_after_minutes.is_some() {
            return;
        }
        match &mut self.speaking {
            Some(known) => known.take(minute, count, tell),
            None => {
                if last.div_euclid(60) != minute.div_euclid(60) {
                    self.in_hour = 0;
                }
                self.in_hour = self.in_hour.saturating_add(count);
                if u64::from(self.in_hour) >= SPEAKS {
                    let mut known = Box::new(Speaking::new(minute));
                    known.add(minute, self.in_hour);
                    self.speaking = Some(known);
                }
            }
        }
    }

    /// The end of the minute up to which the key must be walked even if nothing comes; none: it waits for an event.
    pub fn wakes(&self, rule: &SilenceRule) -> Option<i64> {
        match (rule.quiet_after_minutes, &self.speaking) {
            (Some(quiet), _) => (self.last > 0 && !self.quiet).then(|| i64::from(self.last) + quiet),
            (None, Some(known)) => Some(known.fires_at(rule, i64::from(self.last)).unwrap_or_else(|| known.hour_end())),
            (None, None) => None,
        }
    }

    /// Walks the key up to the end `to` of a minute: nothing came after its last event.
    pub fn walk(&mut self, rule: &SilenceRule, to: i64, tell: &mut impl FnMut(SilenceChange)) {
        if rule.quiet_after_minutes.is_some()
            && let Some(known) = self.speaking.take()
        {
            // The rule has learned before, and has a fixed time now: a profile says nothing any more.
            (self.quiet, self.in_hour) = (self.quiet || known.firing, 0);
        }
        while let Some(at) = self.wakes(rule).filter(|at| *at <= to) {
            let since = i64::from(self.last);
            let Some(known) = &mut self.speaking else {
                self.quiet = true;
                tell(SilenceChange::Fired { at, since, observed: 0, due: 0.0, usual: None, trickle: false });
                return;
            };
            if known.fires_at(rule, since) == Some(at) {
                known.fire(at, since, false, tell);
            } else {
                known.end_hour(since, tell);
            }
            if at - since > FORGOTTEN_MINUTES {
                // It is gone for good, and no longer missed.
                if known.firing {
                    tell(SilenceChange::Resolved { at, observed: 0, forgotten: true });
                }
                (self.speaking, self.in_hour) = (None, 0);
            }
        }
    }

    /// The least and the most events that are usual in the hour of `minute`; none while the key has no profile, or
    /// where the rule has a fixed time. As of the last minute that was taken.
    pub fn usual(&self, minute: i64) -> Option<(f64, f64)> {
        let known = self.speaking.as_ref()?;
        let hour = minute.div_euclid(60);
        Some(known.range(if hour == known.hour { known.usual } else { known.profile.usual(hour) }))
    }

    /// Whether it has a profile.
    pub(crate) fn speaks(&self) -> bool {
        self.speaking.is_some()
    }

    /// Whether its silence would be told, now or some day: it speaks, or the rule has a fixed time.
    pub(crate) fn is_watched_by(&self, rule: &SilenceRule) -> bool {
        rule.quiet_after_minutes.is_some() || self.speaks()
    }

    /// Whether it has fired and is not over.
    pub fn is_firing(&self) -> bool {
        self.quiet || self.speaking.as_ref().is_some_and(|known| known.firing)
    }
}

impl Speaking {
    fn new(minute: i64) -> Self {
        let hour = minute.div_euclid(60);
        Self { since: minute + 1, recent_since: minute + 1, ..Self::with(Profile::new(hour), hour) }
    }

    /// One that goes on with a profile.
    pub(super) fn with(profile: Profile, hour: i64) -> Self {
        Self {
            usual: profile.usual(hour),
            profile,
            hour,
            low: 0.0,
            fives: [0; 12],
            due: 0.0,
            since: hour * 60,
            longest: 0.0,
            events: 0.0,
            profiled: 0.0,
            tide: 0.5,
            pending: 0,
            recent_due: 0.0,
            recent_since: hour * 60,
            recent_came: 0.0,
            firing: false,
            trickle: false,
            fired: false,
        }
    }

    fn add(&mut self, minute: i64, count: u32) {
        if let Some(five) = self.fives.get_mut((minute.rem_euclid(60) / 5) as usize) {
            *five = five.saturating_add(count);
        }
        self.recent_came += f64::from(count);
    }

    fn take(&mut self, minute: i64, count: u32, tell: &mut impl FnMut(SilenceChange)) {
        let at = minute + 1;
        if !self.firing && self.profile.age(self.hour) >= PAUSES_FROM_HOURS {
            self.longest = self.longest.max(self.due_at(minute));
        }
        (self.due, self.since) = (0.0, at);
        let pending = i64::from(std::mem::take(&mut self.pending));
        if !self.firing && pending > 0 {
            for hour in self.hour - pending..self.hour {
                let usual = self.profile.usual(hour);
                self.learn(&usual, hour, &[0; 12]);
            }
            // What is due changes from here on.
            (self.recent_due, self.recent_since) = (self.recent_due_at(at), at);
            self.look();
        }
        self.add(minute, count);
        if self.firing {
            // In a trickle something comes all the time: one event does not end it.
            let worth = !self.trickle && f64::from(count) >= 2.0 * self.low / 60.0;
            if worth || self.recent_came > 0.3 * self.recent_due_at(at) {
                self.firing = false;
                tell(SilenceChange::Resolved { at, observed: self.recent_came as u64, forgotten: false });
                (self.recent_due, self.recent_since, self.recent_came) = (0.0, at, 0.0);
            }
        } else {
            self.trickles(at, at, tell);
        }
    }

    /// What was due since the last event, up to the end `at` of a minute of this hour.
    fn due_at(&self, at: i64) -> f64 {
        self.due + self.low * (at - self.since).max(0) as f64 / 60.0
    }

    fn recent_due_at(&self, at: i64) -> f64 {
        self.recent_due + self.low * (at - self.recent_since).max(0) as f64 / 60.0
    }

    fn need(&self) -> f64 {
        NEED.max(1.5 * self.longest)
    }

    fn level(&self) -> f64 {
        // Without the half that the level of a spike adds: what is gone for good must stop being missed.
        if self.profiled > 0.0 { (self.events / self.profiled).min(1.0) } else { 1.0 }
    }

    fn is_watched(&self) -> bool {
        !self.firing && self.profile.age(self.hour) >= KNOWN_HOURS
    }

    fn hour_end(&self) -> i64 {
        (self.hour + 1) * 60
    }

    /// The minute of too quiet, if it is in this hour.
    fn fires_at(&self, rule: &SilenceRule, since: i64) -> Option<i64> {
        if !self.is_watched() || self.low <= 0.0 {
            return None;
        }
        let minutes = ((self.need() - self.due) * 60.0 / self.low).ceil().clamp(0.0, 100_000.0) as i64;
        let at = (self.since + minutes).max(since + rule.least_minutes);
        (at <= self.hour_end()).then_some(at)
    }

    fn range(&self, usual: Usual) -> (f64, f64) {
        let expected = self.level() * usual.profile;
        let off = 2.0 * (expected + usual.scatter[1] * expected * expected).sqrt();
        ((expected - off).max(0.0), expected + off)
    }

    fn fire(&mut self, at: i64, since: i64, trickle: bool, tell: &mut impl FnMut(SilenceChange)) {
        let usual = Some(self.range(self.usual));
        let (due, observed) =
            if trickle { (self.recent_due_at(at), self.recent_came as u64) } else { (self.due_at(at), 0) };
        (self.firing, self.fired, self.trickle) = (true, true, trickle);
        if !trickle {
            (self.recent_due, self.recent_since, self.recent_came) = (due, at, 0.0);
        }
        tell(SilenceChange::Fired { at, since, observed, due, usual, trickle });
    }

    /// Fires if something comes, and it is less than a twentieth of what is due.
    fn trickles(&mut self, at: i64, since: i64, tell: &mut impl FnMut(SilenceChange)) {
        let due = self.recent_due_at(at);
        if self.is_watched() && due >= 2.0 * self.need() && self.recent_came * 20.0 <= due {
            self.fire(at, since, true, tell);
        }
    }

    fn end_hour(&mut self, since: i64, tell: &mut impl FnMut(SilenceChange)) {
        let end = self.hour_end();
        let usual = self.usual;
        let events: u64 = self.fives.iter().map(|five| u64::from(*five)).sum();
        let came = events as f64;
        if self.profile.age(self.hour) >= 24 {
            let most = (2.0 * usual.profile).max(usual.profile + usual.noise());
            self.events = KEEP_LEVEL * self.events + (1.0 - KEEP_LEVEL) * came.min(most);
            self.profiled = KEEP_LEVEL * self.profiled + (1.0 - KEEP_LEVEL) * usual.profile;
        }
        (self.due, self.since) = (self.due_at(end), end.max(self.since));
        (self.recent_due, self.recent_since) = (self.recent_due_at(end) * KEEP_RECENT, end.max(self.recent_since));
        self.recent_came *= KEEP_RECENT;
        self.longest *= KEEP_PAUSE;
        if events > 0 {
            let fives = self.fives;
            self.learn(&usual, self.hour, &fives);
        } else if !self.fired {
            self.pending += 1;
        }
        self.fives = [0; 12];
        self.hour += 1;
        self.fired = self.firing;
        self.look();
        if self.is_watched() {
            self.trickles(end, since, tell);
        }
    }

    /// Teaches the profile and the tide an hour; an hour of an alert leaves both as they are.
    fn learn(&mut self, usual: &Usual, hour: i64, fives: &[u32; 12]) {
        let events: u64 = fives.iter().map(|five| u64::from(*five)).sum();
        let expected = self.level() * usual.profile;
        if expected >= 5.0 && !self.fired {
            let under = (events as f64) < self.tide * expected;
            self.tide = (if under { self.tide - 0.0196 } else { self.tide + 0.0004 }).clamp(0.02, 0.9);
        }
        let ended = EndedHour { hour, events, fives, fired: self.fired, teaches: !self.fired };
        self.profile.learn(usual, &ended);
    }

    /// What is usual in the hour that begins.
    pub(super) fn look(&mut self) {
        self.usual = self.profile.usual(self.hour);
        self.low = self.usual.least * self.level() * self.tide;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEARNED: SilenceRule = SilenceRule { quiet_after_minutes: None, least_minutes: 10 };
    const FIXED: SilenceRule = SilenceRule { quiet_after_minutes: Some(30), least_minutes: 10 };
    const MINUTE: i64 = 29_459_520;

    fn spoken() -> SilenceKey {
        let mut key = SilenceKey::default();
        (0..600).for_each(|minute| key.take(&LEARNED, MINUTE + minute, 5, &mut drop));
        assert!(key.speaks());
        key
    }

    #[test]
    fn a_key_that_has_learned_is_quiet_after_the_time_that_its_rule_has_fixed_since() {
        let (mut key, mut told) = (spoken(), Vec::new());
        key.walk(&FIXED, MINUTE + 2_000, &mut |change| told.push(change));
        assert!(matches!(told[..], [SilenceChange::Fired { at, .. }] if at == MINUTE + 630), "{told:?}");
        assert_eq!(key.wakes(&FIXED), None);
    }

    #[test]
    fn what_fired_after_a_fixed_time_is_over_with_the_next_event_though_its_rule_learns_now() {
        let (mut key, mut told) = (spoken(), Vec::new());
        key.walk(&FIXED, MINUTE + 2_000, &mut drop);
        key.take(&LEARNED, MINUTE + 2_000, 5, &mut |change| told.push(change));
        assert!(matches!(told[..], [SilenceChange::Resolved { observed: 5, .. }]), "{told:?}");
        assert!(!key.is_firing());
    }
}
