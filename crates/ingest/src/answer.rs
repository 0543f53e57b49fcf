//! Answers to the sender: receipts, and RFC 9457 problems.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// What a 202 says.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt<'a> {
    /// `accepted`, or `quarantined` when no event of the request could be read.
    pub(crate) status: &'static str,
    /// The id under which the request is found in tables, dead letters and logs.
    pub(crate) receipt: &'a str,
    /// Events stored, quarantined ones included.
    pub(crate) events: usize,
    /// Those of them that could not be read.
    pub(crate) quarantined: usize,
    /// Present and true when nothing was stored because `?dry_run=1` asked for that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
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

impl IntoResponse for Receipt<'_> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Json(self)).into_response()
    }
}

/// A refusal: what the sender may know, and what it should do.
#[derive(Debug)]
pub(crate) enum Problem {
    UnknownSource,
    /// Signature, secret or timestamp: never which.
    Unauthenticated,
    TooLarge {
        limit: usize,
    },
    WrongType,
    /// The body did not arrive whole.
    Unreadable,
    /// The log does not acknowledge: unknown whether stored, so send again.
    Unavailable {
        retry_after: Duration,
    },
    /// Its owner has paused the source: the sender keeps the delivery for its retries.
    Paused {
        retry_after: Duration,
    },
    /// Its owner has retired the source: the sender shall stop.
    Retired,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a str>,
}

impl Problem {
    /// The answer as `application/problem+json`.
    pub(crate) fn into_response(self, receipt: Option<&str>) -> Response {
        let (status, r#type, title, detail) = match &self {
            Problem::UnknownSource => (
                StatusCode::NOT_FOUND,
                "urn:hookline:problem:unknown-source",
                "Unknown source",
                "No source of this name is configured; check the last part of the URL.".to_owned(),
            ),
            Problem::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "urn:hookline:problem:unauthenticated",
                "Not authentic",
                "The request is not signed as this source signs.".to_owned(),
            ),
            Problem::TooLarge { limit } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "urn:hookline:problem:too-large",
                "Body too large",
                format!("The body of a request to this source may have at most {limit} bytes; send smaller batches."),
            ),
            Problem::WrongType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "urn:hookline:problem:wrong-type",
                "Content type not supported",
                "This source takes application/json (and NDJSON where its format has it).".to_owned(),
            ),
            Problem::Unreadable => (
                StatusCode::BAD_REQUEST,
                "urn:hookline:problem:unreadable",
                "Body not received",
                "The body did not arrive whole and in time; send it again.".to_owned(),
            ),
            Problem::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:hookline:problem:unavailable",
                "Not acknowledged",
                "The event log did not acknowledge in time. Send the same request again: repeats are counted once."
                    .to_owned(),
            ),
            Problem::Paused { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:hookline:problem:paused",
                "Paused",
                "This source is paused for a while. Nothing was stored: send the same request again later.".to_owned(),
            ),
            Problem::Retired => (
                StatusCode::GONE,
                "urn:hookline:problem:retired",
                "Retired",
                "This source was retired by its owner and takes nothing any more: stop sending.".to_owned(),
            ),
        };
        let body = Body { r#type, title, status: status.as_u16(), detail, receipt };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Problem::Unavailable { retry_after } | Problem::Paused { retry_after } = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
        }
        response
    }
}

/// Paths that are not ours.
pub(crate) async fn not_found() -> Response {
    let body = Body {
        r#type: "about:blank",
        title: "Not found",
        status: StatusCode::NOT_FOUND.as_u16(),
        detail: "Webhooks are posted to /v1/webhooks/{source}.".to_owned(),
        receipt: None,
    };
    let mut response = (StatusCode::NOT_FOUND, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
