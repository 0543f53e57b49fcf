//! `[canary]`: a made-up event at each interval, from the public door down to its row and its message.

use std::time::Duration;

use adapter::Adapter;
use rules::{Field, Trigger};

use crate::form::{Reference, Span, Text};
use crate::option::{Group, Opt};
use crate::owners::Declared;
use crate::platform::http_address;
use crate::problem::Place;
use crate::rule::Rule;
use crate::section::Section;
use crate::source::Source;

const SOURCE: Opt<Reference> = Opt::new(
    "source",
    Reference("source"),
    "The source that it signs as: one with `adapter = \"canonical\"` and `test = true`, for the canary alone.",
    "\"canary\"",
)
.required("write source = \"canary\", or leave [canary] out: nothing is sent then");
const RULE: Opt<Reference> = Opt::new(
    "rule",
    Reference("rule"),
    "The rule whose message about it is waited for. It is test data, so the message goes to the capture sink.",
    "\"canary\"",
)
.otherwise("only its row is waited for");
const INTERVAL: Opt<Span> = Opt::new(
    "interval",
    Span::within(Duration::from_secs(5), Duration::from_secs(120)),
    "From one event to the next; one is under way at a time.",
    "\"1m\"",
)
.or(Duration::from_secs(60));
const PATIENCE: Opt<Span> = Opt::new(
    "patience",
    Span::within(Duration::from_secs(5), Duration::from_secs(60)),
    "How long the answer, the row and the message are waited for, each.",
    "\"30s\"",
)
.or(Duration::from_secs(30));
const INGEST: Opt<Text> = Opt::new(
    "ingest",
    Text("an http address, without a user in it"),
    "Where senders find ingest: best the public address, so that what stands before ingest is tried as well.",
    "\"https://hooks.example.com\"",
)
.otherwise("where `[ingest] listen` is, on the same machine; required where `[ingest] tls` is set");

/// `[canary]`.
pub(crate) static GROUP: Group = Group {
    title: "[canary]",
    about: "A signed, made-up event at each interval, as test data, down to its row and its message. Without it none is sent.",
    read_by: "canary",
    options: &[&SOURCE, &RULE, &INTERVAL, &PATIENCE, &INGEST],
    others: &[],
};

/// `[canary]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    /// The source that it signs as: canonical, and all of it test data.
    pub source: String,
    /// The rule whose message about it is waited for; none: only its row is.
    pub rule: Option<String>,
    /// From one event to the next.
    pub interval: Duration,
    /// How long the answer, the row and the message are waited for, each.
    pub patience: Duration,
    /// Where senders find ingest; none: where it listens on this machine.
    pub ingest: Option<String>,
}

impl Canary {
    /// Without a success for so long it is dead: three events in a row did not come through.
    #[must_use]
    pub fn dead_after(&self) -> Duration {
        3 * self.interval + 3 * self.patience
    }
}

/// The names of sources and rules that are declared, sound or not, so that a fault is said once.
pub(crate) struct Known<'k> {
    pub(crate) sources: &'k Declared,
    pub(crate) rules: &'k Declared,
}

/// None where the section is missing: nothing is sent then.
pub(crate) fn read(
    section: Option<Section<'_>>,
    known: &Known<'_>,
    sources: &[Source],
    rules: &[Rule],
    ingest_has_tls: bool,
) -> Option<Canary> {
    let section = section?;
    section.demand(&SOURCE);
    let interval = section.duration(&INTERVAL).unwrap_or(INTERVAL.usual());
    let patience = section.duration(&PATIENCE).unwrap_or(PATIENCE.usual());
    let source = section
        .placed(&SOURCE)
        .filter(|(name, at)| known.sources.check("source", name, at, section.reading))
        .map(|(name, at)| {
            if let Some(source) = sources.iter().find(|source| source.name == name) {
                check_source(&section, source, &at);
            }
            name
        });
    let rule = section.placed(&RULE).filter(|(name, at)| known.rules.check("rule", name, at, section.reading)).map(
        |(name, at)| {
            if let Some(rule) = rules.iter().find(|rule| rule.rule.name() == name) {
                check_rule(&section, rule, interval, source.as_deref(), &at);
            }
            name
        },
    );
    if ingest_has_tls && !section.has(&INGEST) {
        // The address of the listener is none that its certificate names.
        section.missing(INGEST.key, "write ingest = \"https://…\" with a name of the certificate: [ingest] tls is set");
    }
    let ingest = http_address(&section, &INGEST);
    section.finish();
    Some(Canary { source: source?, rule, interval, patience, ingest })
}

fn check_source(section: &Section<'_>, source: &Source, at: &Place) {
    let name = &source.name;
    if source.adapter != Adapter::Canonical {
        let message =
            format!("source {name:?} reads {}: the canary writes the canonical format", source.adapter.name());
        section.error(at, message, "add a source for it: [source.canary] with adapter = \"canonical\" and test = true");
    } else if !source.test {
        let message = format!("source {name:?} is not of test data alone: the canary would stand in reports");
        section.error(at, message, "add a source for it: [source.canary] with adapter = \"canonical\" and test = true");
    }
}

/// A message has to follow each event by itself, at once: anything else would be measured as a fault.
fn check_rule(section: &Section<'_>, rule: &Rule, interval: Duration, source: Option<&str>, at: &Place) {
    let name = rule.rule.name();
    let of_source = rule.rule.when().conditions().iter().filter(|condition| condition.field() == Field::Source);
    let mut of_source = of_source.map(|condition| condition.patterns());
    let is_of_another =
        source.is_some_and(|source| of_source.any(|patterns| !patterns.iter().any(|pattern| pattern.matches(source))));
    let of_list = [Field::Intent, Field::Promo, Field::Owner];
    let listed = rule.rule.when().conditions().iter().find(|condition| of_list.contains(&condition.field()));
    let (message, hint) = match &rule.send {
        _ if rule.rule.is_shadow() => {
            (format!("rule {name:?} is a shadow rule: no message follows"), "leave shadow out")
        }
        None => (format!("rule {name:?} sends nothing: no message follows"), "add send = { to = [\"…\"] }"),
        _ if rule.rule.trigger() != Some(&Trigger::Each) => {
            (format!("rule {name:?} does not speak at each event"), "write alert = { each = true }")
        }
        _ if is_of_another => (
            format!("rule {name:?} asks for another source than that of [canary]: it never speaks about a canary"),
            "ask for the source of [canary] in when, such as source = \"canary\", or leave source out of it",
        ),
        _ if listed.is_some() => (
            format!("rule {name:?} asks for what comes from a list of links, which the canary is not in"),
            "name a rule that asks for what an event says itself, such as source = \"canary\"",
        ),
        Some(send) if send.mute.is_some() => {
            (format!("rule {name:?} is muted at some hours"), "name a rule without mute")
        }
        Some(send) if !send.first.is_zero() || send.then_every >= interval => (
            format!("rule {name:?} bundles: the messages of two canaries would be one"),
            "write first = \"now\" and a then_every below the interval, such as \"1s\"",
        ),
        Some(_) => return,
    };
    section.error(at, message, hint);
}
