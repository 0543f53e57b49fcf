//! Tables, migrations, blocks, read-back, closing of days: the only crate that names `clickhouse`.
//!
//! - [`Warehouse`] is the connection; [`Warehouse::migrate`] makes the tables and views of both databases out of the columns that
//!   the records of `event` declare, and [`Warehouse::pending`] says whether a service may start.
//! - Rows may be on several servers, by lane ([`Settings::shards`]): what is about one lane asks its shard alone, and
//!   everything else asks tables that read all of them.
//! - [`BlockBuilder`] turns events into a [`Block`] in ClickHouse's Native format; [`BlockStore`] brings it in exactly once,
//!   reads it back, and names what the [ledger](Warehouse::ledger) misses.
//! - [`REPORTS`] are finished numbers by day; [`Warehouse::close_day`] keeps a day for good.
//! - [`Warehouse::put_stubs`] and what follows it erase records, and leave a stub at the offset of each.

mod block;
mod closing;
mod connect;
mod dead_letters;
mod erase;
mod error;
mod layout;
mod ledger;
mod logs;
mod migrate;
mod mutations;
mod native;
mod replay;
mod reports;
mod server;
mod settle;
mod store;
mod tables;
mod tidy;
mod tokens;
mod views;

pub use block::{Block, BlockBuilder, BlockId};
pub use closing::{Closed, Day, DayCompared, FrozenDay, OpenDay};
pub use connect::{Settings, Side, Warehouse, quote};
pub use dead_letters::{
    CountedKey, DeadLetterFilter, DeadLetterGroup, DeadLetterRow, DeadLetterState, Decided, Decision, DecisionGroup,
    OpenDeadLetters,
};
pub use erase::{Detached, Former, LaneRest, Recomputed, Resting, Sent, alert_stub, without_text};
pub use error::WarehouseError;
pub use layout::{Analyst, Layout};
pub use ledger::{Faults, LaneLedger, Life, Loss, NO_MORE, Settled, ranges};
pub use logs::LaneWatermark;
pub use migrate::Migration;
pub use replay::{Attempt, ChangedColumn, KeyRow, RowDiff, Shadow, claim_name};
pub use reports::{REPORTS, Report, ReportColumn};
pub use server::Shard;
pub use settle::{Completion, Insert, Next, Part, Settling};
pub use store::{BlockStore, InsertPermit};
