//! The rules that count, over the batches of all lanes.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Alert, Millis, Signal, SignalBatch};
use hashbrown::HashMap;
use jiff::tz::TimeZone;

use crate::Glob;
use crate::counted::CountedRule;
use crate::key_table::{KeyLimit, Likely};
use crate::learned::{Added, FullRule, LearnedRule};
use crate::names::same;
use crate::state::{Change, StateKey, UnreadableState};
use crate::watermark::WatermarkTracker;

/// Signals of a rule that are looked up before the first of them is counted.
const AT_ONCE: usize = 16;

/// What a batch led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchResult {
    /// What rules have to say now, in the order of their windows' ends.
    pub findings: Vec<Finding>,
    /// Signals that were passed over: no rule of that name and version counts.
    pub unknown: u64,
    /// Signals whose pane had closed, because their lane had been left out. They count where a window still reaches
    /// them.
    pub late: u64,
    /// Signals whose facet is not told apart: their key has no room for another one. What they say of it is left out.
    pub crowded: u64,
    /// What rules passed over because they know as much as they may, by rule.
    pub full: BTreeMap<String, FullRule>,
}

impl BatchResult {
    fn note(&mut self, added: Added) {
        match added {
            Added::InTime => {}
            Added::Late => self.late += 1,
            Added::NotToldApart => self.crowded += 1,
            // The rule has counted it.
            Added::NoRoom => {}
        }
    }

    fn passed_over(&mut self, rule: &str, more: FullRule) {
        if more != FullRule::default() {
            self.full.entry(rule.to_owned()).or_default().add(more);
        }
    }
}

/// An alert, and whether anybody may hear of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The alert.
    pub alert: Alert<'static>,
    /// The rule is only tried out: the alert is counted and goes nowhere.
    pub shadow: bool,
}

/// A batch names a lane that does not exist: it was written by a pipeline with another number of lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signal comes from lane {lane}, and there are {lanes} lanes: the number of lanes never changes in place")]
pub struct ForeignLane {
    lane: u16,
    lanes: usize,
}

/// A launch that is planned: a spike of its links is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its links, by key.
    pub links: Vec<Glob>,
    /// Its begin, in milliseconds since 1970.
    pub from_ms: i64,
    /// Its end, in milliseconds since 1970, not included.
    pub until_ms: i64,
}

/// What the configuration says is to be expected, beside the rules, and in which zone times are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// Launches that are planned.
    pub launches: Vec<Launch>,
    /// By source: after how many minutes without an event it is too quiet.
    pub quiet_after_minutes: BTreeMap<String, i64>,
    /// The zone of the times that alerts say; none: UTC. No rule decides by it.
    pub zone: Option<TimeZone>,
}

/// Evaluates the rules that count for one partition of `signals`: some of the keys, all of the lanes.
pub struct Detector {
    /// Rules that count in a window.
    counted: Vec<CountedRule>,
    /// Rules whose panes are minutes.
    learned: Vec<LearnedRule>,
    by_name: HashMap<String, Place>,
    lanes: WatermarkTracker,
    /// Keys in the snapshot whose rule, or what it remembers them by, is gone.
    orphans: Vec<Vec<u8>>,
}

/// Where a rule stands.
#[derive(Clone, Copy)]
enum Place {
    Counted(usize),
    Learned(usize),
}

impl Detector {
    /// A detector for those of `configured` that count, over so many lanes.
    pub fn new(configured: &[crate::Rule], lanes: u16) -> Self {
        Self::expecting(configured, lanes, Expectations::default())
    }

    /// The same, with what is to be expected.
    pub fn expecting(configured: &[crate::Rule], lanes: u16, expectations: Expectations) -> Self {
        let expectations = Arc::new(expectations);
        let counted: Vec<CountedRule> = configured.iter().filter_map(CountedRule::of).collect();
        let learned: Vec<LearnedRule> =
            configured.iter().filter_map(|rule| LearnedRule::of(rule, &expectations)).collect();
        let of_counted = counted.iter().enumerate().map(|(at, rule)| (rule.name.clone(), Place::Counted(at)));
        let of_learned = learned.iter().enumerate().map(|(at, rule)| (rule.name.clone(), Place::Learned(at)));
        let by_name = of_counted.chain(of_learned).collect();
        Self { counted, learned, by_name, lanes: WatermarkTracker::new(lanes), orphans: Vec::new() }
    }

