//! What keeps a destination calm: its budget, its open hours, and what people hold back while everything runs.

use std::collections::{BTreeMap, VecDeque};

use event::{Alert, Transition};

use crate::group::link;
use crate::hours::Hours;

/// How many messages a destination takes in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Messages, at least 1.
    pub count: u32,
    /// In so many milliseconds.
    pub per_ms: i64,
}

/// When a destination may be disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Within these hours.
    pub hours: Hours,
    /// Whether what comes outside is dropped, and recorded. Otherwise it waits, and goes as one digest.
    pub drops_outside: bool,
}

/// Something that a person holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// Until when, in milliseconds since 1970; none: until it is ended.
    pub until_ms: Option<i64>,
}

impl Held {
    fn holds(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// A silence that was said while everything runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSilence {
    /// The rule.
    pub rule: String,
    /// The link or key that it is about; every one if it is empty.
    pub about: String,
    /// Who said so, why, and until when.
    pub held: Held,
}

/// What people hold back now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Rules that are paused.
    pub rules: BTreeMap<String, Held>,
    /// Destinations that are paused.
    pub destinations: BTreeMap<String, Held>,
    /// Silences.
    pub silences: Vec<LiveSilence>,
    /// Messages that are acknowledged, by their ids.
    pub acknowledged: BTreeMap<String, Held>,
}

impl Live {
    /// Why an alert is held back; none if it is not.
    pub(crate) fn silences(&self, alert: &Alert<'_>, now_ms: i64) -> Option<String> {
        let paused = self.paused_rule(&alert.rule, now_ms);
        let about = |silence: &LiveSilence| {
            silence.about.is_empty()
                || silence.about == alert.key
                || link(alert).is_some_and(|link| link == silence.about)
        };
        let silenced = || {
            let mut all =
                self.silences.iter().filter(|silence| silence.rule == alert.rule && silence.held.holds(now_ms));
            let silence = all.find(|silence| about(silence))?;
            Some(format!("silenced by {}: {}", silence.held.who, silence.held.why))
        };
        paused.or_else(silenced)
    }

    /// Why a rule says nothing; none if it is not paused.
    pub(crate) fn paused_rule(&self, rule: &str, now_ms: i64) -> Option<String> {
        let held = self.rules.get(rule).filter(|held| held.holds(now_ms))?;
        Some(format!("the rule is paused by {}: {}", held.who, held.why))
    }

    /// Why more of a message is held back; none if it is not acknowledged.
    pub(crate) fn acknowledged(&self, bundle_id: &str, now_ms: i64) -> Option<String> {
        let held = self.acknowledged.get(bundle_id).filter(|held| held.holds(now_ms))?;
        Some(format!("acknowledged by {}: {}", held.who, held.why))
    }

    /// Whether a destination is paused.
    pub fn pauses(&self, destination: &str, now_ms: i64) -> bool {
        self.destinations.get(destination).is_some_and(|held| held.holds(now_ms))
    }
}

/// Whether an alert begins something, or says more of it: what silences hold back.
pub(crate) fn is_start(alert: &Alert<'_>) -> bool {
    alert.transition != Transition::Resolved
}

/// A message that counts against a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spent {
    at: i64,
    rule: String,
    /// The record that planned it; none before it is written.
    offset: Option<i64>,
}

/// What destinations with a budget were sent lately.
#[derive(Debug, Default)]
pub(crate) struct Spending(BTreeMap<String, VecDeque<Spent>>);

impl Spending {
    /// A message to a destination.
    pub(crate) fn spend(&mut self, destination: &str, rule: &str, at: i64, offset: Option<i64>) {
        self.0.entry(destination.to_owned()).or_default().push_back(Spent { at, rule: rule.to_owned(), offset });
    }

    /// The records of the last messages are written, none before `offset`.
    pub(crate) fn committed(&mut self, offset: i64) {
        self.0
            .values_mut()
            .flatten()
            .filter(|spent| spent.offset.is_none())
            .for_each(|spent| spent.offset = Some(offset));
    }

    /// Whether a message was counted by a clock that was ahead.
    pub(crate) fn is_ahead(&self, now_ms: i64) -> bool {
        self.0.values().flatten().any(|spent| spent.at > now_ms)
    }

