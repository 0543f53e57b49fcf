//! Texts that senders cut in the wrong place, made readable: one bad text must not cost an event, let alone its batch.
//!
//! Cut bytes of UTF-8 and lone surrogates become U+FFFD, as Unicode recommends. A number beyond 64 bits becomes the largest
//! one, which no field can use. All else that is not JSON stays as it is, so that the parser refuses it.

use std::borrow::Cow;

/// Before every body that a program has written as "UTF-8 with BOM".
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands in a mended text for what was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mending {
    /// U+FFFD alone: for texts that are stored.
    Plain,
    /// U+FFFD and what it stands for, in letters: for keys, so that two ids that differ only in what was replaced are two.
    Distinct,
}

/// Bytes without the space and the byte order marks around them.
pub(crate) fn trimmed(mut bytes: &[u8]) -> &[u8] {
    loop {
        bytes = bytes.trim_ascii();
        match bytes.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => bytes = rest,
            None => return bytes,
        }
    }
}

/// A body in UTF-16 or UTF-32, as UTF-8: one with a byte order mark, or in UTF-16 without one, which a NUL beside its first
/// bracket tells. `None` for any other body, and for one whose length is not a whole number of units.
pub(crate) fn from_wide(body: &[u8]) -> Option<String> {
    type Unit<const N: usize> = fn([u8; N]) -> u32;
    fn units<'b, const N: usize>(body: &'b [u8], unit: Unit<N>) -> Option<impl Iterator<Item = u32> + 'b> {
        let (units, rest) = body.as_chunks::<N>();
        rest.is_empty().then(|| units.iter().map(move |bytes| unit(*bytes)))
    }
    let utf_32 = |units: Option<_>| -> Option<String> {
        let units: Box<dyn Iterator<Item = u32>> = units?;
        Some(units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    };
    let utf_16 = |units: Option<_>| -> Option<String> {
        let units: Box<dyn Iterator<Item = u32>> = units?;
        let text = char::decode_utf16(units.map(|unit| unit as u16));
        Some(text.map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    };
    match body {
        // Before UTF-16, whose mark is how this one begins. No JSON begins with a NUL.
        [0xff, 0xfe, 0, 0, rest @ ..] => utf_32(boxed(units(rest, u32::from_le_bytes))),
        [0, 0, 0xfe, 0xff, rest @ ..] => utf_32(boxed(units(rest, u32::from_be_bytes))),
        [0xff, 0xfe, rest @ ..] => utf_16(boxed(units(rest, |unit| u16::from_le_bytes(unit).into()))),
        [0xfe, 0xff, rest @ ..] => utf_16(boxed(units(rest, |unit| u16::from_be_bytes(unit).into()))),
        [b'{' | b'[', 0, ..] => utf_16(boxed(units(body, |unit| u16::from_le_bytes(unit).into()))),
        [0, b'{' | b'[', ..] => utf_16(boxed(units(body, |unit| u16::from_be_bytes(unit).into()))),
        _ => None,
    }
}

type Units<'b> = Box<dyn Iterator<Item = u32> + 'b>;

fn boxed<'b>(units: Option<impl Iterator<Item = u32> + 'b>) -> Option<Units<'b>> {
    units.map(|units| Box::new(units) as Units<'b>)
}

/// Bytes as text, with what is not UTF-8 replaced.
pub(crate) fn text(bytes: Cow<'_, [u8]>, mending: Mending) -> Cow<'_, str> {
    let bytes = match bytes {
        Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => return Cow::Borrowed(text),
            Err(_) => Cow::Borrowed(bytes),
        },
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => return Cow::Owned(text),
            Err(error) => Cow::Owned(error.into_bytes()),
        },
    };
    let mut mended = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        mended.push_str(chunk.valid());
        replace(chunk.invalid(), mending, &mut mended);
    }
    Cow::Owned(mended)
}

