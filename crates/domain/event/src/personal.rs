//! Finds e-mail addresses and IP addresses in texts, however often they are encoded.
//!
//! What senders put into a path, a slug or a UTM field may have been through several encoders. So a text is looked at as it
//! stands and as [`decoded`] has it. Both are linear in its length, and most texts are let through by one pass over their bytes.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// What a text holds that must not rest in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personal {
    /// Something with the shape of an e-mail address.
    Email,
    /// An IP address: four dotted numbers (decimal, octal or hexadecimal), eight hexadecimal digits after `0x`, or IPv6.
    Address,
}

const AT: u8 = 1;
const ENCODED: u8 = 2;
const DIGIT: u8 = 4;
const DOT: u8 = 8;
const COLON: u8 = 16;
const X: u8 = 32;

/// What each byte may be part of.
const MARKS: [u8; 256] = {
    let mut marks = [0; 256];
    marks[b'@' as usize] = AT;
    // The first bytes of encodings, of full-width characters, and of characters that show nothing.
    let starts = [b'%', b'&', b'\\', 0xC2, 0xE2, 0xE3, 0xEF];
    let mut at = 0;
    while at < starts.len() {
        marks[starts[at] as usize] = ENCODED;
        at += 1;
    }
    let mut digit = b'0';
    while digit <= b'9' {
        marks[digit as usize] = DIGIT;
        digit += 1;
    }
    marks[b'.' as usize] = DOT;
    marks[b':' as usize] = COLON;
    marks[b'x' as usize] = X;
    marks[b'X' as usize] = X;
    marks
};

/// What the text holds, as it stands or decoded; `None` when it may be stored.
pub fn find(text: &str) -> Option<Personal> {
    let seen = text.bytes().fold(0, |seen, byte| seen | MARKS[usize::from(byte)]);
    if seen & (AT | ENCODED) == 0 && (seen & DIGIT == 0 || seen & (DOT | COLON | X) == 0) && seen & COLON == 0 {
        return None;
    }
    of_bytes(text.as_bytes()).or_else(|| match decoded(text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(decoded) => of_bytes(&decoded),
    })
}

fn of_bytes(bytes: &[u8]) -> Option<Personal> {
    if holds_email(bytes) {
        Some(Personal::Email)
    } else if holds_ipv4(bytes) || holds_ipv6(bytes) {
        Some(Personal::Address)
    } else {
        None
    }
}

/// The text decoded until it no longer changes: percent-encoding, `%u0040`, `\u0040`, `\x40`, HTML entities, full-width forms;
/// characters that show nothing are left out. Borrowed when nothing in it is encoded. The bytes need not be UTF-8.
pub fn decoded(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().all(|byte| MARKS[usize::from(byte)] != ENCODED) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        out.push(byte);
        // A byte that is decoded may complete what stands before it. Each step makes the text shorter.
        while reduce(&mut out) {}
    }
    if out == text.as_bytes() { Cow::Borrowed(text.as_bytes()) } else { Cow::Owned(out) }
}

