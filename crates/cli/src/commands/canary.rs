//! `hookline canary`: a made-up event at each interval, from the public door down to its row and its message.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use operate::canary;
use reqwest::Url;
use runtime::{Live, Shutdown};

use super::send::listening_at;
use crate::exit::{Outcome, Verdict};
use crate::platform::{Platform, Whereabouts};
use crate::reload::{Hangups, Part, Reload};
use crate::service::{address, load, run_to_end};
use crate::services::serve_metrics;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It sends what [canary] of the configuration says, as test data, and serves canary_seconds and \
    canary_last_success_timestamp_seconds: deploy/prometheus has the alert. Run it where senders are, and not on the machine that it \
    watches. `hookline up` has it in its process."
)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Where ingest is [default: [canary] ingest of the configuration, or where it lets ingest listen]
    #[arg(long, value_name = "URL")]
    ingest: Option<Url>,
    /// Where metrics and health are served [default: the configuration's]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if let Err(error) = runtime::logs::init() {
        bail!("cannot start logging: {error}");
    }
    let config = load(&args.config)?;
    if config.canary.is_none() {
        bail!(
            "{} has no [canary], so nothing would be sent; add one: deploy/hookline.example.toml shows it",
            args.config.display()
        );
    }
    run_to_end(async {
        let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
        let hangups = Hangups::listen(&shutdown)?;
        let metrics = address(args.metrics, &config.metrics.listen, "[metrics] listen")?;
        let listens = listening_at(&config.ingest.listen).ok();
        let platform = Platform::new(config, Whereabouts::default(), shutdown.clone())?;
        serve_metrics(&platform, metrics).await?;
        let installation = Live::new(platform.installation());
        let parts = vec![Part::Installation(installation.clone())];
        Reload::follow(&args.config, &platform, parts, hangups)?;
        let ingest = match &args.ingest {
            Some(url) => canary::Ingest::Always(url.as_str().to_owned()),
            None => canary::Ingest::Unless(listens),
        };
        tracing::info!(service = canary::SERVICE, "the canary is sent");
        canary::run(canary::Settings { installation, ingest }, &platform.telemetry, &shutdown).await?;
        Ok(Verdict::Fine)
    })
}