/// What is meant to be JSON with its texts and numbers mended; `None` when there is nothing to mend.
pub(crate) fn json(bytes: &[u8], mending: Mending) -> Option<String> {
    let mut mended =
        Mended { text: String::with_capacity(bytes.len() + 16), changed: false, in_string: false, mending };
    for chunk in bytes.utf8_chunks() {
        mended.valid(chunk.valid());
        if !chunk.invalid().is_empty() {
            replace(chunk.invalid(), mending, &mut mended.text);
            mended.changed = true;
        }
    }
    mended.changed.then_some(mended.text)
}

fn replace(bytes: &[u8], mending: Mending, out: &mut String) {
    if bytes.is_empty() {
        return;
    }
    out.push(char::REPLACEMENT_CHARACTER);
    if mending == Mending::Distinct {
        // No digits: what has some is no top-level domain, so that an e-mail address would not be seen as one.
        let letter = |nibble: u8| char::from(b'a' + nibble);
        out.extend(bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]));
    }
}

/// A text in the making.
struct Mended {
    text: String,
    changed: bool,
    in_string: bool,
    mending: Mending,
}

impl Mended {
    fn valid(&mut self, mut rest: &str) {
        while !rest.is_empty() {
            rest = if self.in_string { self.string(rest) } else { self.between(rest) };
        }
    }

    /// Takes from `rest` up to and with the next quote, or one escape. Returns what is left.
    fn string<'t>(&mut self, rest: &'t str) -> &'t str {
        let plain = rest.find(['"', '\\']).unwrap_or(rest.len());
        let (before, rest) = rest.split_at(plain);
        self.text.push_str(before);
        if let Some(after) = rest.strip_prefix('"') {
            self.text.push('"');
            self.in_string = false;
            return after;
        }
        let Some(unit) = escaped_unit(rest) else {
            // A backslash takes the letter after it along: it may be a quote.
            let length = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
            self.text.push_str(&rest[..length]);
            return &rest[length..];
        };
        let pair = (0xd800..0xdc00).contains(&unit)
            && escaped_unit(&rest[6..]).is_some_and(|low| (0xdc00..0xe000).contains(&low));
        if !pair && (0xd800..0xe000).contains(&unit) {
            self.changed = true;
            replace(&unit.to_be_bytes(), self.mending, &mut self.text);
            return &rest[6..];
        }
        let length = if pair { 12 } else { 6 };
        self.text.push_str(&rest[..length]);
        &rest[length..]
    }

    /// Takes from `rest` up to the next string, or one number. Returns what is left.
    fn between<'t>(&mut self, rest: &'t str) -> &'t str {
        let other = rest.find(|letter: char| letter == '"' || letter == '-' || letter.is_ascii_digit());
        let (before, rest) = rest.split_at(other.unwrap_or(rest.len()));
        self.text.push_str(before);
        if let Some(after) = rest.strip_prefix('"') {
            self.text.push('"');
            self.in_string = true;
            return after;
        }
        let in_number = |letter: char| letter.is_ascii_digit() || matches!(letter, '+' | '-' | '.' | 'e' | 'E');
        let (number, after) = rest.split_at(rest.find(|letter| !in_number(letter)).unwrap_or(rest.len()));
        if is_number(number) && number.parse::<f64>().is_ok_and(f64::is_infinite) {
            self.changed = true;
            let largest = if number.starts_with('-') { f64::MIN } else { f64::MAX };
            self.text.push_str(&format!("{largest:e}"));
        } else {
            self.text.push_str(number);
        }
        after
    }
}

