//! Links in memory: one arena of rows, found by a hash of their name.
//!
//! A look-up is what it costs to reach memory that is in no cache: one line of the table, and the row, which has its
//! texts or the numbers of texts that many rows share. Texts that are nearly always another one (contact, deal) stand
//! in the row itself. A row that changes is written anew at the end of the arena.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use hashbrown::{DefaultHashBuilder, HashTable};
use memmap2::{Advice, MmapMut};

use super::{Column, FIELDS, Facts};

/// Bits of a part beside those of its fields.
const EXPIRES: u64 = 1 << FIELDS;
const DELETED: u64 = 1 << (FIELDS + 1);
const EXPIRED: u64 = 1 << (FIELDS + 2);
const AT: u64 = 1 << (FIELDS + 3);
/// What a row has beside its name.
const LIST: u64 = 1;
const PLATFORM: u64 = 2;
const TOLD: u64 = 4;

/// From this size on, memory is worth huge pages: a search that misses the caches should not miss the page tables too.
const HUGE: usize = 4 << 20;
/// The places of a table that is made first.
const FIRST_PLACES: usize = 16;

/// Keyed anew in each process: names come from outside. Nothing that is stored depends on it.
static HASHES: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// The hash of a link's name, `domain/slug`, or of an id without a domain. A name as a whole, `domain/slug` without a
/// domain beside it, has the same one.
#[inline]
pub(super) fn hash(domain: &str, slug: &str) -> u64 {
    let (domain, slug) = match domain {
        "" => slug.split_once('/').unwrap_or(("", slug)),
        // Names are cut at their first slash.
        domain if domain.as_bytes().contains(&b'/') => return hash("", &format!("{domain}/{slug}")),
        domain => (domain, slug),
    };
    let mut hasher = HASHES.build_hasher();
    hasher.write(domain.as_bytes());
    hasher.write(slug.as_bytes());
    hasher.finish()
}

/// Whether a name is `domain/slug`, or the id `slug` where the domain is empty.
pub(super) fn is_named(name: &[u8], domain: &str, slug: &str) -> bool {
    if domain.is_empty() {
        return name == slug.as_bytes();
    }
    name.len() == domain.len() + 1 + slug.len()
        && name.starts_with(domain.as_bytes())
        && name.get(domain.len()) == Some(&b'/')
        && name.ends_with(slug.as_bytes())
}

/// All that is known of one link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    /// One past the offset of the newest record about it; 0: the row came from a file.
    pub(super) version: u64,
    pub(super) list: Option<Facts<'a>>,
    pub(super) platform: Option<Facts<'a>>,
    /// The expiry that was told as an event, in milliseconds since 1970.
    pub(super) told_ms: Option<i64>,
}

impl Row<'_> {
    /// Whether nothing is said of it any more.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_none() && self.platform.is_none()
    }
}

/// A row as it stands in the arena.
#[derive(Clone, Copy)]
pub(super) struct RowRef<'l> {
    layer: &'l Layer,
    name: &'l [u8],
    pub(super) version: u64,
    /// What comes after the name.
    rest: &'l [u8],
}

impl<'l> RowRef<'l> {
    /// Its name.
    pub(super) fn name(&self) -> &'l str {
        str::from_utf8(self.name).unwrap_or_default()
    }

    /// Whether nothing is said of it any more.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.first().is_none_or(|has| u64::from(*has) & (LIST | PLATFORM) == 0)
    }

    /// The whole row.
    pub(super) fn row(&self) -> Row<'l> {
        let mut rest = self.rest;
        let has = number(&mut rest);
        let list = (has & LIST != 0).then(|| self.layer.part(&mut rest));
        let platform = (has & PLATFORM != 0).then(|| self.layer.part(&mut rest));
        let told_ms = (has & TOLD != 0).then(|| signed(&mut rest));
        Row { name: self.name(), version: self.version, list, platform, told_ms }
    }
}

/// Bytes that grow, and that are moved to huge pages once they do not any more.
enum Bytes {
    Growing(Vec<u8>),
    Fixed(MmapMut, usize),
}

impl Bytes {
    fn growing(&mut self) -> &mut Vec<u8> {
        loop {
            match self {
                Self::Growing(bytes) => return bytes,
                Self::Fixed(..) => *self = Self::Growing(self.to_vec()),
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Growing(bytes) => bytes.capacity(),
            Self::Fixed(memory, _) => memory.len(),
        }
    }

    /// Moves large ones to huge pages. Where the system has none, they stay where they are.
    fn fix(&mut self) {
        let Self::Growing(bytes) = self else { return };
        bytes.shrink_to_fit();
        if bytes.len() < HUGE {
            return;
        }
        if let Ok(mut memory) = MmapMut::map_anon(bytes.len()) {
            // A kernel without huge pages says so, and nothing is lost by that.
            let _ = memory.advise(Advice::HugePage);
            if let Some(place) = memory.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
                let len = bytes.len();
                *self = Self::Fixed(memory, len);
            }
        }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Growing(bytes) => bytes,
            Self::Fixed(memory, len) => memory.get(..*len).unwrap_or_default(),
        }
    }
}