    /// The same, whose rules know so many keys at most. What was restored stays, however much that is.
    #[must_use]
    pub fn knowing_at_most(mut self, limit: KeyLimit) -> Self {
        self.counted.iter_mut().for_each(|rule| rule.limit(limit));
        self.learned.iter_mut().for_each(|rule| rule.limit(limit));
        self
    }

    /// Takes the next batch of the partition, and evaluates what it closes.
    ///
    /// # Errors
    /// When the batch comes from a lane that does not exist. Nothing is taken then.
    pub fn take(&mut self, batch: &SignalBatch<'_>) -> Result<BatchResult, ForeignLane> {
        let mut taken = BatchResult::default();
        self.count(batch.lane, &batch.signals, &mut taken)?;
        // A lane that has not read anything yet knows no time, and says 0.
        if batch.watermark.0 > 0 {
            self.lanes.hear(batch.lane, batch.watermark.0);
        }
        if let Some(passed) = self.lanes.passed() {
            self.close(passed, &mut taken);
        }
        Ok(taken)
    }

    /// Counts signals of a lane that says no time: they wait for a batch that closes their panes. What became of them
    /// is added to `taken`.
    ///
    /// # Errors
    /// When the lane does not exist. Nothing is taken then.
    pub fn count(&mut self, lane: u16, signals: &[Signal<'_>], taken: &mut BatchResult) -> Result<(), ForeignLane> {
        if usize::from(lane) >= self.lanes.count() {
            return Err(ForeignLane { lane, lanes: self.lanes.count() });
        }
        // Signals of a rule mostly stand together.
        let mut rest = signals;
        while let Some(first) = rest.first() {
            let of_rule = |signal: &&Signal<'_>| {
                same(signal.rule.as_bytes(), first.rule.as_bytes())
                    && same(signal.rule_version.as_bytes(), first.rule_version.as_bytes())
            };
            let (signals, after) = rest.split_at(rest.iter().take(AT_ONCE).take_while(of_rule).count());
            rest = after;
            match self.place(&first.rule, &first.rule_version) {
                Some(place) => self.add(place, lane, signals, taken),
                None => taken.unknown += signals.len() as u64,
            }
        }
        Ok(())
    }

    /// The rule of that name and version, if it counts.
    fn place(&self, rule: &str, version: &str) -> Option<Place> {
        let place = *self.by_name.get(rule)?;
        let known = match place {
            Place::Counted(at) => &self.counted.get(at)?.version,
            Place::Learned(at) => &self.learned.get(at)?.version,
        };
        (known == version).then_some(place)
    }

