//! The edge: is it JSON, where do its events start and end, what is each known by.

use std::borrow::Cow;
use std::marker::PhantomData;

use event::EventKey;
use serde::Deserialize;
use serde::de::DeserializeSeed;
use sha2::{Digest, Sha256};

use crate::Undecodable;
use crate::json::{Given, Shape};
use crate::mend::{self, Mending, trimmed};
use crate::owned::Owned;
use crate::salvage;

/// The most events of one request: far above any real batch, and a bound on the records that one request becomes.
pub const MAX_ELEMENTS: usize = 10_000;

/// A key's part that is longer stands in it as its hash.
const MAX_KEY_PART: usize = 200;

/// One event of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element<'b> {
    /// Its bytes as they came, without the space around them; decoded, where they came in UTF-16 or in a field of a form.
    pub bytes: Cow<'b, [u8]>,
    /// What every delivery of this event has in common.
    pub key: EventKey,
    /// Its place in the body, from 0.
    pub ordinal: u32,
    /// The content type of `bytes`.
    pub content_type: &'static str,
    /// Why it cannot be used, if so: it is stored all the same, under the hash of its bytes.
    pub quarantine: Option<Undecodable>,
}

impl Element<'_> {
    /// The same element with bytes of its own.
    pub(crate) fn into_owned<'o>(self) -> Element<'o> {
        Element { bytes: Cow::Owned(self.bytes.into_owned()), ..self }
    }
}

/// What a recipe finds in the head of an element: the key, or `None` in a good event that has no key of its own.
pub(crate) type Keyed = Result<Option<EventKey>, Undecodable>;

/// The key of bytes in which no key is found: their SHA-256.
pub fn fallback_key(bytes: &[u8]) -> EventKey {
    EventKey::whole(format!("body:{}", const_hex::encode(Sha256::digest(bytes))))
}

/// Whether a content type is JSON, or not said. Parameters and case do not matter.
pub fn is_json(content_type: &str) -> bool {
    let media_type = media_type(content_type);
    media_type.is_empty()
        || media_type.eq_ignore_ascii_case("application/json")
        || media_type.to_ascii_lowercase().ends_with("+json")
        || media_type.eq_ignore_ascii_case("text/json")
}

/// The content type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Whether a content type is a form.
pub(crate) fn is_form(content_type: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case(FORM)
}

/// Whether a content type is plain text.
pub(crate) fn is_plain_text(content_type: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case("text/plain")
}

/// Whether a content type is one JSON document a line.
pub(crate) fn is_ndjson(content_type: &str) -> bool {
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"]
        .iter()
        .any(|name| media_type(content_type).eq_ignore_ascii_case(name))
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Reads a whole text, mended where it has to be. The parser's own messages quote the payload, so only the place is said.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Undecodable> {
    parse_with(bytes, PhantomData)
}

/// As [`parse`], by a seed that knows what to look for.
pub(crate) fn parse_with<'a, S: DeserializeSeed<'a> + Copy>(bytes: &'a [u8], seed: S) -> Result<S::Value, Undecodable> {
    strict_with(bytes, seed).or_else(|why| mended(bytes, Mending::Plain, seed).unwrap_or(Err(why)))
}

/// As [`parse`], for what a key is made of.
pub(crate) fn parse_head<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Undecodable> {
    parse_head_with(bytes, PhantomData)
}

/// As [`parse_head`], by a seed that knows what to look for.
pub(crate) fn parse_head_with<'a, S: DeserializeSeed<'a> + Copy>(
    bytes: &'a [u8],
    seed: S,
) -> Result<S::Value, Undecodable> {
    strict_with(bytes, seed).or_else(|why| mended(bytes, Mending::Distinct, seed).unwrap_or(Err(why)))
}

/// Reads a whole text that needs no mending.
pub(crate) fn strict<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Undecodable> {
    strict_with(bytes, PhantomData)
}

