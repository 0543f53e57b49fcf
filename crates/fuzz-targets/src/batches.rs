//! Batches with one event that is spoiled: whatever is wrong in it, its neighbours come out as without it.

use adapter::mapping::{Field, KeyFrom, Mapping, MappingPlan, PayloadPath, TextFrom, TypeFrom};
use adapter::{Adapter, Dialect, Element, Memory, Options};
use event::raw::RawHeaders;

use crate::pick;

const RECEIVED_AT: i64 = 1_795_428_001_000;
const NDJSON: &str = "application/x-ndjson";

/// How the events of a batch stand in its body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Batch {
    /// A JSON array.
    Array,
    /// A line each.
    Lines,
    /// In the field `data` of an object, with other fields around it.
    Envelope,
}

/// A source that takes batches, and how it takes them.
#[derive(Debug, Clone, Copy)]
pub struct Source(pub Adapter, pub Batch, pub bool);

/// Every kind of batch that is taken.
pub const SOURCES: [Source; 9] = [
    Source(Adapter::Canonical, Batch::Array, false),
    Source(Adapter::Canonical, Batch::Lines, false),
    Source(Adapter::CloudEvents, Batch::Array, false),
    Source(Adapter::Rebrandly, Batch::Array, false),
    Source(Adapter::Rebrandly, Batch::Envelope, false),
    Source(Adapter::Shlink, Batch::Array, false),
    Source(Adapter::Twilio, Batch::Array, false),
    Source(Adapter::Mapping, Batch::Lines, false),
    Source(Adapter::Mapping, Batch::Envelope, true),
];

impl Source {
    /// What its configuration says.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        let at = |name: &str| vec![PayloadPath::parse(name).expect("a path")];
        let plan = MappingPlan {
            items: self.2.then(|| PayloadPath::parse("data").expect("a path")),
            event_key: Some(KeyFrom::First(at("id"))),
            event_type: TypeFrom { paths: at("type"), ..TypeFrom::default() },
            event_time: at("time"),
            fields: vec![(Field::LinkId, TextFrom { paths: at("link.id"), default: String::new() })],
            ..MappingPlan::default()
        };
        Dialect { mapping: (self.0 == Adapter::Mapping).then(|| Mapping::new(plan)), ..Dialect::PLAIN }
    }

    /// A good event, with `text` as the value of a field that nobody reads.
    #[must_use]
    pub fn event(self, id: &str, text: &str) -> Vec<u8> {
        let time = "2026-11-23T10:00:00Z";
        let event = match self.0 {
            Adapter::CloudEvents => format!(
                r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"x.click","time":"{time}","data":{{"link":{{"id":"l"}},"odd":TEXT}}}}"#
            ),
            Adapter::Rebrandly => {
                format!(r#"{{"timestamp":"{time}","odd":TEXT,"route":{{"id":"r{id}","tags":[{{"a":1}},{{"b":2}}]}}}}"#)
            }
            Adapter::Shlink => {
                format!(
                    r#"{{"shortUrl":{{"shortCode":"c{id}","domain":"go.example","title":TEXT}},"visit":{{"date":"{time}"}}}}"#
                )
            }
            Adapter::Twilio => format!(
                r#"{{"id":"{id}","source":"/s","type":"a.link-shortening.link-clicked","odd":TEXT,"data":{{"shortened_link":"go.example/a","click_time":"{time}"}}}}"#
            ),
            _ => format!(
                r#"{{"id":"{id}","type":"click","time":"{time}","link":{{"id":"l"}},"odd":TEXT,"more":[{{"a":1}},{{"b":"x"}}]}}"#
            ),
        };
        event.replace("TEXT", text).into_bytes()
    }

    /// A batch of these events.
    #[must_use]
    pub fn body(self, events: &[Vec<u8>]) -> Vec<u8> {
        match self.1 {
            Batch::Lines => events.join(&b'\n'),
            Batch::Array => [b"[".as_slice(), &events.join(b", ".as_slice()), b"]"].concat(),
            Batch::Envelope => {
                [br#"{"kind":"clicks","data":["#.as_slice(), &events.join(&b','), br#"],"key":{"data":1}}"#].concat()
            }
        }
    }

    /// The events that are found in a batch of which some are good.
    #[must_use]
    pub fn split<'b>(self, dialect: &Dialect, body: &'b [u8]) -> Vec<Element<'b>> {
        let content_type = if self.1 == Batch::Lines { NDJSON } else { "application/json" };
        self.0.split(dialect, body, content_type, &|_| None).expect("a batch with good events")
    }
}

