//! Where a link points: host, path, the query parameters that may be kept, and the UTM fields in it.

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

/// A destination URL, reduced to what may be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Lower case and punycode; `''` when the URL has none.
    pub(crate) host: String,
    /// The path, and the query parameters of the allow-list.
    pub(crate) path: String,
    /// The UTM fields, percent-decoded.
    pub(crate) utm: Utm<String>,
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
    let url = Url::parse(url).ok()?;
    // mailto:, tel: and data: have no host, and what follows is a person or a document.
    let Some(host) = url.host_str() else { return Some(Destination::default()) };
    let mut found = Destination { host: host.trim_end_matches('.').to_lowercase(), ..Destination::default() };
    let path = spelling::path(url.path());
    found.path.extend(path.split_inclusive('/').map(|segment| match clean::holds_email(segment) {
        true if segment.ends_with('/') => "-/",
        true => "-",
        false => segment,
    }));
    let mut kept = form_urlencoded::Serializer::new(String::new());
    for (name, value) in url.query_pairs() {
        let utm = match name.as_ref() {
            "utm_source" => Some(&mut found.utm.source),
            "utm_medium" => Some(&mut found.utm.medium),
            "utm_campaign" => Some(&mut found.utm.campaign),
            "utm_term" => Some(&mut found.utm.term),
            "utm_content" => Some(&mut found.utm.content),
            _ => None,
        };
        if let Some(utm) = utm {
            *utm = value.into_owned();
        } else if keep_query_params.iter().any(|kept| *kept == name) && !clean::holds_email(&value) {
            kept.append_pair(&name, &value);
        }
    }
    let kept = kept.finish();
    if !kept.is_empty() {
        found.path.push('?');
        found.path.push_str(&kept);
    }
    found.path.truncate(found.path.floor_char_boundary(MAX_PATH));
    Some(found)
}

#[cfg(test)]
mod tests {
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
    fn what_is_no_web_address_stores_nothing_but_a_host() {
        assert_eq!(read("mailto:jane@example.com"), Destination::default());
        assert_eq!(read("acmeapp://Product/1").host, "product");
        assert_eq!(Destinations::new(Vec::new()).read("not a url"), None);
    }
}
