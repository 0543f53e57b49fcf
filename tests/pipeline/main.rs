//! The pipeline on the real engines, seen from outside.

#![allow(unreachable_pub, reason = "one binary: its modules share what they need")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test that cannot go on says where")]

mod alerts;
mod architecture;
mod brokers;
mod by_hand;
mod calm;
mod clients;
mod clocks;
mod console;
mod days;
mod demo;
mod dlq;
mod edge;
mod engines;
mod explain;
mod foreign;
mod fuse;
mod hanging;
mod harness;
mod hostile;
mod installation;
mod journey;
mod kafka_edge;
mod kafka_lanes;
mod kills;
mod labels;
mod lane_watch;
mod ledger;
mod loss;
mod mail;
mod mapping;
mod members;
mod messages;
mod openapi;
mod outage;
mod platforms;
mod receivers;
mod registry;
mod revived;
mod senders;
mod senders_guide;
mod small_audiences;
mod status;
mod switches;
mod tool;
mod trickle;
mod up;
mod verify;
mod visitors;
mod warehouse_blocks;
mod warehouse_databases;
mod warehouse_reports;
mod warehouse_tables;
mod workflow;
