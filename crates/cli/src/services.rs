//! The services as tasks of this process, each with the same start and the same stop.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use event::wire::Ids;
use kafka::Topic;
use kafka::control::Control;
use runtime::Live;
use runtime::lanes::Lanes;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::lanes::{PastFuse, Share};
use crate::platform::{self, Platform};
use crate::reload::Part;

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ingest,
    Process,
    Detect,
    Report,
    Notify,
}

impl Service {
    pub(crate) const ALL: [Service; 5] =
        [Service::Ingest, Service::Process, Service::Detect, Service::Report, Service::Notify];

    /// Whether it reads or writes Avro.
    pub(crate) fn needs_schemas(self) -> bool {
        self != Service::Ingest
    }
}

/// What a service has to know before it starts.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Who this pipeline is.
    pub(crate) control: Control,
    /// The schema ids of its records.
    pub(crate) ids: Ids,
}

impl Known {
    /// Finds it out; the schemas' ids only if they are needed, since a registry may have to be waited for.
    pub(crate) async fn by(platform: &Platform, needs_schemas: bool) -> anyhow::Result<Self> {
        let control = platform.ensure_identity().await?;
        let ids = if needs_schemas { platform.wait_for_schemas().await? } else { Ids::FIXED };
        Ok(Self { control, ids })
    }
}

/// The services that run in this process.
pub(crate) struct Services {
    tasks: JoinSet<(Service, anyhow::Result<()>)>,
    /// Whether the watch over lanes runs: one for all stages of the process.
    watched: bool,
    /// What takes another configuration while it runs.
    parts: Vec<Part>,
}

