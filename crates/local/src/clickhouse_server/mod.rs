//! A ClickHouse server that a user has: the binary `clickhouse`, run as the local ClickHouse in place of the engine
//! that is a library.
//!
//! `binary` finds it and asks for its version, `kind` says which of the two a folder belongs to, `choice` decides, and
//! `files` writes what the server is started with. The supervisor treats it as any other engine.

mod binary;
mod choice;
mod files;
mod kind;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};

pub use choice::VARIABLE;
pub(crate) use choice::{Chosen, choose};

use crate::clickhouse::{Account, ServeOptions, repair_tokens};
use crate::data_dir::DataDir;
use crate::fetch::try_lock;
use crate::supervise::Engine;
use crate::{leash, probe};
use binary::Binary;
use files::Files;

/// A server of the user's as the engine over `folder`, for the supervisor.
pub(crate) fn engine(
    data: &DataDir,
    leashed_by: &Path,
    binary: &Binary,
    accounts: &[Account],
    address: SocketAddr,
    pid: &str,
) -> anyhow::Result<Engine> {
    let folder = data.path("clickhouse");
    let files = Files { folder: &folder, address, memory_limit: ServeOptions::DEFAULT_MEMORY_LIMIT };
    let config = files.write(accounts)?;
    warn_of_capabilities(&binary.program);
    let tables = files.tables();
    let (leashed_by, program, arguments) = (leashed_by.to_owned(), binary.program.clone(), binary.starts_with(&config));
    Ok(Engine {
        name: "ClickHouse".to_owned(),
        // A server that was killed inside an INSERT may believe that it has rows that it has not.
        prepare: Box::new(move || {
            let tables = tables.clone();
            Box::pin(async move {
                tokio::task::spawn_blocking(move || repair(&tables))
                    .await
                    .context("the check of the deduplication logs was cut off")?
            })
        }),
        log: data.path("logs/clickhouse.log"),
        pid: data.path(pid),
        command: Box::new(move || {
            let mut command = leash::command(&leashed_by, &program);
            command.args(&arguments).current_dir(&folder);
            // The supervisor watches it. A watchdog between the two would keep signals from it.
            command.env("CLICKHOUSE_WATCHDOG_ENABLE", "0");
            command
        }),
        is_ready: Box::new(move || Box::pin(probe::clickhouse(address))),
        after_stop: Box::new(|| {}),
    })
}

/// Mends the deduplication logs of a server's folder, on which no server may run meanwhile: one that was started by
/// hand, or has outlived a run that was killed, still writes to them.
fn repair(tables: &Path) -> anyhow::Result<()> {
    // A server holds this file for as long as it runs, by the same kind of lock.
    let status = tables.join("status");
    let _held = match status.try_exists().with_context(|| format!("cannot look at {}", status.display()))? {
        false => None,
        true => match try_lock(&status)? {
            Some(held) => Some(held),
            None => {
                bail!("another ClickHouse server runs on {} (it holds {}): stop it", tables.display(), status.display())
            }
        },
    };
    repair_tokens(tables)
}

/// Says so where the kernel will not end a server together with the run that started it: a program whose file has
/// capabilities loses the signal that would (prctl(2), PR_SET_PDEATHSIG), and ClickHouse's packages give it some.
fn warn_of_capabilities(program: &Path) {
    let is_root = rustix::process::geteuid().is_root();
    let has = rustix::fs::getxattr(program, "security.capability", &mut [0_u8; 0]).is_ok_and(|length| length > 0);
    if has && !is_root {
        tracing::warn!(
            "{} has file capabilities, so after kill -9 of `up` it runs on until the next `up` on this data folder ends it",
            program.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_which_a_server_runs_is_not_mended() {
        let folder = tempfile::tempdir().unwrap();
        repair(folder.path()).unwrap();
        let status = folder.path().join("status");
        std::fs::write(&status, "PID: 1\n").unwrap();
        repair(folder.path()).unwrap();
        let server = try_lock(&status).unwrap();
        let error = repair(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another ClickHouse server runs on") && error.ends_with("stop it"), "{error}");
        drop(server);
        repair(folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&status).unwrap(), "PID: 1\n");
    }
}
