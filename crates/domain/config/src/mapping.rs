//! The `map` of a source whose platform is described by configuration alone (`docs/mapping.md`).

use adapter::TimeFormat;
use adapter::mapping::{
    AmountUnit, Fact, FactFrom, Field, KeyFrom, Mapping, MappingPlan, OurType, PayloadPath, TextFrom, TypeFrom,
};
use jiff::tz::TimeZone;

use crate::document::{Node, Value};
use crate::form::{self, Flag, Integer, Spoken, TEXT as ANY_TEXT, Text, Zone};
use crate::option::{Group, Opt, Others};
use crate::problem::Place;
use crate::schema::{Json, any_of, list_of, matching, object, shared, some_text, text};
use crate::section::{Placed, Section};
use crate::source::is_name;
use crate::table::Own;

/// A path, or several that are tried in order, or either with a `default`.
pub(crate) const TEXT: &str = "map_text";
/// A path, or several, or either with what they say for yes.
pub(crate) const FACT: &str = "map_fact";

const PATHS_IN_WORDS: &str = "a path, or a list of paths that are tried in order";
const PATH: Opt<Own> =
    Opt::new("path", Own::new(paths_schema, PATHS_IN_WORDS), "Where the payload has it.", "\"payload.id\"");

const ITEMS: Opt<Own> = Opt::new(
    "items",
    Own::new(paths_schema, "a path"),
    "The list of events, where a payload has several.",
    "\"events\"",
)
.otherwise("a payload is one event");
const TEXT_PLAIN: Opt<Flag> =
    Opt::new("text_plain", Flag, "Whether JSON is taken that calls itself `text/plain`.", "true").or(false);
const EVENT_KEY: Opt<Own> = Opt::new(
    "event_key",
    Own::new(|| any_of([paths_schema(), KEY_GROUP.schema(true)]), "a path, several, or `{ all = [...] }`")
        .with(&KEY_TABLE),
    "What names an event: two with the same key are one. `all` makes a key of several values.",
    "{ all = [\"visitor\", \"time\"] }",
)
.otherwise("what the event says, as a whole");
const TYPE: Opt<Own> = Opt::new(
    "type",
    Own::new(
        || any_of([paths_schema(), TYPE_GROUP.schema(true)]),
        "a path, or a table with `path`, `default` and our names",
    )
    .with(&TYPE_TABLE),
    "The type of an event. In a table, a key is one of our names and its value what the payload says for it.",
    "{ path = \"event\", click = \"short_url_clicked\" }",
)
.required("say where the payload names the type of event, or write type = { default = \"click\" }");
const EVENT_TIME: Opt<Own> = Opt::new(
    "event_time",
    Own::new(
        || any_of([paths_schema(), TIME_GROUP.schema(true)]),
        "a path, or a table with `path`, `format` and `zone`",
    )
    .with(&TIME_TABLE),
    "When it happened.",
    "{ path = \"time\", format = \"%Y-%m-%d %H:%M:%S\", zone = \"UTC\" }",
)
.otherwise("when it arrived, with a warning");
const VALUE_MINOR: Opt<Own> = Opt::new(
    "value_minor",
    Own::new(|| any_of([paths_schema(), VALUE_GROUP.schema(true)]), "a path, or a table with `path` and `times`")
        .with(&VALUE_TABLE),
    "The amount of a sale.",
    "{ path = \"amount\", times = \"currency\" }",
);
const EXTRA: Opt<Own> = Opt::new(
    "extra",
    Own::new(extra_schema, "a table: where each field is"),
    "Further fields, under names of your own.",
    "{ plan = \"payload.plan\" }",
);
const FIELD: Opt<Own> = Opt::new(
    "FIELD",
    Own::new(|| shared(TEXT), "a path, several, or `{ path = …, default = … }`"),
    "A field of the event.",
    "\"payload.shortUrlId\"",
);
const YES_OR_NO: Opt<Own> = Opt::new(
    "FACT",
    Own::new(|| shared(FACT), "a path, several, or `{ path = …, is = … }`"),
    "A fact about the visitor: true, or one of the texts under `is`.",
    "{ path = \"agent.type\", is = \"bot\" }",
);

