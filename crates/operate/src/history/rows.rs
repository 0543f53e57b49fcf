//! Rows of an answer in ClickHouse's format `RowBinary`: four numbers, then texts.

/// Bytes of the numbers before the texts.
const NUMBERS: usize = 32;

/// A row: some events that rules cannot tell apart, or one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'r> {
    /// The start of their pane, or when it was received, in milliseconds since 1970.
    pub(crate) pane: i64,
    /// How many they are.
    pub(crate) count: u64,
    /// How many of them came late.
    pub(crate) late: u64,
    /// The first of them: its lane in the upper 16 bits, its offset below.
    pub(crate) first: u64,
    /// The texts as they stand in the answer: equal bytes are equal texts.
    pub(crate) bytes: &'r [u8],
}

impl<'r> Row<'r> {
    /// The texts, in the order in which they were asked for.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'r str> + use<'r> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (text, after) = text(rest)?;
            rest = after;
            Some(std::str::from_utf8(text).unwrap_or_default())
        })
    }
}

/// Cuts the pieces of an answer into rows.
pub(crate) struct Decoder {
    texts: usize,
    rest: Vec<u8>,
}

impl Decoder {
    /// For rows with so many texts.
    pub(crate) fn new(texts: usize) -> Self {
        Self { texts, rest: Vec::new() }
    }

    /// Takes the next piece and shows the rows that are whole.
    pub(crate) fn decode(&mut self, piece: &[u8], mut each: impl FnMut(&Row<'_>)) -> Result<(), String> {
        self.rest.extend_from_slice(piece);
        let mut at = 0;
        while let Some(length) = self.row(self.rest.get(at..).unwrap_or_default())? {
            let bytes = self.rest.get(at..at + length).unwrap_or_default();
            let number = |place: usize| {
                let bytes = bytes.get(place * 8..place * 8 + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map_or(0, u64::from_le_bytes)
            };
            each(&Row {
                pane: number(0) as i64,
                count: number(1),
                late: number(2),
                first: number(3),
                bytes: bytes.get(NUMBERS..).unwrap_or_default(),
            });
            at += length;
        }
        self.rest.drain(..at);
        Ok(())
    }

    /// Whether the answer stopped in the middle of a row.
    pub(crate) fn is_within_a_row(&self) -> bool {
        !self.rest.is_empty()
    }

    /// How long the first row is; none if it is not there whole.
    fn row(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let Some(mut rest) = bytes.get(NUMBERS..) else { return Ok(None) };
        for _ in 0..self.texts {
            match text(rest) {
                Some((_, after)) => rest = after,
                None if rest.len() > 1 << 26 => return Err("a text of it has no end".to_owned()),
                None => return Ok(None),
            }
        }
        Ok(Some(bytes.len() - rest.len()))
    }
}

/// The text at the beginning, behind its length in LEB128, and what follows it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0usize;
    for (place, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return bytes.get(place + 1..)?.split_at_checked(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_wherever_a_piece_ends() {
        let mut answer = Vec::new();
        let long = "x".repeat(300);
        for (pane, texts) in [(60_000i64, ["a", ""]), (120_000, ["go.example.com", &long])] {
            answer.extend(pane.to_le_bytes());
            [7u64, 1, 3 << 48 | 9].iter().for_each(|number| answer.extend(number.to_le_bytes()));
            for text in texts {
                let mut length = text.len();
                while length >= 0x80 {
                    answer.push(length as u8 | 0x80);
                    length >>= 7;
                }
                answer.push(length as u8);
                answer.extend(text.as_bytes());
            }
        }
        for cut in 0..answer.len() {
            let (mut decoder, mut rows) = (Decoder::new(2), Vec::new());
            for piece in [&answer[..cut], &answer[cut..]] {
                let keep = |row: &Row<'_>| {
                    rows.push((
                        row.pane,
                        row.count,
                        row.late,
                        row.first,
                        row.texts().map(str::to_owned).collect::<Vec<_>>(),
                    ));
                };
                decoder.decode(piece, keep).unwrap();
            }
            assert!(!decoder.is_within_a_row());
            let texts = [vec!["a".to_owned(), String::new()], vec!["go.example.com".to_owned(), long.clone()]];
            let expected =
                [60_000, 120_000].into_iter().zip(texts).map(|(pane, texts)| (pane, 7, 1, 3 << 48 | 9, texts));
            assert_eq!(rows, expected.collect::<Vec<_>>(), "cut at {cut}");
        }
        let mut decoder = Decoder::new(2);
        decoder.decode(&answer[..40], |_| {}).unwrap();
        assert!(decoder.is_within_a_row());
    }
}
