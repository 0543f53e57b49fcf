//! All rules, and which of them an event meets.

mod lookup;

use event::{Counted, EventType, LinkEvent, Outcome};

use crate::{Rule, Trigger};
use lookup::Lookup;

/// The types that the index tells apart, in its order.
const TYPES: [EventType; 8] = [
    EventType::Unknown,
    EventType::Click,
    EventType::QrScan,
    EventType::Error,
    EventType::Threshold,
    EventType::Lifecycle,
    EventType::Lead,
    EventType::Sale,
];

/// What became of one event at one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// Whether the event matches.
    pub matched: bool,
    /// Why, in words.
    pub why: String,
}

/// All rules, indexed by the type of event and by the values that they ask for.
#[derive(Debug, Clone, Default)]
pub struct RuleIndex {
    rules: Vec<Rule>,
    /// Per type of [`TYPES`]: the rules that can match it.
    by_type: [Lookup; TYPES.len()],
    /// Some rule counts bots and internal traffic as well.
    of_all_traffic: bool,
}

impl RuleIndex {
    /// Indexes the rules, in the order in which matches are given.
    pub fn new(rules: Vec<Rule>) -> Self {
        let by_type = TYPES.map(|r#type| {
            let candidates = rules.iter().enumerate().filter(|(_, rule)| rule.when().may_match(r#type));
            Lookup::new(&rules, &candidates.map(|(index, _)| index).collect::<Vec<_>>())
        });
        let of_all_traffic = rules.iter().any(counts_all_traffic);
        Self { rules, by_type, of_all_traffic }
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of that name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name() == name)
    }

    /// The rules that an event meets, in their order.
    pub fn matches<'s>(&'s self, event: &'s LinkEvent<'_>) -> impl Iterator<Item = &'s Rule> {
        self.matching_indexes(event).filter_map(|index| self.rules.get(index))
    }

    /// As [`RuleIndex::matches`], by position in [`RuleIndex::rules`]: for callers that keep a count per rule.
    pub fn matching_indexes<'s>(&'s self, event: &'s LinkEvent<'_>) -> impl Iterator<Item = usize> + 's {
        let candidates = match TYPES.iter().position(|r#type| *r#type == event.r#type) {
            Some(slot) if excluded(event).is_none() => self.by_type[slot].candidates(event),
            Some(slot) if self.of_all_traffic && event.outcome == Outcome::Event => {
                let mut candidates = self.by_type[slot].candidates(event);
                candidates.retain(|index| self.rules.get(*index).is_some_and(counts_all_traffic));
                candidates
            }
            _ => Vec::new(),
        };
        candidates.into_iter().filter(|index| self.rules[*index].when().matches(event))
    }

    /// The verdict of every rule on an event, with its reason.
    pub fn explain(&self, event: &LinkEvent<'_>) -> Vec<Verdict<'_>> {
        let excluded = excluded(event);
        let exempt = |rule: &Rule| event.outcome == Outcome::Event && counts_all_traffic(rule);
        let excluded = |rule: &Rule| excluded.clone().filter(|_| !exempt(rule));
        let verdict = |rule| match excluded(rule).or_else(|| Rule::when(rule).mismatch(event)) {
            Some(why) => Verdict { rule, matched: false, why },
            None => Verdict { rule, matched: true, why: matched_words(rule, event) },
        };
        self.rules.iter().map(verdict).collect()
    }
}

fn counts_all_traffic(rule: &Rule) -> bool {
    rule.trigger().is_some_and(Trigger::is_of_all_traffic)
}

/// Why no rule can match this event; none if rules may.
fn excluded(event: &LinkEvent<'_>) -> Option<String> {
    let by = || if event.counted_by.is_empty() { String::new() } else { format!(" (decided by {})", event.counted_by) };
    match (event.outcome, event.counted) {
        (Outcome::Duplicate, _) => Some("a duplicate: its first delivery met the rules".to_owned()),
        (Outcome::DeadLetter, _) => Some("a dead letter: it was not decoded".to_owned()),
        // A lead or a sale is one whoever told of it: often a server, whose user agent says nothing of the buyer.
        (Outcome::Event, _) if event.r#type.is_conversion() => None,
        (Outcome::Event, Counted::Bot) => Some(format!("counts as bot{}: bots meet no rule", by())),
        (Outcome::Event, Counted::Internal) => {
            Some(format!("counts as internal{}: internal traffic meets no rule", by()))
        }
        (Outcome::Event, Counted::Human) => None,
    }
}

fn matched_words(rule: &Rule, event: &LinkEvent<'_>) -> String {
    let mut why = format!("all conditions hold: {}", rule.when());
    match rule.per() {
        Some(per) => match per.key(event) {
            Some(key) => why.push_str(&format!("; counts for {} {key:?}", per.name())),
            None => why.push_str(&format!("; not counted: the event names no {}", per.name())),
        },
        None => match rule.trigger() {
            None => why.push_str("; the rule has no alert"),
            Some(Trigger::FirstSeen(first)) => match first.of.value(event) {
                Some(value) => why.push_str(&format!("; it looks whether {} {value:?} is new", first.of.name())),
                None => why.push_str(&format!("; not looked at: the event names no {}", first.of.name())),
            },
            Some(_) => {}
        },
    }
    if event.test {
        why.push_str("; test data: a message goes to the capture sink");
    }
    why
}
