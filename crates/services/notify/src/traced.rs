//! Alerts of traced events, from the record that brings them to the message that tells of them.

use std::collections::HashMap;

use event::trace::TRACEPARENT;
use event::{Delivery, DeliveryStage, TraceContext};
use kafka::Topic;
use kafka::lane::HeaderView;
use notification::destination::Verdict;
use traces::{At, Span, Traces, conventions};

use crate::SERVICE;

/// Traced alerts that may wait for their message. More than that are let go and counted: their messages are not traced.
const MOST: usize = 1_000;

/// The work on traced alerts whose message is not planned yet, by the alert's id. Kept in memory alone.
#[derive(Default)]
pub(crate) struct TracedAlerts(HashMap<String, Span>);

impl TracedAlerts {
    /// Begins the work on an alert, if its record says that it is traced.
    pub(crate) fn take(
        &mut self,
        alert_id: &str,
        group: &'static str,
        at: (u16, i64),
        headers: HeaderView<'_>,
        traces: &Traces,
    ) {
        let Some(parent) = of(headers) else { return };
        if self.0.len() >= MOST {
            traces.let_go(self.0.drain().count() as u64);
        }
        let at = At { topic: Topic::Alerts.name(), partition: at.0, offset: Some(at.1) };
        self.0.insert(alert_id.to_owned(), conventions::process(SERVICE, group, at, parent));
    }

    /// What the message of a planned record is a part of: the first traced alert in it.
    pub(crate) fn of_message(&self, record: &Delivery<'_>) -> Option<TraceContext> {
        if self.0.is_empty() || record.stage != DeliveryStage::Planned {
            return None;
        }
        record.alert_ids.iter().find_map(|id| self.0.get(id.as_ref())).map(Span::context)
    }

    /// These records are committed: what they tell of alerts is the end of the work on them.
    pub(crate) fn committed(&mut self, records: &[Delivery<'_>], traces: &Traces) {
        if self.0.is_empty() {
            return;
        }
        let told = records.iter().filter(|record| record.stage != DeliveryStage::Held);
        let ids = told.flat_map(|record| record.alert_ids.iter());
        let ended: Vec<Span> = ids.filter_map(|id| self.0.remove(id.as_ref())).collect();
        traces.publish(ended.into_iter().map(|mut span| {
            span.end();
            span
        }));
    }
}

/// The context that a record carries.
pub(crate) fn of(headers: HeaderView<'_>) -> Option<TraceContext> {
    headers.get(TRACEPARENT).and_then(TraceContext::parse).filter(|trace| trace.sampled)
}

/// The end of an attempt to send a message.
pub(crate) fn attempted(mut span: Span, verdict: &Verdict) -> Span {
    let (status, error) = match verdict {
        Verdict::Delivered { status, .. } => (*status, None),
        Verdict::Retry { status, .. } => (*status, Some("to be tried again")),
        Verdict::Rejected { status, .. } => (*status, Some("the message is rejected")),
        Verdict::WrittenInPart { status, .. } => (*status, Some("the message is written in part")),
        Verdict::Refused { status, .. } => (*status, Some("the destination refuses")),
    };
    conventions::delivered(&mut span, status, error);
    span
}
