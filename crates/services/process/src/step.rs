//! What becomes of one raw record: the pure part of `process`.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use adapter::{Adapted, Adapter, Dialect, Memory, Unreadable};
use dedupe::{Candidate, Id128, KeyHasher, Verdict};
use enrich::{Catalogue, Enricher, Hints, Salt, platform_facts, visitor};
use event::raw::{CLOCK_TRUST_MS, HeaderError, RawHeaders};
use event::{DeadLetter, LinkEvent, LinkRecord, Millis, Outcome, wire};
use kafka::control::Control;

use crate::SERVICE;

/// What is configured about one source.
pub struct SourceRules {
    /// Its dedupe window, in milliseconds.
    pub window_ms: u64,
    /// How its payloads are read.
    pub dialect: Dialect,
    /// Whether its visitors are told apart.
    pub visitors: bool,
}

/// What is configured about decisions, shared by all lanes.
pub struct Pipeline {
    /// Each source by its name.
    pub sources: HashMap<String, SourceRules>,
    /// What holds for a source that is no longer configured: its records are still in `raw`.
    pub gone: SourceRules,
    /// How payloads become events.
    pub adapt: adapter::Options,
    /// How events are labelled.
    pub enrich: enrich::Settings,
    /// The files that they are labelled by, as they were when they were read.
    pub references: enrich::References,
    /// The owners that the configuration knows.
    pub owners: BTreeSet<String>,
    /// Hash of the configuration, stamped on every event.
    pub config_version: String,
}

impl Pipeline {
    fn rules(&self, source: &str) -> &SourceRules {
        self.sources.get(source).unwrap_or(&self.gone)
    }

    pub(crate) fn source_names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }
}

/// A record of `raw`, borrowed from the reader.
pub struct RawRecord<'r> {
    /// The lane.
    pub lane: u16,
    /// The offset.
    pub offset: u64,
    /// The broker's append time, in milliseconds since 1970.
    pub appended_at: i64,
    /// The event key.
    pub key: &'r [u8],
    /// The element's bytes as they came.
    pub body: &'r [u8],
    /// What ingest wrote beside them; its received time is the one that counts.
    pub headers: Result<RawHeaders<'r>, HeaderError>,
    /// The time that ingest claims, if it is so far from the broker's that it was not believed; in milliseconds since 1970.
    pub disbelieved: Option<i64>,
}

impl<'r> RawRecord<'r> {
    /// A record as it was read, with its received time settled.
    pub fn new(
        lane: u16,
        offset: u64,
        appended_at: i64,
        key: &'r [u8],
        body: &'r [u8],
        headers: Result<RawHeaders<'r>, HeaderError>,
    ) -> Self {
        let claimed = headers.as_ref().ok().map(|headers| headers.received_at);
        let disbelieved = claimed.filter(|claimed| !is_believed(*claimed, appended_at));
        let headers =
            headers.map(|headers| RawHeaders { received_at: received_at(headers.received_at, appended_at), ..headers });
        Self { lane, offset, appended_at, key, body, headers, disbelieved }
    }

    /// A record from the parts of a record of `raw`; what its headers say is read here, for all who read `raw`.
    pub fn from_parts<'h: 'r>(
        lane: u16,
        offset: u64,
        appended_at: i64,
        key: &'r [u8],
        body: &'r [u8],
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) -> Self {
        Self::new(lane, offset, appended_at, key, body, RawHeaders::from_headers(headers))
    }

    /// The lane's time at this record, in milliseconds since 1970: when it was appended; if ingest's clock and the broker's disagree, the
    /// earlier of what they say.
    pub(crate) fn time(&self) -> i64 {
        self.disbelieved.map_or(self.appended_at, |claimed| claimed.min(self.appended_at))
    }

