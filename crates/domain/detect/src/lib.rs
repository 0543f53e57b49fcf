//! Rules that count: panes, windows and thresholds over pre-aggregated signals. Pure: no clock, no Kafka.
//!
//! `process` cuts the matches of a rule into panes by its lane's own time (the broker's append time, which never goes
//! back within a lane) and sends each transaction's counts together with the lane's watermark. A [`Detector`] takes those
//! batches in any interleaving of lanes. A pane closes when the smallest watermark of all lanes passes its end: from then
//! on no lane can add to it, so what is decided about it is a function of the counts alone. Only closed panes are
//! evaluated; a window is the last `within / pane` of them.
//!
//! What holds:
//! - The same batches give the same alerts with the same ids, however the lanes interleave, and whether or not the state
//!   was written and read back in between.
//! - A lane that is [`LEFT_OUT_AFTER_MS`] behind the foremost is left out, so that one dead lane does not silence every
//!   rule. Only then does the interleaving matter: what such a lane sends later counts in the windows that are still
//!   open, and is reported as [`Taken::late`].
//! - A key is kept while its window holds a count, and after it fired for as long as `quiet_for` says. Nothing else is.

mod detector;
mod key;
mod lanes;
mod snapshot;

pub use detector::{Detector, Finding, ForeignLane, Taken};
pub use lanes::LEFT_OUT_AFTER_MS;
pub use snapshot::{Change, UnreadableState};
