//! What became of a reload.

use operate::reload::ReloadReport;

use super::{Page, Text, line};
use crate::commands::reload::in_words;

impl Text for ReloadReport {
    fn text(&self, page: &mut Page) {
        let flag = page.flag();
        let Some(version) = &self.version else {
            for error in &self.errors {
                line!(page, "{}", error.text);
            }
            line!(page, "Nothing was changed: the configuration has {} errors.", self.errors.len());
            line!(page, "Next: hookline check {flag}");
            return;
        };
        line!(page, "Configuration {version} is sound; every running service was asked to load it.");
        for one in &self.instances {
            line!(page, "  {}  {}", one.address, in_words(one.outcome));
            for key in &one.at_restart {
                line!(page, "    {key} is read at the start alone: start that service again");
            }
        }
        if self.instances.is_empty() {
            line!(page, "No service could be asked whether it has: name one with --at, or set [metrics] instances.");
        }
        line!(page, "Next: hookline status {flag}");
    }
}
