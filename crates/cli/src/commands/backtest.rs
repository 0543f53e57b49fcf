//! `hookline backtest`: what rules would have sent over stored history, beside what was sent.

use std::path::PathBuf;

use jiff::Timestamp;
use operate::Installation;
use operate::backtest::{Options, backtest};
use operate::installation::Needs;

use super::arguments::{ToolArgs, time};
use super::block_on;
use crate::exit::{Outcome, Verdict};
use crate::output::text::backtest::markdown;
use crate::output::{answer, print};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing is written and nothing is sent. In a pull request: hookline backtest --rules rules/growth.toml --since 30d \
    --markdown. Exit code 1 when ClickHouse holds no events of the span."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// A file of rules to be tried: they take the place of those of the configuration that are called the same
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Only this rule; may be given several times [default: those of --rules, or all]
    #[arg(long = "rule", value_name = "NAME")]
    names: Vec<String>,
    /// From when on: 30d (ago), 2026-11-25 or 2026-11-25T12:00:00Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = time)]
    since: i64,
    /// Until when, not included [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<i64>,
    /// How much history before that rules learn from [default: 56d for rules that learn]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    learn: Option<i64>,
    /// Messages that are shown of each rule and destination
    #[arg(long, value_name = "N", default_value_t = 1)]
    previews: usize,
    /// Print it as Markdown, for the page of a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let rules = args.rules.as_deref();
    let (installation, of_file) = Installation::find_with_rules(&args.tool.config, Needs::ClickHouse, None, rules)?;
    let options = Options {
        from: args.since,
        until: args.until.unwrap_or_else(|| Timestamp::now().as_millisecond()),
        learn_ms: args.learn,
        rules: if args.names.is_empty() { of_file } else { args.names.clone() },
        previews: args.previews,
    };
    block_on(async {
        let report = backtest(&installation, &options).await?;
        if args.markdown {
            print(format_args!("{}", markdown(&report)));
            return Ok(if report.ok { Verdict::Fine } else { Verdict::NeedsAttention });
        }
        answer(&report, args.tool.json, &args.tool.flag())
    })
}

/// A length of time, such as `8w` or `14d`, in milliseconds.
fn span(text: &str) -> Result<i64, String> {
    let length = config::duration(text)?;
    i64::try_from(length.as_millis()).map_err(|_| format!("{text:?} is too long"))
}
