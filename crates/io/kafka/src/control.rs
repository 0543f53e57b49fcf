//! The `control` topic: what the whole installation has decided, beside the events.
//!
//! - The [identity](read_or_create), written once when the topics are created.
//! - [Switches]: what is done with an object now, and who said so, why, and until when. The newest record of an object
//!   counts. Beside each stands an [audit](Change) record under a key of its own, which compaction keeps for good.
//! - [Erasures](NotedErasure): which records must not be written again.
//!
//! Everything is written in a transaction under one fenced id, so that two writers cannot both believe that they were first.
//! Services read: once, or for as long as they run with a [`Follower`].

mod erasures;
mod follow;
mod identity;
mod switches;
mod write;

use std::time::Duration;

use runtime::Backoff;

pub use erasures::{KnownErasures, NotedErasure, SentTo, erasures, note_erasure};
pub use follow::{Follower, Standing};
pub use identity::{Control, ControlError, read, read_or_create};
pub use switches::{Change, Kind, Object, State, Switch, Switches, UnreadableSwitch};
pub use write::{Log, SwitchError, read_log, set};

/// The transactional id under which `control` is written.
const WRITER: &str = "hookline-control";
/// What one of two writers that fenced each other waits.
const APART: Backoff =
    Backoff::new(Duration::from_millis(1_500), Duration::from_millis(1_500)).drawn_from(Duration::from_millis(50));
/// How long writers that fence each other try before one gives up.
const PATIENCE: Duration = Duration::from_secs(60);
