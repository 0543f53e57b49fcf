//! One partition of `signals`: restore, then read, and commit what there is to say.

mod open;
pub(crate) mod taught;

use std::time::Duration;

use kafka::lane::{End, Lane};
use runtime::{Component, Live, Shutdown};

use crate::metrics::DetectMetrics;
use crate::{SERVICE, Settings};
use open::OpenLane;

/// How long a lane may take to open anew by other rules: its state is read again.
const OPENING: Duration = Duration::from_secs(900);

/// Runs a lane until the stop is given or it cannot go on; by other rules from the moment when there are some.
pub(crate) fn run(
    settings: &Live<Settings>,
    partition: u16,
    metrics: &DetectMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    loop {
        let current = settings.current();
        let is_over = || shutdown.is_stopping() || settings.newer(&current).is_some();
        let writes = open::written_to(&current, partition);
        let at = Lane { cluster: &current.cluster, stage: SERVICE, number: partition, writes };
        kafka::lane::run(at, component, is_over, |_| OpenLane::open(&current, partition, metrics))?;
        if shutdown.is_stopping() {
            return Ok(());
        }
        tracing::info!(service = SERVICE, partition, "the lane goes on by another configuration");
        component.allow(OPENING);
    }
}
