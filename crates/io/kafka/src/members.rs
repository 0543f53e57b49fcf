//! Which lanes an instance runs, by a consumer group: instances that join and leave share the lanes among themselves.
//!
//! A hint and no more. The group `hookline-<stage>-members` holds no positions and nothing is fetched in it; two owners of a
//! lane are kept apart by its fence. So what the group says late or wrongly costs a lane a restart, never an event, and
//! lanes go on while the group cannot be asked.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use runtime::lanes::Lanes;
use runtime::{Component, LaneMetrics, Shutdown, Telemetry};

use crate::cluster::{ClientError, Cluster, Voice};
use crate::topics::Topic;

/// How long the group waits for a lane's running transaction before the lane is given away. A transaction takes some 100 ms;
/// a lane that takes longer is fenced by its next owner.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long one turn of the group may take beyond the time that a takeover waits.
const POLL_WITHIN: Duration = Duration::from_secs(60);
/// How often the group is served while nothing happens.
const TURN: Duration = Duration::from_millis(200);

/// What the group says, and what that means for the lanes of this instance. Pure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hint {
    /// What the group has given.
    given: BTreeSet<u16>,
    /// What runs.
    running: BTreeSet<u16>,
    member: bool,
}

/// Lanes to start and to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// These start.
    pub start: BTreeSet<u16>,
    /// These stop.
    pub stop: BTreeSet<u16>,
}

impl Hint {
    /// The group gives lanes beside those that it gave before. Every change of the group ends with this, if only with no lane:
    /// now it is known what is ours.
    pub fn gives(&mut self, lanes: impl IntoIterator<Item = u16>) -> Change {
        self.given.extend(lanes);
        self.member = true;
        let start = self.given.difference(&self.running).copied().collect();
        let stop = self.running.difference(&self.given).copied().collect();
        self.running.clone_from(&self.given);
        Change { start, stop }
    }

    /// The group takes lanes back, for another member.
    pub fn takes(&mut self, lanes: impl IntoIterator<Item = u16>) -> Change {
        let stop: BTreeSet<u16> = lanes.into_iter().filter(|lane| self.running.remove(lane)).collect();
        self.given.retain(|lane| !stop.contains(lane));
        Change { start: BTreeSet::new(), stop }
    }

    /// The group was out of reach for too long and has given the lanes to others, or to nobody if it is Kafka that is away.
    /// They run on until the group says more, or another owner fences them.
    pub fn loses(&mut self) {
        self.given.clear();
        self.member = false;
    }

    /// Whether the group has said what is ours, and can still be asked.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.member
    }
}

/// Runs the lanes that the group of `stage` gives to this instance, until the stop is given and they have ended. `topic` has
/// the partitions that are shared; it must exist. A member that is not heard of for `takeover_after` is taken for dead.
/// Blocking, for a thread of its own.
///
/// # Errors
/// When the client's settings are refused.
pub fn keep<L: Lanes>(
    lanes: L,
    cluster: &Cluster,
    topic: Topic,
    takeover_after: Duration,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<(), JoinError> {
    let stage = lanes.service();
    telemetry.metrics.lanes().set_group_member(stage, false);
    let member = Member {
        voice: Voice::new(format!("{stage}-members")),
        topic,
        component: telemetry.health.component(format!("{stage} membership")),
        metrics: telemetry.metrics.lanes().clone(),
        state: Mutex::new(State { hint: Hint::default(), lanes: Some(lanes) }),
    };
    let consumer = open(member, cluster, stage, topic, takeover_after)?;
    let beat = telemetry.beats.register("membership", format!("{stage} membership"));
    while !shutdown.is_stopping() {
        // Lanes that are given away are waited for inside the poll.
        beat.allow(takeover_after + POLL_WITHIN);
        // Nothing is fetched; errors are told by the client's voice, and tried again by itself.
        drop(consumer.poll(TURN));
    }
    // Lanes end before the group is left, so that the next owner finds their last position.
    let lanes = consumer.context().lock().lanes.take();
    if let Some(lanes) = lanes {
        lanes.join();
    }
    Ok(())
}

/// Why an instance does not join its group.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The client does not subscribe.
    #[error("the group {group} cannot be joined: {source}")]
    Subscribe {
        /// The group.
        group: String,
        /// The client's words.
        source: Box<KafkaError>,
    },
}

fn open<L: Lanes>(
    member: Member<L>,
    cluster: &Cluster,
    stage: &str,
    topic: Topic,
    takeover_after: Duration,
) -> Result<BaseConsumer<Member<L>>, JoinError> {
    let group = format!("hookline-{stage}-members");
    let session = takeover_after.as_millis().to_string();
    let heartbeat = (takeover_after / 4).min(Duration::from_secs(3)).as_millis().to_string();
    let config = cluster.config(
        &group,
        &[],
        &[
            ("group.id", &group),
            ("group.protocol", "classic"),
            // Lanes change hands one by one: those that stay go on through every change of the group.
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", &session),
            ("heartbeat.interval.ms", &heartbeat),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "latest"),
        ],
    )?;
    let consumer: BaseConsumer<Member<L>> =
        config.create_with_context(member).map_err(|source| ClientError::refused(&group, source))?;
    consumer.subscribe(&[topic.name()]).map_err(|source| JoinError::Subscribe { group, source: Box::new(source) })?;
    Ok(consumer)
}

