//! What tests share: a whole Hookline seen from outside, hostile bodies, the crash oracle, receivers of messages.
//! Events and senders come from `traffic`.

pub mod clickhouse;
pub mod clock;
pub mod collector;
pub mod cost;
pub mod detection;
pub mod hostile;
pub mod house;
pub mod network;
pub mod oracle;
pub mod receiver;

pub use house::{House, Program};
pub use traffic::{Sender, Sent, http};
