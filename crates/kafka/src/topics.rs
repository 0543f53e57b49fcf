//! The topics: their names, and their creation and check at start.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use crate::cluster::{ClientError, Cluster, Quiet, Voice};
use crate::lane::pause;

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
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The largest batch that a topic takes, in bytes as compressed by the producer; producers of this crate send at most
/// 2,000,000. A body is at most 256 KiB and an event or a changelog entry made of it far below a MiB.
const MAX_MESSAGE_BYTES: i64 = 2 * 1024 * 1024;

/// How the topics shall be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Partitions of `raw`, `events` and `seen`. Never changed in place.
    pub lanes: u16,
    /// Partitions of `signals` and `detector-state`. Never changed in place.
    pub signal_partitions: u16,
    /// Partitions of `alerts`.
    pub alert_partitions: u16,
    /// Partitions of `deliveries`.
    pub delivery_partitions: u16,
    /// Partitions of `dead-letters`.
    pub dead_letter_partitions: u16,
    /// Copies of each partition; with 3 or more, 2 must have a record before it is acknowledged.
    pub replication: u16,
    /// How long `raw` is kept.
    pub raw_retention: Duration,
    /// How long `events` is kept.
    pub events_retention: Duration,
    /// The dedupe window; `seen` is kept six hours longer.
    pub window: Duration,
    /// How long to wait for brokers, creation and leaders.
    pub patience: Duration,
}

impl Plan {
    /// The retentions of the design: 7 days of `raw` and `events`, a window of 7 days.
    #[must_use]
    pub fn new(lanes: u16, replication: u16) -> Self {
        Self {
            lanes,
            signal_partitions: lanes.clamp(1, 8),
            alert_partitions: 1,
            delivery_partitions: 1,
            dead_letter_partitions: 1,
            replication,
            raw_retention: 7 * DAY,
            events_retention: 7 * DAY,
            window: 7 * DAY,
            patience: Duration::from_secs(30),
        }
    }

    /// The number of partitions of a topic under this plan.
    #[must_use]
    pub fn partitions(&self, topic: Topic) -> u16 {
        match topic {
            Topic::Raw | Topic::Events | Topic::Seen => self.lanes,
            Topic::Signals | Topic::DetectorState => self.signal_partitions,
            Topic::Alerts => self.alert_partitions,
            Topic::Deliveries => self.delivery_partitions,
            Topic::DeadLetters => self.dead_letter_partitions,
            Topic::Links | Topic::Salts | Topic::Control => 1,
        }
    }

    /// `None`: compacted, kept for good.
    fn retention(&self, topic: Topic) -> Option<Duration> {
        match topic {
            Topic::Raw => Some(self.raw_retention),
            Topic::Events => Some(self.events_retention),
            Topic::Seen => Some(self.window + 6 * HOUR),
            Topic::Signals => Some(2 * DAY),
            Topic::Alerts | Topic::Deliveries | Topic::DeadLetters => Some(30 * DAY),
            Topic::Salts => Some(7 * DAY),
            Topic::DetectorState | Topic::Links | Topic::Control => None,
        }
    }

