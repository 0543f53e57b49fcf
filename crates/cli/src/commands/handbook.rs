//! `hookline handbook`: the workflow record, as Markdown or as one HTML page.

use std::path::{Path, PathBuf};

use anyhow::Context;
use config::{Config, Environment};
use operate::Installation;
use operate::handbook::{self, Handbook};

use super::arguments::ToolArgs;
use super::block_on;
use crate::exit::{Outcome, Verdict};
use crate::output::answer;
use crate::output::text::handbook::{html, markdown};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Name the file in [workflow] handbook = \"HANDBOOK.md\": then `hookline check` says when it is of another configuration. \
    Exit code 1 when the record is not complete: it names what is missing."
)]
pub(crate) struct Args {
    #[command(flatten)]
    tool: ToolArgs,
    /// Write it there: Markdown, or HTML if the name ends in .html [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    out: Option<PathBuf>,
    /// As one HTML page
    #[arg(long, conflicts_with = "json")]
    html: bool,
    /// From the configuration alone: ClickHouse is not asked which events and fields are used
    #[arg(long)]
    offline: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    block_on(async {
        let record = record(args).await?;
        let is_html = args.html || args.out.as_deref().and_then(Path::extension).is_some_and(|end| end == "html");
        let text = || if is_html { html(&record) } else { markdown(&record) };
        match &args.out {
            Some(path) => {
                std::fs::write(path, text()).with_context(|| format!("cannot write {}", path.display()))?;
                println!("written: {}", path.display());
                record.missing.iter().for_each(|missing| println!("missing: {missing}"));
            }
            None if is_html => crate::output::print(format_args!("{}", text())),
            None => return answer(&record, args.tool.json, &args.tool.flag()),
        }
        Ok(if record.ok { Verdict::Fine } else { Verdict::NeedsAttention })
    })
}

async fn record(args: &Args) -> anyhow::Result<Handbook> {
    let installation = match args.offline {
        true => None,
        false => args.tool.installation().ok(),
    };
    if let Some(installation) = &installation {
        return Ok(handbook::handbook(&installation.config, Some(installation)).await);
    }
    let environment = Environment::of_process();
    // The record names secrets and shows none, so it can be written where there are none.
    let config = Config::load(&args.tool.config, &environment)
        .or_else(|_| Config::load(&args.tool.config, &environment.clone().without_secrets()))?;
    let engines = Installation::without_engines(config, &args.tool.config)?;
    Ok(handbook::handbook(&engines.config, None).await)
}
