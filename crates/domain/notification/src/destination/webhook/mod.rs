//! Signed webhooks (Standard Webhooks): one POST a message, the same id and bytes on every attempt.

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
