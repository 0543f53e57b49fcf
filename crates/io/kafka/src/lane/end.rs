//! Why a lane ends before it is told to, and what that means for whoever watches over it.

use runtime::{HaltReason, LaneEnd};

use super::{ReadError, ScanError, TxnError};
use crate::positions::PositionError;
use crate::topics::Topic;

/// Where the ways out of a halt stand that need more than a sentence.
const RUNBOOK: &str = "docs/runbooks/lane-stalled.md says how to go on";

/// Why a lane ends before the stop is given.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// Somebody else took the fence.
    #[error("another owner has the lane")]
    Fenced,
    /// An engine failed, or a transaction was aborted: opening the lane again may mend it.
    #[error("{0}")]
    Retry(String),
    /// Going on could lose or double an event: somebody has to look.
    #[error("{message}")]
    Halt {
        /// Why, as a fixed label.
        reason: HaltReason,
        /// Why, and the way out, in words.
        message: String,
    },
}

impl End {
    /// The end of a lane that must not go on.
    pub fn halt(reason: HaltReason, message: impl Into<String>) -> Self {
        Self::Halt { reason, message: message.into() }
    }
}

impl From<End> for LaneEnd {
    fn from(end: End) -> Self {
        match end {
            End::Fenced => LaneEnd::Fenced,
            End::Retry(why) => LaneEnd::Retry(why),
            End::Halt { reason, message } => LaneEnd::Halted { reason, message },
        }
    }
}

impl From<TxnError> for End {
    fn from(error: TxnError) -> Self {
        match error {
            TxnError::Fenced { .. } => End::Fenced,
            TxnError::TooLarge { .. } => End::halt(HaltReason::TooLarge, error.to_string()),
            TxnError::Abortable { .. } | TxnError::Fatal { .. } => End::Retry(error.to_string()),
        }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            // Offsets are missing: going on would be a silent jump.
            ReadError::OutOfRange { topic: Topic::Raw | Topic::Events, partition, .. } => End::halt(
                HaltReason::RecordsMissing,
                format!(
                    "{error}; `hookline ledger recover --lane {partition}` says what is lost and goes on; {RUNBOOK}"
                ),
            ),
            ReadError::OutOfRange { .. } => End::halt(HaltReason::RecordsMissing, format!("{error}; {RUNBOOK}")),
            ReadError::Gap { .. } => End::halt(HaltReason::Gap, format!("{error}; {RUNBOOK}")),
            other => End::Retry(other.to_string()),
        }
    }
}

impl From<PositionError> for End {
    fn from(error: PositionError) -> Self {
        End::Retry(error.to_string())
    }
}

impl From<ScanError<End>> for End {
    fn from(error: ScanError<End>) -> Self {
        match error {
            ScanError::Caller(end) => end,
            ScanError::Read(error) => error.into(),
            stalled @ ScanError::Stalled { .. } => End::Retry(stalled.to_string()),
        }
    }
}
