//! A lane at work: what it restores, takes, commits and hands out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use event::trace::TRACEPARENT;
use event::wire::Ids;
use event::{Alert, Delivery, DeliveryStage, lane};
use kafka::Topic;
/// The group that holds the positions of the notifier; it never has members.
use kafka::groups::NOTIFY as GROUP;
use kafka::lane::{End, Isolation, LaneProducer, LaneReader, PATIENCE, Position, Stage, Writes, read_all_committed};
use kafka::positions::{Committed, Positions};
use notification::Planner;
use runtime::clock::now_ms;
use runtime::{Current, HaltReason, Live};
use tokio::runtime::Handle;
use traces::Traces;

use crate::fault::point;
use crate::live::LiveSwitches;
use crate::metrics::NotifyMetrics;
use crate::outbox::{Outbox, Outcome};
use crate::scheduled::Scheduler;
use crate::traced::{self, TracedAlerts};
use crate::worker::Workers;
use crate::{SERVICE, Settings};

/// The header of a delivery that says up to which alert the lane had come with it.
const REACHED: &str = "alerts";
/// How long the lane waits for alerts before it looks at outcomes and the clock.
const TURN: Duration = Duration::from_millis(100);
/// How long alerts that wait for a later message may stay uncommitted: they are cheaper to write together.
const HOLD: Duration = Duration::from_secs(1);
/// Alerts after which they are committed before that, so that what is held of them fits a record.
const MAX_UNSAVED: usize = 2_500;
/// Alerts taken at once.
const CHUNK: usize = 2_500;
/// How long a stop waits for answers of destinations; what has none then is sent again by the next owner.
const GRACE: Duration = Duration::from_secs(5);

pub(super) struct OpenLane<'s> {
    partition: u16,
    /// The partition of `deliveries` that the lane writes to.
    log: u16,
    ids: Ids,
    settings: &'s Live<Settings>,
    /// The settings that the planner and the tasks go by.
    current: Current<Settings>,
    traces: Traces,
    /// Traced alerts that wait for their message.
    traced: TracedAlerts,
    metrics: &'s NotifyMetrics,
    switches: &'s Arc<LiveSwitches>,
    /// The version of what is held back that the planner knows.
    followed: u64,
    reader: LaneReader,
    planner: Planner,
    outbox: Outbox,
    workers: Workers,
    scheduler: Scheduler,
    handle: Handle,
    outcomes: mpsc::Receiver<Outcome>,
    /// Outcomes that are not committed yet.
    reported: Vec<Outcome>,
    /// Destinations whose task by earlier settings has ended: what they are owed is given to the one after it.
    handed_over: BTreeSet<String>,
    /// One past the last alert that is committed.
    committed: i64,
    /// No record of the next transaction stands before this offset of `deliveries`.
    log_end: i64,
    unsaved: usize,
    lag_shown: Instant,
    /// Starts that are held back, by rule, as they were shown.
    inhibited: BTreeMap<String, usize>,
}

impl<'s> OpenLane<'s> {
    /// Reads back what the predecessor, which is fenced, knew, and opens the alerts where it stopped.
    pub(super) fn open(
        settings: &'s Live<Settings>,
        current: Current<Settings>,
        partition: u16,
        handle: &Handle,
        metrics: &'s NotifyMetrics,
        switches: &'s Arc<LiveSwitches>,
    ) -> Result<Self, End> {
        let cluster = &current.cluster;
        point("fenced");
        let Resumed { planner, outbox, start, log, log_end } = resume(&current, partition, metrics)?;
        point("restored");
        let reader = LaneReader::open(cluster, Topic::Alerts, partition, start, Isolation::Committed)?;
        let (tell, outcomes) = mpsc::channel();
        let workers = Workers::start(&current, handle, &tell, metrics, switches);
        let mut open = Self {
            partition,
            log,
            ids: current.ids,
            traces: current.traces.clone(),
            traced: TracedAlerts::default(),
            settings,
            current,
            metrics,
            switches,
            followed: 0,
            reader,
            planner,
            outbox,
            workers,
            scheduler: Scheduler::default(),
            handle: handle.clone(),
            outcomes,
            reported: Vec::new(),
            handed_over: BTreeSet::new(),
            committed: start,
            log_end,
            unsaved: 0,
            lag_shown: Instant::now(),
            inhibited: BTreeMap::new(),
        };
        // In the order in which they were planned: an end is not sent before its start.
        let owed: Vec<String> = open.outbox.in_order().into_iter().map(|owed| owed.bundle_id.clone()).collect();
        tracing::info!(service = SERVICE, partition, alerts = start, owed = owed.len(), "the lane is open");
        owed.iter().for_each(|bundle_id| open.hand_out(bundle_id));
        point("reopened");
        Ok(open)
    }