/// Replaces an encoded character at the end by the character. Returns whether there was one.
fn reduce(out: &mut Vec<u8>) -> bool {
    let (length, replacement) = match out.as_slice() {
        [.., b'%', high, low] if is_hex(&[*high, *low]) => (3, Char::Byte(hex(&[*high, *low]) as u8)),
        [.., b'\\', b'x', high, low] if is_hex(&[*high, *low]) => (4, Char::Byte(hex(&[*high, *low]) as u8)),
        [.., b'%' | b'\\', b'u' | b'U', a, b, c, d] if is_hex(&[*a, *b, *c, *d]) => {
            (6, Char::of(hex(&[*a, *b, *c, *d])))
        }
        [.., 0xC2, 0xAD] => (2, Char::Nothing),
        [.., 0xE2, 0x80, 0x8B..=0x8F] | [.., 0xE2, 0x81, 0xA0] | [.., 0xEF, 0xBB, 0xBF] => (3, Char::Nothing),
        [.., 0xEF, 0xBC, last @ 0x81..=0xBF] => (3, Char::Byte(last - 0x60)),
        [.., 0xEF, 0xBD, last @ 0x80..=0x9E] => (3, Char::Byte(last - 0x20)),
        [.., 0xEF, 0xB9, 0xAB] => (3, Char::Byte(b'@')),
        [.., 0xEF, 0xB9, 0xAA] => (3, Char::Byte(b'%')),
        [.., 0xE3, 0x80, 0x82] | [.., 0xEF, 0xBD, 0xA1] | [.., 0xEF, 0xB9, 0x92] => (3, Char::Byte(b'.')),
        [.., b';'] => match entity(out) {
            Some(found) => found,
            None => return false,
        },
        _ => return false,
    };
    out.truncate(out.len() - length);
    match replacement {
        Char::Nothing => return false,
        Char::Byte(byte) => out.push(byte),
        Char::Scalar(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    true
}

/// What an encoded character stands for.
enum Char {
    Nothing,
    Byte(u8),
    Scalar(char),
}

impl Char {
    fn of(code: u32) -> Self {
        char::from_u32(code).map_or(Char::Nothing, Char::Scalar)
    }
}

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}

fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number << 4 | char::from(*digit).to_digit(16).unwrap_or_default())
}

/// The HTML entity at the end, with its length in bytes.
fn entity(out: &[u8]) -> Option<(usize, Char)> {
    const LONGEST: usize = 12;
    let from = out.len().saturating_sub(LONGEST);
    let start = from + out[from..].iter().rposition(|byte| *byte == b'&')?;
    let name = &out[start + 1..out.len() - 1];
    let char = match name {
        [b'#', b'x' | b'X', digits @ ..] if (1..=6).contains(&digits.len()) && is_hex(digits) => Char::of(hex(digits)),
        [b'#', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Char::of(std::str::from_utf8(digits).ok()?.parse().ok()?)
        }
        b"amp" | b"AMP" => Char::Byte(b'&'),
        b"commat" => Char::Byte(b'@'),
        b"percnt" => Char::Byte(b'%'),
        b"period" => Char::Byte(b'.'),
        b"colon" => Char::Byte(b':'),
        b"plus" => Char::Byte(b'+'),
        b"lowbar" => Char::Byte(b'_'),
        b"shy" => Char::Nothing,
        _ => return None,
    };
    Some((out.len() - start, char))
}

/// Whether something has the shape of an e-mail address.
fn holds_email(bytes: &[u8]) -> bool {
    let mut signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'@');
    signs.any(|(at, _)| email_around(&bytes[..at], &bytes[at + 1..]))
}

/// Whether a local part ends before the sign and a host with a top-level domain starts after it.
fn email_around(before: &[u8], after: &[u8]) -> bool {
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"._%+-'\"!#$&*=?^`{|}~".contains(byte);
    let in_host = |byte: &&u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-.".contains(byte);
    let host = &after[..after.iter().take_while(in_host).count()];
    let mut labels = host.split(|byte| *byte == b'.');
    let top_level = |label: &[u8]| {
        label.len() >= 2 && (!label.iter().any(u8::is_ascii_digit) || label.to_ascii_lowercase().starts_with(b"xn--"))
    };
    before.last().is_some_and(local) && labels.next().is_some_and(|first| !first.is_empty()) && labels.any(top_level)
}

