//! The operator's commands: a file for each noun, with its arguments and what it asks of `operate`.

pub(crate) mod arguments;
pub(crate) mod backtest;
pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod dlq;
pub(crate) mod erase;
pub(crate) mod explain;
pub(crate) mod handbook;
pub(crate) mod ledger;
pub(crate) mod lint;
pub(crate) mod migrate;
pub(crate) mod preview;
pub(crate) mod rebuild;
pub(crate) mod rehearse;
pub(crate) mod reload;
pub(crate) mod replay;
pub(crate) mod review;
pub(crate) mod send;
pub(crate) mod status;
pub(crate) mod switches;
pub(crate) mod train;

use anyhow::Context;
use tokio::runtime::Runtime;

/// Runs a tool.
fn block_on<T>(tool: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    Runtime::new().context("cannot start the runtime")?.block_on(tool)
}
