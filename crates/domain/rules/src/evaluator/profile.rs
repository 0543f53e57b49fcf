//! What is usual for a key: counts by hour of the week (UTC), the present level, and how much counts scatter.
//!
//! Only `+ - * / sqrt` on f64 decide, so every machine gets the same result. The formulas are in docs/detection.md.

/// Hours of a week.
pub(super) const WEEK: usize = 168;
/// Half-life of the level: 8 hours.
const KEEP: f64 = 0.917_004_043;
/// In its first 14 days a key's level is not taken to be below its profile.
const YOUNG_HOURS: i64 = 336;

/// The hour of the week, from Monday 00:00 UTC, of an hour since 1970 (a Thursday).
fn slot(hour: i64) -> usize {
    (hour + 72).rem_euclid(WEEK as i64) as usize
}

/// What is usual in one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usual {
    /// What is expected, with the neighbouring hours forgiven: what a spike is measured against.
    pub(crate) upper: f64,
    /// The profile of this hour, without the level.
    pub(crate) profile: f64,
    /// The least of the profile of this hour and of its neighbours.
    pub(crate) least: f64,
    /// The present level, 1 is the profile's own.
    pub(crate) level: f64,
    /// Relative variance beyond chance, of windows of 5 and of 60 minutes.
    pub(crate) scatter: [f64; 2],
}

impl Usual {
    /// Expected events of this hour: level times profile.
    pub(crate) fn expected(&self) -> f64 {
        self.level * self.profile
    }

    /// What chance explains in this hour beyond what is expected.
    pub(crate) fn noise(&self) -> f64 {
        let expected = self.expected();
        3.0 * (expected + self.scatter[1] * expected * expected).sqrt() + 3.0
    }
}

/// More weeks than this say nothing more: an hour of so many is as good as known.
const ENOUGH_WEEKS: u8 = 4;
/// Of an hour: how many weeks it rests on, at most [`ENOUGH_WEEKS`], and whether it was hot.
const WEEKS: u8 = 0b0111;
const HOT: u8 = 0b1000;

/// The learned profile of a key that speaks: 816 bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    /// The hour, since 1970, in which the key first had enough events.
    pub(super) spoke: i64,
    pub(super) counts: [f32; WEEK],
    /// Half a byte an hour: [`WEEKS`] and [`HOT`].
    hours: [u8; WEEK / 2],
    /// Decayed events and decayed profile: their ratio is the level.
    pub(super) events: f64,
    pub(super) usual: f64,
    pub(super) deviation: [f64; 2],
    pub(super) square: [f64; 2],
    /// Hot hours in a row.
    pub(super) run: u8,
    /// Changed since it was stored.
    pub(crate) unsaved: bool,
}

/// An hour that has ended.
pub(crate) struct EndedHour<'a> {
    pub(crate) hour: i64,
    pub(crate) events: u64,
    /// Its events by five minutes.
    pub(crate) fives: &'a [u32; 12],
    /// The rule was firing in it.
    pub(crate) fired: bool,
    /// Whether the profile learns from it. Else only the level follows: it is a planned launch, or a silence.
    pub(crate) teaches: bool,
}

impl Profile {
    pub(crate) fn new(spoke: i64) -> Self {
        Self {
            spoke,
            counts: [0.0; WEEK],
            hours: [0; WEEK / 2],
            events: 0.0,
            usual: 0.0,
            deviation: [0.0; 2],
            square: [0.0; 2],
            run: 0,
            unsaved: true,
        }
    }

    /// Hours since it spoke.
    pub(crate) fn age(&self, hour: i64) -> i64 {
        hour - self.spoke
    }

    fn at(&self, at: usize) -> u8 {
        self.hours[at / 2] >> (at % 2 * 4)
    }

    fn set(&mut self, at: usize, to: u8) {
        let shift = at % 2 * 4;
        self.hours[at / 2] = self.hours[at / 2] & !(0b1111 << shift) | to << shift;
    }

    /// How many weeks an hour of the week rests on; beyond four none is counted.
    pub(super) fn weeks(&self, at: usize) -> u8 {
        self.at(at) & WEEKS
    }

    pub(super) fn set_weeks(&mut self, at: usize, weeks: u8) {
        self.set(at, self.at(at) & HOT | weeks.min(ENOUGH_WEEKS));
    }

    /// Whether an hour of the week was hot.
    pub(super) fn hot(&self, at: usize) -> bool {
        self.at(at) & HOT != 0
    }

    pub(super) fn set_hot(&mut self, at: usize, hot: bool) {
        self.set(at, self.at(at) & WEEKS | if hot { HOT } else { 0 });
    }

    fn is_hot(&self, hour: i64) -> bool {
        self.hot(slot(hour))
    }