/// Whether four numbers up to 255 stand between dots, and no fifth beside them: more are a version or an object id. Those
/// whose last three are 0 are versions too, as browsers write them.
fn holds_ipv4(bytes: &[u8]) -> bool {
    let words = bytes.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
    words.filter(|word| word.first().is_some_and(|_| word.iter().any(u8::is_ascii_digit))).any(|word| {
        if matches!(word, [b'0', b'x' | b'X', digits @ ..] if digits.len() == 8 && is_hex(digits)) {
            return true;
        }
        // The numbers in a row until now; what is no number ends the row.
        let mut row: [u32; 4] = [0; 4];
        let mut length = 0;
        let is_address = |row: [u32; 4], length| length == 4 && row[1..] != [0; 3];
        for label in word.split(|byte| *byte == b'.') {
            match octet(label) {
                Some(number) => {
                    if length < 4 {
                        row[length] = number;
                    }
                    length += 1;
                }
                None if is_address(row, length) => return true,
                // Any number beside them makes the row longer than an address.
                None if !label.is_empty() && label.iter().all(u8::is_ascii_digit) => length = 5,
                None => length = 0,
            }
        }
        is_address(row, length)
    })
}

/// A number up to 255: decimal, octal after a 0, or hexadecimal after `0x`.
fn octet(label: &[u8]) -> Option<u32> {
    let number = match label {
        [b'0', b'x' | b'X', digits @ ..] if (1..=8).contains(&digits.len()) && is_hex(digits) => hex(digits),
        digits if (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
        }
        [b'0', digits @ ..]
            if (3..=10).contains(&digits.len()) && digits.iter().all(|digit| matches!(digit, b'0'..=b'7')) =>
        {
            digits.iter().fold(0, |number, digit| number * 8 + u32::from(digit - b'0'))
        }
        _ => return None,
    };
    (number <= 255).then_some(number)
}

