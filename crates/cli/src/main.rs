//! The one binary: a subcommand per service, `up`, and the operator's tools.

#[macro_use] // first: its macro is for all below
mod output;

mod commands;
mod demo;
mod engine;
mod exit;
mod lanes;
mod platform;
mod reload;
mod service;
mod services;
mod up;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::{
    backtest, canary, check, config, console, dlq, erase, explain, handbook, ledger, lint, migrate, preview, rebuild,
    rehearse, reload as reload_command, replay, review, send, status, switches, train,
};
use services::Service;

/// Signed webhooks in, trustworthy ClickHouse tables and calm alerts out.
#[derive(Debug, Parser)]
#[command(name = "hookline", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A subcommand is a variant here, a file of `commands` with its arguments and its `run`, and a line in [`main`].
#[derive(Debug, Subcommand)]
enum Command {
    /// Everything on one machine: the engines, and the services on them
    Up(up::Args),
    /// Take webhooks and append them to the log
    Ingest(service::Args),
    /// Adapt, deduplicate, enrich and route what was taken
    Process(service::ProcessArgs),
    /// Count what the rules count, and say when a threshold is crossed
    Detect(service::StageArgs),
    /// Bring events into ClickHouse, each once
    Report(service::StageArgs),
    /// Turn alerts into few messages and deliver them
    Notify(service::Args),
    /// What is there and what is wrong, as pages for a browser
    Console(console::Args),
    /// Send a made-up event at each interval, and measure how long its row and its message take
    Canary(canary::Args),
    /// What is broken, what is lost, what to do next: on one screen
    Status(status::Args),
    /// Create or upgrade the tables in ClickHouse
    Migrate(migrate::Args),
    /// Send signed events to a source, from a file or made up
    Send(send::Args),
    /// Switch a source, a rule or a destination off for a while, or say what is switched
    Pause(switches::PauseArgs),
    /// Switch something back to normal
    Resume(switches::ResumeArgs),
    /// Have every running service load the configuration again
    Reload(reload_command::Args),
    /// Hold new messages of a rule back for a while
    Silence(switches::SilenceArgs),
    /// Say that a message is taken care of: of what it named, nothing follows but the end
    Ack(switches::AckArgs),
    /// Say why a delivery is not authentic, from a captured request
    Verify(verify::Args),
    /// Say what is wrong with a configuration, with line numbers
    Check(check::Args),
    /// What a rule would send to each of its destinations; nothing is sent
    Preview(preview::Args),
    /// Try a running system: made-up events as test data, down to rows and messages
    Rehearse(rehearse::Args),
    /// What can be configured: the reference, and a schema for editors
    Config(config::Args),
    /// What rules would have sent over stored history, beside what was sent
    Backtest(backtest::Args),
    /// Learn what is usual from stored history, for rules that learn
    Train(train::Args),
    /// Why an event is as it is, or why an alert fired: with what gave it, and a chart
    Explain(explain::Args),
    /// The workflow record: who owns what, what is sent by whom, how to pause
    Handbook(handbook::Args),
    /// The periodic review, with data: what is unused, silenced, old or wrong, and what to do
    Review(review::Args),
    /// Say which links of a list break the naming standard
    Lint(lint::Args),
    /// Whether every record is one row, and which are not
    Ledger(ledger::Args),
    /// Dead letters: list, show, redrive, discard
    Dlq(dlq::Args),
    /// Read a range of raw again: how its rows differ, and bring in what is missing
    Replay(replay::Args),
    /// Hold the closed reports of a day against their rows, and compute them again
    Rebuild(rebuild::Args),
    /// Erase what is stored about a link, a source or a visitor's day, with proof that nothing rests
    Erase(erase::Args),
    #[command(name = local::leash::SUBCOMMAND, hide = true)]
    EngineExec(engine::ExecArgs),
    #[command(name = local::engines::CLICKHOUSE_SUBCOMMAND, hide = true)]
    EngineClickhouse(engine::ClickhouseArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::wrong_use(&error),
    };
    exit::code(match cli.command {
        Command::Up(args) => up::run(args),
        Command::Ingest(args) => service::run(Service::Ingest, &args),
        Command::Process(args) => service::run_process(&args),
        Command::Detect(args) => service::run_stage(Service::Detect, &args),
        Command::Report(args) => service::run_stage(Service::Report, &args),
        Command::Notify(args) => service::run(Service::Notify, &args),
        Command::Console(args) => console::run(&args),
        Command::Canary(args) => canary::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Pause(args) => switches::pause(&args),
        Command::Resume(args) => switches::resume(&args),
        Command::Reload(args) => reload_command::run(&args),
        Command::Silence(args) => switches::silence(&args),
        Command::Ack(args) => switches::acknowledge(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Preview(args) => preview::run(&args),
        Command::Rehearse(args) => rehearse::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Backtest(args) => backtest::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Handbook(args) => handbook::run(&args),
        Command::Review(args) => review::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Dlq(args) => dlq::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Rebuild(args) => rebuild::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::EngineExec(args) => engine::exec(&args),
        Command::EngineClickhouse(args) => engine::clickhouse(args),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The names of a command and of all below it.
    fn names(command: &clap::Command, path: &[&str], into: &mut Vec<Vec<String>>) {
        into.push(path.iter().map(ToString::to_string).collect());
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            names(below, &[path, &[below.get_name()]].concat(), into);
        }
    }

    #[test]
    fn the_help_of_every_command_reads_as_it_did() {
        let mut all = Vec::new();
        names(&Cli::command(), &["hookline"], &mut all);
        assert!(all.len() > 20, "{} commands", all.len());
        for path in all {
            let name = format!("help_{}", path.join("_").replace('-', "_"));
            let help = Cli::try_parse_from(path.iter().map(String::as_str).chain(["--help"])).unwrap_err();
            insta::assert_snapshot!(name, help.render());
        }
    }
}
