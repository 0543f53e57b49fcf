//! The watch over lanes: how far each is behind, asked from the broker by clients that no lane uses.
//!
//! A client of librdkafka can lose its way and not know it: it fetches from a broker that does not lead the partition
//! (<https://github.com/confluentinc/librdkafka/pull/5593>), or never looks for a leader again
//! (<https://github.com/confluentinc/librdkafka/issues/5430>). So what a lane believes of itself proves nothing. The watch asks for
//! the end of each input; where a lane is behind and gets nothing, it reads there itself, and if it is given a record, the lane
//! opens again with new clients.

mod answers;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::clock::now_ms;
use runtime::disposal::Aside;
use runtime::progress::{Input, LaneId, LaneProgress, Seen};
use runtime::{Beat, Component, Lag, Shutdown, Telemetry, WaitReason};

use self::answers::{Answers, Came};
use self::judge::{Advice, Judge, Look};
use crate::cluster::{ClientError, Cluster, Quiet};
use crate::groups;
use crate::lane::{LaneReader, Step};
use crate::positions::asking;
use crate::topics::{Plan, Topic};

/// How often the ends are asked for.
const TURN: Duration = Duration::from_secs(1);
/// How long the brokers have to tell the ends of all inputs.
const ASK: Duration = Duration::from_secs(2);
/// How long one partition is asked for when not all have answered together.
const ASK_ONE: Duration = Duration::from_millis(500);
/// How long those are asked for, one by one, that did not answer the time before: the others must not wait for them.
const ASK_SILENT: Duration = Duration::from_secs(1);
/// How long the watch reads to find out whether there is a record.
const LOOK_FOR: Duration = Duration::from_secs(3);

/// Starts the watch over the lanes of this process. The thread ends after the stop is given.
///
/// # Errors
/// When the client's settings are refused, a metric cannot be registered, or the system gives no thread.
pub fn start(
    cluster: &Cluster,
    plan: &Plan,
    telemetry: &Telemetry,
    shutdown: &Shutdown,
) -> Result<JoinHandle<()>, WatchError> {
    let reopened = telemetry.metrics.counter(
        "lane_reopened_total",
        "Times that a lane was opened again since its client gave no record though there was one",
        &["service"],
    )?;
    let replaced = telemetry.metrics.counter(
        "watch_clients_replaced_total",
        "Times that the clients which ask where partitions end were replaced since they got no answer",
        &[],
    )?;
    replaced.with_label_values::<&str>(&[]).inc_by(0);
    let watch = Watch {
        asker: Asker::open(cluster)?,
        cluster: cluster.clone(),
        plan: plan.clone(),
        component: telemetry.health.component("lane watch"),
        telemetry: telemetry.clone(),
        reopened,
        replaced,
        judged: BTreeMap::new(),
        answers: Answers::new(Instant::now()),
        looked: Instant::now(),
    };
    watch.component.ready();
    // A panic of the thread is seen by its beat, so the handle may be dropped.
    let (beat, shutdown) = (telemetry.beats.register("lane watch", "lane watch"), shutdown.clone());
    Ok(std::thread::Builder::new().name("lane-watch".into()).spawn(move || watch.run(&beat, &shutdown))?)
}

/// Why lanes are not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A metric cannot be registered: a defect of this build.
    #[error("a metric of the watch over lanes cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// No thread.
    #[error("no thread for the watch over lanes: {0}")]
    Thread(#[from] std::io::Error),
}

/// How long one look at all partitions may take.
const LOOK_WITHIN: Duration = Duration::from_secs(120);

struct Watch {
    cluster: Cluster,
    plan: Plan,
    telemetry: Telemetry,
    component: Component,
    reopened: prometheus::IntCounterVec,
    replaced: prometheus::IntCounterVec,
    asker: Asker,
    judged: BTreeMap<LaneId, Judged>,
    answers: Answers,
    looked: Instant,
}

#[derive(Default)]
struct Judged {
    judge: Judge,
    /// Why it was said to be stalled, and the component that says so.
    stalled: Option<(WaitReason, Component)>,
}

