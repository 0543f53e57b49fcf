//! What can be said about an event from itself and the configuration: test data, who it counts as, where it came from, and
//! which visitor of the day it was. [`STAGES`] has the list, in its order.
//!
//! [`Enricher::enrich`] is a function of the event, the [`Hints`], the [`Settings`], the [`References`] and the
//! [`Catalogue`]; its caches change its speed only.
//! Nothing in the hints is stored: an address becomes a verdict and a salted hash, a referrer its host, a user agent the name
//! of a bot.

mod stages;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use event::LinkEvent;

use stages::Labelling;
pub use stages::agent::list_version;
pub use stages::catalogue::{
    BadList, COLUMNS as CATALOGUE_COLUMNS, Catalogue, Due, Facts, Link, Links, ListInForce, MAX_LINKS,
    expires as catalogue_time, facts_after, link_name as catalogue_link, platform_facts,
};
pub use stages::channel::{Channels, fold};
pub use stages::counted::{Network, NetworkError};
pub use stages::country::{Countries, NotCountries};
pub use stages::launch::Launch;
pub use stages::naming::{Alias, Break, Form, NamedField, Naming, Standard};
pub use stages::visitor::{self, Salt};
pub use stages::{STAGES, Stage};

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

/// What is known whatever the event is.
#[derive(Debug)]
pub(crate) struct Known {
    settings: Settings,
    launches: stages::launch::Launches,
    references: References,
}

/// Enriches the events of one lane.
#[derive(Debug)]
pub struct Enricher {
    known: Known,
    agents: stages::agent::Agents,
}

impl Enricher {
    /// Starts with empty caches.
    pub fn new(mut settings: Settings) -> Self {
        settings.internal_referrer_hosts.iter_mut().for_each(|host| host.make_ascii_lowercase());
        let launches = stages::launch::Launches::new(std::mem::take(&mut settings.launches));
        let known = Known { settings, launches, references: References::default() };
        Self { known, agents: stages::agent::Agents::default() }
    }

    /// Labels by these files from now on.
    pub fn refer_to(&mut self, references: References) {
        self.known.references = references;
    }

    /// The catalogue of the files that it labels by: [`Enricher::enrich`] is given it, since events borrow from it.
    #[must_use]
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.known.references.catalogue.clone()
    }

    /// Completes the event, by the stages of [`STAGES`]. What the sender gave is kept; what is decided here leaves a
    /// line in the trace, unless a column says it. The catalogue outlives the event: its texts are not copied.
    pub fn enrich<'e>(&mut self, event: &mut LinkEvent<'e>, hints: &Hints<'_>, catalogue: Option<&'e Catalogue>) {
        Labelling::new(event, hints, &self.known, catalogue, &mut self.agents).run();
    }
}

#[cfg(test)]
mod tests;
