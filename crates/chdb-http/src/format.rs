//! What is to be known about output formats: their content types, and how to put a streamed answer together.

/// How an answer in a format may be fetched in pieces. The engine formats each piece on its own, so a header comes
/// again with every piece, and a footer too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streaming {
    /// The pieces one after the other are the answer.
    Plain,
    /// Each piece begins with the same header, to be kept once.
    Header(Header),
    /// Only the whole answer is right (footers, totals, columns as wide as the widest value).
    Whole,
}

/// How long a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// So many lines.
    Lines(usize),
    /// So many lines of CSV, where a line end may stand in quotes.
    CsvLines(usize),
    /// RowBinary: the count of columns, then so many texts for each.
    Texts(usize),
}

/// Decides by the name of a format; ClickHouse takes the names in any case.
pub(crate) fn streaming(format: &str) -> Streaming {
    match format.to_ascii_lowercase().as_str() {
        "native"
        | "rowbinary"
        | "tabseparated"
        | "tsv"
        | "tabseparatedraw"
        | "tsvraw"
        | "raw"
        | "csv"
        | "tskv"
        | "jsoneachrow"
        | "jsonlines"
        | "ndjson"
        | "jsoncompacteachrow"
        | "jsonstringseachrow"
        | "jsoncompactstringseachrow"
        | "lineasstring"
        | "rawblob"
        | "msgpack"
        | "null" => Streaming::Plain,
        "rowbinarywithnames" => Streaming::Header(Header::Texts(1)),
        "rowbinarywithnamesandtypes" => Streaming::Header(Header::Texts(2)),
        "csvwithnames" => Streaming::Header(Header::CsvLines(1)),
        "csvwithnamesandtypes" => Streaming::Header(Header::CsvLines(2)),
        "tabseparatedwithnames" | "tsvwithnames" | "jsoncompacteachrowwithnames" => Streaming::Header(Header::Lines(1)),
        "tabseparatedwithnamesandtypes" | "tsvwithnamesandtypes" | "jsoncompacteachrowwithnamesandtypes" => {
            Streaming::Header(Header::Lines(2))
        }
        _ => Streaming::Whole,
    }
}

impl Header {
    /// The length of the header that `piece` begins with; `None` if it is not whole.
    pub(crate) fn length(self, piece: &[u8]) -> Option<usize> {
        match self {
            Self::Lines(lines) => nth_line_end(piece, lines, false),
            Self::CsvLines(lines) => nth_line_end(piece, lines, true),
            Self::Texts(per_column) => {
                let mut at = 0;
                let columns = variable_length(piece, &mut at)?;
                for _ in 0..columns.checked_mul(per_column)? {
                    let length = variable_length(piece, &mut at)?;
                    at = at.checked_add(length).filter(|at| *at <= piece.len())?;
                }
                Some(at)
            }
        }
    }
}

fn nth_line_end(piece: &[u8], lines: usize, quotes: bool) -> Option<usize> {
    let mut quoted = false;
    piece
        .iter()
        .enumerate()
        .filter(|(_, byte)| {
            quoted ^= quotes && **byte == b'"';
            **byte == b'\n' && !quoted
        })
        .nth(lines - 1)
        .map(|(at, _)| at + 1)
}

/// Reads a number in ClickHouse's variable length (LEB128).
fn variable_length(piece: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0usize;
    for shift in (0..63).step_by(7) {
        let byte = *piece.get(*at)?;
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The `Content-Type` that a server gives for a format.
pub(crate) fn content_type(format: &str) -> &'static str {
    let name = format.to_ascii_lowercase();
    match name.as_str() {
        "csv" => "text/csv; charset=UTF-8; header=absent",
        _ if name.starts_with("csvwithnames") => "text/csv; charset=UTF-8; header=present",
        _ if name.starts_with("tabseparated") || name.starts_with("tsv") => "text/tab-separated-values; charset=UTF-8",
        "jsoneachrow" | "jsonlines" | "ndjson" | "jsonstringseachrow" => "application/x-ndjson; charset=UTF-8",
        _ if name.starts_with("json") => "application/json; charset=UTF-8",
        "xml" => "application/xml; charset=UTF-8",
        _ if name.starts_with("rowbinary") => "application/octet-stream",
        "native" | "parquet" | "arrow" | "arrowstream" | "orc" | "avro" | "msgpack" | "rawblob" | "npy" => {
            "application/octet-stream"
        }
        _ => "text/plain; charset=UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_header_is_found() {
        assert_eq!(Header::Texts(2).length(b"\x02\x01a\x01b\x05UInt8\x05UInt8rows"), Some(17));
        assert_eq!(Header::Texts(2).length(b"\x02\x01a\x01b\x05UInt"), None);
        assert_eq!(Header::Texts(1).length(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(Header::Lines(2).length(b"a\tb\nX\tY\n1\t2\n"), Some(8));
        assert_eq!(Header::CsvLines(1).length(b"\"a\nb\",\"c\"\"\n\"\n1,2\n"), Some(13));
        assert_eq!(Header::Lines(1).length(b"no end"), None);
    }

    #[test]
    fn a_format_with_a_footer_is_never_fetched_in_pieces() {
        for format in ["JSON", "JSONCompact", "Pretty", "Parquet", "Values", "XML", "SomethingNew"] {
            assert_eq!(streaming(format), Streaming::Whole, "{format}");
        }
        assert_eq!(streaming("rowbinary"), Streaming::Plain);
    }
}
