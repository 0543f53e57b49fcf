//! CloudEvents 1.0 whose data is a canonical event without id and time: those are the envelope's.
//!
//! Structured and batched elements are whole envelopes; in binary mode the body is the data and the envelope stands in
//! the `ce-*` headers, on the request and on the record alike.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use event::raw::RawHeaders;
use percent_encoding::percent_decode_str;

use crate::Undecodable;
use crate::canonical::{self, TYPES, required};
use crate::edge::{self, Element, Keyed, key_part, parse};
use crate::json::{Findings, Given, Path, Shape, objects};
use crate::mapped::{Adapted, Dialect, Scratch};
use crate::mend::{self, Mending};
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
        encoded = "data_base64": Encoded<canonical::Head<'a>, true>,
    }
    Envelope {
        id = "id": Text<'a>,
        source = "source": Text<'a>,
        name = "type": Text<'a>,
        time = "time": Claim<'a>,
        data = "data": canonical::Body<'a>,
        encoded = "data_base64": Encoded<canonical::Body<'a>, false>,
        // Read so that they do not count as fields that nobody reads.
        spec_version = "specversion": Text<'a>,
        data_content_type = "datacontenttype": Text<'a>,
    }
}

/// Data that stands in its envelope as base64; `HEAD` says that keys are made of it.
#[derive(Debug, Default)]
pub(crate) struct Encoded<T, const HEAD: bool>(Given<T>);

impl<'de, T: Shape<'de>, const HEAD: bool> Shape<'de> for Encoded<T, HEAD> {
    fn text(text: Text<'de>) -> Option<Self> {
        let data = BASE64.decode(text.trim()).or_else(|_| BASE64_OF_URLS.decode(text.trim())).ok()?;
        let mending = if HEAD { Mending::Distinct } else { Mending::Plain };
        edge::read_decoded(mend::trimmed(&data), mending).ok().map(Self)
    }
    fn survey(&self, at: &Path<'_>, findings: &mut Findings) {
        self.0.survey(at, findings);
    }
}

/// Padded or not, as encoders do it.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_OF_URLS: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The data of an envelope, from whichever of its two fields holds it.
fn data<T, const HEAD: bool>(data: Given<T>, encoded: Given<Encoded<T, HEAD>>) -> Result<T, Undecodable> {
    match (data, encoded) {
        (Given::Absent, Given::Is(encoded)) => edge::required("data_base64", encoded.0),
        (Given::Absent, Given::Wrong) => {
            Err(Undecodable::new("wrong_type", "the required field `data_base64` is not JSON in base64"))
        }
        (data, _) => edge::required("data", data),
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
        let encoded = match &self.encoded {
            Given::Is(encoded) => Given::Is(Encoded::<_, true>(encoded.0.view())),
            Given::Absent => Given::Absent,
            Given::Wrong => Given::Wrong,
        };
        key(data(self.data.view(), encoded)?, &self.id, &self.source, &self.name, &self.time)
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
    /// From the values of headers.
    fn new(header: impl Fn(&str) -> Option<Text<'a>>) -> Result<Self, Undecodable> {
        let text = |name| header(name).map_or(Ok(Given::Absent), |value| attribute(name, value).map(Given::Is));
        Ok(Self { id: text("id")?, source: text("source")?, name: text("type")?, time: text("time")?.map(Claim::Text) })
    }
}

/// The value of an attribute that stands in a header: what is in quotes, percent-decoded, as the HTTP binding says.
fn attribute<'a>(name: &str, value: Text<'a>) -> Result<Text<'a>, Undecodable> {
    let value = unquoted(value);
    if !value.contains('%') {
        return Ok(value);
    }
    let decoded: Vec<u8> = percent_decode_str(&value).collect();
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| {
        let detail = format!(
            "the header ce-{name} is not UTF-8 once it is percent-decoded: encode it as CloudEvents' HTTP binding says"
        );
        Undecodable::new("not_utf8", detail)
    })
}

/// What stands between the quotes of a value that is quoted: a backslash takes the letter after it as it is.
fn unquoted(value: Text<'_>) -> Text<'_> {
    let Some(inside) = value.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return value };
    let mut text = String::with_capacity(inside.len());
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        text.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    Cow::Owned(text)
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
    let envelope = Attributes::new(|name| headers(&format!("ce-{name}")).map(Cow::Borrowed))?;
    edge::one(body, |data: &canonical::Head<'_>| {
        key(data, &envelope.id, &envelope.source, &envelope.name, &envelope.time)
    })
}

/// Maps one event.
pub(crate) fn adapt<'a>(
    raw: &RawHeaders<'a>,
    bytes: &'a [u8],
    scratch: &mut Scratch<'_>,
) -> Result<Adapted<'a>, Undecodable> {
    let mut findings = Findings::default();
    let (mut body, envelope) = if is_structured(&raw.content_type) {
        let envelope: Given<Envelope<'a>> = parse(bytes)?;
        let envelope = edge::object(envelope)?;
        envelope.survey(&Path::ROOT, &mut findings);
        let attributes =
            Attributes { id: envelope.id, source: envelope.source, name: envelope.name, time: envelope.time };
        (data(envelope.data, envelope.encoded)?, attributes)
    } else {
        let body: Given<canonical::Body<'a>> = parse(bytes)?;
        let body = edge::object(body)?;
        body.survey(&Path::ROOT, &mut findings);
        let attribute = |name: &str| {
            let found = raw.cloud_event.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        (body, Attributes::new(attribute)?)
    };
    required("source", &envelope.source)?;
    body.name = canonical_type(&envelope.name, &body.name);
    body.id = envelope.id;
    body.time = envelope.time;
    canonical::map(raw, body, findings, scratch)
}
