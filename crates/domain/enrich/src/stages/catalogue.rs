//! What the platform does not say about a link with each event: the operator's list, and what the platform said before.
//!
//! A [`Catalogue`] does not change. [`Links`] is what it is made of, as the topic `links` tells it: a large layer that
//! is shared, and a small one of what is newer.

mod facts;
mod layer;
mod links;
#[cfg(test)]
mod links_tests;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use event::{EventType, LinkEvent, TAGS};

use super::Labelling;
use layer::{Layer, Row, RowRef, hash, is_named};

pub use facts::{Facts, after as facts_after, platform_facts};
pub use links::{Due, Links, ListInForce};
pub use read::{BadList, COLUMNS, MAX_LINKS, expires, link_name};

/// The columns that are joined, in the order of [`Facts::fields`].
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

/// So many links do not fit into the processor's caches.
const LARGE: usize = 20_000;
/// How many columns there are.
const FIELDS: usize = 12;

/// Links as they are at one version.
#[derive(Clone)]
pub struct Catalogue {
    version: u64,
    len: usize,
    /// What is newer goes before what is older.
    newer: Arc<Layer>,
    older: Arc<Layer>,
}

/// A link as the catalogue has it.
#[derive(Clone, Copy)]
pub struct Link<'c> {
    catalogue: &'c Catalogue,
    row: RowRef<'c>,
}

impl Catalogue {
    /// Names its contents. A catalogue from a file: a hash of the bytes; one from the topic `links`: one past the last
    /// offset that it has.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many links it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that it keeps in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.newer.memory_bytes() + self.older.memory_bytes()
    }

    /// The link of an event: by `domain/slug`, or else by its platform's id.
    #[must_use]
    pub fn find(&self, domain: &str, slug: &str, id: &str) -> Option<Link<'_>> {
        let by_name = if slug.is_empty() || domain.is_empty() { None } else { self.named(domain, slug) };
        by_name.or_else(|| if id.is_empty() { None } else { self.named("", id) })
    }

    /// Brings what [`Catalogue::find`] will need for these links (domain, slug, id) into the processor's caches, their
    /// misses overlapping. Before the links of a batch are looked for; a small catalogue is in the caches anyway.
    pub fn bring<'n>(&self, names: impl Iterator<Item = (&'n str, &'n str, &'n str)>) {
        if self.len < LARGE {
            return;
        }
        let hash_of = |(domain, slug, id): (&str, &str, &str)| {
            if domain.is_empty() || slug.is_empty() { hash("", id) } else { hash(domain, slug) }
        };
        let guessed: Vec<usize> = names.map(|name| self.older.guess(hash_of(name))).collect();
        guessed.into_iter().for_each(|guessed| self.older.touch(guessed));
    }

    fn named(&self, domain: &str, slug: &str) -> Option<Link<'_>> {
        let hashed = hash(domain, slug);
        let is_it = |name: &[u8]| is_named(name, domain, slug);
        let row = self.newer.find(hashed, is_it).or_else(|| self.older.find(hashed, is_it))?;
        (!row.is_empty()).then_some(Link { catalogue: self, row })
    }

    /// Every link, in no order.
    pub fn links(&self) -> impl Iterator<Item = Link<'_>> {
        let replaced = |row: &RowRef<'_>| {
            let name = row.name();
            self.newer.find(hash("", name), |found| found == name.as_bytes()).is_some()
        };
        let older = self.older.iter().filter(move |row| self.newer.len() == 0 || !replaced(row));
        self.newer.iter().chain(older).filter(|row| !row.is_empty()).map(move |row| Link { catalogue: self, row })
    }
}

