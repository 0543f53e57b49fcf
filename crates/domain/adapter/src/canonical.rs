//! Our own format: `schemas/canonical-event.schema.json`.

use std::borrow::Cow;

use event::EventKey;
use event::EventType;
use event::raw::RawHeaders;
use jiff::Timestamp;

use crate::Undecodable;
use crate::clean;
use crate::destination::Utm;
use crate::edge::{Keyed, key_part, object, parse};
use crate::json::{Findings, Given, Pairs, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch, Visitor};
use crate::time::Claim;

/// The JSON Schema (2020-12) of an event in the canonical format.
pub const SCHEMA: &str = include_str!("../../../../schemas/canonical-event.schema.json");

/// A full event in the canonical format, as JSON, with this time and this id, which is put in as it is.
pub fn example(time: Timestamp, id: &str) -> String {
    let time = time.strftime("%FT%T%.3fZ").to_string();
    include_str!("../tests/golden/canonical/click.json").replace(EXAMPLE_ID, id).replace(EXAMPLE_TIME, &time)
}

/// What the example has in its file.
const EXAMPLE_ID: &str = "01JD8Z6V2M";
const EXAMPLE_TIME: &str = "2026-11-23T10:00:00.000Z";

/// How an error can be about a destination.
pub(crate) const ERROR_KINDS: [&str; 3] = ["destination_unavailable", "malformed_target", "unexpected_redirect"];

type Text<'a> = Cow<'a, str>;

/// What the format calls the events that we know.
pub(crate) const TYPES: [(&str, EventType); 10] = [
    ("click", EventType::Click),
    ("qr_scan", EventType::QrScan),
    ("error", EventType::Error),
    ("link.created", EventType::Lifecycle),
    ("link.edited", EventType::Lifecycle),
    ("link.destination_changed", EventType::Lifecycle),
    ("link.expired", EventType::Lifecycle),
    ("lead", EventType::Lead),
    ("sale", EventType::Sale),
    ("threshold", EventType::Threshold),
];

fn event_type(name: &str) -> Result<EventType, Undecodable> {
    let known = TYPES.iter().find(|(known, _)| *known == name);
    known.map(|(_, event_type)| *event_type).ok_or_else(|| Undecodable::unknown_type(name))
}

/// A required text.
pub(crate) fn required<'t>(path: &str, given: &'t Given<Text<'_>>) -> Result<&'t str, Undecodable> {
    match given {
        Given::Wrong => Err(Undecodable::wrong_type(path)),
        Given::Is(text) if !text.trim().is_empty() => Ok(text.trim()),
        Given::Is(_) | Given::Absent => Err(Undecodable::missing(path)),
    }
}

/// What every event has. Returns its type and what its link is known by.
fn check<'t>(
    id: &Given<Text<'_>>,
    name: &Given<Text<'_>>,
    time: &Given<Claim<'_>>,
    link: [&'t Given<Text<'_>>; 3],
) -> Result<(EventType, Cow<'t, str>), Undecodable> {
    required("id", id)?;
    let event_type = event_type(required("type", name)?)?;
    match time {
        Given::Wrong => return Err(Undecodable::wrong_type("time")),
        Given::Is(claim) if !claim.is_empty() => {}
        Given::Is(_) | Given::Absent => return Err(Undecodable::missing("time")),
    }
    let [id, domain, slug] = link;
    match id {
        Given::Is(id) if !id.trim().is_empty() => Ok((event_type, id.trim().into())),
        _ => {
            let domain = required("link.domain", domain).map_err(|_| Undecodable::missing("link.id"))?;
            Ok((event_type, format!("{domain}/{}", required("link.slug", slug)?).into()))
        }
    }
}

