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

use anyhow::Context;

pub use choice::VARIABLE;
pub(crate) use choice::{Chosen, choose};

use crate::clickhouse::{Account, ServeOptions, repair_tokens};
use crate::data_dir::DataDir;
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
    let tables = files.tables();
    let (leashed_by, program, arguments) = (leashed_by.to_owned(), binary.program.clone(), binary.starts_with(&config));
    Ok(Engine {
        name: "ClickHouse".to_owned(),
        // A server that was killed inside an INSERT may believe that it has rows that it has not.
        prepare: Box::new(move || {
            let tables = tables.clone();
            Box::pin(async move {
                tokio::task::spawn_blocking(move || repair_tokens(&tables))
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
