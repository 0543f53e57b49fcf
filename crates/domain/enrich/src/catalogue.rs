//! What the platform does not say about a link: a list of the operator's, joined to each event.
//!
//! A million links take about 134 MB: texts that repeat are kept once, and a link is found by its hash alone.

mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hasher;

use event::{EventType, LinkEvent};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

pub use read::{BadList, COLUMNS, MAX_LINKS, expires, link_name};

/// The columns that are joined, in the order of [`Row::fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Column {
    Kind,
    Owner,
    Campaign,
    Intent,
    Contact,
    Deal,
    Programme,
    Placement,
    Partner,
    Launch,
    ExpectedHost,
    Tags,
}

/// How many columns there are.
const FIELDS: usize = 12;

/// One link. Fields are numbers of texts; 0 is the empty one.
#[derive(Debug, Clone)]
struct Row {
    /// Where its name begins in [`Catalogue::links`], and how long it is.
    link: u32,
    link_len: u16,
    /// The line of the list.
    line: u32,
    fields: [u32; FIELDS],
    /// From when on it has expired, in milliseconds since 1970; [`i64::MAX`]: never.
    expires_ms: i64,
}

/// A list of links.
pub struct Catalogue {
    /// Hash of the bytes of the list, without the top bit so that it fits everywhere; never 0.
    version: u64,
    links: String,
    /// Where each text ends in `texts`.
    ends: Vec<u32>,
    texts: String,
    rows: Vec<Row>,
    table: HashTable<u32>,
}

/// A link as the catalogue has it.
#[derive(Clone, Copy)]
pub struct Link<'c> {
    catalogue: &'c Catalogue,
    row: &'c Row,
}

impl Catalogue {
    /// Names the list: the same bytes have the same version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many links it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The bytes that it keeps in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // The table has one byte more for each of its places.
        self.links.capacity()
            + self.texts.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.rows.capacity() * size_of::<Row>()
            + self.table.capacity() * (size_of::<u32>() + 1) * 8 / 7
    }

    /// The link of an event: by `domain/slug`, or else by its platform's id.
    #[must_use]
    pub fn find(&self, domain: &str, slug: &str, id: &str) -> Option<Link<'_>> {
        let by_name = if slug.is_empty() || domain.is_empty() { None } else { self.named(domain, slug) };
        by_name.or_else(|| match id.split_once('/') {
            Some((domain, slug)) => self.named(domain, slug),
            None => self.named("", id),
        })
    }

    fn named(&self, domain: &str, slug: &str) -> Option<Link<'_>> {
        let is_it = |row: &u32| is_named(self.link_of(*row), domain, slug);
        let row = self.table.find(hash(domain, slug), is_it)?;
        Some(Link { catalogue: self, row: self.rows.get(*row as usize)? })
    }

    fn link_of(&self, row: u32) -> &str {
        let Some(row) = self.rows.get(row as usize) else { return "" };
        let from = row.link as usize;
        self.links.get(from..from + usize::from(row.link_len)).unwrap_or_default()
    }

    fn text(&self, number: u32) -> &str {
        let end = |number: usize| self.ends.get(number).map_or(0, |end| *end as usize);
        let from = (number as usize).checked_sub(1).map_or(0, end);
        self.texts.get(from..end(number as usize)).unwrap_or_default()
    }
}

impl<'c> Link<'c> {
    /// Its line in the list, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.row.line
    }

    /// Its tags.
    pub fn tags(self) -> impl Iterator<Item = &'c str> + use<'c> {
        self.field(Column::Tags).split(',').filter(|tag| !tag.is_empty())
    }

    /// Adds to an event what the list says of its link; what the platform said stays, but for the owner.
    pub(crate) fn join(self, event: &mut LinkEvent<'_>) {
        let link = self;
        event.catalogue_version = self.catalogue.version;
        let fill = |field: &mut std::borrow::Cow<'_, str>, column| {
            if field.is_empty() {
                let text = link.field(column);
                if !text.is_empty() {
                    *field = text.to_owned().into();
                }
            }
        };
        fill(&mut event.link_kind, Column::Kind);
        fill(&mut event.owner, Column::Owner);
        fill(&mut event.campaign, Column::Campaign);
        fill(&mut event.intent, Column::Intent);
        fill(&mut event.programme, Column::Programme);
        fill(&mut event.placement, Column::Placement);
        fill(&mut event.partner, Column::Partner);
        fill(&mut event.launch, Column::Launch);
        for (name, column) in [("contact", Column::Contact), ("deal", Column::Deal)] {
            let text = link.field(column);
            if !text.is_empty() && event.extra.get(name).is_empty() {
                event.extra.add(name, text.to_owned());
            }
        }
        let visited = event.r#type.is_visit() || event.r#type == EventType::Error;
        if visited && event.event_time.0 >= link.row.expires_ms {
            event.trace.push("catalogue:expired".into());
        }
        let expected = link.field(Column::ExpectedHost);
        if visited && !expected.is_empty() && !event.destination_host.is_empty() && event.destination_host != expected {
            event.trace.push(format!("catalogue:expected_host:{expected}").into());
        }
    }

    fn field(&self, column: Column) -> &'c str {
        self.catalogue.text(self.row.fields[column as usize])
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("version", &self.version).field("links", &self.len()).finish_non_exhaustive()
    }
}

fn hash(domain: &str, slug: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(domain.as_bytes());
    hasher.write_u8(b'/');
    hasher.write(slug.as_bytes());
    hasher.finish()
}

/// Whether a link of the list, `domain/slug` or an id, is the one.
fn is_named(link: &str, domain: &str, slug: &str) -> bool {
    if domain.is_empty() {
        return link == slug;
    }
    link.strip_prefix(domain).and_then(|rest| rest.strip_prefix('/')) == Some(slug)
}
