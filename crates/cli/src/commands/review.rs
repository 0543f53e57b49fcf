//! `hookline review`: the periodic review of the workflow, with data.

use operate::review::review;

use super::arguments::ToolArgs;
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Markdown, with a box for each thing to do: hookline review > review.md. Values that look like personal data are \
    counted and not shown. Exit code 1 when something is to be done."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// How many days are looked at
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

pub(crate) fn run(args: &Args) -> Outcome {
    block_on(async { answer(&review(&args.tool.installation()?, args.days).await?, args.tool.json, &args.tool.flag()) })
}
