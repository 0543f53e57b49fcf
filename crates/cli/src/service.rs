//! `hookline ingest | process | report | …`: one service of a production installation.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use config::{Config, Environment};
use runtime::Shutdown;
use tokio::time::{Duration, timeout};

use crate::exit::{Outcome, Verdict};
use crate::lanes::{Instance, PastFuse, Share};
use crate::platform::{Platform, Whereabouts};
use crate::reload::{Hangups, Reload};
use crate::services::{Known, Service, Services, serve_metrics};

/// A graceful stop ends within this time; what is not done then is left to the next start.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    pub(crate) config: PathBuf,
    /// Which share of the lanes is ours: i/n, such as 2/3
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    pub(crate) instance: Instance,
    /// Where webhooks come in (ingest only) [default: the configuration's]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where metrics and health are served [default: the configuration's]
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<SocketAddr>,
}

/// The arguments of stages whose instances can share their lanes by themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct StageArgs {
    #[command(flatten)]
    service: Args,
    /// Share the lanes with all other instances that join, instead of by --instance: they are shared anew when one comes or goes
    #[arg(long, conflicts_with = "instance")]
    join: bool,
}

impl StageArgs {
    fn share(&self) -> Share {
        if self.join { Share::Joined } else { Share::Fixed(self.service.instance) }
    }
}

/// Runs one stage until it is told to stop.
pub(crate) fn run_stage(service: Service, args: &StageArgs) -> Outcome {
    start(service, &args.service, args.share(), &[])
}

/// The arguments of `process`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProcessArgs {
    #[command(flatten)]
    stage: StageArgs,
    /// Let the dead letters of a lane whose fuse has blown pass, up to an offset of raw; the message of the lane names both
    #[arg(long, value_name = "LANE@OFFSET")]
    past_fuse: Vec<PastFuse>,
}

/// Runs `process` until it is told to stop.
pub(crate) fn run_process(args: &ProcessArgs) -> Outcome {
    start(Service::Process, &args.stage.service, args.stage.share(), &args.past_fuse)
}

/// Runs one service until it is told to stop.
pub(crate) fn run(service: Service, args: &Args) -> Outcome {
    start(service, args, Share::Fixed(args.instance), &[])
}

fn start(service: Service, args: &Args, share: Share, past_fuse: &[PastFuse]) -> Outcome {
    if let Err(error) = runtime::logs::init() {
        bail!("cannot start logging: {error}");
    }
    let config = load(&args.config)?;
    run_to_end(serve(service, args, share, past_fuse, config))
}

/// Runs `work` on a runtime of its own. Threads that are still busy when it has ended, such as a lane that waits for an answer
/// from Kafka, do not hold the process: it has said how long a stop may take, and what is left is done at the next start.
pub(crate) fn run_to_end<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(work);
    // Dropping it would wait for them, however long.
    runtime.shutdown_background();
    ended
}

/// Reads a configuration; its warnings go to the log.
pub(crate) fn load(path: &std::path::Path) -> anyhow::Result<Config> {
    let config = Config::load(path, &Environment::of_process())?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

async fn serve(service: Service, args: &Args, share: Share, past_fuse: &[PastFuse], config: Config) -> Outcome {
    let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
    let hangups = Hangups::listen(&shutdown)?;
    let metrics = address(args.metrics, &config.metrics.listen, "[metrics] listen")?;
    let listen = address(args.listen, &config.ingest.listen, "[ingest] listen")?;
    let platform = Platform::new(config, Whereabouts::default(), shutdown.clone())?;
    let listener = match service {
        Service::Ingest => Some(runtime::listen::bind("webhooks", listen, "--listen").await?),
        Service::Process | Service::Detect | Service::Report | Service::Notify => None,
    };
    serve_metrics(&platform, metrics).await?;
    let mut services = Services::new();
    let known = tokio::select! {
        known = Known::by(&platform, service.needs_schemas()) => known?,
        () = shutdown.given() => return Ok(Verdict::Fine),
    };
    services.start(service, &platform, &known, share, past_fuse, listener).await?;
    Reload::follow(&args.config, &platform, services.parts(), hangups)?;
    let ended = tokio::select! {
        () = shutdown.given() => Ok(()),
        ended = services.ended() => ended,
    };
    shutdown.stop();
    let stopped = timeout(DRAIN, services.stop()).await;
    platform.traces.finish().await;
    match stopped {
        Ok(stopped) => ended.and(stopped)?,
        Err(_elapsed) => {
            bail!("the stop took longer than {} s; what was left is done at the next start", DRAIN.as_secs())
        }
    }
    Ok(Verdict::Fine)
}

/// The address given on the command line, or else the configured one.
pub(crate) fn address(given: Option<SocketAddr>, configured: &str, key: &str) -> anyhow::Result<SocketAddr> {
    match given {
        Some(address) => Ok(address),
        None => configured
            .parse()
            .with_context(|| format!("{key} = {configured:?} is not an address such as 127.0.0.1:8080")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_does_not_end_does_not_hold_the_process() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let running = std::thread::spawn(move || {
            let ended = run_to_end(async {
                // As the lanes of a service are joined.
                let (begun, begins) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || {
                    let _ = begun.send(());
                    held.recv()
                });
                begins.await?;
                Ok(())
            });
            tell.send(ended.is_ok())
        });
        let in_time = told.recv_timeout(Duration::from_secs(20));
        drop(release);
        assert_eq!(in_time, Ok(true));
        running.join().unwrap().unwrap();
    }
}
