//! A rehearsal: made-up events through a running system, from the request to the row and to the message, as test data.
//!
//! Events say `"test": true`, so they rest in the test database, and messages about them end in the capture sink. The
//! first event goes alone: unless its row is test data, nothing else is sent. What each destination would be sent is
//! made of the stored alerts, by the planner and the renderers that run, and goes nowhere.

mod expected;
mod judge;
mod look;
pub(crate) mod made_up;
pub(crate) mod post;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use adapter::Adapter;
use config::{Config, Source};
use jiff::Timestamp;
use serde::Serialize;

use crate::error::refuse;
use crate::preview::{self, Previewed};
use crate::{Installation, Report, Result, clock};
use expected::{expected, try_out};
use judge::{Judge, Judged};
use look::{Looker, Seen};
use made_up::{MadeUp, Maker};
use post::Poster;

/// Between two looks at what has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long what should not come is waited for, once all that should has come.
const QUIET: Duration = Duration::from_secs(3);

/// What is rehearsed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source that is sent to; the first that reads the canonical format when left out.
    pub source: Option<String>,
    /// Where ingest is.
    pub ingest: String,
    /// How long rows, alerts and messages are waited for.
    pub patience: Duration,
}

/// What a rehearsal came to.
#[derive(Debug, Clone, Serialize)]
pub struct RehearsalReport {
    /// Whether every scenario holds.
    pub ok: bool,
    /// When it began.
    pub at: Timestamp,
    /// What its events are called: `rehearse-RUN-1` and so on.
    pub run: String,
    /// The source that was sent to.
    pub source: String,
    /// Deliveries that were sent.
    pub deliveries: u64,
    /// Each scenario.
    pub scenarios: Vec<ScenarioReport>,
    /// Each rule that spoke, and what it sends.
    pub rules: Vec<RehearsedRule>,
    /// Rules that were not rehearsed, and why.
    pub left_out: Vec<LeftOut>,
    /// What of it counts as production data: nothing may.
    pub production: Production,
    /// What to do next.
    pub next: Vec<String>,
}

/// One scenario.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: &'static str,
    /// What is tried.
    pub title: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// Deliveries that were sent.
    pub deliveries: u64,
    /// Rows of them, in the test database.
    pub rows: u64,
    /// How many of the rows are duplicates.
    pub duplicates: u64,
    /// Rules that spoke, as they should.
    pub rules: Vec<String>,
    /// What does not hold.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// A rule that spoke.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RehearsedRule {
    /// Its name.
    pub rule: String,
    /// How many alerts it raised about the rehearsal.
    pub alerts: usize,
    /// What became of its message: captured, waits, held back, or it sends nothing.
    pub message: &'static str,
    /// The messages in the capture sink, by their ids.
    pub captured: Vec<String>,
    /// What its alerts come to at each of its destinations.
    pub messages: Vec<Previewed>,
    /// What does not hold.
    pub problem: Option<String>,
    /// What is worth knowing.
    pub note: Option<String>,
}

/// A rule that was not rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub rule: String,
    /// Why.
    pub why: String,
}

/// What counts as production data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Production {
    /// Rows.
    pub rows: u64,
    /// Alerts.
    pub alerts: u64,
    /// Messages.
    pub messages: u64,
}

