//! A list of links against the naming standard and the rest of the configuration, before the links go live.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use config::{Config, did_you_mean};
use csv::{ReaderBuilder, StringRecord, Trim};
use enrich::{CATALOGUE_COLUMNS, MAX_LINKS, NamedField, catalogue_link, catalogue_time};
use serde::Serialize;

use crate::error::refuse;
use crate::{Report, Result, clock};

/// The most findings that are listed; the rest is counted.
const MOST: usize = 10_000;

/// What is wrong with a list of links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LintReport {
    /// Whether nothing is.
    pub ok: bool,
    /// The file, as it was named.
    pub file: PathBuf,
    /// How many links it has.
    pub links: u64,
    /// What is wrong, by line; at most ten thousand.
    pub findings: Vec<Finding>,
    /// How much is wrong in all.
    pub count: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The line of the file, from 1.
    pub line: u64,
    /// The link; may be empty.
    pub link: String,
    /// The column; empty for what concerns the line as a whole.
    pub field: String,
    /// The value.
    pub value: String,
    /// What is wrong: `campaign:pattern` and so on for the naming standard, as events are flagged, or `list` or
    /// `reference`.
    pub issue: String,
    /// What is wrong, in words.
    pub message: String,
    /// What to write instead; may be empty.
    pub instead: String,
}

impl Report for LintReport {
    fn needs_attention(&self) -> bool {
        !self.ok
    }
}

/// Reads a list and holds every link to the configuration.
///
/// # Errors
/// When the file cannot be read, or is not a list of links at all.
pub fn lint(config: &Config, file: &Path) -> Result<LintReport> {
    lint_at_most(config, file, MAX_LINKS as u64)
}

fn lint_at_most(config: &Config, file: &Path, most: u64) -> Result<LintReport> {
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) => refuse!("{} cannot be read: {error}", file.display()),
    };
    let mut reader = ReaderBuilder::new().trim(Trim::All).flexible(true).from_reader(BufReader::new(opened));
    let head = match reader.headers() {
        Ok(head) => head.clone(),
        Err(error) => refuse!("{} is not a list of links: {error}", file.display()),
    };
    let columns: Vec<String> = head.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    for (at, name) in columns.iter().enumerate() {
        if !CATALOGUE_COLUMNS.contains(&name.as_str()) {
            refuse!("{}:1: unknown column {name:?}; one of: {}", file.display(), CATALOGUE_COLUMNS.join(", "));
        }
        if columns[..at].contains(name) {
            refuse!("{}:1: the column {name:?} stands twice", file.display());
        }
    }
    let Some(link) = columns.iter().position(|name| name == "link") else {
        refuse!("{}:1: the column \"link\" is missing (domain/slug, or the id that the platform gave)", file.display())
    };
    let mut linting = Linting {
        config,
        now_ms: clock::now().0,
        columns,
        link,
        seen: HashMap::new(),
        report: LintReport { ok: true, file: file.to_owned(), links: 0, findings: Vec::new(), count: 0 },
    };
    let mut record = StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) if linting.report.links < most => linting.line(&record),
            Ok(true) => {
                let line = record.position().map_or(0, csv::Position::line);
                let message = format!("the list has over {most} links; the rest was not looked at");
                linting.find(line, ("", "", ""), "list", message, "leave out links that nothing leads to any more");
                break;
            }
            Ok(false) => break,
            Err(error) if error.is_io_error() => refuse!("{} cannot be read: {error}", file.display()),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                linting.find(line, ("", "", ""), "list", "it is not UTF-8".to_owned(), "");
            }
        }
    }
    let mut report = linting.report;
    report.ok = report.count == 0;
    Ok(report)
}

struct Linting<'c> {
    config: &'c Config,
    now_ms: i64,
    columns: Vec<String>,
    /// Where the link is.
    link: usize,
    /// In which line each link stands first.
    seen: HashMap<String, u64>,
    report: LintReport,
}

