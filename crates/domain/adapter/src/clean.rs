//! What may rest in a stored text: sentinels become unknown, e-mail addresses go, lengths are bounded.

use std::borrow::Cow;

use crate::json::Given;

/// The longest text that is stored, in bytes.
const MAX_TEXT: usize = 1_024;

/// Words by which platforms say that they do not know.
const SENTINELS: [&str; 9] =
    ["unknown", "(direct)", "null", "undefined", "(none)", "(not set)", "none", "n/a", "direct"];

/// The most lines of the trace that a payload can cause.
const MAX_NOTES: usize = 24;

/// Cleans texts and writes down what it took away.
#[derive(Debug, Default)]
pub(crate) struct Cleaner<'a> {
    trace: Vec<Cow<'a, str>>,
}

impl<'a> Cleaner<'a> {
    /// Adds a line to the trace, once.
    pub(crate) fn note(&mut self, line: impl Into<Cow<'a, str>>) {
        let line = line.into();
        if self.trace.len() < MAX_NOTES && !self.trace.contains(&line) {
            self.trace.push(line);
        }
    }

    /// What was noted.
    pub(crate) fn into_trace(self) -> Vec<Cow<'a, str>> {
        self.trace
    }

    /// A text that names something: kept as it is, unless it holds an e-mail address or is too long.
    pub(crate) fn name(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        self.text(field, given.or_empty())
    }

    /// A text that describes something: as [`Self::name`], and `Unknown`, `(direct)` or `null` say nothing.
    pub(crate) fn said(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        let text = given.or_empty();
        if is_sentinel(&text) { Cow::Borrowed("") } else { self.text(field, text) }
    }

    /// As [`Self::said`], in lower case.
    pub(crate) fn lower(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        lower(self.said(field, given))
    }

    /// A class of devices, in lower case and by one name: some platforms say smartphone, others mobile.
    pub(crate) fn device(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        let device = self.lower(field, given);
        match device.as_ref() {
            "smartphone" | "phone" | "mobile phone" | "feature phone" => Cow::Borrowed("mobile"),
            "computer" | "laptop" | "pc" => Cow::Borrowed("desktop"),
            _ => device,
        }
    }

    /// As [`Self::name`], for a text that is at hand.
    pub(crate) fn text(&mut self, field: &'static str, text: Cow<'a, str>) -> Cow<'a, str> {
        let text = trimmed(text);
        if holds_email(&text) {
            self.note(format!("blanked:{field}"));
            return Cow::Borrowed("");
        }
        if text.len() > MAX_TEXT {
            self.note(format!("clipped:{field}"));
            return clipped(text, MAX_TEXT);
        }
        text
    }

    /// Notes that a field holds what it cannot mean, so that it was passed over.
    pub(crate) fn bad_field(&mut self, path: &str) {
        self.note(format!("bad_field:{path}"));
    }

    /// Two letters in upper case; the code for nowhere is unknown, anything else is noted and passed over.
    pub(crate) fn country(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        let text = trimmed(given.or_empty());
        match text.as_bytes() {
            [b'X' | b'x', b'X' | b'x'] => Cow::Borrowed(""),
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => text,
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => text.to_ascii_uppercase().into(),
            _ => {
                if !text.is_empty() && !is_sentinel(&text) {
                    self.bad_field(field);
                }
                Cow::Borrowed("")
            }
        }
    }

    /// A host name: lower case, punycode, without a final dot and without the port that browsers leave out. One that is no
    /// host name is noted and passed over.
    pub(crate) fn host(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        let text = trimmed(given.or_empty());
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        if text.len() <= 253 && !text.ends_with('.') && !text.contains("xn--") && text.bytes().all(plain) {
            return text;
        }
        // In brackets, colons are part of an address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, port)
            }
            _ => (text.as_ref(), ""),
        };
        let port = match port.parse::<u16>() {
            Ok(80 | 443) => Some(String::new()),
            Ok(port) => Some(format!(":{port}")),
            Err(_) => port.is_empty().then(String::new),
        };
        match (url::Host::parse(host.trim_end_matches('.')), port) {
            (Ok(host), Some(port)) => format!("{host}{port}").into(),
            _ => {
                self.bad_field(field);
                Cow::Borrowed("")
            }
        }
    }
}

/// Whether the text says that its sender does not know.
pub(crate) fn is_sentinel(text: &str) -> bool {
    text.len() <= 9 && SENTINELS.iter().any(|sentinel| sentinel.eq_ignore_ascii_case(text.trim()))
}

/// The text without space around it.
pub(crate) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// The text in lower case.
pub(crate) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { text }
}

