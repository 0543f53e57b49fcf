//! A program that dies with the process that started it, whatever that one dies of.
//!
//! The kernel ties the parent-death signal to the *thread* that forked, so whoever starts a leashed program does it from a
//! thread that lives as long as the program may (see `supervise`).

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The hidden subcommand under which the own binary calls [`exec`]:
/// `engine-exec PARENT-PID PROGRAM [ARGUMENT]...`.
pub const SUBCOMMAND: &str = "engine-exec";

/// The command that runs `program` on a leash held by the calling process. `executable` is a binary that has
/// [`SUBCOMMAND`].
pub(crate) fn command(executable: &Path, program: impl AsRef<OsStr>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(executable);
    command.arg(SUBCOMMAND).arg(std::process::id().to_string()).arg(program);
    command
}

/// Becomes `program`, to be killed by the kernel when `parent` dies. Setting the signal in the new process itself needs no
/// code between fork and exec, hence nothing unsafe. Returns only if it fails.
#[must_use]
pub fn exec(parent: u32, program: &OsStr, arguments: &[OsString]) -> anyhow::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return anyhow::Error::new(error).context("cannot set the parent-death signal");
    }
    // The parent may have died before the signal was set: then nobody would ever send it.
    let parent_now = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent_now != Some(parent) {
        return anyhow::anyhow!("the process that started this engine is gone");
    }
    let error = Command::new(program).args(arguments).exec();
    anyhow::Error::new(error).context(format!("cannot start {}", program.display()))
}
