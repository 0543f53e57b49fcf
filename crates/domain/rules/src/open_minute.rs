//! A minute that has not closed: the keys with events in it, in the order in which they came.

use hashbrown::HashTable;

use crate::key_table::GONE;
use crate::pane::Pane;

/// Keys by id, and what came of each.
#[derive(Default)]
pub(crate) struct OpenMinute {
    panes: Vec<(u32, Pane)>,
    /// Positions in `panes`: a list that grows is moved without its panes.
    places: HashTable<u32>,
}

impl OpenMinute {
    pub(crate) fn get(&self, id: u32) -> Option<&Pane> {
        self.panes.get(self.place(id)?).map(|(_, pane)| pane)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Pane> {
        let place = self.place(id)?;
        self.panes.get_mut(place).map(|(_, pane)| pane)
    }

    /// Adds the pane of a key that has none.
    pub(crate) fn insert(&mut self, id: u32, pane: Pane) {
        let place = u32::try_from(self.panes.len()).unwrap_or(u32::MAX);
        self.panes.push((id, pane));
        let panes = &self.panes;
        let of = |place: &u32| panes.get(*place as usize).map_or(0, |(id, _)| hash(*id));
        self.places.insert_unique(hash(id), place, of);
    }

    /// Keys have new ids, which `ids` says by the old ones.
    pub(crate) fn renumber(&mut self, ids: &[u32]) {
        for (id, pane) in std::mem::take(self).into_panes() {
            self.insert(ids.get(id as usize).copied().unwrap_or(GONE), pane);
        }
    }

    pub(crate) fn into_panes(self) -> impl Iterator<Item = (u32, Pane)> {
        self.panes.into_iter()
    }

    fn place(&self, id: u32) -> Option<usize> {
        let is_it = |place: &u32| self.panes.get(*place as usize).is_some_and(|(other, _)| *other == id);
        self.places.find(hash(id), is_it).map(|place| *place as usize)
    }
}

/// Ids are small numbers without gaps: one product spreads them over the bits that a table looks at.
fn hash(id: u32) -> u64 {
    u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
