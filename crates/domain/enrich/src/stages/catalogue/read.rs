//! Reading a list of links: CSV with a head. Whatever is wrong with it is said with its line.

use std::hash::Hasher;
use std::io::{self, Read};
use std::sync::Arc;

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use siphasher::sip::SipHasher;

use super::layer::{Full, Layer, Row, hash};
use super::{Catalogue, Column, FIELDS, Facts};

/// The most links of a list.
pub const MAX_LINKS: usize = 2_000_000;
/// The longest text of a field, in bytes.
const MAX_TEXT: usize = 1_024;

/// What the columns of a list are called.
pub const COLUMNS: [&str; FIELDS + 2] = [
    "link",
    "kind",
    "owner",
    "campaign",
    "intent",
    "contact",
    "deal",
    "programme",
    "placement",
    "partner",
    "launch",
    "expected_host",
    "tags",
    "expires",
];

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// It cannot be read to its end.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// What is wrong, and in which line.
    #[error("line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong there.
        what: String,
    },
}

impl Catalogue {
    /// Reads a list.
    ///
    /// # Errors
    /// At its first fault: then none of it is used.
    pub fn read(input: impl Read) -> Result<Self, BadList> {
        Self::read_at_most(input, MAX_LINKS)
    }

    pub(super) fn read_at_most(input: impl Read, most: usize) -> Result<Self, BadList> {
        let mut input = Hashing { input, hasher: SipHasher::new() };
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(&mut input);
        let columns = columns(reader.headers().map_err(broken)?)?;
        let mut building = Building { layer: Layer::default(), most };
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(broken)? {
            let line = record.position().map_or(0, csv::Position::line);
            building.add(&record, &columns, line).map_err(|what| BadList::Line { line, what })?;
        }
        drop(reader);
        // One bit less than it has, since the topics know signed numbers only; 0 means that no list was joined.
        Ok(building.finish((input.hasher.finish() >> 1).max(1)))
    }
}

/// Where a field of the record goes.
#[derive(Clone, Copy)]
enum Target {
    Link,
    Field(usize),
    Expires,
}

fn columns(head: &StringRecord) -> Result<Vec<Target>, BadList> {
    let fault = |what: String| BadList::Line { line: 1, what };
    let mut targets = Vec::new();
    for (at, name) in head.iter().enumerate() {
        // A file of a spreadsheet may begin with a mark of its encoding.
        let name = name.trim_start_matches('\u{feff}');
        if head.iter().take(at).any(|before| before.trim_start_matches('\u{feff}') == name) {
            return Err(fault(format!("the column {name:?} stands twice")));
        }
        let Some(known) = COLUMNS.iter().position(|column| *column == name) else {
            return Err(fault(format!("unknown column {name:?}; one of: {}", COLUMNS.join(", "))));
        };
        targets.push(match known {
            0 => Target::Link,
            known if known == COLUMNS.len() - 1 => Target::Expires,
            known => Target::Field(known - 1),
        });
    }
    if targets.iter().any(|target| matches!(target, Target::Link)) {
        Ok(targets)
    } else {
        Err(fault("the column \"link\" is missing (domain/slug, or the id that the platform gave)".to_owned()))
    }
}

fn broken(error: csv::Error) -> BadList {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(error) => BadList::Unreadable(error),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let what =
                format!("{len} fields, where the head has {expected_len}: a comma in a text needs quotation marks");
            BadList::Line { line, what }
        }
        ErrorKind::Utf8 { .. } => BadList::Line { line, what: "it is not UTF-8".to_owned() },
        other => BadList::Line { line, what: format!("{other:?}") },
    }
}

/// A catalogue in the making.
struct Building {
    layer: Layer,
    /// The most links.
    most: usize,
}

impl Building {
    fn add(&mut self, record: &StringRecord, columns: &[Target], line: u64) -> Result<(), String> {
        if self.layer.len() >= self.most {
            return Err(format!("the list has over {} links", self.most));
        }
        let (mut name, mut host, mut tagged) = (String::new(), String::new(), String::new());
        let mut facts = Facts { at: i64::try_from(line).unwrap_or(i64::MAX), ..Facts::default() };
        // Texts that are kept as they stand, beside those that are kept in one spelling.
        for (target, text) in columns.iter().zip(record) {
            if text.len() > MAX_TEXT {
                return Err(format!("a text of {} bytes; {MAX_TEXT} are allowed", text.len()));
            }
            match target {
                Target::Link => write_link(text, &mut name),
                Target::Field(_) | Target::Expires if text.is_empty() => {}
                Target::Field(at) if *at == Column::Tags as usize => tagged = tags(text),
                Target::Field(at) if *at == Column::ExpectedHost as usize => host = text.to_lowercase(),
                Target::Field(at) => {
                    if let Some(field) = facts.fields.get_mut(*at) {
                        *field = text;
                    }
                }
                Target::Expires => facts.expires_ms = Some(expires(text)?),
            }
        }
        if name.is_empty() {
            return Err("the link is empty".to_owned());
        }
        facts.fields[Column::Tags as usize] = &tagged;
        facts.fields[Column::ExpectedHost as usize] = &host;
        let first = self.layer.find(hash("", &name), |known| known == name.as_bytes());
        if let Some(first) = first.and_then(|row| row.row().list) {
            return Err(format!("the link {name:?} stands in line {} already", first.at));
        }
        let row = Row { name: &name, list: Some(facts), ..Row::default() };
        self.layer.put(&row).map_err(|Full| "the texts of the list take over 4 GB".to_owned())
    }

    fn finish(mut self, version: u64) -> Catalogue {
        self.layer.finish();
        let (len, older) = (self.layer.len(), Arc::new(self.layer));
        Catalogue { version, len, newer: Arc::new(Layer::default()), older }
    }
}

/// Tags as they are kept: with a comma between them, whichever of `,`, `;` and `|` the list has.
fn tags(text: &str) -> String {
    let tags: Vec<&str> = text.split([',', ';', '|']).map(str::trim).filter(|tag| !tag.is_empty()).collect();
    tags.join(",")
}

/// Writes a link as events name it.
fn write_link(text: &str, to: &mut String) {
    let bare = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let bare = bare.trim_end_matches('/');
    match bare.split_once('/') {
        Some((domain, slug)) => {
            to.extend(domain.chars().map(|letter| letter.to_ascii_lowercase()));
            to.push('/');
            to.push_str(slug);
        }
        None => to.push_str(bare),
    }
}

/// A link as the catalogue knows it: without a scheme and a slash at its end, its host in lower case.
#[must_use]
pub fn link_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    write_link(text, &mut name);
    name
}

/// The moment of a text of the column `expires`, in milliseconds since 1970: a day is its beginning in UTC.
///
/// # Errors
/// What is wrong with it, and how to write it.
pub fn expires(text: &str) -> Result<i64, String> {
    let day = || text.parse::<Date>().ok().and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
    let at = text.parse::<Timestamp>().ok().or_else(day);
    at.map(|at| at.as_millisecond())
        .ok_or_else(|| format!("expires is {text:?}: write 2026-12-31 or 2026-12-31T18:00:00Z"))
}

/// Hashes what is read.
struct Hashing<R> {
    input: R,
    hasher: SipHasher,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hasher.write(&buffer[..read]);
        Ok(read)
    }
}
