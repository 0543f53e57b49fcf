//! Alerts against what is true.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};

use super::counts::{FoundAlert, lines};
use super::world::World;

/// The first weeks are for learning: what is told in them is not scored.
const LEARNING_WEEKS: i64 = 3;
/// An alert up to so many seconds after the end of a spike is about it.
const AFTER: i64 = 7_200;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// A spike is asked for if so many events are to be expected of its best hour.
const ASKED: f64 = 50.0;

/// Something that happens, in seconds since 1970.
struct Happening {
    begin: i64,
    end: i64,
    factor: f64,
    expected: f64,
}

struct Link {
    kind: String,
    rate: f64,
    weeks: i64,
    happenings: Vec<Happening>,
}

/// What happened, by key.
pub struct Truth(BTreeMap<String, Link>);

/// How often something was told: alerts, and what they are held against.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Alerts, or what was told.
    pub told: u64,
    /// Link-months, or occasions.
    pub of: f64,
}

impl Rate {
    pub(super) fn add(&mut self, told: usize, of: f64) {
        self.told += told as u64;
        self.of += of;
    }

    /// Alerts a link-month or an occasion; 0 where there was none.
    pub fn share(self) -> f64 {
        if self.of > 0.0 { self.told as f64 / self.of } else { 0.0 }
    }
}

/// How good the alerts are.
#[derive(Debug, Default)]
pub struct Score {
    /// False alerts a link-month, for plain links: up to 1 a minute, and above.
    pub false_alerts: [Rate; 2],
    /// Alerts a link-month of links that grow or decay.
    pub growth: Rate,
    /// Spikes told of those asked for, by factor.
    pub found: BTreeMap<u64, Rate>,
    /// Lasting steps told of those asked for.
    pub steps: Rate,
    /// Alerts in the ten days after a step that is asked for.
    pub step_alerts: Rate,
    /// Alerts a newsletter, from the fourth week on.
    pub newsletters: Rate,
    /// Alerts a daily push, from its eighth day on.
    pub pushes: Rate,
    /// Alerts on the first day of a new link, and in planned launches.
    pub launches: [Rate; 2],
    /// Alerts a link in the week of a clock change.
    pub clock: Rate,
    /// Alerts a hole, with its backlog.
    pub holes: Rate,
    /// Alerts in three days of eight times the usual.
    pub days: Rate,
    /// Seconds from begin to alert, sorted.
    pub delays: Vec<i64>,
    /// Seconds from the end of a spike to the end of its alert, sorted.
    pub over: Vec<i64>,
    /// Alerts a spike that was told.
    pub alerts: Rate,
}

impl Truth {
    /// Of a world.
    pub fn of(world: &World) -> Self {
        let link = |link: &super::world::TrueLink| Link {
            kind: link.kind.to_owned(),
            rate: link.rate,
            weeks: world.weeks(),
            happenings: link
                .happenings
                .iter()
                .map(|one| Happening {
                    begin: one.begin * 60,
                    end: one.end * 60,
                    factor: one.factor,
                    expected: one.expected,
                })
                .collect(),
        };
        Self(world.links().iter().map(|one| (one.key.clone(), link(one))).collect())
    }

    /// Reads what `world` wrote.
    ///
    /// # Errors
    /// When a line has another form.
    pub fn read(csv: &str) -> Result<Self> {
        let mut truth = Self(BTreeMap::new());
        for fields in lines(csv, 8) {
            let fields = fields?;
            let link = truth.0.entry(fields[0].to_owned()).or_insert(Link {
                kind: fields[1].to_owned(),
                rate: fields[2].parse().context("a rate")?,
                weeks: fields[3].parse().context("weeks")?,
                happenings: Vec::new(),
            });
            if !fields[4].is_empty() {
                link.happenings.push(Happening {
                    begin: fields[4].parse()?,
                    end: fields[5].parse()?,
                    factor: fields[6].parse()?,
                    expected: fields[7].parse()?,
                });
            }
        }
        Ok(truth)
    }

    /// Compares. A spike is asked for if at least 50 events are to be expected of its best hour.
    pub fn score(&self, alerts: &[FoundAlert]) -> Score {
        let mut score = Score::default();
        let mut by_key: BTreeMap<&str, Vec<&FoundAlert>> = BTreeMap::new();
        alerts.iter().for_each(|alert| by_key.entry(&alert.key).or_default().push(alert));
        let start = 1_767_571_200 + LEARNING_WEEKS * 7 * DAY;
        for (key, link) in &self.0 {
            let own = by_key.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            let own: Vec<&FoundAlert> = own.iter().copied().filter(|alert| alert.fired >= start).collect();
            score.add(link, &own, start);
        }
        score.delays.sort_unstable();
        score.over.sort_unstable();
        score
    }
}