/// As [`strict`], by a seed that knows what to look for.
pub(crate) fn strict_with<'a, S: DeserializeSeed<'a>>(bytes: &'a [u8], seed: S) -> Result<S::Value, Undecodable> {
    let text = simdutf8::compat::from_utf8(bytes).map_err(|error| {
        Undecodable::new("not_utf8", format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    let mut deserializer = sonic_rs::Deserializer::from_str(text);
    let read = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| not_json(&error))
}

/// Reads what mending makes of a text; `None` when there is nothing to mend.
fn mended<'a, S: DeserializeSeed<'a>>(
    bytes: &[u8],
    mending: Mending,
    seed: S,
) -> Option<Result<S::Value, Undecodable>> {
    let text = mend::json(bytes, mending)?;
    Some(read_owned(&text, seed))
}

/// Reads a whole text that is gone afterwards.
fn read_owned<'a, S: DeserializeSeed<'a>>(text: &str, seed: S) -> Result<S::Value, Undecodable> {
    let mut deserializer = sonic_rs::Deserializer::from_str(text);
    let read = seed.deserialize(Owned::new(&mut deserializer));
    read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| not_json(&error))
}

/// Reads a whole text that was decoded from another one, mended where it has to be.
pub(crate) fn read_decoded<'a, T: Deserialize<'a>>(bytes: &[u8], mending: Mending) -> Result<T, Undecodable> {
    match mend::json(bytes, mending) {
        Some(text) => read_owned(&text, PhantomData),
        None => read_owned(&String::from_utf8_lossy(bytes), PhantomData),
    }
}

fn not_json(error: &sonic_rs::Error) -> Undecodable {
    let kind = if error.is_eof() { "ends early" } else { "is not valid JSON" };
    Undecodable::new("not_json", format!("the body {kind} at line {} column {}", error.line(), error.column()))
}

/// A part of a key: as it stands when that is short and holds no e-mail or IP address, else its hash.
pub(crate) fn key_part(part: &str) -> Cow<'_, str> {
    if part.len() <= MAX_KEY_PART && event::personal::find(part).is_none() {
        return Cow::Borrowed(part);
    }
    Cow::Owned(format!("sha256:{}", const_hex::encode(Sha256::digest(part.as_bytes()))))
}

/// The key of an event that has no id: the hash of what tells it from others.
pub(crate) fn fields_key<'t>(kind: &str, parts: impl IntoIterator<Item = &'t str>) -> EventKey {
    EventKey::whole(format!("{kind}:{}", fields_hash(parts)))
}

/// A hash of several texts, each with its length.
pub(crate) fn fields_hash<'t>(parts: impl IntoIterator<Item = &'t str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    format!("sha256:{}", const_hex::encode(hash.finalize()))
}

/// What a link is known by at the edge: its id, or else domain and slug. Without either an event is about nothing.
pub(crate) fn identity<'t>(
    path: &str,
    id: &'t Given<Cow<'_, str>>,
    domain: &Given<Cow<'_, str>>,
    slug: &Given<Cow<'_, str>>,
) -> Result<Cow<'t, str>, Undecodable> {
    match (id.as_str().trim(), domain.as_str().trim(), slug.as_str().trim()) {
        ("", "", _) | ("", _, "") => Err(Undecodable::missing(&format!("{path}.id"))),
        ("", domain, slug) => Ok(format!("{domain}/{slug}").into()),
        (id, ..) => Ok(id.into()),
    }
}

/// The element itself, which must be an object.
pub(crate) fn object<'a, T: Shape<'a>>(given: Given<T>) -> Result<T, Undecodable> {
    given.ok().ok_or_else(Undecodable::no_object)
}

/// A field that every event of its kind has.
pub(crate) fn required<T>(path: &str, given: Given<T>) -> Result<T, Undecodable> {
    match given {
        Given::Is(value) => Ok(value),
        Given::Wrong => Err(Undecodable::wrong_type(path)),
        Given::Absent => Err(Undecodable::missing(path)),
    }
}

/// The content type of an element in JSON.
pub(crate) const JSON: &str = "application/json";

pub(crate) fn element<'b, H>(
    bytes: &'b [u8],
    ordinal: usize,
    head: Result<Given<H>, Undecodable>,
    recipe: impl Fn(&H) -> Keyed,
) -> Element<'b> {
    let keyed = head.and_then(|head| match head {
        Given::Is(head) => recipe(&head),
        Given::Absent | Given::Wrong => Err(Undecodable::no_object()),
    });
    let (key, quarantine) = match keyed {
        Ok(key) => (key, None),
        Err(undecodable) => (None, Some(undecodable)),
    };
    let key = key.unwrap_or_else(|| fallback_key(bytes));
    // A body has at most MAX_ELEMENTS elements.
    Element { bytes: bytes.into(), key, ordinal: ordinal as u32, content_type: JSON, quarantine }
}

fn empty() -> Undecodable {
    Undecodable::new("empty", "the body holds no event")
}

pub(crate) fn too_many() -> Undecodable {
    Undecodable::new("too_many_events", format!("the body holds more than {MAX_ELEMENTS} events"))
}

