//! Where a visit was referred from: the host, and what kind of place that is.

mod map;

use super::Labelling;

/// What kind of place referred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The sender says that nothing referred: typed, from a bookmark, or from an app that does not tell.
    Direct,
    Search,
    Social,
    Email,
    /// Where colleagues talk: Teams, Slack.
    Chat,
    /// An assistant.
    Ai,
    Other,
}

impl Class {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Class::Direct => "direct",
            Class::Search => "search",
            Class::Social => "social",
            Class::Email => "email",
            Class::Chat => "chat",
            Class::Ai => "ai",
            Class::Other => "other",
        }
    }

    /// The class that a line of the list names; no line says `direct`.
    fn of_list(name: &str) -> Option<Self> {
        let classes = [Class::Search, Class::Social, Class::Email, Class::Chat, Class::Ai, Class::Other];
        classes.into_iter().find(|class| class.as_str() == name)
    }
}

#[inline]
pub(super) fn label(at: &mut Labelling<'_, '_>) {
    if at.is_visit
        && at.event.referrer_class.is_empty()
        && let Some(given) = at.hints.referrer
    {
        at.event.referrer_host = host(given).into();
        at.event.referrer_class = class(&at.event.referrer_host).as_str().into();
    }
}

/// The host of a referrer, which is a URL or a host; `''` when it has none.
fn host(referrer: &str) -> String {
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

/// The class of a referring host or app; no host is direct.
fn class(host: &str) -> Class {
    if host.is_empty() {
        return Class::Direct;
    }
    map::class_of(host).unwrap_or(Class::Other)
}

/// The class of a host or app that the map knows; `None` when it knows none.
pub(super) fn known_class(host: &str) -> Option<Class> {
    map::class_of(host)
}

/// Whether a pattern of the configuration means this host.
pub(super) fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host != domain && is_or_below(host, domain),
        None => host == pattern && !host.is_empty(),
    }
}

fn is_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
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
    fn a_referrer_that_is_an_address_in_any_spelling_has_no_host() {
        for referrer in [
            "ios-app://288429040/",
            "288429040",
            "http://0xC0A80101/",
            "http://0300.0250.1.1/",
            "http://192.168.257/",
            "http://１９２.168.1.1/",
            "http://%31%39%32.168.1.1/",
            "http://192.168.1.1:8080/x",
            "http://192.168.1.1.nip.io/",
            "http://[::ffff:192.168.1.1]:80/",
            "http://[fe80::1%25eth0]/",
            "2001:db8::1",
        ] {
            assert_eq!(host(referrer), "", "{referrer}");
        }
        assert_eq!(host("https://24.example/"), "24.example");
        assert_eq!(host("https://ip-0xc0a80101-x.example/"), "", "an address, written in another way");
    }

    #[test]
    fn hosts_fall_into_their_class() {
        for (host, expected) in [
            ("", Class::Direct),
            ("www.google.de", Class::Search),
            ("google.co.uk", Class::Search),
            ("images.google.fr", Class::Search),
            ("google.example.com", Class::Other),
            ("google.zip", Class::Other),
            ("accounts.google.com", Class::Other),
            ("docs.google.com", Class::Other),
            ("news.google.de", Class::Other),
            ("mail.google.com", Class::Email),
            ("groups.google.com", Class::Social),
            ("chat.google.com", Class::Chat),
            ("finance.yahoo.com", Class::Other),
            ("de.search.yahoo.com", Class::Search),
            ("mail.yahoo.co.jp", Class::Email),
            ("mail.yandex.ru", Class::Email),
            ("yandex.kz", Class::Search),
            ("market.yandex.ru", Class::Other),
            ("go.mail.ru", Class::Search),
            ("my.mail.ru", Class::Social),
            ("e.mail.ru", Class::Email),
            ("tieba.baidu.com", Class::Social),
            ("pan.baidu.com", Class::Other),
            ("mail.naver.com", Class::Email),
            ("blog.naver.com", Class::Social),
            ("eur01.safelinks.protection.outlook.com", Class::Email),
            ("webmail.example.com", Class::Email),
            ("l.instagram.com", Class::Social),
            ("www.pinterest.de", Class::Social),
            ("t.co", Class::Social),
            ("at.co", Class::Other),
            ("com.twitter.android", Class::Social),
            ("com.whatsapp", Class::Social),
            ("com.microsoft.bing", Class::Search),
            ("teams.microsoft.com", Class::Chat),
            ("chatgpt.com", Class::Ai),
            ("www.perplexity.ai", Class::Ai),
            ("suche.t-online.de", Class::Search),
            ("search.example", Class::Other),
            ("news.example", Class::Other),
            // What a site calls its own search is not a search engine, in any language.
            ("recherche.univ-lyon2.fr", Class::Other),
            ("ricerca.example.it", Class::Other),
            ("portal.pesquisa.example.br", Class::Other),
            ("search.google.com", Class::Other),
            ("search.library.example.edu", Class::Other),
            ("de.search.yahoo.com", Class::Search),
            ("m.suche.web.de", Class::Search),
            ("ricerca.virgilio.it", Class::Search),
            // A provider's or a portal's domain has more than its search, or its mail.
            ("webmail.charter.net", Class::Email),
            ("mail.goo.ne.jp", Class::Email),
            ("webmail.arcor.de", Class::Email),
            ("www.charter.net", Class::Search),
            ("search.goo.ne.jp", Class::Search),
            ("blog.goo.ne.jp", Class::Other),
            ("www.nintendo.co.jp", Class::Other),
            ("login.live.com", Class::Other),
            ("news.mail.ru", Class::Other),
            ("touch.mail.ru", Class::Email),
            ("mail.example.com", Class::Email),
            ("mail.example", Class::Other),
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