impl Report for RehearsalReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Rehearses.
///
/// # Errors
/// When no source fits, ingest takes nothing, an engine fails, or the first event is not kept as test data.
pub async fn rehearse(installation: &Installation, options: &Options) -> Result<RehearsalReport> {
    let config = &installation.config;
    let source = choose(installation, options.source.as_deref())?;
    let begun = clock::now().0;
    let run = format!("{begun:x}");
    let (warehouse, control) = (installation.connect().await?, installation.identity().await?);
    let pipeline = installation.pipeline_with_links().await?;
    let mut poster = Poster::new(source, &options.ingest, &run)?;
    let try_out = |events: &mut [MadeUp]| try_out(&pipeline, &control, config, source, events, begun);

    let mut maker = Maker::new(config, &source.name, &run, begun);
    let mut events = maker.scenarios();
    let mut tried = try_out(&mut events);
    let mut left_out = Vec::new();
    for rule in config.rules.iter().map(|rule| &rule.rule).filter(|rule| rule.trigger().is_some()) {
        let mut leave_out = |why: String| left_out.push(LeftOut { rule: rule.name().to_owned(), why });
        if rule.is_shadow() {
            leave_out("it is a shadow rule and raises no alert".to_owned());
            continue;
        }
        // What the scenarios themselves make speak needs no further events.
        if expected(config, &events, &tried).iter().any(|one| one.rule == rule.name()) {
            continue;
        }
        match maker.of_rule(rule) {
            Err(why) => leave_out(why),
            Ok(mut made) => {
                let more = try_out(&mut made);
                match more.iter().find_map(|tried| tried.mismatch.clone()) {
                    Some(why) => leave_out(format!("an event of this source cannot be what it asks for: {why}")),
                    None => {
                        events.extend(made);
                        tried.extend(more);
                    }
                }
            }
        }
    }
    if let Some((event, _)) = events.iter().zip(&tried).find(|(_, tried)| !tried.is_test || !tried.is_event) {
        refuse!("by this configuration the event {} is not test data: nothing was sent", event.id);
    }
    let expected = expected(config, &events, &tried);
    let looker = Looker { warehouse, begun, mark: format!("rehearse-{run}-") };
    let deadline = Instant::now() + options.patience;

    let mut receipts = vec![poster.post(&events[0].body).await?];
    first_is_test_data(&looker, &receipts, deadline, options.patience).await?;
    receipts.extend(poster.post_all(&events[1..]).await?);
    let patience_ms = i64::try_from(options.patience.as_millis()).unwrap_or(i64::MAX);
    let repeated = poster.repeated();
    let judge = Judge { config, events: &events, expected: &expected, begun, repeated, patience_ms };
    let (mut judged, mut seen);
    loop {
        seen = looker.look(&receipts).await?;
        judged = judge.judge(&seen);
        if !judged.waits || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    if !judged.waits {
        tokio::time::sleep(QUIET).await;
        seen = looker.look(&receipts).await?;
        judged = judge.judge(&seen);
    }
    let [rows, alerts, messages] = looker.in_production(&receipts, &seen).await?;
    let production = Production { rows, alerts, messages };
    let deliveries = events.iter().map(|event| event.deliveries).sum();
    let report = RehearsalReport {
        ok: true,
        at: Timestamp::from_millisecond(begun).unwrap_or_default(),
        run,
        source: source.name.clone(),
        deliveries,
        scenarios: judged.scenarios.clone(),
        rules: rendered(config, &judged, &seen),
        left_out,
        production,
        next: Vec::new(),
    };
    Ok(concluded(report, installation))
}

/// The source that is sent to: it has to read the canonical format, in which an event can say that it is test data.
fn choose<'i>(installation: &'i Installation, named: Option<&str>) -> Result<&'i Source> {
    let config = &installation.config;
    let canonical = |source: &&Source| source.adapter == Adapter::Canonical;
    match named {
        Some(name) => match config.source(name) {
            Some(source) if canonical(&source) => Ok(source),
            Some(source) => refuse!(
                "source {name:?} reads {}: only a source with adapter = \"canonical\" can be told that an event is test data",
                source.adapter.name()
            ),
            None => {
                let names = config.sources.iter().map(|source| source.name.as_str());
                refuse!("{} has no source {name:?}; {}", installation.file.display(), config::did_you_mean(name, names))
            }
        },
        None => match config.sources.iter().find(canonical) {
            Some(source) => Ok(source),
            None => refuse!(
                "{} has no source that reads the canonical format, in which an event can say that it is test data; add one for \
                 rehearsals: [source.rehearsal] with adapter = \"canonical\", an owner and a secret",
                installation.file.display()
            ),
        },
    }
}

/// Waits for the row of the first event.
async fn first_is_test_data(looker: &Looker, receipts: &[String], deadline: Instant, patience: Duration) -> Result<()> {
    loop {
        let seen = looker.look(receipts).await?;
        if seen.production[0] > 0 {
            refuse!(
                "the first event counts as production data: does another Hookline, or another version, run there? Nothing else \
                 was sent; its receipt is {}",
                receipts[0]
            );
        }
        if !seen.rows.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            refuse!(
                "the first event has no row after {} s: do process and report run, and is it the same installation? hookline status \
                 says what stands still; its receipt is {}",
                patience.as_secs(),
                receipts[0]
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The rules that spoke, with what each of their destinations would be sent.
fn rendered(config: &Config, judged: &Judged, seen: &Seen) -> Vec<RehearsedRule> {
    let mut rules = judged.rules.clone();
    for rule in rules.iter_mut().filter(|rule| rule.message != "sends nothing") {
        let ids = judged.alerts.get(&rule.rule).map(Vec::as_slice).unwrap_or_default();
        let alerts: Vec<_> =
            seen.alerts.iter().filter(|alert| ids.contains(&alert.alert_id)).map(look::SeenAlert::alert).collect();
        rule.messages = preview::messages(config, &alerts, clock::now());
        let failed = rule.messages.iter().find_map(|one| Some((one, one.problem.as_ref()?)));
        if let Some((one, why)) = failed {
            rule.problem = Some(format!("what {} would be sent cannot be made: {why}", one.destination));
        }
    }
    rules
}

fn concluded(mut report: RehearsalReport, installation: &Installation) -> RehearsalReport {
    let flag = installation.flag();
    let holds = report.scenarios.iter().all(|scenario| scenario.ok);
    let rules = report.rules.iter().all(|rule| rule.problem.is_none());
    let apart = report.production == Production::default();
    report.ok = holds && rules && apart;
    if !apart {
        report.next.push(format!("what is test data here is production data there: hookline explain ID {flag}"));
    }
    if !holds {
        let first = report.scenarios.iter().find(|scenario| !scenario.ok);
        let name = first.map_or("", |scenario| scenario.name);
        report.next.push(format!(
            "{name} does not hold: does the Hookline that runs have this configuration? hookline status {flag}; hookline explain \
             rehearse-{}-1 {flag}",
            report.run
        ));
    }
    if report.ok {
        report.next.push(format!("a message as it is sent, whole: hookline preview RULE --json {flag}"));
    }
    report
}
