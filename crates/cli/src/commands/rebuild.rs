//! `hookline rebuild`: the closed reports of one day, held against their rows and computed again.

use jiff::civil::Date;
use operate::rebuild::{Rebuild, rebuild};

use super::arguments::ToolArgs;
use super::block_on;
use crate::exit::Outcome;
use crate::output::answer;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// The day (UTC): 2026-11-29
    #[arg(long, value_name = "DATE")]
    day: Date,
    /// Only this report, such as link_hourly
    #[arg(long, value_name = "NAME")]
    report: Option<String>,
    /// Compute again what differs; without it, only the difference is shown
    #[arg(long)]
    apply: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let request = Rebuild { day: args.day, report: args.report.clone(), apply: args.apply };
    let installation = args.tool.installation()?;
    block_on(async { answer(&rebuild(&installation, &request).await?, args.tool.json, &args.tool.flag()) })
}
