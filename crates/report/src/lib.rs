//! Events into ClickHouse: the blocks that `process` marked, one INSERT each, read back where in doubt, then committed.
//!
//! A lane of `report` has no memory of its own. Its position is always one past a cut, the block after it is in the log, and
//! the first block after a start counts as uncertain: whatever a predecessor left half done is completed by offset.

mod days;
mod lane;
mod metrics;

use kafka::Cluster;
use kafka::control::Control;
use kafka::topics::Plan;
use runtime::{LaneSet, Shutdown, Telemetry};
use tokio::runtime::Handle;
use warehouse::Warehouse;

/// The name of this service in ids, groups and metrics.
pub const SERVICE: &str = "report";

/// What the lanes of `report` work by.
#[derive(Clone)]
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// How the topics are laid out.
    pub plan: Plan,
    /// What the control topic says: incarnation and number of lanes.
    pub control: Control,
    /// Where the rows go.
    pub warehouse: Warehouse,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of report cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system gives no thread.
    #[error("no thread for a lane of report: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts the given lanes, each on a thread of its own. `handle` runs their calls to ClickHouse.
///
/// # Errors
/// When a metric cannot be registered or the system gives no thread.
pub fn start(
    settings: Settings,
    lanes: Vec<u16>,
    handle: Handle,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<LaneSet, StartError> {
    let metrics = metrics::ReportMetrics::new(telemetry)?;
    let stop = shutdown.clone();
    let lanes = LaneSet::start(SERVICE, lanes, telemetry, shutdown, move |lane, component| {
        lane::run(&settings, lane, &handle, &metrics, component, &stop)
    })?;
    Ok(lanes)
}
