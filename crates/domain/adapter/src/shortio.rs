//! Short.io's click webhooks: JSON, flat or with the link in an object of its own, or a form with the flat names.
//!
//! The documentation shows names and no schema, so both ways to write a name are read, and nothing but the link is
//! required. What is unknown stands there as the text `null`. There is no id: the hash of the body is the key, and two
//! bodies that are equal to the byte are one click.

use std::borrow::Cow;

use event::EventType;
use event::raw::RawHeaders;
use serde::de::value::{Error, MapDeserializer};

use crate::Undecodable;
use crate::clean;
use crate::destination::Utm;
use crate::edge::{self, Element, Keyed, object, parse};
use crate::form;
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::mend::Mending;
use crate::short_link;
use crate::time::Claim;

type Text<'a> = Cow<'a, str>;

objects! {
    Body {
        host = "Host" | "host" | "ip": Text<'a>,
        date = "Date" | "date": Claim<'a>,
        referrer = "Referrer" | "referrer" | "Referer" | "referer": Text<'a>,
        origin = "Origin" | "origin": Text<'a>,
        path = "Path" | "path": Text<'a>,
        user_agent = "User-agent" | "User-Agent" | "user-agent" | "userAgent": Text<'a>,
        country = "Country" | "country": Text<'a>,
        utm_source = "utm_source": Text<'a>,
        utm_medium = "utm_medium": Text<'a>,
        utm_campaign = "utm_campaign": Text<'a>,
        utm_term = "utm_term": Text<'a>,
        utm_content = "utm_content": Text<'a>,
        link = "link": Link<'a>,
    }
    Link { domain = "domain": Text<'a>, path = "path": Text<'a>, original_url = "originalURL": Text<'a>, }
}

/// Finds the event of a body.
pub(crate) fn split<'b>(body: &'b [u8], content_type: &str) -> Result<Vec<Element<'b>>, Undecodable> {
    if edge::is_form(content_type) {
        return edge::form(body, |body| of_form(body, Mending::Distinct), Body::key);
    }
    edge::one(body, Body::key)
}

/// Whether a form tells of a click.
pub(crate) fn is_form(body: &[u8]) -> bool {
    of_form(body, Mending::Plain).is_ok_and(|body| body.get().is_some_and(|body| body.link().is_ok()))
}

/// The fields of a form, read as if they were those of an object.
fn of_form(body: &[u8], mending: Mending) -> Result<Given<Body<'_>>, Undecodable> {
    let fields = MapDeserializer::<_, Error>::new(form::pairs(body, mending));
    let body = Body::object(fields).map_err(|_| Undecodable::new("not_a_form", "the body is no form of texts"))?;
    Ok(body.map_or(Given::Wrong, Given::Is))
}

impl<'a> Body<'a> {
    fn key(&self) -> Keyed {
        self.link().map(|_| None)
    }

    /// Domain and path of the link, from wherever they stand.
    fn link(&self) -> Result<(Text<'a>, Text<'a>), Undecodable> {
        let none = Link::default();
        let link = self.link.get().unwrap_or(&none);
        let known =
            |given: &Given<Text<'a>>| given.get().filter(|text| !text.trim().is_empty() && !is_null(text)).cloned();
        let domain = known(&link.domain).or_else(|| known(&self.origin)).and_then(short_link::halves);
        let (domain, _) = domain.ok_or_else(|| match self.origin {
            Given::Wrong => Undecodable::wrong_type("Origin"),
            _ => Undecodable::missing("Origin"),
        })?;
        Ok((domain, known(&link.path).or_else(|| known(&self.path)).unwrap_or_default()))
    }
}

/// What is written where there is nothing.
fn is_null(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("null")
}

/// Maps one event.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let body = object(if edge::is_form(&raw.content_type) { of_form(bytes, Mending::Plain)? } else { parse(bytes)? })?;
    let (domain, path) = body.link()?;
    let mut findings = Findings::default();
    body.survey(&Path::ROOT, &mut findings);
    let mut draft = Draft::new(raw, scratch);
    draft.event.r#type = EventType::Click;
    draft.time(body.date.ok().filter(|date| !matches!(date, Claim::Text(text) if is_null(text))));
    draft.link(Given::Absent, Given::Is(domain), Given::Is(path));
    let utm = Utm {
        source: body.utm_source,
        medium: body.utm_medium,
        campaign: body.utm_campaign,
        term: body.utm_term,
        content: body.utm_content,
    };
    let destination = body.link.or_empty().original_url.or_empty();
    draft.destination(if is_null(&destination) { "" } else { &destination }, utm);
    draft.event.country = draft.clean.country("country", body.country);
    let visitor = draft.visitor("Host", &body.host, or_nothing(body.user_agent), None);
    // Its word for a visitor whose browser named no page is the text "null".
    let unreferred = |text: Cow<'a, str>| if is_null(&text) { Cow::Borrowed("") } else { text };
    let referrer = clean::referrer(body.referrer.map(unreferred));
    Ok(draft.finish(findings, visitor, referrer, Vec::new()))
}

fn or_nothing<'a>(given: Given<Text<'a>>) -> Given<Text<'a>> {
    match given {
        Given::Is(text) if is_null(&text) => Given::Absent,
        given => given,
    }
}
