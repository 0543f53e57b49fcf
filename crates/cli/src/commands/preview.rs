//! `hookline preview`: what a rule would send, to each of its destinations. Nothing is sent.

use std::path::PathBuf;

use config::{Config, Environment};
use operate::preview::preview;

use super::arguments::flag;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Events and numbers are made up; the messages are made by the code that runs. --json has the whole \
    request, mail or row of each destination, with an example in the place of each secret. No secret is looked up."
)]
pub(crate) struct Args {
    /// The rule
    #[arg(value_name = "RULE")]
    rule: String,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "hookline.toml")]
    config: PathBuf,
    /// Print one JSON line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let config = Config::load(&args.config, &Environment::of_process().without_secrets())?;
    let now = event::Millis(jiff::Timestamp::now().as_millisecond());
    answer(&preview(&config, &args.rule, now)?, args.json, &flag(&args.config))
}
