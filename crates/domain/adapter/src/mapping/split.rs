//! The edge's half: where the events of a body are, and what each is known by.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Mapping;
use super::read::{Event, Found};
use crate::Undecodable;
use crate::edge::{self, Element, MAX_ELEMENTS};
use crate::json::{Given, Unread};
use crate::mend::Mending;
use crate::salvage;

/// Finds the events of a body.
pub(crate) fn split<'b>(
    mapping: &Mapping,
    body: &'b [u8],
    content_type: &str,
) -> Result<Vec<Element<'b>>, Undecodable> {
    let key = |found: &Found<'_>| mapping.key(found);
    let read = |bytes| edge::parse_head_with(bytes, Event(&mapping.head));
    if edge::is_ndjson(content_type) {
        return edge::lines_with(body, read, key);
    }
    if edge::is_form(content_type) {
        return edge::form(body, |body| Ok(Given::Is(mapping.head.read_form(body, Mending::Distinct))), key);
    }
    let body = edge::not_empty(body)?;
    let names = mapping.items.as_ref().map_or(&[][..], |path| path.names());
    // First the strict pass, which also bounds the depth; then the bounds of what it read.
    match edge::strict_with(body, Within { names, mapping }) {
        Ok(Heads::One(head)) => Ok(vec![edge::element(edge::value_at(body, names)?, 0, Ok(head), key)]),
        Ok(Heads::Many { more: true, .. }) => Err(edge::too_many()),
        Ok(Heads::Many { heads, more: false }) => edge::array_at(body, names, heads, key),
        Ok(Heads::Nowhere) => Err(Undecodable::missing(mapping.items.as_ref().map_or("", |path| path.as_str()))),
        Err(whole) => match salvage::value_at(body, names).map(|at| &body[at..]) {
            Some(array) if array.starts_with(b"[") => salvage::events(array, !names.is_empty(), whole, read, key),
            Some(event) => {
                let event = salvage::first_value(event);
                Ok(vec![edge::element(event, 0, Ok(read(event)?), key)])
            }
            None => Err(whole),
        },
    }
}

/// Whether a form is an event as it stands: some field is read, and what is read is enough.
pub(crate) fn is_form(mapping: &Mapping, body: &[u8]) -> bool {
    let found = mapping.whole.read_form(body, Mending::Plain);
    let link = mapping.link(&found);
    found.values.iter().any(|value| value.get().is_some())
        && mapping.type_of(&found).is_ok()
        && mapping.identity(&link).is_ok()
}

/// What the edge reads of a body.
enum Heads<'a> {
    /// One event.
    One(Given<Found<'a>>),
    /// An array of events, and whether there are more than a body may have.
    Many { heads: Vec<Given<Found<'a>>>, more: bool },
    /// The path to the events leads nowhere.
    Nowhere,
}

/// Reads the events at a path.
struct Within<'m> {
    names: &'m [String],
    mapping: &'m Mapping,
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Heads<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Heads<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Within<'_> {
    fn scalar<'de>(&self) -> Heads<'de> {
        if self.names.is_empty() { Heads::One(Given::Wrong) } else { Heads::Nowhere }
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Heads<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Heads<'de>, E> {
        Ok(self.scalar())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Heads<'de>, E> {
        Ok(self.scalar())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Heads<'de>, E> {
        Ok(self.scalar())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Heads<'de>, E> {
        Ok(self.scalar())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Heads<'de>, E> {
        Ok(self.scalar())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Heads<'de>, E> {
        Ok(self.scalar())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Heads<'de>, A::Error> {
        let Some((name, names)) = self.names.split_first() else {
            let event = Event(&self.mapping.head).deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
            return Ok(Heads::One(event));
        };
        let mut heads = Heads::Nowhere;
        while let Some(found) = map.next_key_seed(Named(name))? {
            match found {
                true => heads = map.next_value_seed(Within { names, mapping: self.mapping })?,
                false => _ = map.next_value::<Unread>()?,
            }
        }
        Ok(heads)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Heads<'de>, A::Error> {
        let mut heads = Vec::new();
        if self.names.is_empty() {
            while heads.len() < MAX_ELEMENTS {
                match list.next_element_seed(Event(&self.mapping.head))? {
                    Some(head) => heads.push(head),
                    None => return Ok(Heads::Many { heads, more: false }),
                }
            }
        }
        let mut more = false;
        while list.next_element::<Unread>()?.is_some() {
            more = true;
        }
        Ok(if self.names.is_empty() { Heads::Many { heads, more } } else { Heads::Nowhere })
    }
}

/// Whether a key is the one.
struct Named<'m>(&'m str);

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Named<'_> {
    type Value = bool;
    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
