//! `hookline lint`: a list of links against the naming standard, before the links go live.

use std::path::PathBuf;

use config::{Config, Environment};
use operate::lint::lint;

use super::arguments::flag;
use crate::exit::{Outcome, Verdict};
use crate::output::{answer, print_markdown};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The list of links: CSV with a head, as the section "catalogue" takes it
    #[arg(value_name = "LINKS.csv")]
    file: PathBuf,
    /// The configuration that has the naming standard
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Print one JSON line
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a table for the page of a pull request
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let config = Config::load(&args.config, &Environment::of_process().without_secrets())?;
    let report = lint(&config, &args.file)?;
    if args.markdown {
        print_markdown(&report);
        return Ok(if report.ok { Verdict::Fine } else { Verdict::NeedsAttention });
    }
    answer(&report, args.json, &flag(&args.config))
}
