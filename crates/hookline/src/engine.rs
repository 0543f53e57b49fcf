//! The hidden subcommands that the supervisor of the local engines starts this binary with.

use std::ffi::OsString;

use crate::exit::Outcome;

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
