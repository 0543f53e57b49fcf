//! Columns of a block and their bytes in ClickHouse's Native format.
//!
//! Own code because the format is the engine's biggest cost: dictionaries made here halve what ClickHouse spends on a row, and the
//! client's own native writer costs ten times this one. The engine itself is the library that it is held against
//! (`tests/pipeline/warehouse_blocks.rs`): what it reads back equals what went in.
//!
//! A block is: number of columns, number of rows, then for each column its name, its type and its data. Numbers of that
//! header and lengths of texts are LEB128. There is no further framing when the client speaks revision 0, as over HTTP.

use std::hash::BuildHasher;

use event::avro::Column;
use event::{Kind, Value};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::WarehouseError;

/// The type of a column of a kind. [`Kind::Unstored`] has none.
pub(crate) fn type_name(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Low => "LowCardinality(String)",
        Kind::Text => "String",
        Kind::Time => "DateTime64(3, 'UTC')",
        Kind::Unsigned => "UInt64",
        Kind::Signed => "Int64",
        Kind::Short => "UInt16",
        Kind::Flag => "Bool",
        Kind::Country => "FixedString(2)",
        Kind::Pairs => "Map(LowCardinality(String), String)",
        Kind::Names => "Array(LowCardinality(String))",
        Kind::Unstored => return None,
    })
}

/// The stored columns of a record.
pub(crate) fn stored(columns: &'static [Column]) -> impl Iterator<Item = (&'static Column, &'static str)> {
    columns.iter().filter_map(|column| type_name(column.kind).map(|type_name| (column, type_name)))
}

/// Texts one after the other, each behind its length, as the format wants them.
#[derive(Debug, Clone, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Where each text's length starts, and where the text itself does.
    starts: Vec<(usize, usize)>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        write_length(text.len(), &mut self.bytes);
        self.starts.push((start, self.bytes.len()));
        self.bytes.extend_from_slice(text);
    }

    fn end(&self, row: usize) -> usize {
        self.starts.get(row + 1).map_or(self.bytes.len(), |next| next.0)
    }

    fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.starts[row].1..self.end(row)]
    }

    fn take(&self, rows: impl Iterator<Item = usize>) -> Self {
        let mut taken = Self::default();
        rows.for_each(|row| taken.push(self.get(row)));
        taken
    }
}

/// `LowCardinality(String)`: each distinct text once, and a key a row.
#[derive(Debug, Clone, Default)]
struct Low {
    dictionary: Texts,
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    keys: Vec<u32>,
}

/// "The index type is in the low byte": the dictionary travels with the block, as additional keys.
const HAS_ADDITIONAL_KEYS: u64 = 1 << 9;
/// The reader forgets the dictionary of the block before.
const NEW_DICTIONARY: u64 = 1 << 10;
/// The serialisation's version: a shared dictionary with additional keys.
const LOW_CARDINALITY_VERSION: u64 = 1;

impl Low {
    #[inline]
    fn push(&mut self, text: &[u8]) {
        // Neighbours are often equal (an empty campaign, one source): no need to hash then.
        if let Some(last) = self.keys.last().copied()
            && self.dictionary.get(last as usize) == text
        {
            self.keys.push(last);
            return;
        }
        let hash = self.hasher.hash_one(text);
        let dictionary = &self.dictionary;
        let key = match self.places.find(hash, |key| dictionary.get(*key as usize) == text) {
            Some(key) => *key,
            None => {
                let key = dictionary.starts.len() as u32;
                let hasher = &self.hasher;
                self.places.insert_unique(hash, key, |key| hasher.hash_one(dictionary.get(*key as usize)));
                self.dictionary.push(text);
                key
            }
        };
        self.keys.push(key);
    }

    /// The state that stands before everything else in a column.
    fn write_prefix(out: &mut Vec<u8>) {
        out.extend_from_slice(&LOW_CARDINALITY_VERSION.to_le_bytes());
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.keys.is_empty() {
            return;
        }
        let size = self.dictionary.starts.len();
        let width = match size {
            0..=0x100 => 0u64,
            0x101..=0x1_0000 => 1,
            _ => 2,
        };
        out.extend_from_slice(&(width | HAS_ADDITIONAL_KEYS | NEW_DICTIONARY).to_le_bytes());
        out.extend_from_slice(&(size as u64).to_le_bytes());
        out.extend_from_slice(&self.dictionary.bytes);
        out.extend_from_slice(&(self.keys.len() as u64).to_le_bytes());
        match width {
            0 => out.extend(self.keys.iter().map(|key| *key as u8)),
            1 => self.keys.iter().for_each(|key| out.extend_from_slice(&(*key as u16).to_le_bytes())),
            _ => self.keys.iter().for_each(|key| out.extend_from_slice(&key.to_le_bytes())),
        }
    }

