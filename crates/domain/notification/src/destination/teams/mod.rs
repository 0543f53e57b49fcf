//! Microsoft Teams, by a workflow's address: an Adaptive Card a message.

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
