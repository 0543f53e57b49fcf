//! What is wrong with a list of links.

use operate::lint::{Finding, LintReport};

use super::{Page, Text, line};

/// Findings that a table has: pages of pull requests have a bound.
const IN_TABLE: usize = 200;

impl Text for LintReport {
    fn text(&self, page: &mut Page) {
        let file = self.file.display();
        for Finding { line, message, instead, .. } in &self.findings {
            let instead = if instead.is_empty() { String::new() } else { format!("; {instead}") };
            line!(page, "{file}:{line}: {message}{instead}");
        }
        line!(page, "{}", summary(self));
    }
}

fn summary(report: &LintReport) -> String {
    let links = format!("{} link{}", report.links, if report.links == 1 { "" } else { "s" });
    match report.count {
        0 => format!("{links}, all as the standard has them."),
        count => format!("{links}, {count} to mend; nothing of them is dropped, their events are flagged."),
    }
}

/// The report as a table of Markdown.
pub(crate) fn markdown(report: &LintReport) -> String {
    let mut out = format!("**`hookline lint`**: {}\n", summary(report));
    if report.findings.is_empty() {
        return out;
    }
    out.push_str("\n| line | link | what | instead |\n|---:|---|---|---|\n");
    for finding in report.findings.iter().take(IN_TABLE) {
        let [link, message, instead] = [&finding.link, &finding.message, &finding.instead].map(|text| cell(text));
        out.push_str(&format!("| {} | {link} | {message} | {instead} |\n", finding.line));
    }
    if report.count > IN_TABLE as u64 {
        out.push_str(&format!("\n{} more are not in this table.\n", report.count - IN_TABLE as u64));
    }
    out
}

/// A text that can neither end its cell nor become markup.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '!' | '~' | '@' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
