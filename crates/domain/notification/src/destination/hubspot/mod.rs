//! HubSpot: a note a message, the same on every attempt.

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
