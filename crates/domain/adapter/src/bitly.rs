//! Bitly's engagement webhooks, as its documentation describes them: a link clicked, a code scanned or a button of a bio
//! page pressed, one a request. The payload does not say which of these it was, so all of them are clicks.

use std::borrow::Cow;

use event::raw::RawHeaders;
use event::{EventKey, EventType};

use crate::Undecodable;
use crate::clean;
use crate::destination::Utm;
use crate::edge::{Keyed, key_part, object, parse};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::short_link;
use crate::time::Claim;

/// The example of the documentation, which is what people try first.
const SAMPLE_EVENT: &str = "42f14eec-d1dc-11ea-8bbb-080027c1cea9";

type Text<'a> = Cow<'a, str>;

objects! {
    /// What the edge reads.
    Head {
        event_id = "event_id": Text<'a>,
        bitlink = "bitlink": Text<'a>,
        references = "references": References<'a>,
    }
    Body {
        event_id = "event_id": Text<'a>,
        datetime = "datetime": Claim<'a>,
        url = "url": Text<'a>,
        bitlink = "bitlink": Text<'a>,
        passed_params = "passed_params": Text<'a>,
        country = "country": Text<'a>,
        referrer = "referrer": Text<'a>,
        device_type = "device_type": Text<'a>,
        tags = "tags": Vec<Given<Text<'a>>>,
        references = "references": References<'a>,
    }
    /// Where the API has what the event is about.
    References { bitlink = "bitlink": Text<'a>, }
}

impl Head<'_> {
    /// The key recipe: the event's id, which is one click's.
    pub(crate) fn key(&self) -> Keyed {
        link(&self.bitlink, &self.references)?;
        let id = self.event_id.as_str().trim();
        Ok((!id.is_empty()).then(|| EventKey::whole(format!("click:{}", key_part(id)))))
    }
}

/// Domain and slug of the link: `bitlink`, or else the end of its address in the API.
fn link<'a>(
    bitlink: &Given<Text<'a>>,
    references: &Given<References<'a>>,
) -> Result<(Text<'a>, Text<'a>), Undecodable> {
    if let Some(halves) = bitlink.get().cloned().and_then(short_link::halves) {
        return Ok(halves);
    }
    let reference = references.get().map_or("", |references| references.bitlink.as_str());
    let named = reference.split_once("/bitlinks/").map(|(_, link)| Cow::Owned(link.to_owned()));
    named.and_then(short_link::halves).ok_or_else(|| match bitlink {
        Given::Wrong => Undecodable::wrong_type("bitlink"),
        Given::Absent | Given::Is(_) => Undecodable::missing("bitlink"),
    })
}

/// Maps one event.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let body: Body<'a> = object(parse(bytes)?)?;
    let (domain, slug) = link(&body.bitlink, &body.references)?;
    let mut findings = Findings::default();
    body.survey(&Path::ROOT, &mut findings);
    let mut draft = Draft::new(raw, scratch);
    if body.event_id.as_str() == SAMPLE_EVENT {
        draft.vendor_sample();
    }
    draft.event.r#type = EventType::Click;
    draft.time(body.datetime.ok());
    draft.link(Given::Absent, Given::Is(domain), Given::Is(slug));
    draft.destination(&with_params(body.url.as_str(), body.passed_params.as_str()), Utm::default());
    draft.event.country = draft.clean.country("country", body.country);
    draft.event.device = draft.clean.device("device_type", body.device_type);
    let referrer = clean::referrer(body.referrer);
    let tags = body.tags.or_empty().into_iter().filter_map(Given::ok).collect();
    Ok(draft.finish(findings, Default::default(), referrer, tags))
}

/// The destination with the parameters that were passed on to it, so that the same allow-list holds for them.
fn with_params<'t>(url: &'t str, passed: &str) -> Cow<'t, str> {
    let passed = passed.trim().trim_start_matches(['?', '&']);
    if passed.is_empty() {
        return Cow::Borrowed(url);
    }
    let url = url.split('#').next().unwrap_or_default();
    let mark = if url.contains('?') { '&' } else { '?' };
    Cow::Owned(format!("{url}{mark}{passed}"))
}
