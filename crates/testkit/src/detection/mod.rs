//! Detection measured: counts through the evaluator, made-up worlds of known truth, and a scorer.

mod counts;
mod score;
mod world;

pub use counts::{Counts, FoundSpike, Planned, read_alerts, read_planned, read_rules};
pub use score::{Score, Truth};
pub use world::{TrueLink, World};
