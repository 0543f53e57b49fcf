//! What a verifier looks at, and what it answers.

use crate::secret::UnixSeconds;

/// Looks up a header by name. Names are asked for in lower case; the lookup itself ignores case.
///
/// Implemented for closures, so that a caller with another header map writes
/// `&|name: &str| map.get(name).map(|value| value.as_bytes())`, and for slices of pairs.
pub trait Headers<'r> {
    /// The first value of the header `name`, as received.
    fn get(&self, name: &str) -> Option<&'r [u8]>;
}

impl<'r, F> Headers<'r> for F
where
    F: Fn(&str) -> Option<&'r [u8]>,
{
    fn get(&self, name: &str) -> Option<&'r [u8]> {
        self(name)
    }
}

impl<'r, N: AsRef<str>, V: AsRef<[u8]>> Headers<'r> for &'r [(N, V)] {
    fn get(&self, name: &str) -> Option<&'r [u8]> {
        self.iter().find(|(key, _)| key.as_ref().eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }
}

/// One delivery as it came in: borrowed, nothing decoded.
///
/// There is no `Debug`: headers and URL may carry a secret.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// The method in upper case.
    pub method: &'r str,
    /// The URL. Where [`Scheme::signs_url`](crate::Scheme::signs_url) holds it must be the whole URL the sender addressed
    /// (`https://host/path?query`); elsewhere path and query are enough.
    pub url: &'r str,
    /// Its headers.
    pub headers: &'r dyn Headers<'r>,
    /// The raw body, before any decoding.
    pub body: &'r [u8],
}

impl<'r> Request<'r> {
    /// A header that must be there and be text.
    pub(crate) fn header(&self, name: &str) -> Result<&'r str, Refusal> {
        let bytes = self.headers.get(name).ok_or(Refusal::MissingHeader)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.is_empty() => Ok(text),
            _ => Err(Refusal::MalformedHeader),
        }
    }

    /// The query string, without `?` and fragment.
    pub(crate) fn query(&self) -> &'r str {
        let whole = self.url.split_once('#').map_or(self.url, |(before, _)| before);
        whole.split_once('?').map_or("", |(_, query)| query)
    }
}

/// What is known about an authentic delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authentic<'r> {
    /// The id of the secret that matched.
    pub secret_id: &'r str,
    /// The sender's id of this delivery, the same on every retry, if it travels in a header.
    pub delivery_id: Option<&'r str>,
    /// When the sender made this attempt, in unix seconds, if the signature covers it.
    pub timestamp: Option<UnixSeconds>,
    /// Whether the signature covers `delivery_id`. If not, anyone who saw the body can change it.
    pub delivery_id_signed: bool,
}

/// Why a delivery is not authentic. For metrics and logs: the sender is only told that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header (or query parameter) that the scheme needs is absent.
    #[error("a header or parameter that the scheme needs is missing")]
    MissingHeader,
    /// A header is there but not in the scheme's form.
    #[error("a header of the signature is not in the scheme's form")]
    MalformedHeader,
    /// The delivery id is empty or would make the signed content ambiguous (it contains the separator).
    #[error("the delivery id is empty or contains the separator of the signed content")]
    BadId,
    /// The scheme cannot sign a body of this content type, so its body is not authenticated.
    #[error("the signature does not cover this body: no form fields and no body hash")]
    UnsignedBody,
    /// No live secret gives any of the signatures.
    #[error("no live secret gives this signature")]
    NoMatch,
    /// The signature is right but was made too long ago.
    #[error("signed {seconds} s ago, which is longer than allowed")]
    Stale {
        /// Its age in seconds.
        seconds: i64,
    },
    /// The signature is right but from the future: one of the two clocks is wrong.
    #[error("signed {seconds} s in the future, which is further than allowed: check both clocks")]
    Future {
        /// How far ahead, in seconds.
        seconds: i64,
    },
    /// All secrets of the source are before or after their lifetime.
    #[error("no secret of this source is live now")]
    NoLiveSecret,
}

impl Refusal {
    /// All labels, so that a metric can be registered before the first refusal.
    pub const LABELS: [&'static str; 8] = [
        "missing_header",
        "malformed_header",
        "bad_id",
        "unsigned_body",
        "no_match",
        "stale",
        "future",
        "no_live_secret",
    ];

    /// The fixed label of this reason in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::MalformedHeader => "malformed_header",
            Self::BadId => "bad_id",
            Self::UnsignedBody => "unsigned_body",
            Self::NoMatch => "no_match",
            Self::Stale { .. } => "stale",
            Self::Future { .. } => "future",
            Self::NoLiveSecret => "no_live_secret",
        }
    }
}
