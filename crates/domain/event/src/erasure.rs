//! Which records an erasure is about. A link and a visitor are kept as keyed hashes, so that the note of an erasure
//! does not hold what was erased.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::{Alert, Delivery, LinkEvent, Millis};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Records that are erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of a configured source.
    Source(String),
    /// Those about one link, whether a record has the platform's id of the link or `domain/slug`: the hash of that
    /// name.
    Link(u64),
    /// Those of one visitor on the one day on which its number means anything.
    Visitor {
        /// The day of UTC, in days since 1970.
        day: i64,
        /// The hash of the visitor's number, in decimal digits.
        visitor: u64,
    },
}

/// An erasure: which records, received until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Names it.
    pub id: String,
    /// The key of its hashes: no two erasures have one in common.
    pub key: [u64; 2],
    /// Which records.
    pub scope: Scope,
    /// Only what was received up to then: what comes later is another record.
    pub through: Millis,
}

/// SipHash-2-4, as ClickHouse's `sipHash64Keyed` computes it of a text.
fn hash(key: [u64; 2], text: &[&str]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(key[0], key[1]);
    text.iter().for_each(|part| hasher.write(part.as_bytes()));
    hasher.finish()
}

impl Scope {
    /// All of a configured source.
    #[must_use]
    pub fn source(name: &str) -> Self {
        Self::Source(name.to_owned())
    }

    /// A link, by the platform's id or `domain/slug`.
    #[must_use]
    pub fn link(key: [u64; 2], name: &str) -> Self {
        Self::Link(hash(key, &[name]))
    }

    /// A visitor on a day, in days since 1970.
    #[must_use]
    pub fn visitor(key: [u64; 2], day: i64, number: u64) -> Self {
        Self::Visitor { day, visitor: hash(key, &[&number.to_string()]) }
    }
}

impl Erasure {
    /// Whether a name is that of its link.
    #[must_use]
    pub fn is_link(&self, name: &str) -> bool {
        matches!(self.scope, Scope::Link(link) if hash(self.key, &[name]) == link)
    }

    /// Whether an alert is about what was erased, as far as it says so itself: of a visitor, only the rows tell.
    #[must_use]
    pub fn covers_alert(&self, alert: &Alert<'_>) -> bool {
        let of = |name| alert.attributes.get(name);
        alert.received_at <= self.through
            && match &self.scope {
                Scope::Source(source) => of("source") == source,
                Scope::Link(_) => {
                    let named = |name: &str| !name.is_empty() && self.is_link(name);
                    let slug = of("slug");
                    named(&alert.key)
                        || named(of("link_id"))
                        || !slug.is_empty() && self.is_link(&format!("{}/{slug}", of("domain")))
                }
                Scope::Visitor { .. } => false,
            }
    }

    /// Whether a step of a message names the link that was erased.
    #[must_use]
    pub fn covers_message(&self, step: &Delivery<'_>) -> bool {
        step.at <= self.through && !step.group.is_empty() && self.is_link(&step.group)
    }