impl Linting<'_> {
    fn line(&mut self, record: &StringRecord) {
        let line = record.position().map_or(0, csv::Position::line);
        self.report.links += 1;
        let link = record.get(self.link).unwrap_or_default().to_owned();
        if record.len() != self.columns.len() {
            let message = format!("{} fields, where the head has {}", record.len(), self.columns.len());
            self.find(line, (&link, "", ""), "list", message, "put a text that has a comma into quotation marks");
            return;
        }
        if link.is_empty() {
            self.find(line, ("", "link", ""), "list", "the link is empty".to_owned(), "");
        }
        let name = catalogue_link(&link);
        match self.seen.get(&name) {
            Some(first) => {
                let message = format!("the link stands in line {first} already");
                self.find(line, (&link, "link", &link), "list", message, "keep one of them");
            }
            None => _ = self.seen.insert(name, line),
        }
        for at in 0..self.columns.len() {
            let (column, value) = (self.columns[at].clone(), record.get(at).unwrap_or_default());
            if !value.is_empty() {
                self.value(line, &link, &column, value);
            }
        }
    }

    fn value(&mut self, line: u64, link: &str, column: &str, value: &str) {
        let (at, config) = ((link, column, value), self.config);
        if let Some(field) = NamedField::parse(column) {
            let naming = &config.naming;
            let meaning = naming.meaning(field, value, self.now_ms).map(str::to_owned);
            if let Some(meaning) = &meaning {
                self.find(line, at, &format!("{column}:alias"), format!("{column} {value:?} is another name"), meaning);
            }
            let broken: Vec<_> = naming.breaks(field, meaning.as_deref().unwrap_or(value), self.now_ms).collect();
            for broken in broken {
                let nearest = self.nearest(field, value).unwrap_or(broken.example);
                let message = format!("{column} {value:?} breaks the naming standard");
                self.find(line, at, &broken.issue, message, &nearest);
            }
        }
        let owners = || config.owners.iter().map(|owner| owner.id.as_str());
        match column {
            "owner" if !owners().any(|owner| owner == value) => {
                let hint = did_you_mean(value, owners());
                self.find(line, at, "reference", format!("the owner {value:?} is not in [owner]"), &hint);
            }
            "partner" if !config.partners.is_empty() && !config.partners.contains_key(value) => {
                let hint = did_you_mean(value, config.partners.keys().map(String::as_str));
                self.find(line, at, "reference", format!("the partner {value:?} is not in [partner]"), &hint);
            }
            "expected_host" if value.contains(['/', ':', ' ']) => {
                self.find(
                    line,
                    at,
                    "list",
                    format!("{value:?} is not a host"),
                    "write the host alone, as in shop.example.com",
                );
            }
            "expires" => {
                if let Err(why) = catalogue_time(value) {
                    self.find(line, at, "list", why, "");
                }
            }
            _ => {}
        }
    }

    /// The allowed value that a wrong one is probably meant to be.
    fn nearest(&self, field: NamedField, value: &str) -> Option<String> {
        let standard = self.config.naming.standards.iter().find(|standard| standard.field == field)?;
        let enrich::Form::OneOf(values) = &standard.form else { return None };
        let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
        values.sort_unstable();
        Some(did_you_mean(value, values))
    }

    fn find(
        &mut self,
        line: u64,
        (link, field, value): (&str, &str, &str),
        issue: &str,
        message: String,
        instead: &str,
    ) {
        self.report.count += 1;
        if self.report.findings.len() < MOST {
            let [link, field, value, issue, instead] = [link, field, value, issue, instead].map(str::to_owned);
            self.report.findings.push(Finding { line, link, field, value, issue, message, instead });
        }
    }
}

#[cfg(test)]
mod tests {
    use config::Environment;

    use super::*;

