//! The schemes, by the names configuration uses.

use std::str::FromStr;

use crate::part::HeaderPart;
use crate::recipe;
use crate::secret::ConfigError;
use crate::template::Template;

/// How far a signed timestamp may lie from now, both ways, in the schemes that have one.
pub const TOLERANCE_SECONDS: i64 = 300;

/// How a source proves that it sent a delivery.
///
/// Facts marked (S) are from the vendor's source or specification, (D) from its documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks (S): `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>` (HMAC-SHA256) or
    /// `v1a,<base64>` (ed25519) over `{id}.{timestamp}.{body}`. Secrets: `whsec_…`, `whpk_…` or `whsk_…`.
    StandardWebhooks,
    /// Svix (S): the same with `svix-` headers.
    Svix,
    /// Stripe (D): `stripe-signature: t=…,v1=<hex>` over `{t}.{body}`; the key is the secret as shown, `whsec_` included.
    Stripe,
    /// Calendly (D): `calendly-webhook-signature: t=…,v1=<hex>` over `{t}.{body}`.
    Calendly,
    /// Mux (D): `mux-signature: t=…,v1=<hex>` over `{t}.{body}`.
    Mux,
    /// Convoy with advanced signatures (S): `x-convoy-signature: t=…,v1=<hex>` over `{t},{body}`.
    Convoy,
    /// GitHub (D): `x-hub-signature-256: sha256=<hex>` over the body.
    GitHub,
    /// Shopify (D): `x-shopify-hmac-sha256: <base64>` over the body.
    Shopify,
    /// Slack (D): `x-slack-signature: v0=<hex>` over `v0:{timestamp}:{body}`.
    Slack,
    /// Twilio (D): `x-twilio-signature: <base64 HMAC-SHA1>` over the URL and the sorted form fields; other bodies by the
    /// `bodySHA256` parameter of that URL.
    Twilio,
    /// Dub (S): `dub-signature: <hex>` over the body; the key is the secret as shown, `whsec_` included.
    Dub,
    /// Hookdeck (S): `x-hookdeck-signature: <base64>` over the body.
    Hookdeck,
    /// Outpost (S): `x-outpost-signature: v0=<hex>[,<hex>]` over the body.
    Outpost,
    /// Any other HMAC over a header-borne code.
    Hmac(HmacScheme),
    /// A header that holds the secret itself.
    Header {
        /// The header's name.
        name: String,
    },
    /// HTTP Basic; the secret is `user:password`.
    Basic,
    /// `authorization: Bearer <secret>`.
    Bearer,
    /// A query parameter that holds the secret itself.
    Query {
        /// The parameter's name.
        key: String,
    },
}

impl Scheme {
    /// Its name in configuration, metrics and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::StandardWebhooks => "standard-webhooks",
            Self::Svix => "svix",
            Self::Stripe => "stripe",
            Self::Calendly => "calendly",
            Self::Mux => "mux",
            Self::Convoy => "convoy",
            Self::GitHub => "github",
            Self::Shopify => "shopify",
            Self::Slack => "slack",
            Self::Twilio => "twilio",
            Self::Dub => "dub",
            Self::Hookdeck => "hookdeck",
            Self::Outpost => "outpost",
            Self::Hmac(_) => "hmac",
            Self::Header { .. } => "header",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::Query { .. } => "query",
        }
    }

    /// What a request without credentials is told is needed: the value of `WWW-Authenticate` (RFC 9110, 11.6.1).
    pub fn challenge(&self) -> &'static str {
        match self {
            Self::Basic => "Basic realm=\"webhooks\", charset=\"UTF-8\"",
            Self::Bearer => "Bearer realm=\"webhooks\"",
            _ => "Signature realm=\"webhooks\"",
        }
    }

    /// Whether the signature covers the URL, so that [`Request::url`](crate::Request::url) must be the whole URL as the
    /// sender addressed it: behind a proxy, built from the public address.
    pub fn signs_url(&self) -> bool {
        match self {
            Self::Twilio => true,
            Self::Hmac(scheme) => scheme.signed.contains("{url}"),
            _ => false,
        }
    }

    /// Whether what proves a request covers its query, or is a secret that travels along and says nothing of any part.
    pub fn authenticates_query(&self) -> bool {
        matches!(self, Self::Header { .. } | Self::Basic | Self::Bearer | Self::Query { .. }) || self.signs_url()
    }

    /// Whether a header (its name in lower case) can be altered although the signature holds: the scheme signs the body, and not this
    /// header. A scheme that only shows a secret signs nothing, so nothing can be told apart there.
    ///
    /// Meant for headers that say something about the event. Those that a scheme reads itself are its own matter.
    pub fn leaves_unsigned(&self, header: &str) -> bool {
        match self {
            Self::Header { .. } | Self::Basic | Self::Bearer | Self::Query { .. } => false,
            Self::Hmac(scheme) => !scheme.template().is_ok_and(|template| template.signs(&HeaderPart::whole(header))),
            _ => true,
        }
    }

    /// The headers that a request must have, in lower case; a query parameter as `?name`.
    pub(crate) fn needs(&self) -> Vec<String> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::StandardWebhooks => own(&["webhook-id", "webhook-timestamp", "webhook-signature"]),
            Self::Svix => own(&["svix-id", "svix-timestamp", "svix-signature"]),
            Self::Stripe => own(&[recipe::STRIPE]),
            Self::Calendly => own(&[recipe::CALENDLY]),
            Self::Mux => own(&[recipe::MUX]),
            Self::Convoy => own(&[recipe::CONVOY]),
            Self::GitHub => own(&["x-hub-signature-256"]),
            Self::Shopify => own(&["x-shopify-hmac-sha256"]),
            Self::Slack => own(&["x-slack-signature", "x-slack-request-timestamp"]),
            Self::Twilio => own(&["x-twilio-signature"]),
            Self::Dub => own(&["dub-signature"]),
            Self::Hookdeck => own(&["x-hookdeck-signature"]),
            Self::Outpost => own(&["x-outpost-signature"]),
            Self::Hmac(HmacScheme { header, timestamp, .. }) => {
                let header = header.to_ascii_lowercase();
                let time = timestamp.as_ref().map(|timestamp| timestamp.part.header.to_ascii_lowercase());
                let time = time.filter(|time| *time != header);
                std::iter::once(header).chain(time).collect()
            }
            Self::Header { name } => vec![name.to_ascii_lowercase()],
            Self::Basic | Self::Bearer => own(&["authorization"]),
            Self::Query { key } => vec![format!("?{key}")],
        }
    }

    /// The schemes that need no parameters.
    pub(crate) const PLAIN: [Self; 15] = [
        Self::StandardWebhooks,
        Self::Svix,
        Self::Stripe,
        Self::Calendly,
        Self::Mux,
        Self::Convoy,
        Self::GitHub,
        Self::Shopify,
        Self::Slack,
        Self::Twilio,
        Self::Dub,
        Self::Hookdeck,
        Self::Outpost,
        Self::Basic,
        Self::Bearer,
    ];
}

