//! Sources: who sends, how it is checked, and how long it is remembered.

use std::time::Duration;

use adapter::{ATTRIBUTE_HEADERS, Adapter, Dialect};
use signature::{Scheme, Secret};

use crate::form::{Bytes, Choice, Flag, Integer, Listed, Reference, Span, Text, Zone};
use crate::option::{Group, Opt};
use crate::owners::{Declared, owned};
use crate::patience::{Patience, patience};
use crate::platform::{self, BODIES_IN_MEMORY, Ingest};
use crate::section::{Section, words};
use crate::table::{Own, Table, TableList};
use crate::{availability, mapping, privacy, scheme, window};

const ADAPTER: Opt<Listed> = Opt::new(
    "adapter",
    Listed(availability::adapters),
    "What reads its payloads: the platform that sends, `canonical` (our own format), `cloudevents`, or `mapping`.",
    "\"dub\"",
)
.required("name the platform that sends, such as \"dub\" or \"canonical\"");
const OWNER: Opt<Reference> = owned("owner", "Who owns it.");
static MAPS: [&Group; 1] = [&mapping::MAP];
const MAP: Opt<Own> = Opt::new(
    "map",
    Own::new(|| mapping::MAP.schema(true), "a table").with(&MAPS),
    "With `adapter = \"mapping\"`, and required then: where its payloads have what. docs/mapping.md has the whole of it.",
    "{ event_key = \"id\", type = { path = \"event\", click = \"clicked\" }, link_id = \"link.id\" }",
);
const QUOTA: Opt<Table> =
    Opt::new("quota", Table(&QUOTA_GROUP), "How much it may send.", "{ per_second = 1000 }").otherwise("any amount");
/// 72 h, unless the sender is known to retry for longer (see [`window::horizon`]): then the next whole hours beyond.
const REMEMBER_FOR: Opt<Span> = Opt::new(
    "remember_for",
    Span::within(Duration::from_secs(60), Duration::from_secs(35 * 86_400)),
    "How long a duplicate is recognised.",
    "\"72h\"",
)
.otherwise("72 h, or longer where the sender retries for longer");
const QUIET_AFTER: Opt<Span> = Opt::new(
    "quiet_after",
    Span::within(Duration::from_secs(60), Duration::from_secs(30 * 86_400)),
    "After how long without an event it counts as silent, for rules with `silence`: in place of what is learned, so at night as well.",
    "\"30m\"",
)
.otherwise("learned")
.read_by("detect");
const MAX_BODY: Opt<Bytes> =
    platform::max_body("The largest body, on the wire and decompressed.").otherwise("that of `[ingest]`");
const IN_FLIGHT: Opt<Integer<u32>> =
    platform::in_flight("Requests that may wait for their acknowledgement at once, on each instance.")
        .otherwise("that of `[ingest]`");
const PUBLIC_URL: Opt<Text> = Opt::new(
    "public_url",
    Text("an http address without a query"),
    "The address that the sender was given. Schemes whose signature covers the URL need it.",
    "\"https://hooks.example.com/v1/webhooks/texts\"",
);
const VISITORS: Opt<Choice<bool>> =
    privacy::visitors("Whether its visitors are told apart.").otherwise("that of `[privacy]`");
const TEST: Opt<Flag> = Opt::new("test", Flag, "Whether all of it is test data.", "true").or(false);
const UNSIGNED_ATTRIBUTES: Opt<Choice<bool>> = Opt::new(
    "unsigned_attributes",
    Choice(&[("accept", true), QUARANTINE]),
    "What happens to a CloudEvent in binary mode, whose attributes are headers that its signature does not cover.",
    "\"accept\"",
)
.or(QUARANTINE);
const QUARANTINE: (&str, bool) = ("quarantine", false);
const EVENTS_IN_QUERY: Opt<Flag> = Opt::new(
    "events_in_query",
    Flag,
    "Whether events come in queries as well (postbacks): of a GET, and of a POST or PUT without a body. Needs a map, and a \
     scheme that authenticates the query.",
    "true",
)
.or(false);
/// Not `timezone`, which is for dates in the file: changing that one must not move events.
const ZONE: Opt<Zone> =
    Opt::new("zone", Zone, "The time zone of times in payloads that name none.", "\"Europe/Berlin\"").or("UTC");
