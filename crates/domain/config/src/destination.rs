//! Destinations: where messages go.

use notification::destination::{Form, Kind, Reach, Setting, Value, Values};
use notification::{Hours, Template};

use crate::availability;
use crate::form::{self, Choice, Flag, Listed, Reference, Spoken, Texts};
use crate::option::{self, Declared as _, Group, Opt, Others, Page, Row};
use crate::owners::{Declared, owned};
use crate::schema::{self, Json, any_of, list_of, object, one_of, shared, some_text, text};
use crate::secret::{Resolved, SecretText};
use crate::section::Section;
use crate::source::is_name;
use crate::table::{Own, Table};
use crate::template;
use crate::values::{self, Rate};

const KIND: Opt<Listed> = Opt::new("kind", Listed(availability::destinations), "What it is.", "\"slack\"")
    .required("such as \"webhook\" or \"csv\"");
const OWNER: Opt<Reference> = owned("owner", "Who owns it.");
const MAX: Opt<Spoken<Rate>> = Opt::new(
    "max",
    Spoken::new(values::rate, "a rate", r"^\s*[0-9]+\s+per\s+(second|minute|hour|day)\s*$"),
    "The most messages. What comes above it goes as one digest, which names the rule that spent it; ends always go. \
     Not for kinds that open a ticket or an incident a key.",
    "\"30 per hour\"",
)
.otherwise("as many as come");
const OPEN: Opt<Table> = Opt::new(
    "open",
    Table(&OPEN_GROUP),
    "When it may be disturbed. Not for kinds that open a ticket or an incident a key.",
    "{ days = \"mon-fri\", hours = \"08:00-19:00\" }",
)
.otherwise("always");
const FIELDS: Opt<Texts> = Opt::new(
    "fields",
    Texts,
    "The only fields of a message that leave.",
    "[\"event_time\", \"link\", \"campaign\", \"country\"]",
)
.otherwise("every field");
const TEMPLATE: Opt<Table> = template::TEMPLATE.otherwise("our own words; those of the rule go first");
const ALLOW_PRIVATE: Opt<Flag> =
    Opt::new("allow_private", Flag, "Whether its address may be a private one. For kinds over the network.", "true")
        .or(false);
const PROXY: Opt<form::SecretOrText> = Opt::new(
    "proxy",
    form::SecretOrText,
    "The proxy through which it is reached, which then has to refuse private addresses. For kinds over HTTP.",
    "\"http://proxy:3128\"",
)
.otherwise("reached directly");
const SETTINGS: Opt<Own> = Opt::new("KEY", Own::new(|| Json::Flag(true), ""), "", "");

/// What a destination of any kind may have. The keys of its kind are declared in `notification::destination`.
pub(crate) static GROUP: Group = Group {
    title: "[destination.NAME]",
    about: "Where messages go. The key `kind` says which further keys it has.",
    read_by: "notify",
    options: &[&KIND, &OWNER, &MAX, &OPEN, &FIELDS, &TEMPLATE, &ALLOW_PRIVATE, &PROXY],
    others: &[Others::Listed(every_setting, &SETTINGS)],
};

/// `[destination]`: a table for each name, whose keys depend on its kind.
pub(crate) const DESTINATION: Opt<Kinds> = Opt::new("destination", Kinds, GROUP.about, "");

/// A table for each name, whose keys depend on its kind.
#[derive(Clone, Copy)]
pub(crate) struct Kinds;

impl option::Form for Kinds {
    type Plain = form::Never;

    fn schema(&self) -> Json {
        let kinds = notification::destination::KINDS.iter().map(kind_schema);
        object([
            ("type", text("object")),
            ("propertyNames", object([("pattern", text(form::NAME))])),
            ("additionalProperties", object([("oneOf", Json::List(kinds.collect()))])),
        ])
    }

    fn words(&self) -> String {
        "a table for each name".to_owned()
    }

    fn json(&self, plain: form::Never) -> Json {
        match plain {}
    }

    fn groups(&self) -> Vec<&'static Group> {
        vec![&GROUP]
    }

    fn pages(&self, _: &str) -> Vec<Page> {
        let mut page = GROUP.page(GROUP.title);
        // Those of each kind have their own table below.
        page.rows.retain(|row| row.form != SETTINGS.form.words);
        page.below.extend(notification::destination::KINDS.iter().map(kind_page));
        vec![page]
    }
}

/// The keys of all kinds.
fn every_setting() -> Vec<&'static str> {
    let keys = notification::destination::KINDS.iter().flat_map(|kind| kind.settings);
    keys.map(|setting| setting.key.split_once('.').map_or(setting.key, |(table, _)| table)).collect()
}

