//! HMAC with the code in a header: the generic scheme, and the vendors that are nothing more than a row of it.

use crate::claim::{Claim, Code, Proof, Read, proofs, unix_seconds};
use crate::part::{HeaderPart, fields};
use crate::request::{Refusal, Request};
use crate::scheme::{Algorithm, Encoding, HmacScheme, SignedTime, TOLERANCE_SECONDS};
use crate::secret::{ConfigError, UnixSeconds};
use crate::template::{Template, header_name};

/// The headers of those who sign `t=…,v1=…`.
pub(crate) const STRIPE: &str = "stripe-signature";
pub(crate) const CALENDLY: &str = "calendly-webhook-signature";
pub(crate) const MUX: &str = "mux-signature";
pub(crate) const CONVOY: &str = "x-convoy-signature";

/// A generic scheme made ready: names in lower case, template read.
pub(crate) struct Recipe {
    pub(crate) algorithm: Algorithm,
    pub(crate) header: String,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: String,
    /// The name of the field that a code is in, where the header has other fields as well.
    code_field: Option<String>,
    pub(crate) signed: Template,
    pub(crate) timestamp: Option<SignedTime>,
    pub(crate) delivery_id: Option<HeaderPart>,
    delivery_id_signed: bool,
}

/// HMAC-SHA256 over the body alone, with the secret as it is shown.
fn over_body(header: &str, encoding: Encoding, prefix: &str, delivery_id: Option<&str>) -> HmacScheme {
    HmacScheme {
        algorithm: Algorithm::Sha256,
        header: header.to_owned(),
        encoding,
        prefix: prefix.to_owned(),
        signed: "{body}".to_owned(),
        timestamp: None,
        delivery_id: delivery_id.map(HeaderPart::whole),
    }
}

/// `t=<unix seconds>,v1=<hex>[,v1=<hex>]`, signed `{t}`, the separator, the body. Other fields mean nothing here: Stripe's `v0`
/// is for test mode.
pub(crate) fn with_time(header: &str, separator: &str) -> HmacScheme {
    let part = HeaderPart::field(header, "t");
    HmacScheme {
        signed: format!("{{timestamp}}{separator}{{body}}"),
        timestamp: Some(SignedTime { part, tolerance_seconds: TOLERANCE_SECONDS }),
        ..over_body(header, Encoding::Hex, "v1=", None)
    }
}

pub(crate) fn dub() -> HmacScheme {
    over_body("dub-signature", Encoding::Hex, "", None)
}

pub(crate) fn github() -> HmacScheme {
    over_body("x-hub-signature-256", Encoding::Hex, "sha256=", Some("x-github-delivery"))
}

pub(crate) fn shopify() -> HmacScheme {
    over_body("x-shopify-hmac-sha256", Encoding::Base64, "", Some("x-shopify-webhook-id"))
}

pub(crate) fn hookdeck() -> HmacScheme {
    over_body("x-hookdeck-signature", Encoding::Base64, "", Some("x-hookdeck-event-id"))
}

pub(crate) fn outpost() -> HmacScheme {
    over_body("x-outpost-signature", Encoding::Hex, "v0=", Some("x-outpost-event-id"))
}

pub(crate) fn slack() -> HmacScheme {
    let header = "x-slack-request-timestamp";
    HmacScheme {
        signed: "v0:{timestamp}:{body}".to_owned(),
        timestamp: Some(SignedTime { part: HeaderPart::whole(header), tolerance_seconds: TOLERANCE_SECONDS }),
        ..over_body("x-slack-signature", Encoding::Hex, "v0=", None)
    }
}

impl Recipe {
    pub(crate) fn new(scheme: &HmacScheme) -> Result<Self, ConfigError> {
        let signed = scheme.template()?;
        let header = header_name(&scheme.header)?;
        let timestamp = match &scheme.timestamp {
            None => None,
            Some(SignedTime { part, tolerance_seconds }) => {
                let checked = part.checked()?;
                if !signed.signs(&checked) {
                    return Err(ConfigError::TimestampNotSigned { part: part.clone() });
                }
                if *tolerance_seconds <= 0 {
                    return Err(ConfigError::Tolerance { seconds: *tolerance_seconds });
                }
                Some(SignedTime { part: checked, tolerance_seconds: *tolerance_seconds })
            }
        };
        let delivery_id = scheme.delivery_id.as_ref().map(HeaderPart::checked).transpose()?;
        let time = timestamp.as_ref().map(|timestamp| &timestamp.part);
        let has_fields =
            signed.parts().chain(time).chain(&delivery_id).any(|part| part.header == header && part.field.is_some());
        let code_field = has_fields.then(|| code_field(&scheme.prefix)).transpose()?;
        Ok(Self {
            algorithm: scheme.algorithm,
            header,
            encoding: scheme.encoding,
            prefix: scheme.prefix.clone(),
            code_field,
            delivery_id_signed: delivery_id.as_ref().is_some_and(|part| signed.signs(part)),
            signed,
            timestamp,
            delivery_id,
        })
    }

    /// The codes in a header that has nothing else to be read: all that stands, separated by commas or spaces, after the first prefix. The prefix may
    /// be repeated before each (`v1=a,v1=b`) or not (`v0=a,b`), and other fields may come first (`t=1,v1=a`).
    fn codes<'v>(&'v self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let prefix = self.prefix.as_str();
        let list = value.split_once(prefix).map_or("", |(_, list)| list);
        list.split([',', ' ']).map(move |code| code.strip_prefix(prefix).unwrap_or(code))
    }
}

impl Read for Recipe {
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        let value = request.header(&self.header)?;
        let decode = |code: &str| Code::decode(code.as_bytes(), self.encoding).map(Proof::Mac);
        let proofs = match &self.code_field {
            Some(name) => {
                proofs(fields(value).filter(|(found, _)| found == name).filter_map(|(_, code)| decode(code)))?
            }
            None => proofs(self.codes(value).filter_map(decode))?,
        };
        let timestamp = match &self.timestamp {
            Some(timestamp) => Some(time(timestamp.part.value(request)?)?),
            None => None,
        };
        Ok(Claim {
            content: self.signed.content(request)?,
            alternatives: Vec::new(),
            proofs,
            // An id that nothing signs may be missing or unreadable: then there is none.
            delivery_id: self.delivery_id.as_ref().and_then(|part| part.value(request).ok()),
            delivery_id_signed: self.delivery_id_signed,
            timestamp,
            tolerance: self.timestamp.as_ref().map(|timestamp| timestamp.tolerance_seconds),
        })
    }
}

/// The field's name in a prefix such as `v1=`.
fn code_field(prefix: &str) -> Result<String, ConfigError> {
    let field = prefix.strip_suffix('=').filter(|name| !name.is_empty());
    let field = field.ok_or_else(|| ConfigError::CodeField { prefix: prefix.to_owned() })?;
    HeaderPart::field("x", field).checked()?;
    Ok(field.to_owned())
}

/// Reads a time: unix seconds, unix milliseconds (thirteen digits: as seconds they would be beyond the year 33000), or RFC 3339.
fn time(text: &str) -> Result<UnixSeconds, Refusal> {
    if text.contains('T')
        && let Ok(time) = text.parse::<jiff::Timestamp>()
    {
        return Ok(time.as_second());
    }
    let number = unix_seconds(text)?;
    Ok(if text.len() == 13 { number.div_euclid(1000) } else { number })
}
