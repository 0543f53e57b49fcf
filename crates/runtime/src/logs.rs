//! Structured logs on standard error.

use tracing_subscriber::EnvFilter;

/// Starts logging: levels from `HOOKLINE_LOG` (default `info`), JSON lines when `HOOKLINE_LOG_FORMAT=json`.
///
/// # Errors
/// When the filter cannot be read, or logging runs already.
pub fn init() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let levels = std::env::var("HOOKLINE_LOG").unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::try_new(&levels).map_err(|error| format!("HOOKLINE_LOG={levels:?}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    if std::env::var("HOOKLINE_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
    }
}
