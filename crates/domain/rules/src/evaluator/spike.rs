//! Spike: a key has many times its usual, and more than chance explains. The formulas are in docs/detection.md.

use super::profile::{EndedHour, Profile, Usual};
use super::ring::Ring;

/// Events within an hour from which on a key has a profile.
pub(super) const SPEAKS: u64 = 8;
/// A key is known so many hours after it spoke, or so many after its first event.
const KNOWN_HOURS: i64 = 24;
const IDLE_KNOWN_HOURS: i64 = 168;
/// The profile of a key without an event for eight weeks is dropped: it wakes as one that is known and has no usual.
const FORGOTTEN_HOURS: i64 = 8 * 168;
/// So many minutes before the short window tell a hole: less than half of what was expected came, and that was so much.
const HOLE_MINUTES: u8 = 15;
const HOLE_EVENTS: f64 = 10.0;
/// Minutes in a row below the end's bound after which a spike is over.
const CALM_MINUTES: u8 = 20;

/// How much chance must be beaten by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sensitivity {
    /// Seven standard deviations.
    Calm,
    /// Five and a half.
    #[default]
    Normal,
    /// Four and a half.
    Keen,
}

impl Sensitivity {
    /// All of them, with their names in a rule.
    pub const ALL: [(&'static str, Self); 3] = [("calm", Self::Calm), ("normal", Self::Normal), ("keen", Self::Keen)];

    /// Its name in a rule.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Normal => "normal",
            Self::Keen => "keen",
        }
    }

    fn deviations(self) -> f64 {
        match self {
            Self::Calm => 7.0,
            Self::Normal => 5.5,
            Self::Keen => 4.5,
        }
    }
}

/// What a spike rule asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpikeRule {
    /// How many times the usual, above 1.
    pub times: f64,
    /// The short window in whole minutes, 1 to 60. The long one is always an hour.
    pub within_minutes: u8,
    /// The events that a window must hold, at least 8.
    pub at_least: u64,
    /// After it fired for a key it does not fire for it again for so many minutes.
    pub quiet_for_minutes: i64,
    /// How much more than chance.
    pub sensitivity: Sensitivity,
}

/// What became of a key in a minute. Times are minutes since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SpikeChange {
    /// A spike began.
    Fired {
        /// The end of the window.
        at: i64,
        /// Events in the window.
        observed: u64,
        /// The length of the window in minutes.
        window: u8,
        /// What it had to reach.
        bound: f64,
        /// The least and the most that is usual in such a window.
        usual: (f64, f64),
        /// The present level; 1 is the profile's own.
        level: f64,
    },
    /// It is over.
    Resolved {
        /// When it was seen to be.
        at: i64,
    },
}

/// What is usual in a window of a key, and what a spike must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// The least that is usual.
    pub low: f64,
    /// The most that is usual.
    pub high: f64,
    /// What fires.
    pub bound: f64,
}

impl Band {
    /// By what is usual in the hour, for a window in minutes, whose counts scatter so much.
    fn of(rule: &SpikeRule, usual: &Usual, window: u8, scatter: f64) -> Self {
        let z = rule.sensitivity.deviations();
        let most = usual.upper * f64::from(window) / 60.0;
        let deviation = |mean: f64| (mean + scatter * mean * mean).sqrt();
        // The tail of a negative binomial distribution, by Cornish and Fisher.
        let tail = most + z * deviation(most) + (z * z - 1.0) / 6.0 * (1.0 + 2.0 * scatter * most);
        let least = usual.expected() * f64::from(window) / 60.0;
        Self {
            low: (least - 2.0 * deviation(least)).max(0.0),
            high: most + 2.0 * deviation(most),
            bound: (rule.at_least as f64).max(rule.times * most).max(tail),
        }
    }
}

/// When a key fired that never did.
const NEVER: i64 = i64::MIN;

/// What is known of one key. 24 bytes and, once it speaks, 1 KB more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpikeKey {
    /// The hour of the first event, since 1970, and one more; 0: none came.
    pub(super) born: u32,
    /// The last minute with events, or the last one walked while firing.
    pub(super) last: u32,
    /// Events in the hour of `last`, while it does not speak.
    pub(super) in_hour: u32,
    pub(super) speaking: Option<Box<Speaking>>,
}