/// `map` of a source.
pub(crate) static MAP: Group = Group {
    title: "map",
    about: "Where payloads have what, for `adapter = \"mapping\"`. docs/mapping.md explains it with examples.",
    read_by: "ingest and process",
    options: &[&ITEMS, &TEXT_PLAIN, &EVENT_KEY, &TYPE, &EVENT_TIME, &VALUE_MINOR, &EXTRA],
    others: &[Others::Listed(field_names, &FIELD), Others::Listed(fact_names, &YES_OR_NO)],
};

fn field_names() -> Vec<&'static str> {
    Field::ALL.iter().map(|field| field.name()).collect()
}

fn fact_names() -> Vec<&'static str> {
    Fact::ALL.iter().map(|fact| fact.name()).collect()
}

fn type_names() -> Vec<&'static str> {
    OurType::all().map(|ours| ours.name()).collect()
}

fn paths_schema() -> Json {
    let several = list_of(some_text()).with_all(object([("minItems", Json::Number(1))]));
    any_of([some_text(), several])
}

fn extra_schema() -> Json {
    object([
        ("type", text("object")),
        ("propertyNames", object([("pattern", text(form::NAME))])),
        ("maxProperties", Json::Number(i64::try_from(MappingPlan::MAX_EXTRA).unwrap_or(i64::MAX))),
        ("additionalProperties", shared(TEXT)),
    ])
}

/// What stands under [`TEXT`].
pub(crate) fn text_schema() -> Json {
    any_of([paths_schema(), TEXT_GROUP.schema(true)])
}

/// What stands under [`FACT`].
pub(crate) fn fact_schema() -> Json {
    any_of([paths_schema(), FACT_GROUP.schema(true)])
}

const DEFAULT: Opt<Text> = Opt::new("default", ANY_TEXT, "What holds where the payload has nothing there.", "\"EUR\"");
static TEXT_GROUP: Group = Group { title: "a field", about: "", read_by: "", options: &[&PATH, &DEFAULT], others: &[] };

const IS: Opt<Own> = Opt::new("is", Own::new(paths_schema, "a text or a list"), "What it says for yes.", "\"bot\"");
static FACT_GROUP: Group = Group { title: "a fact", about: "", read_by: "", options: &[&PATH, &IS], others: &[] };

const ALL: Opt<Own> =
    Opt::new("all", Own::new(paths_schema, "a list of paths"), "The values that make the key.", "[\"a\", \"b\"]")
        .required("write event_key = { all = [\"a path\", \"another\"] }, or a path alone");
static KEY_TABLE: [&Group; 1] = [&KEY_GROUP];
static KEY_GROUP: Group =
    Group { title: "event_key", about: "A key of several values.", read_by: "", options: &[&ALL], others: &[] };

const LINK: Opt<Own> = Opt::new(
    "link",
    Own::new(link_schema, "a table"),
    "`link.created` without quotation marks.",
    "{ created = \"new\" }",
);
const OUR_NAME: Opt<Own> =
    Opt::new("NAME", Own::new(paths_schema, "a text or a list"), "What the payload says for it.", "\"clicked\"");
const TYPE_DEFAULT: Opt<Own> = Opt::new(
    "default",
    Own::new(|| crate::schema::one_of(type_names()), "one of our names"),
    "What holds where the payload has nothing there.",
    "\"click\"",
);
static TYPE_TABLE: [&Group; 1] = [&TYPE_GROUP];
static TYPE_GROUP: Group = Group {
    title: "type",
    about: "The type of an event by what the payload says.",
    read_by: "",
    options: &[&PATH, &TYPE_DEFAULT, &LINK],
    others: &[Others::Listed(type_names, &OUR_NAME)],
};

fn link_schema() -> Json {
    let names = type_names().into_iter().filter_map(|name| name.strip_prefix("link."));
    object([
        ("type", text("object")),
        ("properties", object(names.map(|name| (name, paths_schema())))),
        ("additionalProperties", Json::Flag(false)),
    ])
}