    fn settings(&self, topic: Topic) -> Vec<Setting> {
        let min_insync = if self.replication >= 3 { 2 } else { 1 };
        let mut settings = vec![
            Setting::exact("unclean.leader.election.enable", "false"),
            Setting::at_least("min.insync.replicas", min_insync),
            Setting::at_least("max.message.bytes", MAX_MESSAGE_BYTES),
            Setting::advised("compression.type", "producer"),
        ];
        if topic == Topic::Raw {
            settings.push(Setting::exact("message.timestamp.type", "LogAppendTime"));
        }
        match self.retention(topic) {
            Some(retention) => {
                // A closed segment is what retention deletes: an eighth of the retention, so that what is due is deleted in time
                // (personal data rests in raw and dead-letters), and an hour at most for the first day of a quiet topic.
                let segment = (retention / 8).clamp(HOUR / 6, 12 * HOUR);
                let seen = topic == Topic::Seen;
                let millis = millis(retention);
                settings.extend([
                    Setting::exact("cleanup.policy", "delete"),
                    // A shorter `seen` would forget keys inside the window.
                    if seen {
                        Setting::at_least("retention.ms", millis)
                    } else {
                        Setting::advised("retention.ms", millis)
                    },
                    if seen {
                        Setting::exact("retention.bytes", "-1")
                    } else {
                        Setting::advised("retention.bytes", "-1")
                    },
                    Setting::advised("segment.ms", self::millis(segment)),
                    Setting::advised("segment.bytes", 256 * 1024 * 1024),
                ]);
            }
            None => settings.extend([
                Setting::exact("cleanup.policy", "compact"),
                Setting::advised("segment.ms", millis(6 * HOUR)),
                Setting::advised("segment.bytes", 64 * 1024 * 1024),
                Setting::advised("min.cleanable.dirty.ratio", "0.2"),
            ]),
        }
        settings
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// One configuration entry of a topic, and what it means when an existing topic differs.
#[derive(Debug)]
struct Setting {
    name: &'static str,
    value: String,
    rule: Rule,
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// Delivery rests on this very value: another refuses to start.
    Exact,
    /// Delivery rests on at least this number; −1 stands for no limit.
    AtLeast,
    /// The operator may know better: a difference is logged.
    Advised,
}

impl Setting {
    fn exact(name: &'static str, value: impl ToString) -> Self {
        Self { name, value: value.to_string(), rule: Rule::Exact }
    }
    fn at_least(name: &'static str, value: i64) -> Self {
        Self { name, value: value.to_string(), rule: Rule::AtLeast }
    }
    fn advised(name: &'static str, value: impl ToString) -> Self {
        Self { name, value: value.to_string(), rule: Rule::Advised }
    }

    fn is_met_by(&self, found: &str) -> bool {
        match self.rule {
            Rule::Exact | Rule::Advised => found == self.value,
            Rule::AtLeast => match (found.parse::<i64>(), self.value.parse::<i64>()) {
                (Ok(-1), _) => true,
                (Ok(found), Ok(wanted)) => found >= wanted,
                _ => false,
            },
        }
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

/// The topics are not, and could not be made, as the plan says.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No broker answered.
    #[error(
        "no answer from Kafka at {brokers} within {patience:?} while asking for {what}: {source}; is it running, and is [kafka] brokers right?"
    )]
    Unreachable {
        /// The addresses tried.
        brokers: String,
        /// What was asked.
        what: &'static str,
        /// How long.
        patience: Duration,
        /// The client's last words.
        source: KafkaError,
    },
    /// The cluster refused to create a topic.
    #[error(
        "{topic} could not be created with {partitions} partitions and {replication} replicas: {code:?}; with fewer brokers than replicas set [kafka] replication lower, otherwise check this client's right to create topics"
    )]
    NotCreated {
        /// Which topic.
        topic: Topic,
        /// Planned partitions.
        partitions: u16,
        /// Planned replicas.
        replication: u16,
        /// Kafka's code.
        code: RDKafkaErrorCode,
    },
    /// An existing topic has another number of partitions.
    #[error(
        "{topic} has {found} partitions, the configuration wants {wanted}; the number never changes in place: set it to {found} again, or start on a new cluster"
    )]
    Partitions {
        /// Which topic.
        topic: Topic,
        /// What exists.
        found: usize,
        /// What the plan says.
        wanted: u16,
    },
    /// A setting of an existing topic breaks the delivery contract.
    #[error(
        "{topic} has {setting}={found}, delivery needs {wanted}; set it: kafka-configs.sh --bootstrap-server … --alter --topic {topic} --add-config {setting}={wanted}"
    )]
    Setting {
        /// Which topic.
        topic: Topic,
        /// Kafka's name of the setting.
        setting: &'static str,
        /// What exists.
        found: String,
        /// What the plan says.
        wanted: String,
    },
    /// Partitions have no leader.
    #[error("{topic} still has {without} partitions without a leader after {patience:?}; are enough brokers up?")]
    NoLeader {
        /// Which topic.
        topic: Topic,
        /// How many.
        without: usize,
        /// How long was waited.
        patience: Duration,
    },
}

/// Creates the topics that are missing, checks those that exist, and waits until each partition has a leader.
///
/// Several services may do this at once. Blocking: call it from a thread of its own.
///
/// # Errors
/// When Kafka cannot be reached in time, refuses, or has topics that contradict the plan.
pub fn ensure(cluster: &Cluster, plan: &Plan) -> Result<Vec<Created>, TopicsError> {
    let role = "topics";
    let admin: AdminClient<Quiet> = cluster
        .config(role, &[], &[])?
        .create_with_context(Quiet(Voice::new(role)))
        .map_err(|source| ClientError::Refused { role: role.into(), source })?;
    let deadline = Instant::now() + plan.patience;
    let unreachable = |what: &'static str| {
        move |source| TopicsError::Unreachable {
            brokers: cluster.brokers.clone(),
            what,
            patience: plan.patience,
            source,
        }
    };

    let present =
        names(&retried(deadline, |left| admin.inner().fetch_metadata(None, left)).map_err(unreachable("its topics"))?);
    let missing: Vec<Topic> = Topic::ALL.into_iter().filter(|topic| !present.contains_key(topic.name())).collect();
    let created = create(&admin, plan, &missing, deadline).map_err(|refusal| match refusal {
        Refusal::Unreachable(source) => unreachable("the creation of topics")(source),
        Refusal::Topic(error) => error,
    })?;
    await_leaders(admin.inner(), plan, deadline).map_err(|refusal| match refusal {
        Refusal::Unreachable(source) => unreachable("the leaders of the topics")(source),
        Refusal::Topic(error) => error,
    })?;
    check_settings(&admin, plan, deadline).map_err(|refusal| match refusal {
        Refusal::Unreachable(source) => unreachable("the settings of the topics")(source),
        Refusal::Topic(error) => error,
    })?;
    Ok(created)
}

enum Refusal {
    Unreachable(KafkaError),
    Topic(TopicsError),
}

