//! What the events of one transaction add to the rules that count, by partition of `signals`.

use std::collections::HashMap;

use event::{LinkEvent, Millis, Signal, SignalBatch, lane};
use rules::RuleIndex;

/// How long a partition of `signals` goes without this lane's watermark at most.
const TICK_MS: i64 = 2_000;

/// The counts of the open transaction, and when each partition last heard from this lane.
pub(crate) struct Signals {
    lane: u16,
    counts: HashMap<(usize, String, i64, bool), Signal<'static>>,
    heard_ms: Vec<i64>,
    /// Whether any rule counts: without one, there is no detector to tick for.
    any: bool,
}

impl Signals {
    pub(crate) fn new(lane: u16, partitions: u16, routes: &RuleIndex) -> Self {
        let any = routes.rules().iter().any(|rule| rule.per().is_some());
        Self { lane, counts: HashMap::new(), heard_ms: vec![0; usize::from(partitions)], any }
    }

    /// Counts `event` for a rule, in the pane of the lane's time `at_ms`.
    pub(crate) fn count(&mut self, index: usize, rule: &rules::Rule, event: &LinkEvent<'_>, at_ms: i64) {
        let Some((key, pane)) = rule.count_of(event, at_ms) else { return };
        self.counts
            .entry((index, key.clone().into_owned(), pane, event.test))
            .and_modify(|signal| {
                signal.count += 1;
                signal.late += u64::from(rules::is_late(event));
            })
            .or_insert_with(|| rule.signal(&key, pane, 1, event));
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
        for signal in self.counts.values() {
            let partition = lane::of_rule_key(&signal.rule, &signal.key, partitions);
            batches[usize::from(partition)].signals.push(signal.clone());
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
