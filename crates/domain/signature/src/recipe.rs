//! HMAC with the code in a header: the generic scheme, and the vendors that are nothing more than a row of it.

use crate::claim::{Claim, Code, Proof, Read, proofs, unix_seconds};
use crate::request::{Refusal, Request};
use crate::scheme::{Algorithm, Encoding, HmacScheme, TOLERANCE_SECONDS, TimestampHeader};
use crate::secret::{ConfigError, UnixSeconds};
use crate::template::{Template, header_name};

/// A generic scheme made ready: names in lower case, template read.
pub(crate) struct Recipe {
    pub(crate) algorithm: Algorithm,
    pub(crate) header: String,
    pub(crate) encoding: Encoding,
    pub(crate) prefix: String,
    pub(crate) signed: Template,
    pub(crate) timestamp: Option<TimestampHeader>,
    pub(crate) delivery_id: Option<String>,
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
        delivery_id: delivery_id.map(str::to_owned),
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
    let header = "x-slack-request-timestamp".to_owned();
    HmacScheme {
        signed: format!("v0:{{header:{header}}}:{{body}}"),
        timestamp: Some(TimestampHeader { header, tolerance_seconds: TOLERANCE_SECONDS }),
        ..over_body("x-slack-signature", Encoding::Hex, "v0=", None)
    }
}

impl Recipe {
    pub(crate) fn new(scheme: &HmacScheme) -> Result<Self, ConfigError> {
        let signed = Template::parse(&scheme.signed)?;
        let timestamp = match &scheme.timestamp {
            None => None,
            Some(TimestampHeader { header, tolerance_seconds }) => {
                let name = header_name(header)?;
                if !signed.signs_header(&name) {
                    return Err(ConfigError::TimestampNotSigned { header: header.clone() });
                }
                if *tolerance_seconds <= 0 {
                    return Err(ConfigError::Tolerance { seconds: *tolerance_seconds });
                }
                Some(TimestampHeader { header: name, tolerance_seconds: *tolerance_seconds })
            }
        };
        let delivery_id = scheme.delivery_id.as_deref().map(header_name).transpose()?;
        Ok(Self {
            algorithm: scheme.algorithm,
            header: header_name(&scheme.header)?,
            encoding: scheme.encoding,
            prefix: scheme.prefix.clone(),
            delivery_id_signed: delivery_id.as_deref().is_some_and(|name| signed.signs_header(name)),
            signed,
            timestamp,
            delivery_id,
        })
    }

    /// The codes in a header value: all that stands, separated by commas or spaces, after the first prefix. The prefix may
    /// be repeated before each (`v1=a,v1=b`) or not (`v0=a,b`), and other fields may come first (`t=1,v1=a`).
    fn codes<'v>(&'v self, value: &'v str) -> impl Iterator<Item = &'v str> {
        let prefix = self.prefix.as_str();
        let list = value.split_once(prefix).map_or("", |(_, list)| list);
        list.split([',', ' ']).map(move |code| code.strip_prefix(prefix).unwrap_or(code))
    }
}

impl Read for Recipe {
    fn read<'r>(&'r self, request: &Request<'r>) -> Result<Claim<'r>, Refusal> {
        let codes = self.codes(request.header(&self.header)?);
        let decoded = codes.filter_map(|code| Code::decode(code.as_bytes(), self.encoding).map(Proof::Mac));
        let timestamp = match &self.timestamp {
            Some(timestamp) => Some(seconds_or_milliseconds(request.header(&timestamp.header)?)?),
            None => None,
        };
        Ok(Claim {
            content: self.signed.content(request)?,
            alternatives: Vec::new(),
            proofs: proofs(decoded)?,
            delivery_id: self.delivery_id.as_deref().and_then(|name| request.unsigned_id(name)),
            delivery_id_signed: self.delivery_id_signed,
            timestamp,
            tolerance: self.timestamp.as_ref().map(|timestamp| timestamp.tolerance_seconds),
        })
    }
}

/// Thirteen digits are milliseconds: as seconds they would lie beyond the year 33000.
fn seconds_or_milliseconds(text: &str) -> Result<UnixSeconds, Refusal> {
    let number = unix_seconds(text)?;
    Ok(if text.len() == 13 { number.div_euclid(1000) } else { number })
}
