//! What decides, from the closed panes of a key, that a rule fires: a file a kind.

mod profile;
pub(crate) mod spike;
pub(crate) mod threshold;
