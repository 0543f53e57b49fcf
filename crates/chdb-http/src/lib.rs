//! ClickHouse without a server to install: the engine as a library in a separate process, behind ClickHouse's HTTP
//! interface, so that the `clickhouse` crate, clickhouse-connect, Grafana and curl work unchanged.
//!
//! The scope is frozen: README.md says what it serves, what it refuses, and how it is held against ClickHouse's own.
//!
//! A request travels: `server` (who, which parameters) → a thread of its own: `execute` (which way the statement goes)
//! → `engine` (the library) → `reply` (the answer, packed and streamed). Bodies are never held whole: an INSERT streams
//! into the engine (`body`), and a body that stops before its end cancels it. As on a server, an INSERT is all or
//! nothing as long as it is one block: blocks that a longer one has filled already (`min_insert_block_size_rows`, a
//! million rows by default) stay.
//!
//! What a server has and this has not: users, roles and grants in SQL (the accounts are [`ServeOptions::accounts`]),
//! replication, the native protocol, `query_log`, external tables. Each is refused with an error, never accepted and
//! ignored.

mod account;
mod block_codec;
mod body;
mod dedup_log;
mod engine;
mod exception;
mod execute;
mod folder;
mod format;
mod native;
mod reply;
mod server;
mod session;
mod settings;
mod statement;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub use account::{Access, Account};
use engine::{Engine, Parameters};
use execute::Shared;
use folder::Folder;
pub use folder::shared_machine;
use session::Sessions;

/// How long running queries may go on after a request to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the parent is looked at, and expired sessions are closed.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// Table functions that a server keeps from a read-only user and that harm nobody: they read what is in the database,
/// or nothing at all.
const HARMLESS: [&str; 6] = ["zeros", "zeros_mt", "loop", "dictionary", "viewexplain", "format"];

/// How to serve the engine.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// `libchdb.so` of the version that this crate knows (ClickHouse 26.7).
    pub library: PathBuf,
    /// The folder of this engine alone: databases, log, lock. Created if needed.
    pub data: PathBuf,
    /// Where to listen. Port 0 picks a free one, which is then written to `address` in the data folder.
    pub listen: SocketAddr,
    /// Who may sign in.
    pub accounts: Vec<Account>,
    /// Bytes of memory that the engine may use for queries, merges and caches together.
    pub memory_limit: u64,
    /// The process to stop with: when it is not the parent any more, the engine stops. (Beside the parent-death signal,
    /// which the parent asks for when it starts this process.)
    pub parent: Option<u32>,
}

impl ServeOptions {
    /// A memory limit that leaves a laptop its memory: 2 GiB.
    pub const DEFAULT_MEMORY_LIMIT: u64 = 2 << 30;
}

/// Runs the engine over a data folder and serves it, until SIGTERM or until the parent is gone. Then it takes no new
/// requests, gives running ones 5 s, closes the engine and ends the process with code 0: it only comes back with an
/// error. SIGINT is left to the parent, which gets the same one from a terminal.
///
/// To be called on the main thread before any other thread is started: it sets the environment's `TZ` and the working
/// folder of the process.
///
/// # Errors
/// The folder is in use by another process, the port is taken, the library cannot be loaded, or the engine does not
/// start.
pub fn serve(options: ServeOptions) -> anyhow::Result<()> {
    engine::use_utc();
    let library = std::path::absolute(&options.library).context("cannot resolve the path of the library")?;
    let folder = Folder::hold(&options.data)?;
    let listener = std::net::TcpListener::bind(options.listen)
        .with_context(|| format!("cannot listen on {}; name another port for ClickHouse", options.listen))?;
    listener.set_nonblocking(true).context("cannot make the listener asynchronous")?;
    let address = listener.local_addr().context("cannot read the listener's address")?;
    // Of an engine that was killed.
    let _ = std::fs::remove_file(folder.address());
    std::fs::create_dir_all(folder.working()).context("cannot create the engine's working folder")?;
    std::env::set_current_dir(folder.working()).context("cannot enter the engine's working folder")?;

    repair_tokens(&folder.engine())?;
    let config = folder.write_config(options.memory_limit)?;
    let engine = Engine::start(&library, &folder.engine(), &config, &folder.log())?;
    let reaching_outside = functions_reaching_outside(&engine)?;
    let shared =
        Arc::new(Shared { engine, sessions: Sessions::default(), accounts: options.accounts, reaching_outside });

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(server::CONCURRENT + 16)
        .thread_name("clickhouse-http")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).context("cannot listen")?;
        let listener = listener.tap_io(|stream| {
            // A small answer should not wait for more; a connection where this fails is only slower.
            let _ = stream.set_nodelay(true);
        });
        let stop = stop_requested(options.parent, Arc::clone(&shared))?;
        std::fs::write(folder.address(), address.to_string()).context("cannot write the address")?;
        tracing::info!(%address, data = %options.data.display(), "ClickHouse is ready");
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let serving = axum::serve(listener, server::router(Arc::clone(&shared))).with_graceful_shutdown(async move {
            stop.await;
            tracing::info!("ClickHouse stops: no new requests, running ones have {} s", STOP_TIMEOUT.as_secs());
            let _ = stopping.send(());
        });
        let too_long = async {
            let _ = stopped.await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        tokio::select! {
            served = serving.into_future() => served.context("the HTTP listener failed"),
            () = too_long => {
                tracing::warn!("requests still run; they are broken off");
                Ok(())
            }
        }
    })?;
    let _ = std::fs::remove_file(folder.address());
    shared.sessions.close_idle();
    // The anchor closes here, unless a request that was broken off still holds the engine; nothing acknowledged is in
    // memory only, so ending the process under it loses nothing.
    drop(shared);
    engine::exit_now(0);
}

/// Takes out of the deduplication logs of a stopped engine or server what has no part on the disk: it was killed inside
/// an INSERT, and would take the repetition of that INSERT for done.
///
/// # Errors
/// A log or a folder of a table cannot be read or written.
pub fn repair_tokens(tables: &Path) -> anyhow::Result<()> {
    for table in dedup_log::repair_all(tables).context("cannot check the deduplication logs")? {
        tracing::warn!(
            table = %table.table.display(),
            parts = ?table.parts,
            "dropped deduplication records of parts that are not there: the engine was killed inside an INSERT"
        );
    }
    Ok(())
}

/// Waits for SIGTERM or for the end of the parent; closes expired sessions meanwhile.
fn stop_requested(parent: Option<u32>, shared: Arc<Shared>) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        let mut tick = tokio::time::interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                // From a terminal it goes to the parent too, which stops this process when nobody needs it any more.
                _ = interrupt.recv() => {}
                _ = tick.tick() => {
                    if parent.is_some_and(|parent| parent != std::os::unix::process::parent_id()) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    tokio::task::spawn_blocking(move || shared.sessions.close_expired());
                }
            }
        }
    })
}

/// The table functions that may read or write outside the database.
fn functions_reaching_outside(engine: &Engine) -> anyhow::Result<Vec<String>> {
    let sql = b"SELECT lower(name) FROM system.table_functions WHERE NOT allow_readonly FORMAT TabSeparated";
    let answer = engine.connect()?.query(sql, "TabSeparated", &Parameters::default())?;
    let mut names: Vec<String> = String::from_utf8_lossy(answer.data())
        .lines()
        .filter(|name| !HARMLESS.contains(name))
        .map(str::to_owned)
        .collect();
    anyhow::ensure!(names.iter().any(|name| name == "file"), "the engine does not name its table functions");
    // Runs a text as a statement.
    names.push("eval".to_owned());
    Ok(names)
}
