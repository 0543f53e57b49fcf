//! Avro binary encoding for the few shapes that Hookline uses: no unions, no nulls, `''` and `0` mean unknown.
//!
//! Own code because it is in the hot path (an encode of the event costs a quarter of a microsecond here and three in a
//! general library); `tests/avro_library.rs` holds it to the `apache-avro` crate, byte for byte.

use std::borrow::Cow;

use thiserror::Error;

/// Why bytes are not the record that they should be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("the record ends early, at byte {0}")]
    Truncated(usize),
    /// A length, a number or a text is not what Avro allows there.
    #[error("{what} at byte {at} is not valid")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        at: usize,
    },
    /// Bytes are left after the last field.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
    /// The value does not start with the Confluent header.
    #[error("the value does not start with the Confluent wire format's magic byte and schema id")]
    NoHeader,
    /// The schema id is not one that this build knows for the topic.
    #[error(
        "schema id {0} is unknown here: upgrade the reader before the writers; if a registry gave the id, [registry] has to name that \
         registry, with the ids that it had (docs/operations.md)"
    )]
    UnknownSchema(u32),
}

/// A point in time, in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

/// A map from text to text, in the order in which it was filled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map<'a>(pub Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Map<'a> {
    /// The value under `key`, or `''`.
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// Adds an entry; an empty value says nothing and is left out.
    pub fn add(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((key.into(), value));
        }
    }
}

/// How a column rests in ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `LowCardinality(String)`: a name from a small set.
    Low,
    /// `String`.
    Text,
    /// `DateTime64(3, 'UTC')`.
    Time,
    /// `UInt64`.
    Unsigned,
    /// `Int64`.
    Signed,
    /// `UInt16`.
    Short,
    /// `Bool`.
    Flag,
    /// `FixedString(2)`: two letters, or two zero bytes when unknown.
    Country,
    /// `Map(LowCardinality(String), String)`.
    Pairs,
    /// `Array(LowCardinality(String))`.
    Names,
    /// On the topic only, not in ClickHouse.
    Unstored,
}

/// One column: a field of an Avro record as it rests in ClickHouse.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name, the same in Avro and in ClickHouse.
    pub name: &'static str,
    /// How it rests in ClickHouse.
    pub kind: Kind,
    /// What it means: the Avro `doc` and the ClickHouse `COMMENT`.
    pub doc: &'static str,
}

/// A field's value as a column writer sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'v> {
    /// Text, names and countries.
    Text(&'v str),
    /// Times, in milliseconds since 1970.
    Time(i64),
    /// Counters, offsets and hashes.
    Unsigned(u64),
    /// Amounts.
    Signed(i64),
    /// Small numbers.
    Short(u16),
    /// Yes or no.
    Flag(bool),
    /// A map's entries.
    Pairs(&'v [(Cow<'v, str>, Cow<'v, str>)]),
    /// A list of names.
    Names(&'v [Cow<'v, str>]),
    /// A shape that has no column.
    Unstored,
}

/// A type that can be a field of an Avro record.
pub trait Field<'a>: Sized {
    /// The Avro type, as JSON.
    fn schema() -> String;
    /// The default that lets a newer reader read older bytes, as JSON.
    fn default_json() -> &'static str;
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads the value, borrowing texts from the input.
    ///
    /// # Errors
    /// When the bytes are not such a value.
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError>;
    /// The value as a column writer sees it.
    fn value(&self) -> Value<'_> {
        Value::Unstored
    }
}

/// Entries of a block for which there is memory before they are read: its count is not to be believed.
const RESERVED: usize = 1_024;

/// A cursor over encoded bytes.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Says that the record ends here.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Truncated(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    fn long(&mut self) -> Result<i64, DecodeError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(DecodeError::Invalid { what: "a number", at: start })
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let invalid = DecodeError::Invalid { what: "a text", at };
        let Ok(length) = usize::try_from(self.long()?) else { return Err(invalid) };
        let end =
            self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(DecodeError::Truncated(at))?;
        let text = std::str::from_utf8(&self.bytes[self.at..end]).map_err(|_| invalid)?;
        self.at = end;
        Ok(text)
    }

    /// Reads the blocks of an array or a map: their entries.
    ///
    /// # Errors
    /// What `item` returns, or a broken block header.
    pub fn entries<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut entries = Vec::new();
        loop {
            let at = self.at;
            let mut count = self.long()?;
            if count < 0 {
                self.long()?; // The block's size in bytes, there for readers that skip.
                count = count.checked_neg().ok_or(DecodeError::Invalid { what: "a block count", at })?;
            }
            if count == 0 {
                return Ok(entries);
            }
            // An entry takes at least a byte, so a huge count ends as Truncated instead of as memory.
            entries.reserve(usize::try_from(count).unwrap_or(usize::MAX).min(RESERVED));
            for _ in 0..count {
                entries.push(item(self)?);
            }
        }
    }
}

fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn write_text(value: &str, out: &mut Vec<u8>) {
    write_long(value.len() as i64, out);
    out.extend_from_slice(value.as_bytes());
}

impl<'a> Field<'a> for Cow<'a, str> {
    fn schema() -> String {
        r#""string""#.into()
    }
    fn default_json() -> &'static str {
        r#""""#
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_text(self, out);
    }
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        input.text().map(Cow::Borrowed)
    }
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

/// Fields that Avro knows as `long` or `int`.
macro_rules! number_field {
    ($($type:ty, $schema:literal, $what:literal, $variant:ident($column:ty);)*) => {$(
        impl<'a> Field<'a> for $type {
            fn schema() -> String {
                $schema.into()
            }
            fn default_json() -> &'static str {
                "0"
            }
            fn write(&self, out: &mut Vec<u8>) {
                // An unsigned 64-bit value travels as its two's complement: Avro has no unsigned long.
                write_long(*self as i64, out);
            }
            fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
                let at = input.at;
                let number = input.long()?;
                let value = number as $type;
                if value as i64 == number { Ok(value) } else { Err(DecodeError::Invalid { what: $what, at }) }
            }
            fn value(&self) -> Value<'_> {
                Value::$variant(*self as $column)
            }
        }
    )*};
}

number_field! {
    u64, r#""long""#, "an unsigned number", Unsigned(u64);
    i64, r#""long""#, "a number", Signed(i64);
    u16, r#""int""#, "a small number", Short(u16);
}

impl<'a> Field<'a> for Millis {
    fn schema() -> String {
        r#"{"type":"long","logicalType":"timestamp-millis"}"#.into()
    }
    fn default_json() -> &'static str {
        "0"
    }
    fn write(&self, out: &mut Vec<u8>) {
        write_long(self.0, out);
    }
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        input.long().map(Millis)
    }
    fn value(&self) -> Value<'_> {
        Value::Time(self.0)
    }
}

impl<'a> Field<'a> for bool {
    fn schema() -> String {
        r#""boolean""#.into()
    }
    fn default_json() -> &'static str {
        "false"
    }
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let at = input.at;
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { what: "a boolean", at }),
        }
    }
    fn value(&self) -> Value<'_> {
        Value::Flag(*self)
    }
}

impl<'a> Field<'a> for Map<'a> {
    fn schema() -> String {
        r#"{"type":"map","values":"string"}"#.into()
    }
    fn default_json() -> &'static str {
        "{}"
    }
    fn write(&self, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            write_long(self.0.len() as i64, out);
            for (name, value) in &self.0 {
                write_text(name, out);
                write_text(value, out);
            }
        }
        out.push(0);
    }
    fn read(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let entry = |input: &mut Reader<'a>| Ok((Cow::Borrowed(input.text()?), Cow::Borrowed(input.text()?)));
        input.entries(entry).map(Self)
    }
    fn value(&self) -> Value<'_> {
        Value::Pairs(&self.0)
    }
}

/// Lists, of names ([`Kind::Names`]) or of records (topic only).
macro_rules! list_field {
    ($type:ty, $value:expr) => {
        impl<'a> $crate::avro::Field<'a> for Vec<$type> {
            fn schema() -> String {
                format!(r#"{{"type":"array","items":{}}}"#, <$type as $crate::avro::Field<'a>>::schema())
            }
            fn default_json() -> &'static str {
                "[]"
            }
            fn write(&self, out: &mut Vec<u8>) {
                if !self.is_empty() {
                    $crate::avro::Field::write(&(self.len() as i64), out);
                    for item in self {
                        $crate::avro::Field::write(item, out);
                    }
                }
                out.push(0);
            }
            fn read(input: &mut $crate::avro::Reader<'a>) -> Result<Self, $crate::avro::DecodeError> {
                input.entries($crate::avro::Field::read)
            }
            fn value(&self) -> $crate::avro::Value<'_> {
                let value: fn(&Self) -> $crate::avro::Value<'_> = $value;
                value(self)
            }
        }
    };
}
pub(crate) use list_field;

list_field!(Cow<'a, str>, |names| Value::Names(names));

impl Reader<'_> {
    /// The offset of the next byte, for error messages.
    pub fn position(&self) -> usize {
        self.at
    }
}

/// The Avro name of a Rust field: `r#type` is `type`.
pub const fn field_name(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
