//! The one binary: a subcommand per service, `up`, and the operator's tools.

mod engine;
mod exit;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
        Command::EngineExec(args) => engine::exec(&args),
        Command::EngineClickhouse(args) => engine::clickhouse(args),
    })
}
