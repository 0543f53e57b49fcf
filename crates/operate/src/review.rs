//! The periodic review of the guide, with data: each point of its checklist with what was found and what to do about
//! it.

mod measured;

use std::collections::BTreeSet;

use config::Config;
use jiff::Timestamp;
use serde::Serialize;

use crate::handbook::{self, Drift};
use crate::{Installation, Report, Result};

pub use measured::{DestinationUse, Measured, Outcomes, PersonalData, RuleUse, SecretUse, TypeUse};

/// Above this share of duplicates, in a hundred, a sender's retries are worth a look.
const MANY_DUPLICATES: f64 = 5.0;
/// Above this share of dead letters, in a hundred, an adapter or a sender is worth a look.
const MANY_DEAD_LETTERS: f64 = 1.0;
/// A secret that has been in use for longer is due for rotation.
const OLD_SECRET_DAYS: i64 = 365;
/// A secret that ends sooner than this is named.
const ENDS_SOON_DAYS: i64 = 30;
/// A day, in milliseconds.
const DAY: i64 = 86_400_000;
/// Ends from which on the share of early ones says something.
const ENDED_ENOUGH: u64 = 10;

/// The review.
#[derive(Debug, Clone, Serialize)]
pub struct ReviewReport {
    /// Whether nothing is to be done.
    pub ok: bool,
    /// When it was made.
    pub at: Timestamp,
    /// How many days of rows were looked at.
    pub days: u16,
    /// The version of the configuration.
    pub config: String,
    /// The points of the checklist.
    pub points: Vec<Point>,
}

/// A point of the checklist.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// What is looked at.
    pub title: &'static str,
    /// What was found to be fine or is worth knowing, in one sentence.
    pub says: String,
    /// What is to be done.
    pub todo: Vec<Todo>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Todo {
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub todo: String,
    /// Whose it is; empty when it is the whole workflow's.
    pub owner: String,
}

impl Report for ReviewReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Reviews the workflow over the last `days`.
///
/// # Errors
/// When ClickHouse does not answer.
pub async fn review(installation: &Installation, days: u16) -> Result<ReviewReport> {
    let measured = measured::measure(installation, days).await?;
    Ok(judge(&installation.config, &measured, Timestamp::now(), days))
}

/// Makes the review of what was measured.
#[must_use]
pub fn judge(config: &Config, measured: &Measured, at: Timestamp, days: u16) -> ReviewReport {
    let points = vec![
        event_types(config, measured),
        fields(measured),
        rules(config, measured, days),
        destinations(config, measured),
        personal_data(measured),
        retries(config, measured),
        secrets(config, measured, at),
        owners(config),
        handbook(config),
    ];
    let ok = points.iter().all(|point| point.todo.is_empty());
    ReviewReport { ok, at, days, config: config.version_hash().to_owned(), points }
}

fn owner_of_source(config: &Config, source: &str) -> String {
    config.source(source).map(|source| source.owner.clone()).unwrap_or_default()
}