    /// Takes over what people hold back now.
    fn follow_switches(&mut self) {
        let version = self.switches.version();
        if version != self.followed {
            self.planner.set_live(self.switches.get().as_ref().clone());
            self.followed = version;
        }
    }

    /// Goes by the newest settings from now on. What a destination is owed that changed waits until the task that
    /// knew it by the old ones has finished its attempt.
    fn follow_settings(&mut self) {
        if let Some(newer) = self.settings.newer(&self.current) {
            self.planner.reroute(newer.routing());
            // What was asked for by the old settings is asked for again: its answer would be planned by the new ones.
            self.scheduler = Scheduler::default();
            for gone in self.workers.follow(&newer) {
                self.metrics.oldest(self.partition, &gone, 0.0);
            }
            self.current = newer;
            tracing::info!(service = SERVICE, partition = self.partition, "the lane goes by another configuration");
        }
    }

    /// Asks for reports that are due, and plans those that were answered.
    fn follow_calendar(&mut self, now_ms: i64) {
        let Self { scheduler, planner, current, handle, partition, metrics, .. } = self;
        let owns = |name: &str| lane::of_name(name, current.plan.alert_partitions) == *partition;
        scheduler.turn(planner, current, handle, owns, now_ms);
        for one in scheduler.given_up(planner, owns, now_ms) {
            metrics.report_given_up();
            tracing::error!(
                service = SERVICE,
                report = one.name,
                destination = one.to,
                period = one.period.words(),
                "a report is given up: it could not be sent as long as it was due; the views still have its days"
            );
        }
    }

    /// Takes the alerts that have come, at most `most`, and waits for them at most `wait`.
    fn take(&mut self, most: usize, wait: Duration, now_ms: i64) -> Result<(), End> {
        let records = self.reader.fetch(most, wait)?;
        for record in &records {
            let alert =
                Alert::from_wire(&self.ids, record.payload().unwrap_or_default()).map_err(|error| End::Halt {
                    reason: HaltReason::Unreadable,
                    message: format!(
                        "the record at offset {} of {}/{} is no alert: {error}; start the version that wrote it",
                        record.offset(),
                        Topic::Alerts,
                        self.partition
                    ),
                })?;
            if self.traces.is_on() {
                let at = (self.partition, record.offset());
                self.traced.take(&alert.alert_id, GROUP, at, record.headers(), &self.traces);
            }
            if !self.planner.knows(&alert.rule) {
                self.metrics.unknown_rule(&alert.rule);
            }
            self.planner.take(&alert, now_ms);
        }
        self.unsaved += records.len();
        if !records.is_empty() {
            point("taken");
        }
        Ok(())
    }

    /// Takes what destinations have told.
    fn collect(&mut self) -> Result<(), End> {
        // Before its outcomes are taken: a task that has ended has told all of them.
        self.handed_over.extend(self.workers.replaced());
        let before = self.reported.len();
        self.reported.extend(self.outcomes.try_iter());
        if self.reported.len() > before {
            point("collected");
        }
        match self.workers.ended() {
            None => Ok(()),
            Some(name) => {
                Err(End::Retry(format!("the task of destination {name} panicked; the panic is in the log above")))
            }
        }
    }

    /// Whether something is to be written at once: a bundle to send, or an outcome.
    fn is_due(&self, now_ms: i64) -> bool {
        !self.reported.is_empty() || !self.handed_over.is_empty() || self.planner.is_due(now_ms)
    }

    /// Gives a bundle to the task of its destination.
    fn hand_out(&mut self, bundle_id: &str) {
        let Some(owed) = self.outbox.get(bundle_id) else { return };
        if !self.workers.give(owed.clone()) {
            let now = now_ms();
            self.reported.push(Outcome {
                bundle_id: bundle_id.to_owned(),
                stage: DeliveryStage::Failed,
                at: now,
                not_before: now,
                attempt: owed.attempt,
                status: 0,
                error: "the destination is no longer configured".to_owned(),
                receipt: String::new(),
            });
        }
    }

    /// Publishes what is owed for how long; about once a second.
    fn report(&mut self, now_ms: i64) {
        if self.lag_shown.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.lag_shown = Instant::now();
        self.metrics.inhibited(&mut self.inhibited, self.planner.inhibited());
        for destination in self.workers.names() {
            let own = self.outbox.iter().filter(|owed| owed.destination == destination);
            let oldest = own.map(|owed| owed.planned_at).min().map_or(0, |at| (now_ms - at).max(0));
            self.metrics.oldest(self.partition, destination, oldest as f64 / 1_000.0);
        }
    }
}

