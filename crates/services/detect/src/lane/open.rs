//! A lane at work: what it restores, takes and commits.

use std::time::{Duration, Instant};

use event::{SignalBatch, lane};
use kafka::Topic;
/// The group that holds the positions of the detector; it never has members.
pub(super) use kafka::groups::DETECT as GROUP;
use kafka::lane::{
    End, Isolation, LaneProducer, LaneReader, NO_HEADERS, PATIENCE, Position, Record, Stage, Writes, read_all_committed,
};
use kafka::positions::Positions;
use rules::{Detector, Finding};
use runtime::HaltReason;
use runtime::clock::now_ms;

use crate::metrics::DetectMetrics;
use crate::{SERVICE, Settings};

/// The key of the record that says how far the lanes and this partition have come; no rule has an empty name.
pub(super) const PROGRESS: &[u8] = b"\0progress";
/// How often progress without an alert is committed: what a takeover has to read again.
const CHECKPOINT: Duration = Duration::from_secs(10);
/// Changed keys after which it is committed before that, so that a transaction stays small.
const MAX_UNSAVED: usize = 20_000;
/// Records taken from the reader at once.
const CHUNK: usize = 1_000;

pub(super) struct OpenLane<'s> {
    partition: u16,
    settings: &'s Settings,
    metrics: &'s DetectMetrics,
    reader: LaneReader,
    detector: Detector,
    /// What is to be said with the next transaction.
    findings: Vec<Finding>,
    /// One past the last signal that is committed.
    committed: i64,
    left_out: Vec<u16>,
}

impl<'s> OpenLane<'s> {
    /// Restores what the predecessor, which is fenced, knew, and opens the signals where it stopped.
    pub(super) fn open(settings: &'s Settings, partition: u16, metrics: &'s DetectMetrics) -> Result<Self, End> {
        let cluster = &settings.cluster;
        let expectations = settings.expectations.clone();
        metrics.know(&settings.rules);
        let mut detector = Detector::expecting(&settings.rules, settings.plan.lanes, expectations);
        let start = resume(settings, partition, &mut detector, metrics)?;
        let reader = LaneReader::open(cluster, Topic::Signals, partition, start, Isolation::Committed)?;
        tracing::info!(service = SERVICE, partition, signals = start, keys = detector.keys(), "the lane is open");
        let (findings, left_out) = Default::default();
        Ok(Self { partition, settings, metrics, reader, detector, findings, committed: start, left_out })
    }

    /// Takes what has come, at most `records`, and waits for it at most `wait`.
    fn take(&mut self, records: usize, wait: Duration) -> Result<(), End> {
        let Self { partition, settings, metrics, reader, detector, findings, .. } = self;
        for record in reader.fetch(records, wait)? {
            let broken = |why: String| End::Halt {
                reason: HaltReason::Unreadable,
                message: format!(
                    "the record at offset {} of {}/{partition} is no batch of signals: {why}; start the version that wrote it",
                    record.offset(),
                    Topic::Signals
                ),
            };
            let batch = SignalBatch::from_wire(&settings.ids, record.payload().unwrap_or_default())
                .map_err(|why| broken(why.to_string()))?;
            let taken = detector.take(&batch).map_err(|why| broken(why.to_string()))?;
            metrics.passed_over("unknown_version", taken.unknown);
            metrics.passed_over("late", taken.late);
            metrics.passed_over("crowded", taken.crowded);
            metrics.full_rules(*partition, &taken.full);
            findings.extend(taken.findings);
        }
        self.tell_left_out();
        Ok(())
    }

    fn tell_left_out(&mut self) {
        let left_out = self.detector.excluded();
        if left_out != self.left_out {
            let partition = self.partition;
            if left_out.is_empty() {
                tracing::info!(service = SERVICE, partition, "every lane is waited for again");
            } else {
                tracing::warn!(
                    service = SERVICE,
                    partition,
                    lanes = ?left_out,
                    "rules no longer wait for lanes that are 10 minutes behind; what these send later may come too late for a \
                     rule to fire: look at process"
                );
            }
            self.left_out = left_out;
        }
    }

    fn has_progress(&self) -> bool {
        self.reader.position() > self.committed
    }

    /// Publishes how far the lane is behind in time; how far in its input is published by the watch over lanes.
    fn report(&self, now_ms: i64) {
        if let Some(watermark) = self.detector.watermark() {
            let delay = (now_ms - watermark).max(0) as f64 / 1_000.0;
            self.metrics.delay(self.partition, delay, self.left_out.len());
        }
    }
}

