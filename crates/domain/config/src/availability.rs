//! What the configuration's language has and this version cannot do yet. The one list: later versions shrink it.
//!
//! The rule: a part that somebody would rely on without noticing is refused, with its line. A part whose absence only
//! costs labels is let through with a warning.

use adapter::Adapter;
use notification::destination::KINDS;

use crate::problem::{Place, Sink, did_you_mean};

/// The adapters of the language. This version has those that the crate `adapter` has.
pub(crate) const ADAPTERS: [&str; 9] =
    ["dub", "canonical", "cloudevents", "bitly", "rebrandly", "shortio", "shlink", "twilio", "mapping"];

/// The kinds of destinations of the language: this version has all of them.
pub(crate) fn destinations() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// Whether a part is refused or passed over.
#[derive(Clone, Copy)]
enum Without {
    /// Somebody would rely on it: an error.
    Refused,
    /// Only labels are lost: a warning.
    PassedOver,
}

/// A part of the language that is read and type-checked, and does nothing yet.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Spike,
    Report,
    Test,
    Partner,
    PartnerApproved,
    Tag,
    QuietAfter,
    FailuresDigest,
    Naming,
    Catalogue,
    Launch,
}

impl Part {
    /// Whether it is refused, what is not there, and what to do instead.
    fn absence(self) -> (Without, &'static str, &'static str) {
        use Without::{PassedOver, Refused};
        match self {
            Self::Spike => (
                Refused,
                "alerts on spikes are not available in this version",
                "use { count = N, per = \"link\", within = \"5m\" }",
            ),
            Self::Report => (
                Refused,
                "scheduled reports are not available in this version",
                "the views are in ClickHouse at every moment",
            ),
            // A test that never runs would look like one that passes.
            Self::Test => (
                Refused,
                "route tests are not available in this version",
                "send test data: what rules make of it stands in ClickHouse, in the view hookline_test.deliveries",
            ),
            // Without approvals every partner would look unapproved, and rules would fire on all of them.
            Self::Partner => (Refused, "approved partner sources are not available in this version", ""),
            Self::PartnerApproved => {
                (Refused, "partner_approved is not known in this version: every partner would look unapproved", "")
            }
            Self::Tag => (
                Refused,
                "tags are not kept on events in this version: the rule would never match",
                "use campaign or link_kind",
            ),
            Self::QuietAfter => (
                Refused,
                "alerts on silence are not available in this version",
                "alert on the metric hookline_last_event_timestamp_seconds",
            ),
            Self::FailuresDigest => (
                Refused,
                "the digest of failed deliveries is not sent in this version",
                "they are in ClickHouse: the view deliveries",
            ),
            Self::Naming => {
                (PassedOver, "the naming standard is not checked in this version: no link will be flagged", "")
            }
            Self::Catalogue => (
                PassedOver,
                "the catalogue is not read in this version: links keep what their platform says of them",
                "",
            ),
            Self::Launch => (
                PassedOver,
                "launches are not joined in this version: links keep the launch that their platform names",
                "",
            ),
        }
    }
}

/// Records that a part is asked for that this version does not have.
pub(crate) fn check(part: Part, at: &Place, sink: &Sink) {
    match part.absence() {
        (Without::Refused, message, hint) => sink.error(at, message, hint),
        (Without::PassedOver, message, hint) => sink.warn(at, message, hint),
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
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let available = kinds.contains(&kind);
    if !available {
        refuse("destination kind", kind, &destinations(), &kinds, at, sink);
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
