//! What decides, from the closed panes of a key, that a rule fires: a file a kind.

pub(crate) mod threshold;
