//! `encode`: what is written for a record.

use enrich::Catalogue;
use event::TraceContext;
use event::lane::of_name;
use kafka::Topic;
use kafka::lane::{End, LaneProducer, NO_HEADERS};

use super::fuse::Passed;
use super::route::Routed;
use super::{By, Decided};
use crate::catalogue::Told;
use crate::record::RawRecord;
use crate::traced::{Header, Traced};

/// Where records are written: the open transaction.
pub(crate) trait Out {
    /// Adds a record to it.
    ///
    /// # Errors
    /// When the broker does not take it.
    fn send<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        topic: Topic,
        partition: u16,
        key: &[u8],
        value: &[u8],
        headers: &[(N, V)],
    ) -> Result<(), End>;
}

impl Out for LaneProducer {
    fn send<N: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        topic: Topic,
        partition: u16,
        key: &[u8],
        value: &[u8],
        headers: &[(N, V)],
    ) -> Result<(), End> {
        Ok(Self::send(self, topic, partition, Some(key), Some(value), headers)?)
    }
}

/// The event of a record is written: what belongs to it may follow.
pub(super) struct Written {
    /// How long it is, encoded.
    pub(super) bytes: usize,
}

/// The stage: the records that are written for one of `raw`.
pub(super) struct Records<'a, O> {
    pub(super) by: &'a By<'a>,
    pub(super) raw: &'a RawRecord<'a>,
    pub(super) out: &'a O,
    pub(super) value: &'a mut Vec<u8>,
    /// The span of the work on it, if it is traced.
    pub(super) work: Option<TraceContext>,
    pub(super) traced: &'a mut Traced,
}

impl<O: Out> Records<'_, O> {
    /// The event, and for a dead letter the body with its reason.
    pub(super) fn event(&mut self, decided: &Decided<'_>, _: Passed) -> Result<Written, End> {
        let Self { by, raw, out, .. } = *self;
        let header = self.header(Topic::Events, by.lane);
        self.value.clear();
        decided.event.write(by.ids, self.value);
        out.send(Topic::Events, by.lane, raw.key, self.value, headers(header.as_ref()))?;
        if let Some(dead) = &decided.dead_letter {
            let mut headers: Vec<(String, Vec<u8>)> = match &raw.headers {
                Ok(headers) => {
                    headers.to_headers().into_iter().map(|(name, value)| (name.into_owned(), value)).collect()
                }
                Err(_) => Vec::new(),
            };
            headers.extend(dead.headers().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())));
            let partition = of_name(&decided.event.source, by.plan.dead_letter_partitions);
            out.send(Topic::DeadLetters, partition, decided.event.source.as_bytes(), raw.body, &headers)?;
        }
        Ok(Written { bytes: self.value.len() })
    }

    /// What its platform told of the link, where it is news.
    pub(super) fn facts(
        &mut self,
        _: &Written,
        told: &mut Told,
        decided: &mut Decided<'_>,
        catalogue: &Catalogue,
    ) -> Result<(), End> {
        let facts = std::mem::take(&mut decided.facts);
        for record in told.after(&decided.event, facts, Some(catalogue)) {
            self.value.clear();
            record.write(self.by.ids, self.value);
            self.out.send(Topic::Links, 0, record.key().as_bytes(), self.value, NO_HEADERS)?;
        }
        Ok(())
    }

    /// The alerts of the rules that fire on it.
    pub(super) fn alerts(&mut self, _: &Written, decided: &Decided<'_>, Routed(fires): Routed<'_>) -> Result<(), End> {
        let Self { by, out, .. } = *self;
        for rule in fires.iter().filter_map(|index| by.routes.rules().get(*index)) {
            let Some(alert) = rule.each_alert(&decided.event) else { continue };
            let partition = of_name(rule.name(), by.plan.alert_partitions);
            let header = self.header(Topic::Alerts, partition);
            self.value.clear();
            alert.write(by.ids, self.value);
            out.send(Topic::Alerts, partition, rule.name().as_bytes(), self.value, headers(header.as_ref()))?;
        }
        Ok(())
    }

    fn header(&mut self, topic: Topic, partition: u16) -> Option<Header> {
        self.work.map(|work| self.traced.send(work, topic, partition))
    }
}

/// Of a record for an event that is traced, or of any other.
fn headers(header: Option<&Header>) -> &[(&'static str, String)] {
    header.map_or(&[], |header| header)
}