fn create(
    admin: &AdminClient<Quiet>,
    plan: &Plan,
    missing: &[Topic],
    deadline: Instant,
) -> Result<Vec<Created>, Refusal> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let settings: Vec<Vec<Setting>> = missing.iter().map(|topic| plan.settings(*topic)).collect();
    let wanted: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&settings)
        .map(|(topic, settings)| {
            let partitions = i32::from(plan.partitions(*topic));
            let new = NewTopic::new(topic.name(), partitions, TopicReplication::Fixed(i32::from(plan.replication)));
            settings.iter().fold(new, |new, setting| new.set(setting.name, &setting.value))
        })
        .collect();
    let results = retried(deadline, |left| {
        let options = AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left));
        block_on(admin.create_topics(&wanted, &options))
    })
    .map_err(Refusal::Unreachable)?;
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
                return Err(Refusal::Topic(TopicsError::NotCreated {
                    topic,
                    partitions: plan.partitions(topic),
                    replication: plan.replication,
                    code,
                }));
            }
        }
    }
    Ok(created)
}

/// Waits until every topic has its partitions and every partition a leader.
fn await_leaders(client: &Client<Quiet>, plan: &Plan, deadline: Instant) -> Result<(), Refusal> {
    loop {
        let metadata = retried(deadline, |left| client.fetch_metadata(None, left)).map_err(Refusal::Unreachable)?;
        let present = names(&metadata);
        let mut waiting = None;
        for topic in Topic::ALL {
            let wanted = plan.partitions(topic);
            match present.get(topic.name()) {
                // Created a moment ago and not yet known to the broker that answered.
                None => waiting = Some((topic, usize::from(wanted))),
                Some(&(found, _)) if found != 0 && found != usize::from(wanted) => {
                    return Err(Refusal::Topic(TopicsError::Partitions { topic, found, wanted }));
                }
                Some(&(found, led)) if found == 0 || led < found => {
                    waiting = Some((topic, usize::from(wanted) - led));
                }
                Some(_) => {}
            }
        }
        let Some((topic, without)) = waiting else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(Refusal::Topic(TopicsError::NoLeader { topic, without, patience: plan.patience }));
        }
        pause("a new topic's leaders", Duration::from_millis(50));
    }
}

fn check_settings(admin: &AdminClient<Quiet>, plan: &Plan, deadline: Instant) -> Result<(), Refusal> {
    let resources = Topic::ALL.map(|topic| ResourceSpecifier::Topic(topic.name()));
    let described = retried(deadline, |left| {
        let options = AdminOptions::new().request_timeout(Some(left));
        block_on(admin.describe_configs(&resources, &options))?
            .into_iter()
            .map(|result| result.map_err(KafkaError::AdminOp))
            .collect::<Result<Vec<ConfigResource>, KafkaError>>()
    })
    .map_err(Refusal::Unreachable)?;
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
            return Err(Refusal::Topic(TopicsError::Setting {
                topic,
                setting: setting.name,
                found: found.to_owned(),
                wanted: setting.value,
            }));
        }
    }
    Ok(())
}

/// For each topic, its partitions and how many of them have a leader.
fn names(metadata: &Metadata) -> HashMap<String, (usize, usize)> {
    let topics = metadata.topics().iter();
    topics
        .map(|topic| {
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            (topic.name().to_owned(), (topic.partitions().len(), led))
        })
        .collect()
}

/// Tries until it succeeds or the deadline has passed; each try gets at most five seconds.
fn retried<T>(deadline: Instant, mut ask: impl FnMut(Duration) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match ask(left.clamp(Duration::from_millis(100), Duration::from_secs(5))) {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "Kafka did not answer; asking again");
                pause("an answer from the brokers", Duration::from_millis(100));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(plan: &Plan, topic: Topic, name: &str) -> String {
        plan.settings(topic).into_iter().find(|setting| setting.name == name).unwrap().value
    }

    #[test]
    fn seen_outlives_the_window_by_six_hours_and_a_shorter_one_is_refused() {
        let plan = Plan::new(4, 1);
        let wanted = setting(&plan, Topic::Seen, "retention.ms");
        assert_eq!(wanted, ((7 * 24 + 6) * 3_600_000).to_string());
        let rule = plan.settings(Topic::Seen).into_iter().find(|setting| setting.name == "retention.ms").unwrap();
        assert!(rule.is_met_by("-1") && rule.is_met_by(&wanted) && !rule.is_met_by("604800000"));
        assert_eq!(rule.rule, Rule::AtLeast);
    }

    #[test]
    fn three_replicas_need_two_in_sync() {
        assert_eq!(setting(&Plan::new(4, 3), Topic::Raw, "min.insync.replicas"), "2");
        assert_eq!(setting(&Plan::new(4, 1), Topic::Raw, "min.insync.replicas"), "1");
    }

    #[test]
    fn only_raw_is_stamped_by_the_broker() {
        let stamped: Vec<Topic> = Topic::ALL
            .into_iter()
            .filter(|topic| Plan::new(4, 1).settings(*topic).iter().any(|setting| setting.value == "LogAppendTime"))
            .collect();
        assert_eq!(stamped, [Topic::Raw]);
    }
}
