//! What the failures of this crate mean for a lane.

use runtime::{End, HaltReason};

use super::{ReadError, ScanError, TxnError};
use crate::positions::PositionError;
use crate::topics::Topic;

/// Where the ways out of a halt stand that need more than a sentence.
const RUNBOOK: &str = "docs/runbooks/lane-stalled.md says how to go on";

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
