//! What the configuration's language has and this version cannot do yet. The one list: later versions shrink it.
//!
//! The rule: a part that somebody would rely on without noticing is refused, with its line. A part whose absence only
//! costs labels is let through with a warning.

use crate::problem::{Place, Sink};

/// The adapters of the language, and whether this version has them.
pub(crate) const ADAPTERS: &[(&str, bool)] = &[
    ("dub", true),
    ("canonical", true),
    ("bitly", false),
    ("rebrandly", false),
    ("shortio", false),
    ("shlink", false),
    ("twilio", false),
    ("cloudevents", false),
    ("mapping", false),
];

/// The kinds of destinations of the language, and whether this version has them.
pub(crate) const DESTINATIONS: &[(&str, bool)] = &[
    ("webhook", true),
    ("csv", true),
    ("slack", false),
    ("smtp", false),
    ("hubspot", false),
    ("github-issues", false),
    ("teams", false),
    ("pagerduty", false),
    ("jira", false),
];

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

/// Checks a name against such a list; `what` says what it names.
///
/// Returns the listed name if this version has it; else records why not.
pub(crate) fn name(
    what: &str,
    name: &str,
    at: &Place,
    list: &'static [(&'static str, bool)],
    sink: &Sink,
) -> Option<&'static str> {
    match list.iter().find(|(known, _)| *known == name) {
        Some((known, true)) => Some(known),
        Some(_) => {
            let available: Vec<_> = list.iter().filter(|(_, here)| *here).map(|(name, _)| *name).collect();
            let available = available.join(", ");
            sink.error(at, format!("{what} {name:?} is not available in this version (available: {available})"), "");
            None
        }
        None => {
            let hint = crate::problem::did_you_mean(name, list.iter().map(|(name, _)| *name));
            sink.error(at, format!("unknown {what} {name:?}"), hint);
            None
        }
    }
}
