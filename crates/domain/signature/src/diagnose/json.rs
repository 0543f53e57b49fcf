//! JSON as other writers would have written it: same members in the same order, same numbers, other white space and escapes.

/// How a writer of JSON spaces and escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// What follows a comma and a colon.
    space: &'static str,
    /// What each level is indented by; none: everything stands on one line.
    indent: Option<&'static str>,
    /// Whether everything beyond ASCII is escaped.
    ascii: bool,
    /// Whether `/` is escaped.
    slashes: bool,
    /// Whether `<`, `>` and `&` are escaped.
    html: bool,
}

const COMPACT: Style = Style { space: "", indent: None, ascii: false, slashes: false, html: false };

impl Style {
    /// Without any white space and with no escape that is not needed, as JavaScript writes it.
    pub(super) const JAVASCRIPT: Style = COMPACT;
    /// As Python's `json.dumps`.
    pub(super) const PYTHON: Style = Style { space: " ", ascii: true, ..COMPACT };
    /// As PHP's `json_encode`.
    pub(super) const PHP: Style = Style { ascii: true, slashes: true, ..COMPACT };
    /// As Go's `encoding/json`.
    pub(super) const GO: Style = Style { html: true, ..COMPACT };
    /// One member a line.
    pub(super) const fn indented(by: &'static str) -> Style {
        Style { space: " ", indent: Some(by), ..COMPACT }
    }
}

/// What JSON takes for space: a form feed is none.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// No sender nests deeper. Indentation grows with the square of the depth.
const MAX_INDENTED: usize = 64;

/// Writes a text of JSON anew; `None` if it is none, or too deep to be indented. Nesting costs no stack.
pub(super) fn rewrite(text: &[u8], style: Style) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut out = String::with_capacity(text.len() * 2);
    let mut rest = text.trim_start();
    let (mut depth, mut fresh) = (0_usize, false);
    while let Some(first) = rest.chars().next() {
        match first {
            '{' | '[' => {
                begin(&mut out, depth, fresh, style);
                out.push(first);
                (depth, fresh, rest) = (depth + 1, true, &rest[1..]);
                if style.indent.is_some() && depth > MAX_INDENTED {
                    return None;
                }
            }
            '}' | ']' => {
                depth = depth.checked_sub(1)?;
                // An empty object or array stays on its line.
                if !fresh {
                    line(&mut out, depth, style);
                }
                out.push(first);
                (fresh, rest) = (false, &rest[1..]);
            }
            ',' => {
                out.push(',');
                match style.indent {
                    Some(_) => line(&mut out, depth, style),
                    None => out.push_str(style.space),
                }
                rest = &rest[1..];
            }
            ':' => {
                out.push(':');
                out.push_str(style.space);
                rest = &rest[1..];
            }
            '"' => {
                begin(&mut out, depth, fresh, style);
                let (content, after) = string(&rest[1..])?;
                quote(&mut out, &content, style);
                (fresh, rest) = (false, after);
            }
            _ => {
                begin(&mut out, depth, fresh, style);
                // Just what ends a turn of this loop: else a form feed would keep it going for ever.
                let end = rest.find(|c: char| SPACE.contains(&c) || ",:{}[]\"".contains(c)).unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                (fresh, rest) = (false, &rest[end..]);
            }
        }
        rest = rest.trim_start_matches(SPACE);
    }
    (depth == 0 && !out.is_empty()).then(|| out.into_bytes())
}

/// The first value inside a bracket begins a line of its own.
fn begin(out: &mut String, depth: usize, fresh: bool, style: Style) {
    if fresh {
        line(out, depth, style);
    }
}

fn line(out: &mut String, depth: usize, style: Style) {
    if let Some(by) = style.indent {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str(by));
    }
}

