//! The HTTP client of tests and tools.

use std::time::Duration;

use reqwest::Client;

/// A client that keeps many connections open and gives up on an answer after `timeout`.
///
/// # Errors
/// When no client can be made.
pub fn client(timeout: Duration) -> reqwest::Result<Client> {
    // An error says that one is installed already: just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(timeout).pool_max_idle_per_host(256).build()
}
