//! The transaction of a lane: gather, decide, write, cut, commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dedupe::{Verdict, changelog};
use event::Outcome;
use event::lane::of_name;
use kafka::Topic;
use kafka::lane::{End, LaneProducer, NO_HEADERS, Position, Record, TxnError, pause};
use rules::Trigger;
use runtime::HaltReason;
use runtime::clock::{now_ms, since_1970};

use super::open::{OpenLane, unusable};
use super::reading;
use super::tally::Tally;
use super::traced::{Header, Traced};
use crate::clock::needed_from;
use crate::opening::GROUP;
use crate::step::{RawRecord, Reading};
use crate::{Decided, SERVICE};

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
        self.transaction.is_some() || self.advance.block_ends(now_ms) || self.signals.tick_due(now_ms)
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

    /// Takes one chunk of records into the transaction.
    fn take(&mut self, producer: &mut LaneProducer, wait: Duration, chunk: usize) -> Result<bool, End> {
        self.begin_late(producer)?;
        let Self {
            lane,
            settings,
            decisions,
            reader,
            window,
            step,
            references,
            catalogue,
            told,
            salts,
            signals,
            advance,
            clock,
            appended_ms,
            transaction,
            ..
        } = self;
        let records = reader.fetch(chunk, wait)?;
        if records.is_empty() {
            if reader.is_at_end()
                && let Some(time) = clock.time(reading())
            {
                advance.idle(time);
            }
            return Ok(false);
        }
        let begun = match transaction {
            Some(begun) => begun,
            None => {
                if let Some(newer) = decisions.references.newer(references) {
                    step.refer_to(newer);
                }
                if let Some(newer) = settings.links.newer(catalogue) {
                    told.read_back(Some(&newer));
                    *catalogue = newer;
                }
                advance.labels_by(catalogue.version());
                producer.begin()?;
                transaction.insert(Begun::now())
            }
        };
        let fetched = settings.traces.is_on().then(since_1970);
        let catalogue = Arc::clone(catalogue);
        let raw: Vec<RawRecord<'_>> = records.iter().map(|record| view(*lane, record)).collect();
        let mut readings: Vec<Reading<'_>> = raw.iter().map(|raw| step.read(raw)).collect();
        catalogue.bring(readings.iter().filter_map(Reading::link));
        let (now, latest) = (now_ms(), reading().latest());
        let mut candidates: Vec<_> = readings.iter().filter_map(Reading::candidate).collect();
        candidates.iter_mut().for_each(|candidate| candidate.not_after(latest));
        let mut verdicts = Vec::with_capacity(candidates.len());
        window.decide_batch(&candidates, &mut verdicts).map_err(unusable)?;
        let mut verdicts = verdicts.into_iter();
        let mut value = Vec::with_capacity(2_048);
        for (raw, reading) in raw.iter().zip(readings.drain(..)) {
            let verdict = if reading.candidate().is_some() { verdicts.next() } else { None };
            if let Some(Verdict::Rewound { offset }) = verdict {
                return Err(End::Halt {
                    reason: HaltReason::Rewound,
                    message: format!(
                        "raw offset {offset} of lane {lane} was committed before: the input was rewound; set the position of \
                         {GROUP} to the end of seen, or replay into shadow tables"
                    ),
                });
            }
            let work = fetched.and_then(|fetched| begun.traced.record(raw, fetched));
            let salt = step.salt_day(&reading).map(|day| salts.of(day)).transpose()?;
            let mut decided = step.decide(raw, reading, verdict, salt, Some(&*catalogue));
            begun.tally.count(&decided);
            if settings.past_fuse.get(lane).is_some_and(|last| raw.offset <= *last) {
                advance.passes();
            } else if raw.is_unforeseen()
                && let Some(blown) = advance.counts(decided.dead_letter.is_some(), settings.fuse)
            {
                let last = (reader.position() + reader.lag_records().unwrap_or(0) - 1).max(raw.offset as i64);
                return Err(End::halt(HaltReason::Fuse, begun.tally.fuse_message(*lane, raw.offset, blown, last)));
            }
            advance.saw(raw.time());
            *appended_ms = Some(raw.appended_at);
            begun.tally.clocks_off += u64::from(raw.disbelieved.is_some());
            let header = work.map(|work| begun.traced.send(work, Topic::Events, *lane));
            write(producer, settings, *lane, raw, &decided, &mut value, header.as_ref())?;
            advance.wrote(value.len(), now);
            let facts = std::mem::take(&mut decided.facts);
            for record in told.after(&decided.event, facts, Some(&*catalogue)) {
                value.clear();
                record.write(&settings.ids, &mut value);
                producer.send(Topic::Links, 0, Some(record.key().as_bytes()), Some(&value), NO_HEADERS)?;
            }
            if decided.event.outcome == Outcome::Event {
                for index in decisions.routes.matching_indexes(&decided.event) {
                    let rule = &decisions.routes.rules()[index];
                    // No destination is to hear of a shadow rule, so its alerts do not stand in the topic.
                    if rule.is_shadow() && rule.trigger() == Some(&Trigger::Each) {
                        *begun.tally.shadow_alerts.entry(index).or_default() += 1;
                    } else if let Some(alert) = rule.each_alert(&decided.event) {
                        value.clear();
                        alert.write(&settings.ids, &mut value);
                        let partition = of_name(rule.name(), settings.plan.alert_partitions);
                        let header = work.map(|work| begun.traced.send(work, Topic::Alerts, partition));
                        let key = Some(rule.name().as_bytes());
                        producer.send(Topic::Alerts, partition, key, Some(&value), headers(header.as_ref()))?;
                    }
                    signals.count(index, rule, &decided.event, advance.watermark_ms());
                }
            }
            if work.is_some() {
                begun.traced.became(&decided);
            }
            begun.records += 1;
        }
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
        let Self {
            lane,
            settings,
            decisions,
            metrics,
            window,
            signals,
            advance,
            clock,
            appended_ms,
            clock_was_told,
            ..
        } = self;
        let lane = *lane;
        let batches = signals.batches(advance.watermark_ms(), now);
        let mut value = Vec::new();
        for (partition, batch) in &batches {
            value.clear();
            batch.write(&settings.ids, &mut value);
            producer.send(Topic::Signals, *partition, None, Some(&value), NO_HEADERS)?;
        }
        let closing = advance.close(now);
        let marks = changelog::encode(closing.raw_lo, closing.raw_hi, window.pending())
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
        advance.commit();
        window.commit(carried.seen).map_err(unusable)?;
        let reading = reading();
        // A topic of an earlier version has our own times: then there is no second clock.
        clock.hear(reading, written.stamped_ms(Topic::Seen, lane).unwrap_or(reading.wall_ms));
        if let (Some(appended_ms), Some(time)) = (*appended_ms, clock.time(reading)) {
            let longest = decisions.longest_window.as_millis() as i64;
            window.expire(needed_from(appended_ms, time, longest)).map_err(unusable)?;
        }
        signals.committed(&batches, now);
        if clock.disagrees(reading) {
            metrics.own_clock.inc();
            if clock_was_told.is_none_or(|told| told.elapsed() > Duration::from_secs(60)) {
                *clock_was_told = Some(Instant::now());
                tracing::error!(
                    service = SERVICE,
                    lane,
                    wall_ms = reading.wall_ms,
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
    pub(super) fn end_block(&mut self, producer: &mut LaneProducer) -> Result<(), End> {
        while let Some(due) = self.advance.block_due_in_ms(now_ms()) {
            if due == 0 || self.shutdown.is_stopping() {
                return self.commit_transaction(producer);
            }
            pause("the end of the block", Duration::from_millis(due.clamp(1, 100) as u64));
        }
        Ok(())
    }

    /// Ends the open transaction without a trace, one that failed while it was committed too: readers wait for its end,
    /// and a lane that halts could not prove its fence beside it.
    pub(super) fn abort_transaction(&mut self, producer: &mut LaneProducer) -> Result<(), TxnError> {
        self.window.abort();
        self.advance.abort();
        self.transaction = None;
        producer.abort()
    }
}

pub(super) fn view<'r>(lane: u16, record: &'r Record<'_>) -> RawRecord<'r> {
    let (key, body) = (record.key().unwrap_or_default(), record.payload().unwrap_or_default());
    RawRecord::from_parts(lane, record.offset() as u64, record.timestamp_ms(), key, body, record.headers().iter())
}

/// Of a record for an event that is traced, or of any other.
fn headers(header: Option<&Header>) -> &[(&'static str, String)] {
    header.map_or(&[], |header| header)
}

/// Writes the event, and for a dead letter the body with its reason. `value` is left holding the encoded event.
fn write(
    producer: &LaneProducer,
    settings: &crate::Settings,
    lane: u16,
    raw: &RawRecord<'_>,
    decided: &Decided<'_>,
    value: &mut Vec<u8>,
    header: Option<&Header>,
) -> Result<(), End> {
    value.clear();
    decided.event.write(&settings.ids, value);
    producer.send(Topic::Events, lane, Some(raw.key), Some(value), headers(header))?;
    if let Some(dead) = &decided.dead_letter {
        let mut headers: Vec<(String, Vec<u8>)> = match &raw.headers {
            Ok(headers) => headers.to_headers().into_iter().map(|(name, value)| (name.into_owned(), value)).collect(),
            Err(_) => Vec::new(),
        };
        headers.extend(dead.headers().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())));
        let partition = of_name(&decided.event.source, settings.plan.dead_letter_partitions);
        let source = decided.event.source.as_bytes();
        producer.send(Topic::DeadLetters, partition, Some(source), Some(raw.body), &headers)?;
    }
    Ok(())
}