impl Score {
    fn add(&mut self, link: &Link, own: &[&FoundAlert], start: i64) {
        let within = |from: i64, to: i64| own.iter().filter(|one| (from..to).contains(&one.fired)).count();
        let months = (link.weeks - LEARNING_WEEKS) as f64 * 7.0 / 30.0;
        if link.kind == "growth" {
            self.growth.add(own.len(), months);
        }
        let mut pushes = 0;
        for one in &link.happenings {
            let (begin, end) = (one.begin, one.end);
            match link.kind.as_str() {
                "newsletter" if begin >= start => self.newsletters.add(within(begin - HOUR, end + AFTER), 1.0),
                "daily" => {
                    pushes += 1;
                    if pushes > 7 && begin >= start {
                        self.pushes.add(within(begin - HOUR, end + AFTER), 1.0);
                    }
                }
                "step" if one.expected >= ASKED => {
                    let about = within(begin, begin + 10 * DAY);
                    self.steps.add(usize::from(about > 0), 1.0);
                    self.step_alerts.add(about, 1.0);
                }
                "launch" => self.launches[0].add(within(begin - 6 * DAY, begin + DAY), 1.0),
                "planned" => self.launches[1].add(within(begin, end), 1.0),
                "clock" => self.clock.add(within(begin, end), 1.0),
                "hole" => self.holes.add(within(begin, end + DAY), 1.0),
                "days" => self.days.add(within(begin, end + DAY), 1.0),
                _ => {}
            }
        }
        if link.kind == "plain" {
            self.plain(link, own, months);
        }
    }

    fn plain(&mut self, link: &Link, own: &[&FoundAlert], months: f64) {
        let about =
            |alert: &FoundAlert| link.happenings.iter().any(|one| (one.begin..one.end + AFTER).contains(&alert.fired));
        let unexplained = own.iter().filter(|alert| !about(alert)).count();
        self.false_alerts[usize::from(link.rate > 1.0)].add(unexplained, months);
        for one in link.happenings.iter().filter(|one| one.expected >= ASKED) {
            let of_spike: Vec<_> =
                own.iter().filter(|alert| (one.begin..one.end + AFTER).contains(&alert.fired)).collect();
            self.found.entry(one.factor as u64).or_default().add(usize::from(!of_spike.is_empty()), 1.0);
            if let Some(first) = of_spike.first().filter(|_| one.factor >= 3.0) {
                self.delays.push(first.fired - one.begin);
                self.alerts.add(of_spike.len(), 1.0);
                self.over.extend(first.resolved.map(|at| at - one.end));
            }
        }
    }

    /// The share of spikes of 3x and more that are told, of those asked for.
    pub fn recall(&self) -> f64 {
        let all = self
            .found
            .range(3..)
            .fold(Rate::default(), |sum, (_, one)| Rate { told: sum.told + one.told, of: sum.of + one.of });
        all.share()
    }
}

pub(super) fn median(sorted: &[i64]) -> f64 {
    sorted.get(sorted.len() / 2).map_or(f64::NAN, |seconds| *seconds as f64 / 60.0)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, rate: Rate| writeln!(f, "{name:<42} {:.3} of {:.0}", rate.share(), rate.of);
        line("false a link-month, up to 1 a minute", self.false_alerts[0])?;
        line("false a link-month, above", self.false_alerts[1])?;
        line("growth and decay, a link-month", self.growth)?;
        for (factor, found) in &self.found {
            line(&format!("told at {factor}x"), *found)?;
        }
        line("lasting steps found", self.steps)?;
        line("alerts in ten days of a step", self.step_alerts)?;
        line("alerts a newsletter, 4th week on", self.newsletters)?;
        line("alerts a daily push, 8th day on", self.pushes)?;
        line("alerts on the first day of a link", self.launches[0])?;
        line("alerts in a planned launch", self.launches[1])?;
        line("alerts in the week of a clock change", self.clock)?;
        line("alerts a hole and its backlog", self.holes)?;
        line("alerts in three days of 8x", self.days)?;
        line("alerts a spike that is told", self.alerts)?;
        writeln!(f, "{:<42} {:.3}", "found of asked, 3x and more", self.recall())?;
        writeln!(f, "{:<42} {:.0}", "median delay, minutes", median(&self.delays))?;
        writeln!(f, "{:<42} {:.0}", "over after its end, median minutes", median(&self.over))
    }
}