/// Checklist 1: event types that come and are used by nothing, and types that rules wait for in vain.
fn event_types(config: &Config, measured: &Measured) -> Point {
    let mut todo = Vec::new();
    for source in &config.sources {
        if !measured.types.iter().any(|seen| seen.source == source.name) {
            todo.push(Todo {
                found: format!("source {} has sent nothing", source.name),
                todo: format!(
                    "ask its sender, or retire it: hookline pause source/{} --retire --why TEXT",
                    source.name
                ),
                owner: source.owner.clone(),
            });
        }
    }
    // Clicks, scans, leads and sales are in reports, errors and lifecycle events in none.
    let in_reports = |seen: &TypeUse| matches!(seen.r#type.as_str(), "click" | "qr_scan" | "lead" | "sale");
    let used = |seen: &TypeUse| {
        let means = |pattern: &rules::EventPattern| {
            let name = pattern.to_string();
            name == seen.r#type || name == seen.subtype || (name.contains('*') && !seen.subtype.is_empty())
        };
        config.rules.iter().any(|rule| {
            let events = rule.rule.when().events();
            events.is_empty() || events.iter().any(means)
        })
    };
    for seen in measured.types.iter().filter(|seen| !in_reports(seen) && !used(seen)) {
        let name = if seen.subtype.is_empty() { &seen.r#type } else { &seen.subtype };
        todo.push(Todo {
            found: format!("{} events {name} of source {} are used by no report and no rule", seen.events, seen.source),
            todo: "switch the type off at the platform, or write a rule for it".to_owned(),
            owner: owner_of_source(config, &seen.source),
        });
    }
    Point { title: "Event types", says: format!("{} types came.", measured.types.len()), todo }
}

/// Checklist 2: what is sent beyond the schema.
fn fields(measured: &Measured) -> Point {
    let todo = measured.extra.iter().map(|(source, key, events)| Todo {
        found: format!("{events} events of source {source} have the further field {key:?}, which no report, rule or destination reads"),
        todo: "let the sender leave it out, or map it to a column".to_owned(),
        owner: String::new(),
    });
    let says = "Which columns have values, by source: hookline handbook.".to_owned();
    Point { title: "Fields that are sent and not used", says, todo: todo.collect() }
}

/// Checklist 3: rules that never fired, that fire all the time, or whose messages were always silenced.
fn rules(config: &Config, measured: &Measured, days: u16) -> Point {
    let mut todo = Vec::new();
    let mut fired = 0;
    for rule in config.rules.iter().filter(|rule| rule.rule.trigger().is_some()) {
        let name = rule.rule.name();
        let seen = measured.rules.iter().find(|seen| seen.rule == name);
        let alerts = seen.map_or(0, |seen| seen.alerts);
        fired += u64::from(alerts > 0);
        let owner = rule.rule.owner().to_owned();
        if rule.rule.is_shadow() {
            todo.push(Todo {
                found: format!("rule {name} is in shadow and sends nothing"),
                todo: "take it out of shadow, or remove it".to_owned(),
                owner: owner.clone(),
            });
        } else if alerts == 0 {
            todo.push(Todo {
                found: format!("rule {name} did not fire in {days} days"),
                todo: "lower its threshold, correct its conditions, or remove it".to_owned(),
                owner: owner.clone(),
            });
        } else if let Some(seen) = seen
            && seen.messages > 0
            && seen.silenced == seen.messages
        {
            todo.push(Todo {
                found: format!("all {} messages of rule {name} were silenced", seen.messages),
                todo: "end the silence or remove the rule".to_owned(),
                owner: owner.clone(),
            });
        }
        if let Some(seen) = seen.filter(|seen| seen.ended >= ENDED_ENOUGH && seen.ended_soon * 2 > seen.ended) {
            todo.push(Todo {
                found: format!(
                    "{} of {} alerts of rule {name} were over within ten minutes",
                    seen.ended_soon, seen.ended
                ),
                todo: "raise what it asks for, lengthen its window, or have its first message wait".to_owned(),
                owner,
            });
        }
    }
    let loudest = measured.rules.iter().filter(|seen| seen.messages > 0).max_by_key(|seen| seen.messages);
    let all = config.rules.iter().filter(|rule| rule.rule.trigger().is_some()).count();
    let mut says = format!("{fired} of {all} rules that alert have fired.");
    if let Some(seen) = loudest {
        let RuleUse { rule, messages, silenced, acknowledged, .. } = seen;
        says.push_str(&format!(
            " The loudest is {rule}: {messages} messages, {silenced} of them held back, {acknowledged} acknowledged. By rule and \
             week: the view rule_noise."
        ));
    }
    Point { title: "Rules and their noise", says, todo }
}

fn destinations(config: &Config, measured: &Measured) -> Point {
    let used: BTreeSet<&str> = config
        .rules
        .iter()
        .flat_map(|rule| {
            let (sent, reported) = (rule.send.iter().map(|send| &send.to), rule.report.iter().map(|report| &report.to));
            sent.chain(reported).flatten()
        })
        .chain(config.workflow.iter().flat_map(|workflow| &workflow.failures_to))
        .map(String::as_str)
        .collect();
    let mut todo = Vec::new();
    for destination in &config.destinations {
        let (name, owner) = (destination.name.as_str(), destination.owner.clone());
        if !used.contains(name) {
            let todo_text = "remove it, with its secret".to_owned();
            todo.push(Todo {
                found: format!("no rule sends to destination {name}"),
                todo: todo_text,
                owner: owner.clone(),
            });
        }
        if let Some(seen) = measured.destinations.iter().find(|seen| seen.destination == name && seen.failed > 0) {
            todo.push(Todo {
                found: format!(
                    "{} of {} messages to {name} failed: {}",
                    seen.failed,
                    seen.failed + seen.delivered,
                    seen.error
                ),
                todo: "mend the destination; each attempt is in the view delivery_attempts".to_owned(),
                owner,
            });
        }
    }
    let sent: u64 = measured.destinations.iter().map(|seen| seen.delivered).sum();
    Point { title: "Destinations and failed deliveries", says: format!("{sent} messages were delivered."), todo }
}

/// Checklist 4: personal data looked for in what is stored.
fn personal_data(measured: &Measured) -> Point {
    let todo = measured.personal.iter().map(|found| Todo {
        found: format!(
            "{} of {} different values of column {} look like personal data ({})",
            found.hits, found.values, found.column, found.sources
        ),
        todo: "let the sender leave it out; erase what is stored by the link or the source".to_owned(),
        owner: String::new(),
    });
    let says =
        format!("{} values of {} columns were looked at; none is shown here.", measured.looked_at, measured.columns);
    Point { title: "Personal data in stored columns", says, todo: todo.collect() }
}

/// Checklist 5: retries, duplicates, what could not be read, windows.
fn retries(config: &Config, measured: &Measured) -> Point {
    let mut todo = Vec::new();
    for seen in &measured.outcomes {
        let owner = owner_of_source(config, &seen.source);
        let share = |part: u64| 100.0 * part as f64 / seen.records.max(1) as f64;
        if share(seen.duplicates) > MANY_DUPLICATES {
            todo.push(Todo {
                found: format!(
                    "{:.1} % of the records of source {} are duplicates",
                    share(seen.duplicates),
                    seen.source
                ),
                todo: "see whether answers reach the sender in time: hookline_ack_seconds, and its own retry log"
                    .to_owned(),
                owner: owner.clone(),
            });
        }
        if share(seen.dead_letters) > MANY_DEAD_LETTERS {
            todo.push(Todo {
                found: format!(
                    "{:.1} % of the records of source {} could not be read",
                    share(seen.dead_letters),
                    seen.source
                ),
                todo: format!("hookline dlq list --source {}", seen.source),
                owner: owner.clone(),
            });
        }
        let Some(source) = config.source(&seen.source) else { continue };
        let window = i64::try_from(source.remember_for.as_millis()).unwrap_or(i64::MAX);
        if seen.longest_delay_ms > window / 2 {
            todo.push(Todo {
                found: format!(
                    "a duplicate of source {} came {} h after the first, and its window is {} h",
                    seen.source,
                    seen.longest_delay_ms / 3_600_000,
                    window / 3_600_000
                ),
                todo: "raise remember_for: what comes after the window counts again".to_owned(),
                owner,
            });
        }
    }
    for source in &config.sources {
        if let Some((name, horizon)) = config::horizon(source.adapter, &source.scheme)
            && horizon > source.remember_for
        {
            todo.push(Todo {
                found: format!(
                    "{name} retries for {} h, and the window of source {} is {} h",
                    horizon.as_secs().div_ceil(3_600),
                    source.name,
                    source.remember_for.as_secs() / 3_600
                ),
                todo: "raise remember_for, or leave it out".to_owned(),
                owner: source.owner.clone(),
            });
        }
    }
    let (records, duplicates): (u64, u64) = (
        measured.outcomes.iter().map(|seen| seen.records).sum(),
        measured.outcomes.iter().map(|seen| seen.duplicates).sum(),
    );
    let says = format!("{duplicates} of {records} records were duplicates, and counted once.");
    Point { title: "Retries and duplicates", says, todo }
}

fn secrets(config: &Config, measured: &Measured, at: Timestamp) -> Point {
    let mut todo = Vec::new();
    let now = at.as_millisecond();
    for source in &config.sources {
        for secret in &source.secrets {
            let (id, owner) = (secret.id(), source.owner.clone());
            let seen = measured.secrets.iter().find(|seen| seen.source == source.name && seen.secret_id == id);
            let of_source = measured.secrets.iter().any(|seen| seen.source == source.name);
            if seen.is_none() && of_source {
                todo.push(Todo {
                    found: format!("secret {id} of source {} signed nothing", source.name),
                    todo: "take it out of the configuration and revoke it at the sender".to_owned(),
                    owner: owner.clone(),
                });
            }
            if let Some(seen) = seen.filter(|seen| now - seen.first_used > OLD_SECRET_DAYS * DAY) {
                todo.push(Todo {
                    found: format!(
                        "secret {id} of source {} is in use for {} days",
                        source.name,
                        (now - seen.first_used) / DAY
                    ),
                    todo: "add a new one beside it, let the sender change, then take the old one out".to_owned(),
                    owner: owner.clone(),
                });
            }
            let left = secret.ends().map(|ends| (ends - at.as_second()) / 86_400);
            if let Some(left) = left.filter(|left| *left < ENDS_SOON_DAYS) {
                todo.push(Todo {
                    found: format!("secret {id} of source {} ends in {left} days", source.name),
                    todo: "see that its successor is in use: hookline_secret_uses_total".to_owned(),
                    owner,
                });
            }
        }
    }
    let says = "How long a secret is in use is known as far back as rows are kept.".to_owned();
    Point { title: "Secrets", says, todo }
}

/// Checklist 7: owners.
fn owners(config: &Config) -> Point {
    let missing = handbook::missing(config);
    let todo = missing.into_iter().map(|found| {
        let (found, todo) = found.split_once(": ").map_or((found.as_str(), "add it"), |(found, todo)| (found, todo));
        Todo { found: format!("not said: {found}"), todo: todo.to_owned(), owner: String::new() }
    });
    let says = format!("{} owners; sources, rules and destinations cannot be without one.", config.owners.len());
    Point { title: "Owners", says, todo: todo.collect() }
}

fn handbook(config: &Config) -> Point {
    let written = config.workflow.as_ref().and_then(|workflow| workflow.handbook.as_ref());
    let next = |path: &std::path::Path| format!("hookline handbook --out {}", path.display());
    let (says, todo) = match (written, handbook::drift(config)) {
        (None, _) => (
            "The configuration names no stored handbook.".to_owned(),
            Some((
                "no handbook is stored".to_owned(),
                "add handbook = \"HANDBOOK.md\" to [workflow], and write it".to_owned(),
            )),
        ),
        (Some(path), None) => (format!("{} is as the configuration is.", path.display()), None),
        (Some(path), Some((_, drift))) => {
            let found = match drift {
                Drift::Unreadable(why) => format!("{} cannot be read: {why}", path.display()),
                Drift::Unmarked => format!("{} was not written by hookline handbook", path.display()),
                Drift::Parts(titles) => format!("{} has drifted in: {}", path.display(), titles.join("; ")),
            };
            ("The stored handbook is not as the configuration is.".to_owned(), Some((found, next(path))))
        }
    };
    let todo = todo.into_iter().map(|(found, todo)| Todo { found, todo, owner: String::new() }).collect();
    Point { title: "The handbook", says, todo }
}

#[cfg(test)]
mod tests;
