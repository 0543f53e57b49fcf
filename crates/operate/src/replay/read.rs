//! Reading a range of `raw` again: the same pure steps as in `process`, and verdicts from the rows of each key.

use std::collections::HashMap;
use std::ops::Range;

use dedupe::{Candidate, Fate, Id128, Verdict, Witness, hindsight};
use event::Erasure;
use kafka::control::Control;
use kafka::lane::read_all_committed;
use kafka::salts::Salts;
use kafka::{Cluster, Topic};
use process::{Decoded, Pipeline, RawRecord, Salt, Step};
use warehouse::{Block, BlockBuilder, Warehouse};

use super::erased::Erased;
use crate::error::refuse_unless;
use crate::{Installation, Result, blocking};

/// Records read at once.
const CHUNK: u64 = 2_000;
/// Keys that ClickHouse is asked about at once.
const KEYS: usize = 1_000;
/// The cut of a row that no block of the log brought in. A cut ends a block, so its offset is never 0.
const NO_CUT: u64 = 0;

/// A range of a lane on its way through the steps.
pub(super) struct Replayed<'r> {
    installation: &'r Installation,
    warehouse: &'r Warehouse,
    incarnation: &'r str,
    lane: u16,
    range: Range<u64>,
    /// The next offset.
    at: u64,
    step: Step<'r>,
    /// A day that has none any more leaves its visitors unknown: a new salt would tell them apart otherwise than their other rows.
    salts: &'r Salts,
    /// What was decided about each record so far; `None` for dead letters.
    verdicts: Vec<Option<Verdict>>,
    /// Decided in this run about records without a row, so that later records of their keys know.
    without_row: HashMap<Id128, Vec<Witness>>,
    /// What was erased, and does not become rows again.
    erased: Erased,
}

/// A range in pieces of [`CHUNK`] records.
pub(super) fn chunks(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let (start, end) = (range.start, range.end);
    (start..end).step_by(CHUNK as usize).map(move |from| from..end.min(from + CHUNK))
}

impl<'r> Replayed<'r> {
    pub(super) fn new(
        installation: &'r Installation,
        warehouse: &'r Warehouse,
        pipeline: &'r Pipeline,
        control: &'r Control,
        salts: &'r Salts,
        lane: u16,
        range: Range<u64>,
    ) -> Self {
        Self {
            installation,
            warehouse,
            incarnation: &control.incarnation,
            lane,
            at: range.start,
            range,
            step: Step::new(pipeline, control),
            salts,
            verdicts: Vec::new(),
            without_row: HashMap::new(),
            erased: Erased::new(installation.cluster.clone()),
        }
    }

