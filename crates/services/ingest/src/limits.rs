//! What all requests share and none may take alone: memory, and what may be on its way to the log at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a request costs beside its body: the buffer that its head was read into, its headers, its task.
const PER_REQUEST: usize = 8 << 10;

/// The memory for bodies, from their first byte until the answer. No source may hold more than half of it, so that one hot source
/// leaves room for the others.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicUsize,
    limit: usize,
    share: usize,
}

/// There is no memory left for a body: the request is answered 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit, share: limit / 2 }
    }

    /// Bytes that are held now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Room for a request whose body has not come yet; `source` is what its source holds.
    pub(crate) fn hold<'m>(&'m self, source: &'m AtomicUsize) -> Result<Hold<'m>, NoRoom> {
        let mut hold = Hold { memory: self, source, bytes: 0 };
        hold.grow(PER_REQUEST)?;
        Ok(hold)
    }
}

/// Memory held by one request, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold<'m> {
    memory: &'m Memory,
    source: &'m AtomicUsize,
    bytes: usize,
}

impl Hold<'_> {
    /// Holds `bytes` more, or nothing more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let all = self.memory.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_source = self.source.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        if all <= self.memory.limit && of_source <= self.memory.share {
            return Ok(());
        }
        self.shrink(bytes);
        Err(NoRoom)
    }

    fn shrink(&mut self, bytes: usize) {
        self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
        self.source.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

/// What one source has on its way to the log: whole requests only, so that a sender whose body trickles in takes nobody's place.
#[derive(Debug)]
pub(crate) struct InFlight {
    requests: AtomicUsize,
    events: AtomicUsize,
    max_requests: usize,
    max_events: usize,
}

impl InFlight {
    pub(crate) fn new(max_requests: usize, max_events: usize) -> Self {
        Self { requests: AtomicUsize::new(0), events: AtomicUsize::new(0), max_requests, max_events }
    }

    /// Requests on their way now.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a request of so many events would be let in.
    pub(crate) fn has_room(&self, events: usize) -> bool {
        self.fits(self.requests.load(Ordering::Relaxed) + 1, self.events.load(Ordering::Relaxed), events)
    }

    /// Lets a request in; none when there are too many. A request that alone is too large is let in when it is the only one.
    pub(crate) fn enter(&self, events: usize) -> Option<Place<'_>> {
        let place = Place { in_flight: self, events };
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let before = self.events.fetch_add(events, Ordering::Relaxed);
        self.fits(requests, before, events).then_some(place)
    }

    fn fits(&self, requests: usize, before: usize, events: usize) -> bool {
        requests <= self.max_requests && (before == 0 || before + events <= self.max_events)
    }
}

/// The place of a request that is on its way; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'f> {
    in_flight: &'f InFlight,
    events: usize,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.in_flight.requests.fetch_sub(1, Ordering::Relaxed);
        self.in_flight.events.fetch_sub(self.events, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_source_cannot_hold_the_memory_that_others_need() {
        let (memory, hot, calm) = (Memory::new(100 * PER_REQUEST), AtomicUsize::new(0), AtomicUsize::new(0));
        let held: Vec<_> = std::iter::from_fn(|| memory.hold(&hot).ok()).take(1_000).collect();
        assert_eq!(held.len(), 50);
        let mut other = memory.hold(&calm).unwrap();
        assert_eq!(other.grow(49 * PER_REQUEST), Ok(()));
        assert_eq!(other.grow(1), Err(NoRoom));
        drop((held, other));
        assert_eq!((memory.used(), hot.into_inner(), calm.into_inner()), (0, 0, 0));
    }

    #[test]
    fn a_source_has_so_many_requests_and_events_on_their_way_and_no_more() {
        let in_flight = InFlight::new(3, 100);
        let first = in_flight.enter(500).unwrap();
        assert!(in_flight.enter(1).is_none(), "behind more events than the bound");
        drop(first);
        let places: Vec<_> = (0..3).map(|_| in_flight.enter(10).unwrap()).collect();
        assert!(in_flight.enter(10).is_none() && !in_flight.has_room(1));
        drop(places);
        assert_eq!((in_flight.requests(), in_flight.has_room(1)), (0, true));
    }

    proptest! {
        #[test]
        fn what_was_held_is_given_back_to_the_byte(steps in prop::collection::vec((any::<bool>(), 0_usize..50_000), 0..100)) {
            let (memory, source) = (Memory::new(1 << 20), AtomicUsize::new(0));
            let mut holds = Vec::new();
            for (grow, bytes) in steps {
                match holds.last_mut() {
                    Some(hold) if grow => _ = Hold::grow(hold, bytes),
                    _ => holds.extend(memory.hold(&source)),
                }
                prop_assert!(memory.used() <= 1 << 20);
                prop_assert_eq!(memory.used(), holds.iter().map(|hold| hold.bytes).sum::<usize>());
                if bytes % 7 == 0 {
                    holds.pop();
                }
            }
            drop(holds);
            prop_assert_eq!(memory.used(), 0);
        }
    }
}
