//! One request, from its bytes to its answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adapter::{Element, Undecodable, fallback_key};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use event::lane;
use event::raw::RawHeaders;
use kafka::Topic;
use kafka::edge::{EdgeError, EdgeRecord};
use uuid::Uuid;

use crate::answer::{ElementResult, Problem, Receipt};
use crate::metrics::RequestOutcome;
use crate::source::Source;
use crate::switches::Gate;
use crate::{ACKNOWLEDGE_WITHIN, Edge, SERVICE};

/// How long a sender has to deliver its body.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// What a sender is asked to wait after a 503.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// `POST` or `PUT /v1/webhooks/{source}`.
pub(crate) async fn receive(State(edge): State<Arc<Edge>>, Path(name): Path<String>, request: Request) -> Response {
    let arrived = Instant::now();
    let Some(source) = edge.sources.get(&name) else {
        edge.metrics.unknown_source.inc();
        return Problem::UnknownSource.into_response(None);
    };
    let receipt = format!("req_{}", Uuid::now_v7().simple());
    let gate = source.switch.gate();
    let handled = match gate.refusal() {
        Some(problem) => Err(problem),
        None => handle(&edge, source, gate, &receipt, request).await,
    };
    match handled {
        Ok(accepted) => {
            source.metrics.answered(if accepted.status == "accepted" {
                RequestOutcome::Accepted
            } else {
                RequestOutcome::Quarantined
            });
            edge.metrics.ack_seconds.observe(arrived.elapsed().as_secs_f64());
            accepted.into_response()
        }
        Err(problem) => {
            source.metrics.answered(match problem {
                Problem::Unauthenticated => RequestOutcome::Unauthenticated,
                Problem::TooLarge { .. } => RequestOutcome::TooLarge,
                Problem::WrongType => RequestOutcome::WrongType,
                Problem::Unavailable { .. } => RequestOutcome::Unavailable,
                Problem::Paused { .. } => RequestOutcome::Paused,
                Problem::Retired => RequestOutcome::Retired,
                Problem::Unreadable | Problem::UnknownSource => RequestOutcome::Unreadable,
            });
            problem.into_response(Some(&receipt))
        }
    }
}

async fn handle<'r>(
    edge: &Edge,
    source: &Source,
    gate: Gate,
    receipt: &'r str,
    request: Request,
) -> Result<Receipt<'r>, Problem> {
    let received_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (parts, body) = request.into_parts();
    let body = read(body, &parts.headers, source.settings.max_body).await?;
    let secret_id = authenticate(source, receipt, &parts, &body, received_at.as_secs() as i64)?;
    let content_type = content_type(&parts.headers);
    if !source.settings.adapter.accepts(content_type) {
        return Err(Problem::WrongType);
    }
    let (mut elements, whole) = split(source, &body, content_type, &parts.headers);
    gate.set_aside(&mut elements);
    let dry_run = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "dry_run=1"));
    if !dry_run {
        let envelope =
            Envelope { receipt, received_at, secret_id, content_type, cloud_event: cloud_event(&parts.headers) };
        append(edge, source, &envelope, &elements).await?;
        source.metrics.events.inc_by(elements.len() as u64);
        source.metrics.last_event.set(received_at.as_secs_f64());
    }
    Ok(say(receipt, &elements, whole, dry_run))
}

/// Checks who sent it. Returns the id of the secret that signed it.
fn authenticate(source: &Source, receipt: &str, parts: &Parts, body: &[u8], now: i64) -> Result<String, Problem> {
    let url = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let lookup = |name: &str| parts.headers.get(name).map(HeaderValue::as_bytes);
    let signed = signature::Request { method: parts.method.as_str(), url, headers: &lookup, body };
    let verifier = &source.settings.verifier;
    let authentic = verifier.verify(&signed, now).map_err(|refusal| {
        source.metrics.refused(refusal);
        tracing::debug!(service = SERVICE, source = source.settings.name, receipt, %refusal, "not authentic");
        Problem::Unauthenticated
    })?;
    source.metrics.secret_used(authentic.secret_id);
    if let Some(timestamp) = authentic.timestamp {
        source.metrics.skew.observe((timestamp - now) as f64);
    }
    Ok(authentic.secret_id.to_owned())
}

