//! Alerts into few messages, and messages to their destinations, whatever crashes.
//!
//! A lane here is one partition of `alerts`. In one fenced transaction it takes alerts, writes what becomes of them to
//! `deliveries`, and moves its position on: bundles that are due are `planned` with their contents frozen, alerts that wait
//! for a later message are `held`. So the position always moves on, whatever a destination does, and everything that is
//! known stands in `deliveries`: whoever opens the lane reads it back from the oldest record that still matters, an offset
//! that is committed beside the position.
//!
//! What is planned and has no outcome is owed. Each destination has a task of its own that works off what it is owed and
//! tells the lane each attempt and outcome, which go into the lane's next transaction. What holds:
//! - A message is sent at least once, always with the same contents and the same id: between the answer of a destination and
//!   the commit of the outcome, a crash sends it again.
//! - A destination that is dead, slow or refuses delays no other.
//! - The clock decides only when something is sent, never what: a bundle's contents and id are decided in the log.
//! - A report of a period is planned once: the lane that its name falls to knows the last period from the log
//!   (`scheduled`).

mod fault;
mod lane;
mod live;
mod metrics;
mod outbox;
mod retry;
mod scheduled;
mod settings;
mod traced;
mod transport;
mod worker;

use std::sync::Arc;

use runtime::{LaneSet, Live, Shutdown, Telemetry};
use tokio::runtime::Handle;

pub use fault::POINTS;
pub use scheduled::{BadReport, Content, ScheduledReport};
pub use settings::{Destination, Settings, SettingsError, people_of, routing};

/// The name of this service in ids, groups and metrics.
pub const SERVICE: &str = "notify";

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of notify cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system gives no thread.
    #[error("no thread for a lane of notify: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts the given partitions of `alerts`, each on a thread of its own. `handle` runs the tasks of destinations.
/// Settings that are replaced are taken between two transactions; destinations that stay as they were go on
/// undisturbed.
///
/// # Errors
/// When a metric cannot be registered or the system gives no thread.
pub fn start(
    settings: impl Into<Live<Settings>>,
    partitions: Vec<u16>,
    handle: Handle,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<LaneSet, StartError> {
    // Whoever installed one before is fine: all that counts is that there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let settings = settings.into();
    let metrics = metrics::NotifyMetrics::new(telemetry, &settings.current())?;
    let switches = Arc::<live::LiveSwitches>::default();
    let cluster = settings.current().cluster.clone();
    live::follow(cluster, Arc::clone(&switches), metrics.held_back.clone(), telemetry, shutdown)?;
    let lanes = LaneSet::start(SERVICE, partitions, telemetry, shutdown, move |partition, component, stop| {
        lane::run(&settings, partition, &handle, &metrics, &switches, component, stop)
    })?;
    Ok(lanes)
}
