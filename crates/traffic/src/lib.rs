//! Realistic traffic: events as link platforms make them up, and a sender that signs and retries as they do.
//!
//! `hookline send` and `up --demo` send it to show Hookline at work; tests and benchmarks send it as load.

#![recursion_limit = "256"] // json! of a whole link

pub mod http;
pub mod latencies;
pub mod load;
pub mod platform;
pub mod sender;
pub mod stream;

pub use platform::{Platform, canonical, dub};
pub use sender::{Sender, Sent};
pub use stream::{Delivery, Traffic};
