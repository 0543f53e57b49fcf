//! Rules: which events match, what makes a rule fire, and the state of the rules that count. Pure: no clock, no Kafka.
//!
//! A [`Rule`] is a [`When`] (which events it is about) and a [`Trigger`] (what makes it fire): every one of them, or a
//! count per key within a window. [`RuleIndex`] holds all rules and answers, for one event, which of them match;
//! [`RuleIndex::explain`] says why for each. Rules only add: every event is stored and reported whatever stands here.
//!
//! What holds for every rule:
//! - Only first deliveries by people match: duplicates, dead letters, bots and internal traffic never do. Leads and sales
//!   match whoever told of them.
//! - Test data matches too, in its own namespace: its alerts and counts carry the flag, and its messages reach a capture
//!   sink only.
//! - Whether an event matches is a function of the event alone: the same event and rule version give the same answer.
//!
//! `process` cuts the matches of a rule that counts into panes by its lane's own time (the broker's append time, which
//! never goes back within a lane) and sends each transaction's counts together with the lane's watermark. A [`Detector`]
//! takes those batches in any interleaving of lanes. A pane closes when the smallest watermark of all lanes passes its
//! end: from then on no lane can add to it, so what is decided about it is a function of the counts alone. Only closed
//! panes are evaluated; a window is the last `within / pane` of them.
//!
//! What holds for rules that count:
//! - The same batches give the same alerts with the same ids, however the lanes interleave, and whether or not the state
//!   was written and read back in between.
//! - A lane that is [`EXCLUDED_AFTER_MS`] behind the foremost is left out, so that one dead lane does not silence every
//!   rule. Only then does the interleaving matter: what such a lane sends later counts in the windows that are still
//!   open, and is reported as [`BatchResult::late`].
//! - A rule knows as many keys as [`KeyLimit`] says. Beyond it the first ones in the order of the partition are known,
//!   so there the interleaving matters too; a restart changes nothing.
//! - All but rules that count in a window have panes of a minute. What comes late ([`is_late`]) makes no spike and no
//!   drift, and ends a silence.
//! - Closing a pane walks keys that were touched, that fire, or whose time has come, never all.
//! - A key of a rule that counts is kept while its window holds a count, and after it fired for as long as `quiet_for`
//!   says. What a rule tells apart within a key is a facet of its signals ([`Observation`]).

mod codec;
mod counted;
mod counted_minute;
mod detector;
mod evaluator;
mod example;
mod field;
mod glob;
mod index;
mod key_index;
mod key_table;
mod learned;
mod names;
mod observation;
mod open_counts;
mod open_minute;
mod pane;
mod panes;
mod per;
mod rule;
mod sample;
mod shown;
mod state;
mod timers;
mod told;
mod trial;
mod trigger;
mod watermark;
mod when;
mod words;

pub use detector::{BatchResult, Detector, Expectations, Finding, ForeignLane, Launch};
pub use evaluator::broken::BrokenRule;
pub use evaluator::drift::{DriftRule, site};
pub use evaluator::first_seen::{FirstSeenRule, Subject};
pub use evaluator::gap::{COUNTER, GapRule};
pub use evaluator::silence::{SilenceChange, SilenceKey, SilenceRule};
pub use evaluator::spike::{Band, Sensitivity, SpikeChange, SpikeKey, SpikeRule};
pub use field::Field;
pub use glob::Glob;
pub use index::{RuleIndex, Verdict};
pub use key_table::KeyLimit;
pub use learned::FullRule;
pub use observation::{Observation, SignalSum};
pub use panes::{MAX_WINDOW_MS, MIN_WINDOW_MS, PANE_LENGTHS_MS, WindowError, pane_ms, pane_start};
pub use per::Per;
pub use rule::{LATE_MS, Rule, is_late};
pub use shown::{FacetCount, Facets, drifted, least_nowhere, led_nowhere, missing};
pub use state::{Change, LearnedRecord, UnreadableState};
pub use trial::Trial;
pub use trigger::{Spike, Trigger};
pub use watermark::EXCLUDED_AFTER_MS;
pub use when::{Condition, EventPattern, When};
