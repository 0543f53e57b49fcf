//! The transaction of a lane: gather, drive the stages ([`crate::pipeline`]), cut, commit.

use std::time::{Duration, Instant};

use dedupe::changelog;
use kafka::Topic;
use kafka::lane::{End, LaneProducer, NO_HEADERS, Position, Record, TxnError, pause};
use runtime::HaltReason;
use runtime::clock::{Moment, now_ms, since_1970};

use super::open::OpenLane;
use crate::SERVICE;
use crate::opening::GROUP;
use crate::pipeline::{By, Open};
use crate::record::RawRecord;
use crate::tally::Tally;
use crate::traced::Traced;

/// A transaction that was begun.
pub(super) struct Begun {
    at: Instant,
    /// The same by the wall clock, since 1970.
    since_1970: Duration,
    records: u64,
    tally: Tally,
    traced: Traced,
}

impl Begun {
    fn now() -> Self {
        let (at, since_1970) = (Instant::now(), since_1970());
        Self { at, since_1970, records: 0, tally: Tally::default(), traced: Traced::default() }
    }
}

impl OpenLane<'_> {
    /// How long the lane may wait for records before something else is due.
    pub(super) fn next_deadline(&self, now_ms: i64) -> Duration {
        let due = self.advance.block_due_in_ms(now_ms).unwrap_or(1_000);
        Duration::from_millis(due.clamp(1, 1_000) as u64)
    }

    /// Whether a transaction is due though no record came: a block to end, or a watermark to tell.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.transaction.is_some() || self.advance.block_ends(now_ms) || self.stages.signals.tick_due(now_ms)
    }

    /// Reads and writes records until `cadence` has passed since the first, or `max` are written. Whether there were any.
    pub(super) fn gather(
        &mut self,
        producer: &mut LaneProducer,
        wait: Duration,
        cadence: Duration,
        max: u64,
        chunk: usize,
    ) -> Result<bool, End> {
        let mut deadline: Option<Instant> = None;
        loop {
            let wait = deadline.map_or(wait, |deadline| deadline.saturating_duration_since(Instant::now()));
            // What somebody lets pass the fuse is committed before the fuse can blow again.
            let passing = self.passing();
            if !self.take(producer, wait, passing.unwrap_or(chunk).min(chunk))? && deadline.is_none() {
                return Ok(false);
            }
            let until = *deadline.get_or_insert_with(|| Instant::now() + cadence);
            let full = self.transaction.as_ref().is_some_and(|begun| begun.records >= max);
            let passed = passing.is_some() && self.passing().is_none();
            if full || passed || Instant::now() >= until {
                return Ok(true);
            }
        }
    }

    /// How many of the next records may pass the fuse, if any may.
    fn passing(&self) -> Option<usize> {
        let last = self.settings.past_fuse.get(&self.lane)?;
        let next = u64::try_from(self.reader.position()).ok()?;
        let left = last.saturating_add(1).checked_sub(next).filter(|left| *left > 0)?;
        usize::try_from(left).ok()
    }

    /// Takes one chunk of records through the stages, into the transaction. Whether there were any.
    fn take(&mut self, producer: &mut LaneProducer, wait: Duration, chunk: usize) -> Result<bool, End> {
        self.begin_late(producer)?;
        let Self { lane, settings, decisions, reader, stages, references, advance, transaction, .. } = self;
        let records = reader.fetch(chunk, wait)?;
        if records.is_empty() {
            if reader.is_at_end()
                && let Some(time) = self.clock.time(Moment::now())
            {
                advance.idle(time);
            }
            return Ok(false);
        }
        let begun = match transaction {
            Some(begun) => begun,
            None => {
                // What labels are made of changes between transactions only: the position says by which catalogue.
                if let Some(newer) = decisions.references.newer(references) {
                    stages.step.refer_to(newer);
                }
                if let Some(newer) = settings.links.newer(&stages.catalogue) {
                    stages.told.read_back(Some(&newer));
                    stages.catalogue = newer;
                }
                advance.labels_by(stages.catalogue.version());
                producer.begin()?;
                transaction.insert(Begun::now())
            }
        };
        let by = By {
            lane: *lane,
            plan: &settings.plan,
            ids: &settings.ids,
            routes: &decisions.routes,
            fuse: settings.fuse,
            past_fuse: settings.past_fuse.get(lane).copied(),
            now: Moment::now(),
            traced_since: settings.traces.is_on().then(since_1970),
            raw_end: reader.position() + reader.lag_records().unwrap_or(0),
        };
        let raw: Vec<RawRecord<'_>> = records.iter().map(|record| view(*lane, record)).collect();
        let open = Open { advance, tally: &mut begun.tally, traced: &mut begun.traced };
        stages.take(&raw, &by, open, producer)?;
        begun.records += raw.len() as u64;
        advance.read_to(reader.position() as u64);
        Ok(true)
    }

    /// A transaction that was begun long ago is committed before more is added: the broker would time it out.
    fn begin_late(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        match &self.transaction {
            Some(begun) if begun.at.elapsed() > Duration::from_secs(2) => self.commit_transaction(producer),
            _ => Ok(()),
        }
    }

    /// Writes what belongs to the transaction as a whole, and commits it.
    pub(super) fn commit_transaction(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        let begun = match self.transaction.take() {
            Some(begun) => begun,
            None => {
                producer.begin()?;
                Begun::now()
            }
        };
        let now = now_ms();
        let Self { lane, settings, decisions, metrics, stages, advance, clock, clock_lines, .. } = self;
        let lane = *lane;
        let batches = stages.signals.batches(advance.watermark_ms(), now);
        let mut value = Vec::new();
        for (partition, batch) in &batches {
            value.clear();
            batch.write(&settings.ids, &mut value);
            producer.send(Topic::Signals, *partition, None, Some(&value), NO_HEADERS)?;
        }
        let closing = advance.close(now);
        let marks = changelog::encode(closing.raw_lo, closing.raw_hi, stages.window.pending())
            .map_err(|error| End::halt(HaltReason::SeenBroken, error.to_string()))?;
        for record in &marks {
            producer.send(Topic::Seen, lane, None, Some(record), NO_HEADERS)?;
        }
        if let Some(cut) = closing.cut {
            producer.send(Topic::Events, lane, None, None, &cut.headers())?;
        }
        let written = producer.flush()?;
        let Some(last_seen) = written.last(Topic::Seen, lane) else {
            return Err(End::Retry("the broker did not say where seen ends".into()));
        };
        let carried = advance.position(last_seen);
        let next = carried.seen.raw_hi as i64;
        producer
            .commit(GROUP, &[Position { topic: Topic::Raw, partition: lane, next, metadata: carried.to_string() }])?;
        let heard = Moment::now();
        // A topic of an earlier version has our own times: then there is no second clock.
        clock.hear(heard, written.stamped_ms(Topic::Seen, lane).unwrap_or(heard.wall_ms));
        stages.commit(advance, clock.time(heard), decisions.longest_window)?;
        stages.signals.committed(&batches, now);
        if clock.disagrees(heard) {
            metrics.own_clock.inc();
            if let Some(left_out) = clock_lines.due() {
                tracing::error!(
                    service = SERVICE,
                    lane,
                    left_out,
                    wall_ms = heard.wall_ms,
                    brokers_ms = written.stamped_ms(Topic::Seen, lane),
                    "this machine's clock and the broker's are over five minutes apart; the lane goes by the earlier of the two: \
                     docs/runbooks/clock-skew.md"
                );
            }
        }
        begun.tally.publish(metrics, &decisions.routes);
        begun.traced.committed(&settings.traces, lane, begun.records, begun.since_1970);
        metrics.lanes.transaction(SERVICE, begun.at.elapsed().as_secs_f64());
        Ok(())
    }

    /// Ends the open block when its time has come: its rows must not wait until somebody has looked at the lane.
    pub(super) fn end_block(&mut self, producer: &mut LaneProducer, is_over: impl Fn() -> bool) -> Result<(), End> {
        while let Some(due) = self.advance.block_due_in_ms(now_ms()) {
            if due == 0 || is_over() {
                return self.commit_transaction(producer);
            }
            pause("the end of the block", Duration::from_millis(due.clamp(1, 100) as u64));
        }
        Ok(())
    }

    /// Ends the open transaction without a trace, one that failed while it was committed too: readers wait for its end,
    /// and a lane that halts could not prove its fence beside it.
    pub(super) fn abort_transaction(&mut self, producer: &mut LaneProducer) -> Result<(), TxnError> {
        self.stages.abort(&mut self.advance);
        self.transaction = None;
        producer.abort()
    }
}

pub(super) fn view<'r>(lane: u16, record: &'r Record<'_>) -> RawRecord<'r> {
    let (key, body) = (record.key().unwrap_or_default(), record.payload().unwrap_or_default());
    RawRecord::from_parts(lane, record.offset() as u64, record.timestamp_ms(), key, body, record.headers().iter())
}
