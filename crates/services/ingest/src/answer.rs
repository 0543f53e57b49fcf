//! Answers to the sender: what became of each event, and RFC 9457 problems that say what to do.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::encoding;

/// The header that carries the receipt's id.
const RECEIPT: HeaderName = HeaderName::from_static("hookline-receipt");
/// What can be done at the address of a webhook.
pub(crate) const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS, POST, PUT");
/// What can be done there with a query that is no event.
const ALLOWED_WITH_QUERY: HeaderValue = HeaderValue::from_static("OPTIONS, POST, PUT");

/// The id under which a request is found again: in its answer, in logs, on rows (`request_id`) and on dead letters.
#[derive(Clone, Copy)]
pub(crate) struct ReceiptId([u8; ReceiptId::LEN]);

impl ReceiptId {
    const PREFIX: &'static [u8] = b"req_";
    const LEN: usize = Self::PREFIX.len() + 32;

    pub(crate) fn new() -> Self {
        let mut id = [0; Self::LEN];
        let (prefix, hex) = id.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX);
        Uuid::now_v7().simple().encode_lower(hex);
        Self(id)
    }

    pub(crate) fn as_str(&self) -> &str {
        // It is made of ASCII above.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// A number below `below` that differs from request to request, so that senders told to wait do not come back all at once.
    pub(crate) fn spread(&self, below: u64) -> u64 {
        let digits = &self.0[Self::LEN - 4..];
        digits.iter().fold(0, |sum, digit| sum * 16 + u64::from(*digit)) % below.max(1)
    }

    fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ReceiptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a 202 says.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    /// `accepted`, or `quarantined` when no event of the request could be read.
    pub(crate) status: &'static str,
    /// The id under which the request is found in tables, dead letters and logs.
    pub(crate) receipt: ReceiptId,
    /// Events stored, quarantined ones included.
    pub(crate) events: usize,
    /// Those of them that could not be read.
    pub(crate) quarantined: usize,
    /// Present and true when nothing was stored because `?dry_run=1` asked for that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
    /// Of a dry run: what the same request would have met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) would: Option<Would>,
    /// For each event of the request, in order, what happened to it.
    pub(crate) results: Vec<ElementResult>,
}

/// What happened to one event of a request.
#[derive(Debug, Serialize)]
pub(crate) struct ElementResult {
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// What a request would have met if it had been no dry run.
#[derive(Debug, Serialize)]
pub(crate) struct Would {
    /// The status of its answer.
    pub(crate) answer: u16,
    /// Why it would not be 202.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<&'static str>,
    /// What its owner has switched the source to, unless it simply accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) switch: Option<&'static str>,
    /// The quota of the source, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quota: Option<QuotaState>,
}

/// The quota of a source as it stands on this instance.
#[derive(Debug, Serialize)]
pub(crate) struct QuotaState {
    /// Events a second.
    pub(crate) per_second: u32,
    /// Events that there is room for now.
    pub(crate) room: u64,
    /// `refuse` or `accept-and-warn`.
    pub(crate) when_over: &'static str,
}

impl Receipt {
    pub(crate) fn into_response(self) -> Response {
        json(StatusCode::ACCEPTED, HeaderValue::from_static("application/json"), Some(&self.receipt), &self)
    }
}

impl fmt::Debug for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what the sender may know, and what it should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    UnknownPath,
    UnknownSource,
    WrongMethod,
    /// A GET or HEAD with a query that is no event here.
    QueryIsNoEvent,
    /// The body did not arrive whole.
    Unreadable,
    /// The body came too slowly.
    TooSlow,
    /// Signature, secret or timestamp: never which. What is asked for is the challenge.
    Unauthenticated {
        challenge: &'static str,
    },
    /// Its owner has paused the source: the sender keeps the delivery for its retries.
    Paused {
        retry_after: Duration,
    },
    /// Its owner has retired the source: the sender shall stop.
    Retired,
    TooLarge {
        limit: usize,
    },
    WrongType,
    WrongEncoding,
    OverQuota {
        per_second: u32,
        retry_after: Duration,
    },
    /// More requests of the source are on their way than may be at once.
    TooManyAtOnce {
        retry_after: Duration,
    },
    /// There is no memory for the request now.
    Overloaded {
        retry_after: Duration,
    },
    /// The log does not acknowledge: unknown whether stored, so send again.
    Unavailable {
        retry_after: Duration,
    },
}

/// The body of a problem.
#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a ReceiptId>,
}