impl Stage for OpenLane<'_> {
    fn position(&self) -> i64 {
        self.committed
    }

    fn turn(&mut self, producer: &mut LaneProducer, last_commit: Instant) -> Result<bool, End> {
        self.take(CHUNK, Duration::from_millis(200))?;
        let much = last_commit.elapsed() >= CHECKPOINT || self.detector.unsaved() >= MAX_UNSAVED;
        let due = !self.findings.is_empty() || (self.has_progress() && much);
        if due {
            self.commit(producer)?;
        }
        self.report(now_ms());
        Ok(due)
    }

    /// Commits what there is to say, the state that changed, and the position, as one.
    fn commit(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        let Self { partition, settings, metrics, reader, detector, findings, committed, .. } = self;
        let begun = Instant::now();
        let next = reader.position();
        producer.begin()?;
        let mut value = Vec::new();
        for alert in findings.iter().filter(|finding| !finding.shadow).map(|finding| &finding.alert) {
            value.clear();
            alert.write(&settings.ids, &mut value);
            let to = lane::of_name(&alert.rule, settings.plan.alert_partitions);
            producer.send(Topic::Alerts, to, Some(alert.rule.as_bytes()), Some(&value), NO_HEADERS)?;
        }
        for change in detector.snapshot() {
            producer.send(Topic::DetectorState, *partition, Some(&change.key), change.value.as_deref(), NO_HEADERS)?;
        }
        let position_header = [("signals", next.to_string())];
        let lanes = detector.lanes_snapshot();
        producer.send(Topic::DetectorState, *partition, Some(PROGRESS), Some(&lanes), &position_header)?;
        let position = Position { topic: Topic::Signals, partition: *partition, next, metadata: String::new() };
        producer.commit(GROUP, &[position])?;
        *committed = next;
        findings.drain(..).for_each(|finding| metrics.alert(&finding.alert));
        metrics.lanes.transaction(SERVICE, begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn finish(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        if self.has_progress() { self.commit(producer) } else { Ok(()) }
    }

    fn ended(&mut self, end: &Result<(), End>) {
        // A lane that is to open again is behind all the while.
        if matches!(end, Ok(()) | Err(End::Fenced)) {
            self.metrics.forget(self.partition);
        }
    }
}

/// Every partition that a lane writes to.
pub(super) fn written_to(settings: &Settings, partition: u16) -> Writes {
    let alerts = (0..settings.plan.alert_partitions).map(|partition| (Topic::Alerts, partition));
    Writes::records(alerts.chain([(Topic::DetectorState, partition)])).positions(GROUP)
}

/// Restores what the lane knew, and finds where it goes on.
fn resume(settings: &Settings, partition: u16, detector: &mut Detector, metrics: &DetectMetrics) -> Result<i64, End> {
    let positions = Positions::open(&settings.cluster, GROUP, PATIENCE)?;
    let committed = positions.committed_behind_fence(Topic::Signals, partition)?.map(|committed| committed.next);
    let stored = restore(settings, partition, detector)?;
    match (stored, committed) {
        (Some(stored), Some(committed)) if stored == committed => Ok(stored),
        (Some(stored), None) => {
            metrics.lanes.position_disagrees(SERVICE);
            tracing::warn!(
                service = SERVICE,
                partition,
                signals = stored,
                "the committed position is gone; the state has it"
            );
            Ok(stored)
        }
        (Some(stored), Some(committed)) if stored < committed => {
            tracing::error!(
                service = SERVICE,
                partition,
                "somebody moved the position of {GROUP}: the signals {stored} to {committed} count for no rule"
            );
            Ok(committed)
        }
        // They are committed in one transaction, and the state stands in a log: what the group's coordinator says is older.
        (Some(stored), Some(committed)) => {
            metrics.lanes.position_disagrees(SERVICE);
            tracing::warn!(
                service = SERVICE,
                partition,
                given = committed,
                signals = stored,
                "the broker gave out an earlier position of the lane as the committed one (Kafka's coordinator can, after a crash; or somebody \
                 moved it back); the lane goes on where its state ends, and nothing counts twice"
            );
            Ok(stored)
        }
        (None, Some(committed)) => Err(End::Halt {
            reason: HaltReason::StateMissing,
            message: format!(
                "the position of {GROUP} is {committed}, and {} holds no state that belongs to it; delete the position to \
                 start anew from the signals that are kept",
                Topic::DetectorState
            ),
        }),
        (None, None) => Ok(positions.stable(Topic::Signals, partition)?.low),
    }
}

/// Reads the partition's state. The position that it includes, if there is any state.
fn restore(settings: &Settings, partition: u16, detector: &mut Detector) -> Result<Option<i64>, End> {
    // The last value under a key counts, and the lanes come first: so everything is read before anything is restored.
    let mut latest = std::collections::HashMap::new();
    let mut progress = None;
    read_all_committed(&settings.cluster, Topic::DetectorState, partition, None, None, |record| {
        let key = record.key().unwrap_or_default();
        match record.payload() {
            Some(lanes) if key == PROGRESS => {
                progress = Some((progress_of(record)?, lanes.to_vec()));
            }
            Some(value) => drop(latest.insert(key.to_vec(), value.to_vec())),
            None => drop(latest.remove(key)),
        }
        Ok(())
    })?;
    let Some((signals, lanes)) = progress else { return Ok(None) };
    detector.restore_lanes(&lanes).map_err(|error| broken(error.to_string()))?;
    for (key, value) in &latest {
        detector.restore(key, value).map_err(|error| broken(error.to_string()))?;
    }
    detector.restored().map_err(|error| broken(error.to_string()))?;
    Ok(Some(signals))
}

/// The position that a record of the progress names.
pub(super) fn progress_of(record: &Record<'_>) -> Result<i64, End> {
    let signals = record.headers().get("signals").and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok());
    signals.ok_or_else(|| broken("its progress names no position".to_owned()))
}

pub(super) fn broken(message: String) -> End {
    End::Halt { reason: HaltReason::StateBroken, message: format!("{message} ({})", Topic::DetectorState) }
}
