//! Alerts against what is true.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

use super::counts::{FoundSpike, lines};
use super::world::World;

/// The first weeks are for learning: what is told in them is not scored.
const LEARNING_WEEKS: i64 = 3;
/// An alert up to so many seconds after the end of a spike is about it.
const AFTER: i64 = 7_200;

struct Link {
    kind: String,
    rate: f64,
    weeks: i64,
    /// In seconds since 1970.
    spikes: Vec<(i64, i64, f64)>,
}

/// What happened, by key.
pub struct Truth(BTreeMap<String, Link>);

/// How good the alerts are.
#[derive(Debug, Default)]
pub struct Score {
    /// False alerts and link-months, for plain and growing links: up to 1 a minute, and above.
    pub false_alerts: [(u64, f64); 2],
    /// Spikes told and asked for, by factor.
    pub found: BTreeMap<u64, (u64, u64)>,
    /// Lasting steps: told, asked for, alerts in the ten days after.
    pub steps: (u64, u64, u64),
    /// Newsletters from the fourth on: alerts, and how many went out.
    pub newsletters: (u64, u64),
    /// Seconds from begin to alert, sorted.
    pub delays: Vec<i64>,
    /// Seconds from the end of a spike to the end of its alert, sorted.
    pub over: Vec<i64>,
    /// Alerts about spikes that were told.
    pub alerts: u64,
}

impl Truth {
    /// Of a world.
    pub fn of(world: &World) -> Self {
        let link = |link: &super::world::TrueLink| Link {
            kind: link.kind.to_owned(),
            rate: link.rate,
            weeks: world.weeks(),
            spikes: link.spikes.iter().map(|(begin, end, factor)| (begin * 60, end * 60, *factor)).collect(),
        };
        Self(world.links().iter().map(|one| (one.key.clone(), link(one))).collect())
    }

    /// Reads what `world` wrote.
    ///
    /// # Errors
    /// When a line has another form.
    pub fn read(csv: &str) -> Result<Self> {
        let mut truth = Self(BTreeMap::new());
        for fields in lines(csv, 7) {
            let fields = fields?;
            let link = truth.0.entry(fields[0].to_owned()).or_insert(Link {
                kind: fields[1].to_owned(),
                rate: fields[2].parse().context("a rate")?,
                weeks: fields[3].parse().context("weeks")?,
                spikes: Vec::new(),
            });
            if !fields[4].is_empty() {
                link.spikes.push((fields[4].parse()?, fields[5].parse()?, fields[6].parse()?));
            }
        }
        Ok(truth)
    }

    /// Compares. A spike is asked for if it brings at least 50 events into five minutes or an hour on average.
    pub fn score(&self, alerts: &[FoundSpike]) -> Score {
        let mut score = Score::default();
        let mut by_key: BTreeMap<&str, Vec<&FoundSpike>> = BTreeMap::new();
        alerts.iter().for_each(|alert| by_key.entry(&alert.key).or_default().push(alert));
        let start = 1_767_571_200 + LEARNING_WEEKS * 604_800;
        for (key, link) in &self.0 {
            let own = by_key.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            let own: Vec<&FoundSpike> = own.iter().copied().filter(|alert| alert.fired >= start).collect();
            match link.kind.as_str() {
                "newsletter" => {
                    score.newsletters.0 += own.len() as u64;
                    score.newsletters.1 += (link.weeks - LEARNING_WEEKS) as u64;
                }
                "step" => {
                    for (begin, _, factor) in &link.spikes {
                        let about = own.iter().filter(|one| (*begin..begin + 864_000).contains(&one.fired)).count();
                        if link.rate * factor * 60.0 >= 50.0 {
                            score.steps.0 += u64::from(about > 0);
                            score.steps.1 += 1;
                            score.steps.2 += about as u64;
                        }
                    }
                }
                _ => score.plain(link, &own),
            }
        }
        score.delays.sort_unstable();
        score.over.sort_unstable();
        score
    }
}

impl Score {
    fn plain(&mut self, link: &Link, own: &[&FoundSpike]) {
        let class = &mut self.false_alerts[usize::from(link.rate > 1.0)];
        let about =
            |alert: &FoundSpike| link.spikes.iter().any(|(begin, end, _)| (*begin..end + AFTER).contains(&alert.fired));
        class.0 += own.iter().filter(|alert| !about(alert)).count() as u64;
        class.1 += (link.weeks - LEARNING_WEEKS) as f64 * 7.0 / 30.0;
        for (begin, end, factor) in &link.spikes {
            let minutes = ((end - begin) / 60).min(60) as f64;
            if link.rate * factor * minutes < 50.0 {
                continue;
            }
            let of_spike: Vec<_> = own.iter().filter(|one| (*begin..end + AFTER).contains(&one.fired)).collect();
            let found = self.found.entry(*factor as u64).or_default();
            found.1 += 1;
            if let Some(first) = of_spike.first() {
                found.0 += 1;
                if *factor >= 3.0 {
                    self.delays.push(first.fired - begin);
                    self.alerts += of_spike.len() as u64;
                    self.over.extend(first.resolved.map(|at| at - end));
                }
            }
        }
    }

    /// The share of spikes of 3x and more that are told, of those asked for.
    pub fn recall(&self) -> f64 {
        let (told, asked) = self.found.range(3..).fold((0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1));
        told as f64 / f64::max(asked as f64, 1.0)
    }

    /// False alerts a link-month: links up to 1 event a minute, and above.
    pub fn false_rates(&self) -> [f64; 2] {
        self.false_alerts.map(|(alerts, months)| alerts as f64 / months.max(0.001))
    }

    /// Alerts a spike that was told.
    pub fn alerts_a_spike(&self) -> f64 {
        self.alerts as f64 / f64::max(self.delays.len() as f64, 1.0)
    }
}

fn median(sorted: &[i64]) -> f64 {
    sorted.get(sorted.len() / 2).map_or(f64::NAN, |seconds| *seconds as f64 / 60.0)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.false_rates();
        writeln!(f, "false a link-month, up to 1 a minute  {low:.3}")?;
        writeln!(f, "false a link-month, above             {high:.3}")?;
        writeln!(f, "found of asked, 3x and more           {:.2}", self.recall())?;
        for (factor, (told, asked)) in &self.found {
            let share = *told as f64 / f64::max(*asked as f64, 1.0);
            writeln!(f, "told at {factor}x                          {share:.2} of {asked}")?;
        }
        writeln!(f, "median delay, minutes                 {:.0}", median(&self.delays))?;
        writeln!(f, "alerts a spike                        {:.2}", self.alerts_a_spike())?;
        writeln!(f, "over after its end, median minutes    {:.0}", median(&self.over))?;
        let (told, asked, alerts) = self.steps;
        writeln!(f, "lasting steps found                   {told} of {asked}, {alerts} alerts in ten days")?;
        writeln!(f, "newsletters told from the 4th week    {} of {}", self.newsletters.0, self.newsletters.1)
    }
}