const FORMAT: Opt<Spoken<TimeFormat>> =
    Opt::new("format", Spoken::new(time_format, "a format with `%`", r"\S"), "How it is written.", "\"%Y-%m-%d\"");
const TIME_ZONE: Opt<Zone> = Opt::new("zone", Zone, "The zone of times that name none.", "\"UTC\"");
static TIME_TABLE: [&Group; 1] = [&TIME_GROUP];
static TIME_GROUP: Group = Group {
    title: "event_time",
    about: "When an event happened, and how that is written.",
    read_by: "",
    options: &[&PATH, &FORMAT, &TIME_ZONE],
    others: &[],
};

fn time_format(format: &str) -> Result<TimeFormat, String> {
    TimeFormat::new(format).map_err(|why| format!("{format:?} is no way to write a time: {why}"))
}

/// Read as a number, unless it is the word `currency`.
const TIMES: Opt<Integer<u32>> =
    Opt::new("times", Integer::within(1, 1_000, ""), "What it counts, in the smallest unit.", "\"currency\"");
const TIMES_OR_CURRENCY: Opt<Own> = Opt::new(
    "times",
    Own::new(times_schema, "`currency`, or a whole number, 1 to 1000"),
    "What it counts, in the smallest unit.",
    "\"currency\"",
);
static VALUE_TABLE: [&Group; 1] = [&VALUE_GROUP];
static VALUE_GROUP: Group = Group {
    title: "value_minor",
    about: "An amount, and what it counts.",
    read_by: "",
    options: &[&PATH, &TIMES_OR_CURRENCY],
    others: &[],
};

fn times_schema() -> Json {
    any_of([crate::option::Form::schema(&TIMES.form), matching("^currency$")])
}

mod alike;

use alike::Alike;

/// A map as it was read.
pub(crate) struct ReadMap {
    pub(crate) mapping: Mapping,
    /// The zone that it names for times without one.
    pub(crate) zone: Option<TimeZone>,
    /// Why two events may look like one.
    pub(crate) alike: Option<Alike>,
}

/// Reads the `map` of a source.
pub(crate) fn read(source: &Section<'_>, opt: &Opt<Own>) -> Option<ReadMap> {
    if !source.has(opt) {
        source.missing(opt.key, "say where its payloads have what: docs/mapping.md");
    }
    let map = source.section(opt)?.declared_as(&MAP);
    let mut plan = MappingPlan {
        items: map.node(&ITEMS).and_then(|node| paths(&map, node, "items").into_iter().next()),
        text_plain: map.flag(&TEXT_PLAIN).unwrap_or(TEXT_PLAIN.usual()),
        event_key: map.node(&EVENT_KEY).and_then(|node| event_key(&map, node)),
        event_type: event_type(&map),
        value: map.node(&VALUE_MINOR).and_then(|node| value(&map, node)),
        ..MappingPlan::default()
    };
    let zone = event_time(&map, &mut plan);
    for field in Field::ALL {
        if let Some(node) = map.node_of(field.name()) {
            plan.fields.push((*field, text_from(&map, node, field.name())));
        }
    }
    for fact in Fact::ALL {
        if let Some(node) = map.node_of(fact.name()) {
            plan.facts.push((*fact, fact_from(&map, node, fact.name())));
        }
    }
    plan.extra = map.section(&EXTRA).map(|extra| read_extra(&extra)).unwrap_or_default();
    if !plan.names_a_link() {
        let hint = "add link_id, or short_url, or domain and slug";
        map.error(map.at, format!("{} does not say which link an event is about", map.title), hint);
    }
    let alike = Alike::of(&map, &plan);
    map.finish();
    Some(ReadMap { mapping: Mapping::new(plan), zone, alike })
}

fn path(map: &Section<'_>, text: &str, at: &Place, key: &str) -> Option<PayloadPath> {
    let path = PayloadPath::parse(text);
    if let Err(why) = &path {
        map.error(at, format!("{key} in {} cannot be {text:?}: {why}", map.title), "");
    }
    path.ok()
}

