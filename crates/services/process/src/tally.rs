//! What the records of a transaction became.

use std::collections::HashMap;

use adapter::Unreadable;
use event::{LinkEvent, Outcome};
use rules::RuleIndex;

use crate::Decided;
use crate::fuse::Blown;
use crate::metrics::ProcessMetrics;
use crate::record::RawRecord;

/// Counts of a transaction, published once it is committed: an aborted one is counted when it is repeated.
#[derive(Default)]
pub(crate) struct Tally {
    sources: HashMap<String, OfSource>,
    /// Breaks of the naming standard, by owner and issue.
    naming: HashMap<(String, String), u64>,
    /// Alerts that shadow rules would have raised, by the rule's position.
    pub(crate) shadow_alerts: HashMap<usize, u64>,
    /// Records whose received time was not believed.
    clocks_off: u64,
}

/// What the records of one source became.
#[derive(Default)]
struct OfSource {
    events: u64,
    duplicates: u64,
    dead_letters: u64,
    /// How long after the first delivery each duplicate came, in seconds.
    delays: Vec<f64>,
    /// Dead letters by reason, to find out what is wrong.
    dead: HashMap<String, u64>,
    /// Values that could not be read.
    unreadable: HashMap<Unreadable, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, raw: &RawRecord<'_>, decided: &Decided<'_>) {
        self.clocks_off += u64::from(raw.disbelieved.is_some());
        let LinkEvent { source, outcome, duplicate_delay, .. } = &*decided.event;
        // Sources are few: the name is copied when its first record comes.
        let of = match self.sources.get_mut(source.as_ref()) {
            Some(of) => of,
            None => self.sources.entry(source.to_string()).or_default(),
        };
        match outcome {
            Outcome::Event => of.events += 1,
            Outcome::Duplicate => {
                of.duplicates += 1;
                of.delays.push(*duplicate_delay as f64 / 1_000.0);
            }
            Outcome::DeadLetter => of.dead_letters += 1,
        }
        for value in &decided.unreadable {
            *of.unreadable.entry(*value).or_default() += 1;
        }
        if let Some(dead) = &decided.dead_letter {
            *of.dead.entry(dead.reason.clone()).or_default() += 1;
        }
        for issue in decided.event.naming_issues.iter().filter(|_| *outcome == Outcome::Event && !decided.event.test) {
            *self.naming.entry((decided.event.owner.to_string(), issue.to_string())).or_default() += 1;
        }
    }

    /// Why the lane stops at `offset`, and the ways on. `last` is the last offset that `raw` is known to hold.
    pub(crate) fn fuse_message(&self, lane: u16, offset: u64, blown: Blown, last: i64) -> String {
        let dead = self.sources.iter().flat_map(|(source, of)| of.dead.iter().map(move |dead| (source, dead)));
        let most = dead.max_by_key(|(_, (_, count))| **count);
        let most = most.map_or_else(String::new, |(source, (reason, count))| {
            let source = if source.is_empty() { "unknown" } else { source };
            format!(", {count} since the last commit for the reason {reason} of source {source}")
        });
        format!(
            "the fuse of lane {lane} has blown at raw offset {offset}: {blown}{most}; nothing since the last commit was written. \
             Mend what is wrong (the adapter, the map, the configuration) and restart; or let the dead letters pass, such as all \
             that raw holds now: restart with --past-fuse {lane}@{last}"
        )
    }

    pub(crate) fn publish(self, metrics: &ProcessMetrics, rules: &RuleIndex) {
        metrics.ingest_clock.inc_by(self.clocks_off);
        for (source, of) in self.sources {
            let metrics = metrics.source(&source);
            for (outcome, count) in [
                (Outcome::Event, of.events),
                (Outcome::Duplicate, of.duplicates),
                (Outcome::DeadLetter, of.dead_letters),
            ] {
                metrics.outcome(outcome).inc_by(count);
            }
            for (value, count) in of.unreadable {
                metrics.unreadable(value).inc_by(count);
            }
            for seconds in of.delays {
                metrics.duplicate_delay.observe(seconds);
            }
        }
        for ((owner, issue), count) in self.naming {
            metrics.naming_issues(&owner, &issue).inc_by(count);
        }
        for (index, count) in self.shadow_alerts {
            metrics.shadow_alerts.with_label_values(&[rules.rules()[index].name()]).inc_by(count);
        }
    }
}
