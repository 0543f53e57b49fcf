//! One table of the configuration, read key by key: every wrong type and every unknown key is recorded.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::document::{self, Entry, Node, Table, Value};
use crate::environment::Environment;
use crate::form::{Bytes, Choice, File, Flag, Instant, Integer, References, Span, Spoken, Texts, Zone};
use crate::option::{Form, Group, Opt};
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
    /// What it is declared as. A reader that asks for a key that is not declared is wrong, and tests find it.
    group: Option<&'static Group>,
}

impl<'a> Section<'a> {
    pub(crate) fn new(title: String, at: &'a Place, table: &'a Table, reading: Reading<'a>) -> Self {
        Self { title, at, reading, table, asked: RefCell::default(), group: None }
    }

    /// The same table, as `group` declares it.
    pub(crate) fn declared_as(self, group: &'static Group) -> Self {
        Self { group: Some(group), ..self }
    }

    /// Records an error at a place.
    pub(crate) fn error(&self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.reading.sink.error(at, message, hint);
    }

    /// The value under a key; the key counts as known from here on.
    pub(crate) fn node<F: Form>(&self, opt: &Opt<F>) -> Option<&'a Node> {
        self.node_of(opt.key)
    }

    /// As [`Section::node`], for a key of a list that stands elsewhere, such as the fields of an event.
    pub(crate) fn node_of(&self, key: &'static str) -> Option<&'a Node> {
        if let Some(group) = self.group {
            debug_assert!(group.declares(key), "{key:?} is read and not declared in {}", group.title);
            #[cfg(test)]
            crate::declared::note(group, key);
        }
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.table.get(key).map(|entry| &entry.node)
    }

    /// Where a key stands, or the section if it does not.
    pub(crate) fn place<F: Form>(&self, opt: &Opt<F>) -> &'a Place {
        self.place_of(opt.key)
    }

    /// As [`Section::place`], by the key.
    pub(crate) fn place_of(&self, key: &str) -> &'a Place {
        self.table.get(key).map_or(self.at, |entry| &entry.node.at)
    }

    /// The key stands there; it counts as known.
    pub(crate) fn has<F: Form>(&self, opt: &Opt<F>) -> bool {
        self.node(opt).is_some()
    }

    /// Every entry, for tables whose keys are names.
    pub(crate) fn entries(&self) -> &'a [Entry] {
        &self.table.0
    }

    /// Records that a key is missing.
    pub(crate) fn missing(&self, key: &str, hint: &str) {
        self.error(self.at, format!("{} has no {key:?}", self.title), hint);
    }

    /// Records that a key is missing, if it is: what is declared as required is demanded by this.
    pub(crate) fn demand<F: Form>(&self, opt: &Opt<F>) {
        if !self.has(opt) {
            self.missing(opt.key, opt.required.unwrap_or_default());
        }
    }

    fn wrong_type(&self, node: &Node, key: &str, wanted: &str) {
        self.error(&node.at, format!("{key} in {} is {}, not {wanted}", self.title, node.value.kind()), "");
    }

    /// A text.
    pub(crate) fn text<F: Form>(&self, opt: &Opt<F>) -> Option<String> {
        self.placed(opt).map(|(text, _)| text)
    }

    /// A text with its place. An empty text is a problem: leaving a key out says the same and cannot be an accident.
    pub(crate) fn placed<F: Form>(&self, opt: &Opt<F>) -> Option<Placed> {
        self.placed_at(opt.key)
    }

    /// As [`Section::placed`], by the key.
    pub(crate) fn placed_at(&self, key: &'static str) -> Option<Placed> {
        let node = self.node_of(key)?;
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
    pub(crate) fn required<F: Form>(&self, opt: &Opt<F>) -> Option<Placed> {
        self.demand(opt);
        self.placed(opt)
    }

    /// A whole number within the bounds of its declaration.
    pub(crate) fn integer<T>(&self, opt: &Opt<Integer<T>>) -> Option<T>
    where
        T: TryFrom<i64> + Into<i64> + Copy + Sync + 'static,
    {
        let node = self.node(opt)?;
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
                self.wrong_type(node, opt.key, "a whole number");
                return None;
            }
        };
        let (low, high) = opt.form.range;
        match T::try_from(number) {
            Ok(fits) if (low..=high).contains(&number) => Some(fits),
            _ => {
                let message = format!("{} in {} is {number}", opt.key, self.title);
                self.error(&node.at, message, format!("use {low} to {high}"));
                None
            }
        }
    }

    /// True or false.
    pub(crate) fn flag(&self, opt: &Opt<Flag>) -> Option<bool> {
        self.flag_at(opt.key)
    }

    /// As [`Section::flag`], by the key.
    pub(crate) fn flag_at(&self, key: &'static str) -> Option<bool> {
        let node = self.node_of(key)?;
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
    pub(crate) fn parsed<T: 'static>(&self, opt: &Opt<Spoken<T>>) -> Option<T> {
        self.parsed_by(opt, opt.form.parse)
    }

    /// The same, in a language that is not declared.
    pub(crate) fn parsed_by<F: Form, T>(
        &self,
        opt: &Opt<F>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (text, at) = self.placed(opt)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.error(&at, format!("{} in {}: {why}", opt.key, self.title), "");
                None
            }
        }
    }

    /// A duration within the bounds of its declaration.
    pub(crate) fn duration(&self, opt: &Opt<Span>) -> Option<Duration> {
        let range = opt.form.range();
        self.parsed_by(opt, |text| {
            if opt.form.word() == Some(text) {
                return Ok(Duration::ZERO);
            }
            let duration = values::duration(text).map_err(|why| match opt.form.word() {
                Some(word) => format!("{why}, or {word:?}"),
                None => why,
            })?;
            if range.contains(&duration) {
                Ok(duration)
            } else {
                Err(format!("{text:?} is not possible: use {} to {}", words(*range.start()), words(*range.end())))
            }
        })
    }

    /// A size in bytes within the bounds of its declaration.
    pub(crate) fn size(&self, opt: &Opt<Bytes>) -> Option<u64> {
        let Bytes { smallest, largest } = opt.form;
        self.parsed_by(opt, |text| {
            let bytes = values::size(text)?;
            if (smallest..=largest).contains(&bytes) {
                Ok(bytes)
            } else {
                Err(format!("{text:?} is not possible: use {smallest} to {largest} bytes"))
            }
        })
    }

    /// One of several names.
    pub(crate) fn choice<T: Copy + Sync>(&self, opt: &Opt<Choice<T>>) -> Option<T> {
        self.choice_of(opt.key, opt.form.0)
    }

    /// As [`Section::choice`], by the key.
    pub(crate) fn choice_of<T: Copy>(&self, key: &'static str, options: &[(&'static str, T)]) -> Option<T> {
        let (text, at) = self.placed_at(key)?;
        let found = options.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let hint = did_you_mean(&text, options.iter().map(|(name, _)| *name));
            self.error(&at, format!("{key} in {} cannot be {text:?}", self.title), hint);
        }
        found
    }

    /// A list of texts. From the environment: separated by commas.
    pub(crate) fn texts(&self, opt: &Opt<Texts>) -> Option<Vec<Placed>> {
        self.texts_at(opt.key)
    }

    /// A list of names of what is declared elsewhere.
    pub(crate) fn references(&self, opt: &Opt<References>) -> Option<Vec<Placed>> {
        self.texts_at(opt.key)
    }

    /// As [`Section::texts`], by the key.
    pub(crate) fn texts_at(&self, key: &'static str) -> Option<Vec<Placed>> {
        self.node_of(key).map(|node| self.texts_of(node, key))
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
    pub(crate) fn names(&self, opt: &Opt<Texts>) -> Vec<String> {
        self.texts(opt).unwrap_or_default().into_iter().map(|(text, _)| text).collect()
    }

    /// A date or time as an instant.
    pub(crate) fn instant(&self, opt: &Opt<Instant>) -> Option<Timestamp> {
        let node = self.node(opt)?;
        let Value::Time(time) = &node.value else {
            self.wrong_type(node, opt.key, "a date (without quotation marks)");
            return None;
        };
        let instant = values::instant(time, self.reading.zone);
        if let Err(why) = &instant {
            self.error(&node.at, format!("{} in {}: {why}", opt.key, self.title), "");
        }
        instant.ok()
    }

    /// A time zone by its IANA name.
    pub(crate) fn time_zone(&self, opt: &Opt<Zone>) -> Option<TimeZone> {
        let (name, at) = self.placed(opt)?;
        let zone = TimeZone::get(&name);
        if zone.is_err() {
            self.error(&at, format!("unknown time zone {name:?}"), "use an IANA name, such as \"Europe/Berlin\"");
        }
        zone.ok()
    }

    /// A path; relative ones start at the folder of the file they stand in.
    pub(crate) fn path(&self, opt: &Opt<File>) -> Option<PathBuf> {
        self.path_at(opt.key)
    }

    /// As [`Section::path`], by the key.
    pub(crate) fn path_at(&self, key: &'static str) -> Option<PathBuf> {
        let (text, at) = self.placed_at(key)?;
        Some(at.origin.folder.join(text))
    }

    /// A table inside this one.
    pub(crate) fn section<F: Form>(&self, opt: &Opt<F>) -> Option<Section<'a>> {
        let section = self.section_at(opt.key)?;
        Some(Section { group: opt.form.group(), ..section })
    }

    /// As [`Section::section`], by the key.
    pub(crate) fn section_at(&self, key: &'static str) -> Option<Section<'a>> {
        let node = self.node_of(key)?;
        self.section_of(node, key)
    }

    /// One of the tables under this one, each under a name: `[rule.NAME]`.
    pub(crate) fn named(&self, entry: &'a Entry, of: &str, group: &'static Group) -> Option<Section<'a>> {
        let section = self.section_of(&entry.node, &entry.key)?;
        Some(Section { title: format!("[{of}.{}]", entry.key), group: Some(group), ..section })
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