impl Watch {
    fn run(mut self, beat: &Beat, shutdown: &Shutdown) {
        while !shutdown.is_stopping() {
            // A look at partitions that do not answer waits for each of them.
            beat.allow(LOOK_WITHIN);
            let begun = Instant::now();
            self.turn();
            let left = TURN.saturating_sub(begun.elapsed());
            std::thread::park_timeout(left.max(Duration::from_millis(100)));
        }
    }

    fn turn(&mut self) {
        let lanes = self.telemetry.board.lanes();
        self.forget_others(&lanes);
        let open: Vec<Input> = lanes.iter().filter_map(|(_, progress)| Some(progress.look()?.input)).collect();
        let ends = self.asker.ends(&open);
        let elapsed_ms = std::mem::replace(&mut self.looked, Instant::now()).elapsed().as_millis() as u64;
        let came = Came::of(ends.values().map(|end| end.is_known()));
        self.note_answers(came);
        for (lane, progress) in lanes {
            // The lane is looked at after the ends were told, so that what it has read since is no lag.
            if let Some(seen) = progress.look() {
                let end = ends.get(&(seen.input.topic, seen.input.partition)).copied().unwrap_or_default();
                self.judge(lane, &progress, seen, end, (elapsed_ms, came == Came::Some));
            }
        }
    }

    /// Lanes that are no longer ours leave nothing behind.
    fn forget_others(&mut self, lanes: &[(LaneId, std::sync::Arc<LaneProgress>)]) {
        let gone: Vec<LaneId> =
            self.judged.keys().filter(|lane| !lanes.iter().any(|(ours, _)| ours == *lane)).copied().collect();
        for lane in gone {
            if let Some(judged) = self.judged.remove(&lane) {
                self.say_moving(lane, judged.stalled);
            }
        }
    }

    /// Replaces the clients when answers are missing for long.
    fn note_answers(&mut self, came: Came) {
        if came != Came::None {
            self.component.ready();
        }
        if !self.answers.replace(came, Instant::now()) {
            return;
        }
        if came == Came::None {
            self.component.failing("Kafka does not tell where partitions end: how far lanes are behind is not known");
        }
        let which = if came == Came::None { "partitions" } else { "some partitions" };
        tracing::warn!("Kafka does not tell where {which} end; asking with new clients");
        match Asker::open(&self.cluster) {
            Ok(asker) => self.asker = asker,
            Err(error) => tracing::error!(%error, "no new client to ask where partitions end"),
        }
        self.replaced.with_label_values::<&str>(&[]).inc();
    }

    fn judge(
        &mut self,
        lane: LaneId,
        progress: &LaneProgress,
        seen: Seen,
        end: End,
        (elapsed_ms, others_answer): (u64, bool),
    ) {
        let judged = self.judged.entry(lane).or_default();
        let look = Look {
            elapsed_ms,
            opening: seen.input.opening,
            covered: seen.covered,
            empty: seen.empty,
            standing: seen.standing,
            stable: end.stable,
            end: end.end,
            others_answer,
        };
        let (service, number) = lane;
        let Input { label, partition, .. } = seen.input;
        if judged.judge.look(&look) == Advice::LookFor
            && let Some(stable) = end.stable
            && let Some(found) = record_between(&self.cluster, seen.input, seen.covered, stable)
            && judged.judge.found(found.is_some(), stable)
        {
            tracing::warn!(
                service,
                lane = number,
                "{label}/{partition} has a record at offset {} and ends at {stable}, and the lane waits at {} and is given nothing; it \
                 opens again with new clients",
                found.unwrap_or_default(),
                seen.covered
            );
            self.reopened.with_label_values(&[service]).inc();
            progress.ask_to_reopen();
        }
        self.publish(lane, seen);
        self.say_stalled(lane, seen, end);
    }

    fn publish(&self, lane: LaneId, seen: Seen) {
        let Some((judge, records)) =
            self.judged.get(&lane).and_then(|judged| Some((&judged.judge, judged.judge.lag()?)))
        else {
            return;
        };
        let now = now_ms();
        let millis = match (records, seen.read_ms) {
            (0, _) => 0,
            // Nothing was read since the lane was opened.
            (_, below) if below < 0 => judge.still_ms() as i64,
            (_, read) => (now - read).max(0),
        };
        let seconds = millis as f64 / 1_000.0;
        let retention = Topic::named(seen.input.topic).and_then(|topic| self.plan.retention(topic));
        let headroom_seconds = match retention {
            Some(retention) if records > 0 => retention.as_secs_f64() - seconds,
            _ => f64::INFINITY,
        };
        let (service, number) = lane;
        let lag = Lag { records, seconds, headroom_seconds };
        self.telemetry
            .board
            .if_ours(lane, || self.telemetry.metrics.lanes().set_lag(service, seen.input.label, number, lag));
    }