impl Stage for OpenLane<'_> {
    fn position(&self) -> i64 {
        self.committed
    }

    fn turn(&mut self, producer: &mut LaneProducer, last_commit: Instant) -> Result<bool, End> {
        self.follow_switches();
        self.follow_settings();
        self.follow_calendar(now_ms());
        self.take(CHUNK, TURN, now_ms())?;
        self.collect()?;
        let saved = last_commit.elapsed();
        let waited = (self.planner.has_news() && saved >= HOLD) || self.unsaved >= MAX_UNSAVED;
        let progress = self.reader.position() > self.committed && saved >= HOLD * 10;
        let due = self.is_due(now_ms()) || waited || progress;
        if due {
            self.commit(producer)?;
        }
        self.report(now_ms());
        Ok(due)
    }

    /// Commits what becomes of the alerts that were taken, the outcomes that were told, and the position, as one. Then hands
    /// out what is owed.
    fn commit(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        let (begun, now_ms) = (Instant::now(), now_ms());
        let next = self.reader.position();
        let mut records = self.planner.settle(now_ms);
        let outcomes = std::mem::take(&mut self.reported);
        // A bundle is told of once more after it ended only if its destination's task was told to end in between.
        records
            .extend(outcomes.iter().filter_map(|outcome| Some(self.outbox.get(&outcome.bundle_id)?.record(outcome))));
        point("settled");
        producer.begin()?;
        point("begun");
        let mut value = Vec::new();
        // The position stands in the log, too: what the group's coordinator gives out after a crash may be an older one.
        let mut headers = vec![(REACHED, next.to_string())];
        for record in &records {
            value.clear();
            record.write(&self.ids, &mut value);
            headers.truncate(1);
            headers.extend(self.traced.of_message(record).map(|trace| (TRACEPARENT, trace.to_header())));
            producer.send(Topic::Deliveries, self.log, Some(record.destination.as_bytes()), Some(&value), &headers)?;
        }
        point("written");
        let written = producer.flush()?;
        point("flushed");
        let needed = [self.planner.mark(), self.outbox.mark(), Some(self.log_end)].into_iter().flatten().min();
        let metadata = format!("deliveries={}", needed.unwrap_or(self.log_end));
        let position = Position { topic: Topic::Alerts, partition: self.partition, next, metadata };
        producer.commit(GROUP, &[position])?;
        point("committed");
        self.planner.committed(self.log_end);
        let planned: Vec<String> = records
            .iter()
            .filter_map(|record| self.outbox.apply(record, self.log_end).map(|owed| owed.bundle_id.clone()))
            .collect();
        for record in &records {
            if let Some(trace) = self.traced.of_message(record) {
                self.outbox.is_part_of(&record.bundle_id, trace);
            }
        }
        self.traced.committed(&records, &self.traces);
        records.iter().for_each(|record| self.planner.delivered(record));
        records.iter().for_each(|record| self.metrics.count(record));
        self.log_end = written.last(Topic::Deliveries, self.log).map_or(self.log_end, |last| last + 1);
        (self.committed, self.unsaved) = (next, 0);
        let handed_over = std::mem::take(&mut self.handed_over);
        let goes_over = |destination: &str| handed_over.contains(destination);
        // What the capture sink was sent ended in the same transaction, and is no longer owed.
        let mut next: Vec<String> = planned;
        next.retain(|id| self.outbox.get(id).is_some_and(|owed| !goes_over(&owed.destination)));
        let over = self.outbox.in_order().into_iter().filter(|owed| goes_over(&owed.destination));
        next.extend(over.map(|owed| owed.bundle_id.clone()));
        next.iter().for_each(|bundle_id| self.hand_out(bundle_id));
        point("handed-out");
        self.metrics.lanes.transaction(SERVICE, begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Lets destinations finish what they are at, and begin nothing more.
    fn finish(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        let deadline = Instant::now() + GRACE;
        self.workers.close();
        while !self.workers.is_quiet() && Instant::now() < deadline {
            kafka::lane::pause("the answers of destinations", Duration::from_millis(10));
        }
        self.collect()?;
        self.commit(producer)
    }

    fn ended(&mut self, _end: &Result<(), End>) {
        self.metrics.lane_is_over(self.partition, &mut self.inhibited);
    }
}

/// Every partition that a lane writes to.
pub(super) fn written_to(settings: &Settings, partition: u16) -> Writes {
    let deliveries = (Topic::Deliveries, partition % settings.plan.delivery_partitions.max(1));
    Writes::records([deliveries]).positions(GROUP)
}

/// What a lane goes on with.
struct Resumed {
    planner: Planner,
    outbox: Outbox,
    /// The offset of the next alert.
    start: i64,
    /// The partition of `deliveries` that the lane writes to, and one past its last record.
    log: u16,
    log_end: i64,
}

/// Reads back what the lane knew, and finds where it goes on.
fn resume(settings: &Settings, partition: u16, metrics: &NotifyMetrics) -> Result<Resumed, End> {
    let positions = Positions::open(&settings.cluster, GROUP, PATIENCE)?;
    let committed = positions.committed_behind_fence(Topic::Alerts, partition)?;
    let log = partition % settings.plan.delivery_partitions.max(1);
    let kept = positions.stable(Topic::Deliveries, log)?;
    let from = match &committed {
        Some(committed) => log_start(committed)?.unwrap_or(kept.low).max(kept.low),
        None => kept.low,
    };
    let Restored { planner, outbox, known, reached } = restore(settings, partition, log, from, kept.end)?;
    let start = match (committed, reached) {
        // Set by hand to where messages are to begin (again): it carries nothing.
        (Some(committed), Some(reached)) if committed.next < reached && !committed.metadata.is_empty() => {
            metrics.lanes.position_disagrees(SERVICE);
            tracing::warn!(
                service = SERVICE,
                partition,
                given = committed.next,
                alerts = reached,
                "the broker gave out an earlier position of the lane as the committed one (Kafka's coordinator can, after a crash); the lane \
                 goes on where deliveries ends, and nobody is told twice"
            );
            reached
        }
        (Some(committed), _) => committed.next,
        (None, Some(reached)) => {
            metrics.lanes.position_disagrees(SERVICE);
            tracing::warn!(
                service = SERVICE,
                partition,
                alerts = reached,
                "the committed position is gone; deliveries has it"
            );
            reached
        }
        (None, None) if known == 0 => positions.stable(Topic::Alerts, partition)?.low,
        (None, None) => {
            return Err(End::Halt {
                reason: HaltReason::Position,
                message: format!(
                    "the position of {GROUP} on {}/{partition} is gone, and {} holds {known} records of it: which alerts were \
                     sent is unknown; set the position by hand (kafka-consumer-groups.sh --group {GROUP} --reset-offsets)",
                    Topic::Alerts,
                    Topic::Deliveries
                ),
            });
        }
    };
    Ok(Resumed { planner, outbox, start, log, log_end: kept.end })
}

/// From where `deliveries` is to be read back. None where somebody set the position by hand, which carries nothing.
fn log_start(committed: &Committed) -> Result<Option<i64>, End> {
    if committed.metadata.is_empty() {
        tracing::warn!(
            service = SERVICE,
            alerts = committed.next,
            "the position was set by hand; all of deliveries is read back"
        );
        return Ok(None);
    }
    let start = committed.metadata.strip_prefix("deliveries=").and_then(|number| number.parse().ok());
    start.map(Some).ok_or_else(|| End::Halt {
        reason: HaltReason::Position,
        message: format!(
            "the committed position of {GROUP} carries {:?}, which this version does not read; start the version that wrote it",
            committed.metadata
        ),
    })
}

/// What the lane's records of `deliveries` tell.
struct Restored {
    planner: Planner,
    outbox: Outbox,
    /// How many there are.
    known: u64,
    /// The offset of the next alert, by the last of them.
    reached: Option<i64>,
}

/// Reads back what the lane knew, from its records of `deliveries`.
fn restore(settings: &Settings, partition: u16, log: u16, from: i64, to: i64) -> Result<Restored, End> {
    let (mut planner, mut outbox, mut known) = (Planner::new(settings.routing()), Outbox::default(), 0);
    let mut reached = None;
    let unreadable = |offset: i64, error: String| End::Halt {
        reason: HaltReason::Unreadable,
        message: format!("the record at offset {offset} of {}/{log} cannot be read: {error}", Topic::Deliveries),
    };
    read_all_committed(&settings.cluster, Topic::Deliveries, log, Some(from), Some(to), |record| {
        let offset = record.offset();
        let delivery = Delivery::from_wire(&settings.ids, record.payload().unwrap_or_default())
            .map_err(|error| unreadable(offset, error.to_string()))?;
        // Lanes share the partition when there are fewer of them than of alerts.
        if lane::of_name(&delivery.rule, settings.plan.alert_partitions) == partition {
            planner.restore(&delivery, offset).map_err(|error| unreadable(offset, error.to_string()))?;
            outbox.apply(&delivery, offset);
            if let Some(trace) = traced::of(record.headers()).filter(|_| settings.traces.is_on()) {
                outbox.is_part_of(&delivery.bundle_id, trace);
            }
            known += 1;
            let at = record.headers().get(REACHED).and_then(|text| str::from_utf8(text).ok()?.parse::<i64>().ok());
            reached = reached.max(at);
        }
        Ok(())
    })?;
    Ok(Restored { planner, outbox, known, reached })
}
