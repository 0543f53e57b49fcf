//! The one event that a message names: its key, and what the message says of it. Kept as bytes, since most are never
//! told; of the names of what is known only a number, since there are few.

use event::{Map, Signal};

use crate::codec::{Reader, Writer, length, put_length};
use crate::observation::{COUNTERS, FACET};

/// Names that are kept as their number, from 1 on. Numbers are in memory alone.
const NAMES: [&str; event::ATTRIBUTES.len()] = event::ATTRIBUTES;

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
        let mut length = signal.sample.len() + 2;
        for (name, value) in told(signal) {
            length += if NAMES.contains(&name) { value.len() + 3 } else { name.len() + value.len() + 5 };
        }
        let mut bytes = Vec::with_capacity(length);
        append(signal, &mut bytes);
        Self { lane, bytes }
    }

    pub(crate) fn by_ref(&self) -> SampleRef<'_> {
        SampleRef { lane: self.lane, bytes: &self.bytes }
    }

    /// Becomes another one, in the memory that it has if that is enough.
    pub(crate) fn set(&mut self, other: SampleRef<'_>) {
        self.lane = other.lane;
        if other.bytes.len() > self.bytes.capacity() {
            self.bytes = other.bytes.to_vec();
        } else {
            self.bytes.clear();
            self.bytes.extend_from_slice(other.bytes);
        }
    }

    /// How many bytes it takes in a record.
    pub(crate) fn size(&self) -> usize {
        let mut kept = Kept(&self.bytes);
        let key = kept.text().map_or(0, str::len);
        4 + 8 + key + kept.map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>()
    }

    /// The key of the event, and what is known of it.
    pub(crate) fn told(&self) -> (String, Map<'static>) {
        let mut kept = Kept(&self.bytes);
        let key = kept.text().unwrap_or_default().to_owned();
        let mut map = Map::default();
        kept.for_each(|(name, value)| map.add(name.to_owned(), value.to_owned()));
        (key, map)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.by_ref().write(to);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let lane = u16::try_from(from.u32()?).ok()?;
        let mut bytes = Vec::new();
        put_text(from.text()?, &mut bytes);
        let mut numbers = Numbers::default();
        for _ in 0..from.u32()? {
            put(&mut numbers, from.text()?, from.text()?, &mut bytes);
        }
        bytes.shrink_to_fit();
        Some(Self { lane, bytes })
    }
}

impl SampleRef<'_> {
    pub(crate) fn owned(self) -> Sample {
        Sample { lane: self.lane, bytes: self.bytes.to_vec() }
    }

    pub(crate) fn write(self, to: &mut Writer) {
        to.u32(u32::from(self.lane));
        let mut kept = Kept(self.bytes);
        to.text(kept.text().unwrap_or_default());
        let at = to.0.len();
        let mut number = 0;
        to.u32(number);
        for (name, value) in kept {
            number += 1;
            to.text(name);
            to.text(value);
        }
        if let Some(place) = to.0.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// Appends what is told of the event that a signal names.
pub(crate) fn append(signal: &Signal<'_>, bytes: &mut Vec<u8>) {
    put_text(&signal.sample, bytes);
    let mut numbers = Numbers::default();
    told(signal).for_each(|(name, value)| put(&mut numbers, name, value, bytes));
}

/// What is told of it: all but what the rule itself reads.
fn told<'s>(signal: &'s Signal<'_>) -> impl Iterator<Item = (&'s str, &'s str)> {
    let of_rule = |name: &str| name == FACET || COUNTERS.contains(&name);
    let attributes = signal.attributes.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    attributes.filter(move |(name, _)| !of_rule(name))
}

/// Finds the numbers of names, which mostly come in the order of [`NAMES`].
#[derive(Default)]
struct Numbers {
    next: usize,
}

impl Numbers {
    /// The number of a name; 0 for one that has none.
    fn of(&mut self, name: &str) -> u8 {
        let behind = NAMES.get(self.next..).unwrap_or_default();
        let at = behind.iter().position(|known| *known == name).map(|at| at + self.next);
        let Some(at) = at.or_else(|| NAMES.iter().position(|known| *known == name)) else { return 0 };
        self.next = at + 1;
        u8::try_from(at + 1).unwrap_or(0)
    }
}

fn put(numbers: &mut Numbers, name: &str, value: &str, bytes: &mut Vec<u8>) {
    let number = numbers.of(name);
    bytes.push(number);
    if number == 0 {
        put_text(name, bytes);
    }
    put_text(value, bytes);
}

/// A text behind its length.
fn put_text(text: &str, bytes: &mut Vec<u8>) {
    put_length(text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads what was put: the key of the event, and then names and values.
struct Kept<'a>(&'a [u8]);

impl<'a> Kept<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let (length, rest) = length(self.0)?;
        let (text, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

impl<'a> Iterator for Kept<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (number, rest) = self.0.split_first()?;
        self.0 = rest;
        let name = match usize::from(*number).checked_sub(1) {
            None => self.text()?,
            Some(at) => NAMES.get(at).copied()?,
        };
        Some((name, self.text()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_back_as_it_was_whatever_it_holds_and_its_record_has_all_names() {
        let long = "ä".repeat(9_000);
        let mut attributes = Map::default();
        for (name, value) in
            [("slug", "a"), ("domain", &*long), ("other", "b"), ("", "c"), ("facet", "d"), ("owner", "e")]
        {
            attributes.add(name, value);
        }
        let signal = Signal { sample: "e:1".into(), attributes, ..Signal::default() };
        let sample = Sample::of(3, &signal);
        let (key, told) = sample.told();
        assert_eq!(key, "e:1");
        let expected = [("slug", "a"), ("domain", &*long), ("other", "b"), ("", "c"), ("owner", "e")];
        assert!(told.0.iter().map(|(name, value)| (&**name, &**value)).eq(expected));
        let mut record = Writer::default();
        sample.write(&mut record);
        assert_eq!(record.0.len(), sample.size());
        let mut plain = Writer::default();
        plain.u32(3);
        plain.text("e:1");
        plain.u32(5);
        expected.iter().flat_map(|(name, value)| [name, value]).for_each(|text| plain.text(text));
        assert_eq!(record.0, plain.0);
        let mut from = Reader(&record.0);
        assert_eq!(Sample::read(&mut from), Some(sample.clone()));
        assert!(from.0.is_empty());
        let mut other = Sample::default();
        other.set(sample.by_ref());
        assert_eq!(other, sample);
    }
}
