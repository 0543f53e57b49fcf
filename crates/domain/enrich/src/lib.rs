//! What can be said about an event from itself and the configuration: test data, who it counts as, where it came from, and
//! which visitor of the day it was.
//!
//! [`Enricher::enrich`] is a function of the event, the [`Hints`], the [`Settings`] and the [`References`]; its caches
//! change its speed only.
//! Nothing in the hints is stored: an address becomes a verdict and a salted hash, a referrer its host, a user agent the name
//! of a bot.

mod agent;
mod catalogue;
mod channel;
mod country;
mod fetch;
mod launch;
mod naming;
mod network;
mod referrer;
pub mod visitor;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use event::{Counted, EventType, LinkEvent};

use agent::Agent;
pub use agent::list_version;
pub use catalogue::{
    BadList, COLUMNS as CATALOGUE_COLUMNS, Catalogue, Due, Facts, Link, Links, ListInForce, MAX_LINKS,
    expires as catalogue_time, facts_after, link_name as catalogue_link, platform_facts,
};
pub use channel::{Channels, fold};
pub use country::{Countries, NotCountries};
pub use launch::Launch;
pub use naming::{Alias, Break, Form, NamedField, Naming, Standard};
pub use network::{Network, NetworkError};
pub use visitor::Salt;

/// What the configuration says. Plain data, built and checked by the configuration's own crate.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Source → owner.
    pub source_owners: HashMap<String, String>,
    /// Visits from these addresses are internal.
    pub internal_networks: Vec<Network>,
    /// Visits referred by these hosts are internal; `*.example.com` means every host below `example.com`.
    pub internal_referrer_hosts: Vec<String>,
    /// Events of these sources are test data.
    pub test_sources: Vec<String>,
    /// Events of links whose slug starts like this are test data.
    pub test_slug_prefixes: Vec<String>,
    /// Events of these campaigns are test data.
    pub test_campaigns: Vec<String>,
    /// Events of links with one of these tags are test data.
    pub test_tags: Vec<String>,
    /// Channels that go before our own tables.
    pub channels: Channels,
    /// The naming standard.
    pub naming: Naming,
    /// Which sources (`utm_source`, folded) each partner may use.
    pub partners: HashMap<String, HashSet<String>>,
    /// Planned launches.
    pub launches: Vec<Launch>,
}

/// Files of the operator's that are replaced while labelling goes on. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// Which country an address is in.
    pub countries: Option<Arc<Countries>>,
    /// What the platform does not say about links.
    pub catalogue: Option<Arc<Catalogue>>,
}

/// What is known beside the event, in memory only.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hints<'h> {
    /// The visitor's address.
    pub ip: Option<IpAddr>,
    /// The visitor's user agent, `''` when unknown.
    pub user_agent: &'h str,
    /// What the platform thinks: whether the visitor is a bot.
    pub bot: Option<bool>,
    /// The method of the request that followed the link, `''` when unknown.
    pub method: &'h str,
    /// What the browser says that it followed the link for, `''` when it says nothing.
    pub purpose: &'h str,
    /// The referring URL or host; `''` when the sender says that nothing referred, `None` when it does not say.
    pub referrer: Option<&'h str>,
    /// Whether the link carried the click id of an advertising network: the visit was paid for.
    pub paid_click: bool,
    /// The tags of the link.
    pub tags: &'h [Cow<'h, str>],
    /// The salt of the day that [`visitor::salt_day`] names; without it the visitor is unknown.
    pub salt: Option<Salt>,
}

/// Enriches the events of one lane.
#[derive(Debug)]
pub struct Enricher {
    settings: Settings,
    launches: launch::Launches,
    references: References,
    agents: agent::Agents,
}

impl Enricher {
    /// Starts with empty caches.
    pub fn new(mut settings: Settings) -> Self {
        settings.internal_referrer_hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
        let launches = launch::Launches::new(std::mem::take(&mut settings.launches));
        Self { settings, launches, references: References::default(), agents: agent::Agents::default() }
    }

    /// Labels by these files from now on.
    pub fn refer_to(&mut self, references: References) {
        self.references = references;
    }

