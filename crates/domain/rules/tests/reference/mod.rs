//! Spike and silence written once more, from docs/detection.md: minute by minute, with all of the history in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Minute since 1970 → events.
pub(crate) type History = BTreeMap<i64, u64>;

#[derive(Default)]
struct Weekly {
    spoke: i64,
    mean: HashMap<i64, f32>,
    seen: HashMap<i64, u32>,
    hot: BTreeSet<i64>,
    level: (f64, f64),
    off: [(f64, f64); 2],
    in_a_row: u32,
}

struct Hour {
    profile: f64,
    neighbours: [f64; 2],
    level: f64,
    phi: [f64; 2],
}

impl Hour {
    fn expected(&self) -> f64 {
        self.level * self.profile
    }
    fn most(&self) -> f64 {
        self.level * self.profile.max(self.neighbours[0]).max(self.neighbours[1])
    }
    fn least(&self) -> f64 {
        self.profile.min(self.neighbours[0]).min(self.neighbours[1])
    }
    fn noise(&self) -> f64 {
        3.0 * (self.expected() + self.phi[1] * self.expected() * self.expected()).sqrt() + 3.0
    }
}

/// The hour of the week, from Monday on: hour 0 of 1970 was in a Thursday.
fn week_hour(hour: i64) -> i64 {
    (hour + 72).rem_euclid(168)
}

impl Weekly {
    fn weight(&self, at: i64) -> f64 {
        f64::from(self.seen.get(&at).copied().unwrap_or(0).min(4))
    }

    fn mean(&self, at: i64) -> f64 {
        f64::from(self.mean.get(&at).copied().unwrap_or(0.0))
    }

    fn profile(&self, hour: i64) -> (f64, f64) {
        let at = week_hour(hour);
        let same_kind = |day: &i64| (day / 24 >= 5) == (at / 24 >= 5);
        let over = |slots: Vec<i64>| {
            let weight: f64 = slots.iter().map(|slot| self.weight(*slot)).sum();
            let sum: f64 = slots.iter().map(|slot| self.weight(*slot) * self.mean(*slot)).sum();
            (weight, if weight > 0.0 { sum / weight } else { 0.0 })
        };
        let slots: Vec<i64> = (0..7).map(|day| day * 24 + at % 24).collect();
        let mut general = over(slots.iter().copied().filter(same_kind).collect());
        if general.0 == 0.0 {
            general = over(slots);
        }
        let own = self.weight(at);
        let mut profile = (own * self.mean(at) + general.1) / (own + 1.0);
        if self.hot.contains(&week_hour(hour - 24)) && self.hot.contains(&week_hour(hour - 48)) {
            profile = profile.max(self.mean(week_hour(hour - 24)));
        }
        (profile, own + general.0.min(1.0) + 0.25)
    }

    fn hour(&self, hour: i64) -> Hour {
        let age = hour - self.spoke;
        let (profile, weight) = self.profile(hour);
        let mut level = ((self.level.0 + 0.5) / (self.level.1 + 0.5)).clamp(0.5, 10.0);
        if age < 336 {
            level = level.max(1.0);
        }
        let n = age.clamp(0, 336) as f64;
        let phi = self.off.map(|(d, q)| {
            let learned = if q > 0.0 { (d * n + 0.1 * 100.0 * q) / ((n + 100.0) * q) } else { 0.1 };
            learned.clamp(0.01, 2.0) + if age < 336 { 0.1 } else { 0.0 } + 1.0 / (profile * weight).max(0.01)
        });
        Hour { profile, neighbours: [self.profile(hour - 1).0, self.profile(hour + 1).0], level, phi }
    }

    fn follow(&mut self, age: i64, events: f64, profile: f64) {
        if age >= 24 {
            let k = 0.917_004_043;
            self.level = (k * self.level.0 + (1.0 - k) * events, k * self.level.1 + (1.0 - k) * profile);
        }
    }

