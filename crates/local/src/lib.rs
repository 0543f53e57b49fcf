//! The local engines: real Kafka and real ClickHouse as supervised children, with nothing installed but a Java.
//!
//! [`engines::Engines::start`] is the way in. Each engine is fetched once into the user's cache folder (pinned,
//! checked), keeps its data under one data folder, is started again when it dies, and ends with this process. A
//! ClickHouse server that a user has takes the place of the engine that is fetched.

mod child_log;
mod clickhouse_server;
mod data_dir;
pub mod engines;
pub mod fetch;
mod java;
mod kafka;
pub mod leash;
mod port;
mod probe;
mod progress;
mod supervise;

pub use chdb_http as clickhouse;
pub use clickhouse_server::VARIABLE as CLICKHOUSE_BINARY;
pub use progress::Progress;
