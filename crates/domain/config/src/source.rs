//! Sources: who sends, how it is checked, and how long it is remembered.

use std::time::Duration;

use adapter::{ATTRIBUTE_HEADERS, Adapter, Dialect};
use signature::{Scheme, Secret};

use crate::availability;
use crate::owners::Declared;
use crate::patience::{Patience, patience};
use crate::platform::Ingest;
use crate::section::{Section, words};
use crate::{defaults, mapping, privacy, scheme, values, window};

/// A source: one sender, one path (`/v1/webhooks/{name}`).
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, as in the path of its webhooks.
    pub name: String,
    /// What reads its payloads.
    pub adapter: Adapter,
    /// How its payloads are read.
    pub dialect: Dialect,
    /// Who owns it (an owner's id).
    pub owner: String,
    /// How its deliveries are authenticated.
    pub scheme: Scheme,
    /// What they are authenticated with; empty only when secrets were not looked up.
    pub secrets: Vec<Secret>,
    /// How long a duplicate is recognised.
    pub remember_for: Duration,
    /// How much it may send.
    pub quota: Option<Quota>,
    /// After how long without an event it counts as silent, for rules with `silence`; learned when left out.
    pub quiet_after: Option<Duration>,
    /// The largest body in bytes, on the wire and after decompression.
    pub max_body: u64,
    /// Requests of it that may wait for their acknowledgement at once, on each instance.
    pub in_flight: u32,
    /// The public address that its sender posts to, for schemes whose signature covers the URL.
    pub public_url: Option<String>,
    /// Whether events come in queries: of a GET, and of a POST or PUT without a body.
    pub events_in_query: bool,
    /// Whether its visitors are told apart.
    pub visitors: bool,
    /// Whether all of it is test data.
    pub test: bool,
}

/// How much a source may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Events a second, on each instance of ingest; a second's worth may come at once.
    pub per_second: u32,
    /// What happens above it.
    pub when_over: WhenOver,
}

/// What happens to deliveries above a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenOver {
    /// They are answered 429 with Retry-After.
    Refuse,
    /// They are accepted and counted: for platforms that switch off a webhook that refuses.
    AcceptAndWarn,
}

/// `visitors` is what holds for a source that does not say it.
pub(crate) fn read(sections: &Section<'_>, owners: &Declared, ingest: &Ingest, visitors: bool) -> Vec<Source> {
    let mut sources = Vec::new();
    for entry in sections.entries() {
        if !is_name(&entry.key) {
            sections.error(
                &entry.at,
                format!("{:?} cannot name a source: the name is part of its address", entry.key),
                "use letters, digits, - and _ (at most 64)",
            );
        }
        let Some(mut section) = sections.section_of(&entry.node, &entry.key) else { continue };
        section.title = format!("[source.{}]", entry.key);
        sources.extend(read_one(entry.key.clone(), section, owners, ingest, visitors));
    }
    sources
}

