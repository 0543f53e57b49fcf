//! `hookline check`: what is wrong with a configuration, all of it, with line numbers.

use std::path::PathBuf;

use anyhow::bail;
use config::Environment;
use operate::check::check;

use super::arguments::flag;
use crate::exit::Outcome;
use crate::output::{answer, show};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Do not look secrets up, as in a pull request's checks
    #[arg(long)]
    without_secrets: bool,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let environment = Environment::of_process();
    let environment = if args.without_secrets { environment.without_secrets() } else { environment };
    let (report, flag) = (check(&args.config, &environment), flag(&args.config));
    if report.ok {
        return answer(&report, args.json, &flag);
    }
    show(&report, args.json, &flag)?;
    let consequence = if args.json { "" } else { "; nothing starts on it" };
    bail!("{} has {} errors{consequence}", args.config.display(), report.errors.len())
}
