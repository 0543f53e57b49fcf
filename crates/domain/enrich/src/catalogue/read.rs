//! Reading a list of links: CSV with a head. Whatever is wrong with it is said with its line.

use std::hash::Hasher;
use std::io::{self, Read};

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use hashbrown::HashTable;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use siphasher::sip::{SipHasher, SipHasher13};

use super::{Catalogue, Column, FIELDS, Row, hash, is_named};

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
        let mut input = Hashing { input, hasher: SipHasher::new() };
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(&mut input);
        let columns = columns(reader.headers().map_err(broken)?)?;
        let mut building = Building::new();
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
    catalogue: Catalogue,
    /// Numbers of texts by their hash: a text that repeats is kept once.
    known: HashTable<u32>,
}

impl Building {
    fn new() -> Self {
        let catalogue = Catalogue {
            version: 0,
            links: String::new(),
            // The text number 0 is the empty one.
            ends: vec![0],
            texts: String::new(),
            rows: Vec::new(),
            table: HashTable::new(),
        };
        Self { catalogue, known: HashTable::new() }
    }

    fn add(&mut self, record: &StringRecord, columns: &[Target], line: u64) -> Result<(), String> {
        let longest = FIELDS * MAX_TEXT;
        if self.catalogue.texts.len().max(self.catalogue.links.len()) > u32::MAX as usize - longest {
            return Err("the texts of the list take over 4 GB".to_owned());
        }
        if self.catalogue.rows.len() >= MAX_LINKS {
            return Err(format!("the list has over {MAX_LINKS} links"));
        }
        let mut row = Row {
            link: self.catalogue.links.len() as u32,
            link_len: 0,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            fields: [0; FIELDS],
            expires_ms: i64::MAX,
        };
        let mut named = false;
        for (target, text) in columns.iter().zip(record) {
            if text.len() > MAX_TEXT {
                return Err(format!("a text of {} bytes; {MAX_TEXT} are allowed", text.len()));
            }
            match target {
                Target::Link => {
                    named = !text.is_empty();
                    row.link_len = self.add_link(text);
                }
                Target::Field(_) | Target::Expires if text.is_empty() => {}
                Target::Field(at) if *at == Column::Tags as usize => row.fields[*at] = self.number(&tags(text)),
                Target::Field(at) if *at == Column::ExpectedHost as usize => {
                    row.fields[*at] = self.number(&text.to_lowercase());
                }
                Target::Field(at) => row.fields[*at] = self.number(text),
                Target::Expires => row.expires_ms = expires(text)?,
            }
        }
        if !named {
            return Err("the link is empty".to_owned());
        }
        self.insert(row)
    }

    /// Keeps a link as events name it: without a scheme and a slash at its end, its host in lower case.
    fn add_link(&mut self, text: &str) -> u16 {
        let links = &mut self.catalogue.links;
        let before = links.len();
        write_link(text, links);
        (links.len() - before) as u16
    }

    fn insert(&mut self, row: Row) -> Result<(), String> {
        let Catalogue { links, rows, table, .. } = &mut self.catalogue;
        let link_of =
            |row: &Row| links.get(row.link as usize..row.link as usize + usize::from(row.link_len)).unwrap_or("");
        let named = |link: &str| {
            link.split_once('/').map_or_else(|| (String::new(), link.to_owned()), |(a, b)| (a.to_owned(), b.to_owned()))
        };
        let (domain, slug) = named(link_of(&row));
        let hash_of = |at: &u32| {
            let link = rows.get(*at as usize).map_or("", link_of);
            link.split_once('/').map_or_else(|| hash("", link), |(domain, slug)| hash(domain, slug))
        };
        let is_it = |at: &u32| rows.get(*at as usize).is_some_and(|known| is_named(link_of(known), &domain, &slug));
        let hashed = hash(&domain, &slug);
        if let Some(first) = table.find(hashed, is_it).and_then(|at| rows.get(*at as usize)) {
            return Err(format!("the link {:?} stands in line {} already", link_of(&row), first.line));
        }
        let number = rows.len() as u32;
        table.insert_unique(hashed, number, hash_of);
        rows.push(row);
        Ok(())
    }

    /// The number of a text.
    fn number(&mut self, text: &str) -> u32 {
        let hash = |text: &str| {
            let mut hasher = SipHasher13::new();
            hasher.write(text.as_bytes());
            hasher.finish()
        };
        let catalogue = &mut self.catalogue;
        let hashed = hash(text);
        if let Some(number) = self.known.find(hashed, |number| catalogue.text(*number) == text) {
            return *number;
        }
        let number = catalogue.ends.len() as u32;
        catalogue.texts.push_str(text);
        catalogue.ends.push(catalogue.texts.len() as u32);
        let catalogue = &self.catalogue;
        self.known.insert_unique(hashed, number, |number| hash(catalogue.text(*number)));
        number
    }

    fn finish(self, version: u64) -> Catalogue {
        let mut catalogue = self.catalogue;
        catalogue.links.shrink_to_fit();
        catalogue.ends.shrink_to_fit();
        catalogue.texts.shrink_to_fit();
        catalogue.rows.shrink_to_fit();
        Catalogue { version, ..catalogue }
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