objects! {
    /// What the edge reads.
    Head {
        id = "id": Text<'a>,
        name = "type": Text<'a>,
        time = "time": Claim<'a>,
        link = "link": HeadLink<'a>,
    }
    HeadLink { id = "id": Text<'a>, domain = "domain": Text<'a>, slug = "slug": Text<'a>, }

    Body {
        id = "id": Text<'a>,
        name = "type": Text<'a>,
        time = "time": Claim<'a>,
        test = "test": bool,
        link = "link": Link<'a>,
        campaign = "campaign": Text<'a>,
        channel = "channel": Text<'a>,
        utm = "utm": UtmFields<'a>,
        qr = "qr": Qr<'a>,
        partner = "partner": Text<'a>,
        launch = "launch": Text<'a>,
        visitor = "visitor": VisitorFields<'a>,
        referrer = "referrer": Text<'a>,
        redirect_status = "redirect_status": i64,
        error = "error": ErrorFields<'a>,
        conversion = "conversion": Conversion<'a>,
        extra = "extra": Pairs<'a>,
    }
    Link {
        id = "id": Text<'a>,
        domain = "domain": Text<'a>,
        slug = "slug": Text<'a>,
        destination_url = "destination_url": Text<'a>,
        kind = "kind": Text<'a>,
        tags = "tags": Vec<Given<Text<'a>>>,
        expires_at = "expires_at": Text<'a>,
    }
    UtmFields {
        source = "source": Text<'a>,
        medium = "medium": Text<'a>,
        campaign = "campaign": Text<'a>,
        term = "term": Text<'a>,
        content = "content": Text<'a>,
    }
    Qr { id = "id": Text<'a>, programme = "programme": Text<'a>, placement = "placement": Text<'a>, }
    VisitorFields {
        ip = "ip": Text<'a>,
        user_agent = "user_agent": Text<'a>,
        country = "country": Text<'a>,
        region = "region": Text<'a>,
        device = "device": Text<'a>,
        os = "os": Text<'a>,
        browser = "browser": Text<'a>,
        bot = "bot": bool,
        method = "method": Text<'a>,
        purpose = "purpose": Text<'a>,
    }
    ErrorFields { kind = "kind": Text<'a>, detail = "detail": Text<'a>, }
    Conversion {
        name = "name": Text<'a>,
        value_minor = "value_minor": i64,
        currency = "currency": Text<'a>,
        click_id = "click_id": Text<'a>,
    }
}

impl Head<'_> {
    /// The key recipe: the id, after its link where the order of a link's events counts.
    pub(crate) fn key(&self) -> Keyed {
        self.key_as(&self.id, &self.name, &self.time, key_part(self.id.as_str().trim()))
    }

    /// As [`Self::key`], for an event whose id, type and time stand in an envelope, and which is known as `known_as`.
    pub(crate) fn key_as(
        &self,
        id: &Given<Text<'_>>,
        name: &Given<Text<'_>>,
        time: &Given<Claim<'_>>,
        known_as: Cow<'_, str>,
    ) -> Keyed {
        let none = HeadLink::default();
        let link = self.link.get().unwrap_or(&none);
        let (event_type, link) = check(id, name, time, [&link.id, &link.domain, &link.slug])?;
        Ok(Some(match event_type {
            EventType::Lifecycle => EventKey::of_link(&key_part(&link), &known_as),
            _ => EventKey::whole(known_as),
        }))
    }
}

/// Maps one event.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let body: Given<Body<'a>> = parse(bytes)?;
    let body = object(body)?;
    let mut findings = Findings::default();
    body.survey(&Path::ROOT, &mut findings);
    map(raw, body, findings, scratch)
}

/// Maps what was parsed.
pub(crate) fn map<'a>(
    raw: &RawHeaders<'a>,
    body: Body<'a>,
    findings: Findings,
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let link = body.link.or_empty();
    let (event_type, _) = check(&body.id, &body.name, &body.time, [&link.id, &link.domain, &link.slug])?;

    let mut draft = Draft::new(raw, scratch);
    draft.event.r#type = event_type;
    draft.event.subtype = match event_type {
        EventType::Lifecycle => clean::trimmed(body.name.or_empty()),
        _ => Cow::Borrowed(""),
    };
    draft.time(body.time.ok());
    if body.test.ok() == Some(true) {
        draft.event.test = true;
        draft.clean.note("test:sender");
    }

    draft.link(link.id, link.domain, link.slug);
    draft.event.link_kind = draft.clean.lower("link.kind", link.kind);
    if event_type == EventType::Lifecycle {
        draft.extra("expires_at", link.expires_at);
    }
    let utm = body.utm.or_empty();
    let utm =
        Utm { source: utm.source, medium: utm.medium, campaign: utm.campaign, term: utm.term, content: utm.content };
    draft.destination(link.destination_url.as_str(), utm);
    match body.redirect_status.ok() {
        None => {}
        Some(status @ 100..=599) => draft.event.redirect_status = status as u16,
        Some(_) => draft.clean.bad_field("redirect_status"),
    }

    draft.event.campaign = draft.clean.said("campaign", body.campaign);
    draft.event.channel = draft.clean.lower("channel", body.channel);
    draft.event.partner = draft.clean.said("partner", body.partner);
    draft.event.launch = draft.clean.said("launch", body.launch);
    let qr = body.qr.or_empty();
    draft.event.qr_id = draft.clean.name("qr.id", qr.id);
    draft.event.programme = draft.clean.said("qr.programme", qr.programme);
    draft.event.placement = draft.clean.said("qr.placement", qr.placement);

    if let Some(error) = body.error.ok() {
        let kind = draft.clean.said("error.kind", error.kind);
        match ERROR_KINDS.contains(&kind.as_ref()) {
            true => (draft.event.error_kind, draft.event.subtype) = (kind.clone(), kind),
            false if kind.is_empty() => {}
            false => draft.clean.bad_field("error.kind"),
        }
        draft.event.detail = draft.clean.name("error.detail", error.detail);
    }
    if let Some(conversion) = body.conversion.ok() {
        if matches!(event_type, EventType::Lead | EventType::Sale) {
            draft.event.subtype = draft.clean.said("conversion.name", conversion.name);
        }
        draft.value(conversion.value_minor.ok(), conversion.currency);
        draft.extra("click_id", conversion.click_id);
    }
    draft.extras(body.extra.or_empty());

    let visitor = body.visitor.or_empty();
    draft.event.country = draft.clean.country("visitor.country", visitor.country);
    draft.event.region = draft.clean.said("visitor.region", visitor.region);
    draft.event.device = draft.clean.device("visitor.device", visitor.device);
    draft.event.os = draft.clean.said("visitor.os", visitor.os);
    draft.event.browser = draft.clean.said("visitor.browser", visitor.browser);
    let (method, purpose) = (visitor.method.or_empty(), visitor.purpose.or_empty());
    let visitor = draft.visitor("visitor.ip", &visitor.ip, visitor.user_agent, visitor.bot.ok());
    let visitor = Visitor { method, purpose, ..visitor };
    let referrer = clean::referrer(body.referrer);
    let tags = link.tags.or_empty().into_iter().filter_map(Given::ok).collect();
    Ok(draft.finish(findings, visitor, referrer, tags))
}
