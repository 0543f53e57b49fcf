//! `client_protocol_version`: the Native format as later revisions of the protocol write it.
//!
//! The library writes Native as revision 0. Some clients, clickhouse-go (so Grafana) among them, only read what a server
//! writes for their own revision: each block begins with a block info, and from revision 54454 on a byte behind each
//! column's type says whether its serialization is a special one. To put these in, the end of each column must be
//! found, so its type must be known; `Variant`, `Dynamic`, `JSON` and aggregate states are refused.

use super::exception::Exception;

/// `DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION` (`ProtocolDefines.h` of ClickHouse).
const WITH_CUSTOM_SERIALIZATION: u64 = 54454;
/// Field 1, overflows: no; field 2, bucket: -1, none; end.
const BLOCK_INFO: [u8; 8] = [1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];
/// Flags of a LowCardinality column: the width of its indexes, and that its dictionary follows.
const INDEX_WIDTH: u64 = 0xff;
const ADDITIONAL_KEYS: u64 = 1 << 9;

/// Rewrites whole blocks of revision 0 for a client of `revision`.
pub(crate) fn for_revision(blocks: &[u8], revision: u64) -> Result<Vec<u8>, Exception> {
    let mut out = Vec::with_capacity(blocks.len() + 64);
    let mut reader = Reader { bytes: blocks, at: 0 };
    while reader.at < blocks.len() {
        out.extend_from_slice(&BLOCK_INFO);
        let start = reader.at;
        let (columns, rows) = (reader.number()?, reader.number()?);
        out.extend_from_slice(&blocks[start..reader.at]);
        for _ in 0..columns {
            let start = reader.at;
            reader.text()?;
            let name = reader.text()?;
            let column = Type::parse(name)?;
            out.extend_from_slice(&blocks[start..reader.at]);
            if revision >= WITH_CUSTOM_SERIALIZATION {
                out.push(0);
            }
            let start = reader.at;
            if rows > 0 {
                column.skip_prefix(&mut reader)?;
                column.skip(&mut reader, rows)?;
            }
            out.extend_from_slice(&blocks[start..reader.at]);
        }
    }
    Ok(out)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], Exception> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or_else(cut)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn skip_rows(&mut self, rows: usize, width: usize) -> Result<(), Exception> {
        self.take(rows.checked_mul(width).ok_or_else(cut)?).map(drop)
    }

    /// LEB128, as ClickHouse writes lengths and counts.
    fn number(&mut self) -> Result<usize, Exception> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(cut())
    }

    fn text(&mut self) -> Result<&'b str, Exception> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| cut())
    }

    fn u64(&mut self) -> Result<u64, Exception> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }
}

fn cut() -> Exception {
    Exception::new(Exception::LOGICAL_ERROR, "the engine's Native blocks are not of the expected form")
}

