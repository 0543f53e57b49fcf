//! Where a link points: host, path, the query parameters that may be kept, and the UTM fields in it.

use std::borrow::Cow;

use event::personal;
use quick_cache::unsync::Cache;
use url::Url;

use crate::clean;
use crate::spelling;

/// URLs that are remembered; links repeat far more often than that.
const REMEMBERED: usize = 4_096;
/// Longer URLs are read anew each time, so that the memory stays bounded (8 MiB).
const MAX_REMEMBERED_URL: usize = 2_048;
/// The longest path that is stored, in bytes.
const MAX_PATH: usize = 2_048;

/// What advertising networks add to the links that they are paid for. `fbclid` is not one of them: it is on unpaid
/// links, too.
const PAID_CLICK_IDS: [&str; 8] = ["gclid", "wbraid", "gbraid", "dclid", "msclkid", "ttclid", "li_fat_id", "twclid"];

/// A destination URL, reduced to what may be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Lower case and punycode; `''` when the URL has none.
    pub(crate) host: String,
    /// The path, and the query parameters of the allow-list.
    pub(crate) path: String,
    /// The UTM fields, decoded until they no longer change.
    pub(crate) utm: Utm<String>,
    /// An advertising network's click id is in the query: the visit was paid for.
    pub(crate) paid_click: bool,
    /// The host was an IP address, and is not kept.
    pub(crate) blanked: bool,
}

/// The five UTM fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Utm<T> {
    pub(crate) source: T,
    pub(crate) medium: T,
    pub(crate) campaign: T,
    pub(crate) term: T,
    pub(crate) content: T,
}

/// Reads destination URLs, remembering the last few thousand.
#[derive(Debug)]
pub(crate) struct Destinations {
    keep_query_params: Vec<String>,
    remembered: Cache<Box<str>, Option<Destination>>,
}

impl Destinations {
    /// `keep_query_params` is the allow-list.
    pub(crate) fn new(keep_query_params: Vec<String>) -> Self {
        Self { keep_query_params, remembered: Cache::new(REMEMBERED) }
    }

    /// The destination, or `None` when the text is no absolute URL.
    pub(crate) fn read(&mut self, url: &str) -> Option<Destination> {
        if let Some(known) = self.remembered.get(url) {
            return known.clone();
        }
        let destination = parse(url, &self.keep_query_params);
        if url.len() <= MAX_REMEMBERED_URL {
            self.remembered.insert(url.into(), destination.clone());
        }
        destination
    }
}

fn parse(url: &str, keep_query_params: &[String]) -> Option<Destination> {
    let mended = mended(url);
    let url = Url::parse(&mended).ok()?;
    // mailto:, tel: and data: have no host, and what follows is a person or a document.
    let Some(host) = url.host_str() else { return Some(Destination::default()) };
    let host = host.trim_end_matches('.').to_lowercase();
    // An address may be somebody's own machine, and is no name to group by.
    let mut found = match clean::is_address(&host) {
        true => Destination { blanked: true, ..Destination::default() },
        false => Destination { host, ..Destination::default() },
    };
    let path = spelling::path(url.path());
    found.path.extend(path.split_inclusive('/').map(|segment| match personal::find(segment) {
        Some(_) if segment.ends_with('/') => "-/",
        Some(_) => "-",
        None => segment,
    }));
    let mut kept = form_urlencoded::Serializer::new(String::new());
    let pairs = url.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for pair in pairs {
        // A whole query that was encoded once more stands there as one name.
        let encoded = !pair.contains('=') && personal_decoded(pair).contains('=');
        let decoded = if encoded { personal_decoded(pair) } else { Cow::Borrowed(pair) };
        for (name, value) in form_urlencoded::parse(decoded.as_bytes()) {
            let name = name.trim_start_matches(['?', '&', ' ']).trim_start_matches("amp;").trim();
            if PAID_CLICK_IDS.iter().any(|id| id.eq_ignore_ascii_case(name)) {
                found.paid_click |= !value.trim().is_empty();
            }
            if let Some(utm) = found.utm.named(name) {
                take(utm, &value);
            } else if keep_query_params.iter().any(|kept| kept == name) && personal::find(&value).is_none() {
                kept.append_pair(name, &value);
            }
        }
    }
    // Pages that route by the fragment have their query there.
    if found.utm.is_empty()
        && let Some(fragment) = url.fragment()
    {
        let query = fragment.split_once('?').map_or(fragment, |(_, query)| query);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if let Some(utm) = found.utm.named(name.trim()) {
                take(utm, &value);
            }
        }
    }
    let kept = kept.finish();
    if !kept.is_empty() {
        found.path.push('?');
        found.path.push_str(&kept);
    }
    found.path.truncate(found.path.floor_char_boundary(MAX_PATH));
    // Parts that hold nothing can make an address together.
    if personal::find(&found.path).is_some() {
        found.path = "/-".into();
    }
    Some(found)
}

