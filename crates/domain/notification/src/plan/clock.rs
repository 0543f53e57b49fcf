//! What was noted by a clock that was ahead for a moment: once it is right again, no wait is longer than the
//! configuration says.

use super::{Group, Planner, State};
use crate::routing::Routing;

/// Until when a group may be quiet at most, and what waits of it may wait.
fn latest(routing: &Routing, group: &Group, state: &State, now_ms: i64) -> (i64, i64) {
    let sending = routing.rule(&group.rule).map(|rule| &rule.sending);
    let (first, every) = sending.map_or((0, 0), |sending| (sending.first_ms, sending.then_every_ms));
    let follows = state.waiting.as_ref().is_some_and(|waiting| waiting.follows);
    (now_ms.saturating_add(every), now_ms.saturating_add(if follows { every } else { first }))
}

fn follow(routing: &Routing, group: &Group, state: &mut State, now_ms: i64) {
    let (quiet_until, due) = latest(routing, group, state, now_ms);
    state.quiet_until = state.quiet_until.min(quiet_until);
    if let Some(waiting) = &mut state.waiting {
        waiting.due = waiting.due.min(due);
    }
}

impl Planner {
    /// Whether a group waits for a time that only a clock that was ahead can have named.
    pub(super) fn is_ahead(&self, group: &Group, state: &State, now_ms: i64) -> bool {
        let due = state.waiting.as_ref().map_or(0, |waiting| waiting.due);
        if state.quiet_until.max(due) <= now_ms {
            return false;
        }
        let (latest_quiet, latest_due) = latest(&self.routing, group, state, now_ms);
        state.quiet_until > latest_quiet || due > latest_due
    }

    /// Has what was noted in the future count from now on.
    pub(super) fn follow_clock(&mut self, now_ms: i64) {
        let Self { routing, groups, spending, inhibition, .. } = self;
        groups.iter_mut().for_each(|(group, state)| follow(routing, group, state, now_ms));
        spending.forget(now_ms, |destination| routing.destination(destination)?.max);
        inhibition.follow_clock(now_ms);
    }

    /// Whether what is said next follows what a group said before.
    pub(super) fn is_known(&self, group: &Group, state: &State, now_ms: i64) -> bool {
        state.quiet_until > now_ms || self.stays_open(group, state, now_ms)
    }

    /// Forgets a group that is over: what comes then meets the same, whenever the group was last looked at, and after a
    /// restart.
    pub(super) fn look_up(&mut self, group: &Group, now_ms: i64) {
        let Some(state) = self.groups.get_mut(group) else { return };
        follow(&self.routing, group, state, now_ms);
        let is_over = |state: &State| state.waiting.is_none() && !self.is_known(group, state, now_ms);
        if self.groups.get(group).is_some_and(is_over) {
            self.groups.remove(group);
        }
    }
}
