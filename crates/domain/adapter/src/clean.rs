//! What may rest in a stored text: sentinels become unknown, e-mail and IP addresses go, lengths are bounded.

use std::borrow::Cow;

use event::{country, personal};

use crate::Unreadable;
use crate::json::Given;

/// The longest text that is stored, in bytes.
const MAX_TEXT: usize = 1_024;

/// How much of a text is searched for addresses, in bytes: well beyond what is stored.
const LOOKED_AT: usize = 16 * MAX_TEXT;

/// Words by which platforms say that they do not know.
const SENTINELS: [&str; 9] =
    ["unknown", "(direct)", "null", "undefined", "(none)", "(not set)", "none", "n/a", "direct"];

/// The most lines of the trace that a payload can cause.
const MAX_NOTES: usize = 24;

/// Cleans texts and writes down what it took away.
#[derive(Debug, Default)]
pub(crate) struct Cleaner<'a> {
    trace: Vec<Cow<'a, str>>,
    unreadable: Vec<Unreadable>,
}

impl<'a> Cleaner<'a> {
    /// Adds a line to the trace, once.
    pub(crate) fn note(&mut self, line: impl Into<Cow<'a, str>>) {
        let line = line.into();
        if self.trace.len() < MAX_NOTES && !self.trace.contains(&line) {
            self.trace.push(line);
        }
    }

    /// The lines of the trace, and what could not be read.
    pub(crate) fn into_notes(self) -> (Vec<Cow<'a, str>>, Vec<Unreadable>) {
        (self.trace, self.unreadable)
    }

    /// Counts a value that could not be read, once.
    pub(crate) fn unreadable(&mut self, what: Unreadable) {
        if !self.unreadable.contains(&what) {
            self.unreadable.push(what);
        }
    }

    /// A text that names something: kept as it is, unless it holds an e-mail or IP address or is too long.
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
        let too_long = text.len() > MAX_TEXT;
        let kept = clipped(text, LOOKED_AT);
        if personal::find(&kept).is_some() {
            return self.blanked(field);
        }
        if !too_long {
            return kept;
        }
        let kept = clipped(kept, MAX_TEXT);
        // The cut may have made an address of what was none.
        if personal::find(&kept).is_some() {
            return self.blanked(field);
        }
        self.note(format!("clipped:{field}"));
        kept
    }

    fn blanked(&mut self, field: &str) -> Cow<'a, str> {
        self.note(format!("blanked:{field}"));
        Cow::Borrowed("")
    }

    /// Notes that a field holds what it cannot mean, so that it was passed over.
    pub(crate) fn bad_field(&mut self, path: &str) {
        self.note(format!("bad_field:{path}"));
    }

    /// A country's code of ISO 3166-1; the codes for nowhere are unknown, anything else is noted and passed over.
    pub(crate) fn country(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        let text = trimmed(given.or_empty());
        match text.as_bytes() {
            [a, b] if country::is_code(*a, *b) => return text,
            _ => {}
        }
        match country::read(&text) {
            Some(code) => Cow::Borrowed(code),
            None => {
                if !(text.is_empty() || is_sentinel(&text) || country::is_nowhere(&text)) {
                    self.unreadable(Unreadable::Country);
                    self.bad_field(field);
                }
                Cow::Borrowed("")
            }
        }
    }

    /// A host name: lower case, punycode, without a final dot and without the port that browsers leave out. One that is
    /// no host name, or is an address, is noted and passed over.
    pub(crate) fn host(&mut self, field: &'static str, given: Given<Cow<'a, str>>) -> Cow<'a, str> {
        let text = trimmed(given.or_empty());
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        if text.len() <= 253 && !text.ends_with('.') && !text.contains("xn--") && text.bytes().all(plain) {
            return match may_be_a_number(&text) && is_address(&text) {
                true => self.blanked(field),
                false => text,
            };
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
            (Ok(_), Some(_)) if is_address(host) => self.blanked(field),
            (Ok(host), Some(port)) => format!("{host}{port}").into(),
            _ => {
                self.bad_field(field);
                Cow::Borrowed("")
            }
        }
    }
}