/// What a type's data looks like in Native.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Type {
    /// So many bytes a row.
    Fixed(usize),
    String,
    Nullable(Box<Type>),
    Array(Box<Type>),
    Tuple(Vec<Type>),
    LowCardinality(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Result<Self, Exception> {
        let text = text.trim();
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => (name, split_arguments(rest.strip_suffix(')').ok_or_else(cut)?)),
            None => (text, Vec::new()),
        };
        let argument = |at: usize| arguments.get(at).copied().ok_or_else(cut);
        let inner = |at: usize| Self::parse(argument(at)?).map(Box::new);
        Ok(match name {
            "UInt8" | "Int8" | "Bool" | "Enum8" | "Nothing" => Self::Fixed(1),
            "UInt16" | "Int16" | "Date" | "Enum16" | "BFloat16" => Self::Fixed(2),
            "UInt32" | "Int32" | "Float32" | "Date32" | "DateTime" | "IPv4" | "Time" => Self::Fixed(4),
            "UInt64" | "Int64" | "Float64" | "DateTime64" | "Time64" => Self::Fixed(8),
            "UInt128" | "Int128" | "UUID" | "IPv6" => Self::Fixed(16),
            "UInt256" | "Int256" => Self::Fixed(32),
            "Decimal" => Self::Fixed(match argument(0)?.parse::<u32>().map_err(|_| cut())? {
                0..=9 => 4,
                10..=18 => 8,
                19..=38 => 16,
                _ => 32,
            }),
            "FixedString" => Self::Fixed(argument(0)?.parse().map_err(|_| cut())?),
            _ if name.starts_with("Interval") => Self::Fixed(8),
            "String" => Self::String,
            "Nullable" => Self::Nullable(inner(0)?),
            "Array" => Self::Array(inner(0)?),
            "LowCardinality" => Self::LowCardinality(inner(0)?),
            "Map" => Self::Array(Box::new(Self::Tuple(vec![*inner(0)?, *inner(1)?]))),
            "Tuple" => Self::Tuple(elements(&arguments)?),
            "Nested" => Self::Array(Box::new(Self::Tuple(elements(&arguments)?))),
            "SimpleAggregateFunction" => *inner(1)?,
            "Point" => Self::Tuple(vec![Self::Fixed(8), Self::Fixed(8)]),
            "Ring" | "LineString" => Self::Array(Box::new(Self::parse("Point")?)),
            "Polygon" | "MultiLineString" => Self::Array(Box::new(Self::parse("Ring")?)),
            "MultiPolygon" => Self::Array(Box::new(Self::parse("Polygon")?)),
            _ => {
                let what = format!("type {text} with a client_protocol_version other than 0 is not supported here");
                return Err(Exception::new(Exception::NOT_IMPLEMENTED, what));
            }
        })
    }

    /// Passes over what stands once before the data: the version of each LowCardinality.
    fn skip_prefix(&self, reader: &mut Reader<'_>) -> Result<(), Exception> {
        match self {
            Self::Fixed(_) | Self::String => Ok(()),
            Self::Nullable(inner) | Self::Array(inner) => inner.skip_prefix(reader),
            Self::Tuple(elements) => elements.iter().try_for_each(|element| element.skip_prefix(reader)),
            Self::LowCardinality(_) => reader.u64().map(drop),
        }
    }

    /// Passes over the data of `rows` rows.
    fn skip(&self, reader: &mut Reader<'_>, rows: usize) -> Result<(), Exception> {
        match self {
            Self::Fixed(width) => reader.skip_rows(rows, *width),
            Self::String => (0..rows).try_for_each(|_| {
                let length = reader.number()?;
                reader.take(length).map(drop)
            }),
            Self::Nullable(inner) => {
                reader.skip_rows(rows, 1)?;
                inner.skip(reader, rows)
            }
            Self::Array(inner) => {
                let mut end = 0;
                for _ in 0..rows {
                    end = reader.u64()?;
                }
                inner.skip(reader, usize::try_from(end).map_err(|_| cut())?)
            }
            Self::Tuple(elements) if elements.is_empty() => reader.skip_rows(rows, 1),
            Self::Tuple(elements) => elements.iter().try_for_each(|element| element.skip(reader, rows)),
            // Nothing at all is written for the elements of arrays that are all empty.
            Self::LowCardinality(_) if rows == 0 => Ok(()),
            Self::LowCardinality(inner) => {
                let flags = reader.u64()?;
                if flags & ADDITIONAL_KEYS != 0 {
                    let keys = usize::try_from(reader.u64()?).map_err(|_| cut())?;
                    // NULL is key 0; the keys themselves are not nullable.
                    let keys_of = if let Self::Nullable(value) = inner.as_ref() { value } else { inner };
                    keys_of.skip(reader, keys)?;
                }
                let width = match flags & INDEX_WIDTH {
                    0 => 1,
                    1 => 2,
                    2 => 4,
                    3 => 8,
                    _ => return Err(cut()),
                };
                let indexes = usize::try_from(reader.u64()?).map_err(|_| cut())?;
                reader.skip_rows(indexes, width)
            }
        }
    }
}

