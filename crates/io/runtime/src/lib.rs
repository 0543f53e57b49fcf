//! What every service needs around its work: metrics, health, logs, a clean stop, and lanes that are watched.

mod backoff;
pub mod beats;
pub mod clock;
mod configuration;
pub mod connections;
pub mod disposal;
mod files;
mod halt;
pub mod health;
pub mod lanes;
pub mod listen;
pub mod live;
mod log_limit;
pub mod logs;
mod metrics;
pub mod progress;
mod shutdown;

use std::error::Error;

pub use backoff::Backoff;
pub use beats::{Beat, Beats};
pub use configuration::ConfigurationMetrics;
pub use files::raise_file_limit;
pub use halt::{End, HaltReason, StallReason, WaitReason};
pub use health::{Component, Health};
pub use lanes::LaneSet;
pub use live::{Current, Live};
pub use log_limit::{LogLimit, LogLimits};
pub use metrics::{Lag, LaneMetrics, Metrics};
pub use shutdown::Shutdown;

/// What a service is handed at its start. Cheap to clone; `hookline up` hands the same one to every service.
#[derive(Clone)]
pub struct Telemetry {
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Who is ready and who is not, and why.
    pub health: Health,
    /// How far the lanes of this process have read.
    pub board: progress::Board,
    /// The signs of life of threads and tasks.
    pub beats: Beats,
}

impl Telemetry {
    /// Fresh metrics and health for this process; `config_hash` is shown by `hookline_config_info`.
    ///
    /// # Errors
    /// When a metric cannot be registered, which is a defect of this build.
    pub fn new(config_hash: &str) -> Result<Self, prometheus::Error> {
        let (metrics, beats) = (Metrics::new(config_hash)?, Beats::default());
        let help = "Threads and tasks without a sign of life for 30 seconds, or that have panicked, by what they do";
        beats.watch(metrics.gauge("threads_stuck", help, &["kind"])?);
        Ok(Self { metrics, health: Health::default(), board: progress::Board::default(), beats })
    }
}

/// An error and its causes, in one line; the outermost alone often says nothing, as with HTTP clients. A cause whose
/// words the errors before it have said already is left out: many of them tell their source in their own sentence.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Told {
        said: &'static str,
        source: Option<Box<Told>>,
    }

    #[test]
    fn each_cause_is_told_and_none_twice() {
        let refused = Told { said: "refused", source: None };
        let read = Told { said: "control cannot be read: refused", source: Some(Box::new(refused)) };
        let asked = Told { said: "no identity", source: Some(Box::new(read)) };
        assert_eq!(with_causes(&asked), "no identity: control cannot be read: refused");
    }
}
