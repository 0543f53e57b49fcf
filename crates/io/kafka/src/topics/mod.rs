//! The topics: their names, and their creation and check at start.

mod error;
mod plan;
mod vanished;

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use runtime::disposal::Aside;

use self::plan::Rule;
use crate::cluster::{ClientError, Cluster, Quiet, Voice};
use crate::lane::pause;
use crate::positions;
use crate::rights::{self, Tried};

pub use error::TopicsError;
pub use plan::Plan;

/// A topic of the pipeline, `hookline.<name>.v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The elements as they were received, one partition a lane.
    Raw,
    /// One event per raw record, and the cuts that end blocks; one partition a lane.
    Events,
    /// The changelog of the dedupe window; one partition a lane.
    Seen,
    /// Counts per rule, key and pane.
    Signals,
    /// What rules raised.
    Alerts,
    /// Snapshots of the detector's panes.
    DetectorState,
    /// Planned bundles, attempts and outcomes.
    Deliveries,
    /// What could not be processed, as it was received.
    DeadLetters,
    /// The catalogue of links.
    Links,
    /// The salts of the visitor hash.
    Salts,
    /// The identity of this pipeline; pauses, silences, acknowledgements.
    Control,
}

impl Topic {
    /// All topics.
    pub const ALL: [Topic; 11] = [
        Topic::Raw,
        Topic::Events,
        Topic::Seen,
        Topic::Signals,
        Topic::Alerts,
        Topic::DetectorState,
        Topic::Deliveries,
        Topic::DeadLetters,
        Topic::Links,
        Topic::Salts,
        Topic::Control,
    ];

    /// The topic's name on the cluster.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Raw => "hookline.raw.v1",
            Topic::Events => "hookline.events.v1",
            Topic::Seen => "hookline.seen.v1",
            Topic::Signals => "hookline.signals.v1",
            Topic::Alerts => "hookline.alerts.v1",
            Topic::DetectorState => "hookline.detector-state.v1",
            Topic::Deliveries => "hookline.deliveries.v1",
            Topic::DeadLetters => "hookline.dead-letters.v1",
            Topic::Links => "hookline.links.v1",
            Topic::Salts => "hookline.salts.v1",
            Topic::Control => "hookline.control.v1",
        }
    }

    /// The topic of a name on the cluster.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// The topic's name in metrics: without what is the same for all.
    #[must_use]
    pub fn label(self) -> &'static str {
        let name = self.name();
        name.strip_prefix("hookline.").and_then(|name| name.strip_suffix(".v1")).unwrap_or(name)
    }

    /// Whether every pipeline of this version has had it since its first start and keeps something in it, so that an empty one in its place
    /// would hide a loss. A topic that comes with a later version is not there yet when that version starts. Lost salts lose no event:
    /// at most a visitor of one of the last days counts as two.
    #[must_use]
    pub const fn holds_something(self) -> bool {
        !matches!(self, Topic::Links | Topic::Salts)
    }

    /// Whether its offsets are those of the lanes: on every row, in every block's token, in every mark of the window.
    #[must_use]
    pub const fn counts_for_rows(self) -> bool {
        matches!(self, Topic::Raw | Topic::Events | Topic::Seen | Topic::Control)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A topic that [`ensure`] created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Which topic.
    pub topic: Topic,
    /// Its number of partitions.
    pub partitions: u16,
}

/// Creates the topics that are missing, checks those that exist, and waits until each partition has a leader. Where a pipeline was started
/// before, a topic that is missing has vanished, and is not created.
///
/// Several services may do this at once. Blocking: call it from a thread of its own.
///
/// # Errors
/// When Kafka cannot be reached in time, refuses, or has topics that contradict the plan.
pub fn ensure(cluster: &Cluster, plan: &Plan) -> Result<Vec<Created>, TopicsError> {
    let asked = Asked::open(cluster, plan.patience)?;
    let present = asked.partitions()?;
    let mut missing = vanished::missing(&present);
    if !missing.is_empty() {
        vanished::refuse(cluster, &asked, &present)?;
        missing = vanished::missing(&asked.partitions()?);
    }
    let cluster = asked;
    let created = create(&cluster, plan, &missing)?;
    await_leaders(&cluster, plan)?;
    check_settings(&cluster, plan)?;
    Ok(created)
}

/// What is asked for where settings are.
const SETTINGS: &str = "the settings of the topics";

/// The cluster while it is asked, at most until `patience` has passed.
struct Asked<'a> {
    cluster: &'a Cluster,
    admin: Aside<AdminClient<Quiet>>,
    brokers: &'a str,
    patience: Duration,
    since: Instant,
}

impl<'a> Asked<'a> {
    fn open(cluster: &'a Cluster, patience: Duration) -> Result<Self, TopicsError> {
        let role = "topics";
        let admin: AdminClient<Quiet> = cluster
            .config(role, &[], &[])?
            .create_with_context(Quiet(Voice::new(role)))
            .map_err(|source| ClientError::refused(role, source))?;
        let admin = Aside::new("the client that asks for topics", admin);
        Ok(Self { cluster, admin, brokers: &cluster.brokers, patience, since: Instant::now() })
    }

