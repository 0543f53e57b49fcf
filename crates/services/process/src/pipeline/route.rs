//! `route`: which rules an event meets.

use event::Outcome;
use rules::{RuleIndex, Trigger};

use super::Decided;
use super::fuse::Passed;
use crate::advance::Advance;
use crate::signals::Signals;
use crate::tally::Tally;

/// The rules that fire on an event, by their place in the index.
pub(super) struct Routed<'f>(pub(super) &'f [usize]);

/// The stage: counts the event for the rules that count, and finds those that fire on it. What may not be written is
/// not counted either.
pub(super) fn route<'f>(
    decided: &Decided<'_>,
    _: &Passed,
    routes: &RuleIndex,
    advance: &Advance,
    signals: &mut Signals,
    tally: &mut Tally,
    fires: &'f mut Vec<usize>,
) -> Routed<'f> {
    fires.clear();
    if decided.event.outcome == Outcome::Event {
        for index in routes.matching_indexes(&decided.event) {
            let rule = &routes.rules()[index];
            if rule.trigger() == Some(&Trigger::Each) {
                // No destination is to hear of a shadow rule, so its alerts do not stand in the topic.
                if rule.is_shadow() {
                    *tally.shadow_alerts.entry(index).or_default() += 1;
                } else {
                    fires.push(index);
                }
            }
            signals.count(index, rule, &decided.event, advance.watermark_ms());
        }
    }
    Routed(fires)
}
