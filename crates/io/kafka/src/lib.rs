//! Producers, lanes and their fence, topics, lag: the only crate that names `rdkafka`.
//!
//! Three ways to write and one to read:
//!
//! - [`edge::EdgeProducer`] takes records from async request handlers and acknowledges them once the in-sync replicas have them.
//! - [`lane::LaneProducer`], made by [`lane::Fence::open`], writes records and positions in transactions under a fixed id;
//!   opening the same id elsewhere fences it. Blocking, for the thread of one lane.
//! - [`topics::ensure`] and [`control::read_or_create`] prepare the cluster once, however many services start together.
//! - [`lane::run`] is the shell of a lane: fence, turns, commits, and what becomes of an error. A [`lane::Stage`]
//!   supplies what differs.
//! - [`lane::LaneReader`] reads one partition from an offset that the caller knows, and never jumps.
//! - [`salts`] keeps the random keys by which visitors of a day are told apart.
//! - [`watch::start`] asks the brokers how far lanes are behind, and has those that stand still opened again.
//! - [`members::keep`] starts and stops lanes as a consumer group shares them among instances.
//!
//! One turn of a lane:
//!
//! ```no_run
//! use std::time::Duration;
//! use hookline_kafka::{Cluster, Topic, groups};
//! use hookline_kafka::lane::{Fence, Isolation, LaneReader, NO_HEADERS, Position, Writes};
//! use hookline_kafka::positions::Positions;
//!
//! fn lane(cluster: &Cluster, lane: u16) -> Result<(), Box<dyn std::error::Error>> {
//!     // Fence first: only then is the committed position served and final.
//!     let writes = Writes::records([(Topic::Events, lane)]).positions(groups::PROCESS);
//!     let mut producer = Fence::open(cluster, "process", lane, Duration::from_secs(10), writes)?;
//!     let positions = Positions::open(cluster, groups::PROCESS, Duration::from_secs(10))?;
//!     let start = positions.committed(Topic::Raw, lane)?.map_or(0, |committed| committed.next);
//!     let mut reader = LaneReader::open(cluster, Topic::Raw, lane, start, Isolation::Uncommitted)?;
//!     loop {
//!         let records = reader.fetch(10_000, Duration::from_millis(100))?;
//!         if records.is_empty() {
//!             continue;
//!         }
//!         producer.begin()?;
//!         for record in &records {
//!             producer.send(Topic::Events, lane, record.key(), record.payload(), NO_HEADERS)?;
//!         }
//!         let written = producer.flush()?;
//!         let metadata = format!("events={:?}", written.last(Topic::Events, lane));
//!         let position = Position { topic: Topic::Raw, partition: lane, next: reader.position(), metadata };
//!         drop(records);
//!         // Whatever ends a transaction ends this owner: the next one takes the fence, and reads the position back.
//!         producer.commit(groups::PROCESS, &[position])?;
//!     }
//! }
//! ```

mod cluster;
pub mod control;
pub mod edge;
pub mod groups;
pub mod lane;
pub mod members;
pub mod positions;
mod rights;
pub mod salts;
pub mod topics;
pub mod watch;

pub use cluster::{ClientError, Cluster};
pub use topics::Topic;