/// A destination of one kind.
fn kind_schema(kind: &Kind) -> Json {
    let name = object([("description", text(KIND.about))]).with_all(one_of([kind.name]));
    let mut properties = vec![(KIND.key.to_owned(), name), (OWNER.key.to_owned(), OWNER.schema())];
    if !kind.keyed {
        properties.extend([(MAX.key.to_owned(), MAX.schema()), (OPEN.key.to_owned(), OPEN.schema())]);
    }
    properties.extend([(FIELDS.key.to_owned(), FIELDS.schema()), (TEMPLATE.key.to_owned(), TEMPLATE.schema())]);
    if kind.reach != Reach::File {
        properties.push((ALLOW_PRIVATE.key.to_owned(), ALLOW_PRIVATE.schema()));
    }
    if kind.reach == Reach::Http {
        properties.push((PROXY.key.to_owned(), PROXY.schema()));
    }
    let mut required = vec![text(KIND.key), text(OWNER.key)];
    add_settings(kind.settings, "", &mut properties, &mut required);
    closed(properties, required)
}

/// The keys of a kind that stand in the table `within`, and the tables among them.
fn add_settings(settings: &[Setting], within: &str, properties: &mut Vec<(String, Json)>, required: &mut Vec<Json>) {
    for setting in settings {
        match setting.key.split_once('.') {
            Some((table, key)) if table == within => add_setting(setting, key, properties, required),
            None if within.is_empty() => add_setting(setting, setting.key, properties, required),
            Some((table, _)) if within.is_empty() && properties.iter().all(|(known, _)| known != table) => {
                let (mut inner, mut needed) = (Vec::new(), Vec::new());
                add_settings(settings, table, &mut inner, &mut needed);
                if !needed.is_empty() {
                    required.push(text(table));
                }
                properties.push((table.to_owned(), closed(inner, needed)));
            }
            _ => {}
        }
    }
}

fn add_setting(setting: &Setting, key: &str, properties: &mut Vec<(String, Json)>, required: &mut Vec<Json>) {
    let form = match setting.form {
        Form::Text | Form::Path => some_text(),
        Form::Texts => list_of(some_text()).with_all(object([("minItems", Json::Number(1))])),
        Form::Choice(names) => one_of(names.iter().copied()),
        Form::Secret => shared(schema::SECRET),
        Form::SecretOrText => any_of([some_text(), shared(schema::SECRET)]),
    };
    properties.push((key.to_owned(), object([("description", text(setting.about))]).with_all(form)));
    if setting.required.is_some() {
        required.push(text(key));
    }
}

fn closed(properties: Vec<(String, Json)>, required: Vec<Json>) -> Json {
    object([
        ("type", text("object")),
        ("properties", Json::Map(properties)),
        ("additionalProperties", Json::Flag(false)),
        ("required", Json::List(required)),
    ])
}

fn kind_page(kind: &Kind) -> Page {
    let about = match kind.reach {
        Reach::File => "Keys beside `kind`, `owner`, `max`, `open`, `fields` and `template`.",
        _ if kind.keyed => {
            "A ticket or an incident a key. Keys beside `kind`, `owner`, `fields`, `template` and `allow_private`."
        }
        _ => "Keys beside `kind`, `owner`, `max`, `open`, `fields`, `template` and `allow_private`.",
    };
    let proxy = if kind.reach == Reach::Http { " It also takes `proxy`." } else { "" };
    Page {
        title: format!("kind = \"{}\"", kind.name),
        about: format!("{about}{proxy}"),
        read_by: String::new(),
        rows: kind.settings.iter().map(setting_row).collect(),
        below: Vec::new(),
    }
}

fn setting_row(setting: &Setting) -> Row {
    let (form, quoted) = match setting.form {
        Form::Text => ("a text".to_owned(), true),
        Form::Path => ("a path".to_owned(), true),
        Form::Texts => ("a list of texts".to_owned(), false),
        Form::Choice(names) => (form::names(names.iter().copied()), true),
        Form::Secret => ("a secret".to_owned(), false),
        Form::SecretOrText => ("a text or a secret".to_owned(), true),
    };
    let example = match (setting.form, quoted) {
        (_, true) => format!("{:?}", setting.example),
        (Form::Texts, _) => format!("[{:?}]", setting.example),
        _ => "{ env = \"VARIABLE\" }".to_owned(),
    };
    let left_out = match setting.required {
        Some(_) => "**required**".to_owned(),
        None => setting.left_out.to_owned(),
    };
    let (key, about) = (setting.key.to_owned(), setting.about.to_owned());
    Row { key, form, left_out, example, about, read_by: String::new() }
}

