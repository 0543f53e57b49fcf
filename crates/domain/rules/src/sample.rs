//! The one event that a message names: its key, and what the message says of it. Kept as bytes, since most are never
//! told.

use event::{Map, Signal};

use crate::codec::{Reader, Writer};
use crate::observation::{COUNTERS, FACET};

/// One event of a pane. Of several lanes, the smallest one's first: so it does not depend on how lanes interleave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) lane: u16,
    bytes: Vec<u8>,
}

/// The same, where it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SampleRef<'a> {
    pub(crate) lane: u16,
    pub(crate) bytes: &'a [u8],
}

impl Sample {
    pub(crate) fn of(lane: u16, signal: &Signal<'_>) -> Self {
        let mut length = signal.sample.len() + 8;
        for (name, value) in told(signal) {
            length += name.len() + value.len() + 8;
        }
        let mut bytes = Vec::with_capacity(length);
        append(signal, &mut bytes);
        Self { lane, bytes }
    }

    pub(crate) fn by_ref(&self) -> SampleRef<'_> {
        SampleRef { lane: self.lane, bytes: &self.bytes }
    }

    /// Becomes another one, in the memory that it has.
    pub(crate) fn set(&mut self, other: SampleRef<'_>) {
        self.lane = other.lane;
        self.bytes.clear();
        self.bytes.extend_from_slice(other.bytes);
    }

    /// How many bytes it takes in a record.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + 4
    }

    /// The key of the event, and what is known of it.
    pub(crate) fn told(&self) -> (String, Map<'static>) {
        let mut from = Reader(&self.bytes);
        let read = from.text().map(str::to_owned).zip(from.map());
        read.unwrap_or_default()
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.by_ref().write(to);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        SampleRef::read(from).map(SampleRef::owned)
    }
}

impl<'a> SampleRef<'a> {
    pub(crate) fn owned(self) -> Sample {
        Sample { lane: self.lane, bytes: self.bytes.to_vec() }
    }

    pub(crate) fn write(self, to: &mut Writer) {
        to.u32(u32::from(self.lane));
        to.0.extend_from_slice(self.bytes);
    }

    pub(crate) fn read(from: &mut Reader<'a>) -> Option<Self> {
        let lane = u16::try_from(from.u32()?).ok()?;
        let before = from.0;
        from.text()?;
        for _ in 0..from.u32()? {
            from.text()?;
            from.text()?;
        }
        let bytes = before.get(..before.len() - from.0.len())?;
        Some(Self { lane, bytes })
    }
}

/// Appends what is told of the event that a signal names.
pub(crate) fn append(signal: &Signal<'_>, bytes: &mut Vec<u8>) {
    let mut to = Writer(std::mem::take(bytes));
    to.text(&signal.sample);
    let at = to.0.len();
    let mut number = 0;
    to.u32(number);
    for (name, value) in told(signal) {
        number += 1;
        to.text(name);
        to.text(value);
    }
    if let Some(place) = to.0.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    *bytes = to.0;
}

/// What is told of it: all but what the rule itself reads.
fn told<'s>(signal: &'s Signal<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    let of_rule = |name: &str| name == FACET || COUNTERS.contains(&name);
    let attributes = signal.attributes.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    attributes.filter(move |(name, _)| !of_rule(name))
}
