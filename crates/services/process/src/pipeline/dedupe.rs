//! `dedupe`: which events are the first of their key.

use dedupe::{StoreError, Verdict, Window, WindowStore};
use kafka::lane::End;
use runtime::HaltReason;

use super::Decoded;
use crate::opening::GROUP;

/// What the window says of the events of a chunk, in their order.
pub(super) struct Verdicts(std::vec::IntoIter<Verdict>);

/// The stage, for a chunk: asks the window about its events. `latest_ms` is the latest that a clock may say and be
/// believed.
pub(super) fn judge<S: WindowStore>(
    window: &mut Window<S>,
    decoded: &[Decoded<'_>],
    latest_ms: i64,
) -> Result<Verdicts, End> {
    let mut candidates: Vec<_> = decoded.iter().filter_map(Decoded::candidate).collect();
    candidates.iter_mut().for_each(|candidate| candidate.not_after(latest_ms));
    let mut verdicts = Vec::with_capacity(candidates.len());
    window.decide_batch(&candidates, &mut verdicts).map_err(unusable)?;
    Ok(Verdicts(verdicts.into_iter()))
}

impl Verdicts {
    /// The verdict on the next record; none for a dead letter.
    pub(super) fn of(&mut self, decoded: &Decoded<'_>, lane: u16) -> Result<Option<Verdict>, End> {
        match decoded.candidate().and_then(|_| self.0.next()) {
            Some(Verdict::Rewound { offset }) => Err(End::Halt {
                reason: HaltReason::Rewound,
                message: format!(
                    "raw offset {offset} of lane {lane} was committed before: the input was rewound; set the position of \
                     {GROUP} to the end of seen, or replay into shadow tables"
                ),
            }),
            verdict => Ok(verdict),
        }
    }
}

/// The store is a cache: opening the lane again rebuilds what is damaged.
pub(crate) fn unusable(error: StoreError) -> End {
    End::Retry(error.to_string())
}