    /// Adds at most [`AT_ONCE`] signals of a rule. Their keys are looked up first: the processor waits for the memory
    /// of all of them at once.
    fn add(&mut self, place: Place, lane: u16, signals: &[Signal<'_>], taken: &mut BatchResult) {
        let mut likely = [Likely::default(); AT_ONCE];
        match place {
            Place::Counted(at) => {
                let Some(rule) = self.counted.get_mut(at) else { return };
                likely.iter_mut().zip(signals).for_each(|(likely, signal)| *likely = rule.likely(signal));
                for (likely, signal) in likely.into_iter().zip(signals) {
                    taken.note(rule.add(likely, lane, signal));
                }
                let passed_over = rule.take_passed_over();
                taken.passed_over(&rule.name, passed_over);
            }
            Place::Learned(at) => {
                let Some(rule) = self.learned.get_mut(at) else { return };
                likely.iter_mut().zip(signals).for_each(|(likely, signal)| *likely = rule.likely(signal));
                for (likely, signal) in likely.into_iter().zip(signals) {
                    taken.note(rule.add(likely, lane, signal));
                }
                let passed_over = rule.take_passed_over();
                taken.passed_over(&rule.name, passed_over);
            }
        }
    }

    /// Evaluates every pane that ends by `passed` and was not evaluated yet.
    fn close(&mut self, passed: i64, taken: &mut BatchResult) {
        let findings = &mut taken.findings;
        let before = findings.len();
        for rule in &mut self.counted {
            let shadow = rule.shadow;
            rule.close(passed, |alert| findings.push(Finding { alert, shadow }));
        }
        for rule in &mut self.learned {
            let shadow = rule.is_shadow();
            rule.close(passed, |alert| findings.push(Finding { alert, shadow }));
        }
        // Keys stand in no order; their alerts are told in one.
        findings[before..].sort_by(|left, right| order(&left.alert).cmp(&order(&right.alert)));
        for rule in &mut self.learned {
            let passed_over = rule.take_passed_over();
            taken.passed_over(&rule.name, passed_over);
        }
    }

    /// What every lane that is waited for has passed, in milliseconds since 1970; none until all have spoken.
    pub fn watermark(&self) -> Option<i64> {
        self.lanes.passed()
    }

    /// The lanes that are left out, because they are too far behind.
    pub fn excluded(&self) -> Vec<u16> {
        self.lanes.excluded().collect()
    }

    /// How many keys are known.
    pub fn keys(&self) -> usize {
        let learned: usize = self.learned.iter().map(LearnedRule::len).sum();
        learned + self.counted.iter().map(CountedRule::len).sum::<usize>()
    }

    /// How many keys a snapshot would write now.
    pub fn unsaved(&self) -> usize {
        let learned: usize = self.learned.iter().map(LearnedRule::unsaved).sum();
        learned + self.counted.iter().map(CountedRule::unsaved).sum::<usize>() + self.orphans.len()
    }

    /// What has changed since the last call: to be stored, together with [`Detector::lanes_snapshot`] and the position
    /// of the last batch, as one.
    pub fn snapshot(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.orphans.drain(..).map(|key| Change { key, value: None }).collect();
        self.counted.iter_mut().for_each(|rule| rule.snapshot(&mut changes));
        self.learned.iter_mut().for_each(|rule| rule.snapshot(&mut changes));
        changes
    }

    /// How far the lanes have come: part of every snapshot.
    pub fn lanes_snapshot(&self) -> Vec<u8> {
        self.lanes.encode()
    }

    /// Restores how far the lanes had come. Before any [`Detector::restore`] and any batch.
    ///
    /// # Errors
    /// When it is not what this version writes, or speaks of another number of lanes.
    pub fn restore_lanes(&mut self, value: &[u8]) -> Result<(), UnreadableState> {
        self.lanes = WatermarkTracker::decode(value, self.lanes.count())?;
        let passed = self.lanes.passed();
        self.counted.iter_mut().for_each(|rule| rule.closed_at(passed));
        self.learned.iter_mut().for_each(|rule| rule.closed_at(passed));
        Ok(())
    }

    /// Puts together what [`Detector::restore`] took: after the last of its calls, before any batch.
    ///
    /// # Errors
    /// When a key cannot be read, or its profile is missing.
    pub fn restored(&mut self) -> Result<(), UnreadableState> {
        self.learned.iter_mut().try_for_each(|rule| rule.restored().map_err(|key| UnreadableState::of_key(&key)))
    }

    /// Restores one key, the last value that was stored under it. A key whose rule is gone, or remembers other things
    /// now, is removed with the next snapshot.
    ///
    /// # Errors
    /// When it is not what this version writes.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<(), UnreadableState> {
        let parsed = StateKey::decode(key)?;
        let restored = match self.by_name.get(parsed.rule) {
            Some(Place::Counted(at)) => {
                let rule = self.counted.get_mut(*at).filter(|rule| rule.memory == parsed.version);
                rule.map(|rule| rule.restore(&parsed, value))
            }
            Some(Place::Learned(at)) => {
                let rule = self.learned.get_mut(*at).filter(|rule| rule.memory == parsed.version);
                rule.map(|rule| rule.restore(&parsed, value))
            }
            None => None,
        };
        match restored {
            Some(read) => read.ok_or_else(|| UnreadableState::of_key(parsed.key)),
            None => {
                self.orphans.push(key.to_vec());
                Ok(())
            }
        }
    }
}

fn order<'a>(alert: &'a Alert<'_>) -> (Millis, &'a str, &'a str, bool) {
    (alert.window_end, &alert.rule, &alert.key, alert.test)
}
