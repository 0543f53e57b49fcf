//! Reports that are sent by the calendar: whether their view is there, and whether their destination takes one.

use std::path::Path;

use config::{Config, Places};
use notify::Content;

use super::Finding;

/// What is wrong with them.
pub(super) fn look(file: &Path, config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let places = Places::read(file);
    let mut say = |path: &[&str], message: String, hint: &str| {
        let place = places.of(path).unwrap_or_else(|| file.display().to_string());
        let (named, line) = match place.rsplit_once(':') {
            Some((named, line)) => (named.to_owned(), line.parse().unwrap_or(0)),
            None => (place.clone(), 0),
        };
        let text = format!("{place}: {message}; {hint}");
        found.push(Finding { file: named, line, column: usize::from(line > 0), message, hint: hint.to_owned(), text });
    };
    let keyed = |to: &str| config.destination(to).is_some_and(|destination| destination.kind.keyed);
    let tickets = "name a chat, a webhook, a mail or a file";
    for rule in &config.rules {
        let (name, Some(report)) = (rule.rule.name(), &rule.report) else { continue };
        if let Err(why) = Content::view(&report.view, &report.select) {
            say(&["rule", name, "report"], format!("[rule.{name}] report: {why}"), "see docs/data-dictionary.md");
        }
        for to in report.to.iter().filter(|to| keyed(to)) {
            say(
                &["rule", name, "report"],
                format!("[rule.{name}] report: {to} opens tickets, which a report is not"),
                tickets,
            );
        }
    }
    for to in config.workflow.iter().flat_map(|workflow| &workflow.failures_to).filter(|to| keyed(to)) {
        say(&["workflow", "failures_to"], format!("failures_to: {to} opens tickets, which a digest is not"), tickets);
    }
    found
}
