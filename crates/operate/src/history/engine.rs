//! Rows into the detector of production.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;

use event::{Alert, Millis, Signal, SignalBatch};
use hashbrown::HashMap;
use rules::{
    BatchResult, COUNTER, Detector, EXCLUDED_AFTER_MS, Expectations, Finding, ForeignLane, FullRule, KeyLimit, Rule,
    RuleIndex, SignalSum, Trigger,
};

use super::columns;
use super::rows::Row;

/// Kinds of events whose matches are remembered, and how many bytes those take; beyond that they are matched again.
const REMEMBERED: usize = 500_000;
const REMEMBERED_BYTES: usize = 1 << 30;

/// What a rule may know here, of all partitions of `signals` together: as many keys as in eight of them, and as many
/// bytes of names as a table holds, which is as much as in two.
fn key_limit() -> KeyLimit {
    KeyLimit { keys: KeyLimit::default().keys * 8, name_bytes: 1 << 30 }
}

/// Where an event is: what stands in the place of its key until its row is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(super) lane: u16,
    pub(super) offset: u64,
    /// When it was received, in milliseconds since 1970.
    pub(super) received: Range<i64>,
}

impl Place {
    /// The place that a sample of the engine names.
    pub(crate) fn parse(sample: &str) -> Option<Self> {
        let mut parts = sample.strip_prefix("\u{1f}")?.split(':').map(str::parse::<i64>);
        let mut next = || parts.next()?.ok();
        let (lane, offset, from, to) = (next()?, next()?, next()?, next()?);
        Some(Self { lane: u16::try_from(lane).ok()?, offset: u64::try_from(offset).ok()?, received: from..to })
    }
}

/// Writes places of one lane and pane: most of their text is the same.
#[derive(Default)]
struct Places {
    before: String,
    after: String,
}

impl Places {
    fn of(lane: u16, pane: i64, pane_ms: i64) -> Self {
        Self { before: format!("\u{1f}{lane}:"), after: format!(":{pane}:{}", pane + pane_ms) }
    }

    /// Writes the place of the event at an offset into `text`.
    fn write(&self, offset: u64, text: &mut String) {
        text.clear();
        text.push_str(&self.before);
        // Writing to a String cannot fail.
        let _ = write!(text, "{offset}");
        text.push_str(&self.after);
    }
}

