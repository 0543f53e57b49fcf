//! A platform by configuration alone: paths into its payloads in place of code. `docs/mapping.md` explains the language.

mod event;
mod path;
mod plan;
mod read;
mod split;

use std::borrow::Cow;

use ::event::{EventKey, EventType};

pub use path::PayloadPath;
pub use plan::{AmountUnit, Fact, FactFrom, Field, KeyFrom, MappingPlan, OurType, TextFrom, TypeFrom};

use crate::Undecodable;
use crate::edge::{Keyed, fields_hash, key_part};
use crate::json::Given;
use crate::short_link;
use crate::time::TimeFormat;
use read::{Found, Scalar, Tree};

pub(crate) use event::adapt;
pub(crate) use split::{is_form, split};

/// A mapping, ready to read payloads.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    items: Option<PayloadPath>,
    text_plain: bool,
    /// The paths that the edge needs. A path has the same slot in both trees.
    head: Tree,
    /// All paths.
    whole: Tree,
    event_key: Option<Key>,
    event_type: Type,
    time: Vec<usize>,
    time_format: Option<TimeFormat>,
    fields: Vec<(Field, Text)>,
    facts: Vec<(Fact, Vec<usize>, Vec<String>)>,
    value: Option<(Vec<usize>, AmountUnit)>,
    extra: Vec<(String, Text)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Key {
    First(Vec<usize>),
    All(Vec<usize>),
}

#[derive(Debug, Clone, PartialEq)]
struct Type {
    slots: Vec<usize>,
    names: Vec<(String, OurType)>,
    default: Option<OurType>,
    /// As the first path is written, for when there is nothing.
    path: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Text {
    slots: Vec<usize>,
    default: String,
}

/// What an event's link is known by, as the payload says it.
struct Link<'a> {
    id: Given<Cow<'a, str>>,
    domain: Given<Cow<'a, str>>,
    slug: Given<Cow<'a, str>>,
}

/// The fields that say which link it is.
const LINK: [Field; 4] = [Field::LinkId, Field::ShortUrl, Field::Domain, Field::Slug];

impl Mapping {
    /// Makes a mapping of a plan.
    pub fn new(plan: MappingPlan) -> Self {
        let mut head = Tree::default();
        let mut slots = |paths: &[PayloadPath]| -> Vec<usize> { paths.iter().map(|path| head.add(path)).collect() };
        let event_key = plan.event_key.map(|key| match key {
            KeyFrom::First(paths) => Key::First(slots(&paths)),
            KeyFrom::All(paths) => Key::All(slots(&paths)),
        });
        let TypeFrom { paths, names, default } = plan.event_type;
        let path = paths.first().map(|path| path.as_str().to_owned()).unwrap_or_default();
        let event_type = Type { slots: slots(&paths), names, default, path };
        for (_, text) in plan.fields.iter().filter(|(field, _)| LINK.contains(field)) {
            slots(&text.paths);
        }
        // What is added to a copy gets the slots after those that both have.
        let mut whole = head.clone();
        let mut slots = |paths: &[PayloadPath]| -> Vec<usize> { paths.iter().map(|path| whole.add(path)).collect() };
        let time = slots(&plan.event_time);
        let mut text = |text: TextFrom| Text { slots: slots(&text.paths), default: text.default };
        let fields = plan.fields.into_iter().map(|(field, from)| (field, text(from))).collect();
        let extra = plan.extra.into_iter().map(|(name, from)| (name, text(from))).collect();
        let facts = plan.facts.into_iter().map(|(fact, from)| (fact, slots(&from.paths), from.is)).collect();
        let value = plan.value.map(|(paths, unit)| (slots(&paths), unit));
        Self {
            items: plan.items,
            text_plain: plan.text_plain,
            head,
            whole,
            event_key,
            event_type,
            time,
            time_format: plan.time_format,
            fields,
            facts,
            value,
            extra,
        }
    }

    /// Whether bodies may be called plain text.
    pub(crate) fn takes_text(&self) -> bool {
        self.text_plain
    }

