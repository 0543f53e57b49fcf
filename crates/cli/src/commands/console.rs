//! `hookline console`: what is there and what is wrong, as pages for a browser.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use operate::Installation;
use operate::installation::Needs;
use runtime::{Shutdown, Telemetry};

use crate::exit::{Outcome, Verdict};
use crate::reload::on_hangup;
use crate::service::{address, run_to_end};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Who reaches it on this machine may read. Changes, the bytes of dead letters and the search for an event want the \
    token of [console]; on an address that other machines reach, everything does."
)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Where browsers find it [default: the configuration's]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where metrics and health are served [default: the configuration's]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    if let Err(error) = runtime::logs::init() {
        bail!("cannot start logging: {error}");
    }
    run_to_end(async {
        let shutdown = Shutdown::on_signals().context("cannot listen for signals")?;
        on_hangup(&shutdown, || {
            tracing::warn!("the console alone does not load a configuration again: start it again to take another one");
        })?;
        let installation = Installation::find(&args.config, Needs::Both, None)?;
        let config = &installation.config;
        let listen = address(args.listen, &config.console.listen, "[console] listen")?;
        let metrics = address(args.metrics, &config.metrics.listen, "[metrics] listen")?;
        let listener = runtime::listen::bind("the console", listen, "--listen").await?;
        let telemetry = Telemetry::new(config.version_hash()).context("metrics cannot be registered")?;
        let component = telemetry.health.component("console");
        let metrics = runtime::listen::bind("metrics", metrics, "--metrics").await?;
        tokio::spawn(runtime::listen::serve_metrics(metrics, telemetry, shutdown.clone()));
        tracing::info!(service = "console", address = %format!("http://{}", listener.local_addr()?), "the console is served");
        component.ready();
        let token = config.console.token.clone();
        let settings = console::Settings { installation: installation.into(), instances: Vec::new(), token };
        console::serve(listener, settings, shutdown).await?;
        Ok(Verdict::Fine)
    })
}
