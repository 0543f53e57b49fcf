//! What an adapter hands on, and the parts of the mapping that all adapters share.

use std::borrow::Cow;
use std::net::IpAddr;

use event::raw::RawHeaders;
use event::{LinkEvent, Millis};
use jiff::tz::TimeZone;

use crate::Undecodable;
use crate::Unreadable;
use crate::address::{self, Address};
use crate::clean::{self, Cleaner};
use crate::destination::{Destinations, Utm};
use crate::json::{Findings, Given, MAX_PAIRS, Pairs};
use crate::mapping::Mapping;
use crate::spelling;
use crate::time::{self, Claim, TimeFormat};

/// The most tags of a link that are kept.
const MAX_TAGS: usize = 32;

/// An event, and what is known beside it that is stored nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapted<'a> {
    /// The event as the sender tells it; nothing is enriched yet. It takes over a kilobyte: it is built where it stays.
    pub event: Box<LinkEvent<'a>>,
    /// Who came. In memory only: never to be logged or stored.
    pub visitor: Visitor<'a>,
    /// The referring URL or host as it was given; `''` when the sender says that nothing referred, `None` when it does
    /// not say. Only its host may be stored.
    pub referrer: Option<Cow<'a, str>>,
    /// Whether the destination has the click id of an advertising network: the visit was paid for.
    pub paid_click: bool,
    /// The tags of the link.
    pub tags: Vec<Cow<'a, str>>,
    /// How many fields of the payload no column is made from.
    pub unread_fields: u32,
    /// Values that were given and could not be read, each at most once.
    pub unreadable: Vec<Unreadable>,
}

/// Who came: personal data, for the time of a function call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Visitor<'a> {
    /// The address that the link was opened from.
    pub ip: Option<IpAddr>,
    /// The user agent, `''` when not given.
    pub user_agent: Cow<'a, str>,
    /// What the platform thinks: whether it was a bot.
    pub bot: Option<bool>,
    /// The method of the request that followed the link, `''` when not given.
    pub method: Cow<'a, str>,
    /// What the browser followed the link for (`Sec-Purpose`, `Purpose`, `X-Purpose`), `''` when it says nothing.
    pub purpose: Cow<'a, str>,
}

/// What the configuration says about the payloads of all sources.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The query parameters of destination URLs that are stored; all others are cut.
    pub keep_query_params: Vec<String>,
}

/// What the configuration says about the payloads of one source, beyond its adapter.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// The zone of times that name none.
    pub time_zone: TimeZone,
    /// Where its payloads have what, for the mapping adapter.
    pub mapping: Option<Mapping>,
    /// Whether attributes in headers (CloudEvents in binary mode) are set aside, since nothing proves who wrote them.
    pub attributes_unproven: bool,
}

impl Dialect {
    /// What is read of a source of which nothing is said, or which is no longer configured.
    pub const PLAIN: Dialect = Dialect { time_zone: TimeZone::UTC, mapping: None, attributes_unproven: false };
}

impl Dialect {
    pub(crate) fn mapping(&self) -> Result<&Mapping, Undecodable> {
        let lost = "the source of this record has no map (any more): restore it in the configuration, then redrive";
        self.mapping.as_ref().ok_or_else(|| Undecodable::new("no_mapping", lost))
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// What adapting keeps between events: the options, and the URLs that it read lately. One a lane.
#[derive(Debug)]
pub struct Memory {
    destinations: Destinations,
}

impl Memory {
    /// Starts with nothing remembered.
    pub fn new(options: Options) -> Self {
        Self { destinations: Destinations::new(options.keep_query_params) }
    }
}

/// What the mapping of one event draws on.
pub(crate) struct Scratch<'s> {
    destinations: &'s mut Destinations,
    dialect: &'s Dialect,
}

impl<'s> Scratch<'s> {
    pub(crate) fn new(memory: &'s mut Memory, dialect: &'s Dialect) -> Self {
        Self { destinations: &mut memory.destinations, dialect }
    }
}

/// An event in the making.
pub(crate) struct Draft<'a, 's> {
    pub(crate) event: Box<LinkEvent<'a>>,
    pub(crate) clean: Cleaner<'a>,
    destinations: &'s mut Destinations,
    dialect: &'s Dialect,
    received_at: i64,
    paid_click: bool,
}

impl<'a, 's> Draft<'a, 's> {
    /// Starts with what the headers say.
    pub(crate) fn new(raw: &RawHeaders<'a>, scratch: &'s mut Scratch<'_>) -> Self {
        let mut event = Box::<LinkEvent<'a>>::default();
        event.received_at = Millis(raw.received_at);
        event.source = raw.source.clone();
        event.secret_id = raw.secret_id.clone();
        event.request_id = raw.request_id.clone();
        event.redrive_of = raw.redrive_of.clone().unwrap_or_default();
        let Scratch { destinations, dialect } = scratch;
        Self {
            event,
            clean: Cleaner::default(),
            destinations,
            dialect,
            received_at: raw.received_at,
            paid_click: false,
        }
    }

    /// Marks what its platform sends to everybody who tries it out.
    pub(crate) fn vendor_sample(&mut self) {
        self.event.test = true;
        self.clean.note("test:vendor_sample");
    }

    /// When it happened.
    pub(crate) fn time(&mut self, claim: Option<Claim<'a>>) {
        self.time_as(claim, None);
    }

    /// As [`Self::time`], for a source that says how it writes time.
    pub(crate) fn time_as(&mut self, claim: Option<Claim<'a>>, format: Option<&TimeFormat>) {
        let settled = time::settle(claim, format, self.received_at, &self.dialect.time_zone);
        self.event.event_time = settled.time;
        self.event.event_time_claimed = settled.claimed;
        if settled.flag == "unreadable" {
            self.clean.unreadable(Unreadable::Time);
        }
        self.event.time_flag = settled.flag.into();
    }

