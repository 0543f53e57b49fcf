//! What holds whatever bytes come in: one function a boundary, which panics when it does not.
//!
//! `fuzz/` looks for bytes that break one of them; `tests/replay.rs` holds them for the bytes that are kept in `fuzz/seeds`.
//! No function reads a clock or depends on the one before, so a finding can be run again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken promise is told by panicking")]

pub mod batches;
mod configuration;
mod payloads;
mod records;
mod signatures;

pub use batches::batches;
pub use configuration::{config, mapping};
pub use payloads::adapters;
pub use records::{avro, changelog, raw_headers};
pub use signatures::signatures;

/// What holds at a boundary, as a function of the bytes that come in.
pub type Target = fn(&[u8]);

/// Every boundary, by the name of its fuzz target and of its folder of seeds.
pub const TARGETS: [(&str, Target); 8] = [
    ("adapters", adapters),
    ("avro", avro),
    ("batches", batches),
    ("changelog", changelog),
    ("config", config),
    ("mapping", mapping),
    ("raw_headers", raw_headers),
    ("signatures", signatures),
];

/// One of several by a byte that a person can write: `0` is the first.
fn pick<T>(all: &[T], byte: u8) -> &T {
    &all[usize::from(byte.wrapping_sub(b'0')) % all.len()]
}
