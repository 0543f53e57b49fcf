//! Made-up links of known truth: own hours and weekends, noise, natural bursts, spikes, newsletters, growth, lasting steps.

use std::io::{self, Write};

use super::counts::Counts;

/// Monday, 5 January 2026, 00:00 UTC, in minutes since 1970.
const START: i64 = 29_459_520;
const DAY: i64 = 1_440;

/// What happens to a link. Times are minutes since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueLink {
    /// Its key: its kind and number.
    pub key: String,
    /// Events a minute, over a whole week.
    pub rate: f64,
    /// `plain`, `newsletter`, `growth` or `step`.
    pub kind: &'static str,
    /// Begin, end and factor of each spike (of a step: where it begins, and its factor).
    pub spikes: Vec<(i64, i64, f64)>,
}

/// A world: links, and their counts.
pub struct World {
    links: Vec<TrueLink>,
    weeks: i64,
    rows: Vec<(u32, u32, u32)>,
}

/// SplitMix64: the same world on every machine for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ bits >> 31
    }

    /// In `[0, 1)`.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.part()).ln()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }

    fn poisson(&mut self, mean: f64) -> u32 {
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
    /// So many links over so many weeks, at least 4, from 5 January 2026 on.
    pub fn new(seed: u64, keys: u32, weeks: u32) -> Self {
        let weeks = i64::from(weeks.max(4));
        let mut world = Self { links: Vec::new(), weeks, rows: Vec::new() };
        for id in 0..keys {
            let mut random = Random(seed ^ u64::from(id).wrapping_mul(0xD1B5_4A32_D192_ED03));
            let kind = match id % 10 {
                7 => "newsletter",
                8 => "growth",
                9 => "step",
                _ => "plain",
            };
            world.add(id, kind, &mut random);
        }
        world
    }

    fn add(&mut self, id: u32, kind: &'static str, random: &mut Random) {
        let days = self.weeks * 7;
        let rate = 10f64.powf(random.between(-1.0, 3.0));
        let (peak, depth, weekend) = (random.part() * 24.0, random.between(0.3, 0.95), random.between(0.3, 1.3));
        let noise = random.between(0.10, 0.35);
        let growth = if kind == "growth" { [0.7f64, 0.85, 1.2, 1.4][(random.next() % 4) as usize] } else { 1.0 };
        let at = |random: &mut Random, from: i64, to: i64| {
            START + (random.between(from as f64, to as f64) * DAY as f64) as i64
        };
        let mut spikes = Vec::new();
        match kind {
            "plain" => {
                for week in 3..self.weeks {
                    let begin = at(random, week * 7, week * 7 + 6);
                    let factor = [2.0, 5.0, 10.0, 50.0][(random.next() % 4) as usize];
                    spikes.push((begin, begin + random.between(15.0, 90.0) as i64, factor));
                }
            }
            "step" => spikes.push((at(random, 21, 24), START + days * DAY, random.between(4.0, 8.0))),
            _ => {}
        }
        let mail = (random.next() % 5) as i64 * DAY + random.between(8.0, 16.0) as i64 * 60;
        let (mut drift, mut burst_until, mut burst) = (0.0, 0, 1.0);
        for minute in 0..days * DAY {
            let now = START + minute;
            if minute % 15 == 0 {
                drift = 0.9 * drift + (1.0f64 - 0.81).sqrt() * random.normal();
                if now >= burst_until && random.part() < 0.002 {
                    (burst, burst_until) = (random.between(1.2, 1.8), now + random.between(20.0, 120.0) as i64);
                }
            }
            let hour = (minute % DAY) as f64 / 60.0;
            let wave = 1.0 + depth * ((hour - peak) / 24.0 * std::f64::consts::TAU).cos();
            let day = if minute / DAY % 7 >= 5 { weekend } else { 1.0 };
            let mut mean = rate * wave * day * (noise * drift - noise * noise / 2.0).exp();
            mean *= growth.powf(minute as f64 / (7 * DAY) as f64);
            mean *= if now < burst_until { burst } else { 1.0 };
            if kind == "newsletter" && (0..60).contains(&(minute % (7 * DAY) - mail)) {
                mean *= 8.0;
            }
            for (begin, end, factor) in &spikes {
                mean *= if (*begin..*end).contains(&now) { *factor } else { 1.0 };
            }
            let count = random.poisson(mean);
            if count > 0 {
                self.rows.push((id, now as u32, count));
            }
        }
        self.links.push(TrueLink { key: format!("{kind}-{id}"), rate, kind, spikes });
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

    /// Writes `key,pane_start,count`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_counts(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "key,pane_start,count")?;
        for (id, minute, count) in &self.rows {
            writeln!(to, "{},{},{count}", self.links[*id as usize].key, i64::from(*minute) * 60)?;
        }
        Ok(())
    }

    /// Writes `key,kind,rate,weeks,begin,end,factor`, a line a spike; a link without one has a line with empty fields.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_truth(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "key,kind,rate,weeks,begin,end,factor")?;
        for TrueLink { key, rate, kind, spikes } in &self.links {
            if spikes.is_empty() {
                writeln!(to, "{key},{kind},{rate},{},,,", self.weeks)?;
            }
            for (begin, end, factor) in spikes {
                writeln!(to, "{key},{kind},{rate},{},{},{},{factor}", self.weeks, begin * 60, end * 60)?;
            }
        }
        Ok(())
    }
}