/// The types of a Tuple's elements, which may have names: `UInt8`, `a UInt8`, `` `a b` Array(UInt8) ``.
fn elements(arguments: &[&str]) -> Result<Vec<Type>, Exception> {
    let of = |element: &&str| {
        let element = element.trim();
        let type_text = match element.strip_prefix('`') {
            Some(quoted) => quoted.rsplit_once("` ").ok_or_else(cut)?.1,
            None => match element.split_once(' ') {
                Some((name, rest)) if !name.contains('(') => rest,
                _ => element,
            },
        };
        Type::parse(type_text)
    };
    arguments.iter().map(of).collect()
}

/// Splits at the commas that are neither in parentheses nor in quotes.
fn split_arguments(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start, mut quote, mut escaped) = (0, 0, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, quote) {
            _ if escaped => escaped = false,
            (b'\\', Some(_)) => escaped = true,
            (_, Some(open)) if byte == open => quote = None,
            (_, Some(_)) => {}
            (b'\'' | b'`', None) => quote = Some(byte),
            (b'(', None) => depth += 1,
            (b')', None) => depth -= 1,
            (b',', None) if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts.iter().map(|part| part.trim()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_gets_its_info_and_each_column_its_byte() {
        let block = b"\x02\x02\x01a\x05UInt8\x07\x08\x01s\x06String\x01x\x02yz";
        let two = [block.as_slice(), block].concat();
        let old = for_revision(&two, 54405).unwrap();
        let expected = [&BLOCK_INFO, block.as_slice()].concat();
        assert_eq!(old, [expected.as_slice(), &expected].concat());
        let new = for_revision(block, 54483).unwrap();
        let with_bytes = b"\x02\x02\x01a\x05UInt8\x00\x07\x08\x01s\x06String\x00\x01x\x02yz";
        assert_eq!(new, [&BLOCK_INFO, with_bytes.as_slice()].concat());
        // A header without rows: no data, no prefix.
        let header = b"\x01\x00\x01a\x16LowCardinality(String)";
        assert_eq!(for_revision(header, 54405).unwrap(), [&BLOCK_INFO, header.as_slice()].concat());
    }

    #[test]
    fn types_are_read_with_their_arguments() {
        let fixed = |bytes| Box::new(Type::Fixed(bytes));
        for (text, expected) in [
            ("DateTime64(3, 'UTC')", Type::Fixed(8)),
            ("Enum8('a,(' = 1, 'b\\'' = 2)", Type::Fixed(1)),
            ("Decimal(18, 4)", Type::Fixed(8)),
            ("Nullable(Decimal(76, 4))", Type::Nullable(fixed(32))),
            ("SimpleAggregateFunction(sum, UInt64)", Type::Fixed(8)),
            (
                "Map(String, Array(UInt8))",
                Type::Array(Box::new(Type::Tuple(vec![Type::String, Type::Array(fixed(1))]))),
            ),
            (
                "Tuple(a UInt8, `b c` Nullable(String), FixedString(5), d DateTime('UTC'))",
                Type::Tuple(vec![
                    Type::Fixed(1),
                    Type::Nullable(Box::new(Type::String)),
                    Type::Fixed(5),
                    Type::Fixed(4),
                ]),
            ),
            ("Tuple()", Type::Tuple(vec![])),
        ] {
            assert_eq!(Type::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["JSON", "Variant(UInt8, String)", "Dynamic", "AggregateFunction(sum, UInt64)"] {
            assert_eq!(Type::parse(text).unwrap_err().code, Exception::NOT_IMPLEMENTED, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_walk_fail_hard(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let _ = for_revision(&bytes, 54483);
            let _ = for_revision(&[b"\x01\x02\x01a\x16LowCardinality(String)", bytes.as_slice()].concat(), 1);
        }
    }
}