/// Why the full half refuses an element; `None` when it takes it.
fn refused(source: Source, dialect: &Dialect, element: &Element<'_>) -> Option<&'static str> {
    let raw =
        RawHeaders { received_at: RECEIVED_AT, content_type: element.content_type.into(), ..RawHeaders::default() };
    source.0.adapt(dialect, &raw, &element.bytes, &mut Memory::new(Options::default())).err().map(|why| why.reason)
}

/// Holds the batch with `spoiled` at `place` against the batch without it. Returns what becomes of the spoiled event.
///
/// # Panics
/// When a neighbour is gone or another.
pub fn neighbours_stay(source: Source, good: usize, place: usize, spoiled: &[u8]) -> Vec<Option<&'static str>> {
    let dialect = source.dialect();
    let mut events: Vec<_> = (0..good).map(|n| source.event(&format!("e{n}"), "\"fine\"")).collect();
    let without = source.body(&events);
    events.insert(place, spoiled.to_vec());
    let with = source.body(&events);
    let (without, with) = (source.split(&dialect, &without), source.split(&dialect, &with));
    let shown = || format!("{source:?} {}", String::from_utf8_lossy(spoiled));
    let mut theirs: Vec<_> = with.iter().collect();
    for expected in &without {
        assert_eq!(expected.quarantine, None, "{source:?}");
        let found = theirs.iter().position(|element| element.bytes == expected.bytes);
        let found = theirs.remove(found.unwrap_or_else(|| panic!("a neighbour is gone: {}", shown())));
        assert_eq!((&found.key, &found.quarantine), (&expected.key, &expected.quarantine), "{}", shown());
    }
    for (ordinal, element) in with.iter().enumerate() {
        assert_eq!(element.ordinal as usize, ordinal);
        let (edge, full) = (element.quarantine.as_ref().map(|why| why.reason), refused(source, &dialect, element));
        // The edge reads less, and may follow a body less deep.
        assert!(edge == full || edge == Some("not_json"), "{edge:?} {full:?} {}", shown());
    }
    theirs.iter().map(|element| element.quarantine.as_ref().map(|why| why.reason)).collect()
}

/// Five bytes choose the kind of batch, how many neighbours there are, the place of the spoiled event, where in it
/// bytes are replaced and how many; the rest, up to 48, stands there instead.
pub fn batches(data: &[u8]) {
    let [source, good, place, from, length, with @ ..] = data else { return };
    let source = *pick(&SOURCES, *source);
    let good = 1 + usize::from(good.wrapping_sub(b'0') % 4);
    let mut spoiled = source.event("bad", "\"text \\\" \\\\ é\"");
    // A bracket that is lost at the end of an event takes what follows along where nothing tells them apart.
    let at = 1 + usize::from(*from) * (spoiled.len() - 2) / 256;
    let end = (at + usize::from(length.wrapping_sub(b'0') % 16)).min(spoiled.len() - 1);
    spoiled.splice(at..end, with.iter().take(48).copied());
    if source.1 == Batch::Lines && spoiled.contains(&b'\n') {
        return;
    }
    let place = usize::from(place.wrapping_sub(b'0')) % (good + 1);
    if !is_another_body(source, good, place, &spoiled) {
        neighbours_stay(source, good, place, &spoiled);
    }
}

/// Whether the batch with the spoiled event is JSON that says something else, such as an array that ends earlier: then
/// its words count, and not what was meant.
fn is_another_body(source: Source, good: usize, place: usize, spoiled: &[u8]) -> bool {
    let mut events: Vec<_> = (0..good).map(|n| source.event(&format!("e{n}"), "\"fine\"")).collect();
    events.insert(place, spoiled.to_vec());
    source.1 == Batch::Envelope && serde_json::from_slice::<serde_json::Value>(&source.body(&events)).is_ok()
}
