//! Dub's webhooks, as its own source defines them (`apps/web/lib/webhook` of dubinc/dub).

use std::borrow::Cow;

use event::EventKey;
use event::EventType;
use event::raw::RawHeaders;

use crate::Undecodable;
use crate::clean;
use crate::destination::Utm;
use crate::edge::{Keyed, identity, key_part, object, parse, required};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::time::Claim;

/// What "send test event" sends: the same clicks and links for everybody.
const SAMPLE_CLICKS: [&str; 3] = ["yNrYm0F6r1KMnq6N", "GWGrkftJdYlZD2mq", "CvQhPEXvqRYG4mqL"];
const SAMPLE_LINKS: [&str; 3] = ["cm0lcuvtz000xcutmqw4a7wi3", "cm0b87844000dismqhkviju54", "cm2a01bzt0001jc3nzycksls1"];
const SAMPLE_KEY: &str = "track-test";

type Text<'a> = Cow<'a, str>;

/// The events that are about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Clicked,
    Lead,
    Sale,
    /// Created, updated or deleted: `data` is the link itself.
    Lifecycle(&'static str),
}

impl Kind {
    fn of(event: &Given<Text<'_>>) -> Result<Self, Undecodable> {
        match event {
            Given::Wrong => Err(Undecodable::wrong_type("event")),
            Given::Absent => Err(Undecodable::missing("event")),
            Given::Is(event) => match event.as_ref() {
                "link.clicked" => Ok(Kind::Clicked),
                "lead.created" => Ok(Kind::Lead),
                "sale.created" => Ok(Kind::Sale),
                "link.created" => Ok(Kind::Lifecycle("link.created")),
                "link.updated" => Ok(Kind::Lifecycle("link.edited")),
                "link.deleted" => Ok(Kind::Lifecycle("link.deleted")),
                other => Err(Undecodable::unknown_type(other)),
            },
        }
    }
}