/// A scheme's name is unknown, or names a scheme that needs parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scheme {0:?}: use standard-webhooks, svix, stripe, calendly, mux, convoy, github, shopify, slack, twilio, dub, \
     hookdeck, outpost, basic or bearer, or one with parameters: {{ header = … }}, {{ query = … }}, {{ hmac = … }}"
)]
pub struct UnknownScheme(
    /// The name as given.
    pub String,
);

impl FromStr for Scheme {
    type Err = UnknownScheme;

    /// Reads the name of a scheme without parameters.
    fn from_str(name: &str) -> Result<Self, UnknownScheme> {
        Self::PLAIN.into_iter().find(|scheme| scheme.name() == name).ok_or_else(|| UnknownScheme(name.to_owned()))
    }
}

/// HMAC over a template of the request, the code in one header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacScheme {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The header that carries the code, or several codes separated by commas or spaces.
    pub header: String,
    /// How the code is written.
    pub encoding: Encoding,
    /// What stands before a code, such as `sha256=`; may be empty. Where the header has other fields too, such as
    /// `t=1795428000,v1=ab12`, the name of the code's field and `=`: `v1=`.
    pub prefix: String,
    /// What is signed: text with `{body}` (which must occur), `{timestamp}`, `{header:Name}`, `{header:Name:field}`,
    /// `{field:name}` (a field of the signature's own header), `{method}` and `{url}`.
    pub signed: String,
    /// Where the time of the attempt is, if freshness is to be checked; `signed` must contain it.
    pub timestamp: Option<SignedTime>,
    /// Where the delivery id is, if there is one; it counts as signed if `signed` contains it.
    pub delivery_id: Option<HeaderPart>,
}

impl HmacScheme {
    /// Its template of the signed content, read.
    pub(crate) fn template(&self) -> Result<Template, ConfigError> {
        Template::parse(&self.signed, &self.header, self.timestamp.as_ref().map(|timestamp| &timestamp.part))
    }
}

/// Where the time of an attempt travels and how far it may be from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedTime {
    /// The header or field; its value is unix seconds, unix milliseconds if it has 13 digits, or RFC 3339.
    pub part: HeaderPart,
    /// How far it may lie from now, both ways, in seconds.
    pub tolerance_seconds: i64,
}

/// The hash function of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// 20 bytes. For senders that offer nothing else.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

/// How a code is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal, in either case.
    Hex,
    /// Base64 with `+` and `/`; padding may be left out.
    Base64,
    /// Base64 with `-` and `_`; padding may be left out.
    Base64Url,
}

impl FromStr for Algorithm {
    type Err = &'static str;

    /// Reads `sha1`, `sha256` or `sha512`.
    fn from_str(name: &str) -> Result<Self, &'static str> {
        match name {
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err("unknown HMAC algorithm: use sha1, sha256 or sha512"),
        }
    }
}

impl FromStr for Encoding {
    type Err = &'static str;

    /// Reads `hex`, `base64` or `base64url`.
    fn from_str(name: &str) -> Result<Self, &'static str> {
        match name {
            "hex" => Ok(Self::Hex),
            "base64" => Ok(Self::Base64),
            "base64url" => Ok(Self::Base64Url),
            _ => Err("unknown encoding: use hex, base64 or base64url"),
        }
    }
}