    fn take(&self, rows: impl Iterator<Item = usize>) -> Self {
        let mut taken = Self::default();
        rows.for_each(|row| taken.push(self.dictionary.get(self.keys[row] as usize)));
        taken
    }
}

/// Where the entries of each row end, for arrays and maps.
fn entries(ends: &[u64], row: usize) -> std::ops::Range<usize> {
    let start = if row == 0 { 0 } else { ends[row - 1] as usize };
    start..ends[row] as usize
}

#[derive(Debug, Clone)]
enum Buffer {
    Fixed { width: usize, bytes: Vec<u8> },
    Text(Texts),
    Low(Low),
    Names { ends: Vec<u64>, names: Low },
    Pairs { ends: Vec<u64>, names: Low, values: Texts },
}

impl Buffer {
    fn new(kind: Kind) -> Self {
        let fixed = |width| Self::Fixed { width, bytes: Vec::new() };
        match kind {
            Kind::Low => Self::Low(Low::default()),
            Kind::Text | Kind::Unstored => Self::Text(Texts::default()),
            Kind::Time | Kind::Unsigned | Kind::Signed => fixed(8),
            Kind::Short | Kind::Country => fixed(2),
            Kind::Flag => fixed(1),
            Kind::Names => Self::Names { ends: Vec::new(), names: Low::default() },
            Kind::Pairs => Self::Pairs { ends: Vec::new(), names: Low::default(), values: Texts::default() },
        }
    }

    /// Appends a value; `false` when the column cannot hold it.
    #[inline]
    fn push(&mut self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Low(low), Value::Text(text)) => low.push(text.as_bytes()),
            (Self::Text(texts), Value::Text(text)) => texts.push(text.as_bytes()),
            // Two letters, or two zero bytes: anything else is no country, and unknown.
            (Self::Fixed { width: 2, bytes }, Value::Text(text)) => bytes.extend_from_slice(match text.as_bytes() {
                [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => text.as_bytes(),
                _ => &[0; 2],
            }),
            (Self::Fixed { width: 8, bytes }, Value::Time(number) | Value::Signed(number)) => {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            (Self::Fixed { width: 8, bytes }, Value::Unsigned(number)) => {
                bytes.extend_from_slice(&number.to_le_bytes())
            }
            (Self::Fixed { width: 2, bytes }, Value::Short(number)) => bytes.extend_from_slice(&number.to_le_bytes()),
            (Self::Fixed { width: 1, bytes }, Value::Flag(flag)) => bytes.push(u8::from(flag)),
            (Self::Names { ends, names }, Value::Names(list)) => {
                list.iter().for_each(|name| names.push(name.as_bytes()));
                ends.push(names.keys.len() as u64);
            }
            (Self::Pairs { ends, names, values }, Value::Pairs(pairs)) => {
                for (name, value) in pairs {
                    names.push(name.as_bytes());
                    values.push(value.as_bytes());
                }
                ends.push(names.keys.len() as u64);
            }
            _ => return false,
        }
        true
    }

    fn write(&self, out: &mut Vec<u8>) {
        let write_ends = |ends: &[u64], out: &mut Vec<u8>| {
            ends.iter().for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
        };
        match self {
            Self::Fixed { bytes, .. } => out.extend_from_slice(bytes),
            Self::Text(texts) => out.extend_from_slice(&texts.bytes),
            Self::Low(low) => {
                Low::write_prefix(out);
                low.write(out);
            }
            Self::Names { ends, names } => {
                Low::write_prefix(out);
                write_ends(ends, out);
                names.write(out);
            }
            Self::Pairs { ends, names, values } => {
                Low::write_prefix(out);
                write_ends(ends, out);
                names.write(out);
                out.extend_from_slice(&values.bytes);
            }
        }
    }

