//! How messages travel: over HTTP, by mail, into a file.

pub(crate) mod file;
pub(crate) mod http;
pub(crate) mod mail;