/// The URL with what several encoders did to its query taken back: `&amp;` is `&`, and a `?`, `;` or encoded `&` before
/// a UTM field parts parameters, in a path without a query too.
fn mended(url: &str) -> Cow<'_, str> {
    let bytes = url.as_bytes();
    let suspicious = bytes.iter().enumerate().any(|(at, byte)| match byte {
        b'&' => matches!(bytes.get(at + 1), Some(b'a' | b'A' | b'#' | b'?')),
        _ => false,
    });
    let mut text = Cow::Borrowed(url);
    if suspicious {
        // Several encoders leave `&amp;amp;`.
        for entity in ["&amp;", "&AMP;", "&#38;", "&#038;", "&#x26;", "&#X26;"] {
            while text.contains(entity) {
                text = text.replace(entity, "&").into();
            }
        }
    }
    // Where each UTM field begins, with what parts it from what stands before.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut in_query) = (0, false);
    let fragment = lower.find('#').unwrap_or(lower.len());
    for (at, _) in lower.match_indices("utm_").filter(|(at, _)| *at < fragment) {
        let Some(separator) = SEPARATORS.iter().find(|separator| lower[..at].ends_with(**separator)) else { continue };
        let start = at - separator.len();
        if start < copied {
            continue;
        }
        out.push_str(&text[copied..start]);
        in_query |= out.contains('?');
        out.push(if in_query { '&' } else { '?' });
        in_query = true;
        copied = at;
    }
    if copied == 0 {
        return text;
    }
    out.push_str(&text[copied..]);
    out.into()
}

/// What can stand before a UTM field; the longer ones first.
const SEPARATORS: [&str; 11] =
    ["%26amp%3b", "%26amp;", "&amp%3b", "%2526", "%253f", "%26", "%3f", "%3b", "&", "?", ";"];