    /// The catalogue that events are labelled by.
    #[must_use]
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.references.catalogue.clone()
    }

    /// Completes the event. What the sender gave is kept; what is decided here leaves a line in the trace, unless
    /// a column says it. Texts of the catalogue are copied: [`Enricher::enrich_by`] borrows them.
    pub fn enrich(&mut self, event: &mut LinkEvent<'_>, hints: &Hints<'_>) {
        let catalogue = self.catalogue();
        let link = catalogue.as_ref().and_then(|list| list.find(&event.domain, &event.slug, &event.link_id));
        let joined =
            link.map(|link| catalogue::join(link, event, !hints.tags.is_empty(), |text| text.to_owned().into()));
        self.complete(event, hints, joined.map_or("", |joined| joined.tags));
    }

    /// Completes the event as [`Enricher::enrich`] does, by a catalogue that outlives it: its texts are not copied.
    pub fn enrich_by<'e>(&mut self, event: &mut LinkEvent<'e>, hints: &Hints<'_>, catalogue: Option<&'e Catalogue>) {
        let link = catalogue.and_then(|list| list.find(&event.domain, &event.slug, &event.link_id));
        let joined = link.map(|link| catalogue::join(link, event, !hints.tags.is_empty(), Cow::Borrowed));
        self.complete(event, hints, joined.map_or("", |joined| joined.tags));
    }

    /// Everything after the catalogue; `tags` are those that it gives the link, with commas between them.
    fn complete(&mut self, event: &mut LinkEvent<'_>, hints: &Hints<'_>, tags: &str) {
        self.launches.join(event);
        if event.owner.is_empty()
            && let Some(owner) = self.settings.source_owners.get(event.source.as_ref())
        {
            event.owner = owner.clone().into();
        }
        if event.campaign.is_empty() {
            event.campaign = event.utm_campaign.clone();
        }
        let visited = matches!(
            event.r#type,
            EventType::Click | EventType::QrScan | EventType::Error | EventType::Lead | EventType::Sale
        );
        if visited
            && event.referrer_class.is_empty()
            && let Some(given) = hints.referrer
        {
            event.referrer_host = referrer::host(given).into();
            event.referrer_class = referrer::class(&event.referrer_host).as_str().into();
        }
        let agent = self.agents.read(hints.user_agent);
        if visited {
            fill(&mut event.device, agent.device);
            fill(&mut event.os, agent.os);
            fill(&mut event.browser, agent.browser);
        }
        if visited
            && event.country.is_empty()
            && let (Some(countries), Some(ip)) = (&self.references.countries, hints.ip)
            && let Some(code) = countries.of(ip)
        {
            event.country = Cow::Borrowed(code);
            event.trace.push(countries.line().to_owned().into());
        }
        if visited && let (Some(salt), Some(ip)) = (hints.salt, hints.ip) {
            event.visitor = visitor::number(salt, &event.domain, ip, hints.user_agent);
        }
        if visited
            && event.channel.is_empty()
            && let Some((channel, because)) = channel::of(event, hints, &agent, &self.settings.channels)
        {
            event.channel = channel.to_owned().into();
            event.trace.push(because.into());
        }
        self.settings.naming.apply(event);
        if !event.partner.is_empty() {
            let approved = self.settings.partners.get(event.partner.as_ref());
            event.partner_approved = approved.is_some_and(|sources| sources.contains(&fold(&event.utm_source)));
        }
        keep_tags(event, hints.tags, tags);
        self.mark_test(event);
        self.count(event, hints, &agent);
    }

    /// Marks test data, saying by which rule. What the sender or the adapter marked stays marked.
    fn mark_test(&self, event: &mut LinkEvent<'_>) {
        let settings = &self.settings;
        let listed = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        let prefix = settings.test_slug_prefixes.iter().find(|prefix| event.slug.starts_with(prefix.as_str()));
        let tag = event.tags().find(|tag| listed(&settings.test_tags, tag));
        let reason = if listed(&settings.test_sources, &event.source) {
            format!("test:source:{}", event.source)
        } else if let Some(prefix) = prefix {
            format!("test:slug_prefix:{prefix}")
        } else if listed(&settings.test_campaigns, &event.campaign) {
            format!("test:campaign:{}", event.campaign)
        } else if let Some(tag) = tag {
            format!("test:tag:{tag}")
        } else {
            return;
        };
        event.test = true;
        event.trace.push(reason.into());
    }

    /// Says who the event counts as: internal goes before bot, bot before human.
    fn count(&self, event: &mut LinkEvent<'_>, hints: &Hints<'_>, agent: &Agent) {
        let settings = &self.settings;
        let network = hints.ip.and_then(|ip| settings.internal_networks.iter().find(|network| network.contains(ip)));
        let host = event.referrer_host.as_ref();
        let referrer = settings.internal_referrer_hosts.iter().find(|pattern| referrer::matches(pattern, host));
        let (counted, by) = if let Some(network) = network {
            (Counted::Internal, format!("network:{network}").into())
        } else if let Some(pattern) = referrer {
            (Counted::Internal, format!("referrer:{pattern}").into())
        } else if let Some(reason) = agent.bot {
            (Counted::Bot, reason.into())
        } else if let Some(reason) = fetch::reason(hints.method, hints.purpose) {
            (Counted::Bot, Cow::Borrowed(reason))
        } else if hints.bot == Some(true) {
            (Counted::Bot, Cow::Borrowed("platform"))
        } else {
            (Counted::Human, Cow::Borrowed(""))
        };
        event.counted = counted;
        event.counted_by = by;
        // Whatever they said, the lists were asked: which ones they were, is part of the verdict.
        if !hints.user_agent.is_empty() {
            event.trace.push(Cow::Borrowed(list_version()));
        }
    }
}

/// Keeps the tags that the platform and the catalogue give the link, each once.
fn keep_tags(event: &mut LinkEvent<'_>, given: &[Cow<'_, str>], of_catalogue: &str) {
    let of_catalogue = of_catalogue.split(',').filter(|tag| !tag.is_empty());
    let more = of_catalogue.filter(|tag| given.iter().all(|known| known != tag));
    event.keep_tags(given.iter().map(AsRef::as_ref).chain(more));
}

/// What the sender says goes before what the agent tells.
fn fill(field: &mut Cow<'_, str>, told: &'static str) {
    if field.is_empty() {
        *field = Cow::Borrowed(told);
    }
}

#[cfg(test)]
mod tests;
