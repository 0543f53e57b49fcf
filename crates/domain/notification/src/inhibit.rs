//! While an alert of one rule fires, starts of others are held back: what is declared.

use std::collections::BTreeMap;

/// The name of the inhibition that is there by default: a silent source holds back the silence of its links.
pub const SILENT_SOURCE: &str = "silent-source";
/// What [`Inhibit::same`] calls the key of an alert.
pub const KEY: &str = "key";

/// While an alert of some rules fires, starts of others are held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibit {
    /// Its name.
    pub name: String,
    /// The rules whose alerts hold others back, each with the attribute that its key is: `source` of a rule per source;
    /// empty where its key is none.
    pub by: BTreeMap<String, String>,
    /// The rules whose starts are held back.
    pub hold: Vec<String>,
    /// What both alerts must say, and say alike: attributes, or [`KEY`].
    pub same: Vec<String>,
    /// How long a start waits, so that what holds it back has time to fire, in milliseconds.
    pub wait_ms: i64,
    /// For how long after the end a start is still held back, in milliseconds: what is over by then is never told.
    pub after_ms: i64,
}

/// What an alert is about, as inhibitions look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) rule: &'a str,
    pub(crate) key: &'a str,
    pub(crate) attributes: &'a BTreeMap<String, String>,
}

impl Inhibit {
    /// Whether an alert that fires holds another one back, whenever that is.
    pub(crate) fn matches(&self, firing: About<'_>, start: About<'_>) -> bool {
        let Some(key_is) = self.by.get(firing.rule) else { return false };
        let of =
            |about: About<'_>, name: &str, key_is: &str| match about.attributes.get(name).filter(|one| !one.is_empty())
            {
                _ if name == KEY => Some(about.key.to_owned()),
                Some(value) => Some(value.clone()),
                None => (key_is == name).then(|| about.key.to_owned()),
            };
        let alike = |name: &String| {
            let value = of(firing, name, key_is);
            value.is_some() && value == of(start, name, "")
        };
        self.hold.iter().any(|rule| rule == start.rule) && self.same.iter().all(alike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(source: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("source".to_owned(), source.to_owned()), ("slug".to_owned(), "a".to_owned())])
    }

    #[test]
    fn both_have_to_say_it_and_say_it_alike() {
        let inhibit = Inhibit {
            name: SILENT_SOURCE.to_owned(),
            by: BTreeMap::from([("source-quiet".to_owned(), "source".to_owned())]),
            hold: vec!["link-quiet".to_owned()],
            same: vec!["source".to_owned()],
            wait_ms: 0,
            after_ms: 0,
        };
        let (dub, bitly, empty) = (attributes("dub"), attributes("bitly"), BTreeMap::new());
        let firing = |attributes| About { rule: "source-quiet", key: "dub", attributes };
        let start = |rule, attributes| About { rule, key: "go.example.com/a", attributes };
        assert!(inhibit.matches(firing(&dub), start("link-quiet", &dub)));
        assert!(inhibit.matches(firing(&empty), start("link-quiet", &dub)), "its key says which source");
        assert!(!inhibit.matches(firing(&dub), start("link-quiet", &bitly)), "another source");
        assert!(!inhibit.matches(firing(&dub), start("other", &dub)), "another rule");
        assert!(!inhibit.matches(start("link-quiet", &dub), firing(&dub)), "the other way round");
        assert!(!inhibit.matches(firing(&dub), start("link-quiet", &empty)), "what is not known is not alike");
        let by_key = Inhibit { same: vec![KEY.to_owned()], ..inhibit.clone() };
        assert!(!by_key.matches(firing(&dub), start("link-quiet", &dub)));
        let always = Inhibit { same: Vec::new(), ..inhibit };
        assert!(always.matches(firing(&dub), start("link-quiet", &bitly)));
    }
}
