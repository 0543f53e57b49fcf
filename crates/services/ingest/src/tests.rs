//! The edge from outside, on a real socket. No Kafka runs here: what needs it is in tests/pipeline/edge.rs.

mod answers;
mod bounds;
mod door;
mod secrets;
mod transport;

pub(crate) use door::source;
