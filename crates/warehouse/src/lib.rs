//! Tables, migrations, blocks, read-back, closing of days: the only crate that names `clickhouse`.
//!
//! [`Warehouse`] is the connection. [`BlockBuilder`] turns events into a [`Block`], [`BlockStore`] brings it into ClickHouse
//! exactly once and reads it back.

mod block;
mod connect;
mod error;
mod native;
mod store;

pub use block::{Block, BlockBuilder, BlockId};
pub use connect::{Settings, Side, Warehouse};
pub use error::WarehouseError;
pub use store::{BlockStore, Completion};
