//! Where a visit was referred from: the host, and what kind of place that is.

/// What kind of place referred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Direct,
    Search,
    Social,
    Email,
    Other,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Class::Direct => "direct",
            Class::Search => "search",
            Class::Social => "social",
            Class::Email => "email",
            Class::Other => "other",
        }
    }
}

/// Mail readers on the web and the apps that name themselves. Looked at first: some live below a search engine's domain.
const EMAIL: [&str; 14] = [
    "mail.google.com",
    "com.google.android.gm",
    "outlook.live.com",
    "outlook.office.com",
    "outlook.office365.com",
    "com.microsoft.office.outlook",
    "mail.yahoo.com",
    "mail.aol.com",
    "mail.proton.me",
    "mail.zoho.com",
    "app.fastmail.com",
    "navigator.web.de",
    "navigator.gmx.net",
    "mail.ru",
];

const SOCIAL: [&str; 34] = [
    "facebook.com",
    "fb.com",
    "fb.me",
    "com.facebook.katana",
    "messenger.com",
    "instagram.com",
    "threads.net",
    "threads.com",
    "t.co",
    "twitter.com",
    "x.com",
    "linkedin.com",
    "lnkd.in",
    "com.linkedin.android",
    "pinterest.com",
    "pin.it",
    "reddit.com",
    "tiktok.com",
    "youtube.com",
    "youtu.be",
    "bsky.app",
    "mastodon.social",
    "snapchat.com",
    "whatsapp.com",
    "wa.me",
    "t.me",
    "telegram.org",
    "discord.com",
    "vk.com",
    "xing.com",
    "weibo.com",
    "tumblr.com",
    "quora.com",
    "news.ycombinator.com",
];

const SEARCH: [&str; 14] = [
    "bing.com",
    "duckduckgo.com",
    "ecosia.org",
    "startpage.com",
    "qwant.com",
    "search.brave.com",
    "baidu.com",
    "so.com",
    "sogou.com",
    "naver.com",
    "kagi.com",
    "search.marginalia.nu",
    "com.google.android.googlequicksearchbox",
    "seznam.cz",
];

/// Search engines with a domain in every country.
const SEARCH_EVERYWHERE: [&str; 3] = ["google", "yahoo", "yandex"];

/// The host of a referrer, which is a URL or a host; `''` when it has none.
pub(crate) fn host(referrer: &str) -> String {
    let rest = referrer.trim();
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return String::new();
    }
    // A referring address may be somebody's own machine: it is no name to group by, and not stored. A host that is a number
    // is one as well, such as the id of an app: URLs read it as an address.
    match url::Host::parse(host) {
        Ok(url::Host::Domain(name)) if event::personal::find(&name).is_none() => name,
        _ => String::new(),
    }
}

/// The class of a referring host; no host is direct.
pub(crate) fn class(host: &str) -> Class {
    let below = |domains: &[&str]| domains.iter().any(|domain| is_or_below(host, domain));
    if host.is_empty() {
        Class::Direct
    } else if below(&EMAIL) || host.starts_with("webmail.") {
        Class::Email
    } else if below(&SOCIAL) {
        Class::Social
    } else if below(&SEARCH) || SEARCH_EVERYWHERE.iter().any(|engine| is_engine_anywhere(host, engine)) {
        Class::Search
    } else {
        Class::Other
    }
}

/// Whether a pattern of the configuration means this host.
pub(crate) fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host != domain && is_or_below(host, domain),
        None => host == pattern && !host.is_empty(),
    }
}

fn is_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `www.google.de`, `google.co.uk`, but not `google.example.com`.
fn is_engine_anywhere(host: &str, engine: &str) -> bool {
    let mut labels = host.rsplit('.');
    let (Some(_), Some(second)) = (labels.next(), labels.next()) else { return false };
    second == engine || (matches!(second, "co" | "com") && labels.next() == Some(engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_found_in_whatever_is_given() {
        for (referrer, expected) in [
            ("https://News.Example/path?q=1", "news.example"),
            ("news.example", "news.example"),
            ("https://user:pw@news.example:8443/", "news.example"),
            ("android-app://com.google.android.gm/", "com.google.android.gm"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
            ("http://192.168.0.1/router", ""),
            ("http://[2001:db8::1]/", ""),
            ("about:blank", ""),
            ("", ""),
        ] {
            assert_eq!(host(referrer), expected, "{referrer}");
        }
    }

    #[test]
    fn hosts_fall_into_their_class() {
        for (host, expected) in [
            ("", Class::Direct),
            ("www.google.de", Class::Search),
            ("google.co.uk", Class::Search),
            ("google.example.com", Class::Other),
            ("mail.google.com", Class::Email),
            ("l.instagram.com", Class::Social),
            ("t.co", Class::Social),
            ("at.co", Class::Other),
            ("news.example", Class::Other),
        ] {
            assert_eq!(class(host), expected, "{host}");
        }
    }

    #[test]
    fn a_wildcard_means_the_hosts_below() {
        assert!(matches("*.staging.example.com", "a.b.staging.example.com"));
        assert!(!matches("*.staging.example.com", "staging.example.com"));
        assert!(!matches("*.staging.example.com", "notstaging.example.com"));
        assert!(matches("admin.example.com", "admin.example.com"));
        assert!(!matches("admin.example.com", "x.admin.example.com"));
        assert!(!matches("", ""));
    }
}
