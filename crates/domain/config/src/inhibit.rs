//! What is held back while something else fires: `[inhibit]`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use notification::{ATTRIBUTES, Inhibit, KEY, SILENT_SOURCE};
use rules::{Condition, EventPattern, Per, Trigger, When};

use crate::form::{Flag, References, Span, Texts};
use crate::option::{Group, Opt};
use crate::owners::Declared;
use crate::problem::did_you_mean;
use crate::rule::Rule;
use crate::section::Section;

const DAY: Duration = Duration::from_secs(86_400);
const UNLESS_OFF: &str = "none: both are needed, but with enabled = false";

const WHILE: Opt<References> = Opt::new(
    "while",
    References("rule"),
    "The rules whose alerts hold others back, from their beginning to their end.",
    "[\"source-quiet\"]",
)
.otherwise(UNLESS_OFF);
const HOLD: Opt<References> =
    Opt::new("hold", References("rule"), "The rules whose starts are held back.", "[\"link-quiet\"]")
        .otherwise(UNLESS_OFF);
const SAME: Opt<Texts> = Opt::new(
    "same",
    Texts,
    "What both alerts must say, and say alike: attributes of their events (those of templates), or `key`. With `[]`, anything holds all \
     of them back.",
    "[\"source\"]",
)
.otherwise("`source`");
const WAIT: Opt<Span> = Opt::new(
    "wait",
    Span::within(Duration::ZERO, Duration::from_secs(3_600)),
    "How long a start waits, so that what holds it back has time to fire.",
    "\"2m\"",
)
.or(Duration::from_secs(30));
const AFTER: Opt<Span> = Opt::new(
    "after",
    Span::within(Duration::ZERO, DAY),
    "For how long after the end starts are still held back. What is over by then is never told, what still fires is told then.",
    "\"10m\"",
)
.or(Duration::from_secs(1_800));
const ENABLED: Opt<Flag> = Opt::new("enabled", Flag, "Whether it holds anything back.", "false").or(true);

/// `[inhibit.NAME]`.
pub(crate) static GROUP: Group = Group {
    title: "[inhibit.NAME]",
    about: "While an alert of one rule fires, starts of others are held back; ends never are. `[inhibit.silent-source]` is there by \
            itself: while a rule with `silence` per source fires, it holds back those with `silence` per link or per QR code, of the \
            same source, where each event of theirs is one of the first rule as well: its `when` is empty, or all of its conditions \
            stand in theirs, too. Declare it to change that, or to end it. Rules that would hide each other are refused.",
    read_by: "notify",
    options: &[&WHILE, &HOLD, &SAME, &WAIT, &AFTER, &ENABLED],
    others: &[],
};

/// What holds what back: as declared, and the one that is there by itself.
pub(crate) fn read(sections: Option<&Section<'_>>, names: &Declared, rules: &[Rule]) -> Vec<Inhibit> {
    let entries = sections.map(Section::entries).unwrap_or_default();
    let by_itself = match entries.iter().all(|entry| entry.key != SILENT_SOURCE) {
        true => silent_source(rules),
        false => Vec::new(),
    };
    let mut chains = Chains::default();
    by_itself.iter().for_each(|inhibit| chains.add(inhibit));
    let mut inhibits = Vec::new();
    for entry in entries {
        let Some(section) = sections.and_then(|all| all.named(entry, "inhibit", &GROUP)) else { continue };
        let (reading, at) = (section.reading, section.place(&HOLD).clone());
        let Some(inhibit) = read_one(entry.key.clone(), section, names, rules) else { continue };
        if let Some(chain) = chains.closed_by(&inhibit) {
            let hint = match by_itself.is_empty() {
                true => "take one of them out of an inhibition",
                false => {
                    "take one of them out of an inhibition; [inhibit.silent-source] is there by itself, until it says enabled = false"
                }
            };
            reading.sink.error(&at, format!("rules would hide each other: {chain}"), hint);
            continue;
        }
        chains.add(&inhibit);
        inhibits.push(inhibit);
    }
    inhibits.extend(by_itself);
    inhibits
}

/// Which rules hold which back. A rule that comes back to itself over others would be told by none of them.
#[derive(Default)]
struct Chains(BTreeMap<String, BTreeSet<String>>);

impl Chains {
    fn add(&mut self, inhibit: &Inhibit) {
        for rule in inhibit.by.keys() {
            self.0.entry(rule.clone()).or_default().extend(inhibit.hold.iter().cloned());
        }
    }

    /// In words, the ring that an inhibition would close with those that are known; none if it closes none.
    fn closed_by(&self, inhibit: &Inhibit) -> Option<String> {
        let mut all = Self(self.0.clone());
        all.add(inhibit);
        let pairs = inhibit.by.keys().flat_map(|by| inhibit.hold.iter().map(move |held| (by, held)));
        // A rule that holds itself back is refused as that.
        let way = pairs.filter(|(by, held)| by != held).find_map(|(by, held)| all.way(held, by))?;
        let (first, others) = way.split_first()?;
        let others: Vec<&str> = others.iter().chain([first]).map(String::as_str).collect();
        Some(format!("{first} holds back {}", others.join(", which holds back ")))
    }

    /// The rules from one to another, each held back by the one before it.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(rule) = next.pop_front() {
            if rule == to {
                let mut way = vec![rule.to_owned()];
                let mut rule = rule;
                while rule != from {
                    rule = before.get(rule)?;
                    way.push(rule.to_owned());
                }
                way.reverse();
                return Some(way);
            }
            for held in self.0.get(rule).into_iter().flatten() {
                if held != from && !before.contains_key(held.as_str()) {
                    before.insert(held, rule);
                    next.push_back(held);
                }
            }
        }
        None
    }
}

