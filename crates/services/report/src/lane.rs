//! One lane: blocks in the order of their cuts.

use std::time::{Duration, Instant};

use event::{Cut, LinkEvent};
use kafka::Topic;
use kafka::lane::{
    End, Isolation, Lane, LaneProducer, LaneReader, PATIENCE, Position, Record, ScanError, Stage, Writes,
    first_committed,
};
use kafka::positions::Positions;
use runtime::clock::since_1970;
use runtime::{Component, HaltReason, Shutdown};
use tokio::runtime::Handle;
use warehouse::{Block, BlockBuilder, BlockStore, Life, Next, Warehouse, WarehouseError};

use crate::erased::Erased;
use crate::metrics::ReportMetrics;
use crate::standing::{Before, GROUP, Held, Moment, Standing};
use crate::traced::Traced;
use crate::{SERVICE, Settings};

/// Records taken from the reader at once.
const CHUNK: usize = 2_000;

/// Runs a lane until the stop is given or it cannot go on.
pub(crate) fn run(
    settings: &Settings,
    lane: u16,
    handle: &Handle,
    metrics: &ReportMetrics,
    component: &Component,
    shutdown: &Shutdown,
) -> Result<(), End> {
    let writes = Writes::nothing().positions(GROUP);
    let at = Lane { cluster: &settings.cluster, stage: SERVICE, number: lane, writes };
    let open = |producer: &LaneProducer| OpenLane::open(settings, lane, handle, metrics, producer);
    kafka::lane::run(at, component, || shutdown.is_stopping(), open)
}

/// A lane at work.
struct OpenLane<'s> {
    lane: u16,
    settings: &'s Settings,
    handle: &'s Handle,
    metrics: &'s ReportMetrics,
    reader: LaneReader,
    blocks: BlockStore,
    builder: BlockBuilder,
    /// What was erased, as the builder knows it.
    erased: Erased,
    /// The traced rows of the open block.
    traced: Traced,
    standing: Standing,
}

impl<'s> OpenLane<'s> {
    fn open(
        settings: &'s Settings,
        lane: u16,
        handle: &'s Handle,
        metrics: &'s ReportMetrics,
        producer: &LaneProducer,
    ) -> Result<Self, End> {
        let (cluster, fenced) = (&settings.cluster, (producer.proof(), Moment::now()));
        let committed = Positions::open(cluster, GROUP, PATIENCE)?.committed_behind_fence(Topic::Events, lane)?;
        let before = |position: i64| -> Result<Before, ScanError<_>> {
            let found = first_committed(cluster, Topic::Events, lane, position - 1, |record| {
                (record.offset() == position - 1).then(|| before(record))
            })?;
            Ok(found.flatten().unwrap_or(Before::Nothing))
        };
        let standing = Standing::open(committed.as_ref(), fenced, |position| before(position).map_err(End::from))?;
        look_below(settings, lane, handle, &standing)?;
        let position = standing.position();
        let reader = LaneReader::open(cluster, Topic::Events, lane, position, Isolation::Committed)?;
        tracing::info!(service = SERVICE, lane, position, raw = standing.progress().raw_hi, "the lane is open");
        Ok(Self {
            lane,
            settings,
            handle,
            metrics,
            reader,
            blocks: settings.warehouse.blocks(),
            builder: BlockBuilder::new(settings.control.incarnation.clone(), lane),
            erased: Erased::default(),
            traced: Traced::default(),
            standing,
        })
    }

    /// Takes a chunk of records; each cut in it ends a block. Whether there was one.
    fn take(&mut self, producer: &mut LaneProducer) -> Result<bool, End> {
        let mut cuts = Vec::new();
        {
            // A block is finished while its records are borrowed, and stored after.
            let records = self.reader.fetch(CHUNK, Duration::from_millis(200))?;
            for record in &records {
                match record.payload() {
                    Some(value) => {
                        let event = LinkEvent::from_wire(&self.settings.ids, value).map_err(|error| {
                            End::halt(
                                HaltReason::UndecodableEvent,
                                format!("events/{} at offset {}: {error}", self.lane, record.offset()),
                            )
                        })?;
                        if self.builder.rows() == 0
                            && let Some(erasures) = self.erased.news(&self.settings.cluster, &self.reader)?
                        {
                            self.builder.without(erasures);
                        }
                        self.builder
                            .push(&event)
                            .map_err(|error| End::halt(HaltReason::ColumnShape, error.to_string()))?;
                        if self.settings.traces.is_on() {
                            self.traced.row(self.lane, record);
                        }
                    }
                    None => {
                        let cut = Cut::from_headers(record.headers().iter()).ok_or_else(|| {
                            End::halt(
                                HaltReason::UnknownCut,
                                format!(
                                    "events/{} at offset {} is no cut that this version knows: upgrade",
                                    self.lane,
                                    record.offset()
                                ),
                            )
                        })?;
                        let traced = std::mem::take(&mut self.traced);
                        cuts.push((cut, record.offset(), self.builder.finish(record.offset() as u64), traced));
                    }
                }
            }
        }
        let any = !cuts.is_empty();
        for (cut, offset, block, traced) in cuts {
            let begun = since_1970();
            self.store(producer, &block)?;
            let inserted = since_1970();
            self.standing.pass(&cut, offset);
            self.commit(producer)?;
            traced.committed(&self.settings.traces, self.lane, block.rows(), begun, inserted);
        }
        Ok(any)
    }

