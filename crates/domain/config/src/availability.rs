//! What the configuration's language has and this version cannot do yet. The one list: later versions shrink it.
//!
//! The rule: a part that an owner would rely on without noticing is refused, with its line.

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

/// A part of the language that is read and type-checked, and refused, since an owner would rely on it.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Report,
    FailuresDigest,
}

impl Part {
    /// What is not there, and what to do instead.
    fn absence(self) -> (&'static str, &'static str) {
        match self {
            Self::Report => {
                ("scheduled reports are not available in this version", "the views are in ClickHouse at every moment")
            }
            Self::FailuresDigest => (
                "the digest of failed deliveries is not sent in this version",
                "they are in ClickHouse: the view deliveries",
            ),
        }
    }
}

/// Records that a part is asked for that this version does not have.
pub(crate) fn check(part: Part, at: &Place, sink: &Sink) {
    let (message, hint) = part.absence();
    sink.error(at, message, hint);
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