    /// Says once that a lane is stalled, and once that it is not any more.
    fn say_stalled(&mut self, lane: LaneId, seen: Seen, end: End) {
        let Some(judged) = self.judged.get_mut(&lane) else { return };
        let now = judged.judge.stalled();
        let before = judged.stalled.as_ref().map(|(reason, _)| *reason);
        if now == before {
            return;
        }
        let (was, (service, number)) = (judged.stalled.take(), lane);
        self.say_moving(lane, was);
        let Some(reason) = now else { return };
        let Input { label, partition, .. } = seen.input;
        let (covered, stable) = (seen.covered, end.stable.unwrap_or_default());
        let why = match reason {
            WaitReason::OpenTransaction => format!(
                "{label}/{partition} can be read up to {stable} only, for a minute: a transaction on it is open; docs/runbooks/lane-stalled.md"
            ),
            WaitReason::LeaderSilent => format!(
                "the leader of {label}/{partition} has told nothing for a minute, while others answer, and the lane has read nothing past \
                 {covered}; docs/runbooks/lane-stalled.md"
            ),
            _ => format!(
                "{label}/{partition} can be read up to {stable}, and the lane has read nothing past {covered} for a minute; docs/runbooks/lane-stalled.md"
            ),
        };
        tracing::error!(service, lane = number, reason = reason.name(), "the lane makes no progress: {why}");
        let component = self.telemetry.health.component(format!("{service} lane {number} progress"));
        component.failing(why);
        self.telemetry.metrics.lanes().stalled(service, reason, 1.0);
        if let Some(judged) = self.judged.get_mut(&lane) {
            judged.stalled = Some((reason, component));
        }
    }

    fn say_moving(&self, (service, number): LaneId, stalled: Option<(WaitReason, Component)>) {
        if let Some((reason, component)) = stalled {
            tracing::info!(service, lane = number, reason = reason.name(), "the lane goes on, or is no longer ours");
            self.telemetry.metrics.lanes().stalled(service, reason, -1.0);
            component.gone();
        }
    }
}

/// Where a partition ends, as far as its leader has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct End {
    /// The last stable offset: all below it is committed or aborted.
    stable: Option<i64>,
    /// One past the last record.
    end: Option<i64>,
}

impl End {
    fn is_known(self) -> bool {
        self.stable.is_some() && self.end.is_some()
    }
}