/// `days` and `hours`.
pub(crate) const DAYS: Opt<Spoken<Vec<jiff::civil::Weekday>>> = Opt::new(
    "days",
    Spoken::new(values::days, "days of the week", r"^\s*[a-z]"),
    "On which days, in `timezone`.",
    "\"mon-fri\"",
)
.required(OPEN_FORM);
const OPEN_FORM: &str = "write { days = \"mon-fri\", hours = \"08:00-19:00\", else = \"digest\" }";
/// A span of hours.
pub(crate) type Clock = (jiff::civil::Time, jiff::civil::Time);
/// What a span of hours looks like.
pub(crate) const CLOCK_PATTERN: &str = r"^\s*[0-9]{2}:[0-9]{2}\s*-\s*[0-9]{2}:[0-9]{2}\s*$";
const HOURS: Opt<Spoken<Clock>> = Opt::new(
    "hours",
    Spoken::new(values::hours, "a span of a day", CLOCK_PATTERN),
    "From when until when, in `timezone`.",
    "\"08:00-19:00\"",
)
.required(OPEN_FORM);
const ELSE: Opt<Choice<Outside>> = Opt::new(
    "else",
    Choice(&[DIGEST, ("drop", Outside::Drop)]),
    "What happens to messages outside: they go as one digest at opening, or are dropped and counted.",
    "\"drop\"",
)
.or(DIGEST);
const DIGEST: (&str, Outside) = ("digest", Outside::Digest);
static OPEN_GROUP: Group = Group {
    title: "open",
    about: "When a destination may be disturbed.",
    read_by: "",
    options: &[&DAYS, &HOURS, &ELSE],
    others: &[],
};

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
        let Some(section) = sections.named(entry, "destination", &GROUP) else { continue };
        destinations.extend(read_one(entry.key.clone(), section, owners));
    }
    destinations
}

fn read_one(name: String, section: Section<'_>, owners: &Declared) -> Option<Destination> {
    let sink = section.reading.sink;
    let kind_name = section.required(&KIND);
    let available = kind_name.as_ref().is_some_and(|(kind, at)| availability::destination(kind, at, sink));
    let owner = section.owner(&OWNER, owners);
    let max = section.parsed(&MAX);
    let open = section.section(&OPEN).and_then(read_open);
    let fields = section.has(&FIELDS).then(|| section.names(&FIELDS));
    let template = section.section(&TEMPLATE).and_then(template::read);
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
    for (key, given) in [(MAX.key, max.is_some()), (OPEN.key, open.is_some())] {
        if kind.keyed && given {
            let message = format!("{key} is for messages, and {} opens a ticket for each key", section.title);
            let hint = "leave it out, and bundle with first and then_every in the send of its rules";
            section.error(section.place_of(key), message, hint);
        }
    }
    let allow_private = kind.reach != Reach::File && section.flag(&ALLOW_PRIVATE).unwrap_or(ALLOW_PRIVATE.usual());
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
    let proxy = section.secret_or_text(&PROXY).and_then(Resolved::value);
    if proxy.is_some() {
        let message =
            format!("{} is reached through a proxy: which addresses it connects to is not checked", section.title);
        section.reading.sink.warn(section.place(&PROXY), message, "let the proxy refuse private addresses");
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
                let inner = section.section_at(table);
                if inner.is_none() && section.node_of(table).is_none() {
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
            section.error(section.place_of(key), format!("{}: {}", section.title, fault.message), fault.hint);
            None
        }
    }
}

/// Reads one setting. False if something is wrong with it, which is recorded.
fn setting_of(section: &Section<'_>, setting: &Setting, key: &'static str, read: &mut Read) -> bool {
    if section.node_of(key).is_none() {
        if let Some(hint) = setting.required {
            section.missing(key, hint);
        }
        return setting.required.is_none();
    }
    let text = |text: String| Value::Text(SecretText::new(text));
    let value = match setting.form {
        Form::Text => section.placed_at(key).map(|(found, _)| text(found)),
        Form::Path => section.path_at(key).map(Value::Path),
        Form::Texts => {
            let texts: Vec<String> =
                section.texts_at(key).unwrap_or_default().into_iter().map(|(text, _)| text).collect();
            (!texts.is_empty()).then_some(Value::Texts(texts))
        }
        Form::Choice(names) => {
            let names: Vec<(&'static str, &'static str)> = names.iter().map(|name| (*name, *name)).collect();
            section.choice_of(key, &names).map(|name| text(name.to_owned()))
        }
        Form::Secret | Form::SecretOrText => {
            let resolved = match setting.form {
                Form::Secret => section.secret_at(key),
                _ => section.secret_or_text_at(key),
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
    section.demand(&DAYS);
    section.demand(&HOURS);
    let hours = read_hours(&section, &DAYS, &HOURS);
    let otherwise = section.choice(&ELSE);
    section.finish();
    Some(OpenHours { hours: hours?, otherwise: otherwise.unwrap_or(DIGEST.1) })
}

/// `days` and `hours` of a section, in the configuration's time zone.
pub(crate) fn read_hours(
    section: &Section<'_>,
    days: &Opt<Spoken<Vec<jiff::civil::Weekday>>>,
    hours: &Opt<Spoken<Clock>>,
) -> Option<Hours> {
    let (days, hours) = (section.parsed(days), section.parsed(hours));
    let (from, until) = hours?;
    Some(Hours { days: days?, from, until, zone: section.reading.zone.clone() })
}
