//! One Kafka-to-Kafka step, a lane at a time: adapt, deduplicate, enrich, route, inside one transaction per batch.
//!
//! This crate is wiring. What an event means is decided in `adapter`, `dedupe`, `enrich` and `rules`; how a transaction
//! is fenced, in `kafka`. What is decided here is only where blocks end ([`cuts`]), when a lane stops over dead
//! letters ([`fuse`]), where it goes on ([`opening`]) and how it moves ([`advance`]), which is pure, and the order of
//! the stages ([`pipeline`]). The model checker in `tests/` moves lanes by `cuts`, `opening` and `advance`;
//! `pipeline/tests.rs` takes records through the stages.

pub mod advance;
mod catalogue;
pub mod clock;
pub mod cuts;
pub mod fuse;
pub mod gap;
mod lane;
mod metrics;
pub mod opening;
pub mod pipeline;
pub mod position;
mod record;
mod references;
mod salts;
mod signals;
mod tally;
mod traced;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::ListPlace;
use dedupe::LogStore;
use event::wire::Ids;
use kafka::Cluster;
use kafka::control::Control;
use kafka::topics::Plan;
use rules::RuleIndex;
use runtime::{LaneSet, Live, Shutdown, Telemetry};
use traces::Traces;

pub use catalogue::{Followed, LinksError, read_links};
pub use enrich::Salt;
pub use pipeline::{Decided, Decoded, Pipeline, SourceRules, Step};
pub use record::RawRecord;
pub use references::{
    ReferenceFiles, Shared as SharedReferences, Unusable, UnusableBecause, read_catalogue, read_countries,
};
pub use salts::Salts;

/// The name of this service in ids, groups and metrics.
pub const SERVICE: &str = "process";

/// What the lanes of `process` work by. It stays the same while they run, but for the decisions.
pub struct Settings {
    /// The Kafka cluster.
    pub cluster: Cluster,
    /// How the topics are laid out.
    pub plan: Plan,
    /// What the control topic says: incarnation, number of lanes, the secret of the dedupe hash.
    pub control: Control,
    /// Where the window stores lie, a folder a lane. A cache: it may be lost.
    pub data: PathBuf,
    /// What lanes decide by: each takes the newest between two transactions.
    pub decisions: Live<Decisions>,
    /// The catalogue of links, as it is read for all lanes of this process.
    pub links: Arc<Followed>,
    /// The schema ids of what is read and written.
    pub ids: Ids,
    /// The keys of the visitor hash.
    pub salts: Salts,
    /// When dead letters stop a lane.
    pub fuse: fuse::Limits,
    /// Where spans of traced events go.
    pub traces: Traces,
    /// Lanes whose fuse does not count up to an offset, this one included: somebody has looked and lets the dead letters pass.
    pub past_fuse: BTreeMap<u16, u64>,
}

/// What is decided by, as configured.
pub struct Decisions {
    /// The decisions about an event.
    pub pipeline: Arc<Pipeline>,
    /// The file of countries, which is replaced while lanes run.
    pub references: Arc<SharedReferences>,
    /// Where the operator's list of links is, if there is one.
    pub list: Option<ListPlace>,
    /// The rules.
    pub routes: Arc<RuleIndex>,
    /// The longest dedupe window of any source; older marks are forgotten.
    pub longest_window: Duration,
}

/// Open files that are not of windows: Kafka's connections, most of all.
const OTHER_FILES: u64 = 256;

/// Starts the given lanes, each on a thread of its own.
///
/// # Errors
/// When a metric cannot be registered or the system gives no thread.
pub fn start(
    settings: Settings,
    lanes: Vec<u16>,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<LaneSet, StartError> {
    let (may_open, needs) = (runtime::raise_file_limit(), lanes.len() as u64 * LogStore::FILES + OTHER_FILES);
    if may_open < needs {
        tracing::warn!(
            service = SERVICE,
            "this process may open {may_open} files, and the dedupe windows of {} lanes want up to {needs} with the rest: raise \
             the limit (ulimit -n), or run more instances with fewer lanes each",
            lanes.len()
        );
    }
    let metrics = metrics::ProcessMetrics::new(telemetry, &settings.decisions.current().pipeline)?;
    let gauges = references::Gauges::new(telemetry)?;
    let [taken_up, refused] = gauges.of("catalogue");
    references::follow(settings.decisions.clone(), gauges, telemetry, shutdown)?;
    catalogue::start_following(&settings.cluster, settings.ids, &settings.links, telemetry, shutdown, taken_up)?;
    let keeper = catalogue::KeeperSettings {
        cluster: settings.cluster.clone(),
        ids: settings.ids,
        lanes: settings.plan.lanes,
        decisions: settings.decisions.clone(),
        data: settings.data.clone(),
        links: Arc::clone(&settings.links),
        refused,
    };
    catalogue::start_keeping(keeper, telemetry, shutdown)?;
    let lanes = LaneSet::start(SERVICE, lanes, telemetry, shutdown, move |lane, component, stop| {
        lane::run(&settings, lane, &metrics, component, stop)
    })?;
    Ok(lanes)
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of process cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system gives no thread.
    #[error("no thread for a lane of process: {0}")]
    Thread(#[from] std::io::Error),
}
