//! `decode`: what the bytes of a record say, or why they say nothing.

use adapter::{Adapted, Adapter};
use dedupe::{Candidate, Id128, KeyHasher};
use event::{DeadLetter, LinkEvent, Millis, Outcome};

use super::{DECODE, Step};
use crate::SERVICE;
use crate::record::RawRecord;

/// A record that was read: an event that the dedupe window has to judge, or a dead letter.
pub enum Decoded<'r> {
    /// Decodable.
    Event(Adapted<'r>, Candidate),
    /// Not decodable, and why.
    Dead(Box<LinkEvent<'r>>, DeadLetter),
}

impl Decoded<'_> {
    /// What its link is known by: domain, slug and id; `None` for a dead letter.
    pub(crate) fn link(&self) -> Option<(&str, &str, &str)> {
        match self {
            Decoded::Event(adapted, _) => {
                let event = &adapted.event;
                Some((&event.domain, &event.slug, &event.link_id))
            }
            Decoded::Dead(..) => None,
        }
    }

    /// What the dedupe window is asked about; dead letters are not, so that a redrive is not a duplicate of them.
    pub fn candidate(&self) -> Option<Candidate> {
        match self {
            Decoded::Event(_, candidate) => Some(*candidate),
            Decoded::Dead(..) => None,
        }
    }
}

impl Step<'_> {
    /// The stage: what a record says, or why it cannot be read.
    pub fn decode<'r>(&mut self, raw: &RawRecord<'r>) -> Decoded<'r> {
        let headers = match &raw.headers {
            Ok(headers) => headers,
            Err(error) => return dead(raw, SERVICE, "foreign_record", error.to_string()),
        };
        let Some(adapter) = Adapter::parse(&headers.adapter) else {
            let detail = format!("the adapter {:?} is unknown to this version", headers.adapter);
            return dead(raw, DECODE.shown_as, "unknown_adapter", detail);
        };
        let source = headers.source.as_ref();
        let rules = self.pipeline.rules(source);
        match (&headers.quarantine, adapter.adapt(&rules.dialect, headers, raw.body, &mut self.memory)) {
            // What ingest has set aside stays aside: it told the sender so.
            (Some(reason), adapted) => {
                dead(raw, "ingest", reason, adapted.err().map(|why| why.detail).unwrap_or_default())
            }
            (None, Err(why)) => dead(raw, DECODE.shown_as, why.reason, why.detail),
            (None, Ok(adapted)) => {
                let id = id(&self.keys, &mut self.key, source, raw.key);
                let mut candidate = Candidate::new(id, raw.offset, headers.received_at, rules.window_ms);
                if let Some(claimed) = raw.disbelieved {
                    candidate.between = (claimed.min(raw.appended_at), claimed.max(raw.appended_at));
                }
                Decoded::Event(adapted, candidate)
            }
        }
    }
}

/// The dedupe id: sources do not share event keys.
fn id(keys: &KeyHasher, scratch: &mut Vec<u8>, source: &str, key: &[u8]) -> Id128 {
    scratch.clear();
    scratch.extend_from_slice(source.as_bytes());
    scratch.push(0);
    scratch.extend_from_slice(key);
    keys.id128(scratch)
}

fn dead<'r>(raw: &RawRecord<'r>, stage: &'static str, reason: &str, detail: String) -> Decoded<'r> {
    let mut event = LinkEvent {
        outcome: Outcome::DeadLetter,
        event_time: Millis(raw.appended_at),
        received_at: Millis(raw.appended_at),
        stage: stage.into(),
        reason: reason.to_owned().into(),
        detail: detail.clone().into(),
        ..LinkEvent::default()
    };
    if let Ok(headers) = &raw.headers {
        event.event_time = Millis(headers.received_at);
        event.received_at = Millis(headers.received_at);
        event.source = headers.source.clone();
        event.secret_id = headers.secret_id.clone();
        event.request_id = headers.request_id.clone();
        event.redrive_of = headers.redrive_of.clone().unwrap_or_default();
    }
    let (stage, reason) = (stage.to_owned(), reason.to_owned());
    Decoded::Dead(Box::new(event), DeadLetter { stage, reason, detail, lane: raw.lane, offset: raw.offset })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use adapter::Dialect;
    use event::raw::RawHeaders;

    use super::*;
    use crate::pipeline::SourceRules;
    use crate::pipeline::tests::{CLICK, control, pipeline};

    /// The event time of a record, or why it is a dead letter.
    fn read(pipeline: &crate::Pipeline, adapter: &'static str) -> Result<i64, (String, String)> {
        let received_at = 1_795_428_001_000;
        let headers = RawHeaders { source: "s".into(), adapter: adapter.into(), received_at, ..RawHeaders::default() };
        let raw = RawRecord::new(0, 7, received_at, b"1", CLICK, Ok(headers));
        match Step::new(pipeline, &control()).decode(&raw) {
            Decoded::Event(adapted, _) => Ok(adapted.event.event_time.0),
            Decoded::Dead(_, dead) => Err((dead.stage, dead.reason)),
        }
    }

    #[test]
    fn a_record_is_read_as_its_source_speaks_and_plainly_once_the_source_is_gone() {
        let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
        let rules = SourceRules {
            window_ms: 1,
            dialect: Dialect { time_zone: berlin, mapping: None, attributes_unproven: false },
            visitors: true,
        };
        let known = pipeline(HashMap::from([("s".to_owned(), rules)]));
        assert_eq!(read(&known, "canonical"), Ok(1_795_428_000_000));
        // 11:00 UTC lies too far ahead of its arrival to be believed.
        assert_eq!(read(&pipeline(HashMap::new()), "canonical"), Ok(1_795_428_001_000));
    }

    #[test]
    fn a_record_whose_source_has_lost_its_map_is_a_dead_letter_that_says_so() {
        let lost = Err(("adapt".to_owned(), "no_mapping".to_owned()));
        assert_eq!(read(&pipeline(HashMap::new()), "mapping"), lost);
    }
}
