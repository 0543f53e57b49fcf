//! Sources: who sends, how it is checked, and how long it is remembered.

use std::time::Duration;

use adapter::{Adapter, Dialect};
use signature::{Scheme, Secret};

use crate::availability::{self, Part};
use crate::owners::Declared;
use crate::section::{Section, words};
use crate::{defaults, mapping, scheme, values, window};

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
    /// After how long without an event it counts as silent; learned when left out.
    pub quiet_after: Option<Duration>,
    /// The largest body, after decompression, in bytes.
    pub max_body: u64,
    /// The public address that its sender posts to, for schemes whose signature covers the URL.
    pub public_url: Option<String>,
    /// Whether all of it is test data.
    pub test: bool,
}

/// How much a source may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Events a second; a second's worth may come at once.
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

pub(crate) fn read(sections: &Section<'_>, owners: &Declared, ingest_max_body: u64) -> Vec<Source> {
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
        sources.extend(read_one(entry.key.clone(), section, owners, ingest_max_body));
    }
    sources
}

fn read_one(name: String, section: Section<'_>, owners: &Declared, ingest_max_body: u64) -> Option<Source> {
    let sink = section.reading.sink;
    let asked_for = section.required("adapter", "name the platform that sends, such as \"dub\" or \"canonical\"");
    let adapter = asked_for.as_ref().and_then(|(name, at)| availability::adapter(name, at, sink));
    let is_mapping = asked_for.as_ref().is_some_and(|(name, _)| name == "mapping");
    if is_mapping && section.has("map") {
        mapping::check(&section);
    }
    let owner = section.owner("owner", owners);
    // Of an adapter that does not exist, a missing scheme is not the problem.
    let language_has = |name: &&str| availability::ADAPTERS.contains(name);
    let scheme = scheme::read_scheme(&section, asked_for.as_ref().map(|(name, _)| name.as_str()).filter(language_has));
    let secrets = scheme::read_secrets(&section, scheme.as_ref());
    let quota = section.section("quota").and_then(read_quota);
    let remember_for = section.duration("remember_for", defaults::REMEMBER_FOR_RANGE);
    let quiet_after = section.duration("quiet_after", Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3_600));
    let max_body = section.size("max_body", defaults::MAX_BODY_RANGE).unwrap_or(ingest_max_body);
    let public_url = section.text("public_url");
    let test = section.flag("test").unwrap_or(false);
    let time_zone = section.time_zone("zone").unwrap_or(defaults::SOURCE_ZONE);
    if let Some(scheme) = &scheme
        && scheme.signs_url()
    {
        availability::check(Part::SignedUrl, section.place("scheme"), sink);
        if public_url.is_none() {
            let hint = "add public_url = \"https://…/v1/webhooks/…\", the address that the sender was given";
            let message = format!("scheme {:?} signs the URL, which {} does not give", scheme.name(), section.title);
            section.error(section.at, message, hint);
        }
    }
    if section.has("quiet_after") {
        availability::check(Part::QuietAfter, section.place("quiet_after"), sink);
    }
    if let Some(quota) = quota {
        let part = if quota.when_over == WhenOver::Refuse { Part::QuotaThatRefuses } else { Part::QuotaThatWarns };
        availability::check(part, section.place("quota"), sink);
    }
    if let Some(scheme) = &scheme {
        warn_about_window(&section, scheme, remember_for, quota);
    }
    section.finish();
    let scheme = scheme?;
    let remember_for = remember_for.unwrap_or_else(|| window::default_for(&scheme));
    Some(Source {
        name,
        adapter: adapter?,
        dialect: Dialect { time_zone },
        owner: owner?,
        scheme,
        secrets,
        remember_for,
        quota,
        quiet_after,
        max_body,
        public_url,
        test,
    })
}

fn warn_about_window(section: &Section<'_>, scheme: &Scheme, remember_for: Option<Duration>, quota: Option<Quota>) {
    let sink = section.reading.sink;
    if let (Some(window), Some(horizon)) = (remember_for, window::horizon(scheme))
        && window < horizon
    {
        let (known, kept) = (words(horizon), words(window));
        let message = format!("{} retries for {known}, but {} remembers for {kept}", scheme.name(), section.title);
        let hint = format!("a late retry would count twice: use at least \"{known}\"");
        sink.warn(section.place("remember_for"), message, hint);
    }
    let remember_for = remember_for.unwrap_or_else(|| window::default_for(scheme));
    if let Some(message) = quota.and_then(|quota| window::memory_warning(quota.per_second, remember_for)) {
        sink.warn(section.place("quota"), message, "size the machines for it, or lower the quota or the window");
    }
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
