//! The files as one tree in which every key and value knows its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rules::Glob;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Origin, Place, Sink};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub at: Place,
    pub value: Value,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    /// As written: no key of ours takes one, so it is only ever named in a problem.
    Float(String),
    Flag(bool),
    Time(toml::value::Datetime),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a decimal number",
            Self::Flag(_) => "true or false",
            Self::Time(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A table, its entries in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table(pub Vec<Entry>);

/// A key, where it stands, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub at: Place,
    pub node: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }
}

/// Reads `path` and what it includes into one tree.
pub(crate) fn read(path: &Path, sink: &Sink) -> Table {
    let mut root = read_file(path, sink);
    let Some(position) = root.0.iter().position(|entry| entry.key == "include") else { return root };
    let include = root.0.remove(position);
    for included in included_files(&include.node, sink) {
        merge(&mut root, read_file(&included, sink), sink);
    }
    root
}

/// What a file of rules alone may hold.
const OF_RULES: [&str; 6] = ["rule", "mute", "silence", "inhibit", "launch", "test"];

/// Puts a file of rules in the place of what is called the same; what is new is added. The names of its rules.
pub(crate) fn put_rules(root: &mut Table, path: &Path, sink: &Sink) -> Vec<String> {
    let mut names = Vec::new();
    for entry in read_file(path, sink).0 {
        let Value::Table(more) = entry.node.value else {
            sink.error(&entry.at, format!("{:?} is not part of a file of rules", entry.key), "write [rule.NAME]");
            continue;
        };
        if !OF_RULES.contains(&entry.key.as_str()) {
            let hint = "a file of rules has [rule.NAME], [mute.NAME], [silence.NAME], [inhibit.NAME], [launch.NAME] and [test.NAME]";
            sink.error(&entry.at, format!("[{}] is not part of a file of rules", entry.key), hint);
            continue;
        }
        if entry.key == "rule" {
            names.extend(more.0.iter().map(|rule| rule.key.clone()));
        }
        let known = match root.0.iter().position(|known| known.key == entry.key) {
            Some(at) => &mut root.0[at],
            None => {
                let node = Node { at: entry.node.at, value: Value::Table(Table::default()) };
                root.0.push(Entry { key: entry.key, at: entry.at, node });
                let last = root.0.len() - 1;
                &mut root.0[last]
            }
        };
        let Value::Table(known) = &mut known.node.value else { continue };
        for inner in more.0 {
            known.0.retain(|before| before.key != inner.key);
            known.0.push(inner);
        }
    }
    names
}

fn read_file(path: &Path, sink: &Sink) -> Table {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let origin = Rc::new(Origin { name: path.display().to_string(), folder, environment: false });
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, &origin, sink),
        Err(error) => {
            sink.error(&Place::whole(&origin), format!("cannot be read: {error}"), "name it with --config FILE");
            Table::default()
        }
    }
}

/// Parses one file; syntax errors go to the sink, what could be read is returned.
pub(crate) fn parse(text: &str, origin: &Rc<Origin>, sink: &Sink) -> Table {
    let lines = Lines::new(text, origin);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = lines.place(error.span().map_or(0, |span| span.start));
        sink.error(&at, error.message().replace('\n', ", "), "");
    }
    lines.table(table.into_inner(), sink)
}

/// The files that `include` names, relative to the file it stands in.
fn included_files(include: &Node, sink: &Sink) -> Vec<PathBuf> {
    let Value::List(patterns) = &include.value else {
        sink.error(&include.at, format!("include is {}", include.value.kind()), "write include = [\"rules/*.toml\"]");
        return Vec::new();
    };
    let mut files = Vec::new();
    for pattern in patterns {
        let Value::Text(text) = &pattern.value else {
            sink.error(&pattern.at, format!("include names {}", pattern.value.kind()), "name files as texts");
            continue;
        };
        match matching_files(&pattern.at.origin.folder.join(text)) {
            Ok(found) if found.is_empty() => {
                sink.warn(&pattern.at, format!("include {text:?} matches no file"), "");
            }
            Ok(found) => files.extend(found),
            Err(why) => sink.error(&pattern.at, format!("include {text:?}: {why}"), ""),
        }
    }
    files
}

/// The files of one pattern in the order of their names; `*` may stand in the file name only.
fn matching_files(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = pattern.parent().unwrap_or(Path::new(""));
    if folder.to_string_lossy().contains('*') {
        return Err("`*` may stand in the name of the file only".to_owned());
    }
    if !name.contains('*') {
        return Ok(vec![pattern.to_path_buf()]);
    }
    let glob = Glob::new(name);
    let entries = match fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("the folder cannot be read: {error}")),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| format!("the folder cannot be read: {error}"))?.file_name();
        if name.to_str().is_some_and(|name| glob.matches(name) && !name.starts_with('.')) {
            files.push(folder.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Adds the keys of an included file. Sections grow together; what stands twice is a problem that names both places.
fn merge(root: &mut Table, included: Table, sink: &Sink) {
    for entry in included.0 {
        if entry.key == "include" {
            sink.error(&entry.at, "include stands in an included file", "only the main file includes others");
            continue;
        }
        let Some(existing) = root.0.iter_mut().find(|known| known.key == entry.key) else {
            root.0.push(entry);
            continue;
        };
        let (Value::Table(known), true) = (&mut existing.node.value, matches!(entry.node.value, Value::Table(_)))
        else {
            duplicate(&entry, &existing.at, &entry.key, sink);
            continue;
        };
        let Value::Table(more) = entry.node.value else { continue };
        for inner in more.0 {
            match known.get(&inner.key) {
                Some(first) => duplicate(&inner, &first.at, &format!("{}.{}", entry.key, inner.key), sink),
                None => known.0.push(inner),
            }
        }
    }
}

fn duplicate(second: &Entry, first: &Place, name: &str, sink: &Sink) {
    sink.error(&second.at, format!("{name} stands twice: first at {first}"), "keep one of them");
}

/// Turns offsets into lines and columns, and the parser's tree into ours.
struct Lines<'t> {
    text: &'t str,
    origin: &'t Rc<Origin>,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str, origin: &'t Rc<Origin>) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, origin, starts }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Place { origin: Rc::clone(self.origin), line, column }
    }

    fn table(&self, table: DeTable<'_>, sink: &Sink) -> Table {
        let mut entries: Vec<(usize, Entry)> = table
            .into_iter()
            .map(|(key, value)| {
                let start = key.span().start;
                (
                    start,
                    Entry { at: self.place(start), key: key.into_inner().into_owned(), node: self.node(value, sink) },
                )
            })
            .collect();
        entries.sort_by_key(|(start, _)| *start);
        Table(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    fn node(&self, value: Spanned<DeValue<'_>>, sink: &Sink) -> Node {
        let at = self.place(value.span().start);
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(parsed.unwrap_or_else(|_| {
                    sink.error(&at, format!("{number} is too large a number"), "");
                    0
                }))
            }
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Value::Flag(flag),
            DeValue::Datetime(time) => Value::Time(time),
            DeValue::Array(items) => Value::List(items.into_iter().map(|item| self.node(item, sink)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, sink)),
        };
        Node { at, value }
    }
}