    /// The rows of the next records; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Block>> {
        let chunk = self.at..self.range.end.min(self.at + CHUNK);
        if chunk.is_empty() {
            return Ok(None);
        }
        let records = self.read(chunk.clone()).await?;
        let verdicts = self.judge(&records).await?;
        self.verdicts.extend(verdicts);
        self.at = chunk.end;
        let erasures = self.erased.now().await?;
        Ok(Some(self.block(&records, &chunk, erasures)?))
    }

    /// The rows of records that were decided about before, as they were decided, without what was erased by now: at
    /// most [`CHUNK`] of them at once.
    pub(super) async fn again(&mut self, chunk: &Range<u64>) -> Result<Block> {
        let records = self.read(chunk.clone()).await?;
        // As late as possible: what is erased after this, the erasure finds as rows.
        let erasures = self.erased.now().await?;
        self.block(&records, chunk, erasures)
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<Raw>> {
        let (cluster, lane) = (self.installation.cluster.clone(), self.lane);
        blocking(move || read(&cluster, lane, &range)).await
    }

    /// What the dedupe window said about these records, or what has to be said for their keys to count once.
    async fn judge(&mut self, records: &[Raw]) -> Result<Vec<Option<Verdict>>> {
        let candidates: Vec<Option<(Candidate, String, String)>> =
            records.iter().map(|raw| raw.candidate(&mut self.step, self.lane)).collect();
        let asked: Vec<&(Candidate, String, String)> = candidates.iter().flatten().collect();
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for (candidate, ..) in &asked {
            let window = i64::try_from(candidate.window_ms).unwrap_or(i64::MAX);
            low = low.min(candidate.received_at.saturating_sub(window));
            high = high.max(candidate.received_at.saturating_add(window));
        }
        let mut rows = HashMap::<(String, String), Vec<Witness>>::new();
        for keys in asked.chunks(KEYS) {
            let keys: Vec<&str> = keys.iter().map(|(_, _, key)| key.as_str()).collect();
            for row in self.warehouse.rows_of_keys(self.incarnation, self.lane, &keys, low..=high).await? {
                let fate = match row.duplicate {
                    true => Fate::Duplicate { first_offset: row.first_offset, delay_ms: row.duplicate_delay },
                    false => Fate::Counted,
                };
                let witness = Witness { offset: row.raw_offset, received_at: row.received_at, fate };
                rows.entry((row.source, row.event_key)).or_default().push(witness);
            }
        }
        let mut verdicts = Vec::with_capacity(records.len());
        for candidate in candidates {
            let Some((candidate, source, key)) = candidate else {
                verdicts.push(None);
                continue;
            };
            let mut witnesses = rows.get(&(source, key)).cloned().unwrap_or_default();
            let has_row = witnesses.iter().any(|witness| witness.offset == candidate.offset);
            witnesses.extend(self.without_row.get(&candidate.id).into_iter().flatten());
            let verdict = hindsight(&candidate, &witnesses);
            if !has_row {
                let fate = match verdict {
                    Verdict::Duplicate { first_offset, delay_ms } => Fate::Duplicate { first_offset, delay_ms },
                    Verdict::First | Verdict::Rewound { .. } => Fate::Counted,
                };
                let witness = Witness { offset: candidate.offset, received_at: candidate.received_at, fate };
                self.without_row.entry(candidate.id).or_default().push(witness);
            }
            verdicts.push(Some(verdict));
        }
        Ok(verdicts)
    }

    /// The rows of those of these records that are in the range, without what was erased.
    fn block(&mut self, records: &[Raw], range: &Range<u64>, erasures: Vec<Erasure>) -> Result<Block> {
        let mut builder = BlockBuilder::new(self.incarnation, self.lane);
        builder.without(erasures);
        let catalogue = self.step.catalogue();
        for record in records.iter().filter(|record| range.contains(&record.offset)) {
            let raw = record.view(self.lane);
            let decoded = self.step.decode(&raw);
            let place = (record.offset - self.range.start) as usize;
            let verdict = self.verdicts.get(place).copied().flatten();
            let salt = self.step.salt_day(&decoded).and_then(|day| self.salts.get(&day).copied().map(Salt));
            builder.push(&self.step.enrich(&raw, decoded, verdict, salt, catalogue.as_deref()).event)?;
        }
        Ok(builder.finish(NO_CUT))
    }
}

/// A record of `raw`, owned.
pub(crate) struct Raw {
    pub(crate) offset: u64,
    pub(crate) appended_at: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Raw {
    pub(crate) fn view(&self, lane: u16) -> RawRecord<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        RawRecord::from_parts(lane, self.offset, self.appended_at, &self.key, &self.body, headers)
    }

    /// What the window would be asked, with the source and the key as they stand on rows; `None` for a dead letter.
    pub(crate) fn candidate(&self, step: &mut Step<'_>, lane: u16) -> Option<(Candidate, String, String)> {
        let raw = self.view(lane);
        match step.decode(&raw) {
            Decoded::Event(adapted, candidate) => {
                let key = String::from_utf8_lossy(&self.key).into_owned();
                Some((candidate, adapted.event.source.to_string(), key))
            }
            Decoded::Dead(..) => None,
        }
    }
}

/// Records of `raw`, all of them or an error. Blocking.
pub(crate) fn read(cluster: &Cluster, lane: u16, range: &Range<u64>) -> Result<Vec<Raw>> {
    let mut records = Vec::with_capacity((range.end - range.start) as usize);
    let (from, to) = (Some(range.start as i64), Some(range.end as i64));
    read_all_committed::<std::convert::Infallible>(cluster, Topic::Raw, lane, from, to, |record| {
        records.push(Raw {
            offset: record.offset() as u64,
            appended_at: record.timestamp_ms(),
            key: record.key().unwrap_or_default().to_vec(),
            body: record.payload().unwrap_or_default().to_vec(),
            headers: record.headers().iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
        });
        Ok(())
    })?;
    let whole = records.iter().map(|record| record.offset).eq(range.clone());
    refuse_unless!(
        whole,
        "raw gave {} of the {} records {range:?} of lane {lane}",
        records.len(),
        range.end - range.start
    );
    Ok(records)
}