    /// Whether what becomes of it tells something new, so that the fuse counts it: what ingest has set aside is a dead letter
    /// by decision, and what was redriven was so by a person who looked.
    pub(crate) fn is_unforeseen(&self) -> bool {
        self.headers.as_ref().map_or(true, |headers| headers.quarantine.is_none() && headers.redrive_of.is_none())
    }
}

/// A record that was read: an event that the dedupe window has to judge, or a dead letter.
pub enum Reading<'r> {
    /// Decodable.
    Event(Adapted<'r>, Candidate),
    /// Not decodable, and why.
    Dead(Box<LinkEvent<'r>>, DeadLetter),
}

impl Reading<'_> {
    /// What its link is known by: domain, slug and id; `None` for a dead letter.
    pub(crate) fn link(&self) -> Option<(&str, &str, &str)> {
        match self {
            Reading::Event(adapted, _) => {
                let event = &adapted.event;
                Some((&event.domain, &event.slug, &event.link_id))
            }
            Reading::Dead(..) => None,
        }
    }

    /// What the dedupe window is asked about; dead letters are not, so that a redrive is not a duplicate of them.
    pub fn candidate(&self) -> Option<Candidate> {
        match self {
            Reading::Event(_, candidate) => Some(*candidate),
            Reading::Dead(..) => None,
        }
    }
}

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

/// Whose the pipeline is that a step decides by.
enum Held<'p> {
    Borrowed(&'p Pipeline),
    Shared(Arc<Pipeline>),
}

impl Deref for Held<'_> {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        match self {
            Held::Borrowed(pipeline) => pipeline,
            Held::Shared(pipeline) => pipeline,
        }
    }
}

/// The pure functions of one lane, and their caches.
pub struct Step<'p> {
    pipeline: Held<'p>,
    keys: KeyHasher,
    enricher: Enricher,
    memory: Memory,
    key: Vec<u8>,
}

impl<'p> Step<'p> {
    /// The step under a configuration and a pipeline's identity.
    pub fn new(pipeline: &'p Pipeline, control: &Control) -> Self {
        Self::by(Held::Borrowed(pipeline), control)
    }