    /// The type of an event.
    fn type_of(&self, found: &Found<'_>) -> Result<OurType, Undecodable> {
        let Type { slots, names, default, path } = &self.event_type;
        let said = first(slots, found).and_then(Scalar::text);
        let known = said.as_deref().map(str::trim).and_then(|said| match names.is_empty() {
            true => OurType::parse(said),
            false => names.iter().find(|(theirs, _)| theirs == said).map(|(_, ours)| *ours),
        });
        known.or(*default).ok_or_else(|| match said {
            Some(said) => Undecodable::unknown_type(&said),
            None if wrong(slots, found) => Undecodable::wrong_type(path),
            None => Undecodable::missing(path),
        })
    }

    /// What says which link it is. The parts of a short link stand in for a domain and a slug that are not given.
    fn link<'a>(&self, found: &Found<'a>) -> Link<'a> {
        let text = |field| self.text(field, found);
        let mut link = Link { id: text(Field::LinkId), domain: text(Field::Domain), slug: text(Field::Slug) };
        if let Some((domain, slug)) = text(Field::ShortUrl).ok().and_then(short_link::halves) {
            if link.domain.as_str().trim().is_empty() {
                link.domain = Given::Is(domain);
            }
            if link.slug.as_str().trim().is_empty() {
                link.slug = Given::Is(slug);
            }
        }
        link
    }

    /// The text of a field: of the first path that holds one, else the fixed one.
    fn text<'a>(&self, field: Field, found: &Found<'a>) -> Given<Cow<'a, str>> {
        match self.fields.iter().find(|(named, _)| *named == field) {
            Some((_, text)) => text.of(found),
            None => Given::Absent,
        }
    }

    /// What the link is known by.
    fn identity<'l>(&self, link: &'l Link<'_>) -> Result<Cow<'l, str>, Undecodable> {
        match (link.id.as_str().trim(), link.domain.as_str().trim(), link.slug.as_str().trim()) {
            ("", "", _) | ("", _, "") => {
                let field = LINK.iter().find(|field| self.fields.iter().any(|(named, _)| named == *field));
                Err(Undecodable::missing(field.map_or(Field::LinkId.name(), |field| field.name())))
            }
            ("", domain, slug) => Ok(format!("{domain}/{slug}").into()),
            (id, ..) => Ok(id.into()),
        }
    }

    /// The key recipe: type and key, after the link where the order of a link's events counts. The type is part of it,
    /// since a sale may well repeat the id of the click that led to it.
    fn key(&self, found: &Found<'_>) -> Keyed {
        let kind = self.type_of(found)?;
        let link = self.link(found);
        let identity = self.identity(&link)?;
        let Some(known_as) = self.known_as(found) else { return Ok(None) };
        let key = format!("{}:{known_as}", kind.name);
        Ok(Some(match kind.event_type {
            EventType::Lifecycle => EventKey::of_link(&key_part(&identity), &key),
            _ => EventKey::whole(key),
        }))
    }

    fn known_as(&self, found: &Found<'_>) -> Option<String> {
        match self.event_key.as_ref()? {
            Key::First(slots) => {
                let text = first(slots, found)?.text()?;
                Some(key_part(text.trim()).into_owned())
            }
            Key::All(slots) => {
                let text = |slot: &usize| first(&[*slot], found)?.text();
                let parts: Vec<_> = slots.iter().map(text).collect::<Option<_>>()?;
                Some(fields_hash(parts.iter().map(AsRef::as_ref)))
            }
        }
    }
}

impl Text {
    fn of<'a>(&self, found: &Found<'a>) -> Given<Cow<'a, str>> {
        match first(&self.slots, found) {
            Some(value) => value.text().map_or(Given::Wrong, Given::Is),
            None if !self.default.is_empty() => Given::Is(self.default.clone().into()),
            None if wrong(&self.slots, found) => Given::Wrong,
            None => Given::Absent,
        }
    }
}

/// The first value that says something.
fn first<'f, 'a>(slots: &[usize], found: &'f Found<'a>) -> Option<&'f Scalar<'a>> {
    let values = slots.iter().filter_map(|slot| found.values.get(*slot)?.get());
    values.into_iter().find(|value| !value.is_blank())
}

/// Whether there is a value that cannot be used.
fn wrong(slots: &[usize], found: &Found<'_>) -> bool {
    slots.iter().any(|slot| matches!(found.values.get(*slot), Some(Given::Wrong)))
}
