//! One partition of `alerts`: restore, then take alerts and tell what becomes of them.

mod open;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka::lane::{End, Lane, PATIENCE};
use runtime::{Component, Live, Shutdown};
use tokio::runtime::Handle;

use crate::live::LiveSwitches;
use crate::metrics::NotifyMetrics;
use crate::{SERVICE, Settings};
use open::OpenLane;

/// Runs a lane until the stop is given or it cannot go on.
pub(crate) fn run(
    settings: &Live<Settings>,
    partition: u16,
    handle: &Handle,
    metrics: &NotifyMetrics,
    switches: &Arc<LiveSwitches>,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    // What is paused must not be sent in the moment after a start.
    let deadline = Instant::now() + PATIENCE;
    while switches.version() == 0 {
        if Instant::now() > deadline {
            return Err(End::Retry("what is paused is not known yet".to_owned()));
        }
        kafka::lane::pause("the switches", Duration::from_millis(50));
    }
    let current = settings.current();
    let (cluster, writes) = (current.cluster.clone(), open::written_to(&current, partition));
    let at = Lane { cluster: &cluster, stage: SERVICE, number: partition, writes };
    let open = |_: &_| OpenLane::open(settings, current, partition, handle, metrics, switches);
    kafka::lane::run(at, component, || shutdown.is_stopping(), open)
}
