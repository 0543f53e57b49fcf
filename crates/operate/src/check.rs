//! What is wrong with a configuration, all of it, with line numbers.

use std::path::{Path, PathBuf};

use config::{Config, Environment, Places, Problem, memory_bytes};
use serde::Serialize;

use crate::Report;
use crate::clock;
use crate::handbook::{self, Drift};
use crate::preview::preview;

mod references;
mod reports;
mod routes;

/// Events a second that the memory of the dedupe window is told for.
pub const RATE: u32 = 1_000;

/// What a configuration is like.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// Whether a service would start on it.
    pub ok: bool,
    /// The version that rows carry; `None` when there are errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What must be changed before anything starts.
    pub errors: Vec<Finding>,
    /// What is worth knowing.
    pub warnings: Vec<Finding>,
    /// What messages with a template would say, about made-up events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<Filled>,
    /// The file.
    #[serde(skip)]
    pub file: PathBuf,
    /// What is in it, when it has no error.
    #[serde(skip)]
    pub contents: Option<Contents>,
}

/// What a configuration holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// How many sources.
    pub sources: usize,
    /// How many rules.
    pub rules: usize,
    /// How many destinations.
    pub destinations: usize,
    /// How many route tests.
    pub tests: usize,
    /// The longest dedupe window, in hours.
    pub window_hours: u64,
    /// What that window takes for [`RATE`] events a second over all lanes, in bytes.
    pub window_bytes: u64,
    /// Lanes that share these events.
    pub lanes: u16,
}

/// An error or a warning.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The file as it was named, or the environment variable.
    pub file: String,
    /// The line, from 1; 0 for a variable or a file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 with line 0.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// All of it on one line.
    #[serde(skip)]
    pub text: String,
}

/// A message with a template, filled with made-up values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// The rule.
    pub rule: String,
    /// Where it would go.
    pub destination: String,
    /// All lines, the title first.
    pub text: String,
}

impl Report for CheckReport {
    fn needs_attention(&self) -> bool {
        !self.warnings.is_empty()
    }
}

/// Reads a configuration. One with errors is a report too.
pub fn check(file: &Path, environment: &Environment) -> CheckReport {
    match Config::load(file, environment) {
        Ok(config) => {
            let window = config.longest_window();
            let found = references::look(&config, clock::now().0);
            let mut warnings = findings(&config.warnings);
            warnings.extend(found.warnings);
            let mut errors = found.errors;
            errors.extend(findings(&routes::run(&config)));
            errors.extend(reports::look(file, &config));
            CheckReport {
                ok: errors.is_empty(),
                version: errors.is_empty().then(|| config.version_hash().to_owned()),
                errors,
                warnings: warnings.into_iter().chain(handbook_drift(file, &config)).collect(),
                templates: filled(&config),
                file: file.to_owned(),
                contents: Some(Contents {
                    sources: config.sources.len(),
                    rules: config.rules.len(),
                    destinations: config.destinations.len(),
                    tests: config.tests.len(),
                    window_hours: window.as_secs() / 3_600,
                    window_bytes: memory_bytes(RATE, window, config.kafka.lanes),
                    lanes: config.kafka.lanes,
                }),
            }
        }
        Err(problems) => CheckReport {
            ok: false,
            version: None,
            errors: findings(&problems.errors),
            warnings: findings(&problems.warnings),
            templates: Vec::new(),
            file: file.to_owned(),
            contents: None,
        },
    }
}

/// The first message of each rule to each destination where one of the two has a template.
fn filled(config: &Config) -> Vec<Filled> {
    let mut all = Vec::new();
    for rule in &config.rules {
        let to = |name: &str| config.destination(name).is_some_and(|one| one.template.is_some());
        let has = rule.template.is_some() || rule.send.iter().flat_map(|send| &send.to).any(|name| to(name));
        let Some(preview) = has.then(|| preview(config, rule.rule.name(), clock::now()).ok()).flatten() else {
            continue;
        };
        let own = preview.messages.into_iter().filter(|one| one.message != "resolved");
        all.extend(own.filter(|one| rule.template.is_some() || to(&one.destination)).map(|one| Filled {
            rule: rule.rule.name().to_owned(),
            destination: one.destination,
            text: one.text,
        }));
    }
    all
}

/// The stored handbook against the configuration.
fn handbook_drift(file: &Path, config: &Config) -> Option<Finding> {
    let (path, drift) = handbook::drift(config)?;
    let shown = path.display();
    let message = match drift {
        Drift::Unreadable(why) => format!("the handbook {shown} cannot be read: {why}"),
        Drift::Unmarked => format!("{shown} is not a handbook that `hookline handbook` wrote"),
        Drift::Parts(titles) => format!("the handbook {shown} is of another configuration in: {}", titles.join("; ")),
    };
    let hint = format!("hookline handbook --config {} --out {shown}", file.display());
    let place = Places::read(file).of(&["workflow", "handbook"]).unwrap_or_else(|| file.display().to_string());
    let (named, line) = match place.rsplit_once(':') {
        Some((named, line)) => (named.to_owned(), line.parse().unwrap_or(0)),
        None => (place.clone(), 0),
    };
    let text = format!("{place}: {message}; {hint}");
    Some(Finding { file: named, line, column: usize::from(line > 0), message, hint, text })
}

fn findings(problems: &[Problem]) -> Vec<Finding> {
    let finding = |problem: &Problem| Finding {
        file: problem.file.clone(),
        line: problem.line,
        column: problem.column,
        message: problem.message.clone(),
        hint: problem.hint.clone(),
        text: problem.to_string(),
    };
    problems.iter().map(finding).collect()
}
