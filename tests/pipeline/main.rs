//! The pipeline on the real engines, seen from outside.
