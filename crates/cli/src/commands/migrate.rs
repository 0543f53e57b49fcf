//! `hookline migrate`: the tables, created or upgraded.

use std::path::PathBuf;

use operate::Installation;
use operate::installation::Needs;
use operate::migrate::migrate;

use super::arguments::flag;
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Only say what would be done; exit code 1 if there is anything
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let installation = Installation::find(&args.config, Needs::ClickHouse, None)?;
    block_on(async { answer(&migrate(&installation, args.dry_run).await?, args.json, &flag(&args.config)) })
}