    /// The topics of the pipeline that are there.
    fn present(&self) -> Result<Vec<Topic>, TopicsError> {
        let there = self.partitions()?;
        Ok(Topic::ALL.into_iter().filter(|topic| there.contains_key(topic.name())).collect())
    }

    /// The topics there are: for each its partitions, and how many of them have a leader.
    fn partitions(&self) -> Result<HashMap<String, (usize, usize)>, TopicsError> {
        Ok(partitions(&self.ask("its topics", |admin, left| admin.inner().fetch_metadata(None, left))?))
    }

    /// Has the log say why no broker answers, such as a wrong password or a certificate that has expired: a client that
    /// administers keeps that to itself, and one that reads does not.
    fn tell_why(&self) {
        let Ok(client) = positions::asking(self.cluster, crate::groups::TOPICS, "read_committed") else { return };
        // The answer does not count, only what is said on the way.
        drop(client.fetch_metadata(None, Duration::from_secs(2)));
        for _ in 0..5 {
            drop(client.poll(Duration::from_millis(100)));
        }
    }

    fn left(&self) -> Duration {
        self.patience.saturating_sub(self.since.elapsed())
    }

    /// Asks until there is an answer; each try gets at most five seconds.
    fn ask<T>(
        &self,
        what: &'static str,
        mut ask: impl FnMut(&AdminClient<Quiet>, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, TopicsError> {
        let mut told = false;
        loop {
            match ask(&self.admin, self.left().clamp(Duration::from_millis(100), Duration::from_secs(5))) {
                Ok(answer) => return Ok(answer),
                // Asking again does not give a right.
                Err(error) if !rights::missing_by(&error, Tried::LookAtSettings).is_empty() => {
                    let lacks = rights::missing_by(&error, Tried::LookAtSettings);
                    return Err(TopicsError::Denied { what, lacks, source: Box::new(error) });
                }
                // The topics are there, and for so long no broker has given their settings: it answers so, without an
                // error, who may not see them.
                Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition))
                    if what == SETTINGS && self.left().is_zero() =>
                {
                    let source = KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed);
                    let lacks = rights::missing_by(&source, Tried::LookAtSettings);
                    return Err(TopicsError::Denied { what, lacks, source: Box::new(source) });
                }
                Err(error) if self.left().is_zero() => {
                    let brokers = self.brokers.to_owned();
                    let (patience, source) = (self.patience, Box::new(error));
                    return Err(TopicsError::Unreachable { brokers, what, patience, source });
                }
                Err(error) => {
                    tracing::debug!(what, %error, "Kafka did not answer; asking again");
                    if !std::mem::replace(&mut told, true) {
                        self.tell_why();
                    }
                    pause("an answer from the brokers", Duration::from_millis(100));
                }
            }
        }
    }
}

/// Creates one topic again that has vanished, empty: somebody knows what was in it and goes on without.
///
/// # Errors
/// As [`ensure`]; a topic whose offsets are on rows is refused.
pub fn recreate(cluster: &Cluster, plan: &Plan, topic: Topic) -> Result<Option<Created>, TopicsError> {
    if topic.counts_for_rows() {
        return Err(TopicsError::Vanished { topics: vec![topic], incarnation: None });
    }
    let asked = Asked::open(cluster, plan.patience)?;
    let missing = vanished::missing(&asked.partitions()?);
    let wanted: Vec<Topic> = missing.into_iter().filter(|missing| *missing == topic).collect();
    Ok(create(&asked, plan, &wanted)?.pop())
}

/// The topics of the pipeline that are there.
///
/// # Errors
/// When Kafka cannot be reached in time.
pub fn present(cluster: &Cluster, patience: Duration) -> Result<Vec<Topic>, TopicsError> {
    Asked::open(cluster, patience)?.present()
}

/// Deletes every topic of the pipeline with all that is in them, and waits until they are gone. Returns which there were.
///
/// # Errors
/// When Kafka cannot be reached in time or refuses; what is deleted by then stays so, and the same can be done again.
pub fn delete_all(cluster: &Cluster, patience: Duration) -> Result<Vec<Topic>, TopicsError> {
    let asked = Asked::open(cluster, patience)?;
    let topics = asked.present()?;
    // The identity goes last: as long as it is there, a service that starts meanwhile refuses.
    let (control, others): (Vec<Topic>, Vec<Topic>) = topics.iter().partition(|topic| **topic == Topic::Control);
    for part in [others, control] {
        let names: Vec<&str> = part.iter().map(|topic| topic.name()).collect();
        if names.is_empty() {
            continue;
        }
        let results = asked.ask("the deletion of topics", |admin, left| {
            let options = AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left));
            block_on(admin.delete_topics(&names, &options))
        })?;
        for (topic, result) in part.into_iter().zip(results) {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => return Err(TopicsError::NotDeleted { topic, code }),
            }
        }
    }
    while let Some(topic) = asked.present()?.first().copied() {
        if asked.left().is_zero() {
            return Err(TopicsError::NotDeleted { topic, code: RDKafkaErrorCode::RequestTimedOut });
        }
        pause("topics that are being deleted", Duration::from_millis(100));
    }
    Ok(topics)
}