/// One path, or several that are tried in order.
fn paths(map: &Section<'_>, node: &Node, key: &str) -> Vec<PayloadPath> {
    words(map, node, key, "a path").iter().filter_map(|(text, at)| path(map, text, at, key)).collect()
}

/// One text or a list of texts; at least one.
fn words(map: &Section<'_>, node: &Node, key: &str, wanted: &str) -> Vec<Placed> {
    match &node.value {
        Value::Text(text) => vec![(text.clone(), node.at.clone())],
        Value::List(items) if !items.is_empty() => map.texts_of(node, key),
        Value::List(_) => {
            map.error(&node.at, format!("{key} in {} is an empty list", map.title), "fill it in or leave it out");
            Vec::new()
        }
        other => {
            let message = format!("{key} in {} is {}, not {wanted}", map.title, other.kind());
            map.error(&node.at, message, "write it in quotation marks, or several in a list");
            Vec::new()
        }
    }
}

/// The `path` of a table; without one it is missing, unless the table says the same for all events.
fn path_of(table: &Section<'_>, key: &str, default: bool) -> Vec<PayloadPath> {
    match table.node(&PATH) {
        Some(node) => paths(table, node, "path"),
        None if default => Vec::new(),
        None => {
            table.missing("path", &format!("say where the payload has the {key}"));
            Vec::new()
        }
    }
}

fn text_from(map: &Section<'_>, node: &Node, key: &'static str) -> TextFrom {
    let Value::Table(_) = &node.value else { return TextFrom { paths: paths(map, node, key), default: String::new() } };
    let Some(table) = map.section_of(node, key) else { return TextFrom::default() };
    let table = table.declared_as(&TEXT_GROUP);
    let default = table.text(&DEFAULT);
    let text = TextFrom { paths: path_of(&table, key, default.is_some()), default: default.unwrap_or_default() };
    table.finish();
    text
}

fn fact_from(map: &Section<'_>, node: &Node, key: &'static str) -> FactFrom {
    let Value::Table(_) = &node.value else { return FactFrom { paths: paths(map, node, key), is: Vec::new() } };
    let Some(table) = map.section_of(node, key) else { return FactFrom { paths: Vec::new(), is: Vec::new() } };
    let table = table.declared_as(&FACT_GROUP);
    let is = table.node(&IS).map(|node| words(&table, node, "is", "a text")).unwrap_or_default();
    let fact = FactFrom { paths: path_of(&table, key, false), is: is.into_iter().map(|(text, _)| text).collect() };
    table.finish();
    fact
}

fn event_key(map: &Section<'_>, node: &Node) -> Option<KeyFrom> {
    let Value::Table(_) = &node.value else { return Some(KeyFrom::First(paths(map, node, "event_key"))) };
    let table = map.section_of(node, "event_key")?.declared_as(&KEY_GROUP);
    table.demand(&ALL);
    let all = table.node(&ALL);
    let key = KeyFrom::All(paths(&table, all?, "all"));
    table.finish();
    Some(key)
}