/// The code unit of `\uXXXX` at the start of a text.
fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// Whether a text is a number as JSON writes it. Rust reads more than that, such as `01` and `1.`.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && digits(fraction) && digits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(bytes: &[u8]) -> Option<String> {
        json(bytes, Mending::Plain)
    }

    #[test]
    fn what_is_cut_in_a_text_is_replaced_and_nothing_else() {
        for (given, expected) in [
            (br#"{"a":"x\ud83d"}"#.as_slice(), "{\"a\":\"x\u{fffd}\"}"),
            (br#"{"a":"\ude00x"}"#, "{\"a\":\"\u{fffd}x\"}"),
            (br#"{"a":"\ud83d\ud83d\ude00"}"#, "{\"a\":\"\u{fffd}\\ud83d\\ude00\"}"),
            (br#"{"a":"\uD83D\n\\"}"#, "{\"a\":\"\u{fffd}\\n\\\\\"}"),
            (br#"{"a":"\ud83d\u0041"}"#, "{\"a\":\"\u{fffd}\\u0041\"}"),
            (br#"{"\ud83d":1}"#, "{\"\u{fffd}\":1}"),
            (b"{\"a\":\"\xe2\x82\"}", "{\"a\":\"\u{fffd}\"}"),
            (b"{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\u{fffd}\u{fffd}\"}"),
            (b"{\"a\":\"\\\\\xff\\\"\"}", "{\"a\":\"\\\\\u{fffd}\\\"\"}"),
            (br#"{"a":1e999,"b":-1E+999}"#, r#"{"a":1.7976931348623157e308,"b":-1.7976931348623157e308}"#),
        ] {
            assert_eq!(mended(given).as_deref(), Some(expected), "{}", String::from_utf8_lossy(given));
        }
    }

    #[test]
    fn what_is_whole_or_is_not_json_for_another_reason_is_left_alone() {
        for given in [
            r#"{"a":"\ud83d\ude00","b":"\\ud83d","c":"\u12","d":"1e999"}"#,
            r#"{"a":NaN,"b":-Infinity,"c":01e999,"d":1.e999,"e":1e308,"f":1e-999}"#,
            "{\"a\":\"tab\tnul\0\u{7f}\u{2028}\"}",
            "\"\\",
            "\"\\é\"",
            "",
        ] {
            assert_eq!(mended(given.as_bytes()), None, "{given}");
        }
    }

    #[test]
    fn for_keys_two_texts_that_differ_in_what_was_replaced_stay_two() {
        let key = |bytes: &[u8]| json(bytes, Mending::Distinct).unwrap_or_default();
        assert_eq!(key(br#""a\uD83D""#), "\"a\u{fffd}nidn\"");
        assert_eq!(key(br#""a\ud83d""#), key(br#""a\uD83d""#));
        assert_ne!(key(br#""a\ud83d""#), key(br#""a\ud83e""#));
        assert_ne!(key(b"\"a\xe9\""), key(b"\"a\xe8\""));
    }

    #[test]
    fn a_body_with_the_mark_of_utf_16_or_32_is_read_as_what_it_is() {
        let text = "{\"a\":\"é😀\"}";
        let mut bodies = vec![vec![0xff, 0xfe], vec![0xfe, 0xff], vec![0xff, 0xfe, 0, 0], vec![0, 0, 0xfe, 0xff]];
        text.encode_utf16().for_each(|unit| bodies[0].extend(unit.to_le_bytes()));
        text.encode_utf16().for_each(|unit| bodies[1].extend(unit.to_be_bytes()));
        text.chars().for_each(|letter| bodies[2].extend(u32::from(letter).to_le_bytes()));
        text.chars().for_each(|letter| bodies[3].extend(u32::from(letter).to_be_bytes()));
        for body in &bodies {
            assert_eq!(from_wide(body).as_deref(), Some(text));
            assert_eq!(from_wide(&body[..body.len() - 1]), None, "half a unit");
        }
        for unmarked in [&bodies[0][2..], &bodies[1][2..]] {
            assert_eq!(from_wide(unmarked).as_deref(), Some(text));
        }
        assert_eq!(from_wide(b"\xef\xbb\xbf{}"), None);
        assert_eq!(from_wide(b"{}"), None);
        assert_eq!(trimmed(b" \xef\xbb\xbf\n\xef\xbb\xbf{} \r\n"), b"{}");
    }
}
