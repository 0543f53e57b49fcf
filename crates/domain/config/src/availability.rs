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
