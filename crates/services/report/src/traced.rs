//! The spans of a block's traced rows, published once the rows are in ClickHouse and the position is committed.

use std::time::Duration;

use event::TraceContext;
use event::trace::TRACEPARENT;
use kafka::Topic;
use kafka::lane::Record;
use traces::{At, Span, Traces, conventions};

use crate::SERVICE;
use crate::standing::GROUP;

/// The work on each traced row of a block. Nearly always empty, and then without memory.
#[derive(Default)]
pub(crate) struct Traced(Vec<Span>);

impl Traced {
    /// Begins the work on a record of `events`, if its header says that it is traced. Asked only where spans are sent.
    pub(crate) fn row(&mut self, lane: u16, record: &Record<'_>) {
        let parent = record.headers().get(TRACEPARENT).and_then(TraceContext::parse).filter(|trace| trace.sampled);
        let Some(parent) = parent else { return };
        let at = At { topic: Topic::Events.name(), partition: lane, offset: Some(record.offset()) };
        self.0.push(conventions::process(SERVICE, GROUP, at, parent));
    }

    /// The block is there: its insert began and ended at these times since 1970.
    pub(crate) fn committed(self, traces: &Traces, lane: u16, rows: usize, begun: Duration, inserted: Duration) {
        if self.0.is_empty() {
            return;
        }
        let mut insert = conventions::insert(lane, "records", rows, self.0.iter().map(Span::context)).since(begun);
        insert.end_at(inserted);
        let rows = self.0.into_iter().map(|mut row| {
            row.end_at(inserted);
            row
        });
        traces.publish(rows.chain([insert]));
    }
}
