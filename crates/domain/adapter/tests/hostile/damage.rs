//! Ways to damage a payload.

use proptest::prelude::*;

use crate::FORM;

/// One way to damage a payload.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
    /// Puts a text in place of the value of the n-th field.
    Value(prop::sample::Index, String),
}

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    let pieces = prop::sample::select(vec![
        "\"id\":null,",
        "\"id\":\"other\",",
        "\"type\":\"sale\",",
        "\\ud800",
        "\\u0000",
        "\u{1f}",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "1e999",
        "-",
        "\n",
        "é",
    ]);
    let values = prop_oneof![
        Just("1e999".to_owned()),
        Just("-0".to_owned()),
        Just("99999999999999999999999999".to_owned()),
        Just("1e308".to_owned()),
        Just("\"\\ud83d\"".to_owned()),
        Just("\"jane@example.com\"".to_owned()),
        Just(format!("\"{}\"", "x".repeat(5_000))),
        (1..400usize).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
        (1..400usize).prop_map(|depth| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("{}".to_owned()),
        Just("[{},{\"name\":1}]".to_owned()),
    ];
    prop_oneof![
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<Index>().prop_map(Damage::Truncate),
        (any::<Index>(), 1..40usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        (any::<Index>(), pieces).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<Index>(), values).prop_map(|(at, value)| Damage::Value(at, value)),
    ]
}

/// Whether a body is a form, whatever it is called.
pub(crate) fn is_form(body: &str, content_type: &str) -> bool {
    content_type == FORM && !body.starts_with('{')
}

/// The places where the value of a field starts and ends: of any field of a form, and of those in JSON that hold a text
/// or a number.
pub(crate) fn values(body: &[u8], content_type: &str) -> Vec<(usize, usize)> {
    let text = String::from_utf8_lossy(body);
    let (before, after): (_, &[char]) =
        if is_form(&text, content_type) { ("=", &['&', '\n']) } else { ("\": ", &[',', '\n', '}']) };
    let mut found = Vec::new();
    for (at, _) in text.match_indices(before) {
        let start = at + before.len();
        let length = text[start..].find(after).unwrap_or(text.len() - start);
        found.push((start, start + length));
    }
    found
}

pub(crate) fn damaged(mut body: Vec<u8>, content_type: &str, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if body.is_empty() {
            break;
        }
        let length = body.len();
        match damage {
            Damage::Flip(at, bit) => body[at.index(length)] ^= 1 << bit,
            Damage::Truncate(at) => body.truncate(at.index(length)),
            Damage::Cut(at, cut) => {
                let at = at.index(length);
                body.drain(at..(at + cut).min(length));
            }
            Damage::Insert(at, piece) => {
                let at = at.index(length);
                body.splice(at..at, piece.bytes());
            }
            Damage::Value(at, value) => {
                let places = values(&body, content_type);
                if !places.is_empty() && std::str::from_utf8(&body).is_ok() {
                    let (start, end) = *at.get(&places);
                    body.splice(start..end, value.bytes());
                }
            }
        }
    }
    body
}