    /// The profile of an hour: its own weeks and the mean of this hour over working days or weekends. With the weeks
    /// that it rests on: of the hour, and of the mean.
    fn of_hour(&self, hour: i64) -> (f64, f64, f64) {
        let at = slot(hour);
        let (day, of_day) = (at / 24, at % 24);
        let mean = |days: std::ops::Range<usize>| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for day in days {
                let at = day * 24 + of_day;
                let weeks = f64::from(self.weeks(at));
                sum += weeks * f64::from(self.counts[at]);
                weight += weeks;
            }
            (sum, weight)
        };
        let (mut sum, mut weight) = mean(if day < 5 { 0..5 } else { 5..7 });
        if weight == 0.0 {
            (sum, weight) = mean(0..7);
        }
        let mean = if weight > 0.0 { sum / weight } else { 0.0 };
        let own = f64::from(self.weeks(at));
        let mut profile = (own * f64::from(self.counts[at]) + mean) / (own + 1.0);
        if self.is_hot(hour - 24) && self.is_hot(hour - 48) {
            profile = profile.max(f64::from(self.counts[slot(hour - 24)]));
        }
        (profile, own, weight)
    }

    /// What is usual in an hour that begins.
    pub(crate) fn usual(&self, hour: i64) -> Usual {
        let age = self.age(hour);
        let (profile, own, weight) = self.of_hour(hour);
        let (before, after) = (self.of_hour(hour - 1).0, self.of_hour(hour + 1).0);
        let mut level = ((self.events + 0.5) / (self.usual + 0.5)).clamp(0.5, 10.0);
        if age < YOUNG_HOURS {
            level = level.max(1.0);
        }
        let n = age.clamp(0, YOUNG_HOURS) as f64;
        let evidence = profile * (own + weight.min(1.0) + 0.25);
        let scatter = [0, 1].map(|window| {
            let (deviation, square) = (self.deviation[window], self.square[window]);
            let learned = if square > 0.0 { (deviation * n + 10.0 * square) / ((n + 100.0) * square) } else { 0.1 };
            let young = if age < YOUNG_HOURS { 0.1 } else { 0.0 };
            // Below a hundredth of an event there is nothing to divide by, and the floor of the rule decides.
            learned.clamp(0.01, 2.0) + young + 1.0 / evidence.max(0.01)
        });
        Usual {
            upper: level * profile.max(before).max(after),
            profile,
            least: profile.min(before).min(after),
            level,
            scatter,
        }
    }

    /// Learns from an hour that has ended, of which `usual` was expected.
    pub(crate) fn learn(&mut self, usual: &Usual, ended: &EndedHour<'_>) {
        self.unsaved = true;
        let (age, at) = (self.age(ended.hour), slot(ended.hour));
        let events = ended.events as f64;
        let expected = usual.expected();
        let noise = usual.noise();
        let of_level = (2.0 * expected).max(expected + noise);
        if !ended.teaches {
            self.level(events, usual.profile, age);
            return;
        }
        let limit = (2.0 * usual.profile).max(usual.profile + noise);
        let hot = events > limit;
        self.run = if hot { self.run.saturating_add(1) } else { 0 };
        let known = (23..=25).any(|back| self.is_hot(ended.hour - back))
            || self.is_hot(ended.hour)
            || self.is_hot(ended.hour + 1);
        let again = hot && known && self.run <= 6 && usual.level < 1.7;
        self.set_hot(at, hot);
        let whole = again || age < 24;
        let share = if again { 1.0 } else { (1.0 / (f64::from(self.weeks(at)) + 1.0)).max(0.25) };
        let taught = if whole { events } else { events.min(limit) };
        let before = f64::from(self.counts[at]);
        self.counts[at] = (before + share * (taught - before)) as f32;
        self.set_weeks(at, self.weeks(at) + 1);
        // A hot hour that was not told teaches no level at first: a lasting step at night is told in the morning.
        if !hot || self.run > 6 || ended.fired {
            self.level(events.max(expected / 4.0).min(of_level), usual.profile, age);
        }
        if !ended.fired && usual.level > 0.6 && usual.level < 1.7 {
            let n = age.clamp(1, YOUNG_HOURS) as f64;
            self.scatter(1, events.min(of_level) - expected, expected, n);
            let part = expected / 12.0;
            let noise = 3.0 * (part + usual.scatter[0] * part * part).sqrt() + 3.0;
            let limit = (2.0 * part).max(part + noise);
            for five in ended.fives {
                self.scatter(0, f64::from(*five).min(limit) - part, part, n * 12.0);
            }
        }
    }

    fn level(&mut self, events: f64, profile: f64, age: i64) {
        if age >= 24 {
            self.events = KEEP * self.events + (1.0 - KEEP) * events;
            self.usual = KEEP * self.usual + (1.0 - KEEP) * profile;
        }
    }

    fn scatter(&mut self, window: usize, off: f64, expected: f64, n: f64) {
        self.deviation[window] += (off * off - expected - self.deviation[window]) / n;
        self.square[window] += (expected * expected - self.square[window]) / n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_keeps_its_weeks_up_to_four_and_its_heat_whatever_its_neighbours_have() {
        let mut profile = Profile::new(0);
        for at in 0..WEEK {
            profile.set_weeks(at, (at % 7) as u8);
            profile.set_hot(at, at % 3 == 0);
        }
        profile.set_weeks(6, 255);
        profile.set_hot(9, false);
        for at in 0..WEEK {
            assert_eq!(profile.weeks(at), (at % 7).min(4) as u8, "{at}");
            assert_eq!(profile.hot(at), at % 3 == 0 && at != 9, "{at}");
        }
    }

    #[test]
    fn a_profile_takes_816_bytes() {
        assert_eq!(size_of::<Profile>(), 816);
    }
}