const SCHEME: Opt<Own> = scheme::SCHEME;
const SECRETS: Opt<TableList> = scheme::SECRETS;

/// `[source.NAME]`.
pub(crate) static GROUP: Group = Group {
    title: "[source.NAME]",
    about: "Who sends: one sender, one path. `[source.dub-main]` is `POST /v1/webhooks/dub-main`.",
    read_by: "ingest and process",
    options: &[
        &ADAPTER,
        &OWNER,
        &SCHEME,
        &SECRETS,
        &MAP,
        &REMEMBER_FOR,
        &QUOTA,
        &QUIET_AFTER,
        &MAX_BODY,
        &IN_FLIGHT,
        &PUBLIC_URL,
        &EVENTS_IN_QUERY,
        &ZONE,
        &VISITORS,
        &UNSIGNED_ATTRIBUTES,
        &TEST,
    ],
    others: &[],
};

const PER_SECOND: Opt<Integer<u32>> = Opt::new(
    "per_second",
    Integer::within(1, 1_000_000, "events a second"),
    "Events a second, on each instance of ingest; a second's worth may come at once.",
    "1000",
)
.required("say how many events a second");
const WHEN_OVER: Opt<Choice<WhenOver>> = Opt::new(
    "when_over",
    Choice(&[REFUSE, ("accept-and-warn", WhenOver::AcceptAndWarn)]),
    "What happens above it: answer 429 with Retry-After, or accept and count, for platforms that switch off a webhook that refuses.",
    "\"accept-and-warn\"",
)
.or(REFUSE);
const REFUSE: (&str, WhenOver) = ("refuse", WhenOver::Refuse);

static QUOTA_GROUP: Group = Group {
    title: "quota",
    about: "How much a source may send.",
    read_by: "ingest",
    options: &[&PER_SECOND, &WHEN_OVER],
    others: &[],
};

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
        if entry.key == event::CATALOGUE_SOURCE {
            sections.error(
                &entry.at,
                format!("{:?} is the source of events that the catalogue of links tells itself", entry.key),
                "choose another name",
            );
        }
        let Some(section) = sections.named(entry, "source", &GROUP) else { continue };
        sources.extend(read_one(entry.key.clone(), section, owners, ingest, visitors));
    }
    sources
}

fn read_one(name: String, section: Section<'_>, owners: &Declared, ingest: &Ingest, visitors: bool) -> Option<Source> {
    let sink = section.reading.sink;
    let asked_for = section.required(&ADAPTER);
    let adapter = asked_for.as_ref().and_then(|(name, at)| availability::adapter(name, at, sink));
    let is_mapping = adapter == Some(Adapter::Mapping);
    let (mapping, mapped_zone, alike) = match is_mapping.then(|| mapping::read(&section, &MAP)).flatten() {
        Some(read) => (Some(read.mapping), read.zone, read.alike),
        None => (None, None, None),
    };
    let owner = section.owner(&OWNER, owners);
    // Of an adapter that does not exist, a missing scheme is not the problem.
    let scheme = scheme::read_scheme(&section, adapter.map(Adapter::name));
    let secrets = scheme::read_secrets(&section, scheme.as_ref());
    let quota = section.section(&QUOTA).and_then(read_quota);
    let remember_for = section.duration(&REMEMBER_FOR);
    let quiet_after = section.duration(&QUIET_AFTER);
    let max_body = section.size(&MAX_BODY).unwrap_or(ingest.max_body);
    check_fits(&section, max_body, ingest.memory);
    let in_flight = section.integer(&IN_FLIGHT);
    let public_url = read_public_url(&section);
    let visitors = section.choice(&VISITORS).unwrap_or(visitors);
    let test = section.flag(&TEST).unwrap_or(TEST.usual());
    let attributes_unproven = read_attributes_unproven(&section, adapter, scheme.as_ref());
    let events_in_query = read_events_in_query(&section, adapter, scheme.as_ref());
    let zone = section.time_zone(&ZONE);
    if zone.is_some() && mapped_zone.is_some() {
        let message = format!("zone stands in {} and in the event_time of its map", section.title);
        section.error(section.place(&ZONE), message, "keep one of them");
    }
    let time_zone = mapped_zone.or(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    if let Some(scheme) = &scheme
        && scheme.signs_url()
        && !section.has(&PUBLIC_URL)
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
        sink.warn(section.place(&REMEMBER_FOR), message, hint);
    }
    let remember_for = remember_for.unwrap_or_else(|| window::default_for(adapter, scheme));
    if let Some(message) = quota.and_then(|quota| window::memory_warning(quota.per_second, remember_for)) {
        sink.warn(section.place(&QUOTA), message, "size the machines for it, or lower the quota or the window");
    }
}

