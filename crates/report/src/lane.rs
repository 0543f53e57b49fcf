//! One lane: blocks in the order of their cuts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event::{Cut, LinkEvent, Progress};
use kafka::Topic;
use kafka::lane::{End, Fence, Isolation, LaneProducer, LaneReader, Position, TxnError};
use kafka::positions::Positions;
use runtime::lanes::LaneEnd;
use runtime::{Component, Lag, Shutdown};
use tokio::runtime::Handle;
use warehouse::{Block, BlockBuilder, BlockStore, WarehouseError};

use crate::metrics::ReportMetrics;
use crate::{SERVICE, Settings};

/// The group that holds the positions of `report`; it never has members.
pub const GROUP: &str = "hookline-report";
/// A transaction that takes longer is aborted by the broker, and its lane fenced.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the broker is asked for positions.
const PATIENCE: Duration = Duration::from_secs(10);
/// An insert is made under a proof of the fence that is no older than this: a sleeper that wakes does not insert.
const PROOF: Duration = Duration::from_secs(10);
/// An idle lane commits at least this often, so that its position never expires.
const IDLE_COMMIT: Duration = Duration::from_secs(3_600);
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
) -> LaneEnd {
    let end = OpenLane::open(settings, lane, handle, metrics).and_then(|mut open| {
        component.ready();
        open.work(shutdown)
    });
    match end {
        Ok(()) => LaneEnd::Stopped,
        Err(end) => end.into(),
    }
}

/// A lane at work.
struct OpenLane<'s> {
    lane: u16,
    settings: &'s Settings,
    handle: &'s Handle,
    metrics: &'s ReportMetrics,
    producer: LaneProducer,
    reader: LaneReader,
    blocks: BlockStore,
    builder: BlockBuilder,
    /// One past the last committed cut, on `events`.
    position: i64,
    progress: Progress,
    /// Whether the next block may be in ClickHouse already, whole or in part.
    uncertain: bool,
    /// When the fence was last proven.
    proven: Instant,
}

impl<'s> OpenLane<'s> {
    fn open(settings: &'s Settings, lane: u16, handle: &'s Handle, metrics: &'s ReportMetrics) -> Result<Self, End> {
        let producer = Fence::open(&settings.cluster, SERVICE, lane, TRANSACTION_TIMEOUT)?;
        let proven = Instant::now();
        let committed = Positions::open(&settings.cluster, GROUP, PATIENCE)?.committed(Topic::Events, lane)?;
        let (position, progress) = match committed {
            Some(committed) => {
                let progress = committed.metadata.parse().map_err(|error| {
                    End::halt("position", format!("{error}; upgrade, or reset the position by hand"))
                })?;
                (committed.next, progress)
            }
            None => (0, Progress::default()),
        };
        let blocks = settings.warehouse.blocks();
        let reader = LaneReader::open(&settings.cluster, Topic::Events, lane, position, Isolation::Committed)?;
        tracing::info!(service = SERVICE, lane, position, raw = progress.raw_hi, "the lane is open");
        Ok(Self {
            lane,
            settings,
            handle,
            metrics,
            producer,
            reader,
            blocks,
            builder: BlockBuilder::new(settings.control.incarnation.clone(), lane),
            position,
            progress,
            uncertain: true,
            proven,
        })
    }

    fn work(&mut self, shutdown: &Shutdown) -> Result<(), End> {
        let mut last_commit = Instant::now();
        while !shutdown.is_stopping() {
            if self.take()? {
                last_commit = Instant::now();
            }
            if last_commit.elapsed() > IDLE_COMMIT {
                self.commit()?;
                last_commit = Instant::now();
            }
            self.report_lag();
        }
        Ok(())
    }

    /// Takes a chunk of records; each cut in it ends a block. Whether there was one.
    fn take(&mut self) -> Result<bool, End> {
        let mut cuts = Vec::new();
        {
            // A block is finished while its records are borrowed, and stored after.
            let records = self.reader.fetch(CHUNK, Duration::from_millis(200))?;
            for record in &records {
                match record.payload() {
                    Some(value) => {
                        let event = LinkEvent::from_wire(value).map_err(|error| {
                            End::halt(
                                "undecodable_event",
                                format!("events/{} at offset {}: {error}", self.lane, record.offset()),
                            )
                        })?;
                        self.builder.push(&event).map_err(|error| End::halt("column_shape", error.to_string()))?;
                    }
                    None => {
                        let cut = Cut::from_headers(record.headers().iter()).ok_or_else(|| {
                            End::halt(
                                "unknown_cut",
                                format!(
                                    "events/{} at offset {} is no cut that this version knows: upgrade",
                                    self.lane,
                                    record.offset()
                                ),
                            )
                        })?;
                        cuts.push((cut, record.offset(), self.builder.finish(record.offset() as u64)));
                    }
                }
            }
        }
        let any = !cuts.is_empty();
        for (cut, offset, block) in cuts {
            self.store(&block)?;
            self.position = offset + 1;
            self.progress = Progress { raw_hi: cut.raw_hi, watermark: cut.watermark };
            self.commit()?;
        }
        Ok(any)
    }