    const CONFIG: &str = r##"version = 1
[owner]
growth = { name = "Growth", chat = "#growth" }
[source.s]
adapter = "dub"
owner = "growth"
secrets = [{ id = "a", env = "S" }]
[naming]
campaign = { pattern = "{quarter}-{region}-{name}", example = "2026q4-de-blackfriday" }
quarter = "20[0-9]{2}q[1-4]"
region = ["de", "fr"]
kind = ["promo", "proposal"]
same_as = { kind = { offer = "proposal" } }
[partner.dealfox]
approved_sources = ["dealfox"]
"##;

    fn found(list: &str) -> Vec<String> {
        found_at_most(list, MAX_LINKS as u64)
    }

    fn found_at_most(list: &str, most: u64) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let [config, links] = ["hookline.toml", "links.csv"].map(|name| folder.path().join(name));
        std::fs::write(&config, CONFIG).expect("written");
        std::fs::write(&links, list).expect("written");
        let environment = Environment::new([("S", "x")], jiff::Timestamp::now());
        let config = Config::load(&config, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        match lint_at_most(&config, &links, most) {
            Ok(report) => {
                assert_eq!(report.ok, report.findings.is_empty());
                let line = |finding: &Finding| {
                    let Finding { line, issue, message, instead, .. } = finding;
                    format!("{line} {issue} {message}; {instead}")
                };
                report.findings.iter().map(line).collect()
            }
            Err(error) => vec![error.to_string().replace(&format!("{}/", folder.path().display()), "")],
        }
    }

    #[test]
    fn a_list_that_keeps_the_standard_has_no_finding() {
        let list = "link,kind,campaign,owner,partner,expires\ngo.a.example/x,promo,2026q4-de-xmas,growth,dealfox,2026-12-31\nl_7,,,,,\n";
        assert_eq!(found(list), [""; 0]);
    }

    #[test]
    fn a_list_that_is_too_long_is_said_and_not_read_to_its_end() {
        let list = "link,kind\na/1,promo\na/2,promo\na/3,nonsense\na/4,nonsense\n";
        let why = "4 list the list has over 2 links; the rest was not looked at; leave out links that nothing leads to any more";
        assert_eq!(found_at_most(list, 2), [why]);
    }

    #[test]
    fn everything_wrong_is_said_with_its_line_and_what_to_write() {
        let list = "link,kind,campaign,owner,partner,expected_host,expires\n\
            go.a.example/x,promos,xmas,growht,dealfix,https://a.example,soon\n\
            GO.a.example/x/,offer,,,,,\n\
            l_8,promo\n\
            ,promo,2026q4-de-a,,,,\n";
        assert_eq!(
            found(list),
            [
                "2 kind:value kind \"promos\" breaks the naming standard; did you mean \"promo\"?",
                "2 campaign:pattern campaign \"xmas\" breaks the naming standard; 2026q4-de-blackfriday",
                "2 reference the owner \"growht\" is not in [owner]; did you mean \"growth\"?",
                "2 reference the partner \"dealfix\" is not in [partner]; did you mean \"dealfox\"?",
                "2 list \"https://a.example\" is not a host; write the host alone, as in shop.example.com",
                "2 list expires is \"soon\": write 2026-12-31 or 2026-12-31T18:00:00Z; ",
                "3 list the link stands in line 2 already; keep one of them",
                "3 kind:alias kind \"offer\" is another name; proposal",
                "4 list 2 fields, where the head has 7; put a text that has a comma into quotation marks",
                "5 list the link is empty; ",
            ]
        );
    }

    #[test]
    fn what_is_not_a_list_of_links_is_wrong_use() {
        assert_eq!(
            found("kind\npromo\n"),
            ["links.csv:1: the column \"link\" is missing (domain/slug, or the id that the platform gave)"]
        );
        assert!(found("link,kimd\n")[0].starts_with("links.csv:1: unknown column \"kimd\"; one of: link, kind,"));
    }
}