    fn take(&self, rows: &[usize]) -> Self {
        let all = |ends: &[u64]| -> (Vec<u64>, Vec<usize>) {
            let mut taken = Vec::with_capacity(rows.len());
            let mut places = Vec::new();
            for row in rows {
                places.extend(entries(ends, *row));
                taken.push(places.len() as u64);
            }
            (taken, places)
        };
        match self {
            Self::Fixed { width, bytes } => Self::Fixed {
                width: *width,
                bytes: rows.iter().flat_map(|row| &bytes[row * width..(row + 1) * width]).copied().collect(),
            },
            Self::Text(texts) => Self::Text(texts.take(rows.iter().copied())),
            Self::Low(low) => Self::Low(low.take(rows.iter().copied())),
            Self::Names { ends, names } => {
                let (ends, places) = all(ends);
                Self::Names { ends, names: names.take(places.into_iter()) }
            }
            Self::Pairs { ends, names, values } => {
                let (ends, places) = all(ends);
                Self::Pairs { ends, names: names.take(places.iter().copied()), values: values.take(places.into_iter()) }
            }
        }
    }

    fn bytes(&self) -> usize {
        let low = |low: &Low| low.dictionary.bytes.len() + 4 * low.keys.len();
        match self {
            Self::Fixed { bytes, .. } => bytes.len(),
            Self::Text(texts) => texts.bytes.len(),
            Self::Low(column) => low(column),
            Self::Names { ends, names } => 8 * ends.len() + low(names),
            Self::Pairs { ends, names, values } => 8 * ends.len() + low(names) + values.bytes.len(),
        }
    }
}

/// The columns of a block while rows are added.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    heads: Vec<(&'static str, &'static str)>,
    buffers: Vec<Buffer>,
    rows: usize,
}

/// A column whose value is the same in every row of a block.
#[derive(Debug, Clone)]
pub(crate) struct Constant<'c> {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its value; texts are `LowCardinality(String)`.
    pub(crate) value: Value<'c>,
}

impl Columns {
    /// No rows yet.
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        let (heads, buffers) =
            stored(columns).map(|(column, name)| ((column.name, name), Buffer::new(column.kind))).unzip();
        Self { heads, buffers, rows: 0 }
    }

    /// Starts a row, to be filled in the order of the columns.
    #[inline]
    pub(crate) fn row(&mut self) -> RowWriter<'_> {
        self.rows += 1;
        RowWriter { heads: &self.heads, buffers: self.buffers.iter_mut(), next: 0, wrong: None }
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes the block will have.
    pub(crate) fn bytes(&self) -> usize {
        self.buffers.iter().map(Buffer::bytes).sum()
    }

    /// These rows, in this order.
    pub(crate) fn take(&self, rows: &[usize]) -> Self {
        Self {
            heads: self.heads.clone(),
            buffers: self.buffers.iter().map(|buffer| buffer.take(rows)).collect(),
            rows: rows.len(),
        }
    }

    /// The names of the columns, for the INSERT.
    pub(crate) fn names(&self, constants: &[Constant<'_>]) -> String {
        let heads = self.heads.iter().map(|(name, _)| *name);
        heads
            .chain(constants.iter().map(|constant| constant.name))
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The block's bytes: a pure function of the rows and the constants.
    ///
    /// # Errors
    /// When a constant has a shape that no column has.
    pub(crate) fn native(&self, constants: &[Constant<'_>]) -> Result<Vec<u8>, WarehouseError> {
        let mut out = Vec::with_capacity(self.bytes() + 64 * self.heads.len() + 32 * self.rows);
        write_length(self.heads.len() + constants.len(), &mut out);
        write_length(self.rows, &mut out);
        for ((name, type_name), buffer) in self.heads.iter().zip(&self.buffers) {
            write_head(name, type_name, &mut out);
            if self.rows > 0 {
                buffer.write(&mut out);
            }
        }
        for Constant { name, value } in constants {
            let kind = match value {
                Value::Text(_) => Kind::Low,
                Value::Short(_) => Kind::Short,
                Value::Unsigned(_) => Kind::Unsigned,
                Value::Time(_) => Kind::Time,
                _ => return Err(WarehouseError::ColumnShape { column: name, value: format!("{value:?}") }),
            };
            let mut buffer = Buffer::new(kind);
            (0..self.rows).for_each(|_| {
                buffer.push(*value);
            });
            write_head(name, type_name(kind).unwrap_or_default(), &mut out);
            if self.rows > 0 {
                buffer.write(&mut out);
            }
        }
        Ok(out)
    }
}

/// One row on its way into the columns.
pub(crate) struct RowWriter<'c> {
    heads: &'c [(&'static str, &'static str)],
    buffers: std::slice::IterMut<'c, Buffer>,
    next: usize,
    wrong: Option<WarehouseError>,
}

impl RowWriter<'_> {
    /// Adds the value of the next column.
    #[inline]
    pub(crate) fn push(&mut self, value: Value<'_>) {
        if !self.buffers.next().is_some_and(|buffer| buffer.push(value)) && self.wrong.is_none() {
            let column = self.heads.get(self.next).map_or("(one too many)", |head| head.0);
            self.wrong = Some(WarehouseError::ColumnShape { column, value: format!("{value:?}") });
        }
        self.next += 1;
    }

    /// Ends the row.
    ///
    /// # Errors
    /// When a value did not have its column's shape. The row is then half written: the columns are of no use any more.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), WarehouseError> {
        self.wrong.map_or(Ok(()), Err)
    }
}

