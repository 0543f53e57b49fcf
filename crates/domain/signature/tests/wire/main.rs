//! What senders put on the wire, and what a receiver must make of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its delivery has failed")]

mod delivery;
mod diagnosis;
mod fields;
mod interop;
mod lifetimes;
mod mutations;
mod refusals;
mod shown;
mod vectors;
