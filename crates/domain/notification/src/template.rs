//! Titles and texts of an owner's own: templates (minijinja) over what a message knows.
//!
//! A template is used when a message is composed, once, and what it gives is frozen with the message. It gives plain
//! text, as our own words are: each destination's renderer puts it where nothing pings, links or formats. What a sender
//! wrote is only inserted, never read as a template.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Write};
use std::sync::LazyLock;

use minijinja::{Environment, Template as Compiled, UndefinedBehavior, Value, context};

use crate::message::{Message, MessageKind};

/// Steps that a template may take: a message with ten links takes some hundred.
const FUEL: u64 = 50_000;
/// Bytes that a template may give.
const MAX_OUTPUT: usize = 16_384;
/// Bytes of a title and of a text that are kept.
const TITLE: usize = 300;
const TEXT: usize = 8_000;

/// What a template may name. `event` has the attributes of the first event, [`ATTRIBUTES`].
pub const VARIABLES: [&str; 18] = [
    "rule",
    "owner",
    "type",
    "title",
    "text",
    "count",
    "alerts",
    "over",
    "threshold",
    "link",
    "links",
    "samples",
    "event",
    "from",
    "until",
    "todo",
    "mention",
    "test",
];

/// What `event` has besides [`event::ATTRIBUTES`], where the rule says so.
const OF_RULES: [&str; 5] = ["why", "usual_low", "usual_high", "missed", "contact"];

/// What `event` has, each of it where the event or its rule says so.
pub static ATTRIBUTES: LazyLock<Vec<&str>> = LazyLock::new(|| [&event::ATTRIBUTES[..], &OF_RULES].concat());

/// What a message says instead of our own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// One line.
    pub title: Option<String>,
    /// The lines after the title.
    pub text: Option<String>,
}

/// The templates of a configuration. What a rule says goes before what its destination says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates {
    /// By rule.
    pub rules: BTreeMap<String, Template>,
    /// By destination.
    pub destinations: BTreeMap<String, Template>,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// `title` or `text`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// A name that it may have meant to choose from, with the one that it has.
    pub unknown: Option<(String, Vec<&'static str>)>,
}

impl Templates {
    /// The template of a rule's messages to a destination; none where neither has one.
    pub(crate) fn of(&self, rule: &str, destination: &str) -> Option<Template> {
        let (rule, destination) = (self.rules.get(rule), self.destinations.get(destination));
        let pick = |part: fn(&Template) -> &Option<String>| {
            [rule, destination].into_iter().flatten().find_map(|template| part(template).clone())
        };
        let template = Template { title: pick(|one| &one.title), text: pick(|one| &one.text) };
        (template != Template::default()).then_some(template)
    }
}

impl Template {
    /// Looks for what is wrong, by reading it and by filling it with a message that has everything and one that has
    /// little.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TemplateFault> {
        for (key, source) in [("title", &self.title), ("text", &self.text)] {
            let Some(source) = source else { continue };
            let fault = |message: String| TemplateFault { key, message, unknown: None };
            let compiled = ENVIRONMENT.template_from_str(source).map_err(|error| fault(said(&error)))?;
            let mut names: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
            names.sort();
            for name in names {
                let mut parts = name.split('.');
                let (first, second) = (parts.next().unwrap_or_default(), parts.next());
                let unknown = match (first, second) {
                    ("event", Some(second)) if !ATTRIBUTES.contains(&second) => Some((second, ATTRIBUTES.to_vec())),
                    (first, _) if !VARIABLES.contains(&first) && !is_function(first) => {
                        Some((first, VARIABLES.to_vec()))
                    }
                    _ => None,
                };
                if let Some((unknown, known)) = unknown {
                    let unknown = Some((unknown.to_owned(), known));
                    return Err(TemplateFault { unknown, ..fault(format!("it names {name}, which no message has")) });
                }
            }
            for values in [example(), Values::default()] {
                filled(&compiled, &values).map_err(&fault)?;
            }
        }
        Ok(())
    }

    /// Puts its words into a message. A part that cannot be filled stays in our words, which say so.
    pub(crate) fn apply(&self, message: &mut Message, threshold: u64) {
        let rest = message.text.split_once('\n').map_or("", |(_, rest)| rest).to_owned();
        let values =
            Values { title: message.title.clone(), text: rest.clone(), threshold, message: Some(message.clone()) };
        // An end says so in our words, unless the template asks what the message is.
        let asks = [&self.title, &self.text].into_iter().flatten().any(|source| names_type(source));
        if message.kind == MessageKind::Resolved && !asks {
            return;
        }
        let mut failed = None;
        let mut fill = |source: &Option<String>| {
            let compiled = ENVIRONMENT.template_from_str(source.as_deref()?);
            match compiled.map_err(|error| said(&error)).and_then(|compiled| filled(&compiled, &values)) {
                Ok(text) if text.trim().is_empty() => None,
                Ok(text) => Some(text),
                Err(why) => {
                    failed = Some(why);
                    None
                }
            }
        };
        let (title, text) = (fill(&self.title), fill(&self.text));
        if let Some(title) = title {
            let line: String = title.trim().chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
            message.title = line[..line.floor_char_boundary(TITLE)].to_owned();
        }
        let text = text.map(|text| text.trim()[..text.trim().floor_char_boundary(TEXT)].to_owned());
        message.text = format!("{}\n{}", message.title, text.unwrap_or(rest));
        if let Some(why) = failed {
            message.text.push_str(&format!("\n(A template could not be filled: {why})"));
        }
    }
}

