//! The catalogue in the making: the records of the topic `links`, one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use event::{LinkRecord, Teller};

use super::layer::{Layer, Row, hash};
use super::{Catalogue, Facts, Link, MAX_LINKS};

/// Rows that the small layer may always have; beyond an eighth of the large one it is merged with it.
const SMALL: usize = 8_192;

/// A list that is on the topic as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListInForce {
    /// Names its bytes.
    pub digest: String,
    /// How many links it has.
    pub links: u64,
    /// When it was taken up, in milliseconds since 1970.
    pub at_ms: i64,
}

/// An expiry that is to be told as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The link: `domain/slug`, or its platform's id.
    pub link: String,
    /// When it expires, in milliseconds since 1970.
    pub expires_ms: i64,
    /// When that is told, in milliseconds since 1970: later where the platform may tell it itself.
    pub tell_ms: i64,
    /// It is the platform's id of a link that has a `domain/slug` as well, under which its expiry is told.
    pub is_other_name: bool,
}

/// What the topic `links` says so far. The same records make the same catalogue, whether older ones of their keys were
/// compacted away or not.
pub struct Links {
    older: Arc<Layer>,
    newer: Layer,
    /// Rows written to the small layer.
    written: usize,
    /// Links that something is said of.
    len: usize,
    /// One past the last offset.
    next: u64,
    in_force: Option<ListInForce>,
    /// Records about links beyond the bound, which were passed over.
    beyond: u64,
}

impl Default for Links {
    fn default() -> Self {
        let older = Arc::new(Layer::default());
        Self { older, newer: Layer::default(), written: 0, len: 0, next: 0, in_force: None, beyond: 0 }
    }
}

impl Links {
    /// One past the last offset that was taken in.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The list that is on the topic as a whole; `None` before there was one.
    #[must_use]
    pub fn in_force(&self) -> Option<&ListInForce> {
        self.in_force.as_ref()
    }

    /// How many records were passed over since there are too many links.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Takes in the record at `offset`, which the broker took at `known_ms`.
    pub fn apply(&mut self, offset: u64, known_ms: i64, record: &LinkRecord<'_>) {
        self.next = offset + 1;
        if record.teller == Teller::InForce {
            let (digest, links) = (record.digest.clone().into_owned(), record.links);
            self.in_force = Some(ListInForce { digest, links, at_ms: record.at.0 });
            return;
        }
        let hashed = hash("", &record.link);
        let is_it = |name: &[u8]| name == record.link.as_bytes();
        let known = self.newer.find(hashed, is_it).or_else(|| self.older.find(hashed, is_it));
        let before = known.map(|row| row.row()).unwrap_or_default();
        let (was_there, is_known) = (!before.is_empty(), known.is_some());
        if !is_known && self.len >= MAX_LINKS {
            self.beyond += 1;
            return;
        }
        let facts = Facts::of(record, known_ms);
        let mut row = Row { name: &record.link, version: offset + 1, ..before };
        match record.teller {
            Teller::List if record.removed => row.list = None,
            Teller::List => row.list = Some(facts),
            Teller::Platform => row.platform = Some(facts),
            // What was told changes nothing that events are labelled by.
            Teller::Timer => (row.told_ms, row.version) = (facts.expires_ms, before.version),
            Teller::InForce => {}
        }
        let is_there = !row.is_empty();
        // The row may borrow from the layer that it goes to.
        let mut alone = Layer::default();
        if alone.put(&row).is_err() {
            return;
        }
        let put = alone.find(hashed, is_it).is_some_and(|row| self.newer.put(&row.row()).is_ok());
        if !put {
            self.beyond += 1;
            return;
        }
        self.written += 1;
        self.len = self.len + usize::from(is_there) - usize::from(was_there);
        if self.written > SMALL.max(self.older.len() / 8) {
            self.merge();
        }
    }

    /// Takes in a record without a value at `offset`, whose key is that of a [record](LinkRecord::key): what its
    /// teller said of its link was erased. The catalogue is then as if that had never been said, as it is once the
    /// topic was compacted.
    pub fn erase(&mut self, offset: u64, key: &str) {
        self.next = offset + 1;
        let Some((teller, link)) = key.split_once(' ') else { return };
        let (hashed, is_it) = (hash("", link), |name: &[u8]| name == link.as_bytes());
        let known = self.newer.find(hashed, is_it).or_else(|| self.older.find(hashed, is_it));
        let Some(before) = known.map(|row| row.row()) else { return };
        let was_there = !before.is_empty();
        let mut row = Row { version: offset + 1, ..before };
        match Teller::from_name(teller) {
            Some(Teller::List) => row.list = None,
            Some(Teller::Platform) => row.platform = None,
            Some(Teller::Timer) => (row.told_ms, row.version) = (None, before.version),
            Some(Teller::InForce) | None => return,
        }
        let is_there = !row.is_empty();
        let mut alone = Layer::default();
        if alone.put(&row).is_err() {
            return;
        }
        if alone.find(hashed, is_it).is_some_and(|row| self.newer.put(&row.row()).is_ok()) {
            self.written += 1;
            self.len = self.len + usize::from(is_there) - usize::from(was_there);
        }
    }

