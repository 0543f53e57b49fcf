//! What a platform asks at the address of a webhook before it sends: is anybody there, and may I?

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::answer::{self, ALLOWED};
use crate::source::Source;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

#[derive(Serialize)]
struct Listening<'a> {
    status: &'static str,
    source: &'a str,
    detail: &'static str,
}

/// `GET` and `HEAD`: some platforms look whether an address answers before they take it.
pub(crate) fn listening(source: &Source) -> Response {
    let body = Listening {
        status: "listening",
        source: &source.settings.name,
        detail: "Webhooks for this source are sent here with POST, signed.",
    };
    let mut response = answer::json(StatusCode::OK, HeaderValue::from_static("application/json"), None, &body);
    response.headers_mut().insert(header::ALLOW, ALLOWED);
    response
}

/// `OPTIONS`: the handshake of CloudEvents' web hooks (section 4, abuse protection), or simply what can be done here.
///
/// Any origin may send, since what it sends has to be signed; at the rate of the source's quota, in requests a minute. A callback
/// address is not called: it is a stranger's, and the answer is here already.
pub(crate) fn options(source: &Source, headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(header::ALLOW, ALLOWED);
    if let Some(origin) = headers.get(REQUEST_ORIGIN) {
        let rate = match source.settings.quota {
            Some(quota) => HeaderValue::from(u64::from(quota.per_second) * 60),
            None => HeaderValue::from_static("*"),
        };
        answer.insert(ALLOWED_ORIGIN, origin.clone());
        answer.insert(ALLOWED_RATE, rate);
        // The handshake is answered with 200, since some senders take nothing else.
        *response.status_mut() = StatusCode::OK;
    }
    response
}
