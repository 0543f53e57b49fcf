//! Alerts and deliveries into ClickHouse: small logs for people, a partition at a time, at least once and shown once.

use std::time::Duration;

use event::{Alert, Delivery};
use kafka::Topic;
use kafka::lane::{End, Fence, Isolation, LaneReader, Position};
use kafka::positions::Positions;
use runtime::lanes::LaneEnd;
use runtime::{Component, Shutdown};
use tokio::runtime::Handle;

use crate::Settings;
use crate::lane::not_stored;

/// Records of one insert.
const CHUNK: usize = 5_000;
/// How long records are gathered: these tables need no freshness, and ClickHouse likes few inserts.
const CADENCE: Duration = Duration::from_secs(1);
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
    match copy(settings, log, partition, handle, component, shutdown) {
        Ok(()) => LaneEnd::Stopped,
        Err(end) => end.into(),
    }
}

fn copy(
    settings: &Settings,
    log: Log,
    partition: u16,
    handle: &Handle,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    let Settings { cluster, control, warehouse, .. } = settings;
    let (topic, group) = (log.topic(), format!("hookline-{}", log.stage()));
    let mut producer = Fence::open(cluster, log.stage(), partition, PATIENCE)?;
    let committed = Positions::open(cluster, &group, PATIENCE)?.committed(topic, partition)?;
    let start = committed.map_or(0, |committed| committed.next);
    let reader = LaneReader::open(cluster, topic, partition, start, Isolation::Committed)?;
    component.ready();
    while !shutdown.is_stopping() {
        let records = reader.fetch(CHUNK, Duration::from_millis(200))?;
        let (Some(first), Some(last)) = (records.first(), records.last()) else { continue };
        let token = format!("{}-{topic}-{partition}-{}-{}", control.incarnation, first.offset(), last.offset());
        let undecodable = |error| {
            End::halt(
                "undecodable",
                format!("{topic}/{partition}, offsets {}–{}: {error}", first.offset(), last.offset()),
            )
        };
        let values = || records.iter().filter_map(|record| record.payload());
        match log {
            Log::Alerts => {
                let alerts: Vec<Alert<'_>> =
                    values().map(Alert::from_wire).collect::<Result<_, _>>().map_err(undecodable)?;
                handle.block_on(warehouse.insert_alerts(&alerts, &token)).map_err(not_stored)?;
            }
            Log::Deliveries => {
                let steps: Vec<Delivery<'_>> =
                    values().map(Delivery::from_wire).collect::<Result<_, _>>().map_err(undecodable)?;
                handle.block_on(warehouse.insert_deliveries(&steps, &token)).map_err(not_stored)?;
            }
        }
        producer.begin()?;
        producer.commit(&group, &[Position { topic, partition, next: reader.position(), metadata: String::new() }])?;
        drop(records);
        kafka::lane::pause("a batch worth an insert", CADENCE);
    }
    Ok(())
}