    /// Takes note that there is nothing more below `next`.
    pub fn read_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// The catalogue as it is now. It costs a copy of what is newer than the last merge.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        let newer = Arc::new(self.newer.clone());
        Catalogue { version: self.next, len: self.len, newer, older: Arc::clone(&self.older) }
    }

    fn merge(&mut self) {
        let mut merged = Layer::default();
        let newer = std::mem::take(&mut self.newer);
        let is_newer = |name: &str| newer.find(hash("", name), |found| found == name.as_bytes()).is_some();
        let kept = self.older.iter().filter(|row| !is_newer(row.name()));
        for row in kept.chain(newer.iter()) {
            let row = row.row();
            if (!row.is_empty() || row.told_ms.is_some()) && merged.put(&row).is_err() {
                self.beyond += 1;
            }
        }
        merged.finish();
        self.older = Arc::new(merged);
        self.written = 0;
    }
}

impl Catalogue {
    /// The expiries that are to be told up to `now_ms` (milliseconds since 1970), oldest first, at most `most`, and
    /// when the next one after them is.
    #[must_use]
    pub fn due(&self, now_ms: i64, most: usize) -> (Vec<Due>, Option<i64>) {
        let (mut due, mut next) = (Vec::new(), None::<i64>);
        for link in self.links() {
            let Some((expires_ms, tell_ms)) = link.untold() else { continue };
            if tell_ms <= now_ms {
                due.push(Due { link: link.name().to_owned(), expires_ms, tell_ms, is_other_name: false });
            } else {
                next = Some(next.map_or(tell_ms, |next| next.min(tell_ms)));
            }
        }
        due.sort_by(|a, b| (a.tell_ms, &a.link).cmp(&(b.tell_ms, &b.link)));
        if due.len() > most {
            next = due.get(most).map(|due| due.tell_ms);
            due.truncate(most);
        }
        self.mark_other_names(&mut due);
        (due, next)
    }

    /// An event of a platform that names both the id of its link and its `domain/slug` says the same of both, at the
    /// same moment.
    fn mark_other_names(&self, due: &mut [Due]) {
        let is_id = |due: &Due| !due.link.contains('/');
        if !due.iter().any(is_id) {
            return;
        }
        let platform_of = |link: Link<'_>| link.platform().map(|facts| (facts.at, facts.expires_ms));
        let of_slugs = self.links().filter(|link| link.name().contains('/'));
        let mut by_moment: HashMap<_, Vec<Link<'_>>> = HashMap::new();
        for link in of_slugs {
            if let Some(moment) = platform_of(link) {
                by_moment.entry(moment).or_default().push(link);
            }
        }
        for due in due.iter_mut().filter(|due| is_id(due)) {
            let Some(own) = self.named("", &due.link) else { continue };
            let Some(facts) = own.platform().filter(|_| own.list().is_none()) else { continue };
            let same = by_moment.get(&(facts.at, facts.expires_ms)).map(Vec::as_slice).unwrap_or_default();
            due.is_other_name =
                same.iter().any(|link| link.platform().is_some_and(|other| other.says_the_same(&facts)));
        }
    }

    /// The records that make of the list of this catalogue, which is that of the topic, the list of another one, which
    /// was read from a file: one for each link that is new, another or gone. None if it is the same list.
    pub fn changes<'c>(&'c self, list: &'c Catalogue) -> impl Iterator<Item = LinkRecord<'c>> {
        let written = list.links().filter_map(|link| {
            let facts = link.list()?;
            let name = link.name();
            let known = self.named("", name).and_then(|known| known.list());
            let same = known.is_some_and(|known| known.says_the_same(&facts));
            (!same).then(|| facts.record(Teller::List, name))
        });
        let gone = self.links().filter(|link| link.list().is_some() && list.named("", link.name()).is_none());
        let removed = gone.map(|link: Link<'c>| LinkRecord {
            teller: Teller::List,
            link: link.name().into(),
            removed: true,
            ..LinkRecord::default()
        });
        written.chain(removed)
    }
}
