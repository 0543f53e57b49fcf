//! `[naming]`: the standard that values of links are held to.

use std::collections::{BTreeMap, HashMap, HashSet};

use enrich::{Alias, Form, NamedField, Naming, Standard};
use regex::{Regex, RegexBuilder};

use crate::document::{Entry, Node, Value};
use crate::form::{Instant, TEXT, Text, Texts};
use crate::option::{Group, Opt, Others};
use crate::problem::{Place, did_you_mean};
use crate::schema::{Json, any_of, list_of, object, some_text, text};
use crate::section::Section;
use crate::table::Own;

const SAME_AS: Opt<Own> = Opt::new(
    "same_as",
    Own::new(same_as_schema, "a table: for each field a table of spellings").with(&ALIASES),
    "Spellings that mean a value: `is` and, if it holds from some day only, `from`; or the value alone.",
    "{ channel = { \"e-mail\" = \"email\", ig = { is = \"social\", from = 2026-10-01 } } }",
);
const FIELD: Opt<Own> = Opt::new(
    "FIELD",
    Own::new(standard_schema, "a list of values, a pattern, or a table").with(&STANDARDS),
    "What values of the field may be.",
    "{ pattern = \"{quarter}-{region}-{name}\", example = \"2026q4-de-blackfriday\", from = 2026-10-01 }",
);
const PART: Opt<Own> = Opt::new(
    "PART",
    Own::new(
        || any_of([object([("type", text("string"))]), list_of(some_text())]),
        "a regular expression, or a list of values",
    ),
    "A part of patterns, which name it as `{PART}`. `{name}` needs no declaration: words of small letters and digits with `-` between.",
    "\"20[0-9]{2}q[1-4]\"",
);

/// `[naming]`.
pub(crate) static GROUP: Group = Group {
    title: "[naming]",
    about: "The standard that values of links are held to. What breaks it is flagged and counted per owner, never dropped.",
    read_by: "process and `lint`",
    options: &[&SAME_AS],
    others: &[Others::Listed(field_names, &FIELD), Others::Named("", &PART)],
};

fn field_names() -> Vec<&'static str> {
    NamedField::ALL.iter().map(|field| field.name()).collect()
}

const PATTERN: Opt<Text> = Opt::new(
    "pattern",
    Text("a regular expression with parts as `{PART}`"),
    "What a whole value fits.",
    "\"{quarter}-{region}-{name}\"",
);
const VALUES: Opt<Texts> = Opt::new("values", Texts, "The values; instead of `pattern`.", "[\"email\", \"social\"]");
const EXAMPLE: Opt<Text> =
    Opt::new("example", TEXT, "A value that keeps the standard, for people.", "\"2026q4-de-blackfriday\"");
const STANDARD_FROM: Opt<Instant> =
    Opt::new("from", Instant, "From when the standard holds.", "2026-10-01").otherwise("always");
static STANDARD_GROUP: Group = Group {
    title: "FIELD",
    about: "A standard with its example and its day.",
    read_by: "",
    options: &[&PATTERN, &VALUES, &EXAMPLE, &STANDARD_FROM],
    others: &[],
};

const IS: Opt<Text> =
    Opt::new("is", TEXT, "The value that it means.", "\"social\"").required("name the value that it means");
const ALIAS_FROM: Opt<Instant> =
    Opt::new("from", Instant, "From when it means that.", "2026-10-01").otherwise("always");
static ALIAS_GROUP: Group = Group {
    title: "a spelling in same_as",
    about: "What a spelling means.",
    read_by: "",
    options: &[&IS, &ALIAS_FROM],
    others: &[],
};

static ALIASES: [&Group; 1] = [&ALIAS_GROUP];
static STANDARDS: [&Group; 1] = [&STANDARD_GROUP];

fn standard_schema() -> Json {
    any_of([object([("type", text("string"))]), list_of(some_text()), STANDARD_GROUP.schema(true)])
}

fn same_as_schema() -> Json {
    let spelling = any_of([object([("type", text("string"))]), ALIAS_GROUP.schema(true)]);
    let spellings = object([("type", text("object")), ("additionalProperties", spelling)]);
    let fields = field_names().into_iter().map(|name| (name, spellings.clone()));
    object([("type", text("object")), ("properties", object(fields)), ("additionalProperties", Json::Flag(false))])
}

/// The longest expression, with its parts filled in.
const MAX_LENGTH: usize = 4_096;
/// The most memory of a compiled expression, in bytes. Matching takes time in proportion to the value, whatever the
/// expression.
const MAX_COMPILED: usize = 1 << 20;
/// What `{name}` stands for where no part of that name is declared: words of small letters and digits with `-` between
/// them.
const NAME: &str = "[a-z0-9]+(?:-[a-z0-9]+)*";

