//! Slack, by an incoming webhook or by a token.

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
