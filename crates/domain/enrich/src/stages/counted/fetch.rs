//! Requests that follow a link without a person who sees the page: HEAD, prefetch, a preview.

/// Why a request counts as a bot's, by its method and by what the browser says that it is for.
///
/// A scanner asks HEAD for what is behind a link. `Sec-Purpose` and its elders (`Purpose`, `X-Moz`, `X-Purpose`) say
/// that a browser fetches a page before a person opens it; if they do, that is another request, and another event.
pub(crate) fn reason(method: &str, purpose: &str) -> Option<&'static str> {
    let method = method.trim();
    if method.eq_ignore_ascii_case("HEAD") {
        return Some("method:HEAD");
    }
    if method.eq_ignore_ascii_case("OPTIONS") {
        return Some("method:OPTIONS");
    }
    let says = |word: &str| {
        let words = purpose.split(|one: char| !one.is_ascii_alphanumeric());
        words.into_iter().any(|said| said.eq_ignore_ascii_case(word))
    };
    let known = [("prerender", "purpose:prerender"), ("prefetch", "purpose:prefetch"), ("preview", "purpose:preview")];
    known.into_iter().find(|(word, _)| says(word)).map(|(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_reader_says_so() {
        for (method, purpose, expected) in [
            ("HEAD", "", Some("method:HEAD")),
            ("head", "prefetch", Some("method:HEAD")),
            ("OPTIONS", "", Some("method:OPTIONS")),
            ("GET", "prefetch", Some("purpose:prefetch")),
            ("GET", "prefetch;prerender", Some("purpose:prerender")),
            ("", "prefetch;anonymous-client-ip", Some("purpose:prefetch")),
            ("GET", "Preview", Some("purpose:preview")),
            ("GET", "", None),
            ("POST", "navigate", None),
            ("", "", None),
        ] {
            assert_eq!(reason(method, purpose), expected, "{method} {purpose}");
        }
    }
}
