//! A short link as platforms write it: with or without its scheme.

use std::borrow::Cow;

/// Host and path of a short link, the path without its leading slash; nothing where there is no host. User names, the
/// query and the fragment are left out.
pub(crate) fn halves(text: Cow<'_, str>) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    match text {
        Cow::Borrowed(text) => of(text).map(|(host, slug)| (host.into(), slug.into())),
        Cow::Owned(text) => of(&text).map(|(host, slug)| (host.to_owned().into(), slug.to_owned().into())),
    }
}

fn of(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let text = text.split_once("://").map_or_else(|| text.strip_prefix("//").unwrap_or(text), |(_, rest)| rest);
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (host, slug) = text.split_once('/').unwrap_or((text, ""));
    let host = host.rsplit('@').next().unwrap_or_default();
    (!host.is_empty()).then_some((host, slug))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_link_is_host_and_slug_however_it_is_written() {
        for text in [
            "go.acme.example/a/b",
            "https://go.acme.example/a/b",
            "//go.acme.example/a/b",
            " HTTP://jane:pw@go.acme.example/a/b?x=1#y ",
        ] {
            for text in [Cow::Borrowed(text), Cow::Owned(text.to_owned())] {
                assert_eq!(halves(text), Some(("go.acme.example".into(), "a/b".into())));
            }
        }
        assert_eq!(halves("go.acme.example".into()), Some(("go.acme.example".into(), "".into())));
        for nothing in ["", "https://", "/spring", "?a=b"] {
            assert_eq!(halves(nothing.into()), None, "{nothing}");
        }
    }
}
