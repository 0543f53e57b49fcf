//! A CSV file: one row a message.

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
