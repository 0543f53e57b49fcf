//! What the events of one transaction add to the rules that count, by partition of `signals`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use event::{LinkEvent, Millis, SignalBatch, lane};
use rules::{RuleIndex, SignalSum};

/// How long a partition of `signals` goes without this lane's watermark at most.
const TICK_MS: i64 = 2_000;
/// Counts of one batch at most, and what they may take, in bytes: a batch is one record, and the log takes 1 MB.
const MOST: usize = 1_000;
const MOST_BYTES: usize = 400_000;

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

    /// The batches to write with this transaction: every partition that has counts or waits for the watermark. Many
    /// counts make several batches, since each is one record. Only the last of a partition says the watermark: before
    /// it, what the lane has counted is not all there.
    pub(crate) fn batches(&self, watermark_ms: i64, now_ms: i64) -> Vec<(u16, SignalBatch<'static>)> {
        let partitions = self.heard_ms.len() as u16;
        let batch = |watermark| SignalBatch { lane: self.lane, watermark: Millis(watermark), signals: Vec::new() };
        let mut last: Vec<(usize, SignalBatch<'static>)> = (0..partitions).map(|_| (0, batch(watermark_ms))).collect();
        let mut batches = Vec::new();
        for signal in self.counts.values().map(SignalSum::signal) {
            let partition = lane::of_rule_key(&signal.rule, &signal.key, partitions);
            let (bytes, open) = &mut last[usize::from(partition)];
            let more = size(&signal);
            if !open.signals.is_empty() && (open.signals.len() >= MOST || *bytes + more > MOST_BYTES) {
                let full = std::mem::take(&mut open.signals);
                batches.push((partition, SignalBatch { signals: full, ..batch(0) }));
                *bytes = 0;
            }
            *bytes += more;
            open.signals.push(signal);
        }
        let due = |partition: usize| self.any && (now_ms - self.heard_ms[partition]).abs() >= TICK_MS;
        let last = last.into_iter().map(|(_, batch)| batch).enumerate();
        let last = last.filter(|(at, batch)| !batch.signals.is_empty() || due(*at));
        batches.extend(last.map(|(partition, batch)| (partition as u16, batch)));
        batches
    }

    /// The open transaction was aborted: its events are counted when they are read again.
    pub(crate) fn abort(&mut self) {
        self.counts.clear();
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

/// What a count takes in its batch, in bytes, about.
fn size(signal: &event::Signal<'_>) -> usize {
    let pairs = signal.attributes.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    signal.rule.len() + signal.rule_version.len() + signal.key.len() + signal.sample.len() + pairs + 40
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use event::EventType;
    use rules::{Detector, FirstSeenRule, Subject, Trigger, When};

    use super::*;

    const MINUTE: i64 = 29_459_520;

    fn event(number: u64, at_ms: i64) -> LinkEvent<'static> {
        LinkEvent {
            r#type: EventType::Click,
            received_at: Millis(at_ms),
            event_time: Millis(at_ms),
            event_key: format!("e-{number}").into(),
            domain: format!("go-{number}.example.com").into(),
            slug: "s".into(),
            ..LinkEvent::default()
        }
    }

    #[test]
    fn a_busy_key_makes_several_records_and_only_the_last_says_the_watermark() {
        let first_seen = FirstSeenRule { of: Subject::Domain, learn_minutes: 0, known: Vec::new() };
        let trigger = Trigger::FirstSeen(first_seen);
        let rule = rules::Rule::new("new", "growth", When::new(vec![], vec![]), Some(trigger));
        let routes = RuleIndex::new(vec![rule.clone()]);
        let mut signals = Signals::new(0, 3, &routes);
        let at_ms = MINUTE * 60_000 + 1_000;
        for number in 0..10_000 {
            signals.count(0, &rule, &event(number, at_ms), at_ms);
        }
        let watermark = at_ms + 60_000;
        let batches = signals.batches(watermark, at_ms);
        let mut sums: BTreeMap<u16, Vec<i64>> = BTreeMap::new();
        for (partition, batch) in &batches {
            let bytes: usize = batch.signals.iter().map(size).sum();
            assert!(
                batch.signals.len() <= MOST && bytes <= MOST_BYTES,
                "{} counts, {bytes} bytes",
                batch.signals.len()
            );
            sums.entry(*partition).or_default().push(batch.watermark.0);
        }
        assert_eq!(batches.iter().map(|(_, batch)| batch.signals.len()).sum::<usize>(), 10_000);
        for (partition, told) in &sums {
            let (last, before) = told.split_last().expect("a batch");
            assert!(*last == watermark && before.iter().all(|one| *one == 0), "partition {partition}: {told:?}");
        }
        // What the detector makes of them: nothing closes before the last.
        let mut detector = Detector::new(&[rule], 1);
        let mut told = Vec::new();
        for (_, batch) in batches.iter().filter(|(_, batch)| !batch.signals.is_empty()) {
            told.push(detector.take(batch).expect("a lane").findings.len());
        }
        let (last, before) = told.split_last().expect("a batch");
        assert!(*last > 0 && before.iter().all(|one| *one == 0), "{told:?}");

        signals.committed(&batches, at_ms);
        assert!(signals.batches(watermark, at_ms + 1).iter().all(|(_, batch)| batch.signals.is_empty()));
    }
}