/// The first `most` bytes, or a little less where that would split a character.
pub(crate) fn clipped(text: Cow<'_, str>, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text;
    }
    let end = text.floor_char_boundary(most);
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

/// Whether something in the text has the shape of an e-mail address, as it stands or percent-encoded.
pub(crate) fn holds_email(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| match byte {
        b'@' => email_around(&bytes[..at], &bytes[at + 1..]),
        b'%' if bytes[at..].starts_with(b"%40") => email_around(&bytes[..at], &bytes[at + 3..]),
        _ => false,
    })
}

/// Whether a local part ends before the sign and a host with a top-level domain starts after it.
fn email_around(before: &[u8], after: &[u8]) -> bool {
    let local = |byte: &u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"._%+-'\"!#$&*=?^`{|}~".contains(byte);
    let in_host = |byte: &&u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-.".contains(byte);
    let host = &after[..after.iter().take_while(in_host).count()];
    let mut labels = host.split(|byte| *byte == b'.');
    before.last().is_some_and(local)
        && labels.next().is_some_and(|first| !first.is_empty())
        && labels.any(|label| label.len() >= 2 && !label.iter().any(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_shape_of_an_email_address_is_found() {
        for text in ["jane@example.com", "to=jane.doe+x@mail.example.co.uk&x", "jane%40example.com", "<jané@bücher.de>"]
        {
            assert!(holds_email(text), "{text}");
        }
        for text in ["@acme", "a @ b.com", "50%40", "jane@localhost", "x@1.2", "https://social.example/@jane", "a@.com"]
        {
            assert!(!holds_email(text), "{text}");
        }
    }

    #[test]
    fn a_blanked_or_clipped_value_leaves_a_note() {
        let mut cleaner = Cleaner::default();
        assert_eq!(cleaner.name("utm_term", Given::Is("jane@example.com".into())), "");
        assert_eq!(cleaner.name("slug", Given::Is("é".repeat(600).into())).len(), MAX_TEXT);
        assert_eq!(cleaner.trace, ["blanked:utm_term", "clipped:slug"]);
    }

    #[test]
    fn sentinels_say_nothing_but_may_name_a_link() {
        let mut cleaner = Cleaner::default();
        for sentinel in ["Unknown", "(direct)", "null", "(not set)"] {
            assert_eq!(cleaner.said("os", Given::Is(sentinel.into())), "");
        }
        assert_eq!(cleaner.name("slug", Given::Is("null".into())), "null");
    }

    #[test]
    fn devices_have_one_name_each() {
        let mut cleaner = Cleaner::default();
        let mut device = |text: &'static str| cleaner.device("device", Given::Is(text.into())).into_owned();
        assert_eq!([device("Smartphone"), device("Desktop"), device("PC")], ["mobile", "desktop", "desktop"]);
        assert_eq!([device("Tablet"), device("Unknown"), device("Smart TV")], ["tablet", "", "smart tv"]);
    }

    #[test]
    fn hosts_are_lower_case_and_punycode() {
        let mut cleaner = Cleaner::default();
        let mut host = |text: &str| cleaner.host("domain", Given::Is(text.to_owned().into())).into_owned();
        assert_eq!(host("Go.Acme.example."), "go.acme.example");
        assert_eq!(host("bücher.example"), "xn--bcher-kva.example");
        assert_eq!(host("localhost:8080"), "localhost:8080");
        for one in [
            "go.acme.example:80",
            "go.acme.example:443",
            "GO.acme.example.:443",
            "go%2Eacme.example",
            "go.acme.example:",
        ] {
            assert_eq!(host(one), "go.acme.example", "{one}");
        }
        assert_eq!(host("[2001:DB8::1]:443"), "[2001:db8::1]");
        assert_eq!(host("no host"), "");
        assert_eq!(cleaner.trace, ["bad_field:domain"]);
    }

    #[test]
    fn a_country_is_two_letters_or_unknown() {
        let mut cleaner = Cleaner::default();
        for (given, expected) in [("de", "DE"), ("US", "US"), ("Germany", ""), ("XX", ""), ("Unknown", ""), ("", "")] {
            assert_eq!(cleaner.country("country", Given::Is(given.into())), expected);
        }
        assert_eq!(cleaner.into_trace(), ["bad_field:country"]);
    }

    #[test]
    fn a_payload_cannot_flood_the_trace() {
        let mut cleaner = Cleaner::default();
        (0..1_000).for_each(|_| cleaner.note("the same"));
        (0..1_000).for_each(|n| cleaner.note(format!("line {n}")));
        assert_eq!(cleaner.into_trace().len(), MAX_NOTES);
    }
}
