//! What came for one key in one open minute.

use event::Signal;

use crate::codec::{Reader, Writer};
use crate::observation::{COUNTERS, FACET};
use crate::sample::Sample;

/// The events of one facet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    pub(crate) facet: Box<str>,
    pub(crate) count: u32,
    pub(crate) late: u32,
    /// The least and the most that the platform itself has counted.
    pub(crate) counters: Option<(u64, u64)>,
    pub(crate) sample: Sample,
}

/// The parts of a minute, in the order of their facets. Rules that only count have one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pane {
    first: Part,
    more: Vec<Part>,
}

impl Part {
    pub(crate) fn of(lane: u16, signal: &Signal<'_>) -> Self {
        let [count, late] = [signal.count, signal.late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let counter = |name: &str| signal.attributes.get(name).parse().ok();
        Self {
            facet: signal.attributes.get(FACET).into(),
            count,
            late,
            counters: counter(COUNTERS[0]).zip(counter(COUNTERS[1])),
            sample: Sample::of(lane, signal),
        }
    }

    /// Adds what another signal says of the same facet.
    fn add(&mut self, lane: u16, signal: &Signal<'_>) {
        let [count, late] = [signal.count, signal.late].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        self.count = self.count.saturating_add(count);
        self.late = self.late.saturating_add(late);
        if !self.facet.is_empty() {
            let other = Self::of(lane, signal).counters;
            self.counters = match (self.counters, other) {
                (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
                (own, other) => own.or(other),
            };
        }
        if lane < self.sample.lane {
            self.sample = Sample::of(lane, signal);
        }
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
        Some(Self { facet, count, late, counters: counted.then_some(counters), sample: Sample::read(from)? })
    }
}

impl Pane {
    pub(crate) fn new(first: Part) -> Self {
        Self { first, more: Vec::new() }
    }

    /// Adds a signal.
    pub(crate) fn add(&mut self, lane: u16, signal: &Signal<'_>) {
        let facet = signal.attributes.get(FACET);
        if *self.first.facet == *facet {
            return self.first.add(lane, signal);
        }
        match self.more.binary_search_by(|part| (*part.facet).cmp(facet)) {
            Ok(at) => self.more[at].add(lane, signal),
            Err(at) => self.more.insert(at, Part::of(lane, signal)),
        }
        self.order();
    }

    /// Adds a part that stands beside those that are there.
    pub(crate) fn push(&mut self, part: Part) {
        self.more.push(part);
        self.more.sort_by(|left, right| left.facet.cmp(&right.facet));
        self.order();
    }

    fn order(&mut self) {
        if let Some(second) = self.more.first_mut()
            && second.facet < self.first.facet
        {
            std::mem::swap(&mut self.first, second);
            self.more.sort_by(|left, right| left.facet.cmp(&right.facet));
        }
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// Its only part, for rules that only count.
    pub(crate) fn only(self) -> Part {
        self.first
    }

    /// The sample of a part, by its position.
    pub(crate) fn sample(&self, at: usize) -> Sample {
        self.parts().nth(at).unwrap_or(&self.first).sample.clone()
    }
}