    /// Whether a record is one of those that were erased.
    #[must_use]
    pub fn covers(&self, event: &LinkEvent<'_>) -> bool {
        if event.received_at > self.through {
            return false;
        }
        match &self.scope {
            Scope::Source(source) => event.source == source.as_str(),
            Scope::Link(link) => {
                let named = |name: &[&str]| hash(self.key, name) == *link;
                (!event.link_id.is_empty() && named(&[&event.link_id]))
                    || (!event.slug.is_empty() && named(&[&event.domain, "/", &event.slug]))
            }
            Scope::Visitor { day, visitor } => {
                event.visitor != 0
                    && event.event_time.0.div_euclid(DAY_MS) == *day
                    && hash(self.key, &[&event.visitor.to_string()]) == *visitor
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    fn erasure(scope: Scope) -> Erasure {
        Erasure { id: "e".into(), key: KEY, scope, through: Millis(1_000 + DAY_MS) }
    }

    fn click() -> LinkEvent<'static> {
        LinkEvent {
            received_at: Millis(900 + DAY_MS),
            event_time: Millis(500 + DAY_MS),
            source: "dub".into(),
            link_id: "l_1".into(),
            domain: "go.acme.example".into(),
            slug: "spring".into(),
            visitor: 77,
            ..LinkEvent::default()
        }
    }

    /// The first vectors of the reference implementation, which ClickHouse's tests hold as well.
    #[test]
    fn the_hash_is_siphash_2_4_of_the_text_alone() {
        assert_eq!(hash(KEY, &[""]), 0x726f_db47_dd0e_0e31);
        assert_eq!(hash(KEY, &["\0"]), 0x74f8_39c5_93dc_67fd);
        assert_eq!(hash(KEY, &["\0\u{1}\u{2}"]), hash(KEY, &["\0", "\u{1}\u{2}"]));
    }

    #[test]
    fn a_link_is_erased_by_either_of_its_names_and_its_name_is_not_kept() {
        for name in ["l_1", "go.acme.example/spring"] {
            let of_link = erasure(Scope::link(KEY, name));
            assert!(of_link.covers(&click()) && of_link.is_link(name), "{name}");
            assert!(!format!("{of_link:?}").contains("l_1") && !format!("{of_link:?}").contains("spring"));
        }
        for other in ["l_2", "spring", "go.acme.example/", "l_1/spring", ""] {
            assert!(!erasure(Scope::link(KEY, other)).covers(&click()), "{other}");
        }
        let nameless = LinkEvent { link_id: "".into(), slug: "".into(), domain: "".into(), ..click() };
        assert!(!erasure(Scope::link(KEY, "")).covers(&nameless), "no name is not a name");
        assert!(!erasure(Scope::link(KEY, "/")).covers(&nameless));
    }

    #[test]
    fn a_visitor_is_erased_on_the_day_alone_and_an_unknown_one_never() {
        assert!(erasure(Scope::visitor(KEY, 1, 77)).covers(&click()));
        for (day, number) in [(0, 77), (2, 77), (1, 78)] {
            assert!(!erasure(Scope::visitor(KEY, day, number)).covers(&click()), "{day} {number}");
        }
        assert!(!erasure(Scope::visitor(KEY, 1, 0)).covers(&LinkEvent { visitor: 0, ..click() }));
    }

    #[test]
    fn alerts_and_messages_that_name_what_was_erased_are_known_again() {
        let alert = |name: &'static str, value: &'static str| {
            let mut alert = Alert { received_at: Millis(900), ..Alert::default() };
            match name {
                "key" => alert.key = value.into(),
                name => alert.attributes.add(name, value),
            }
            alert
        };
        let mut by_slug = alert("domain", "go.acme.example");
        by_slug.attributes.add("slug", "spring");
        let (of_id, of_slug) = (erasure(Scope::link(KEY, "l_1")), erasure(Scope::link(KEY, "go.acme.example/spring")));
        assert!(of_id.covers_alert(&alert("link_id", "l_1")) && of_id.covers_alert(&alert("key", "l_1")));
        assert!(of_slug.covers_alert(&by_slug) && !of_id.covers_alert(&by_slug));
        assert!(!of_id.covers_alert(&alert("link_id", "l_2")) && !of_id.covers_alert(&Alert::default()));
        let of_source = erasure(Scope::source("dub"));
        assert!(of_source.covers_alert(&alert("source", "dub")) && !of_source.covers_alert(&alert("source", "bitly")));
        let later = Alert { received_at: Millis(of_id.through.0 + 1), ..alert("link_id", "l_1") };
        assert!(!of_id.covers_alert(&later), "what comes later is another alert");
        let step = |group: &'static str, at| Delivery { group: group.into(), at: Millis(at), ..Delivery::default() };
        assert!(of_id.covers_message(&step("l_1", 900)) && !of_id.covers_message(&step("l_1", of_id.through.0 + 1)));
        assert!(!of_id.covers_message(&step("", 900)) && !of_source.covers_message(&step("dub", 900)));
    }

    #[test]
    fn what_comes_after_an_erasure_is_another_record() {
        let of_source = erasure(Scope::source("dub"));
        assert!(of_source.covers(&click()) && !erasure(Scope::source("du")).covers(&click()));
        assert!(!of_source.covers(&LinkEvent { received_at: Millis(1_001 + DAY_MS), ..click() }));
    }
}
