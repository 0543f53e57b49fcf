//! Which kind of place a host or an app is: one map, asked for the host and then for each parent, so the most specific
//! entry counts. The entries are in `lists/referrers.tsv`. What a host is called says little: `search.example.com` is
//! mostly the search of one site, so search engines are listed.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Class;

const LIST: &str = include_str!("../../../lists/referrers.tsv");

static MAP: LazyLock<Map> = LazyLock::new(|| Map::new(LIST));

/// First names of hosts where people read their mail, under a provider's domain or under a company's.
const MAIL_NAMES: [&str; 3] = ["webmail.", "mail.", "deref-gmx."];

/// The last names of hosts under which countries register names at the third place: `google.co.uk`.
const SECOND_NAMES: [&str; 6] = ["co", "com", "net", "org", "ne", "or"];

#[derive(Debug, Clone, Copy)]
struct Entry {
    class: Class,
    /// Whether hosts below it are of the class, too.
    below: bool,
}

struct Map {
    hosts: HashMap<&'static str, Entry>,
    /// Names that stand under any country's domain, without it: `google`, `mail.yahoo`.
    anywhere: HashMap<&'static str, Class>,
}

/// The class of a host or of an app's name, in lower case; `None` when neither an entry nor its first name says one.
pub(super) fn class_of(host: &str) -> Option<Class> {
    MAP.class_of(host)
}

impl Map {
    fn new(list: &'static str) -> Self {
        let (mut hosts, mut anywhere) = (HashMap::new(), HashMap::new());
        for line in list.lines().filter(|line| !line.starts_with('#')) {
            let Some((class, names)) = line.split_once('\t') else { continue };
            let Some(class) = Class::of_list(class) else { continue };
            for name in names.split_ascii_whitespace() {
                if let Some(name) = name.strip_suffix(".*") {
                    anywhere.entry(name).or_insert(class);
                } else if let Some(host) = name.strip_prefix('=') {
                    hosts.entry(host).or_insert(Entry { class, below: false });
                } else {
                    hosts.entry(name).or_insert(Entry { class, below: true });
                }
            }
        }
        Self { hosts, anywhere }
    }

    fn class_of(&self, host: &str) -> Option<Class> {
        let host = host.strip_prefix("www.").unwrap_or(host);
        let exact = self.hosts.get(host).map(|entry| entry.class);
        let by_name = || names_mail(host).then_some(Class::Email);
        exact.or_else(|| self.under_any_country(host)).or_else(by_name).or_else(|| self.below_an_entry(host))
    }

    fn below_an_entry(&self, host: &str) -> Option<Class> {
        let mut parent = host;
        while let Some((_, above)) = parent.split_once('.') {
            parent = above;
            if let Some(entry) = self.hosts.get(parent).filter(|entry| entry.below) {
                return Some(entry.class);
            }
        }
        None
    }

    fn under_any_country(&self, host: &str) -> Option<Class> {
        self.anywhere.get(without_country(host)?).copied()
    }
}

/// `google` of `google.de`, `google.co.uk` and `google.com.br`; `None` when the host does not end in a country's domain.
fn without_country(host: &str) -> Option<&str> {
    let (rest, country) = host.rsplit_once('.')?;
    if country.len() != 2 {
        return None;
    }
    match rest.rsplit_once('.') {
        Some((name, second)) if SECOND_NAMES.contains(&second) => Some(name),
        _ => Some(rest),
    }
}

/// `mail.charter.net`, `webmail.example.com`; not `mail.example`, which is a domain.
fn names_mail(host: &str) -> bool {
    host.split('.').count() > 2 && MAIL_NAMES.iter().any(|name| host.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_read_and_no_host_stands_under_two_classes() {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let (class, names) = line.split_once('\t').expect("a class and hosts");
            assert!(Class::of_list(class).is_some(), "{class}");
            for name in names.split_ascii_whitespace() {
                assert_eq!(name, name.to_ascii_lowercase());
                if let Some(other) = seen.insert(name, class) {
                    assert_eq!(other, class, "{name} is {other} and {class}");
                }
            }
        }
    }

    #[test]
    fn a_name_stands_under_the_domains_of_countries_and_no_others() {
        assert_eq!(without_country("google.de"), Some("google"));
        assert_eq!(without_country("google.co.uk"), Some("google"));
        assert_eq!(without_country("google.com.br"), Some("google"));
        assert_eq!(without_country("images.google.fr"), Some("images.google"));
        assert_eq!(without_country("google.zip"), None);
        assert_eq!(class_of("google.zip"), None);
        assert_eq!(class_of("google.example.de"), None);
    }
}
