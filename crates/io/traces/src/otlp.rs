//! Spans as the messages of OTLP: a resource for each service, since `hookline up` runs several in one process.

pub(crate) mod messages;

use std::collections::BTreeMap;
use std::time::Duration;

use self::messages::{
    Any, AnyValue, ExportRequest, KeyValue, Link, Message, Resource, ResourceSpans, Scope, ScopeSpans, Status,
};
use crate::span::{Kind, Span, Value};
use event::TraceContext;

/// The flag of a sampled span (W3C), and those that say whether a parent or a link is of another process (OTLP): known,
/// and yes.
const SAMPLED: u32 = 1;
const REMOTE: u32 = 0x100 | 0x200;

/// The code of a status that is an error.
const ERROR: i32 = 2;

/// What is sent for these spans; `instance` tells processes of one service apart.
pub(crate) fn request(spans: Vec<Span>, instance: &str) -> ExportRequest {
    let mut by_service: BTreeMap<&'static str, Vec<Message>> = BTreeMap::new();
    for span in spans {
        by_service.entry(span.service).or_default().push(message(span));
    }
    let resource_spans = by_service.into_iter().map(|(service, spans)| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                attribute("service.name", Value::from(format!("hookline-{service}"))),
                attribute("service.namespace", Value::from("hookline")),
                attribute("service.version", Value::from(env!("CARGO_PKG_VERSION"))),
                attribute("service.instance.id", Value::from(instance.to_owned())),
            ],
        }),
        scope_spans: vec![ScopeSpans { scope: Some(Scope { name: "hookline".to_owned() }), spans }],
    });
    ExportRequest { resource_spans: resource_spans.collect() }
}

fn message(span: Span) -> Message {
    let kind = match span.kind {
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    };
    let parent = span.parent.map(|parent| parent.span_id.to_vec());
    Message {
        trace_id: span.context.trace_id.to_vec(),
        span_id: span.context.span_id.to_vec(),
        flags: SAMPLED | if parent.is_some() { REMOTE } else { 0 },
        parent_span_id: parent.unwrap_or_default(),
        name: span.name.into_owned(),
        kind,
        start_time_unix_nano: nanos(span.begun),
        end_time_unix_nano: nanos(span.ended.max(span.begun)),
        attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        links: span.links.iter().map(link).collect(),
        status: span.error.map(|message| Status { message, code: ERROR }),
    }
}

fn link(to: &TraceContext) -> Link {
    Link { trace_id: to.trace_id.to_vec(), span_id: to.span_id.to_vec(), flags: u32::from(to.sampled) | REMOTE }
}

fn attribute(name: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => Any::Text(text.into_owned()),
        Value::Number(number) => Any::Number(number),
    };
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanos(since_1970: Duration) -> u64 {
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}
