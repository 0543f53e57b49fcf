//! Mail, by a server that takes it (SMTP).

mod config;
mod render;
#[cfg(test)]
mod tests;

pub(super) use config::KIND;
