//! `hookline reload`: every running service loads the configuration again.

use operate::reload::{ReloadReport, Taken};

use super::arguments::{ToolArgs, WhoArgs, words};
use super::block_on;
use crate::exit::{Outcome, Verdict};
use crate::output::show;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file is checked first; one with errors changes nothing. Each service then reads its own copy, checks it, and \
    takes it between two transactions, within about two seconds. SIGHUP does the same for one process. What is read at the start \
    alone (listeners, addresses of engines, memory) is named with what to start again. Services are heard where their addresses are known: \
    those of the `up` that runs on this configuration, [metrics] instances, and --at. Exit code: 0 all have taken it, \
    1 one has not said so or waits for a start, 2 the file has errors or a service refuses it."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// Why; kept for good
    #[arg(long, value_name = "TEXT", default_value = "reload", value_parser = words)]
    why: String,
    #[command(flatten)]
    who: WhoArgs,
    /// Also ask the service that serves metrics there; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    at: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let who = args.who.name()?;
    block_on(async {
        // A file with errors is said with all of them, not with the first.
        let environment = config::Environment::of_process().without_secrets();
        let checked = operate::check::check(&args.tool.config, &environment);
        let report = if checked.ok {
            let installation = args.tool.installation()?;
            operate::reload::reload(&installation, who, args.why.clone(), &args.at).await?
        } else {
            ReloadReport { ok: false, version: None, errors: checked.errors, instances: Vec::new() }
        };
        show(&report, args.tool.json, &args.tool.flag())?;
        Ok(verdict(&report))
    })
}

fn verdict(report: &ReloadReport) -> Verdict {
    use operate::Report;
    match (report.is_broken(), report.needs_attention()) {
        (true, _) => Verdict::Broken,
        (false, true) => Verdict::NeedsAttention,
        (false, false) => Verdict::Fine,
    }
}

/// How a service took it, in words.
pub(crate) fn in_words(taken: Taken) -> &'static str {
    match taken {
        Taken::Yes => "has taken it",
        Taken::Refused => {
            "REFUSES the file that it has; its log says why, and the configuration before it stays in force"
        }
        Taken::Other => "has taken another version: the file there is another one",
        Taken::Late => "has not said yet that it has taken it",
        Taken::Silent => "does not answer",
    }
}
