//! The one binary: a subcommand per service, `up`, and the operator's tools.

#[macro_use] // first: its macro is for all below
mod output;

mod check;
mod demo;
mod dlq;
mod engine;
mod exit;
mod lanes;
mod ledger;
mod migrate;
mod pause;
mod platform;
mod reach;
mod replay;
mod running;
mod schemas;
mod send;
mod service;
mod services;
mod spans;
mod up;
mod verify;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use services::Service;

/// Signed webhooks in, trustworthy ClickHouse tables and calm alerts out.
#[derive(Debug, Parser)]
#[command(name = "hookline", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// A subcommand is a variant here, a module with its arguments and its `run`, and a line in [`main`].
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
    /// Create or upgrade the tables in ClickHouse
    Migrate(migrate::Args),
    /// Send signed events to a source, from a file or made up
    Send(send::Args),
    /// Switch a source off for a while, or say what is switched
    Pause(pause::PauseArgs),
    /// Switch a source back to normal
    Resume(pause::ResumeArgs),
    /// Say why a delivery is not authentic, from a captured request
    Verify(verify::Args),
    /// Say what is wrong with a configuration, with line numbers
    Check(check::Args),
    /// Whether every record is one row, and which are not
    Ledger(ledger::Args),
    /// Dead letters: list, show, redrive, discard
    Dlq(dlq::Args),
    /// Read a range of raw again: how its rows differ, and bring in what is missing
    Replay(replay::Args),
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
        Command::Migrate(args) => migrate::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::Dlq(args) => dlq::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::EngineExec(args) => engine::exec(&args),
        Command::EngineClickhouse(args) => engine::clickhouse(args),
    })
}
