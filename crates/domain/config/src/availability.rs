//! Which adapters and kinds of destinations there are: those that their crates list. No name stands here.

use adapter::Adapter;
use notification::destination::KINDS;

use crate::problem::{Place, Sink, did_you_mean};

/// The names of adapters.
pub(crate) fn adapters() -> Vec<&'static str> {
    Adapter::ALL.iter().map(|adapter| adapter.name()).collect()
}

/// The names of kinds of destinations.
pub(crate) fn destinations() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

/// The adapter of that name; none, with the reason recorded, if there is none.
pub(crate) fn adapter(name: &str, at: &Place, sink: &Sink) -> Option<Adapter> {
    let found = Adapter::parse(name);
    if found.is_none() {
        refuse("adapter", name, adapters(), at, sink);
    }
    found
}

/// Whether there are such destinations; else the reason is recorded.
pub(crate) fn destination(kind: &str, at: &Place, sink: &Sink) -> bool {
    let is_known = destinations().contains(&kind);
    if !is_known {
        refuse("destination kind", kind, destinations(), at, sink);
    }
    is_known
}

fn refuse(what: &str, name: &str, known: Vec<&'static str>, at: &Place, sink: &Sink) {
    sink.error(at, format!("unknown {what} {name:?}"), did_you_mean(name, known));
}