fn read_one(name: String, section: Section<'_>, owners: &Declared, ingest: &Ingest, visitors: bool) -> Option<Source> {
    let sink = section.reading.sink;
    let asked_for = section.required("adapter", "name the platform that sends, such as \"dub\" or \"canonical\"");
    let adapter = asked_for.as_ref().and_then(|(name, at)| availability::adapter(name, at, sink));
    let is_mapping = adapter == Some(Adapter::Mapping);
    let (mapping, mapped_zone, alike) = match is_mapping.then(|| mapping::read(&section)).flatten() {
        Some(read) => (Some(read.mapping), read.zone, read.alike),
        None => (None, None, None),
    };
    let owner = section.owner("owner", owners);
    // Of an adapter that does not exist, a missing scheme is not the problem.
    let language_has = |name: &&str| availability::ADAPTERS.contains(name);
    let scheme = scheme::read_scheme(&section, asked_for.as_ref().map(|(name, _)| name.as_str()).filter(language_has));
    let secrets = scheme::read_secrets(&section, scheme.as_ref());
    let quota = section.section("quota").and_then(read_quota);
    let remember_for = section.duration("remember_for", defaults::REMEMBER_FOR_RANGE);
    let quiet_after = section.duration("quiet_after", Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3_600));
    let max_body = section.size("max_body", defaults::MAX_BODY_RANGE).unwrap_or(ingest.max_body);
    check_fits(&section, max_body, ingest.memory);
    let in_flight =
        section.integer("in_flight", defaults::IN_FLIGHT_RANGE).and_then(|number| u32::try_from(number).ok());
    let public_url = read_public_url(&section);
    let visitors = privacy::visitors(&section).unwrap_or(visitors);
    let test = section.flag("test").unwrap_or(false);
    let attributes_unproven = read_attributes_unproven(&section, adapter, scheme.as_ref());
    let events_in_query = read_events_in_query(&section, adapter, scheme.as_ref());
    let zone = section.time_zone("zone");
    if zone.is_some() && mapped_zone.is_some() {
        let message = format!("zone stands in {} and in the event_time of its map", section.title);
        section.error(section.place("zone"), message, "keep one of them");
    }
    let time_zone = mapped_zone.or(zone).unwrap_or(defaults::SOURCE_ZONE);
    if let Some(scheme) = &scheme
        && scheme.signs_url()
        && !section.has("public_url")
    {
        let hint = "add public_url = \"https://…/v1/webhooks/…\", the address that the sender was given";
        let message = format!("scheme {:?} signs the URL, which {} does not give", scheme.name(), section.title);
        section.error(section.at, message, hint);
    }
    if let (Some(adapter), Some(scheme)) = (adapter, &scheme) {
        warn_about_window(&section, adapter, scheme, remember_for, quota);
        warn_about_refusals(&section, adapter.name(), scheme, quota);
        if let Some(alike) = alike {
            let window = words(remember_for.unwrap_or_else(|| window::default_for(adapter, scheme)));
            sink.warn(&alike.at, alike.message(&section.title, &window), alike.hint());
        }
    }
    section.finish();
    let (adapter, scheme) = (adapter?, scheme?);
    let remember_for = remember_for.unwrap_or_else(|| window::default_for(adapter, &scheme));
    Some(Source {
        name,
        adapter,
        dialect: Dialect { time_zone, mapping, attributes_unproven },
        owner: owner?,
        scheme,
        secrets,
        remember_for,
        quota,
        quiet_after,
        max_body,
        in_flight: in_flight.unwrap_or(ingest.in_flight),
        public_url,
        events_in_query,
        visitors,
        test,
    })
}

fn warn_about_window(
    section: &Section<'_>,
    adapter: Adapter,
    scheme: &Scheme,
    remember_for: Option<Duration>,
    quota: Option<Quota>,
) {
    let sink = section.reading.sink;
    if let (Some(window), Some((sender, horizon))) = (remember_for, window::horizon(adapter, scheme))
        && window < horizon
    {
        let (known, kept) = (words(horizon), words(window));
        let message = format!("{sender} retries for {known}, but {} remembers for {kept}", section.title);
        let hint = format!("a late retry would count twice: use at least \"{known}\"");
        sink.warn(section.place("remember_for"), message, hint);
    }
    let remember_for = remember_for.unwrap_or_else(|| window::default_for(adapter, scheme));
    if let Some(message) = quota.and_then(|quota| window::memory_warning(quota.per_second, remember_for)) {
        sink.warn(section.place("quota"), message, "size the machines for it, or lower the quota or the window");
    }
}

/// A quota that refuses, for a sender that switches the webhook off when it is refused.
fn warn_about_refusals(section: &Section<'_>, adapter: &str, scheme: &Scheme, quota: Option<Quota>) {
    if let Some(Patience { refusals: Some(_), then, .. }) = patience(adapter, scheme)
        && quota.is_some_and(|quota| quota.when_over == WhenOver::Refuse)
    {
        let message = format!("{} refuses what is over its quota, and {then}", section.title);
        section.reading.sink.warn(section.place("quota"), message, "use when_over = \"accept-and-warn\"");
    }
}