impl Clone for Bytes {
    fn clone(&self) -> Self {
        Self::Growing(self.to_vec())
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Growing(Vec::new())
    }
}

/// Rows and the texts that they share.
#[derive(Clone, Default)]
pub(super) struct Layer {
    rows: Bytes,
    /// Places of eight bytes: the upper half of a hash and one past the place of its row; 0 is free. How many there are
    /// is a power of two.
    table: Bytes,
    used: usize,
    /// Where each shared text ends in `texts`; the text number 0 is the empty one.
    ends: Vec<u32>,
    texts: String,
    /// Numbers of shared texts by their hash, while rows are still added.
    known: HashTable<u32>,
}

impl Layer {
    /// How many names it has.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The bytes that it keeps in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes()
            + self.table.memory_bytes()
            + self.texts.capacity()
            + (self.ends.capacity() + self.known.capacity() * 8 / 7) * size_of::<u32>()
    }

    /// Nothing is added any more.
    pub(super) fn finish(&mut self) {
        self.known = HashTable::new();
        self.rows.fix();
        self.table.fix();
        self.texts.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// The row of a hash for whose name `is_it` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&[u8]) -> bool) -> Option<RowRef<'_>> {
        let table = self.places();
        let mask = table.len().checked_sub(1)?;
        let tag = hash >> 32;
        let mut place = tag as usize & mask;
        // The table is never full, so that the loop meets a free place.
        while let Some(entry) = table.get(place).map(|entry| u64::from_ne_bytes(*entry)).filter(|entry| *entry != 0) {
            if entry >> 32 == tag {
                let row = self.at(entry);
                if is_it(row.name) {
                    return Some(row);
                }
            }
            place = (place + 1) & mask;
        }
        None
    }

    /// Each row, the newest of its name.
    pub(super) fn iter(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.places()
            .iter()
            .map(|entry| u64::from_ne_bytes(*entry))
            .filter(|entry| *entry != 0)
            .map(|entry| self.at(entry))
    }

    /// Where the row of a hash may begin, for [`Layer::touch`]; 0 when there is none.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> usize {
        let table = self.places();
        let place = (hash >> 32) as usize & table.len().wrapping_sub(1);
        table.get(place).map_or(0, |entry| u64::from_ne_bytes(*entry) as u32 as usize)
    }

    /// Brings the beginning of a row into the cache. A loop over this for many rows overlaps their misses, which is as
    /// good as a prefetch instruction and needs no unsafe code.
    #[inline]
    pub(super) fn touch(&self, guessed: usize) {
        std::hint::black_box(self.rows.get(guessed).copied());
    }

    fn places(&self) -> &[[u8; 8]] {
        self.table.as_chunks().0
    }

    /// Writes a row; one of the same name gives way.
    ///
    /// # Errors
    /// When its texts would take over 4 GB.
    pub(super) fn put(&mut self, row: &Row<'_>) -> Result<(), Full> {
        const SPARE: usize = 64 * 1024;
        if self.rows.len().max(self.texts.len()) > u32::MAX as usize - SPARE {
            return Err(Full);
        }
        if self.table.is_empty() || (self.used + 1) * 8 > self.places().len() * 5 {
            self.grow();
        }
        if self.ends.is_empty() {
            self.ends.push(0);
        }
        let offset = self.rows.len() as u64 + 1;
        self.write(row);
        let tag = hash("", row.name) >> 32;
        let mask = self.places().len() - 1;
        let mut place = tag as usize & mask;
        loop {
            let entry = self.places().get(place).map_or(0, |entry| u64::from_ne_bytes(*entry));
            let is_free = entry == 0;
            if is_free || (entry >> 32 == tag && self.at(entry).name == row.name.as_bytes()) {
                self.used += usize::from(is_free);
                if let Some(entry) = self.table.growing().as_chunks_mut::<8>().0.get_mut(place) {
                    *entry = ((tag << 32) | offset).to_ne_bytes();
                }
                return Ok(());
            }
            place = (place + 1) & mask;
        }
    }

    fn at(&self, entry: u64) -> RowRef<'_> {
        let from = (entry as u32 as usize).saturating_sub(1);
        let mut rest = self.rows.get(from..).unwrap_or_default();
        let version = number(&mut rest);
        let name = text(&mut rest);
        RowRef { layer: self, name, version, rest }
    }

    fn grow(&mut self) {
        let places = (self.places().len() * 2).max(FIRST_PLACES);
        let mask = places - 1;
        let mut grown = vec![0_u8; places * 8];
        let table = grown.as_chunks_mut::<8>().0;
        for entry in self.places().iter().filter(|entry| **entry != [0; 8]) {
            let mut place = (u64::from_ne_bytes(*entry) >> 32) as usize & mask;
            while table.get(place).is_some_and(|taken| *taken != [0; 8]) {
                place = (place + 1) & mask;
            }
            if let Some(free) = table.get_mut(place) {
                *free = *entry;
            }
        }
        self.table = Bytes::Growing(grown);
    }

    fn write(&mut self, row: &Row<'_>) {
        write_number(self.rows.growing(), row.version);
        write_text(self.rows.growing(), row.name);
        let has = u64::from(row.list.is_some()) * LIST
            + u64::from(row.platform.is_some()) * PLATFORM
            + u64::from(row.told_ms.is_some()) * TOLD;
        write_number(self.rows.growing(), has);
        for facts in [&row.list, &row.platform].into_iter().flatten() {
            self.write_part(facts);
        }
        if let Some(told_ms) = row.told_ms {
            write_signed(self.rows.growing(), told_ms);
        }
    }

    fn write_part(&mut self, facts: &Facts<'_>) {
        let mut has = 0_u64;
        for (field, text) in facts.fields.iter().enumerate() {
            has |= u64::from(!text.is_empty()) << field;
        }
        has |= if facts.expires_ms.is_some() { EXPIRES } else { 0 };
        has |= if facts.deleted_ms.is_some() { DELETED } else { 0 };
        has |= if facts.expired { EXPIRED } else { 0 };
        has |= if facts.at != 0 { AT } else { 0 };
        write_number(self.rows.growing(), has);
        for (field, text) in facts.fields.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            if stands_in_row(field) {
                write_text(self.rows.growing(), text);
            } else {
                let number = self.number(text);
                write_number(self.rows.growing(), u64::from(number));
            }
        }
        if let Some(expires_ms) = facts.expires_ms {
            write_signed(self.rows.growing(), expires_ms);
            write_signed(self.rows.growing(), facts.known_ms);
        }
        if let Some(deleted_ms) = facts.deleted_ms {
            write_signed(self.rows.growing(), deleted_ms);
        }
        if facts.at != 0 {
            write_signed(self.rows.growing(), facts.at);
        }
    }

    fn part<'l>(&'l self, rest: &mut &'l [u8]) -> Facts<'l> {
        let has = number(rest);
        let mut facts = Facts { expired: has & EXPIRED != 0, ..Facts::default() };
        let mut left = has & (EXPIRES - 1);
        while left != 0 {
            let field = left.trailing_zeros() as usize;
            left &= left - 1;
            let said = if stands_in_row(field) {
                str::from_utf8(text(rest)).unwrap_or_default()
            } else {
                self.shared(number(rest))
            };
            if let Some(place) = facts.fields.get_mut(field) {
                *place = said;
            }
        }
        if has & EXPIRES != 0 {
            facts.expires_ms = Some(signed(rest));
            facts.known_ms = signed(rest);
        }
        if has & DELETED != 0 {
            facts.deleted_ms = Some(signed(rest));
        }
        if has & AT != 0 {
            facts.at = signed(rest);
        }
        facts
    }

    fn shared(&self, number: u64) -> &str {
        let number = number as usize;
        let from = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let to = self.ends.get(number).copied().unwrap_or(0);
        self.texts.get(from as usize..to as usize).unwrap_or_default()
    }

    /// The number of a shared text.
    fn number(&mut self, text: &str) -> u32 {
        let hashed = hash("", text);
        let Self { ends, texts, known, .. } = self;
        let shared = |number: u32| {
            let from = ends.get((number as usize).wrapping_sub(1)).copied().unwrap_or(0);
            let to = ends.get(number as usize).copied().unwrap_or(0);
            texts.get(from as usize..to as usize).unwrap_or_default()
        };
        if let Some(number) = known.find(hashed, |number| shared(*number) == text) {
            return *number;
        }
        let number = ends.len() as u32;
        known.insert_unique(hashed, number, |number| hash("", shared(*number)));
        texts.push_str(text);
        ends.push(texts.len() as u32);
        number
    }
}