/// What a template is filled with.
#[derive(Default)]
struct Values {
    title: String,
    text: String,
    threshold: u64,
    message: Option<Message>,
}

fn example() -> Values {
    let attributes = ATTRIBUTES.iter().map(|name| format!("{name:?}:\"7\"")).collect::<Vec<_>>().join(",");
    let message = format!(
        "{{\"id\":\"b\",\"type\":\"alert\",\"rule\":\"r\",\"owner\":\"o\",\"mention\":\"m\",\"do\":\"d\",\"title\":\"t\",\
         \"text\":\"t\\nx\",\"count\":3,\"alerts\":2,\"over\":0,\"links\":[{{\"link\":\"a/b\",\"count\":2}},{{\"link\":\"a/c\",\"count\":1}}],\
         \"sample_event_keys\":[\"e\"],\"attributes\":{{{attributes}}},\"window\":{{\"start\":\"2026-11-29T10:00:00Z\",\
         \"end\":\"2026-11-29T10:05:00Z\"}},\"alert_ids\":[],\"test\":false}}"
    );
    Values { title: "t".to_owned(), text: "x".to_owned(), threshold: 3, message: Message::thawed(&message).ok() }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    environment
});

fn names_type(source: &str) -> bool {
    let compiled = ENVIRONMENT.template_from_str(source);
    compiled.is_ok_and(|compiled| compiled.undeclared_variables(false).contains("type"))
}

fn is_function(name: &str) -> bool {
    ENVIRONMENT.globals().any(|(known, _)| known == name)
}

/// What a template gives, bounded.
fn filled(template: &Compiled<'_, '_>, values: &Values) -> Result<String, String> {
    let message = values.message.as_ref();
    let text = |pick: fn(&Message) -> &str| message.map_or_else(String::new, |message| pick(message).to_owned());
    let attributes: BTreeMap<String, String> = message.map(|one| one.attributes.clone()).unwrap_or_default();
    let links = message.map(|one| one.links.as_slice()).unwrap_or_default();
    let link = links.first().map(|one| one.link.clone()).unwrap_or_default();
    let links: Vec<Value> = links.iter().map(|one| context! { link => one.link.clone(), count => one.count }).collect();
    let samples = message.map(|one| one.sample_event_keys.clone()).unwrap_or_default();
    let context = context! {
        rule => text(|one| &one.rule),
        owner => text(|one| &one.owner),
        type => text(|one| one.kind.name()),
        title => values.title.clone(),
        text => values.text.clone(),
        count => message.map_or(0, |one| one.count),
        alerts => message.map_or(0, |one| one.alerts),
        over => message.map_or(0, |one| one.over),
        threshold => values.threshold,
        link => link,
        links => links,
        samples => samples,
        event => attributes,
        from => text(|one| &one.window.start),
        until => text(|one| &one.window.end),
        todo => text(|one| one.instruction.as_deref().unwrap_or_default()),
        mention => text(|one| one.mention.as_deref().unwrap_or_default()),
        test => message.is_some_and(|one| one.test),
    };
    let mut output = Bounded(Vec::new());
    template.render_captured_to(context, &mut output).map_err(|error| said(&error))?;
    Ok(String::from_utf8_lossy(&output.0).into_owned())
}

/// What a template writes to.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(Error::new(ErrorKind::FileTooLarge, "it gives more than 16 KiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// An error of a template, on one line.
fn said(error: &minijinja::Error) -> String {
    let mut text = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line() {
        text.push_str(&format!(" (line {line} of the template)"));
    }
    text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

#[cfg(test)]
mod tests;