/// A partition by its topic's name.
type Place = (&'static str, u16);

/// Asks where partitions end.
struct Asker {
    committed: Aside<BaseConsumer<Quiet>>,
    appended: Aside<BaseConsumer<Quiet>>,
    /// Partitions whose leader did not answer the time before.
    silent: BTreeSet<Place>,
    /// Counts the times, so that another one of the silent is asked first each time.
    asked: usize,
}

impl Asker {
    fn open(cluster: &Cluster) -> Result<Self, ClientError> {
        Ok(Self {
            committed: asking(cluster, groups::WATCH, "read_committed")?,
            appended: asking(cluster, groups::WATCH, "read_uncommitted")?,
            silent: BTreeSet::new(),
            asked: 0,
        })
    }

    /// The ends of the inputs; those whose leader does not answer are unknown.
    fn ends(&mut self, inputs: &[Input]) -> BTreeMap<Place, End> {
        let places: BTreeSet<Place> = inputs.iter().map(|input| (input.topic, input.partition)).collect();
        let (mut silent, well): (Vec<Place>, Vec<Place>) =
            places.iter().copied().partition(|place| self.silent.contains(place));
        let first = self.asked.checked_rem(silent.len()).unwrap_or(0);
        silent.rotate_left(first);
        self.asked = self.asked.wrapping_add(1);
        let end = latest(&self.appended, &well, &silent);
        // A leader that has not told one end does not tell the other.
        let told =
            |places: &[Place]| places.iter().copied().filter(|place| end.contains_key(place)).collect::<Vec<_>>();
        let stable = latest(&self.committed, &told(&well), &told(&silent));
        let answer = |place| End { stable: stable.get(&place).copied(), end: end.get(&place).copied() };
        let ends: BTreeMap<Place, End> = places.into_iter().map(|place| (place, answer(place))).collect();
        self.silent = ends.iter().filter(|(_, end)| !end.is_known()).map(|(place, _)| *place).collect();
        ends
    }
}

/// The end of each partition as the client's isolation sees it; those that did not answer are left out. `silent` are
/// those that did not answer the time before either.
fn latest(client: &BaseConsumer<Quiet>, well: &[Place], silent: &[Place]) -> BTreeMap<Place, i64> {
    // One partition without a leader spoils the answer for all: then each is asked alone, for so long as the first
    // answers.
    let mut ends = latest_at_once(client, well).unwrap_or_else(|| one_by_one(client, well, ASK));
    ends.extend(one_by_one(client, silent, ASK_SILENT));
    ends
}

/// Each partition alone, all of them within a time.
fn one_by_one(client: &BaseConsumer<Quiet>, places: &[Place], within: Duration) -> BTreeMap<Place, i64> {
    let deadline = Instant::now() + within;
    let ask = |(topic, partition): Place| {
        let left = deadline.saturating_duration_since(Instant::now()).min(ASK_ONE);
        if left.is_zero() {
            return None;
        }
        let (_, end) = client.fetch_watermarks(topic, i32::from(partition), left).ok()?;
        Some(((topic, partition), end))
    };
    places.iter().copied().filter_map(ask).collect()
}

/// All partitions with one request a broker.
fn latest_at_once(client: &BaseConsumer<Quiet>, places: &[Place]) -> Option<BTreeMap<Place, i64>> {
    if places.is_empty() {
        return Some(BTreeMap::new());
    }
    let mut asked = TopicPartitionList::with_capacity(places.len());
    for (topic, partition) in places {
        // In the place of a time, Kafka takes −1 for the end.
        asked.add_partition_offset(topic, i32::from(*partition), Offset::End).ok()?;
    }
    let answer = client.offsets_for_times(asked, ASK).ok()?;
    let end = |place: &Place| {
        let element = answer.find_partition(place.0, i32::from(place.1))?;
        element.error().ok()?;
        match element.offset() {
            Offset::Offset(end) => Some((*place, end)),
            _ => None,
        }
    };
    let ends: BTreeMap<_, _> = places.iter().filter_map(end).collect();
    (ends.len() == places.len()).then_some(ends)
}

/// The first record that a reader of committed records is given from `from` on and before `to`, by a client made for that. None when
/// that could not be found out; `Some(None)` when there is none.
fn record_between(cluster: &Cluster, input: Input, from: i64, to: i64) -> Option<Option<i64>> {
    let topic = Topic::named(input.topic)?;
    let reader = LaneReader::to_look(cluster, topic, input.partition, from).ok()?;
    let deadline = Instant::now() + LOOK_FOR;
    while Instant::now() < deadline {
        match reader.step(Duration::from_millis(200)) {
            Ok(Step::Record(record)) => return Some(Some(record.offset()).filter(|offset| *offset < to)),
            Ok(Step::End) => return Some(None),
            Ok(Step::Nothing) => {}
            // Such as an offset that was deleted: the lane meets it as well, and says so.
            Err(error) => {
                tracing::debug!(topic = input.topic, partition = input.partition, %error, "the watch could not look for a record");
                return None;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watch_over_lanes_is_itself_watched() {
        let (telemetry, shutdown) = (Telemetry::new("").unwrap(), Shutdown::default());
        let watched = || telemetry.beats.names().contains(&"lane watch".to_owned());
        let watch = start(&Cluster::new("127.0.0.1:1"), &Plan::new(1, 1), &telemetry, &shutdown).unwrap();
        assert!(watched(), "from its start on: its first turn may panic");
        shutdown.stop();
        watch.join().unwrap();
        assert!(!watched());
    }
}