/// A body that can never find room would be refused for ever.
fn check_fits(section: &Section<'_>, max_body: u64, memory: u64) {
    if max_body > memory / defaults::BODIES_IN_MEMORY {
        let needed = (max_body * defaults::BODIES_IN_MEMORY) >> 20;
        let message = format!("bodies of {max_body} bytes do not fit into the memory of ingest, {memory} bytes");
        let hint = format!("lower max_body, or set memory = \"{needed}MiB\" in [ingest]");
        section.error(section.place("max_body"), message, hint);
    }
}

/// Whether a CloudEvent in binary mode, whose attributes are headers, is set aside: its signature does not cover them.
fn read_attributes_unproven(section: &Section<'_>, adapter: Option<Adapter>, scheme: Option<&Scheme>) -> bool {
    let accepted = section.choice("unsigned_attributes", &[("accept", true), ("quarantine", false)]);
    if accepted.is_some() && adapter.is_some_and(|adapter| adapter != Adapter::CloudEvents) {
        let message = format!(
            "unsigned_attributes of {} says nothing: only CloudEvents have attributes in headers",
            section.title
        );
        section.error(section.place("unsigned_attributes"), message, "leave it out");
    }
    let unsigned = |scheme: &Scheme| ATTRIBUTE_HEADERS.iter().any(|header| scheme.leaves_unsigned(header));
    adapter == Some(Adapter::CloudEvents) && !accepted.unwrap_or(false) && scheme.is_some_and(unsigned)
}

/// Whether a query may be an event. What authenticates it must then cover the query, or be a secret that travels along.
fn read_events_in_query(section: &Section<'_>, adapter: Option<Adapter>, scheme: Option<&Scheme>) -> bool {
    let wanted = section.flag("events_in_query").unwrap_or(false);
    if !wanted {
        return false;
    }
    let at = section.place("events_in_query");
    if adapter.is_some_and(|adapter| adapter != Adapter::Mapping) {
        let message =
            format!("events_in_query of {} needs adapter = \"mapping\": only a map reads a query", section.title);
        section.error(at, message, "describe its parameters in a map: docs/mapping.md");
    }
    if let Some(scheme) = scheme
        && !scheme.authenticates_query()
    {
        let message = format!(
            "scheme {:?} of {} signs the body and not the query: anybody could put events there",
            scheme.name(),
            section.title
        );
        section.error(at, message, "use header, query, basic or bearer, or { hmac = … } with \"{url}\" in signed");
    }
    true
}

/// The address that the sender was given. What is signed is this and the query of the request, so it has none of its own.
fn read_public_url(section: &Section<'_>) -> Option<String> {
    let (url, at) = section.placed("public_url")?;
    let sound = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) && !url.contains(['?', '#', ' ']);
    if !sound {
        let hint = "write \"https://host/v1/webhooks/name\", without a query";
        section.error(&at, format!("public_url {url:?} of {} is not an address", section.title), hint);
    }
    sound.then_some(url)
}

fn read_quota(section: Section<'_>) -> Option<Quota> {
    if !section.has("per_second") {
        section.missing("per_second", "say how many events a second");
    }
    let per_second = section.integer("per_second", 1..=1_000_000).and_then(|number| u32::try_from(number).ok());
    let ways = [("refuse", WhenOver::Refuse), ("accept-and-warn", WhenOver::AcceptAndWarn)];
    let when_over = section.choice("when_over", &ways).unwrap_or(WhenOver::Refuse);
    section.finish();
    Some(Quota { per_second: per_second?, when_over })
}

/// A name that can stand in a path, a metric label and a file name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

impl Section<'_> {
    /// A size in bytes within `range`.
    pub(crate) fn size(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, |text| {
            let bytes = values::size(text)?;
            if range.contains(&bytes) {
                Ok(bytes)
            } else {
                Err(format!("{text:?} is not possible: use {} to {} bytes", range.start(), range.end()))
            }
        })
    }
}
