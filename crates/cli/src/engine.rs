//! The hidden subcommands that the supervisor of the local engines starts this binary with.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use local::clickhouse::{ServeOptions, serve};
use local::engines::passed_accounts;

use crate::exit::{Outcome, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// Whose death ends the program
    parent: u32,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Becomes the program, which dies with its parent.
pub(crate) fn exec(args: &ExecArgs) -> Outcome {
    let Some((program, arguments)) = args.program.split_first() else {
        anyhow::bail!("no program to start");
    };
    Err(local::leash::exec(args.parent, program, arguments))
}

#[derive(Debug, clap::Args)]
pub(crate) struct ClickhouseArgs {
    /// The engine's library
    #[arg(long)]
    lib: PathBuf,
    /// Its folder
    #[arg(long)]
    data: PathBuf,
    /// Where its HTTP interface listens
    #[arg(long)]
    listen: SocketAddr,
}

/// Serves the ClickHouse engine until it is told to stop.
pub(crate) fn clickhouse(args: ClickhouseArgs) -> Outcome {
    if let Err(error) = runtime::logs::init() {
        anyhow::bail!("cannot start logging: {error}");
    }
    serve(ServeOptions {
        library: args.lib,
        data: args.data,
        listen: args.listen,
        accounts: passed_accounts()?,
        memory_limit: ServeOptions::DEFAULT_MEMORY_LIMIT,
        parent: None, // the supervisor's leash ends this process
    })?;
    Ok(Verdict::Fine)
}
