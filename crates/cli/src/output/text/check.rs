//! What is wrong with a configuration.

use operate::check::{CheckReport, Contents, Filled, RATE};

use super::preview::printable;
use super::{Page, Text, line};

impl Text for CheckReport {
    fn text(&self, page: &mut Page) {
        for error in &self.errors {
            line!(page, "{}", error.text);
        }
        for warning in &self.warnings {
            line!(page, "warning: {}", warning.text);
        }
        for Filled { rule, destination, text } in &self.templates {
            line!(page, "A made-up message of {rule} to {destination}, by its template:");
            text.lines().for_each(|text| line!(page, "    {}", printable(text)));
        }
        let Some(Contents { sources, rules, destinations, tests, window_hours, window_bytes, lanes }) =
            self.contents.as_ref().filter(|_| self.ok)
        else {
            return;
        };
        let (file, version) = (self.file.display(), self.version.as_deref().unwrap_or_default());
        line!(page, "{file} is fine: {sources} sources, {rules} rules, {destinations} destinations, version {version}");
        match tests {
            0 => {}
            1 => line!(page, "The route test holds."),
            tests => line!(page, "All {tests} route tests hold."),
        }
        let lanes = match lanes {
            0 | 1 => String::new(),
            lanes => format!(": {} MB in each of {lanes} lanes", window_bytes.div_ceil(1_000_000 * u64::from(*lanes))),
        };
        line!(
            page,
            "The dedupe window of {window_hours} h takes up to {} MB of memory for each {RATE} events a second{lanes}.",
            window_bytes / 1_000_000
        );
    }
}
