//! The panes of a rule that have not closed, where it tells nothing apart within a key.

use event::Signal;

use crate::counted_minute::{Counted, CountedMinute};
use crate::key_table::{KeyTable, Likely};

/// Open panes by their start, in the order of time. Nearly always there is one, or two.
#[derive(Default)]
pub(crate) struct OpenCounts {
    panes: Vec<(i64, CountedMinute)>,
    /// The memory of the last pane that has closed.
    spare: CountedMinute,
}

impl OpenCounts {
    /// Adds a signal to a pane; `likely` is where its key was looked up. Whether there is room for its key.
    pub(crate) fn add<S: Default>(
        &mut self,
        keys: &mut KeyTable<S>,
        likely: Likely,
        pane: i64,
        lane: u16,
        signal: &Signal<'_>,
    ) -> bool {
        let Some(found) = keys.found(likely, signal.key.as_ref()) else { return false };
        let added = self.pane(pane).add(found.id, found.counted, lane, signal);
        keys.set_counted(found, added.at);
        if added.was_saved {
            keys.touch(found.id);
        }
        true
    }

    /// Adds what was stored of a key.
    pub(crate) fn restore(&mut self, pane: i64, id: u32, counted: &Counted<'_>) {
        self.pane(pane).restore(id, counted);
    }

    /// Keys have new ids, which `ids` says by the old ones.
    pub(crate) fn renumber(&mut self, ids: &[u32]) {
        self.panes.iter_mut().for_each(|(_, keys)| keys.renumber(ids));
    }

    /// What open panes have of a key, in the order of time.
    pub(crate) fn of_key(&self, id: u32) -> impl Iterator<Item = (i64, Counted<'_>)> {
        self.panes.iter().filter_map(move |(pane, keys)| Some((*pane, keys.get(id)?)))
    }

    /// A snapshot has the key as it is.
    pub(crate) fn is_saved(&mut self, id: u32) {
        self.panes.iter_mut().for_each(|(_, keys)| keys.is_saved(id));
    }

    /// The start of the first pane, if it is before `to`.
    pub(crate) fn first_before(&self, to: i64) -> Option<i64> {
        self.panes.first().map(|(pane, _)| *pane).filter(|pane| *pane < to)
    }

    /// Takes the first pane out.
    pub(crate) fn take_first(&mut self) -> CountedMinute {
        if self.panes.is_empty() { CountedMinute::default() } else { self.panes.remove(0).1 }
    }

    /// Gives the memory of a pane that has closed back.
    pub(crate) fn put_back(&mut self, closed: CountedMinute) {
        self.spare = closed.emptied();
    }

    fn pane(&mut self, pane: i64) -> &mut CountedMinute {
        let at = match self.panes.last() {
            Some((last, _)) if *last == pane => self.panes.len() - 1,
            Some((last, _)) if *last > pane => match self.panes.binary_search_by_key(&pane, |one| one.0) {
                Ok(at) => at,
                Err(at) => self.open(at, pane),
            },
            _ => self.open(self.panes.len(), pane),
        };
        &mut self.panes[at].1
    }

    fn open(&mut self, at: usize, pane: i64) -> usize {
        self.panes.insert(at, (pane, std::mem::take(&mut self.spare)));
        at
    }
}
