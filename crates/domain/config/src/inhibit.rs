//! What is held back while something else fires: `[inhibit]`.

use std::collections::BTreeMap;
use std::time::Duration;

use notification::{ATTRIBUTES, Inhibit, KEY, SILENT_SOURCE};
use rules::{Per, Trigger};

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
            same source. Declare it to change that, or to end it.",
    read_by: "notify",
    options: &[&WHILE, &HOLD, &SAME, &WAIT, &AFTER, &ENABLED],
    others: &[],
};

/// What holds what back: as declared, and the one that is there by itself.
pub(crate) fn read(sections: Option<&Section<'_>>, names: &Declared, rules: &[Rule]) -> Vec<Inhibit> {
    let mut inhibits = Vec::new();
    let entries = sections.map(Section::entries).unwrap_or_default();
    for entry in entries {
        let Some(section) = sections.and_then(|all| all.named(entry, "inhibit", &GROUP)) else { continue };
        inhibits.extend(read_one(entry.key.clone(), section, names, rules));
    }
    if entries.iter().all(|entry| entry.key != SILENT_SOURCE) {
        inhibits.extend(silent_source(rules));
    }
    inhibits
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
            let hint = did_you_mean(attribute, ATTRIBUTES.into_iter().chain([KEY]));
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
    let by = by?.into_iter().filter_map(|rule| Some((rule.clone(), key_of(rules, &rule)?))).collect();
    enabled.then_some(Inhibit { name, by, hold: hold?, same, wait_ms: millis(wait), after_ms: millis(after) })
}

/// A rule with silence per source, and those with silence per link or QR code.
fn silent_source(rules: &[Rule]) -> Option<Inhibit> {
    let quiet = |per: &[Per]| -> Vec<String> {
        let own = rules.iter().filter(|rule| !rule.rule.is_shadow());
        let own = own.filter(
            |rule| matches!(rule.rule.trigger(), Some(Trigger::Silence { per: counted, .. }) if per.contains(counted)),
        );
        own.map(|rule| rule.rule.name().to_owned()).collect()
    };
    let (by, hold) = (quiet(&[Per::Source]), quiet(&[Per::Link, Per::Qr]));
    let by: BTreeMap<_, _> = by.into_iter().filter_map(|rule| Some((rule.clone(), key_of(rules, &rule)?))).collect();
    (!by.is_empty() && !hold.is_empty()).then(|| Inhibit {
        name: SILENT_SOURCE.to_owned(),
        by,
        hold,
        same: vec!["source".to_owned()],
        wait_ms: millis(WAIT.usual()),
        after_ms: millis(AFTER.usual()),
    })
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
    !matches!(rule.rule.trigger(), None | Some(Trigger::Each | Trigger::FirstSeen(_)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