fn write_head(name: &str, type_name: &str, out: &mut Vec<u8>) {
    for text in [name, type_name] {
        write_length(text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use event::{Alert, Delivery, LinkEvent, Map};

    use super::*;

    fn events() -> Vec<LinkEvent<'static>> {
        (0..300u64)
            .map(|n| LinkEvent {
                campaign: format!("c{}", n % 270).into(),
                extra: Map((0..n % 3).map(|m| (format!("k{m}").into(), format!("v{n}").into())).collect()),
                trace: (0..n % 4).map(|m| format!("t{m}").into()).collect(),
                country: if n % 2 == 0 { "DE".into() } else { "".into() },
                raw_offset: n,
                ..LinkEvent::default()
            })
            .collect()
    }

    fn columns<'e>(events: impl IntoIterator<Item = &'e LinkEvent<'static>>) -> Columns {
        let mut columns = Columns::new(LinkEvent::COLUMNS);
        for event in events {
            let mut row = columns.row();
            event.visit(|value| row.push(value));
            row.finish().unwrap();
        }
        columns
    }

    #[test]
    fn every_declared_field_fits_its_column() {
        columns(&[LinkEvent::default()]);
        let mut columns = Columns::new(Alert::COLUMNS);
        let mut row = columns.row();
        Alert::default().visit(|value| row.push(value));
        row.finish().unwrap();
        let mut columns = Columns::new(Delivery::COLUMNS);
        let mut row = columns.row();
        Delivery::default().visit(|value| row.push(value));
        row.finish().unwrap();
    }

    #[test]
    fn a_value_of_another_shape_names_its_column() {
        let mut columns = Columns::new(LinkEvent::COLUMNS);
        let mut row = columns.row();
        row.push(Value::Flag(true));
        let error = row.finish().unwrap_err();
        assert!(matches!(error, WarehouseError::ColumnShape { column: "outcome", .. }), "{error}");
    }

    #[test]
    fn the_same_rows_are_the_same_bytes() {
        let events = events();
        assert_eq!(columns(&events).native(&[]).unwrap(), columns(&events).native(&[]).unwrap());
    }

    #[test]
    fn rows_that_are_taken_are_the_block_of_those_rows() {
        let events = events();
        let rows: Vec<usize> = (0..events.len()).filter(|row| row % 7 != 3).rev().collect();
        let taken = columns(&events).take(&rows).native(&[]).unwrap();
        assert_eq!(taken, columns(rows.iter().map(|row| &events[*row])).native(&[]).unwrap());
    }

    #[test]
    fn a_constant_stands_in_every_row() {
        let bytes = columns(&events()).native(&[Constant { name: "lane", value: Value::Short(513) }]).unwrap();
        let column = [&[4][..], b"lane", &[6], b"UInt16", &[1, 2].repeat(300)].concat();
        assert!(bytes.ends_with(&column));
        assert!(columns(&[]).native(&[Constant { name: "x", value: Value::Flag(true) }]).is_err());
    }
}