pub(crate) fn read(section: &Section<'_>) -> Naming {
    let mut naming = Naming::default();
    let parts = Parts::new(section);
    for entry in section.entries() {
        match (NamedField::parse(&entry.key), entry.key.as_str()) {
            (_, "same_as") => {}
            (Some(field), _) => naming.standards.extend(standard(section, entry, field, &parts)),
            (None, _) if parts.used(&entry.key) => {
                // A part is checked even if the expression that has it is broken elsewhere.
                parts.expand(&entry.key, &entry.at, &mut Vec::new());
            }
            (None, _) => {
                let names = NamedField::ALL.iter().map(|field| field.name()).chain(["same_as"]);
                let hint = match did_you_mean(&entry.key, names) {
                    hint if hint.is_empty() => format!("a part is used as {{{}}} in a pattern", entry.key),
                    hint => hint,
                };
                let message = format!("{:?} in [naming] is neither a field nor a part of a pattern", entry.key);
                section.error(&entry.at, message, hint);
            }
        }
    }
    if let Some(aliases) = section.section(&SAME_AS) {
        for entry in aliases.entries() {
            match NamedField::parse(&entry.key) {
                Some(field) => {
                    let of_field =
                        aliases.section_of(&entry.node, &entry.key).map(|all| read_aliases(&all, field, &naming));
                    naming.aliases.extend(of_field.map(|aliases| (field, aliases)));
                }
                None => {
                    let hint = did_you_mean(&entry.key, NamedField::ALL.iter().map(|field| field.name()));
                    aliases.error(&entry.at, format!("unknown field {:?} in same_as of [naming]", entry.key), hint);
                }
            }
        }
    }
    naming
}

/// What one field is held to: a list of values, an expression, or a table of either with its example and its day.
fn standard<'a>(section: &Section<'a>, entry: &'a Entry, field: NamedField, parts: &Parts<'_, 'a>) -> Option<Standard> {
    let (mut example, mut from_ms) = (String::new(), i64::MIN);
    let form = match &entry.node.value {
        Value::Table(_) => {
            let table = section.section_of(&entry.node, &entry.key)?.declared_as(&STANDARD_GROUP);
            example = table.text(&EXAMPLE).unwrap_or_default();
            from_ms = table.instant(&STANDARD_FROM).map_or(i64::MIN, |from| from.as_millisecond());
            let (pattern, values) = (table.placed(&PATTERN), table.node(&VALUES));
            let form = match (pattern, values) {
                (Some((text, at)), None) => compile(section, parts, &text, &at),
                (None, Some(node)) => one_of(section, node, &entry.key),
                _ => {
                    let hint = "write { pattern = \"{quarter}-{name}\" } or { values = [\"a\", \"b\"] }";
                    section.error(&entry.at, format!("{} in [naming] needs a pattern or values", entry.key), hint);
                    None
                }
            };
            table.finish();
            form
        }
        Value::Text(text) => compile(section, parts, text, &entry.node.at),
        _ => one_of(section, &entry.node, &entry.key),
    }?;
    if !example.is_empty() && !form.allows(&example) {
        section.error(&entry.at, format!("the example {example:?} breaks the standard of {}", entry.key), "");
    }
    Some(Standard { field, form, from_ms, example })
}

fn one_of(section: &Section<'_>, node: &Node, key: &str) -> Option<Form> {
    let values: HashSet<String> = section.texts_of(node, key).into_iter().map(|(text, _)| text).collect();
    if values.is_empty() {
        section.error(&node.at, format!("{key} in [naming] allows no value"), "list the values, or leave it out");
        return None;
    }
    Some(Form::OneOf(values))
}

fn compile(section: &Section<'_>, parts: &Parts<'_, '_>, text: &str, at: &Place) -> Option<Form> {
    let expanded = parts.fill(text, at, &mut Vec::new())?;
    if expanded.len() > MAX_LENGTH {
        let message = format!("the expression has {} characters, its parts filled in", expanded.len());
        section.error(at, message, format!("{MAX_LENGTH} are allowed"));
        return None;
    }
    let built: Result<Regex, _> = RegexBuilder::new(&format!("^(?:{expanded})$"))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(50)
        .build();
    match built {
        Ok(regex) => Some(Form::Pattern(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            let hint = "name fewer or smaller repetitions, such as {1,20}";
            section.error(at, format!("the expression {text:?} is too large once it is compiled"), hint);
            None
        }
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            section.error(at, format!("{text:?} is not an expression: {why}"), "");
            None
        }
    }
}

/// The named parts of patterns.
struct Parts<'s, 'a> {
    section: &'s Section<'a>,
    declared: BTreeMap<&'a str, &'a Entry>,
}

impl<'s, 'a> Parts<'s, 'a> {
    fn new(section: &'s Section<'a>) -> Self {
        let entries = section.entries().iter();
        let parts = entries.filter(|entry| entry.key != "same_as" && NamedField::parse(&entry.key).is_none());
        Self { section, declared: parts.map(|entry| (entry.key.as_str(), entry)).collect() }
    }