    /// Brings a block into ClickHouse, exactly once.
    fn store(&mut self, block: &Block) -> Result<(), End> {
        if block.rows() == 0 {
            return Ok(());
        }
        if self.proven.elapsed() > PROOF {
            self.producer.prove()?;
            self.proven = Instant::now();
        }
        let begun = Instant::now();
        if self.uncertain {
            self.explain(block)?;
            let completion = self.handle.block_on(self.blocks.complete_uncertain(block)).map_err(not_stored)?;
            if completion.missing > 0 || !completion.repeated.is_empty() {
                tracing::warn!(service = SERVICE, lane = self.lane, block = %block.id(), ?completion, "an uncertain block was completed");
            }
            self.uncertain = false;
        } else {
            // An error ends the lane; when it is opened again, its first block is uncertain: this one.
            self.handle.block_on(self.blocks.insert(block)).map_err(not_stored)?;
        }
        self.metrics.insert_seconds.observe(begun.elapsed().as_secs_f64());
        self.metrics.rows.inc_by(block.rows() as u64);
        Ok(())
    }

    /// At a start, all rows beyond the position must be those of the open block: anything else means that the position or
    /// the topics are not the ones that these rows came from.
    fn explain(&self, block: &Block) -> Result<(), End> {
        let incarnation = &self.settings.control.incarnation;
        let beyond = self
            .handle
            .block_on(self.blocks.rows_beyond(incarnation, self.lane, self.position as u64))
            .map_err(not_stored)?;
        let unexplained = beyond.iter().filter(|(cut, _)| *cut != block.id().cut);
        let (blocks, rows, last) =
            unexplained.fold((0, 0, 0), |(blocks, rows, last), (cut, of)| (blocks + 1, rows + of, (*cut).max(last)));
        if blocks == 0 {
            return Ok(());
        }
        Err(End::halt(
            "rows_beyond_position",
            format!(
                "ClickHouse has {rows} rows of lane {} in {blocks} blocks (up to cut {last}) beyond the committed position {}: the position of \
                 {GROUP} was moved back or lost. Nothing was written, since it might double rows; docs/runbooks/lane-stalled.md \
                 says how to go on",
                self.lane, self.position
            ),
        ))
    }

    /// Commits the position. The commit is also a proof of the fence.
    fn commit(&mut self) -> Result<(), End> {
        let begun = Instant::now();
        let position = Position {
            topic: Topic::Events,
            partition: self.lane,
            next: self.position,
            metadata: self.progress.to_string(),
        };
        self.producer.begin()?;
        if let Err(error) = self.producer.commit(GROUP, &[position]) {
            if matches!(error, TxnError::Abortable { .. }) {
                self.producer.abort()?;
            }
            return Err(error.into());
        }
        self.proven = Instant::now();
        self.metrics.lanes.transaction(SERVICE, begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn report_lag(&self) {
        let Some(records) = self.reader.lag_records() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        let seconds = self.reader.lag_ms(now).unwrap_or(0) as f64 / 1_000.0;
        let headroom =
            if records == 0 { f64::INFINITY } else { self.settings.plan.events_retention.as_secs_f64() - seconds };
        let lag = Lag { records: records as u64, seconds, headroom_seconds: headroom };
        self.metrics.lanes.set_lag(SERVICE, "events", self.lane, lag);
    }
}

/// A block or a log that ClickHouse did not take.
pub(crate) fn not_stored(error: WarehouseError) -> End {
    match error {
        WarehouseError::StillMissing { .. } => End::halt("rows_missing", error.to_string()),
        // A refusal may be mended in ClickHouse (a table, a right, a disk): the block waits and is tried again, visibly.
        other => End::Retry(other.to_string()),
    }
}
