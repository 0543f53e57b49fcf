//! What an operator does with a Hookline, running or broken: look at the ledger, bring rows back, mend positions, decide about
//! dead letters, switch sources.
//!
//! Each tool is a function that takes an [`Installation`] and returns a report that can be serialised. Nothing here prints,
//! reads arguments or ends the process, so the command line and a console can stand on the same functions.

pub mod backtest;
pub mod canary;
pub mod check;
mod clock;
pub mod dead_letters;
pub mod erase;
mod error;
pub mod explain;
pub mod handbook;
mod history;
pub mod installation;
pub mod ledger;
pub mod lint;
pub mod migrate;
pub mod naming;
pub mod offsets;
pub mod preview;
pub mod rebuild;
pub mod rehearse;
pub mod reload;
pub mod replay;
pub mod review;
mod schemas;
pub mod status;
pub mod switches;
pub mod train;

pub use error::{Error, Result};
#[doc(hidden)]
pub use history::{columns_of, play_answer};
pub use installation::{Endpoints, Installation};
pub use offsets::OffsetRange;

/// What a tool found or did.
pub trait Report: serde::Serialize {
    /// Whether a person has to look at it. The tool itself worked.
    fn needs_attention(&self) -> bool {
        false
    }
}

/// The group under which the tools ask Kafka; it never has a position.
const GROUP: &str = kafka::groups::TOOLS;
/// How long Kafka may take to say where things are.
const KAFKA_TIMEOUT: std::time::Duration = kafka::lane::PATIENCE;

/// Runs what blocks, off the async workers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