    /// Which link it is about; a link without an id is known by domain and slug.
    pub(crate) fn link(&mut self, id: Given<Cow<'a, str>>, domain: Given<Cow<'a, str>>, slug: Given<Cow<'a, str>>) {
        self.event.domain = self.clean.host("link.domain", domain);
        let slug = self.clean.name("link.slug", slug.map(spelling::slug));
        self.event.slug = match slug {
            Cow::Borrowed(slug) => Cow::Borrowed(slug.trim_start_matches('/')),
            Cow::Owned(slug) => slug.trim_start_matches('/').to_owned().into(),
        };
        self.event.link_id = self.clean.name("link.id", id);
        if self.event.link_id.is_empty() {
            self.event.link_id = format!("{}/{}", self.event.domain, self.event.slug).into();
        }
    }

    /// Where the link points, and its UTM fields: those that were given, else those in the destination.
    pub(crate) fn destination(&mut self, url: &str, utm: Utm<Given<Cow<'a, str>>>) {
        let mut found = Utm::default();
        match self.destinations.read(clean::trim(url)) {
            Some(destination) => {
                self.event.destination_host = destination.host.into();
                self.event.destination_path = destination.path.into();
                if destination.blanked {
                    self.clean.note("blanked:link.destination_url");
                }
                self.paid_click |= destination.paid_click;
                found = destination.utm;
            }
            None if url.trim().is_empty() => {}
            None => {
                self.clean.unreadable(Unreadable::Destination);
                self.clean.bad_field("link.destination_url");
            }
        }
        let mut settle = |field, given: Given<Cow<'a, str>>, found: String| {
            let said = self.clean.said(field, given);
            if said.is_empty() { self.clean.said(field, Given::Is(found.into())) } else { said }
        };
        self.event.utm_source = settle("utm.source", utm.source, found.source);
        self.event.utm_medium = settle("utm.medium", utm.medium, found.medium);
        self.event.utm_campaign = settle("utm.campaign", utm.campaign, found.campaign);
        self.event.utm_term = settle("utm.term", utm.term, found.term);
        self.event.utm_content = settle("utm.content", utm.content, found.content);
    }

    /// The conversion's worth.
    pub(crate) fn value(&mut self, minor: Option<i64>, currency: Given<Cow<'a, str>>) {
        self.event.value_minor = minor.unwrap_or_default();
        let currency = clean::trimmed(currency.or_empty());
        match currency.as_bytes() {
            [] => {}
            [_, _, _] if currency.bytes().all(|byte| byte.is_ascii_uppercase()) => self.event.currency = currency,
            [_, _, _] if currency.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                self.event.currency = currency.to_ascii_uppercase().into();
            }
            _ => {
                self.clean.unreadable(Unreadable::Value);
                self.clean.bad_field("conversion.currency");
            }
        }
    }

    /// A further field, by one of our own names.
    pub(crate) fn extra(&mut self, name: &'static str, given: Given<Cow<'a, str>>) {
        let value = self.clean.said(name, given);
        self.event.extra.add(name, value);
    }

    /// The sender's own further fields, as many as there is room for.
    pub(crate) fn extras(&mut self, pairs: Pairs<'a>) {
        for (name, value) in pairs.0 {
            if self.event.extra.0.len() >= MAX_PAIRS {
                self.clean.note(format!("extra:over_{MAX_PAIRS}"));
                return;
            }
            if matches!(value, Given::Wrong) {
                self.clean.bad_field("extra");
                continue;
            }
            let value = self.clean.name("extra", value);
            let name = self.clean.name("extra", Given::Is(name));
            if !name.is_empty() && self.event.extra.get(&name).is_empty() {
                self.event.extra.add(name, value);
            }
        }
    }

    /// The visitor, from what a payload gives. `field` is where it has the address.
    pub(crate) fn visitor(
        &mut self,
        field: &str,
        ip: &Given<Cow<'a, str>>,
        user_agent: Given<Cow<'a, str>>,
        bot: Option<bool>,
    ) -> Visitor<'a> {
        let address = match ip {
            Given::Absent => Address::Unknown,
            Given::Is(text) => address::read(text),
            Given::Wrong => Address::Unreadable,
        };
        let ip = match address {
            Address::Is(ip) => Some(ip),
            Address::Unknown => None,
            Address::Unreadable => {
                self.clean.unreadable(Unreadable::Address);
                self.clean.bad_field(field);
                None
            }
        };
        Visitor { ip, user_agent: user_agent.or_empty(), bot, ..Visitor::default() }
    }

    /// Hands the event on, with what is off in the payload in its trace.
    pub(crate) fn finish(
        mut self,
        findings: Findings,
        visitor: Visitor<'a>,
        referrer: Option<Cow<'a, str>>,
        tags: Vec<Cow<'a, str>>,
    ) -> Adapted<'a> {
        findings.wrong.iter().for_each(|path| self.clean.bad_field(path));
        let tags = tags.into_iter().take(MAX_TAGS).map(|tag| self.clean.name("link.tags", Given::Is(tag)));
        let tags = tags.filter(|tag| !tag.is_empty()).collect();
        let (trace, unreadable) = self.clean.into_notes();
        self.event.trace = trace;
        Adapted {
            event: self.event,
            visitor,
            referrer,
            paid_click: self.paid_click,
            tags,
            unread_fields: findings.unread,
            unreadable,
        }
    }
}
