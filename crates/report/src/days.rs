//! Closed days.
