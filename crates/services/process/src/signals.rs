//! What the events of one transaction add to the rules that count, by partition of `signals`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use event::{LinkEvent, Millis, SignalBatch, lane};
use rules::{RuleIndex, SignalSum};

/// How long a partition of `signals` goes without this lane's watermark at most.
const TICK_MS: i64 = 2_000;

/// What is counted together: rule, key, pane, facet, and whether it is test data.
type Counted = (usize, String, i64, String, bool);

/// The counts of the open transaction, and when each partition last heard from this lane.
pub(crate) struct Signals {
    lane: u16,
    counts: HashMap<Counted, SignalSum>,
    heard_ms: Vec<i64>,
    /// Whether any rule counts: without one, there is no detector to tick for.
    any: bool,
}

impl Signals {
    pub(crate) fn new(lane: u16, partitions: u16, routes: &RuleIndex) -> Self {
        Self { lane, counts: HashMap::new(), heard_ms: vec![0; usize::from(partitions)], any: any_counts(routes) }
    }

    /// Other rules count from the next transaction on.
    pub(crate) fn follow(&mut self, routes: &RuleIndex) {
        self.any = any_counts(routes);
    }

    /// Counts `event` for a rule, in the pane of the lane's time `at_ms`.
    pub(crate) fn count(&mut self, index: usize, rule: &rules::Rule, event: &LinkEvent<'_>, at_ms: i64) {
        let Some(seen) = rule.observe(event, at_ms) else { return };
        let counted = (index, seen.key.clone().into_owned(), seen.pane, seen.facet.clone().into_owned(), event.test);
        match self.counts.entry(counted) {
            Entry::Occupied(mut sum) => sum.get_mut().add(&seen, event),
            Entry::Vacant(place) => drop(place.insert(SignalSum::new(rule, &seen, 1, event))),
        }
    }

    /// Whether a partition waits for the lane's watermark.
    pub(crate) fn tick_due(&self, now_ms: i64) -> bool {
        self.any && self.heard_ms.iter().any(|heard| (now_ms - heard).abs() >= TICK_MS)
    }

    /// The batches to write with this transaction: every partition that has counts or waits for the watermark.
    pub(crate) fn batches(&self, watermark_ms: i64, now_ms: i64) -> Vec<(u16, SignalBatch<'static>)> {
        let partitions = self.heard_ms.len() as u16;
        let mut batches: Vec<SignalBatch<'static>> = (0..partitions)
            .map(|_| SignalBatch { lane: self.lane, watermark: Millis(watermark_ms), signals: Vec::new() })
            .collect();
        for signal in self.counts.values().map(SignalSum::signal) {
            let partition = lane::of_rule_key(&signal.rule, &signal.key, partitions);
            batches[usize::from(partition)].signals.push(signal);
        }
        let due = |partition: usize| self.any && (now_ms - self.heard_ms[partition]).abs() >= TICK_MS;
        let batches = batches.into_iter().enumerate().filter(|(at, batch)| !batch.signals.is_empty() || due(*at));
        batches.map(|(partition, batch)| (partition as u16, batch)).collect()
    }

    /// The transaction that wrote `written` is committed.
    pub(crate) fn committed(&mut self, written: &[(u16, SignalBatch<'static>)], now_ms: i64) {
        self.counts.clear();
        for (partition, _) in written {
            self.heard_ms[usize::from(*partition)] = now_ms;
        }
    }
}

fn any_counts(routes: &RuleIndex) -> bool {
    routes.rules().iter().any(rules::Rule::is_evaluated_over_time)
}
