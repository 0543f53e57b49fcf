//! The language of the pipeline: what every other crate speaks.
//!
//! A record of the `raw` topic ([`raw`]) becomes exactly one [`LinkEvent`] on `events`; rules turn events into
//! [`SignalBatch`]es and [`Alert`]s; alerts become [`Delivery`] entries. Each is one Avro record declared once, in its own
//! file, by [`avro_record!`](macro@avro_record): the struct, its schema, its codec and the ClickHouse columns
//! come from that one list. Bytes on Kafka carry the Confluent wire format ([`wire`]).

mod alert;
mod attributes;
pub mod avro;
pub mod country;
mod cut;
mod dead_letter;
mod declare;
mod delivery;
mod erasure;
mod ids;
pub mod lane;
mod link_event;
mod link_record;
pub mod personal;
mod progress;
pub mod raw;
mod signal;
pub mod trace;
pub mod wire;

pub use alert::{Alert, Transition};
pub use attributes::{ATTRIBUTES, attributes};
pub use avro::{Column, DecodeError, Kind, Map, Millis, Value};
pub use cut::Cut;
pub use dead_letter::DeadLetter;
pub use delivery::{Delivery, DeliveryStage};
pub use erasure::{Erasure, Scope};
pub use ids::{AlertId, EventKey, keyed_hash_hex};
pub use link_event::{Counted, EventType, LinkEvent, Outcome, TAGS};
pub use link_record::{CATALOGUE_SOURCE, LinkRecord, Teller};
pub use progress::{Progress, UnreadableProgress};
pub use signal::{Signal, SignalBatch};
pub use trace::TraceContext;
