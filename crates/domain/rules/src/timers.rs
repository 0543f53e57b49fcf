//! When keys must be walked though nothing comes. A key that is due is found without looking at the others.

use std::collections::BTreeMap;

/// A timer a key, by id. Times are in minutes or in seconds since 1970, as the rule counts them.
#[derive(Default)]
pub(crate) struct Timers {
    /// By id: the time for which the timer of a key is set; 0: it is off.
    set: Vec<u32>,
    /// Time → keys that must be walked then.
    queue: BTreeMap<u32, Vec<u32>>,
}

impl Timers {
    /// Sets the timer of a key. What was set before is passed over when its time comes.
    pub(crate) fn wake(&mut self, id: u32, at: Option<u32>) {
        let at = at.unwrap_or(0);
        let place = id as usize;
        if place >= self.set.len() {
            if at == 0 {
                return;
            }
            self.set.resize(place + 1, 0);
        }
        let Some(set) = self.set.get_mut(place) else { return };
        if std::mem::replace(set, at) != at && at != 0 {
            self.queue.entry(at).or_default().push(id);
        }
    }

    /// Sets the timer of a key, unless it rings before.
    pub(crate) fn wake_by(&mut self, id: u32, at: u32) {
        let set = self.set.get(id as usize).copied().unwrap_or(0);
        if set == 0 || at < set {
            self.wake(id, Some(at));
        }
    }

    /// Sets the timer of a key that was walked up to `walked`: it rings by `at`, or before, if it was set to.
    pub(crate) fn walked(&mut self, id: u32, walked: u32, at: Option<u32>) {
        let set = self.set.get(id as usize).copied().unwrap_or(0);
        if set <= walked || at.is_some_and(|at| at < set) {
            self.wake(id, at);
        }
    }

    /// The next key whose time has come by `to`. Its timer is off then.
    pub(crate) fn due(&mut self, to: u32) -> Option<u32> {
        loop {
            let mut first = self.queue.first_entry().filter(|first| *first.key() <= to)?;
            let at = *first.key();
            let Some(id) = first.get_mut().pop() else {
                first.remove();
                continue;
            };
            if let Some(set) = self.set.get_mut(id as usize).filter(|set| **set == at) {
                *set = 0;
                return Some(id);
            }
        }
    }
}

impl Timers {
    /// Keys have new ids, which `ids` says by the old ones; [`u32::MAX`]: it is gone. Only what is set is kept.
    pub(crate) fn renumber(&mut self, ids: &[u32]) {
        let mut renumbered = Self::default();
        for (id, at) in ids.iter().zip(&self.set).filter(|(id, at)| **id != u32::MAX && **at != 0) {
            renumbered.wake(*id, Some(*at));
        }
        *self = renumbered;
    }

    /// What it takes in memory, but for the nodes of the queue.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        let queued: usize = self.queue.values().map(Vec::capacity).sum();
        (self.set.capacity() + queued) * size_of::<u32>()
    }

    /// How many keys wait in the queue, those among them whose time has changed since.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queue.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_at_the_time_that_was_set_last_and_once() {
        let mut timers = Timers::default();
        let [a, b] = [3, 0];
        timers.wake(a, Some(5));
        timers.wake(b, Some(7));
        timers.wake(a, Some(9));
        assert_eq!((timers.due(6), timers.due(8), timers.due(8)), (None, Some(b), None));
        timers.wake_by(a, 12);
        assert_eq!((timers.due(9), timers.due(100)), (Some(a), None));
        timers.wake(a, Some(5));
        timers.wake(a, Some(4));
        timers.wake(a, Some(5));
        assert_eq!((timers.due(10), timers.due(10)), (Some(a), None));
        timers.wake(7, None);
        timers.wake_by(b, 20);
        timers.wake(b, None);
        assert_eq!(timers.due(100), None);
        timers.walked(a, 10, Some(30));
        for (walked, at) in [(20, Some(50)), (20, None), (21, Some(28)), (22, Some(29))] {
            timers.walked(a, walked, at);
        }
        assert_eq!(
            (timers.due(27), timers.due(28), timers.due(100)),
            (None, Some(a), None),
            "it is not moved to later"
        );
        timers.wake(a, Some(40));
        timers.walked(a, 40, Some(60));
        timers.walked(b, 40, None);
        assert_eq!((timers.due(59), timers.due(60)), (None, Some(a)), "what it was walked up to does not ring");
    }
}
