//! `hookline check`: what is wrong with a configuration, all of it, with line numbers.

use std::path::PathBuf;

use anyhow::bail;
use config::{Config, Environment, Problem, memory_bytes};
use serde_json::json;

use crate::exit::{Outcome, Verdict};

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

/// Events a second that the memory of the dedupe window is said for.
const RATE: u32 = 1_000;

pub(crate) fn run(args: &Args) -> Outcome {
    let environment = Environment::of_process();
    let environment = if args.without_secrets { environment.without_secrets() } else { environment };
    match Config::load(&args.config, &environment) {
        Ok(config) if args.json => {
            println!(
                "{}",
                json!({ "ok": true, "version": config.version_hash(), "errors": [], "warnings": list(&config.warnings) })
            );
            Ok(verdict(&config.warnings))
        }
        Ok(config) => {
            for warning in &config.warnings {
                println!("warning: {warning}");
            }
            let window = config.longest_window();
            println!(
                "{} is fine: {} sources, {} rules, {} destinations, version {}",
                args.config.display(),
                config.sources.len(),
                config.rules.len(),
                config.destinations.len(),
                config.version_hash()
            );
            println!(
                "The dedupe window of {} h takes up to {} MB of memory for each {RATE} events a second, over all lanes.",
                window.as_secs() / 3_600,
                memory_bytes(RATE, window) / 1_000_000
            );
            Ok(verdict(&config.warnings))
        }
        Err(problems) if args.json => {
            println!(
                "{}",
                json!({ "ok": false, "errors": list(&problems.errors), "warnings": list(&problems.warnings) })
            );
            bail!("{} has {} errors", args.config.display(), problems.errors.len())
        }
        Err(problems) => {
            for problem in &problems.errors {
                println!("{problem}");
            }
            for warning in &problems.warnings {
                println!("warning: {warning}");
            }
            bail!("{} has {} errors; nothing starts on it", args.config.display(), problems.errors.len())
        }
    }
}

fn verdict(warnings: &[Problem]) -> Verdict {
    if warnings.is_empty() { Verdict::Fine } else { Verdict::NeedsAttention }
}

fn list(problems: &[Problem]) -> serde_json::Value {
    problems
        .iter()
        .map(|problem| json!({ "file": problem.file, "line": problem.line, "column": problem.column, "message": problem.message, "hint": problem.hint }))
        .collect()
}
