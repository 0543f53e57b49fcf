//! The link shortening events of Twilio's Event Streams, as its documentation describes them: CloudEvents 1.0, batched.
//!
//! Each link is sent to one person: who that is (`to`) and in which message is read by nobody here.

use std::borrow::Cow;

use event::raw::RawHeaders;
use event::{EventKey, EventType};

use crate::Undecodable;
use crate::destination::Utm;
use crate::edge::{self, Keyed, key_part, object, parse};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Draft, Scratch};
use crate::short_link;
use crate::time::Claim;

/// How the types begin, whatever version of their names comes first.
const FAMILY: &str = "link-shortening.";
/// The example of the documentation.
const SAMPLE_EVENT: &str = "NO00000000000000000000000001";

type Text<'a> = Cow<'a, str>;

objects! {
    /// What the edge reads.
    Head {
        id = "id": Text<'a>,
        source = "source": Text<'a>,
        name = "type": Text<'a>,
        data = "data": HeadData<'a>,
    }
    HeadData { short_link = "shortened_link" | "shortenedLink": Text<'a>, }
    Body {
        id = "id": Text<'a>,
        source = "source": Text<'a>,
        name = "type": Text<'a>,
        time = "time": Claim<'a>,
        data = "data": Data<'a>,
        // Read so that they do not count as fields that nobody reads.
        spec_version = "specversion": Text<'a>,
        data_schema = "dataschema": Text<'a>,
        data_content_type = "datacontenttype": Text<'a>,
    }
    Data {
        short_link = "shortened_link" | "shortenedLink": Text<'a>,
        link = "link": Text<'a>,
        created = "link_create_time" | "linkCreateTime": Claim<'a>,
        clicked = "click_time" | "clickTime": Claim<'a>,
        user_agent = "user_agent" | "userAgent": Text<'a>,
    }
}

fn event_type(name: &Given<Text<'_>>) -> Result<EventType, Undecodable> {
    match name {
        Given::Wrong => Err(Undecodable::wrong_type("type")),
        Given::Absent => Err(Undecodable::missing("type")),
        Given::Is(name) => match name.split_once(FAMILY).map(|(_, name)| name.trim()) {
            Some("link-clicked") => Ok(EventType::Click),
            Some("link-shortened") => Ok(EventType::Lifecycle),
            _ => Err(Undecodable::unknown_type(name)),
        },
    }
}

fn link<'a>(short_link: &Given<Text<'a>>) -> Result<(Text<'a>, Text<'a>), Undecodable> {
    let known = short_link.get().cloned().and_then(short_link::halves);
    known.ok_or_else(|| match short_link {
        Given::Wrong => Undecodable::wrong_type("data.shortened_link"),
        Given::Absent | Given::Is(_) => Undecodable::missing("data.shortened_link"),
    })
}

impl Head<'_> {
    /// The key recipe: source and id together, since an id is unique within its source only.
    pub(crate) fn key(&self) -> Keyed {
        let event_type = event_type(&self.name)?;
        let (domain, slug) = link(&edge::required("data", self.data.view())?.short_link)?;
        let id = self.id.as_str().trim();
        if id.is_empty() {
            return Ok(None);
        }
        let known_as = format!("{} {}", key_part(self.source.as_str().trim()), key_part(id));
        Ok(Some(match event_type {
            EventType::Lifecycle => EventKey::of_link(&key_part(&format!("{domain}/{slug}")), &known_as),
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
    let body: Body<'a> = object(parse(bytes)?)?;
    let event_type = event_type(&body.name)?;
    let mut findings = Findings::default();
    body.survey(&Path::ROOT, &mut findings);
    let data = edge::required("data", body.data)?;
    let (domain, slug) = link(&data.short_link)?;
    let mut draft = Draft::new(raw, scratch);
    draft.event.r#type = event_type;
    let happened = if event_type == EventType::Lifecycle {
        draft.event.subtype = "link.created".into();
        data.created
    } else {
        data.clicked
    };
    if body.id.as_str() == SAMPLE_EVENT {
        draft.vendor_sample();
    }
    draft.time(happened.ok().or(body.time.ok()));
    draft.link(Given::Absent, Given::Is(domain), Given::Is(slug));
    draft.destination(data.link.as_str(), Utm::default());
    let visitor = draft.visitor("", &Given::Absent, data.user_agent, None);
    // Twilio names no referrer, and its links are in text messages.
    if event_type != EventType::Lifecycle {
        draft.event.channel = "sms".into();
    }
    Ok(draft.finish(findings, visitor, None, Vec::new()))
}