    fn learn(&mut self, usual: &Hour, hour: i64, fives: [u64; 12], fired: bool, planned: bool) {
        let (age, at) = (hour - self.spoke, week_hour(hour));
        let c = fives.iter().sum::<u64>() as f64;
        if planned {
            return self.follow(age, c, usual.profile);
        }
        let (e, noise) = (usual.expected(), usual.noise());
        let of_level = (2.0 * e).max(e + noise);
        let limit = (2.0 * usual.profile).max(usual.profile + noise);
        let hot = c > limit;
        self.in_a_row = if hot { self.in_a_row + 1 } else { 0 };
        let before = [hour - 25, hour - 24, hour - 23, hour, hour + 1];
        let was_hot = before.iter().any(|hour| self.hot.contains(&week_hour(*hour)));
        let again = hot && was_hot && self.in_a_row <= 6 && usual.level < 1.7;
        if hot {
            self.hot.insert(at)
        } else {
            self.hot.remove(&at)
        };
        let seen = self.seen.entry(at).or_default();
        let share = if again { 1.0 } else { (1.0 / (f64::from(*seen) + 1.0)).max(0.25) };
        *seen += 1;
        let taught = if again || age < 24 { c } else { c.min(limit) };
        let mean = f64::from(self.mean.get(&at).copied().unwrap_or(0.0));
        self.mean.insert(at, (mean + share * (taught - mean)) as f32);
        if !hot || fired || self.in_a_row > 6 {
            self.follow(age, c.max(e / 4.0).min(of_level), usual.profile);
        }
        if !fired && usual.level > 0.6 && usual.level < 1.7 {
            let n = age.clamp(1, 336) as f64;
            let mut add = |window: usize, d: f64, e: f64, n: f64| {
                let (off, square) = self.off[window];
                self.off[window] = (off + (d * d - e - off) / n, square + (e * e - square) / n);
            };
            add(1, c.min(of_level) - e, e, n);
            let part = e / 12.0;
            let noise = 3.0 * (part + usual.phi[0] * part * part).sqrt() + 3.0;
            for five in fives {
                add(0, (five as f64).min((2.0 * part).max(part + noise)) - part, part, n * 12.0);
            }
        }
    }
}

fn between(history: &History, from: i64, to: i64) -> u64 {
    if from < to { history.range(from..to).map(|(_, count)| count).sum() } else { 0 }
}

fn fives(history: &History, hour: i64) -> [u64; 12] {
    std::array::from_fn(|five| {
        let from = hour * 60 + five as i64 * 5;
        between(history, from, from + 5)
    })
}

/// When a key speaks, and its history from then on: what came before in that hour counts in the minute in which it did.
fn spoken(history: &History) -> Option<(i64, History)> {
    let minute = history.keys().copied().find(|at| between(history, at.div_euclid(60) * 60, at + 1) >= 8)?;
    let mut own: History = history.range(minute..).map(|(at, count)| (*at, *count)).collect();
    own.insert(minute, between(history, minute.div_euclid(60) * 60, minute + 1));
    Some((minute, own))
}

/// What is said of spikes up to `end`: when, and whether it fired (with the events and the window) or is over.
pub(crate) fn spikes(
    history: &History,
    at_least: u64,
    times: f64,
    z: f64,
    quiet: i64,
    planned: &[(i64, i64)],
    end: i64,
) -> Vec<(i64, Option<(u64, i64)>)> {
    let Some((first, own)) = spoken(history) else { return Vec::new() };
    let born = history.keys().next().copied().unwrap_or(first).div_euclid(60);
    let mut weekly = Weekly { spoke: first.div_euclid(60), ..Weekly::default() };
    let (mut said, mut firing, mut fired_at, mut calm, mut anew) = (Vec::new(), false, i64::MIN / 2, 0, i64::MIN);
    let mut usual = weekly.hour(weekly.spoke);
    let mut fired_hour = false;
    let touches = |hour: i64| planned.iter().any(|(from, to)| *from < hour * 60 + 60 && hour * 60 < *to);
    for minute in first..=end {
        let hour = minute.div_euclid(60);
        if minute % 60 == 0 && minute > first {
            weekly.learn(&usual, hour - 1, fives(&own, hour - 1), fired_hour || firing, touches(hour - 1));
            usual = weekly.hour(hour);
            fired_hour = firing;
        }
        if !own.contains_key(&minute) && !firing {
            continue;
        }
        let sum = |minutes: i64| between(&own, (minute + 1 - minutes).max(anew), minute + 1);
        if firing {
            let bound = 0.5 * (at_least as f64).max(times * usual.most()) / 4.0;
            calm = if (sum(15) as f64) < bound { calm + 1 } else { 0 };
            if calm >= 20 {
                (firing, calm, anew) = (false, 0, minute + 1);
                said.push((minute + 1, None));
            }
            continue;
        }
        let known = hour - weekly.spoke >= 24 || hour - born >= 168;
        let in_launch = planned.iter().any(|(from, to)| (*from..*to).contains(&minute));
        if !known || in_launch || minute + 1 - fired_at < quiet {
            continue;
        }
        let missed = usual.expected() * 15.0 / 60.0;
        let hole = missed >= 10.0 && ((sum(20) - sum(5)) as f64) < missed / 2.0;
        for (window, phi) in [(if hole { 20 } else { 5 }, usual.phi[0]), (60, usual.phi[1])] {
            let m = usual.most() * window as f64 / 60.0;
            let tail = m + z * (m + phi * m * m).sqrt() + (z * z - 1.0) / 6.0 * (1.0 + 2.0 * phi * m);
            if sum(window) as f64 >= (at_least as f64).max(times * m).max(tail) {
                (firing, fired_hour, fired_at, calm) = (true, true, minute + 1, 0);
                said.push((minute + 1, Some((sum(window), window))));
                break;
            }
        }
    }
    said
}

