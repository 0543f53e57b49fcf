//! Made-up links of known truth: own hours and weekends, noise, natural bursts, and what happens to them.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::counts::{Counts, Planned};

/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
pub(super) const START: i64 = 29_459_520;
pub(super) const DAY: i64 = 1_440;
/// Minutes after which an event that comes is late.
const LATE: i64 = 15;

/// Something that happens to a link. Times are minutes since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Happening {
    /// When it begins.
    pub begin: i64,
    /// When it ends.
    pub end: i64,
    /// How many times the usual comes.
    pub factor: f64,
    /// The events to be expected in its best hour, or in all of it where it is shorter.
    pub expected: f64,
}

/// A link, and what happens to it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueLink {
    /// Its key: its kind and number.
    pub key: String,
    /// Events a minute, over a whole week.
    pub rate: f64,
    /// What it is like: `plain` ones have spikes.
    pub kind: &'static str,
    /// What happens to it.
    pub happenings: Vec<Happening>,
}

/// A count: link, minute since 1970, events, and how many of them came late.
type Row = (u32, u32, u32, u32);

/// A world: links, and their counts.
pub struct World {
    links: Vec<TrueLink>,
    weeks: i64,
    rows: Vec<Row>,
}

/// What links are like, in turn. `plain` ones have spikes.
const KINDS: [&str; 20] = [
    "plain",
    "plain",
    "plain",
    "plain",
    "plain",
    "plain",
    "plain",
    "plain",
    "plain",
    "newsletter",
    "daily",
    "growth",
    "growth",
    "step",
    "step",
    "launch",
    "planned",
    "clock",
    "hole",
    "days",
];
/// How many times the usual a spike is.
const FACTORS: [f64; 6] = [2.0, 3.0, 5.0, 10.0, 20.0, 50.0];

/// SplitMix64: the same world on every machine for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ bits >> 31
    }

    /// In `[0, 1)`.
    pub(super) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.part()).ln()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }

    fn one_of(&mut self, values: &[f64]) -> f64 {
        values.get((self.next() % values.len().max(1) as u64) as usize).copied().unwrap_or(1.0)
    }

    pub(super) fn poisson(&mut self, mean: f64) -> u32 {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal() + 0.5).max(0.0) as u32;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.part(), 0);
        while product > limit {
            product *= self.part();
            count += 1;
        }
        count
    }
}

impl World {
    /// So many links over so many weeks, at least 6, from 5 January 2026 on.
    pub fn new(seed: u64, keys: u32, weeks: u32) -> Self {
        let mut world = Self::empty(i64::from(weeks.max(6)));
        for id in 0..keys {
            let mut random = Random(seed ^ u64::from(id).wrapping_mul(0xD1B5_4A32_D192_ED03));
            world.add(id, KINDS[id as usize % KINDS.len()], &mut random);
        }
        world
    }

    pub(super) fn empty(weeks: i64) -> Self {
        Self { links: Vec::new(), weeks, rows: Vec::new() }
    }

    pub(super) fn push(&mut self, id: u32, minute: i64, count: u32) {
        self.rows.push((id, minute as u32, count, 0));
    }

    pub(super) fn add_link(&mut self, link: TrueLink) {
        self.links.push(link);
    }

    /// What happens to a link of that kind, without what is to be expected of it.
    fn happenings(&self, kind: &str, random: &mut Random) -> Vec<Happening> {
        let one = |begin: f64, minutes: f64, factor| {
            let begin = START + (begin * DAY as f64) as i64;
            Happening { begin, end: begin + minutes as i64, factor, expected: 0.0 }
        };
        let days = (self.weeks * 7) as f64;
        match kind {
            "plain" => (3..self.weeks)
                .map(|week| {
                    let begin = (week * 7) as f64 + random.between(0.0, 6.0);
                    one(begin, random.between(15.0, 90.0), random.one_of(&FACTORS))
                })
                .collect(),
            "newsletter" => {
                let at = (random.next() % 5) as f64 + random.between(8.0, 16.0) / 24.0;
                (0..self.weeks).map(|week| one((week * 7) as f64 + at, 60.0, 8.0)).collect()
            }
            "daily" => {
                let at = random.between(8.0, 16.0) / 24.0;
                (14..self.weeks * 7).map(|day| one(day as f64 + at, 60.0, 8.0)).collect()
            }
            "step" => {
                let begin = random.between(21.0, 24.0);
                vec![one(begin, (days - begin) * DAY as f64, random.between(4.0, 8.0))]
            }
            "launch" => vec![one(random.between(21.0, 28.0), DAY as f64, 1.0)],
            "planned" => vec![one(random.between(21.0, 28.0), random.between(120.0, 600.0), random.between(8.0, 30.0))],
            "clock" => vec![one(35.0, (7 * DAY) as f64, 1.0)],
            "hole" => vec![one(random.between(21.0, 35.0), random.between(60.0, 480.0), 0.0)],
            "days" => vec![one(random.between(21.0, 30.0), (3 * DAY) as f64, 8.0)],
            _ => Vec::new(),
        }
    }