fn read_one(name: String, section: Section<'_>, names: &Declared, rules: &[Rule]) -> Option<Inhibit> {
    let enabled = section.flag(&ENABLED).unwrap_or(ENABLED.usual());
    let named = |opt: &Opt<References>| -> Option<Vec<String>> {
        let found = section.references(opt).unwrap_or_default();
        if found.is_empty() && enabled {
            section.missing(opt.key, "name at least one rule, or write enabled = false");
        }
        let known = found.iter().filter(|(name, at)| names.check("rule", name, at, section.reading)).count();
        (known == found.len()).then(|| found.into_iter().map(|(name, _)| name).collect())
    };
    let (by, hold) = (named(&WHILE), named(&HOLD));
    let same = section.texts(&SAME);
    for (attribute, at) in same.iter().flatten() {
        if attribute != KEY && !ATTRIBUTES.contains(&attribute.as_str()) {
            let hint = did_you_mean(attribute, ATTRIBUTES.iter().copied().chain([KEY]));
            section.error(at, format!("no alert says {attribute:?}"), hint);
        }
    }
    let wait = section.duration(&WAIT).unwrap_or(WAIT.usual());
    let after = section.duration(&AFTER).unwrap_or(AFTER.usual());
    for rule in by.iter().flatten() {
        let found = rules.iter().find(|known| known.rule.name() == rule);
        if found.is_some_and(|found| !ends(found)) {
            let hint = "name rules with count, spike, silence, broken, drift or gap";
            section.error(section.place(&WHILE), format!("the alerts of rule {rule} have no end"), hint);
        }
        if hold.iter().flatten().any(|held| held == rule) {
            let hint = "name it in one of the two";
            section.error(section.place(&HOLD), format!("rule {rule} would hold itself back"), hint);
        }
    }
    section.finish();
    let same = same.map_or_else(|| vec!["source".to_owned()], |all| all.into_iter().map(|(name, _)| name).collect());
    let by: BTreeMap<_, _> = by?.into_iter().filter_map(|rule| Some((rule.clone(), key_of(rules, &rule)?))).collect();
    // Rules that are only tried out hold nothing back: starts would wait for nothing.
    (enabled && !by.is_empty()).then_some(Inhibit {
        name,
        by,
        hold: hold?,
        same,
        wait_ms: millis(wait),
        after_ms: millis(after),
    })
}

/// Rules with silence per source, and those with silence per link or QR code that they explain.
fn silent_source(rules: &[Rule]) -> Vec<Inhibit> {
    let quiet = |per: &'static [Per]| {
        let own = rules.iter().map(|rule| &rule.rule).filter(|rule| !rule.is_shadow());
        own.filter(|rule| matches!(rule.trigger(), Some(Trigger::Silence { per: own, .. }) if per.contains(own)))
    };
    let mut by_held: BTreeMap<Vec<String>, BTreeMap<String, String>> = BTreeMap::new();
    for source in quiet(&[Per::Source]) {
        let links = quiet(&[Per::Link, Per::Qr]).filter(|link| covers(source.when(), link.when()));
        let hold: Vec<String> = links.map(|link| link.name().to_owned()).collect();
        if let Some(key) = key_of(rules, source.name())
            && !hold.is_empty()
        {
            by_held.entry(hold).or_default().insert(source.name().to_owned(), key);
        }
    }
    let inhibits = by_held.into_iter().map(|(hold, by)| Inhibit {
        name: SILENT_SOURCE.to_owned(),
        by,
        hold,
        same: vec!["source".to_owned()],
        wait_ms: millis(WAIT.usual()),
        after_ms: millis(AFTER.usual()),
    });
    inhibits.collect()
}

/// Whether each event that is one of `narrow` is one of `wide` as well, as far as the words of both tell: then it
/// explains why none of `narrow` came that none of `wide` did.
fn covers(wide: &When, narrow: &When) -> bool {
    let event = |pattern: &EventPattern| wide.events().iter().any(|own| covers_event(own, pattern));
    let events = !narrow.events().is_empty() && narrow.events().iter().all(event);
    let condition = |own: &Condition| {
        let mut same = narrow.conditions().iter().filter(|other| other.field() == own.field());
        // A pattern is covered by one that matches its text: a `*` in it is only met by a `*`.
        same.any(|other| {
            other.patterns().iter().all(|text| own.patterns().iter().any(|pattern| pattern.matches(text.as_str())))
        })
    };
    (wide.events().is_empty() || events) && wide.conditions().iter().all(condition)
}

fn covers_event(wide: &EventPattern, narrow: &EventPattern) -> bool {
    match (wide, narrow) {
        (EventPattern::Visit, EventPattern::Type(kind)) => kind.is_visit(),
        (EventPattern::Subtype(wide), EventPattern::Subtype(narrow)) => wide.matches(narrow.as_str()),
        _ => wide == narrow,
    }
}

/// The attribute that the key of a rule's alerts is, empty where it is none of them; none for a rule that is only tried
/// out: it holds nothing back.
fn key_of(rules: &[Rule], name: &str) -> Option<String> {
    let rule = rules.iter().find(|rule| rule.rule.name() == name).filter(|rule| !rule.rule.is_shadow())?;
    let attribute = rule.rule.per().map(Per::name).filter(|name| ATTRIBUTES.contains(name));
    Some(attribute.unwrap_or_default().to_owned())
}

/// Whether the alerts of a rule have an end.
fn ends(rule: &Rule) -> bool {
    rule.rule.trigger().is_some_and(Trigger::ends)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
