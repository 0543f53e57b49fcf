//! What senders put on the wire, and what a receiver must make of it.

mod delivery;
mod interop;
mod lifetimes;
mod mutations;
mod refusals;
mod vectors;
