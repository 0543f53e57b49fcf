//! Events into ClickHouse: the blocks that `process` marked, one INSERT each, read back where in doubt, then committed.
//!
//! A lane of `report` has no memory of its own. Its position is always one past a cut, the block after it is in the log, and
//! the first block after a start counts as uncertain: whatever a predecessor left half done is completed by offset. What a lane
//! may do where it stands is decided in [`standing`]: pure, and held by the model checker in `tests/`.

mod keeper;
mod lane;
mod log;
mod metrics;
pub mod recovery;
pub mod standing;

pub use standing::GROUP;

use kafka::Cluster;
use kafka::control::Control;
use kafka::topics::Plan;
use runtime::{LaneSet, Shutdown, Telemetry};
use tokio::runtime::Handle;
use warehouse::{Layout, Warehouse};

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
    /// How the tables shall be: what closing a day goes by.
    pub layout: Layout,
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

/// The running service.
pub struct Report {
    lanes: Vec<LaneSet>,
}

impl Report {
    /// Waits until every lane has ended. Blocking: call it off the async workers.
    pub fn join(self) {
        self.lanes.into_iter().for_each(LaneSet::join);
    }
}

/// Starts the given lanes, each on a thread of its own; `handle` runs their calls to ClickHouse. The instance with lane 0
/// also copies alerts and deliveries, watches the ledger and closes days.
///
/// # Errors
/// When a metric cannot be registered or the system gives no thread.
pub fn start(
    settings: Settings,
    lanes: Vec<u16>,
    handle: &Handle,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<Report, StartError> {
    let mut sets = Vec::new();
    if lanes.contains(&0) {
        let metrics = keeper::KeeperMetrics::new(telemetry)?;
        let component = telemetry.health.component("report keeper");
        handle.spawn(keeper::keep(settings.clone(), metrics, component, shutdown.clone()));
        for log in [log::Log::Alerts, log::Log::Deliveries] {
            let partitions = 0..settings.plan.partitions(log.topic());
            let (settings, handle, stop) = (settings.clone(), handle.clone(), shutdown.clone());
            sets.push(LaneSet::start(log.stage(), partitions, telemetry, shutdown, move |partition, component| {
                log::run(&settings, log, partition, &handle, component, &stop)
            })?);
        }
    }
    let metrics = metrics::ReportMetrics::new(telemetry)?;
    let (handle, stop) = (handle.clone(), shutdown.clone());
    sets.push(LaneSet::start(SERVICE, lanes, telemetry, shutdown, move |lane, component| {
        lane::run(&settings, lane, &handle, &metrics, component, &stop)
    })?);
    Ok(Report { lanes: sets })
}
