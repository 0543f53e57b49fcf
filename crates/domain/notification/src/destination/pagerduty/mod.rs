//! PagerDuty, Events API v2: an incident a key.

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