/// In this order: what each minute asks for is in two lines of the processor's caches.
#[derive(Debug, Clone, PartialEq)]
#[repr(C)]
pub(super) struct Speaking {
    /// The rule was firing in this hour; a planned launch touched it.
    pub(super) fired: bool,
    pub(super) planned: bool,
    pub(super) firing: bool,
    pub(super) calm: u8,
    pub(super) hour: i64,
    /// Events of the present hour.
    pub(super) events: u64,
    /// The sum of `ring`.
    pub(super) sum: u64,
    /// The end of the window at which it fired last, or [`NEVER`].
    pub(super) fired_at: i64,
    pub(super) usual: Usual,
    pub(super) profile: Profile,
    pub(super) ring: Ring,
}

impl SpikeKey {
    /// Takes the events of one closed minute, at least one; minutes of a key come in their order. `planned` are
    /// launches as half-open ranges of minutes.
    pub fn take(
        &mut self,
        rule: &SpikeRule,
        minute: i64,
        count: u32,
        planned: &[(i64, i64)],
        tell: &mut impl FnMut(SpikeChange),
    ) {
        let hour = minute / 60;
        if self.born == 0 {
            self.born = u32::try_from(hour + 1).unwrap_or(u32::MAX);
        }
        self.walk(rule, minute - 1, planned, tell);
        if self
            .speaking
            .as_ref()
            .is_some_and(|known| hour - i64::from(self.last) / 60 > FORGOTTEN_HOURS && !known.firing)
        {
            self.speaking = None;
            self.in_hour = 0;
        }
        let known = match &mut self.speaking {
            Some(known) => {
                known.go_to(i64::from(self.last), minute, planned);
                known.add(minute, count);
                known
            }
            None => {
                if i64::from(self.last) / 60 != hour {
                    self.in_hour = 0;
                }
                self.in_hour = self.in_hour.saturating_add(count);
                self.last = u32::try_from(minute).unwrap_or(u32::MAX);
                if u64::from(self.in_hour) < SPEAKS {
                    return;
                }
                let mut known = Box::new(Speaking::new(hour, planned));
                known.add(minute, self.in_hour);
                self.speaking.insert(known)
            }
        };
        self.last = u32::try_from(minute).unwrap_or(u32::MAX);
        let born = i64::from(self.born) - 1;
        let is_known = known.profile.age(hour) >= KNOWN_HOURS || hour - born >= IDLE_KNOWN_HOURS;
        known.decide(rule, minute, is_known, planned, tell);
    }

    /// Walks a firing key up to `minute`, in which nothing came; others wait for their next event.
    pub fn walk(&mut self, rule: &SpikeRule, minute: i64, planned: &[(i64, i64)], tell: &mut impl FnMut(SpikeChange)) {
        let Some(known) = &mut self.speaking else { return };
        while known.firing && i64::from(self.last) < minute {
            let next = i64::from(self.last) + 1;
            known.go_to(i64::from(self.last), next, planned);
            self.last += 1;
            known.decide(rule, next, false, planned, tell);
        }
    }

    /// Whether it has a profile.
    pub(crate) fn speaks(&self) -> bool {
        self.speaking.is_some()
    }

    /// Whether it has fired and is not over.
    pub(crate) fn is_firing(&self) -> bool {
        self.speaking.as_ref().is_some_and(|known| known.firing)
    }

    /// What is usual in a window that ends with `minute`, and what fires there; none while the key has no profile. As
    /// of the last minute that was taken.
    pub fn band(&self, rule: &SpikeRule, minute: i64, window: u8) -> Option<Band> {
        let known = self.speaking.as_ref()?;
        let hour = minute.div_euclid(60);
        let usual = if hour == known.hour { known.usual } else { known.profile.usual(hour) };
        Some(Band::of(rule, &usual, window, usual.scatter[usize::from(window == 60)]))
    }

    /// The end of the minute up to which the key must be walked even if nothing comes; none: it waits for an event.
    pub fn wakes(&self) -> Option<i64> {
        self.speaking.as_ref().filter(|known| known.firing).map(|_| i64::from(self.last) + 2)
    }
}

impl Speaking {
    fn new(hour: i64, planned: &[(i64, i64)]) -> Self {
        Self { planned: touches(planned, hour), ..Self::with(Profile::new(hour), hour) }
    }

    /// One that goes on with a profile.
    pub(super) fn with(profile: Profile, hour: i64) -> Self {
        let usual = profile.usual(hour);
        Self {
            profile,
            hour,
            usual,
            events: 0,
            ring: Ring::default(),
            sum: 0,
            fired: false,
            planned: false,
            firing: false,
            fired_at: NEVER,
            calm: 0,
        }
    }

    fn add(&mut self, minute: i64, count: u32) {
        self.ring.add(minute.rem_euclid(60) as usize, count);
        self.sum += u64::from(count);
        // A record holds 32 bits of it. So does memory: what goes on from a record must not learn another number.
        self.events = self.events.saturating_add(u64::from(count)).min(u64::from(u32::MAX));
    }

