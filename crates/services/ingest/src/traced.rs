//! The spans of a request, where events of it are traced.

use std::time::Instant;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use event::TraceContext;
use event::trace::TRACEPARENT;
use kafka::Topic;
use kafka::edge::DeliveryError;
use runtime::clock::since_1970;
use traces::{At, Span, Traces, conventions};

use crate::SERVICE;
use crate::answer::ReceiptId;
use crate::source::SourceSettings;

/// A request of which events are traced.
pub(crate) struct Traced {
    request: Span,
    /// The places of the traced events in the request, in order.
    chosen: Vec<usize>,
    /// The span of each, once its record is made.
    sends: Vec<(usize, Span)>,
}

impl Traced {
    /// Decides which events of an authentic request are traced; `None` where none is, as in nearly all requests.
    pub(crate) fn choose(
        traces: &Traces,
        source: &SourceSettings,
        parts: &Parts,
        receipt: &ReceiptId,
        arrived: Instant,
        events: usize,
    ) -> Option<Self> {
        let now = since_1970();
        let trusted = source.trusts_traces.then(|| told(&parts.headers)).flatten();
        let chosen: Vec<usize> = (0..events).filter(|_| traces.decide(trusted.as_ref(), now).is_some()).collect();
        if chosen.is_empty() {
            return None;
        }
        // A trace that its sender does not record has no place where ours would be a part of it.
        let parent = trusted.filter(|sender| sender.sampled);
        let request = conventions::request(&source.name, parts.method.as_str(), receipt.as_str(), parent);
        let mut request = request.since(now.saturating_sub(arrived.elapsed()));
        if parent.is_none()
            && let Some(sender) = told(&parts.headers)
        {
            request.link(sender);
        }
        Some(Self { request, chosen, sends: Vec::new() })
    }

    /// What the header of the event at a place says, if it is traced.
    pub(crate) fn send(&mut self, place: usize, partition: u16) -> Option<TraceContext> {
        self.chosen.binary_search(&place).ok()?;
        let at = At { topic: Topic::Raw.name(), partition, offset: None };
        let send = conventions::send(SERVICE, at, self.request.context());
        let context = send.context();
        self.sends.push((place, send));
        Some(context)
    }

    /// What became of the records, in the order of the request.
    pub(crate) fn reported(&mut self, reports: &[Result<(u16, i64), DeliveryError>]) {
        for (place, send) in &mut self.sends {
            match reports.get(*place) {
                Some(Ok((partition, offset))) => {
                    conventions::sent_to(send, *partition, *offset);
                    send.end();
                }
                _ => send.fail("not acknowledged"),
            }
        }
    }

    /// All spans, of a request that was answered with this status.
    pub(crate) fn answered(mut self, status: u16, events: usize) -> impl Iterator<Item = Span> {
        self.request.end();
        conventions::answered(&mut self.request, status, events);
        std::iter::once(self.request).chain(self.sends.into_iter().map(|(_, send)| send))
    }
}

/// The context that a sender gives. One that gives several gives none.
fn told(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { TraceContext::parse(value.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_that_is_given_twice_is_not_believed() {
        let mut headers = HeaderMap::new();
        assert_eq!(told(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(SENT));
        assert_eq!(told(&headers).unwrap().to_header(), SENT);
        headers.append(TRACEPARENT, HeaderValue::from_static(SENT));
        assert_eq!(told(&headers), None);
    }

    #[tokio::test]
    async fn a_sender_that_is_not_trusted_has_nothing_traced_by_its_flag() {
        let telemetry = runtime::Telemetry::new("").unwrap();
        let settings = traces::Settings {
            endpoint: "http://127.0.0.1:9".to_owned(),
            headers: Vec::new(),
            one_in: 0,
            max_per_second: 2,
            timeout: std::time::Duration::from_secs(1),
        };
        let traces = Traces::start(settings, &telemetry, &tokio::runtime::Handle::current()).unwrap();
        let (parts, ()) = Request::builder().method("POST").header(TRACEPARENT, SENT).body(()).unwrap().into_parts();
        let receipt = ReceiptId::new();
        let mut source = crate::tests::source("dub", signature::Scheme::Dub, "a secret");
        let choose =
            |source: &SourceSettings, events| Traced::choose(&traces, source, &parts, &receipt, Instant::now(), events);
        assert!(choose(&source, 100).is_none());
        source.trusts_traces = true;
        let mut traced = choose(&source, 100).unwrap();
        assert_eq!(traced.chosen.len(), 2, "the cap a second holds for a trusted sender as well");
        assert_eq!(traced.send(7, 0), None);
        let context = traced.send(0, 3).unwrap();
        assert!(SENT.contains(&format!("{:032x}", u128::from_be_bytes(context.trace_id))), "one trace with its sender");
        assert_eq!(traced.answered(202, 100).count(), 2);
    }
}
