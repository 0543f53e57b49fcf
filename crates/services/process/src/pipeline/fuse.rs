//! `fuse`: whether the lane may go on, or has met too many dead letters.

use kafka::lane::End;
use runtime::HaltReason;

use super::{By, Decided};
use crate::advance::Advance;
use crate::record::RawRecord;
use crate::tally::Tally;

/// The right to write what was decided about a record.
pub(super) struct Passed(());

/// The stage: counts a record for the fuse, unless an operator lets it pass or it tells nothing new.
pub(super) fn pass(
    advance: &mut Advance,
    raw: &RawRecord<'_>,
    decided: &Decided<'_>,
    by: &By<'_>,
    tally: &Tally,
) -> Result<Passed, End> {
    if by.past_fuse.is_some_and(|last| raw.offset <= last) {
        advance.passes();
    } else if raw.is_unforeseen()
        && let Some(blown) = advance.counts(decided.dead_letter.is_some(), by.fuse)
    {
        let last = (by.raw_end - 1).max(raw.offset as i64);
        return Err(End::halt(HaltReason::Fuse, tally.fuse_message(by.lane, raw.offset, blown, last)));
    }
    Ok(Passed(()))
}
