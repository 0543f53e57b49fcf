//! From events to records of `raw`, and the wait for their acknowledgement.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use adapter::Element;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use event::lane;
use event::raw::RawHeaders;
use kafka::Topic;
use kafka::edge::{DeliveryError, EdgeError, EdgeRecord};

use crate::answer::ReceiptId;
use crate::source::Source;
use crate::traced::Traced;
use crate::{ACKNOWLEDGE_WITHIN, Edge};

/// What every event of a request shares.
pub(crate) struct Envelope<'r> {
    pub(crate) receipt: &'r ReceiptId,
    /// Since 1970.
    pub(crate) received_at: Duration,
    pub(crate) secret_id: &'r str,
    pub(crate) content_type: &'r str,
    pub(crate) cloud_event: Vec<(Cow<'r, str>, Cow<'r, str>)>,
}

/// Why events are not known to be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// The producer did not take them.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The log did not acknowledge them.
    #[error("the log did not acknowledge: {0}")]
    Delivery(#[from] DeliveryError),
}

/// The attributes of a CloudEvent in binary mode, without their prefix; of any other request, none.
pub(crate) fn cloud_event(headers: &HeaderMap) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    // What the adapter knows binary mode by.
    if !headers.contains_key("ce-id") {
        return Vec::new();
    }
    let attribute = |(name, value): (&'_ HeaderName, &'_ HeaderValue)| {
        Some((Cow::Owned(name.as_str().strip_prefix("ce-")?.to_owned()), Cow::Owned(header_text(value)?.to_owned())))
    };
    headers.iter().filter_map(attribute).collect()
}

/// A header as text. Some clients write UTF-8 as it is, others encode it.
pub(crate) fn header_text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// Appends every element to its lane and waits until the in-sync replicas have them all. `traced` is there where some
/// of them are.
pub(crate) async fn append(
    edge: &Edge,
    source: &Source,
    envelope: &Envelope<'_>,
    elements: &[Element<'_>],
    mut traced: Option<&mut Traced>,
) -> Result<(), AppendError> {
    let Envelope { receipt, received_at, secret_id, content_type, cloud_event } = envelope;
    let lane = |element: &Element<'_>| lane::of_key(element.key.as_str().as_bytes(), edge.lanes);
    let headers: Vec<_> = elements
        .iter()
        .enumerate()
        .map(|(place, element)| {
            let headers = RawHeaders {
                source: Cow::Borrowed(&source.settings.name),
                adapter: Cow::Borrowed(source.settings.adapter.name()),
                received_at: received_at.as_millis() as i64,
                request_id: Cow::Borrowed(receipt.as_str()),
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
                trace: traced.as_mut().and_then(|traced| traced.send(place, lane(element))),
            };
            headers.to_headers()
        })
        .collect();
    let records: Vec<_> = elements
        .iter()
        .zip(&headers)
        .map(|(element, headers)| EdgeRecord {
            topic: Topic::Raw,
            partition: lane(element),
            key: element.key.as_str().as_bytes(),
            payload: &element.bytes,
            headers,
        })
        .collect();
    let delivery = edge.producer.send(&records)?;
    // The client has copies: nothing but the body is kept while the log is waited for.
    drop(records);
    drop(headers);
    let reports = delivery.wait(Instant::now() + ACKNOWLEDGE_WITHIN).await;
    if let Some(traced) = traced {
        traced.reported(&reports);
    }
    match reports.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}