/// Reads `type`: a path to our own names, or a path and the payload's names for ours.
fn event_type(map: &Section<'_>) -> TypeFrom {
    map.demand(&TYPE);
    let Some(node) = map.node(&TYPE) else { return TypeFrom::default() };
    let Value::Table(_) = &node.value else {
        return TypeFrom { paths: paths(map, node, "type"), ..TypeFrom::default() };
    };
    let Some(table) = map.section_of(node, "type") else { return TypeFrom::default() };
    let table = table.declared_as(&TYPE_GROUP);
    let ours: Vec<(&'static str, OurType)> = OurType::all().map(|ours| (ours.name(), ours)).collect();
    let default = table.choice_of(TYPE_DEFAULT.key, &ours);
    let mut found = TypeFrom { paths: path_of(&table, "type", table.has(&TYPE_DEFAULT)), names: Vec::new(), default };
    // `link.created = …` in TOML is a table `link` with a key `created`; `"link.created" = …` is one key.
    let link = table.node(&LINK).and_then(|node| table.section_of(node, "link"));
    for (name, ours) in ours {
        let inside = name.strip_prefix("link.").and_then(|name| link.as_ref()?.node_of(name));
        for node in [table.node_of(name), inside].into_iter().flatten() {
            for (word, at) in words(&table, node, name, "a text") {
                match found.names.iter().find(|(known, _)| *known == word) {
                    Some((_, other)) => {
                        let message = format!("{word:?} in {} means {} and {name}", table.title, other.name());
                        table.error(&at, message, "keep one of them");
                    }
                    None => found.names.push((word, ours)),
                }
            }
        }
    }
    if let Some(link) = link {
        link.finish();
    }
    table.finish();
    found
}

/// Reads `event_time` into the plan. Returns the zone that it names.
fn event_time(map: &Section<'_>, plan: &mut MappingPlan) -> Option<TimeZone> {
    let Some(node) = map.node(&EVENT_TIME) else {
        let message = format!("{} has no event_time: events will have happened when they arrive", map.title);
        map.reading.sink.warn(map.at, message, "say where the payload has the time");
        return None;
    };
    let Value::Table(_) = &node.value else {
        plan.event_time = paths(map, node, "event_time");
        return None;
    };
    let table = map.section_of(node, "event_time")?.declared_as(&TIME_GROUP);
    plan.event_time = path_of(&table, "time", false);
    plan.time_format = table.parsed(&FORMAT);
    let zone = table.time_zone(&TIME_ZONE);
    table.finish();
    zone
}

/// Reads `value_minor`: the amount, and what it counts: the smallest unit of its currency, so many of these, or the currency.
fn value(map: &Section<'_>, node: &Node) -> Option<(Vec<PayloadPath>, AmountUnit)> {
    let Value::Table(_) = &node.value else {
        return Some((paths(map, node, "value_minor"), AmountUnit::Smallest(1)));
    };
    let table = map.section_of(node, "value_minor")?.declared_as(&VALUE_GROUP);
    let unit = match table.node(&TIMES).map(|node| (&node.value, &node.at)) {
        Some((Value::Text(text), _)) if text == "currency" => Some(AmountUnit::Currency),
        Some((Value::Text(text), at)) => {
            let message = format!("times in {} cannot be {text:?}", table.title);
            table.error(at, message, "write times = \"currency\", or a number");
            None
        }
        _ => {
            let times = table.integer(&TIMES);
            if times == Some(100)
                && let Some(node) = table.node(&TIMES)
            {
                let message = format!("times = 100 in {} fits currencies with two decimals only", table.title);
                map.reading.sink.warn(&node.at, message, "write times = \"currency\": yen have none, dinars three");
            }
            times.map(AmountUnit::Smallest)
        }
    };
    if matches!(unit, Some(AmountUnit::Currency)) && map.node_of("currency").is_none() {
        let message = format!("{} has value_minor with times = \"currency\", and no currency", map.title);
        map.error(&node.at, message, "say where the payload has the currency, or currency = { default = \"EUR\" }");
    }
    let value = (path_of(&table, "amount", false), unit.unwrap_or(AmountUnit::Smallest(1)));
    table.finish();
    Some(value)
}

fn read_extra(extra: &Section<'_>) -> Vec<(String, TextFrom)> {
    let entries = extra.entries();
    if entries.len() > MappingPlan::MAX_EXTRA {
        let message = format!("{} has {} fields", extra.title, entries.len());
        extra.error(extra.at, message, format!("keep at most {}", MappingPlan::MAX_EXTRA));
    }
    let mut fields = Vec::new();
    for entry in entries {
        if !is_name(&entry.key) {
            let message = format!("{:?} cannot name a field", entry.key);
            extra.error(&entry.at, message, "use letters, digits, - and _ (at most 64)");
        }
        fields.push((entry.key.clone(), text_from(extra, &entry.node, "a field of extra")));
    }
    fields
}