impl Problem {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::WrongMethod | Self::QueryIsNoEvent => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Self::Retired => StatusCode::GONE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongType | Self::WrongEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OverQuota { .. } | Self::TooManyAtOnce { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded { .. } | Self::Unavailable { .. } | Self::Paused { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Its stable name, and its title.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownPath => ("urn:hookline:problem:unknown-path", "Not found"),
            Self::UnknownSource => ("urn:hookline:problem:unknown-source", "Unknown source"),
            Self::WrongMethod | Self::QueryIsNoEvent => ("urn:hookline:problem:wrong-method", "Method not allowed"),
            Self::Unreadable => ("urn:hookline:problem:unreadable", "Body not received"),
            Self::TooSlow => ("urn:hookline:problem:too-slow", "Body too slow"),
            Self::Unauthenticated { .. } => ("urn:hookline:problem:unauthenticated", "Not authentic"),
            Self::Paused { .. } => ("urn:hookline:problem:paused", "Source paused"),
            Self::Retired => ("urn:hookline:problem:retired", "Source retired"),
            Self::TooLarge { .. } => ("urn:hookline:problem:too-large", "Body too large"),
            Self::WrongType => ("urn:hookline:problem:wrong-type", "Content type not supported"),
            Self::WrongEncoding => ("urn:hookline:problem:wrong-encoding", "Content encoding not supported"),
            Self::OverQuota { .. } => ("urn:hookline:problem:over-quota", "Quota used up"),
            Self::TooManyAtOnce { .. } => ("urn:hookline:problem:too-many-at-once", "Too many requests at once"),
            Self::Overloaded { .. } => ("urn:hookline:problem:overloaded", "Overloaded"),
            Self::Unavailable { .. } => ("urn:hookline:problem:unavailable", "Not acknowledged"),
        }
    }

    /// What happened, and what the sender should do.
    fn detail(self) -> String {
        match self {
            Self::UnknownPath => "Webhooks are posted to /v1/webhooks/{source}.".to_owned(),
            Self::UnknownSource => "No source of this name is configured. Do not send again; check the last part of the URL.".to_owned(),
            Self::WrongMethod => "Send webhooks with POST, or PUT.".to_owned(),
            Self::QueryIsNoEvent => {
                "A GET with a query stores nothing at this source. Send the event in the body, with POST; or the owner of the source sets events_in_query = true."
                    .to_owned()
            }
            Self::Unreadable => "The body did not arrive whole, or its framing is wrong. Send the request again.".to_owned(),
            Self::TooSlow => "The body came too slowly and was not waited for. Send the request again.".to_owned(),
            Self::Unauthenticated { .. } => {
                "The request is not signed as this source signs. Check secret, signature and clock; the same request will be refused again."
                    .to_owned()
            }
            Self::Paused { .. } => {
                "This source is paused for a while; nothing was stored. Send the same request again after the time in Retry-After.".to_owned()
            }
            Self::Retired => {
                "This source was retired by its owner and takes nothing any more. Stop sending to it.".to_owned()
            }
            Self::TooLarge { limit } => format!(
                "The body of a request to this source may have at most {limit} bytes, decompressed. Send smaller batches; the same request will be refused again."
            ),
            Self::WrongType => {
                "This source does not take this content type; most take application/json. The same request will be refused again."
                    .to_owned()
            }
            Self::WrongEncoding => format!(
                "Bodies come plain or in one of these encodings: {}. The same request will be refused again.",
                encoding::ACCEPTED
            ),
            Self::OverQuota { per_second, .. } => format!(
                "This source may send {per_second} events a second and has sent more. Send the same request again after the time in Retry-After."
            ),
            Self::TooManyAtOnce { .. } => {
                "Too many requests of this source wait for their acknowledgement. Send the same request again after the time in Retry-After."
                    .to_owned()
            }
            Self::Overloaded { .. } => {
                "There is no room for this request now. Send the same request again after the time in Retry-After.".to_owned()
            }
            Self::Unavailable { .. } => {
                "The event log did not acknowledge in time. Send the same request again after the time in Retry-After: repeats are counted once."
                    .to_owned()
            }
        }
    }

    /// The answer as `application/problem+json`.
    pub(crate) fn into_response(self, receipt: Option<&ReceiptId>) -> Response {
        let (r#type, title) = self.names();
        let (status, detail) = (self.status(), self.detail());
        let details = Details { r#type, title, status: status.as_u16(), detail: &detail, receipt };
        let mut response = json(status, HeaderValue::from_static("application/problem+json"), receipt, &details);
        let headers = response.headers_mut();
        match self {
            Self::WrongMethod => _ = headers.insert(header::ALLOW, ALLOWED),
            Self::QueryIsNoEvent => _ = headers.insert(header::ALLOW, ALLOWED_WITH_QUERY),
            Self::Unauthenticated { challenge } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::WrongEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding::ACCEPTED));
            }
            Self::OverQuota { retry_after, .. }
            | Self::TooManyAtOnce { retry_after }
            | Self::Overloaded { retry_after }
            | Self::Unavailable { retry_after }
            | Self::Paused { retry_after } => {
                // Whole seconds, rounded up: whoever comes earlier would be refused again.
                let seconds = retry_after.as_millis().div_ceil(1_000).max(1) as u64;
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            _ => {}
        }
        response
    }
}

/// An answer in JSON.
pub(crate) fn json(
    status: StatusCode,
    content_type: HeaderValue,
    receipt: Option<&ReceiptId>,
    body: &impl Serialize,
) -> Response {
    // Texts and numbers always serialise.
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(receipt) = receipt {
        headers.insert(RECEIPT, receipt.header());
    }
    response
}

/// Paths that are not ours.
pub(crate) async fn not_found() -> Response {
    Problem::UnknownPath.into_response(None)
}

/// Methods that a path of ours, other than a webhook's, does not have.
pub(crate) async fn wrong_method() -> Response {
    let mut response = Problem::WrongMethod.into_response(None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
