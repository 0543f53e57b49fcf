//! Destinations: where messages go.

use notification::destination::{Form, Kind, Reach, Setting, Value, Values};
use notification::{Hours, Template};

use crate::availability;
use crate::owners::Declared;
use crate::rule::read_template;
use crate::secret::{Resolved, SecretText};
use crate::section::Section;
use crate::source::is_name;
use crate::values::{self, Rate};

/// A place that messages go to.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Who owns it (an owner's id).
    pub owner: String,
    /// What it is.
    pub kind: &'static Kind,
    /// What its kind needs; none only when secrets were not looked up.
    pub values: Option<Values>,
    /// The same with an example in the place of each secret: for what is only shown.
    pub stand_in: Values,
    /// Whether the address may be a private one.
    pub allow_private: bool,
    /// The proxy through which it is reached. What it connects to is the proxy's business: addresses are not checked then.
    pub proxy: Option<SecretText>,
    /// The noise budget: above it, messages become a digest. As many as come when left out.
    pub max: Option<Rate>,
    /// When it may be disturbed; always when left out.
    pub open: Option<OpenHours>,
    /// The only fields that leave; every field of a message when left out.
    pub fields: Option<Vec<String>>,
    /// Title and text of its messages, where they are the owner's own; a rule's go before them.
    pub template: Option<Template>,
}

/// When a destination may be disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHours {
    /// Within these hours.
    pub hours: Hours,
    /// What happens to messages outside.
    pub otherwise: Outside,
}

/// What happens to messages outside the open hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// They wait and go as one digest at opening.
    Digest,
    /// They are dropped, and counted.
    Drop,
}

pub(crate) fn read(sections: &Section<'_>, owners: &Declared) -> Vec<Destination> {
    let mut destinations = Vec::new();
    for entry in sections.entries() {
        if !is_name(&entry.key) {
            sections.error(
                &entry.at,
                format!("{:?} cannot name a destination", entry.key),
                "use letters, digits, - and _",
            );
        }
        // What is planned for it counts as delivered, so a destination of this name would be sent nothing.
        if entry.key == notification::CAPTURE {
            let message =
                format!("{:?} is where messages about test data are recorded: nothing would be sent", entry.key);
            sections.error(&entry.at, message, "choose another name");
        }
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[destination.{}]", entry.key);
        destinations.extend(read_one(entry.key.clone(), section, owners));
    }
    destinations
}

fn read_one(name: String, section: Section<'_>, owners: &Declared) -> Option<Destination> {
    let sink = section.reading.sink;
    let kind_name = section.required("kind", "such as \"webhook\" or \"csv\"");
    let available = kind_name.as_ref().is_some_and(|(kind, at)| availability::destination(kind, at, sink));
    let owner = section.owner("owner", owners);
    let max = section.parsed("max", values::rate);
    let open = section.section("open").and_then(read_open);
    let template = read_template(&section);
    let fields = section.has("fields").then(|| section.names("fields"));
    let kind = kind_name.as_ref().and_then(|(kind, _)| notification::destination::kind(kind));
    let Some(kind) = kind else {
        if let Some((unavailable, _)) = &kind_name {
            // Of a kind that is unknown, every key would look wrong.
            if availability::destinations().contains(&unavailable.as_str()) {
                section.finish();
            }
        }
        return None;
    };
    for (key, given) in [("max", max.is_some()), ("open", open.is_some())] {
        if kind.keyed && given {
            let message = format!("{key} is for messages, and {} opens a ticket for each key", section.title);
            let hint = "leave it out, and bundle with first and then_every in the send of its rules";
            section.error(section.place(key), message, hint);
        }
    }
    let allow_private = kind.reach != Reach::File && section.flag("allow_private").unwrap_or(false);
    let proxy = if kind.reach == Reach::Http { proxy(&section) } else { None };
    let values = settings(&section, kind);
    section.finish();
    if !available {
        return None;
    }
    let (stand_in, values) = values.map(|read| (read.stand_in.clone(), read.known()))?;
    Some(Destination { name, owner: owner?, kind, values, stand_in, allow_private, proxy, max, open, fields, template })
}

/// The proxy through which a destination is reached that talks HTTP.
fn proxy(section: &Section<'_>) -> Option<SecretText> {
    let proxy = section.secret_or_text("proxy").and_then(Resolved::value);
    if proxy.is_some() {
        let message =
            format!("{} is reached through a proxy: which addresses it connects to is not checked", section.title);
        section.reading.sink.warn(section.place("proxy"), message, "let the proxy refuse private addresses");
    }
    proxy
}

