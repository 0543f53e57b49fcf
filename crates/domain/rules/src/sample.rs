//! The one event that a message names: its key, and what the message says of it. Kept as bytes, since most are never
//! told.

use event::{Map, Signal};

use crate::codec::{Reader, Writer};
use crate::observation::{COUNTERS, FACET};

/// One event of a pane. Of several lanes, the smallest one's first: so it does not depend on how lanes interleave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) lane: u16,
    bytes: Box<[u8]>,
}

impl Sample {
    pub(crate) fn of(lane: u16, signal: &Signal<'_>) -> Self {
        let told = |name: &str| name != FACET && COUNTERS.iter().all(|one| name != *one);
        let (mut number, mut length) = (0, signal.sample.len() + 8);
        for (name, value) in signal.attributes.0.iter().filter(|(name, _)| told(name)) {
            (number, length) = (number + 1, length + name.len() + value.len() + 8);
        }
        let mut to = Writer(Vec::with_capacity(length));
        to.text(&signal.sample);
        to.u32(number);
        for (name, value) in signal.attributes.0.iter().filter(|(name, _)| told(name)) {
            to.text(name);
            to.text(value);
        }
        Self { lane, bytes: to.0.into_boxed_slice() }
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
        to.u32(u32::from(self.lane));
        to.0.extend_from_slice(&self.bytes);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let lane = u16::try_from(from.u32()?).ok()?;
        let before = from.0;
        from.text()?;
        from.map()?;
        let bytes = before.get(..before.len() - from.0.len())?;
        Some(Self { lane, bytes: bytes.into() })
    }
}