impl<'c> Link<'c> {
    /// Its name: `domain/slug`, or the id that the platform gave.
    #[must_use]
    pub fn name(&self) -> &'c str {
        self.row.name()
    }

    /// Names what is known of it: the same name and version mean the same facts. Stamped on events.
    #[must_use]
    pub fn version(&self) -> u64 {
        if self.row.version == 0 { self.catalogue.version } else { self.row.version }
    }

    /// What the operator's list says of it.
    #[must_use]
    pub fn list(&self) -> Option<Facts<'c>> {
        self.row.row().list
    }

    /// What its platform said of it.
    #[must_use]
    pub fn platform(&self) -> Option<Facts<'c>> {
        self.row.row().platform
    }

    /// Its line in the list, from 1, where the list was read from a file.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.list().and_then(|list| u64::try_from(list.at).ok()).unwrap_or(0)
    }

    /// When it expires and when that is to be told as an event, if it was not.
    fn untold(&self) -> Option<(i64, i64)> {
        let Row { list, platform, told_ms, .. } = self.row.row();
        if platform.is_some_and(|platform| platform.expired || platform.deleted_ms.is_some()) {
            return None;
        }
        let says = [list, platform].into_iter().flatten().find(|facts| facts.expires_ms.is_some())?;
        let expires_ms = says.expires_ms?;
        // A platform that plans an expiry may tell it as well.
        let by_list = list.is_some_and(|list| list.expires_ms.is_some());
        let tell_ms = expires_ms.saturating_add(if by_list { 0 } else { PLATFORM_TELLS_WITHIN_MS });
        // What was over before it was known is not told. A link that is edited while its platform may still tell keeps
        // its turn, so it counts when that is over.
        (tell_ms > says.known_ms && told_ms != Some(expires_ms)).then_some((expires_ms, tell_ms))
    }
}

/// How long a platform has to tell an expiry that it planned, in milliseconds: after that, the timer tells it.
const PLATFORM_TELLS_WITHIN_MS: i64 = 600_000;

/// Finds the link of an event, and adds what is known of it.
#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    let Some(list) = at.catalogue else { return };
    if let Some(link) = list.find(&at.event.domain, &at.event.slug, &at.event.link_id) {
        at.more_tags = join(link, at.event, !at.hints.tags.is_empty());
    }
}

/// Adds to an event what is known of its link; what the event says itself stays. Of the tellers the list goes first.
/// `has_tags`: the platform gave some with the event. Returns the tags that are still to be united with them.
fn join<'e>(link: Link<'e>, event: &mut LinkEvent<'e>, has_tags: bool) -> &'e str {
    event.catalogue_version = link.version();
    let Row { list, platform, .. } = link.row.row();
    let (list, platform) = (list.unwrap_or_default(), platform.unwrap_or_default());
    let said = |column: Column| match list.field(column) {
        "" => platform.field(column),
        text => text,
    };
    let fill = |field: &mut Cow<'e, str>, column| {
        if field.is_empty() {
            let text = said(column);
            if !text.is_empty() {
                *field = Cow::Borrowed(text);
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
        let text = said(column);
        if !text.is_empty() && event.extra.get(name).is_empty() {
            event.extra.add(name, text);
        }
    }
    if event.r#type.is_visit() || event.r#type == EventType::Error {
        trace_visit(event, list, platform, said(Column::ExpectedHost));
    }
    let tags = said(Column::Tags);
    if !has_tags && event.extra.get(TAGS).is_empty() {
        event.extra.add(TAGS, tags);
        return "";
    }
    tags
}

/// What a visit tells that its link should not have had.
fn trace_visit(event: &mut LinkEvent<'_>, list: Facts<'_>, platform: Facts<'_>, expected: &str) {
    let over = |at: Option<i64>| at.is_some_and(|at| event.event_time.0 >= at);
    let (deleted, expired) = (over(platform.deleted_ms), over(list.expires_ms.or(platform.expires_ms)));
    if deleted {
        event.trace.push("catalogue:deleted".into());
    } else if expired {
        event.trace.push("catalogue:expired".into());
    }
    if !expected.is_empty() && !event.destination_host.is_empty() && event.destination_host != expected {
        event.trace.push(format!("catalogue:expected_host:{expected}").into());
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("version", &self.version).field("links", &self.len).finish_non_exhaustive()
    }
}
