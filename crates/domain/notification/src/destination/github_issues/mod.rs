//! GitHub issues: an issue a key, updated by comments and closed at the end.

mod config;
mod find;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
