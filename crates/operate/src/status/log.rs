//! What Kafka says: how far each stage is, whether it moves, and what is switched.

use std::time::Duration;

use jiff::Timestamp;
use kafka::control::{self, Kind, Object, State};
use kafka::lane::first_committed;
use kafka::positions::{PositionError, Positions};
use kafka::topics::Plan;
use kafka::{Cluster, Topic};
use runtime::with_causes;

use crate::{GROUP, Installation, blocking};

/// What is told of when it is switched: a silence has its end, and a message that is acknowledged is as it should be.
const SWITCHED: [Kind; 3] = [Kind::Source, Kind::Rule, Kind::Destination];

/// How long Kafka may take for its first answer, and for each one after it.
const FIRST_ANSWER: Duration = Duration::from_secs(6);
/// How long Kafka may take for all of it.
const ALL: Duration = Duration::from_secs(30);
/// Partitions of a stage whose first unread record is looked at: those that are behind most.
const LOOKED_INTO: usize = 6;
/// A stage whose oldest unread record is older than this is looked at twice.
const LOOK_TWICE_MS: i64 = 5_000;
/// Between the two looks.
const BETWEEN: Duration = Duration::from_secs(3);

/// The stages that read a topic and commit how far they are, in the order in which an event passes them.
pub const STAGES: [(&str, Topic); 4] =
    [("process", Topic::Raw), ("report", Topic::Events), ("detect", Topic::Signals), ("notify", Topic::Alerts)];

/// What Kafka says.
#[derive(Debug, Clone)]
pub struct LogFacts {
    /// The life of the topics.
    pub incarnation: String,
    /// How many lanes there are.
    pub lanes: u16,
    /// Each of [`STAGES`].
    pub stages: Vec<StageFacts>,
    /// Each source, rule and destination that is switched: what is done with it, and in words by whom, why and until
    /// when.
    pub switched: Vec<(Object, State, String)>,
    /// Records of switches that this version cannot read.
    pub unreadable: Vec<String>,
}

/// How far a stage is.
#[derive(Debug, Clone)]
pub struct StageFacts {
    /// Its name.
    pub name: &'static str,
    /// What it reads.
    pub topic: Topic,
    /// Each partition, or why it says nothing.
    pub partitions: Vec<Result<PartitionFacts, String>>,
}

/// How far a stage is in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Which.
    pub partition: u16,
    /// The first offset that is kept.
    pub low: i64,
    /// One past the last one that can be read.
    pub end: i64,
    /// The committed position; `None` when there never was one.
    pub position: Option<i64>,
    /// The same, some seconds later; `None` when there was no second look.
    pub later: Option<i64>,
    /// When the first unread record was appended, in milliseconds since 1970; `None` when nothing waits or it was not
    /// looked at.
    pub oldest: Option<i64>,
}

impl PartitionFacts {
    /// The next offset to read.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.position.unwrap_or(0)
    }

    /// Records that wait; marks of transactions among them count too.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.end.saturating_sub(self.next().max(self.low)).try_into().unwrap_or(0)
    }

    /// Records that were deleted before the stage had read them.
    #[must_use]
    pub fn deleted_unread(&self) -> u64 {
        self.low.saturating_sub(self.next()).try_into().unwrap_or(0)
    }

    /// Whether it moved between two looks; `None` when there was one look.
    #[must_use]
    pub fn moves(&self) -> Option<bool> {
        self.later.map(|later| later > self.next())
    }
}

/// Asks Kafka; in words why not.
pub(super) async fn ask(installation: &Installation, now: i64) -> Result<LogFacts, String> {
    let (cluster, plan) = (installation.cluster.clone(), installation.plan.clone());
    let first = blocking(move || Ok(look(&cluster, &plan, now)));
    let mut facts = match tokio::time::timeout(ALL, first).await {
        Ok(Ok(facts)) => facts?,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("it did not answer all questions within {} s", ALL.as_secs())),
    };
    let old = |facts: &PartitionFacts| facts.oldest.is_some_and(|oldest| now - oldest > LOOK_TWICE_MS);
    if facts.stages.iter().flat_map(|stage| stage.partitions.iter().flatten()).any(old) {
        tokio::time::sleep(BETWEEN).await;
        let cluster = installation.cluster.clone();
        let again = facts.clone();
        // What the second look does not tell stays unknown.
        if let Ok(again) = blocking(move || Ok(look_again(&cluster, again))).await {
            facts = again;
        }
    }
    Ok(facts)
}

