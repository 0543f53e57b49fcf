//! The spans of a transaction's traced records. They are published once it is committed, like its counts: what is
//! aborted leaves none.

use std::time::Duration;

use event::TraceContext;
use event::trace::TRACEPARENT;
use kafka::Topic;
use runtime::clock::since_1970;
use traces::{At, Span, Traces, conventions};

use crate::opening::GROUP;
use crate::record::RawRecord;
use crate::{Decided, SERVICE};

/// The header of a record whose event is traced.
pub(crate) type Header = [(&'static str, String); 1];

/// What was traced so far. Nearly always empty, and then without memory.
#[derive(Default)]
pub(crate) struct Traced {
    /// The work on each traced record.
    records: Vec<Span>,
    /// The records that were written for them.
    sends: Vec<Span>,
}

impl Traced {
    /// Begins the work on a record that says that it is traced. Asked only where spans are sent.
    pub(crate) fn record(&mut self, raw: &RawRecord<'_>, fetched: Duration) -> Option<TraceContext> {
        let parent = raw.headers.as_ref().ok()?.trace.filter(|trace| trace.sampled)?;
        let at = At { topic: Topic::Raw.name(), partition: raw.lane, offset: i64::try_from(raw.offset).ok() };
        let span = conventions::process(SERVICE, GROUP, at, parent).since(fetched);
        let context = span.context();
        self.records.push(span);
        Some(context)
    }

    /// A record that is written for the one under way; its header.
    pub(crate) fn send(&mut self, work: TraceContext, topic: Topic, partition: u16) -> Header {
        let mut span = conventions::send(SERVICE, At { topic: topic.name(), partition, offset: None }, work);
        span.end();
        let header = span.context().to_header();
        self.sends.push(span);
        [(TRACEPARENT, header)]
    }

    /// What became of the one under way, if it is traced.
    pub(crate) fn became(&mut self, work: Option<TraceContext>, decided: &Decided<'_>) {
        if let Some(span) = self.records.last_mut().filter(|_| work.is_some()) {
            conventions::became(span, decided.event.outcome.as_str());
        }
    }

    /// All of it is committed, in a transaction that began at a time since 1970.
    pub(crate) fn committed(self, traces: &Traces, lane: u16, records: u64, begun: Duration) {
        if self.records.is_empty() {
            return;
        }
        let (at, now) = (At { topic: Topic::Raw.name(), partition: lane, offset: None }, since_1970());
        let links = self.records.iter().map(Span::context);
        let mut transaction = conventions::transaction(SERVICE, at, records, links).since(begun);
        let mut records = self.records;
        records.iter_mut().chain([&mut transaction]).for_each(|span| span.end_at(now));
        traces.publish(records.into_iter().chain(self.sends).chain([transaction]));
    }
}
