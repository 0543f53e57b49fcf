//! `hookline train`: what is usual, learned from stored history.

use operate::train::{Options, train};

use super::arguments::{ToolArgs, time};
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --apply it only says what would be learned. With it, detect loses its lanes for a moment and takes them back with \
    what it was taught; it need not be stopped, and its position stays where it is. Exit code 1 when keys have learned for as long or \
    longer and were left as they are."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// Since when history is looked at: 365d (ago), 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = time)]
    since: i64,
    /// Only this rule; may be given several times [default: all that learn]
    #[arg(long = "rule", value_name = "NAME")]
    rules: Vec<String>,
    /// Teach keys as well that have learned for as long or longer
    #[arg(long)]
    overwrite: bool,
    /// Put it into the state of detect
    #[arg(long)]
    apply: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let options =
        Options { since: args.since, rules: args.rules.clone(), overwrite: args.overwrite, apply: args.apply };
    block_on(async { answer(&train(&args.tool.installation()?, &options).await?, args.tool.json, &args.tool.flag()) })
}