/// One member of a group. The client calls it while it is polled.
struct Member<L> {
    voice: Voice,
    topic: Topic,
    component: Component,
    metrics: LaneMetrics,
    state: Mutex<State<L>>,
}

struct State<L> {
    hint: Hint,
    /// None once they are told to end.
    lanes: Option<L>,
}

impl<L: Lanes> Member<L> {
    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(&self, list: &TopicPartitionList) -> BTreeSet<u16> {
        let of_topic = list.elements_for_topic(self.topic.name());
        of_topic.iter().filter_map(|element| u16::try_from(element.partition()).ok()).collect()
    }

    fn apply(&self, lanes: &mut L, Change { start, stop }: Change) {
        let service = lanes.service();
        if !stop.is_empty() {
            let late = lanes.stop_lanes(&stop, HAND_OVER);
            tracing::info!(service, ?stop, ?late, "lanes are given away");
        }
        if !start.is_empty() {
            tracing::info!(service, ?start, "lanes are taken over");
            if let Err(error) = lanes.start_lanes(&start) {
                tracing::error!(service, ?start, %error, "no thread for a lane; the process cannot run what the group gave it");
                self.component
                    .halted(format!("no thread for a lane that the group gave: {error}; restart the process"));
            }
        }
    }
}

impl<L: Lanes> ClientContext for Member<L> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(&error, reason);
    }
}

impl<L: Lanes> ConsumerContext for Member<L> {
    /// Before the group knows that a lane is free, the lane has stopped.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let mut state = self.lock();
        let State { hint, lanes: Some(lanes) } = &mut *state else { return };
        if consumer.assignment_lost() {
            hint.loses();
            self.metrics.set_group_member(lanes.service(), hint.is_member());
            tracing::warn!(service = lanes.service(), "the group is out of reach; the lanes run on until it says more");
            self.component.failing("the members' group is out of reach; the lanes run on");
        } else {
            let change = hint.takes(self.partitions(list));
            self.apply(lanes, change);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                if let Err(error) = consumer.pause(list) {
                    tracing::warn!(%error, "the partitions of a members' group are not paused: records are fetched for nothing");
                }
                let mut state = self.lock();
                let State { hint, lanes: Some(lanes) } = &mut *state else { return };
                let change = hint.gives(self.partitions(list));
                self.component.ready();
                self.metrics.set_group_member(lanes.service(), hint.is_member());
                self.apply(lanes, change);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => self.voice.error(error, "the members' group could not be shared anew"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a group may say.
    #[derive(Debug, Clone)]
    enum Said {
        Gives(BTreeSet<u16>),
        Takes(BTreeSet<u16>),
        Loses,
    }

    fn said() -> impl Strategy<Value = Said> {
        let lanes = || proptest::collection::btree_set(0..6u16, 0..6);
        prop_oneof![lanes().prop_map(Said::Gives), lanes().prop_map(Said::Takes), Just(Said::Loses)]
    }

    proptest! {
        #[test]
        fn what_runs_is_what_the_group_gave_and_nothing_changes_while_it_is_out_of_reach(
            all in proptest::collection::vec(said(), 0..40),
        ) {
            let (mut hint, mut given, mut running) = (Hint::default(), BTreeSet::new(), BTreeSet::new());
            for said in all {
                let change = match &said {
                    Said::Gives(lanes) => {
                        given.extend(lanes);
                        hint.gives(lanes.iter().copied())
                    }
                    Said::Takes(lanes) => {
                        given.retain(|lane| !lanes.contains(lane));
                        hint.takes(lanes.iter().copied())
                    }
                    Said::Loses => {
                        given.clear();
                        hint.loses();
                        Change::default()
                    }
                };
                // Only what stands is started, and only what runs is stopped.
                prop_assert!(change.start.is_disjoint(&running) && change.stop.is_subset(&running));
                running.extend(&change.start);
                running.retain(|lane| !change.stop.contains(lane));
                match said {
                    Said::Gives(_) => prop_assert_eq!(&running, &given),
                    Said::Takes(lanes) => prop_assert!(running.is_disjoint(&lanes)),
                    Said::Loses => prop_assert!(!hint.is_member()),
                }
                prop_assert!(given.is_subset(&running));
            }
        }
    }

    #[test]
    fn lanes_run_on_through_a_loss_and_only_those_that_are_not_ours_stop_after_it() {
        let mut hint = Hint::default();
        hint.gives([0, 1, 2]);
        hint.loses();
        let change = hint.gives([1, 2, 3]);
        assert_eq!(change, Change { start: BTreeSet::from([3]), stop: BTreeSet::from([0]) });
        assert!(hint.is_member());
    }
}