/// What rules count of the events of a row: the length of a pane of each, and its signal, but for when, how many and
/// which they are.
type Matches = Box<[(i64, Signal<'static>)]>;

/// The rules that count, over rows in the order of their panes.
pub(crate) struct Engine {
    index: RuleIndex,
    detector: Detector,
    /// The longest length that divides all panes of the rules.
    pane_ms: i64,
    /// The columns that rules ask about.
    names: Vec<&'static str>,
    /// By the texts of a row.
    matches: HashMap<Box<[u8]>, Matches>,
    /// What `matches` takes, in bytes.
    remembered: usize,
    pane: i64,
    lane: u16,
    places: Places,
    /// Where the present event is, as a text; `''` where no event is named.
    place: String,
    told: Vec<Alert<'static>>,
    shadow: Vec<Alert<'static>>,
    /// Whether the event behind a count is named.
    names_events: bool,
    /// Why it has passed rows over.
    failed: Option<ForeignLane>,
    /// Rules that passed signals over, because they know as much as they may.
    full: BTreeMap<String, FullRule>,
}

impl Engine {
    /// The rules among `rules` that count, from a time on (milliseconds since 1970), over rows of so many lanes.
    pub(crate) fn new(rules: &[Rule], expectations: Expectations, lanes: u16, from_ms: i64) -> Self {
        let counting: Vec<Rule> = { rules.iter().filter(|rule| rule.is_evaluated_over_time()).cloned().collect() };
        let mut detector = Detector::expecting(&counting, lanes, expectations).knowing_at_most(key_limit());
        // One lane tells the time of all: the others have never spoken, and are not waited for.
        for watermark in [from_ms - 2 * EXCLUDED_AFTER_MS, from_ms] {
            let tick = SignalBatch { lane: 0, watermark: Millis(watermark.max(1)), signals: Vec::new() };
            // There is a lane 0, and nothing has happened yet.
            let _ = detector.take(&tick);
        }
        let pane_ms = counting.iter().filter_map(|rule| rule.trigger().and_then(Trigger::pane_ms)).fold(0, divisor);
        let (names, index) = (columns::asked(&counting), RuleIndex::new(counting));
        let (matches, places, place, told, shadow) = Default::default();
        Self {
            index,
            detector,
            pane_ms: pane_ms.max(1),
            names,
            matches,
            remembered: 0,
            pane: i64::MIN,
            lane: 0,
            places,
            place,
            told,
            shadow,
            names_events: true,
            failed: None,
            full: BTreeMap::new(),
        }
    }

    /// The same, whose alerts and whose state name no event: for what is only learned.
    pub(crate) fn without_names(mut self) -> Self {
        self.names_events = false;
        self
    }

    /// The rules that count.
    pub(crate) fn rules(&self) -> &[Rule] {
        self.index.rules()
    }

    /// The length of a pane of the rows, in milliseconds.
    pub(crate) fn pane_ms(&self) -> i64 {
        self.pane_ms
    }

    /// The detector itself, for what it has learned.
    pub(crate) fn into_detector(self) -> Detector {
        self.detector
    }

    /// Takes the next row. Rows come by pane, and within one by the first event.
    pub(crate) fn take(&mut self, row: &Row<'_>) {
        let lane = (row.first >> 48) as u16;
        if row.pane != self.pane && self.pane != i64::MIN {
            self.tick(self.pane + self.pane_ms);
        }
        if (row.pane, lane) != (self.pane, self.lane) {
            self.places = Places::of(lane, row.pane, self.pane_ms);
            (self.pane, self.lane) = (row.pane, lane);
        }
        if self.names_events {
            self.places.write(row.first & ((1 << 48) - 1), &mut self.place);
        }
        let mut taken = BatchResult::default();
        let counted = match self.matches.get_mut(row.bytes) {
            Some(known) => count(&mut self.detector, row, &self.place, known, &mut taken),
            None => {
                let (mut matches, is_remembered) = self.matches_of(row);
                let counted = count(&mut self.detector, row, &self.place, &mut matches, &mut taken);
                if is_remembered {
                    self.remembered += size_of_kind(row.bytes, &matches);
                    self.matches.insert(row.bytes.into(), matches);
                }
                counted
            }
        };
        self.note(taken.full);
        if let Err(foreign) = counted {
            self.failed.get_or_insert(foreign);
        }
    }

    fn note(&mut self, full: BTreeMap<String, FullRule>) {
        for (rule, more) in full {
            self.full.entry(rule).or_default().add(more);
        }
    }

    /// What rules passed over, because they know as much as they may.
    pub(crate) fn full(&self) -> &BTreeMap<String, FullRule> {
        &self.full
    }

    /// Everything before this time has been taken, in milliseconds since 1970.
    pub(crate) fn pass(&mut self, until_ms: i64) {
        self.pane = i64::MIN;
        self.tick(until_ms);
    }

    /// What the rules have said since the last call: what is sent, and what shadow rules would say.
    pub(crate) fn told(&mut self) -> (Vec<Alert<'static>>, Vec<Alert<'static>>) {
        (std::mem::take(&mut self.told), std::mem::take(&mut self.shadow))
    }

    /// Why rows were passed over; none if all were taken.
    pub(crate) fn failed(&self) -> Option<ForeignLane> {
        self.failed
    }

    /// What rules count of a row, and whether that is worth remembering.
    fn matches_of(&self, row: &Row<'_>) -> (Matches, bool) {
        let event = columns::event(&self.names, row.texts());
        let signal = |at: usize| {
            let rule = self.index.rules().get(at)?;
            let seen = rule.observe(&event, 0)?;
            let pane_ms = rule.trigger().and_then(Trigger::pane_ms).unwrap_or(self.pane_ms);
            Some((pane_ms, SignalSum::new(rule, &seen, 0, &event).signal()))
        };
        // What a counter says is hardly ever the same twice.
        let has_room = self.matches.len() < REMEMBERED && self.remembered < REMEMBERED_BYTES;
        let is_remembered = has_room && event.extra.get(COUNTER).is_empty();
        (self.index.matching_indexes(&event).filter_map(signal).collect(), is_remembered)
    }

    fn tick(&mut self, until_ms: i64) {
        match self.detector.take(&SignalBatch { lane: 0, watermark: Millis(until_ms), signals: Vec::new() }) {
            Ok(taken) => {
                self.note(taken.full);
                for Finding { alert, shadow } in taken.findings {
                    if shadow { self.shadow.push(alert) } else { self.told.push(alert) }
                }
            }
            Err(foreign) => drop(self.failed.get_or_insert(foreign)),
        }
    }
}

/// Tells the detector what a row adds to its pane, as `process` does with a transaction: the lane says no time, others
/// may add to the pane as well. Signals are used again, so a row makes no allocation.
fn count(
    detector: &mut Detector,
    row: &Row<'_>,
    place: &str,
    matches: &mut Matches,
    taken: &mut BatchResult,
) -> Result<(), ForeignLane> {
    for (pane_ms, signal) in matches {
        signal.pane = Millis(rules::pane_start(row.pane, *pane_ms));
        (signal.count, signal.late) = (row.count, row.late);
        let sample = signal.sample.to_mut();
        sample.clear();
        sample.push_str(place);
        detector.count((row.first >> 48) as u16, std::slice::from_ref(signal), taken)?;
    }
    Ok(())
}

/// What a kind of events takes in memory while its matches are remembered, in bytes, about.
fn size_of_kind(texts: &[u8], matches: &Matches) -> usize {
    let of_signal = |signal: &Signal<'_>| {
        let attributes =
            signal.attributes.0.iter().map(|(name, value)| name.len() + value.len() + size_of::<[String; 2]>());
        // The place of an event stands in its sample.
        signal.rule.len() + signal.rule_version.len() + signal.key.len() + 64 + attributes.sum::<usize>()
    };
    let signals: usize = matches.iter().map(|(_, signal)| of_signal(signal)).sum();
    size_of::<(Box<[u8]>, Matches)>() + texts.len() + size_of_val(&**matches) + signals
}

/// The largest number that divides both.
fn divisor(left: i64, right: i64) -> i64 {
    if right == 0 { left } else { divisor(right, left % right) }
}

#[cfg(test)]
mod tests {
    use rules::{EventPattern, Per, When};

    use super::*;

    /// A full minute of November 2026.
    const FROM_MS: i64 = 1_795_428_000_000;

    #[test]
    fn kinds_of_events_are_remembered_up_to_so_many_bytes_and_count_beyond_them() {
        let trigger = Trigger::Count { count: 3, per: Per::All, within_ms: 60_000, pane_ms: 6_000, quiet_for_ms: 0 };
        let rule = Rule::new("busy", "growth", When::new(EventPattern::parse("visit"), []), Some(trigger));
        let mut engine = Engine::new(&[rule], Expectations::default(), 1, FROM_MS);
        let take = |engine: &mut Engine, text: &[u8; 6]| {
            let texts = text.repeat(64);
            engine.take(&Row { pane: FROM_MS, count: 1, late: 0, first: 7, bytes: &texts });
            (engine.matches.len(), engine.remembered)
        };
        let (kinds, first) = take(&mut engine, b"\x05click");
        assert!(kinds == 1 && first > 6 * 64 + size_of::<Signal<'_>>(), "{first} bytes");
        assert_eq!(take(&mut engine, b"\x05click"), (1, first));
        assert_eq!(take(&mut engine, b"\x05other").0, 2);
        engine.remembered = REMEMBERED_BYTES;
        engine.matches.clear();
        assert_eq!(take(&mut engine, b"\x05click"), (0, REMEMBERED_BYTES));
        engine.pass(FROM_MS + 60_000);
        assert_eq!(engine.told().0.len(), 1, "three clicks");
    }

    #[test]
    fn rows_of_a_lane_that_there_is_not_are_said_and_not_passed_over() {
        let trigger = Trigger::Count { count: 1, per: Per::All, within_ms: 60_000, pane_ms: 6_000, quiet_for_ms: 0 };
        let rule = Rule::new("busy", "growth", When::new(EventPattern::parse("visit"), []), Some(trigger));
        let mut engine = Engine::new(&[rule], Expectations::default(), 2, FROM_MS);
        // The same text for each column that is asked for, behind its length.
        let texts = b"\x05click".repeat(64);
        let row = |lane: u64| Row { pane: FROM_MS, count: 3, late: 0, first: lane << 48 | 7, bytes: &texts };
        engine.take(&row(1));
        engine.pass(FROM_MS + 60_000);
        assert_eq!(engine.failed(), None);
        assert_eq!(engine.told().0.len(), 1);
        engine.take(&row(2));
        engine.pass(FROM_MS + 120_000);
        let why = engine.failed().expect("a lane beyond the last").to_string();
        assert!(why.contains("lane 2") && why.contains("2 lanes"), "{why}");
    }
}