/// Whether a host in lower case has a label that begins with a digit: only such a one can be an address.
fn may_be_a_number(host: &str) -> bool {
    let starts = |pair: &[u8]| matches!(pair, [b'.', b'0'..=b'9']);
    host.starts_with(|first: char| first.is_ascii_digit()) || host.as_bytes().windows(2).any(starts)
}

/// Whether a host is an IP address in any spelling that URLs know (a single number too), or has one in it.
pub(crate) fn is_address(host: &str) -> bool {
    let parsed = url::Host::parse(host);
    !matches!(parsed, Ok(url::Host::Domain(_))) && parsed.is_ok() || personal::find(host).is_some()
}

/// Whether the text says that its sender does not know.
pub(crate) fn is_sentinel(text: &str) -> bool {
    let word = if text.len() <= 9 { trim(text) } else { "" };
    !word.is_empty() && SENTINELS.iter().any(|sentinel| sentinel.eq_ignore_ascii_case(word))
}

/// What a sender says of the page that a visitor came from: `''` where it says that there was none, `None` where it
/// does not say.
pub(crate) fn referrer(given: Given<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    const DIRECT: [&str; 5] = ["", "(direct)", "direct", "(none)", "none"];
    let text = given.ok()?;
    match text.trim() {
        word if DIRECT.iter().any(|direct| direct.eq_ignore_ascii_case(word)) => Some(Cow::Borrowed("")),
        word if is_sentinel(word) => None,
        _ => Some(text),
    }
}

/// The text without space around it.
pub(crate) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) if trim(&text).len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// As [`str::trim`]. Nearly all texts begin and end with what is plainly no space: they are not decoded to see that.
pub(crate) fn trim(text: &str) -> &str {
    let plain = |byte: Option<&u8>| byte.is_some_and(|byte| (b'!'..=b'~').contains(byte));
    let bytes = text.as_bytes();
    if bytes.is_empty() || plain(bytes.first()) && plain(bytes.last()) { text } else { text.trim() }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_trimmed_as_the_standard_library_does(text in "[ \\t\u{a0}\u{2003}a\u{e9}.]{0,6}") {
            prop_assert_eq!(trim(&text), text.trim());
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
        assert_eq!(host("no host"), "");
        assert_eq!(cleaner.trace, ["bad_field:domain"]);
    }

    #[test]
    fn an_address_is_no_host() {
        let mut cleaner = Cleaner::default();
        for address in [
            "192.168.1.1",
            "192.168.1.1:8080",
            "[2001:DB8::1]:443",
            "3232235777",
            "0xC0A80101",
            "0300.0250.1.1",
            "192.168.1.1.nip.io",
            "１９２.168.1.1",
        ] {
            assert_eq!(cleaner.host("domain", Given::Is(address.into())), "", "{address}");
        }
        assert_eq!(cleaner.host("domain", Given::Is("24.example".into())), "24.example");
        assert_eq!(cleaner.trace, ["blanked:domain"]);
    }

    #[test]
    fn a_country_is_one_of_iso_3166_or_unknown() {
        let mut cleaner = Cleaner::default();
        let cases =
            [("de", "DE"), ("US", "US"), ("uk", "GB"), ("EL", "GR"), ("XX", ""), ("ZZ", ""), ("Unknown", ""), ("", "")];
        for (given, expected) in cases {
            assert_eq!(cleaner.country("country", Given::Is(given.into())), expected);
        }
        assert_eq!((cleaner.trace.len(), cleaner.unreadable.len()), (0, 0));
        for given in ["Germany", "EU", "T1", "A1", "AP", "SU", "YU", "XK", "E\u{301}", "DEU"] {
            assert_eq!(cleaner.country("country", Given::Is(given.into())), "", "{given}");
        }
        assert_eq!((cleaner.trace, cleaner.unreadable), (vec!["bad_field:country".into()], vec![Unreadable::Country]));
    }

    #[test]
    fn a_payload_cannot_flood_the_trace() {
        let mut cleaner = Cleaner::default();
        (0..1_000).for_each(|_| cleaner.note("the same"));
        (0..1_000).for_each(|n| cleaner.note(format!("line {n}")));
        assert_eq!(cleaner.trace.len(), MAX_NOTES);
    }
}
