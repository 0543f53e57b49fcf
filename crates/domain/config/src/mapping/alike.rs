//! Maps by which different events look like deliveries of one event, so that they count once.

use adapter::mapping::{Field, KeyFrom, MappingPlan, PayloadPath};

use crate::document::{Node, Value};
use crate::problem::Place;
use crate::section::Section;

/// Why two events may look like one, and where the map says so.
pub(crate) struct Alike {
    pub(crate) at: Place,
    kind: Kind,
}

enum Kind {
    /// Neither an id nor a time is read.
    NoIdNoTime,
    /// There is no id, and the time has no seconds.
    CoarseTime,
    /// The key is made of what many events share.
    SharedKey(String),
}

impl Alike {
    /// What a map says of the events that it reads; none when it tells them apart.
    pub(crate) fn of(map: &Section<'_>, plan: &MappingPlan) -> Option<Self> {
        let (kind, key) = match &plan.event_key {
            None if plan.event_time.is_empty() => (Kind::NoIdNoTime, None),
            None if is_coarse(map.node_of("event_time")?) => (Kind::CoarseTime, Some("event_time")),
            None => return None,
            Some(KeyFrom::First(paths) | KeyFrom::All(paths)) => {
                (Kind::SharedKey(shared(plan, paths)?), Some("event_key"))
            }
        };
        Some(Self { at: key.map_or(map.at, |key| map.place_of(key)).clone(), kind })
    }

    pub(crate) fn message(&self, title: &str, window: &str) -> String {
        match &self.kind {
            Kind::NoIdNoTime => format!(
                "the map of {title} has neither event_key nor event_time: clicks whose payloads are equal, such as two of one \
                 person on one link, count once in {window}"
            ),
            Kind::CoarseTime => format!(
                "the map of {title} has no event_key, and its event_time has no seconds: clicks whose payloads are otherwise equal count \
                 once in {window}"
            ),
            Kind::SharedKey(fields) => format!(
                "event_key of {title} is what many events share ({fields}): all that are equal in it count once in {window}"
            ),
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        "name an id of the event, or let event_key be { all = [...] } with a time in it; if the payload has neither, set remember_for \
         to how long the sender retries"
    }
}

/// The fields that a key is made of, if each of them says which link it was or who came, and none of them which event.
fn shared(plan: &MappingPlan, key: &[PayloadPath]) -> Option<String> {
    let mut names = Vec::new();
    for path in key {
        if plan.event_time.contains(path) {
            return None;
        }
        let of_path =
            |(field, text): &(Field, adapter::mapping::TextFrom)| text.paths.contains(path).then_some(field.name());
        names.push(plan.fields.iter().find_map(of_path)?);
    }
    Some(names.join(", "))
}

/// Whether a time is written in a format without seconds.
fn is_coarse(event_time: &Node) -> bool {
    let Value::Table(table) = &event_time.value else { return false };
    let Some(Value::Text(format)) = table.get("format").map(|entry| &entry.node.value) else { return false };
    let mut rest = format.as_str();
    while let Some((_, after)) = rest.split_once('%') {
        // Flags, a width and a point may stand before the letter: `%-S`, `%3f`, `%.f`, `%:z`.
        let after = after.trim_start_matches(|c: char| !c.is_ascii_alphabetic() && !matches!(c, '%' | '+'));
        let letter = after.chars().next();
        if letter.is_some_and(|letter| matches!(letter, 'S' | 's' | 'T' | 'f' | 'N' | 'r' | 'c' | 'X' | '+')) {
            return false;
        }
        rest = letter.map_or("", |letter| &after[letter.len_utf8()..]);
    }
    true
}