    /// Whether some text of the section names the part.
    fn used(&self, name: &str) -> bool {
        let place = format!("{{{name}}}");
        let names_it = |node: &Node| match &node.value {
            Value::Text(text) => text.contains(&place),
            Value::Table(table) => table
                .get("pattern")
                .is_some_and(|entry| matches!(&entry.node.value, Value::Text(text) if text.contains(&place))),
            _ => false,
        };
        self.section.entries().iter().any(|entry| names_it(&entry.node))
    }

    /// The expression of a part. `within` are the parts that it is being filled into.
    fn expand(&self, name: &str, at: &Place, within: &mut Vec<String>) -> Option<String> {
        let Some(entry) = self.declared.get(name) else {
            if name == "name" {
                return Some(NAME.to_owned());
            }
            let hint = did_you_mean(name, self.declared.keys().copied().chain(["name"]));
            self.section.error(at, format!("the part {{{name}}} is not declared in [naming]"), hint);
            return None;
        };
        if within.iter().any(|outer| outer == name) {
            let round = format!("{} -> {name}", within.join(" -> "));
            self.section.error(&entry.at, format!("parts of [naming] that contain each other: {round}"), "");
            return None;
        }
        within.push(name.to_owned());
        let expression = match &entry.node.value {
            Value::Text(text) => self.fill(text, &entry.node.at, within),
            _ => {
                let values = self.section.texts_of(&entry.node, name);
                let values: Vec<String> = values.iter().map(|(text, _)| regex::escape(text)).collect();
                (!values.is_empty()).then(|| values.join("|"))
            }
        };
        within.pop();
        expression.map(|text| format!("(?:{text})"))
    }

    /// A text with its parts filled in. `{3,10}` is a repetition, `{quarter}` a part.
    fn fill(&self, text: &str, at: &Place, within: &mut Vec<String>) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let name = after.split_once('}').filter(|(name, _)| is_part(name));
            match name {
                // `\p{greek}` is a class of letters.
                Some((name, after)) if !before.ends_with("\\p") && !before.ends_with("\\P") => {
                    out.push_str(&self.expand(name, at, within)?);
                    rest = after;
                }
                _ => {
                    out.push('{');
                    rest = after;
                }
            }
            if out.len() > 2 * MAX_LENGTH {
                self.section.error(
                    at,
                    "the parts of this pattern are too long together",
                    format!("{MAX_LENGTH} characters are allowed"),
                );
                return None;
            }
        }
        out.push_str(rest);
        Some(out)
    }
}

fn is_part(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

/// The aliases of one field, each with what it means in the end.
fn read_aliases(section: &Section<'_>, field: NamedField, naming: &Naming) -> HashMap<String, Alias> {
    let mut said: BTreeMap<&str, (Alias, &Place)> = BTreeMap::new();
    for entry in section.entries() {
        let alias = match &entry.node.value {
            Value::Text(is) => Some(Alias { is: is.clone(), from_ms: i64::MIN }),
            Value::Table(_) => section.section_of(&entry.node, &entry.key).and_then(|table| {
                let table = table.declared_as(&ALIAS_GROUP);
                let is = table.required(&IS);
                let from_ms = table.instant(&ALIAS_FROM).map_or(i64::MIN, |from| from.as_millisecond());
                table.finish();
                Some(Alias { is: is?.0, from_ms })
            }),
            other => {
                section.error(
                    &entry.node.at,
                    format!("{} is {}, not a text", entry.key, other.kind()),
                    "name the value that it means",
                );
                None
            }
        };
        if let Some(alias) = alias {
            said.insert(&entry.key, (alias, &entry.at));
        }
    }
    let mut aliases = HashMap::new();
    for (name, (alias, at)) in &said {
        let mut round = vec![*name];
        let (mut is, mut from_ms) = (alias.is.as_str(), alias.from_ms);
        while let Some((&known, (next, _))) = said.get_key_value(is) {
            if round.contains(&known) {
                round.push(known);
                let message = format!("aliases of {} that mean each other: {}", field.name(), round.join(" -> "));
                section.error(at, message, "let one of them be the value itself");
                return HashMap::new();
            }
            round.push(known);
            // Both must hold for the last to be meant.
            from_ms = from_ms.max(next.from_ms);
            is = next.is.as_str();
        }
        let broken = naming.standards.iter().find(|standard| standard.field == field && !standard.form.allows(is));
        if broken.is_some() {
            section.error(
                at,
                format!("{name:?} means {is:?}, which the standard of {} does not allow", field.name()),
                "",
            );
        }
        aliases.insert((*name).to_owned(), Alias { is: is.to_owned(), from_ms });
    }
    aliases
}
