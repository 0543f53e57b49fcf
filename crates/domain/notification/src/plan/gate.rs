//! Whether a message may go now.

use event::{Alert, Delivery};

use super::{Group, Planner, State, Waiting};
use crate::calm::Budget;
use crate::message::instant;
use crate::routing::Rule;

/// Whether a message may go now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// It waits: the destination is paused, outside its hours, or has had enough.
    Shut,
    /// It never goes, for this reason.
    Dropped(String),
}

impl State {
    /// Whether what waits ends what was opened at the destination: that is neither dropped nor part of a digest.
    pub(super) fn ends_something(&self, waiting: &Waiting) -> bool {
        self.open.is_some() && waiting.held.over + waiting.new.over > 0
    }
}

impl Waiting {
    /// Whether it has beginnings, and all of them are over.
    fn began_and_is_over(&self) -> bool {
        let mut all = self.held.clone();
        all.merge(self.new.clone());
        all.over < all.alerts && all.is_over()
    }
}

impl Planner {
    pub(super) fn gate(&self, group: &Group, state: &State, waiting: &Waiting, now_ms: i64) -> Gate {
        // Test data goes nowhere, so it disturbs no person.
        let Some(destination) = self.routing.destination(&group.destination).filter(|_| !group.test) else {
            return Gate::Open;
        };
        let ends = state.ends_something(waiting);
        if !ends {
            let acknowledged = || state.is_taken_care_of(self.is_keyed(group), waiting, &self.live, now_ms);
            if let Some(why) = self.live.paused_rule(&group.rule, now_ms).or_else(acknowledged) {
                return Gate::Dropped(why);
            }
        }
        if self.live.pauses(&group.destination, now_ms) {
            return Gate::Shut;
        }
        // A ticket or an incident asks for something to be done: by now, nothing is.
        if destination.keyed && waiting.deferred && state.open.is_none() && waiting.began_and_is_over() {
            return Gate::Dropped(format!("it was over before {} took messages again", destination.name));
        }
        if let Some(open) = &destination.open
            && !open.hours.cover(now_ms)
        {
            return match open.drops_outside && !ends {
                true => Gate::Dropped(format!("outside the open hours of {}", destination.name)),
                false => Gate::Shut,
            };
        }
        match destination.max {
            Some(budget) if !ends && self.spending.free_at(&group.destination, budget, now_ms) > now_ms => Gate::Shut,
            _ => Gate::Open,
        }
    }

    /// Why a start is held back; none if it is not.
    pub(super) fn held_back(&self, rule: &Rule, alert: &Alert<'_>, now_ms: i64) -> Option<String> {
        if let Some(silence) = self.routing.silence(alert) {
            return Some(format!("silence {}: {}", silence.name, silence.why));
        }
        let muted = rule.sending.mute.as_ref().filter(|mute| mute.hours.cover(alert.received_at.0));
        self.live.silences(alert, now_ms).or_else(|| Some(format!("mute {}", muted?.name)))
    }

    /// The budget that a message of the group counts against.
    pub(super) fn budget(&self, group: &Group) -> Option<Budget> {
        self.routing.destination(&group.destination).filter(|_| !group.test)?.max
    }

    /// Counts a message against the budget of its destination. What the last one of a budget says about that.
    pub(super) fn spend(&mut self, group: &Group, now_ms: i64) -> Option<String> {
        let budget = self.budget(group)?;
        self.spending.spend(&group.destination, &group.rule, now_ms, None);
        if self.spending.count(&group.destination, budget, now_ms) != budget.count {
            return None;
        }
        let (most, times) = self.spending.most(&group.destination, budget, now_ms)?;
        let until = instant(self.spending.free_at(&group.destination, budget, now_ms));
        let (count, per) = (budget.count, span(budget.per_ms));
        Some(format!(
            "\nThis is message {count} of {count} in {per}, {times} of them of {most}: what comes until {until} arrives as one digest."
        ))
    }

    /// What waits and never goes.
    pub(super) fn dropped(
        &mut self,
        group: &Group,
        state: &State,
        waiting: Waiting,
        why: String,
        now_ms: i64,
    ) -> Delivery<'static> {
        let Waiting { bundle_id, held: mut gathered, new, .. } = waiting;
        gathered.merge(new);
        self.drop_untold(group, state, &gathered, &why, now_ms);
        self.silenced_record(group, bundle_id, gathered, why, now_ms)
    }
}

/// A span of time in words.
pub(super) fn span(ms: i64) -> String {
    match ms {
        60_000 => "a minute".to_owned(),
        3_600_000 => "an hour".to_owned(),
        86_400_000 => "a day".to_owned(),
        _ => format!("{} s", ms / 1_000),
    }
}