/// A body without the space around it.
pub(crate) fn not_empty(body: &[u8]) -> Result<&[u8], Undecodable> {
    let body = trimmed(body);
    if body.is_empty() { Err(empty()) } else { Ok(body) }
}

/// Whether an element is an object in JSON, good or not.
pub(crate) fn is_readable(element: &Element<'_>) -> bool {
    element.quarantine.as_ref().is_none_or(|why| !["not_json", "not_utf8", "not_an_event"].contains(&why.reason))
}

/// A body that is one event.
pub(crate) fn one<'b, H: Shape<'b>>(
    body: &'b [u8],
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    let body = not_empty(body)?;
    Ok(vec![element(body, 0, Ok(parse_head(body)?), recipe)])
}

/// A body that is one event, or an array of events.
pub(crate) fn one_or_array<'b, H: Shape<'b>>(
    body: &'b [u8],
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    let body = trimmed(body);
    if body.first() != Some(&b'[') {
        return one(body, recipe);
    }
    // First the strict pass, which also bounds the depth; then the bounds of what it read.
    match strict::<Given<Vec<Given<H>>>>(body) {
        Ok(heads) => items(heads.or_empty(), body, recipe),
        Err(whole) => salvage::events(body, false, whole, parse_head, recipe),
    }
}

/// A body that is an object with an array of events at a path of names. `heads` are those events, as a strict pass over
/// the whole body has read them.
pub(crate) fn array_at<'b, H>(
    body: &'b [u8],
    names: &[impl AsRef<str>],
    heads: Vec<Given<H>>,
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    items(heads, value_at(body, names)?, recipe)
}

/// The bytes of the value at a path of names, in a body that was parsed. As in the strict pass, the last of several equal
/// keys counts.
pub(crate) fn value_at<'b>(body: &'b [u8], names: &[impl AsRef<str>]) -> Result<&'b [u8], Undecodable> {
    let mut value = body;
    for name in names.iter().map(AsRef::as_ref) {
        let mut found = None;
        for field in sonic_rs::to_object_iter(value) {
            match field {
                Ok((key, inner)) if key == name => found = Some(inner.as_raw_cow()),
                Ok(_) => {}
                Err(_) => return Err(unclear(name)),
            }
        }
        let Some(Cow::Borrowed(inner)) = found else { return Err(unclear(name)) };
        value = inner.as_bytes();
    }
    Ok(value)
}

/// The events of an array that was parsed; the array's bytes give the bounds.
fn items<'b, H>(
    heads: Vec<Given<H>>,
    array: &'b [u8],
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    match heads.len() {
        0 => return Err(empty()),
        1..=MAX_ELEMENTS => {}
        _ => return Err(too_many()),
    }
    let mut elements = Vec::with_capacity(heads.len());
    for (ordinal, (head, bounds)) in heads.into_iter().zip(sonic_rs::to_array_iter(array)).enumerate() {
        let Ok(Cow::Borrowed(json)) = bounds.map(|json| json.as_raw_cow()) else {
            return Err(unclear(&format!("element {ordinal}")));
        };
        elements.push(element(json.as_bytes(), ordinal, Ok(head), &recipe));
    }
    Ok(elements)
}

fn unclear(what: &str) -> Undecodable {
    Undecodable::new("not_json", format!("the bounds of {what} are unclear"))
}

/// A body that is a form: one event, whose fields `read` turns into a head.
pub(crate) fn form<'b, H>(
    body: &'b [u8],
    read: impl Fn(&'b [u8]) -> Result<Given<H>, Undecodable>,
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    let body = not_empty(body)?;
    Ok(vec![Element { content_type: FORM, ..element(body, 0, read(body), recipe) }])
}

/// A body with one event a line. A line that is not JSON spoils itself only; empty lines are passed over.
pub(crate) fn lines<'b, H: Shape<'b>>(
    body: &'b [u8],
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    lines_with(body, parse_head, recipe)
}

/// As [`lines`], by a function that reads a line.
pub(crate) fn lines_with<'b, H>(
    body: &'b [u8],
    parse: impl Fn(&'b [u8]) -> Result<Given<H>, Undecodable>,
    recipe: impl Fn(&H) -> Keyed,
) -> Result<Vec<Element<'b>>, Undecodable> {
    let lines = || body.split(|byte| *byte == b'\n').map(trimmed).filter(|line| !line.is_empty());
    match lines().count() {
        0 => return Err(empty()),
        1..=MAX_ELEMENTS => {}
        _ => return Err(too_many()),
    }
    Ok(lines().enumerate().map(|(ordinal, line)| element(line, ordinal, parse(line), &recipe)).collect())
}