    /// Brings a block into ClickHouse, exactly once. An error ends the lane; when it is opened again, its first block is
    /// uncertain: this one.
    fn store(&mut self, producer: &mut LaneProducer, block: &Block) -> Result<(), End> {
        if block.rows() == 0 {
            return Ok(());
        }
        let begun = Instant::now();
        if self.standing.may_be_there() {
            let asked = Moment::now();
            let (incarnation, position) = (&self.settings.control.incarnation, self.standing.position() as u64);
            let beyond = self.blocks.rows_beyond(incarnation, self.lane, position);
            let beyond = self.handle.block_on(beyond).map_err(not_stored)?;
            if self.standing.explain(self.lane, block.id().cut, &beyond, asked)? {
                self.metrics.lanes.position_disagrees(SERVICE);
                tracing::warn!(
                    service = SERVICE,
                    lane = self.lane,
                    given = position,
                    last_block = beyond.last().map(|(cut, _)| cut),
                    "ClickHouse has later blocks than the committed position: the broker gave out an earlier one (Kafka's coordinator can, \
                     after a crash; or somebody moved it back); each block is read back, and only what is missing goes in"
                );
            }
        }
        let mut settling = self.standing.settling(block.by_side(), Moment::now());
        loop {
            match settling.next() {
                Next::Insert(insert) => {
                    self.erased.still_holds(&self.settings.cluster, &self.reader)?;
                    match self.standing.permit(Moment::now()) {
                        Some(permit) => {
                            self.handle.block_on(self.blocks.send(block, &insert, permit)).map_err(not_stored)?;
                            settling.inserted();
                        }
                        None => {
                            self.standing.prove(producer.prove()?);
                            settling.aged();
                        }
                    }
                }
                Next::Read => settling.read(&self.handle.block_on(self.blocks.read(block)).map_err(not_stored)?),
                Next::Done(completion) => {
                    if completion.missing > 0 || !completion.repeated.is_empty() {
                        tracing::warn!(service = SERVICE, lane = self.lane, block = %block.id(), ?completion, "an uncertain block was completed");
                    }
                    break;
                }
                Next::StillMissing { missing, first, repairs } => {
                    let block = block.id().to_string();
                    return Err(not_stored(WarehouseError::StillMissing { block, missing, first, repairs }));
                }
            }
        }
        self.standing.settled();
        self.metrics.insert_seconds.observe(begun.elapsed().as_secs_f64());
        self.metrics.rows.inc_by(block.rows() as u64);
        Ok(())
    }
}

impl Stage for OpenLane<'_> {
    fn position(&self) -> i64 {
        self.standing.position()
    }

    fn turn(&mut self, producer: &mut LaneProducer, _last_commit: Instant) -> Result<bool, End> {
        self.take(producer)
    }

    /// Commits the position. The commit is also a proof of the fence.
    fn commit(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        let begun = Instant::now();
        let position = Position {
            topic: Topic::Events,
            partition: self.lane,
            next: self.standing.position(),
            metadata: self.standing.progress().to_string(),
        };
        producer.begin()?;
        producer.commit(GROUP, &[position])?;
        self.standing.prove(producer.proof());
        self.metrics.lanes.transaction(SERVICE, begun.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Holds what ClickHouse has of the lane against its position.
fn look_below(settings: &Settings, lane: u16, handle: &Handle, standing: &Standing) -> Result<(), End> {
    let (warehouse, incarnation) = (&settings.warehouse, &settings.control.incarnation);
    let raw_hi = standing.progress().raw_hi;
    let held = handle.block_on(async {
        let raw_end = warehouse.blocks().max_offset(incarnation, lane).await?.map_or(0, |last| last + 1);
        // Of the lane's own shard alone: it goes on while others are away.
        let lost = warehouse.losses_of(incarnation, lane).await?;
        let others = match (raw_end, raw_hi) {
            (0, 0) => other_lives(warehouse, incarnation).await?,
            _ => Vec::new(),
        };
        Ok(Held { raw_end, lost, others })
    });
    let kept_since = Moment::now().wall_ms - i64::from(settings.layout.events_days) * 86_400_000;
    standing.hold_against(lane, &held.map_err(not_stored)?, kept_since)
}

/// The lives of the topics that have rows and were not said to be over; none if this one has rows.
async fn other_lives(warehouse: &Warehouse, incarnation: &str) -> Result<Vec<Life>, WarehouseError> {
    let mut lives = warehouse.lives().await?;
    if lives.is_empty() || lives.iter().any(|life| life.incarnation == incarnation) {
        return Ok(Vec::new());
    }
    let ended = warehouse.ended_lives().await?;
    lives.retain(|life| !ended.contains(&life.incarnation));
    Ok(lives)
}

/// What a record of `events` before a position is.
fn before(record: &Record<'_>) -> Before {
    match (record.payload(), Cut::from_headers(record.headers().iter())) {
        (None, Some(cut)) => Before::Cut(cut),
        _ => Before::Other,
    }
}

/// A block or a log that ClickHouse did not take.
pub(crate) fn not_stored(error: WarehouseError) -> End {
    match error {
        WarehouseError::StillMissing { .. } => End::halt(HaltReason::RowsMissing, error.to_string()),
        // A refusal may be mended in ClickHouse (a table, a right, a disk): the block waits and is tried again, visibly.
        other => End::Retry(other.to_string()),
    }
}