/// Whether there is an IPv6 address that somebody can have: a global, local or link-local one, or one that holds an IPv4 address.
fn holds_ipv6(bytes: &[u8]) -> bool {
    let words = bytes.split(|byte| !byte.is_ascii_hexdigit() && !matches!(byte, b':' | b'.'));
    words.filter(|word| word.iter().filter(|byte| **byte == b':').count() >= 2).any(|word| {
        let Ok(word) = std::str::from_utf8(word) else { return false };
        let word = word.trim_end_matches('.');
        let mut ways = vec![word];
        ways.extend(word.strip_prefix(':'));
        ways.extend(word.strip_suffix(':'));
        // A port, or a word before it.
        ways.extend(word.rsplit_once(':').map(|(address, _)| address));
        ways.extend(word.split_once(':').map(|(_, address)| address));
        ways.into_iter().filter_map(|word| word.parse::<Ipv6Addr>().ok()).any(|address| {
            let [first, second, ..] = address.segments();
            address.to_ipv4_mapped().is_some()
                || (first & 0xE000) == 0x2000
                || (first & 0xFE00) == 0xFC00
                || (first & 0xFFC0) == 0xFE80
                || (first, second) == (0x64, 0xFF9B)
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMAILS: [&str; 12] = [
        "jane@example.com",
        "to=jane.doe+x@mail.example.co.uk&x",
        "jane%40example.com",
        "<jané@bücher.de>",
        "jane%2540example.com",
        "jane%25252540example%252Ecom",
        "jane＠example．com",
        "jane%EF%BC%A0example.com",
        "jane&#64;example&period;com",
        "jane\\u0040example.com",
        "%6A%61%6E%65%u0040example.com",
        "jane@почта.xn--p1ai",
    ];

    const ADDRESSES: [&str; 14] = [
        "203.0.113.7",
        "for=203.0.113.7:51234",
        "/u/203.0.113.7/",
        "0300.0250.1.1",
        "0xC0.0xA8.0x1.0x1",
        "0xC0A80101",
        "１９２.168.1.1",
        "192%2E168%252E1.1",
        "192.168.1.1.nip.io",
        "[2001:db8::1]:443",
        "2001:db8:0:0:0:0:0:1",
        "fe80::1%25eth0",
        "::ffff:192.168.1.1",
        "ip:::ffff:c0a8:101",
    ];

    #[test]
    fn an_address_is_found_however_it_is_spelled() {
        for text in EMAILS {
            assert_eq!(find(text), Some(Personal::Email), "{text}");
        }
        for text in ADDRESSES {
            assert_eq!(find(text), Some(Personal::Address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_may_rest() {
        for text in [
            "@acme",
            "a @ b.com",
            "50%40",
            "jane@localhost",
            "x@1.2",
            "https://social.example/@jane",
            "a@.com",
            "100%",
            "Chrome 120.0.0.0",
            "17.4.1",
            "1.2.3.4.5",
            "v1.2.3.4",
            "10.0.22631.1",
            "2026-11-29T10:00:00Z",
            "10:00:00",
            "3232235777",
            "std::abs",
            "a::b",
            "00:11:22:33:44:55",
            "sku:1:2",
            "0xC0FFEE",
            "go.acme.example",
            "spring – sale",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn decoding_takes_time_in_proportion_to_the_text() {
        let deep = format!("jane%{}40example.com", "25".repeat(200_000));
        assert_eq!(find(&deep), Some(Personal::Email));
        let flat = "%25".repeat(200_000);
        assert_eq!(find(&flat), None);
    }

    /// One pass of plain percent-decoding.
    fn pass(text: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            match text[at..] {
                [b'%', high, low, ..] if is_hex(&[high, low]) => {
                    out.push(hex(&[high, low]) as u8);
                    at += 3;
                }
                [byte, ..] => {
                    out.push(byte);
                    at += 1;
                }
                [] => break,
            }
        }
        out
    }

    proptest! {
        #[test]
        fn decoding_once_here_is_decoding_again_and_again(text in "[%0-9a-f@.]{0,40}") {
            let mut expected = text.clone().into_bytes();
            loop {
                let next = pass(&expected);
                if next == expected {
                    break;
                }
                expected = next;
            }
            // The alphabet decodes to ASCII, and to bytes that are full-width or invisible only by accident.
            prop_assume!(!expected.iter().any(|byte| [0xC2, 0xE2, 0xE3, 0xEF, b'&', b'\\'].contains(byte)));
            prop_assert_eq!(decoded(&text).into_owned(), expected);
        }

        #[test]
        fn an_address_encoded_any_number_of_times_is_found(
            pick in any::<prop::sample::Index>(), before in "([a-z/=]{0,8}[/= ])?", depth in 0..6_usize, whole in any::<bool>(),
        ) {
            let all = [&EMAILS[..], &ADDRESSES[..]].concat();
            let mut text = format!("{before}{}", pick.get(&all));
            for _ in 0..depth {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() && !whole;
                text = text.bytes().map(|byte| match plain(byte) {
                    true => char::from(byte).to_string(),
                    false => format!("%{byte:02X}"),
                }).collect();
            }
            prop_assert!(find(&text).is_some(), "{}", text);
        }

        #[test]
        fn every_ipv4_address_in_every_radix_is_found(octets in any::<[u8; 4]>(), radix in prop::array::uniform4(0..3_usize)) {
            prop_assume!(octets[1..] != [0; 3]);
            let label = |(octet, radix): (u8, usize)| match radix {
                0 => octet.to_string(),
                1 => format!("0{octet:03o}"),
                _ => format!("0x{octet:x}"),
            };
            let text: Vec<String> = octets.into_iter().zip(radix).map(label).collect();
            prop_assert_eq!(find(&text.join(".")), Some(Personal::Address));
        }

        #[test]
        fn every_global_ipv6_address_is_found(bits in any::<u128>(), port in any::<Option<u16>>()) {
            let address = Ipv6Addr::from(bits >> 3 | 1 << 125);
            let text = port.map_or_else(|| address.to_string(), |port| format!("[{address}]:{port}"));
            prop_assert_eq!(find(&text), Some(Personal::Address));
        }

        #[test]
        fn any_text_panics_nobody(text in any::<String>(), odd in "[%&\\\\#xu;@.:0-9a-f＠]{0,60}") {
            find(&text);
            find(&odd);
        }
    }
}
