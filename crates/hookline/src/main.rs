//! The one binary: a subcommand per service, up, and the operator's tools.
fn main() {}
