//! What tests and demonstrations share: realistic events, a sender that behaves like a platform, and a whole
//! Hookline seen from outside.

#![recursion_limit = "256"] // json! of a whole link

pub mod canonical;
pub mod clickhouse;
pub mod clock;
pub mod dub;
pub mod hostile;
pub mod house;
pub mod http;
pub mod latencies;
mod links;
pub mod load;
pub mod oracle;
pub mod platforms;
pub mod sender;
pub mod traffic;
mod visitors;

pub use house::{House, Program};
pub use sender::{Sender, Sent};
