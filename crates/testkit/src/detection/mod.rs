//! Detection measured: counts through the evaluator, made-up worlds of known truth, and a scorer.

mod counts;
mod naive;
mod quiet;
mod rules_file;
mod score;
mod world;

pub use counts::{Counts, FoundAlert, Planned, read_alerts, read_planned};
pub use naive::CountRule;
pub use quiet::QuietScore;
pub use rules_file::{MeasuredRule, read_rules};
pub use score::{Rate, Score, Truth};
pub use world::{Happening, TrueLink, World};