fn look(cluster: &Cluster, plan: &Plan, now: i64) -> Result<LogFacts, String> {
    let said = |error: &dyn std::error::Error| with_causes(error);
    let positions = Positions::open(cluster, GROUP, FIRST_ANSWER).map_err(|error| said(&error))?;
    positions.watermarks(Topic::Control, 0).map_err(|error| match &error {
        PositionError::Unknown { source, .. } => source.to_string(),
        _ => said(&error),
    })?;
    let control = control::read(cluster).map_err(|error| said(&error))?;
    let control = control
        .ok_or("it answers and holds no Hookline: the topic control has no identity; is it the right cluster?")?;
    let at = Timestamp::from_millisecond(now).unwrap_or_default();
    let (mut switched, mut unreadable) = (Vec::new(), Vec::new());
    for kind in SWITCHED {
        let log = control::read_log(cluster, kind).map_err(|error| said(&error))?;
        unreadable.extend(log.switches.unreadable().map(ToString::to_string));
        for (id, switch) in log.switches.iter().filter(|(_, switch)| switch.state_at(at) != State::Accept) {
            let until = switch.until.map(|until| format!(" until {}", until.strftime("%F %H:%MZ"))).unwrap_or_default();
            let words = format!("{until} by {}: {}", switch.who, switch.why);
            switched.push((Object::new(kind, id), switch.state, words));
        }
    }
    let plan = Plan { lanes: control.lanes, ..plan.clone() };
    let stages = STAGES.into_iter().map(|(name, topic)| stage(cluster, &plan, name, topic)).collect();
    Ok(LogFacts { switched, unreadable, incarnation: control.incarnation, lanes: control.lanes, stages })
}

fn stage(cluster: &Cluster, plan: &Plan, name: &'static str, topic: Topic) -> StageFacts {
    let all = 0..plan.partitions(topic);
    let mut partitions: Vec<Result<PartitionFacts, String>> =
        match Positions::open(cluster, &format!("hookline-{name}"), FIRST_ANSWER) {
            Ok(positions) => all.map(|partition| range(&positions, topic, partition)).collect(),
            Err(error) => all.map(|_| Err(with_causes(&error))).collect(),
        };
    let mut behind: Vec<&mut PartitionFacts> =
        partitions.iter_mut().flatten().filter(|facts| facts.waiting() > 0).collect();
    behind.sort_by_key(|facts| std::cmp::Reverse(facts.waiting()));
    for facts in behind.into_iter().take(LOOKED_INTO) {
        let found = first_committed(cluster, topic, facts.partition, facts.next(), |record| record.timestamp_ms());
        facts.oldest = found.ok().flatten();
    }
    StageFacts { name, topic, partitions }
}

fn range(positions: &Positions, topic: Topic, partition: u16) -> Result<PartitionFacts, String> {
    let range = match topic {
        Topic::Raw => positions.watermarks(topic, partition),
        _ => positions.stable(topic, partition),
    };
    let range = range.map_err(|error| with_causes(&error))?;
    let committed = positions.last_committed(topic, partition).map_err(|error| with_causes(&error))?;
    let position = committed.map(|committed| committed.next);
    Ok(PartitionFacts { partition, low: range.low, end: range.end, position, later: None, oldest: None })
}

/// Where those positions are now that have something old before them.
fn look_again(cluster: &Cluster, mut facts: LogFacts) -> LogFacts {
    for stage in &mut facts.stages {
        let Ok(positions) = Positions::open(cluster, &format!("hookline-{}", stage.name), FIRST_ANSWER) else {
            continue;
        };
        for facts in stage.partitions.iter_mut().flatten().filter(|facts| facts.oldest.is_some()) {
            if let Ok(committed) = positions.last_committed(stage.topic, facts.partition) {
                facts.later = Some(committed.map_or(0, |committed| committed.next));
            }
        }
    }
    facts
}