/// The rows of a layer take over 4 GB.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Whether a field stands in the row: nearly each row has another one.
fn stands_in_row(field: usize) -> bool {
    field == Column::Contact as usize || field == Column::Deal as usize
}

fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn write_signed(to: &mut Vec<u8>, number: i64) {
    write_number(to, ((number << 1) ^ (number >> 63)) as u64);
}

fn write_text(to: &mut Vec<u8>, text: &str) {
    write_number(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

fn number(rest: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0_u64, 0);
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        number |= u64::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 63 {
            break;
        }
    }
    number
}

fn signed(rest: &mut &[u8]) -> i64 {
    let number = number(rest);
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn text<'l>(rest: &mut &'l [u8]) -> &'l [u8] {
    let len = (number(rest) as usize).min(rest.len());
    let (text, after) = rest.split_at(len);
    *rest = after;
    text
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn a_name_has_one_hash_however_it_is_given() {
        for (domain, slug) in [("go.example.com", "a"), ("go.example.com", "a/b"), ("a/b", "c"), ("", "l_1"), ("a", "")]
        {
            let name = if domain.is_empty() { slug.to_owned() } else { format!("{domain}/{slug}") };
            assert_eq!(hash(domain, slug), hash("", &name), "{name}");
        }
        assert_ne!(hash("go.example.com", "a"), hash("go.example.com", "b"));
    }
}
