//! The pipeline on the real engines, seen from outside.

#![allow(unreachable_pub, reason = "one binary: its modules share what they need")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that cannot go on says where")]

mod alerts;
mod clients;
mod days;
mod demo;
mod edge;
mod engines;
mod harness;
mod kafka_edge;
mod kafka_lanes;
mod kills;

mod architecture;
mod journey;
mod messages;
mod switches;
mod up;
mod warehouse_blocks;
mod warehouse_reports;
