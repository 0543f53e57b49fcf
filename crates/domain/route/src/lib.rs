//! Rules: which events count, which alert, and why.
//!
//! A [`Rule`] is a [`When`] (which events it is about) and an [`Alert`] (what makes it speak): every one of them, or a
//! count per key within a window. [`Routes`] holds all rules and answers, for one event, which of them match;
//! [`Routes::explain`] says why for each. Rules only add: every event is stored and reported whatever stands here.
//!
//! What holds for every rule:
//! - Only first deliveries by people match: duplicates, dead letters, bots and internal traffic never do.
//! - Test data matches too, in its own namespace: its alerts and counts carry the flag, and its messages reach a capture
//!   sink only.
//! - A rule is a function of the event alone: the same event and rule version give the same answer everywhere.

mod alert;
mod field;
mod glob;
mod key;
mod pane;
mod routes;
mod rule;
mod when;

pub use alert::{Alert, attributes};
pub use field::Field;
pub use glob::Glob;
pub use key::Per;
pub use pane::{MAX_WINDOW_MS, MIN_WINDOW_MS, PANE_LENGTHS_MS, WindowError, pane_ms, pane_start};
pub use routes::{Routes, Verdict};
pub use rule::Rule;
pub use when::{Condition, EventPattern, When};