/// What the section says of its kind's settings, and whether secrets were looked up.
struct Read {
    values: Values,
    stand_in: Values,
    looked_up: bool,
}

impl Read {
    fn known(self) -> Option<Values> {
        self.looked_up.then_some(self.values)
    }
}

/// Reads and checks every setting of a kind. None if something is wrong, which is recorded.
fn settings(section: &Section<'_>, kind: &Kind) -> Option<Read> {
    let mut read = Read { values: Values::default(), stand_in: Values::default(), looked_up: true };
    let mut sound = true;
    let mut done = Vec::new();
    for setting in kind.settings {
        match setting.key.split_once('.') {
            None => sound &= setting_of(section, setting, setting.key, &mut read),
            Some((table, _)) if done.contains(&table) => {}
            Some((table, _)) => {
                done.push(table);
                let prefix = |one: &&Setting| one.key.split_once('.').is_some_and(|(of, _)| of == table);
                let inner = section.section(table);
                if inner.is_none() && !section.has(table) {
                    let hint = kind.settings.iter().filter(prefix).find_map(|one| one.required);
                    section.missing(table, hint.unwrap_or_default());
                }
                let Some(inner) = inner else {
                    sound = false;
                    continue;
                };
                for one in kind.settings.iter().filter(prefix) {
                    let key = one.key.split_once('.').map_or(one.key, |(_, key)| key);
                    sound &= setting_of(&inner, one, key, &mut read);
                }
                inner.finish();
            }
        }
    }
    if !sound {
        return None;
    }
    match (kind.build)(&read.values) {
        Ok(_) => Some(read),
        Err(fault) => {
            let key = fault.key.split_once('.').map_or(fault.key, |(table, _)| table);
            section.error(section.place(key), format!("{}: {}", section.title, fault.message), fault.hint);
            None
        }
    }
}

/// Reads one setting. False if something is wrong with it, which is recorded.
fn setting_of(section: &Section<'_>, setting: &Setting, key: &'static str, read: &mut Read) -> bool {
    if !section.has(key) {
        if let Some(hint) = setting.required {
            section.missing(key, hint);
        }
        return setting.required.is_none();
    }
    let text = |text: String| Value::Text(SecretText::new(text));
    let value = match setting.form {
        Form::Text => section.text(key).map(text),
        Form::Path => section.path(key).map(Value::Path),
        Form::Texts => {
            let texts = section.names(key);
            (!texts.is_empty()).then_some(Value::Texts(texts))
        }
        Form::Choice(names) => {
            let names: Vec<(&'static str, &'static str)> = names.iter().map(|name| (*name, *name)).collect();
            section.choice(key, &names).map(|name| text(name.to_owned()))
        }
        Form::Secret | Form::SecretOrText => {
            let resolved = match setting.form {
                Form::Secret => section.secret(key),
                _ => section.secret_or_text(key),
            };
            match resolved {
                Some(Resolved::Value(secret)) => Some(Value::Text(secret)),
                Some(Resolved::NotLookedUp) => {
                    read.looked_up = false;
                    Some(text(setting.example.to_owned()))
                }
                Some(Resolved::Failed) | None => None,
            }
        }
    };
    let sound = value.is_some();
    if let Some(value) = value {
        let is_secret = matches!(setting.form, Form::Secret | Form::SecretOrText);
        read.stand_in.set(setting.key, if is_secret { text(setting.example.to_owned()) } else { value.clone() });
        read.values.set(setting.key, value);
    }
    sound
}

fn read_open(section: Section<'_>) -> Option<OpenHours> {
    for key in ["days", "hours"] {
        if !section.entries().iter().any(|entry| entry.key == key) {
            section.missing(key, "write { days = \"mon-fri\", hours = \"08:00-19:00\", else = \"digest\" }");
        }
    }
    let hours = read_hours(&section, values::hours);
    let otherwise = section.choice("else", &[("digest", Outside::Digest), ("drop", Outside::Drop)]);
    section.finish();
    Some(OpenHours { hours: hours?, otherwise: otherwise.unwrap_or(Outside::Digest) })
}

/// `days` and `hours` of a section, in the configuration's time zone.
pub(crate) fn read_hours(
    section: &Section<'_>,
    span: fn(&str) -> Result<(jiff::civil::Time, jiff::civil::Time), String>,
) -> Option<Hours> {
    let (days, hours) = (section.parsed("days", values::days), section.parsed("hours", span));
    let (from, until) = hours?;
    Some(Hours { days: days?, from, until, zone: section.reading.zone.clone() })
}
