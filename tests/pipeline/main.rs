//! The pipeline on the real engines, seen from outside.

mod kafka_lanes;
