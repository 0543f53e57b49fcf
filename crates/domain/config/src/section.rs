//! One table of the configuration, read key by key: every wrong type and every unknown key is recorded.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::document::{self, Entry, Node, Table, Value};
use crate::environment::Environment;
use crate::problem::{Place, Sink, did_you_mean};
use crate::values;

/// What every reader needs beside its table.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub sink: &'a Sink,
    pub environment: &'a Environment,
    pub zone: &'a TimeZone,
    /// Whether this is the platform's half of the file.
    pub of_platform: bool,
}

/// A text and where it stands.
pub(crate) type Placed = (String, Place);

/// A table that is being read. Keys that nobody asked for are unknown: [`Section::finish`] says so.
pub(crate) struct Section<'a> {
    /// As it is named in messages: `[source.dub-main]`.
    pub title: String,
    pub at: &'a Place,
    pub reading: Reading<'a>,
    table: &'a Table,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(crate) fn new(title: String, at: &'a Place, table: &'a Table, reading: Reading<'a>) -> Self {
        Self { title, at, reading, table, asked: RefCell::default() }
    }

    /// Records an error at a place.
    pub(crate) fn error(&self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.reading.sink.error(at, message, hint);
    }

    /// The value under a key; the key counts as known from here on.
    pub(crate) fn node(&self, key: &'static str) -> Option<&'a Node> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key).map(|entry| &entry.node)
    }

    /// Where a key stands, or the section if it does not.
    pub(crate) fn place(&self, key: &str) -> &'a Place {
        self.table.get(key).map_or(self.at, |entry| &entry.node.at)
    }

    /// The key stands there; it counts as known.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.node(key).is_some()
    }

    /// Every entry, for tables whose keys are names.
    pub(crate) fn entries(&self) -> &'a [Entry] {
        &self.table.0
    }

    /// Records that a key is missing.
    pub(crate) fn missing(&self, key: &str, hint: &str) {
        self.error(self.at, format!("{} has no {key:?}", self.title), hint);
    }

    fn wrong_type(&self, node: &Node, key: &str, wanted: &str) {
        self.error(&node.at, format!("{key} in {} is {}, not {wanted}", self.title, node.value.kind()), "");
    }

    /// A text.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.placed(key).map(|(text, _)| text)
    }

    /// A text with its place. An empty text is a problem: leaving a key out says the same and cannot be an accident.
    pub(crate) fn placed(&self, key: &'static str) -> Option<Placed> {
        let node = self.node(key)?;
        self.text_of(node, key)
    }

    fn text_of(&self, node: &Node, key: &str) -> Option<Placed> {
        match &node.value {
            Value::Text(text) if text.trim().is_empty() => {
                self.error(&node.at, format!("{key} in {} is empty", self.title), "fill it in or leave it out");
                None
            }
            Value::Text(text) => Some((text.clone(), node.at.clone())),
            _ => {
                self.wrong_type(node, key, "a text");
                None
            }
        }
    }

    /// A text that must be there.
    pub(crate) fn required(&self, key: &'static str, hint: &str) -> Option<Placed> {
        if !self.has(key) {
            self.missing(key, hint);
        }
        self.placed(key)
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let node = self.node(key)?;
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Text(text) if node.at.origin.environment => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => {
                    self.error(&node.at, format!("{text:?} is not a whole number"), "");
                    return None;
                }
            },
            _ => {
                self.wrong_type(node, key, "a whole number");
                return None;
            }
        };
        if range.contains(&number) {
            return Some(number);
        }
        let (low, high) = (range.start(), range.end());
        self.error(&node.at, format!("{key} in {} is {number}", self.title), format!("use {low} to {high}"));
        None
    }

    /// True or false.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        let node = self.node(key)?;
        match &node.value {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) if node.at.origin.environment && text == "true" => Some(true),
            Value::Text(text) if node.at.origin.environment && text == "false" => Some(false),
            _ => {
                self.wrong_type(node, key, "true or false");
                None
            }
        }
    }

    /// A text in one of the small languages of [`values`].
    pub(crate) fn parsed<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (text, at) = self.placed(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(&at, format!("{key} in {}: {why}", self.title), "");
                None
            }
        }
    }

    /// A duration within `range`.
    pub(crate) fn duration(&self, key: &'static str, range: RangeInclusive<Duration>) -> Option<Duration> {
        self.parsed(key, |text| {
            let duration = values::duration(text)?;
            if range.contains(&duration) {
                Ok(duration)
            } else {
                Err(format!("{text:?} is not possible: use {} to {}", words(*range.start()), words(*range.end())))
            }
        })
    }

    /// One of several names.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, options: &[(&'static str, T)]) -> Option<T> {
        let (text, at) = self.placed(key)?;
        let found = options.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let hint = did_you_mean(&text, options.iter().map(|(name, _)| *name));
            self.error(&at, format!("{key} in {} cannot be {text:?}", self.title), hint);
        }
        found
    }

    /// A list of texts. From the environment: separated by commas.
    pub(crate) fn texts(&self, key: &'static str) -> Option<Vec<Placed>> {
        self.node(key).map(|node| self.texts_of(node, key))
    }

    pub(crate) fn texts_of(&self, node: &Node, key: &str) -> Vec<Placed> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.text_of(item, key)).collect(),
            Value::Text(list) if node.at.origin.environment => {
                list.split(',').map(|item| (item.trim().to_owned(), node.at.clone())).collect()
            }
            _ => {
                self.wrong_type(node, key, "a list of texts");
                Vec::new()
            }
        }
    }

    /// As [`Section::texts`], without their places; none is an empty list.
    pub(crate) fn names(&self, key: &'static str) -> Vec<String> {
        self.texts(key).unwrap_or_default().into_iter().map(|(text, _)| text).collect()
    }

    /// A date or time as an instant.
    pub(crate) fn instant(&self, key: &'static str) -> Option<Timestamp> {
        let node = self.node(key)?;
        let Value::Time(time) = &node.value else {
            self.wrong_type(node, key, "a date (without quotation marks)");
            return None;
        };
        let instant = values::instant(time, self.reading.zone);
        if let Err(why) = &instant {
            self.error(&node.at, format!("{key} in {}: {why}", self.title), "");
        }
        instant.ok()
    }

    /// A time zone by its IANA name.
    pub(crate) fn time_zone(&self, key: &'static str) -> Option<TimeZone> {
        let (name, at) = self.placed(key)?;
        let zone = TimeZone::get(&name);
        if zone.is_err() {
            self.error(&at, format!("unknown time zone {name:?}"), "use an IANA name, such as \"Europe/Berlin\"");
        }
        zone.ok()
    }

    /// A path; relative ones start at the folder of the file they stand in.
    pub(crate) fn path(&self, key: &'static str) -> Option<PathBuf> {
        let (text, at) = self.placed(key)?;
        Some(at.origin.folder.join(text))
    }

    /// A table inside this one.
    pub(crate) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let node = self.node(key)?;
        self.section_of(node, key)
    }

    /// A node of this section as a table.
    pub(crate) fn section_of(&self, node: &'a Node, key: &str) -> Option<Section<'a>> {
        match &node.value {
            Value::Table(table) => {
                Some(Section::new(format!("{key} of {}", self.title), &node.at, table, self.reading))
            }
            _ => {
                self.wrong_type(node, key, "a table");
                None
            }
        }
    }

    /// Says which keys are unknown. Every section that was read ends with it.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for entry in &self.table.0 {
            if !asked.contains(&entry.key.as_str()) {
                let hint = did_you_mean(&entry.key, asked.iter().copied());
                self.error(&entry.at, format!("unknown key {:?} in {}", entry.key, self.title), hint);
            }
        }
    }
}

/// A table given as text in the environment: `{ "security.protocol" = "SSL" }`.
pub(crate) fn table_from_environment(node: &Node, sink: &Sink) -> Option<Node> {
    let Value::Text(text) = &node.value else { return None };
    let table = document::parse(&format!("it = {text}"), &node.at.origin, sink);
    table.0.into_iter().next().map(|entry| Node { at: node.at.clone(), value: entry.node.value })
}

/// A duration as people write it: `72h`, `90s`, `75h36m`, `400d`. Hours go up to two weeks, as in the documentation.
pub(crate) fn words(duration: Duration) -> String {
    const UNITS: [(u128, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = duration.as_millis();
    let units = if rest < 14 * 86_400_000 { &UNITS[1..] } else { &UNITS };
    let mut text = String::new();
    for (factor, unit) in units {
        if rest >= *factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}