fn personal_decoded(text: &str) -> Cow<'_, str> {
    match personal::decoded(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

/// Sets a field, unless nothing is said: of several the last that says something counts.
fn take(field: &mut String, value: &str) {
    let value = personal_decoded(value);
    if !value.trim().is_empty() {
        *field = value.into_owned();
    }
}

impl Utm<String> {
    fn named(&mut self, name: &str) -> Option<&mut String> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        match () {
            () if name.len() < 8 => None,
            () if is("utm_source") => Some(&mut self.source),
            () if is("utm_medium") => Some(&mut self.medium),
            () if is("utm_campaign") => Some(&mut self.campaign),
            () if is("utm_term") => Some(&mut self.term),
            () if is("utm_content") => Some(&mut self.content),
            () => None,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(url: &str) -> Destination {
        let mut destinations = Destinations::new(vec!["sku".into(), "lang".into()]);
        let first = destinations.read(url).expect("a URL");
        assert_eq!(destinations.read(url), Some(first.clone()), "remembered as it was read");
        first
    }

    #[test]
    fn only_the_query_parameters_of_the_allow_list_are_kept() {
        let found = read(
            "https://user:secret@Bücher.Example:8443/p/1?sku=9&token=s3cret&lang=de%20AT&utm_source=news+letter#top",
        );
        assert_eq!(found.host, "xn--bcher-kva.example");
        assert_eq!(found.path, "/p/1?sku=9&lang=de+AT");
        assert_eq!(found.utm.source, "news letter");
    }

    #[test]
    fn the_click_id_of_an_advertising_network_marks_a_paid_click() {
        for id in PAID_CLICK_IDS {
            assert!(read(&format!("https://shop.example/?sku=9&{id}=abc")).paid_click, "{id}");
            assert!(read(&format!("https://shop.example/?{}=abc", id.to_uppercase())).paid_click, "{id} in upper case");
            assert!(!read(&format!("https://shop.example/?{id}=")).paid_click, "{id} without a value");
        }
        assert!(!read("https://shop.example/?fbclid=abc").paid_click, "on unpaid links, too");
        assert_eq!(read("https://shop.example/?gclid=abc").path, "/", "the id itself is not kept");
    }

    #[test]
    fn an_email_address_in_a_path_or_parameter_goes() {
        let found = read("https://acme.example/unsubscribe/jane%40example.com/now?sku=jane@example.com");
        assert_eq!(found.path, "/unsubscribe/-/now");
    }

    #[test]
    fn one_destination_in_several_spellings_is_one() {
        for url in
            ["https://shop.example/caf%c3%a9", "https://shop.example./café", "HTTPS://Shop.Example:443/%63af%C3%A9#x"]
        {
            assert_eq!((read(url).host.as_str(), read(url).path.as_str()), ("shop.example", "/caf%C3%A9"), "{url}");
        }
        for letter in (' '..='~').filter(|letter| !"/?#\\.%".contains(*letter)) {
            let encoded = format!("https://shop.example/a%{:02x}b", letter as u32);
            assert_eq!(read(&encoded), read(&format!("https://shop.example/a{letter}b")), "{encoded}");
        }
        assert_eq!(read("https://shop.example/a%2fb%3f").path, "/a%2Fb%3F", "another address than a/b?");
        assert_eq!(read("https://shop.example/100%").path, "/100%25");
    }

    #[test]
    fn an_address_goes_however_it_is_encoded_and_wherever_it_stands() {
        for url in [
            "https://acme.example/u/jane%2540example.com/x?sku=1",
            "https://acme.example/u/jane＠example.com/x?sku=1",
            "https://acme.example/u/203.0.113.7/x?sku=1",
            "https://acme.example/u/203%252E0.113.7/x?sku=1",
        ] {
            assert_eq!(read(url).path, "/u/-/x?sku=1", "{url}");
        }
        assert_eq!(read("https://acme.example/x?sku=jane%252540example.com").path, "/x");
        assert_eq!(read("https://acme.example/x?sku=x&lang=%40example.com").path, "/-", "none alone, one together");
        for url in [
            "http://203.0.113.7/x",
            "http://0xC0A80101/x",
            "http://3232235777/x",
            "http://[2001:db8::1]:80/x",
            "app://203.0.113.7/x",
        ] {
            let found = read(url);
            assert_eq!((found.host.as_str(), found.path.as_str(), found.blanked), ("", "/x", true), "{url}");
        }
    }

    #[test]
    fn utm_fields_are_found_whatever_encoders_did_to_the_query() {
        for url in [
            "https://acme.example/p?utm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p?utm_campaign=c&amp;utm_medium=email&amp;utm_source=news",
            "https://acme.example/p?utm_campaign=c&amp;amp;utm_medium=email&amp;amp;utm_source=news",
            "https://acme.example/p?utm_campaign=c&#38;utm_medium=email&#x26;utm_source=news",
            "https://acme.example/p?utm_campaign=c%26amp%3Butm_medium=email%26utm_source=news",
            "https://acme.example/p?utm_source=news&utm_medium=email&utm_campaign=c&utm_source=&utm_medium=&utm_campaign=%20",
            "https://acme.example/p?utm_source=&utm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p?x=1?utm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p??utm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p?&utm_source=news&&utm_medium=email&utm_campaign=c&",
            "https://acme.example/p&utm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p%3Futm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p?utm_source%3Dnews%26utm_medium%3Demail%26utm_campaign%3Dc",
            "https://acme.example/p?utm_source%253Dnews%2526utm_medium%253Demail%2526utm_campaign%253Dc",
            "https://acme.example/p?utm_source=news;utm_medium=email;utm_campaign=c",
            "https://acme.example/p?UTM_Source=news&Utm_Medium=email&utm_CAMPAIGN=c",
            "https://acme.example/p?utm_source=%256Eews&utm_medium=%252565mail&utm_campaign=c",
            "https://acme.example/p#utm_source=news&utm_medium=email&utm_campaign=c",
            "https://acme.example/p#/route?utm_source=news&utm_medium=email&utm_campaign=c",
        ] {
            let found = read(url);
            let utm = [found.utm.source.as_str(), &found.utm.medium, &found.utm.campaign];
            assert_eq!(utm, ["news", "email", "c"], "{url}");
            assert_eq!(found.path, "/p", "{url}");
        }
        assert_eq!(read("https://acme.example/p?utm_campaign=spring%2520sale").utm.campaign, "spring sale");
        assert_eq!(read("https://acme.example/p?utm_campaign=100%25").utm.campaign, "100%");
        assert_eq!(read("https://acme.example/p?utm_campaign=a&utm_campaign=b").utm.campaign, "b", "the last counts");
        assert_eq!(read("https://acme.example/p?sku=R&D&lang=de").path, "/p?sku=R&lang=de");
        assert_eq!(read("https://acme.example/p?x=1&amp;sku=9").path, "/p?sku=9");
    }

    proptest! {
        /// Five fields, in any order and by any mixture of separators that encoders leave.
        #[test]
        fn utm_fields_survive_every_mixture_of_separators(
            order in Just(["source", "medium", "campaign", "term", "content"]).prop_shuffle(),
            separators in prop::array::uniform5(prop::sample::select(vec!["&", "&amp;", "&amp;amp;", ";", "?", "%26", "&#38;", "%26amp%3B", "&&"])),
            blanks in prop::array::uniform5(any::<bool>()),
            depth in 0..4_usize,
        ) {
            let mut url = "https://acme.example/p?a=1".to_owned();
            for ((field, separator), blank) in order.into_iter().zip(separators).zip(blanks) {
                let mut value = format!("{field} 1");
                for _ in 0..depth {
                    value = value.replace('%', "%25").replace(' ', "%20");
                }
                url += &format!("{separator}utm_{field}={}", value.replace(' ', "+"));
                if blank {
                    url += &format!("&utm_{field}=");
                }
            }
            let utm = read(&url).utm;
            let found = [utm.source, utm.medium, utm.campaign, utm.term, utm.content];
            prop_assert_eq!(found, ["source 1", "medium 1", "campaign 1", "term 1", "content 1"], "{}", url);
        }

        #[test]
        fn any_url_panics_nobody_and_keeps_no_address(rest in any::<String>(), odd in "[-a-z0-9.:@%/?&#;=]{0,60}(utm_source=)?[a-z@.%&0-9]{0,20}") {
            for url in [format!("https://acme.example/{rest}"), format!("https://acme.example/{odd}"), odd, rest] {
                if let Some(found) = Destinations::new(vec!["sku".into()]).read(&url) {
                    prop_assert_eq!(personal::find(&found.path), None, "{}", found.path);
                    prop_assert_eq!(personal::find(&found.host), None, "{}", found.host);
                }
            }
        }
    }

    #[test]
    fn what_is_no_web_address_stores_nothing_but_a_host() {
        assert_eq!(read("mailto:jane@example.com"), Destination::default());
        assert_eq!(read("acmeapp://Product/1").host, "product");
        assert_eq!(Destinations::new(Vec::new()).read("not a url"), None);
    }
}