/// Reads a string after its quotation mark: its content, and what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let (mut content, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'u' => {
                    let first = hex4(&mut chars)?;
                    let code = if (0xD800..0xDC00).contains(&first) {
                        // The other half of a pair follows.
                        let mut ahead = chars.clone();
                        (ahead.next()?.1 == '\\' && ahead.next()?.1 == 'u').then_some(())?;
                        let second = hex4(&mut ahead)?;
                        chars = ahead;
                        0x10000 + ((first - 0xD800) << 10) + second.checked_sub(0xDC00)?
                    } else {
                        first
                    };
                    content.push(char::from_u32(code)?);
                }
                'n' => content.push('\n'),
                't' => content.push('\t'),
                'r' => content.push('\r'),
                'b' => content.push('\u{8}'),
                'f' => content.push('\u{c}'),
                literal @ ('"' | '\\' | '/') => content.push(literal),
                _ => return None,
            },
            other => content.push(other),
        }
    }
    None
}

fn hex4(chars: &mut std::str::CharIndices<'_>) -> Option<u32> {
    (0..4).try_fold(0, |code, _| Some(code * 16 + chars.next()?.1.to_digit(16)?))
}

fn quote(out: &mut String, content: &str, style: Style) {
    let unicode = |out: &mut String, unit: u16| out.push_str(&format!("\\u{unit:04x}"));
    out.push('"');
    for c in content.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if style.slashes => out.push_str("\\/"),
            '<' | '>' | '&' if style.html => unicode(out, c as u16),
            '\u{2028}' | '\u{2029}' if style.html => unicode(out, c as u16),
            c if (c as u32) < 0x20 || (style.ascii && !c.is_ascii()) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| unicode(out, *unit));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, style: Style) -> String {
        String::from_utf8(rewrite(text.as_bytes(), style).unwrap()).unwrap()
    }

    /// By `json.dumps(value)`, `json.dumps(value, indent=2, ensure_ascii=False)` of Python, `JSON.stringify(value)`,
    /// `JSON.stringify(value, null, 4)` of Node, `json_encode` of PHP and `json.Marshal` of Go.
    #[test]
    fn the_same_value_is_written_as_each_writer_does() {
        let given =
            "{ \"a\" :[1, 2.50 ,true], \"b\":{},\"c\" : [] ,\"d\":\"gr\\u00fc\u{df} <\\/b> \\ud83d\\ude00\\n\" }";
        let plain = "\"gr\u{fc}\u{df} </b> \u{1f600}\\n\"";
        let ascii = r#""gr\u00fc\u00df </b> \ud83d\ude00\n""#;
        for (style, expected) in [
            (Style::JAVASCRIPT, format!(r#"{{"a":[1,2.50,true],"b":{{}},"c":[],"d":{plain}}}"#)),
            (Style::PYTHON, format!(r#"{{"a": [1, 2.50, true], "b": {{}}, "c": [], "d": {ascii}}}"#)),
            (Style::PHP, format!(r#"{{"a":[1,2.50,true],"b":{{}},"c":[],"d":{}}}"#, ascii.replace('/', "\\/"))),
            (
                Style::GO,
                format!(
                    r#"{{"a":[1,2.50,true],"b":{{}},"c":[],"d":{}}}"#,
                    plain.replace('<', "\\u003c").replace('>', "\\u003e")
                ),
            ),
            (
                Style::indented("  "),
                format!(
                    "{{\n  \"a\": [\n    1,\n    2.50,\n    true\n  ],\n  \"b\": {{}},\n  \"c\": [],\n  \"d\": {plain}\n}}"
                ),
            ),
        ] {
            assert_eq!(written(given, style), expected, "{style:?}");
            // Whoever wrote it, each can be had from it.
            assert_eq!(written(&expected, Style::JAVASCRIPT), written(given, Style::JAVASCRIPT));
        }
    }

    #[test]
    fn what_is_no_json_is_not_rewritten() {
        for text in ["", " ", "{", "}", "\"open", "\"\\x\"", "\"\\ud83d\"", "\"\\ud83dabcdef\""] {
            assert_eq!(rewrite(text.as_bytes(), COMPACT), None, "{text:?}");
        }
        assert_eq!(rewrite(b"\xff", COMPACT), None);
    }

    #[test]
    fn deep_nesting_costs_no_stack_and_is_not_indented() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let deep = nested(200_000);
        assert_eq!(rewrite(deep.as_bytes(), Style::indented("  ")), None);
        assert!(rewrite(nested(MAX_INDENTED).as_bytes(), Style::indented("  ")).is_some());
        assert_eq!(rewrite(deep.as_bytes(), COMPACT), Some(deep.into_bytes()));
    }
}
