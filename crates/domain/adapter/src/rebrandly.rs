//! Rebrandly's webhooks and its Clickstream, as its documentation describes them: batches of clicks.
//!
//! The two generations differ: `client.geo` with a country in upper case, or `client.location` with one in lower case.

use std::borrow::Cow;
use std::collections::HashMap;

use event::raw::RawHeaders;
use event::{EventKey, EventType};
use serde::de::SeqAccess;

use crate::Undecodable;
use crate::clean;
use crate::destination::Utm;
use crate::edge::{self, Element, Keyed, identity, object, parse};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::mend::trimmed;
use crate::salvage;
use crate::time::Claim;

/// The links of the documentation's examples.
const SAMPLE_ROUTES: [&str; 2] = ["12345abcde", "a1ec86bf91bfe763ad02f602259ea0a9"];

type Text<'a> = Cow<'a, str>;

objects! {
    /// The body. Its `key` names a user and a configuration: nobody reads it.
    Envelope { data = "data": Vec<Given<Head<'a>>>, }

    /// What the edge reads of a click: its link, and what tells it from other clicks.
    Head {
        timestamp = "timestamp": Claim<'a>,
        client = "client": HeadClient<'a>,
        route = "route": HeadRoute<'a>,
    }
    HeadClient { agent = "agent": HeadAgent<'a>, geo = "geo": HeadPlace<'a>, location = "location": HeadPlace<'a>, }
    HeadAgent {
        browser = "browser": Product<'a>,
        os = "os": Product<'a>,
        device = "device": Product<'a>,
        kind = "type": Text<'a>,
    }
    Product { name = "name": Text<'a>, version = "version": Text<'a>, }
    HeadPlace { country = "country": Text<'a>, region = "region": Text<'a>, city = "city": Text<'a>, }
    HeadRoute { id = "id": Text<'a>, slashtag = "slashtag": Text<'a>, domain = "domain": Domain<'a>, }
    Domain { raw = "raw": Text<'a>, }

    Click {
        timestamp = "timestamp": Claim<'a>,
        client = "client": Client<'a>,
        referral = "referral": Referral<'a>,
        route = "route": Route<'a>,
    }
    Client { agent = "agent": Agent<'a>, geo = "geo": Place<'a>, location = "location": Place<'a>, }
    Agent {
        browser = "browser": Named<'a>,
        os = "os": Named<'a>,
        device = "device": Named<'a>,
        kind = "type": Text<'a>,
    }
    Named { name = "name": Text<'a>, }
    Place { country = "country": Text<'a>, region = "region": Text<'a>, }
    Referral { hostname = "hostname": Text<'a>, origin = "origin": Origin<'a>, }
    Origin { kind = "type": Text<'a>, }
    Route {
        id = "id": Text<'a>,
        slashtag = "slashtag": Text<'a>,
        domain = "domain": Domain<'a>,
        destination = "destination": Destination<'a>,
    }
    Destination {
        raw = "raw": Text<'a>,
        protocol = "protocol": Text<'a>,
        hostname = "hostname": Text<'a>,
        path = "path": Text<'a>,
        params = "params": Params<'a>,
    }
    Params { query = "query": Query<'a>, }
    Query {
        utm_source = "utm_source" | "amp;utm_source": First<'a>,
        utm_medium = "utm_medium" | "amp;utm_medium": First<'a>,
        utm_campaign = "utm_campaign" | "amp;utm_campaign": First<'a>,
        utm_term = "utm_term" | "amp;utm_term": First<'a>,
        utm_content = "utm_content" | "amp;utm_content": First<'a>,
    }
}

/// A text, or the first of a list of texts.
#[derive(Debug, Default)]
pub(crate) struct First<'a>(Text<'a>);

impl<'de> Shape<'de> for First<'de> {
    fn text(text: Text<'de>) -> Option<Self> {
        Some(Self(text))
    }
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Option<Self>, A::Error> {
        let mut first = None;
        while let Some(item) = list.next_element::<Given<Text<'de>>>()? {
            first = first.or(item.ok().filter(|text| !text.trim().is_empty()));
        }
        Ok(Some(Self(first.unwrap_or_default())))
    }
}

/// Finds the clicks of a body: those of `data`, or the body itself where there is no such list.
pub(crate) fn split(body: &[u8]) -> Result<Vec<Element<'_>>, Undecodable> {
    let body = trimmed(body);
    let mut elements = match body.first() {
        Some(b'{') => match edge::strict::<Given<Envelope<'_>>>(body).map(|envelope| envelope.or_empty().data) {
            Ok(Given::Is(heads)) => edge::array_at(body, &["data"], heads, Head::key)?,
            Ok(Given::Wrong | Given::Absent) => edge::one(body, Head::key)?,
            Err(whole) => match salvage::value_at(body, &["data"]).map(|at| &body[at..]) {
                Some(array) if array.starts_with(b"[") => {
                    salvage::events(array, true, whole, edge::parse_head, Head::key)?
                }
                _ => edge::one(body, Head::key)?,
            },
        },
        _ => edge::one_or_array(body, Head::key)?,
    };
    count_apart(&mut elements);
    Ok(elements)
}

/// Gives clicks of one batch that share a key an ordinal each: they are several, and a repeated batch repeats their order.
fn count_apart(elements: &mut [Element<'_>]) {
    let mut seen: HashMap<EventKey, u32> = HashMap::with_capacity(elements.len());
    for element in elements.iter_mut().filter(|element| element.quarantine.is_none()) {
        let before = seen.entry(element.key.clone()).or_default();
        if *before > 0 {
            element.key = EventKey::whole(format!("{}:{before}", element.key.as_str()));
        }
        *before += 1;
    }
}

impl Head<'_> {
    /// The key recipe. There is no id: link, time, agent and place make a click. Without its time they would make all
    /// clicks of such visitors one, so then the hash of the bytes is the key.
    fn key(&self) -> Keyed {
        let route = edge::required("route", self.route.view())?;
        let link = link(&route.id, &route.domain, &route.slashtag)?;
        let time = match &self.timestamp {
            Given::Is(Claim::Text(text)) => text.trim().to_owned(),
            Given::Is(Claim::Epoch(number)) => number.to_string(),
            Given::Absent | Given::Wrong => String::new(),
        };
        if time.is_empty() {
            return Ok(None);
        }
        let unnamed = Product::default();
        let mut parts = vec![link.as_ref(), time.as_str()];
        if let Some(client) = self.client.get() {
            if let Some(agent) = client.agent.get() {
                for product in [&agent.browser, &agent.os, &agent.device] {
                    let product = product.get().unwrap_or(&unnamed);
                    parts.extend([product.name.as_str(), product.version.as_str()]);
                }
                parts.push(agent.kind.as_str());
            }
            for place in [&client.geo, &client.location].into_iter().filter_map(Given::get) {
                parts.extend([place.country.as_str(), place.region.as_str(), place.city.as_str()]);
            }
        }
        Ok(Some(edge::fields_key("click", parts)))
    }
}

/// What the link is known by.
fn link<'t>(
    id: &'t Given<Text<'_>>,
    domain: &Given<Domain<'_>>,
    slashtag: &Given<Text<'_>>,
) -> Result<Cow<'t, str>, Undecodable> {
    let unnamed = Given::Absent;
    identity("route", id, domain.get().map_or(&unnamed, |domain| &domain.raw), slashtag)
}

/// Maps one click.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let click: Click<'a> = object(parse(bytes)?)?;
    let mut findings = Findings::default();
    click.survey(&Path::ROOT, &mut findings);
    let route = edge::required("route", click.route)?;
    link(&route.id, &route.domain, &route.slashtag)?;
    let mut draft = Draft::new(raw, scratch);
    draft.event.r#type = EventType::Click;
    if SAMPLE_ROUTES.contains(&route.id.as_str()) {
        draft.vendor_sample();
    }
    draft.time(click.timestamp.ok());
    draft.link(route.id, route.domain.or_empty().raw, route.slashtag);
    map_destination(&mut draft, route.destination.or_empty());

    let client = click.client.or_empty();
    let place = client.geo.ok().or(client.location.ok()).unwrap_or_default();
    draft.event.country = draft.clean.country("client.country", place.country);
    draft.event.region = draft.clean.said("client.region", place.region);
    let agent = client.agent.or_empty();
    draft.event.device = draft.clean.device("client.agent.device", agent.device.or_empty().name);
    draft.event.os = draft.clean.said("client.agent.os", agent.os.or_empty().name);
    draft.event.browser = draft.clean.said("client.agent.browser", agent.browser.or_empty().name);
    let visitor = draft.visitor("", &Given::Absent, Given::Absent, is_bot(agent.kind.as_str()));
    let referral = click.referral.or_empty();
    let referrer = clean::referrer(referral.hostname);
    if referrer.as_deref().unwrap_or_default().is_empty()
        && let Some(class) = class(referral.origin.or_empty().kind.as_str())
    {
        draft.event.referrer_class = class.into();
    }
    Ok(draft.finish(findings, visitor, referrer, Vec::new()))
}

fn map_destination<'a>(draft: &mut Draft<'a, '_>, destination: Destination<'a>) {
    let query = destination.params.or_empty().query.or_empty();
    let utm = |given: Given<First<'a>>| given.map(|first| first.0);
    let utm = Utm {
        source: utm(query.utm_source),
        medium: utm(query.utm_medium),
        campaign: utm(query.utm_campaign),
        term: utm(query.utm_term),
        content: utm(query.utm_content),
    };
    let (raw, host) = (destination.raw.as_str(), destination.hostname.as_str());
    if raw.is_empty() && !host.is_empty() {
        let protocol = Some(destination.protocol.as_str()).filter(|protocol| !protocol.is_empty()).unwrap_or("https");
        let slash = if destination.path.as_str().starts_with('/') { "" } else { "/" };
        draft.destination(&format!("{protocol}://{host}{slash}{}", destination.path.as_str()), utm);
    } else {
        draft.destination(raw, utm);
    }
}

/// What the platform makes of the visitor: `human`, or the kind of machine.
fn is_bot(kind: &str) -> Option<bool> {
    let kind = kind.trim();
    (!kind.is_empty() && !clean::is_sentinel(kind)).then(|| !kind.eq_ignore_ascii_case("human"))
}

/// Where a visit came from that names no host.
fn class(origin: &str) -> Option<&'static str> {
    ["search", "social", "email"].into_iter().find(|class| class.eq_ignore_ascii_case(origin.trim()))
}
