//! The rules that count, a partition of `signals` at a time: counts in, alerts out, in fenced transactions.
//!
//! This crate is wiring: what a count means is decided in `rules`. A lane here is one partition of `signals`, which holds
//! some keys of every rule and hears of every lane of `raw`. Its alerts, the state that changed and its position are one
//! transaction. Between two of them everything is in memory and nothing is told, so a crash only costs reading the signals
//! since the last one again; and since what is said is a function of the signals alone, it does not matter when a
//! transaction ends. No clock decides anything.

mod lane;
mod metrics;

pub use lane::taught::{Known, known, teach};

use event::wire::Ids;
use kafka::Cluster;
use kafka::topics::Plan;
use runtime::{LaneSet, Live, Shutdown, Telemetry};

/// The name of this service in ids, groups and metrics.
pub const SERVICE: &str = "detect";

/// What the lanes of the detector work by. Rules and expectations may change while they run.
#[derive(Clone)]
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// How the topics are laid out.
    pub plan: Plan,
    /// The schema ids of what is read and written.
    pub ids: Ids,
    /// The rules, as configured; those that do not count are left alone.
    pub rules: Vec<rules::Rule>,
    /// What is to be expected, beside the rules: launches, and how long a source may be quiet.
    pub expectations: rules::Expectations,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of detect cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system gives no thread.
    #[error("no thread for a lane of detect: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts the given partitions of `signals`, each on a separate thread. One whose settings are replaced commits,
/// and opens anew by the new ones, from the state that it has just written.
///
/// # Errors
/// When a metric cannot be registered or the system gives no thread.
pub fn start(
    settings: impl Into<Live<Settings>>,
    partitions: Vec<u16>,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<LaneSet, StartError> {
    let (settings, metrics) = (settings.into(), metrics::DetectMetrics::new(telemetry)?);
    let lanes = LaneSet::start(SERVICE, partitions, telemetry, shutdown, move |partition, component, stop| {
        lane::run(&settings, partition, &metrics, component, stop)
    })?;
    Ok(lanes)
}
