//! CloudEvents 1.0 whose data is a canonical event without id and time: those are the envelope's.
//!
//! Structured and batched elements are whole envelopes; in binary mode the body is the data and the envelope stands in
//! the `ce-*` headers, on the request and on the record alike.

use std::borrow::Cow;

use event::raw::RawHeaders;

use crate::Undecodable;
use crate::canonical::{self, TYPES, required};
use crate::edge::{self, Element, Keyed, key_part, parse};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Dialect, Scratch};
use crate::time::Claim;

const STRUCTURED: &str = "application/cloudevents+json";

type Text<'a> = Cow<'a, str>;

objects! {
    /// What the edge reads.
    Head {
        id = "id": Text<'a>,
        source = "source": Text<'a>,
        name = "type": Text<'a>,
        time = "time": Claim<'a>,
        data = "data": canonical::Head<'a>,
    }
    Envelope {
        id = "id": Text<'a>,
        source = "source": Text<'a>,
        name = "type": Text<'a>,
        time = "time": Claim<'a>,
        data = "data": canonical::Body<'a>,
        // Read so that they do not count as fields that nobody reads.
        spec_version = "specversion": Text<'a>,
        data_content_type = "datacontenttype": Text<'a>,
    }
}

/// The type as the canonical format calls it: the end of the envelope's type, or else the data's own type.
fn canonical_type<'t>(envelope: &'t Given<Text<'_>>, data: &'t Given<Text<'_>>) -> Given<Text<'static>> {
    let name = envelope.as_str().trim();
    let ends = |known: &str| name.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if let Some((known, _)) = TYPES.iter().find(|(known, _)| ends(known)) {
        return Given::Is(Cow::Borrowed(known));
    }
    match (data, envelope) {
        (Given::Is(own), _) => Given::Is(own.clone().into_owned().into()),
        (Given::Wrong, _) | (Given::Absent, Given::Wrong) => Given::Wrong,
        (Given::Absent, Given::Absent) => Given::Absent,
        (Given::Absent, Given::Is(name)) => Given::Is(name.clone().into_owned().into()),
    }
}

/// The key recipe: source and id together, since an id is unique within its source only.
fn key(
    data: &canonical::Head<'_>,
    id: &Given<Text<'_>>,
    source: &Given<Text<'_>>,
    name: &Given<Text<'_>>,
    time: &Given<Claim<'_>>,
) -> Keyed {
    let known_as = format!("{} {}", key_part(required("source", source)?), key_part(required("id", id)?));
    data.key_as(id, &canonical_type(name, &data.name), time, known_as.into())
}

impl Head<'_> {
    fn key(&self) -> Keyed {
        let data = edge::required("data", self.data.view())?;
        key(data, &self.id, &self.source, &self.name, &self.time)
    }
}

fn is_structured(content_type: &str) -> bool {
    content_type.get(..23).is_some_and(|start| start.eq_ignore_ascii_case("application/cloudevents"))
}

/// The attributes of an envelope in headers.
struct Attributes<'a> {
    id: Given<Text<'a>>,
    source: Given<Text<'a>>,
    name: Given<Text<'a>>,
    time: Given<Claim<'a>>,
}

impl<'a> Attributes<'a> {
    fn new(attribute: impl Fn(&str) -> Option<Text<'a>>) -> Self {
        let text = |name| attribute(name).map_or(Given::Absent, Given::Is);
        let time = attribute("time").map_or(Given::Absent, |time| Given::Is(Claim::Text(time)));
        Self { id: text("id"), source: text("source"), name: text("type"), time }
    }
}

/// The attributes that make the event in binary mode, as headers. Whoever can alter one of them makes another event of the data.
pub const ATTRIBUTE_HEADERS: [&str; 4] = ["ce-id", "ce-source", "ce-type", "ce-time"];

/// Finds the events of a body.
pub(crate) fn split<'b>(
    dialect: &Dialect,
    body: &'b [u8],
    content_type: &str,
    headers: &dyn Fn(&str) -> Option<&'b str>,
) -> Result<Vec<Element<'b>>, Undecodable> {
    if is_structured(content_type) || headers("ce-id").is_none() {
        let mut elements = edge::one_or_array(body, Head::key)?;
        elements.iter_mut().for_each(|element| element.content_type = STRUCTURED);
        return Ok(elements);
    }
    if dialect.attributes_unproven {
        let detail = "binary mode: the signature does not cover ce-id, ce-source, ce-type and ce-time, so anybody on the way could have \
                      altered them; send structured mode, or sign them, or set unsigned_attributes = \"accept\" and redrive";
        return Err(Undecodable::new("unsigned_attributes", detail));
    }
    let envelope = Attributes::new(|name| headers(&format!("ce-{name}")).map(Cow::Borrowed));
    edge::one(body, |data: &canonical::Head<'_>| {
        key(data, &envelope.id, &envelope.source, &envelope.name, &envelope.time)
    })
}

/// Maps one event.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    text: &'a str,
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let mut findings = Findings::default();
    let (mut body, envelope) = if is_structured(&raw.content_type) {
        let envelope: Given<Envelope<'a>> = parse(text)?;
        let envelope = edge::object(envelope)?;
        envelope.survey(&Path::ROOT, &mut findings);
        edge::required("data", envelope.data.view())?;
        let attributes =
            Attributes { id: envelope.id, source: envelope.source, name: envelope.name, time: envelope.time };
        (envelope.data.or_empty(), attributes)
    } else {
        let body: Given<canonical::Body<'a>> = parse(text)?;
        let body = edge::object(body)?;
        body.survey(&Path::ROOT, &mut findings);
        let attribute = |name: &str| {
            let found = raw.cloud_event.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        (body, Attributes::new(attribute))
    };
    required("source", &envelope.source)?;
    body.name = canonical_type(&envelope.name, &body.name);
    body.id = envelope.id;
    body.time = envelope.time;
    canonical::map(raw, body, findings, scratch)
}