    fn add(&mut self, id: u32, kind: &'static str, random: &mut Random) {
        let rate = 10f64.powf(random.between(-1.0, 3.0));
        let (peak, depth, weekend) = (random.part() * 24.0, random.between(0.3, 0.95), random.between(0.3, 1.3));
        let noise = random.between(0.10, 0.35);
        let growth = if kind == "growth" { random.one_of(&[0.7, 0.85, 1.2, 1.4]) } else { 1.0 };
        let mut happenings = self.happenings(kind, random);
        let first = happenings.first().copied();
        let mut means = vec![0.0; (self.weeks * 7 * DAY) as usize];
        let (mut drift, mut burst_until, mut burst, mut backlog) = (0.0, 0, 1.0, VecDeque::new());
        for minute in 0..self.weeks * 7 * DAY {
            let now = START + minute;
            if minute % 15 == 0 {
                drift = 0.9 * drift + (1.0f64 - 0.81).sqrt() * random.normal();
                if now >= burst_until && random.part() < 0.002 {
                    (burst, burst_until) = (random.between(1.2, 1.8), now + random.between(20.0, 120.0) as i64);
                }
            }
            // From its fifth week on a link of this kind lives an hour earlier.
            let shift = i64::from(kind == "clock" && first.is_some_and(|change| now >= change.begin)) * 60;
            let hour = ((minute + shift) % DAY) as f64 / 60.0;
            let wave = 1.0 + depth * ((hour - peak) / 24.0 * std::f64::consts::TAU).cos();
            let day = if (minute + shift) / DAY % 7 >= 5 { weekend } else { 1.0 };
            let mut mean = rate * wave * day * (noise * drift - noise * noise / 2.0).exp();
            mean *= growth.powf(minute as f64 / (7 * DAY) as f64);
            mean *= if now < burst_until { burst } else { 1.0 };
            let happens = happenings.iter().find(|one| (one.begin..one.end).contains(&now));
            mean *= happens.map_or(1.0, |one| if kind == "hole" { 1.0 } else { one.factor });
            let count = match (kind, first) {
                ("launch", Some(launch)) if now < launch.begin => u32::from(now == launch.begin - 5 * DAY),
                _ => random.poisson(mean),
            };
            means[minute as usize] = mean;
            if kind == "hole" && happens.is_some() {
                backlog.push_back((now, count));
                continue;
            }
            // What did not come through comes afterwards, within a few minutes, the oldest first.
            let (mut came, mut late) = (count, 0);
            for (at, count) in backlog.drain(..backlog.len().min(180)) {
                came += count;
                late += if now - at >= LATE { count } else { 0 };
            }
            if came > 0 {
                self.rows.push((id, now as u32, came, late));
            }
        }
        for one in &mut happenings {
            let (from, to) = ((one.begin - START) as usize, (one.end - START) as usize);
            let inside = means.get(from..to.min(means.len())).unwrap_or_default();
            let hours = inside.windows(inside.len().clamp(1, 60)).map(|hour| hour.iter().sum::<f64>());
            one.expected = hours.fold(0.0, f64::max);
        }
        self.links.push(TrueLink { key: format!("{kind}-{id}"), rate, kind, happenings });
    }

    /// What happened.
    pub fn links(&self) -> &[TrueLink] {
        &self.links
    }

    /// The weeks that it lasts.
    pub fn weeks(&self) -> i64 {
        self.weeks
    }

    /// Its counts, for the evaluator.
    pub fn counts(&self) -> Counts {
        Counts::of(self.links.iter().map(|link| link.key.clone()).collect(), self.rows.clone())
    }

    /// The launches that are planned.
    pub fn planned(&self) -> Planned {
        let planned = self.links.iter().filter(|link| link.kind == "planned");
        let ranges = |link: &TrueLink| link.happenings.iter().map(|one| (one.begin, one.end)).collect();
        planned.map(|link| (link.key.clone(), ranges(link))).collect()
    }

    /// Writes `key,pane_start,count,late`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_counts(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "key,pane_start,count,late")?;
        for (id, minute, count, late) in &self.rows {
            writeln!(to, "{},{},{count},{late}", self.links[*id as usize].key, i64::from(*minute) * 60)?;
        }
        Ok(())
    }

    /// Writes `key,begin,end` of the launches that are planned.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_planned(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "key,begin,end")?;
        for link in self.links.iter().filter(|link| link.kind == "planned") {
            for one in &link.happenings {
                writeln!(to, "{},{},{}", link.key, one.begin * 60, one.end * 60)?;
            }
        }
        Ok(())
    }

    /// Writes `key,kind,rate,weeks,begin,end,factor,expected`, a line each thing that happens; a link to which nothing
    /// happens has a line with empty fields.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_truth(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "key,kind,rate,weeks,begin,end,factor,expected")?;
        for TrueLink { key, rate, kind, happenings } in &self.links {
            if happenings.is_empty() {
                writeln!(to, "{key},{kind},{rate},{},,,,", self.weeks)?;
            }
            for Happening { begin, end, factor, expected } in happenings {
                let (begin, end) = (begin * 60, end * 60);
                writeln!(to, "{key},{kind},{rate},{},{begin},{end},{factor},{expected}", self.weeks)?;
            }
        }
        Ok(())
    }
}
