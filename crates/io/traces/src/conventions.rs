//! The semantic conventions of OpenTelemetry, as far as Hookline speaks them: every name of a span and of an attribute
//! stands here.
//!
//! Those of messaging have the status "Development" and change, so nothing else in the project names one. No key of an
//! event, no address, no URL of a visitor or a destination and no e-mail is an attribute: spans leave for a place with
//! other readers.

use event::TraceContext;

use crate::span::{Kind, Span};

/// What a span of one record is about.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// The topic.
    pub topic: &'static str,
    /// The partition.
    pub partition: u16,
    /// The offset, where it is known.
    pub offset: Option<i64>,
}

/// A webhook request, from its arrival to its answer. A parent is the context of a sender that is trusted.
#[must_use]
pub fn request(source: &str, method: &str, receipt: &str, parent: Option<TraceContext>) -> Span {
    const ROUTE: &str = "/v1/webhooks/{source}";
    let method = known_method(method);
    Span::new("ingest", Kind::Server, format!("{method} {ROUTE}"), parent)
        .with("http.request.method", method)
        .with("http.route", ROUTE)
        .with("hookline.source", source.to_owned())
        .with("hookline.receipt", receipt.to_owned())
}

/// The answer that a request got. From 500 on it counts as failed.
pub fn answered(span: &mut Span, status: u16, events: usize) {
    span.set("http.response.status_code", i64::from(status));
    span.set("messaging.batch.message_count", i64::try_from(events).unwrap_or(i64::MAX));
    if status >= 500 {
        span.error = Some(format!("answered {status}"));
    }
}

/// A record that is written for one event. Its context is what the record's header says.
#[must_use]
pub fn send(service: &'static str, at: At, parent: TraceContext) -> Span {
    on_topic(Span::new(service, Kind::Producer, format!("send {}", at.topic), Some(parent)), at, "send", "send")
}

/// Where the record of a [`send`] is.
pub fn sent_to(span: &mut Span, partition: u16, offset: i64) {
    span.attributes.retain(|(name, _)| *name != PARTITION);
    span.set(PARTITION, partition.to_string());
    span.set(OFFSET, offset);
}

/// The work on one record, until what came of it is committed.
#[must_use]
pub fn process(service: &'static str, group: &'static str, at: At, parent: TraceContext) -> Span {
    let span = Span::new(service, Kind::Consumer, format!("process {}", at.topic), Some(parent));
    on_topic(span, at, "process", "process").with("messaging.consumer.group.name", group)
}

/// What became of an event.
pub fn became(span: &mut Span, outcome: &'static str) {
    span.set("hookline.outcome", outcome);
}

/// The transaction of a lane, with a link to each traced record in it.
#[must_use]
pub fn transaction(service: &'static str, at: At, records: u64, links: impl IntoIterator<Item = TraceContext>) -> Span {
    let span = Span::new(service, Kind::Client, format!("commit {}", at.topic), None);
    let mut span = on_topic(span, at, "commit", "settle")
        .with("messaging.batch.message_count", i64::try_from(records).unwrap_or(i64::MAX));
    links.into_iter().for_each(|link| span.link(link));
    span
}

/// The INSERT of a block, with a link to each traced row in it.
#[must_use]
pub fn insert(lane: u16, table: &'static str, rows: usize, links: impl IntoIterator<Item = TraceContext>) -> Span {
    let mut span = Span::new("report", Kind::Client, format!("INSERT {table}"), None)
        .with("db.system.name", "clickhouse")
        .with("db.operation.name", "INSERT")
        .with("db.collection.name", table)
        .with("db.operation.batch.size", i64::try_from(rows).unwrap_or(i64::MAX))
        .with("hookline.lane", i64::from(lane));
    links.into_iter().for_each(|link| span.link(link));
    span
}

/// One attempt to send a message to a destination.
#[must_use]
pub fn deliver(destination: &str, rule: &str, attempt: u16, parent: TraceContext) -> Span {
    Span::new("notify", Kind::Client, "deliver", Some(parent))
        .with("hookline.destination", destination.to_owned())
        .with("hookline.rule", rule.to_owned())
        .with("hookline.attempt", i64::from(attempt))
}

/// What came of an attempt; status 0 where there is none.
pub fn delivered(span: &mut Span, status: u16, error: Option<&'static str>) {
    if status > 0 {
        span.set("http.response.status_code", i64::from(status));
    }
    match error {
        Some(error) => span.fail(error),
        None => span.end(),
    }
}

/// A dead letter that is appended again: a new trace, with a link to the one in which it died.
#[must_use]
pub fn redrive(at: At, died_in: TraceContext) -> Span {
    let mut span =
        on_topic(Span::new("redrive", Kind::Producer, format!("send {}", at.topic), None), at, "send", "send");
    span.link(died_in);
    span
}

const PARTITION: &str = "messaging.destination.partition.id";
const OFFSET: &str = "messaging.kafka.offset";

fn on_topic(span: Span, at: At, operation: &'static str, kind: &'static str) -> Span {
    let span = span
        .with("messaging.system", "kafka")
        .with("messaging.operation.name", operation)
        .with("messaging.operation.type", kind)
        .with("messaging.destination.name", at.topic)
        .with(PARTITION, at.partition.to_string());
    match at.offset {
        Some(offset) => span.with(OFFSET, offset),
        None => span,
    }
}

/// What a sender writes as its method is not repeated.
fn known_method(method: &str) -> &'static str {
    ["POST", "PUT", "GET"].into_iter().find(|known| *known == method).unwrap_or("_OTHER")
}
