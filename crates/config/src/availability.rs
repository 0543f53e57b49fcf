//! What the configuration's language has and this version cannot do yet. The one list: later versions shrink it.
//!
//! The rule: a part that somebody would rely on without noticing is refused, with its line. A part whose absence only
//! costs labels is let through with a warning.

use adapter::Adapter;

use crate::problem::{Place, Sink, did_you_mean};

/// The adapters of the language. This version has those that the crate `adapter` has.
pub(crate) const ADAPTERS: [&str; 9] =
    ["dub", "canonical", "cloudevents", "bitly", "rebrandly", "shortio", "shlink", "twilio", "mapping"];

/// The kinds of destinations of the language, and those that this version has.
pub(crate) const DESTINATIONS: [&str; 9] =
    ["webhook", "csv", "slack", "smtp", "hubspot", "github-issues", "teams", "pagerduty", "jira"];
const AVAILABLE_DESTINATIONS: [&str; 2] = ["webhook", "csv"];

/// Whether a part is refused or passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// Somebody would rely on it: an error.
    Refused,
    /// Only labels are lost: a warning.
    PassedOver,
}

/// Parts that are read and type-checked, and do nothing yet: name, what that means, and whether it is refused.
const PARTS: &[(Part, Without, &str)] = &[
    (
        Part::Spike,
        Without::Refused,
        "alerts on spikes are not available in this version; use { count = N, per = \"link\", within = \"5m\" }",
    ),
    (
        Part::Report,
        Without::Refused,
        "scheduled reports are not available in this version; the views are in ClickHouse at every moment",
    ),
    // A test that never runs would look like one that passes.
    (
        Part::Test,
        Without::Refused,
        "route tests are not available in this version; hookline explain says what a rule makes of an event",
    ),
    // Without approvals every partner would look unapproved, and rules would fire on all of them.
    (Part::Partner, Without::Refused, "approved partner sources are not available in this version"),
    (
        Part::PartnerApproved,
        Without::Refused,
        "partner_approved is not known in this version: every partner would look unapproved",
    ),
    (Part::Tag, Without::Refused, "tags are not kept on events in this version: the rule would never match"),
    (Part::Naming, Without::PassedOver, "the naming standard is not checked in this version: no link will be flagged"),
    (
        Part::Catalogue,
        Without::PassedOver,
        "the catalogue is not read in this version: links keep what their platform says of them",
    ),
    (
        Part::Launch,
        Without::PassedOver,
        "launches are not joined in this version: links keep the launch that their platform names",
    ),
    (Part::Visitors, Without::PassedOver, "daily visitors are not counted in this version: the column visitor stays 0"),
    (
        Part::HideGroups,
        Without::PassedOver,
        "this version has no views by geography, so there is nothing to hide in yet",
    ),
];

/// A part of the language that this version does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Spike,
    Report,
    Test,
    Partner,
    PartnerApproved,
    Tag,
    Naming,
    Catalogue,
    Launch,
    Visitors,
    HideGroups,
}

/// Records that a part is asked for that this version does not have.
pub(crate) fn check(part: Part, at: &Place, sink: &Sink) {
    if let Some((_, without, message)) = PARTS.iter().find(|(listed, ..)| *listed == part) {
        let (message, hint) = message.split_once("; ").unwrap_or((message, ""));
        match without {
            Without::Refused => sink.error(at, message, hint),
            Without::PassedOver => sink.warn(at, message, hint),
        }
    }
}

/// The adapter of that name; none, with the reason recorded, if this version has none.
pub(crate) fn adapter(name: &str, at: &Place, sink: &Sink) -> Option<Adapter> {
    let found = Adapter::parse(name);
    if found.is_none() {
        let available: Vec<&str> = Adapter::ALL.iter().map(|adapter| adapter.name()).collect();
        refuse("adapter", name, &ADAPTERS, &available, at, sink);
    }
    found
}

/// Whether this version has such destinations; else the reason is recorded.
pub(crate) fn destination(kind: &str, at: &Place, sink: &Sink) -> bool {
    let available = AVAILABLE_DESTINATIONS.contains(&kind);
    if !available {
        refuse("destination kind", kind, &DESTINATIONS, &AVAILABLE_DESTINATIONS, at, sink);
    }
    available
}

fn refuse(what: &str, name: &str, language: &[&str], available: &[&str], at: &Place, sink: &Sink) {
    if language.contains(&name) {
        let available = available.join(", ");
        sink.error(at, format!("{what} {name:?} is not available in this version (available: {available})"), "");
    } else {
        sink.error(at, format!("unknown {what} {name:?}"), did_you_mean(name, language.iter().copied()));
    }
}
