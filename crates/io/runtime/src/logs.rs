//! Structured logs on standard error, or in a file.

use std::fs::File;
use std::io::IsTerminal;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging: levels from `HOOKLINE_LOG` (default `info`), JSON lines when `HOOKLINE_LOG_FORMAT=json`.
///
/// # Errors
/// When the filter cannot be read, or logging runs already.
pub fn init() -> Result<(), Failed> {
    start(std::io::stderr, std::io::stderr().is_terminal())
}

/// As [`init`], at the end of a file: for when the terminal shows something else.
///
/// # Errors
/// As [`init`].
pub fn init_to(file: File) -> Result<(), Failed> {
    start(Arc::new(file), false)
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn start<W>(writer: W, colours: bool) -> Result<(), Failed>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = std::env::var("HOOKLINE_LOG").unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::try_new(&levels).map_err(|error| format!("HOOKLINE_LOG={levels:?}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(true);
    if std::env::var("HOOKLINE_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(colours).try_init()
    }
}
