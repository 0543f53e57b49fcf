//! `hookline rehearse`: made-up events through a running system, down to rows and messages, as test data.

use std::time::Duration;

use operate::Endpoints;
use operate::rehearse::{Options, rehearse};
use reqwest::Url;

use super::arguments::ToolArgs;
use super::block_on;
use super::send::listening_at;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Six scenarios (a click, a QR scan, UTM parameters, a burst, a broken destination, a duplicate) and three edges (a \
    link that is edited, leads elsewhere, or has expired), and each rule with events that it asks for. All of it is test data: its \
    rows rest in the test database, its messages go to the capture sink, and nothing reaches a destination. The first event goes \
    alone; unless its row is test data, nothing else is sent. Exit code 0: everything holds; 1: something does not; 2: it could not \
    be rehearsed."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// Where ingest is [default: where the configuration lets it listen]
    #[arg(long, value_name = "URL")]
    ingest: Option<Url>,
    /// The source to send to, one with adapter = "canonical" [default: the first of them]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How long rows, alerts and messages are waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(5..=3600))]
    patience: u16,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let installation = args.tool.installation()?;
    let running = || Endpoints::beside(&args.tool.config).and_then(|running| running.ingest);
    let ingest = match &args.ingest {
        Some(url) => url.as_str().to_owned(),
        None => match running() {
            Some(url) => url,
            None => listening_at(&installation.config.ingest.listen)?,
        },
    };
    let patience = Duration::from_secs(args.patience.into());
    let options = Options { source: args.source.clone(), ingest, patience };
    block_on(async { answer(&rehearse(&installation, &options).await?, args.tool.json, &args.tool.flag()) })
}
