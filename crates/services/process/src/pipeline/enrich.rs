//! `enrich`: an event as its row will have it. What it is labelled with are the stages of the crate `enrich`.

use adapter::Unreadable;
use dedupe::Verdict;
use enrich::{Catalogue, Hints, Salt, platform_facts, visitor};
use event::{DeadLetter, LinkEvent, LinkRecord, Outcome, wire};
use kafka::lane::End;

use super::{Decoded, Step};
use crate::record::RawRecord;
use crate::salts::LaneSalts;

/// What was decided about a record.
pub struct Decided<'r> {
    /// The record on `events`.
    pub event: Box<LinkEvent<'r>>,
    /// What goes on `dead-letters`, if it is one.
    pub dead_letter: Option<DeadLetter>,
    /// Values that the sender gave and that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// What its platform tells of the link, for the catalogue.
    pub facts: Vec<LinkRecord<'static>>,
}

/// The stage in a lane: reads the salt of the event's day, and makes it if it is the first to ask.
pub(super) fn label<'r>(
    step: &mut Step<'_>,
    salts: &mut LaneSalts<'_>,
    raw: &RawRecord<'r>,
    decoded: Decoded<'r>,
    verdict: Option<Verdict>,
    catalogue: &'r Catalogue,
) -> Result<Decided<'r>, End> {
    let salt = step.salt_day(&decoded).map(|day| salts.of(day)).transpose()?;
    Ok(step.enrich(raw, decoded, verdict, salt, Some(catalogue)))
}

impl Step<'_> {
    /// The day (days since 1970, UTC) whose salt [`Step::enrich`] needs to tell the visitor of a record; `None` when it
    /// has none.
    pub fn salt_day(&self, decoded: &Decoded<'_>) -> Option<i64> {
        let Decoded::Event(adapted, _) = decoded else { return None };
        let event = &adapted.event;
        let day = visitor::salt_day(event.event_time, event.received_at, adapted.visitor.ip)?;
        self.pipeline.rules(&event.source).visitors.then_some(day)
    }

    /// The stage: finishes a record, given what the dedupe window says of it, the salt of its day and the catalogue.
    pub fn enrich<'r>(
        &mut self,
        raw: &RawRecord<'r>,
        decoded: Decoded<'r>,
        verdict: Option<Verdict>,
        salt: Option<Salt>,
        catalogue: Option<&'r Catalogue>,
    ) -> Decided<'r> {
        let (mut event, dead_letter, unreadable, facts) = match decoded {
            Decoded::Dead(event, dead) => (event, Some(dead), Vec::new(), Vec::new()),
            Decoded::Event(mut adapted, _) => {
                // What the catalogue itself tells, it knows.
                let is_own = adapted.event.source == event::CATALOGUE_SOURCE;
                let facts = if is_own { Vec::new() } else { platform_facts(&adapted.event, &adapted.tags) };
                let hints = Hints {
                    ip: adapted.visitor.ip,
                    user_agent: &adapted.visitor.user_agent,
                    bot: adapted.visitor.bot,
                    method: &adapted.visitor.method,
                    purpose: &adapted.visitor.purpose,
                    referrer: adapted.referrer.as_deref(),
                    paid_click: adapted.paid_click,
                    tags: &adapted.tags,
                    salt,
                };
                self.enricher.enrich(&mut adapted.event, &hints, catalogue);
                let mut event = adapted.event;
                if let Some(Verdict::Duplicate { first_offset, delay_ms }) = verdict {
                    event.outcome = Outcome::Duplicate;
                    event.first_offset = first_offset;
                    event.duplicate_delay = delay_ms;
                }
                (event, None, adapted.unreadable, facts)
            }
        };
        if event.owner.is_empty()
            && let Some(owner) = self.pipeline.enrich.source_owners.get(event.source.as_ref())
        {
            event.owner = owner.clone().into();
        }
        event.event_key = String::from_utf8_lossy(raw.key);
        event.config_version = self.pipeline.config_version.clone().into();
        event.schema_version = wire::EVENTS.version;
        event.raw_offset = raw.offset;
        Decided { event, dead_letter, unreadable, facts }
    }
}