fn create(cluster: &Asked<'_>, plan: &Plan, missing: &[Topic]) -> Result<Vec<Created>, TopicsError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let settings: Vec<_> = missing.iter().map(|topic| plan.settings(*topic)).collect();
    let wanted: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&settings)
        .map(|(topic, settings)| {
            let partitions = i32::from(plan.partitions(*topic));
            let new = NewTopic::new(topic.name(), partitions, TopicReplication::Fixed(i32::from(plan.replication)));
            settings.iter().fold(new, |new, setting| new.set(setting.name, &setting.value))
        })
        .collect();
    let results = cluster.ask("the creation of topics", |admin, left| {
        let options = AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left));
        block_on(admin.create_topics(&wanted, &options))
    })?;
    let mut created = Vec::new();
    for result in results {
        let (name, code) = match result {
            Ok(name) => (name, None),
            Err((name, code)) => (name, Some(code)),
        };
        let Some(topic) = missing.iter().copied().find(|topic| topic.name() == name) else { continue };
        match code {
            None => created.push(Created { topic, partitions: plan.partitions(topic) }),
            // Another service was faster; the check below holds it to the same plan.
            Some(RDKafkaErrorCode::TopicAlreadyExists) => {}
            Some(code) => {
                return Err(TopicsError::NotCreated {
                    topic,
                    partitions: plan.partitions(topic),
                    replication: plan.replication,
                    code,
                });
            }
        }
    }
    Ok(created)
}

/// Waits until every topic has its partitions and every partition a leader.
fn await_leaders(cluster: &Asked<'_>, plan: &Plan) -> Result<(), TopicsError> {
    loop {
        let present = cluster.partitions()?;
        let mut waiting = None;
        for topic in Topic::ALL {
            let wanted = plan.partitions(topic);
            match present.get(topic.name()) {
                // Created a moment ago and not yet known to the broker that answered.
                None => waiting = Some((topic, usize::from(wanted))),
                Some(&(found, _)) if found != 0 && found != usize::from(wanted) => {
                    return Err(TopicsError::Partitions { topic, found, wanted });
                }
                Some(&(found, led)) if found == 0 || led < found => {
                    waiting = Some((topic, usize::from(wanted) - led));
                }
                Some(_) => {}
            }
        }
        let Some((topic, without)) = waiting else { return Ok(()) };
        if cluster.left().is_zero() {
            return Err(TopicsError::NoLeader { topic, without, patience: cluster.patience });
        }
        pause("a new topic's leaders", Duration::from_millis(50));
    }
}

fn check_settings(cluster: &Asked<'_>, plan: &Plan) -> Result<(), TopicsError> {
    let resources = Topic::ALL.map(|topic| ResourceSpecifier::Topic(topic.name()));
    let mut told = false;
    let described = cluster.ask(SETTINGS, |admin, left| {
        let options = AdminOptions::new().request_timeout(Some(left));
        let described = block_on(admin.describe_configs(&resources, &options))?
            .into_iter()
            .map(|result| result.map_err(KafkaError::AdminOp))
            .collect::<Result<Vec<ConfigResource>, KafkaError>>()?;
        // A broker that does not know a new topic yet answers without an error and without its settings. That is no difference.
        match unknown_to_the_broker(plan, &described) {
            None => Ok(described),
            Some(topic) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%topic, "the broker that was asked does not know the settings of the topic yet; asking again");
                }
                Err(KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition))
            }
        }
    })?;
    for (topic, resource) in Topic::ALL.into_iter().zip(&described) {
        for setting in plan.settings(topic) {
            let found = resource.get(setting.name).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
            if setting.is_met_by(found) {
                continue;
            }
            if setting.rule == Rule::Advised {
                tracing::warn!(%topic, setting = setting.name, found, advised = setting.value, "a topic's setting differs from the configuration; left as it is");
                continue;
            }
            return Err(TopicsError::Setting {
                topic,
                setting: setting.name,
                found: found.to_owned(),
                wanted: setting.value,
            });
        }
    }
    Ok(())
}

/// A topic of which the answer has not one of the settings that it must have.
fn unknown_to_the_broker(plan: &Plan, described: &[ConfigResource]) -> Option<Topic> {
    let known = |resource: &ConfigResource, topic| {
        plan.settings(topic).iter().any(|setting| {
            resource.get(setting.name).is_some_and(|entry| entry.value.as_ref().is_some_and(|value| !value.is_empty()))
        })
    };
    let mut all = Topic::ALL.into_iter().enumerate();
    let unknown = all.find(|(place, topic)| described.get(*place).is_none_or(|resource| !known(resource, *topic)));
    unknown.map(|(_, topic)| topic)
}

/// For each topic, its partitions and how many of them have a leader.
fn partitions(metadata: &Metadata) -> HashMap<String, (usize, usize)> {
    let topics = metadata.topics().iter();
    topics
        .map(|topic| {
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            (topic.name().to_owned(), (topic.partitions().len(), led))
        })
        .collect()
}
