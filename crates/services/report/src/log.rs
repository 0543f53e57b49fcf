//! Alerts and deliveries into ClickHouse: small logs for people, a partition at a time, at least once and shown once.

use std::time::{Duration, Instant};

use event::{Alert, Delivery};
use kafka::Topic;
use kafka::lane::{End, Fence, Isolation, LaneProducer, LaneReader, Position, TxnError, Writes};
use kafka::positions::Positions;
use runtime::lanes::LaneEnd;
use runtime::{Component, HaltReason, Shutdown};
use tokio::runtime::Handle;

use crate::Settings;
use crate::lane::not_stored;

/// Records of one insert.
const CHUNK: usize = 5_000;
/// How long records are gathered: these tables need no freshness, and ClickHouse likes few inserts.
const CADENCE: Duration = Duration::from_secs(1);
/// A transaction that takes longer is aborted by the broker, and its lane fenced.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle log commits at least this often, so that its position never expires.
const IDLE_COMMIT: Duration = Duration::from_secs(3_600);
/// How long the broker is asked for positions.
const PATIENCE: Duration = Duration::from_secs(10);

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
    fn group(self) -> String {
        format!("hookline-{}", self.stage())
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
) -> LaneEnd {
    let writes = Writes::nothing().positions(&log.group());
    let mut producer = match Fence::open(&settings.cluster, log.stage(), partition, TRANSACTION_TIMEOUT, writes) {
        Ok(producer) => producer,
        Err(error) => return End::from(error).into(),
    };
    match copy(settings, log, partition, &mut producer, handle, component, shutdown) {
        Ok(()) => LaneEnd::Stopped,
        Err(end) => producer.confirm(end).into(),
    }
}

fn copy(
    settings: &Settings,
    log: Log,
    partition: u16,
    producer: &mut LaneProducer,
    handle: &Handle,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    let Settings { cluster, control, warehouse, ids, .. } = settings;
    let (topic, group) = (log.topic(), log.group());
    let positions = Positions::open(cluster, &group, PATIENCE)?;
    let start = match positions.committed(topic, partition)? {
        Some(committed) => committed.next,
        // What is copied again is shown once, so a lost position costs work only.
        None => positions.stable(topic, partition)?.low,
    };
    let reader = LaneReader::open(cluster, topic, partition, start, Isolation::Committed)?;
    component.ready();
    let mut last_commit = Instant::now();
    while !shutdown.is_stopping() {
        component.beat();
        let records = reader.fetch(CHUNK, Duration::from_millis(200))?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            if last_commit.elapsed() > IDLE_COMMIT {
                commit(producer, &group, topic, partition, reader.position())?;
                last_commit = Instant::now();
            }
            continue;
        };
        let token = format!("{}-{topic}-{partition}-{}-{}", control.incarnation, first.offset(), last.offset());
        let undecodable = |error| {
            End::halt(
                HaltReason::Undecodable,
                format!("{topic}/{partition}, offsets {}–{}: {error}", first.offset(), last.offset()),
            )
        };
        let values = || records.iter().filter_map(|record| record.payload());
        match log {
            Log::Alerts => {
                let alerts: Vec<Alert<'_>> = values()
                    .map(|value| Alert::from_wire(ids, value))
                    .collect::<Result<_, _>>()
                    .map_err(undecodable)?;
                handle.block_on(warehouse.insert_alerts(&alerts, &token)).map_err(not_stored)?;
            }
            Log::Deliveries => {
                let steps: Vec<Delivery<'_>> = values()
                    .map(|value| Delivery::from_wire(ids, value))
                    .collect::<Result<_, _>>()
                    .map_err(undecodable)?;
                handle.block_on(warehouse.insert_deliveries(&steps, &token)).map_err(not_stored)?;
            }
        }
        commit(producer, &group, topic, partition, reader.position())?;
        last_commit = Instant::now();
        drop(records);
        kafka::lane::pause("a batch worth an insert", CADENCE);
    }
    Ok(())
}

fn commit(producer: &mut LaneProducer, group: &str, topic: Topic, partition: u16, next: i64) -> Result<(), End> {
    producer.begin()?;
    let position = Position { topic, partition, next, metadata: String::new() };
    if let Err(error) = producer.commit(group, &[position]) {
        if matches!(error, TxnError::Abortable { .. }) {
            producer.abort()?;
        }
        return Err(error.into());
    }
    Ok(())
}
