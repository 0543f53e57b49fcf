//! What came for one key in one open minute.

use event::Signal;

use crate::codec::{Reader, Writer};
use crate::observation::{COUNTERS, FACET};
use crate::sample::Sample;

/// What the parts of all open minutes of a key may take in its record, in bytes: far below what the log takes as one
/// record. Beyond it no further facet is told apart.
pub(crate) const MOST_BYTES: usize = 400_000;

/// The events of one facet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) facet: Box<str>,
    pub(crate) count: u32,
    pub(crate) late: u32,
    /// The least and the most that the platform itself has counted.
    pub(crate) counters: Option<(u64, u64)>,
    pub(crate) sample: Sample,
    /// What the sample takes in a record, in bytes.
    sample_bytes: usize,
}

/// The parts of a minute, in the order of their facets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pane {
    first: Part,
    more: Vec<Part>,
    /// What all parts take in a record.
    bytes: usize,
}

impl Part {
    pub(crate) fn of(lane: u16, signal: &Signal<'_>) -> Self {
        let [count, late] = [signal.count, signal.late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let counter = |name: &str| signal.attributes.get(name).parse().ok();
        let sample = Sample::of(lane, signal);
        Self {
            facet: signal.attributes.get(FACET).into(),
            count,
            late,
            counters: counter(COUNTERS[0]).zip(counter(COUNTERS[1])),
            sample_bytes: sample.size(),
            sample,
        }
    }

    /// Adds what another signal says of the same facet. `room`: by how many bytes the part may grow.
    fn add(&mut self, lane: u16, signal: &Signal<'_>, room: usize) {
        self.count(signal);
        if !self.facet.is_empty() {
            let other = Self::of(lane, signal).counters;
            self.counters = match (self.counters, other) {
                (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
                (own, other) => own.or(other),
            };
        }
        if lane < self.sample.lane {
            let sample = Sample::of(lane, signal);
            let bytes = sample.size();
            if bytes <= self.sample_bytes.saturating_add(room) {
                (self.sample, self.sample_bytes) = (sample, bytes);
            }
        }
    }

    fn count(&mut self, signal: &Signal<'_>) {
        let [count, late] = [signal.count, signal.late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        self.count = self.count.saturating_add(count);
        self.late = self.late.saturating_add(late);
    }

    /// How many bytes it takes in a record, with the minute in front of it.
    fn size(&self) -> usize {
        self.facet.len() + self.sample_bytes + 40
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.text(&self.facet);
        to.u32(self.count);
        to.u32(self.late);
        to.flags([self.counters.is_some()]);
        let (low, high) = self.counters.unwrap_or_default();
        to.u64(low);
        to.u64(high);
        self.sample.write(to);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (facet, count, late) = (from.text()?.into(), from.u32()?, from.u32()?);
        let [counted] = from.flags()?;
        let counters = (from.u64()?, from.u64()?);
        let (counters, sample) = (counted.then_some(counters), Sample::read(from)?);
        Some(Self { facet, count, late, counters, sample_bytes: sample.size(), sample })
    }
}

impl Pane {
    pub(crate) fn new(first: Part) -> Self {
        let bytes = first.size();
        Self { first, more: Vec::new(), bytes }
    }

    /// How many bytes its parts take in a record.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A pane for a key whose open minutes have no room: what is told apart no further; none if that is left out.
    pub(crate) fn of_rest(lane: u16, signal: &Signal<'_>, rest: Option<&str>) -> Option<Self> {
        Some(Self::new(Part { facet: rest?.into(), counters: None, ..Part::of(lane, signal) }))
    }

    /// Adds a signal. Whether its facet could be told apart: for another one there must be `room`, in bytes. Otherwise
    /// it counts under `rest`, or is left out.
    pub(crate) fn add(&mut self, lane: u16, signal: &Signal<'_>, room: usize, rest: Option<&str>) -> bool {
        if let Some(part) = self.find(signal.attributes.get(FACET)) {
            let before = part.size();
            part.add(lane, signal, room);
            let after = part.size();
            self.bytes = self.bytes.saturating_sub(before).saturating_add(after);
            return true;
        }
        let part = Part::of(lane, signal);
        if part.size() <= room {
            self.push(part);
            return true;
        }
        let Some(rest) = rest else { return false };
        match self.find(rest) {
            Some(part) => part.count(signal),
            None => self.push(Part { facet: rest.into(), counters: None, ..part }),
        }
        false
    }

    fn find(&mut self, facet: &str) -> Option<&mut Part> {
        if *self.first.facet == *facet {
            return Some(&mut self.first);
        }
        let at = self.more.binary_search_by(|part| (*part.facet).cmp(facet)).ok()?;
        self.more.get_mut(at)
    }

    /// Adds a part that stands beside those that are there.
    pub(crate) fn push(&mut self, mut part: Part) {
        self.bytes = self.bytes.saturating_add(part.size());
        if part.facet < self.first.facet {
            std::mem::swap(&mut self.first, &mut part);
        }
        let at = self.more.partition_point(|other| other.facet < part.facet);
        self.more.insert(at, part);
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The sample of a part, by its position.
    pub(crate) fn sample(&self, at: usize) -> Sample {
        self.parts().nth(at).unwrap_or(&self.first).sample.clone()
    }
}
