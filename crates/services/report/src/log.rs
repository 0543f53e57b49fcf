//! Alerts and deliveries into ClickHouse: small logs for people, a partition at a time, at least once and shown once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use event::{Alert, Delivery};
use kafka::lane::{End, Isolation, Lane, LaneProducer, LaneReader, PATIENCE, Position, Stage, Writes};
use kafka::positions::Positions;
use kafka::{Topic, groups};
use runtime::{Component, HaltReason, Shutdown};
use tokio::runtime::Handle;

use crate::Settings;
use crate::erased::Erased;
use crate::lane::not_stored;

/// Records of one insert.
const CHUNK: usize = 5_000;
/// How long records are gathered: these tables need no freshness, and ClickHouse likes few inserts.
const CADENCE: Duration = Duration::from_secs(1);

/// Which log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Log {
    Alerts,
    Deliveries,
}

impl Log {
    pub(crate) fn topic(self) -> Topic {
        match self {
            Log::Alerts => Topic::Alerts,
            Log::Deliveries => Topic::Deliveries,
        }
    }

    /// The stage's name: in the fence's id, in the group's, in health.
    pub(crate) fn stage(self) -> &'static str {
        match self {
            Log::Alerts => "report-alerts",
            Log::Deliveries => "report-deliveries",
        }
    }

    /// The group that holds the positions; it never has members.
    fn group(self) -> &'static str {
        match self {
            Log::Alerts => groups::REPORT_ALERTS,
            Log::Deliveries => groups::REPORT_DELIVERIES,
        }
    }
}

/// Copies one partition until the stop is given.
pub(crate) fn run(
    settings: &Settings,
    log: Log,
    partition: u16,
    handle: &Handle,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    let writes = Writes::nothing().positions(log.group());
    let at = Lane { cluster: &settings.cluster, stage: log.stage(), number: partition, writes };
    kafka::lane::run(at, component, || shutdown.is_stopping(), |_| OpenLog::open(settings, log, partition, handle))
}

/// A partition of a log at work.
struct OpenLog<'s> {
    log: Log,
    partition: u16,
    settings: &'s Settings,
    handle: &'s Handle,
    reader: LaneReader,
    /// One past the last record that is committed.
    committed: i64,
    /// What was erased: a topic that is copied again brings none of it back.
    erased: Erased,
}

impl<'s> OpenLog<'s> {
    fn open(settings: &'s Settings, log: Log, partition: u16, handle: &'s Handle) -> Result<Self, End> {
        let (cluster, topic) = (&settings.cluster, log.topic());
        let positions = Positions::open(cluster, log.group(), PATIENCE)?;
        let committed = match positions.committed(topic, partition)? {
            Some(committed) => committed.next,
            // What is copied again is shown once, so a lost position costs work only.
            None => positions.stable(topic, partition)?.low,
        };
        let reader = LaneReader::open(cluster, topic, partition, committed, Isolation::Committed)?;
        Ok(Self { log, partition, settings, handle, reader, committed, erased: Erased::default() })
    }

    /// Takes what has come and brings it into ClickHouse. Whether there was something.
    fn copy(&mut self) -> Result<bool, End> {
        let Settings { control, warehouse, ids, .. } = self.settings;
        let (topic, partition) = (self.log.topic(), self.partition);
        let records = self.reader.fetch(CHUNK, Duration::from_millis(200))?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(false) };
        self.erased.news(&self.settings.cluster, &self.reader)?;
        let token = format!("{}-{topic}-{partition}-{}-{}", control.incarnation, first.offset(), last.offset());
        let undecodable = |error| {
            End::halt(
                HaltReason::Undecodable,
                format!("{topic}/{partition}, offsets {}–{}: {error}", first.offset(), last.offset()),
            )
        };
        let values = || records.iter().filter_map(|record| record.payload());
        match self.log {
            Log::Alerts => {
                let mut alerts: Vec<Alert<'_>> = values()
                    .map(|value| Alert::from_wire(ids, value))
                    .collect::<Result<_, _>>()
                    .map_err(undecodable)?;
                for alert in &mut alerts {
                    if let Some(erasure) = self.erased.known().iter().find(|erasure| erasure.covers_alert(alert)) {
                        *alert = warehouse::alert_stub(alert, &erasure.id);
                    }
                }
                self.handle.block_on(warehouse.insert_alerts(&alerts, &token)).map_err(not_stored)?;
            }
            Log::Deliveries => {
                let mut steps: Vec<Delivery<'_>> = values()
                    .map(|value| Delivery::from_wire(ids, value))
                    .collect::<Result<_, _>>()
                    .map_err(undecodable)?;
                if !self.erased.known().is_empty() {
                    self.erase_texts(&mut steps)?;
                }
                self.handle.block_on(warehouse.insert_deliveries(&steps, &token)).map_err(not_stored)?;
            }
        }
        Ok(true)
    }

    /// Takes the texts of steps away that tell of what was erased, as far as the alerts in them are known by now.
    fn erase_texts(&self, steps: &mut [Delivery<'_>]) -> Result<(), End> {
        let ids: BTreeSet<String> =
            steps.iter().flat_map(|step| &step.alert_ids).map(|id| id.clone().into_owned()).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let erased = self.handle.block_on(self.settings.warehouse.erased_alerts(&ids)).map_err(not_stored)?;
        for step in steps {
            let is_erased = step.alert_ids.iter().any(|id| erased.contains(id.as_ref()));
            if is_erased || self.erased.known().iter().any(|erasure| erasure.covers_message(step)) {
                warehouse::without_text(step);
            }
        }
        Ok(())
    }
}

impl Stage for OpenLog<'_> {
    fn position(&self) -> i64 {
        self.committed
    }

    fn turn(&mut self, producer: &mut LaneProducer, _last_commit: Instant) -> Result<bool, End> {
        let copied = self.copy()?;
        if copied {
            self.commit(producer)?;
            kafka::lane::pause("a batch worth an insert", CADENCE);
        }
        Ok(copied)
    }

    fn commit(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        let next = self.reader.position();
        let position = Position { topic: self.log.topic(), partition: self.partition, next, metadata: String::new() };
        producer.begin()?;
        producer.commit(self.log.group(), &[position])?;
        self.committed = next;
        Ok(())
    }
}
