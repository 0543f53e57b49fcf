//! What `process` counts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use adapter::Unreadable;
use event::Outcome;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use runtime::{LaneMetrics, Telemetry};

use crate::Pipeline;

/// Label of sources and owners that the configuration does not know.
const OTHER: &str = "other";
/// Seconds between a first delivery and its duplicate: retries come after seconds, minutes, hours, days.
const DELAYS: [f64; 12] =
    [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0, 86_400.0, 172_800.0, 259_200.0];

pub(crate) struct ProcessMetrics {
    known: RwLock<Known>,
    other: SourceMetrics,
    families: Families,
    /// Alerts that shadow rules would have raised.
    pub(crate) shadow_alerts: IntCounterVec,
    naming_issues: IntCounterVec,
    /// Records whose received time was not believed.
    pub(crate) ingest_clock: IntCounter,
    /// Transactions in which this machine's clock was not believed.
    pub(crate) own_clock: IntCounter,
    pub(crate) lanes: LaneMetrics,
}

/// Sources and owners that have labels of their own.
#[derive(Default)]
struct Known {
    sources: HashMap<String, SourceMetrics>,
    owners: BTreeSet<String>,
}

/// What the counters of a source are made from.
struct Families {
    outcomes: IntCounterVec,
    unreadable: IntCounterVec,
    delays: HistogramVec,
}

impl Families {
    fn of(&self, source: &str) -> SourceMetrics {
        SourceMetrics {
            outcomes: [Outcome::Event, Outcome::Duplicate, Outcome::DeadLetter]
                .map(|outcome| self.outcomes.with_label_values(&[source, outcome.as_str()])),
            unreadable: Unreadable::ALL.map(|value| self.unreadable.with_label_values(&[source, value.name()])),
            duplicate_delay: self.delays.with_label_values(&[source]),
        }
    }
}

/// The counters of one source, looked up once so that nothing is formatted per event.
#[derive(Clone)]
pub(crate) struct SourceMetrics {
    outcomes: [IntCounter; 3],
    unreadable: [IntCounter; Unreadable::ALL.len()],
    pub(crate) duplicate_delay: Histogram,
}

impl SourceMetrics {
    pub(crate) fn outcome(&self, outcome: Outcome) -> &IntCounter {
        &self.outcomes[outcome as usize]
    }

    pub(crate) fn unreadable(&self, value: Unreadable) -> &IntCounter {
        &self.unreadable[value as usize]
    }
}

impl ProcessMetrics {
    pub(crate) fn new(telemetry: &Telemetry, pipeline: &Pipeline) -> Result<Self, prometheus::Error> {
        let outcomes = telemetry.metrics.counter(
            "outcomes_total",
            "Records of raw by what became of them",
            &["source", "outcome"],
        )?;
        let unreadable = telemetry.metrics.counter(
            "unreadable_values_total",
            "Values that a sender gave and that could not be read, by what they were to be; the event counts without them",
            &["source", "value"],
        )?;
        let delays = telemetry.metrics.histogram(
            "duplicate_delay_seconds",
            "Time between the first delivery of an event and a duplicate",
            &["source"],
            &DELAYS,
        )?;
        let clocks = telemetry.metrics.counter(
            "clock_disagreements_total",
            "Times that a clock was over five minutes off and was not believed: ingest's by records, process's by transactions",
            &["clock"],
        )?;
        let families = Families { outcomes, unreadable, delays };
        let shadow_alerts = telemetry.metrics.counter(
            "shadow_alerts_total",
            "Alerts that rules with shadow = true and each = true would have raised; those that count are in alerts_total",
            &["rule"],
        )?;
        let naming_issues = telemetry.metrics.counter(
            "naming_issues_total",
            "Events that break the naming standard, by the owner of their link and what is broken",
            &["owner", "issue"],
        )?;
        let this = Self {
            shadow_alerts,
            naming_issues,
            known: RwLock::default(),
            other: families.of(OTHER),
            families,
            ingest_clock: clocks.with_label_values(&["ingest"]),
            own_clock: clocks.with_label_values(&["process"]),
            lanes: telemetry.metrics.lanes().clone(),
        };
        this.know(pipeline);
        Ok(this)
    }

    /// Gives the sources and owners of a configuration labels of their own; those of one before it keep theirs.
    pub(crate) fn know(&self, pipeline: &Pipeline) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for source in pipeline.source_names().filter(|source| !known.sources.contains_key(*source)).collect::<Vec<_>>()
        {
            known.sources.insert(source.to_owned(), self.families.of(source));
        }
        known.owners.extend(pipeline.owners.iter().cloned());
    }

    /// The counter of breaks of the naming standard. A catalogue may name owners that the configuration does not know.
    pub(crate) fn naming_issues(&self, owner: &str, issue: &str) -> IntCounter {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let owner = if known.owners.contains(owner) { owner } else { OTHER };
        self.naming_issues.with_label_values(&[owner, issue])
    }

    pub(crate) fn source(&self, source: &str) -> SourceMetrics {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.sources.get(source).unwrap_or(&self.other).clone()
    }
}
