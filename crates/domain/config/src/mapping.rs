//! The `map` of a source whose platform is described by configuration alone (`docs/mapping.md`).

use adapter::TimeFormat;
use adapter::mapping::{
    AmountUnit, Fact, FactFrom, Field, KeyFrom, Mapping, MappingPlan, OurType, PayloadPath, TextFrom, TypeFrom,
};
use jiff::tz::TimeZone;

use crate::document::{Node, Value};
use crate::problem::Place;
use crate::section::{Placed, Section};
use crate::source::is_name;

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
pub(crate) fn read(source: &Section<'_>) -> Option<ReadMap> {
    if !source.has("map") {
        source.missing("map", "say where its payloads have what: docs/mapping.md");
    }
    let map = source.section("map")?;
    let mut plan = MappingPlan {
        items: map.node("items").and_then(|node| paths(&map, node, "items").into_iter().next()),
        text_plain: map.flag("text_plain").unwrap_or_default(),
        event_key: map.node("event_key").and_then(|node| event_key(&map, node)),
        event_type: event_type(&map),
        value: map.node("value_minor").and_then(|node| value(&map, node)),
        ..MappingPlan::default()
    };
    let zone = event_time(&map, &mut plan);
    for field in Field::ALL {
        if let Some(node) = map.node(field.name()) {
            plan.fields.push((*field, text_from(&map, node, field.name())));
        }
    }
    for fact in Fact::ALL {
        if let Some(node) = map.node(fact.name()) {
            plan.facts.push((*fact, fact_from(&map, node, fact.name())));
        }
    }
    plan.extra = map.section("extra").map(|extra| read_extra(&extra)).unwrap_or_default();
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
    match table.node("path") {
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
    let default = table.text("default");
    let text = TextFrom { paths: path_of(&table, key, default.is_some()), default: default.unwrap_or_default() };
    table.finish();
    text
}

fn fact_from(map: &Section<'_>, node: &Node, key: &'static str) -> FactFrom {
    let Value::Table(_) = &node.value else { return FactFrom { paths: paths(map, node, key), is: Vec::new() } };
    let Some(table) = map.section_of(node, key) else { return FactFrom { paths: Vec::new(), is: Vec::new() } };
    let is = table.node("is").map(|node| words(&table, node, "is", "a text")).unwrap_or_default();
    let fact = FactFrom { paths: path_of(&table, key, false), is: is.into_iter().map(|(text, _)| text).collect() };
    table.finish();
    fact
}

fn event_key(map: &Section<'_>, node: &Node) -> Option<KeyFrom> {
    let Value::Table(_) = &node.value else { return Some(KeyFrom::First(paths(map, node, "event_key"))) };
    let table = map.section_of(node, "event_key")?;
    let all = table.node("all");
    if all.is_none() {
        table.missing("all", "write event_key = { all = [\"a path\", \"another\"] }, or a path alone");
    }
    let key = KeyFrom::All(paths(&table, all?, "all"));
    table.finish();
    Some(key)
}

/// Reads `type`: a path to our own names, or a path and the payload's names for ours.
fn event_type(map: &Section<'_>) -> TypeFrom {
    let Some(node) = map.node("type") else {
        map.missing("type", "say where the payload names the type of event, or write type = { default = \"click\" }");
        return TypeFrom::default();
    };
    let Value::Table(_) = &node.value else {
        return TypeFrom { paths: paths(map, node, "type"), ..TypeFrom::default() };
    };
    let Some(table) = map.section_of(node, "type") else { return TypeFrom::default() };
    let ours: Vec<(&'static str, OurType)> = OurType::all().map(|ours| (ours.name(), ours)).collect();
    let default = table.choice("default", &ours);
    let mut found = TypeFrom { paths: path_of(&table, "type", table.has("default")), names: Vec::new(), default };
    // `link.created = …` in TOML is a table `link` with a key `created`; `"link.created" = …` is one key.
    let link = table.node("link").and_then(|node| table.section_of(node, "link"));
    for (name, ours) in ours {
        let inside = name.strip_prefix("link.").and_then(|name| link.as_ref()?.node(name));
        for node in [table.node(name), inside].into_iter().flatten() {
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
    let Some(node) = map.node("event_time") else {
        let message = format!("{} has no event_time: events will have happened when they arrive", map.title);
        map.reading.sink.warn(map.at, message, "say where the payload has the time");
        return None;
    };
    let Value::Table(_) = &node.value else {
        plan.event_time = paths(map, node, "event_time");
        return None;
    };
    let table = map.section_of(node, "event_time")?;
    plan.event_time = path_of(&table, "time", false);
    plan.time_format = table.parsed("format", |format| {
        TimeFormat::new(format).map_err(|why| format!("{format:?} is no way to write a time: {why}"))
    });
    let zone = table.time_zone("zone");
    table.finish();
    zone
}

/// Reads `value_minor`: the amount, and what it counts: the smallest unit of its currency, so many of these, or the currency.
fn value(map: &Section<'_>, node: &Node) -> Option<(Vec<PayloadPath>, AmountUnit)> {
    let Value::Table(_) = &node.value else {
        return Some((paths(map, node, "value_minor"), AmountUnit::Smallest(1)));
    };
    let table = map.section_of(node, "value_minor")?;
    let unit = match table.node("times").map(|node| (&node.value, &node.at)) {
        Some((Value::Text(text), _)) if text == "currency" => Some(AmountUnit::Currency),
        Some((Value::Text(text), at)) => {
            let message = format!("times in {} cannot be {text:?}", table.title);
            table.error(at, message, "write times = \"currency\", or a number");
            None
        }
        _ => {
            let times = table.integer("times", 1..=1_000).and_then(|times| u32::try_from(times).ok());
            if times == Some(100)
                && let Some(node) = table.node("times")
            {
                let message = format!("times = 100 in {} fits currencies with two decimals only", table.title);
                map.reading.sink.warn(&node.at, message, "write times = \"currency\": yen have none, dinars three");
            }
            times.map(AmountUnit::Smallest)
        }
    };
    if matches!(unit, Some(AmountUnit::Currency)) && !map.has("currency") {
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
