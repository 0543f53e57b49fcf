//! The other half: one event of a mapped platform.

use std::borrow::Cow;

use ::event::EventType;
use ::event::raw::RawHeaders;

use super::read::{Event, Found, Scalar};
use super::{AmountUnit, Fact, Field, Link, Mapping, first, wrong};
use crate::Undecodable;
use crate::Unreadable;
use crate::amount;
use crate::canonical::ERROR_KINDS;
use crate::clean;
use crate::currency;
use crate::destination::Utm;
use crate::edge;
use crate::json::{Findings, Given};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::mend::Mending;

/// Maps one event.
pub(crate) fn adapt<'a>(
    mapping: &Mapping,
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let found = match edge::is_form(&raw.content_type) {
        true => mapping.whole.read_form(bytes, Mending::Plain),
        false => edge::parse_with(bytes, Event(&mapping.whole))?.ok().ok_or_else(Undecodable::no_object)?,
    };
    let kind = mapping.type_of(&found)?;
    let link = mapping.link(&found);
    mapping.identity(&link)?;

    let mut findings = Findings { unread: found.unread, ..Findings::default() };
    let mut text = |field: Field| {
        let text = mapping.text(field, &found);
        if matches!(text, Given::Wrong) {
            findings.wrong.push(field.name().to_owned());
        }
        text
    };
    let mut draft = Draft::new(raw, scratch);
    draft.event.r#type = match kind.event_type {
        EventType::Click if mapping.holds(Fact::Qr, &found) == Some(true) => EventType::QrScan,
        other => other,
    };
    let claim = mapping.claim(&found);
    if claim.is_none() && wrong(&mapping.time, &found) {
        draft.clean.bad_field("event_time");
    }
    draft.time_as(claim, mapping.time_format.as_ref());
    if mapping.holds(Fact::Test, &found) == Some(true) {
        draft.event.test = true;
        draft.clean.note("test:mapping");
    }

    let Link { id, domain, slug } = link;
    draft.link(id, domain, slug);
    draft.event.link_kind = draft.clean.lower("link_kind", text(Field::LinkKind));
    if kind.event_type == EventType::Lifecycle {
        draft.event.subtype = Cow::Borrowed(kind.name);
        draft.extra("expires_at", text(Field::ExpiresAt));
    }
    let utm = Utm {
        source: text(Field::UtmSource),
        medium: text(Field::UtmMedium),
        campaign: text(Field::UtmCampaign),
        term: text(Field::UtmTerm),
        content: text(Field::UtmContent),
    };
    draft.destination(text(Field::DestinationUrl).as_str(), utm);
    let status = text(Field::RedirectStatus);
    match status.as_str().trim().parse() {
        Ok(status @ 100..=599) => draft.event.redirect_status = status,
        _ if status.as_str().trim().is_empty() => {}
        _ => draft.clean.bad_field("redirect_status"),
    }

    draft.event.campaign = draft.clean.said("campaign", text(Field::Campaign));
    draft.event.channel = draft.clean.lower("channel", text(Field::Channel));
    draft.event.partner = draft.clean.said("partner", text(Field::Partner));
    draft.event.launch = draft.clean.said("launch", text(Field::Launch));
    draft.event.qr_id = draft.clean.name("qr_id", text(Field::QrId));
    draft.event.programme = draft.clean.said("programme", text(Field::Programme));
    draft.event.placement = draft.clean.said("placement", text(Field::Placement));

    match kind.event_type {
        EventType::Error => {
            let kind = draft.clean.said("error_kind", text(Field::ErrorKind));
            match ERROR_KINDS.contains(&kind.as_ref()) {
                true => (draft.event.error_kind, draft.event.subtype) = (kind.clone(), kind),
                false if kind.is_empty() => {}
                false => draft.clean.bad_field("error_kind"),
            }
            draft.event.detail = draft.clean.name("error_detail", text(Field::ErrorDetail));
        }
        EventType::Lead | EventType::Sale => {
            draft.event.subtype = draft.clean.said("conversion", text(Field::Conversion));
            let currency = text(Field::Currency);
            let minor = mapping.minor_units(&found, currency.as_str().trim());
            if matches!(minor, Given::Wrong) {
                draft.clean.unreadable(Unreadable::Value);
                draft.clean.bad_field("value_minor");
            }
            draft.value(minor.ok(), currency);
        }
        _ => {}
    }

    draft.event.country = draft.clean.country("country", text(Field::Country));
    draft.event.region = draft.clean.said("region", text(Field::Region));
    draft.event.device = draft.clean.device("device", text(Field::Device));
    draft.event.os = draft.clean.said("os", text(Field::Os));
    draft.event.browser = draft.clean.said("browser", text(Field::Browser));
    let bot = mapping.holds(Fact::Bot, &found);
    let visitor = draft.visitor("ip", &text(Field::Ip), text(Field::UserAgent), bot);
    let referrer = clean::referrer(text(Field::Referrer));
    for (name, from) in &mapping.extra {
        let value = draft.clean.said("extra", from.of(&found));
        if draft.event.extra.get(name).is_empty() {
            draft.event.extra.add(name.clone(), value);
        }
    }
    Ok(draft.finish(findings, visitor, referrer, Vec::new()))
}

impl Mapping {
    /// When it happened, as the payload says it.
    fn claim<'a>(&self, found: &Found<'a>) -> Option<crate::time::Claim<'a>> {
        first(&self.time, found)?.claim()
    }

    /// Whether a fact holds; none when the payload does not say.
    fn holds(&self, fact: Fact, found: &Found<'_>) -> Option<bool> {
        let (_, slots, is) = self.facts.iter().find(|(named, ..)| *named == fact)?;
        let value = first(slots, found)?;
        if !is.is_empty() {
            let text = value.text()?;
            return Some(is.iter().any(|yes| *yes == text.trim()));
        }
        Some(match value {
            Scalar::Flag(flag) => *flag,
            Scalar::Text(text) => ["true", "1", "yes"].iter().any(|yes| yes.eq_ignore_ascii_case(text.trim())),
            number => number.number() == Some(1.0),
        })
    }

    /// The worth of a conversion in the smallest unit of its currency.
    fn minor_units(&self, found: &Found<'_>, currency: &str) -> Given<i64> {
        let Some((slots, unit)) = &self.value else { return Given::Absent };
        let Some(value) = first(slots, found) else {
            return if wrong(slots, found) { Given::Wrong } else { Given::Absent };
        };
        let of_currency = currency::decimals(currency);
        // How many decimals the payload's unit has, or by what it is multiplied. A hundred is right for currencies with two
        // decimals only, so where the currency has another number of them, that counts.
        let (decimals, times) = match (*unit, of_currency) {
            (AmountUnit::Currency | AmountUnit::Smallest(100), Some(decimals)) => (decimals, 1),
            (AmountUnit::Currency, None) => return Given::Wrong,
            (AmountUnit::Smallest(100), None) => (2, 1),
            (AmountUnit::Smallest(times), _) => (0, i64::from(times)),
        };
        // What is multiplied by another number may have a fraction.
        let amount = match value {
            Scalar::Text(text) if times == 1 => amount::of_text(text, currency, decimals),
            value => value.number().and_then(|number| amount::of_number(number * times as f64, decimals)),
        };
        amount.map_or(Given::Wrong, Given::Is)
    }
}