    /// Forgets what no budget counts any more. What a clock that was ahead has counted counts from now on: but if that
    /// clock was wrong by more than the time of the budget, it is forgotten, so that it does not count again after
    /// each restart.
    pub(crate) fn forget(&mut self, now_ms: i64, budget: impl Fn(&str) -> Option<Budget>) {
        self.0.retain(|destination, spent| {
            let per = budget(destination).map_or(0, |budget| budget.per_ms);
            spent.retain_mut(|one| {
                let counts = one.at.abs_diff(now_ms) < per.unsigned_abs();
                one.at = one.at.min(now_ms);
                counts
            });
            !spent.is_empty()
        });
    }

    /// The offset from which records are needed to know it.
    pub(crate) fn mark(&self) -> Option<i64> {
        self.0.values().flatten().filter_map(|spent| spent.offset).min()
    }

    /// How many messages a destination was sent within the time of its budget.
    pub(crate) fn count(&self, destination: &str, budget: Budget, now_ms: i64) -> u32 {
        let spent = self.0.get(destination).into_iter().flatten();
        u32::try_from(spent.filter(|one| one.at > now_ms.saturating_sub(budget.per_ms)).count()).unwrap_or(u32::MAX)
    }

    /// When a destination takes the next message: now, or when enough of those before are old enough.
    pub(crate) fn free_at(&self, destination: &str, budget: Budget, now_ms: i64) -> i64 {
        let spent = self.0.get(destination).into_iter().flatten();
        let mut lately: Vec<i64> =
            spent.map(|one| one.at).filter(|at| *at > now_ms.saturating_sub(budget.per_ms)).collect();
        lately.sort_unstable();
        match lately.len().checked_sub(budget.count as usize) {
            None => now_ms,
            Some(over) => lately[over].saturating_add(budget.per_ms),
        }
    }

    /// The rule that was sent most to a destination within the time of its budget, and how often.
    pub(crate) fn most(&self, destination: &str, budget: Budget, now_ms: i64) -> Option<(&str, u32)> {
        let mut rules: BTreeMap<&str, u32> = BTreeMap::new();
        for one in self.0.get(destination).into_iter().flatten() {
            if one.at > now_ms.saturating_sub(budget.per_ms) {
                *rules.entry(&one.rule).or_default() += 1;
            }
        }
        rules.into_iter().max_by_key(|(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUDGET: Budget = Budget { count: 3, per_ms: 1_000 };

    #[test]
    fn the_next_message_is_free_when_the_oldest_of_the_last_is_old_enough() {
        let mut spending = Spending::default();
        for at in [100, 200, 300] {
            assert_eq!(spending.free_at("chat", BUDGET, at), at);
            spending.spend("chat", if at == 100 { "a" } else { "b" }, at, None);
        }
        assert_eq!((spending.count("chat", BUDGET, 300), spending.free_at("chat", BUDGET, 300)), (3, 1_100));
        assert_eq!(spending.most("chat", BUDGET, 300), Some(("b", 2)));
        assert_eq!((spending.free_at("chat", BUDGET, 1_100), spending.free_at("other", BUDGET, 300)), (1_100, 300));
        assert_eq!(spending.mark(), None, "nothing is written yet");
        spending.committed(7);
        assert_eq!(spending.mark(), Some(7));
        spending.forget(1_300, |_| Some(BUDGET));
        assert_eq!(spending.mark(), None);
    }

    proptest! {
        #[test]
        fn no_span_holds_more_than_the_budget(steps in prop::collection::vec(0i64..700, 1..60)) {
            let (mut spending, mut now, mut sent) = (Spending::default(), 0i64, Vec::new());
            for step in steps {
                now += step;
                if spending.free_at("chat", BUDGET, now) <= now {
                    spending.spend("chat", "a", now, None);
                    sent.push(now);
                }
                spending.forget(now, |_| Some(BUDGET));
            }
            for (place, at) in sent.iter().enumerate() {
                let within = sent[place..].iter().filter(|later| **later < at + BUDGET.per_ms).count();
                prop_assert!(within <= BUDGET.count as usize);
            }
        }
    }
}
