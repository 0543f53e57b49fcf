//! Sources of known truth that go quiet or only seem to, and how well that is told.

use std::collections::BTreeMap;
use std::fmt;

use super::counts::FoundAlert;
use super::score::{Rate, median};
use super::world::{DAY, Happening, Random, START, TrueLink, World};

/// What sources are like, in turn.
const KINDS: [&str; 10] =
    ["even", "office", "hourly", "quarter", "bursty", "holiday", "fading", "outage", "outage", "office-outage"];
/// Events a minute, a class after every ten sources.
const RATES: [f64; 4] = [0.1, 1.0, 10.0, 100.0];
/// A silence is asked for if so many events are missed.
const ASKED: f64 = 150.0;
/// In its first two weeks no source is watched.
const LEARNING_WEEKS: i64 = 2;

impl World {
    /// So many sources over so many weeks, at least 6. A silence is a happening of the factor 0 with the events missed.
    pub fn quiet(seed: u64, keys: u32, weeks: u32) -> Self {
        let mut world = Self::empty(i64::from(weeks.max(6)));
        for id in 0..keys {
            let mut random = Random(seed ^ u64::from(id).wrapping_mul(0xA24B_AED4_963E_E407));
            let rate = RATES[id as usize / KINDS.len() % RATES.len()];
            source(&mut world, id, KINDS[id as usize % KINDS.len()], rate, &mut random);
        }
        world
    }
}

fn source(world: &mut World, id: u32, kind: &'static str, rate: f64, random: &mut Random) {
    let weeks = world.weeks();
    let mut happenings: Vec<Happening> = Vec::new();
    if kind.ends_with("outage") {
        // A small source is found late: its silences are longer, and rarer.
        for week in (3..weeks).step_by(if rate < 1.0 { 3 } else { 1 }) {
            let begin = START + (((week * 7) as f64 + random.between(0.0, 3.5)) * DAY as f64) as i64;
            let (least, most) = if rate < 1.0 { (1_500.0, 4_320.0) } else { (60.0, 1_440.0) };
            let end = begin + random.between(least, most) as i64;
            happenings.push(Happening { begin, end, factor: 0.0, expected: 0.0 });
        }
    }
    let holidays = [0, 0].map(|_| random.between(21.0, (weeks * 7) as f64) as i64);
    let fades_from = 21 * DAY + random.between(0.0, 7.0 * DAY as f64) as i64;
    let half_life = random.between(1.5, 5.0) * DAY as f64;
    let (peak, noise) = (random.part() * 24.0, random.between(0.1, 0.3));
    let (mut drift, mut on, mut turn, mut held) = (0.0, true, 0, 0);
    for minute in 0..weeks * 7 * DAY {
        let now = START + minute;
        if minute % 15 == 0 {
            drift = 0.9 * drift + (1.0f64 - 0.81).sqrt() * random.normal();
        }
        let (hour, weekday) = ((minute % DAY) as f64 / 60.0, minute / DAY % 7);
        let wave = |depth: f64| 1.0 + depth * ((hour - peak) / 24.0 * std::f64::consts::TAU).cos();
        let mut mean = rate * (noise * drift - noise * noise / 2.0).exp();
        mean *= match kind {
            "office" | "office-outage" => {
                if weekday < 5 && (8.0..18.0).contains(&hour) {
                    1.0
                } else {
                    0.01
                }
            }
            "bursty" => {
                if minute >= turn {
                    on = !on;
                    turn = minute + (-(1.0 - random.part()).ln() * if on { 20.0 } else { 60.0 }) as i64 + 1;
                }
                if on { 4.0 } else { 0.03 }
            }
            "holiday" => wave(0.6) * if holidays.contains(&(minute / DAY)) { 0.3 } else { 1.0 },
            "fading" => wave(0.5) * 0.5f64.powf((minute - fades_from).max(0) as f64 / half_life),
            "outage" => wave(0.5),
            _ => wave(0.3),
        };
        if let Some(silence) = happenings.iter_mut().find(|one| (one.begin..one.end).contains(&now)) {
            silence.expected += mean;
            continue;
        }
        held += random.poisson(mean);
        let every = match kind {
            "hourly" => 60,
            "quarter" => 15,
            _ => 1,
        };
        if held > 0 && minute % every == every - 1 {
            world.push(id, now, std::mem::take(&mut held));
        }
    }
    world.add_link(TrueLink { key: format!("{kind}-{rate}-{id}"), rate, kind, happenings });
}

/// How good alerts on silence are.
#[derive(Debug, Default)]
pub struct QuietScore {
    /// False alerts a key-month, by kind; a fading campaign: alerts each.
    pub false_alerts: BTreeMap<&'static str, Rate>,
    /// Silences told of those asked for, by events a minute.
    pub found: BTreeMap<String, Rate>,
    /// Seconds from the begin of a silence to its alert, by events a minute, sorted.
    pub delays: BTreeMap<String, Vec<i64>>,
}

impl QuietScore {
    /// Compares the alerts of a world of sources.
    pub fn of(world: &World, alerts: &[FoundAlert]) -> Self {
        let mut score = Self::default();
        let mut by_key: BTreeMap<&str, Vec<&FoundAlert>> = BTreeMap::new();
        alerts.iter().for_each(|alert| by_key.entry(&alert.key).or_default().push(alert));
        let months = (world.weeks() - LEARNING_WEEKS) as f64 * 7.0 / 30.0;
        for source in world.links() {
            let own = by_key.get(source.key.as_str()).map_or(&[][..], Vec::as_slice);
            let within = |one: &Happening, alert: &FoundAlert| (one.begin * 60..one.end * 60).contains(&alert.fired);
            let unexplained =
                own.iter().filter(|alert| !source.happenings.iter().any(|one| within(one, alert))).count();
            let of = if source.kind == "fading" { 1.0 } else { months };
            score.false_alerts.entry(source.kind).or_default().add(unexplained, of);
            for one in source.happenings.iter().filter(|one| one.expected >= ASKED) {
                let class = source.rate.to_string();
                let first = own.iter().find(|alert| within(one, alert));
                score.found.entry(class.clone()).or_default().add(usize::from(first.is_some()), 1.0);
                score.delays.entry(class).or_default().extend(first.map(|alert| alert.fired - one.begin * 60));
            }
        }
        score.delays.values_mut().for_each(|delays| delays.sort_unstable());
        score
    }

    /// The median delay at so many events a minute, in minutes.
    pub fn median(&self, class: &str) -> f64 {
        self.delays.get(class).map_or(f64::NAN, |delays| median(delays))
    }
}

impl fmt::Display for QuietScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, rate) in &self.false_alerts {
            writeln!(f, "{:<42} {:.3} of {:.0}", format!("false a key-month, {kind}"), rate.share(), rate.of)?;
        }
        for (class, found) in &self.found {
            let median = self.median(class);
            let of = format!("found at {class} a minute");
            writeln!(f, "{of:<42} {:.3} of {:.0}, median {median:.0} minutes", found.share(), found.of)?;
        }
        Ok(())
    }
}
