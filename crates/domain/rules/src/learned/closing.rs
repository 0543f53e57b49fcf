//! A minute of a rule that has closed: which of its keys it concerns, and what the rule says of each.

use std::collections::BTreeMap;

use event::Alert;

use super::{Keys, LearnedRule, PANE_MS, timer};
use crate::counted_minute::Counted;
use crate::evaluator::broken::{BrokenChange, BrokenMinute};
use crate::evaluator::drift::DriftMinute;
use crate::evaluator::first_seen::Seen;
use crate::evaluator::silence::SilenceChange;
use crate::evaluator::spike::SpikeChange;
use crate::evaluator::{Evaluator, KeyState, gap};
use crate::pane::Pane;

impl LearnedRule {
    /// Evaluates every minute that ends by `passed` and was not evaluated yet.
    pub(crate) fn close(&mut self, passed: i64, mut tell: impl FnMut(Alert<'static>)) {
        let to = passed.div_euclid(PANE_MS);
        if self.closed.is_some_and(|closed| closed >= to) {
            return;
        }
        self.closed = Some(to);
        let mut keys = std::mem::take(&mut self.keys);
        for (test, keys) in [false, true].into_iter().zip(&mut keys) {
            while let Some(minute) = keys.counted.first_before(to) {
                let closed = keys.counted.take_first();
                for (id, counted) in closed.keys() {
                    self.walk_counted(keys, id, test, minute, Some(counted), &mut tell);
                }
                keys.counted.put_back(closed);
            }
            while let Some((minute, closed)) = first_before(&mut keys.open, to) {
                let mut panes: Vec<(u32, Pane)> = closed.into_panes().collect();
                if matches!(self.evaluator, Evaluator::Gap(_)) && !keys.has_room_for_counters(&panes) {
                    // Which counters get the last places must not depend on the order in which keys came: a restored
                    // detector does not know it.
                    panes.sort_by(|left, right| keys.table.name(left.0).cmp(keys.table.name(right.0)));
                }
                for (id, pane) in panes {
                    self.walk(keys, id, test, minute, Some(pane), &mut tell);
                }
            }
            while let Some(id) = keys.table.timers.due(timer(to).unwrap_or(u32::MAX)) {
                if self.is_put_off(keys, id, to) {
                    continue;
                }
                if self.evaluator.only_counts() {
                    self.walk_counted(keys, id, test, to, None, &mut tell);
                } else {
                    self.walk(keys, id, test, to, None, &mut tell);
                }
            }
            keys.pack();
        }
        self.keys = keys;
    }

    /// Whether a key whose timer has rung has nothing to say by `to` after all. Its timer is set to when it has.
    fn is_put_off(&self, keys: &mut Keys, id: u32, to: i64) -> bool {
        let Keys { table, states, .. } = keys;
        let Some((key, kept)) = table.named_mut(id) else { return true };
        let Some(state) = states.take(&self.evaluator, key, *kept) else { return true };
        let wakes = self.evaluator.wakes(key, &state, &self.expectations);
        states.put(kept, state);
        if wakes.is_some_and(|at| at <= to) {
            return false;
        }
        table.timers.wake(id, wakes.and_then(timer));
        true
    }

    /// Takes a closed minute of a key of a rule that only counts, or walks it up to the end `minute` of a minute:
    /// nothing came since its last one.
    fn walk_counted(
        &self,
        keys: &mut Keys,
        id: u32,
        test: bool,
        minute: i64,
        counted: Option<Counted<'_>>,
        tell: &mut impl FnMut(Alert<'static>),
    ) {
        let Keys { table, states, samples, forgotten, .. } = keys;
        let Some((key, kept)) = table.named_mut(id) else { return };
        let Some(mut state) = states.take(&self.evaluator, key, *kept) else { return };
        let had_profile = state.has_profile();
        match (&self.evaluator, &mut state) {
            (Evaluator::Spike { rule, during_launches }, KeyState::Spike(state)) => {
                let planned = if *during_launches { Vec::new() } else { self.expectations.planned(key) };
                let mut changes = Vec::new();
                let count = counted.map_or(0, |one| events(&one).saturating_sub(one.late));
                if count > 0 {
                    state.take(rule, minute, count, &planned, &mut |change| changes.push(change));
                } else {
                    state.walk(rule, minute - 1, &planned, &mut |change| changes.push(change));
                }
                let mut sample = if changes.is_empty() { None } else { counted.map(|one| one.sample.owned()) };
                for change in changes {
                    match change {
                        SpikeChange::Fired { .. } => {
                            let sample = sample.take().and_then(|sample| {
                                samples.insert(id, sample);
                                samples.get(&id)
                            });
                            tell(self.teller.spike(key, test, sample, change));
                        }
                        SpikeChange::Resolved { .. } => {
                            tell(self.teller.spike(key, test, samples.remove(&id).as_ref(), change));
                        }
                    }
                }
            }
            (Evaluator::Silence { .. }, KeyState::Silence(state)) => {
                if let Some(rule) = self.evaluator.silence(key, &self.expectations) {
                    let mut changes = Vec::new();
                    match &counted {
                        Some(one) => state.take(&rule, minute, events(one), &mut |change| changes.push(change)),
                        None => state.walk(&rule, minute, &mut |change| changes.push(change)),
                    }
                    let present = if changes.is_empty() { None } else { counted.map(|one| one.sample.owned()) };
                    for change in changes {
                        let before = samples.get(&id);
                        // What was said before this minute is about the events before it.
                        let sample = match change {
                            SilenceChange::Fired { trickle: false, .. } => before.or(present.as_ref()),
                            _ => present.as_ref().or(before),
                        };
                        tell(self.teller.silence(key, test, sample, change));
                    }
                    // A key that does not speak has nothing to say of its events.
                    if !state.is_watched_by(&rule) {
                        samples.remove(&id);
                    } else if let Some(one) = &counted {
                        match samples.get_mut(&id) {
                            Some(sample) => sample.set(one.sample),
                            None => drop(samples.insert(id, one.sample.owned())),
                        }
                    }
                }
            }
            _ => {}
        }
        if had_profile && !state.has_profile() {
            forgotten.insert(id);
        }
        let wakes = self.evaluator.wakes(key, &state, &self.expectations);
        states.put(kept, state);
        table.touch(id);
        // What comes puts the time of too quiet off: the timer stays, and when it rings the key is looked at again.
        let walked = minute + i64::from(counted.is_some());
        table.timers.walked(id, timer(walked).unwrap_or(u32::MAX), wakes.and_then(timer));
    }

    /// The same for a rule that tells things apart within a key.
    fn walk(
        &self,
        keys: &mut Keys,
        id: u32,
        test: bool,
        minute: i64,
        pane: Option<Pane>,
        tell: &mut impl FnMut(Alert<'static>),
    ) {
        let walked = minute + i64::from(pane.is_some());
        // What is counted for the key's links has its own records.
        let counted = match (&self.evaluator, &pane) {
            (Evaluator::Gap(rule), Some(pane)) => self.count(keys, rule, id, minute, pane),
            _ => (0, 0),
        };
        let Keys { table, states, samples, values_passed_over, .. } = keys;
        let Some((key, kept)) = table.named_mut(id) else { return };
        let Some(mut state) = states.take(&self.evaluator, key, *kept) else { return };
        match (&self.evaluator, &mut state) {
            (Evaluator::Broken { rule, one_link }, KeyState::Broken(state)) => {
                let mut changes = Vec::new();
                match &pane {
                    Some(pane) => {
                        let (seen, named) = BrokenMinute::of(pane, *one_link);
                        state.take(rule, minute, seen, &mut |change| changes.push(change));
                        if changes.iter().any(|change| matches!(change, BrokenChange::Fired { .. })) {
                            samples.insert(id, pane.sample(named));
                        }
                    }
                    None => state.walk(rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    tell(self.teller.broken(key, test, samples.get(&id), rule, change));
                }
            }
            (Evaluator::Drift(rule), KeyState::Drift(state)) => {
                let mut changes = Vec::new();
                match &pane {
                    Some(pane) => {
                        state.take(rule, minute, &DriftMinute::of(pane), &mut |change| changes.push(change));
                        if let Some(new) = pane.parts().find(|part| state.is_new(&part.facet)) {
                            samples.insert(id, new.sample.clone());
                        }
                    }
                    None => state.walk(rule, minute, &mut |change| changes.push(change)),
                }
                for change in changes {
                    tell(self.teller.drift(key, test, samples.get(&id), rule, change));
                }
            }
            (Evaluator::Gap(rule), KeyState::Gap(state)) => {
                let mut changes = Vec::new();
                state.walk(rule, minute, &mut |change| changes.push(change));
                if let Some(pane) = &pane {
                    state.take(rule, minute, counted.0, counted.1);
                    samples.insert(id, pane.sample(0));
                }
                for change in changes {
                    tell(self.teller.gap(key, test, samples.get(&id), rule, change));
                }
            }
            (Evaluator::FirstSeen(rule), KeyState::FirstSeen(state)) => {
                for part in pane.iter().flat_map(Pane::parts) {
                    match state.take(rule, minute + 1, &part.facet) {
                        Seen::New => tell(self.teller.first_seen(rule, test, minute, part)),
                        Seen::NoRoom => *values_passed_over = values_passed_over.saturating_add(u64::from(part.count)),
                        Seen::Known => {}
                    }
                }
            }
            _ => {}
        }
        let (is_over, wakes) = (state.is_over(), self.evaluator.wakes(key, &state, &self.expectations));
        states.put(kept, state);
        if is_over && !keys.is_open(id) {
            return keys.remove(id);
        }
        keys.table.touch(id);
        // What comes mostly puts the time off, each minute anew: the timer stays, as where a rule only counts.
        keys.table.timers.walked(id, timer(walked).unwrap_or(u32::MAX), wakes.and_then(timer));
    }

    /// What a minute adds to a key on delivery gaps: by how much the counters of its links grew, and what arrived.
    fn count(&self, keys: &mut Keys, rule: &gap::GapRule, id: u32, minute: i64, pane: &Pane) -> (u64, u64) {
        let Keys { table, states, .. } = keys;
        let Some((key, kept)) = table.named_mut(id) else { return (0, 0) };
        let key = key.to_owned();
        let Some(state) = states.take(&self.evaluator, &key, *kept) else { return (0, 0) };
        let before = if let KeyState::Gap(state) = &state { state.arrived(rule, minute) } else { 0 };
        states.put(kept, state);
        let mut sum = (0_u64, 0_u64);
        for part in pane.parts() {
            if part.facet.is_empty() {
                // Its key had no room to tell it apart: it has arrived.
                sum.1 = sum.1.saturating_add(u64::from(part.count));
                continue;
            }
            let name = gap::counter_key(&key, &part.facet);
            // What has never said a number has nothing to be held against.
            let counter = if part.counters.is_some() { table.beside(&name) } else { table.find(&name) };
            let Some(counter) = counter else { continue };
            let Some(kept) = table.get_mut(counter) else { continue };
            let Some(mut state) = states.take(&self.evaluator, &name, *kept) else { continue };
            if let KeyState::Counter(state) = &mut state {
                let (counted, arrived) = state.take(minute, part.count, part.counters, before);
                sum = (sum.0.saturating_add(counted), sum.1.saturating_add(arrived));
            }
            states.put(kept, state);
            table.touch(counter);
        }
        sum
    }
}

/// The events of a minute, as evaluators count them.
fn events(counted: &Counted<'_>) -> u32 {
    u32::try_from(counted.count).unwrap_or(u32::MAX)
}

/// Takes the first minute out if it is before `to`.
fn first_before<M>(minutes: &mut BTreeMap<i64, M>, to: i64) -> Option<(i64, M)> {
    Some(minutes.first_entry().filter(|first| *first.key() < to)?.remove_entry())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking, in its setup too")]
mod tests {
    use std::sync::Arc;

    use event::{EventType, LinkEvent, Millis};

    use super::*;
    use crate::{BrokenRule, Expectations, Per, Rule, SignalSum, SilenceRule, Trigger, When};

    const MINUTE: i64 = 29_459_520;

    fn rules() -> [(Rule, LearnedRule); 2] {
        let broken =
            BrokenRule { at_least: 3, percent: 10, within_minutes: 60, over_after_minutes: 600, quiet_for_minutes: 60 };
        let silence = SilenceRule { quiet_after_minutes: Some(300), least_minutes: 10 };
        [Trigger::Broken { broken, per: Per::Link }, Trigger::Silence { silence, per: Per::Link }].map(|trigger| {
            let rule = Rule::new("watch", "growth", When::new(vec![], vec![]), Some(trigger));
            let learned = LearnedRule::of(&rule, &Arc::new(Expectations::default())).unwrap();
            (rule, learned)
        })
    }

    fn add(rule: &Rule, learned: &mut LearnedRule, minute: i64, slug: &str) {
        let at = Millis((MINUTE + minute) * 60_000);
        let event = LinkEvent {
            r#type: EventType::Error,
            received_at: at,
            event_time: at,
            domain: "go.example.com".into(),
            slug: slug.to_owned().into(),
            ..LinkEvent::default()
        };
        let signal = SignalSum::new(rule, &rule.observe(&event, at.0).unwrap(), 1, &event).signal();
        learned.add(learned.likely(&signal), 0, &signal);
    }

    #[test]
    fn a_key_with_events_in_each_minute_waits_for_one_time_and_not_for_one_of_each_minute() {
        for (rule, mut learned) in rules() {
            for minute in 0..240 {
                add(&rule, &mut learned, minute, "s");
                learned.close((MINUTE + minute + 1) * 60_000, drop);
                let queued = learned.keys[0].table.timers.queued();
                assert!(queued <= 4, "{:?}: {queued} in minute {minute}", learned.evaluator);
            }
        }
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back_once_its_keys_are_forgotten() {
        let [(rule, mut learned), _] = rules();
        let memory = |learned: &LearnedRule| {
            let keys = &learned.keys[0];
            keys.table.memory() + keys.states.memory() + keys.samples.capacity() * size_of::<crate::sample::Sample>()
        };
        let mut before = 0;
        for minute in 0..400 {
            if minute % 50 == 0 {
                (0..500).for_each(|link| add(&rule, &mut learned, minute, &format!("s{link}")));
            }
            if minute == 100 {
                before = memory(&learned);
                (0..60_000).for_each(|link| add(&rule, &mut learned, minute, &format!("burst{link}")));
            }
            learned.close((MINUTE + minute + 1) * 60_000, drop);
        }
        let after = memory(&learned);
        assert_eq!(learned.len(), 500);
        assert!(after < before * 2, "{after} bytes, {before} before");
    }
}
