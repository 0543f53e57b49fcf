//! Tables, migrations, blocks, read-back, closing of days: the only crate that names `clickhouse`.
//!
//! [`Warehouse`] is the connection. [`BlockBuilder`] turns events into a [`Block`], [`BlockStore`] brings it into ClickHouse
//! exactly once and reads it back.

mod block;
mod closing;
mod connect;
mod error;
mod layout;
mod logs;
mod migrate;
mod native;
mod reports;
mod store;
mod tables;
mod views;

pub use block::{Block, BlockBuilder, BlockId};
pub use closing::{Closed, Day, OpenDay};
pub use connect::{Settings, Side, Warehouse};
pub use error::WarehouseError;
pub use layout::{Analyst, Layout};
pub use logs::LaneWatermark;
pub use migrate::Migration;
pub use reports::{REPORTS, Report, ReportColumn};
pub use store::{BlockStore, Completion};