/// A quota that refuses, for a sender that switches the webhook off when it is refused.
fn warn_about_refusals(section: &Section<'_>, adapter: &str, scheme: &Scheme, quota: Option<Quota>) {
    if let Some(Patience { refusals: Some(_), then, .. }) = patience(adapter, scheme)
        && quota.is_some_and(|quota| quota.when_over == WhenOver::Refuse)
    {
        let message = format!("{} refuses what is over its quota, and {then}", section.title);
        section.reading.sink.warn(section.place(&QUOTA), message, "use when_over = \"accept-and-warn\"");
    }
}

/// A body that can never find room would be refused for ever.
fn check_fits(section: &Section<'_>, max_body: u64, memory: u64) {
    if max_body > memory / BODIES_IN_MEMORY {
        let needed = (max_body * BODIES_IN_MEMORY) >> 20;
        let message = format!("bodies of {max_body} bytes do not fit into the memory of ingest, {memory} bytes");
        let hint = format!("lower max_body, or set memory = \"{needed}MiB\" in [ingest]");
        section.error(section.place(&MAX_BODY), message, hint);
    }
}

/// Whether a CloudEvent in binary mode, whose attributes are headers, is set aside: its signature does not cover them.
fn read_attributes_unproven(section: &Section<'_>, adapter: Option<Adapter>, scheme: Option<&Scheme>) -> bool {
    let accepted = section.choice(&UNSIGNED_ATTRIBUTES);
    if accepted.is_some() && adapter.is_some_and(|adapter| adapter != Adapter::CloudEvents) {
        let message = format!(
            "unsigned_attributes of {} says nothing: only CloudEvents have attributes in headers",
            section.title
        );
        section.error(section.place(&UNSIGNED_ATTRIBUTES), message, "leave it out");
    }
    let unsigned = |scheme: &Scheme| ATTRIBUTE_HEADERS.iter().any(|header| scheme.leaves_unsigned(header));
    adapter == Some(Adapter::CloudEvents) && !accepted.unwrap_or(QUARANTINE.1) && scheme.is_some_and(unsigned)
}

/// Whether a query may be an event. What authenticates it must then cover the query, or be a secret that travels along.
fn read_events_in_query(section: &Section<'_>, adapter: Option<Adapter>, scheme: Option<&Scheme>) -> bool {
    let wanted = section.flag(&EVENTS_IN_QUERY).unwrap_or(EVENTS_IN_QUERY.usual());
    if !wanted {
        return false;
    }
    let at = section.place(&EVENTS_IN_QUERY);
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
    let (url, at) = section.placed(&PUBLIC_URL)?;
    let sound = ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) && !url.contains(['?', '#', ' ']);
    if !sound {
        let hint = "write \"https://host/v1/webhooks/name\", without a query";
        section.error(&at, format!("public_url {url:?} of {} is not an address", section.title), hint);
    }
    sound.then_some(url)
}

fn read_quota(section: Section<'_>) -> Option<Quota> {
    section.demand(&PER_SECOND);
    let per_second = section.integer(&PER_SECOND);
    let when_over = section.choice(&WHEN_OVER).unwrap_or(REFUSE.1);
    section.finish();
    Some(Quota { per_second: per_second?, when_over })
}

/// A name that can stand in a path, a metric label and a file name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
