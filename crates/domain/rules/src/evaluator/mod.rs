//! What decides, from the closed panes of a key, that a rule fires: a file a kind.

pub(crate) mod profile;
pub(crate) mod silence;
pub(crate) mod spike;
mod stored;
pub(crate) mod threshold;