/// Reads the body as it streams in, never past the limit.
async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Problem::TooLarge { limit });
    }
    match tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(match std::error::Error::source(&error) {
            Some(source) if source.to_string().contains("length limit exceeded") => Problem::TooLarge { limit },
            _ => Problem::Unreadable,
        }),
        Err(_elapsed) => Err(Problem::Unreadable),
    }
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json")
}

/// What every event of a request shares.
struct Envelope<'r> {
    receipt: &'r str,
    received_at: Duration,
    secret_id: String,
    content_type: &'r str,
    cloud_event: Vec<(Cow<'r, str>, Cow<'r, str>)>,
}

/// The attributes of a CloudEvent in binary mode, without their prefix; of any other request, none.
fn cloud_event(headers: &HeaderMap) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    if !headers.contains_key("ce-specversion") {
        return Vec::new();
    }
    let attribute = |(name, value): (&'_ axum::http::HeaderName, &'_ HeaderValue)| {
        Some((Cow::Owned(name.as_str().strip_prefix("ce-")?.to_owned()), Cow::Owned(value.to_str().ok()?.to_owned())))
    };
    headers.iter().filter_map(attribute).collect()
}

/// The events of the body. A body that cannot be split is one quarantined element under its hash, and `true`.
fn split<'b>(source: &Source, body: &'b [u8], content_type: &str, headers: &'b HeaderMap) -> (Vec<Element<'b>>, bool) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match source.settings.adapter.split(&source.settings.dialect, body, content_type, &header) {
        Ok(elements) => (elements, false),
        Err(undecodable) => {
            let element = Element {
                bytes: body,
                key: fallback_key(body),
                ordinal: 0,
                content_type: "",
                quarantine: Some(undecodable),
            };
            (vec![element], true)
        }
    }
}

/// Appends every element to its lane and waits until the in-sync replicas have them all.
async fn append(
    edge: &Edge,
    source: &Source,
    envelope: &Envelope<'_>,
    elements: &[Element<'_>],
) -> Result<(), Problem> {
    let Envelope { receipt, received_at, secret_id, content_type, cloud_event } = envelope;
    let headers: Vec<_> = elements
        .iter()
        .map(|element| {
            let headers = RawHeaders {
                source: Cow::Borrowed(&source.settings.name),
                adapter: Cow::Borrowed(source.settings.adapter.name()),
                received_at: received_at.as_millis() as i64,
                request_id: Cow::Borrowed(receipt),
                secret_id: Cow::Borrowed(secret_id),
                ordinal: element.ordinal,
                content_type: Cow::Borrowed(if element.content_type.is_empty() {
                    content_type
                } else {
                    element.content_type
                }),
                cloud_event: cloud_event.clone(),
                redrive_of: None,
                quarantine: element.quarantine.as_ref().map(|why| Cow::Borrowed(why.reason)),
            };
            headers.to_headers()
        })
        .collect();
    let records: Vec<_> = elements
        .iter()
        .zip(&headers)
        .map(|(element, headers)| EdgeRecord {
            topic: Topic::Raw,
            partition: lane::of_key(element.key.as_str().as_bytes(), edge.lanes),
            key: element.key.as_str().as_bytes(),
            payload: element.bytes,
            headers,
        })
        .collect();
    let unavailable = |why: &dyn std::fmt::Display| {
        tracing::warn!(service = SERVICE, source = source.settings.name, receipt, "answered 503: {why}");
        Problem::Unavailable { retry_after: RETRY_AFTER }
    };
    let delivery = edge.producer.send(&records).map_err(|error| match error {
        EdgeError::TooLarge { .. } => Problem::TooLarge { limit: source.settings.max_body },
        other => unavailable(&other),
    })?;
    let reports = delivery.wait(Instant::now() + ACKNOWLEDGE_WITHIN).await;
    match reports.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(error) => Err(unavailable(&error)),
    }
}

fn say<'r>(receipt: &'r str, elements: &[Element<'_>], whole: bool, dry_run: bool) -> Receipt<'r> {
    let quarantined = elements.iter().filter(|element| element.quarantine.is_some()).count();
    let result = |why: Option<&Undecodable>| ElementResult {
        status: if why.is_some() { "quarantined" } else { "accepted" },
        reason: why.map(|why| why.reason),
        detail: why.map(|why| why.detail.clone()),
    };
    Receipt {
        status: if whole || quarantined == elements.len() { "quarantined" } else { "accepted" },
        receipt,
        events: elements.len(),
        quarantined,
        dry_run,
        results: elements.iter().map(|element| result(element.quarantine.as_ref())).collect(),
    }
}