impl Services {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), watched: false, parts: Vec::new() }
    }

    /// What takes another configuration while it runs, of all services that were started.
    pub(crate) fn parts(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.parts)
    }

    /// Starts a service. `listener` is where ingest takes webhooks; the others have none.
    pub(crate) async fn start(
        &mut self,
        service: Service,
        platform: &Platform,
        Known { control, ids }: &Known,
        share: Share,
        past_fuse: &[PastFuse],
        listener: Option<TcpListener>,
    ) -> anyhow::Result<()> {
        let lanes = share.at_first(platform.plan.lanes);
        if service != Service::Ingest && !std::mem::replace(&mut self.watched, true) {
            kafka::watch::start(&platform.cluster, &platform.plan, &platform.telemetry, &platform.shutdown)?;
        }
        match service {
            Service::Ingest => {
                let settings = ingest::Settings {
                    cluster: platform.cluster.clone(),
                    lanes: platform.plan.lanes,
                    http: platform.config.ingest.clone(),
                    sources: platform.sources()?,
                    traces: platform.traces.clone(),
                };
                let ingest = ingest::Ingest::new(settings, &platform.telemetry)?;
                self.parts.push(Part::Ingest(ingest.live()));
                let listener = listener.context("ingest needs an address to listen on")?;
                let (telemetry, shutdown) = (platform.telemetry.clone(), platform.shutdown.clone());
                self.tasks.spawn(async move {
                    let served = ingest.serve(listener, telemetry, shutdown).await;
                    (service, served.context("the listener of ingest failed"))
                });
            }
            Service::Process => {
                let decisions = Live::new(platform.decisions(None)?);
                self.parts.push(Part::Process(decisions.clone()));
                let settings = process::Settings {
                    cluster: platform.cluster.clone(),
                    plan: platform.plan.clone(),
                    control: control.clone(),
                    ids: *ids,
                    data: platform.window_data.clone(),
                    salts: process::Salts::new(platform.cluster.clone(), platform.plan.raw_retention),
                    decisions,
                    links: Arc::default(),
                    fuse: process::fuse::Limits {
                        run: platform.config.process.fuse_run,
                        percent: platform.config.process.fuse_percent,
                    },
                    traces: platform.traces.clone(),
                    past_fuse: PastFuse::by_lane(past_fuse, platform.plan.lanes)?,
                };
                let mut lanes = process::start(settings, lanes, &platform.telemetry, &platform.shutdown)?;
                if share == Share::Joined {
                    lanes.expect_takeovers();
                }
                self.run(service, share, Topic::Raw, lanes, platform);
            }
            Service::Detect => {
                let settings = Live::new(detect::Settings {
                    cluster: platform.cluster.clone(),
                    plan: platform.plan.clone(),
                    ids: *ids,
                    rules: platform.config.rules.iter().map(|rule| rule.rule.clone()).collect(),
                    expectations: platform.config.expectations(),
                });
                self.parts.push(Part::Detect(settings.clone()));
                let partitions = share.at_first(platform.plan.signal_partitions);
                let mut lanes = detect::start(settings, partitions, &platform.telemetry, &platform.shutdown)?;
                if share == Share::Joined {
                    lanes.expect_takeovers();
                }
                self.run(service, share, Topic::Signals, lanes, platform);
            }
            Service::Notify => {
                let (cluster, plan) = (platform.cluster.clone(), platform.plan.clone());
                let settings = notify::Settings::from_config(cluster, plan, *ids, &platform.config)?;
                let warehouse = Some(Arc::new(platform.warehouse.clone()));
                let traces = platform.traces.clone();
                let settings = Live::new(notify::Settings { warehouse, traces, ..settings });
                self.parts.push(Part::Notify(settings.clone()));
                let partitions = share.at_first(platform.plan.alert_partitions);
                let handle = tokio::runtime::Handle::current();
                let lanes = notify::start(settings, partitions, handle, &platform.telemetry, &platform.shutdown)?;
                self.run(service, share, Topic::Alerts, lanes, platform);
            }
            Service::Report => {
                let (warehouse, layout) = (platform.connect().await?, platform.layout());
                platform::migrate(&warehouse, &layout).await?;
                warehouse.check_tokens().await?;
                let settings = Live::new(report::Settings {
                    cluster: platform.cluster.clone(),
                    plan: platform.plan.clone(),
                    control: control.clone(),
                    ids: *ids,
                    warehouse,
                    layout,
                    traces: platform.traces.clone(),
                });
                self.parts.push(Part::Report(settings.clone()));
                let handle = tokio::runtime::Handle::current();
                let mut report = report::start(settings, lanes, &handle, &platform.telemetry, &platform.shutdown)?;
                if share == Share::Joined {
                    report.expect_takeovers();
                }
                self.run(service, share, Topic::Events, report, platform);
            }
        }
        Ok(())
    }

    /// Watches over lane threads until they have ended; those of a group come and go meanwhile.
    fn run(&mut self, service: Service, share: Share, topic: Topic, lanes: impl Lanes, platform: &Platform) {
        let (cluster, takeover_after) = (platform.cluster.clone(), platform.config.kafka.takeover_after);
        let (telemetry, shutdown) = (platform.telemetry.clone(), platform.shutdown.clone());
        self.tasks.spawn(async move {
            let ended = tokio::task::spawn_blocking(move || match share {
                Share::Fixed(_) => {
                    lanes.join();
                    Ok(())
                }
                Share::Joined => kafka::members::keep(lanes, &cluster, topic, takeover_after, &telemetry, &shutdown),
            });
            let ended = ended.await.context("a lane could not be joined");
            (service, ended.and_then(|kept| kept.context("the lanes cannot be shared")))
        });
    }

    /// Returns when a service has ended: with its error, or without one because the stop was given.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        match self.tasks.join_next().await {
            Some(Ok((service, result))) => result.with_context(|| format!("{service:?} ended").to_lowercase()),
            Some(Err(error)) => Err(error).context("a service panicked"),
            None => std::future::pending().await,
        }
    }

    /// Waits until every service has stopped.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(joined) = self.tasks.join_next().await {
            let result = joined.context("a service panicked").and_then(|(_, result)| result);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }
}

/// Serves metrics and health on an address of their own; returns the address.
pub(crate) async fn serve_metrics(
    platform: &Platform,
    address: SocketAddr,
) -> anyhow::Result<(SocketAddr, JoinHandle<std::io::Result<()>>)> {
    let listener = runtime::listen::bind("metrics", address, "--metrics").await?;
    let bound = listener.local_addr().context("metrics")?;
    let task =
        tokio::spawn(runtime::listen::serve_metrics(listener, platform.telemetry.clone(), platform.shutdown.clone()));
    Ok((bound, task))
}
