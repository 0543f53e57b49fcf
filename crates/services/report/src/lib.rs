//! Events into ClickHouse: the blocks that `process` marked, one INSERT each, read back where in doubt, then committed.
//!
//! A lane of `report` has no memory of its own. Its position is always one past a cut, the block after it is in the log, and
//! the first block after a start counts as uncertain: whatever a predecessor left half done is completed by offset. What a lane
//! may do where it stands is decided in [`standing`]: pure, and held by the model checker in `tests/`.

mod erased;
mod keeper;
mod lane;
mod log;
mod metrics;
pub mod recovery;
pub mod standing;
mod traced;

pub use standing::GROUP;

use std::collections::BTreeSet;
use std::time::Duration;

use event::wire::Ids;
use kafka::Cluster;
use kafka::control::Control;
use kafka::topics::Plan;
use runtime::lanes::Lanes;
use runtime::{Component, LaneSet, Live, Shutdown, Telemetry};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use traces::Traces;
use warehouse::{Layout, Warehouse};

/// The name of this service in ids, groups and metrics.
pub const SERVICE: &str = "report";

/// What the lanes of `report` work by. The layout may change while they run.
#[derive(Clone)]
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// How the topics are laid out.
    pub plan: Plan,
    /// What the control topic says: incarnation and number of lanes.
    pub control: Control,
    /// The schema ids of what is read and written.
    pub ids: Ids,
    /// Where the rows go.
    pub warehouse: Warehouse,
    /// How the tables shall be: what closing a day goes by.
    pub layout: Layout,
    /// Where spans of traced events go.
    pub traces: Traces,
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
    lanes: LaneSet,
    beside: Beside,
}

impl Report {
    /// For lanes that a group hands around: one that was fenced and is ours all the same goes on soon.
    pub fn expect_takeovers(&mut self) {
        self.lanes.expect_takeovers();
    }

    /// Waits until every lane has ended. Blocking: call it off the async workers.
    pub fn join(mut self) {
        self.lanes.join();
        self.beside.end();
    }
}

impl Lanes for Report {
    fn service(&self) -> &'static str {
        SERVICE
    }

    fn start_lanes(&mut self, lanes: &BTreeSet<u16>) -> std::io::Result<()> {
        if lanes.contains(&0) {
            self.beside.start()?;
        }
        self.lanes.start_lanes(lanes.iter().copied())
    }

    fn stop_lanes(&mut self, lanes: &BTreeSet<u16>, patience: Duration) -> Vec<u16> {
        let late = self.lanes.stop_lanes(lanes.iter().copied(), patience);
        if lanes.contains(&0) {
            self.beside.end();
        }
        late
    }

    fn join(self) {
        Report::join(self);
    }
}

/// What runs once, where lane 0 runs: the copies of alerts and deliveries, the ledger, and the closing of days.
struct Beside {
    settings: Live<Settings>,
    metrics: keeper::KeeperMetrics,
    handle: Handle,
    telemetry: Telemetry,
    shutdown: Shutdown,
    running: Option<Running>,
}

struct Running {
    stop: Shutdown,
    logs: Vec<LaneSet>,
    keeper: JoinHandle<()>,
    component: Component,
}

/// How long what the keeper is doing may take when it is told to end; what it leaves undone is done by the next.
const KEEPER_ENDS: Duration = Duration::from_secs(5);

impl Beside {
    fn start(&mut self) -> std::io::Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let Self { settings, metrics, handle, telemetry, shutdown, .. } = self;
        let stop = shutdown.child();
        let mut logs = Vec::new();
        for log in [log::Log::Alerts, log::Log::Deliveries] {
            let partitions = 0..settings.current().plan.partitions(log.topic());
            let (settings, handle) = (settings.clone(), handle.clone());
            logs.push(LaneSet::start(
                log.stage(),
                partitions,
                telemetry,
                shutdown,
                move |partition, component, stop| {
                    log::run(&settings.current(), log, partition, &handle, component, stop)
                },
            )?);
        }
        let beat = telemetry.beats.register("keeper", "report keeper");
        let component = telemetry.health.component("report keeper");
        // The beat is the task's alone, so that it is dropped by a panic.
        let keeping = keeper::keep(settings.clone(), metrics.clone(), component.clone().beating(beat), stop.clone());
        self.running = Some(Running { stop, logs, keeper: handle.spawn(keeping), component });
        Ok(())
    }

    /// Ends it, and waits for it. Blocking.
    fn end(&mut self) {
        let Some(Running { stop, logs, mut keeper, component }) = self.running.take() else { return };
        stop.stop();
        for mut log in logs {
            log.stop_all();
            log.join();
        }
        match self.handle.block_on(async { tokio::time::timeout(KEEPER_ENDS, &mut keeper).await }) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(service = SERVICE, %error, "the keeper of ledger and days panicked"),
            Err(_elapsed) => keeper.abort(),
        }
        self.metrics.forget();
        component.gone();
    }
}

/// Starts the given lanes, each on a thread of its own; `handle` runs their calls to ClickHouse. The instance with lane 0
/// also copies alerts and deliveries, watches the ledger and closes days. A layout that is replaced is what days are
/// closed by from the next look on; blocks do not depend on it.
///
/// # Errors
/// When a metric cannot be registered or the system gives no thread.
pub fn start(
    settings: impl Into<Live<Settings>>,
    lanes: Vec<u16>,
    handle: &Handle,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<Report, StartError> {
    let (settings, metrics) = (settings.into(), metrics::ReportMetrics::new(telemetry)?);
    let beside = Beside {
        settings: settings.clone(),
        metrics: keeper::KeeperMetrics::new(telemetry)?,
        handle: handle.clone(),
        telemetry: telemetry.clone(),
        shutdown: shutdown.clone(),
        running: None,
    };
    let handle = handle.clone();
    let none = LaneSet::start(SERVICE, [], telemetry, shutdown, move |lane, component, stop| {
        lane::run(&settings.current(), lane, &handle, &metrics, component, stop)
    })?;
    let mut report = Report { lanes: none, beside };
    report.start_lanes(&lanes.into_iter().collect())?;
    Ok(report)
}