objects! {
    /// What the edge reads. `data` is either the link, or holds it.
    Head {
        id = "id": Text<'a>,
        event = "event": Text<'a>,
        data = "data": HeadData<'a>,
    }
    HeadData {
        id = "id": Text<'a>,
        domain = "domain": Text<'a>,
        key = "key": Text<'a>,
        updated_at = "updatedAt": Text<'a>,
        click = "click": HeadClick<'a>,
        link = "link": HeadLink<'a>,
        customer = "customer": HeadCustomer<'a>,
        event_name = "eventName": Text<'a>,
        sale = "sale": HeadSale<'a>,
    }
    HeadClick { id = "id": Text<'a>, timestamp = "timestamp": Text<'a>, }
    HeadLink { id = "id": Text<'a>, domain = "domain": Text<'a>, key = "key": Text<'a>, }
    HeadCustomer { id = "id": Text<'a>, }
    HeadSale { invoice_id = "invoiceId": Text<'a>, amount = "amount": i64, }

    /// An event about what happened at a link.
    Body {
        event = "event": Text<'a>,
        created_at = "createdAt": Claim<'a>,
        data = "data": Data<'a>,
    }
    Data {
        click = "click": Click<'a>,
        link = "link": Link<'a>,
        event_name = "eventName": Text<'a>,
        sale = "sale": Sale<'a>,
        partner = "partner": Partner<'a>,
    }
    /// An event about the link itself.
    LifecycleBody {
        created_at = "createdAt": Claim<'a>,
        data = "data": Link<'a>,
    }
    Click {
        id = "id": Text<'a>,
        timestamp = "timestamp": Claim<'a>,
        url = "url": Text<'a>,
        country = "country": Text<'a>,
        region = "region": Text<'a>,
        device = "device": Text<'a>,
        browser = "browser": Text<'a>,
        os = "os": Text<'a>,
        user_agent = "ua": Text<'a>,
        bot = "bot": bool,
        referer = "referer": Text<'a>,
        referer_url = "refererUrl": Text<'a>,
        qr = "qr": bool,
        trigger = "trigger": Text<'a>,
        ip = "ip": Text<'a>,
    }
    Link {
        id = "id": Text<'a>,
        domain = "domain": Text<'a>,
        key = "key": Text<'a>,
        url = "url": Text<'a>,
        external_id = "externalId": Text<'a>,
        partner_id = "partnerId": Text<'a>,
        tags = "tags": Vec<Given<Tag<'a>>>,
        utm_source = "utm_source": Text<'a>,
        utm_medium = "utm_medium": Text<'a>,
        utm_campaign = "utm_campaign": Text<'a>,
        utm_term = "utm_term": Text<'a>,
        utm_content = "utm_content": Text<'a>,
        expires_at = "expiresAt": Text<'a>,
        clicks = "clicks": i64,
        created_at = "createdAt": Claim<'a>,
        updated_at = "updatedAt": Claim<'a>,
    }
    Tag { name = "name": Text<'a>, }
    Sale { amount = "amount": i64, currency = "currency": Text<'a>, invoice_id = "invoiceId": Text<'a>, }
    Partner { id = "id": Text<'a>, }
}

impl Head<'_> {
    /// The key recipe.
    pub(crate) fn key(&self) -> Keyed {
        let kind = Kind::of(&self.event)?;
        let data = required("data", self.data.view())?;
        if let Kind::Lifecycle(_) = kind {
            let link = identity("data", &data.id, &data.domain, &data.key)?;
            let change = format!("{}:{}", self.event.as_str(), key_part(data.updated_at.as_str()));
            let known = !data.updated_at.as_str().is_empty();
            return Ok(known.then(|| EventKey::of_link(&key_part(&link), &change)));
        }
        let none = HeadLink::default();
        let link = data.link.get().unwrap_or(&none);
        identity("data.link", &link.id, &link.domain, &link.key)?;
        Ok(data.visit_key(kind, self.id.as_str()))
    }
}

impl HeadData<'_> {
    fn visit_key(&self, kind: Kind, event_id: &str) -> Option<EventKey> {
        let click = self.click.get();
        let sale = self.sale.get();
        let customer = key_part(self.customer.get().map_or("", |customer| customer.id.as_str()));
        let named = |id: &str, key: String| (!id.is_empty()).then(|| EventKey::whole(key));
        match kind {
            Kind::Clicked => {
                let id = click.map_or("", |click| click.id.as_str());
                named(id, format!("click:{}", key_part(id)))
            }
            Kind::Lead => {
                let name = key_part(self.event_name.as_str());
                named(event_id, format!("lead:{}:{customer}:{name}", key_part(event_id)))
            }
            // A sale repeats the id of the click that led to it, so that id is no key.
            Kind::Sale => match sale.map_or("", |sale| sale.invoice_id.as_str()) {
                "" => {
                    let amount = sale.and_then(|sale| sale.amount.get().copied()).unwrap_or_default();
                    let clicked = key_part(click.map_or("", |click| click.timestamp.as_str()));
                    named(event_id, format!("sale:{}:{customer}:{amount}:{clicked}", key_part(event_id)))
                }
                invoice => named(invoice, format!("sale:{}", key_part(invoice))),
            },
            Kind::Lifecycle(_) => None,
        }
    }
}

/// Maps one event.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let body: Body<'a> = object(parse(bytes)?)?;
    let kind = Kind::of(&body.event)?;
    let mut findings = Findings::default();
    let mut draft = Draft::new(raw, scratch);
    if let Kind::Lifecycle(subtype) = kind {
        let body: LifecycleBody<'a> = object(parse(bytes)?)?;
        body.survey(&Path::ROOT, &mut findings);
        let link = required("data", body.data)?;
        identity("data", &link.id, &link.domain, &link.key)?;
        draft.event.r#type = EventType::Lifecycle;
        draft.event.subtype = subtype.into();
        let changed = match subtype {
            "link.created" => link.created_at.get().cloned(),
            "link.edited" => link.updated_at.get().cloned(),
            _ => None,
        };
        draft.time(changed.or(body.created_at.ok()));
        draft.extra("expires_at", link.expires_at.clone());
        let tags = map_link(&mut draft, link, "");
        return Ok(draft.finish(findings, Default::default(), None, tags));
    }

    body.survey(&Path::ROOT, &mut findings);
    let data = required("data", body.data)?;
    let link = data.link.or_empty();
    identity("data.link", &link.id, &link.domain, &link.key)?;
    let click = data.click.or_empty();
    let scanned = click.qr.get() == Some(&true) || click.trigger.as_str() == "qr";
    let event = &mut draft.event;
    event.r#type = match kind {
        Kind::Lead => EventType::Lead,
        Kind::Sale => EventType::Sale,
        _ if scanned => EventType::QrScan,
        _ => EventType::Click,
    };
    if SAMPLE_CLICKS.contains(&click.id.as_str()) {
        draft.vendor_sample();
    }
    // A lead or a sale carries the click that led to it: that click's time is not the event's.
    let happened = if kind == Kind::Clicked { click.timestamp.ok() } else { None };
    draft.time(happened.or(body.created_at.ok()));
    draft.event.subtype = draft.clean.said("data.eventName", data.event_name);
    if kind != Kind::Clicked {
        draft.extra("click_id", click.id);
    }
    let sale = data.sale.or_empty();
    draft.value(sale.amount.ok(), sale.currency);
    draft.extra("invoice_id", sale.invoice_id);
    let partner = data.partner.or_empty().id;
    let tags = map_link(&mut draft, link, click.url.as_str());
    if draft.event.partner.is_empty() {
        draft.event.partner = draft.clean.name("data.partner.id", partner);
    }

    draft.event.country = draft.clean.country("data.click.country", click.country);
    let region = draft.clean.said("data.click.region", click.region);
    draft.event.region = if is_edge_code(&region) { Cow::Borrowed("") } else { region };
    draft.event.device = draft.clean.device("data.click.device", click.device);
    draft.event.os = draft.clean.said("data.click.os", click.os);
    draft.event.browser = draft.clean.said("data.click.browser", click.browser);
    let visitor = draft.visitor("data.click.ip", &click.ip, click.user_agent, click.bot.ok());
    let [url, host] = [click.referer_url, click.referer].map(clean::referrer);
    let referrer = url.filter(|text| !text.is_empty()).or(host);
    Ok(draft.finish(findings, visitor, referrer, tags))
}

/// Fills in what the link says; `clicked_url` is where the click was sent, if that is known. Returns the tags.
fn map_link<'a>(draft: &mut Draft<'a, '_>, link: Link<'a>, clicked_url: &str) -> Vec<Cow<'a, str>> {
    if SAMPLE_LINKS.contains(&link.id.as_str()) || link.key.as_str() == SAMPLE_KEY {
        draft.vendor_sample();
    }
    draft.link(link.id, link.domain, link.key);
    draft.extra("external_id", link.external_id);
    // What the platform has counted itself: rules on delivery gaps hold it against what arrived.
    draft.extra("clicks_total", link.clicks.map(|clicks| clicks.to_string().into()));
    draft.event.partner = draft.clean.name("link.partnerId", link.partner_id);
    let utm = Utm {
        source: link.utm_source,
        medium: link.utm_medium,
        campaign: link.utm_campaign,
        term: link.utm_term,
        content: link.utm_content,
    };
    let url = if clicked_url.is_empty() { link.url.as_str() } else { clicked_url };
    draft.destination(url, utm);
    let tags = link.tags.or_empty();
    tags.into_iter().filter_map(Given::ok).map(|tag| tag.name.or_empty()).filter(|name| !name.is_empty()).collect()
}

/// Whether a region is the name of one of Vercel's edge locations (`sfo1`), which says nothing about the visitor.
fn is_edge_code(region: &str) -> bool {
    matches!(region.as_bytes(), [a, b, c, digit] if [a, b, c].iter().all(|byte| byte.is_ascii_lowercase()) && digit.is_ascii_digit())
}
