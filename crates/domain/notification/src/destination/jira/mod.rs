//! Jira: an issue a key, opened by a start, commented by what follows, moved to done at the end.

mod config;
mod find;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