    /// The same for a lane, which changes its pipeline between two transactions.
    pub fn shared(pipeline: Arc<Pipeline>, control: &Control) -> Step<'static> {
        Step::by(Held::Shared(pipeline), control)
    }

    fn by(pipeline: Held<'p>, control: &Control) -> Self {
        let mut enricher = Enricher::new(pipeline.enrich.clone());
        enricher.refer_to(pipeline.references.clone());
        let memory = Memory::new(pipeline.adapt.clone());
        Self { pipeline, keys: KeyHasher::new(control.dedupe_key), enricher, memory, key: Vec::new() }
    }

    /// Labels by these files from now on. A lane changes them between transactions only.
    pub fn refer_to(&mut self, references: enrich::References) {
        self.enricher.refer_to(references);
    }

    /// The catalogue that it labels by: [`Step::decide`] is given it, and its events borrow from it.
    #[must_use]
    pub fn catalogue(&self) -> Option<Arc<Catalogue>> {
        self.enricher.catalogue()
    }

    /// Reads a record: what it says, or why it cannot be read.
    pub fn read<'r>(&mut self, raw: &RawRecord<'r>) -> Reading<'r> {
        let headers = match &raw.headers {
            Ok(headers) => headers,
            Err(error) => return dead(raw, SERVICE, "foreign_record", error.to_string()),
        };
        let Some(adapter) = Adapter::parse(&headers.adapter) else {
            let detail = format!("the adapter {:?} is unknown to this version", headers.adapter);
            return dead(raw, "adapt", "unknown_adapter", detail);
        };
        let source = headers.source.as_ref();
        let rules = self.pipeline.rules(source);
        match (&headers.quarantine, adapter.adapt(&rules.dialect, headers, raw.body, &mut self.memory)) {
            // What ingest has set aside stays aside: it told the sender so.
            (Some(reason), adapted) => {
                dead(raw, "ingest", reason, adapted.err().map(|why| why.detail).unwrap_or_default())
            }
            (None, Err(why)) => dead(raw, "adapt", why.reason, why.detail),
            (None, Ok(adapted)) => {
                let id = id(&self.keys, &mut self.key, source, raw.key);
                let mut candidate = Candidate::new(id, raw.offset, headers.received_at, rules.window_ms);
                if let Some(claimed) = raw.disbelieved {
                    candidate.between = (claimed.min(raw.appended_at), claimed.max(raw.appended_at));
                }
                Reading::Event(adapted, candidate)
            }
        }
    }

    /// The day (days since 1970, UTC) whose salt [`Step::decide`] needs to tell the visitor of a record; `None` when it has none.
    pub fn salt_day(&self, reading: &Reading<'_>) -> Option<i64> {
        let Reading::Event(adapted, _) = reading else { return None };
        let event = &adapted.event;
        let day = visitor::salt_day(event.event_time, event.received_at, adapted.visitor.ip)?;
        self.pipeline.rules(&event.source).visitors.then_some(day)
    }

    /// Finishes a record, given what the dedupe window says of it, the salt of its day and the catalogue.
    pub fn decide<'r>(
        &mut self,
        raw: &RawRecord<'r>,
        reading: Reading<'r>,
        verdict: Option<Verdict>,
        salt: Option<Salt>,
        catalogue: Option<&'r Catalogue>,
    ) -> Decided<'r> {
        let (mut event, dead_letter, unreadable, facts) = match reading {
            Reading::Dead(event, dead) => (event, Some(dead), Vec::new(), Vec::new()),
            Reading::Event(mut adapted, _) => {
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

/// The dedupe id: sources do not share event keys.
fn id(keys: &KeyHasher, scratch: &mut Vec<u8>, source: &str, key: &[u8]) -> Id128 {
    scratch.clear();
    scratch.extend_from_slice(source.as_bytes());
    scratch.push(0);
    scratch.extend_from_slice(key);
    keys.id128(scratch)
}

fn dead<'r>(raw: &RawRecord<'r>, stage: &'static str, reason: &str, detail: String) -> Reading<'r> {
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
    Reading::Dead(Box::new(event), DeadLetter { stage, reason, detail, lane: raw.lane, offset: raw.offset })
}

/// The received time that counts: ingest's clock as long as it agrees with the broker's, and never after the append.
fn received_at(claimed: i64, appended: i64) -> i64 {
    if is_believed(claimed, appended) { claimed.min(appended) } else { appended }
}

fn is_believed(claimed: i64, appended: i64) -> bool {
    appended.abs_diff(claimed) <= CLOCK_TRUST_MS.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use dedupe::{MemoryStore, Window};
    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: i64 = 72 * 3_600_000;
    const CLICK: &[u8] = br#"{"id":"1","type":"click","time":"2026-11-23 11:00:00","link":{"id":"l"}}"#;

    fn pipeline(sources: HashMap<String, SourceRules>) -> Pipeline {
        let gone = SourceRules { window_ms: 1, dialect: Dialect::PLAIN, visitors: true };
        let (adapt, enrich) = (adapter::Options::default(), enrich::Settings::default());
        let references = enrich::References::default();
        Pipeline { sources, gone, adapt, enrich, references, owners: BTreeSet::new(), config_version: "0".into() }
    }

    fn control() -> Control {
        Control { incarnation: String::new(), lanes: 1, partitioner: 1, recipes: 1, dedupe_key: [0; 16] }
    }

    /// The event time of a record, or why it is a dead letter.
    fn read(pipeline: &Pipeline, adapter: &'static str) -> Result<i64, (String, String)> {
        let received_at = 1_795_428_001_000;
        let headers = RawHeaders { source: "s".into(), adapter: adapter.into(), received_at, ..RawHeaders::default() };
        let raw = RawRecord::new(0, 7, received_at, b"1", CLICK, Ok(headers));
        match Step::new(pipeline, &control()).read(&raw) {
            Reading::Event(adapted, _) => Ok(adapted.event.event_time.0),
            Reading::Dead(_, dead) => Err((dead.stage, dead.reason)),
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

    #[test]
    fn the_fuse_counts_neither_what_ingest_set_aside_nor_what_was_redriven() {
        let counted = |quarantine: Option<&'static str>, redrive_of: Option<&'static str>| {
            let (quarantine, redrive_of) = (quarantine.map(Into::into), redrive_of.map(Into::into));
            let headers = RawHeaders { quarantine, redrive_of, ..RawHeaders::default() };
            RawRecord::new(0, 7, 0, b"1", CLICK, Ok(headers)).is_unforeseen()
        };
        assert!(counted(None, None));
        assert!(!counted(Some("missing_field"), None));
        assert!(!counted(None, Some("0/3")));
        assert!(RawRecord::new(0, 7, 0, b"1", CLICK, Err(HeaderError::Missing)).is_unforeseen());
    }

    proptest! {
        /// Three clocks stamp a delivery: ingest's, the broker's and ours. Any one may say anything, another one each time.
        #[test]
        fn with_one_clock_off_each_time_a_repeat_within_the_window_is_a_duplicate(
            wrong in [(0..4_usize, any::<i32>()), (0..4_usize, any::<i32>())], later_ms in 0..WINDOW_MS,
        ) {
            let rules = SourceRules { window_ms: WINDOW_MS as u64, dialect: Dialect::PLAIN, visitors: true };
            let pipeline = pipeline(HashMap::from([("s".to_owned(), rules)]));
            let control = control();
            let mut step = Step::new(&pipeline, &control);
            let mut window = Window::new(MemoryStore::default());
            let mut verdicts = Vec::new();
            for (offset, (which, by)) in wrong.into_iter().enumerate() {
                let mut clocks = [1_795_428_001_000 + offset as i64 * later_ms; 4];
                clocks[which] += i64::from(by) * 1_000;
                let [claimed, appended, ours, _] = clocks;
                let headers = RawHeaders { source: "s".into(), adapter: "canonical".into(), received_at: claimed, ..RawHeaders::default() };
                let raw = RawRecord::new(0, offset as u64, appended, b"1", CLICK, Ok(headers));
                let mut candidate = step.read(&raw).candidate().unwrap();
                candidate.not_after(ours + CLOCK_TRUST_MS);
                window.decide_batch(&[candidate], &mut verdicts).unwrap();
            }
            prop_assert!(matches!(verdicts[..], [Verdict::Duplicate { first_offset: 0, .. }]), "{verdicts:?}");
        }
    }

    #[test]
    fn a_lane_goes_by_the_append_and_where_clocks_disagree_by_the_earlier() {
        let raw = |claimed, appended| {
            RawRecord::new(
                0,
                7,
                appended,
                b"1",
                CLICK,
                Ok(RawHeaders { received_at: claimed, ..RawHeaders::default() }),
            )
        };
        let (now, day) = (1_795_428_001_000, 86_400_000);
        assert_eq!(raw(now, now + 20).time(), now + 20, "they agree");
        assert_eq!(raw(now, now + day).time(), now, "the broker's is ahead");
        assert_eq!(raw(now + day, now).time(), now, "ingest's is ahead");
    }

    #[test]
    fn received_time_never_exceeds_the_append_and_is_replaced_when_far_from_it() {
        assert_eq!(received_at(1_000_000, 1_000_040), 1_000_000);
        assert_eq!(received_at(1_000_090, 1_000_040), 1_000_040);
        assert_eq!(received_at(1_000_040 - 300_001, 1_000_040), 1_000_040);
        assert_eq!(received_at(i64::MAX / 2, 1_000_040), 1_000_040);
    }
}