/// What is said of silences up to the end `end` of a minute: when, and whether it fired.
pub(crate) fn silences(history: &History, least: i64, end: i64) -> Vec<(i64, bool)> {
    let Some((first, own)) = spoken(history) else { return Vec::new() };
    let mut weekly = Weekly { spoke: first.div_euclid(60), ..Weekly::default() };
    let mut usual = weekly.hour(weekly.spoke);
    let (mut level, mut tide, mut longest) = ((0.0, 0.0), 0.5, 0.0f64);
    let (mut due, mut recent_due, mut recent_came, mut low) = (0.0, 0.0, 0.0, 0.0);
    let (mut firing, mut trickle, mut fired_hour, mut last, mut waiting) = (false, false, false, first, 0);
    let mut said = Vec::new();
    let ratio = |level: (f64, f64)| if level.1 > 0.0 { f64::min(level.0 / level.1, 1.0) } else { 1.0 };
    let bent = |tide: f64, came: f64, expected: f64| match expected >= 5.0 {
        true => (if came < tide * expected { tide - 0.0196 } else { tide + 0.0004 }).clamp(0.02, 0.9),
        false => tide,
    };
    for minute in first..end {
        let hour = minute.div_euclid(60);
        let watched = hour - weekly.spoke >= 336;
        let need = |longest: f64| f64::max(14.0, 1.5 * longest);
        if let Some(count) = own.get(&minute) {
            if !firing && hour - weekly.spoke >= 168 {
                longest = longest.max(due);
            }
            recent_due += if minute > first { low / 60.0 } else { 0.0 };
            (due, last) = (0.0, minute);
            if !firing && waiting > 0 {
                for quiet in hour - waiting..hour {
                    let then = weekly.hour(quiet);
                    if !fired_hour {
                        tide = bent(tide, 0.0, ratio(level) * then.profile);
                    }
                    weekly.learn(&then, quiet, [0; 12], fired_hour, fired_hour);
                }
                usual = weekly.hour(hour);
                low = usual.least() * ratio(level) * tide;
            }
            waiting = 0;
            recent_came += *count as f64;
            if firing {
                if (!trickle && *count as f64 >= 2.0 * low / 60.0) || recent_came > 0.3 * recent_due {
                    firing = false;
                    said.push((minute + 1, false));
                    (recent_due, recent_came) = (0.0, 0.0);
                }
            } else if watched && recent_due >= 2.0 * need(longest) && recent_came * 20.0 <= recent_due {
                (firing, trickle, fired_hour) = (true, true, true);
                said.push((minute + 1, true));
            }
        } else {
            due += low / 60.0;
            recent_due += low / 60.0;
            if watched && !firing && low > 0.0 && due >= need(longest) - 1e-9 && minute + 1 - last > least {
                (firing, trickle, fired_hour) = (true, false, true);
                (recent_due, recent_came) = (due, 0.0);
                said.push((minute + 1, true));
            }
        }
        if minute % 60 == 59 {
            let of_hour = fives(&own, hour);
            let came = of_hour.iter().sum::<u64>() as f64;
            if hour - weekly.spoke >= 24 {
                let (k, most) = (0.971_531_941, (2.0 * usual.profile).max(usual.profile + usual.noise()));
                level = (k * level.0 + (1.0 - k) * came.min(most), k * level.1 + (1.0 - k) * usual.profile);
            }
            recent_due *= 0.716_531_311;
            recent_came *= 0.716_531_311;
            longest *= 0.997_939_203;
            if came > 0.0 {
                if !fired_hour {
                    // The level has followed already; what was expected is judged by it.
                    tide = bent(tide, came, ratio(level) * usual.profile);
                }
                weekly.learn(&usual, hour, of_hour, fired_hour, fired_hour);
            } else if !fired_hour {
                waiting += 1;
            }
            usual = weekly.hour(hour + 1);
            low = usual.least() * ratio(level) * tide;
            fired_hour = firing;
            let watched = hour + 1 - weekly.spoke >= 336;
            if watched && !firing && recent_due >= 2.0 * need(longest) && recent_came * 20.0 <= recent_due {
                (firing, trickle, fired_hour) = (true, true, true);
                said.push((minute + 1, true));
            } else if watched && !firing && low > 0.0 && due >= need(longest) && minute + 1 - last > least {
                // What is needed has become less with the hour.
                (firing, trickle, fired_hour) = (true, false, true);
                (recent_due, recent_came) = (due, 0.0);
                said.push((minute + 1, true));
            }
        }
    }
    said
}
