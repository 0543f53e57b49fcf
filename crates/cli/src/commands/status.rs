//! `hookline status`: what is broken, what is lost, what to do next.

use std::io::IsTerminal;
use std::time::Duration;

use operate::status::{self, Severity, StatusReport};

use super::arguments::ToolArgs;
use super::block_on;
use crate::exit::{Outcome, Verdict};
use crate::output::show;

/// Clears a terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Kafka and ClickHouse are asked directly, so it works from any machine that has the configuration and reaches them. \
    Services are asked where their addresses are known: those of the `up` that runs on this configuration, [metrics] instances, \
    and --at. Exit code: 0 fine, 1 needs attention, 2 broken."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// Also ask the service that serves metrics there; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    at: Vec<String>,
    /// Ask again and again, with so long between two answers, until Ctrl-C
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5s",
        value_parser = config::duration)]
    watch: Option<Duration>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (json, flag) = (args.tool.json, args.tool.flag());
    block_on(async {
        let Some(pause) = args.watch else {
            let report = status::read(&args.tool.installation()?, &args.at).await;
            show(&report, json, &flag)?;
            return Ok(verdict(&report));
        };
        let mut last = Verdict::Fine;
        loop {
            // Anew each time: an `up` that was started in the meantime is elsewhere.
            let turn = async {
                let report = status::read(&args.tool.installation()?, &args.at).await;
                if !json && std::io::stdout().is_terminal() {
                    crate::output::print(format_args!("{CLEAR}"));
                }
                show(&report, json, &flag)?;
                anyhow::Ok(verdict(&report))
            };
            tokio::select! {
                turn = turn => last = turn?,
                _ = tokio::signal::ctrl_c() => return Ok(last),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = tokio::signal::ctrl_c() => return Ok(last),
            }
        }
    })
}

fn verdict(report: &StatusReport) -> Verdict {
    match report.state {
        Severity::Fine => Verdict::Fine,
        Severity::Attention => Verdict::NeedsAttention,
        Severity::Broken => Verdict::Broken,
    }
}