    /// Makes the minutes after `from` up to `to` part of the ring, empty, and ends the hours that pass.
    fn go_to(&mut self, from: i64, to: i64, planned: &[(i64, i64)]) {
        let mut at = from;
        while at < to {
            if self.sum == 0 && at % 60 != 59 {
                // Nothing is left in the ring: the rest of the hour passes at once.
                at = to.min(at / 60 * 60 + 59);
                continue;
            }
            at += 1;
            if at / 60 > self.hour {
                // The ring still holds exactly the minutes of the hour that has ended.
                self.end_hour(at, planned);
            }
            self.sum -= u64::from(self.ring.take(at.rem_euclid(60) as usize));
        }
    }

    fn end_hour(&mut self, at: i64, planned: &[(i64, i64)]) {
        let mut fives = [0u32; 12];
        for (five, first) in fives.iter_mut().zip((0..60).step_by(5)) {
            *five = u32::try_from(self.ring.sum(first..first + 5)).unwrap_or(u32::MAX);
        }
        let ended = EndedHour {
            hour: self.hour,
            events: self.events,
            fives: &fives,
            fired: self.fired || self.firing,
            teaches: !self.planned,
        };
        self.profile.learn(&self.usual, &ended);
        self.hour = at / 60;
        self.usual = self.profile.usual(self.hour);
        (self.events, self.fired, self.planned) = (0, self.firing, touches(planned, self.hour));
    }

    /// The short window. After a hole it reaches back over it: what did not come through in the last minutes of it
    /// comes at once, is not late yet, and must not be taken for a spike.
    fn short_window(&self, rule: &SpikeRule, minute: i64) -> u8 {
        let within = rule.within_minutes;
        let missed = self.usual.expected() * f64::from(HOLE_MINUTES) / 60.0;
        if within + HOLE_MINUTES > 60 || missed < HOLE_EVENTS {
            return within;
        }
        let came = self.within(minute - i64::from(within), i64::from(HOLE_MINUTES));
        if (came as f64) < missed / 2.0 { within + HOLE_MINUTES } else { within }
    }

    /// Events of so many minutes, at most 60, up to one.
    fn within(&self, minute: i64, minutes: i64) -> u64 {
        let end = minute.rem_euclid(60) as usize + 1;
        match end.checked_sub(minutes as usize) {
            Some(from) => self.ring.sum(from..end),
            None => self.ring.sum(0..end) + self.ring.sum(60 + end - minutes as usize..60),
        }
    }

    fn decide(
        &mut self,
        rule: &SpikeRule,
        minute: i64,
        is_known: bool,
        planned: &[(i64, i64)],
        tell: &mut impl FnMut(SpikeChange),
    ) {
        let floor = rule.at_least as f64;
        let end = minute + 1;
        if self.firing {
            let bound = 0.5 * floor.max(rule.times * self.usual.upper) / 4.0;
            self.calm = if (self.within(minute, 15) as f64) < bound { self.calm + 1 } else { 0 };
            if self.calm >= CALM_MINUTES {
                (self.firing, self.calm, self.ring, self.sum) = (false, 0, Ring::default(), 0);
                tell(SpikeChange::Resolved { at: end });
            }
            return;
        }
        let quiet = end.saturating_sub(self.fired_at) < rule.quiet_for_minutes;
        if !is_known
            || quiet
            || self.sum < rule.at_least
            || planned.iter().any(|(from, to)| (*from..*to).contains(&minute))
        {
            return;
        }
        for (window, scatter) in [(self.short_window(rule, minute), self.usual.scatter[0]), (60, self.usual.scatter[1])]
        {
            let observed = if window == 60 { self.sum } else { self.within(minute, i64::from(window)) };
            // What fires is no less than this, which takes no square root.
            if (observed as f64) < floor.max(rule.times * (self.usual.upper * f64::from(window) / 60.0)) {
                continue;
            }
            let Band { low, high, bound } = Band::of(rule, &self.usual, window, scatter);
            if observed as f64 >= bound {
                let range = (low, high);
                (self.firing, self.fired, self.fired_at, self.calm) = (true, true, end, 0);
                tell(SpikeChange::Fired { at: end, observed, window, bound, usual: range, level: self.usual.level });
                return;
            }
        }
    }
}

fn touches(planned: &[(i64, i64)], hour: i64) -> bool {
    planned.iter().any(|(from, to)| *from < hour * 60 + 60 && hour * 60 < *to)
}
